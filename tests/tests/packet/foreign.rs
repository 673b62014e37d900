//! What is not for a virtual address is left alone, however broken it is.

use std::net::{Ipv4Addr, Ipv6Addr};

use ingress_common::Reason;
use testbed::wire::{ACK, HERE, NEIGHBOUR, Packet, SYN, Transport};

use crate::bed::{
    Bed, CLIENT, CLIENT6, DNS, HTTP, Header, OVER_V4, OWN_V4, PEER_V4, TUNNEL_PORT, VIP, VIP6, bed,
    segment, segment6, tunnelled,
};

const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 81);
const OTHER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x81);

fn to_other() -> Packet {
    Packet { destination: OTHER.into(), ..segment(SYN) }
}

fn to_other6() -> Packet {
    Packet { destination: OTHER6.into(), ..segment6(SYN) }
}

fn ethernet(protocol: [u8; 2], payload: &[u8]) -> Vec<u8> {
    [&HERE[..], &NEIGHBOUR, &protocol, payload].concat()
}

#[test]
fn frames_without_ip_pass() {
    bed(|bed| {
        let request = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &NEIGHBOUR, &VIP.octets(), &[0; 24]].concat();
        bed.passes(&ethernet([0x08, 0x06], &request), Reason::NotIp);
        for protocol in [[0x88, 0xcc], [0x00, 0x2e], [0xff, 0xff], [0x88, 0x63]] {
            bed.passes(&ethernet(protocol, &[0x45; 60]), Reason::NotIp);
        }
    });
}

#[test]
fn frames_that_end_within_their_addresses_pass() {
    bed(|bed| {
        // The kernel runs no programs on frames without a whole Ethernet header.
        for (packet, end) in [(segment(SYN), 34), (segment6(SYN), 54)] {
            bed.all_pass((14..end).map(|end| packet.frame()[..end].to_vec()), Reason::NotIp);
        }
    });
}

#[test]
fn tags_that_end_the_frame_or_are_too_many_pass() {
    bed(|bed| {
        let tag = [0x81, 0x00, 0x00, 0x05];
        for tags in [1, 2, 3] {
            let packet = Packet { tags: vec![tag; tags], ..segment(SYN) };
            let frame = packet.frame();
            for length in 14..14 + 4 * tags {
                bed.passes(&frame[..length], Reason::NotIp);
            }
            if tags == 3 {
                bed.passes(&frame, Reason::NotIp);
            }
        }
    });
}

#[test]
fn other_addresses_pass() {
    bed(|bed| {
        for packet in [to_other(), to_other6()] {
            bed.passes(&packet.frame(), Reason::NotVip);
        }
        // A virtual address as source says nothing.
        let answer = Packet::tcp((VIP, HTTP), (CLIENT, 40_000), SYN | ACK, b"");
        bed.passes(&answer.frame(), Reason::NotVip);
        let query = Packet::udp((CLIENT6, 9), (OTHER6, DNS), b"?");
        bed.passes(&query.frame(), Reason::NotVip);
        let tagged = Packet { tags: vec![[0x81, 0, 0, 5], [0x81, 0, 0, 6]], ..to_other() };
        bed.passes(&tagged.frame(), Reason::NotVip);
    });
}

/// Each byte of the headers takes values that are wrong there; the addresses stay.
#[test]
fn other_addresses_pass_whatever_their_headers_say() {
    bed(|bed| {
        let (v4, v6) = (to_other().frame(), to_other6().frame());
        for (frame, addresses) in [(v4, 26..34), (v6, 22..54)] {
            let positions = (14..frame.len()).filter(|at| !addresses.contains(at));
            let frames = positions.flat_map(|position| {
                [0x00, 0x0f, 0x40, 0x4f, 0x6f, 0xff].map(|value| {
                    let mut frame = frame.clone();
                    frame[position] = value;
                    frame
                })
            });
            bed.all_pass(frames, Reason::NotVip);
        }
    });
}

#[test]
fn other_addresses_pass_wherever_the_frame_ends() {
    bed(|bed| {
        for (packet, start) in [(to_other(), 34), (to_other6(), 54)] {
            let frame = packet.frame();
            let frames = (start..frame.len()).map(|end| frame[..end].to_vec());
            bed.all_pass(frames, Reason::NotVip);
        }
    });
}

#[test]
fn fragments_options_and_extensions_to_other_addresses_pass() {
    bed(|bed| {
        let more = Packet { fragment: 0x2000, ..to_other() };
        let later = Packet { fragment: 0x0010, ..to_other() };
        let options = Packet { options: vec![7, 7, 4, 0, 0, 0, 0, 0], ..to_other() };
        let extended =
            Packet { extensions: vec![(0, vec![0; 8]), (43, vec![0; 8])], ..to_other6() };
        let endless = Packet { extensions: vec![(60, vec![0; 8]); 12], ..to_other6() };
        for packet in [more, later, options, extended, endless] {
            bed.passes(&packet.frame(), Reason::NotVip);
        }
    });
}

/// A datagram to the tunnel's port that is not from a peer to this node.
fn stranger(bed: &mut Bed, source: Ipv4Addr, destination: Ipv4Addr) {
    let packet = Packet::udp((source, 50_000), (destination, TUNNEL_PORT), &[0x10; 60]);
    bed.passes(&packet.frame(), Reason::ForeignTunnel);
}

#[test]
fn the_tunnels_port_of_other_addresses_is_left_alone() {
    bed(|bed| {
        stranger(bed, CLIENT, OTHER);
        // Between a peer and a third node, which this node merely routes.
        stranger(bed, PEER_V4, OTHER);
        let extended = Packet::udp((CLIENT6, 50_000), (OTHER6, TUNNEL_PORT), &[0x10; 60]);
        bed.passes(&extended.frame(), Reason::ForeignTunnel);
    });
}

#[test]
fn other_protocols_to_other_addresses_pass() {
    bed(|bed| {
        let frames = (0..=255).flat_map(|protocol| {
            let transport = Transport::Other(protocol, vec![8; 40]);
            let v4 = Packet::new(CLIENT, OTHER, transport.clone());
            [v4.frame(), Packet::new(CLIENT6, OTHER6, transport).frame()]
        });
        bed.all_pass(frames, Reason::NotVip);
    });
}

/// `::ffff:a.b.c.d` is how the maps write an IPv4 address: in an IPv6 header it is nobody's.
#[test]
fn mapped_ipv4_addresses_in_ipv6_headers_are_neither_virtual_nor_peers() {
    bed(|bed| {
        let (client, vip) = (CLIENT.to_ipv6_mapped(), VIP.to_ipv6_mapped());
        let from_to =
            |source, destination| Packet::tcp((source, 40_000), (destination, HTTP), SYN, b"");
        let strange = [from_to(CLIENT6, vip), from_to(client, vip), from_to(client, VIP6)];
        for packet in &strange {
            bed.row(packet, &[OVER_V4]);
            bed.passes(&packet.frame(), Reason::NotIp);
        }
        bed.row(&segment(SYN), &[OVER_V4]);
        let (peer, own) = (PEER_V4.to_ipv6_mapped(), OWN_V4.to_ipv6_mapped());
        let payload = |client: &Packet| Header::new(1, &[]).before(client);
        bed.passes(&tunnelled((peer, own), 0xc111, payload(&segment(SYN))).frame(), Reason::NotIp);
        for packet in &strange {
            let arrived = tunnelled((PEER_V4, OWN_V4), 0xc111, payload(packet));
            bed.drops(&arrived.frame(), Reason::BadTunnel);
        }
    });
}
