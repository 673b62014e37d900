//! `mirror-*`: copies of requests, which nobody waits for.

#![expect(clippy::print_stdout, reason = "says what was skipped")]

use std::{
    io::{BufReader, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    sync::mpsc,
    thread,
};

use crate::support::{
    Backend, DEADLINE, Ingress, Reply, Site, config_map, documents, exchange, read_request,
    service, until,
};

const HOST: &str = "shop.example.com";

/// An address of this machine that is no loopback one: those are refused.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing; asks the routing table.
    socket.connect("198.51.100.1:9").ok()?;
    let address = socket.local_addr().ok().map(|address| address.ip());
    let address = address.filter(|ip| !ip.is_loopback());
    if address.is_none() {
        println!("SKIPPED: this machine has no address but loopback");
    }
    address
}

/// Somebody who gets copies: tells each request, and says nothing about it but 500.
fn target(own: IpAddr) -> (SocketAddr, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind((own, 0)).expect("an own address");
    let address = listener.local_addr().expect("bound");
    let (told, tells) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let told = told.clone();
            thread::spawn(move || {
                let mut stream = stream;
                let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
                while let Some(request) = read_request(&mut reader) {
                    let _test_over = told.send(request);
                    let answer = b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\noops";
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, tells)
}

fn site(target: &str, more: &[(&str, &str)], endpoint: SocketAddr) -> Site {
    let annotations = [&[("mirror-target", target)], more].concat();
    let ingress = Ingress {
        name: "shop",
        annotations: &annotations,
        host: HOST,
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let parts = [ingress.yaml(), service("shop", &[endpoint]), config_map(&[])];
    let parts: Vec<&str> = parts.iter().map(|part| &**part).collect();
    Site::start_with(&[("all.yaml", &documents(&parts))], &["--configmap=web/controller"], |_| {})
}

fn get(site: &Site, target: &str) -> Reply {
    site.get(HOST, target)
}

fn post(site: &Site, body: &str) -> Reply {
    let length = body.len();
    exchange(
        site.http,
        &format!(
            "POST /form HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{body}"
        ),
    )
}

fn copies(site: &Site, outcome: &str) -> u64 {
    let line = format!("penstock_mirrored_requests_total{{outcome=\"{outcome}\"}}");
    site.metric(&line).expect("the metric is there")
}

fn line<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (own, value) = line.split_once(": ")?;
        own.eq_ignore_ascii_case(name).then_some(value)
    })
}

