//! Answers that send the client elsewhere (reference sections 1.2, 3.2, 4.4).

use http::{HeaderValue, StatusCode, Uri};

use super::{
    authority::{Authority, without_port},
    origin::Origin,
};
use crate::{
    model::{HttpsRedirect, Redirect, Route},
    proxy::{client::Client, respond::Failure},
};

/// `/foo` for the Prefix `/foo/`: the same scheme and host, the query kept. No port, as ingress-nginx
/// without `use-port-in-redirects`.
pub(super) fn add_slash(
    client: &Client,
    authority: &Authority,
    target: &Uri,
) -> Result<HeaderValue, Failure> {
    let scheme = if client.https { "https" } else { "http" };
    let host = without_port(authority.as_str());
    let path = target.path();
    let (mark, query) = target.query().map_or(("", ""), |query| ("?", query));
    value(format!("{scheme}://{host}{path}/{mark}{query}"))
}

/// `permanent-redirect`, `temporal-redirect`, `app-root`.
pub(super) fn configured(
    redirect: &Redirect,
    client: &Client,
    authority: &Authority,
) -> Result<(StatusCode, HeaderValue), Failure> {
    let status = StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::FOUND);
    let location = if redirect.location.starts_with('/') {
        let scheme = if client.https { "https" } else { "http" };
        value(format!("{scheme}://{}{}", authority.as_str(), redirect.location))?
    } else {
        value(redirect.location.to_string())?
    };
    Ok((status, location))
}

/// Whether the route sends this request to HTTPS.
pub(super) fn is_due(route: &Route, host_has_tls: bool, origin: &Origin) -> bool {
    let wanted = match route.https_redirect {
        HttpsRedirect::Never => false,
        HttpsRedirect::IfTls => host_has_tls,
        HttpsRedirect::Always => true,
    };
    wanted && origin.is_plain()
}

/// The same host and target over HTTPS; one final slash is cut off unless the route keeps it.
pub(super) fn to_https(
    route: &Route,
    origin: &Origin,
    target: &Uri,
) -> Result<HeaderValue, Failure> {
    let host = without_port(origin.host.to_str().unwrap_or_default());
    let target = target.path_and_query().map_or("/", |target| target.as_str());
    let target = match target.strip_suffix('/') {
        Some(cut) if !route.preserve_trailing_slash => cut,
        _ => target,
    };
    value(format!("https://{host}{target}"))
}

fn value(location: String) -> Result<HeaderValue, Failure> {
    HeaderValue::try_from(location).map_err(|_not_visible| Failure::BadRequest)
}
