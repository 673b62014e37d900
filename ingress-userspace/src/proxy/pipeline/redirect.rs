//! Answers that send the client elsewhere (reference sections 1.2, 3.2, 4.4).

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
    authority: &str,
    path: &str,
    query: Option<&str>,
) -> String {
    let mut location = begin(route.redirect_form, client, authority);
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
    authority: &str,
) -> String {
    if redirect.location.starts_with('/') {
        let begin = begin(route.redirect_form, client, authority);
        format!("{begin}{}", redirect.location)
    } else {
        redirect.location.to_string()
    }
}

/// What stands before the path: the scheme of the connection and the client's host.
fn begin(form: RedirectForm, client: &Client, authority: &str) -> String {
    if form.relative {
        return String::new();
    }
    let (scheme, own_port) = if client.https { ("https", "443") } else { ("http", "80") };
    let host = without_port(authority);
    match form.port {
        RedirectPort::Listening if *client.port != *own_port => {
            format!("{scheme}://{host}:{}", client.port)
        }
        RedirectPort::Omitted | RedirectPort::Listening => format!("{scheme}://{host}"),
        RedirectPort::AsAsked => format!("{scheme}://{authority}"),
    }
}

/// `from-to-www-redirect`: the same target on the other host. The port is always there, one final
/// slash never.
pub(super) fn to_host(host: &str, client: &Client, origin: &Origin<'_>, target: &str) -> String {
    // What a balancer says is copied into the answer only if it can be meant.
    let scheme = match &*origin.scheme {
        b"https" => "https",
        b"http" => "http",
        _ if client.https => "https",
        _ => "http",
    };
    let is_port = |port: &&str| port.parse::<u16>().is_ok();
    let port = std::str::from_utf8(&origin.port).ok().filter(is_port).unwrap_or(&client.port);
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
