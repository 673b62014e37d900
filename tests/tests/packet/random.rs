//! Any packet that is not for a virtual address stays as it is.

use ingress_common::Reason;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};

use testbed::wire::{ACK, SYN};

use crate::bed::{
    Header, OVER_V4, OWN_V4, PASS, PEER_V4, VIP, VIP6, bed, segment, segment6, tunnelled,
};

/// Frames that get as far as possible with any bytes: with tags, of either version of IP, with
/// addresses anywhere but at the virtual ones.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let protocol = prop_oneof![
        4 => Just(vec![0x08, 0x00]),
        4 => Just(vec![0x86, 0xdd]),
        1 => Just(vec![0x81, 0x00, 0x00, 0x07, 0x08, 0x00]),
        1 => Just(vec![0x88, 0xa8, 0, 7, 0x81, 0x00, 0, 8, 0x86, 0xdd]),
        1 => vec(any::<u8>(), 2),
    ];
    let first = prop_oneof![Just(0x45), Just(0x46), Just(0x60), any::<u8>()];
    let transport = prop_oneof![Just(6), Just(17), Just(1), Just(44), Just(0), any::<u8>()];
    (vec(any::<u8>(), 12), protocol, first, transport, vec(any::<u8>(), 0..300)).prop_map(
        |(addresses, protocol, first, transport, mut rest)| {
            for (position, value) in [(0, first), (6, transport), (9, transport)] {
                if let Some(byte) = rest.get_mut(position) {
                    *byte = value;
                }
            }
            [addresses, protocol, rest].concat()
        },
    )
}

#[test]
fn random_packets_to_other_addresses_pass_unchanged() {
    bed(|bed| {
        let mut runner = TestRunner::new(Config { cases: 4000, ..Config::default() });
        let bed = std::cell::RefCell::new(bed);
        let result = runner.run(&frames(), |frame| {
            let contains = |address: &[u8]| frame.windows(address.len()).any(|at| at == address);
            prop_assume!(!contains(&VIP.octets()) && !contains(&VIP6.octets()));
            let run = bed.borrow_mut().run_uncounted(&frame);
            prop_assert_eq!(run, (PASS, frame));
            Ok(())
        });
        result.unwrap();
        let left_alone = [Reason::NotIp, Reason::NotVip, Reason::ForeignTunnel];
        for (reason, _) in bed.into_inner().programs.counted().unwrap() {
            assert!(left_alone.contains(&reason), "{}", reason.name());
        }
    });
}

/// The same with bytes replaced in packets that the node would steer: unless one leaves a tunnel,
/// what passes is left alone to the byte.
#[test]
fn random_damage_leaves_what_passes_unchanged() {
    bed(|bed| {
        let payload = Header::new(1, &[OVER_V4]).before(&segment(ACK));
        let packets = [segment(SYN), segment6(ACK), tunnelled((PEER_V4, OWN_V4), 9, payload)];
        for packet in &packets[..2] {
            bed.row(packet, &[OVER_V4]);
        }
        let frames = packets.map(|packet| packet.frame());
        let damage = vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
        let mut runner = TestRunner::new(Config { cases: 1000, ..Config::default() });
        let bed = std::cell::RefCell::new(bed);
        let result = runner.run(&(0..3usize, damage), |(which, damage)| {
            let mut frame = frames[which].clone();
            for (index, value) in damage {
                *index.get_mut(&mut frame) = value;
            }
            let run = bed.borrow_mut().run(&frame);
            let taken = [Reason::Decapsulated, Reason::DecapsulatedLast];
            if run.action == PASS && !taken.contains(&run.reason) {
                prop_assert_eq!(run.frame, frame);
            }
            Ok(())
        });
        result.unwrap();
    });
}
