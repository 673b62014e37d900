//! Into the tunnel: new outer headers before the client's packet.

use ingress_common::{Node, Port, Reason, TunnelHeader};

use super::{
    link::Tags,
    outer::{UDP_HEADER, ip_header},
};
use crate::{
    Packet, World, checksum,
    parse::{Link, Network},
};

/// The lowest source port of tunnel packets; the 14 bits below it are the flow's, so that fabrics
/// and network cards spread flows and keep each on one path.
const ENTROPY_BASE: u16 = 0xc000;

/// The longest packet, in bytes, that fits into the tunnel to a node.
#[inline(always)]
pub fn room(node: &Node) -> u32 {
    let v4 = node.source.as_v4().is_some() && node.address.as_v4().is_some();
    let network = if v4 { Network::V4 } else { Network::V6 };
    let outer = ip_header(network) + UDP_HEADER + TunnelHeader::LEN;
    u32::from(node.mtu).saturating_sub(outer as u32)
}

/// Rewrites a frame so that it carries the client's packet to `node`.
///
/// `inner` is the length of the client's packet, which begins right after `link`.
///
/// # Errors
/// [`Reason::TooLong`] or [`Reason::NoHeadroom`] with the frame unchanged.
#[inline(always)]
pub fn enter<P: Packet, W: World>(
    packet: &mut P,
    world: &W,
    link: &Link,
    inner: usize,
    node: &Node,
    header: &TunnelHeader,
    entropy: u16,
) -> Result<(), Reason> {
    replace(packet, world, link, 0, inner, node, header, entropy)
}

/// As [`enter`], in place of outer headers of `old` bytes.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "each is a plain value of the caller's parse")]
pub(super) fn replace<P: Packet, W: World>(
    packet: &mut P,
    world: &W,
    link: &Link,
    old: usize,
    inner: usize,
    node: &Node,
    header: &TunnelHeader,
    entropy: u16,
) -> Result<(), Reason> {
    let v4 = match (node.source.as_v4(), node.address.as_v4()) {
        (Some(source), Some(destination)) => Some((source, destination)),
        _ => None,
    };
    let network = if v4.is_some() { Network::V4 } else { Network::V6 };
    let udp_length = UDP_HEADER + TunnelHeader::LEN + inner;
    let total = ip_header(network) + udp_length;
    if packet.longest(total) > usize::from(node.mtu) {
        return Err(Reason::TooLong);
    }
    // Tags name a VLAN of the interface that they came in on, and mean nothing on another.
    let tags = if node.ifindex == world.interface() {
        Tags::read(packet, link).ok_or(Reason::Malformed)?
    } else {
        Tags::None
    };
    let new = tags.header() + ip_header(network) + UDP_HEADER + TunnelHeader::LEN;
    let delta = (link.length + old) as i32 - new as i32;
    if !packet.move_front(delta) {
        return Err(Reason::NoHeadroom);
    }
    let udp = Udp {
        source: ENTROPY_BASE | entropy,
        destination: world.config().tunnel_port,
        length: udp_length as u16,
    };
    write(packet, tags, node, v4, &udp, total, header).ok_or(Reason::RewriteFailed)
}

#[inline(always)]
fn write<P: Packet>(
    packet: &mut P,
    tags: Tags,
    node: &Node,
    v4: Option<([u8; 4], [u8; 4])>,
    udp: &Udp,
    total: usize,
    header: &TunnelHeader,
) -> Option<()> {
    let start = packet.merged::<0x1f>(tags.header());
    match v4 {
        Some((source, destination)) => {
            tags.write(packet, node.next_hop, node.source_mac, Link::protocol(Network::V4))?;
            let ip: &mut [[u8; 4]; 5] = bytemuck::must_cast_mut(packet.bytes_mut::<20>(start)?);
            write_v4(ip, total as u16, source, destination);
            udp.write(packet, start + 20, header)
        }
        None => {
            tags.write(packet, node.next_hop, node.source_mac, Link::protocol(Network::V6))?;
            let ip: &mut [[u8; 4]; 10] = bytemuck::must_cast_mut(packet.bytes_mut::<40>(start)?);
            write_v6(ip, udp, node);
            udp.write(packet, start + 40, header)
        }
    }
}

/// DF is set and the identification zero: an outer packet is never fragmented (RFC 6864 section 4).
#[inline(always)]
fn write_v4(ip: &mut [[u8; 4]; 5], total: u16, source: [u8; 4], destination: [u8; 4]) {
    let ttl = TunnelHeader::TTL;
    let checksum = checksum::tunnel_ipv4(total, ttl, source, destination);
    *ip = [
        (0x4500_0000 | u32::from(total)).to_be_bytes(),
        [0, 0, 0x40, 0],
        ((u32::from(ttl) << 24) | 0x0011_0000 | u32::from(checksum)).to_be_bytes(),
        source,
        destination,
    ];
}

/// The flow label carries the flow's entropy too (RFC 6438).
#[inline(always)]
fn write_v6(ip: &mut [[u8; 4]; 10], udp: &Udp, node: &Node) {
    let [s0, s1, s2, s3] = node.source.words().map(u32::to_ne_bytes);
    let [d0, d1, d2, d3] = node.address.words().map(u32::to_ne_bytes);
    let [l0, l1] = udp.length.to_be_bytes();
    *ip = [
        (0x6000_0000 | u32::from(udp.source)).to_be_bytes(),
        [l0, l1, 17, TunnelHeader::TTL],
        s0,
        s1,
        s2,
        s3,
        d0,
        d1,
        d2,
        d3,
    ];
}

/// The outer UDP header. Its checksum is zero; see [`ingress_common::tunnel`].
struct Udp {
    source: u16,
    destination: Port,
    length: u16,
}

impl Udp {
    /// Writes it and the tunnel header behind it.
    #[inline(always)]
    fn write<P: Packet>(&self, packet: &mut P, at: usize, header: &TunnelHeader) -> Option<()> {
        let slots: &mut [[u8; 4]; 5] = bytemuck::must_cast_mut(packet.bytes_mut::<20>(at)?);
        let [s0, s1] = self.source.to_be_bytes();
        let [d0, d1] = self.destination.to_wire();
        let [l0, l1] = self.length.to_be_bytes();
        let TunnelHeader { version_hops, tried, flags, inner_protocol, generation, hops } = *header;
        let [a, b, c] = hops;
        *slots = [
            [s0, s1, d0, d1],
            [l0, l1, 0, 0],
            [version_hops, tried, flags, inner_protocol],
            [generation[0], generation[1], a[0], a[1]],
            [b[0], b[1], c[0], c[1]],
        ];
        Some(())
    }
}
