//! What is sent to one side: heads and small pieces are queued and leave in one write; large pieces
//! leave from where they lie, with what is queued before them.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

use super::encode::Encoder;
use crate::proxy::{buffer::Buffers, message::Fields, stream::Stream};

/// Up to so many bytes are copied to the queue instead of being written at once.
const COALESCED: usize = 16 * 1024;

/// The writing half of a connection.
pub(super) struct Outbound {
    buffers: Buffers,
    /// Lent by the worker while something is in it.
    queue: Vec<u8>,
    /// So much of the queue is sent.
    sent: usize,
    /// The transport may not have got everything: the queue, or what TLS keeps itself.
    dirty: bool,
    encoder: Encoder,
}

impl Outbound {
    pub(super) fn new(buffers: &Buffers) -> Self {
        Self {
            buffers: buffers.clone(),
            queue: Vec::new(),
            sent: 0,
            dirty: false,
            encoder: Encoder::Ended,
        }
    }

    /// Where heads are written to.
    pub(super) fn queue(&mut self) -> &mut Vec<u8> {
        self.dirty = true;
        if self.queue.capacity() == 0 {
            self.queue = self.buffers.take_queue();
        }
        &mut self.queue
    }

    /// A body of this framing comes next.
    pub(super) fn begin(&mut self, encoder: Encoder) {
        self.encoder = encoder;
    }

    /// The end of what is sent is that of the connection.
    pub(super) fn is_until_close(&self) -> bool {
        self.encoder == Encoder::Raw
    }

    /// The transport has everything.
    pub(super) fn is_flushed(&self) -> bool {
        !self.dirty
    }

    /// Takes some of a body. 0 of one that is complete already.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.queue();
        let length = self.encoder.admit(data.len(), &mut self.queue);
        let data = data.get(..length).unwrap_or_default();
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.queue.len() - self.sent + data.len() <= COALESCED {
            // What is sent is not kept where the queue never becomes quite empty.
            if self.sent > COALESCED {
                self.queue.drain(..self.sent);
                self.sent = 0;
            }
            self.queue.extend_from_slice(data);
            self.encoder.wrote(data.len(), &mut self.queue);
            return Poll::Ready(Ok(data.len()));
        }
        loop {
            let queued = self.queue.get(self.sent..).unwrap_or_default();
            let ahead = queued.len();
            let written = if ahead == 0 {
                ready!(stream.poll_write_slice(cx, data))?
            } else {
                let pieces = [IoSlice::new(queued), IoSlice::new(data)];
                ready!(stream.poll_write_slices(cx, &pieces))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written.min(ahead);
            if written > ahead {
                self.queue.clear();
                self.sent = 0;
                self.encoder.wrote(written - ahead, &mut self.queue);
                return Poll::Ready(Ok(written - ahead));
            }
        }
    }

    /// Ends the body. False: it is shorter than announced.
    pub(super) fn finish(&mut self, trailers: Option<&Fields>) -> bool {
        self.queue();
        self.encoder.finish(trailers, &mut self.queue)
    }

    /// Sends what is queued.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<io::Result<()>> {
        while let Some(queued @ [_, ..]) = self.queue.get(self.sent..) {
            match ready!(stream.poll_write_slice(cx, queued))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        if self.queue.capacity() > 0 {
            self.sent = 0;
            self.buffers.give_queue(std::mem::take(&mut self.queue));
        }
        ready!(stream.poll_flush_all(cx))?;
        self.dirty = false;
        Poll::Ready(Ok(()))
    }
}
