//! The upstream's side: one HTTP/1.1 connection to an endpoint, with one request at a time. Closed
//! when dropped, which is how a client that leaves takes its upstream request along.

use std::{
    io,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use super::{
    decode::Decoder,
    encode::Encoder,
    inbound::{Broken, Inbound},
    outbound::Outbound,
    parse,
};
use crate::{
    model::{HttpVersion, Proxying},
    proxy::{
        buffer::{Buffer, Buffers},
        deadline::Deadline,
        message::{Fields, Known, RequestHead, ResponseHead},
        sides::{Read, Upstream, UpstreamError},
        stream::Stream,
    },
};

/// How long an endpoint may take (`proxy-send-timeout`, `proxy-read-timeout`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Between two writes that make progress.
    pub(crate) send: Duration,
    /// Between two reads that make progress.
    pub(crate) read: Duration,
}

impl Patience {
    /// What the route says.
    pub(crate) fn of(proxying: &Proxying) -> Self {
        Self { send: proxying.send_timeout, read: proxying.read_timeout }
    }
}

/// A connection to an endpoint.
pub(crate) struct Http1Upstream {
    stream: Stream,
    inbound: Inbound,
    outbound: Outbound,
    deadline: Deadline,
    patience: Patience,
    /// What requests say that they are.
    version: HttpVersion,
    /// What the deadline runs for.
    waiting: Waiting,
    /// The request is HEAD: its answer has no body.
    to_head: bool,
    /// The request has been written to its end.
    sent: bool,
    /// The answer's head has come: it is the endpoint's turn from now on.
    answered: bool,
    /// That head says that another request may follow.
    keep_alive: bool,
    /// It carries a tunnel: the end of what is sent is told to the other side.
    tunnel: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    No,
    Send,
    Read,
    Both,
}

impl Http1Upstream {
    /// Over a transport that is connected.
    pub(crate) fn new(stream: Stream, buffers: &Buffers, deadline: Deadline) -> Self {
        let never = Duration::from_secs(60);
        Self {
            stream,
            inbound: Inbound::new(buffers, None),
            outbound: Outbound::new(buffers),
            deadline,
            patience: Patience { send: never, read: never },
            version: HttpVersion::Http11,
            waiting: Waiting::No,
            to_head: false,
            sent: false,
            answered: false,
            keep_alive: false,
            tunnel: false,
        }
    }

    /// How long the endpoint may take from now on, and what it is asked with. The length of a body
    /// to HTTP/1.0 must be known.
    pub(crate) fn obey(&mut self, patience: Patience, version: HttpVersion) {
        self.patience = patience;
        self.version = version;
    }

    /// The answer has ended, nothing came behind it, and the endpoint will take another request.
    pub(crate) fn is_reusable(&self) -> bool {
        self.keep_alive
            && self.sent
            && !self.tunnel
            && self.inbound.is_ended()
            && self.inbound.pending().is_empty()
            && self.outbound.is_flushed()
    }

    /// It is given back: waits for nothing.
    pub(crate) fn rest(&mut self) {
        self.waiting = Waiting::No;
        self.deadline.clear();
    }

    /// The endpoint has closed it, or said something that nobody asked for. Costs no system call
    /// where nothing arrived.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        let mut context = Context::from_waker(Waker::noop());
        self.stream.poll_read_slice(&mut context, &mut byte).is_ready()
    }

    /// Late, if the deadline for this has passed.
    fn wait(&mut self, cx: &Context<'_>, waiting: Waiting) -> Poll<UpstreamError> {
        let patience = match waiting {
            Waiting::Read => self.patience.read,
            _ => self.patience.send,
        };
        match self.waiting {
            Waiting::No => {
                self.waiting = waiting;
                self.deadline.set(patience);
            }
            // Both directions stall: whichever is late first, and neither begins anew when it is
            // the other's turn to be polled.
            own if own != waiting && own != Waiting::Both => {
                self.waiting = Waiting::Both;
                self.deadline.shorten(patience);
            }
            _ => {}
        }
        ready!(self.deadline.poll(cx));
        // The other direction may be carried on with, and has time of its own.
        self.rest();
        Poll::Ready(UpstreamError::Late)
    }

    fn wrote<T>(
        &mut self,
        cx: &Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<Result<T, UpstreamError>> {
        match outcome {
            Poll::Ready(Ok(done)) => {
                self.moved();
                Poll::Ready(Ok(done))
            }
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "cannot send to the upstream");
                Poll::Ready(Err(UpstreamError::Closed))
            }
            Poll::Pending => self.wait(cx, Waiting::Send).map(Err),
        }
    }

    /// Nothing came. While the request is still being sent and no head has come, it is not the
    /// endpoint's turn.
    fn read_nothing(&mut self, cx: &Context<'_>) -> Poll<UpstreamError> {
        if (self.sent || self.answered) && !self.tunnel {
            self.wait(cx, Waiting::Read)
        } else {
            Poll::Pending
        }
    }

    /// Bytes went one way or the other: what was waited for is waited for anew.
    fn moved(&mut self) {
        if self.waiting != Waiting::No {
            self.rest();
        }
    }
}

