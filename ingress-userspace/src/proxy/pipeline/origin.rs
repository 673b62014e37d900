//! Where a request comes from, as upstreams are told and redirects go by: the connection, or what a
//! trusted balancer in front says (reference sections 4.4, 5.1, 5.2).

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::authority::Authority;
use crate::{
    model::{ClientAddress, Settings},
    proxy::client::Client,
};

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where a request comes from.
#[derive(Debug)]
pub(super) struct Origin {
    /// The client's address, without port.
    pub(super) address: HeaderValue,
    /// What `X-Forwarded-For` is to say.
    pub(super) forwarded_for: HeaderValue,
    /// `http` or `https`; what a trusted balancer says, verbatim.
    pub(super) scheme: HeaderValue,
    /// The host that the client asked for, with its port if it named one.
    pub(super) host: HeaderValue,
    /// The port that the client connected to.
    pub(super) port: HeaderValue,
}

impl Origin {
    pub(super) fn of(
        client: &Client,
        authority: &Authority,
        headers: &HeaderMap,
        settings: &Settings,
    ) -> Self {
        let own = Self {
            address: client.peer_text.clone(),
            forwarded_for: client.peer_text.clone(),
            scheme: HeaderValue::from_static(if client.https { "https" } else { "http" }),
            host: authority.value().clone(),
            port: client.port.clone(),
        };
        let believed =
            settings.use_forwarded_headers && settings.address.believes(client.peer.ip());
        if believed { own.trusting(client, headers, settings) } else { own }
    }

    fn trusting(self, client: &Client, headers: &HeaderMap, settings: &Settings) -> Self {
        let address = client_address(client.peer.ip(), headers, &settings.address)
            .and_then(|address| HeaderValue::try_from(address.to_string()).ok())
            .unwrap_or(self.address);
        let forwarded_for = if settings.compute_full_forwarded_for {
            appended(headers, &client.peer_text)
        } else {
            address.clone()
        };
        let given = |name: HeaderName| headers.get(name).filter(|value| !value.is_empty()).cloned();
        let host = given(X_FORWARDED_HOST).and_then(|value| first_host(&value));
        Self {
            address,
            forwarded_for,
            scheme: given(X_FORWARDED_PROTO).unwrap_or(self.scheme),
            host: host.unwrap_or(self.host),
            port: given(X_FORWARDED_PORT).unwrap_or(self.port),
        }
    }

    /// The request came over plain HTTP to wherever TLS would have ended.
    pub(super) fn is_plain(&self) -> bool {
        self.scheme == "http"
    }
}

/// The first item of a list of hosts, if it looks like one.
fn first_host(list: &HeaderValue) -> Option<HeaderValue> {
    let first = list.to_str().ok()?.split(',').next()?.trim();
    let valid = !first.is_empty()
        && first.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte));
    if valid { HeaderValue::from_str(first).ok() } else { None }
}

/// The incoming list and the peer.
fn appended(headers: &HeaderMap, peer: &HeaderValue) -> HeaderValue {
    let mut list = Vec::new();
    for value in headers.get_all(X_FORWARDED_FOR) {
        if !value.is_empty() {
            list.extend_from_slice(value.as_bytes());
            list.extend_from_slice(b", ");
        }
    }
    list.extend_from_slice(peer.as_bytes());
    HeaderValue::from_bytes(&list).unwrap_or_else(|_| peer.clone())
}

/// nginx's recursive search from the right for the first address that is not trusted. Trusted is
/// `proxy-real-ip-cidr`, by default every IPv4 address; when all are, the leftmost counts.
fn client_address(peer: IpAddr, headers: &HeaderMap, trust: &ClientAddress) -> Option<IpAddr> {
    let mut address = peer;
    let lists: Vec<_> = headers.get_all(X_FORWARDED_FOR).iter().collect();
    for list in lists.into_iter().rev() {
        let Ok(list) = list.to_str() else { break };
        for item in list.rsplit(',') {
            if !trust.trusts(address) {
                return Some(address);
            }
            let Some(next) = parse(item.trim()) else { return Some(address) };
            address = next;
        }
    }
    (address != peer).then_some(address)
}

/// An address, perhaps with a port.
fn parse(item: &str) -> Option<IpAddr> {
    item.parse::<IpAddr>()
        .or_else(|_| item.parse::<std::net::SocketAddr>().map(|address| address.ip()))
        .or_else(|_| item.trim_start_matches('[').trim_end_matches(']').parse())
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(peer: &str, lists: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for list in lists {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(list));
        }
        client_address(peer.parse().expect("an address"), &headers, &ClientAddress::default())
            .map(|address| address.to_string())
    }

    #[test]
    fn the_leftmost_counts_where_all_are_trusted() {
        assert_eq!(address("10.0.0.1", &["1.2.3.4, 5.6.7.8"]).as_deref(), Some("1.2.3.4"));
        assert_eq!(address("10.0.0.1", &["1.2.3.4", "5.6.7.8:99"]).as_deref(), Some("1.2.3.4"));
        assert_eq!(address("10.0.0.1", &[]), None);
    }

    #[test]
    fn the_search_ends_at_what_is_not_trusted_or_no_address() {
        assert_eq!(
            address("10.0.0.1", &["1.2.3.4, 2001:db8::1, 5.6.7.8"]).as_deref(),
            Some("2001:db8::1")
        );
        assert_eq!(address("10.0.0.1", &["1.2.3.4, bogus, 5.6.7.8"]).as_deref(), Some("5.6.7.8"));
        assert_eq!(address("2001:db8::9", &["1.2.3.4"]).as_deref(), Some("2001:db8::9"));
    }
}
