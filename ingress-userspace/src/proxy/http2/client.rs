//! Connections to upstreams that speak HTTP/2: many requests share one.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Http2Upstream,
    connection::Connection,
    pump::{Pump, again},
    setup::Setup,
};
use crate::proxy::deadline::Deadline;

/// A connection to an upstream, for whoever has requests for it. Clones are one.
#[derive(Clone)]
pub(crate) struct Http2Client {
    connection: Rc<RefCell<Connection>>,
    setup: Rc<Setup>,
}

impl Http2Client {
    /// A connection over `transport`, and what has to run, as a task of its own, for it to do
    /// anything. `https`: the transport is TLS. The timeouts of `setup` are the upstream's:
    /// `send`, between two writes; `keep_alive`, without a request.
    pub(crate) fn new<T>(
        transport: T,
        setup: &Rc<Setup>,
        https: bool,
    ) -> (Self, impl Future<Output = ()> + use<T>)
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let connection = Rc::new(RefCell::new(Connection::to_upstream(setup, https)));
        let client = Self { connection, setup: Rc::clone(setup) };
        let mut driver = Driver {
            pump: Pump::new(transport, &client.connection, setup, None),
            connection: Rc::clone(&client.connection),
            deadline: setup.deadlines.deadline(),
            setup: Rc::clone(setup),
            waiting: Waiting::Answers,
        };
        (client, async move { poll_fn(|cx| driver.poll(cx)).await })
    }

    /// A stream for one request. `None`: as many as the upstream allows are open, or it leaves:
    /// another connection is needed.
    pub(crate) fn stream(&self) -> Option<Http2Upstream> {
        let mut connection = self.connection.borrow_mut();
        if !connection.has_room() {
            return None;
        }
        connection.reserve();
        drop(connection);
        Some(Http2Upstream::new(Rc::clone(&self.connection), Rc::clone(&self.setup)))
    }

    /// It takes no request any more, ever.
    pub(crate) fn is_over(&self) -> bool {
        self.connection.borrow().is_over()
    }
}

struct Driver<T> {
    pump: Pump<T>,
    connection: Rc<RefCell<Connection>>,
    setup: Rc<Setup>,
    deadline: Deadline,
    waiting: Waiting,
}

/// What the deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// Streams have deadlines of their own.
    Answers,
    /// That something is taken.
    Send,
    /// A request.
    Next,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Ready: the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.borrow_mut().attend(cx.waker());
        match self.advance(cx) {
            Poll::Ready(outcome) => {
                if let Err(error) = outcome {
                    tracing::debug!(%error, "HTTP/2 connection to an upstream ended");
                }
                return Poll::Ready(());
            }
            Poll::Pending => {}
        }
        let waiting = {
            let connection = self.connection.borrow();
            if self.pump.is_blocked() {
                Waiting::Send
            } else if connection.is_idle() && !connection.is_reserved() {
                Waiting::Next
            } else {
                Waiting::Answers
            }
        };
        if waiting != self.waiting {
            self.waiting = waiting;
            match waiting {
                Waiting::Answers => self.deadline.clear(),
                Waiting::Send => self.deadline.set(self.setup.timeouts.send),
                Waiting::Next => self.deadline.set(self.setup.timeouts.keep_alive),
            }
        }
        ready!(self.deadline.poll(cx));
        if self.waiting == Waiting::Send {
            return Poll::Ready(());
        }
        self.deadline.clear();
        self.connection.borrow_mut().leave();
        again(cx)
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.pump.write(cx)? && self.waiting == Waiting::Send {
                self.waiting = Waiting::Answers;
            }
            let over = {
                let mut connection = self.connection.borrow_mut();
                if connection.begin_turn() {
                    return again(cx);
                }
                let over = connection.ended().is_some() || connection.is_done();
                if !over && connection.is_over() && connection.is_idle() {
                    connection.leave();
                    continue;
                }
                over && connection.output().is_empty()
            };
            if over {
                return Poll::Ready(Ok(()));
            }
            if !self.connection.borrow().takes_input() {
                return Poll::Pending;
            }
            if ready!(self.pump.read(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
            if self.pump.receive() && self.connection.borrow_mut().take_stirred() {
                return again(cx);
            }
        }
    }
}
