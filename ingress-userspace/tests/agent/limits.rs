//! `limit-*`: how much one client may have, by request, at one time, and by second.

use std::{
    io::{BufReader, Write as _},
    net::SocketAddr,
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::{
    limits_scripts::SCRIPTS,
    support::{
        Backend, Connection, DEADLINE, Ingress, Site, config_map, documents, exchange,
        read_request, service, until,
    },
};

const HOST: &str = "shop.example.com";

/// Six at once, and the next after a minute.
const ONE: (&str, &str) = ("limit-rpm", "1");

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn manifests(annotations: Pairs<'_>, map: Pairs<'_>, endpoint: SocketAddr) -> String {
    let limited = Ingress {
        name: "limited",
        annotations,
        host: HOST,
        paths: &[("Prefix", "/", "shop"), ("Prefix", "/more", "shop")],
        tls: None,
    };
    let open = Ingress {
        name: "open",
        annotations: &[],
        host: HOST,
        paths: &[("Prefix", "/open", "shop")],
        tls: None,
    };
    documents(&[&limited.yaml(), &open.yaml(), &service("shop", &[endpoint]), &config_map(map)])
}

fn site(annotations: Pairs<'_>, map: Pairs<'_>, endpoint: SocketAddr) -> Site {
    let files = [("all.yaml", &*manifests(annotations, map, endpoint))];
    Site::start_with(&files, &["--configmap=web/controller"], |_| {})
}

fn status(site: &Site, path: &str) -> u16 {
    site.get(HOST, path).status
}

fn with_field(site: &Site, field: &str) -> u16 {
    let request = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n{field}\r\nconnection: close\r\n\r\n");
    exchange(site.http, &request).status
}

#[test]
fn scripts_go_as_written() {
    let shop = Backend::echo("shop");
    for script in SCRIPTS {
        let map = [("limit-conn-zone-variable", "$http_x_client")];
        let site = site(script.annotations, &map, shop.address);
        for (turn, (client, wanted)) in script.requests.iter().enumerate() {
            let got = with_field(&site, &format!("x-client: {client}"));
            assert_eq!(got, *wanted, "{}: request {turn} of `{client}`", script.name);
        }
    }
}

#[test]
fn a_limit_is_exact_over_all_workers_and_paths_and_binds_no_other_ingress() {
    let shop = Backend::echo("shop");
    let annotations = [ONE, ("limit-burst-multiplier", "20")];
    let site = site(&annotations, &[("limit-req-status-code", "429")], shop.address);
    let (told, tells) = mpsc::channel();
    for client in 0..4 {
        let (told, address) = (told.clone(), site.http);
        std::thread::spawn(move || {
            for turn in 0..20 {
                let path = if (turn + client) % 2 == 0 { "/" } else { "/more/x" };
                let request =
                    format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
                let _test_over = told.send(exchange(address, &request).status);
            }
        });
    }
    drop(told);
    let statuses: Vec<u16> = tells.iter().collect();
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(200), count(429)), (21, 59), "{statuses:?}");
    assert_eq!(status(&site, "/open"), 200);
    let reply = site.get(HOST, "/");
    assert!(reply.text().contains("<h1>429 Too Many Requests</h1>"), "{}", reply.text());
    let metric = "penstock_limited_requests_total{limit=\"requests\"}";
    assert_eq!(site.metric(metric), Some(60));
}

#[test]
fn limits_come_after_redirects_and_before_the_filter_of_addresses() {
    let shop = Backend::echo("shop");
    let filtered = [ONE, ("whitelist-source-range", "192.0.2.0/24")];
    let strict = site(&filtered, &[], shop.address);
    let statuses: Vec<_> = (0..8).map(|_| status(&strict, "/")).collect();
    assert_eq!(statuses, [403, 403, 403, 403, 403, 403, 503, 503]);
    let redirected = [ONE, ("permanent-redirect", "https://other.example.com")];
    let moved = site(&redirected, &[], shop.address);
    assert!((0..8).all(|_| status(&moved, "/") == 301));
    assert_eq!(shop.connections(), 0);
}

