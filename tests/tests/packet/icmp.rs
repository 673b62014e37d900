//! ICMP errors about what a virtual service sent go where its flow is.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

use ingress_common::{Reason, limits::tail};
use testbed::wire::{ACK, Packet, Transport};

use crate::bed::{
    Bed, CLIENT, CLIENT6, DNS, GENERATION, HTTP, Header, OVER_V4, OVER_V6, OWN, OWN_V4, PASS,
    PEER_V4, TX, UNSTEERED, VIP, VIP6, bed, hash, segment, segment6, sent_by, tunnelled,
};

/// The router that sends the errors.
const ROUTER: [u8; 4] = [203, 0, 113, 9];
const ROUTER6: [u16; 8] = [0x2001, 0xdb8, 9, 0, 0, 0, 0, 9];

/// The packet of the virtual service that answers this one of the client.
pub(crate) fn answer(client: &Packet) -> Packet {
    let mut answer = client.clone();
    std::mem::swap(&mut answer.source, &mut answer.destination);
    match &mut answer.transport {
        Transport::Tcp { source, destination, .. } | Transport::Udp { source, destination, .. } => {
            std::mem::swap(source, destination);
        }
        Transport::Other(..) => unreachable!("no ports"),
    }
    answer
}

/// An ICMP message of this kind that quotes `about` up to so many bytes behind its IP header.
pub(crate) fn error(kind: [u8; 2], about: &Packet, quoted: usize) -> Packet {
    let ip = about.ip();
    let transport = match &about.transport {
        Transport::Tcp { data, .. } => 20 + data.len(),
        Transport::Udp { data, .. } => 8 + data.len(),
        Transport::Other(_, data) => data.len(),
    };
    let keep = ip.len() - transport + quoted;
    let mut message = vec![kind[0], kind[1], 0, 0, 0, 0, 5, 0x78];
    message.extend(ip.iter().take(keep));
    match about.source {
        IpAddr::V4(vip) => Packet::new(ROUTER, vip, Transport::Other(1, message)),
        IpAddr::V6(vip) => Packet::new(ROUTER6, vip, Transport::Other(58, message)),
    }
}

impl Bed {
    /// Checks that an error about the flow of `client` goes to `node`.
    #[track_caller]
    fn tells(&mut self, error: &Packet, client: &Packet, node: u16, rest: &[u16]) {
        let header = Header::new(1, rest);
        let expected = sent_by(node, &header, error, hash(client)).frame();
        self.check(&error.frame(), TX, Reason::Forwarded, &expected);
    }
}

#[test]
fn eight_bytes_of_the_segment_are_enough_and_seven_are_not() {
    bed(|bed| {
        for (client, kind) in [(segment(ACK), [3, 4]), (segment6(ACK), [2, 0])] {
            bed.row(&client, &[OVER_V4, OVER_V6]);
            let about = answer(&client);
            for quoted in [8, 9, 20, 38] {
                bed.tells(&error(kind, &about, quoted), &client, OVER_V4, &[OVER_V6]);
            }
            for quoted in [0, 1, 7] {
                let short = error(kind, &about, quoted);
                bed.passes(&short.frame(), Reason::Icmp);
                // Padding is no quotation.
                bed.passes(&Packet { padding: 9, ..short }.frame(), Reason::Icmp);
            }
        }
    });
}

#[test]
fn options_and_extension_headers_of_the_quoted_packet_are_legal() {
    bed(|bed| {
        for words in 1..=10 {
            let client = segment(ACK);
            bed.row(&client, &[OVER_V4]);
            let about = Packet { options: vec![1; words * 4], ..answer(&client) };
            bed.tells(&error([11, 0], &about, 8), &client, OVER_V4, &[]);
        }
        for extensions in [
            vec![(0, vec![0; 8])],
            vec![(60, vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), (43, vec![0; 8])],
            // The first fragment of a longer packet.
            vec![(44, vec![0, 0, 0, 1, 0, 0, 0, 7])],
        ] {
            let client = segment6(ACK);
            bed.row(&client, &[OVER_V6]);
            let about = Packet { extensions, ..answer(&client) };
            bed.tells(&error([3, 0], &about, 8), &client, OVER_V6, &[]);
        }
    });
}

