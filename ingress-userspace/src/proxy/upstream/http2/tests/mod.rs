//! Against an HTTP/2 server of the test's own, or raw frames where none would do what is tested.

mod connections;
mod failures;
mod raw;
mod streams;

use std::{
    cell::Cell,
    future::poll_fn,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{
    RecvStream,
    server::{self, SendResponse},
};
use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream};

use super::{ConnectError, Http2Pool, Http2Stream};
use crate::{
    model::{Protocol, Proxying, UpstreamPool},
    proxy::{
        buffer::Buffers,
        deadline::Deadlines,
        message::{BodyLength, Fields, Known, RequestHead, ResponseHead},
        sides::{Read, Upstream, UpstreamError},
    },
};

/// Runs a test on one thread, as a worker would.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let test = async { tokio::time::timeout(Duration::from_secs(30), test).await };
    tokio::task::LocalSet::new().block_on(&runtime, test).expect("it ends in time");
}

/// A worker's pool, and a clock that the test moves.
struct Bench {
    pool: Http2Pool,
    deadlines: Rc<Deadlines>,
    start: Instant,
    proxying: Proxying,
    limits: UpstreamPool,
}

impl Bench {
    fn new() -> Self {
        let start = Instant::now();
        let deadlines = Deadlines::new(start);
        let pool = Http2Pool::new(Rc::clone(&deadlines), Rc::default());
        let proxying = Proxying { protocol: Protocol::Grpc, ..Proxying::default() };
        Self { pool, deadlines, start, proxying, limits: UpstreamPool::default() }
    }

    async fn open(&self, address: SocketAddr) -> Result<Http2Stream, ConnectError> {
        self.pool.open(address, &self.proxying, &self.limits).await
    }

    /// A stream on which this was asked for.
    async fn ask(&self, address: SocketAddr, target: &str, body: BodyLength) -> Http2Stream {
        let mut stream = self.open(address).await.expect("it listens");
        stream.start(&request(target, body));
        stream
    }

    /// The whole answer to a request without a body.
    async fn get(&self, address: SocketAddr, target: &str) -> Result<Vec<u8>, UpstreamError> {
        let mut stream = self.ask(address, target, BodyLength::None).await;
        head(&mut stream).await?;
        read(&mut stream).await
    }

    fn pass(&self, seconds: u64) {
        self.deadlines.tick(self.start + Duration::from_secs(seconds));
    }
}

fn request(target: &str, body: BodyLength) -> RequestHead {
    let method = if body == BodyLength::None { http::Method::GET } else { http::Method::POST };
    let mut head =
        RequestHead { method, target: target.to_owned(), body, ..RequestHead::default() };
    head.fields.push(b"Host", b"a.example");
    head
}

async fn head(stream: &mut Http2Stream) -> Result<ResponseHead, UpstreamError> {
    let mut head = ResponseHead::default();
    poll_fn(|cx| stream.poll_head(cx, &mut head)).await?;
    Ok(head)
}

async fn write(stream: &mut Http2Stream, mut data: &[u8]) -> Result<(), UpstreamError> {
    while !data.is_empty() {
        let length = poll_fn(|cx| stream.poll_write(cx, data)).await?;
        data = &data[length..];
    }
    poll_fn(|cx| stream.poll_flush(cx)).await
}

/// One part of the answer's body; `None` at its end.
async fn part(stream: &mut Http2Stream) -> Result<Option<Vec<u8>>, UpstreamError> {
    let mut buffer = Buffers::default().take();
    match poll_fn(|cx| stream.poll_body(cx, &mut buffer)).await? {
        Read::Data => Ok(Some(buffer.filled().to_vec())),
        Read::End => Ok(None),
    }
}

async fn read(stream: &mut Http2Stream) -> Result<Vec<u8>, UpstreamError> {
    let mut all = Vec::new();
    while let Some(part) = part(stream).await? {
        all.extend(part);
    }
    Ok(all)
}

type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// What a server counts.
#[derive(Default)]
struct Counts {
    connections: Cell<usize>,
    /// Requests that are being answered, and the most there were on one connection.
    most: Cell<usize>,
}

/// A server whose connections are configured so, and each of whose requests is answered so.
async fn server<F: Future<Output = ()> + 'static>(
    configure: impl Fn(&mut server::Builder) + 'static,
    answer: impl Fn(Asked) -> F + 'static,
) -> (SocketAddr, Rc<Counts>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let counts = Rc::new(Counts::default());
    let shared = Rc::clone(&counts);
    let answer = Rc::new(answer);
    tokio::task::spawn_local(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            stream.set_nodelay(true).expect("it is there");
            shared.connections.set(shared.connections.get() + 1);
            let mut builder = server::Builder::new();
            configure(&mut builder);
            tokio::task::spawn_local(serve(
                stream,
                builder,
                Rc::clone(&answer),
                Rc::clone(&shared),
            ));
        }
    });
    (address, counts)
}

async fn serve<T, F: Future<Output = ()> + 'static>(
    stream: T,
    builder: server::Builder,
    answer: Rc<impl Fn(Asked) -> F + 'static>,
    counts: Rc<Counts>,
) where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let Ok(mut connection) = builder.handshake::<T, Bytes>(stream).await else { return };
    let running = Rc::new(Cell::new(0));
    while let Some(Ok(asked)) = connection.accept().await {
        if asked.0.uri().path() == "/goaway" {
            connection.graceful_shutdown();
        }
        running.set(running.get() + 1);
        counts.most.set(counts.most.get().max(running.get()));
        let answering = answer(asked);
        let running = Rc::clone(&running);
        tokio::task::spawn_local(async move {
            answering.await;
            running.set(running.get() - 1);
        });
    }
}

/// Sends everything as the windows allow.
async fn send(stream: &mut h2::SendStream<Bytes>, mut data: Bytes, sent: &Cell<usize>) -> bool {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        if stream.capacity() == 0 {
            match poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(Ok(_)) => continue,
                _ => return false,
            }
        }
        let length = stream.capacity().min(data.len());
        if stream.send_data(data.split_to(length), false).is_err() {
            return false;
        }
        sent.set(sent.get() + length);
    }
    true
}

/// Answers `ok` at once.
async fn ok((_, mut respond): Asked) {
    if let Ok(mut body) = respond.send_response(Response::new(()), false) {
        let _gone = body.send_data(Bytes::from_static(b"ok"), true);
    }
}

fn plain(_: &mut server::Builder) {}
