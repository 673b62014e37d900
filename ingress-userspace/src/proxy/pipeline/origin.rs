//! Where a request comes from, as upstreams are told and redirects go by: the connection, or what a
//! trusted balancer in front says (reference sections 4.4, 5.1, 5.2).

use std::{borrow::Cow, net::IpAddr};

use crate::{
    model::{ClientAddress, Settings},
    proxy::{
        client::Client,
        message::{Fields, Known},
    },
};

/// Where a request comes from.
#[derive(Debug)]
pub(in crate::proxy) struct Origin<'r> {
    /// The client's address, without port.
    pub(in crate::proxy) address: Cow<'r, str>,
    /// The same.
    pub(super) ip: IpAddr,
    /// What `X-Forwarded-For` is to say.
    pub(super) forwarded_for: Cow<'r, [u8]>,
    /// `http` or `https`; what a trusted balancer says, verbatim.
    pub(super) scheme: Cow<'r, [u8]>,
    /// The host that a trusted balancer says the client asked for.
    pub(super) forwarded_host: Option<String>,
    /// The port that the client connected to.
    pub(super) port: Cow<'r, [u8]>,
}

impl<'r> Origin<'r> {
    pub(in crate::proxy) fn of(client: &'r Client, fields: &Fields, settings: &Settings) -> Self {
        let scheme: &[u8] = if client.https { b"https" } else { b"http" };
        let own = Self {
            address: Cow::Borrowed(&client.peer_text),
            ip: client.peer.ip(),
            forwarded_for: Cow::Borrowed(client.peer_text.as_bytes()),
            scheme: Cow::Borrowed(scheme),
            forwarded_host: None,
            port: Cow::Borrowed(client.port.as_bytes()),
        };
        let believed =
            settings.use_forwarded_headers && settings.address.believes(client.peer.ip());
        if believed {
            own.trusting(client, fields, settings)
        } else if settings.address.real_ip {
            own.at_real_ip(client, fields, settings)
        } else {
            own
        }
    }

    /// `enable-real-ip`: the address alone is what others say.
    fn at_real_ip(self, client: &Client, fields: &Fields, settings: &Settings) -> Self {
        match client_address(client.peer.ip(), fields, &settings.address) {
            Some(ip) => {
                let address = ip.to_string();
                let forwarded_for = Cow::Owned(address.clone().into_bytes());
                Self { address: Cow::Owned(address), ip, forwarded_for, ..self }
            }
            None => self,
        }
    }

    fn trusting(self, client: &Client, fields: &Fields, settings: &Settings) -> Self {
        let (address, ip) = match client_address(self.ip, fields, &settings.address) {
            Some(ip) => (Cow::Owned(ip.to_string()), ip),
            None => (self.address, self.ip),
        };
        let forwarded_for = if settings.compute_full_forwarded_for {
            Cow::Owned(appended(fields, &settings.address, &client.peer_text))
        } else {
            Cow::Owned(address.as_bytes().to_vec())
        };
        let given = |known: Known| {
            fields.get(known).filter(|value| !value.is_empty()).map(|v| Cow::Owned(v.to_vec()))
        };
        Self {
            address,
            ip,
            forwarded_for,
            scheme: given(Known::XForwardedProto).unwrap_or(self.scheme),
            forwarded_host: fields.get(Known::XForwardedHost).and_then(first_host),
            port: given(Known::XForwardedPort).unwrap_or(self.port),
        }
    }

    /// The host that the client asked for, with its port if it named one; `authority` as the
    /// request says it.
    pub(super) fn host<'a>(&'a self, authority: &'a str) -> &'a str {
        self.forwarded_host.as_deref().unwrap_or(authority)
    }

    /// The request came over plain HTTP to wherever TLS would have ended.
    pub(super) fn is_plain(&self) -> bool {
        *self.scheme == *b"http"
    }
}

/// The first item of a list of hosts, if it looks like one.
fn first_host(list: &[u8]) -> Option<String> {
    let first = std::str::from_utf8(list).ok()?.split(',').next()?.trim();
    let valid = !first.is_empty()
        && first.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte));
    valid.then(|| first.to_owned())
}

/// The incoming list and the peer.
fn appended(fields: &Fields, trust: &ClientAddress, peer: &str) -> Vec<u8> {
    let mut list = Vec::new();
    for value in lists(fields, trust).filter(|value| !value.is_empty()) {
        list.extend_from_slice(value);
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(peer.as_bytes());
    list
}

/// The values of the field that lists addresses.
fn lists<'f>(fields: &'f Fields, trust: &'f ClientAddress) -> impl Iterator<Item = &'f [u8]> {
    let named = fields.iter().filter(|field| field.is_named(trust.field.as_bytes()));
    named.map(|field| field.value)
}

/// nginx's recursive search from the right for the first address that is not trusted. Trusted is
/// `proxy-real-ip-cidr`, by default every IPv4 address; when all are, the leftmost counts.
fn client_address(peer: IpAddr, fields: &Fields, trust: &ClientAddress) -> Option<IpAddr> {
    let mut address = peer;
    let lists: Vec<_> = lists(fields, trust).collect();
    for list in lists.into_iter().rev() {
        let Ok(list) = std::str::from_utf8(list) else { break };
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
        let mut fields = Fields::default();
        for list in lists {
            fields.push_known(Known::XForwardedFor, list.as_bytes());
        }
        client_address(peer.parse().expect("an address"), &fields, &ClientAddress::default())
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
