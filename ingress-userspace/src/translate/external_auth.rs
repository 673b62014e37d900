//! What external authentication is made of, in annotations and in the ConfigMap alike (reference
//! sections 1.3 and 8.1): each value from its text.

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::Method;

use super::{
    annotations::Invalid,
    backends::Backends,
    config::{OURS, is_token},
    quantity,
    report::UNLIKE,
    text,
};
use crate::{
    model::{
        AuthHost, AuthScheme, AuthServer, BackendKey, ExternalAuth, HostName, ObjectRef, Piece,
        PortRef, SignIn, Text, Variable,
    },
    names::is_own,
};

/// External authentication as an Ingress or the ConfigMap asks for it. Who is asked depends on the
/// host of the route where the URL has variables in its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExternalRequest {
    /// All but the server's host.
    pub(super) auth: ExternalAuth,
    /// The host as written; never empty.
    pub(super) host: Text,
    /// Where a person finds the URL.
    pub(super) field: String,
    /// What denies if it cannot be obeyed.
    pub(super) key: Arc<str>,
}

impl ExternalRequest {
    /// What a route of this host asks for, or why there is nobody to ask.
    pub(super) fn on(
        &self,
        host: &HostName,
        backends: &mut Backends,
        object: &ObjectRef,
    ) -> Result<ExternalAuth, &'static str> {
        let host = self.host(host, backends, object)?;
        let server = AuthServer { host, ..self.auth.server.clone() };
        Ok(ExternalAuth { server, ..self.auth.clone() })
    }

    /// A name that the client chooses freely would let it choose its judge: beneath a wildcard it
    /// stays in a domain, beneath the catch-all host it does not.
    fn host(
        &self,
        host: &HostName,
        backends: &mut Backends,
        object: &ObjectRef,
    ) -> Result<AuthHost, &'static str> {
        let name = match (self.host.literal(), host) {
            (Some(name), _) => name.to_owned(),
            (None, HostName::Exact(own)) => {
                let part = |piece: &Piece| match piece {
                    Piece::Text(text) => text.to_string(),
                    Piece::Variable(_) => own.to_string(),
                };
                self.host.pieces.iter().map(part).collect()
            }
            (None, HostName::Wildcard(_)) => match &*self.host.pieces {
                [Piece::Variable(variable)] if *variable != Variable::ServerName => {
                    return Ok(AuthHost::OfRequest);
                }
                _ => return Err("has a host that is more than `$host`, on a wildcard host"),
            },
            (None, HostName::CatchAll) => {
                return Err(
                    "has the host of the request in its host, which clients choose freely \
                            where no host is named",
                );
            }
        };
        if let Ok(address) = name.parse::<IpAddr>() {
            return if is_own(address) { Err(OWN) } else { Ok(AuthHost::Address(address)) };
        }
        let name: Arc<str> = name.to_ascii_lowercase().into();
        let bare = name.strip_suffix('.').unwrap_or(&name);
        if bare == "localhost" || bare.ends_with(".localhost") {
            return Err(OWN);
        }
        match service(&name) {
            Some((service, namespace)) => {
                let port = self.auth.server.port.unwrap_or(match self.auth.server.scheme {
                    AuthScheme::Https => 443,
                    AuthScheme::Http | AuthScheme::Client => 80,
                });
                let port = PortRef::Number(port);
                let (namespace, service) = (namespace.into(), service.into());
                let key = BackendKey { namespace, service, port };
                Ok(AuthHost::Service(backends.id_of_judge(key, object, &self.field), name))
            }
            None => Ok(AuthHost::Name(name)),
        }
    }
}

/// An Ingress can have no more asked than it could ask itself.
const OWN: &str = "is this node itself, which is refused";

/// The Service and namespace of `web.shop.svc` or `web.shop.svc.cluster.local`.
fn service(name: &str) -> Option<(&str, &str)> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let name = name.strip_suffix(".cluster.local").unwrap_or(name).strip_suffix(".svc")?;
    name.split_once('.').filter(|(_, namespace)| !namespace.contains('.'))
}

