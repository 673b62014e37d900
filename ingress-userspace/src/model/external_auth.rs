//! External authentication (reference section 8.1): who is asked whether a request may pass.

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::Method;

use super::{BackendId, Text};

/// `auth-url` and what goes with it, or the ConfigMap's `global-auth-url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAuth {
    /// Who is asked.
    pub server: AuthServer,
    /// What it is asked for: a path that begins with `/`, and perhaps a query.
    pub target: Text,
    /// `auth-method`. `None`: GET, and the fields that go with the annotation are not sent.
    pub method: Option<Method>,
    /// `auth-signin`: where a client goes that is not signed in.
    pub signin: Option<SignIn>,
    /// `auth-response-headers`: fields that upstreams get from the answer, and from nobody else.
    pub response_headers: Box<[Arc<str>]>,
    /// Fields of the answer that snippets look at (`auth_request_set`); lower case.
    pub noted: Box<[Arc<str>]>,
    /// `auth-proxy-set-headers`: fields that the server gets, by name; empty ones are removed.
    pub request_headers: Box<[(Arc<str>, Text)]>,
    /// `auth-request-redirect`: what `X-Auth-Request-Redirect` says. `None`: the request's target.
    pub request_redirect: Option<Text>,
    /// `auth-cache-key` and `auth-cache-duration`.
    pub cache: Option<AuthCache>,
    /// `auth-always-set-cookie`: the server's cookies go to the client whatever the status.
    pub always_set_cookie: bool,
    /// Of the 2xx only 200 lets a request pass: ingress-nginx where `auth-keepalive` is in effect.
    pub only_200: bool,
}

/// Whom to ask. Its name or address is also the `Host` that it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthServer {
    /// Over TLS or not.
    pub scheme: AuthScheme,
    /// Where it is.
    pub host: AuthHost,
    /// `None`: the one of the scheme.
    pub port: Option<u16>,
}

/// The scheme of `auth-url`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthScheme {
    /// `http`
    Http,
    /// `https`
    Https,
    /// `$scheme`: the one that the client's connection has.
    Client,
}

/// The host of `auth-url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthHost {
    /// A name, lower case.
    Name(Arc<str>),
    /// A Service of the cluster, and its name. Where it has no endpoint, the DNS is asked.
    Service(BackendId, Arc<str>),
    /// An address.
    Address(IpAddr),
    /// `$host` on a wildcard host: the host of the request, which is beneath the wildcard.
    OfRequest,
}

/// `auth-signin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// The URL.
    pub url: Text,
    /// What is written before the URL that the client asked for; `None`: that is not told.
    pub parameter: Option<Arc<str>>,
}

/// Which verdicts are kept, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthCache {
    /// `auth-cache-key`. Host, Ingress and path are always parts of the key.
    pub key: Text,
    /// For how long, by status.
    pub durations: Box<[(u16, Duration)]>,
}

impl AuthCache {
    /// For how long a verdict of this status is kept.
    #[must_use]
    pub fn duration(&self, status: u16) -> Option<Duration> {
        self.durations.iter().find(|(of, _)| *of == status).map(|(_, duration)| *duration)
    }
}
