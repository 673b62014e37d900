//! Peers ask whether this node would take a new connection; and what a node does that drains.

use std::net::TcpListener;

use ingress_common::{Config, NodeId, Port, Reason, config::CONFIG_DRAINING};
use testbed::wire::{ACK, Packet, SYN, Transport};

use crate::bed::{
    Bed, CLIENT, DNS, HTTP, Header, OVER_V4, OVER_V6, OWN, OWN_V4, OWN_V6, PEER_V4, PEER_V6,
    TUNNEL_PORT, TX, VIP, VIP6, bed, segment, segment6, sent_to, tunnelled,
};

const PROBE: u8 = 0x20;
const ANSWER: u8 = 0x40;
const TAKES_NEW: u8 = 0x80;
/// The port of the peer's agent.
const AGENT: u16 = 40_123;

impl Bed {
    /// Asks over both families, with and without checksum and tags; each answer must be the
    /// question turned round, with these flags and a checksum that is right.
    #[track_caller]
    fn answers(&mut self, client: &Packet, flags: u8) {
        let payload = |flags| {
            let mut bytes = Header::new(1, &[]).before(client);
            bytes[2] = flags;
            bytes
        };
        for (peer, own) in [(PEER_V4.into(), OWN_V4.into()), (PEER_V6.into(), OWN_V6.into())]
            as [(std::net::IpAddr, std::net::IpAddr); 2]
        {
            for checked in [false, true] {
                for tags in
                    [vec![], vec![[0x81, 0, 0, 5]], vec![[0x88, 0xa8, 0, 5], [0x81, 0, 0, 6]]]
                {
                    let mut question = tunnelled((peer, own), AGENT, payload(PROBE));
                    question.tags = tags;
                    if let Transport::Udp { unchecked, .. } = &mut question.transport {
                        *unchecked = !checked;
                    }
                    let mut answer = Packet { source: own, destination: peer, ..question.clone() };
                    answer.link.swap(0, 1);
                    answer.transport = Transport::Udp {
                        source: TUNNEL_PORT,
                        destination: AGENT,
                        data: payload(flags),
                        unchecked: !checked,
                    };
                    self.check(&question.frame(), TX, Reason::Probe, &answer.frame());
                }
            }
        }
    }

    fn drain(&mut self) {
        let tunnel_port = Port::new(TUNNEL_PORT);
        let config = Config { node: NodeId(OWN), tunnel_port, flags: CONFIG_DRAINING };
        self.programs.set_config(config).unwrap();
    }
}

#[test]
fn a_peer_that_asks_is_told_whether_somebody_listens() {
    bed(|bed| {
        for client in [segment(SYN), segment6(SYN)] {
            bed.answers(&client, ANSWER);
        }
        let _v4 = TcpListener::bind((VIP, HTTP)).unwrap();
        let _v6 = TcpListener::bind((VIP6, HTTP)).unwrap();
        for client in [segment(SYN), segment6(SYN)] {
            bed.answers(&client, ANSWER | TAKES_NEW);
        }
    });
}

#[test]
fn a_question_as_long_as_the_path_takes_comes_back_whole() {
    bed(|bed| {
        let _v4 = TcpListener::bind((VIP, HTTP)).unwrap();
        let long = Packet::tcp((PEER_V4, 7), (VIP, HTTP), SYN, &[0x5a; 1400]);
        bed.answers(&long, ANSWER | TAKES_NEW);
    });
}

#[test]
fn a_question_of_a_stranger_is_left_alone() {
    bed(|bed| {
        let mut bytes = Header::new(1, &[]).before(&segment(SYN));
        bytes[2] = PROBE;
        let stranger = std::net::Ipv4Addr::new(198, 51, 100, 77);
        let question = tunnelled((stranger, OWN_V4), AGENT, bytes);
        bed.passes(&question.frame(), Reason::ForeignTunnel);
    });
}

#[test]
fn a_question_about_what_is_not_served_is_dropped() {
    bed(|bed| {
        let client = Packet::tcp((PEER_V4, 7), (VIP, HTTP + 7), SYN, b"");
        let mut bytes = Header::new(1, &[]).before(&client);
        bytes[2] = PROBE;
        let question = tunnelled((PEER_V4, OWN_V4), AGENT, bytes);
        bed.drops(&question.frame(), Reason::TunnelNotVip);
    });
}

#[test]
fn a_draining_node_hands_beginnings_on_although_it_listens() {
    bed(|bed| {
        let _v4 = TcpListener::bind((VIP, HTTP)).unwrap();
        let _v6 = TcpListener::bind((VIP6, HTTP)).unwrap();
        bed.drain();
        for packet in [segment(SYN), segment6(SYN)] {
            bed.row(&packet, &[OWN, OVER_V4, OVER_V6]);
            let expected = sent_to(OVER_V4, &Header::new(2, &[OVER_V6]), &packet);
            bed.check(&packet.frame(), TX, Reason::ForwardedNext, &expected.frame());
            bed.answers(&packet, ANSWER);
        }
    });
}

#[test]
fn a_draining_node_keeps_beginnings_that_nobody_else_is_left_for() {
    bed(|bed| {
        let _v4 = TcpListener::bind((VIP, HTTP)).unwrap();
        bed.drain();
        bed.row(&segment(SYN), &[OWN]);
        bed.passes(&segment(SYN).frame(), Reason::LastResort);
        // A segment of a connection that it does not have is no beginning.
        bed.passes(&segment(ACK).frame(), Reason::LastResort);
    });
}

#[test]
fn a_draining_node_keeps_its_flows_of_datagrams_and_hands_new_ones_on() {
    bed(|bed| {
        let query = |port| Packet::udp((CLIENT, port), (VIP, DNS), b"query");
        let (known, fresh, alone) = (query(5), query(6), query(7));
        bed.row(&known, &[OWN, OVER_V4]);
        bed.row(&fresh, &[OWN, OVER_V4]);
        bed.row(&alone, &[OWN]);
        bed.passes(&known.frame(), Reason::Local);
        bed.drain();
        bed.passes(&known.frame(), Reason::Local);
        let expected = sent_to(OVER_V4, &Header::new(2, &[]), &fresh).frame();
        let run = bed.run(&fresh.frame());
        assert_eq!((run.reason, run.frame), (Reason::ForwardedNext, expected));
        bed.forwards(&fresh, OVER_V4, &[]);
        bed.passes(&alone.frame(), Reason::Local);
    });
}
