//! Who has the connection: real sockets of the node's namespace.

use std::{
    fs,
    io::Read,
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use ingress_common::Reason;
use testbed::wire::{ACK, FIN, Packet, RST, SYN};

use crate::bed::{
    CLIENT, CLIENT6, HTTP, Header, OVER_V4, OVER_V6, OWN, TX, VIP, VIP6, bed, segment, segment6,
    sent_to,
};

/// A connection within the namespace: the client's end, and the node's.
fn connect(vip: IpAddr, client: IpAddr, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = connect_from(client, SocketAddr::new(vip, HTTP));
    let (server, _) = listener.accept().unwrap();
    (client, server)
}

fn connect_from(source: IpAddr, destination: SocketAddr) -> TcpStream {
    // The standard library cannot bind before it connects.
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(destination),
        socket2::Type::STREAM,
        None,
    )
    .unwrap();
    socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
    socket.connect(&destination.into()).unwrap();
    socket.into()
}

/// A segment as the client's end would send it.
fn of(client: &TcpStream, flags: u8) -> Packet {
    let (source, destination) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    let (source, destination) =
        ((source.ip(), source.port()), (destination.ip(), destination.port()));
    Packet::tcp(source, destination, flags, b"data")
}

/// Waits until the node's end of a connection is in a state of `include/net/tcp_states.h`.
fn await_state(client: SocketAddr, state: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let port = format!(":{:04X}", client.port());
    loop {
        let table = fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
        let found = table.lines().any(|line| {
            let mut words = line.split_whitespace().skip(2);
            words.next().is_some_and(|remote| remote.ends_with(&port))
                && words.next() == Some(state)
        });
        if found {
            return;
        }
        assert!(Instant::now() < deadline, "no connection in state {state} of:\n{table}");
        std::thread::yield_now();
    }
}

#[test]
fn a_beginning_stays_where_somebody_listens() {
    bed(|bed| {
        let _v4 = TcpListener::bind((VIP, HTTP)).unwrap();
        let _v6 = TcpListener::bind((VIP6, HTTP)).unwrap();
        for packet in [segment(SYN), segment6(SYN)] {
            bed.row(&packet, &[OWN, OVER_V4]);
            bed.passes(&packet.frame(), Reason::Local);
            let tagged = Packet { tags: vec![[0x81, 0, 0, 5]], padding: 3, ..packet };
            bed.passes(&tagged.frame(), Reason::Local);
        }
    });
}

#[test]
fn a_listener_on_the_unspecified_address_counts() {
    bed(|bed| {
        let _all = TcpListener::bind((Ipv4Addr::UNSPECIFIED, HTTP)).unwrap();
        bed.row(&segment(SYN), &[OWN, OVER_V4]);
        bed.passes(&segment(SYN).frame(), Reason::Local);
    });
}

#[test]
fn a_beginning_goes_on_where_nobody_listens() {
    bed(|bed| {
        // A listener of another port or another address is none.
        let _port = TcpListener::bind((VIP, HTTP + 1)).unwrap();
        let _address = TcpListener::bind((CLIENT, HTTP)).unwrap();
        for packet in [segment(SYN), segment6(SYN)] {
            bed.row(&packet, &[OWN, OVER_V4, OVER_V6]);
            let expected = sent_to(OVER_V4, &Header::new(2, &[OVER_V6]), &packet);
            bed.check(&packet.frame(), TX, Reason::ForwardedNext, &expected.frame());
        }
    });
}

#[test]
fn the_last_candidate_keeps_what_nobody_knows() {
    bed(|bed| {
        for flags in [SYN, ACK, RST] {
            for packet in [segment(flags), segment6(flags)] {
                bed.row(&packet, &[OWN]);
                bed.passes(&packet.frame(), Reason::LastResort);
            }
        }
    });
}

#[test]
fn a_known_connection_stays_whatever_the_segment() {
    bed(|bed| {
        for (vip, client) in [(VIP.into(), CLIENT.into()), (VIP6.into(), CLIENT6.into())] {
            let listener = TcpListener::bind(SocketAddr::new(vip, HTTP)).unwrap();
            let (client, _server) = connect(vip, client, &listener);
            for flags in [ACK, FIN | ACK, RST, RST | ACK, SYN, SYN | ACK, 0] {
                let packet = of(&client, flags);
                bed.row(&packet, &[OWN, OVER_V4]);
                bed.passes(&packet.frame(), Reason::Local);
            }
            // The agent may be gone; its connections are not.
            drop(listener);
            for flags in [ACK, SYN] {
                bed.passes(&of(&client, flags).frame(), Reason::Local);
            }
        }
    });
}

#[test]
fn an_unknown_connection_goes_to_the_second_candidate() {
    bed(|bed| {
        let _listener = TcpListener::bind((VIP, HTTP)).unwrap();
        // To a listener none of these says that the connection is this node's.
        for flags in [ACK, FIN | ACK, RST, RST | ACK, SYN | ACK, SYN | RST, 0] {
            let packet = segment(flags);
            bed.row(&packet, &[OWN, OVER_V4]);
            let expected = sent_to(OVER_V4, &Header::new(2, &[]), &packet);
            bed.check(&packet.frame(), TX, Reason::ForwardedNext, &expected.frame());
        }
    });
}

/// Whoever is asked first gets the packet, even if this node has a socket: only so do all nodes
/// agree.
#[test]
fn the_order_of_the_row_counts() {
    bed(|bed| {
        let listener = TcpListener::bind((VIP, HTTP)).unwrap();
        let (client, _server) = connect(VIP.into(), CLIENT.into(), &listener);
        let packet = of(&client, ACK);
        bed.row(&packet, &[OVER_V4, OWN]);
        bed.forwards(&packet, OVER_V4, &[OWN]);
    });
}

#[test]
fn a_connection_of_another_client_is_not_known() {
    bed(|bed| {
        let listener = TcpListener::bind((VIP, HTTP)).unwrap();
        let (client, _server) = connect(VIP.into(), CLIENT.into(), &listener);
        let mine = of(&client, ACK);
        let other = Packet { source: Ipv4Addr::new(198, 51, 100, 8).into(), ..mine.clone() };
        bed.row(&mine, &[OWN, OVER_V4]);
        bed.row(&other, &[OWN, OVER_V4]);
        bed.passes(&mine.frame(), Reason::Local);
        let expected = sent_to(OVER_V4, &Header::new(2, &[]), &other);
        bed.check(&other.frame(), TX, Reason::ForwardedNext, &expected.frame());
    });
}

#[test]
fn a_connection_in_time_wait_is_known() {
    bed(|bed| {
        let listener = TcpListener::bind((VIP, HTTP)).unwrap();
        let (mut client, server) = connect(VIP.into(), CLIENT.into(), &listener);
        let (last, again) = (of(&client, ACK), of(&client, SYN));
        let address = client.local_addr().unwrap();
        bed.row(&last, &[OWN, OVER_V4]);
        // Who closes first waits.
        server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
        await_state(address, "05");
        bed.passes(&last.frame(), Reason::Local);
        drop(client);
        drop(server);
        await_state(address, "06");
        drop(listener);
        // A SYN that reuses the port too.
        for packet in [last, again] {
            bed.passes(&packet.frame(), Reason::Local);
        }
    });
}
