use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll, ready},
};

use super::{connection::Connection, downstream::Patience, setup::Setup, stream::Ended};
use crate::proxy::{
    buffer::Buffer,
    message::{Fields, RequestHead, ResponseHead},
    sides::{Read, Upstream, UpstreamError},
};

/// The upstream's side of one request: a stream of a connection that others share. Dropped before
/// the answer is complete, it cancels the stream.
pub(crate) struct Http2Upstream {
    connection: Rc<RefCell<Connection>>,
    setup: Rc<Setup>,
    state: State,
    trailers: Option<Box<Fields>>,
    reading: Patience,
    writing: Patience,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Room is kept.
    Reserved,
    Open(usize),
    /// The upstream left before the request was sent.
    Refused,
}

impl Http2Upstream {
    /// A stream for which room was kept.
    pub(super) fn new(connection: Rc<RefCell<Connection>>, setup: Rc<Setup>) -> Self {
        Self {
            connection,
            setup,
            state: State::Reserved,
            trailers: None,
            reading: Patience::default(),
            writing: Patience::default(),
        }
    }

    fn key(&self) -> Result<usize, UpstreamError> {
        match self.state {
            State::Open(key) => Ok(key),
            State::Reserved | State::Refused => Err(UpstreamError::Refused),
        }
    }
}

impl From<Ended> for UpstreamError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Gone => Self::Closed,
            Ended::Malformed => Self::Malformed,
            Ended::Refused => Self::Refused,
        }
    }
}

impl Upstream for Http2Upstream {
    fn start(&mut self, head: &RequestHead) {
        if self.state == State::Reserved {
            let mut connection = self.connection.borrow_mut();
            connection.unreserve();
            self.state = connection.open(head).map_or(State::Refused, State::Open);
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, UpstreamError>> {
        let key = self.key()?;
        if let Poll::Ready(outcome) = self.connection.borrow_mut().poll_write(key, cx, data) {
            self.writing.stop();
            return Poll::Ready(outcome.map_err(UpstreamError::from));
        }
        ready!(self.writing.poll(cx, &self.setup, self.setup.timeouts.send));
        Poll::Ready(Err(UpstreamError::Late))
    }

    fn finish(&mut self, trailers: Option<&Fields>) {
        if let Ok(key) = self.key() {
            self.connection.borrow_mut().finish(key, trailers);
        }
    }

    /// Ready at once, as of a client's stream.
    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<(), UpstreamError>> {
        let key = self.key()?;
        if let Poll::Ready(outcome) = self.connection.borrow_mut().poll_head(key, cx, head) {
            self.reading.stop();
            return Poll::Ready(outcome.map_err(UpstreamError::from));
        }
        ready!(self.reading.poll(cx, &self.setup, self.setup.timeouts.body));
        Poll::Ready(Err(UpstreamError::Late))
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Buffer,
    ) -> Poll<Result<Read, UpstreamError>> {
        let key = self.key()?;
        let mut connection = self.connection.borrow_mut();
        let Poll::Ready(outcome) = connection.poll_body(key, cx, into) else {
            ready!(self.reading.poll(cx, &self.setup, self.setup.timeouts.body));
            return Poll::Ready(Err(UpstreamError::Late));
        };
        self.reading.stop();
        if outcome == Ok(Read::End) && self.trailers.is_none() {
            self.trailers = connection.take_trailers(key);
        }
        Poll::Ready(outcome.map_err(UpstreamError::from))
    }

    fn trailers(&self) -> Option<&Fields> {
        self.trailers.as_deref()
    }
}

impl Drop for Http2Upstream {
    fn drop(&mut self) {
        let mut connection = self.connection.borrow_mut();
        match self.state {
            State::Reserved => connection.unreserve(),
            State::Open(key) => connection.release(key),
            State::Refused => {}
        }
    }
}
