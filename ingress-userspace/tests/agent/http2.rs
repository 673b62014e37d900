//! HTTP/2 by ALPN and by prior knowledge.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::{Backend, Ingress, Site, documents, ingress, service};

fn run<T>(future: impl Future<Output = T>) -> T {
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
            assert!(text.contains(&format!("\nPOST /{number} HTTP/1.1\n")), "{text}");
            assert!(text.contains("\nhost: shop.example.com\n"), "{text}");
            assert!(text.contains("\ncookie: a=1; b=2\n"), "{text}");
            assert!(text.contains("\nbody-length: 100000\n"), "{text}");
        }
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
        assert_eq!(sender.send_request(request).await.expect("an answer").status(), 400);
    });
    assert_eq!(shop.connections(), 0);
}
