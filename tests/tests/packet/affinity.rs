//! Services that keep one client at one node.

use std::net::{Ipv4Addr, Ipv6Addr};

use ingress_common::Reason;
use testbed::wire::{Packet, SYN};

use crate::bed::{CLIENT, CLIENT6, HTTP, OVER_V4, STICKY, VIP, VIP6, bed, hash};

#[test]
fn all_connections_of_a_client_have_one_row() {
    bed(|bed| {
        let v4 = |port| Packet::tcp((CLIENT, port), (VIP, STICKY), SYN, b"");
        let v6 = |port| Packet::tcp((CLIENT6, port), (VIP6, STICKY), SYN, b"");
        bed.row(&v4(1), &[OVER_V4]);
        bed.row(&v6(1), &[OVER_V4]);
        for port in [1, 2, 1024, 40_000, 65_535] {
            bed.forwards(&v4(port), OVER_V4, &[]);
            bed.forwards(&v6(port), OVER_V4, &[]);
        }
    });
}

#[test]
fn clients_differ() {
    bed(|bed| {
        bed.row(&Packet::tcp((CLIENT, 1), (VIP, STICKY), SYN, b""), &[OVER_V4]);
        let v4 = Ipv4Addr::new(198, 51, 100, 8);
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 8);
        let v4 = Packet::tcp((v4, 1), (VIP, STICKY), SYN, b"");
        let v6 = Packet::tcp((v6, 1), (VIP6, STICKY), SYN, b"");
        bed.passes(&v4.frame(), Reason::EmptyRow);
        bed.passes(&v6.frame(), Reason::EmptyRow);
    });
}

#[test]
fn other_services_spread_the_connections_of_a_client() {
    bed(|bed| {
        let of = |port| Packet::tcp((CLIENT, port), (VIP, HTTP), SYN, b"");
        bed.row(&of(1), &[OVER_V4]);
        bed.forwards(&of(1), OVER_V4, &[]);
        let other = (2..).find(|port| hash(&of(*port)) & 0xffff != hash(&of(1)) & 0xffff).unwrap();
        bed.passes(&of(other).frame(), Reason::EmptyRow);
    });
}
