//! Builds frames byte by byte, independently of the code under test.

use std::net::{Ipv4Addr, Ipv6Addr};

pub(crate) const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];

pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;

/// The Ethernet header of a frame from the router to this node, with these VLAN tags.
pub(crate) fn ethernet(tags: &[(u16, u16)], protocol: u16) -> Vec<u8> {
    ethernet_between(OUR_MAC, ROUTER_MAC, tags, protocol)
}

pub(crate) fn ethernet_between(
    to: [u8; 6],
    from: [u8; 6],
    tags: &[(u16, u16)],
    protocol: u16,
) -> Vec<u8> {
    let mut bytes = [to, from].concat();
    for (protocol, tag) in tags {
        bytes.extend(protocol.to_be_bytes());
        bytes.extend(tag.to_be_bytes());
    }
    bytes.extend(protocol.to_be_bytes());
    bytes
}

/// What an IPv4 header is made of; see [`Ipv4::around`].
#[derive(Clone, Debug)]
pub(crate) struct Ipv4 {
    pub(crate) from: Ipv4Addr,
    pub(crate) to: Ipv4Addr,
    pub(crate) protocol: u8,
    pub(crate) ttl: u8,
    pub(crate) id: u16,
    pub(crate) fragment: u16,
    pub(crate) options: Vec<u8>,
}

impl Ipv4 {
    pub(crate) fn new(from: Ipv4Addr, to: Ipv4Addr, protocol: u8) -> Self {
        Self { from, to, protocol, ttl: 64, id: 0x1234, fragment: 0x4000, options: vec![] }
    }

    pub(crate) fn around(&self, payload: &[u8]) -> Vec<u8> {
        let header = 20 + self.options.len();
        let mut bytes = vec![0x40 | (header / 4) as u8, 0];
        bytes.extend(((header + payload.len()) as u16).to_be_bytes());
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(self.from.octets());
        bytes.extend(self.to.octets());
        bytes.extend(&self.options);
        let checksum = checksum(&bytes);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        bytes.extend(payload);
        bytes
    }
}

/// RFC 1071, the slow way.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

pub(crate) fn ipv6(
    from: Ipv6Addr,
    to: Ipv6Addr,
    label: u32,
    limit: u8,
    next: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = (0x6000_0000 | label).to_be_bytes().to_vec();
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend([next, limit]);
    bytes.extend(from.octets());
    bytes.extend(to.octets());
    bytes.extend(payload);
    bytes
}

pub(crate) fn tcp(from: u16, to: u16, flags: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = [from.to_be_bytes(), to.to_be_bytes()].concat();
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0xff, 0xff, 0xab, 0xcd, 0, 0]);
    bytes.extend(data);
    bytes
}

pub(crate) fn udp(from: u16, to: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = [from.to_be_bytes(), to.to_be_bytes()].concat();
    bytes.extend((8 + data.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(data);
    bytes
}

/// The tunnel header before a client's packet.
pub(crate) fn tunnel(
    tried: u8,
    flags: u8,
    hops: &[u16],
    generation: u16,
    packet: &[u8],
) -> Vec<u8> {
    let protocol = if packet[0] >> 4 == 4 { 4 } else { 41 };
    let mut bytes = vec![0x10 | hops.len() as u8, tried, flags, protocol];
    bytes.extend(generation.to_be_bytes());
    for position in 0..3 {
        bytes.extend(hops.get(position).copied().unwrap_or_default().to_be_bytes());
    }
    bytes.extend(packet);
    bytes
}

pub(crate) fn frame(link: Vec<u8>, packet: &[u8]) -> Vec<u8> {
    [&link, packet].concat()
}
