//! Answers that send the client elsewhere (reference sections 1.2, 3.2, 4.4).

use std::borrow::Cow;

use super::{authority::without_port, origin::Origin};
use crate::{
    model::{HttpsRedirect, Redirect, RedirectForm, RedirectPort, Route},
    proxy::client::Client,
    route::escape,
};

/// `/foo/` for the Prefix of that name where `/foo` was asked for: the path as it was matched, the
/// query kept.
pub(super) fn add_slash(
    route: &Route,
    client: &Client,
    https_port: u16,
    authority: &str,
    path: &str,
    query: Option<&str>,
) -> String {
    let mut location = begin(route.redirect_form, client, https_port, authority);
    escape(path, &mut location);
    location.push('/');
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        location.push('?');
        location.push_str(query);
    }
    location
}

/// `permanent-redirect`, `temporal-redirect`, `app-root`.
pub(super) fn configured(
    redirect: &Redirect,
    route: &Route,
    client: &Client,
    https_port: u16,
    authority: &str,
) -> String {
    if redirect.location.starts_with('/') {
        let begin = begin(route.redirect_form, client, https_port, authority);
        format!("{begin}{}", redirect.location)
    } else {
        redirect.location.to_string()
    }
}

/// What stands before the path: the scheme of the connection and the client's host.
fn begin(form: RedirectForm, client: &Client, https_port: u16, authority: &str) -> String {
    if form.relative {
        return String::new();
    }
    let (scheme, own_port) = if client.https { ("https", "443") } else { ("http", "80") };
    let host = without_port(authority);
    match form.port {
        RedirectPort::Listening if listening(client, https_port) != own_port => {
            format!("{scheme}://{host}:{}", listening(client, https_port))
        }
        RedirectPort::Omitted | RedirectPort::Listening => format!("{scheme}://{host}"),
        RedirectPort::AsAsked => format!("{scheme}://{authority}"),
    }
}

/// The port of the listener: over TLS the flag's, which need not be 443.
fn listening(client: &Client, https_port: u16) -> Cow<'_, str> {
    match client.tls {
        true => Cow::Owned(https_port.to_string()),
        false => Cow::Borrowed(&client.port),
    }
}

/// `from-to-www-redirect`: the same target on the other host. The port is always there, one final
/// slash never.
pub(super) fn to_host(
    host: &str,
    client: &Client,
    https_port: u16,
    origin: &Origin<'_>,
    target: &str,
) -> String {
    // What a balancer says is copied into the answer only if it can be meant.
    let scheme = match &*origin.scheme {
        b"https" => "https",
        b"http" => "http",
        _ if client.https => "https",
        _ => "http",
    };
    let said = match &origin.port {
        Cow::Owned(said) => std::str::from_utf8(said).ok(),
        Cow::Borrowed(_) => None,
    };
    let said = said.filter(|port| port.parse::<u16>().is_ok());
    let port = said.map_or_else(|| listening(client, https_port), Cow::Borrowed);
    let target = target.strip_suffix('/').unwrap_or(target);
    format!("{scheme}://{host}:{port}{target}")
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

/// The same target over HTTPS on the host that the client asked for; one final slash is cut off
/// unless the route keeps it. `port` is that of the listener for TLS.
pub(super) fn to_https(route: &Route, host: &str, port: u16, target: &str) -> String {
    let host = without_port(host);
    let target = match target.strip_suffix('/') {
        Some(cut) if !route.preserve_trailing_slash => cut,
        _ => target,
    };
    match route.redirect_form.port {
        RedirectPort::Listening => format!("https://{host}:{port}{target}"),
        RedirectPort::Omitted | RedirectPort::AsAsked => format!("https://{host}{target}"),
    }
}
