use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{connection::Connection, setup::Setup, stream::Ended};
use crate::proxy::{
    buffer::Buffer,
    deadline::Deadline,
    message::{Fields, ResponseHead},
    sides::{ClientError, Downstream, Read, Traffic},
};

/// The client's side of one request: a stream of an HTTP/2 connection. Dropped before the answer
/// is complete, it resets the stream.
pub(crate) struct Http2Stream {
    connection: Rc<RefCell<Connection>>,
    setup: Rc<Setup>,
    key: usize,
    trailers: Option<Box<Fields>>,
    reading: Patience,
    writing: Patience,
    started: bool,
    traffic: Traffic,
}

/// Waits for the other end, for so long. Costs nothing unless something is waited for.
#[derive(Default)]
pub(super) struct Patience {
    deadline: Option<Deadline>,
    waits: bool,
}

impl Patience {
    /// The other end is waited for. Ready: for too long.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        setup: &Setup,
        timeout: Duration,
    ) -> Poll<()> {
        let deadline = self.deadline.get_or_insert_with(|| setup.deadlines.deadline());
        if !std::mem::replace(&mut self.waits, true) {
            deadline.set(timeout);
        }
        deadline.poll(cx)
    }

    /// It did something.
    pub(super) fn stop(&mut self) {
        if std::mem::take(&mut self.waits)
            && let Some(deadline) = &self.deadline
        {
            deadline.clear();
        }
    }
}

impl Http2Stream {
    /// The stream of this key, which nobody else works for.
    pub(super) fn new(connection: Rc<RefCell<Connection>>, setup: Rc<Setup>, key: usize) -> Self {
        Self {
            connection,
            setup,
            key,
            trailers: None,
            reading: Patience::default(),
            writing: Patience::default(),
            started: false,
            traffic: Traffic::default(),
        }
    }
}

impl From<Ended> for ClientError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Gone => Self::Gone,
            Ended::Malformed => Self::Malformed,
        }
    }
}

impl Downstream for Http2Stream {
    fn head_is(&mut self, length: u32) {
        self.traffic.head_received = length;
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Buffer,
    ) -> Poll<Result<Read, ClientError>> {
        let mut connection = self.connection.borrow_mut();
        let before = into.len();
        let Poll::Ready(outcome) = connection.poll_body(self.key, cx, into) else {
            // Once it is answered, the client may take its time: what it sends is its own loss.
            if self.started {
                return Poll::Pending;
            }
            ready!(self.reading.poll(cx, &self.setup, self.setup.timeouts.get().body));
            return Poll::Ready(Err(ClientError::Late));
        };
        self.traffic.body_received += into.len().saturating_sub(before) as u64;
        self.reading.stop();
        if outcome == Ok(Read::End) && self.trailers.is_none() {
            self.trailers = connection.take_trailers(self.key);
        }
        Poll::Ready(outcome.map_err(ClientError::from))
    }

    fn trailers(&self) -> Option<&Fields> {
        self.trailers.as_deref()
    }

    fn expect_body(&mut self) {
        self.connection.borrow_mut().expect_body(self.key);
    }

    fn interim(&mut self, head: &ResponseHead) {
        self.connection.borrow_mut().interim(self.key, head);
    }

    fn start(&mut self, head: &ResponseHead) {
        self.started = true;
        self.reading.stop();
        // As HTTP/1 would write it: how much the compression of heads saves is the connection's.
        let lengths = head.fields.iter().map(|own| own.name.len() + own.value.len() + 4);
        self.traffic.head_sent = u32::try_from(lengths.sum::<usize>()).unwrap_or(u32::MAX);
        self.connection.borrow_mut().start(self.key, head);
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, ClientError>> {
        let mut connection = self.connection.borrow_mut();
        if let Poll::Ready(outcome) = connection.poll_write(self.key, cx, data) {
            self.writing.stop();
            if let Ok(length) = outcome {
                self.traffic.body_sent += length as u64;
            }
            return Poll::Ready(outcome.map_err(|_ended| ClientError::Gone));
        }
        ready!(self.writing.poll(cx, &self.setup, self.setup.timeouts.get().send));
        connection.give_up(self.key);
        Poll::Ready(Err(ClientError::Gone))
    }

    fn finish(&mut self, trailers: Option<&Fields>) {
        self.connection.borrow_mut().finish(self.key, trailers);
    }

    /// Ready at once: the connection writes what its streams have queued when all had their turn,
    /// and takes no more than it can write soon.
    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.borrow_mut().poll_gone(self.key, cx)
    }

    /// What it sends is read all the same, as far as its window goes.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_gone(cx)
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// DATA is what carries a tunnel as well (RFC 9113, section 8.5).
    fn tunnel(&mut self) {}

    fn abort(&mut self) {
        self.connection.borrow_mut().abort(self.key);
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        self.connection.borrow_mut().release(self.key);
    }
}
