//! What tells the sender of a packet that does not fit into the tunnel: ICMP "fragmentation needed"
//! (RFC 1191 section 4) or "packet too big" (RFC 4443 section 3.2), from the virtual address.
//!
//! The frame becomes the answer: the packet behind its first bytes is cut off, and headers are put
//! before them. Path MTU discovery (RFC 1191, RFC 8201) does the rest.

use ingress_common::Reason;

use crate::{
    Outcome, Packet, World, checksum,
    parse::{Ip, Link, Network},
    steer::virtual_destination,
    tunnel::{Tags, addresses},
};

/// How much of the packet is quoted: its headers, which is what a sender looks for. RFC 1812 section
/// 4.3.2.3 allows 576 bytes in all, and a packet that does not fit into a tunnel has these.
const QUOTED: usize = 128;
/// Hop limit of the answer, the one that RFC 1700 recommends.
const TTL: u8 = 64;
/// Don't Fragment.
const DF: u8 = 0x40;

/// Turns the frame around, for one that [`steer`](crate::steer()) found too long.
#[inline(always)]
pub fn too_big<P: Packet, W: World>(packet: &mut P, world: &W) -> Outcome {
    try_answer(packet, world).unwrap_or_else(Outcome::Done)
}

#[inline(always)]
fn try_answer<P: Packet, W: World>(packet: &mut P, world: &W) -> Result<Outcome, Reason> {
    let (link, _) = virtual_destination(packet, world)?;
    let ip = Ip::read(packet, link.length, link.network)?;
    if ip.length < QUOTED {
        return Err(Reason::TooBigQuiet);
    }
    let limit = world.take_answer().ok_or(Reason::TooBigQuiet)?;
    let quoted = Quoted::read(packet, &link).ok_or(Reason::Malformed)?;
    let tags = Tags::read(packet, &link).ok_or(Reason::Malformed)?;
    let (to, from) = addresses(packet).ok_or(Reason::Malformed)?;

    // Nothing is lost if this fails: a frame that ends there is not longer already.
    packet.truncate(link.length + QUOTED);
    let header = match link.network {
        Network::V4 => 28,
        Network::V6 => 48,
    };
    if !packet.move_front(-header) {
        // What is left of the packet is nobody's.
        return Err(Reason::TooBigQuiet);
    }
    tags.write(packet, from, to, Link::protocol(link.network)).ok_or(Reason::RewriteFailed)?;
    let start = packet.merged::<0x1f>(link.length);
    let reason = match link.network {
        Network::V4 => {
            let header = packet.bytes_mut::<28>(start).ok_or(Reason::RewriteFailed)?;
            *header = bytemuck::must_cast(v4(&quoted, limit));
            // The flags are in the second word of the quoted header.
            let [_, _, flags, _] = quoted.header[1].to_ne_bytes();
            if flags & DF == 0 { Reason::TooBigWithoutDf } else { Reason::TooBig }
        }
        Network::V6 => {
            let header = packet.bytes_mut::<48>(start).ok_or(Reason::RewriteFailed)?;
            *header = bytemuck::must_cast(v6(&quoted, limit));
            Reason::TooBig
        }
    };
    Ok(Outcome::Send { reason, interface: world.interface() })
}

/// What is quoted of a packet.
struct Quoted {
    /// The words of its IP header; of an IPv4 header, and what follows it.
    header: [u32; 10],
    /// Of all that is quoted.
    sum: u64,
}

impl Quoted {
    #[inline(always)]
    fn read<P: Packet>(packet: &P, link: &Link) -> Option<Self> {
        let words: &[[u8; 4]; QUOTED / 4] =
            bytemuck::must_cast_ref(packet.bytes::<QUOTED>(link.length)?);
        let mut sum = 0;
        for word in words {
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        let header = words.first_chunk::<10>()?.map(u32::from_ne_bytes);
        Some(Self { header, sum })
    }
}

/// IPv4 and ICMP headers of the answer.
#[inline(always)]
fn v4(quoted: &Quoted, limit: u32) -> [u32; 7] {
    let [l0, l1] = (limit as u16).to_be_bytes();
    let total = (28 + QUOTED) as u16;
    let [t0, t1] = total.to_be_bytes();
    // Destination unreachable, fragmentation needed (RFC 792); the limit as RFC 1191 has it.
    let kind = u32::from_ne_bytes([3, 4, 0, 0]);
    let limit = u32::from_ne_bytes([0, 0, l0, l1]);
    let sum = checksum::of(u64::from(kind) + u64::from(limit) + quoted.sum);
    let (source, destination) = (quoted.header[4], quoted.header[3]);
    let mut ip = [
        u32::from_ne_bytes([0x45, 0, t0, t1]),
        u32::from_ne_bytes([0, 0, DF, 0]),
        u32::from_ne_bytes([TTL, 1, 0, 0]),
        source,
        destination,
        kind | with_checksum(sum),
        limit,
    ];
    let [a, b, c, d, e, ..] = ip;
    ip[2] |= with_checksum(checksum::of(checksum::sum(&[a, b, c, d, e])));
    ip
}

/// IPv6 and ICMPv6 headers of the answer.
#[inline(always)]
fn v6(quoted: &Quoted, limit: u32) -> [u32; 12] {
    let length = (8 + QUOTED) as u16;
    let [l0, l1] = length.to_be_bytes();
    let kind = u32::from_ne_bytes([2, 0, 0, 0]);
    let limit = limit.to_be();
    let [_, _, h2, h3, h4, h5, h6, h7, h8, h9] = quoted.header;
    // The source is the destination of what is quoted.
    let [s0, s1, s2, s3] = [h6, h7, h8, h9];
    let [d0, d1, d2, d3] = [h2, h3, h4, h5];
    // The pseudo header of RFC 8200 section 8.1.
    let pseudo = [
        s0,
        s1,
        s2,
        s3,
        d0,
        d1,
        d2,
        d3,
        u32::from_ne_bytes([0, 0, l0, l1]),
        u32::from_ne_bytes([0, 0, 0, 58]),
        kind,
        limit,
    ];
    let sum = checksum::of(checksum::sum(&pseudo) + quoted.sum);
    [
        u32::from_ne_bytes([0x60, 0, 0, 0]),
        u32::from_ne_bytes([l0, l1, 58, TTL]),
        s0,
        s1,
        s2,
        s3,
        d0,
        d1,
        d2,
        d3,
        kind | with_checksum(sum),
        limit,
    ]
}

/// A checksum in the second half of a word, in the order of the packet.
#[inline(always)]
fn with_checksum(sum: u16) -> u32 {
    let [a, b] = sum.to_ne_bytes();
    u32::from_ne_bytes([0, 0, a, b])
}
