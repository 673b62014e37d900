//! Answers a peer's question whether this node would take a new connection. What an answer proves:
//! the fabric carries tunnel packets of this length, this program runs, and somebody listens.

use ingress_common::{Reason, TunnelHeader};

use super::{
    Outer,
    outer::{UDP_HEADER, ip_header},
};
use crate::{
    Outcome, Packet, World, checksum,
    parse::{Link, Network},
};

/// Offset of the flags in the tunnel header; with the byte behind them they are one word of the
/// checksum.
const FLAGS: usize = core::mem::offset_of!(TunnelHeader, flags);
const _: () = assert!(FLAGS.is_multiple_of(2));

/// Turns the frame round and sends it back by the interface that it came in on. The packet goes to
/// the port that the peer's agent asked from, not to the tunnel's, so that it cannot come back.
#[inline(always)]
pub(super) fn answer<P: Packet, W: World>(
    packet: &mut P,
    world: &W,
    link: &Link,
    outer: &Outer,
    takes_new: bool,
) -> Result<Outcome, Reason> {
    let verdict = if takes_new { TunnelHeader::TAKES_NEW } else { 0 };
    let flags = TunnelHeader::ANSWER | verdict;
    turn(packet, link, outer, flags).ok_or(Reason::BadTunnel)?;
    Ok(Outcome::Send { reason: Reason::Probe, interface: world.interface() })
}

#[inline(always)]
fn turn<P: Packet>(packet: &mut P, link: &Link, outer: &Outer, flags: u8) -> Option<()> {
    // Exchanging addresses and ports changes no checksum: they are sums.
    swap::<_, 6>(packet, 0, 6)?;
    match link.network {
        Network::V4 => swap::<_, 4>(packet, link.length + 12, link.length + 16)?,
        Network::V6 => swap::<_, 16>(packet, link.length + 8, link.length + 24)?,
    }
    let udp = link.length + ip_header(link.network);
    swap::<_, 2>(packet, udp, udp + 2)?;
    let header = udp + UDP_HEADER;
    let word: &mut [u8; 2] = packet.bytes_mut(header + FLAGS)?;
    let before = *word;
    word[0] = flags;
    let after = *word;
    let sum: &mut [u8; 2] = packet.bytes_mut(udp + 6)?;
    // Zero: there is none (RFC 768; over IPv6, RFC 6935).
    if *sum != [0, 0] {
        *sum = checksum::changed(*sum, before, after);
    }
    debug_assert_eq!(outer.length, header + TunnelHeader::LEN - link.length);
    Some(())
}

#[inline(always)]
fn swap<P: Packet, const N: usize>(packet: &mut P, a: usize, b: usize) -> Option<()> {
    let first: [u8; N] = *packet.bytes(a)?;
    let second: [u8; N] = *packet.bytes(b)?;
    *packet.bytes_mut(a)? = second;
    *packet.bytes_mut(b)? = first;
    Some(())
}
