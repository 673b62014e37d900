//! The outer headers of a tunnel packet, as a node reads them.

use ingress_common::{Port, Reason, TunnelHeader};

use crate::{
    Packet,
    parse::{Link, Network},
};

const UDP: u8 = 17;
/// Length of a UDP header.
pub(super) const UDP_HEADER: usize = 8;

/// The outer headers of a tunnel packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// Length in bytes, from the outer IP header to the end of the tunnel header.
    pub length: usize,
    /// The outer UDP source port: the flow's entropy, passed on unchanged.
    pub entropy: u16,
    /// The tunnel header.
    pub header: TunnelHeader,
}

/// Length of an outer IP header: the tunnel writes neither options nor extension headers.
#[inline(always)]
pub(super) const fn ip_header(network: Network) -> usize {
    match network {
        Network::V4 => 20,
        Network::V6 => 40,
    }
}

impl Outer {
    /// UDP to the tunnel's port in an IP header as the tunnel writes it. Says nothing about who
    /// sent it.
    #[inline(always)]
    pub fn looks_like<P: Packet>(packet: &P, link: &Link, port: Port) -> bool {
        match link.network {
            Network::V4 => packet.bytes::<24>(link.length).is_some_and(|outer| {
                outer[9] == UDP
                    && outer[0] == 0x45
                    && u16::from_be_bytes([outer[6], outer[7]]) & 0x3fff == 0
                    && [outer[22], outer[23]] == port.to_wire()
            }),
            Network::V6 => packet
                .bytes::<44>(link.length)
                .is_some_and(|outer| outer[6] == UDP && [outer[42], outer[43]] == port.to_wire()),
        }
    }

    /// Reads the headers of a packet that [looks like](Self::looks_like) one of the tunnel's.
    ///
    /// # Errors
    /// [`Reason::BadTunnel`].
    #[inline(always)]
    pub fn read<P: Packet>(packet: &P, link: &Link) -> Result<Self, Reason> {
        let udp = link.length + ip_header(link.network);
        let bytes: &[u8; UDP_HEADER + TunnelHeader::LEN] =
            packet.bytes(udp).ok_or(Reason::BadTunnel)?;
        let entropy = u16::from_be_bytes([bytes[0], bytes[1]]);
        let header: &[u8; TunnelHeader::LEN] = bytes.last_chunk().ok_or(Reason::BadTunnel)?;
        Ok(Self {
            length: packet.merged::<0x3f>(ip_header(link.network) + UDP_HEADER + TunnelHeader::LEN),
            entropy,
            header: bytemuck::must_cast(*header),
        })
    }
}
