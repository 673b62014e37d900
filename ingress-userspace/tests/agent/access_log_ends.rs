//! The lines of requests that end in another way than most.

use std::{
    fs,
    io::{BufReader, Read as _, Write as _},
};

use ingress_userspace::lifecycle::Stop;

use crate::{
    access_log::{ANSWER, Logged},
    http2::run,
    support::{Backend, Connection, exchange, read_request, saying, until},
};

const GET: &str = "GET /a HTTP/1.1\r\nhost: shop.example.com\r\n\r\n";
const FORMAT: &str = "$status $body_bytes_sent [$proxy_upstream_name] $upstream_status \
                      $upstream_response_length \"$request\" $uri";

/// What is in the log once the agent has ended.
fn last_lines(logged: Logged) -> Vec<String> {
    let Logged { site, folder, path } = logged;
    assert!(site.wait());
    let text = fs::read_to_string(path).unwrap_or_default();
    drop(folder);
    text.lines().map(str::to_owned).collect()
}

/// Answers with this, and then neither says more nor goes.
fn stuck(said: &'static str) -> Backend {
    Backend::scripted(move |mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let _request = read_request(&mut reader);
        let _sent = stream.write_all(said.as_bytes());
        let _end = reader.read(&mut [0]);
    })
}

#[test]
fn requests_that_the_end_cuts_off_are_written_down() {
    for (said, expected) in [
        ("", "499 0 [web-shop-80] - 0 \"GET /a HTTP/1.1\" /a"),
        (
            "HTTP/1.1 201 Created\r\ncontent-length: 9\r\n\r\nhello",
            "201 5 [web-shop-80] 201 5 \"GET /a HTTP/1.1\" /a",
        ),
    ] {
        let shop = stuck(said);
        let logged = Logged::start(&[("log-format-upstream", FORMAT)], &[], &shop);
        let mut connection = Connection::open(logged.site.http);
        connection.send(GET);
        until("the upstream is asked", || shop.connections() == 1);
        if !said.is_empty() {
            let head = connection.head().expect("a head");
            assert!(head.starts_with("HTTP/1.1 201"), "{head}");
            assert_eq!(connection.read_exact(5).expect("its beginning"), b"hello");
        }
        logged.site.signal(Stop::Now);
        assert_eq!(last_lines(logged), [expected]);
    }
}

#[test]
fn requests_with_bodies_that_wait_for_a_verdict_are_written_down_at_the_end() {
    let shop = stuck("");
    let annotations = [("auth-url", "http://shop.web.svc.cluster.local/verify")];
    let logged = Logged::start(&[("log-format-upstream", FORMAT)], &annotations, &shop);
    let mut connection = Connection::open(logged.site.http);
    let post = GET.replacen("GET ", "POST ", 1);
    let post = post.replacen("\r\n\r\n", "\r\ncontent-length: 5\r\n\r\nhello", 1);
    connection.send(post);
    until("the judge is asked", || shop.connections() == 1);
    logged.site.signal(Stop::Now);
    assert_eq!(last_lines(logged), ["499 0 [web-shop-80] - - \"POST /a HTTP/1.1\" /a"]);
}

#[test]
fn streams_that_the_end_cuts_off_are_written_down() {
    let shop = stuck("");
    let logged = Logged::start(&[("log-format-upstream", FORMAT)], &[], &shop);
    run(async {
        let stream = tokio::net::TcpStream::connect(logged.site.http).await.expect("it listens");
        let io = hyper_util::rt::TokioIo::new(stream);
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(executor, io).await.expect("a handshake");
        tokio::spawn(connection);
        let streams: Vec<_> = (0..3)
            .map(|_| {
                let request = http::Request::get("http://shop.example.com/a")
                    .body(http_body_util::Empty::<bytes::Bytes>::new());
                sender.send_request(request.expect("a request"))
            })
            .collect();
        let asked = streams.into_iter().map(tokio::spawn).collect::<Vec<_>>();
        let shop = &shop;
        while shop.connections() < 3 {
            tokio::task::yield_now().await;
        }
        logged.site.signal(Stop::Now);
        for stream in asked {
            assert!(stream.await.expect("no panic").is_err());
        }
    });
    let lines = last_lines(logged);
    let cut = "499 0 [web-shop-80] - 0 \"GET /a HTTP/2.0\" /a";
    assert_eq!(lines, [cut, cut, cut]);
}

#[test]
fn a_head_over_http2_that_is_too_large_is_written_down() {
    let shop = saying(ANSWER);
    let format = "$status $server_protocol $remote_addr \"$request\" $request_length";
    let logged = Logged::start(&[("log-format-upstream", format)], &[], &shop);
    run(async {
        let stream = tokio::net::TcpStream::connect(logged.site.http).await.expect("it listens");
        let io = hyper_util::rt::TokioIo::new(stream);
        let executor = hyper_util::rt::TokioExecutor::new();
        // What we say is our limit, this client is not to know.
        let (mut sender, connection) = hyper::client::conn::http2::Builder::new(executor)
            .handshake(io)
            .await
            .expect("a handshake");
        tokio::spawn(connection);
        let mut request = http::Request::get("http://shop.example.com/a");
        for _ in 0..40 {
            request = request.header("x-long", "v".repeat(1000));
        }
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new());
        let answer = sender.send_request(request.expect("a request")).await.expect("an answer");
        assert_eq!(answer.status(), 431);
    });
    assert_eq!(logged.lines(1), ["431 HTTP/2.0 127.0.0.1 \"-\" 0"]);
}

#[test]
fn plain_http_on_the_tls_port_is_written_down() {
    let shop = saying(ANSWER);
    let format = "$status $body_bytes_sent $remote_addr \"$request\"";
    let logged = Logged::start(&[("log-format-upstream", format)], &[], &shop);
    let reply = exchange(logged.site.https, GET);
    assert_eq!(reply.status, 400);
    assert_eq!(logged.lines(1), [format!("400 {} 127.0.0.1 \"-\"", reply.body.len())]);
}

#[test]
fn upstream_lengths_are_what_endpoints_sent() {
    let shop = Backend::scripted(|mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        while read_request(&mut reader).is_some() {
            let body = "text ".repeat(2000);
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 10000\r\n\r\n";
            if stream.write_all([head, &body].concat().as_bytes()).is_err() {
                return;
            }
        }
    });
    let settings = [
        ("use-gzip", "true"),
        ("log-format-upstream", "$upstream_response_length $body_bytes_sent"),
    ];
    let logged = Logged::start(&settings, &[], &shop);
    let request = GET.replace("\r\n\r\n", "\r\naccept-encoding: gzip\r\nconnection: close\r\n\r\n");
    let reply = exchange(logged.site.http, &request);
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    assert_eq!(logged.lines(1), [format!("10000 {}", reply.body.len())]);
}

#[test]
fn silence_is_444() {
    let shop = saying(ANSWER);
    let settings = [
        ("allow-snippet-annotations", "true"),
        ("annotations-risk-level", "Critical"),
        ("log-format-upstream", "$status $body_bytes_sent $uri"),
    ];
    let snippet = [("configuration-snippet", "if ($arg_x) { return 444; }")];
    let logged = Logged::start(&settings, &snippet, &shop);
    let mut connection = Connection::open(logged.site.http);
    connection.send(GET.replace("/a", "/a?x=1"));
    assert_eq!(connection.rest().expect("an end"), b"");
    assert_eq!(logged.lines(1), ["444 0 /a"]);
}
