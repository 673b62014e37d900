//! A server that answers by itself, on any transport.

use std::{cell::Cell, future::poll_fn, rc::Rc, time::Instant};

use tokio::runtime::{Builder, LocalOptions};

use crate::proxy::{
    buffer::Buffers,
    deadline::{Deadlines, TICK},
    http2::{Environment, Http2Stream, Limits, Setup, serve, setup::Timeouts},
    message::{BodyLength, RequestHead, ResponseHead},
    sides::{ClientError, Downstream as _, Read},
};

/// What answers are made of.
static CHUNK: [u8; 16 * 1024] = [b'x'; 16 * 1024];

/// Answers requests by itself.
pub(super) struct Server {
    pub(super) setup: Rc<Setup>,
    pub(super) draining: Cell<bool>,
    /// How many requests are being answered.
    pub(super) busy: Cell<usize>,
    /// How many were told that their client has gone.
    pub(super) gone: Cell<usize>,
    /// How many, that it is late.
    pub(super) late: Cell<usize>,
}

impl Server {
    pub(super) fn new(setup: Rc<Setup>) -> Rc<Self> {
        let (draining, busy) = (Cell::new(false), Cell::new(0));
        Rc::new(Self { setup, draining, busy, gone: Cell::new(0), late: Cell::new(0) })
    }

    async fn respond(
        self: &Rc<Self>,
        head: &RequestHead,
        stream: &mut Http2Stream,
    ) -> Result<(), ClientError> {
        match head.path() {
            "/echo" => echo(&self.setup, head, stream).await,
            "/wait" => {
                poll_fn(|cx| stream.poll_gone(cx)).await;
                Err(ClientError::Gone)
            }
            "/drop" => Ok(()),
            "/break" => {
                start(stream, BodyLength::Unknown);
                write(stream, b"half").await?;
                stream.abort();
                Ok(())
            }
            path => {
                let length = path.strip_prefix("/bytes/").and_then(|text| text.parse().ok());
                let length: usize = length.unwrap_or(12);
                if head.body != BodyLength::None {
                    let mut buffer = self.setup.buffers.take();
                    while poll_fn(|cx| stream.poll_body(cx, &mut buffer)).await? == Read::Data {
                        buffer.consume(buffer.len());
                    }
                }
                start(stream, BodyLength::Exact(length as u64));
                let mut left = length;
                while left > 0 {
                    let piece = &CHUNK[..left.min(CHUNK.len())];
                    write(stream, piece).await?;
                    left -= piece.len();
                }
                stream.finish(None);
                Ok(())
            }
        }
    }
}

fn start(stream: &mut Http2Stream, body: BodyLength) {
    let mut head = ResponseHead { status: 200, body, ..ResponseHead::default() };
    head.fields.push(b"Content-Type", b"text/plain");
    head.fields.push(b"Date", b"Mon, 21 Oct 2013 20:13:21 GMT");
    head.fields.push(b"X-Own", b"1");
    stream.start(&head);
}

async fn write(stream: &mut Http2Stream, mut data: &[u8]) -> Result<(), ClientError> {
    while !data.is_empty() {
        let length = poll_fn(|cx| stream.poll_write(cx, data)).await?;
        data = &data[length..];
    }
    Ok(())
}

async fn echo(
    setup: &Setup,
    head: &RequestHead,
    stream: &mut Http2Stream,
) -> Result<(), ClientError> {
    stream.expect_body();
    let mut buffer = setup.buffers.take();
    start(stream, if head.body == BodyLength::None { head.body } else { BodyLength::Unknown });
    while poll_fn(|cx| stream.poll_body(cx, &mut buffer)).await? == Read::Data {
        write(stream, buffer.filled()).await?;
        buffer.consume(buffer.len());
    }
    let trailers = stream.trailers().cloned();
    stream.finish(trailers.as_ref());
    Ok(())
}

impl Environment for Server {
    fn setup(&self) -> &Rc<Setup> {
        &self.setup
    }

    fn draining(&self) -> bool {
        self.draining.get()
    }

    fn cut(&self) -> bool {
        false
    }

    fn refused(self: &Rc<Self>, status: u16) {
        // What becomes of it, the agent's tests look at.
        assert_eq!(status, 431);
    }

    fn answer(
        self: &Rc<Self>,
        head: Box<RequestHead>,
        mut stream: Http2Stream,
    ) -> impl Future<Output = ()> + 'static {
        let server = Rc::clone(self);
        server.busy.set(server.busy.get() + 1);
        async move {
            let outcome = server.respond(&head, &mut stream).await;
            match outcome {
                Err(ClientError::Gone) => server.gone.set(server.gone.get() + 1),
                Err(ClientError::Late) => server.late.set(server.late.get() + 1),
                _ => {}
            }
            server.busy.set(server.busy.get() - 1);
            server.setup.heads.give(head);
        }
    }
}

/// Runs on the thread of a worker.
pub(super) fn run<F: Future>(future: F) -> F::Output {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .expect("a runtime can be built");
    runtime.block_on(future)
}

/// For other clients: listens on loopback at `PENSTOCK_HTTP2_PORT` until it is killed.
#[test]
#[ignore = "a server for h2spec, h2load and the like"]
fn serves_on_loopback() {
    let port = std::env::var("PENSTOCK_HTTP2_PORT").ok().and_then(|port| port.parse().ok());
    let requests = std::env::var("PENSTOCK_HTTP2_REQUESTS").ok().and_then(|text| text.parse().ok());
    let second = std::time::Duration::from_secs(1);
    run(async {
        let timeouts = Timeouts {
            head: 60 * second,
            body: 60 * second,
            send: 60 * second,
            keep_alive: 75 * second,
        };
        let limits = Limits { requests: requests.unwrap_or(1000), ..Limits::default() };
        let deadlines = Deadlines::new(Instant::now());
        let setup = Setup::new(Buffers::default(), Rc::clone(&deadlines), timeouts, limits);
        let server = Server::new(setup);
        tokio::task::spawn_local(async move {
            let mut tick = tokio::time::interval(TICK);
            loop {
                tick.tick().await;
                deadlines.tick(Instant::now());
            }
        });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port.unwrap_or(0)))
            .await
            .expect("the port is free");
        println!("listening on {:?}", listener.local_addr());
        while let Ok((socket, _)) = listener.accept().await {
            socket.set_nodelay(true).expect("it is a TCP socket");
            tokio::task::spawn_local(serve(socket, None, Rc::clone(&server)));
        }
    });
}
