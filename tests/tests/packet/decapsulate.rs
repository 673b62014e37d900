//! Out of the tunnel: taken, or handed on to the next hop.

use std::net::{IpAddr, TcpListener};

use ingress_common::{NodeId, Reason};
use testbed::wire::{ACK, Packet, SYN};

use crate::bed::{
    Bed, CLIENT, CLIENT6, DNS, DROP, ELSEWHERE, HTTP, Header, MTU, OVER_V4, OVER_V6, OWN, OWN_V4,
    OWN_V6, PASS, PEER_V4, PEER_V6, REDIRECT, TX, UNUSABLE, VIP, VIP6, bed, mac, node, segment,
    segment6, source_mac, tunnelled,
};

const ENTROPY: u16 = 0xd123;

/// The packet of a client in the tunnel from either peer.
fn from_peers(header: &Header, client: &Packet) -> [Packet; 2] {
    let payload = header.before(client);
    [
        tunnelled((PEER_V4, OWN_V4), ENTROPY, payload.clone()),
        tunnelled((PEER_V6, OWN_V6), ENTROPY, payload),
    ]
}

impl Bed {
    /// Checks that the client's packet is taken out of the tunnel, in the link-layer header that
    /// it came in.
    #[track_caller]
    fn takes(&mut self, outer: &Packet, client: &Packet, reason: Reason) {
        let inner = Packet { tags: outer.tags.clone(), padding: outer.padding, ..client.clone() };
        self.check(&outer.frame(), PASS, reason, &inner.frame());
    }

    /// Checks that the packet is handed on to `node` with this header.
    #[track_caller]
    fn relays(&mut self, outer: &Packet, client: &Packet, node: u16, header: &Header) {
        let payload = header.before(client);
        let mut expected = match node {
            OVER_V4 => tunnelled((OWN_V4, PEER_V4), ENTROPY, payload),
            OVER_V6 => tunnelled((OWN_V6, PEER_V6), ENTROPY, payload),
            _ => tunnelled((OWN_V4, crate::bed::PEER_ELSEWHERE), ENTROPY, payload),
        };
        expected.link = [mac(node), source_mac(node)];
        expected.padding = outer.padding;
        let action = if node == ELSEWHERE {
            REDIRECT
        } else {
            expected.tags.clone_from(&outer.tags);
            TX
        };
        self.check(&outer.frame(), action, Reason::Relayed, &expected.frame());
    }
}

#[test]
fn a_beginning_is_taken_where_somebody_listens() {
    bed(|bed| {
        let _v4 = TcpListener::bind((VIP, HTTP)).unwrap();
        let _v6 = TcpListener::bind((VIP6, HTTP)).unwrap();
        for client in [segment(SYN), segment6(SYN)] {
            for outer in from_peers(&Header::new(1, &[OVER_V6, OVER_V4]), &client) {
                bed.takes(&outer, &client, Reason::Decapsulated);
                let tags = vec![[0x81, 0, 0, 5]];
                let tagged = Packet { tags, padding: 4, ..outer.clone() };
                bed.takes(&tagged, &client, Reason::Decapsulated);
                let twice = vec![[0x88, 0xa8, 0, 5], [0x81, 0, 0, 6]];
                bed.takes(&Packet { tags: twice, ..outer }, &client, Reason::Decapsulated);
            }
        }
    });
}

#[test]
fn a_known_connection_is_taken() {
    bed(|bed| {
        let listener = TcpListener::bind((VIP, HTTP)).unwrap();
        let stream = std::net::TcpStream::connect((VIP, HTTP)).unwrap();
        let (_server, client) = listener.accept().unwrap();
        let client = Packet::tcp((client.ip(), client.port()), (VIP, HTTP), ACK, b"data");
        for outer in from_peers(&Header::new(2, &[OVER_V6]), &client) {
            bed.takes(&outer, &client, Reason::Decapsulated);
        }
        drop(stream);
    });
}

/// Whatever the client sent comes out: options, extension headers, every byte of data.
#[test]
fn unusual_packets_are_taken_as_they_are() {
    bed(|bed| {
        let options = Packet { options: vec![148, 4, 0, 0, 1, 1, 1, 0], ttl: 0, ..segment(ACK) };
        let extended = Packet {
            extensions: vec![(0, vec![0; 8]), (60, vec![0; 8])],
            label: 0xabcde,
            ..segment6(ACK)
        };
        let query = Packet::udp((CLIENT6, 5), (VIP6, DNS), b"query");
        for (client, reason) in [
            (options, Reason::DecapsulatedLast),
            (extended, Reason::DecapsulatedLast),
            (query, Reason::Decapsulated),
        ] {
            for outer in from_peers(&Header::new(1, &[]), &client) {
                bed.takes(&outer, &client, reason);
            }
        }
    });
}

