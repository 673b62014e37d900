//! Moves the bytes between a transport and its connection.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{connection::Connection, setup::Setup};
use crate::proxy::buffer::Buffer;

/// A transport. The connection is lost when it is dropped.
pub(super) struct Pump<T> {
    transport: T,
    connection: Rc<RefCell<Connection>>,
    setup: Rc<Setup>,
    /// What was read and not taken.
    input: Option<Buffer>,
    /// The transport takes nothing.
    blocked: bool,
    /// Nothing will be written any more.
    shut: bool,
}

impl<T> Drop for Pump<T> {
    fn drop(&mut self) {
        self.connection.borrow_mut().lose();
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Pump<T> {
    /// `input` is what was read already.
    pub(super) fn new(
        transport: T,
        connection: &Rc<RefCell<Connection>>,
        setup: &Rc<Setup>,
        input: Option<Buffer>,
    ) -> Self {
        let (connection, setup) = (Rc::clone(connection), Rc::clone(setup));
        Self { transport, connection, setup, input, blocked: false, shut: false }
    }

    /// The transport takes nothing.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// What was read and is less than a frame.
    pub(super) fn rest(&self) -> &[u8] {
        self.input.as_ref().map(Buffer::filled).unwrap_or_default()
    }

    /// Writes all that the transport takes. True: it took some.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut connection = self.connection.borrow_mut();
        let output = connection.output();
        let mut wrote = false;
        while !output.is_empty() {
            match Pin::new(&mut self.transport).poll_write(cx, output.pending()) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(length)) => output.wrote(length),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
            wrote = true;
        }
        self.blocked = !output.is_empty();
        // What TLS keeps back.
        match Pin::new(&mut self.transport).poll_flush(cx) {
            Poll::Ready(outcome) => outcome.map(|()| wrote),
            Poll::Pending => {
                self.blocked = true;
                Ok(wrote)
            }
        }
    }

    /// Reads once, behind what is there. 0: the other end has closed.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut input = self.input.take().unwrap_or_else(|| self.setup.buffers.take());
        input.compact();
        let mut room = ReadBuf::new(input.room());
        let outcome = Pin::new(&mut self.transport).poll_read(cx, &mut room);
        let length = room.filled().len();
        input.fill(length);
        if !input.is_empty() {
            self.input = Some(input);
        }
        outcome.map_ok(|()| length)
    }

    /// Hands what was read to the connection. False: there was nothing.
    pub(super) fn receive(&mut self) -> bool {
        let Some(mut input) = self.input.take() else { return false };
        let taken = self.connection.borrow_mut().receive(input.filled());
        input.consume(taken);
        if !input.is_empty() {
            self.input = Some(input);
        }
        true
    }

    /// Shuts the transport down, and waits for the other end to do so. Closing with bytes of the
    /// other end unread would take from it what it has not read either.
    pub(super) fn close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(Pin::new(&mut self.transport).poll_shutdown(cx))?;
            self.shut = true;
        }
        self.input = None;
        while ready!(self.read(cx))? > 0 {
            self.input = None;
        }
        Poll::Ready(Ok(()))
    }
}

/// Comes back when the tasks that were woken before had their turn: the runtime's queue is in
/// order.
pub(super) fn again<R>(cx: &Context<'_>) -> Poll<R> {
    cx.waker().wake_by_ref();
    Poll::Pending
}
