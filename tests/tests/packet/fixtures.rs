//! Every kind of packet in every dress, into the tunnel and out of it: verdict, every byte, and the
//! one counter that moves.

use ingress_common::Reason;
use testbed::wire::{ACK, FIN, Packet, RST, SYN, Transport};

use crate::{
    bed::{
        CLIENT, CLIENT6, DNS, Header, OVER_V4, OVER_V6, OWN, OWN_V4, OWN_V6, PASS, PEER_V4,
        PEER_V6, TX, VIP, VIP6, bed, hash, sent_by, tunnelled,
    },
    icmp::{answer, error},
};

/// What a client, or a router about it, sends; and the packet whose flow it belongs to.
struct Sample {
    packet: Packet,
    flow: Packet,
}

fn samples() -> Vec<Sample> {
    let data = b"some data of the client";
    let mut samples = Vec::new();
    for v4 in [true, false] {
        let tcp = |flags| match v4 {
            true => Packet::tcp((CLIENT, 41_000), (VIP, 80), flags, data),
            false => Packet::tcp((CLIENT6, 41_000), (VIP6, 80), flags, data),
        };
        let udp = match v4 {
            true => Packet::udp((CLIENT, 41_000), (VIP, DNS), data),
            false => Packet::udp((CLIENT6, 41_000), (VIP6, DNS), data),
        };
        for flags in [SYN, ACK, FIN | ACK, RST, RST | ACK, SYN | ACK, 0] {
            samples.push(Sample { packet: tcp(flags), flow: tcp(flags) });
        }
        samples.push(Sample { packet: udp.clone(), flow: udp.clone() });
        let kinds: &[[u8; 2]] = match v4 {
            true => &[[3, 0], [3, 1], [3, 3], [3, 4], [3, 13], [11, 0], [11, 1], [12, 0]],
            false => &[[1, 0], [1, 4], [2, 0], [3, 0], [3, 1], [4, 0], [4, 1]],
        };
        for kind in kinds {
            for flow in [tcp(ACK), udp.clone()] {
                samples.push(Sample { packet: error(*kind, &answer(&flow), 8), flow });
            }
        }
    }
    samples
}

/// The same packet as a fabric may bring it.
fn dresses(packet: &Packet) -> Vec<Packet> {
    let plain = packet.clone();
    let unusual = if packet.source.is_ipv4() {
        Packet { options: vec![1; 12], ..plain.clone() }
    } else {
        Packet { extensions: vec![(0, vec![0; 8]), (60, vec![0; 8])], ..plain.clone() }
    };
    vec![
        Packet { tags: vec![[0x81, 0, 0, 5]], ..plain.clone() },
        Packet { tags: vec![[0x88, 0xa8, 0, 5], [0x81, 0, 0, 6]], ..plain.clone() },
        Packet { padding: 7, ..plain.clone() },
        Packet { ttl: 1, ..plain.clone() },
        unusual,
        plain,
    ]
}

#[test]
fn all_kinds_of_packets_go_in_and_out_of_the_tunnel() {
    bed(|bed| {
        let mut cases = 0;
        for Sample { packet, flow } in samples() {
            let datagram = matches!(flow.transport, Transport::Udp { .. });
            for packet in dresses(&packet) {
                for node in [OVER_V4, OVER_V6] {
                    // One of the row, so that no flow is remembered for the next case.
                    let row: &[u16] = if datagram { &[node] } else { &[node, OWN] };
                    bed.row(&flow, row);
                    let header = Header::new(1, if datagram { &[] } else { &[OWN] });
                    let expected = sent_by(node, &header, &packet, hash(&flow)).frame();
                    bed.check(&packet.frame(), TX, Reason::Forwarded, &expected);
                    cases += 1;
                }
                for over_v4 in [true, false] {
                    let payload = Header::new(1, &[]).before(&packet);
                    let mut outer = match over_v4 {
                        true => tunnelled((PEER_V4, OWN_V4), 0xc777, payload),
                        false => tunnelled((PEER_V6, OWN_V6), 0xc777, payload),
                    };
                    outer.tags.clone_from(&packet.tags);
                    outer.padding = packet.padding;
                    let reason =
                        if datagram { Reason::Decapsulated } else { Reason::DecapsulatedLast };
                    bed.check(&outer.frame(), PASS, reason, &packet.frame());
                    cases += 1;
                }
            }
        }
        println!("{cases} cases");
        assert!(cases >= 150, "only {cases} cases");
    });
}
