//! Connections to upstreams: against our own server, and against raw frames.

use std::{future::poll_fn, rc::Rc, time::Duration};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::{
    peer::{data, f, fields, headers, setting},
    server::{Server, run},
};
use crate::proxy::{
    http2::{
        Http2Client, Http2Upstream, Setup,
        frame::{self, Header, PREFACE, kind, setting},
        serve,
    },
    message::{BodyLength, Known, RequestHead, ResponseHead},
    sides::{Read, Upstream as _, UpstreamError},
};

fn request(method: &str, path: &str, body: BodyLength) -> RequestHead {
    let mut head = RequestHead { target: path.to_owned(), body, ..RequestHead::default() };
    head.method = method.parse().expect("it is a method");
    head.fields.push(b"Host", b"a.example");
    head
}

/// The status and the body.
async fn answer(
    stream: &mut Http2Upstream,
    setup: &Setup,
) -> Result<(u16, Vec<u8>), UpstreamError> {
    let mut head = ResponseHead::default();
    poll_fn(|cx| stream.poll_head(cx, &mut head)).await?;
    let mut body = Vec::new();
    let mut buffer = setup.buffers.take();
    while poll_fn(|cx| stream.poll_body(cx, &mut buffer)).await? == Read::Data {
        body.extend_from_slice(buffer.filled());
        buffer.consume(buffer.len());
    }
    Ok((head.status, body))
}

#[test]
fn requests_share_a_connection() {
    run(async {
        let (near, far) = tokio::io::duplex(10_000);
        let server = Server::new(Setup::for_tests());
        tokio::task::spawn_local(serve(far, None, Rc::clone(&server)));
        let setup = Setup::for_tests();
        let (client, connection) = Http2Client::new(near, &setup, false);
        tokio::task::spawn_local(connection);
        let mut streams = Vec::new();
        for number in 0..20 {
            let mut stream = client.stream().expect("there is room");
            let path = format!("/bytes/{}", number * 10_000);
            stream.start(&request("GET", &path, BodyLength::None));
            streams.push(stream);
        }
        for (number, stream) in streams.iter_mut().enumerate() {
            let (status, body) = answer(stream, &setup).await.expect("it is answered");
            assert_eq!((status, body.len()), (200, number * 10_000));
        }
        drop(streams);
        let mut stream = client.stream().expect("there is room");
        stream.start(&request("POST", "/echo", BodyLength::Exact(5)));
        let wrote = poll_fn(|cx| stream.poll_write(cx, b"hello")).await;
        assert_eq!(wrote, Ok(5));
        let mut trailers = crate::proxy::message::Fields::default();
        trailers.push(b"Grpc-Status", b"0");
        stream.finish(Some(&trailers));
        assert_eq!(answer(&mut stream, &setup).await, Ok((200, b"hello".to_vec())));
        let trailers = stream.trailers().expect("they are echoed");
        assert_eq!(trailers.get(Known::GrpcStatus), Some(&b"0"[..]));
    });
}

/// An upstream that is scripted frame by frame.
struct Upstream {
    stream: DuplexStream,
    client: Http2Client,
    setup: Rc<Setup>,
    start: std::time::Instant,
}

impl Upstream {
    async fn new() -> Self {
        let start = std::time::Instant::now();
        let (near, stream) = tokio::io::duplex(1 << 16);
        let setup = Setup::for_tests();
        let (client, connection) = Http2Client::new(near, &setup, true);
        tokio::task::spawn_local(connection);
        let mut upstream = Self { stream, client, setup, start };
        let mut preface = [0; PREFACE.len()];
        upstream.stream.read_exact(&mut preface).await.expect("it comes");
        assert_eq!(&preface, PREFACE);
        assert_eq!(upstream.next().await.kind, kind::SETTINGS);
        assert_eq!(upstream.next().await.kind, kind::WINDOW_UPDATE);
        upstream.send(&f(kind::SETTINGS, 0, 0, &[])).await;
        assert_eq!(upstream.next().await.kind, kind::SETTINGS);
        upstream
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the connection is open");
    }

    /// The next frame, without its payload.
    async fn next(&mut self) -> Header {
        let mut header = [0; frame::HEADER];
        self.stream.read_exact(&mut header).await.expect("the connection is open");
        let header = Header::parse(&header).expect("it is whole");
        let mut payload = vec![0; header.length];
        self.stream.read_exact(&mut payload).await.expect("the connection is open");
        header
    }

    fn get(&self) -> Http2Upstream {
        let mut stream = self.client.stream().expect("there is room");
        stream.start(&request("GET", "/", BodyLength::None));
        stream
    }
}

