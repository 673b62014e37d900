use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use super::Text;

/// What clients' connections may do (reference section 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// `use-http2`: HTTP/2 is offered over TLS.
    pub http2: bool,
    /// `keep-alive`: how long a connection may wait for its next request. `None`: it is closed
    /// after one.
    pub keep_alive: Option<Duration>,
    /// `keep-alive-requests`: after so many requests a connection is closed.
    pub keep_alive_requests: u32,
    /// `client-header-timeout`: to send the head of a request.
    pub header_timeout: Duration,
    /// `client-body-timeout`: between two parts of a body.
    pub body_timeout: Duration,
    /// `large-client-header-buffers`: the longest request line, and the longest field. Bytes.
    pub header_line: usize,
    /// The same: all of a head. Bytes.
    pub header_total: usize,
    /// `http2-max-concurrent-streams`.
    pub http2_streams: u32,
}

impl Default for ClientLimits {
    /// ingress-nginx's defaults.
    fn default() -> Self {
        Self {
            http2: true,
            keep_alive: Some(Duration::from_secs(75)),
            keep_alive_requests: 1000,
            header_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            header_line: 8 * 1024,
            header_total: 4 * 8 * 1024,
            http2_streams: 128,
        }
    }
}

/// What becomes of connections to endpoints after a request (reference section 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamPool {
    /// `upstream-keepalive-connections`: idle ones per worker. 0: none is kept.
    pub connections: usize,
    /// `upstream-keepalive-timeout`: how long an idle one is kept.
    pub timeout: Duration,
    /// `upstream-keepalive-requests`: after so many requests one is closed.
    pub requests: u32,
    /// `upstream-keepalive-time`: after so long one is closed when its requests are done.
    pub time: Duration,
}

impl Default for UpstreamPool {
    /// ingress-nginx's defaults.
    fn default() -> Self {
        Self {
            connections: 320,
            timeout: Duration::from_secs(60),
            requests: 10_000,
            time: Duration::from_secs(3600),
        }
    }
}

/// What is done to the fields of every request and answer (reference sections 5.1 and 9.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPolicy {
    /// `enable-underscores-in-headers`: a `_` in a name is as good as a letter.
    pub underscores: bool,
    /// `ignore-invalid-headers`: fields of clients whose names are more than letters, digits and
    /// dashes are dropped. Off: they pass, as far as they are tokens of HTTP.
    pub drop_invalid: bool,
    /// `generate-request-id`: requests without `X-Request-ID` get one.
    pub request_id: bool,
    /// `proxy-add-original-uri-header`: `X-Original-URI` for endpoints.
    pub original_uri: bool,
    /// `server-tokens`: answers say `Server: penstock`; off, none does.
    pub server: bool,
    /// `hide-headers`: fields of endpoints' answers that clients do not get. Lower case.
    pub hidden: Arc<[Arc<str>]>,
    /// `proxy-set-headers`: fields that endpoints get instead of the client's, written last.
    pub to_upstream: Arc<[FieldSetting]>,
    /// `add-headers`: fields that clients get instead of an endpoint's.
    pub to_client: Arc<[FieldSetting]>,
}

/// A field and what it is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldSetting {
    /// A token of HTTP, as written.
    pub name: Arc<str>,
    /// Without control characters. Empty, or empty for a request: the field is removed.
    pub value: Text,
}

impl Default for FieldPolicy {
    /// ingress-nginx's defaults.
    fn default() -> Self {
        Self {
            underscores: false,
            drop_invalid: true,
            request_id: true,
            original_uri: false,
            server: false,
            hidden: Arc::default(),
            to_upstream: Arc::default(),
            to_client: Arc::default(),
        }
    }
}

/// Where a client's address is taken from (reference section 5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAddress {
    /// `enable-real-ip`: from `field`, though nothing else that a balancer says is believed.
    /// `use-forwarded-headers` is another setting and implies this one.
    pub real_ip: bool,
    /// `forwarded-for-header`: the field that lists addresses.
    pub field: Arc<str>,
    /// `proxy-real-ip-cidr`: who is believed. Empty: no one.
    pub trusted: Arc<[AddressRange]>,
}

impl ClientAddress {
    /// What this address says of others is believed.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|range| range.contains(address))
    }

    /// This peer's `X-Forwarded-*` are believed under `use-forwarded-headers`. Where everyone of
    /// one family is trusted, the fields of the other family's peers are too, as in ingress-nginx,
    /// which never looks at the peer for them.
    #[must_use]
    pub fn believes(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|range| range.length == 0) || self.trusts(peer)
    }
}

impl Default for ClientAddress {
    /// ingress-nginx's defaults: every IPv4 address is trusted.
    fn default() -> Self {
        let everyone = AddressRange { network: IpAddr::from([0, 0, 0, 0]), length: 0 };
        Self { real_ip: false, field: "X-Forwarded-For".into(), trusted: [everyone].into() }
    }
}

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    network: IpAddr,
    length: u8,
}

impl AddressRange {
    /// `10.0.0.0/8`, `fd00::/8`, or a single address. Bits behind the length do not matter.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (network, length) = match text.split_once('/') {
            Some((network, length)) => (network, Some(length)),
            None => (text, None),
        };
        let network: IpAddr = network.parse().ok()?;
        let most = if network.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|length| *length <= most)?
            }
            Some(_) => return None,
            None => most,
        };
        // One of IPv4 addresses in IPv6 clothes is one of IPv4 addresses.
        match network.to_canonical() {
            IpAddr::V4(bare) if network.is_ipv6() && length >= 96 => {
                Some(Self { network: IpAddr::V4(bare), length: length - 96 })
            }
            _ => Some(Self { network, length }),
        }
    }

    /// The first address and the last.
    #[must_use]
    pub fn bounds(&self) -> (IpAddr, IpAddr) {
        match self.network {
            IpAddr::V4(network) => {
                let host = u32::MAX.checked_shr(self.length.into()).unwrap_or(0);
                let first = network.to_bits() & !host;
                (Ipv4Addr::from_bits(first).into(), Ipv4Addr::from_bits(first | host).into())
            }
            IpAddr::V6(network) => {
                let host = u128::MAX.checked_shr(self.length.into()).unwrap_or(0);
                let first = network.to_bits() & !host;
                (Ipv6Addr::from_bits(first).into(), Ipv6Addr::from_bits(first | host).into())
            }
        }
    }

    /// The address is one of them. An IPv4 address in IPv6 clothes counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.length)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.length)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_what_begins_like_it() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.1.2.3/24", "::ffff:10.1.2.99", "10.1.3.0"),
            ("0.0.0.0/0", "1.2.3.4", "::1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("::ffff:10.1.2.0/120", "10.1.2.3", "10.1.3.3"),
            ("::ffff:10.1.2.3", "::ffff:10.1.2.3", "10.1.2.4"),
        ] {
            let parsed = AddressRange::parse(range).expect(range);
            assert!(parsed.contains(inside.parse().expect(inside)), "{range} {inside}");
            assert!(!parsed.contains(outside.parse().expect(outside)), "{range} {outside}");
        }
        for (range, first, last) in [
            ("10.1.2.3/24", "10.1.2.0", "10.1.2.255"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.3"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("2001:db8::9/125", "2001:db8::8", "2001:db8::f"),
        ] {
            let bounds = AddressRange::parse(range).expect(range).bounds();
            assert_eq!(bounds, (first.parse().expect(first), last.parse().expect(last)), "{range}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/+8", "10.0.0.0/", "a/8"] {
            assert_eq!(AddressRange::parse(bad), None, "{bad}");
        }
    }
}
