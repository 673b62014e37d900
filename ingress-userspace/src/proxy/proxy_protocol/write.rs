use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::{Proxied, parse::SIGNATURE};
use crate::model::ProxyVersion;

/// The header of this version; `None` says that nothing is known: `UNKNOWN`, or `LOCAL`.
pub(crate) fn header(version: ProxyVersion, proxied: Option<Proxied>) -> Vec<u8> {
    match version {
        ProxyVersion::V1 => text(proxied),
        ProxyVersion::V2 => binary(proxied),
    }
}

fn text(proxied: Option<Proxied>) -> Vec<u8> {
    let Some(Proxied { source, destination }) = proxied else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let (from, to) = (source.port(), destination.port());
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            format!("PROXY TCP4 {source} {destination} {from} {to}\r\n").into_bytes()
        }
        (source, destination) => {
            let (source, destination) = (wide(source), wide(destination));
            format!("PROXY TCP6 {source} {destination} {from} {to}\r\n").into_bytes()
        }
    }
}

fn binary(proxied: Option<Proxied>) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let Some(Proxied { source, destination }) = proxied else {
        header.extend([0x20, 0x00, 0, 0]);
        return header;
    };
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            header.extend([0x21, 0x11, 0, 12]);
            header.extend(source.octets());
            header.extend(destination.octets());
        }
        (source, destination) => {
            header.extend([0x21, 0x21, 0, 36]);
            header.extend(wide(source).octets());
            header.extend(wide(destination).octets());
        }
    }
    for address in [source, destination] {
        header.extend(SocketAddr::port(&address).to_be_bytes());
    }
    header
}

/// One header has addresses of one family: a v4 address among v6 ones is a mapped one.
fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}
