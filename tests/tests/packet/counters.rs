//! What is counted for whom.

use ingress_common::{NodeId, Port, Reason, VipKey, VipValue};
use testbed::wire::{ACK, Packet, SYN};

use crate::bed::{CLIENT, ELSEWHERE, OVER_V4, OWN, UNSTEERED, VIP, bed, segment};

const OTHER: u16 = 8443;

#[test]
fn a_packet_is_counted_for_its_service_and_for_the_node_that_it_goes_to() {
    bed(|bed| {
        bed.xdp_only = true;
        let other = VipKey::new(std::net::IpAddr::from(VIP).into(), Port::new(OTHER), 6);
        let value = VipValue { vip_id: 9, group: 1, flags: 0 };
        bed.programs.add_vip(other, value).unwrap();
        for (id, slot) in [(OVER_V4, 3), (ELSEWHERE, 1023)] {
            bed.programs.change_node(NodeId(id), |node| node.slot = slot).unwrap();
        }
        let plain = segment(ACK);
        let counted = Packet::tcp((CLIENT, 40_001), (VIP, OTHER), SYN, b"");
        bed.row(&plain, &[OVER_V4]);
        bed.forwards(&plain, OVER_V4, &[]);
        bed.row(&counted, &[ELSEWHERE, OVER_V4]);
        bed.forwards(&counted, ELSEWHERE, &[OVER_V4]);
        bed.forwards(&counted, ELSEWHERE, &[OVER_V4]);
        // This node comes first, and has no listener there.
        bed.row(&counted, &[OWN, OVER_V4]);
        let run = bed.run(&counted.frame());
        assert_eq!(run.reason, Reason::ForwardedNext);

        let of =
            |bed: &crate::bed::Bed, slot, reason| bed.programs.counted_for(slot, reason).unwrap();
        assert_eq!(of(bed, 0, Reason::Forwarded), 1);
        assert_eq!(of(bed, 9, Reason::Forwarded), 2);
        assert_eq!(of(bed, 9, Reason::ForwardedNext), 1);
        let near = bed.programs.forwards(3).unwrap();
        let bytes = (plain.frame().len() + counted.frame().len()) as u64;
        assert_eq!((near.first, near.next, near.relayed, near.bytes), (1, 1, 0, bytes));
        assert_eq!(bed.programs.forwards(1023).unwrap().first, 2);
        assert_eq!(bed.programs.forwards(0).unwrap().first, 0);
    });
}

#[test]
fn what_is_for_an_address_but_no_service_is_counted_for_the_address() {
    bed(|bed| {
        bed.xdp_only = true;
        bed.programs.add_counted_vip_address(VIP.into(), 5).unwrap();
        let packet = Packet::tcp((CLIENT, 40_000), (VIP, UNSTEERED), SYN, b"");
        bed.passes(&packet.frame(), Reason::OtherPort);
        assert_eq!(bed.programs.counted_for(5, Reason::OtherPort).unwrap(), 1);
        // A service of the address has counters of its own.
        let served = segment(SYN);
        bed.row(&served, &[OVER_V4]);
        bed.forwards(&served, OVER_V4, &[]);
        assert_eq!(bed.programs.counted_for(5, Reason::Forwarded).unwrap(), 0);
    });
}
