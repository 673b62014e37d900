//! Fragments: to their home, and from there to their flow's node.

use aya::maps::{HashMap, PerCpuArray, PerCpuValues};
use ingress_common::{Reason, Scratch, limits};
use nix::time::{ClockId, clock_gettime};
use testbed::wire::{ACK, Packet, SYN, Transport};

use crate::bed::{
    Bed, CLIENT, CLIENT6, DNS, GENERATION, Header, OVER_V4, OVER_V6, OWN, OWN_V4, PASS, PEER_V4,
    TX, UNSTEERED, VIP, VIP6, bed, fragment_hash, hash, sent_by, tunnelled,
};

const FIRST: u16 = 0x2000;
const LATER: u16 = 0x2004;
const HOME: u8 = 4;

/// A packet, and the same in two fragments.
struct Fragmented {
    whole: Packet,
    pieces: [Packet; 2],
    home: u64,
}

fn fragmented(whole: Packet, identification: u16) -> Fragmented {
    let number = identification.to_be_bytes();
    let piece = |offset: u16, transport| {
        if whole.source.is_ipv4() {
            Packet { fragment: offset, identification, transport, ..whole.clone() }
        } else {
            // RFC 8200 section 4.5: More Fragments is the lowest bit.
            let [high, low] =
                ((offset & 0x1fff) << 3 | u16::from(offset & 0x2000 != 0)).to_be_bytes();
            let extension = (44, vec![0, 0, high, low, 0, 0, number[0], number[1]]);
            Packet { extensions: vec![extension], transport, ..whole.clone() }
        }
    };
    let number_of_protocol = if matches!(whole.transport, Transport::Udp { .. }) { 17 } else { 6 };
    let data = Transport::Other(number_of_protocol, vec![0x77; 24]);
    let pieces = [piece(FIRST, whole.transport.clone()), piece(LATER, data)];
    let shared = if whole.source.is_ipv4() {
        [number[0], number[1], 0, 0]
    } else {
        [0, 0, number[0], number[1]]
    };
    let home = fragment_hash(&pieces[0], shared);
    Fragmented { whole, pieces, home }
}

/// Datagrams and segments of both families.
fn samples() -> Vec<Fragmented> {
    let data = [7; 24];
    [
        Packet::udp((CLIENT, 5), (VIP, DNS), &data),
        Packet::udp((CLIENT6, 5), (VIP6, DNS), &data),
        Packet::tcp((CLIENT, 6), (VIP, 80), ACK, &data),
        Packet::tcp((CLIENT6, 6), (VIP6, 80), ACK, &data),
        Packet::tcp((CLIENT, 7), (VIP, 80), SYN, &data),
    ]
    .into_iter()
    .zip(0x1001..)
    .map(|(packet, number)| fragmented(packet, number))
    .collect()
}

impl Bed {
    #[track_caller]
    fn sends(&mut self, piece: &Packet, node: u16, header: &Header, hash: u64, reason: Reason) {
        let expected = sent_by(node, header, piece, hash).frame();
        self.check(&piece.frame(), TX, reason, &expected);
    }
}

#[test]
fn all_fragments_of_a_packet_meet_at_their_home() {
    bed(|bed| {
        for Fragmented { whole, pieces, home } in samples() {
            bed.row(&whole, &[OVER_V6]);
            bed.row_at(GENERATION, home, &[OVER_V4, OVER_V6]);
            let header = Header { flags: HOME, ..Header::new(1, &[]) };
            for piece in &pieces {
                bed.sends(piece, OVER_V4, &header, home, Reason::FragmentHome);
            }
        }
    });
}

