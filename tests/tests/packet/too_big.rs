//! What does not fit into the tunnel is answered with how much does.

use std::time::{Duration, Instant};

use ingress_common::Reason;
use testbed::wire::{ACK, Packet, SYN, checksum};

use crate::bed::{Bed, CLIENT, CLIENT6, DNS, DROP, MTU, OVER_V4, OVER_V6, TX, VIP, VIP6, bed};

/// What is quoted of the packet.
const QUOTED: usize = 128;

/// The answer as RFC 1191 and RFC 4443 have it.
fn answer(client: &Packet, limit: u16) -> Vec<u8> {
    let [high, low] = limit.to_be_bytes();
    let v4 = client.source.is_ipv4();
    let mut message = if v4 { vec![3, 4, 0, 0, 0, 0] } else { vec![2, 0, 0, 0, 0, 0] };
    message.extend([high, low]);
    message.extend(&client.ip()[..QUOTED]);
    let (vip, to) = (client.destination, client.source);
    let mut covered = Vec::new();
    if !v4 {
        let octets = |address| match address {
            std::net::IpAddr::V6(v6) => v6.octets(),
            std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        };
        covered.extend(octets(vip));
        covered.extend(octets(to));
        covered.extend((message.len() as u32).to_be_bytes());
        covered.extend([0, 0, 0, 58]);
    }
    covered.extend(&message);
    let sum = checksum(&covered);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let transport = testbed::wire::Transport::Other(if v4 { 1 } else { 58 }, message);
    let mut packet = Packet::new(vip, to, transport);
    packet.identification = 0;
    packet.link = client.link;
    packet.link.swap(0, 1);
    packet.tags.clone_from(&client.tags);
    packet.frame()
}

impl Bed {
    #[track_caller]
    fn answers_with(&mut self, packet: &Packet, limit: u16, reason: Reason) {
        self.check(&packet.frame(), TX, reason, &answer(packet, limit));
    }
}

#[test]
fn the_sender_of_what_is_too_long_is_told() {
    bed(|bed| {
        // tc makes room in another place; see `object::TC_TAILS`.
        bed.xdp_only = true;
        for (node, outer) in [(OVER_V4, 40), (OVER_V6, 60)] {
            let limit = MTU - outer;
            for length in [usize::from(limit), usize::from(MTU) + 300] {
                let data = vec![0x5a; length];
                for packet in [
                    Packet::tcp((CLIENT, 5), (VIP, 80), ACK, &data),
                    Packet::tcp((CLIENT6, 5), (VIP6, 80), ACK, &data),
                    Packet::udp((CLIENT, 5), (VIP, DNS), &data),
                    Packet::udp((CLIENT6, 5), (VIP6, DNS), &data),
                ] {
                    for tags in
                        [vec![], vec![[0x81, 0, 0, 5]], vec![[0x88, 0xa8, 0, 5], [0x81, 0, 0, 6]]]
                    {
                        let packet = Packet { tags, ..packet.clone() };
                        // A flow that is remembered would go elsewhere.
                        bed.row(&packet, &[node]);
                        bed.answers_with(&packet, limit, Reason::TooBig);
                    }
                }
            }
        }
        // Options are quoted.
        let long = Packet::tcp((CLIENT, 5), (VIP, 80), ACK, &[1; 1460]);
        let packet = Packet { options: vec![1; 40], ..long };
        bed.row(&packet, &[OVER_V4]);
        bed.answers_with(&packet, MTU - 40, Reason::TooBig);
    });
}

#[test]
fn a_sender_that_allows_fragments_is_told_too() {
    bed(|bed| {
        bed.xdp_only = true;
        let long = Packet::udp((CLIENT, 5), (VIP, DNS), &[1; 1470]);
        let packet = Packet { fragment: 0, ..long };
        bed.row(&packet, &[OVER_V4]);
        bed.answers_with(&packet, MTU - 40, Reason::TooBigWithoutDf);
    });
}

/// A beginning can be taken by the stack of this node, which is one of its row.
#[test]
fn a_beginning_that_is_too_long_stays() {
    bed(|bed| {
        let long = Packet::tcp((CLIENT, 5), (VIP, 80), SYN, &[1; 1460]);
        bed.row(&long, &[OVER_V4]);
        bed.passes(&long.frame(), Reason::TooLong);
    });
}

#[test]
fn answers_are_few() {
    bed(|bed| {
        bed.xdp_only = true;
        let long = Packet::tcp((CLIENT, 5), (VIP, 80), ACK, &[1; 1460]);
        bed.row(&long, &[OVER_V4]);
        let frame = long.frame();
        let deadline = Instant::now() + Duration::from_secs(60);
        // A hundred a second are allowed on each CPU: whoever is faster meets the end of them.
        let mut told = 0;
        loop {
            let run = bed.run(&frame);
            match run.reason {
                Reason::TooBig => told += 1,
                Reason::TooBigQuiet => {
                    assert_eq!((run.action, run.frame), (DROP, frame));
                    break;
                }
                other => unreachable!("{}", other.name()),
            }
            assert!(Instant::now() < deadline, "{told} answers, and no end of them");
        }
        assert!(told >= 64, "only {told} answers at once");
    });
}