impl Upstream for Http1Upstream {
    fn start(&mut self, head: &RequestHead) {
        self.to_head = head.method == http::Method::HEAD;
        self.sent = false;
        self.answered = false;
        self.keep_alive = false;
        let queue = self.outbound.queue();
        queue.extend_from_slice(head.method.as_str().as_bytes());
        queue.push(b' ');
        queue.extend_from_slice(head.target.as_bytes());
        queue.extend_from_slice(match self.version {
            HttpVersion::Http11 => b" HTTP/1.1\r\n",
            HttpVersion::Http10 => b" HTTP/1.0\r\n",
        });
        head.fields.write(queue);
        if head.fields.contains(Known::Upgrade) {
            queue.extend_from_slice(b"Connection: upgrade\r\n");
        }
        let encoder = Encoder::announce(head.body, queue);
        queue.extend_from_slice(b"\r\n");
        self.outbound.begin(encoder);
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, UpstreamError>> {
        let outcome = self.outbound.poll_write(cx, &mut self.stream, data);
        self.wrote(cx, outcome)
    }

    fn finish(&mut self, _trailers: Option<&Fields>) {
        // Trailers of a request end here, as in nginx: an upstream that merges them into the head
        // would believe the client what only we may say.
        self.outbound.finish(None);
        self.sent = true;
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        if !self.outbound.is_flushed() {
            let outcome = self.outbound.poll_flush(cx, &mut self.stream);
            ready!(self.wrote(cx, outcome))?;
        }
        if self.tunnel && self.sent {
            let outcome = self.stream.poll_end(cx);
            return self.wrote(cx, outcome);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<(), UpstreamError>> {
        loop {
            match parse::response(self.inbound.pending(), head, self.to_head) {
                Ok(Some(parsed)) => {
                    self.inbound.consume(parsed.length);
                    self.keep_alive = parsed.keep_alive && self.version == HttpVersion::Http11;
                    self.answered = !head.is_interim();
                    self.moved();
                    let chunked = head.fields.contains(Known::TransferEncoding);
                    self.inbound.begin(Decoder::new(head.body, chunked));
                    if head.status == 101 {
                        self.tunnel = true;
                        self.inbound.begin(Decoder::UntilClose);
                        self.outbound.begin(Encoder::Raw);
                        self.sent = false;
                    }
                    return Poll::Ready(Ok(()));
                }
                Ok(None) if self.inbound.is_full() => {
                    return Poll::Ready(Err(UpstreamError::Malformed));
                }
                Ok(None) => {}
                Err(_bad) => return Poll::Ready(Err(UpstreamError::Malformed)),
            }
            match self.inbound.poll_fill(cx, &mut self.stream) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(UpstreamError::Closed)),
                Poll::Pending => return self.read_nothing(cx).map(Err),
            }
        }
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Buffer,
    ) -> Poll<Result<Read, UpstreamError>> {
        match self.inbound.poll_body(cx, &mut self.stream, into) {
            Poll::Ready(Ok(read)) => {
                self.moved();
                Poll::Ready(Ok(read))
            }
            Poll::Ready(Err(Broken::Closed)) => Poll::Ready(Err(UpstreamError::Closed)),
            Poll::Ready(Err(Broken::Malformed)) => Poll::Ready(Err(UpstreamError::Malformed)),
            Poll::Pending => self.read_nothing(cx).map(Err),
        }
    }

    fn trailers(&self) -> Option<&Fields> {
        self.inbound.trailers()
    }
}
