//! TCP services: ports that a ConfigMap opens.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
};

use ingress_userspace::lifecycle::Stop;

use crate::support::{Backend, Connection, DEADLINE, Site, free_port, service, until};

pub(crate) const FLAG: &str = "--tcp-services-configmap=web/tcp";

pub(crate) fn map(entries: &[(u16, &str)]) -> String {
    let mut text =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: tcp, namespace: web}\ndata:\n  unrelated: x\n"
            .to_owned();
    for (port, value) in entries {
        text.push_str(&format!("  \"{port}\": {value}\n"));
    }
    text
}

/// Sends its name, then everything that it gets, then, at the end of that, `bye`.
pub(crate) fn parrot(name: &str) -> Backend {
    let name = name.to_owned();
    Backend::scripted(move |mut stream, _| {
        let _gone = stream.write_all(name.as_bytes());
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
        let _gone = stream.write_all(b"bye");
    })
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// A connection, if something listens there.
fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&local(port), DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// Waits until something listens there.
pub(crate) fn open(port: u16) -> TcpStream {
    // Not one connection to look and another to use: each takes a turn of the endpoints.
    let stream = std::cell::OnceCell::new();
    until("the port is open", || connect(port).is_ok_and(|open| stream.set(open).is_ok()));
    stream.into_inner().expect("it was waited for")
}

pub(crate) fn read(stream: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).expect("so many bytes");
    String::from_utf8(bytes).expect("text")
}

fn end(mut stream: TcpStream) -> Vec<u8> {
    stream.shutdown(std::net::Shutdown::Write).expect("it is open");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("an orderly end");
    rest
}

#[test]
fn bytes_and_half_closes_go_both_ways_round_robin() {
    let (one, two) = (parrot("one"), parrot("two"));
    let port = free_port();
    let files = [
        ("map.yaml", &*map(&[(port, "web/echo:80")])),
        ("service.yaml", &*service("echo", &[one.address, two.address])),
    ];
    let site = Site::start_with(&files, &[FLAG], |config| config.workers = 1);
    let mut names = Vec::new();
    for _ in 0..4 {
        let mut stream = open(port);
        names.push(read(&mut stream, 3));
        stream.write_all(b"hello").expect("it is open");
        assert_eq!(end(stream), b"hellobye");
    }
    let pairs: BTreeSet<_> = names.iter().cloned().collect();
    assert_eq!(pairs.len(), 2, "{names:?}");
    // Much more than any buffer holds.
    let mut stream = open(port);
    read(&mut stream, 3);
    let mut writer = stream.try_clone().expect("a second handle");
    let sent: Vec<u8> = (0..8_000_000_u32).map(|number| (number % 251) as u8).collect();
    let expected = [&sent[..], b"bye"].concat();
    let writing = std::thread::spawn(move || {
        writer.write_all(&sent).expect("it is open");
        writer.shutdown(std::net::Shutdown::Write).expect("it is open");
    });
    let mut got = Vec::new();
    stream.read_to_end(&mut got).expect("an orderly end");
    writing.join().expect("it wrote");
    assert!(got == expected, "{} bytes of {}", got.len(), expected.len());
    assert!(site.metric("penstock_stream_connections_total") >= Some(5));
}

#[test]
fn ports_open_and_close_with_the_config_map_and_connections_stay() {
    let (one, two) = (parrot("one"), parrot("two"));
    let (first, second) = (free_port(), free_port());
    let entry = |port| map(&[(port, "web/echo:http")]);
    let files = [("map.yaml", &*entry(first)), ("s.yaml", &*service("echo", &[one.address]))];
    let site = Site::start_with(&files, &[FLAG], |_| {});
    let mut kept = open(first);
    assert_eq!(read(&mut kept, 3), "one");
    site.replace("map.yaml", &entry(second));
    assert_eq!(read(&mut open(second), 3), "one");
    until("the first is closed", || connect(first).is_err());
    // The endpoint leaves; the next connection goes to the new one, the old one stays.
    site.replace("s.yaml", &service("echo", &[two.address]));
    until("the new endpoint", || read(&mut open(second), 3) == "two");
    kept.write_all(b"still here").expect("it is open");
    assert_eq!(read(&mut kept, 10), "still here");
    // And back at once.
    site.replace("map.yaml", &entry(first));
    assert_eq!(read(&mut open(first), 3), "two");
}

#[test]
fn bad_entries_and_ports_in_use_are_told_and_harm_nothing_else() {
    let shop = parrot("one");
    let good = free_port();
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let busy = taken.local_addr().expect("bound").port();
    let other = free_port();
    let text = map(&[(good, "web/echo:80"), (busy, "web/echo:80"), (other, "web/none:80")]);
    let files = [("map.yaml", &*text), ("service.yaml", &*service("echo", &[shop.address]))];
    let site = Site::start_with(&files, &[FLAG], |_| {});
    assert_eq!(read(&mut open(good), 3), "one");
    let state = site.state();
    let said = state["diagnostics"].to_string();
    for part in [&format!("data.{busy}"), "in use", "data.unrelated", "web/none does not exist"] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    assert!(connect(other).is_err(), "it stays closed");
    // A port of the agent itself is none to give away.
    site.replace("map.yaml", &map(&[(good, "web/echo:80"), (site.http.port(), "web/echo:80")]));
    site.until("it is told", |state| state["diagnostics"].to_string().contains("agent itself"));
    // The port is tried again with the next change.
    drop(taken);
    site.replace("map.yaml", &text);
    assert_eq!(read(&mut open(busy), 3), "one");
}

