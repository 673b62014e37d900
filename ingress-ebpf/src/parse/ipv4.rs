//! IPv4 (RFC 791). Options are legal input: the header's own length says where they end.

use ingress_common::Reason;

use super::{Ip, Network, Piece};
use crate::Packet;

/// More Fragments, and the fragment's offset: any of them set makes a fragment.
const FRAGMENT: u16 = 0x3fff;
/// The fragment's offset.
const OFFSET: u16 = 0x1fff;

#[inline(always)]
pub(super) fn read<P: Packet>(packet: &P, offset: usize) -> Result<(Ip, Option<Piece>), Reason> {
    let fixed: &[u8; 20] = packet.bytes(offset).ok_or(Reason::Malformed)?;
    let header = usize::from(fixed[0] & 0xf) * 4;
    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    let fragment = u16::from_be_bytes([fixed[6], fixed[7]]) & FRAGMENT;
    let protocol = fixed[9];
    if fixed[0] >> 4 != 4 || header < 20 || length < header || offset + length > packet.length() {
        return Err(Reason::Malformed);
    }
    let identification = u32::from(u16::from_ne_bytes([fixed[4], fixed[5]]));
    let piece = (fragment != 0).then_some(Piece { identification, first: fragment & OFFSET == 0 });
    Ok((Ip::new(Network::V4, length, header, protocol), piece))
}

/// The beginning of a packet that an ICMP error quotes: length of its header, and its protocol.
/// Nothing is said of its end, which the quotation may not have.
#[inline(always)]
pub(super) fn quoted<P: Packet>(packet: &P, offset: usize) -> Option<(usize, u8)> {
    let fixed: &[u8; 20] = packet.bytes(offset)?;
    let header = usize::from(fixed[0] & 0xf) * 4;
    let first = u16::from_be_bytes([fixed[6], fixed[7]]) & OFFSET == 0;
    (fixed[0] >> 4 == 4 && header >= 20 && first).then_some((header, fixed[9]))
}
