//! Upstreams that refuse, break off, say nonsense or say nothing.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use crate::support::{
    Backend, Connection, Ingress, Site, config_map, documents, exchange, ingress, nobody,
    read_request, service, until,
};

fn site(endpoints: &[std::net::SocketAddr]) -> Site {
    let shop = Ingress {
        name: "shop",
        annotations: &[("proxy-read-timeout", "1")],
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let map = config_map(&[("client-body-timeout", "1")]);
    let rules = documents(&[&shop.yaml(), &service("shop", endpoints), &map]);
    Site::start_with(&[("all.yaml", &rules)], &["--configmap=web/controller"], |_| {})
}

const GET: &str = "GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: 2\r\n\r\nhi";

fn request(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    read_request(&mut BufReader::new(stream.try_clone().expect("a second handle")))
}

fn answer(mut stream: &TcpStream, text: &str) {
    let _client_left = stream.write_all(text.as_bytes());
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn an_upstream_that_refuses_is_502() {
    let site = site(&[nobody()]);
    let reply = site.get("shop.example.com", "/");
    assert_eq!(reply.status, 502);
    assert!(reply.text().contains("<h1>502 Bad Gateway</h1>"));
    assert_eq!(site.metric("penstock_upstream_connects_total{outcome=\"failed\"}"), Some(3));
}

#[test]
fn an_upstream_that_talks_nonsense_is_502() {
    let shop = Backend::scripted(|stream, _| {
        let _request = request(&stream);
        answer(&stream, "SSH-2.0-OpenSSH_9.2\r\n\r\n");
    });
    assert_eq!(site(&[shop.address]).get("shop.example.com", "/").status, 502);
    assert_eq!(shop.connections(), 1, "it is not asked again");
}

#[test]
fn an_upstream_that_says_nothing_is_504_after_three_attempts() {
    let shop = Backend::scripted(|mut stream, _| {
        let _request = request(&stream);
        let _until_closed = stream.read(&mut [0]);
    });
    let site = site(&[shop.address]);
    assert_eq!(exchange(site.http, GET).status, 504);
    assert_eq!(shop.connections(), 3);
    assert_eq!(exchange(site.http, POST).status, 504);
    assert_eq!(shop.connections(), 4, "a POST is not sent twice");
}

#[test]
fn a_request_that_may_be_repeated_is_when_the_upstream_breaks_off() {
    let shop = Backend::scripted(|stream, number| {
        let _request = request(&stream);
        if number > 0 {
            answer(&stream, OK);
        }
    });
    let site = site(&[shop.address]);
    assert_eq!(exchange(site.http, GET).status, 200);
    assert_eq!(shop.connections(), 2);
}

#[test]
fn a_request_that_must_not_be_repeated_is_not() {
    let shop = Backend::scripted(|stream, _| drop(request(&stream)));
    let site = site(&[shop.address]);
    assert_eq!(exchange(site.http, POST).status, 502);
    assert_eq!(shop.connections(), 1);
}

#[test]
fn a_pooled_connection_that_was_closed_is_no_error() {
    // Every connection answers one request and is closed without a word about it.
    let shop = Backend::scripted(|stream, _| {
        if request(&stream).is_some() {
            answer(&stream, OK);
        }
    });
    let site = site(&[shop.address]);
    let mut connection = Connection::open(site.http);
    for _ in 0..200 {
        assert_eq!(connection.request(GET).status, 200);
    }
}

#[test]
fn a_pooled_connection_that_is_closed_on_the_next_request_is_no_error() {
    // The worst moment: the second request has arrived when the connection is closed.
    let shop = Backend::scripted(|stream, _| {
        if request(&stream).is_some() {
            answer(&stream, OK);
            let _second = request(&stream);
        }
    });
    let site = site(&[shop.address]);
    let mut connection = Connection::open(site.http);
    for _ in 0..50 {
        assert_eq!(connection.request(GET).status, 200);
    }
}

#[test]
fn an_answer_that_breaks_off_is_not_passed_off_as_whole() {
    let shop = Backend::scripted(|stream, _| {
        let _request = request(&stream);
        answer(&stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
    });
    let site = site(&[shop.address]);
    let mut connection = Connection::open(site.http);
    connection.send(GET);
    assert!(connection.head().expect("a head").starts_with("HTTP/1.1 200"));
    assert_eq!(connection.chunk().expect("a chunk").as_deref(), Some(&b"hello"[..]));
    assert!(connection.chunk().is_err(), "no last chunk");
}

#[test]
fn a_client_that_leaves_takes_its_upstream_request_along() {
    let (left, leaves) = mpsc::channel();
    let left = Mutex::new(left);
    let shop = Backend::scripted(move |mut stream, _| {
        let _request = request(&stream);
        let closed = stream.read(&mut [0]);
        let closed = matches!(closed, Ok(0) | Err(_));
        let _test_over = left.lock().expect("no panic").send(closed);
    });
    let rules =
        documents(&[&ingress("shop.example.com", "shop"), &service("shop", &[shop.address])]);
    // With the ordinary read timeout: only the client's end can end it in time.
    let site = Site::start(&[("all.yaml", &rules)]);
    let mut connection = Connection::open(site.http);
    connection.send(GET);
    until("the upstream is asked", || shop.connections() == 1);
    drop(connection);
    assert_eq!(leaves.recv_timeout(crate::support::DEADLINE), Ok(true));
}

#[test]
fn what_a_client_sent_meanwhile_does_not_reset_its_answer() {
    let (asked, is_asked) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let (asked, gone) = (Mutex::new(asked), Mutex::new(gone));
    let shop = Backend::scripted(move |stream, _| {
        let _request = request(&stream);
        let _test_over = asked.lock().expect("no panic").send(());
        let _test_over = gone.lock().expect("no panic").recv();
        answer(&stream, OK);
    });
    let map = config_map(&[("keep-alive", "0")]);
    let rules =
        documents(&[&ingress("shop.example.com", "shop"), &service("shop", &[shop.address]), &map]);
    let site = Site::start_with(&[("all.yaml", &rules)], &["--configmap=web/controller"], |_| {});
    let mut stream = TcpStream::connect(site.http).expect("it listens");
    stream.write_all(GET.as_bytes()).expect("it is open");
    is_asked.recv_timeout(crate::support::DEADLINE).expect("the endpoint is asked");
    // Nobody answers this: the connection ends with the first.
    stream.write_all(GET.as_bytes()).expect("it is open");
    go.send(()).expect("it waits");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("an end, no reset");
    assert!(all.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let (left, leaves) = mpsc::channel();
    let left = Mutex::new(left);
    let shop = Backend::scripted(move |mut stream, _| {
        let _request = request(&stream);
        answer(&stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        while stream.write_all(&[b'x'; 1 << 16]).is_ok() {}
        let _test_over = left.lock().expect("no panic").send(());
    });
    let rules =
        documents(&[&ingress("shop.example.com", "shop"), &service("shop", &[shop.address])]);
    let site = Site::start_with(&[("all.yaml", &rules)], &[], |config| {
        config.timeouts.send = Duration::from_millis(300);
    });
    let mut connection = Connection::open(site.http);
    connection.send(GET);
    assert_eq!(leaves.recv_timeout(crate::support::DEADLINE), Ok(()));
    drop(connection);
}

#[test]
fn a_client_that_stops_in_its_body_is_408() {
    let shop = Backend::scripted(|mut stream, _| {
        let mut all = Vec::new();
        let _until_closed = stream.read_to_end(&mut all);
    });
    let site = site(&[shop.address]);
    let mut connection = Connection::open(site.http);
    connection.send("POST / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: 10\r\n\r\nhi");
    assert_eq!(connection.reply(false).expect("an answer").status, 408);
}

#[test]
fn a_client_that_is_slow_with_its_head_is_cut_off() {
    let map = config_map(&[("client-header-timeout", "1"), ("keep-alive", "1")]);
    let files = [("all.yaml", &*map)];
    let site = Site::start_with(&files, &["--configmap=web/controller"], |_| {});
    let mut silent = Connection::open(site.http);
    assert_eq!(silent.rest().unwrap_or_default(), b"", "nothing was asked, nothing is answered");
    for begin in ["G", "GET / HTTP/1.1\r\nhost: a\r\n"] {
        let mut connection = Connection::open(site.http);
        connection.send(begin);
        let answer = connection.rest().unwrap_or_default();
        assert!(answer.starts_with(b"HTTP/1.1 408 Request Time-out\r\n"), "{begin:?}");
    }
    let mut silent = Connection::open(site.https);
    silent.send([22, 3]);
    assert_eq!(silent.rest().unwrap_or_default(), b"", "a handshake that does not go on");
    let mut idle = Connection::open(site.http);
    assert_eq!(idle.request("GET / HTTP/1.1\r\nhost: a\r\n\r\n").status, 404);
    assert_eq!(idle.rest().expect("it is closed in an orderly way"), b"");
}

#[test]
fn many_requests_at_once_through_failing_upstreams_get_an_answer_each() {
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let odd = Backend::scripted(move |stream, _| {
        while request(&stream).is_some() {
            let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            if number.is_multiple_of(2) {
                return;
            }
            answer(&stream, OK);
        }
    });
    let even = Backend::echo("even");
    let site = site(&[odd.address, even.address, nobody()]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = Connection::open(site.http);
                for _ in 0..50 {
                    let status = connection.request(GET).status;
                    assert!(status == 200 || status == 502, "{status}");
                }
            });
        }
    });
}

#[test]
fn an_endpoint_that_stalls_in_both_directions_is_late() {
    let (over, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let shop = Backend::scripted(move |mut stream, _| {
        // Answers before it has the body, and then neither reads nor writes.
        let _some = stream.read(&mut [0; 64]);
        answer(&stream, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
        let _until_over = wait.lock().expect("no panic").recv();
    });
    let brief = Ingress {
        name: "shop",
        annotations: &[
            ("proxy-read-timeout", "1"),
            ("proxy-send-timeout", "1"),
            ("proxy-body-size", "0"),
            ("proxy-request-buffering", "off"),
        ],
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let rules = documents(&[&brief.yaml(), &service("shop", &[shop.address])]);
    let site = Site::start(&[("all.yaml", &rules)]);
    let stream = TcpStream::connect(site.http).expect("it listens");
    stream.set_read_timeout(Some(crate::support::DEADLINE)).expect("an option");
    let mut writer = stream.try_clone().expect("a second handle");
    let writing = std::thread::spawn(move || {
        let _begun = writer.write_all(
            b"POST / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: 1000000000\r\n\r\n",
        );
        while writer.write_all(&[b'x'; 1 << 16]).is_ok() {}
    });
    let mut connection = Connection::over(stream);
    assert!(connection.head().expect("a head").starts_with("HTTP/1.1 200"));
    let rest = connection.rest();
    let timed_out = rest.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    drop(over);
    assert!(!timed_out, "the answer broke off");
    drop(connection);
    writing.join().expect("no panic");
}