#[test]
fn the_proxy_protocol_is_decoded_and_encoded() {
    let shop = parrot("");
    let (v1, v2, only_in) = (free_port(), free_port(), free_port());
    let text = map(&[
        (v1, "web/echo:80:PROXY:PROXY"),
        (v2, "web/echo:80::PROXY-V2"),
        (only_in, "web/echo:80:PROXY"),
    ]);
    let files = [("map.yaml", &*text), ("service.yaml", &*service("echo", &[shop.address]))];
    let site = Site::start_with(&files, &[FLAG], |_| {});
    let header = "PROXY TCP4 192.0.2.1 198.51.100.7 4321 25\r\n";
    let mut stream = open(v1);
    stream.write_all(format!("{header}hello").as_bytes()).expect("it is open");
    assert_eq!(end(stream), format!("{header}hellobye").as_bytes());
    let mut stream = open(only_in);
    stream.write_all(format!("{header}hello").as_bytes()).expect("it is open");
    assert_eq!(end(stream), b"hellobye");
    let stream = open(v2);
    let from = stream.local_addr().expect("connected").port().to_be_bytes();
    let got = end(stream);
    let begin = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01";
    assert_eq!(got, [&begin[..], &from, &v2.to_be_bytes(), b"bye"].concat());
    let mut bare = Connection::open(local(v1));
    bare.send("EHLO example.com\r\n");
    assert!(bare.read_exact(1).is_err(), "without a header it is closed");
    assert!(site.metric("penstock_proxy_header_failures_total") >= Some(1));
}

#[test]
fn an_endpoint_that_refuses_is_passed_over() {
    let shop = parrot("one");
    let port = free_port();
    let files = [
        ("map.yaml", &*map(&[(port, "web/echo:80")])),
        ("service.yaml", &*service("echo", &[local(1), shop.address])),
    ];
    let site = Site::start_with(&files, &[FLAG], |_| {});
    for _ in 0..6 {
        assert_eq!(read(&mut open(port), 3), "one");
    }
    drop(site);
}

#[test]
fn idle_connections_end() {
    let shop = parrot("one");
    let port = free_port();
    let settings = "apiVersion: v1\nkind: ConfigMap\n\
        metadata: {name: controller, namespace: web}\ndata: {proxy-stream-timeout: 300ms}\n";
    let files = [
        ("map.yaml", &*map(&[(port, "web/echo:80")])),
        ("service.yaml", &*service("echo", &[shop.address])),
        ("settings.yaml", settings),
    ];
    let _site = Site::start_with(&files, &[FLAG, "--configmap=web/controller"], |_| {});
    let mut stream = open(port);
    let mut got = Vec::new();
    stream.read_to_end(&mut got).expect("an orderly end");
    assert_eq!(got, b"one");
}

#[test]
fn draining_closes_the_port_and_waits_for_connections() {
    let shop = parrot("one");
    let port = free_port();
    let files = [
        ("map.yaml", &*map(&[(port, "web/echo:80")])),
        ("service.yaml", &*service("echo", &[shop.address])),
    ];
    let site = Site::start_with(&files, &[FLAG], |_| {});
    let mut stream = open(port);
    assert_eq!(read(&mut stream, 3), "one");
    site.signal(Stop::Gracefully);
    until("the port is closed", || connect(port).is_err());
    stream.write_all(b"hello").expect("it is open");
    assert_eq!(read(&mut stream, 5), "hello");
    assert_eq!(end(stream), b"bye");
    assert!(site.wait());
}

#[test]
fn draining_closes_the_ports_of_workers_that_have_just_begun() {
    let shop = parrot("one");
    let port = free_port();
    let files = [
        ("map.yaml", &*map(&[(port, "web/echo:80")])),
        ("service.yaml", &*service("echo", &[shop.address])),
    ];
    // Many, so that some have not taken their sockets yet when the first serves.
    let site = Site::start_with(&files, &[FLAG], |config| config.workers = 32);
    let stream = open(port);
    site.signal(Stop::Gracefully);
    until("the port is closed", || connect(port).is_err());
    assert_eq!(end(stream), b"onebye", "who waits is served");
    assert!(site.wait());
}

#[test]
fn no_port_is_opened_while_draining() {
    let shop = parrot("one");
    let (first, second) = (free_port(), free_port());
    let files = [
        ("map.yaml", &*map(&[(first, "web/echo:80")])),
        ("service.yaml", &*service("echo", &[shop.address])),
    ];
    let site = Site::start_with(&files, &[FLAG], |_| {});
    let mut stream = open(first);
    assert_eq!(read(&mut stream, 3), "one");
    site.signal(Stop::Gracefully);
    until("the port is closed", || connect(first).is_err());
    // What is wrong with a change is told after the ports are decided upon.
    site.replace("map.yaml", &map(&[(second, "web/echo:80"), (first, "web/none:80")]));
    site.until("it is told", |state| state["diagnostics"].to_string().contains("web/none"));
    assert!(connect(second).is_err(), "nobody would serve it");
    assert_eq!(end(stream), b"bye");
    assert!(site.wait());
}
