//! Large bodies: both ways, in memory that does not depend on their size.

use std::{
    io::{BufReader, Read as _, Write as _},
    thread,
};

use crate::{
    process::Process,
    support::{Backend, Connection, Ingress, documents, ingress, read_head, service},
};

const SIZE: usize = 256 << 20;
static CHUNK: [u8; 1 << 16] = [b'x'; 1 << 16];
/// What the agent may need more than when idle, in KiB.
const ROOM: u64 = 24 << 10;

/// Counts what comes and sends as much as asked for.
fn backend() -> Backend {
    Backend::scripted(|mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        while let Some(head) = read_head(&mut reader) {
            if head.starts_with("PUT ") {
                let mut left = SIZE;
                let mut buffer = vec![0; 1 << 16];
                while left > 0 {
                    let room = buffer.len().min(left);
                    match reader.read(&mut buffer[..room]) {
                        Ok(length @ 1..) => left -= length,
                        _ => return,
                    }
                }
                let _open = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            } else {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n");
                let _open = stream.write_all(head.as_bytes());
                for _ in 0..SIZE / CHUNK.len() {
                    if stream.write_all(&CHUNK).is_err() {
                        return;
                    }
                }
            }
        }
    })
}

#[test]
fn large_bodies_stream_both_ways_in_little_memory() {
    let shop = backend();
    let ingress = Ingress {
        name: "shop",
        annotations: &[("proxy-body-size", "0")],
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let rules = documents(&[&ingress.yaml(), &service("shop", &[shop.address])]);
    let agent = Process::start(&[("all.yaml", &rules)], &["--workers=1"]);
    let idle = agent.peak_memory();
    let http = agent.http();

    let upload = thread::spawn(move || {
        let mut connection = Connection::open(http);
        connection.send(format!(
            "PUT / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: {SIZE}\r\n\r\n"
        ));
        for _ in 0..SIZE / CHUNK.len() {
            connection.send(CHUNK);
        }
        assert_eq!(connection.reply(false).expect("an answer").status, 200);
    });
    let mut connection = Connection::open(http);
    connection.send("GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n");
    assert!(connection.head().expect("a head").starts_with("HTTP/1.1 200"));
    let mut left = SIZE;
    while left > 0 {
        let length = left.min(1 << 20);
        connection.read_exact(length).expect("the body");
        left -= length;
    }
    upload.join().expect("no panic");
    let used = agent.peak_memory() - idle;
    assert!(used < ROOM, "{used} KiB for {} KiB of bodies", (2 * SIZE) >> 10);
}

#[test]
fn events_reach_the_client_one_by_one() {
    let (next, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let shop = Backend::scripted(move |mut stream, _| {
        let _head = read_head(&mut BufReader::new(stream.try_clone().expect("a second handle")));
        let _open = stream.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        );
        for number in 0..5 {
            let _open = stream.write_all(format!("8\r\ndata: {number}\n\r\n").as_bytes());
            // The next one only comes when the client has this one.
            let _client_left = gate.lock().expect("no panic").recv();
        }
        let _open = stream.write_all(b"0\r\n\r\n");
    });
    let rules =
        documents(&[&ingress("shop.example.com", "shop"), &service("shop", &[shop.address])]);
    let site = crate::support::Site::start(&[("all.yaml", &rules)]);
    let mut connection = Connection::open(site.http);
    connection.send("GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n");
    assert!(connection.head().expect("a head").starts_with("HTTP/1.1 200"));
    for number in 0..5 {
        let chunk = connection.chunk().expect("a chunk").expect("not the last");
        assert_eq!(chunk, format!("data: {number}\n").as_bytes());
        next.send(()).expect("the backend waits");
    }
    assert_eq!(connection.chunk().expect("the last chunk"), None);
}
