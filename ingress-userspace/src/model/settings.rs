use super::{ClientAddress, ClientLimits, FieldPolicy, TlsSettings, UpstreamPool};

/// The controller's ConfigMap (reference section 9.1), as far as it is obeyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `http-redirect-code`.
    pub redirect_code: RedirectCode,
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
    /// Where a client's address is taken from.
    pub address: ClientAddress,
    /// The `ssl-*` keys about handshakes.
    pub tls: TlsSettings,
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
            use_forwarded_headers: false,
            compute_full_forwarded_for: false,
            hsts: Some("max-age=31536000; includeSubDomains".to_owned()),
            client: ClientLimits::default(),
            pool: UpstreamPool::default(),
            fields: FieldPolicy::default(),
            address: ClientAddress::default(),
            tls: TlsSettings::default(),
        }
    }
}
