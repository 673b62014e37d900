//! One stream (RFC 9113, section 5.1), and all those of a connection.

use std::{collections::VecDeque, task::Waker};

use slab::Slab;

use super::{
    flow::{ReceiveWindow, SendWindow},
    frame::MAX_ID,
};
use crate::proxy::{
    buffer::Buffer,
    message::{Fields, ResponseHead},
};

/// What the window of a stream is at first, for what the client sends. Bytes.
pub(super) const WINDOW: u32 = 64 * 1024;
/// Streams that were closed are remembered, as many as may be open at once.
const REMEMBERED: usize = 128;
/// An empty body keeps so much room. Bytes.
const KEPT: usize = 4096;

/// A stream that is open, or whose [`Http2Stream`](super::Http2Stream) still exists.
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) request: Request,

    pub(super) receive: ReceiveWindow,
    /// What came in and was not taken.
    pub(super) body: Body,
    /// What `Content-Length` says is still to come. Bytes.
    pub(super) expected: Option<u64>,
    pub(super) received_end: bool,
    pub(super) trailers: Option<Box<Fields>>,
    /// Heads of answers that were not taken; of streams that we opened.
    pub(super) heads: VecDeque<ResponseHead>,
    /// The head of the message was there; interim ones do not count.
    pub(super) headed: bool,
    /// Who waits for the body, or for the end of the stream.
    pub(super) reading: Option<Waker>,

    pub(super) send: SendWindow,
    /// The head of the answer is queued.
    pub(super) started: bool,
    /// What the head of the answer says is still to be sent. Bytes.
    pub(super) owed: Option<u64>,
    pub(super) sent_end: bool,
    /// Where the flags of the last DATA are in the output.
    pub(super) last_data: Option<u64>,
    /// Who waits for room.
    pub(super) writing: Option<Waker>,
    /// It is in the connection's queue of those that wait.
    pub(super) waits: bool,
    /// How much it sent in which turn of the connection. Bytes.
    pub(super) sent: (u32, usize),

    /// Reset, or the connection is lost.
    pub(super) ended: Option<Ended>,
}

/// What matters about the request when it is answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Request {
    /// HEAD: an answer has no body.
    pub(super) head: bool,
    /// CONNECT: a 2xx opens a tunnel.
    pub(super) connect: bool,
    /// CONNECT with `:protocol` (RFC 8441).
    pub(super) extended: bool,
    /// It waits for 100.
    pub(super) expects: bool,
}

/// Why nothing can be sent or received any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// By the client, or with the connection; or by us.
    Gone,
    /// By us, for what the other end sent.
    Malformed,
    /// By a server that has not looked at the request.
    Refused,
}

impl Stream {
    pub(super) fn new(id: u32, send: u32) -> Self {
        Self {
            id,
            request: Request::default(),
            receive: ReceiveWindow::new(WINDOW),
            body: Body::default(),
            expected: None,
            received_end: false,
            trailers: None,
            heads: VecDeque::new(),
            headed: true,
            reading: None,
            send: SendWindow::new(send),
            started: false,
            owed: None,
            sent_end: false,
            last_data: None,
            writing: None,
            waits: false,
            sent: (0, 0),
            ended: None,
        }
    }

    /// Both sides have ended, or one has reset it.
    pub(super) fn is_closed(&self) -> bool {
        self.ended.is_some() || self.sent_end && self.received_end
    }

    /// Wakes whoever waits for something to come in. True: there was someone.
    pub(super) fn wake_reader(&mut self) -> bool {
        self.reading.take().map(Waker::wake).is_some()
    }

    /// Wakes whoever waits for room. True: there was someone.
    pub(super) fn wake_writer(&mut self) -> bool {
        self.writing.take().map(Waker::wake).is_some()
    }
}

/// Keeps the waker of the present task in `slot`.
pub(super) fn register(slot: &mut Option<Waker>, waker: &Waker) {
    match slot {
        Some(known) => known.clone_from(waker),
        none => *none = Some(waker.clone()),
    }
}

/// Bytes that came in and were not taken, never more than the window.
#[derive(Debug, Default)]
pub(super) struct Body {
    bytes: Vec<u8>,
    start: usize,
}

impl Body {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Moves what there is room for, and says how much that was. Bytes.
    pub(super) fn take(&mut self, into: &mut Buffer) -> usize {
        let moved = into.append(self.bytes.get(self.start..).unwrap_or_default());
        self.start += moved;
        if self.len() == 0 {
            self.start = 0;
            if self.bytes.capacity() > KEPT {
                self.bytes = Vec::new();
            }
            self.bytes.clear();
        }
        moved
    }
}

