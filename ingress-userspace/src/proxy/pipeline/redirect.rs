//! Answers that send the client elsewhere (reference sections 1.2, 3.2, 4.4).

use super::{authority::without_port, origin::Origin};
use crate::{
    model::{HttpsRedirect, Redirect, Route},
    proxy::client::Client,
    route::escape,
};

/// `/foo` for the Prefix `/foo/`: the same scheme and host, the path as it was matched, the query
/// kept. No port, as ingress-nginx without `use-port-in-redirects`.
pub(super) fn add_slash(
    client: &Client,
    authority: &str,
    path: &str,
    query: Option<&str>,
) -> String {
    let scheme = if client.https { "https" } else { "http" };
    let host = without_port(authority);
    let mut location = format!("{scheme}://{host}");
    escape(path, &mut location);
    location.push('/');
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        location.push('?');
        location.push_str(query);
    }
    location
}

/// `permanent-redirect`, `temporal-redirect`, `app-root`.
pub(super) fn configured(redirect: &Redirect, client: &Client, authority: &str) -> String {
    if redirect.location.starts_with('/') {
        let scheme = if client.https { "https" } else { "http" };
        format!("{scheme}://{authority}{}", redirect.location)
    } else {
        redirect.location.to_string()
    }
}

/// Whether the route sends this request to HTTPS.
pub(super) fn is_due(route: &Route, host_has_tls: bool, origin: &Origin<'_>) -> bool {
    let wanted = match route.https_redirect {
        HttpsRedirect::Never => false,
        HttpsRedirect::IfTls => host_has_tls,
        HttpsRedirect::Always => true,
    };
    wanted && origin.is_plain()
}

/// The same target over HTTPS on the host that the client asked for; one final slash is cut off unless the route keeps it.
pub(super) fn to_https(route: &Route, host: &str, target: &str) -> String {
    let host = without_port(host);
    let target = match target.strip_suffix('/') {
        Some(cut) if !route.preserve_trailing_slash => cut,
        _ => target,
    };
    format!("https://{host}{target}")
}
