//! What comes to the tunnel's port and cannot be taken for a peer's packet.

use std::net::Ipv4Addr;

use ingress_common::{Reason, limits::tail};
use testbed::wire::{ACK, Packet, SYN, Transport};

use crate::bed::{
    CLIENT, CLIENT6, DNS, Header, OVER_V6, OWN_V4, OWN_V6, PEER_V4, PEER_V6, TUNNEL_PORT,
    UNSTEERED, VIP, VIP6, bed, segment, segment6, tunnelled,
};

fn over_v4(payload: Vec<u8>) -> Packet {
    tunnelled((PEER_V4, OWN_V4), 0xc000, payload)
}

fn over_v6(payload: Vec<u8>) -> Packet {
    tunnelled((PEER_V6, OWN_V6), 0xc000, payload)
}

#[test]
fn strangers_are_left_alone() {
    bed(|bed| {
        let payload = Header::new(1, &[]).before(&segment(SYN));
        let client = tunnelled((CLIENT, OWN_V4), 0xc000, payload.clone());
        bed.passes(&client.frame(), Reason::ForeignTunnel);
        let client = tunnelled((CLIENT6, OWN_V6), 0xc000, payload.clone());
        bed.passes(&client.frame(), Reason::ForeignTunnel);
        // A peer, but to another address than the one that its tunnel leads to.
        let elsewhere = tunnelled((PEER_V4, Ipv4Addr::new(10, 0, 0, 99)), 0xc000, payload.clone());
        bed.passes(&elsewhere.frame(), Reason::ForeignTunnel);
        // To a virtual address: its service is not steered there.
        let vip = tunnelled((PEER_V4, VIP), 0xc000, payload.clone());
        bed.passes(&vip.frame(), Reason::OtherPort);
        // The addresses the wrong way round.
        let back = tunnelled((OWN_V4, PEER_V4), 0xc000, payload);
        bed.passes(&back.frame(), Reason::ForeignTunnel);
    });
}

/// What the tunnel never sends is no tunnel packet, whoever sent it.
#[test]
fn fragments_options_other_ports_and_other_protocols_of_peers_are_left_alone() {
    bed(|bed| {
        let good = over_v4(Header::new(1, &[]).before(&segment(SYN)));
        for fragment in [0x2000, 0x0001, 0x6000] {
            let packet = Packet { fragment, ..good.clone() };
            bed.passes(&packet.frame(), Reason::NotVip);
        }
        let options = Packet { options: vec![1; 4], ..good };
        bed.passes(&options.frame(), Reason::NotVip);
        let port = Packet::udp((PEER_V4, 0xc000), (OWN_V4, TUNNEL_PORT + 1), &[0x10; 60]);
        bed.passes(&port.frame(), Reason::NotVip);
        let tcp = Packet::tcp((PEER_V4, 0xc000), (OWN_V4, TUNNEL_PORT), SYN, &[0x10; 60]);
        bed.passes(&tcp.frame(), Reason::NotVip);
        let extended = Packet {
            extensions: vec![(0, vec![0; 8])],
            ..over_v6(Header::new(1, &[]).before(&segment(SYN)))
        };
        bed.passes(&extended.frame(), Reason::NotVip);
    });
}

#[test]
fn headers_of_peers_that_are_not_ours_are_dropped() {
    bed(|bed| {
        let good = Header::new(1, &[OVER_V6]).before(&segment(ACK));
        let changes = [
            // Another version, another number of hops than the list has.
            (0, 0x01),
            (0, 0x21),
            (0, 0xf1),
            (0, 0x10),
            (0, 0x12),
            (0, 0x14),
            // Nobody has been tried, or more than a row has.
            (1, 0),
            (1, 4),
            (1, 255),
            // Neither version of IP.
            (3, 0),
            (3, 6),
            (3, 17),
            (3, 255),
        ];
        for (position, value) in changes {
            let mut payload = good.clone();
            payload[position] = value;
            bed.drops(&over_v4(payload.clone()).frame(), Reason::BadTunnel);
            bed.drops(&over_v6(payload).frame(), Reason::BadTunnel);
        }
        // Not the version of IP that follows: what lies where its destination would is no virtual
        // address.
        let mut payload = good;
        payload[3] = 41;
        bed.drops(&over_v4(payload.clone()).frame(), Reason::TunnelNotVip);
        bed.drops(&over_v6(payload).frame(), Reason::TunnelNotVip);
    });
}

