//! IPv6 (RFC 8200) and a bounded walk over its extension headers.

use ingress_common::Reason;

use super::{Ip, Network};
use crate::Packet;

/// Extension headers that are looked behind. RFC 8200 section 4.1 recommends an order with at most
/// six, two of which belong to IPsec; four is what real packets have and what the verifier likes.
const MAX_EXTENSIONS: usize = 4;

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
    match packet.behind_extensions(offset).unpack() {
        Behind::Transport { header, protocol } if header <= length => {
            Ok(Ip { network: Network::V6, length, header, protocol })
        }
        Behind::Transport { .. } | Behind::Malformed => Err(Reason::Malformed),
        Behind::Fragment => Err(Reason::Fragment),
    }
}

#[inline(always)]
const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS)
}

/// What lies behind the extension headers of a packet, in one register: so that the walk can be a
/// function of its own, which the verifier looks at once and not once for every way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed(pub u64);

enum Behind {
    Transport { header: usize, protocol: u8 },
    Fragment,
    Malformed,
}

impl Packed {
    const FRAGMENT: Self = Self(1 << 32);
    const MALFORMED: Self = Self(1 << 33);

    #[inline(always)]
    fn unpack(self) -> Behind {
        if self.0 & Self::FRAGMENT.0 != 0 {
            Behind::Fragment
        } else if self.0 & Self::MALFORMED.0 != 0 {
            Behind::Malformed
        } else {
            // 40 and four headers of at most 2048 bytes, hence 14 bits.
            Behind::Transport { header: (self.0 >> 8 & 0x3fff) as usize, protocol: self.0 as u8 }
        }
    }
}

/// Walks over the extension headers of the packet at `offset`.
#[inline(always)]
pub fn walk<P: Packet>(packet: &P, offset: usize) -> Packed {
    let Some([mut protocol]) = packet.bytes::<1>(offset + 6).copied() else {
        return Packed::MALFORMED;
    };
    let mut header = 40;
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(protocol) {
            break;
        }
        let Some(extension) = packet.bytes::<4>(offset + header) else {
            return Packed::MALFORMED;
        };
        header += match protocol {
            FRAGMENT => {
                // An atomic fragment (RFC 6946), the only one of its packet, is like any header.
                if u16::from_be_bytes([extension[2], extension[3]]) & 0xfff9 != 0 {
                    return Packed::FRAGMENT;
                }
                8
            }
            // RFC 4302 section 2.2: in units of four bytes, minus two.
            AUTHENTICATION => (usize::from(extension[1]) + 2) * 4,
            _ => (usize::from(extension[1]) + 1) * 8,
        };
        protocol = extension[0];
    }
    Packed((header as u64) << 8 | u64::from(protocol))
}
