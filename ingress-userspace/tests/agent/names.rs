//! Names outside the cluster that stand for several addresses, or are not known yet.

use std::{
    cell::{Cell, OnceCell},
    io::{BufReader, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    panic::resume_unwind,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::geteuid,
};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::{
    Backend, DEADLINE, Ingress, Site, documents, free_port, ingress, nobody, read_request, saying,
    service, skip, until,
};

const HOST: &str = "shop.example.com";
/// Addresses for documentation (RFC 5737, RFC 3849): of nobody else in a network of our own.
const FOUR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// Runs `work` on a thread with a network of its own, which has the two addresses and nothing else.
fn alone(test: &str, work: impl FnOnce() + Send + 'static) {
    if !geteuid().is_root() {
        return skip(test, "netns", "needs root");
    }
    let inside = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("root may");
        let four = format!("addr add {FOUR}/32 dev lo");
        let six = format!("-6 addr add {SIX}/128 dev lo nodad");
        for line in ["link set lo up", &four, &six] {
            let status = Command::new("ip").args(line.split(' ')).status();
            assert!(status.expect("ip is there").success(), "ip {line}");
        }
        // The route to the address of IPv6 comes, and settles, a moment after it.
        let refusals = Cell::new(0);
        until("the addresses can be reached", || {
            let refused = TcpStream::connect((SIX, 9))
                .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
            refusals.set(if refused { refusals.get() + 1 } else { 0 });
            refusals.get() == 20
        });
        work();
    });
    inside.join().unwrap_or_else(|panic| resume_unwind(panic));
}

/// A name server that says these addresses of every name, for a second, each answer after `pause`.
fn name_server(addresses: &'static [IpAddr], pause: Duration) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let server = socket.local_addr().expect("bound");
    thread::spawn(move || {
        let mut query = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut query) {
            // The question ends before the EDNS record: after the name, its type and class.
            let end =
                12 + query[12..length].iter().position(|byte| *byte == 0).expect("a name") + 5;
            let kind = u16::from_be_bytes([query[end - 4], query[end - 3]]);
            let mut records = Vec::new();
            let mut count = 0;
            for address in addresses {
                let (of, data) = match address {
                    IpAddr::V4(address) => (1_u16, address.octets().to_vec()),
                    IpAddr::V6(address) => (28, address.octets().to_vec()),
                };
                if of == kind {
                    let length = u8::try_from(data.len()).expect("4 or 16");
                    let [high, low] = of.to_be_bytes();
                    records.extend([0xc0, 12, high, low, 0, 1, 0, 0, 0, 1, 0, length]);
                    records.extend(data);
                    count += 1;
                }
            }
            let head = [&query[..2], &[0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0], &query[12..end]];
            thread::sleep(pause);
            let _client_left = socket.send_to(&[head.concat(), records].concat(), client);
        }
    });
    server
}

/// A name server that says nothing.
fn silent_name_server() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").expect("loopback")
}

/// Answers each request with `hi` and closes the connection: the next one needs another.
fn serve(listener: TcpListener) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let mut stream = stream;
            if read_request(&mut reader).is_some() {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
                let _client_left = stream.write_all(answer);
            }
        }
    });
}

/// A listener whose queue is full: who connects to it hears nothing.
struct Silent(#[expect(dead_code, reason = "kept open")] (Socket, TcpStream));

impl Silent {
    fn at(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("one");
        socket.bind(&SockAddr::from(address)).expect("a free port");
        socket.listen(0).expect("it listens");
        let first = OnceCell::new();
        until("it takes one", || {
            TcpStream::connect(address).is_ok_and(|stream| first.set(stream).is_ok())
        });
        let first = first.into_inner().expect("it was waited for");
        let second = TcpStream::connect_timeout(&address, Duration::from_millis(200));
        assert!(second.is_err(), "and no more");
        Self((socket, first))
    }
}

fn outside(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: web}}\n\
         spec: {{type: ExternalName, externalName: out.example.org., \
         ports: [{{port: 80, targetPort: {port}}}]}}\n"
    )
}

fn with_names(all: &str, arguments: &[&str], server: SocketAddr) -> Site {
    Site::start_with(&[("all.yaml", all)], arguments, |config| {
        config.names.servers = vec![server];
    })
}

/// An Ingress whose requests are tried once.
fn once(annotations: &[(&str, &str)]) -> String {
    let once = [("proxy-next-upstream", "off")];
    Ingress {
        name: "shop",
        annotations: &[&once, annotations].concat(),
        host: HOST,
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    }
    .yaml()
}

#[test]
fn a_silent_address_of_a_name_costs_nobody_a_request() {
    alone("a_silent_address_of_a_name_costs_nobody_a_request", || {
        let listener = TcpListener::bind((FOUR, 0)).expect("our address");
        let port = listener.local_addr().expect("bound").port();
        let _silent = Silent::at((SIX, port).into());
        serve(listener);
        let server = name_server(&[IpAddr::V4(FOUR), IpAddr::V6(SIX)], Duration::ZERO);
        let all = documents(&[&once(&[]), &outside("shop", port)]);
        let site = with_names(&all, &[], server);
        let endpoints = site.state()["backends"][0]["endpoints"].to_string();
        assert!(endpoints.contains(&format!("[{SIX}]:{port}")), "{endpoints}");
        // Both workers, and either address first: the one try would end with 504.
        for _ in 0..20 {
            assert_eq!(site.get(HOST, "/").text(), "hi");
        }
    });
}

