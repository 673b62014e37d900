//! Bodies of any size in constant memory, slow peers, and peers that leave.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    process::{DEADLINE, Process, until},
    site::{Host, Site},
};

/// One gibibyte.
const LARGE: u64 = 1 << 30;
/// What a body, or a peer that does not read, may add to the agent's memory.
const BOUND: u64 = 16 << 20;

/// A backend that serves each request on a thread: the connection and the request's head.
fn backend(serve: impl Fn(TcpStream, &str) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    let address = listener.local_addr().expect("bound");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                    head.push(byte[0]);
                }
                if !head.is_empty() {
                    serve(stream, &String::from_utf8_lossy(&head));
                }
            });
        }
    });
    address
}

fn connect(site: &Site) -> TcpStream {
    let stream = TcpStream::connect(site.http).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    stream
}

/// Sends as many octets; how many were taken.
fn send(stream: &mut TcpStream, count: u64) -> u64 {
    let piece = [b'.'; 65536];
    let mut sent = 0;
    while sent < count {
        let size = usize::try_from(count - sent).map_or(piece.len(), |left| left.min(piece.len()));
        match stream.write(&piece[..size]) {
            Ok(0) | Err(_) => break,
            Ok(length) => sent += length as u64,
        }
    }
    sent
}

/// Takes in what comes up to as many octets.
fn swallow(stream: &mut TcpStream, count: u64) -> u64 {
    let mut buffer = [0; 65536];
    let mut seen = 0;
    while seen < count {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => seen += length as u64,
        }
    }
    seen
}

/// The status line and fields of an answer.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

fn bounded(agent: &Process, before: u64) {
    let most = agent.memory().1;
    assert!(most < before + BOUND, "{} kB, then {} kB", before >> 10, most >> 10);
}

/// Lets the agent allocate what it needs for any request at all.
fn warmed(site: &Site) -> u64 {
    let mut stream = connect(site);
    stream
        .write_all(b"GET /small HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        .expect("open");
    swallow(&mut stream, u64::MAX);
    site.agent.memory().1
}

/// Answers `/small` shortly, `/down` with a large body, anything else when the body has come.
fn large(mut stream: TcpStream, head: &str) {
    let sent = if head.starts_with("GET /small ") {
        // Closed, for this backend serves one request on a connection.
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        stream.write_all(answer).is_ok()
    } else if head.starts_with("GET /down ") {
        let answer =
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {LARGE}\r\n\r\n");
        stream.write_all(answer.as_bytes()).is_ok() && send(&mut stream, LARGE) == LARGE
    } else if head.starts_with("GET /chunks ") {
        let mut open =
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_ok();
        for _ in 0..LARGE >> 22 {
            open = open && stream.write_all(b"100000\r\n").is_ok();
            open =
                open && send(&mut stream, 1 << 20) == 1 << 20 && stream.write_all(b"\r\n").is_ok();
        }
        open && stream.write_all(b"0\r\n\r\n").is_ok()
    } else if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        let seen = dechunked(&stream).unwrap_or(0);
        let body = seen.to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).is_ok()
    } else {
        let body = swallow(&mut stream, LARGE).to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).is_ok()
    };
    assert!(sent, "the agent takes and gives all of it");
    let _gone = stream.shutdown(Shutdown::Write);
    swallow(&mut stream, u64::MAX);
}

/// The length of a body in chunks.
fn dechunked(stream: &TcpStream) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(65536, stream);
    let mut total = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        io::copy(&mut (&mut reader).take(size), &mut io::sink())?;
        line.clear();
        reader.read_line(&mut line)?;
        if size == 0 {
            return Ok(total);
        }
        total += size;
    }
}

