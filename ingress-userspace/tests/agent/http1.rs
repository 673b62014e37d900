//! HTTP/1 as clients and upstreams see it: interim answers, trailers, old versions, connections
//! that are kept, and requests that are sent again.

use std::{
    io::{BufReader, Write as _},
    net::TcpStream,
};

use crate::support::{
    Backend, Connection, Ingress, Site, documents, ingress, nobody, read_request, service, until,
};

const GET: &str = "GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n";

fn site(endpoints: &[std::net::SocketAddr]) -> Site {
    let rules = documents(&[&ingress("shop.example.com", "shop"), &service("shop", endpoints)]);
    Site::start(&[("all.yaml", &rules)])
}

/// Answers every request of its connections with this text.
fn answering(text: &'static str) -> Backend {
    Backend::scripted(move |mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        while read_request(&mut reader).is_some() {
            if stream.write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    })
}

fn has_request(stream: &TcpStream) -> bool {
    read_request(&mut BufReader::new(stream.try_clone().expect("a second handle"))).is_some()
}

#[test]
fn a_client_that_waits_is_told_to_go_on_where_its_body_is_wanted() {
    let shop = Backend::echo("shop");
    let site = site(&[shop.address]);
    let expecting = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: shop.example.com\r\nexpect: 100-continue\r\n\
             content-length: 5\r\n\r\n"
        )
    };
    let mut connection = Connection::open(site.http);
    connection.send(expecting("/"));
    assert_eq!(connection.head().expect("an interim answer"), "HTTP/1.1 100 Continue\r\n");
    let reply = connection.request("hello");
    assert_eq!((reply.status, reply.line("body-length: ")), (200, Some("5")));
    assert_eq!(reply.line("expect: "), None);

    // Nobody wants this one: no 100, and no request is made of what may follow.
    connection.send(expecting("/../"));
    let refused = connection.reply(false).expect("an answer");
    assert_eq!((refused.status, refused.header("connection")), (400, Some("close")));
}

#[test]
fn other_expectations_are_refused() {
    let shop = Backend::echo("shop");
    let site = site(&[shop.address]);
    let mut connection = Connection::open(site.http);
    let request = "GET / HTTP/1.1\r\nhost: shop.example.com\r\nexpect: miracles\r\n\r\n";
    assert_eq!(connection.request(request).status, 417);
    assert_eq!(connection.request(GET).status, 200, "the connection goes on");
}

#[test]
fn early_hints_reach_the_client_before_the_answer() {
    let shop = answering(
        "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nconnection: x\r\nx: 1\r\ncontent-length: 9\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
    );
    let site = site(&[shop.address]);
    let mut connection = Connection::open(site.http);
    for _ in 0..2 {
        connection.send(GET);
        let hints = connection.head().expect("an interim answer");
        assert_eq!(hints, "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n");
        assert_eq!(connection.reply(false).expect("an answer").text(), "hi");
    }
    // HTTP/1.0 knows no interim answers.
    let mut old = Connection::open(site.http);
    assert_eq!(old.request("GET / HTTP/1.0\r\nhost: shop.example.com\r\n\r\n").text(), "hi");
}

#[test]
fn trailers_of_an_answer_reach_the_client() {
    let shop = answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
         5\r\nhello\r\n0\r\nContent-Length: 9\r\nX-Sum: 7\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    let site = site(&[shop.address]);
    let mut connection = Connection::open(site.http);
    for _ in 0..2 {
        connection.send(GET);
        let head = connection.head().expect("a head");
        assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
        assert_eq!(connection.chunk().expect("a chunk").as_deref(), Some(&b"hello"[..]));
        assert_eq!(connection.head().expect("last chunk and trailers"), "0\r\nX-Sum: 7\r\n");
    }
    assert_eq!(shop.connections(), 1, "the upstream's connection is used again");
}

#[test]
fn http_1_0_clients_get_what_they_understand() {
    let shop =
        answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let site = site(&[shop.address]);
    let mut connection = Connection::open(site.http);
    let reply = connection
        .request("GET / HTTP/1.0\r\nhost: shop.example.com\r\nconnection: keep-alive\r\n\r\n");
    assert_eq!(reply.header("transfer-encoding"), None);
    assert_eq!(reply.header("connection"), Some("close"), "only its end ends such a body");
    assert_eq!(reply.text(), "hello");

    let shop = answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    let site = self::site(&[shop.address]);
    let mut connection = Connection::open(site.http);
    for keep in ["keep-alive", "close"] {
        let reply = connection.request(&format!(
            "GET / HTTP/1.0\r\nhost: shop.example.com\r\nconnection: {keep}\r\n\r\n"
        ));
        assert_eq!((reply.text(), reply.header("connection")), ("hello", Some(keep)));
    }
    assert!(connection.rest().expect("closed in an orderly way").is_empty());
}

