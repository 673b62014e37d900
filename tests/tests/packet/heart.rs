//! An agent that hangs listens, and does not answer.

use std::net::{TcpListener, TcpStream};

use ingress_common::Reason;
use testbed::wire::{ACK, Packet, SYN};

use crate::bed::{
    CLIENT, CLIENT6, DNS, HTTP, Header, OVER_V4, OWN, OWN_V4, PASS, PEER_V4, TX, VIP, VIP6, bed,
    segment, sent_to, tunnelled,
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

/// There is no socket table to ask: whoever is first in the row would swallow them for good.
#[test]
fn datagrams_go_on_from_a_node_whose_agent_hangs() {
    bed(|bed| {
        let queries = |port| {
            let v6 = Packet::udp((CLIENT6, port), (VIP6, DNS), b"query");
            [Packet::udp((CLIENT, port), (VIP, DNS), b"query"), v6]
        };
        // One flow that this node has, and one that begins; for tc, two others.
        for (known, fresh, xdp_only) in [(5, 6, true), (7, 8, false)] {
            for (known, fresh) in queries(known).into_iter().zip(queries(fresh)) {
                bed.programs.set_heart(0).unwrap();
                bed.row(&known, &[OWN, OVER_V4]);
                bed.passes(&known.frame(), Reason::Local);
                bed.row(&fresh, &[OWN, OVER_V4]);
                bed.programs.set_heart(1).unwrap();
                for (query, tried) in [(known, 3), (fresh, 2)] {
                    let expected = sent_to(OVER_V4, &Header::new(tried, &[]), &query).frame();
                    if xdp_only {
                        bed.xdp_only = true;
                        bed.check(&query.frame(), TX, Reason::ForwardedNext, &expected);
                        bed.xdp_only = false;
                    } else {
                        let run = bed.run_tc(&query.frame());
                        assert_eq!((run.reason, run.frame), (Reason::ForwardedNext, expected));
                    }
                    // It is remembered there, whatever becomes of the agent.
                    bed.forwards(&query, OVER_V4, &[]);
                    bed.programs.set_heart(u64::MAX).unwrap();
                    bed.forwards(&query, OVER_V4, &[]);
                    bed.programs.set_heart(1).unwrap();
                }
            }
        }
        // Nobody else is there.
        let [query, _] = queries(9);
        bed.row(&query, &[OWN]);
        bed.passes(&query.frame(), Reason::LastResort);
        let arrived = Header::new(1, &[]).before(&query);
        let arrived = tunnelled((PEER_V4, OWN_V4), 0xc111, arrived).frame();
        bed.check(&arrived, PASS, Reason::DecapsulatedLast, &query.frame());
    });
}
