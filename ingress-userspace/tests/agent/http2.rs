//! HTTP/2 by ALPN and by prior knowledge.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::{Backend, Ingress, Site, documents, ingress, service};

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(crate::support::DEADLINE, future).await.expect("in time")
    })
}

#[test]
fn streams_of_a_cleartext_connection_are_served_side_by_side() {
    let shop = Backend::echo("shop");
    let site = Site::start(&[(
        "all.yaml",
        &documents(&[&ingress("shop.example.com", "shop"), &service("shop", &[shop.address])]),
    )]);
    run(async {
        let stream = tokio::net::TcpStream::connect(site.http).await.expect("it listens");
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("a handshake");
        tokio::spawn(connection);
        let requests = (0..50).map(|number| {
            let mut sender = sender.clone();
            async move {
                let request = http::Request::post(format!("http://shop.example.com/{number}"))
                    .header("cookie", "a=1")
                    .header("cookie", "b=2")
                    .body(Full::new(Bytes::from(vec![b'x'; 100_000])))
                    .expect("a request");
                let response = sender.send_request(request).await.expect("an answer");
                assert_eq!(response.status(), 200);
                assert_eq!(response.headers().get("server"), None);
                let body = response.into_body().collect().await.expect("a body").to_bytes();
                String::from_utf8(body.to_vec()).expect("text")
            }
        });
        let tasks: Vec<_> = requests.map(tokio::spawn).collect();
        for (number, task) in tasks.into_iter().enumerate() {
            let text = task.await.expect("no panic");
            let text = text.replace("\nHost: ", "\nhost: ").replace("\nCookie: ", "\ncookie: ");
            assert!(text.contains(&format!("\nPOST /{number} HTTP/1.1\n")), "{text}");
            assert!(text.contains("\nhost: shop.example.com\n"), "{text}");
            assert!(text.contains("\ncookie: a=1; b=2\n"), "{text}");
            assert!(text.contains("\nbody-length: 100000\n"), "{text}");
        }
    });
}

#[test]
fn draining_finishes_the_streams_that_are_open() {
    let (asked, asks) = std::sync::mpsc::channel();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let both = std::sync::Mutex::new((asked, gate));
    let shop = Backend::scripted(move |mut stream, _| {
        let mut reader = std::io::BufReader::new(stream.try_clone().expect("a second handle"));
        let _request = crate::support::read_request(&mut reader);
        let both = both.lock().expect("no panic");
        both.0.send(()).expect("the test waits");
        both.1.recv().expect("the test opens");
        let _open = std::io::Write::write_all(
            &mut stream,
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        );
    });
    let site = Site::start(&[(
        "all.yaml",
        &documents(&[&ingress("shop.example.com", "shop"), &service("shop", &[shop.address])]),
    )]);
    run(async {
        let stream = tokio::net::TcpStream::connect(site.http).await.expect("it listens");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("a handshake");
        let connection = tokio::spawn(connection);
        let request = || {
            let request = http::Request::get("http://shop.example.com/");
            request.body(Full::new(Bytes::new())).expect("a request")
        };
        let answer = tokio::spawn(sender.send_request(request()));
        tokio::task::yield_now().await;
        tokio::task::spawn_blocking(move || asks.recv_timeout(crate::support::DEADLINE))
            .await
            .expect("no panic")
            .expect("the upstream is asked");
        site.signal(ingress_userspace::lifecycle::Stop::Gracefully);
        while tokio::net::TcpStream::connect(site.http).await.is_ok() {
            tokio::task::yield_now().await;
        }
        open.send(()).expect("the upstream waits");
        let response = answer.await.expect("no panic").expect("an answer");
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(body, "ok");
        // Without GOAWAY this would only end with the site, and not in an orderly way.
        connection.await.expect("no panic").expect("an orderly end");
        assert!(sender.ready().await.is_err());
        tokio::task::spawn_blocking(move || assert!(site.wait())).await.expect("no panic");
    });
}

#[test]
fn answers_of_our_own_to_head_have_a_length_and_no_body() {
    let site = Site::start(&[]);
    run(async {
        let stream = tokio::net::TcpStream::connect(site.http).await.expect("it listens");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("a handshake");
        tokio::spawn(connection);
        let request = http::Request::head("http://a.example.com/").body(Full::new(Bytes::new()));
        let request = request.expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), 404);
        assert_ne!(response.headers()["content-length"], "0");
        let body = response.into_body().collect().await.expect("an orderly end").to_bytes();
        assert!(body.is_empty(), "{body:?}");
    });
}

#[test]
fn an_authority_and_a_host_that_differ_are_refused() {
    let shop = Backend::echo("shop");
    let site = Site::start(&[(
        "all.yaml",
        &documents(&[
            &Ingress {
                name: "shop",
                annotations: &[],
                host: "",
                paths: &[("Prefix", "/", "shop")],
                tls: None,
            }
            .yaml(),
            &service("shop", &[shop.address]),
        ]),
    )]);
    run(async {
        let stream = tokio::net::TcpStream::connect(site.http).await.expect("it listens");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("a handshake");
        tokio::spawn(connection);
        let request = http::Request::get("http://a.example.com/")
            .header("host", "b.example.com")
            .body(Full::new(Bytes::new()))
            .expect("a request");
        let error = sender.send_request(request).await.expect_err("a malformed request");
        let reset = std::error::Error::source(&error).expect("why").to_string();
        assert!(reset.contains("unspecific protocol error"), "{reset}");
    });
    assert_eq!(shop.connections(), 0);
}

#[test]
fn a_stream_that_its_client_does_not_read_is_reset() {
    let (cut, cuts) = std::sync::mpsc::channel();
    let cut = std::sync::Mutex::new(cut);
    let shop = Backend::scripted(move |mut stream, _| {
        let mut reader = std::io::BufReader::new(stream.try_clone().expect("a second handle"));
        let Some((head, _)) = crate::support::read_request(&mut reader) else { return };
        let length = if head.starts_with("GET /large ") { 64 << 20 } else { 2 };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        let _open = std::io::Write::write_all(&mut stream, head.as_bytes());
        if std::io::Write::write_all(&mut stream, &vec![b'x'; length]).is_err() {
            cut.lock().expect("no panic").send(()).expect("the test waits");
        }
    });
    let rules =
        documents(&[&ingress("shop.example.com", "shop"), &service("shop", &[shop.address])]);
    let site = Site::start_with(&[("all.yaml", &rules)], &[], |config| {
        config.timeouts.send = std::time::Duration::from_millis(300);
    });
    run(async {
        let stream = tokio::net::TcpStream::connect(site.http).await.expect("it listens");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("a handshake");
        tokio::spawn(connection);
        let request = |path| {
            let request = http::Request::get(format!("http://shop.example.com{path}"));
            request.body(Full::new(Bytes::new())).expect("a request")
        };
        let unread = sender.send_request(request("/large")).await.expect("an answer");
        assert_eq!(unread.status(), 200);
        tokio::task::spawn_blocking(move || cuts.recv_timeout(crate::support::DEADLINE / 2))
            .await
            .expect("no panic")
            .expect("the upstream is let go");
        unread.into_body().collect().await.expect_err("it is not the whole");
        // The connection and its other streams go on.
        let answer = sender.send_request(request("/")).await.expect("an answer");
        assert_eq!(answer.into_body().collect().await.expect("a body").to_bytes(), "xx");
    });
}
