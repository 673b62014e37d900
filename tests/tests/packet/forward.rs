//! To the node that is asked first, or the next that can be reached.

use ingress_common::{NodeId, Reason, limits::tail};
use testbed::wire::{ACK, FIN, Packet, RST, SYN};

use crate::bed::{
    CLIENT, CLIENT6, DNS, DROP, ELSEWHERE, Header, MTU, OVER_V4, OVER_V6, OWN, OWN_V4, PASS,
    PEER_V4, PEER_V6, REDIRECT, TX, UNUSABLE, VIP, VIP6, bed, node, segment, segment6, sent_to,
};

#[test]
fn either_family_goes_to_a_node_over_either_family() {
    bed(|bed| {
        for flags in [SYN, ACK, SYN | ACK, FIN | ACK, RST, 0] {
            for packet in [segment(flags), segment6(flags)] {
                for node in [OVER_V4, OVER_V6, ELSEWHERE] {
                    bed.row(&packet, &[node]);
                    bed.forwards(&packet, node, &[]);
                }
            }
        }
    });
}

#[test]
fn the_candidates_behind_travel_along() {
    bed(|bed| {
        for rest in [&[OVER_V6][..], &[OVER_V6, OWN], &[OVER_V6, OWN, 0xfedc]] {
            bed.row(&segment(SYN), &[&[OVER_V4], rest].concat());
            bed.forwards(&segment(SYN), OVER_V4, rest);
        }
    });
}

#[test]
fn time_to_live_and_data_stay_as_they_are() {
    bed(|bed| {
        for ttl in [0, 1, 255] {
            for packet in [segment(ACK), segment6(ACK)] {
                let packet = Packet { ttl, ..packet };
                bed.row(&packet, &[OVER_V4]);
                bed.forwards(&packet, OVER_V4, &[]);
            }
        }
        for length in [0, 1, 2, 3, 500, 1401] {
            let packet = Packet::tcp((CLIENT, 5), (VIP, 80), ACK, &vec![0xee; length]);
            bed.row(&packet, &[OVER_V4]);
            bed.forwards(&packet, OVER_V4, &[]);
        }
    });
}

/// The client's checksums are for the stack that has the connection.
#[test]
fn wrong_checksums_travel_along() {
    bed(|bed| {
        let packet = segment(ACK);
        bed.row(&packet, &[OVER_V4]);
        for position in [24, 50] {
            let mut frame = packet.frame();
            frame[position] ^= 0xff;
            let mut expected = sent_to(OVER_V4, &Header::new(1, &[]), &packet).frame();
            expected[40 + position] ^= 0xff;
            bed.check(&frame, TX, Reason::Forwarded, &expected);
        }
    });
}

/// Source ports and flow labels differ from flow to flow and are one flow's own.
#[test]
fn many_flows_each_find_their_row() {
    bed(|bed| {
        for port in 0..200 {
            let v4 = Packet::tcp((CLIENT, port * 311), (VIP, 80), ACK, b"");
            let v6 = Packet::tcp((CLIENT6, port * 311), (VIP6, 80), ACK, b"");
            for packet in [v4, v6] {
                bed.row(&packet, &[OVER_V6]);
                bed.forwards(&packet, OVER_V6, &[]);
            }
        }
    });
}

#[test]
fn tags_stay_on_the_interface_and_go_off_for_another() {
    bed(|bed| {
        let one = vec![[0x81, 0x00, 0x2f, 0xff]];
        let two = vec![[0x88, 0xa8, 0x00, 0x05], [0x81, 0x00, 0xe0, 0x06]];
        let twice = vec![[0x81, 0x00, 0x00, 0x05], [0x81, 0x00, 0x00, 0x06]];
        for tags in [one, two, twice] {
            for packet in [segment(ACK), segment6(ACK)] {
                for node in [OVER_V4, OVER_V6, ELSEWHERE] {
                    let packet = Packet { tags: tags.clone(), ..packet.clone() };
                    bed.row(&packet, &[node]);
                    bed.forwards(&packet, node, &[]);
                }
            }
        }
    });
}

/// A short frame is padded to 60 bytes. The outer lengths are those of the packets.
#[test]
fn padding_is_no_part_of_the_packet() {
    bed(|bed| {
        for padding in [1, 6, 46] {
            let v4 = Packet { padding, ..Packet::tcp((CLIENT, 5), (VIP, 80), ACK, b"") };
            let v6 = Packet { padding, ..Packet::tcp((CLIENT6, 5), (VIP6, 80), ACK, b"") };
            for packet in [v4, v6] {
                bed.row(&packet, &[OVER_V4]);
                bed.forwards(&packet, OVER_V4, &[]);
            }
        }
    });
}

#[test]
fn ipv4_options_are_legal() {
    bed(|bed| {
        for words in 1..=10 {
            let mut options = vec![1; words * 4];
            options[0] = 148;
            options[1] = 4;
            let packet = Packet { options, ..segment(SYN) };
            bed.row(&packet, &[OVER_V4]);
            bed.forwards(&packet, OVER_V4, &[]);
        }
    });
}

