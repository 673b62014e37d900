//! The task of one connection. It owns the transport, starts a task for each request, and writes
//! what they have queued when all that were woken together had their turn: one write for many
//! answers, as a system call costs more than an answer.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Environment, Http2Stream,
    connection::{Connection, TOO_LARGE},
    pump::{Pump, again},
    setup::Setup,
};
use crate::proxy::{buffer::Buffer, deadline::Deadline};

/// While it is left, a connection waits so long for the client to know: requests that are on their
/// way are answered.
const LAST_CALL: Duration = Duration::from_secs(1);
/// After the last byte is written, so long is waited for the client to close.
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
    let pump = Pump::new(transport, &connection, &setup, input);
    let waiting = Waiting::Request;
    let mut driver = Driver { pump, environment, connection, setup, deadline, waiting };
    poll_fn(|cx| driver.poll(cx)).await;
}

struct Driver<T, E> {
    pump: Pump<T>,
    environment: Rc<E>,
    connection: Rc<RefCell<Connection>>,
    setup: Rc<Setup>,
    deadline: Deadline,
    /// What the deadline is for.
    waiting: Waiting,
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

impl<T: AsyncRead + AsyncWrite + Unpin, E: Environment> Driver<T, E> {
    /// Ready: the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.borrow_mut().attend(cx.waker());
        if self.environment.cut() {
            self.connection.borrow_mut().lose();
            return Poll::Ready(());
        }
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
            if self.pump.write(cx)? && self.waiting == Waiting::Send {
                // The deadline begins anew.
                self.waiting = Waiting::Request;
            }
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
                return self.pump.close(cx);
            }
            if !self.connection.borrow().takes_input() {
                return Poll::Pending;
            }
            if ready!(self.pump.read(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
            if self.take_input() {
                return again(cx);
            }
        }
    }

    /// Hands what was read to the connection, and starts what it asks for. True: someone was woken
    /// who should have a turn before the next write.
    fn take_input(&mut self) -> bool {
        if !self.pump.receive() {
            return false;
        }
        let mut connection = self.connection.borrow_mut();
        while let Some((key, head)) = connection.next_request() {
            let shared = Rc::clone(&self.connection);
            let stream = Http2Stream::new(shared, Rc::clone(&self.setup), key);
            drop(tokio::task::spawn_local(self.environment.answer(head, stream)));
        }
        for _ in 0..connection.take_refused() {
            self.environment.refused(TOO_LARGE);
        }
        connection.take_stirred()
    }

    /// What is waited for now.
    fn now_waiting(&self) -> Waiting {
        let connection = self.connection.borrow();
        if self.pump.is_blocked() {
            Waiting::Send
        } else if connection.ended().is_some() || connection.is_done() {
            Waiting::Close
        } else if connection.is_announced() {
            Waiting::LastCall
        } else if connection.awaits_head(self.pump.rest()) {
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
        let timeouts = self.setup.timeouts.get();
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