#[test]
fn headers_of_peers_that_are_cut_short_are_dropped() {
    bed(|bed| {
        for inner in [segment(ACK), segment6(ACK)] {
            let payload = Header::new(1, &[]).before(&inner);
            for length in 0..payload.len() {
                let short = payload[..length].to_vec();
                bed.drops(&over_v4(short.clone()).frame(), Reason::BadTunnel);
                bed.drops(&over_v6(short).frame(), Reason::BadTunnel);
            }
        }
    });
}

/// Without their program: peers send none to a node that has not all programs.
#[test]
fn fragments_in_the_tunnel_are_dropped_without_their_program() {
    bed(|bed| {
        let fragment = Packet { fragment: 0x2000, ..segment(ACK) };
        let fragment6 =
            Packet { extensions: vec![(44, vec![0, 0, 0, 1, 0, 0, 0, 1])], ..segment6(ACK) };
        bed.programs.empty_slot(tail::DECAP_FRAGMENT).unwrap();
        for inner in [fragment, fragment6] {
            let payload = Header::new(1, &[]).before(&inner);
            bed.drops(&over_v4(payload).frame(), Reason::BadTunnel);
        }
    });
}

/// Else whoever can forge a peer's address could send anything to this node's stack.
#[test]
fn packets_in_the_tunnel_that_are_for_no_virtual_service_are_dropped() {
    bed(|bed| {
        let other = Packet { destination: OWN_V4.into(), ..segment(SYN) };
        let other6 = Packet { destination: OWN_V6.into(), ..segment6(SYN) };
        let port = Packet::tcp((CLIENT, 5), (VIP, UNSTEERED), SYN, b"");
        let datagram = Packet::udp((CLIENT, 5), (VIP, 80), b"");
        let stream = Packet::tcp((CLIENT6, 5), (VIP6, DNS), SYN, b"");
        let ping = Packet::new(CLIENT, VIP, Transport::Other(1, vec![8; 16]));
        for inner in [other, other6, port, datagram, stream, ping] {
            let payload = Header::new(1, &[OVER_V6]).before(&inner);
            bed.drops(&over_v4(payload.clone()).frame(), Reason::TunnelNotVip);
            bed.drops(&over_v6(payload).frame(), Reason::TunnelNotVip);
        }
    });
}

/// A tunnel in the tunnel would be unpacked twice.
#[test]
fn a_tunnel_packet_in_the_tunnel_is_dropped() {
    bed(|bed| {
        let inner = over_v4(Header::new(1, &[]).before(&segment(SYN)));
        let payload = Header::new(1, &[]).before(&inner);
        bed.drops(&over_v4(payload).frame(), Reason::TunnelNotVip);
    });
}

/// Flags that this version does not know are ignored.
#[test]
fn unknown_flags_do_not_hurt() {
    bed(|bed| {
        let mut payload = Header::new(1, &[]).before(&segment(SYN));
        payload[2] = 0x18;
        bed.check(
            &over_v4(payload).frame(),
            crate::bed::PASS,
            Reason::DecapsulatedLast,
            &segment(SYN).frame(),
        );
    });
}

#[test]
fn without_the_decapsulating_program_the_stack_gets_the_tunnel_packet() {
    bed(|bed| {
        let outer = over_v4(Header::new(1, &[]).before(&segment(SYN))).frame();
        bed.programs.empty_slot(tail::DECAP).unwrap();
        bed.passes(&outer, Reason::NoDecap);
        bed.programs.fill_slots().unwrap();
        bed.check(&outer, crate::bed::PASS, Reason::DecapsulatedLast, &segment(SYN).frame());
    });
}