#[test]
fn an_address_of_a_name_that_refuses_costs_nobody_a_request() {
    alone("an_address_of_a_name_that_refuses_costs_nobody_a_request", || {
        // This time it is IPv4 where nobody is.
        let listener = TcpListener::bind((SIX, 0)).expect("our address");
        let port = listener.local_addr().expect("bound").port();
        serve(listener);
        let server = name_server(&[IpAddr::V4(FOUR), IpAddr::V6(SIX)], Duration::ZERO);
        let all = documents(&[&once(&[]), &outside("shop", port)]);
        let site = with_names(&all, &[], server);
        for _ in 0..20 {
            assert_eq!(site.get(HOST, "/").text(), "hi");
        }
        let failed = site.metric("penstock_upstream_connects_total{outcome=\"failed\"}");
        assert!(failed.is_some_and(|failed| (1..20).contains(&failed)), "{failed:?}");
    });
}

#[test]
fn a_name_of_which_nobody_is_there_is_answered_502() {
    alone("a_name_of_which_nobody_is_there_is_answered_502", || {
        let server = name_server(&[IpAddr::V4(FOUR), IpAddr::V6(SIX)], Duration::ZERO);
        let all = documents(&[&once(&[]), &outside("shop", nobody().port())]);
        let site = with_names(&all, &[], server);
        for _ in 0..4 {
            assert_eq!(site.get(HOST, "/").status, 502);
        }
    });
}

#[test]
fn an_authentication_server_is_asked_at_the_address_that_takes_connections() {
    let test = "an_authentication_server_is_asked_at_the_address_that_takes_connections";
    alone(test, || {
        let listener = TcpListener::bind((FOUR, 0)).expect("our address");
        let port = listener.local_addr().expect("bound").port();
        let _silent = Silent::at((SIX, port).into());
        serve(listener);
        let server = name_server(&[IpAddr::V4(FOUR), IpAddr::V6(SIX)], Duration::ZERO);
        let url = format!("http://auth.example.org.:{port}/verify");
        let backend = saying("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nshop");
        let rules = once(&[("auth-url", &url)]);
        let all = documents(&[&rules, &service("shop", &[backend.address])]);
        let site = with_names(&all, &[], server);
        for _ in 0..20 {
            let reply = site.get(HOST, "/");
            assert_eq!((reply.status, reply.text()), (200, "shop"));
        }
    });
}

#[test]
fn a_tcp_service_of_a_name_reaches_the_address_that_takes_connections() {
    alone("a_tcp_service_of_a_name_reaches_the_address_that_takes_connections", || {
        let listener = TcpListener::bind((FOUR, 0)).expect("our address");
        let port = listener.local_addr().expect("bound").port();
        let _silent = Silent::at((SIX, port).into());
        serve(listener);
        let server = name_server(&[IpAddr::V4(FOUR), IpAddr::V6(SIX)], Duration::ZERO);
        let open = free_port();
        let map = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: tcp, namespace: web}}\n\
             data: {{\"{open}\": web/shop:80}}\n"
        );
        let all = documents(&[&map, &outside("shop", port)]);
        let _site = with_names(&all, &["--tcp-services-configmap=web/tcp"], server);
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, open));
        until("the port is open", || connect().is_ok());
        for _ in 0..6 {
            let mut stream = connect().expect("it is open");
            stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").expect("it is passed on");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            assert!(answer.ends_with("hi"), "{answer}");
        }
    });
}

#[test]
fn a_name_is_known_before_the_first_request() {
    alone("a_name_is_known_before_the_first_request", || {
        let listener = TcpListener::bind((FOUR, 0)).expect("our address");
        let port = listener.local_addr().expect("bound").port();
        serve(listener);
        let server = name_server(&[IpAddr::V4(FOUR)], Duration::from_millis(300));
        let all = documents(&[&once(&[]), &outside("shop", port)]);
        let site = with_names(&all, &[], server);
        assert_eq!(site.get(HOST, "/").text(), "hi");
    });
}

#[test]
fn name_servers_that_are_silent_hold_nobody_else_up() {
    let backend = Backend::echo("other");
    let silent = silent_name_server();
    let all = documents(&[
        &once(&[]),
        &outside("shop", 80),
        &ingress("other.example.com", "other"),
        &service("other", &[backend.address]),
    ]);
    let begun = Instant::now();
    let site = with_names(&all, &[], silent.local_addr().expect("bound"));
    assert_eq!(site.get("other.example.com", "/").status, 200);
    assert_eq!(site.get(HOST, "/").status, 503);
    // Two seconds are waited for names; what a busy machine adds is not this test's matter.
    assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
}
