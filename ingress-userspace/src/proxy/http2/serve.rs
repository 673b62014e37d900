//! The task of one connection. It owns the transport, starts a task for each request, and writes
//! what they have queued when all that were woken together had their turn: one write for many
//! answers, as a system call costs more than an answer.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Environment, Http2Stream, connection::Connection, setup::Setup};
use crate::proxy::{buffer::Buffer, deadline::Deadline};

/// While it is left, a connection waits so long for the client to know: requests that are on their
/// way are answered.
const LAST_CALL: Duration = Duration::from_secs(1);
/// After the last byte is written, so long is waited for the client to close. Closing first, with
/// bytes of the client unread, would take from it what it has not read either.
const LINGER: Duration = Duration::from_secs(1);
/// After so long without a request, memory is given back.
const SETTLE: Duration = Duration::from_secs(1);

/// Serves a connection to its end. `input` is what was read from it already.
pub(crate) async fn serve<T, E>(transport: T, input: Option<Buffer>, environment: Rc<E>)
where
    T: AsyncRead + AsyncWrite + Unpin,
    E: Environment,
{
    let setup = Rc::clone(environment.setup());
    let connection = Rc::new(RefCell::new(Connection::new(&setup)));
    let deadline = setup.deadlines.deadline();
    let mut driver = Driver {
        transport,
        environment,
        connection,
        setup,
        input,
        deadline,
        waiting: Waiting::Request,
        blocked: false,
        shut: false,
    };
    poll_fn(|cx| driver.poll(cx)).await;
}

struct Driver<T, E> {
    transport: T,
    environment: Rc<E>,
    connection: Rc<RefCell<Connection>>,
    setup: Rc<Setup>,
    /// What was read and is not a whole frame.
    input: Option<Buffer>,
    deadline: Deadline,
    /// What the deadline is for.
    waiting: Waiting,
    /// The transport takes nothing.
    blocked: bool,
    /// Nothing will be written any more.
    shut: bool,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// Those who work for its requests.
    Request,
    /// The rest of a head, or of the preface.
    Head,
    /// That something is taken.
    Send,
    /// A request, lately.
    Next,
    /// A request, with its memory given back.
    Settled,
    /// That the client knows that it is left.
    LastCall,
    /// That the client closes.
    Close,
}

impl<T, E> Drop for Driver<T, E> {
    fn drop(&mut self) {
        self.connection.borrow_mut().lose();
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin, E: Environment> Driver<T, E> {
    /// Ready: the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.borrow_mut().attend(cx.waker());
        match self.advance(cx) {
            Poll::Ready(outcome) => {
                if let Err(error) = outcome {
                    tracing::debug!(%error, "HTTP/2 connection ended");
                }
                return Poll::Ready(());
            }
            Poll::Pending => {}
        }
        self.poll_deadline(cx)
    }

    /// Ready: the connection has ended, in order or not.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.environment.draining() {
            self.connection.borrow_mut().announce();
        }
        // What came with the transport.
        if self.take_input() {
            return again(cx);
        }
        loop {
            self.write(cx)?;
            let due = self.connection.borrow_mut().begin_turn();
            if due {
                return again(cx);
            }
            let ending = {
                let mut connection = self.connection.borrow_mut();
                let ending = connection.ended().is_some() || connection.is_done();
                ending && connection.output().is_empty()
            };
            if ending {
                return self.close(cx);
            }
            if !self.connection.borrow().takes_input() {
                return Poll::Pending;
            }
            if ready!(self.read(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
            if self.take_input() {
                return again(cx);
            }
        }
    }

    /// Writes all that the transport takes.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
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
        if wrote && self.waiting == Waiting::Send {
            // The deadline begins anew.
            self.waiting = Waiting::Request;
        }
        // What TLS keeps back.
        match Pin::new(&mut self.transport).poll_flush(cx) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => {
                self.blocked = true;
                Ok(())
            }
        }
    }

    /// Reads once, behind what is there. 0: the client has closed.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
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

    /// Hands what was read to the connection, and starts what it asks for. True: someone was woken
    /// who should have a turn before the next write.
    fn take_input(&mut self) -> bool {
        let Some(mut input) = self.input.take() else { return false };
        let mut connection = self.connection.borrow_mut();
        let taken = connection.receive(input.filled());
        input.consume(taken);
        if !input.is_empty() {
            self.input = Some(input);
        }
        while let Some((key, head)) = connection.next_request() {
            let shared = Rc::clone(&self.connection);
            let stream = Http2Stream::new(shared, Rc::clone(&self.setup), key);
            drop(tokio::task::spawn_local(self.environment.answer(head, stream)));
        }
        connection.take_stirred()
    }

    /// Shuts the transport down, and waits for the client to do so.
    fn close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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

    /// What is waited for now.
    fn now_waiting(&self) -> Waiting {
        let connection = self.connection.borrow();
        let rest = self.input.as_ref().map(Buffer::filled).unwrap_or_default();
        if self.blocked {
            Waiting::Send
        } else if connection.ended().is_some() || connection.is_done() {
            Waiting::Close
        } else if connection.is_announced() {
            Waiting::LastCall
        } else if connection.awaits_head(rest) {
            Waiting::Head
        } else if !connection.is_idle() {
            Waiting::Request
        } else if self.waiting == Waiting::Settled {
            Waiting::Settled
        } else {
            Waiting::Next
        }
    }

    /// Ready: the client is late beyond hope.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waiting = self.now_waiting();
        if waiting != self.waiting {
            self.waiting = waiting;
            self.set_deadline();
        }
        ready!(self.deadline.poll(cx));
        match self.waiting {
            Waiting::Send | Waiting::Close => return Poll::Ready(()),
            Waiting::Request => {}
            Waiting::Next => {
                self.connection.borrow_mut().trim();
                self.waiting = Waiting::Settled;
            }
            Waiting::Head | Waiting::Settled | Waiting::LastCall => {
                self.connection.borrow_mut().leave();
            }
        }
        self.set_deadline();
        again(cx)
    }

    fn set_deadline(&self) {
        let timeouts = &self.setup.timeouts;
        match self.waiting {
            Waiting::Request => self.deadline.clear(),
            Waiting::Head => self.deadline.set(timeouts.head),
            Waiting::Send => self.deadline.set(timeouts.send),
            Waiting::Next => self.deadline.set(SETTLE.min(timeouts.keep_alive)),
            Waiting::Settled => self.deadline.set(timeouts.keep_alive.saturating_sub(SETTLE)),
            Waiting::LastCall => self.deadline.set(LAST_CALL),
            Waiting::Close => self.deadline.set(LINGER),
        }
    }
}

/// Comes back when the tasks that were woken before had their turn: the runtime's queue is in
/// order.
fn again<R>(cx: &Context<'_>) -> Poll<R> {
    cx.waker().wake_by_ref();
    Poll::Pending
}
