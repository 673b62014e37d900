//! Requests whose end could be read in two ways: what we route is what the upstream sees.

use std::io::{Read as _, Write as _};

use crate::support::{Backend, Connection, Site, documents, ingress, service};

/// Sends raw bytes and returns the statuses of all answers until the connection ends, and what the
/// upstream saw of each request.
fn statuses(bytes: &str) -> (Vec<u16>, Vec<String>) {
    let shop = Backend::echo("shop");
    let rules = documents(&[&ingress("", "shop"), &service("shop", &[shop.address])]);
    let site = Site::start(&[("all.yaml", &rules)]);
    let mut connection = Connection::open(site.http);
    connection.send(bytes);
    let (mut statuses, mut seen) = (Vec::new(), Vec::new());
    while let Ok(reply) = connection.reply(false) {
        statuses.push(reply.status);
        if reply.status == 200 {
            seen.push(reply.text().to_owned());
        }
    }
    (statuses, seen)
}

/// Ends the connection, so that the answers before it can be counted.
const LAST: &str = "GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[test]
fn a_length_beside_a_coding_is_ignored_or_refused() {
    for fields in [
        "content-length: 6\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 6\r\n",
    ] {
        let (statuses, seen) =
            statuses(&format!("POST /one HTTP/1.1\r\nhost: a\r\n{fields}\r\n0\r\n\r\n{LAST}"));
        assert!(statuses[0] == 400 || statuses == [200, 200] || statuses == [200], "{statuses:?}");
        if let Some(first) = seen.first() {
            assert!(first.contains("body-length: 0"), "{first}");
            assert!(!first.contains("content-length: 6"), "{first}");
        }
    }
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    for fields in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 6\r\n",
        "content-length: +5\r\n",
        "content-length: -1\r\n",
        "content-length: 5x\r\n",
        "content-length: 99999999999999999999999\r\n",
    ] {
        let (statuses, _) =
            statuses(&format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\nhello{LAST}"));
        assert_eq!(statuses, [400], "{fields:?}");
    }
}

#[test]
fn codings_that_are_not_chunked_at_the_end_are_refused() {
    for value in ["identity", "gzip", "chunked, identity", "xchunked", "chunked;q=1, gzip"] {
        let (statuses, _) = statuses(&format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: {value}\r\n\r\n0\r\n\r\n{LAST}"
        ));
        // As nginx: a coding that nobody implements.
        assert_eq!(statuses, [501], "{value:?}");
    }
    let (statuses, _) = statuses(&format!(
        "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{LAST}"
    ));
    assert_eq!(statuses, [400], "HTTP/1.0 has no codings");
}

#[test]
fn heads_that_are_none_are_refused() {
    for head in [
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx\0y: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n",
        "GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GE T / HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        let (statuses, _) = statuses(head);
        assert_eq!(statuses, [400], "{head:?}");
    }
    let (statuses, _) = statuses("GET / HTTP/3.7\r\nhost: a\r\n\r\n");
    assert_eq!(statuses, [505], "as nginx");
}

#[test]
fn oversized_heads_are_refused() {
    let field = format!("x: {}\r\n", "y".repeat(1000));
    let (statuses, _) = statuses(&format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", field.repeat(60)));
    assert_eq!(statuses, [400], "as nginx, which says why in the body only");
}

#[test]
fn bad_chunks_never_reach_the_upstream_as_a_request() {
    for body in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "-1\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\n",
    ] {
        let (statuses, seen) = statuses(&format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}{LAST}"
        ));
        assert!(!statuses.contains(&200), "{body:?}: {statuses:?} {seen:?}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (statuses, seen) = statuses(&format!(
        "GET /one HTTP/1.1\r\nhost: a\r\n\r\nPOST /two HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello{LAST}"
    ));
    assert_eq!(statuses, [200, 200, 200]);
    assert!(seen[0].contains("GET /one ") && seen[1].contains("POST /two "));
    assert!(seen[1].contains("body-length: 5") && seen[2].contains("GET /last "));
}

#[test]
fn trailers_of_a_request_do_not_reach_the_upstream() {
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let shop = Backend::scripted(move |mut stream, _| {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        while !bytes.ends_with(b"\r\n0\r\n\r\n") && !bytes.ends_with(b"6.6.6.6\r\n\r\n") {
            match stream.read(&mut buffer) {
                Ok(length @ 1..) => bytes.extend_from_slice(&buffer[..length]),
                _ => break,
            }
        }
        tell.lock().expect("no panic").send(bytes).expect("the test waits");
        let _open = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    let rules = documents(&[&ingress("", "shop"), &service("shop", &[shop.address])]);
    let site = Site::start(&[("all.yaml", &rules)]);
    let mut connection = Connection::open(site.http);
    connection.send(
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-real-ip\r\n\r\n\
         3\r\nabc\r\n0\r\nx-real-ip: 6.6.6.6\r\n\r\n",
    );
    assert_eq!(connection.reply(false).expect("an answer").status, 200);
    let seen = told.recv_timeout(crate::support::DEADLINE).expect("the upstream is asked");
    let seen = String::from_utf8(seen).expect("text");
    assert!(seen.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "{seen}");
    assert!(!seen.contains("6.6.6.6") && !seen.contains("\r\ntrailer:"), "{seen}");
}

#[test]
fn names_that_an_upstream_could_take_for_others_are_dropped() {
    let (_, seen) = statuses(&format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx.real.ip: 6\r\nx_a: 6\r\nx-b: 7\r\n\r\n{LAST}"
    ));
    assert!(seen[0].contains("x-b: 7"), "{}", seen[0]);
    assert!(!seen[0].contains("x.real.ip") && !seen[0].contains("x_a"), "{}", seen[0]);
}

#[test]
fn the_body_of_a_get_reaches_the_upstream() {
    let (_, seen) = statuses(&format!(
        "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{LAST}"
    ));
    assert!(seen[0].contains("body-length: 5"), "{}", seen[0]);
    assert!(seen[1].contains("GET /last "), "{}", seen[1]);
}

#[test]
fn an_answer_with_a_length_beside_a_coding_is_not_cut_short() {
    let shop = Backend::scripted(|mut stream, _| {
        let mut reader = std::io::BufReader::new(stream.try_clone().expect("a second handle"));
        while crate::support::read_request(&mut reader).is_some() {
            let _open = stream.write_all(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n\
                  a\r\n0123456789\r\n0\r\n\r\n",
            );
        }
    });
    let rules = documents(&[&ingress("", "shop"), &service("shop", &[shop.address])]);
    let site = Site::start(&[("all.yaml", &rules)]);
    let mut connection = Connection::open(site.http);
    for _ in 0..2 {
        let reply = connection.request("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!((reply.status, reply.text()), (200, "0123456789"), "{}", reply.head);
    }
}