#[test]
fn at_home_the_later_ones_follow_the_first() {
    bed(|bed| {
        for Fragmented { whole, pieces, home } in samples() {
            bed.row_at(GENERATION, home, &[OWN]);
            bed.row(&whole, &[OVER_V6, OVER_V4]);
            let second: &[u16] =
                if matches!(whole.transport, Transport::Udp { .. }) { &[] } else { &[OVER_V4] };
            let [first, later] = &pieces;
            bed.drops(&later.frame(), Reason::FragmentUnknown);
            for piece in [first, later, later] {
                let header = Header::new(1, second);
                bed.sends(piece, OVER_V6, &header, hash(&whole), Reason::Forwarded);
            }
            // Those of another packet do not.
            let mut other = later.clone();
            other.identification ^= 1;
            if let Some((_, bytes)) = other.extensions.first_mut() {
                bytes[7] ^= 1;
            }
            let home = match other.source.is_ipv4() {
                true => {
                    let [a, b] = other.identification.to_be_bytes();
                    fragment_hash(&other, [a, b, 0, 0])
                }
                false => {
                    let bytes = &other.extensions[0].1;
                    fragment_hash(&other, [bytes[4], bytes[5], bytes[6], bytes[7]])
                }
            };
            bed.row_at(GENERATION, home, &[OWN]);
            bed.drops(&other.frame(), Reason::FragmentUnknown);
        }
    });
}

/// A home that has the packet's flow itself leaves reassembly to its stack.
#[test]
fn fragments_of_this_nodes_datagrams_stay() {
    bed(|bed| {
        for Fragmented { whole, pieces, home } in samples().into_iter().take(2) {
            bed.row_at(GENERATION, home, &[OWN]);
            bed.row(&whole, &[OWN, OVER_V4]);
            for piece in &pieces {
                bed.passes(&piece.frame(), Reason::Local);
            }
        }
    });
}

#[test]
fn out_of_the_tunnel_a_home_decides_by_its_own_row() {
    bed(|bed| {
        for Fragmented { whole, pieces, .. } in samples() {
            bed.row(&whole, &[OVER_V6, OVER_V4]);
            let second: &[u16] =
                if matches!(whole.transport, Transport::Udp { .. }) { &[] } else { &[OVER_V4] };
            for piece in &pieces {
                let arrived = Header { flags: HOME, ..Header::new(1, &[]) }.before(piece);
                let arrived = tunnelled((PEER_V4, OWN_V4), 0xc321, arrived).frame();
                let header = Header::new(1, second);
                let expected = sent_by(OVER_V6, &header, piece, 0x0321 << 48).frame();
                bed.check(&arrived, TX, Reason::Forwarded, &expected);
            }
        }
    });
}

#[test]
fn a_candidate_hands_all_fragments_on_as_it_does_the_first() {
    bed(|bed| {
        for Fragmented { whole, pieces, .. } in samples() {
            let datagram = matches!(whole.transport, Transport::Udp { .. });
            let [first, later] = &pieces;
            let arrived = |piece: &Packet| {
                let payload = Header::new(1, &[OVER_V6]).before(piece);
                tunnelled((PEER_V4, OWN_V4), 0xc321, payload).frame()
            };
            bed.drops(&arrived(later), Reason::FragmentUnknown);
            for piece in [first, later] {
                if datagram {
                    bed.check(&arrived(piece), PASS, Reason::Decapsulated, &piece.frame());
                } else {
                    let header = Header::new(2, &[]);
                    let expected = sent_by(OVER_V6, &header, piece, 0x0321 << 48).frame();
                    bed.check(&arrived(piece), TX, Reason::Relayed, &expected);
                }
            }
        }
    });
}

/// RFC 1858 section 3: the flags of a segment may be in its second fragment.
#[test]
fn a_first_fragment_without_its_whole_header_is_dropped() {
    bed(|bed| {
        for length in [1, 7, 8, 13, 19] {
            let stub = Transport::Other(6, vec![0x10; length]);
            let tiny = Packet { fragment: FIRST, ..Packet::new(CLIENT, VIP, stub) };
            bed.row_at(GENERATION, fragment_hash(&tiny, [0x12, 0x34, 0, 0]), &[OWN]);
            bed.drops(&tiny.frame(), Reason::FragmentShort);
        }
        let stub = Transport::Other(17, vec![0x10; 7]);
        let tiny = Packet { fragment: FIRST, ..Packet::new(CLIENT, VIP, stub) };
        bed.row_at(GENERATION, fragment_hash(&tiny, [0x12, 0x34, 0, 0]), &[OWN]);
        bed.drops(&tiny.frame(), Reason::FragmentShort);
    });
}

