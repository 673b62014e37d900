//! `use-gzip` and `enable-brotli` as clients see them.

use std::{
    io::{BufReader, Read as _, Write as _},
    sync::{Mutex, mpsc},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::{
    Backend, Connection, Ingress, Reply, Site, config_map, documents, exchange, read_request,
    service,
};

const BOTH: [(&str, &str); 2] = [("use-gzip", "true"), ("enable-brotli", "true")];

fn text() -> String {
    (0..4000).map(|line| format!("line {line} of a text that repeats itself\n")).collect()
}

/// Answers every request with these fields and this body.
fn shop(status: &str, fields: &str, body: &str) -> Backend {
    let head = format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n\r\n", body.len());
    let body = body.to_owned();
    Backend::scripted(move |mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        while let Some((request, _)) = read_request(&mut reader) {
            let body = if request.starts_with("HEAD ") { "" } else { &*body };
            if stream.write_all([&head, body].concat().as_bytes()).is_err() {
                return;
            }
        }
    })
}

fn site(data: &[(&str, &str)], annotations: &[(&str, &str)], shop: &Backend) -> Site {
    let ingress = Ingress {
        name: "shop",
        annotations,
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let parts = [ingress.yaml(), service("shop", &[shop.address]), config_map(data)];
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    let files = [("all.yaml", &*documents(&parts))];
    Site::start_with(&files, &["--configmap=web/controller"], |_| {})
}

fn get(site: &Site, accepted: &str) -> Reply {
    exchange(
        site.http,
        &format!("GET / HTTP/1.1\r\nhost: shop.example.com\r\naccept-encoding: {accepted}\r\n\r\n"),
    )
}

fn decoded(coding: Option<&str>, body: &[u8]) -> String {
    let mut text = String::new();
    match coding {
        Some("gzip") => flate2::read::GzDecoder::new(body).read_to_string(&mut text),
        Some("br") => brotli::Decompressor::new(body, 4096).read_to_string(&mut text),
        _ => std::str::from_utf8(body)
            .map(|plain| text.push_str(plain))
            .map(|()| 0)
            .map_err(std::io::Error::other),
    }
    .expect("it can be decoded");
    text
}

#[test]
fn a_client_gets_the_coding_that_it_likes_best() {
    let text = text();
    let fields =
        "content-type: text/plain; charset=utf-8\r\netag: \"a\"\r\naccept-ranges: bytes\r\n";
    let shop = shop("200 OK", fields, &text);
    let site = site(&BOTH, &[], &shop);
    for (accepted, coding) in [
        ("gzip", Some("gzip")),
        ("br", Some("br")),
        ("gzip, deflate, br", Some("br")),
        ("gzip;q=1, br;q=0.5", Some("gzip")),
        ("br;q=0, *", Some("gzip")),
        ("*", Some("br")),
        ("gzip;q=0, br;q=0.0", None),
        ("deflate", None),
        ("identity", None),
        ("", None),
    ] {
        let reply = get(&site, accepted);
        assert_eq!(reply.header("content-encoding"), coding, "{accepted}");
        assert_eq!(reply.header("vary"), Some("Accept-Encoding"), "{accepted}");
        assert!(decoded(coding, &reply.body) == text, "{accepted}");
        if coding.is_some() {
            assert!(reply.body.len() < text.len() / 4, "{accepted}: {}", reply.body.len());
            assert_eq!(reply.header("content-length"), None);
            assert_eq!(reply.header("etag"), Some("W/\"a\""));
            assert_eq!(reply.header("accept-ranges"), None);
        } else {
            assert_eq!(reply.header("etag"), Some("\"a\""));
            assert_eq!(reply.header("accept-ranges"), Some("bytes"));
        }
    }
    // A connection carries several.
    let mut connection = Connection::open(site.http);
    for _ in 0..3 {
        let reply = connection
            .request("GET / HTTP/1.1\r\nhost: shop.example.com\r\naccept-encoding: gzip\r\n\r\n");
        assert!(decoded(Some("gzip"), &reply.body) == text);
    }
}

#[test]
fn what_must_not_be_compressed_is_not() {
    let text = text();
    let plain = "content-type: text/plain\r\n";
    for (status, fields) in [
        ("200 OK", "content-type: image/png\r\n"),
        ("200 OK", ""),
        ("200 OK", "content-type: text/plain\r\ncontent-encoding: deflate\r\n"),
        ("200 OK", "content-type: text/plain\r\ncache-control: public, no-transform\r\n"),
        ("206 Partial Content", "content-type: text/plain\r\ncontent-range: bytes 0-1/2\r\n"),
        ("500 Oh", plain),
    ] {
        let site = site(&BOTH, &[], &shop(status, fields, &text));
        let reply = get(&site, "gzip, br");
        assert_ne!(reply.header("content-encoding"), Some("gzip"), "{status} {fields}");
        assert_ne!(reply.header("content-encoding"), Some("br"), "{status} {fields}");
        assert!(reply.text() == text, "{status} {fields}");
    }
    let shop = shop("200 OK", plain, &text);
    let site_of_both = site(&BOTH, &[], &shop);
    let head = exchange(
        site_of_both.http,
        "HEAD / HTTP/1.1\r\nhost: shop.example.com\r\naccept-encoding: gzip\r\n\r\n",
    );
    assert_eq!(head.header("content-encoding"), None);
    assert_eq!(head.header("content-length"), Some(&*text.len().to_string()));
    let old = exchange(
        site_of_both.http,
        "GET / HTTP/1.0\r\nhost: shop.example.com\r\naccept-encoding: gzip\r\n\r\n",
    );
    assert_eq!((old.header("content-encoding"), old.text() == text), (None, true));
    // Off unless it is switched on.
    let site = site(&[], &[], &shop);
    let reply = get(&site, "gzip, br");
    assert_eq!((reply.header("content-encoding"), reply.header("vary")), (None, None));
}

#[test]
fn lengths_types_and_levels_are_those_of_the_config_map() {
    let body = "x".repeat(100);
    let shop = shop("200 OK", "content-type: application/x-own\r\n", &body);
    let on = ("use-gzip", "true");
    let coding = |data: &[(&str, &str)]| {
        let site = site(data, &[], &shop);
        let reply = get(&site, "gzip, br");
        let coding = reply.header("content-encoding").map(str::to_owned);
        assert_eq!(decoded(coding.as_deref(), &reply.body), body);
        coding
    };
    assert_eq!(coding(&[on, ("gzip-types", "*")]), None, "shorter than 256");
    assert_eq!(coding(&[on, ("gzip-min-length", "100")]), None, "not of a type");
    let own = [on, ("gzip-types", "text/css application/X-Own"), ("gzip-min-length", "100")];
    assert_eq!(coding(&[&own[..], &[("gzip-level", "9")]].concat()).as_deref(), Some("gzip"));
    let own = [("enable-brotli", "true"), ("brotli-types", "*"), ("brotli-level", "11")];
    assert_eq!(coding(&own).as_deref(), Some("br"));
    assert_eq!(coding(&[&own[..], &[("brotli-min-length", "101")]].concat()), None);
}

#[test]
fn what_has_come_is_sent_when_the_endpoint_pauses() {
    let (go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let shop = Backend::scripted(move |mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let _request = read_request(&mut reader);
        let mut send = |text: &str| {
            let _open = stream.write_all(text.as_bytes());
        };
        send(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        );
        for event in ["data: one\n\n", "data: two\n\n"] {
            send(&format!("{:x}\r\n{event}\r\n", event.len()));
            let _test_over = gate.lock().expect("no panic").recv();
        }
        send("0\r\n\r\n");
    });
    for data in [
        [("use-gzip", "true"), ("gzip-types", "*")],
        [("enable-brotli", "true"), ("brotli-types", "text/event-stream")],
    ] {
        // Even where other answers may be held back.
        let site = site(&data, &[("proxy-buffering", "on")], &shop);
        let mut connection = Connection::open(site.http);
        connection
            .send("GET / HTTP/1.1\r\nhost: shop.example.com\r\naccept-encoding: gzip, br\r\n\r\n");
        let head = connection.head().expect("a head").to_lowercase();
        let gzip = head.contains("content-encoding: gzip");
        assert!(gzip || head.contains("content-encoding: br"), "{head}");
        let mut body = Vec::new();
        let mut plain = Vec::new();
        for wanted in ["data: one\n\n", "data: one\n\ndata: two\n\n"] {
            while plain.len() < wanted.len() {
                body.extend(connection.chunk().expect("a chunk").expect("not the last"));
                plain = so_far(gzip, &body);
            }
            assert_eq!(plain, wanted.as_bytes());
            go.send(()).expect("the endpoint waits");
        }
        while let Some(chunk) = connection.chunk().expect("a chunk") {
            body.extend(chunk);
        }
        let coding = if gzip { "gzip" } else { "br" };
        assert_eq!(decoded(Some(coding), &body), "data: one\n\ndata: two\n\n");
    }
}

/// What can be decoded of a beginning.
fn so_far(gzip: bool, body: &[u8]) -> Vec<u8> {
    let mut decoder: Box<dyn std::io::Read + '_> = match gzip {
        true => Box::new(flate2::read::GzDecoder::new(body)),
        false => Box::new(brotli::Decompressor::new(body, 4096)),
    };
    let mut plain = Vec::new();
    let mut byte = [0];
    while matches!(decoder.read(&mut byte), Ok(1)) {
        plain.extend(byte);
    }
    plain
}

