//! Packets as clients, neighbours and peers send them, written from the RFCs alone: the tests of
//! the kernel tier must not believe its own code. Every checksum is a full recomputation.

use std::net::IpAddr;

/// Link-layer address of whoever sends to the node under test.
pub const NEIGHBOUR: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0a];
/// Link-layer address of the node under test.
pub const HERE: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// TCP's FIN flag.
pub const FIN: u8 = 0x01;
/// TCP's SYN flag.
pub const SYN: u8 = 0x02;
/// TCP's RST flag.
pub const RST: u8 = 0x04;
/// TCP's ACK flag.
pub const ACK: u8 = 0x10;

/// An IP packet in an Ethernet frame.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Link-layer destination and source.
    pub link: [[u8; 6]; 2],
    /// VLAN tags, EtherType first, the outer one first.
    pub tags: Vec<[u8; 4]>,
    /// Source address. Its family is the packet's.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Identification of an IPv4 packet.
    pub identification: u16,
    /// Flags and offset of an IPv4 packet.
    pub fragment: u16,
    /// Flow label of an IPv6 packet.
    pub label: u32,
    /// IPv4 options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// IPv6 extension headers: number and bytes. The first byte of each is overwritten by what
    /// follows it.
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// What the packet carries.
    pub transport: Transport,
    /// Bytes behind the packet, as Ethernet pads short frames.
    pub padding: usize,
}

/// What an IP packet carries.
#[derive(Clone, Debug)]
pub enum Transport {
    /// A TCP segment.
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// The flags.
        flags: u8,
        /// The data.
        data: Vec<u8>,
    },
    /// A UDP datagram.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// The data.
        data: Vec<u8>,
        /// Zero instead of a checksum.
        unchecked: bool,
    },
    /// Anything else: protocol number and bytes.
    Other(u8, Vec<u8>),
}

impl Packet {
    /// A packet from `source` to `destination` with nothing special about it.
    pub fn new(
        source: impl Into<IpAddr>,
        destination: impl Into<IpAddr>,
        transport: Transport,
    ) -> Self {
        Self {
            link: [HERE, NEIGHBOUR],
            tags: Vec::new(),
            source: source.into(),
            destination: destination.into(),
            ttl: 64,
            identification: 0x1234,
            fragment: 0x4000,
            label: 0,
            options: Vec::new(),
            extensions: Vec::new(),
            transport,
            padding: 0,
        }
    }

    /// A TCP segment.
    pub fn tcp(
        (source, source_port): (impl Into<IpAddr>, u16),
        (destination, destination_port): (impl Into<IpAddr>, u16),
        flags: u8,
        data: &[u8],
    ) -> Self {
        let transport = Transport::Tcp {
            source: source_port,
            destination: destination_port,
            flags,
            data: data.to_vec(),
        };
        Self::new(source, destination, transport)
    }

    /// A UDP datagram.
    pub fn udp(
        (source, source_port): (impl Into<IpAddr>, u16),
        (destination, destination_port): (impl Into<IpAddr>, u16),
        data: &[u8],
    ) -> Self {
        let transport = Transport::Udp {
            source: source_port,
            destination: destination_port,
            data: data.to_vec(),
            unchecked: false,
        };
        Self::new(source, destination, transport)
    }

