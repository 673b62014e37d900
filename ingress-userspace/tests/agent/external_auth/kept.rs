//! What is kept from one request to the next: connections and verdicts.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{GET, HOST, Judge, OK, REFUSED, URL, line, site};
use crate::support::{Backend, Connection, Ingress, documents, ingress, service, until};

/// Requests on one connection, which is one worker's.
fn asking(connection: &mut Connection, host: &str, target: &str, lines: &str) -> u16 {
    let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n{lines}\r\n");
    connection.request(&request).status
}

#[test]
fn connections_to_the_server_are_kept() {
    for answer in [OK, REFUSED, "HTTP/1.1 403 X\r\ncontent-length: 3\r\n\r\nbad"] {
        let (shop, judge) = (Backend::echo("shop"), Judge::saying(answer));
        let site = site(&[URL], &shop, &judge);
        let mut connection = Connection::open(site.http);
        for _ in 0..10 {
            connection.request(GET);
        }
        assert_eq!((judge.asked(), judge.backend.connections()), (10, 1), "{answer}");
    }
}

#[test]
fn a_kept_connection_that_was_closed_is_replaced() {
    let shop = Backend::echo("shop");
    // Says that it keeps the connection, and does not.
    let judge = Backend::scripted(|mut stream, _| {
        let mut reader = std::io::BufReader::new(stream.try_clone().expect("a second handle"));
        if crate::support::read_head(&mut reader).is_some() {
            let _gone = std::io::Write::write_all(&mut stream, OK.as_bytes());
        }
    });
    let site = super::site_with(&[URL], &[], &[], (&shop, judge.address));
    let mut connection = Connection::open(site.http);
    for number in 1..=20 {
        assert_eq!(connection.request(GET).status, 200);
        assert_eq!(judge.connections(), number);
    }
}

#[test]
fn a_verdict_is_kept_by_its_key() {
    let shop = Backend::echo("shop");
    let count = AtomicUsize::new(0);
    let judge = Judge::new(move |head| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let status = line(head, "x-say: ").unwrap_or("200");
        format!(
            "HTTP/1.1 {status} X\r\nx-user: {number}\r\nwww-authenticate: B{number}\r\ncontent-length: 0\r\n\r\n"
        )
    });
    let annotations =
        [URL, ("auth-cache-key", "$cookie_session"), ("auth-response-headers", "X-User")];
    let site = site(&annotations, &shop, &judge);
    let mut connection = Connection::open(site.http);
    let mut ask = |target: &str, lines: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\n{lines}\r\n");
        connection.request(&request)
    };
    for lines in ["", "x-user: root\r\n", "x-say: 401\r\n"] {
        let reply = ask("/", &format!("cookie: session=a\r\n{lines}"));
        assert_eq!((reply.status, reply.line("x-user: ")), (200, Some("0")), "{lines}");
    }
    assert_eq!(ask("/deeper?x=y", "cookie: session=a\r\n").line("x-user: "), Some("0"));
    assert_eq!(judge.asked(), 1);
    // Another key; another path of the Ingress.
    assert_eq!(ask("/", "cookie: session=b\r\n").line("x-user: "), Some("1"));
    assert_eq!(ask("/other", "cookie: session=a\r\n").line("x-user: "), Some("2"));
    assert_eq!(ask("/other", "cookie: session=a\r\n").line("x-user: "), Some("2"));
    // 401 is kept with how to sign in; 403 is not, nor what is no verdict.
    for _ in 0..2 {
        let reply = ask("/", "cookie: session=c\r\nx-say: 401\r\n");
        assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("B3")));
    }
    for (session, status, outcome) in [("d", "403", 403), ("e", "500", 500), ("f", "204", 200)] {
        for _ in 0..2 {
            let lines = format!("cookie: session={session}\r\nx-say: {status}\r\n");
            assert_eq!(ask("/", &lines).status, outcome);
        }
    }
    assert_eq!(judge.asked(), 10);
}

