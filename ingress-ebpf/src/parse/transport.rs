//! TCP (RFC 9293) and UDP (RFC 768): the ports, and what a segment means for steering.

use ingress_common::{Port, Reason};

use super::{
    Ip, Network,
    icmp::{ICMP, ICMPV6},
};
use crate::Packet;

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;

const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// What kind of packet a flow's owner is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'p> {
    /// A SYN: whoever listens may take it.
    Opening,
    /// Any other TCP segment: only the connection's owner may take it.
    Ongoing(&'p [u8; TCP_HEADER]),
    /// What belongs to a connection but has no TCP header of its own: an ICMP error, or a later
    /// fragment. Only the connection's owner may take it.
    Related,
    /// A UDP datagram: there is no socket to ask about.
    Datagram,
    /// An ICMP error about a UDP datagram: goes where those go.
    DatagramError,
}

/// A transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport<'p> {
    /// The client's port.
    pub source: Port,
    /// The virtual service's port.
    pub destination: Port,
    /// What the packet is.
    pub segment: Segment<'p>,
}

impl<'p> Transport<'p> {
    /// As [`read`](Self::read), of a first fragment: its data may go on in others.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`Reason::Malformed`] also if the header is not whole.
    #[inline(always)]
    pub fn read_first<P: Packet>(packet: &'p P, offset: usize, ip: &Ip) -> Result<Self, Reason> {
        let whole = Self::read(packet, offset, ip);
        if !matches!(whole, Err(Reason::Malformed)) || ip.protocol() != UDP {
            return whole;
        }
        // The length in its header is that of the whole datagram.
        if ip.length - ip.header < UDP_HEADER {
            return Err(Reason::Malformed);
        }
        let header: &[u8; UDP_HEADER] =
            packet.bytes(offset + ip.header).ok_or(Reason::Malformed)?;
        Ok(Self {
            source: Port::from_wire([header[0], header[1]]),
            destination: Port::from_wire([header[2], header[3]]),
            segment: Segment::Datagram,
        })
    }

    /// Reads the header behind the IP header that begins at `offset`.
    ///
    /// # Errors
    /// [`Reason::OtherProtocol`], [`Reason::Icmp`] or [`Reason::Malformed`].
    #[inline(always)]
    pub fn read<P: Packet>(packet: &'p P, offset: usize, ip: &Ip) -> Result<Self, Reason> {
        let start = offset + ip.header;
        let payload = ip.length - ip.header;
        match ip.protocol() {
            TCP if payload < TCP_HEADER => Err(Reason::Malformed),
            TCP => {
                let header: &[u8; TCP_HEADER] = packet.bytes(start).ok_or(Reason::Malformed)?;
                let length = usize::from(header[12] >> 4) * 4;
                if length < TCP_HEADER || length > payload {
                    return Err(Reason::Malformed);
                }
                let opening = header[13] & (SYN | ACK | RST) == SYN;
                Ok(Self {
                    source: Port::from_wire([header[0], header[1]]),
                    destination: Port::from_wire([header[2], header[3]]),
                    segment: if opening { Segment::Opening } else { Segment::Ongoing(header) },
                })
            }
            UDP if payload < UDP_HEADER => Err(Reason::Malformed),
            UDP => {
                let header: &[u8; UDP_HEADER] = packet.bytes(start).ok_or(Reason::Malformed)?;
                let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
                if length < UDP_HEADER || length > payload {
                    return Err(Reason::Malformed);
                }
                Ok(Self {
                    source: Port::from_wire([header[0], header[1]]),
                    destination: Port::from_wire([header[2], header[3]]),
                    segment: Segment::Datagram,
                })
            }
            ICMP if ip.network == Network::V4 => Err(Reason::Icmp),
            ICMPV6 if ip.network == Network::V6 => Err(Reason::Icmp),
            _ => Err(Reason::OtherProtocol),
        }
    }
}