    /// The whole frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = self.link.concat();
        frame.extend(self.tags.concat());
        frame.extend(if self.source.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] });
        frame.extend(self.ip());
        // Not zero, so that taking padding for data would show.
        frame.extend(vec![0xa5; self.padding]);
        frame
    }

    /// The packet from its IP header on.
    pub fn ip(&self) -> Vec<u8> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.ipv4(source.octets(), destination.octets())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.ipv6(source.octets(), destination.octets())
            }
            families => unreachable!("one packet, two families: {families:?}"),
        }
    }

    /// RFC 791 section 3.1.
    fn ipv4(&self, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let header = 20 + self.options.len();
        let (protocol, payload) = self.payload();
        let mut ip = vec![0x40 | (header / 4) as u8, 0];
        ip.extend(((header + payload.len()) as u16).to_be_bytes());
        ip.extend(self.identification.to_be_bytes());
        ip.extend(self.fragment.to_be_bytes());
        ip.extend([self.ttl, protocol, 0, 0]);
        ip.extend(source);
        ip.extend(destination);
        ip.extend(&self.options);
        let sum = checksum(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        ip.extend(payload);
        ip
    }

    /// RFC 8200 sections 3 and 4.
    fn ipv6(&self, source: [u8; 16], destination: [u8; 16]) -> Vec<u8> {
        let (protocol, payload) = self.payload();
        let mut next: Vec<u8> = self.extensions.iter().map(|(number, _)| *number).collect();
        next.push(protocol);
        let extensions = self.extensions.iter().zip(&next[1..]).flat_map(|((_, bytes), next)| {
            let mut bytes = bytes.clone();
            bytes[0] = *next;
            bytes
        });
        let behind: Vec<u8> = extensions.chain(payload).collect();
        let mut ip = (0x6000_0000 | self.label).to_be_bytes().to_vec();
        ip.extend((behind.len() as u16).to_be_bytes());
        ip.extend([next[0], self.ttl]);
        ip.extend(source);
        ip.extend(destination);
        ip.extend(behind);
        ip
    }

    fn payload(&self) -> (u8, Vec<u8>) {
        match &self.transport {
            Transport::Tcp { source, destination, flags, data } => {
                let mut segment = [source.to_be_bytes(), destination.to_be_bytes()].concat();
                segment.extend(0x0102_0304u32.to_be_bytes());
                segment.extend(0x0506_0708u32.to_be_bytes());
                segment.extend([0x50, *flags, 0xff, 0xff, 0, 0, 0, 0]);
                segment.extend(data);
                let sum = self.transport_checksum(6, &segment);
                segment[16..18].copy_from_slice(&sum.to_be_bytes());
                (6, segment)
            }
            Transport::Udp { source, destination, data, unchecked } => {
                let mut datagram = [source.to_be_bytes(), destination.to_be_bytes()].concat();
                datagram.extend((8 + data.len() as u16).to_be_bytes());
                datagram.extend([0, 0]);
                datagram.extend(data);
                if !unchecked {
                    let sum = self.transport_checksum(17, &datagram);
                    // RFC 768: a sum of zero is sent as all ones.
                    let sum = if sum == 0 { 0xffff } else { sum };
                    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
                }
                (17, datagram)
            }
            Transport::Other(protocol, bytes) => (*protocol, bytes.clone()),
        }
    }

    /// The checksum over the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1) and the
    /// segment.
    fn transport_checksum(&self, protocol: u8, segment: &[u8]) -> u16 {
        let mut covered = Vec::new();
        for address in [self.source, self.destination] {
            match address {
                IpAddr::V4(v4) => covered.extend(v4.octets()),
                IpAddr::V6(v6) => covered.extend(v6.octets()),
            }
        }
        covered.extend((segment.len() as u32).to_be_bytes());
        covered.extend([0, 0, 0, protocol]);
        covered.extend(segment);
        checksum(&covered)
    }
}

/// RFC 1071, carry by carry.
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u16;
    for pair in bytes.chunks(2) {
        let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
        let (added, carry) = sum.overflowing_add(word);
        sum = added + u16::from(carry);
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of the worked example in many a textbook, and what its sum must be.
    #[test]
    fn a_known_header_has_its_known_checksum() {
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0x00, 0x00, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(checksum(&header), 0xb861);
    }

    #[test]
    fn a_packet_with_its_checksum_sums_up_to_zero() {
        let packet = Packet::tcp(([192, 0, 2, 1], 1), ([192, 0, 2, 2], 2), SYN, b"odd");
        assert_eq!(checksum(&packet.ip()[..20]), 0);
    }
}
