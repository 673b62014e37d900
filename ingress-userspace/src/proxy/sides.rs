//! The two sides of one request, whichever version of HTTP carries it: the client's, where the body
//! of the request comes from and the answer goes to, and the upstream's, the other way round.
//! `http1` and `http2` implement them; `exchange` drives them. Everything polls, so that one task
//! moves both directions and nothing is boxed.

use std::task::{Context, Poll};

use super::{
    buffer::Buffer,
    message::{Fields, RequestHead, ResponseHead},
};

/// How a read of a body went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// There is more in the buffer now, or it had no room.
    Data,
    /// The body has ended; trailers, if any, are there.
    End,
}

/// Why a client's request cannot be carried on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientError {
    /// It closed or reset, or does not read for too long: nothing can be answered.
    Gone,
    /// It sends nothing for too long in the middle of its body: 408 if nothing is answered yet.
    Late,
    /// The body breaks the rules of its framing: 400 if nothing is answered yet.
    Malformed,
    /// The body is larger than the route allows: 413 if nothing is answered yet.
    TooLarge,
}

/// What a request and its answer came to so far, on the client's connection. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) head_received: u32,
    /// Without framing.
    pub(crate) body_received: u64,
    pub(crate) head_sent: u32,
    /// Taken by the connection, without framing.
    pub(crate) body_sent: u64,
}

/// The client's side of one request.
pub(crate) trait Downstream {
    /// The request's head, as HTTP/1.1 would write it, is this long: for a side that does not know how
    /// long it was. To be told where somebody wants [`traffic`](Self::traffic) to have it. Bytes.
    fn head_is(&mut self, _length: u32) {}

    /// Moves some of the request's body to the end of `into`. A `Ready(End)` is repeated. Late when
    /// the client's body timeout passes without a byte.
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Buffer,
    ) -> Poll<Result<Read, ClientError>>;

    /// The trailers of the request, once its body has ended with some.
    fn trailers(&self) -> Option<&Fields>;

    /// The request's body is wanted: an HTTP/1.1 client that waits for `100 Continue` gets one.
    fn expect_body(&mut self);

    /// Queues an interim answer (1xx other than 101).
    fn interim(&mut self, head: &ResponseHead);

    /// Queues the head of the answer, and what `head.body` says is to follow by
    /// [`poll_write`](Self::poll_write). Adds what the connection itself needs (`Connection`, the
    /// framing), so `head` holds no field about the connection, but for `Upgrade` of a 101.
    fn start(&mut self, head: &ResponseHead);

    /// Takes some of the answer's body. May keep it queued until the next
    /// [`poll_flush`](Self::poll_flush). `Gone` when the client reads nothing for its timeout.
    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8])
    -> Poll<Result<usize, ClientError>>;

    /// The body has ended, as its head said it would.
    fn finish(&mut self, trailers: Option<&Fields>);

    /// Sends what is queued. Ready when the transport has taken it all.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>>;

    /// Ready when the client is known to have left, while nothing else is asked of it.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Ready when the client is known to have left, while nothing is read of what it sends.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// What has gone over the connection for it.
    fn traffic(&self) -> Traffic;

    /// From now on, body and answer are the bytes of a tunnel: after a 101, or a 2xx to CONNECT.
    fn tunnel(&mut self);

    /// The connection is to end with the answer that is to be started, if that does not take other
    /// requests along.
    fn close(&mut self) {}

    /// Ends the answer in such a way that the client cannot take what it got for the whole.
    fn abort(&mut self);
}

/// Why an upstream did not answer, or not to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpstreamError {
    /// It refused the request before looking at it: nothing can have happened, another endpoint or
    /// connection can be tried (HTTP/2: GOAWAY below the stream, REFUSED_STREAM).
    Refused,
    /// It closed or reset the connection.
    Closed,
    /// It sent, or took, nothing for too long.
    Late,
    /// What it sent is not HTTP.
    Malformed,
}

/// The upstream's side of one request.
pub(crate) trait Upstream {
    /// Queues the head of a request; `head.body` says what follows by
    /// [`poll_write`](Self::poll_write). `head` is ready for the upstream but for what the
    /// connection itself needs (the framing, `Connection`).
    fn start(&mut self, head: &RequestHead);

    /// Takes some of the request's body. May keep it queued until the next flush. `Late` when the
    /// upstream takes nothing for the send timeout.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, UpstreamError>>;

    /// The request's body has ended.
    fn finish(&mut self, trailers: Option<&Fields>);

    /// Sends what is queued. Ready when the transport has taken it all.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>>;

    /// The next head of an answer, interim ones included; `head` is cleared first.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<(), UpstreamError>>;

    /// Moves some of the answer's body to the end of `into`. A `Ready(End)` is repeated.
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Buffer,
    ) -> Poll<Result<Read, UpstreamError>>;

    /// The trailers of the answer, once its body has ended with some.
    fn trailers(&self) -> Option<&Fields>;
}
