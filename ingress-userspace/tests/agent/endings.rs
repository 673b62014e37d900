//! How connections end, and what is made of what comes, or does not come, before that.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ingress_userspace::lifecycle::Stop;
use nix::sys::socket::{setsockopt, sockopt};

use crate::support::{
    Backend, Connection, DEADLINE, Ingress, Site, documents, ingress, read_head, read_request,
    service, tls, until,
};

const GET: &str = "GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n";
/// Client connections that are open.
const OPEN: &str = "nginx_ingress_controller_nginx_process_connections{state=\"active\"}";

fn site_with(endpoint: SocketAddr, annotations: &[(&str, &str)], arguments: &[&str]) -> Site {
    let rules = Ingress {
        name: "shop",
        annotations,
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let rules = documents(&[&rules.yaml(), &service("shop", &[endpoint])]);
    Site::start_with(&[("all.yaml", &rules)], arguments, |_| {})
}

fn site(endpoint: SocketAddr) -> Site {
    site_with(endpoint, &[], &[])
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("somebody listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    stream
}

/// An endpoint that sends a body where none may be, as late as it can: with the next request.
fn talkative(status: &'static str) -> Backend {
    Backend::scripted(move |mut stream, number| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
        let fine = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";
        let first = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", evil.len());
        let answers = if number == 0 { [&first, evil] } else { [fine; 2] };
        for answer in answers {
            if read_request(&mut reader).is_none() || stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

#[test]
fn what_an_endpoint_sends_behind_an_answer_without_body_is_no_answer() {
    for (first, status) in [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Same")] {
        let shop = talkative(status);
        let site = site(shop.address);
        let mut connection = Connection::open(site.http);
        let request = format!("{first} / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n");
        let reply = connection.request(&request);
        assert!(status.starts_with(&reply.status.to_string()), "{}", reply.head);
        assert_eq!(connection.request(GET).text(), "fine", "{first} {status}");
    }
}

#[test]
fn close_wins_over_keep_alive() {
    let shop = Backend::echo("shop");
    let site = site(shop.address);
    for (version, value) in [("1.0", "keep-alive, close"), ("1.0", "close, keep-alive")] {
        let mut connection = Connection::open(site.http);
        let reply = connection.request(&format!(
            "GET / HTTP/{version}\r\nhost: shop.example.com\r\nconnection: {value}\r\n\r\n"
        ));
        assert_eq!((reply.status, reply.header("connection")), (200, Some("close")), "{value}");
        assert_eq!(connection.rest().expect("an orderly end"), b"");
    }
}

#[test]
fn an_answer_that_only_the_end_ends_does_not_end_as_if_whole_when_it_breaks_off() {
    let shop = Backend::scripted(|mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        while let Some(head) = read_head(&mut reader) {
            let end = if head.starts_with("GET /whole") { "0\r\n\r\n" } else { "" };
            let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
            let _gone = stream.write_all((answer.to_owned() + end).as_bytes());
            if end.is_empty() {
                return;
            }
        }
    });
    let site = site(shop.address);
    let get = |path: &str| {
        let mut client = connect(site.http);
        let request = format!("GET {path} HTTP/1.0\r\nhost: shop.example.com\r\n\r\n");
        client.write_all(request.as_bytes()).expect("it is open");
        let mut text = String::new();
        client.read_to_string(&mut text).map(|_| text)
    };
    assert!(get("/whole").expect("an orderly end").ends_with("\r\n\r\nhello"));
    let error = get("/broken").expect_err("it is not whole");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_client_that_leaves_while_the_endpoint_takes_nothing_is_noticed() {
    // Takes the head, and nothing of the body until the test is over.
    let over: Arc<(Mutex<bool>, Condvar)> = Arc::default();
    let wait = Arc::clone(&over);
    let shop = Backend::scripted(move |stream, _| {
        let _head = read_head(&mut BufReader::with_capacity(1, &stream));
        let guard = wait.0.lock().expect("no panic");
        drop(wait.1.wait_while(guard, |over| !*over).expect("no panic"));
    });
    let annotations = [
        ("proxy-request-buffering", "off"),
        ("proxy-body-size", "0"),
        ("proxy-send-timeout", "600"),
    ];
    let site = site_with(shop.address, &annotations, &[]);
    let mut client = connect(site.http);
    client
        .write_all(
            b"POST / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: 1000000000\r\n\r\n",
        )
        .expect("it is open");
    // Nothing is taken any more, by anyone on the way.
    client.set_write_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    while client.write(&[b'x'; 1 << 16]).is_ok() {}
    assert_eq!(site.metric(OPEN), Some(1));
    let reset = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&client, sockopt::Linger, &reset).expect("an option");
    drop(client);
    until("the client is missed", || site.metric(OPEN) == Some(0));
    *over.0.lock().expect("no panic") = true;
    over.1.notify_all();
}

#[test]
fn connections_that_have_said_nothing_do_not_hold_up_the_end() {
    let shop = Backend::echo("shop");
    let passed = Ingress {
        name: "passed",
        annotations: &[("ssl-passthrough", "true")],
        host: "passed.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let rules = documents(&[
        &ingress("shop.example.com", "shop"),
        &passed.yaml(),
        &service("shop", &[shop.address]),
    ]);
    let files = [("all.yaml", &*rules)];
    for arguments in [&[][..], &["--enable-ssl-passthrough"]] {
        let site = Site::start_with(&files, arguments, |_| {});
        let silent = [connect(site.http), connect(site.https)];
        let (shaken, _) = tls(site.https, "shop.example.com");
        until("all are taken", || site.metric(OPEN) == Some(3));
        let start = Instant::now();
        site.signal(Stop::Gracefully);
        assert!(site.wait());
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        drop((silent, shaken));
    }
}

#[test]
fn a_client_that_begins_in_time_is_answered_while_all_others_leave() {
    let shop = Backend::echo("shop");
    let site = site(shop.address);
    let (http, mut late) = (site.http, connect(site.http));
    until("it is taken", || site.metric(OPEN) == Some(1));
    site.signal(Stop::Gracefully);
    until("nobody listens", || TcpStream::connect(http).is_err());
    late.write_all(&GET.as_bytes()[..10]).expect("it is open");
    let mut late = Connection::over(late);
    late.send(&GET[10..]);
    let reply = late.reply(false).expect("an answer");
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert!(site.wait());
}

#[test]
fn a_flood_of_connections_does_not_hold_up_the_end() {
    let shop = Backend::echo("shop");
    let site = site(shop.address);
    let (http, over) = (site.http, Arc::new(AtomicBool::new(false)));
    let flood: Vec<_> = (0..4)
        .map(|_| {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) && TcpStream::connect(http).is_ok() {}
            })
        })
        .collect();
    let mut idle = Connection::open(http);
    assert_eq!(idle.request(GET).status, 200);
    let start = Instant::now();
    site.signal(Stop::Gracefully);
    assert!(site.wait());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    over.store(true, Ordering::Relaxed);
    flood.into_iter().for_each(|client| client.join().expect("no panic"));
}