#[test]
fn a_gibibyte_passes_each_way_in_constant_memory() {
    let test = "a_gibibyte_passes_each_way_in_constant_memory";
    let Some(site) = Site::start(test, &[Host::new("a.test", backend(large))]) else { return };
    let before = warmed(&site);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = connect(&site);
            stream.write_all(b"GET /down HTTP/1.1\r\nHost: a.test\r\n\r\n").expect("open");
            assert_ok(&head(&mut stream));
            assert_eq!(swallow(&mut stream, LARGE), LARGE);
        });
        scope.spawn(|| {
            let mut stream = connect(&site);
            let request =
                format!("POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: {LARGE}\r\n\r\n");
            stream.write_all(request.as_bytes()).expect("open");
            assert_eq!(send(&mut stream, LARGE), LARGE);
            assert_ok(&head(&mut stream));
            let mut told = vec![0; LARGE.to_string().len()];
            stream.read_exact(&mut told).expect("a body");
            assert_eq!(String::from_utf8_lossy(&told), LARGE.to_string());
        });
    });
    bounded(&site.agent, before);
}

#[test]
fn chunks_without_a_known_end_pass_each_way_in_constant_memory() {
    let test = "chunks_without_a_known_end_pass_each_way_in_constant_memory";
    let Some(site) = Site::start(test, &[Host::new("a.test", backend(large))]) else { return };
    let before = warmed(&site);
    let length = (LARGE >> 22) << 20;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = connect(&site);
            stream.write_all(b"GET /chunks HTTP/1.1\r\nHost: a.test\r\n\r\n").expect("open");
            assert_ok(&head(&mut stream));
            assert_eq!(dechunked(&stream).expect("chunks"), length);
        });
        scope.spawn(|| {
            let mut stream = connect(&site);
            let request =
                b"POST /up HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(request).expect("open");
            for _ in 0..LARGE >> 22 {
                stream.write_all(b"100000\r\n").expect("open");
                assert_eq!(send(&mut stream, 1 << 20), 1 << 20);
                stream.write_all(b"\r\n").expect("open");
            }
            stream.write_all(b"0\r\n\r\n").expect("open");
            assert_ok(&head(&mut stream));
            let mut told = vec![0; length.to_string().len()];
            stream.read_exact(&mut told).expect("a body");
            assert_eq!(String::from_utf8_lossy(&told), length.to_string());
        });
    });
    bounded(&site.agent, before);
}

#[test]
fn a_client_that_does_not_read_holds_back_its_backend() {
    let test = "a_client_that_does_not_read_holds_back_its_backend";
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let address = backend(move |mut stream, head| {
        if head.starts_with("GET /small ") {
            return large(stream, head);
        }
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
        let _open = stream.write_all(answer.as_bytes());
        while send(&mut stream, 65536) == 65536 {
            count.fetch_add(65536, Ordering::Relaxed);
        }
    });
    let Some(site) = Site::start(test, &[Host::new("a.test", address)]) else { return };
    let before = warmed(&site);
    let mut stream = connect(&site);
    stream.write_all(b"GET /down HTTP/1.1\r\nHost: a.test\r\n\r\n").expect("open");
    settled(&sent);
    // The kernel's buffers on both sides, and little more.
    assert!(sent.load(Ordering::Relaxed) < 64 << 20, "{}", sent.load(Ordering::Relaxed));
    bounded(&site.agent, before);
    // It goes on as soon as the client does.
    assert_ok(&head(&mut stream));
    assert_eq!(swallow(&mut stream, 128 << 20) >> 20, 128);
}

