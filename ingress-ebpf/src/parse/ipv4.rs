//! IPv4 (RFC 791). Options are legal input: the header's own length says where they end.

use ingress_common::Reason;

use super::{Ip, Network};
use crate::Packet;

/// More Fragments, and the fragment's offset: any of them set makes a fragment.
const FRAGMENT: u16 = 0x3fff;

#[inline(always)]
pub(super) fn read<P: Packet>(packet: &P, offset: usize) -> Result<Ip, Reason> {
    let fixed: &[u8; 20] = packet.bytes(offset).ok_or(Reason::Malformed)?;
    let header = usize::from(fixed[0] & 0xf) * 4;
    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    let fragment = u16::from_be_bytes([fixed[6], fixed[7]]) & FRAGMENT != 0;
    let protocol = fixed[9];
    if fixed[0] >> 4 != 4 || header < 20 || length < header || offset + length > packet.length() {
        return Err(Reason::Malformed);
    }
    if fragment {
        return Err(Reason::Fragment);
    }
    Ok(Ip { network: Network::V4, length, header, protocol })
}
