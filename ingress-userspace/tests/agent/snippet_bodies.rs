//! `sub_filter` and `gzip` of snippets, as clients see them.

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

const ALLOWED: [(&str, &str); 2] =
    [("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")];

fn site(map: &[(&str, &str)], snippet: &str, shop: &Backend) -> Site {
    let ingress = Ingress {
        name: "shop",
        annotations: &[("configuration-snippet", snippet)],
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let map = [&ALLOWED, map].concat();
    let parts = [ingress.yaml(), service("shop", &[shop.address]), config_map(&map)];
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    Site::start_with(&[("all.yaml", &documents(&parts))], &["--configmap=web/controller"], |_| {})
}

/// Answers every request with these fields and this body, in pieces of this size.
fn shop(fields: &str, body: &[u8], piece: usize) -> Backend {
    let head = format!("HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\n\r\n", body.len());
    let body = body.to_vec();
    Backend::scripted(move |mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        while let Some((request, _)) = read_request(&mut reader) {
            let is_head = request.starts_with("HEAD ");
            let body = if is_head { &[][..] } else { &*body };
            let pieces = std::iter::once(head.as_bytes()).chain(body.chunks(piece));
            for piece in pieces {
                if stream.write_all(piece).is_err() {
                    return;
                }
            }
        }
    })
}

fn get(site: &Site, fields: &str) -> Reply {
    let text = format!("GET / HTTP/1.1\r\nhost: shop.example.com\r\n{fields}\r\n");
    exchange(site.http, &text)
}

fn gunzip(body: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(body).read_to_string(&mut text).expect("gzip");
    text
}

#[test]
fn texts_in_bodies_are_replaced() {
    let body =
        "<html><HEAD></head>http://old.example.com/ HTTP://OLD.example.com/</html>".repeat(9);
    let fields = "content-type: text/html\r\netag: \"a\"\r\ncontent-md5: x\r\n\
                  last-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
    let snippet = "sub_filter 'http://old.example.com/' 'https://$host/';\n\
                   sub_filter '</head>' '<i></head>';\nsub_filter_once off;";
    let wanted = "<html><HEAD><i></head>https://shop.example.com/ https://shop.example.com/</html>"
        .repeat(9);
    for piece in [1, 7, 4096] {
        let site = site(&[], snippet, &shop(fields, body.as_bytes(), piece));
        let reply = get(&site, "");
        assert_eq!((reply.status, reply.text()), (200, &*wanted));
        for gone in ["content-length", "etag", "last-modified", "content-md5"] {
            assert_eq!(reply.header(gone), None, "{gone}");
        }
        // A connection carries several, and a HEAD none.
        let mut connection = Connection::open(site.http);
        for _ in 0..2 {
            let text = connection.request("GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n");
            assert_eq!(text.text(), wanted);
        }
        connection.send("HEAD / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n");
        let head = connection.reply(true).expect("an answer");
        assert_eq!((head.header("content-length"), head.header("etag")), (None, None));
    }
}

#[test]
fn clients_of_http2_get_replaced_texts_too() {
    let body = "a needle ".repeat(20_000);
    let shop = shop("content-type: text/html\r\n", body.as_bytes(), 65_536);
    let site = site(&[], "sub_filter needle 'much hay';\nsub_filter_once off;", &shop);
    crate::http2::run(async {
        let stream = tokio::net::TcpStream::connect(site.http).await.expect("it listens");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("a handshake");
        tokio::spawn(connection);
        let request = http::Request::get("http://shop.example.com/")
            .body(Full::new(Bytes::new()))
            .expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        assert_eq!(response.headers().get("content-length"), None);
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert!(body == "a much hay ".repeat(20_000));
    });
}

