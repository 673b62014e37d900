//! TLS that is passed to a Service unopened.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use crate::support::{
    Backend, Connection, Ingress, Site, certificate, documents, ingress, service, tls, until,
};

pub(crate) const FLAG: &str = "--enable-ssl-passthrough";

pub(crate) fn passed(annotations: &[(&str, &str)]) -> String {
    Ingress {
        name: "passed",
        annotations,
        host: "passed.example.com",
        paths: &[("Prefix", "/", "raw")],
        tls: None,
    }
    .yaml()
}

/// Sends back all that it gets, to its end.
pub(crate) fn raw() -> Backend {
    Backend::scripted(|mut stream, _| {
        let mut got = Vec::new();
        let _reset = stream.read_to_end(&mut got);
        let _gone = stream.write_all(&got);
    })
}

/// A ClientHello for this name, in records of `size` bytes.
pub(crate) fn hello(name: &str, size: usize) -> Vec<u8> {
    let name = name.as_bytes();
    let u16 = |number: usize| u16::try_from(number).expect("short").to_be_bytes();
    let entry = [&[0][..], &u16(name.len()), name].concat();
    let list = [&u16(entry.len())[..], &entry].concat();
    let extension = [&[0, 0][..], &u16(list.len()), &list].concat();
    let body =
        [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 0x01, 1, 0], &u16(extension.len()), &extension]
            .concat();
    let message = [&[1, 0][..], &u16(body.len()), &body].concat();
    let record = |part: &[u8]| [&[22, 3, 1][..], &u16(part.len()), part].concat();
    message.chunks(size).flat_map(record).collect()
}

/// What comes back when these bytes were sent in pieces and no more follow.
pub(crate) fn exchange(site: &Site, pieces: &[&[u8]]) -> Vec<u8> {
    let mut stream = TcpStream::connect_timeout(&site.https, crate::support::DEADLINE)
        .expect("somebody listens");
    stream.set_nodelay(true).expect("an option");
    stream.set_read_timeout(Some(crate::support::DEADLINE)).expect("a timeout");
    stream.set_write_timeout(Some(crate::support::DEADLINE)).expect("a timeout");
    for piece in pieces {
        stream.write_all(piece).expect("it is open");
    }
    stream.shutdown(std::net::Shutdown::Write).expect("it is open");
    let mut got = Vec::new();
    let _reset = stream.read_to_end(&mut got);
    got
}

#[test]
fn the_service_gets_every_byte_and_other_hosts_are_served_here() {
    let (raw, shop) = (raw(), Backend::echo("shop"));
    let (own, secret) = certificate("shop", &["shop.example.com"]);
    let shop_rules = Ingress {
        name: "shop",
        annotations: &[],
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: Some("shop"),
    };
    let site = Site::start_with(
        &[(
            "all.yaml",
            &documents(&[
                &passed(&[("ssl-passthrough", "true")]),
                &service("raw", &[raw.address]),
                &shop_rules.yaml(),
                &secret,
                &service("shop", &[shop.address]),
            ]),
        )],
        &[FLAG],
        |_| {},
    );
    let bytes = hello("passed.example.com", 1000);
    assert_eq!(exchange(&site, &[&bytes, b"and more"]), [&bytes[..], b"and more"].concat());
    // Names know no case; messages may come in small records and those in small segments.
    let bytes = hello("Passed.Example.COM", 9);
    let pieces: Vec<&[u8]> = bytes.chunks(5).collect();
    assert_eq!(exchange(&site, &pieces), bytes);
    let (mut connection, presented) = tls(site.https, "shop.example.com");
    assert_eq!(presented, own);
    let get = "GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n";
    assert_eq!(connection.request(get).status, 200);
    // No wildcard, no name beneath.
    let before = raw.connections();
    tls(site.https, "a.passed.example.com");
    assert_eq!(raw.connections(), before);
    // What is no TLS is answered as ever.
    let plain = Connection::open(site.https).request(get);
    assert_eq!(plain.status, 400);
    assert_eq!(site.metric("penstock_stream_connections_total"), Some(2));
}

#[test]
fn without_the_flag_the_annotation_is_told_and_tls_ends_here() {
    let shop = Backend::echo("shop");
    let rules = passed(&[("ssl-passthrough", "true")]);
    let site =
        Site::start(&[("all.yaml", &documents(&[&rules, &service("raw", &[shop.address])]))]);
    let (mut connection, _) = tls(site.https, "passed.example.com");
    let reply = connection.request("GET / HTTP/1.1\r\nhost: passed.example.com\r\n\r\n");
    assert_eq!(reply.status, 200);
    let said = site.state()["diagnostics"].to_string();
    assert!(said.contains("needs --enable-ssl-passthrough"), "{said}");
}

#[test]
fn the_annotation_applies_to_the_next_connection_and_may_send_the_proxy_protocol() {
    let raw = raw();
    let all = |annotations: &[(&str, &str)]| {
        documents(&[
            &passed(annotations),
            &service("raw", &[raw.address]),
            &ingress("other.example.com", "raw"),
        ])
    };
    let site = Site::start_with(&[("all.yaml", &all(&[]))], &[FLAG], |_| {});
    tls(site.https, "passed.example.com");
    assert_eq!(raw.connections(), 0);
    let version = ("ssl-passthrough-proxy-protocol", "v1");
    site.replace("all.yaml", &all(&[("ssl-passthrough", "true"), version]));
    let bytes = hello("passed.example.com", 1000);
    until("it is passed", || {
        let got = exchange(&site, &[&bytes]);
        got.starts_with(b"PROXY TCP4 127.0.0.1 127.0.0.1 ") && got.ends_with(&bytes)
    });
}

#[test]
fn a_service_without_endpoints_ends_the_connection() {
    let rules = passed(&[("ssl-passthrough", "true")]);
    let all = documents(&[&rules, &service("raw", &[])]);
    let site = Site::start_with(&[("all.yaml", &all)], &[FLAG], |_| {});
    assert_eq!(exchange(&site, &[&hello("passed.example.com", 1000)]), b"");
}
