//! The fuzzer's driver over inputs from a seed: frames that are nearly right, with some bytes
//! broken, because arbitrary bytes hardly ever get past the first check.

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "elsewhere the file is a library")]
mod driver;

use std::collections::BTreeMap;

use driver::{PEER, VIPS, drive};
use ingress_common::Reason;
use proptest::prelude::*;

fn tcp(flags: u8) -> Vec<u8> {
    let mut bytes = vec![0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags];
    bytes.extend([0xff, 0xff, 0, 0, 0, 0, b'h', b'i']);
    bytes
}

fn v4(from: [u8; 4], to: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0];
    bytes.extend((20 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    bytes.extend([from, to].concat());
    bytes.extend(payload);
    bytes
}

fn v6(payload: &[u8], next: u8) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend([next, 64]);
    bytes.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9]);
    bytes.extend(VIPS[1].octets());
    bytes.extend(payload);
    bytes
}

fn udp(to: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xc0, 1];
    bytes.extend(to.to_be_bytes());
    bytes.extend((8 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    bytes
}

/// Well-formed frames of every kind that the core knows.
fn seeds() -> Vec<Vec<u8>> {
    let client = [198, 51, 100, 7];
    let vip = VIPS[0].as_v4().expect("the first is IPv4");
    let peer = PEER.as_v4().expect("IPv4");
    let mut packets = vec![];
    for flags in [0x02, 0x10, 0x04] {
        packets.push((0x0800u16, v4(client, vip, 6, &tcp(flags))));
        packets.push((0x86dd, v6(&tcp(flags), 6)));
        let extended = [&[6, 0, 0, 0, 0, 0, 0, 0][..], &tcp(flags)].concat();
        packets.push((0x86dd, v6(&extended, 60)));
        for inner in [v4(client, vip, 6, &tcp(flags)), v6(&tcp(flags), 6)] {
            for hops in [&[][..], &[2], &[1, 3], &[2, 3, 4]] {
                let protocol = if inner[0] >> 4 == 4 { 4 } else { 41 };
                let mut header = vec![0x10 | hops.len() as u8, 1, 0, protocol, 0, 1];
                for position in 0..3 {
                    header.extend([0, hops.get(position).copied().unwrap_or(0)]);
                }
                header.extend(&inner);
                packets.push((0x0800, v4(peer, [10, 0, 0, 1], 17, &udp(6082, &header))));
            }
        }
    }
    packets.push((0x0800, v4(client, [192, 0, 2, 7], 6, &tcp(2))));
    packets.push((0x0806, vec![0; 28]));
    let tags: [&[u8]; 3] = [&[], &[0x81, 0, 0, 5], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6]];
    packets
        .iter()
        .flat_map(|(protocol, packet)| {
            tags.map(|tags| [&[2; 12], tags, &protocol.to_be_bytes(), &packet[..]].concat())
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_core_keeps_its_promises(
        world: [u8; 4],
        seed: prop::sample::Index,
        breaks in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        padding in 0usize..8,
    ) {
        let seeds = seeds();
        let mut input = world.to_vec();
        input.extend(seed.get(&seeds));
        for (position, value) in breaks {
            let length = input.len();
            input[position.index(length)] = value;
        }
        if let Some(cut) = cut {
            input.truncate(cut.index(input.len()));
        } else {
            input.extend(std::iter::repeat_n(0, padding));
        }
        drive(&input);
    }

    #[test]
    fn nonsense_is_survived(input in prop::collection::vec(any::<u8>(), 0..256)) {
        drive(&input);
    }
}

#[test]
fn the_seeds_reach_every_end_that_they_are_made_for() {
    let mut reached: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in seeds() {
        for world in 0..=u16::MAX {
            // A spread over the choices; all of them would take minutes.
            if world % 61 != 0 {
                continue;
            }
            let [a, d] = world.to_be_bytes();
            let input = [&[a, a.rotate_left(3) ^ 0x21, d & 0xf0, d], &seed[..]].concat();
            let reason = drive(&input).expect("long enough");
            *reached.entry(reason.name()).or_default() += 1;
        }
    }
    for reason in [
        Reason::NotIp,
        Reason::NotVip,
        Reason::NoTable,
        Reason::EmptyRow,
        Reason::Local,
        Reason::LastResort,
        Reason::Decapsulated,
        Reason::DecapsulatedLast,
        Reason::Forwarded,
        Reason::ForwardedNext,
        Reason::Relayed,
        Reason::NodeUnusable,
        Reason::OwnerUnreachable,
        Reason::TooLong,
        Reason::RelayFailed,
    ] {
        assert!(reached.contains_key(reason.name()), "{reason:?} not among {reached:?}");
    }
}
