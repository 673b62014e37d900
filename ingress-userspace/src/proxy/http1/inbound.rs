//! What one side sends: reads it, keeps what was read too far, and takes bodies out of their
//! framing.

use std::{
    io,
    task::{Context, Poll, ready},
};

use super::decode::Decoder;
use crate::proxy::{
    buffer::{Buffer, Buffers, SIZE},
    message::Fields,
    sides::Read,
    stream::Stream,
};

/// The reading half of a connection.
pub(super) struct Inbound {
    buffers: Buffers,
    /// Read and not yet used. Lent only while something is in it.
    buffer: Option<Buffer>,
    /// Of the message whose body is being read.
    decoder: Decoder,
    /// Those of the message; empty until its body has ended.
    trailers: Fields,
}

/// Why a body cannot be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The connection ended, or failed, before it.
    Closed,
    /// Its framing breaks the rules.
    Malformed,
}

impl Inbound {
    /// `early` was read already.
    pub(super) fn new(buffers: &Buffers, early: Option<Buffer>) -> Self {
        Self {
            buffers: buffers.clone(),
            buffer: early.filter(|early| !early.is_empty()),
            decoder: Decoder::Ended,
            trailers: Fields::default(),
        }
    }

    /// What was read and not yet used.
    pub(super) fn pending(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], Buffer::filled)
    }

    /// So many bytes of what is pending are used.
    pub(super) fn consume(&mut self, length: usize) {
        if let Some(buffer) = &mut self.buffer {
            buffer.consume(length);
            if buffer.is_empty() {
                self.buffer = None;
            }
        }
    }

    /// A body of this framing comes next.
    pub(super) fn begin(&mut self, decoder: Decoder) {
        self.decoder = decoder;
        self.trailers.clear();
    }

    /// The body has been read to its end.
    pub(super) fn is_ended(&self) -> bool {
        self.decoder.is_ended()
    }

    /// The body goes on until the connection ends.
    pub(super) fn is_until_close(&self) -> bool {
        self.decoder == Decoder::UntilClose
    }

    /// Those of the body that was read, if it had any.
    pub(super) fn trailers(&self) -> Option<&Fields> {
        (self.decoder.is_ended() && !self.trailers.is_empty()).then_some(&self.trailers)
    }

    /// Reads more. 0: the other side has ended, or nothing more can be kept.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<io::Result<usize>> {
        let mut buffer = match self.buffer.take() {
            Some(mut buffer) => {
                buffer.compact();
                buffer
            }
            None => self.buffers.take(),
        };
        let outcome = stream.poll_read_slice(cx, buffer.room());
        if let Poll::Ready(Ok(length)) = outcome {
            buffer.fill(length);
        }
        if !buffer.is_empty() {
            self.buffer = Some(buffer);
        }
        outcome
    }

    /// No more can be read before something of what is pending is used.
    pub(super) fn is_full(&self) -> bool {
        self.pending().len() >= SIZE
    }

    /// Moves some of the body to the end of `into`.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        into: &mut Buffer,
    ) -> Poll<Result<Read, Broken>> {
        loop {
            if let Some(buffer) = &mut self.buffer {
                let before = into.len();
                let decoded = self.decoder.decode(buffer, into, &mut self.trailers);
                if buffer.is_empty() {
                    self.buffer = None;
                }
                decoded.map_err(|_bad| Broken::Malformed)?;
                if into.len() > before {
                    return Poll::Ready(Ok(Read::Data));
                }
            }
            if self.decoder.is_ended() {
                return Poll::Ready(Ok(Read::End));
            }
            let room = into.room();
            if room.is_empty() {
                return Poll::Ready(Ok(Read::Data));
            }
            // What is content for certain is read to where it is wanted; of a chunk only if it
            // fills the room, for its end would cost another read.
            let run = self.decoder.run();
            let direct = match self.decoder {
                Decoder::Chunked(_) => run >= room.len() as u64,
                _ => true,
            };
            let read = if direct && self.buffer.is_none() {
                let length = usize::try_from(run).map_or(room.len(), |run| run.min(room.len()));
                let room = room.get_mut(..length).unwrap_or_default();
                let read = ready!(stream.poll_read_slice(cx, room));
                if let Ok(length @ 1..) = read {
                    into.fill(length);
                    self.decoder.took(length);
                    return Poll::Ready(Ok(Read::Data));
                }
                read
            } else {
                ready!(self.poll_fill(cx, stream))
            };
            match read {
                Ok(1..) => {}
                Ok(0) if self.is_until_close() => {
                    self.decoder = Decoder::Ended;
                    return Poll::Ready(Ok(Read::End));
                }
                Ok(0) | Err(_) => return Poll::Ready(Err(Broken::Closed)),
            }
        }
    }
}
