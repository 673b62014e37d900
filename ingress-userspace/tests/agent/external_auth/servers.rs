//! Where servers are: behind TLS, behind names.

use std::{
    io::BufReader,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    thread,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::aws_lc_rs};

use super::{GET, Judge, OK, URL, ask, line, site_with};
use crate::support::{Backend, Connection, Ingress, Site, documents, read_request, service, until};

/// A server behind TLS, with a certificate that nobody knows, and the names that it was asked by.
fn behind_tls() -> (Backend, Arc<Mutex<Vec<Option<String>>>>) {
    let key = rcgen::KeyPair::generate().expect("randomness");
    let certificate = rcgen::CertificateParams::new(vec!["unrelated.example.com".to_owned()])
        .and_then(|parameters| parameters.self_signed(&key))
        .expect("plain names");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        )
        .expect("a pair");
    let (config, names) = (Arc::new(config), Arc::new(Mutex::new(Vec::new())));
    let told = Arc::clone(&names);
    let backend = Backend::scripted(move |stream, _| {
        let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
        let mut stream = BufReader::new(StreamOwned::new(session, stream));
        while read_request(&mut stream).is_some() {
            let name = stream.get_ref().conn.server_name().map(str::to_owned);
            told.lock().expect("no panic").push(name);
            if std::io::Write::write_all(stream.get_mut(), OK.as_bytes()).is_err() {
                return;
            }
        }
    });
    (backend, names)
}

#[test]
fn a_server_behind_tls_is_told_its_name_and_its_connections_are_kept() {
    let (shop, (judge, names)) = (Backend::echo("shop"), behind_tls());
    let url = ("auth-url", "https://auth.web.svc.cluster.local:80/verify");
    let site = site_with(&[url], &[], &[], (&shop, judge.address));
    let mut connection = Connection::open(site.http);
    for _ in 0..5 {
        assert_eq!(connection.request(GET).status, 200);
    }
    assert_eq!(judge.connections(), 1);
    let name = Some("auth.web.svc.cluster.local".to_owned());
    assert_eq!(*names.lock().expect("no panic"), vec![name; 5]);
}

#[test]
fn a_server_that_is_meant_to_be_behind_tls_is_never_asked_in_clear_text() {
    let (shop, judge) = (Backend::echo("shop"), Judge::saying(OK));
    let url = ("auth-url", "https://auth.web.svc.cluster.local:80/verify");
    let site = site_with(&[url], &[], &[], (&shop, judge.backend.address));
    assert_eq!(ask(&site, "/", &[]).status, 500);
    assert_eq!((judge.asked(), shop.connections()), (0, 0));
}

#[test]
fn endpoints_of_the_service_that_refuse_are_passed_over() {
    let (shop, judge) = (Backend::echo("shop"), Judge::saying(OK));
    let ingress = Ingress {
        name: "shop",
        annotations: &[URL],
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let endpoints = [crate::support::nobody(), judge.backend.address];
    let files = documents(&[
        &ingress.yaml(),
        &service("shop", &[shop.address]),
        &service("auth", &endpoints),
    ]);
    let site = Site::start(&[("all.yaml", &files)]);
    for _ in 0..10 {
        assert_eq!(ask(&site, "/", &[]).status, 200);
    }
}

#[test]
fn a_server_that_is_protected_by_itself_is_not_asked_without_end() {
    let shop = Backend::echo("shop");
    let ingress = |host: &str| {
        let paths = &[("Prefix", "/", "shop")];
        Ingress { name: "all", annotations: &[URL], host, paths, tls: None }.yaml()
    };
    let of =
        |name: &str, host: &str| ingress(host).replace("name: all\n", &format!("name: {name}\n"));
    let files = |judge: SocketAddr| {
        documents(&[
            &of("shop", "shop.example.com"),
            &of("sso", "auth.web.svc.cluster.local"),
            &service("shop", &[shop.address]),
            &service("auth", &[judge]),
        ])
    };
    let site = Site::start(&[("all.yaml", &files(crate::support::nobody()))]);
    let generation = site.generation();
    site.replace("all.yaml", &files(site.http));
    until("the change is served", || site.generation() > generation);
    assert_eq!(ask(&site, "/", &[]).status, 500);
    assert_eq!(shop.connections(), 0);
}

/// A name server that has this address for every name, and the names that it was asked for.
fn name_server(address: Ipv4Addr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let own = socket.local_addr().expect("bound");
    let names = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&names);
    thread::spawn(move || {
        let mut query = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut query) {
            let (mut name, mut at) = (String::new(), 12);
            while query[at] != 0 {
                let end = at + 1 + usize::from(query[at]);
                name.push_str(std::str::from_utf8(&query[at + 1..end]).expect("ASCII"));
                name.push('.');
                at = end;
            }
            // RFC 1035, section 4.1: one record, whose name is that of the question.
            let is_a = query[at + 1..at + 3] == [0, 1];
            let question = &query[12..at + 5];
            let head = [&query[..2], &[0x81, 0x80, 0, 1, 0, u8::from(is_a)], &[0; 4], question];
            let record = [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4][..], &address.octets()];
            let mut answer = head.concat();
            if is_a {
                answer.extend(record.concat());
                asked.lock().expect("no panic").push(name);
            }
            assert!(length >= at + 5, "a whole query");
            let _client_left = socket.send_to(&answer, client);
        }
    });
    (own, names)
}

