//! One connection to an endpoint: sends a request, waits for the head of its answer, is lent to the
//! answer's body, and goes back to the pool. Dropping it anywhere on that way closes it, which is
//! how a client that leaves takes its upstream request along.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::oneshot};

use super::pool::Pool;
use crate::proxy::{body::RequestBody, deadline::Deadline};

/// The largest head of an answer.
const HEAD: usize = 64 * 1024;
/// The largest chunk of a body that is read at once.
const CHUNK: usize = 64 * 1024;

/// What is left of a connection after an upgrade: the transport and what was read from it already.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    pub(crate) read: Bytes,
}

/// One HTTP/1.1 connection to an endpoint, with one request at a time. Closed when dropped.
pub(crate) struct Connection {
    sender: http1::SendRequest<RequestBody>,
    pub(super) address: SocketAddr,
    /// When it was opened and when it was last given back, in the worker's milliseconds.
    pub(super) opened: u64,
    pub(super) idle_since: u64,
    /// Requests sent so far.
    pub(super) requests: u32,
    deadline: Deadline,
    raw: Rc<Cell<Option<oneshot::Sender<Raw>>>>,
    pool: Pool,
}

/// Why a request got no answer on a connection.
pub(crate) enum Broken {
    /// Not a byte of it was sent.
    Unsent(Box<Request<RequestBody>>),
    /// It was sent, in part or as a whole, and the connection ended.
    Lost(hyper::Error),
    /// The answer was none.
    Garbled(hyper::Error),
    /// Nothing came for too long.
    Late,
    /// The client did not send the body that it announced.
    Starved,
}

impl Connection {
    /// Connects; the caller limits the time.
    pub(super) async fn open(address: SocketAddr, pool: &Pool) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, mut connection) = http1::Builder::new()
            .max_header_size(HEAD)
            .max_buf_size(CHUNK)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let raw: Rc<Cell<Option<oneshot::Sender<Raw>>>> = Rc::default();
        let wants_raw = Rc::clone(&raw);
        tokio::task::spawn_local(async move {
            // The request sees the same error; nobody else asks.
            let outcome = Pin::new(&mut connection).await;
            if let (Ok(()), Some(receiver)) = (outcome, wants_raw.take()) {
                let parts = connection.into_parts();
                let stream = parts.io.into_inner();
                let _gone = receiver.send(Raw { stream, read: parts.read_buf });
            }
        });
        let now = pool.now();
        Ok(Self {
            sender,
            address,
            opened: now,
            idle_since: now,
            requests: 0,
            deadline: pool.deadline(),
            raw,
            pool: pool.clone(),
        })
    }

    /// Sends a request and waits for the head of its answer. `body` is the request's.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
        body: &RequestBody,
    ) -> Result<Response<Incoming>, Broken> {
        self.requests += 1;
        let mut answer = pin!(self.sender.try_send_request(request));
        self.deadline.set(self.pool.timeouts().read);
        let outcome = poll_fn(|cx| {
            if let Poll::Ready(outcome) = answer.as_mut().poll(cx) {
                return Poll::Ready(Ok(outcome));
            }
            while self.deadline.poll(cx).is_ready() {
                // A long upload is not late as long as it moves.
                let progress = body.progress();
                if !progress.moved {
                    let starved = progress.starved;
                    return Poll::Ready(Err(if starved { Broken::Starved } else { Broken::Late }));
                }
                self.deadline.set(self.pool.timeouts().read);
            }
            Poll::Pending
        })
        .await?;
        self.deadline.clear();
        outcome.map_err(|mut error| match error.take_message() {
            Some(request) => Broken::Unsent(Box::new(request)),
            None => match error.into_error() {
                error if error.is_parse() => Broken::Garbled(error),
                error => Broken::Lost(error),
            },
        })
    }

    /// After an answer of 101: the transport, once hyper lets go of it.
    pub(super) fn expect_raw(&self) -> oneshot::Receiver<Raw> {
        let (sender, receiver) = oneshot::channel();
        self.raw.set(Some(sender));
        receiver
    }

    /// The endpoint has closed it, as far as is known.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// From now on it is late when nothing is read for the read timeout.
    pub(crate) fn expect_read(&self) {
        self.deadline.set(self.pool.timeouts().read);
    }

    /// Ready when it is late.
    pub(crate) fn poll_late(&self, cx: &Context<'_>) -> Poll<()> {
        self.deadline.poll(cx)
    }

    /// Keeps it for another request, if it can take one.
    pub(crate) fn give_back(self) {
        self.deadline.clear();
        if self.sender.is_ready() {
            let pool = self.pool.clone();
            pool.put(self);
        }
    }
}
