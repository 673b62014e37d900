//! ICMP errors (RFC 792, RFC 4443) and the packet that they quote.

use ingress_common::{Address, Port};

use super::{
    Ip, Network, addresses, ipv4, ipv6,
    transport::{TCP, UDP},
};
use crate::Packet;

/// IP protocol number of ICMP.
pub(super) const ICMP: u8 = 1;
/// IP protocol number of ICMPv6.
pub(super) const ICMPV6: u8 = 58;
/// What precedes the quotation.
const HEADER: usize = 8;

/// The packet about which an ICMP error is, as the sender of that packet wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Its source: the virtual service, if it is one of ours.
    pub source: (Address, Port),
    /// Its destination: the client.
    pub destination: (Address, Port),
    /// TCP or UDP.
    pub protocol: u8,
}

impl Quoted {
    /// Reads the quotation of the ICMP packet at `offset`; `None` if that is no error, or does not
    /// quote the ports of a TCP segment or a datagram. Eight bytes behind the quoted IP header have
    /// to be there, which is what RFC 792 promises.
    #[inline(always)]
    pub fn read<P: Packet>(packet: &P, offset: usize, ip: &Ip) -> Option<Self> {
        let start = offset + ip.header;
        let header: &[u8; HEADER] = packet.bytes(start)?;
        if !is_error(ip.network, header[0]) {
            return None;
        }
        let start = start + HEADER;
        let (length, protocol) = match ip.network {
            Network::V4 => ipv4::quoted(packet, start),
            Network::V6 => ipv6::quoted(packet, start),
        }?;
        if protocol != TCP && protocol != UDP {
            return None;
        }
        let length = packet.merged::<{ ipv6::HEADERS }>(length);
        // Within the packet, not in the padding behind it.
        if ip.header + HEADER + length + 8 > ip.length {
            return None;
        }
        let (source, destination) = addresses(packet, start, ip.network)?;
        let ports: &[u8; 8] = packet.bytes(start + length)?;
        Some(Self {
            source: (source, Port::from_wire([ports[0], ports[1]])),
            destination: (destination, Port::from_wire([ports[2], ports[3]])),
            protocol,
        })
    }
}

/// Unreachable, time exceeded, parameter problem; over IPv6 also packet too big, which over IPv4 is
/// a code of the first.
#[inline(always)]
const fn is_error(network: Network, kind: u8) -> bool {
    match network {
        Network::V4 => matches!(kind, 3 | 11 | 12),
        Network::V6 => matches!(kind, 1..=4),
    }
}
