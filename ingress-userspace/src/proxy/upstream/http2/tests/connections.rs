use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    raw::{frame, goaway, listener},
    *,
};
use crate::{model::UpstreamTls, proxy::upstream::tls::TlsFailure};

#[test]
fn requests_share_a_connection() {
    run(async {
        let (address, counts) = server(plain, ok).await;
        let bench = Bench::new();
        // At the same time, before there is one, and afterwards.
        let (one, two, three) =
            tokio::join!(bench.get(address, "/"), bench.get(address, "/"), bench.get(address, "/"));
        assert!([one, two, three].iter().all(|answer| answer.as_deref() == Ok(b"ok")));
        bench.get(address, "/").await.expect("an answer");
        assert_eq!(counts.connections.get(), 1);
    });
}

#[test]
fn no_connection_has_more_streams_than_its_endpoint_allows() {
    run(async {
        let go = Rc::new(tokio::sync::Semaphore::new(0));
        let wait = Rc::clone(&go);
        let (address, counts) = server(
            |builder| {
                builder.max_concurrent_streams(2);
            },
            move |asked| {
                let wait = Rc::clone(&wait);
                async move {
                    wait.acquire().await.expect("it is open").forget();
                    ok(asked).await;
                }
            },
        )
        .await;
        let bench = Bench::new();
        let open = || bench.ask(address, "/", BodyLength::None);
        let (mut a, mut b, mut c, mut d, mut e) =
            tokio::join!(open(), open(), open(), open(), open());
        go.add_permits(5);
        for stream in [&mut a, &mut b, &mut c, &mut d, &mut e] {
            head(stream).await.expect("an answer");
            assert_eq!(read(stream).await.expect("whole"), b"ok");
        }
        assert_eq!((counts.connections.get(), counts.most.get()), (3, 2));
        drop((a, b, c, d, e));
        // A place that is free is used again.
        go.add_permits(1);
        bench.get(address, "/").await.expect("an answer");
        assert_eq!(counts.connections.get(), 3);
    });
}

#[test]
fn a_client_that_leaves_does_not_take_the_others_connection_along() {
    run(async {
        let (address, counts) = server(plain, ok).await;
        let bench = Bench::new();
        let mut first = Box::pin(bench.open(address));
        let polled = poll_fn(|cx| std::task::Poll::Ready(first.as_mut().poll(cx).is_pending()));
        assert!(polled.await);
        let second = bench.get(address, "/");
        drop(first);
        second.await.expect("an answer");
        assert_eq!(counts.connections.get(), 1);
    });
}

#[test]
fn a_connection_that_is_told_to_go_away_ends_what_it_has() {
    run(async {
        let (address, counts) = server(plain, ok).await;
        let bench = Bench::new();
        let mut old = bench.ask(address, "/goaway", BodyLength::None).await;
        assert_eq!(head(&mut old).await.expect("an answer").status, 200);
        // The server waits for the answer to its ping before it says the last stream.
        while counts.connections.get() == 1 {
            bench.get(address, "/").await.expect("an answer all the while");
        }
        assert_eq!(read(&mut old).await.expect("whole"), b"ok");
        assert_eq!(bench.pool.len(), 1, "the old one is not known any more");
    });
}

#[test]
fn limits_of_requests_time_and_idleness_end_connections() {
    run(async {
        let (address, counts) = server(plain, ok).await;
        let mut bench = Bench::new();
        bench.limits.requests = 2;
        for _ in 0..4 {
            bench.get(address, "/").await.expect("an answer");
        }
        assert_eq!(counts.connections.get(), 2);
        bench.limits = UpstreamPool { time: Duration::from_secs(100), ..UpstreamPool::default() };
        bench.pass(99);
        bench.get(address, "/").await.expect("an answer");
        assert_eq!(counts.connections.get(), 2);
        bench.pass(100);
        bench.get(address, "/").await.expect("an answer");
        assert_eq!(counts.connections.get(), 3);
        bench.pass(160);
        bench.pool.reap(&bench.limits);
        assert_eq!(bench.pool.len(), 1);
        bench.pass(161);
        bench.pool.reap(&bench.limits);
        assert_eq!(bench.pool.len(), 0);
    });
}