#[test]
fn hosts_and_ingresses_never_share_a_verdict() {
    let (shop, judge) = (Backend::echo("shop"), Judge::saying(OK));
    let of = |name: &str, host: &str, path: &str| {
        Ingress {
            name,
            annotations: &[URL, ("auth-cache-key", "same")],
            host,
            paths: &[("Prefix", path, "shop")],
            tls: None,
        }
        .yaml()
    };
    let files = documents(&[
        &of("one", "a.example.com", "/"),
        &of("two", "b.example.com", "/"),
        &of("three", "*.c.example.com", "/"),
        &of("four", "a.example.com", "/x"),
        &service("shop", &[shop.address]),
        &service("auth", &[judge.backend.address]),
    ]);
    let site = crate::support::Site::start(&[("all.yaml", &files)]);
    let mut connection = Connection::open(site.http);
    let places = [
        ("a.example.com", "/"),
        ("b.example.com", "/"),
        ("1.c.example.com", "/"),
        ("2.c.example.com", "/"),
        ("a.example.com", "/x"),
    ];
    for _ in 0..3 {
        for (host, target) in places {
            assert_eq!(asking(&mut connection, host, target, ""), 200);
        }
    }
    assert_eq!(judge.asked(), places.len());
}

#[test]
fn answers_that_are_not_to_be_kept_are_not() {
    for field in [
        "cache-control: no-store",
        "cache-control: x, No-Cache",
        "cache-control: private",
        "cache-control: max-age=0",
        "cache-control: max-age=x",
        "set-cookie: a=1",
        "vary: cookie",
        "vary: *",
    ] {
        let shop = Backend::echo("shop");
        let judge =
            Judge::saying(format!("HTTP/1.1 200 OK\r\n{field}\r\ncontent-length: 0\r\n\r\n"));
        let site = site(&[URL, ("auth-cache-key", "$host")], &shop, &judge);
        let mut connection = Connection::open(site.http);
        for number in 1..=3 {
            assert_eq!(connection.request(GET).status, 200);
            assert_eq!(judge.asked(), number, "{field}");
        }
    }
    for field in ["cache-control: max-age=60", "vary: Accept-Encoding", "x: y"] {
        let shop = Backend::echo("shop");
        let judge =
            Judge::saying(format!("HTTP/1.1 200 OK\r\n{field}\r\ncontent-length: 0\r\n\r\n"));
        let site = site(&[URL, ("auth-cache-key", "$host")], &shop, &judge);
        let mut connection = Connection::open(site.http);
        for _ in 0..3 {
            assert_eq!(connection.request(GET).status, 200);
        }
        assert_eq!(judge.asked(), 1, "{field}");
    }
}

#[test]
fn a_verdict_ends_with_its_time_and_with_a_change_of_who_is_asked() {
    let (shop, judge) = (Backend::echo("shop"), Judge::saying(OK));
    let short = [URL, ("auth-cache-key", "$host"), ("auth-cache-duration", "200 300ms")];
    let site = site(&short, &shop, &judge);
    let mut connection = Connection::open(site.http);
    assert_eq!(connection.request(GET).status, 200);
    let connection = std::cell::RefCell::new(connection);
    until("the server is asked again", || {
        assert_eq!(connection.borrow_mut().request(GET).status, 200);
        judge.asked() > 1
    });

    let (shop, judge) = (Backend::echo("shop"), Judge::saying(OK));
    let site = super::site(&[URL, ("auth-cache-key", "$host")], &shop, &judge);
    let mut connection = Connection::open(site.http);
    for _ in 0..3 {
        assert_eq!(connection.request(GET).status, 200);
    }
    assert_eq!(judge.asked(), 1);
    let (generation, refusing) = (site.generation(), Judge::saying(REFUSED));
    let changed = Ingress {
        name: "shop",
        annotations: &[
            ("auth-url", "http://other.web.svc.cluster.local/verify"),
            ("auth-cache-key", "$host"),
        ],
        host: HOST,
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let files = documents(&[
        &changed.yaml(),
        &service("shop", &[shop.address]),
        &service("other", &[refusing.backend.address]),
        &ingress("other.example.com", "shop").replace("name: shop\n", "name: other\n"),
    ]);
    site.replace("all.yaml", &files);
    until("the change is served", || site.generation() > generation);
    assert_eq!(connection.request(GET).status, 401);
    assert_eq!((judge.asked(), refusing.asked()), (1, 1));
}
