//! What the two versions of IP have in common.

use ingress_common::{Address, Reason};

use super::{ipv4, ipv6};
use crate::Packet;

/// A version of IP.
// As wide as a register, like all of `Ip`: padding would be copied too, in pieces that the verifier
// does not take on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Network {
    /// Version 4.
    V4,
    /// Version 6.
    V6,
}

/// A packet of either version that the frame has all of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// The version.
    pub network: Network,
    /// Length of the packet in bytes, from the first byte of its IP header. Taken from the header:
    /// a frame may be padded.
    pub length: usize,
    /// Length of everything before the transport header.
    pub header: usize,
    protocol: u64,
}

/// What makes a packet a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The identification that all fragments of one packet share.
    pub identification: u32,
    /// It begins with the transport header.
    pub first: bool,
}

impl Ip {
    #[inline(always)]
    pub(super) const fn new(network: Network, length: usize, header: usize, protocol: u8) -> Self {
        Self { network, length, header, protocol: protocol as u64 }
    }

    /// The transport protocol's number.
    #[inline(always)]
    pub const fn protocol(&self) -> u8 {
        self.protocol as u8
    }

    /// Reads the packet at `offset`.
    ///
    /// # Errors
    /// [`Reason::Malformed`], [`Reason::Fragment`], or [`Reason::OtherProtocol`] if the transport
    /// header lies behind too many extension headers.
    #[inline(always)]
    pub fn read<P: Packet>(packet: &P, offset: usize, network: Network) -> Result<Self, Reason> {
        match Self::read_piece(packet, offset, network)? {
            (ip, None) => Ok(ip),
            (_, Some(_)) => Err(Reason::Fragment),
        }
    }

    /// Reads the packet at `offset`, which may be a fragment. Of one that is not the first,
    /// everything behind the fragment header counts as data.
    ///
    /// # Errors
    /// [`Reason::Malformed`].
    #[inline(always)]
    pub fn read_piece<P: Packet>(
        packet: &P,
        offset: usize,
        network: Network,
    ) -> Result<(Self, Option<Piece>), Reason> {
        let (mut ip, piece) = match network {
            Network::V4 => ipv4::read(packet, offset),
            Network::V6 => ipv6::read(packet, offset),
        }?;
        ip.header = packet.merged::<{ ipv6::HEADERS }>(ip.header);
        Ok((ip, piece))
    }
}

/// Source and destination of the packet at `offset`. Looks at nothing else, because at this point
/// nobody knows whether the packet is any of our business; `None` if the frame ends before, or if
/// an IPv6 header says `::ffff:a.b.c.d`, which stands for an IPv4 address here and has no business
/// on a wire (RFC 4291, section 2.5.5.2): one could pass for a virtual address, or for a peer.
#[inline(always)]
pub fn addresses<P: Packet>(
    packet: &P,
    offset: usize,
    network: Network,
) -> Option<(Address, Address)> {
    match network {
        Network::V4 => {
            let [source, destination]: &[[u8; 4]; 2] =
                bytemuck::must_cast_ref(packet.bytes::<8>(offset + 12)?);
            Some((Address::v4(*source), Address::v4(*destination)))
        }
        Network::V6 => {
            let [source, destination]: &[[u8; 16]; 2] =
                bytemuck::must_cast_ref(packet.bytes::<32>(offset + 8)?);
            let (source, destination) = (Address::v6(source), Address::v6(destination));
            if source.is_mapped() | destination.is_mapped() {
                return None;
            }
            Some((source, destination))
        }
    }
}
