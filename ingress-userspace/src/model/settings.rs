use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{
    AccessLog, Blocked, ClientAddress, ClientLimits, Compression, FieldPolicy, LogLevel, StreamLog,
    TlsSettings, Tracing, UpstreamPool,
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
    /// What is done about spans; `None`: nobody takes them.
    pub tracing: Option<Arc<Tracing>>,
    /// `error-log-level`: of our own log; `None`: the ConfigMap says nothing about it.
    pub log_level: Option<LogLevel>,
    /// What is written about connections below HTTP; `None`: nothing.
    pub stream_log: Option<Arc<StreamLog>>,
    /// Where connections may come in.
    pub doors: Doors,
    /// Names outside the cluster may stand for addresses of IPv6; off: `disable-ipv6-dns`.
    pub ipv6_names: bool,
    /// `worker-shutdown-timeout`: how long requests in flight may take at the end; `None`: as long as
    /// `--drain-timeout` says.
    pub drain: Option<Duration>,
}

/// Where connections may come in. The sockets are open before it is known: connections that came in
/// elsewhere are closed at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doors {
    /// `bind-address`, for HTTP and HTTPS: of a family that occurs in it, no other address.
    pub addresses: Arc<[IpAddr]>,
    /// IPv6 at all; off: `disable-ipv6`.
    pub ipv6: bool,
}

impl Doors {
    /// All are open, as nearly always.
    #[must_use]
    pub fn are_open(&self) -> bool {
        self.ipv6 && self.addresses.is_empty()
    }

    /// A connection to this address of ours may come in; `web`: for HTTP or HTTPS.
    #[must_use]
    pub fn admit(&self, own: IpAddr, web: bool) -> bool {
        let own = own.to_canonical();
        let mut family =
            self.addresses.iter().filter(|ip| ip.is_ipv6() == own.is_ipv6()).peekable();
        (self.ipv6 || own.is_ipv4())
            && (!web
                || family.peek().is_none()
                || family.any(|ip| ip.is_unspecified() || *ip == own))
    }
}

impl Default for Doors {
    fn default() -> Self {
        Self { addresses: Arc::default(), ipv6: true }
    }
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
            tracing: None,
            log_level: None,
            stream_log: Some(Arc::default()),
            doors: Doors::default(),
            ipv6_names: true,
            drain: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_come_in_where_they_may() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let doors = |own: &[&str], ipv6| Doors {
            addresses: own.iter().map(|text| ip(text)).collect(),
            ipv6,
        };
        for (doors, own, web, other) in [
            (doors(&[], true), "192.0.2.1", true, true),
            (doors(&[], true), "::1", true, true),
            (doors(&[], false), "::1", false, false),
            (doors(&[], false), "::ffff:192.0.2.1", true, true),
            (doors(&["192.0.2.1"], true), "192.0.2.1", true, true),
            (doors(&["192.0.2.1"], true), "::ffff:192.0.2.1", true, true),
            (doors(&["192.0.2.1"], true), "192.0.2.2", false, true),
            (doors(&["192.0.2.1"], true), "2001:db8::1", true, true),
            (doors(&["192.0.2.1", "2001:db8::1"], true), "2001:db8::2", false, true),
            (doors(&["2001:db8::1"], false), "2001:db8::1", false, false),
            (doors(&["0.0.0.0"], true), "192.0.2.1", true, true),
            (doors(&["0.0.0.0", "2001:db8::1"], true), "2001:db8::2", false, true),
            (doors(&["::"], true), "2001:db8::2", true, true),
        ] {
            assert_eq!(doors.admit(ip(own), true), web, "{doors:?} {own}");
            assert_eq!(doors.admit(ip(own), false), other, "{doors:?} {own}");
        }
    }
}