#[test]
fn an_unknown_connection_goes_to_the_next_hop() {
    bed(|bed| {
        // A listener makes no segment but a SYN its node's.
        let _listener = TcpListener::bind((VIP, HTTP)).unwrap();
        for client in [segment(ACK), segment6(ACK), segment6(SYN)] {
            for next in [OVER_V4, OVER_V6, ELSEWHERE] {
                for (rest, tried) in [(&[][..], 1), (&[7], 1), (&[7, 8], 1), (&[7], 2)] {
                    let hops = [&[next], rest].concat();
                    for outer in from_peers(&Header::new(tried, &hops), &client) {
                        let header = Header::new(tried + 1, rest);
                        bed.relays(&outer, &client, next, &header);
                        let tags = vec![[0x81, 0, 0, 5]];
                        let outer = Packet { tags, padding: 2, ..outer };
                        bed.relays(&outer, &client, next, &header);
                    }
                }
            }
        }
    });
}

#[test]
fn the_last_hop_keeps_what_nobody_knows() {
    bed(|bed| {
        for client in [segment(SYN), segment(ACK), segment6(ACK)] {
            // This node once more in the list makes it no less the last.
            for hops in [&[][..], &[OWN]] {
                for outer in from_peers(&Header::new(2, hops), &client) {
                    bed.takes(&outer, &client, Reason::DecapsulatedLast);
                }
            }
        }
    });
}

#[test]
fn a_hop_that_cannot_be_reached_is_left_out_and_told_of() {
    bed(|bed| {
        let client = segment(ACK);
        for outer in from_peers(&Header::new(1, &[UNUSABLE, OVER_V4, 7]), &client) {
            let header = Header { skipped: true, ..Header::new(3, &[7]) };
            bed.relays(&outer, &client, OVER_V4, &header);
        }
        // What an earlier node told is told on.
        let told = Header { skipped: true, ..Header::new(1, &[OVER_V6]) };
        for outer in from_peers(&told, &client) {
            let header = Header { skipped: true, ..Header::new(2, &[]) };
            bed.relays(&outer, &client, OVER_V6, &header);
        }
    });
}

/// The owner may be the one that was left out: no stack but its own may answer with a reset.
#[test]
fn after_a_node_was_left_out_the_last_hop_drops_what_it_does_not_know() {
    bed(|bed| {
        let told = Header { skipped: true, ..Header::new(2, &[]) };
        for header in [&told, &Header::new(1, &[UNUSABLE])] {
            for client in [segment(ACK), segment6(ACK)] {
                for outer in from_peers(header, &client) {
                    bed.drops(&outer.frame(), Reason::OwnerUnreachable);
                }
            }
            for outer in from_peers(header, &segment(SYN)) {
                bed.takes(&outer, &segment(SYN), Reason::DecapsulatedLast);
            }
        }
    });
}

#[test]
fn a_relay_that_does_not_fit_is_dropped() {
    bed(|bed| {
        let length = usize::from(MTU) - 40 - 40;
        let client = Packet::tcp((CLIENT, 5), (VIP, HTTP), ACK, &vec![7; length]);
        // Came over IPv4 and would have to go over IPv6, which takes 20 bytes more.
        let [outer, _] = from_peers(&Header::new(1, &[OVER_V6]), &client);
        bed.drops(&outer.frame(), Reason::RelayFailed);
        let [outer, _] = from_peers(&Header::new(1, &[OVER_V4]), &client);
        bed.relays(&outer, &client, OVER_V4, &Header::new(2, &[]));
        // There is no room for those 20 bytes either.
        let [outer, _] = from_peers(&Header::new(1, &[OVER_V6]), &segment(ACK));
        bed.check_without_headroom(&outer.frame(), DROP, Reason::RelayFailed);
    });
}

/// A virtual address may be a node's own, and its tunnel still works.
#[test]
fn the_tunnel_comes_before_the_virtual_addresses() {
    bed(|bed| {
        bed.programs.add_vip_address(IpAddr::from(OWN_V4)).unwrap();
        let [outer, _] = from_peers(&Header::new(1, &[]), &segment(SYN));
        bed.takes(&outer, &segment(SYN), Reason::DecapsulatedLast);
    });
}

/// What one node sends, the next one can read: over any number of hops the list only shrinks, and
/// the last one has the client's packet.
#[test]
fn a_packet_that_nobody_knows_travels_the_whole_row_once() {
    bed(|bed| {
        // All nodes are this one, by other names.
        for id in 2..=5 {
            let itself = node(id, PEER_V4.into(), OWN_V4.into(), 1);
            bed.programs.set_node(NodeId(id), itself).unwrap();
        }
        for client in [segment(ACK), segment6(ACK)] {
            bed.row(&client, &[2, 3, 4, 5]);
            let mut run = bed.run(&client.frame());
            assert_eq!((run.action, run.reason), (TX, Reason::Forwarded));
            for _ in 0..3 {
                run = bed.run(&run.frame);
                assert_eq!((run.action, run.reason), (TX, Reason::Relayed));
            }
            let run = bed.run(&run.frame);
            assert_eq!((run.action, run.reason), (PASS, Reason::DecapsulatedLast));
            let expected = Packet { link: [mac(5), source_mac(5)], ..client };
            assert_eq!(run.frame, expected.frame());
        }
    });
}
