//! An agent that hangs listens, and does not answer.

use std::net::{TcpListener, TcpStream};

use ingress_common::Reason;
use testbed::wire::{ACK, Packet, SYN};

use crate::bed::{
    HTTP, Header, OVER_V4, OWN, OWN_V4, PASS, PEER_V4, TX, VIP, bed, segment, sent_to, tunnelled,
};

#[test]
fn beginnings_go_on_from_a_node_whose_agent_hangs_and_connections_stay() {
    bed(|bed| {
        let listener = TcpListener::bind((VIP, HTTP)).unwrap();
        bed.row(&segment(SYN), &[OWN, OVER_V4]);
        let client = TcpStream::connect((VIP, HTTP)).unwrap();
        let _server = listener.accept().unwrap();
        let port = client.local_addr().unwrap().port();
        let known = |flags| Packet::tcp((VIP, port), (VIP, HTTP), flags, b"");
        bed.row(&known(ACK), &[OWN, OVER_V4]);
        // Never said anything; will say something yet.
        for beat in [0, u64::MAX] {
            bed.programs.set_heart(beat).unwrap();
            bed.passes(&segment(SYN).frame(), Reason::Local);
        }
        // Said something when the machine began.
        bed.programs.set_heart(1).unwrap();
        let expected = sent_to(OVER_V4, &Header::new(2, &[]), &segment(SYN)).frame();
        bed.check(&segment(SYN).frame(), TX, Reason::ForwardedNext, &expected);
        for flags in [ACK, SYN] {
            bed.passes(&known(flags).frame(), Reason::Local);
        }
        // Nobody else is there.
        bed.row(&segment(SYN), &[OWN]);
        bed.passes(&segment(SYN).frame(), Reason::LastResort);
        let arrived = Header::new(1, &[]).before(&segment(SYN));
        let arrived = tunnelled((PEER_V4, OWN_V4), 0xc111, arrived).frame();
        bed.check(&arrived, PASS, Reason::DecapsulatedLast, &segment(SYN).frame());
    });
}
