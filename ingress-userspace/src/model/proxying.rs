use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::{FastCgi, Pace, Text, UpstreamTls};

/// How the requests of a route are forwarded and its answers sent back (reference sections 1.7 and
/// 5.4 to 5.6): the ConfigMap's defaults with what the annotations of the Ingress say instead. One
/// is shared by all routes for which it is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxying {
    /// `backend-protocol`.
    pub protocol: Protocol,
    /// `proxy-http-version`: what HTTP/1 endpoints are asked with.
    pub http_version: HttpVersion,
    /// TLS to the endpoints; `Some` for every route whose protocol can use it, and no other.
    pub tls: Option<Arc<UpstreamTls>>,
    /// `proxy-connect-timeout`: to connect to an endpoint, the TLS handshake included.
    pub connect_timeout: Duration,
    /// `proxy-send-timeout`: between two writes to an endpoint.
    pub send_timeout: Duration,
    /// `proxy-read-timeout`: between two reads from an endpoint.
    pub read_timeout: Duration,
    /// `proxy-next-upstream` and its limits.
    pub retry: Retry,
    /// `proxy-body-size`: the largest body of a request, in bytes. `None`: any.
    pub max_body: Option<u64>,
    /// `client-body-buffer-size`: how much of a request's body is kept in memory, in bytes.
    pub body_buffer: u64,
    /// `proxy-request-buffering`: an endpoint is asked when the body is there, or as much of it as
    /// `body_buffer` takes. Off: as soon as the head is there.
    pub buffer_request: bool,
    /// `proxy-buffering`: answers may be held back until a buffer is full. Off: every part of an
    /// answer is passed on when it comes.
    pub buffer_response: bool,
    /// `limit-rate` and `limit-rate-after`: how fast answers go to clients.
    pub pace: Pace,
    /// `proxy-redirect-from` and `proxy-redirect-to`: what becomes of `Location` and `Refresh`.
    pub redirect: RedirectRewrite,
    /// `proxy-cookie-domain`: the attribute `Domain` of `Set-Cookie`.
    pub cookie_domain: Option<Replacement>,
    /// `proxy-cookie-path`: the attribute `Path` of `Set-Cookie`.
    pub cookie_path: Option<Replacement>,
    /// `upstream-vhost`: the `Host` that endpoints see; `X-Forwarded-Host` stays the client's.
    pub host: Option<Text>,
    /// `connection-proxy-header`: the `Connection` that endpoints see of requests that ask for no
    /// upgrade.
    pub connection: Option<ConnectionField>,
    /// `x-forwarded-prefix`, only of routes with a rewrite (reference section 1.2).
    pub forwarded_prefix: Option<Arc<str>>,
    /// What FastCGI applications are told; `Some` for every route of [`Protocol::Fcgi`], and no
    /// other.
    pub fastcgi: Option<Arc<FastCgi>>,
}

/// What endpoints speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1 in clear text.
    #[default]
    Http,
    /// HTTP/1 over TLS.
    Https,
    /// The one of these that the client uses.
    AutoHttp,
    /// HTTP/2 in clear text, with prior knowledge.
    Grpc,
    /// HTTP/2 over TLS.
    Grpcs,
    /// FastCGI in clear text.
    Fcgi,
}

impl Protocol {
    /// There may be TLS.
    #[must_use]
    pub const fn may_use_tls(self) -> bool {
        matches!(self, Self::Https | Self::AutoHttp | Self::Grpcs)
    }

    /// There is TLS for a request whose client came over HTTPS, or did not.
    #[must_use]
    pub const fn uses_tls(self, client_https: bool) -> bool {
        match self {
            Self::Https | Self::Grpcs => true,
            Self::AutoHttp => client_https,
            Self::Http | Self::Grpc | Self::Fcgi => false,
        }
    }

    /// HTTP/1, over TLS or not.
    #[must_use]
    pub const fn is_http1(self) -> bool {
        matches!(self, Self::Http | Self::Https | Self::AutoHttp)
    }