/// Outer headers: 40 bytes over IPv4, 60 over IPv6.
#[test]
fn packets_up_to_the_limit_go_and_longer_ones_do_not() {
    bed(|bed| {
        // Without the program that tells the sender.
        bed.programs.empty_slot(tail::TOO_BIG).unwrap();
        for (node, outer) in [(OVER_V4, 40), (OVER_V6, 60)] {
            let headers = [
                (Packet::tcp((CLIENT, 5), (VIP, 80), ACK, b""), 40),
                (Packet::tcp((CLIENT6, 5), (VIP6, 80), ACK, b""), 60),
            ];
            for (packet, header) in headers {
                bed.row(&packet, &[node]);
                let fits = usize::from(MTU) - outer - header;
                let of = |length: usize| {
                    let (source, destination) = ((packet.source, 5), (packet.destination, 80));
                    Packet::tcp(source, destination, ACK, &vec![0x77; length])
                };
                bed.forwards(&of(fits), node, &[]);
                // Padding does not count.
                bed.forwards(&Packet { padding: 9, ..of(fits) }, node, &[]);
                // The local stack does not have the connection, and would end it with a reset.
                bed.drops(&of(fits + 1).frame(), Reason::RelayFailed);
                bed.drops(&of(fits + 100).frame(), Reason::RelayFailed);
            }
        }
    });
}

/// What belongs to no connection yet, the local stack can answer.
#[test]
fn beginnings_and_datagrams_that_are_too_long_stay() {
    bed(|bed| {
        let data = vec![7; usize::from(MTU) - 40];
        let beginning = Packet::tcp((CLIENT, 5), (VIP, 80), SYN, &data);
        let datagram = Packet::udp((CLIENT, 5), (VIP, DNS), &data);
        bed.programs.empty_slot(tail::TOO_BIG).unwrap();
        for packet in [beginning, datagram] {
            bed.row(&packet, &[OVER_V4]);
            bed.passes(&packet.frame(), Reason::TooLong);
        }
    });
}

#[test]
fn without_headroom_beginnings_stay_and_the_rest_is_dropped() {
    bed(|bed| {
        for packet in [segment, segment6] {
            bed.row(&packet(SYN), &[OVER_V4]);
            bed.check_without_headroom(&packet(SYN).frame(), PASS, Reason::NoHeadroom);
            bed.check_without_headroom(&packet(ACK).frame(), DROP, Reason::RelayFailed);
        }
    });
}

#[test]
fn a_candidate_that_cannot_be_reached_is_left_out_and_told_of() {
    bed(|bed| {
        let mut unusable = node(UNUSABLE, OWN_V4.into(), PEER_V4.into(), 1);
        unusable.flags = 0;
        bed.programs.set_node(NodeId(UNUSABLE), unusable).unwrap();
        // One that is marked, one that the map has no entry for, one beyond the map.
        for gone in [UNUSABLE, 900, 0xffff] {
            for flags in [SYN, ACK] {
                let packet = segment(flags);
                bed.row(&packet, &[gone, OVER_V4, OVER_V6]);
                let header = Header { skipped: true, ..Header::new(2, &[OVER_V6]) };
                let expected = sent_to(OVER_V4, &header, &packet).frame();
                bed.check(&packet.frame(), TX, Reason::ForwardedNext, &expected);
            }
        }
    });
}

/// A reset from a node that does not have the connection would end it.
#[test]
fn if_no_candidate_can_be_reached_beginnings_stay_and_the_rest_is_dropped() {
    bed(|bed| {
        for row in [&[UNUSABLE][..], &[UNUSABLE, 900, 901, 902], &[OWN, UNUSABLE]] {
            for flags in [SYN, ACK, RST, FIN | ACK] {
                for packet in [segment(flags), segment6(flags)] {
                    bed.row(&packet, row);
                    if flags == SYN {
                        bed.passes(&packet.frame(), Reason::NodeUnusable);
                    } else {
                        bed.check(&packet.frame(), DROP, Reason::OwnerUnreachable, &packet.frame());
                    }
                }
            }
        }
        let query = Packet::udp((CLIENT, 5), (VIP, DNS), b"?");
        bed.row(&query, &[UNUSABLE]);
        bed.passes(&query.frame(), Reason::NodeUnusable);
    });
}

/// UDP has no sockets to ask, so that nobody is asked second.
#[test]
fn a_datagram_goes_to_its_first_candidate_and_no_further() {
    bed(|bed| {
        let v4 = Packet::udp((CLIENT, 5), (VIP, DNS), b"query");
        let v6 = Packet::udp((CLIENT6, 5), (VIP6, DNS), b"query");
        for packet in [v4, v6] {
            bed.row(&packet, &[OVER_V6, OWN, OVER_V4]);
            bed.forwards(&packet, OVER_V6, &[]);
            bed.row(&packet, &[OWN, OVER_V4]);
            bed.passes(&packet.frame(), Reason::Local);
        }
    });
}

/// Unless both ends are IPv4, the packet travels over IPv6, with mapped addresses as they are.
#[test]
fn a_node_with_addresses_of_two_families_is_reached_over_ipv6() {
    bed(|bed| {
        let mixed = node(9, OWN_V4.into(), PEER_V6.into(), 1);
        bed.programs.set_node(NodeId(9), mixed).unwrap();
        let packet = segment(ACK);
        bed.row(&packet, &[9]);
        let entropy = crate::bed::entropy(&packet);
        let source = OWN_V4.to_ipv6_mapped();
        let payload = Header::new(1, &[]).before(&packet);
        let mut expected = crate::bed::tunnelled((source, PEER_V6), entropy, payload);
        expected.link = [crate::bed::mac(9), crate::bed::source_mac(9)];
        bed.check(&packet.frame(), TX, Reason::Forwarded, &expected.frame());
    });
}

#[test]
fn a_node_behind_another_interface_is_redirected_to() {
    bed(|bed| {
        let packet = segment(ACK);
        bed.row(&packet, &[ELSEWHERE]);
        let run = bed.run(&packet.frame());
        assert_eq!((run.action, run.reason), (REDIRECT, Reason::Forwarded));
    });
}
