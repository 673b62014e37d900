//! How long a stream of an HTTP/2 connection waits for its client to take what is there for it. The
//! client's flow control decides when more of an answer is asked for; without a limit, a window of
//! zero would hold the stream, its upstream connection and the end of a drain for ever.

use std::{
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::Executor;

use super::deadline::{Deadline, Deadlines};

tokio::task_local! {
    /// Of the stream that the current task serves.
    static PATIENCE: Rc<Patience>;
}

/// One stream's deadline, which runs while something waits for its client.
pub(super) struct Patience {
    deadline: Deadline,
    timeout: Duration,
}

impl Patience {
    /// That of the stream that is being answered; `None`: the connection is not HTTP/2, and not
    /// to be able to write to it is noticed there.
    pub(super) fn of_stream() -> Option<Rc<Self>> {
        PATIENCE.try_with(Rc::clone).ok()
    }

    /// Something is there for the client: it is late when nothing more is asked for.
    pub(super) fn start(&self) {
        self.deadline.set(self.timeout);
    }

    /// The client waits for us.
    pub(super) fn stop(&self) {
        self.deadline.clear();
    }
}

/// Runs the streams of HTTP/2 connections on the worker's own thread, each for as long as its
/// client is not late. One that is dropped before its end is reset.
#[derive(Clone)]
pub(crate) struct StreamExecutor {
    deadlines: Rc<Deadlines>,
    timeout: Duration,
}

impl StreamExecutor {
    pub(super) fn new(deadlines: Rc<Deadlines>, timeout: Duration) -> Self {
        Self { deadlines, timeout }
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, future: F) {
        let deadline = self.deadlines.deadline();
        let patience = Rc::new(Patience { deadline, timeout: self.timeout });
        let scope = Rc::clone(&patience);
        tokio::task::spawn_local(PATIENCE.scope(scope, async move {
            let mut stream = pin!(future);
            std::future::poll_fn(|cx| poll(stream.as_mut(), &patience, cx)).await;
        }));
    }
}

fn poll<F: Future<Output = ()>>(
    stream: Pin<&mut F>,
    patience: &Patience,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if stream.poll(cx).is_ready() { Poll::Ready(()) } else { patience.deadline.poll(cx) }
}