#[test]
fn what_is_compressed_passes_and_what_we_compress_was_replaced_before() {
    let body = "needle ".repeat(500);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body.as_bytes()).expect("memory");
    let packed = encoder.finish().expect("memory");
    let snippet = "sub_filter needle hay;\nsub_filter_once off;";
    let coded =
        shop("content-type: text/html\r\ncontent-encoding: gzip\r\netag: \"a\"\r\n", &packed, 99);
    let reply = get(&site(&[], snippet, &coded), "accept-encoding: gzip\r\n");
    assert_eq!(gunzip(&reply.body), body);
    assert_eq!(reply.header("etag"), Some("\"a\""));
    let plain = shop("content-type: text/html\r\n", body.as_bytes(), 99);
    let reply = get(&site(&[("use-gzip", "true")], snippet, &plain), "accept-encoding: gzip\r\n");
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    assert_eq!(gunzip(&reply.body), "hay ".repeat(500));
    // The endpoint is not to compress; the client gets it compressed all the same.
    let told = [snippet, "proxy_set_header Accept-Encoding \"\"; gzip on;"].concat();
    let reply = get(&site(&[], &told, &plain), "accept-encoding: gzip\r\n");
    assert_eq!(gunzip(&reply.body), "hay ".repeat(500));
}

#[test]
fn gzip_of_a_snippet_is_obeyed() {
    let body = "text ".repeat(100);
    let (html, css) = ("content-type: text/html\r\n", "content-type: text/css\r\n");
    for (map, snippet, kind, coded) in [
        (&[][..], "gzip on;", html, true),
        (&[], "gzip on;", css, false),
        (&[], "gzip on; gzip_types text/css; gzip_comp_level 9;", css, true),
        (&[], "gzip on; gzip_min_length 1k;", html, false),
        (&[], "gzip_types text/html;", html, false),
        (&[("use-gzip", "true")], "gzip off;", html, false),
        (&[("use-gzip", "true")], "gzip_min_length 501;", html, false),
        (&[("use-gzip", "true")], "gzip_types text/plain;", css, false),
        (&[("use-gzip", "true")], "if ($http_x) { gzip off; }", css, true),
    ] {
        let site = site(map, snippet, &shop(kind, body.as_bytes(), 4096));
        let reply = get(&site, "accept-encoding: gzip\r\n");
        assert_eq!(reply.header("content-encoding").is_some(), coded, "{snippet} {kind}");
        let text = if coded { gunzip(&reply.body) } else { reply.text().to_owned() };
        assert_eq!(text, body);
    }
    let own = site(&[("use-gzip", "true")], "if ($http_x) { gzip off; }", &shop(html, b"body", 9));
    assert_eq!(get(&own, "x: 1\r\naccept-encoding: gzip\r\n").header("content-encoding"), None);
}

#[test]
fn what_is_decided_does_not_wait() {
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let shop = Backend::scripted(move |mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let _request = read_request(&mut reader);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        let _open = stream.write_all(head.as_bytes());
        for part in ["data: one\n\n", "data: two need", "le\n\n"] {
            let chunk = format!("{:x}\r\n{part}\r\n", part.len());
            let _open = stream.write_all(chunk.as_bytes());
            let _gone = wait.lock().expect("no panic").recv();
        }
        let _open = stream.write_all(b"0\r\n\r\n");
    });
    let site = site(&[], "sub_filter needle hay; sub_filter_types *;", &shop);
    let mut connection = Connection::open(site.http);
    connection.send("GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n");
    connection.head().expect("a head");
    let mut body = Vec::new();
    for wanted in ["data: one\n\n", "data: one\n\ndata: two ", "data: one\n\ndata: two hay\n\n"] {
        while body.len() < wanted.len() {
            body.extend(connection.chunk().expect("a chunk").expect("not the last"));
        }
        assert_eq!(String::from_utf8_lossy(&body), wanted);
        go.send(()).expect("the endpoint waits");
    }
    assert_eq!(connection.chunk().expect("an end"), None);
}

#[test]
fn a_text_that_grows_takes_no_more_memory() {
    // Each byte becomes 60,000: 6 GB in all, of which nobody holds more than a part.
    let long = "x".repeat(60_000);
    let shop = shop("content-type: text/html\r\n", &b"a".repeat(100_000), 65_536);
    let site = site(&[], &format!("sub_filter a {long}; sub_filter_once off;"), &shop);
    let mut connection = Connection::open(site.http);
    connection.send("GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n");
    connection.head().expect("a head");
    let mut got = 0;
    while got < 100_000_000 {
        got += connection.chunk().expect("a chunk").expect("not the last").len();
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("it is there");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is told");
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kib < 1_500_000, "{peak}");
}