#[test]
fn some_are_never_limited() {
    let shop = Backend::echo("shop");
    let site = site(&[ONE, ("limit-whitelist", "127.0.0.0/8")], &[], shop.address);
    assert!((0..20).all(|_| status(&site, "/") == 200));
}

#[test]
fn clients_are_told_apart_by_the_address_that_is_believed() {
    let shop = Backend::echo("shop");
    let site = site(&[ONE], &[("use-forwarded-headers", "true")], shop.address);
    let ask = |client: &str| with_field(&site, &format!("x-forwarded-for: {client}"));
    assert!((0..6).all(|_| ask("192.0.2.1") == 200));
    assert_eq!([ask("192.0.2.1"), ask("192.0.2.2"), ask("2001:db8::1")], [503, 200, 200]);
}

#[test]
fn what_a_client_has_had_outlives_other_changes_and_not_the_ingress() {
    let shop = Backend::echo("shop");
    let site = site(&[ONE], &[], shop.address);
    let change = |text: &str| {
        let before = site.generation();
        site.replace("all.yaml", text);
        until("the change is served", || site.generation() > before);
    };
    assert!((0..6).all(|_| status(&site, "/") == 200));
    assert_eq!(status(&site, "/"), 503);
    change(&manifests(&[ONE, ("proxy-read-timeout", "7")], &[], shop.address));
    assert_eq!(status(&site, "/"), 503);
    change(&manifests(&[], &[], shop.address));
    assert_eq!(status(&site, "/"), 200);
    change(&manifests(&[ONE], &[], shop.address));
    assert!((0..6).all(|_| status(&site, "/") == 200), "it begins anew");
    assert_eq!(status(&site, "/"), 503);
}

#[test]
fn what_is_no_limit_closes_its_ingress_alone() {
    let shop = Backend::echo("shop");
    let site = site(&[("limit-rps", "many")], &[], shop.address);
    assert_eq!([status(&site, "/"), status(&site, "/open")], [503, 200]);
    let diagnostics = site.state()["diagnostics"].to_string();
    assert!(diagnostics.contains("is not a whole number; 0 is no limit"), "{diagnostics}");
}

#[test]
fn with_444_nothing_is_said() {
    let shop = Backend::echo("shop");
    let site = site(&[ONE], &[("limit-req-status-code", "444")], shop.address);
    assert!((0..6).all(|_| status(&site, "/") == 200));
    let mut connection = Connection::open(site.http);
    connection.send(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n"));
    assert_eq!(connection.rest().unwrap_or_default(), b"");
}

/// Answers when the gate lets it, one unit for each answer, and tells when it is asked; `/free` is
/// answered at once.
fn gated() -> (Backend, mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (open, gate) = mpsc::channel::<()>();
    let (asked, asks) = mpsc::channel();
    let (gate, asked) = (Arc::new(Mutex::new(gate)), Mutex::new(asked));
    let backend = Backend::scripted(move |mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        while let Some((head, _)) = read_request(&mut reader) {
            if !head.starts_with("GET /free") {
                let _test_over = asked.lock().expect("no panic").send(());
                if gate.lock().expect("no panic").recv().is_err() {
                    return;
                }
            }
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").is_err() {
                return;
            }
        }
    });
    (backend, open, asks)
}

#[test]
fn requests_at_one_time_are_limited_until_they_end_or_their_client_leaves() {
    let (shop, open, asks) = gated();
    let site =
        site(&[("limit-connections", "1")], &[("limit-conn-status-code", "420")], shop.address);
    let get = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    let mut first = Connection::open(site.http);
    first.send(&get);
    asks.recv_timeout(DEADLINE).expect("the endpoint is asked");
    assert_eq!(status(&site, "/more"), 420);
    // A connection that asks for nothing does not count.
    let _idle = Connection::open(site.http);
    open.send(()).expect("it waits");
    assert_eq!(first.reply(false).expect("an answer").status, 200);
    // The slot is free when the answer has ended, for the next request of a connection at once.
    first.send(&get);
    asks.recv_timeout(DEADLINE).expect("the endpoint is asked");
    assert_eq!(status(&site, "/"), 420);
    drop(first);
    until("the slot is free", || status(&site, "/free") == 200);
    let metric = "penstock_limited_requests_total{limit=\"connections\"}";
    assert!(site.metric(metric).is_some_and(|count| count >= 2));
    drop(open);
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .expect("a runtime")
        .block_on(async { tokio::time::timeout(DEADLINE, future).await.expect("in time") })
}