#[test]
fn a_goaway_refuses_what_is_above_it_and_ends_when_the_rest_is_answered() {
    run(async {
        let mut upstream = Upstream::new().await;
        let (mut one, mut three) = (upstream.get(), upstream.get());
        upstream.send(&f(kind::GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])).await;
        let outcome = answer(&mut three, &upstream.setup).await;
        assert_eq!(outcome, Err(UpstreamError::Refused));
        assert!(upstream.client.stream().is_none());
        assert!(upstream.client.is_over());
        upstream.send(&headers(1, false, &fields(&[(":status", "200")]))).await;
        upstream.send(&data(1, true, b"x")).await;
        assert_eq!(answer(&mut one, &upstream.setup).await, Ok((200, b"x".to_vec())));
        drop((one, three));
        let mut rest = Vec::new();
        upstream.stream.read_to_end(&mut rest).await.expect("it closes");
    });
}

#[test]
fn streams_end_as_the_upstream_ends_them() {
    run(async {
        let mut upstream = Upstream::new().await;
        for (id, code, expected) in [(1, 7, UpstreamError::Refused), (3, 2, UpstreamError::Closed)]
        {
            let mut stream = upstream.get();
            assert_eq!(upstream.next().await.stream, id);
            upstream.send(&f(kind::RST_STREAM, 0, id, &[0, 0, 0, code])).await;
            assert_eq!(answer(&mut stream, &upstream.setup).await, Err(expected));
        }
        let mut stream = upstream.get();
        upstream.send(&headers(5, true, &fields(&[(":status", "2")]))).await;
        assert_eq!(answer(&mut stream, &upstream.setup).await, Err(UpstreamError::Malformed));
        let mut stream = upstream.get();
        let Upstream { stream: transport, setup, client, .. } = upstream;
        drop(transport);
        assert_eq!(answer(&mut stream, &setup).await, Err(UpstreamError::Closed));
        assert!(client.is_over());
    });
}

#[test]
fn an_answer_before_the_end_of_the_request_is_whole() {
    run(async {
        let mut upstream = Upstream::new().await;
        let mut stream = upstream.client.stream().expect("there is room");
        stream.start(&request("POST", "/", BodyLength::Unknown));
        upstream.send(&headers(1, false, &fields(&[(":status", "413")]))).await;
        upstream.send(&data(1, true, b"large")).await;
        upstream.send(&f(kind::RST_STREAM, 0, 1, &[0; 4])).await;
        assert_eq!(answer(&mut stream, &upstream.setup).await, Ok((413, b"large".to_vec())));
        assert_eq!(poll_fn(|cx| stream.poll_write(cx, b"more")).await, Ok(4));
    });
}

#[test]
fn the_upstream_says_how_many_streams_there_are() {
    run(async {
        let mut upstream = Upstream::new().await;
        upstream.send(&setting(setting::MAX_CONCURRENT_STREAMS, 2)).await;
        assert_eq!(upstream.next().await.kind, kind::SETTINGS);
        let one = upstream.get();
        let reserved = upstream.client.stream();
        assert!(upstream.client.stream().is_none());
        drop(reserved);
        assert!(upstream.client.stream().is_some());
        drop(one);
        let _two = (upstream.get(), upstream.get());
        assert!(upstream.client.stream().is_none());
    });
}

#[test]
fn interim_answers_come_before_the_answer() {
    run(async {
        let mut upstream = Upstream::new().await;
        let mut stream = upstream.get();
        upstream.send(&headers(1, false, &fields(&[(":status", "103")]))).await;
        upstream.send(&headers(1, true, &fields(&[(":status", "204")]))).await;
        for status in [103, 204] {
            let mut head = ResponseHead::default();
            assert_eq!(poll_fn(|cx| stream.poll_head(cx, &mut head)).await, Ok(()));
            assert_eq!(head.status, status);
        }
    });
}

#[test]
fn an_upstream_that_does_not_answer_is_late_and_the_stream_is_cancelled() {
    run(async {
        let mut upstream = Upstream::new().await;
        let mut stream = upstream.get();
        assert_eq!(upstream.next().await.kind, kind::HEADERS);
        let mut head = ResponseHead::default();
        assert!(futures_util::poll!(poll_fn(|cx| stream.poll_head(cx, &mut head))).is_pending());
        upstream.setup.deadlines.tick(upstream.start + Duration::from_secs(6));
        let outcome = poll_fn(|cx| stream.poll_head(cx, &mut head)).await;
        assert_eq!(outcome, Err(UpstreamError::Late));
        drop(stream);
        let reset = upstream.next().await;
        assert_eq!((reset.kind, reset.stream), (kind::RST_STREAM, 1));
    });
}

#[test]
fn an_idle_connection_is_closed() {
    run(async {
        let mut upstream = Upstream::new().await;
        tokio::task::yield_now().await;
        upstream.setup.deadlines.tick(upstream.start + Duration::from_secs(9));
        assert_eq!(upstream.next().await.kind, kind::GOAWAY);
        assert_eq!(upstream.stream.read(&mut [0]).await.ok(), Some(0));
    });
}
