//! Asks a peer through the tunnel whether it would take a new connection. The question is a tunnel
//! packet that this node's stack sends; the peer's program turns it round
//! ([`TunnelHeader::PROBE`]). An answer proves what a client's connection needs: the fabric carries
//! tunnel packets of this length, the peer knows this node, its program runs, and somebody listens.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use ingress_common::{Hops, TunnelHeader};

use super::health::Tunnel;

/// Of the packet inside. Nobody answers to it.
const PORT: u16 = 9;
const IPV4: usize = 20;
const IPV6: usize = 40;
const TCP: usize = 20;
const UDP: usize = 8;
const SYN: u8 = 2;

/// What is asked, of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    /// This node's address, which the peer knows it by.
    pub(super) own: IpAddr,
    /// The peer's address and the tunnel's port.
    pub(super) peer: SocketAddr,
    /// The virtual service.
    pub(super) service: SocketAddr,
    /// Length of the IP packet on the link in bytes; as short as possible if 0.
    pub(super) length: usize,
}

/// Asks once. Waits for as long as it is polled; an answer that never comes is the caller's to limit.
pub(super) async fn ask(question: Question, number: u16) -> Tunnel {
    let bytes = question.bytes(number);
    match exchange(question, &bytes).await {
        Ok(answer) => answer,
        // Nothing here says anything about the peer.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Tunnel::Unasked,
        Err(_) => Tunnel::Missed,
    }
}

async fn exchange(question: Question, bytes: &[u8]) -> io::Result<Tunnel> {
    // Another port each time: the fabric's paths and the peer's queues are chosen by it.
    let socket = tokio::net::UdpSocket::bind(SocketAddr::new(question.own, 0)).await?;
    socket.connect(question.peer).await?;
    socket.send(bytes).await?;
    let mut answer = [0; TunnelHeader::LEN];
    loop {
        // The rest of a long datagram is cut off.
        let length = socket.recv(&mut answer).await?;
        if let Some(told) = read(answer.get(..length).unwrap_or_default(), bytes) {
            return Ok(told);
        }
    }
}

/// The answer to this question; `None` for anything else.
fn read(answer: &[u8], question: &[u8]) -> Option<Tunnel> {
    let header: &[u8; TunnelHeader::LEN] = answer.first_chunk()?;
    // Its alignment in memory is more than that in a packet.
    let header: TunnelHeader = bytemuck::pod_read_unaligned(header);
    let asked: &[u8; TunnelHeader::LEN] = question.first_chunk()?;
    let asked: TunnelHeader = bytemuck::pod_read_unaligned(asked);
    let ours = header.version_hops == asked.version_hops
        && header.generation == asked.generation
        && header.flags & TunnelHeader::ANSWER != 0;
    let takes = header.flags & TunnelHeader::TAKES_NEW != 0;
    ours.then_some(if takes { Tunnel::Takes } else { Tunnel::Refuses })
}

impl Question {
    /// The datagram: the tunnel's header, then a SYN to the service, then zeros.
    fn bytes(&self, number: u16) -> Vec<u8> {
        let inner = match self.service.ip() {
            IpAddr::V4(_) => TunnelHeader::INNER_V4,
            IpAddr::V6(_) => TunnelHeader::INNER_V6,
        };
        let header = TunnelHeader::new(
            Hops::of_row(&ingress_common::Row::EMPTY),
            1,
            TunnelHeader::PROBE,
            inner,
            number,
        );
        let outer = if self.peer.is_ipv4() { IPV4 } else { IPV6 } + UDP + TunnelHeader::LEN;
        let least = if self.service.is_ipv4() { IPV4 } else { IPV6 } + TCP;
        let length = self.length.saturating_sub(outer).clamp(least, usize::from(u16::MAX));
        let mut bytes = bytemuck::bytes_of(&header).to_vec();
        match self.service.ip() {
            IpAddr::V4(service) => {
                let source = match self.own {
                    IpAddr::V4(own) => own,
                    // The dummy address of RFC 7600: it is only ever compared.
                    IpAddr::V6(_) => Ipv4Addr::new(192, 0, 0, 8),
                };
                let total = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
                bytes.extend([0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, 6, 0, 0]);
                bytes.extend(source.octets());
                bytes.extend(service.octets());
            }
            IpAddr::V6(service) => {
                let source = match self.own {
                    // Of the prefix whose packets nobody takes (RFC 6666): programs take no mapped
                    // address in an IPv6 header.
                    IpAddr::V4(own) => {
                        let [a, b, c, d] = own.octets().map(u16::from);
                        Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, a << 8 | b, c << 8 | d)
                    }
                    IpAddr::V6(own) => own,
                };
                let payload = u16::try_from(length - IPV6).unwrap_or(u16::MAX).to_be_bytes();
                bytes.extend([0x60, 0, 0, 0, payload[0], payload[1], 6, 64]);
                bytes.extend(source.octets());
                bytes.extend(service.octets());
            }
        }
        bytes.extend(PORT.to_be_bytes());
        bytes.extend(self.service.port().to_be_bytes());
        bytes.extend([0; 8]);
        bytes.extend([0x50, SYN, 0, 0, 0, 0, 0, 0]);
        bytes.resize(TunnelHeader::LEN + length, 0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(own: &str, peer: &str, service: &str, length: usize) -> Question {
        Question {
            own: own.parse().expect("an address"),
            peer: peer.parse().expect("an address"),
            service: service.parse().expect("an address"),
            length,
        }
    }

    #[test]
    fn a_question_is_as_long_on_the_link_as_asked_for() {
        for (peer, own, outside) in
            [("192.0.2.1:6082", "192.0.2.2", 28), ("[2001:db8::1]:6082", "2001:db8::2", 48)]
        {
            for service in ["203.0.113.80:80", "[2001:db8::80]:443"] {
                for length in [200, 1280, 1500, 9000] {
                    let bytes = question(own, peer, service, length).bytes(7);
                    assert_eq!(bytes.len() + outside, length);
                }
            }
        }
    }

    #[test]
    fn only_the_answer_to_the_question_counts() {
        let bytes = question("192.0.2.2", "192.0.2.1:6082", "203.0.113.80:80", 0).bytes(7);
        let answer = |flags: u8| {
            let mut answer = bytes.clone();
            answer[2] = flags;
            answer
        };
        let (yes, no) = (TunnelHeader::ANSWER | TunnelHeader::TAKES_NEW, TunnelHeader::ANSWER);
        assert_eq!(read(&answer(yes), &bytes), Some(Tunnel::Takes));
        assert_eq!(read(&answer(no), &bytes), Some(Tunnel::Refuses));
        assert_eq!(read(&bytes, &bytes), None, "a question is no answer");
        let mut late = answer(yes);
        late[5] = 8;
        assert_eq!(read(&late, &bytes), None, "the answer to another question");
        for length in 0..TunnelHeader::LEN {
            assert_eq!(read(&answer(yes)[..length], &bytes), None);
        }
    }
}
