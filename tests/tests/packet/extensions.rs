//! IPv6 extension headers before the transport header.

use ingress_common::Reason;
use testbed::wire::{ACK, Packet, SYN};

use crate::bed::{GENERATION, Header, OVER_V4, OWN, TX, bed, fragment_hash, segment6, sent_by};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// A header of so many units of eight bytes.
fn extension(number: u8, units: u8) -> (u8, Vec<u8>) {
    let mut bytes = vec![0; usize::from(units) * 8];
    bytes[1] = match number {
        // In units of four bytes, minus two.
        AUTHENTICATION => units * 2 - 2,
        _ => units - 1,
    };
    (number, bytes)
}

fn behind(extensions: Vec<(u8, Vec<u8>)>) -> Packet {
    Packet { extensions, ..segment6(SYN) }
}

#[test]
fn packets_behind_up_to_four_extension_headers_are_steered() {
    bed(|bed| {
        let chains = [
            vec![(HOP_BY_HOP, 1)],
            vec![(ROUTING, 3)],
            vec![(DESTINATION, 2)],
            vec![(AUTHENTICATION, 2)],
            vec![(AUTHENTICATION, 3)],
            vec![(HOP_BY_HOP, 1), (ROUTING, 3)],
            vec![(HOP_BY_HOP, 1), (DESTINATION, 1), (ROUTING, 1), (DESTINATION, 2)],
            vec![(DESTINATION, 40), (DESTINATION, 40), (DESTINATION, 40), (DESTINATION, 40)],
        ];
        for chain in chains {
            let packet = behind(chain.into_iter().map(|(n, units)| extension(n, units)).collect());
            bed.row(&packet, &[OVER_V4]);
            bed.forwards(&packet, OVER_V4, &[]);
        }
    });
}

#[test]
fn packets_behind_more_of_them_pass() {
    bed(|bed| {
        for length in [5, 6, 30] {
            let packet = behind(vec![extension(DESTINATION, 1); length]);
            bed.row(&packet, &[OVER_V4]);
            bed.passes(&packet.frame(), Reason::OtherProtocol);
        }
        // A fragment header is not looked for behind them either.
        let mut chain = vec![extension(DESTINATION, 1); 4];
        chain.push((FRAGMENT, vec![0, 0, 0, 8, 0, 0, 0, 1]));
        bed.passes(&behind(chain).frame(), Reason::OtherProtocol);
    });
}

#[test]
fn a_fragment_behind_other_headers_goes_home() {
    bed(|bed| {
        for before in 0..=3 {
            let mut chain = vec![extension(HOP_BY_HOP, 1); before];
            chain.push((FRAGMENT, vec![0, 0, 0, 1, 0, 0, 0, 1]));
            let packet = behind(chain);
            let home = fragment_hash(&packet, [0, 0, 0, 1]);
            bed.row_at(GENERATION, home, &[OVER_V4, OWN]);
            let header = Header { flags: 4, ..Header::new(1, &[]) };
            let expected = sent_by(OVER_V4, &header, &packet, home).frame();
            bed.check(&packet.frame(), TX, Reason::FragmentHome, &expected);
        }
    });
}

#[test]
fn headers_that_reach_beyond_the_packet_pass() {
    bed(|bed| {
        let mut reaching = extension(DESTINATION, 1);
        for units in [4, 5, 6, 200, 255] {
            reaching.1[1] = units;
            let packet = behind(vec![reaching.clone()]);
            bed.row(&packet, &[OVER_V4]);
            bed.passes(&packet.frame(), Reason::Malformed);
            // Not even if padding makes the frame long enough.
            let padded = Packet { padding: 2200, ..packet };
            bed.passes(&padded.frame(), Reason::Malformed);
        }
    });
}

#[test]
fn no_next_header_and_encryption_pass() {
    bed(|bed| {
        for number in [59, 50] {
            let mut frame = behind(vec![extension(HOP_BY_HOP, 1)]).frame();
            frame[54] = number;
            bed.passes(&frame, Reason::OtherProtocol);
        }
    });
}

/// One client is one client, with or without options.
#[test]
fn the_flow_is_the_same_behind_extension_headers() {
    bed(|bed| {
        bed.row(&segment6(ACK), &[OVER_V4]);
        let packet = Packet { extensions: vec![extension(HOP_BY_HOP, 1)], ..segment6(ACK) };
        bed.forwards(&packet, OVER_V4, &[]);
    });
}