/// A URL and what it consists of.
pub(super) struct Url {
    pub(super) scheme: AuthScheme,
    pub(super) host: Text,
    pub(super) port: Option<u16>,
    pub(super) target: Text,
}

/// `auth-url`.
pub(super) fn url(value: &str) -> Result<Url, String> {
    if !is_url(value) {
        return Err(URL.to_owned());
    }
    let (scheme, rest) = match value.split_once("://") {
        Some(("http", rest)) => (AuthScheme::Http, rest),
        Some(("https", rest)) => (AuthScheme::Https, rest),
        Some(("$scheme", rest)) => (AuthScheme::Client, rest),
        _ => return Err("does not begin with `http://` or `https://`".to_owned()),
    };
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => {
            let number = port.parse::<u16>().ok().filter(|port| *port != 0);
            let number = number.filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()));
            (host, Some(number.ok_or("has a port that is not between 1 and 65535")?))
        }
        None => (authority, None),
    };
    if host.is_empty() {
        return Err("has no host".to_owned());
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._$".contains(&byte);
    if !host.bytes().all(is_part) || host.contains("..") || host.starts_with('.') {
        return Err(format!("has `{host}` for a host, which is no name"));
    }
    let host = text::parse(host)?;
    let of_request = |variable: &Variable| match variable {
        Variable::Host | Variable::ServerName => true,
        Variable::Header(name) => **name == *"host",
        _ => false,
    };
    if !host.variables().all(of_request) {
        return Err(
            "has another variable than `$host`, `$http_host` or `$server_name` in its host"
                .to_owned(),
        );
    }
    let slash = if target.starts_with('/') { "" } else { "/" };
    let target = text::parse(&format!("{slash}{target}"))?;
    allow(&target)?;
    Ok(Url { scheme, host, port, target })
}

/// `auth-signin` with `auth-signin-redirect-param`.
pub(super) fn signin(value: &str, parameter: Option<&str>) -> Result<SignIn, String> {
    if !is_url(value) {
        return Err(URL.to_owned());
    }
    let (_, rest) = value.split_once("://").ok_or("is no absolute URL")?;
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    if host.is_empty() || host.contains("..") {
        return Err("has no host".to_owned());
    }
    let url = text::parse(value)?;
    allow(&url).map_err(|why| format!("{why}, {UNLIKE}"))?;
    let parameter = parameter.filter(|own| !own.is_empty()).unwrap_or("rd");
    let query = value.split_once('?').map(|(_, query)| query).filter(|query| !query.is_empty());
    let is_it = |pair: &str| {
        pair.split_once('=').is_some_and(|(name, value)| name == parameter && !value.is_empty())
    };
    let parameter: Option<Arc<str>> = match query {
        None if value.ends_with('?') => Some(format!("{parameter}=").into()),
        None => Some(format!("?{parameter}=").into()),
        Some(query) if query.split('&').any(is_it) => None,
        Some(_) => Some(format!("&{parameter}=").into()),
    };
    Ok(SignIn { url, parameter })
}

/// `auth-signin-redirect-param`.
pub(super) fn parameter(value: &str) -> Result<String, Invalid> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_name = !value.is_empty() && value.bytes().all(is_part);
    is_name.then(|| value.to_owned()).ok_or(Invalid("a name of letters, digits and `-._~`"))
}

/// `auth-method`.
pub(super) fn method(value: &str) -> Result<Method, Invalid> {
    Ok(match value {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "PATCH" => Method::PATCH,
        "DELETE" => Method::DELETE,
        "OPTIONS" => Method::OPTIONS,
        _ => return Err(Invalid("`GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE` or `OPTIONS`")),
    })
}

/// `auth-response-headers`.
pub(super) fn response_headers(value: &str) -> Result<Box<[Arc<str>]>, Invalid> {
    let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
    let check = |name: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let fits = name.bytes().all(is_part) && !is_ours(name);
        fits.then(|| Arc::from(name))
            .ok_or(Invalid("a comma list of names of headers that a proxy does not write itself"))
    };
    names.map(check).collect()
}