/// The streams of a connection.
#[derive(Default)]
pub(super) struct Streams {
    slots: Slab<Stream>,
    /// Those that are open, in ascending order of their identifiers, and where they are.
    open: Vec<(u32, usize)>,
    /// Identifiers of some that were closed, the latest behind; with [`OURS`] if we reset them.
    closed: VecDeque<u32>,
}

/// The bit above an identifier.
const OURS: u32 = MAX_ID + 1;

/// How a stream ended that is no longer open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// We reset it: the client may not know yet, and what it sends is ignored.
    ResetByUs,
    /// Both sides ended it, or the client reset it: it knows.
    Known,
    /// Too long ago, or never opened.
    Forgotten,
}

impl Streams {
    /// Adds one that is open, whose identifier is larger than that of any before.
    pub(super) fn insert(&mut self, stream: Stream) -> usize {
        let id = stream.id;
        let key = self.slots.insert(stream);
        self.open.push((id, key));
        key
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// How many there are, counting those that are closed and that someone still works for.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn get(&mut self, key: usize) -> Option<&mut Stream> {
        self.slots.get_mut(key)
    }

    /// The open one of this identifier.
    pub(super) fn find(&mut self, id: u32) -> Option<(usize, &mut Stream)> {
        let at = self.open.binary_search_by_key(&id, |entry| entry.0).ok()?;
        let key = self.open.get(at)?.1;
        Some((key, self.slots.get_mut(key)?))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.slots.iter_mut().map(|(_, stream)| stream)
    }

    /// It is no longer open.
    pub(super) fn close(&mut self, id: u32, ours: bool) {
        if let Ok(at) = self.open.binary_search_by_key(&id, |entry| entry.0) {
            self.open.remove(at);
            self.remember(id, ours);
        }
    }

    /// One that is closed, and perhaps was never open.
    pub(super) fn remember(&mut self, id: u32, ours: bool) {
        if self.closed.len() >= REMEMBERED {
            self.closed.pop_front();
        }
        self.closed.push_back(if ours { id | OURS } else { id });
    }

    /// What became of one that is not open.
    pub(super) fn past(&self, id: u32) -> Past {
        match self.closed.iter().rev().find(|past| **past & MAX_ID == id) {
            Some(past) if past & OURS != 0 => Past::ResetByUs,
            Some(_) => Past::Known,
            None => Past::Forgotten,
        }
    }

    /// Nobody works for it any more.
    pub(super) fn remove(&mut self, key: usize) {
        self.slots.try_remove(key);
    }

    /// Gives back memory that nothing is in.
    pub(super) fn trim(&mut self) {
        if self.slots.is_empty() {
            *self = Self { closed: std::mem::take(&mut self.closed), ..Self::default() };
            self.closed.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::buffer::{Buffers, SIZE};

    #[test]
    fn streams_are_found_while_they_are_open() {
        let mut streams = Streams::default();
        let keys: Vec<_> = [1, 3, 5, 9].map(|id| streams.insert(Stream::new(id, 0))).into();
        assert_eq!(streams.find(5).map(|(key, stream)| (key, stream.id)), Some((keys[2], 5)));
        assert!(streams.find(7).is_none());
        streams.close(5, true);
        streams.close(3, false);
        assert!(streams.find(5).is_none());
        assert_eq!((streams.open(), streams.len()), (2, 4));
        assert_eq!(streams.past(5), Past::ResetByUs);
        assert_eq!(streams.past(3), Past::Known);
        assert_eq!(streams.past(7), Past::Forgotten);
        for id in 0..REMEMBERED as u32 {
            streams.remember(101 + 2 * id, false);
        }
        assert_eq!(streams.past(5), Past::Forgotten);
    }

    #[test]
    fn a_body_is_taken_in_pieces() {
        let buffers = Buffers::default();
        let mut body = Body::default();
        body.push(&[1; SIZE]);
        body.push(&[2; 100]);
        let mut into = buffers.take();
        assert_eq!(body.take(&mut into), SIZE);
        body.push(&[3; 50]);
        into = buffers.take();
        assert_eq!(body.take(&mut into), 150);
        assert_eq!((into.filled()[0], into.filled()[149], body.len()), (2, 3, 0));
        assert_eq!(body.bytes.capacity(), 0);
    }
}