    /// HTTP/2.
    #[must_use]
    pub const fn is_http2(self) -> bool {
        matches!(self, Self::Grpc | Self::Grpcs)
    }
}

/// A version of HTTP/1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// A connection for each request, and no chunked bodies.
    Http10,
    /// Connections are kept.
    #[default]
    Http11,
}

/// When a request goes to another endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// After which failures.
    pub conditions: Conditions,
    /// Attempts in total. Never without limit: `0` stands for [`Retry::MOST`].
    pub tries: NonZeroU32,
    /// Since the first attempt began, after which there is no other. `None`: no limit.
    pub timeout: Option<Duration>,
}

impl Retry {
    /// The most attempts of one request. ingress-nginx's "no cap" has a lone endpoint that refuses
    /// connections asked without end (reference section 5.5).
    pub const MOST: NonZeroU32 = NonZeroU32::new(16).expect("16 is not zero");
}

/// A set of failures after which another endpoint is tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Conditions(u16);

impl Conditions {
    /// None: `off`.
    pub const OFF: Self = Self(0);
    /// To connect, to write or to read fails.
    pub const ERROR: Self = Self(1);
    /// One of the three takes too long.
    pub const TIMEOUT: Self = Self(1 << 1);
    /// The answer is empty or no HTTP.
    pub const INVALID_HEADER: Self = Self(1 << 2);
    /// Status 500.
    pub const HTTP_500: Self = Self(1 << 3);
    /// Status 502.
    pub const HTTP_502: Self = Self(1 << 4);
    /// Status 503.
    pub const HTTP_503: Self = Self(1 << 5);
    /// Status 504.
    pub const HTTP_504: Self = Self(1 << 6);
    /// Status 403.
    pub const HTTP_403: Self = Self(1 << 7);
    /// Status 404.
    pub const HTTP_404: Self = Self(1 << 8);
    /// Status 429.
    pub const HTTP_429: Self = Self(1 << 9);
    /// The others count also for POST, LOCK and PATCH once something of the request was sent.
    pub const NON_IDEMPOTENT: Self = Self(1 << 10);

    /// The set with this one added.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All of these are in the set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// An answer of this status is to be had from another endpoint.
    #[must_use]
    pub const fn contains_status(self, status: u16) -> bool {
        let condition = match status {
            500 => Self::HTTP_500,
            502 => Self::HTTP_502,
            503 => Self::HTTP_503,
            504 => Self::HTTP_504,
            403 => Self::HTTP_403,
            404 => Self::HTTP_404,
            429 => Self::HTTP_429,
            _ => return false,
        };
        self.contains(condition)
    }
}

/// What becomes of the `Location` and `Refresh` of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RedirectRewrite {
    /// They stay as they are.
    #[default]
    Off,
    /// `default`: what begins with the URL that the endpoint was asked for begins with the path of
    /// the route instead.
    Default,
    /// What begins with the one text begins with the other.
    Replace(Replacement),
}

/// One text in the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// What is looked for.
    pub from: Arc<str>,
    /// What stands there afterwards.
    pub to: Arc<str>,
}

/// A fixed `Connection` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionField {
    /// `close`.
    Close,
    /// `keep-alive`.
    KeepAlive,
}

impl Default for Proxying {
    /// ingress-nginx's defaults.
    fn default() -> Self {
        Self {
            protocol: Protocol::Http,
            http_version: HttpVersion::Http11,
            tls: None,
            connect_timeout: Duration::from_secs(5),
            send_timeout: Duration::from_secs(60),
            read_timeout: Duration::from_secs(60),
            retry: Retry {
                conditions: Conditions::ERROR.with(Conditions::TIMEOUT),
                tries: NonZeroU32::new(3).expect("3 is not zero"),
                timeout: None,
            },
            max_body: Some(1024 * 1024),
            body_buffer: 8 * 1024,
            buffer_request: true,
            buffer_response: false,
            pace: Pace::default(),
            redirect: RedirectRewrite::Off,
            cookie_domain: None,
            cookie_path: None,
            host: None,
            connection: None,
            forwarded_prefix: None,
            fastcgi: None,
        }
    }
}