#[test]
fn the_target_gets_what_the_endpoint_gets() {
    let Some(own) = own_address() else { return };
    let shop = Backend::echo("shop");
    let (address, tells) = target(own);
    let site = site(&format!("http://{address}$request_uri"), &[], shop.address);
    let reply = get(&site, "/a%20b?c=d");
    assert_eq!((reply.status, reply.line("backend: ")), (200, Some("shop")));
    let (head, body) = tells.recv_timeout(DEADLINE).expect("a copy");
    assert!(head.starts_with("GET /a%20b?c=d HTTP/1.1\n"), "{head}");
    assert_eq!(line(&head, "host"), Some(&*own.to_string()));
    assert_eq!(line(&head, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(line(&head, "x-request-id"), reply.line("x-request-id: "));
    assert_eq!(body, b"");
    // Its connection is used again.
    let reply = post(&site, "name=value");
    assert_eq!((reply.status, reply.line("body-length: ")), (200, Some("10")));
    let (head, body) = tells.recv_timeout(DEADLINE).expect("a copy");
    assert!(head.starts_with("POST /form HTTP/1.1\n"), "{head}");
    assert_eq!((line(&head, "content-length"), &*body), (Some("10"), &b"name=value"[..]));
    until("both are counted", || copies(&site, "sent") == 2);
}

#[test]
fn path_host_and_body_are_as_the_annotations_say() {
    let Some(own) = own_address() else { return };
    let shop = Backend::echo("shop");
    let (address, tells) = target(own);
    let more = [("mirror-host", "copy.example.com"), ("mirror-request-body", "off")];
    let site = site(&format!("http://{address}/of/$host?was=$request_uri"), &more, shop.address);
    assert_eq!(post(&site, "name=value").line("body-length: "), Some("10"));
    let (head, body) = tells.recv_timeout(DEADLINE).expect("a copy");
    assert!(head.starts_with("POST /of/shop.example.com?was=/form HTTP/1.1\n"), "{head}");
    assert_eq!(line(&head, "host"), Some("copy.example.com"));
    assert_eq!((line(&head, "content-length"), &*body), (None, &b""[..]));
}

#[test]
fn a_body_beyond_the_buffer_is_not_mirrored_and_counted() {
    let Some(own) = own_address() else { return };
    let shop = Backend::echo("shop");
    let (address, tells) = target(own);
    let more = [("client-body-buffer-size", "1k")];
    let site = site(&format!("http://{address}$request_uri"), &more, shop.address);
    assert_eq!(post(&site, &"x".repeat(1024)).line("body-length: "), Some("1024"));
    assert_eq!(tells.recv_timeout(DEADLINE).expect("a copy").1.len(), 1024);
    assert_eq!(post(&site, &"x".repeat(3000)).line("body-length: "), Some("3000"));
    until("it is counted", || copies(&site, "dropped") == 1);
    assert!(tells.try_recv().is_err());
}

#[test]
fn a_small_body_that_is_not_waited_for_is_mirrored_too() {
    let Some(own) = own_address() else { return };
    let shop = Backend::echo("shop");
    let (address, tells) = target(own);
    let more = [("proxy-request-buffering", "off")];
    let site = site(&format!("http://{address}$request_uri"), &more, shop.address);
    assert_eq!(post(&site, "name=value").line("body-length: "), Some("10"));
    assert_eq!(tells.recv_timeout(DEADLINE).expect("a copy").1, b"name=value");
}

#[test]
fn refused_requests_are_not_mirrored() {
    let Some(own) = own_address() else { return };
    let shop = Backend::echo("shop");
    let (address, tells) = target(own);
    let more = [("whitelist-source-range", "192.0.2.0/24")];
    let site = site(&format!("http://{address}$request_uri"), &more, shop.address);
    assert_eq!(get(&site, "/").status, 403);
    assert!(tells.try_recv().is_err());
    assert_eq!((copies(&site, "sent"), copies(&site, "dropped")), (0, 0));
}

#[test]
fn a_target_that_hangs_holds_up_nobody_and_has_only_so_many_copies() {
    let Some(own) = own_address() else { return };
    let shop = Backend::echo("shop");
    let listener = TcpListener::bind((own, 0)).expect("an own address");
    let address = listener.local_addr().expect("bound");
    // Takes connections, never answers.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut stream = stream;
                let _agent_left = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    let site = site(&format!("http://{address}$request_uri"), &[], shop.address);
    // Two workers with 128 each.
    for _ in 0..400 {
        assert_eq!(get(&site, "/").status, 200);
    }
    assert!(copies(&site, "dropped") >= 400 - 256);
    assert_eq!(copies(&site, "sent"), 0);
}

#[test]
fn a_target_that_answers_without_end_is_left() {
    let Some(own) = own_address() else { return };
    let shop = Backend::echo("shop");
    let listener = TcpListener::bind((own, 0)).expect("an own address");
    let address = listener.local_addr().expect("bound");
    let (told, tells) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let _request = read_request(&mut reader);
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n";
            let mut written = stream.write_all(head);
            while written.is_ok() {
                written = stream.write_all(&[b'x'; 4096]);
            }
            let _test_over = told.send(());
        }
    });
    let site = site(&format!("http://{address}$request_uri"), &[], shop.address);
    for number in 1..=3 {
        assert_eq!(get(&site, "/").status, 200);
        tells.recv_timeout(DEADLINE).expect("its connection ends");
        until("it is counted", || copies(&site, "sent") == number);
    }
}

#[test]
fn a_target_that_is_not_there_is_counted_and_nothing_else() {
    let Some(own) = own_address() else { return };
    let shop = Backend::echo("shop");
    let gone = TcpListener::bind((own, 0)).expect("an own address");
    let address = gone.local_addr().expect("bound");
    drop(gone);
    let site = site(&format!("http://{address}$request_uri"), &[], shop.address);
    assert_eq!(get(&site, "/").status, 200);
    until("it is counted", || copies(&site, "failed") == 1);
    let refused = self::site("http://127.0.0.1:1$request_uri", &[], shop.address);
    assert_eq!(get(&refused, "/").status, 200);
    let diagnostics = refused.state()["diagnostics"].to_string();
    assert!(diagnostics.contains("is this node itself"), "{diagnostics}");
}

#[test]
fn a_name_is_resolved() {
    let Some(IpAddr::V4(own)) = own_address() else { return };
    let shop = Backend::echo("shop");
    let (address, tells) = target(own.into());
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let server = socket.local_addr().expect("bound");
    thread::spawn(move || {
        let mut query = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut query) {
            // The question ends before the EDNS record: after the name, its type and class.
            let end =
                12 + query[12..length].iter().position(|byte| *byte == 0).expect("a name") + 5;
            let head = [&query[..2], &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0], &query[12..end]];
            let record = [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4], &own.octets()[..]];
            let _client_left = socket.send_to(&[head.concat(), record.concat()].concat(), client);
        }
    });
    let annotations =
        [("mirror-target", &*format!("http://copy.example.org.:{}$request_uri", address.port()))];
    let ingress = Ingress {
        name: "shop",
        annotations: &annotations,
        host: HOST,
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let all = documents(&[&ingress.yaml(), &service("shop", &[shop.address])]);
    let site = Site::start_with(&[("all.yaml", &all)], &[], |config| {
        config.names.servers = vec![server];
    });
    until("the name is resolved", || {
        assert_eq!(get(&site, "/").status, 200);
        tells.try_recv().is_ok_and(|(head, _)| line(&head, "host") == Some("copy.example.org."))
    });
}