#[test]
fn what_is_no_error_about_a_service_is_left_to_the_stack() {
    bed(|bed| {
        let (about, about6) = (answer(&segment(ACK)), answer(&segment6(ACK)));
        for kind in [[8, 0], [0, 0], [5, 1], [13, 0], [255, 3]] {
            bed.passes(&error(kind, &about, 20).frame(), Reason::Icmp);
        }
        for kind in [[128, 0], [129, 0], [135, 0], [0, 0], [5, 0]] {
            bed.passes(&error(kind, &about6, 20).frame(), Reason::Icmp);
        }
        // About a packet that somebody else sent, or for a service that is not steered.
        let mut stranger = error([3, 4], &about, 20);
        stranger.destination = VIP.into();
        if let Transport::Other(_, message) = &mut stranger.transport {
            message[8 + 15] ^= 1;
        }
        bed.passes(&stranger.frame(), Reason::Icmp);
        let other = answer(&Packet::tcp((CLIENT, 5), (VIP, UNSTEERED), ACK, b""));
        bed.passes(&error([3, 1], &other, 20).frame(), Reason::Icmp);
        // About a later fragment, and about another protocol.
        let later = Packet { fragment: 0x0010, ..about.clone() };
        bed.passes(&error([11, 1], &later, 20).frame(), Reason::Icmp);
        let later =
            Packet { extensions: vec![(44, vec![0, 0, 0, 8, 0, 0, 0, 7])], ..about6.clone() };
        bed.passes(&error([3, 1], &later, 20).frame(), Reason::Icmp);
        let ping = Packet::new(VIP, CLIENT, Transport::Other(1, vec![8; 16]));
        bed.passes(&error([11, 0], &ping, 16).frame(), Reason::Icmp);
        // The other version's ICMP.
        let mut wrong = error([3, 4], &about, 20);
        if let Transport::Other(protocol, _) = &mut wrong.transport {
            *protocol = 58;
        }
        bed.passes(&wrong.frame(), Reason::OtherProtocol);
        // Cut short at any byte.
        let whole = error([3, 4], &about, 8).frame();
        for end in 35..whole.len() {
            bed.passes(&whole[..end], Reason::Malformed);
        }
    });
}

#[test]
fn an_error_about_a_connection_of_this_node_stays() {
    bed(|bed| {
        for (vip, kind) in [(IpAddr::from(VIP), [3, 4]), (IpAddr::from(VIP6), [2, 0])] {
            let listener = TcpListener::bind(SocketAddr::new(vip, HTTP)).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let _server = listener.accept().unwrap();
            let (from, to) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
            let known = Packet::tcp((from.ip(), from.port()), (to.ip(), to.port()), ACK, b"data");
            bed.row(&known, &[OWN, OVER_V4]);
            let told = error(kind, &answer(&known), 8);
            bed.passes(&told.frame(), Reason::Local);
            // A listener alone does not have the connection.
            let unknown = Packet::tcp((from.ip(), 9), (to.ip(), to.port()), ACK, b"data");
            bed.row(&unknown, &[OWN, OVER_V4]);
            let told = error(kind, &answer(&unknown), 8);
            let header = Header::new(2, &[]);
            let expected = sent_by(OVER_V4, &header, &told, hash(&unknown)).frame();
            bed.check(&told.frame(), TX, Reason::ForwardedNext, &expected);
        }
    });
}

#[test]
fn an_error_travels_the_hops_of_its_flow() {
    bed(|bed| {
        let client = segment(ACK);
        let told = error([3, 4], &answer(&client), 8);
        let before = |hops: &[u16], tried| {
            let payload = Header::new(tried, hops).before(&told);
            tunnelled((PEER_V4, OWN_V4), 0xc123, payload)
        };
        let mut expected = sent_by(OVER_V6, &Header::new(2, &[OVER_V4]), &told, 0x0123 << 48);
        expected.tags.clear();
        bed.check(&before(&[OVER_V6, OVER_V4], 1).frame(), TX, Reason::Relayed, &expected.frame());
        bed.check(&before(&[], 3).frame(), PASS, Reason::DecapsulatedLast, &told.frame());
    });
}

#[test]
fn an_error_about_a_datagram_goes_where_datagrams_go() {
    bed(|bed| {
        for (client, vip, kind) in [
            (IpAddr::from(CLIENT), IpAddr::from(VIP), [3, 3]),
            (CLIENT6.into(), VIP6.into(), [1, 4]),
        ] {
            let query = Packet::udp((client, 5), (vip, DNS), b"query");
            let told = error(kind, &answer(&query), 8);
            bed.row(&query, &[OVER_V4, OVER_V6]);
            bed.tells(&told, &query, OVER_V4, &[]);
            // An error makes no flow, and follows one that is there.
            bed.row(&query, &[OVER_V6, OVER_V4]);
            bed.tells(&told, &query, OVER_V6, &[]);
            bed.forwards(&query, OVER_V6, &[]);
            bed.row(&query, &[OVER_V4, OVER_V6]);
            bed.tells(&told, &query, OVER_V6, &[]);
        }
    });
}

#[test]
fn without_its_program_the_stack_has_it() {
    bed(|bed| {
        bed.row_at(GENERATION, hash(&segment(ACK)), &[OVER_V4]);
        bed.programs.empty_slot(tail::ICMP).unwrap();
        bed.passes(&error([3, 4], &answer(&segment(ACK)), 8).frame(), Reason::Icmp);
    });
}
