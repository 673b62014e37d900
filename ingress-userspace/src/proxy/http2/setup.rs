//! What all connections of a worker share: their limits, and memory that they lend and give back.

use std::{cell::RefCell, rc::Rc, time::Duration};

use crate::proxy::{buffer::Buffers, deadline::Deadlines, message::RequestHead};

/// What the connections of one worker share.
pub(crate) struct Setup {
    pub(crate) buffers: Buffers,
    pub(crate) deadlines: Rc<Deadlines>,
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: Limits,
    pub(crate) heads: Heads,
    pub(super) queues: Queues,
}

/// How long a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// To send its preface, and from the first byte of a request's head to the last.
    pub(crate) head: Duration,
    /// Between two pieces of a request's body.
    pub(crate) body: Duration,
    /// To take anything of an answer, or to let it be sent by its windows.
    pub(crate) send: Duration,
    /// Without a request.
    pub(crate) keep_alive: Duration,
}

/// How much a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Streams that are open at once.
    pub(crate) streams: u32,
    /// Requests of one connection, after which it is left (`keep-alive-requests`).
    pub(crate) requests: u32,
    /// What the fields of a request may be together, as RFC 9113, section 6.5.2 counts them. Bytes.
    pub(crate) list: usize,
}

impl Default for Limits {
    /// ingress-nginx's (reference section 4.3).
    fn default() -> Self {
        Self { streams: 128, requests: 1000, list: 32 * 1024 }
    }
}

impl Setup {
    /// What the connections of a worker share.
    pub(crate) fn new(
        buffers: Buffers,
        deadlines: Rc<Deadlines>,
        timeouts: Timeouts,
        limits: Limits,
    ) -> Rc<Self> {
        let (heads, queues) = (Heads::default(), Queues::default());
        Rc::new(Self { buffers, deadlines, timeouts, limits, heads, queues })
    }

    #[cfg(test)]
    pub(super) fn for_tests() -> Rc<Self> {
        let second = Duration::from_secs(1);
        let timeouts = Timeouts {
            head: 6 * second,
            body: 5 * second,
            send: 7 * second,
            keep_alive: 8 * second,
        };
        let deadlines = Deadlines::new(std::time::Instant::now());
        Self::new(Buffers::default(), deadlines, timeouts, Limits::default())
    }
}

/// Heads that no request uses. Whoever has answered a request gives its head back.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "the boxes are what is handed out")]
pub(crate) struct Heads(RefCell<Vec<Box<RequestHead>>>);

/// As many are kept.
const KEPT: usize = 256;

impl Heads {
    /// An empty head.
    pub(crate) fn take(&self) -> Box<RequestHead> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a head for another request.
    pub(crate) fn give(&self, mut head: Box<RequestHead>) {
        let mut free = self.0.borrow_mut();
        if free.len() < KEPT {
            head.clear();
            free.push(head);
        }
    }
}

/// Queues of output that no connection uses.
#[derive(Default)]
pub(super) struct Queues(RefCell<Vec<Vec<u8>>>);

/// As many are kept.
const KEPT_QUEUES: usize = 64;
/// What a new one has room for: some dozen small answers. Bytes.
const QUEUE: usize = 8 * 1024;
/// One that has grown larger is not kept. Bytes.
const LARGEST_QUEUE: usize = 128 * 1024;

impl Queues {
    pub(super) fn take(&self) -> Vec<u8> {
        self.0.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(QUEUE))
    }

    pub(super) fn give(&self, mut queue: Vec<u8>) {
        let mut free = self.0.borrow_mut();
        if (1..=LARGEST_QUEUE).contains(&queue.capacity()) && free.len() < KEPT_QUEUES {
            queue.clear();
            free.push(queue);
        }
    }
}
