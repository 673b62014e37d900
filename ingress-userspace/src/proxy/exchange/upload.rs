//! The request's body on its way to the endpoint. As long as all of it that was read is no more than
//! the route keeps (`client-body-buffer-size`), another attempt can send it again.

use std::task::{Context, Poll, ready};

use super::{Ahead, Side};
use crate::{
    model::Proxying,
    proxy::{
        buffer::{Buffer, Buffers, SIZE},
        message::BodyLength,
        pipeline::trailers,
        sides::{ClientError, Downstream, Read, Upstream},
    },
};

pub(super) struct Upload {
    buffers: Buffers,
    /// Read and not yet sent; while `kept`, also what is sent.
    buffer: Option<Buffer>,
    /// How much of the buffer is sent. Bytes.
    sent: usize,
    /// The buffer holds everything that was read.
    kept: bool,
    /// As much is kept at most. Less than a buffer holds. Bytes.
    limit: usize,
    /// As much may still come from the client. Bytes.
    allowed: u64,
    /// What was read before all else, until it has gone on.
    ahead: Option<Box<Ahead>>,
    state: State,
    /// Bytes so far.
    moved: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// More may come.
    Reading,
    /// All has come from the client.
    Read,
    /// All has been handed to the endpoint's connection, but not sent by it.
    Finished,
    Done,
}

impl Upload {
    pub(super) fn new(
        buffers: &Buffers,
        body: BodyLength,
        proxying: &Proxying,
        ahead: Option<Box<Ahead>>,
    ) -> Self {
        let state = if body == BodyLength::None { State::Read } else { State::Reading };
        let limit = usize::try_from(proxying.body_buffer).unwrap_or(usize::MAX).min(SIZE - 1);
        let allowed = proxying.max_body.unwrap_or(u64::MAX);
        let buffers = buffers.clone();
        Self { buffers, buffer: None, sent: 0, kept: true, limit, allowed, ahead, state, moved: 0 }
    }

    /// What goes through a tunnel: as much as comes, and none of it twice.
    pub(super) fn tunnel(buffers: &Buffers) -> Self {
        Self {
            buffers: buffers.clone(),
            buffer: None,
            sent: 0,
            kept: false,
            limit: 0,
            allowed: u64::MAX,
            ahead: None,
            state: State::Reading,
            moved: 0,
        }
    }

    /// Ready when the body has ended, or as much of it is there as is kept.
    pub(super) fn poll_fill<D: Downstream>(
        &mut self,
        cx: &mut Context<'_>,
        down: &mut D,
    ) -> Poll<Result<(), Side>> {
        while self.state == State::Reading && self.unsent() <= self.limit {
            if ready!(self.read(cx, down))? == Read::End {
                self.state = State::Read;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The body, if all of it is there.
    pub(super) fn whole_body(&self) -> Option<&[u8]> {
        let whole = self.kept && self.state != State::Reading;
        whole.then(|| self.buffer.as_ref().map_or(&[][..], Buffer::filled))
    }

    /// Another attempt can send all of it.
    pub(super) fn is_repeatable(&self) -> bool {
        self.kept
    }

    /// Another attempt begins.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
        if self.state > State::Read {
            self.state = State::Read;
        }
    }

    /// Nothing more is sent.
    pub(super) fn stop(&mut self) {
        self.state = State::Done;
        self.kept = false;
        self.buffer = None;
    }

    /// All of it has been handed to the endpoint's connection.
    pub(super) fn is_finished(&self) -> bool {
        self.state >= State::Finished
    }

    /// All of it has come from the client, or nobody wants the rest.
    pub(super) fn is_read(&self) -> bool {
        self.state >= State::Read
    }

    /// The endpoint takes nothing, so that nothing more is read from the client.
    pub(super) fn is_stuck(&mut self) -> bool {
        self.state == State::Reading && !self.has_room()
    }

    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Ready when all is sent.
    pub(super) fn poll<D: Downstream, U: Upstream>(
        &mut self,
        cx: &mut Context<'_>,
        down: &mut D,
        up: &mut U,
    ) -> Poll<Result<(), Side>> {
        loop {
            if self.state == State::Done {
                return Poll::Ready(Ok(()));
            }
            self.send(cx, up)?;
            let has_room = self.has_room();
            match self.state {
                State::Reading if has_room => match self.read(cx, down) {
                    Poll::Ready(Ok(Read::Data)) => {}
                    Poll::Ready(Ok(Read::End)) => self.state = State::Read,
                    Poll::Ready(Err(side)) => return Poll::Ready(Err(side)),
                    Poll::Pending => {
                        // What the endpoint can have, it gets.
                        let _sent = up.poll_flush(cx).map_err(Side::Upstream)?;
                        return Poll::Pending;
                    }
                },
                State::Read if self.unsent() == 0 => {
                    let trailers = down.trailers().map(trailers::to_upstream);
                    up.finish(trailers.as_deref());
                    self.state = State::Finished;
                }
                State::Finished => {
                    ready!(up.poll_flush(cx)).map_err(Side::Upstream)?;
                    self.state = State::Done;
                    if !self.kept {
                        self.buffer = None;
                    }
                }
                _ => return Poll::Pending,
            }
        }
    }

    fn unsent(&self) -> usize {
        self.buffer.as_ref().map_or(0, |buffer| buffer.len() - self.sent)
    }

    /// Hands as much to the endpoint as it takes.
    fn send<U: Upstream>(&mut self, cx: &mut Context<'_>, up: &mut U) -> Result<(), Side> {
        let Some(buffer) = &mut self.buffer else { return Ok(()) };
        while let Some(unsent @ [_, ..]) = buffer.filled().get(self.sent..) {
            match up.poll_write(cx, unsent) {
                Poll::Ready(Ok(0)) | Poll::Pending => break,
                Poll::Ready(Ok(length)) => {
                    self.sent += length;
                    self.moved += length as u64;
                }
                Poll::Ready(Err(error)) => return Err(Side::Upstream(error)),
            }
        }
        if self.kept && self.state == State::Reading && buffer.len() > self.limit {
            self.kept = false;
        }
        if !self.kept {
            buffer.consume(self.sent);
            self.sent = 0;
            if buffer.is_empty() {
                self.buffer = None;
            }
        }
        Ok(())
    }

    fn has_room(&mut self) -> bool {
        match &mut self.buffer {
            Some(buffer) => {
                if !self.kept && buffer.room().is_empty() {
                    buffer.compact();
                }
                !buffer.room().is_empty()
            }
            None => true,
        }
    }

    fn read<D: Downstream>(
        &mut self,
        cx: &mut Context<'_>,
        down: &mut D,
    ) -> Poll<Result<Read, Side>> {
        let buffer = self.buffer.get_or_insert_with(|| self.buffers.take());
        let before = buffer.len();
        let read = match self.ahead.as_mut().and_then(|ahead| ahead.take(buffer)) {
            Some(read) => Poll::Ready(Ok(read)),
            None => {
                self.ahead = None;
                down.poll_body(cx, buffer)
            }
        };
        let came = (buffer.len() - before) as u64;
        if buffer.is_empty() {
            self.buffer = None;
        }
        match self.allowed.checked_sub(came) {
            Some(allowed) => self.allowed = allowed,
            None => return Poll::Ready(Err(Side::Client(ClientError::TooLarge))),
        }
        read.map_err(Side::Client)
    }
}