#[test]
fn an_answer_that_breaks_off_stays_broken() {
    let shop = Backend::scripted(|mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let _request = read_request(&mut reader);
        let _open = stream.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1000\r\n\r\nbegin",
        );
    });
    let site = site(&BOTH, &[], &shop);
    let mut connection = Connection::open(site.http);
    let reply = connection
        .try_request("GET / HTTP/1.1\r\nhost: shop.example.com\r\naccept-encoding: br\r\n\r\n");
    assert!(reply.is_err(), "{reply:?}");
}

#[test]
fn clients_of_http2_get_compressed_answers_too() {
    let text = text();
    let shop = shop("200 OK", "content-type: text/html\r\n", &text);
    let site = site(&BOTH, &[], &shop);
    crate::http2::run(async {
        let stream = tokio::net::TcpStream::connect(site.http).await.expect("it listens");
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("a handshake");
        tokio::spawn(connection);
        for coding in ["gzip", "br"] {
            let request = http::Request::get("http://shop.example.com/")
                .header("accept-encoding", coding)
                .body(Full::new(Bytes::new()))
                .expect("a request");
            let response = sender.clone().send_request(request).await.expect("an answer");
            assert_eq!(response.headers()["content-encoding"], coding);
            assert_eq!(response.headers().get("content-length"), None);
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            assert!(decoded(Some(coding), &body) == text);
        }
    });
}

#[test]
fn a_compressed_answer_keeps_the_pace_of_its_ingress() {
    let mut random = fastrand::Rng::with_seed(1);
    let text: String = (0..20_000).map(|_| random.alphanumeric()).collect();
    let shop = shop("200 OK", "content-type: text/plain\r\n", &text);
    // Kilobytes in a second: some 15 of them are to come.
    let site = site(&BOTH, &[("limit-rate", "10")], &shop);
    let begun = std::time::Instant::now();
    let reply = get(&site, "gzip");
    assert!(decoded(Some("gzip"), &reply.body) == text);
    assert!(begun.elapsed().as_millis() > 1000, "{:?}", begun.elapsed());
}
