//! Carries the link-layer header over to a frame's new front.

use ingress_common::Mac;

use crate::{
    Packet,
    parse::{ETHERNET, Link},
};

/// The VLAN tags of a frame, as they lie between the addresses and the EtherType: words in the
/// order of the packet.
#[derive(Clone, Copy)]
pub(crate) enum Tags {
    None,
    One(u32),
    Two(u32, u32),
}

impl Tags {
    /// The tags of a frame with this header.
    #[inline(always)]
    pub(crate) fn read<P: Packet>(packet: &P, link: &Link) -> Option<Self> {
        match link.length {
            ETHERNET => Some(Self::None),
            18 => Some(Self::One(u32::from_ne_bytes(*packet.bytes(12)?))),
            _ => {
                let outer = u32::from_ne_bytes(*packet.bytes(12)?);
                Some(Self::Two(outer, u32::from_ne_bytes(*packet.bytes(16)?)))
            }
        }
    }

    /// Length of a link-layer header with these tags.
    #[inline(always)]
    pub(super) const fn header(self) -> usize {
        match self {
            Self::None => ETHERNET,
            Self::One(_) => ETHERNET + 4,
            Self::Two(..) => ETHERNET + 8,
        }
    }

    /// Writes a link-layer header with these tags at the front of the frame.
    #[inline(always)]
    pub(crate) fn write<P: Packet>(
        self,
        packet: &mut P,
        destination: Mac,
        source: Mac,
        protocol: [u8; 2],
    ) -> Option<()> {
        let front: &mut [[u8; 2]; 6] = bytemuck::must_cast_mut(packet.bytes_mut::<12>(0)?);
        let [d0, d1, d2] = destination.words();
        let [s0, s1, s2] = source.words();
        for (slot, word) in front.iter_mut().zip([d0, d1, d2, s0, s1, s2]) {
            *slot = word.to_ne_bytes();
        }
        match self {
            Self::None => *packet.bytes_mut(12)? = protocol,
            Self::One(tag) => {
                *packet.bytes_mut(12)? = tag.to_ne_bytes();
                *packet.bytes_mut(16)? = protocol;
            }
            Self::Two(outer, inner) => {
                *packet.bytes_mut(12)? = outer.to_ne_bytes();
                *packet.bytes_mut(16)? = inner.to_ne_bytes();
                *packet.bytes_mut(20)? = protocol;
            }
        }
        Some(())
    }
}

/// Destination and source of a frame.
#[inline(always)]
pub(crate) fn addresses<P: Packet>(packet: &P) -> Option<(Mac, Mac)> {
    let [d0, d1, d2, s0, s1, s2] =
        *bytemuck::must_cast_ref::<[u8; 12], [[u8; 2]; 6]>(packet.bytes(0)?);
    Some((
        Mac::from_words([d0, d1, d2].map(u16::from_ne_bytes)),
        Mac::from_words([s0, s1, s2].map(u16::from_ne_bytes)),
    ))
}
