//! IPv6 (RFC 8200) and a bounded walk over its extension headers.

use ingress_common::Reason;

use super::{Ip, Network};
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
pub(super) fn read<P: Packet>(packet: &P, offset: usize) -> Result<Ip, Reason> {
    let fixed: &[u8; 40] = packet.bytes(offset).ok_or(Reason::Malformed)?;
    let length = 40 + usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    let protocol = fixed[6];
    if fixed[0] >> 4 != 6 || offset + length > packet.length() {
        return Err(Reason::Malformed);
    }
    if !is_extension(protocol) {
        return Ok(Ip { network: Network::V6, length, header: 40, protocol });
    }
    let (header, protocol) = walk(packet, offset, protocol)?;
    if header > length {
        return Err(Reason::Malformed);
    }
    Ok(Ip { network: Network::V6, length, header, protocol })
}

#[inline(always)]
const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS)
}

/// Walks over the extension headers of the packet at `offset`, the first of which is of the protocol
/// `first`: where the transport header begins, and its protocol.
#[inline(always)]
fn walk<P: Packet>(packet: &P, offset: usize, first: u8) -> Result<(usize, u8), Reason> {
    let mut protocol = first;
    let mut header = 40;
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(protocol) {
            break;
        }
        let extension: &[u8; 4] = packet.bytes(offset + header).ok_or(Reason::Malformed)?;
        header += match protocol {
            FRAGMENT => {
                // An atomic fragment (RFC 6946), the only one of its packet, is like any header.
                if u16::from_be_bytes([extension[2], extension[3]]) & 0xfff9 != 0 {
                    return Err(Reason::Fragment);
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
    Ok((header, protocol))
}
