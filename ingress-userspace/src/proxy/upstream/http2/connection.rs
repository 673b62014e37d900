//! One HTTP/2 connection to an endpoint.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::ConnectError;
use crate::{
    model::UpstreamPool,
    proxy::{
        deadline::Deadlines,
        upstream::tls::{self, ClientTls, Inside},
    },
};

/// How much of an answer's body may be on its way or here before its client takes it. Bytes. This
/// bounds what a slow client costs.
pub(super) const WINDOW: u32 = 64 * 1024;
/// The same for all streams of a connection: no limit of its own, so that slow clients do not hold
/// up the others of the same connection.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// How much of a request's body may wait here for the transport. Bytes.
const SEND_BUFFER: usize = 64 * 1024;
/// The largest head of an answer. Bytes, as HPACK counts them.
const HEAD: u32 = 64 * 1024;

/// A connection that streams share.
pub(super) struct Connection {
    sender: RefCell<SendRequest<Bytes>>,
    deadlines: Rc<Deadlines>,
    streams: Cell<usize>,
    requests: Cell<u32>,
    /// When it was opened, and when its last stream ended. Worker's milliseconds.
    opened: u64,
    idle_since: Cell<u64>,
    /// A request waited in vain: it may have been cut off without a word.
    suspect: Cell<bool>,
}

/// Connects, and waits until the endpoint has said how many streams it allows. The caller limits
/// the time.
pub(super) async fn establish(
    address: SocketAddr,
    tls: Option<&ClientTls>,
    deadlines: &Rc<Deadlines>,
) -> Result<Rc<Connection>, ConnectError> {
    let io = |error| ConnectError::Io(Arc::new(error));
    let stream = TcpStream::connect(address).await.map_err(io)?;
    stream.set_nodelay(true).map_err(io)?;
    let ip: IpAddr = address.ip();
    let sender = match tls {
        Some(tls) => handshake(tls::connect(stream, tls, ip, Inside::Http2).await?).await,
        None => handshake(stream).await,
    };
    let sender = sender.map_err(|error| match error {
        Some(error) => ConnectError::Protocol(Arc::new(error)),
        None => ConnectError::Closed,
    })?;
    let now = deadlines.now();
    Ok(Rc::new(Connection {
        sender: RefCell::new(sender),
        deadlines: Rc::clone(deadlines),
        streams: Cell::new(0),
        requests: Cell::new(0),
        opened: now,
        idle_since: Cell::new(now),
        suspect: Cell::new(false),
    }))
}

/// The error is `None` if the endpoint closes without one.
async fn handshake<T>(io: T) -> Result<SendRequest<Bytes>, Option<h2::Error>>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, mut connection) = h2::client::Builder::new()
        .enable_push(false)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD)
        .max_send_buffer_size(SEND_BUFFER)
        // Until the endpoint's settings are there, which say the limit. Without this, streams above
        // it would be queued on this connection instead of going to another.
        .initial_max_send_streams(0)
        .handshake(io)
        .await?;
    poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Err(None)),
        Poll::Ready(Err(error)) => Poll::Ready(Err(Some(error))),
        Poll::Pending if sender.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await?;
    tokio::task::spawn_local(async move {
        // The streams see the same error.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an HTTP/2 connection to an endpoint ended");
        }
    });
    Ok(sender)
}

impl Connection {
    /// The endpoint has neither closed it nor told it to go away.
    pub(super) fn is_alive(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        matches!(self.sender.borrow_mut().poll_ready(&mut cx), Poll::Ready(Ok(())))
    }

    /// It takes streams, now or when others have ended.
    pub(super) fn is_open(&self, now: u64, limits: &UpstreamPool) -> bool {
        !self.suspect.get()
            && self.requests.get() < limits.requests
            && u128::from(now - self.opened) < limits.time.as_millis()
            && self.is_alive()
    }

    /// One stream more is within what the endpoint allows.
    pub(super) fn has_room(&self) -> bool {
        self.streams.get() < self.sender.borrow().current_max_send_streams()
    }

    /// It has no stream.
    pub(super) fn is_idle(&self) -> bool {
        self.streams.get() == 0
    }

    /// It has had no stream for so long.
    pub(super) fn idled(&self, now: u64, timeout: Duration) -> bool {
        self.is_idle() && u128::from(now - self.idle_since.get()) > timeout.as_millis()
    }

    /// A stream takes one of its places.
    pub(super) fn enter(&self) {
        self.streams.set(self.streams.get() + 1);
        self.requests.set(self.requests.get().saturating_add(1));
    }

    /// A stream gives its place back.
    pub(super) fn leave(&self) {
        self.streams.set(self.streams.get().saturating_sub(1));
        self.idle_since.set(self.deadlines.now());
    }

    /// It gets no more streams.
    pub(super) fn suspect(&self) {
        self.suspect.set(true);
    }

    /// How many requests it has had.
    pub(super) fn requests(&self) -> u32 {
        self.requests.get()
    }

    /// What sends one request. A clone of its own: one that has a request waiting takes no other.
    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.sender.borrow().clone()
    }
}