async fn http2(address: SocketAddr) -> hyper::client::conn::http2::SendRequest<Empty<Bytes>> {
    let stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("a handshake");
    tokio::spawn(connection);
    sender
}

fn request(path: &str) -> http::Request<Empty<Bytes>> {
    http::Request::get(format!("http://{HOST}{path}")).body(Empty::new()).expect("a request")
}

#[test]
fn each_stream_of_a_connection_counts() {
    let (shop, open, asks) = gated();
    let site = site(&[("limit-connections", "2")], &[], shop.address);
    run(async {
        let sender = http2(site.http).await;
        let ask = |path: &'static str| {
            let mut sender = sender.clone();
            tokio::spawn(async move { sender.send_request(request(path)).await })
        };
        let (one, two) = (ask("/"), ask("/more"));
        let both = move || (0..2).all(|_| asks.recv_timeout(DEADLINE).is_ok());
        let asked = tokio::task::spawn_blocking(both).await.expect("no panic");
        assert!(asked, "the endpoint is asked");
        let third = ask("/").await.expect("no panic").expect("an answer");
        assert_eq!(third.status(), 503);
        for _ in 0..2 {
            open.send(()).expect("it waits");
        }
        for answer in [one, two] {
            assert_eq!(answer.await.expect("no panic").expect("an answer").status(), 200);
        }
    });
}

/// Answers with so many bytes; a path `/small` with two.
fn large(length: usize) -> Backend {
    Backend::scripted(move |mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        while let Some((head, _)) = read_request(&mut reader) {
            let length = if head.starts_with("GET /small") { 2 } else { length };
            let body: Vec<u8> = (0..length).map(|place| (place % 251) as u8).collect();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
                return;
            }
        }
    })
}

/// 128 KiB, of which 64 at once and the others within a second.
const PACED: [(&str, &str); 2] = [("limit-rate", "64"), ("limit-rate-after", "64")];

#[test]
fn an_answer_goes_out_at_its_pace() {
    let shop = large(128 * 1024);
    for buffering in ["on", "off"] {
        let annotations = [PACED[0], PACED[1], ("proxy-buffering", buffering)];
        let site = site(&annotations, &[], shop.address);
        let mut connection = Connection::open(site.http);
        let begun = Instant::now();
        connection.send(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n"));
        connection.head().expect("a head");
        connection.read_exact(64 * 1024).expect("what is not limited");
        let first = begun.elapsed();
        let rest = connection.read_exact(64 * 1024).expect("the rest");
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(950), "{took:?}");
        assert!(first < took / 2, "{first:?} of {took:?}");
        assert!(rest.iter().enumerate().all(|(n, byte)| *byte == ((n + 64 * 1024) % 251) as u8));
        // The connection carries on.
        let reply = connection.request(&format!("GET /small HTTP/1.1\r\nhost: {HOST}\r\n\r\n"));
        assert_eq!((reply.status, reply.body.len()), (200, 2));
    }
}

#[test]
fn other_streams_do_not_wait_for_one_with_a_pace() {
    let shop = large(128 * 1024);
    let site = site(&PACED, &[], shop.address);
    run(async {
        let sender = http2(site.http).await;
        let begun = Instant::now();
        let paced = sender.clone().send_request(request("/")).await.expect("an answer");
        let mut body = paced.into_body();
        let first = body.frame().await.expect("a frame").expect("whole");
        for _ in 0..20 {
            let small = sender.clone().send_request(request("/small")).await.expect("an answer");
            let small = small.into_body().collect().await.expect("a body").to_bytes();
            assert_eq!(small.len(), 2);
        }
        let others = begun.elapsed();
        let rest = body.collect().await.expect("a body").to_bytes();
        assert_eq!(first.into_data().expect("data").len() + rest.len(), 128 * 1024);
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(950), "{took:?}");
        assert!(others < took, "{others:?} of {took:?}");
    });
}