#[test]
fn head_is_answered_with_the_length_that_get_would_have() {
    let shop = answering("HTTP/1.1 200 OK\r\ncontent-length: 12345\r\netag: \"x\"\r\n\r\n");
    let site = site(&[shop.address]);
    let mut connection = Connection::open(site.http);
    for _ in 0..2 {
        let reply = connection.request("HEAD / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n");
        assert_eq!((reply.status, reply.header("content-length")), (200, Some("12345")));
        assert_eq!(reply.header("transfer-encoding"), None);
    }
}

#[test]
fn a_connection_ends_after_a_thousand_requests() {
    let shop = Backend::echo("shop");
    let site = site(&[shop.address]);
    let mut connection = Connection::open(site.http);
    for _ in 1..1000 {
        assert_eq!(connection.request(GET).header("connection"), None);
    }
    assert_eq!(connection.request(GET).header("connection"), Some("close"));
    assert!(connection.rest().expect("closed in an orderly way").is_empty());
}

#[test]
fn a_small_body_is_sent_again_where_that_is_allowed() {
    let dying = Backend::scripted(|stream, _| {
        let _asked = has_request(&stream);
    });
    let shop = Backend::echo("shop");
    let site = site(&[dying.address, shop.address]);
    let put = "PUT / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: 5\r\n\r\nhello";
    let chunked = "PUT / HTTP/1.1\r\nhost: shop.example.com\r\ntransfer-encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n0\r\n\r\n";
    for request in [put, put, chunked, chunked] {
        let mut connection = Connection::open(site.http);
        let reply = connection.request(request);
        assert_eq!((reply.status, reply.line("body-length: ")), (200, Some("5")), "{request}");
    }
    assert!(dying.connections() >= 2, "its turn came");
    // What may have been done is not done twice.
    let post = put.replace("PUT", "POST");
    let statuses: Vec<_> =
        (0..40).map(|_| Connection::open(site.http).request(&post).status).collect();
    assert!(statuses.contains(&502) && statuses.contains(&200), "{statuses:?}");
}

#[test]
fn a_post_is_tried_elsewhere_as_long_as_nothing_was_sent() {
    let shop = Backend::echo("shop");
    let site = site(&[nobody(), shop.address]);
    let post = "POST / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: 5\r\n\r\nhello";
    for _ in 0..4 {
        assert_eq!(Connection::open(site.http).request(post).line("body-length: "), Some("5"));
    }
}

#[test]
fn an_early_answer_reaches_a_client_that_goes_on_sending() {
    let shop = Backend::scripted(|mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let _head = crate::support::read_head(&mut reader);
        let _client_left = stream.write_all(
            b"HTTP/1.1 413 Too Much\r\ncontent-length: 3\r\nconnection: close\r\n\r\nno!",
        );
        let _rest = std::io::copy(&mut reader, &mut std::io::sink());
    });
    let site = Site::start(&[(
        "all.yaml",
        &documents(&[
            &Ingress {
                name: "shop",
                annotations: &[("proxy-request-buffering", "off"), ("proxy-body-size", "0")],
                host: "shop.example.com",
                paths: &[("Prefix", "/", "shop")],
                tls: None,
            }
            .yaml(),
            &service("shop", &[shop.address]),
        ]),
    )]);
    let mut connection = Connection::open(site.http);
    connection
        .send("POST / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: 10000000\r\n\r\n");
    until("the upstream is asked", || shop.connections() == 1);
    // More than the sockets hold, so that it must be read by somebody, or the end be an orderly one.
    for _ in 0..100 {
        if connection.try_send([b'x'; 10_000]).is_err() {
            break;
        }
    }
    let reply = connection.reply(false).expect("an answer");
    assert_eq!((reply.status, reply.text()), (413, "no!"));
    assert!(reply.head.starts_with("HTTP/1.1 413 Too Much\r\n"), "the upstream's own words");
}

#[test]
fn requests_behind_one_another_get_their_answers_in_order() {
    let shop = Backend::echo("shop");
    let site = site(&[shop.address]);
    let mut connection = Connection::open(site.http);
    let count = 50;
    let mut all = String::new();
    for number in 0..count {
        all.push_str(&format!(
            "POST /{number} HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: {number}\r\n\r\n{}",
            "x".repeat(number)
        ));
    }
    connection.send(all);
    for number in 0..count {
        let reply = connection.reply(false).expect("an answer");
        assert_eq!(reply.line(&format!("POST /{number} ")), Some("HTTP/1.1"));
        assert_eq!(reply.line("body-length: "), Some(&*number.to_string()));
    }
}
