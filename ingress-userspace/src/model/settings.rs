use std::{sync::Arc, time::Duration};

use super::{
    AccessLog, Blocked, ClientAddress, ClientLimits, Compression, FieldPolicy, TlsSettings,
    UpstreamPool,
};

/// The controller's ConfigMap (reference section 9.1), as far as it is obeyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `http-redirect-code`.
    pub redirect_code: RedirectCode,
    /// `--https-port`, for redirects that name it.
    pub https_port: u16,
    /// `use-forwarded-headers`: trust `X-Forwarded-*` of clients.
    pub use_forwarded_headers: bool,
    /// `compute-full-forwarded-for`: append to `X-Forwarded-For` instead of replacing it.
    pub compute_full_forwarded_for: bool,
    /// The value of `Strict-Transport-Security` on every answer over TLS; `None`: `hsts` is off.
    pub hsts: Option<String>,
    /// What clients' connections may do.
    pub client: ClientLimits,
    /// What becomes of connections to endpoints after a request.
    pub pool: UpstreamPool,
    /// What is done to the fields of every request and answer.
    pub fields: FieldPolicy,
    /// How answers are compressed; `None`: they are not.
    pub compression: Option<Arc<Compression>>,
    /// Where a client's address is taken from.
    pub address: ClientAddress,
    /// The `ssl-*` keys about handshakes.
    pub tls: TlsSettings,
    /// `use-proxy-protocol`: connections begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// `proxy-protocol-header-timeout`: how long that may take.
    pub proxy_protocol_timeout: Duration,
    /// `max-worker-connections`: client connections of one worker; 0: as many as the limit of open
    /// files allows.
    pub max_connections: u64,
    /// The keys `proxy-stream-*`.
    pub stream: StreamSettings,
    /// `block-user-agents` and `block-referers`, if there are any.
    pub blocked: Option<Box<Blocked>>,
    /// What is written about requests; `None`: nothing.
    pub access_log: Option<Arc<AccessLog>>,
}

/// How TCP and UDP services are passed on (`proxy-stream-*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// `proxy-stream-timeout`: how long neither side may send.
    pub timeout: Duration,
    /// `proxy-stream-next-upstream`: another endpoint is tried if one cannot be connected to.
    pub next_upstream: bool,
    /// `proxy-stream-next-upstream-timeout`: after which no other is tried; zero: no limit.
    pub next_upstream_timeout: Duration,
    /// `proxy-stream-next-upstream-tries`: endpoints to try; zero: all.
    pub next_upstream_tries: u32,
    /// `proxy-stream-responses`: datagrams that answer one of a client's; the session ends with the
    /// last. Zero: no answer is waited for.
    pub responses: u32,
}

impl Default for StreamSettings {
    /// ingress-nginx's.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(600),
            next_upstream: true,
            next_upstream_timeout: Duration::from_secs(600),
            next_upstream_tries: 3,
            responses: 1,
        }
    }
}

/// The status of a redirect to HTTPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectCode {
    /// 301.
    MovedPermanently = 301,
    /// 302.
    Found = 302,
    /// 307.
    TemporaryRedirect = 307,
    /// 308.
    PermanentRedirect = 308,
}

impl Default for Settings {
    /// ingress-nginx's defaults.
    fn default() -> Self {
        Self {
            redirect_code: RedirectCode::PermanentRedirect,
            https_port: 443,
            use_forwarded_headers: false,
            compute_full_forwarded_for: false,
            hsts: Some("max-age=31536000; includeSubDomains".to_owned()),
            client: ClientLimits::default(),
            pool: UpstreamPool::default(),
            fields: FieldPolicy::default(),
            compression: None,
            address: ClientAddress::default(),
            tls: TlsSettings::default(),
            proxy_protocol: false,
            proxy_protocol_timeout: Duration::from_secs(5),
            max_connections: 16_384,
            stream: StreamSettings::default(),
            blocked: None,
            access_log: Some(Arc::default()),
        }
    }
}