#[test]
fn a_connection_in_use_is_never_idle_and_idle_ones_are_limited() {
    run(async {
        let (address, _) = server(plain, ok).await;
        let (other, _) = server(plain, ok).await;
        let mut bench = Bench::new();
        let mut busy = bench.ask(address, "/", BodyLength::None).await;
        bench.get(other, "/").await.expect("an answer");
        bench.limits.connections = 0;
        bench.pass(1000);
        bench.pool.reap(&bench.limits);
        assert_eq!(bench.pool.len(), 1);
        assert_eq!(head(&mut busy).await.expect("an answer").status, 200);
        drop(busy);
        bench.pool.reap(&bench.limits);
        assert_eq!(bench.pool.len(), 0);
    });
}

#[test]
fn who_cannot_be_connected_to_is_said() {
    run(async {
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let http1 = listener(|mut stream| async move {
            let _sent = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _end = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let mute = listener(|mut stream| async move {
            let _end = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let leaving = listener(|mut stream| async move {
            let mut hello = frame(raw::SETTINGS, 0, 0, &[]);
            hello.extend(goaway(0, 0));
            let _sent = stream.write_all(&hello).await;
            let _end = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let mut bench = Bench::new();
        bench.proxying.connect_timeout = Duration::from_millis(300);
        let failure = async |address| bench.open(address).await.map(drop).expect_err("not so");
        assert!(matches!(failure(nobody).await, ConnectError::Io(_)));
        assert!(matches!(failure(http1).await, ConnectError::Protocol(_)));
        assert!(matches!(failure(mute).await, ConnectError::Late));
        assert!(matches!(failure(leaving).await, ConnectError::Closed));
        // Those who wait together fail together, and the next attempt is a new one.
        let (one, two) = tokio::join!(failure(nobody), failure(nobody));
        assert!(matches!((one, two), (ConnectError::Io(_), ConnectError::Io(_))));
        assert_eq!(bench.pool.len(), 0);
        assert!(bench.pool.0.opening.borrow().is_empty());
    });
}

/// A server behind TLS with a certificate of its own.
async fn secure() -> SocketAddr {
    let key = rcgen::KeyPair::generate().expect("randomness");
    let certificate = rcgen::CertificateParams::new(vec!["web".to_owned()])
        .and_then(|params| params.self_signed(&key))
        .expect("a plain name");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the defaults")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            key.serialize_der().try_into().expect("a key"),
        )
        .expect("a pair");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    listener(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            serve(stream, server::Builder::new(), Rc::new(ok), Rc::default()).await;
        }
    })
    .await
}

#[test]
fn connections_over_tls_are_kept_by_their_policy() {
    run(async {
        let address = secure().await;
        let mut bench = Bench::new();
        bench.proxying.protocol = Protocol::Grpcs;
        bench.proxying.tls = Some(Arc::default());
        for _ in 0..2 {
            assert_eq!(bench.get(address, "/").await.expect("an answer"), b"ok");
        }
        assert_eq!(bench.pool.len(), 1);
        bench.proxying.tls = Some(Arc::default());
        bench.get(address, "/").await.expect("an answer");
        assert_eq!(bench.pool.len(), 2, "another policy, another connection");
        let authorities = Arc::from([Vec::new()]);
        let verify = Some(crate::model::Verification { authorities, depth: 1 });
        bench.proxying.tls = Some(Arc::new(UpstreamTls { verify, ..UpstreamTls::default() }));
        let failure = bench.open(address).await.map(drop).expect_err("a broken policy");
        assert!(matches!(failure, ConnectError::Tls(TlsFailure::Policy(_))));
    });
}