/// A site whose server's name is that of a wildcard host's request.
fn beneath_a_wildcard(
    address: Ipv4Addr,
    port: u16,
    shop: &Backend,
) -> (Site, Arc<Mutex<Vec<String>>>) {
    let (name_server, names) = name_server(address);
    let url = format!("http://$host:{port}/verify");
    let ingress = Ingress {
        name: "shop",
        annotations: &[("auth-url", &url)],
        host: "*.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let files = documents(&[&ingress.yaml(), &service("shop", &[shop.address])]);
    let site = Site::start_with(&[("all.yaml", &files)], &[], |config| {
        config.names.servers = vec![name_server];
    });
    (site, names)
}

#[test]
fn a_name_that_stands_for_this_node_is_refused() {
    let (shop, judge) = (Backend::echo("shop"), Judge::saying(OK));
    let port = judge.backend.address.port();
    let (site, names) = beneath_a_wildcard(Ipv4Addr::LOCALHOST, port, &shop);
    assert_eq!(site.get("Some.example.com", "/").status, 500);
    assert!(names.lock().expect("no panic").contains(&"some.example.com.".to_owned()));
    assert_eq!((judge.backend.connections(), shop.connections()), (0, 0));
}

#[test]
fn the_host_of_the_request_is_looked_up_once() {
    // An address of this machine that is not loopback; nothing is sent to find it.
    let probe = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let found = probe.connect("192.0.2.1:9").and_then(|()| probe.local_addr());
    let Ok(IpAddr::V4(address)) = found.map(|address| address.ip()) else {
        eprintln!("skipped: this machine has no address but loopback");
        return;
    };
    if address.is_loopback() || address.is_unspecified() {
        eprintln!("skipped: this machine has no address but loopback");
        return;
    }
    let listener = std::net::TcpListener::bind((address, 0)).expect("an own address");
    let port = listener.local_addr().expect("bound").port();
    let questions = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&questions);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let asked = Arc::clone(&asked);
            thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
                while let Some((head, _)) = read_request(&mut reader) {
                    asked.lock().expect("no panic").push(head);
                    let _gone = std::io::Write::write_all(&mut stream, OK.as_bytes());
                }
            });
        }
    });
    let shop = Backend::echo("shop");
    let (site, names) = beneath_a_wildcard(address, port, &shop);
    let mut connection = Connection::open(site.http);
    for _ in 0..5 {
        let request = "GET / HTTP/1.1\r\nhost: Some.example.com:8080\r\n\r\n";
        assert_eq!(connection.request(request).status, 200);
    }
    let questions = questions.lock().expect("no panic");
    assert_eq!(questions.len(), 5);
    assert_eq!(line(&questions[0], "host: "), Some("some.example.com"));
    assert_eq!(names.lock().expect("no panic").len(), 1);
}