/// `auth-request-redirect`.
pub(super) fn request_redirect(value: &str) -> Result<Text, Invalid> {
    const EXPECTED: Invalid = Invalid("a URL or path of visible characters and known variables");
    let is_part = |byte: u8| byte.is_ascii_graphic() && !b"\"'\\;{}<>".contains(&byte);
    if value.is_empty() || !value.bytes().all(is_part) {
        return Err(EXPECTED);
    }
    text::parse(value).ok().filter(has_no_octets).ok_or(EXPECTED)
}

/// The value of a field for the server.
pub(super) fn field(name: &str, value: &str) -> Result<(Arc<str>, Text), String> {
    if !is_token(name) {
        return Err(format!("has `{name}`, which is no name of a header"));
    }
    if is_ours(name) {
        return Err(format!("has `{name}`, which is written by the proxy itself"));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("has a control character in `{name}`"));
    }
    let text = text::parse(value).map_err(|why| format!("has in `{name}`: {why}"))?;
    match has_no_octets(&text) {
        true => Ok((name.into(), text)),
        false => Err(format!("has `$binary_remote_addr` in `{name}`, which is no text")),
    }
}

/// `auth-cache-key`.
pub(super) fn cache_key(value: &str) -> Result<Text, String> {
    text::parse(value)
}

/// `auth-cache-duration`: items of statuses and a time. A time alone is for 200, 301 and 302, as in
/// nginx. The first item with a status counts.
pub(super) fn durations(value: &str) -> Result<Box<[(u16, Duration)]>, Invalid> {
    const EXPECTED: Invalid =
        Invalid("a comma list of statuses, each with a time, like `200 202 10m, 401 5m`");
    let mut durations = Vec::new();
    for item in value.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (codes, time) = item.rsplit_once(' ').unwrap_or(("", item));
        // nginx would take a bare number for seconds, ingress-nginx takes it for a status.
        if !time.ends_with(|last: char| last.is_ascii_alphabetic()) {
            return Err(EXPECTED);
        }
        let is_zero = time.trim_end_matches(|last: char| last.is_ascii_alphabetic());
        let is_zero = !is_zero.is_empty() && is_zero.bytes().all(|digit| digit == b'0');
        // Nothing of it is kept then.
        let time = match is_zero {
            true => Duration::ZERO,
            false => quantity::time(time).map_err(|_no_time| EXPECTED)?,
        };
        let mut codes: Vec<_> = codes.split_ascii_whitespace().collect();
        if codes.is_empty() {
            codes = vec!["200", "301", "302"];
        }
        for code in codes {
            let code = code.parse::<u16>().ok().filter(|code| (100..1000).contains(code));
            durations.push((code.ok_or(EXPECTED)?, time));
        }
    }
    if durations.is_empty() { Err(EXPECTED) } else { Ok(durations.into()) }
}

/// ingress-nginx's default for `auth-cache-duration`.
pub(super) fn usual_durations() -> Box<[(u16, Duration)]> {
    [200, 202, 401].map(|status| (status, Duration::from_secs(300))).into()
}

const URL: &str = "is not a URL of letters, digits and `-._~/:,?&=$`";

fn is_url(value: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:,?&=$".contains(&byte);
    !value.is_empty() && value.bytes().all(is_part)
}

/// The variables that may stand in a URL.
fn allow(text: &Text) -> Result<(), String> {
    let is_allowed = |variable: &Variable| match variable {
        Variable::Host
        | Variable::Scheme
        | Variable::RequestMethod
        | Variable::RequestUri
        | Variable::EscapedRequestUri
        | Variable::RemoteAddr
        | Variable::ServerName => true,
        Variable::Header(name) => **name == *"host",
        _ => false,
    };
    match text.variables().all(is_allowed) {
        true => Ok(()),
        false => Err("has a variable that may not stand in a URL (those that may are `$host`, \
                      `$http_host`, `$scheme`, `$request_uri`, `$escaped_request_uri`, \
                      `$request_method`, `$remote_addr` and `$server_name`)"
            .to_owned()),
    }
}

fn has_no_octets(text: &Text) -> bool {
    text.variables().all(|variable| *variable != Variable::BinaryRemoteAddr)
}

fn is_ours(name: &str) -> bool {
    OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name))
}
