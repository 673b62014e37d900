//! Which table and which row decides.

use ingress_common::{Group, HashKey, Port, Reason, VipKey, VipValue, limits};
use testbed::wire::{ACK, Packet, SYN};

use crate::bed::{
    CLIENT, ELSEWHERE, GENERATION, Header, OVER_V4, OVER_V6, REDIRECT, VIP, bed, segment, sent_to,
};

#[test]
fn without_a_table_the_stack_takes_everything() {
    bed(|bed| {
        bed.row(&segment(SYN), &[OVER_V4]);
        let group =
            Group { generation: GENERATION, ready: 0, key: HashKey([0; 2]), transition_until: 0 };
        bed.programs.set_group(1, group).unwrap();
        for flags in [SYN, ACK] {
            bed.passes(&segment(flags).frame(), Reason::NoTable);
        }
    });
}

#[test]
fn a_group_that_does_not_exist_has_no_table() {
    bed(|bed| {
        for group in [limits::GROUPS as u16, 900, u16::MAX] {
            let key = VipKey::new(std::net::IpAddr::from(VIP).into(), Port::new(81), 6);
            bed.programs.add_vip(key, VipValue { vip_id: 0, group, flags: 0 }).unwrap();
            let packet = Packet::tcp((CLIENT, 5), (VIP, 81), SYN, b"");
            bed.passes(&packet.frame(), Reason::NoTable);
        }
    });
}

#[test]
fn an_empty_row_sends_its_packets_to_the_stack() {
    bed(|bed| {
        bed.passes(&segment(SYN).frame(), Reason::EmptyRow);
        // The first slot ends the row.
        bed.row(&segment(SYN), &[0, OVER_V4]);
        bed.passes(&segment(SYN).frame(), Reason::EmptyRow);
    });
}

#[test]
fn nothing_behind_the_end_of_a_row_is_a_candidate() {
    bed(|bed| {
        bed.row(&segment(SYN), &[OVER_V4, OVER_V6, 0, ELSEWHERE]);
        let run = bed.run(&segment(SYN).frame());
        assert_eq!(run.reason, Reason::Forwarded);
        // The header says two, and a receiver reads no more.
        assert_eq!(run.frame[42], 0x11);
    });
}

#[test]
fn one_store_swaps_the_table() {
    bed(|bed| {
        let packet = segment(ACK);
        let mut nodes = [OVER_V4, ELSEWHERE];
        for step in 0..4 {
            let generation = GENERATION + step;
            bed.row_of(generation, &packet, &nodes[..1]);
            if step > 0 {
                // Written, but not in force yet.
                bed.runs_to(&packet, nodes[1], generation - 1);
            }
            bed.publish(generation);
            bed.runs_to(&packet, nodes[0], generation);
            nodes.reverse();
        }
    });
}

#[test]
fn the_lowest_bits_of_the_generation_travel_along() {
    bed(|bed| {
        let packet = segment(ACK);
        for generation in [0, 0xffff, 0x1_0000, u32::MAX] {
            bed.row_of(generation, &packet, &[OVER_V4]);
            bed.publish(generation);
            bed.runs_to(&packet, OVER_V4, generation);
        }
    });
}

#[test]
fn an_entry_for_all_ports_serves_those_without_their_own() {
    bed(|bed| {
        let packet = Packet::tcp((CLIENT, 5), (VIP, 12_345), SYN, b"");
        bed.row(&packet, &[OVER_V4]);
        bed.row(&segment(SYN), &[OVER_V6]);
        bed.passes(&packet.frame(), Reason::OtherPort);
        let any = VipKey::new(std::net::IpAddr::from(VIP).into(), Port::ANY, 6);
        bed.programs.add_vip(any, VipValue { vip_id: 0, group: 1, flags: 0 }).unwrap();
        bed.forwards(&packet, OVER_V4, &[]);
        bed.forwards(&segment(SYN), OVER_V6, &[]);
        // Not those of another protocol.
        let datagram = Packet::udp((CLIENT, 5), (VIP, 12_345), b"");
        bed.passes(&datagram.frame(), Reason::OtherPort);
    });
}

impl crate::bed::Bed {
    #[track_caller]
    fn runs_to(&mut self, packet: &Packet, node: u16, generation: u32) {
        let header = Header { generation: generation as u16, ..Header::new(1, &[]) };
        let expected = sent_to(node, &header, packet).frame();
        let action = if node == ELSEWHERE { REDIRECT } else { crate::bed::TX };
        self.check(&packet.frame(), action, Reason::Forwarded, &expected);
    }
}