/// What is not steered is not sent about, whole or in fragments.
#[test]
fn fragments_for_other_ports_stay_where_they_came_in() {
    bed(|bed| {
        let data = [7; 24];
        for whole in [
            Packet::udp((CLIENT, 5), (VIP, UNSTEERED), &data),
            Packet::udp((CLIENT6, 5), (VIP6, UNSTEERED), &data),
            Packet::new(CLIENT, VIP, Transport::Other(1, vec![8; 32])),
        ] {
            let Fragmented { pieces, home, .. } = fragmented_any(whole);
            bed.row_at(GENERATION, home, &[OVER_V4]);
            for piece in &pieces {
                bed.passes(&piece.frame(), Reason::OtherPort);
            }
        }
    });
}

/// As [`fragmented`], whose later fragment has the first one's protocol whatever that is.
fn fragmented_any(whole: Packet) -> Fragmented {
    let mut result = fragmented(whole, 0x2222);
    if let Transport::Other(protocol, _) = result.whole.transport {
        result.pieces[1].transport = Transport::Other(protocol, vec![0x77; 24]);
    }
    result
}

impl Bed {
    /// Makes what all first fragments said so many seconds older.
    fn age_fragments(&mut self, seconds: u16) {
        let map = self.programs.object_mut().map_mut("FRAGMENTS").unwrap();
        let mut map = HashMap::<_, u64, ingress_common::Fragmented>::try_from(map).unwrap();
        let all: Vec<_> = map.iter().map(|entry| entry.unwrap()).collect();
        assert!(!all.is_empty());
        for (key, mut said) in all {
            said.second = said.second.wrapping_sub(seconds);
            map.insert(key, said, 0).unwrap();
        }
    }

    /// Says that every CPU has remembered so many things in this second.
    fn remembered(&mut self, second: u32, inserts: u32) {
        let map = self.programs.object_mut().map_mut("SCRATCH").unwrap();
        let mut map = PerCpuArray::<_, Scratch>::try_from(map).unwrap();
        let scratch = Scratch { refilled: 0, answers: 0, limit: 0, second, inserts };
        let cpus = aya::util::nr_cpus().unwrap();
        map.set(0, PerCpuValues::try_from(vec![scratch; cpus]).unwrap(), 0).unwrap();
    }
}

#[test]
fn what_a_first_fragment_said_is_forgotten_after_half_a_minute() {
    bed(|bed| {
        for Fragmented { whole, pieces: [first, later], home } in samples().into_iter().take(2) {
            bed.row_at(GENERATION, home, &[OWN]);
            bed.row(&whole, &[OWN]);
            bed.passes(&first.frame(), Reason::Local);
            bed.age_fragments(10);
            bed.passes(&later.frame(), Reason::Local);
            bed.age_fragments(21);
            bed.drops(&later.frame(), Reason::FragmentUnknown);
            // Its identification came round again.
            bed.passes(&first.frame(), Reason::Local);
            bed.passes(&later.frame(), Reason::Local);
        }
    });
}

#[test]
fn what_fragments_may_be_remembered_in_a_second_is_limited() {
    bed(|bed| {
        let second = || clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).unwrap().tv_sec() as u32;
        let packet = Packet::udp((CLIENT, 5), (VIP, DNS), &[7; 24]);
        bed.row(&packet, &[OWN]);
        for (room, expected) in [(0, Reason::FragmentUnknown), (1, Reason::Local)] {
            // Anew for as long as the second ends meanwhile.
            for identification in (0x3000 + 0x1000 * room as u16).. {
                let Fragmented { pieces: [first, later], home, .. } =
                    fragmented(packet.clone(), identification);
                bed.row_at(GENERATION, home, &[OWN]);
                let now = second();
                bed.remembered(now, limits::FLOW_INSERTS - room);
                assert_eq!(bed.run(&first.frame()).reason, Reason::Local);
                let then = bed.run(&later.frame()).reason;
                if second() == now {
                    assert_eq!(then, expected, "with room for {room}");
                    break;
                }
            }
        }
    });
}
