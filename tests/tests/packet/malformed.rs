//! Packets for a virtual address that cannot be steered: the local stack judges them.

use ingress_common::{Reason, limits::tail};
use testbed::wire::{ACK, Packet, SYN, Transport, checksum};

use crate::bed::{
    CLIENT, CLIENT6, DNS, HTTP, OVER_V4, UNSTEERED, VIP, VIP6, bed, segment, segment6,
};

/// The frame of an IPv4 packet with one byte of its IP header changed and its checksum right.
fn with(position: usize, value: u8) -> Vec<u8> {
    let mut frame = segment(SYN).frame();
    frame[14 + position] = value;
    frame[24..26].fill(0);
    let header = usize::from(frame[14] & 15).max(5) * 4;
    let sum = checksum(&frame[14..(14 + header).min(frame.len())]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
fn ipv4_headers_that_contradict_themselves_pass() {
    bed(|bed| {
        bed.row(&segment(SYN), &[OVER_V4]);
        // The length of the header: too short for a header, longer than the packet.
        for words in [0, 1, 4, 15] {
            bed.passes(&with(0, 0x40 | words), Reason::Malformed);
        }
        // The version.
        for version in [0x05, 0x55, 0x65, 0xf5] {
            bed.passes(&with(0, version), Reason::Malformed);
        }
        // The total length: shorter than the header, than the segment's header; longer than the
        // frame.
        for length in [0, 19, 20, 39, 59, 255] {
            bed.passes(&with(3, length), Reason::Malformed);
        }
    });
}

#[test]
fn ipv6_headers_that_contradict_themselves_pass() {
    bed(|bed| {
        let frame = segment6(SYN).frame();
        bed.row(&segment6(SYN), &[OVER_V4]);
        for (position, value) in [(14, 0x40), (14, 0x50), (18, 1), (19, 0), (19, 19), (19, 39)] {
            let mut frame = frame.clone();
            frame[position] = value;
            bed.passes(&frame, Reason::Malformed);
        }
    });
}

#[test]
fn packets_that_are_cut_short_pass() {
    bed(|bed| {
        for (packet, start) in [(segment(SYN), 34), (segment6(SYN), 54)] {
            bed.row(&packet, &[OVER_V4]);
            let frame = packet.frame();
            let frames = (start..frame.len()).map(|end| frame[..end].to_vec());
            bed.all_pass(frames, Reason::Malformed);
        }
    });
}

#[test]
fn transport_headers_that_contradict_themselves_pass() {
    bed(|bed| {
        bed.row(&segment(SYN), &[OVER_V4]);
        // The data offset: shorter than a header, longer than the segment of 38 bytes.
        for words in [0, 4, 10, 15] {
            let mut frame = segment(SYN).frame();
            frame[46] = words << 4;
            bed.passes(&frame, Reason::Malformed);
        }
        let query = Packet::udp((CLIENT, 40_000), (VIP, DNS), b"query");
        bed.row(&query, &[OVER_V4]);
        for length in [0, 7, 14, 255] {
            let mut frame = query.frame();
            frame[39] = length;
            bed.passes(&frame, Reason::Malformed);
        }
        for protocol in [6, 17] {
            for length in 0..8 {
                let stub = Packet::new(CLIENT, VIP, Transport::Other(protocol, vec![0; length]));
                bed.passes(&stub.frame(), Reason::Malformed);
            }
        }
    });
}

#[test]
fn other_protocols_pass() {
    bed(|bed| {
        let of = |protocol| Transport::Other(protocol, vec![8; 64]);
        // ICMP is not among them.
        let others = |icmp| (0..=255).filter(move |protocol| ![6, 17, icmp].contains(protocol));
        let frames = others(1).map(|protocol| Packet::new(CLIENT, VIP, of(protocol)).frame());
        bed.all_pass(frames, Reason::OtherProtocol);
        // Over IPv6 these are extension headers.
        let others = others(58).filter(|protocol| ![0, 43, 44, 51, 60].contains(protocol));
        let frames = others.map(|protocol| Packet::new(CLIENT6, VIP6, of(protocol)).frame());
        bed.all_pass(frames, Reason::OtherProtocol);
    });
}

#[test]
fn other_ports_pass() {
    bed(|bed| {
        for flags in [SYN, ACK] {
            let v4 = Packet::tcp((CLIENT, 40_000), (VIP, UNSTEERED), flags, b"");
            let v6 = Packet::tcp((CLIENT6, 40_000), (VIP6, UNSTEERED), flags, b"");
            bed.passes(&v4.frame(), Reason::OtherPort);
            bed.passes(&v6.frame(), Reason::OtherPort);
        }
        // The same number of the other protocol.
        bed.passes(&Packet::udp((CLIENT, 9), (VIP, HTTP), b"").frame(), Reason::OtherPort);
        bed.passes(&Packet::tcp((CLIENT, 9), (VIP, DNS), SYN, b"").frame(), Reason::OtherPort);
    });
}

/// Without the program that knows what to do with them.
#[test]
fn fragments_pass() {
    bed(|bed| {
        bed.programs.empty_slot(tail::FRAGMENT).unwrap();
        bed.row(&segment(SYN), &[OVER_V4]);
        for fragment in [0x2000, 0x2001, 0x0001, 0x1fff, 0x3fff, 0x6000] {
            let fragment = Packet { fragment, ..segment(SYN) };
            bed.passes(&fragment.frame(), Reason::Fragment);
        }
        bed.row(&segment6(SYN), &[OVER_V4]);
        // RFC 8200 section 4.5: offset in the upper 13 bits, More Fragments in the lowest.
        for offset in [0x0001u16, 0x0008, 0x0009, 0xfff8] {
            let [high, low] = offset.to_be_bytes();
            let extension = (44, vec![0, 0, high, low, 1, 2, 3, 4]);
            let fragment = Packet { extensions: vec![extension], ..segment6(SYN) };
            bed.passes(&fragment.frame(), Reason::Fragment);
        }
    });
}

/// The DF bit and the reserved bit make no fragment, and neither does a header that is the only
/// fragment of its packet (RFC 6946).
#[test]
fn whole_packets_with_fragment_fields_are_steered() {
    bed(|bed| {
        for fragment in [0x0000, 0x4000, 0x8000] {
            let packet = Packet { fragment, ..segment(SYN) };
            bed.row(&packet, &[OVER_V4]);
            bed.forwards(&packet, OVER_V4, &[]);
        }
        for reserved in [0x0000u16, 0x0006] {
            let [high, low] = reserved.to_be_bytes();
            let atomic = (44, vec![0, 0, high, low, 1, 2, 3, 4]);
            let packet = Packet { extensions: vec![atomic], ..segment6(SYN) };
            bed.row(&packet, &[OVER_V4]);
            bed.forwards(&packet, OVER_V4, &[]);
        }
    });
}
