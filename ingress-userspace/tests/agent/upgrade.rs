//! WebSocket and other protocols after 101.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    sync::{Mutex, mpsc},
    time::Duration,
};

use ingress_userspace::lifecycle::Stop;

use crate::support::{
    Backend, Connection, Ingress, Site, TlsOptions, documents, ingress, read_request, service,
    tls_with, until,
};

const SWITCH: &str = "GET /chat HTTP/1.1\r\nhost: shop.example.com\r\nconnection: keep-alive, Upgrade\r\n\
     upgrade: websocket\r\nsec-websocket-key: x\r\n\r\n";

/// Agrees to switch, greets at once and then echoes in capitals.
fn shouting() -> Backend {
    Backend::scripted(|mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let (head, _) = read_request(&mut reader).expect("a request");
        let lower = head.to_ascii_lowercase();
        assert!(lower.contains("\nconnection: upgrade\n"), "{head}");
        assert!(lower.contains("\nupgrade: websocket\n"), "{head}");
        let _open = stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
              sec-websocket-accept: y\r\n\r\nhello",
        );
        let mut buffer = [0; 100];
        while let Ok(length @ 1..) = reader.read(&mut buffer) {
            if stream.write_all(&buffer[..length].to_ascii_uppercase()).is_err() {
                return;
            }
        }
        let _open = stream.write_all(b"bye");
    })
}

fn site(backend: &Backend) -> Site {
    let shop = Ingress {
        name: "shop",
        annotations: &[("proxy-read-timeout", "1")],
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let rules = documents(&[&shop.yaml(), &service("shop", &[backend.address])]);
    Site::start(&[("all.yaml", &rules)])
}

fn switched(connection: &mut Connection, early: &str) {
    connection.send(format!("{SWITCH}{early}"));
    let head = connection.head().expect("an answer").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("connection: upgrade\r\n"), "{head}");
    assert!(head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(head.contains("sec-websocket-accept: y\r\n"), "{head}");
    assert_eq!(connection.read_exact(5).expect("a greeting"), b"hello");
}

#[test]
fn bytes_go_both_ways_after_the_switch() {
    let shop = shouting();
    let site = site(&shop);
    let mut connection = Connection::open(site.http);
    // Sent before the answer, as no client should; lost they must not be.
    switched(&mut connection, "early");
    assert_eq!(connection.read_exact(5).expect("an echo"), b"EARLY");
    for word in [&b"one"[..], b"two", b"three"] {
        connection.send(word);
        assert_eq!(connection.read_exact(word.len()).expect("an echo"), word.to_ascii_uppercase());
    }
}

#[test]
fn the_switch_works_over_tls() {
    let shop = shouting();
    let site = site(&shop);
    let (stream, _) = tls_with(site.https, "shop.example.com", TlsOptions::default());
    let mut connection = Connection::over(stream);
    switched(&mut connection, "");
    connection.send("word");
    assert_eq!(connection.read_exact(4).expect("an echo"), b"WORD");
}

#[test]
fn an_idle_tunnel_is_closed() {
    let shop = shouting();
    let site = site(&shop);
    let mut connection = Connection::open(site.http);
    switched(&mut connection, "");
    assert_eq!(connection.rest().unwrap_or_default(), b"");
}

#[test]
fn an_upstream_that_does_not_switch_answers_as_usual() {
    let shop = Backend::echo("shop");
    let site = site(&shop);
    let mut connection = Connection::open(site.http);
    for _ in 0..2 {
        connection.send(SWITCH);
        let reply = connection.reply(false).expect("an answer");
        assert_eq!(reply.status, 200);
        assert_eq!(reply.line("upgrade: "), Some("websocket"));
    }
}

#[test]
fn a_switch_that_nobody_asked_for_is_502() {
    let shop = Backend::scripted(|mut stream, _| {
        let _request = read_request(&mut BufReader::new(stream.try_clone().expect("a handle")));
        let _open = stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: evil\r\n\r\n",
        );
    });
    let site = site(&shop);
    assert_eq!(site.get("shop.example.com", "/").status, 502);
}

#[test]
fn draining_waits_for_tunnels() {
    let shop = shouting();
    let rules =
        documents(&[&ingress("shop.example.com", "shop"), &service("shop", &[shop.address])]);
    let site = Site::start(&[("all.yaml", &rules)]);
    let mut connection = Connection::open(site.http);
    switched(&mut connection, "");
    site.signal(Stop::Gracefully);
    until("nobody listens", || std::net::TcpStream::connect(site.http).is_err());
    connection.send("word");
    assert_eq!(connection.read_exact(4).expect("an echo"), b"WORD");
    drop(connection);
    assert!(site.wait());
}

#[test]
fn a_client_that_does_not_read_its_tunnel_is_cut_off() {
    let (left, leaves) = mpsc::channel();
    let left = Mutex::new(left);
    let shop = Backend::scripted(move |mut stream, _| {
        let _request = read_request(&mut BufReader::new(stream.try_clone().expect("a handle")));
        let _open = stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n",
        );
        while stream.write_all(&[b'x'; 1 << 16]).is_ok() {}
        let _test_over = left.lock().expect("no panic").send(());
    });
    let brief = Ingress {
        name: "shop",
        annotations: &[("proxy-read-timeout", "1")],
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let rules = documents(&[&brief.yaml(), &service("shop", &[shop.address])]);
    let site = Site::start_with(&[("all.yaml", &rules)], &[], |config| {
        config.timeouts.send = Duration::from_millis(300);
    });
    // Over TLS, which keeps bytes of its own back that wait to be flushed.
    let (stream, _) = tls_with(site.https, "shop.example.com", TlsOptions::default());
    let mut connection = Connection::over(stream);
    connection.send(SWITCH);
    assert_eq!(leaves.recv_timeout(crate::support::DEADLINE), Ok(()));
    // Draining does not wait for it either.
    site.signal(Stop::Gracefully);
    assert!(site.wait());
    drop(connection);
}

#[test]
fn a_switch_in_the_middle_of_the_request_is_502() {
    let shop = Backend::scripted(|mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
            line.clear();
        }
        let _open = stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        );
        let mut all = Vec::new();
        let _until_closed = reader.read_to_end(&mut all);
    });
    let streaming = Ingress {
        name: "shop",
        annotations: &[("proxy-request-buffering", "off")],
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let rules = documents(&[&streaming.yaml(), &service("shop", &[shop.address])]);
    let site = Site::start(&[("all.yaml", &rules)]);
    let mut connection = Connection::open(site.http);
    connection.send(
        "POST /chat HTTP/1.1\r\nhost: shop.example.com\r\nconnection: Upgrade\r\n\
         upgrade: websocket\r\ncontent-length: 10\r\n\r\nhello",
    );
    assert!(connection.head().expect("an answer").starts_with("HTTP/1.1 502 "));
}
