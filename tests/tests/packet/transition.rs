//! While a table is new, a SYN is offered first to the node that had its row.

use std::net::{TcpListener, TcpStream};

use ingress_common::Reason;
use testbed::wire::{ACK, Packet, SYN};

use crate::bed::{
    Bed, CLIENT, DNS, GENERATION, HTTP, Header, OVER_V4, OVER_V6, OWN, OWN_V4, PASS, PEER_V4, TX,
    VIP, bed, hash, segment, segment6, sent_by, sent_to, tunnelled,
};

const PROBE: u8 = 2;
const IDLE: u32 = GENERATION ^ 1;

impl Bed {
    /// The rows before and now.
    fn rows(&mut self, packet: &Packet, before: &[u16], now: &[u16]) {
        self.row_of(IDLE, packet, before);
        self.row(packet, now);
    }

    #[track_caller]
    fn asks(&mut self, packet: &Packet, node: u16, rest: &[u16]) {
        let header = Header { flags: PROBE, ..Header::new(1, rest) };
        let expected = sent_to(node, &header, packet).frame();
        self.check(&packet.frame(), TX, Reason::Forwarded, &expected);
    }
}

#[test]
fn a_beginning_is_offered_to_the_head_before() {
    bed(|bed| {
        bed.publish_until(GENERATION, u64::MAX);
        for of in [segment, segment6] {
            bed.rows(&of(SYN), &[OVER_V4, OVER_V6], &[OVER_V6, OVER_V4, OWN]);
            bed.asks(&of(SYN), OVER_V4, &[OVER_V6, OVER_V4, OWN]);
            // Nothing else is.
            bed.forwards(&of(ACK), OVER_V6, &[OVER_V4, OWN]);
            // Of four candidates the last falls off.
            bed.rows(&of(SYN), &[OVER_V4], &[OVER_V6, OWN, 900, OVER_V4]);
            bed.asks(&of(SYN), OVER_V4, &[OVER_V6, OWN, 900]);
        }
        let query = Packet::udp((CLIENT, 5), (VIP, DNS), b"query");
        bed.rows(&query, &[OVER_V4], &[OVER_V6, OVER_V4]);
        bed.forwards(&query, OVER_V6, &[]);
    });
}

#[test]
fn nobody_is_asked_first_without_a_change_or_after_the_time() {
    bed(|bed| {
        for (until, before) in [(0, OVER_V4), (1, OVER_V4), (u64::MAX, OVER_V6), (u64::MAX, 0)] {
            bed.publish_until(GENERATION, until);
            bed.rows(&segment(SYN), &[before], &[OVER_V6, OVER_V4]);
            bed.forwards(&segment(SYN), OVER_V6, &[OVER_V4]);
        }
        // A head that cannot be reached is not asked, and its successor not as if it were one.
        bed.publish_until(GENERATION, u64::MAX);
        bed.rows(&segment(SYN), &[900], &[OVER_V6, OVER_V4]);
        let header = Header { skipped: true, ..Header::new(2, &[OVER_V4]) };
        let expected = sent_to(OVER_V6, &header, &segment(SYN)).frame();
        bed.check(&segment(SYN).frame(), TX, Reason::ForwardedNext, &expected);
    });
}

/// The head before takes what it knows, not what it could begin.
#[test]
fn this_node_as_the_head_before_takes_only_what_it_knows() {
    bed(|bed| {
        bed.publish_until(GENERATION, u64::MAX);
        let listener = TcpListener::bind((VIP, HTTP)).unwrap();
        bed.rows(&segment(SYN), &[OWN], &[OVER_V4, OWN]);
        let expected = sent_to(OVER_V4, &Header::new(2, &[OWN]), &segment(SYN)).frame();
        bed.check(&segment(SYN).frame(), TX, Reason::ForwardedNext, &expected);

        let client = TcpStream::connect((VIP, HTTP)).unwrap();
        let _server = listener.accept().unwrap();
        let port = client.local_addr().unwrap().port();
        let again = Packet::tcp((VIP, port), (VIP, HTTP), SYN, b"");
        bed.rows(&again, &[OWN], &[OVER_V4, OWN]);
        bed.passes(&again.frame(), Reason::Local);
    });
}

#[test]
fn out_of_the_tunnel_an_offer_is_taken_only_if_the_connection_is_known() {
    bed(|bed| {
        let listener = TcpListener::bind((VIP, HTTP)).unwrap();
        let arrived = |packet: &Packet| {
            let header = Header { flags: PROBE, ..Header::new(1, &[OVER_V6, OVER_V4]) };
            tunnelled((PEER_V4, OWN_V4), 0xc111, header.before(packet)).frame()
        };
        // The next one is not asked for what it knows but may begin the connection.
        let packet = segment(SYN);
        let header = Header::new(2, &[OVER_V4]);
        let expected = sent_by(OVER_V6, &header, &packet, 0x0111 << 48).frame();
        bed.check(&arrived(&packet), TX, Reason::Relayed, &expected);

        let client = TcpStream::connect((VIP, HTTP)).unwrap();
        let _server = listener.accept().unwrap();
        let port = client.local_addr().unwrap().port();
        let again = Packet::tcp((VIP, port), (VIP, HTTP), SYN, b"");
        assert_ne!(hash(&again), hash(&packet));
        bed.check(&arrived(&again), PASS, Reason::Decapsulated, &again.frame());
    });
}
