//! IPv6 (RFC 8200) and a bounded walk over its extension headers.

use ingress_common::Reason;

use super::{Ip, Network, Piece};
use crate::Packet;

/// Extension headers that are looked behind. RFC 8200 section 4.1 recommends an order with at most
/// six, two of which belong to IPsec; four is what real packets have and what the verifier likes.
const MAX_EXTENSIONS: usize = 4;

/// A bound for everything before the transport header: 40 bytes, and extension headers of at most
/// 2048.
pub(super) const HEADERS: usize = 0x3fff;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

#[inline(always)]
pub(super) fn read<P: Packet>(packet: &P, offset: usize) -> Result<(Ip, Option<Piece>), Reason> {
    let fixed: &[u8; 40] = packet.bytes(offset).ok_or(Reason::Malformed)?;
    let length = 40 + usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    let protocol = fixed[6];
    if fixed[0] >> 4 != 6 || offset + length > packet.length() {
        return Err(Reason::Malformed);
    }
    if !is_extension(protocol) {
        return Ok((Ip::new(Network::V6, length, 40, protocol), None));
    }
    let (header, protocol, piece) = walk(packet, offset, protocol)?;
    if header > length {
        return Err(Reason::Malformed);
    }
    Ok((Ip::new(Network::V6, length, header, protocol), piece))
}

/// The beginning of a packet that an ICMP error quotes: length of its headers, and its protocol.
#[inline(always)]
pub(super) fn quoted<P: Packet>(packet: &P, offset: usize) -> Option<(usize, u8)> {
    let fixed: &[u8; 40] = packet.bytes(offset)?;
    if fixed[0] >> 4 != 6 {
        return None;
    }
    match walk(packet, offset, fixed[6]).ok()? {
        (_, _, Some(Piece { first: false, .. })) => None,
        (header, protocol, _) => Some((header, protocol)),
    }
}

#[inline(always)]
const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS)
}

/// Walks over the extension headers of the packet at `offset`, the first of which is of the protocol
/// `first`: where the transport header begins, its protocol, and whether the packet is a fragment.
/// The walk ends with the header of a fragment that is not the first: what follows is data.
#[inline(always)]
fn walk<P: Packet>(
    packet: &P,
    offset: usize,
    first: u8,
) -> Result<(usize, u8, Option<Piece>), Reason> {
    let mut protocol = first;
    let mut piece = None;
    let mut header = 40;
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(protocol) {
            break;
        }
        let extension: &[u8; 4] = packet.bytes(offset + header).ok_or(Reason::Malformed)?;
        header += match protocol {
            FRAGMENT => {
                // An atomic fragment (RFC 6946), the only one of its packet, is like any header.
                let field = u16::from_be_bytes([extension[2], extension[3]]);
                if field & 0xfff9 != 0 {
                    let number: &[u8; 4] =
                        packet.bytes(offset + header + 4).ok_or(Reason::Malformed)?;
                    let first = field & 0xfff8 == 0;
                    piece = Some(Piece { identification: u32::from_ne_bytes(*number), first });
                    if !first {
                        return Ok((header + 8, extension[0], piece));
                    }
                }
                8
            }
            // RFC 4302 section 2.2: in units of four bytes, minus two.
            AUTHENTICATION => (usize::from(extension[1]) + 2) * 4,
            _ => (usize::from(extension[1]) + 1) * 8,
        };
        protocol = extension[0];
        header = packet.merged::<HEADERS>(header);
    }
    Ok((header, protocol, piece))
}