#[test]
fn a_backend_that_does_not_read_holds_back_its_client() {
    let test = "a_backend_that_does_not_read_holds_back_its_client";
    let (open, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let address = backend(move |stream, head| {
        if !head.starts_with("GET /small ") {
            let _opened = gate.lock().expect("no panic").recv();
        }
        large(stream, head);
    });
    let Some(site) = Site::start(test, &[Host::new("a.test", address)]) else { return };
    let before = warmed(&site);
    let sent = AtomicU64::new(0);
    thread::scope(|scope| {
        let sent = &sent;
        let site = &site;
        scope.spawn(move || {
            let mut stream = connect(site);
            let request =
                format!("POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: {LARGE}\r\n\r\n");
            stream.write_all(request.as_bytes()).expect("open");
            while sent.load(Ordering::Relaxed) < LARGE && send(&mut stream, 65536) == 65536 {
                sent.fetch_add(65536, Ordering::Relaxed);
            }
            assert_ok(&head(&mut stream));
        });
        settled(sent);
        // Streamed or, as nginx would, put aside on a disk: but not in memory.
        bounded(&site.agent, before);
        open.send(()).expect("the backend waits");
    });
    assert_eq!(sent.load(Ordering::Relaxed), LARGE);
    bounded(&site.agent, before);
}

/// Waits until a count has begun and then stood still for half a second.
fn settled(count: &AtomicU64) {
    let (mut last, mut since) = (0, Instant::now());
    until("nothing more is taken", || {
        let now = count.load(Ordering::Relaxed);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        last > 0 && since.elapsed() > Duration::from_millis(500)
    });
}

#[test]
fn an_answer_before_the_end_of_the_body_reaches_the_client() {
    let test = "an_answer_before_the_end_of_the_body_reaches_the_client";
    let address = backend(|mut stream, _| {
        let answer = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\
                       Connection: close\r\n\r\nno!";
        let _open = stream.write_all(answer);
        // A reset would take the answer away again (RFC 9112, section 9.6).
        let _open = stream.shutdown(Shutdown::Write);
        swallow(&mut stream, 8 << 20);
    });
    let Some(site) = Site::start(test, &[Host::new("a.test", address)]) else { return };
    for length in [1 << 16, 4 << 20, LARGE] {
        let mut stream = connect(&site);
        let request =
            format!("POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("open");
        // A client that goes on sending until it hears something.
        let mut sender = stream.try_clone().expect("a second handle");
        let sending = thread::spawn(move || send(&mut sender, length / 2));
        let answer = head(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 413 "), "of {length}: {answer:?}");
        let mut body = [0; 3];
        stream.read_exact(&mut body).expect("a body");
        assert_eq!(&body, b"no!");
        let _gone = stream.shutdown(Shutdown::Both);
        sending.join().expect("no panic");
    }
}

/// The backend notices that the client of such a request has left.
fn leaving(test: &str, request: &str, then: fn(&mut TcpStream)) {
    let (noticed, notice) = mpsc::channel();
    let (asked, asks) = mpsc::channel();
    let ends = std::sync::Mutex::new((asked, noticed));
    let address = backend(move |mut stream, head| {
        let (asked, noticed) = ends.lock().expect("no panic").clone();
        asked.send(()).expect("the test waits");
        let ended = if head.starts_with("GET /down ") {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
            let _open = stream.write_all(answer.as_bytes());
            send(&mut stream, LARGE) < LARGE
        } else {
            swallow(&mut stream, LARGE) < LARGE
        };
        let _told = noticed.send(ended);
    });
    let Some(site) = Site::start(test, &[Host::new("a.test", address)]) else { return };
    let mut stream = connect(&site);
    stream.write_all(request.as_bytes()).expect("open");
    then(&mut stream);
    asks.recv_timeout(DEADLINE).expect("the backend is asked");
    drop(stream);
    assert!(notice.recv_timeout(DEADLINE).expect("the backend notices"));
}

#[test]
fn a_client_that_leaves_in_its_upload_is_noticed_by_the_backend() {
    let test = "a_client_that_leaves_in_its_upload_is_noticed_by_the_backend";
    let request = format!("POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: {LARGE}\r\n\r\n");
    leaving(test, &request, |stream| assert_eq!(send(stream, 1 << 20), 1 << 20));
}

#[test]
fn a_client_that_leaves_in_its_download_is_noticed_by_the_backend() {
    let test = "a_client_that_leaves_in_its_download_is_noticed_by_the_backend";
    leaving(test, "GET /down HTTP/1.1\r\nHost: a.test\r\n\r\n", |stream| {
        assert_eq!(swallow(stream, 1 << 20) >> 20, 1);
    });
}

#[test]
fn a_client_that_leaves_before_the_answer_is_noticed_by_the_backend() {
    let test = "a_client_that_leaves_before_the_answer_is_noticed_by_the_backend";
    leaving(test, "GET /never HTTP/1.1\r\nHost: a.test\r\n\r\n", |_| {});
}

fn assert_ok(head: &str) {
    assert!(head.starts_with("HTTP/1.1 200 "), "{head:?}");
}
