//! The answer's body on its way to the client.

use std::task::{Context, Poll, ready};

use super::{
    Side,
    encode::{Coding, Encoder},
    pace::Pace,
};
use crate::{
    model,
    proxy::{
        buffer::{Buffer, Buffers},
        pipeline::trailers,
        sides::{ClientError, Downstream, Read, Upstream},
    },
};

pub(super) struct Download {
    buffers: Buffers,
    /// Read and not yet taken by the client's connection. Lent only while something is in it.
    buffer: Option<Buffer>,
    /// What changes it first; what has come out waits there instead.
    coding: Option<Box<Coding>>,
    state: State,
    /// Of an answer with `limit-rate`: counts what is sent, as nginx does.
    pace: Option<Box<Pace>>,
    /// Bytes so far, as the client gets them.
    moved: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// Nothing comes any more; what an encoder has of it is not all out yet.
    Ending,
    Read,
    Finished,
    Done,
}

impl Download {
    pub(super) fn new(buffers: &Buffers) -> Self {
        Self::begin(buffers, model::Pace::default(), None)
    }

    /// The body of an answer that begins now, at this pace, compressed by this encoder.
    pub(super) fn begin(
        buffers: &Buffers,
        pace: model::Pace,
        encoder: Option<Box<Encoder>>,
    ) -> Self {
        Self {
            buffers: buffers.clone(),
            buffer: None,
            coding: encoder.map(Coding::new),
            state: State::Reading,
            pace: Pace::new(pace),
            moved: 0,
        }
    }

    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Bytes of the body that the endpoint sent so far.
    pub(super) fn received(&self) -> u64 {
        match &self.coding {
            Some(coding) => coding.received(),
            None => self.moved + self.buffer.as_ref().map_or(0, Buffer::len) as u64,
        }
    }

    /// Ready when the client's transport has all of it.
    pub(super) fn poll<D: Downstream, U: Upstream>(
        &mut self,
        cx: &mut Context<'_>,
        up: &mut U,
        down: &mut D,
    ) -> Poll<Result<(), Side>> {
        loop {
            ready!(self.write(cx, down))?;
            if let Some(coding) = &mut self.coding
                && coding.catch_up()?
            {
                continue;
            }
            match self.state {
                State::Reading => {
                    let mut buffer = self.buffers.take();
                    let read = up.poll_body(cx, &mut buffer);
                    match &mut self.coding {
                        None => self.buffer = Some(buffer).filter(|buffer| !buffer.is_empty()),
                        Some(coding) => coding.write(buffer.filled())?,
                    }
                    match read {
                        Poll::Ready(Ok(Read::Data)) => {}
                        Poll::Ready(Ok(Read::End)) => {
                            self.state = match &mut self.coding {
                                None => State::Read,
                                Some(coding) => {
                                    coding.end()?;
                                    State::Ending
                                }
                            };
                        }
                        Poll::Ready(Err(error)) => {
                            return Poll::Ready(Err(Side::Upstream(error)));
                        }
                        Poll::Pending => {
                            // What is there the client gets at once: it may be an event.
                            if let Some(coding) = &mut self.coding
                                && coding.release()?
                            {
                                continue;
                            }
                            let _sent = down.poll_flush(cx).map_err(Side::Client)?;
                            return Poll::Pending;
                        }
                    }
                }
                State::Ending => {
                    if let Some(coding) = &mut self.coding {
                        coding.finish()?;
                    }
                    self.state = State::Read;
                }
                State::Read => {
                    let trailers = up.trailers().map(trailers::to_client);
                    down.finish(trailers.as_deref());
                    self.state = State::Finished;
                }
                State::Finished => {
                    ready!(down.poll_flush(cx)).map_err(Side::Client)?;
                    self.state = State::Done;
                }
                State::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    fn write<D: Downstream>(
        &mut self,
        cx: &mut Context<'_>,
        down: &mut D,
    ) -> Poll<Result<(), Side>> {
        loop {
            let mut data = match (&self.coding, &self.buffer) {
                (Some(coding), _) => coding.out(),
                (None, Some(buffer)) => buffer.filled(),
                (None, None) => &[],
            };
            if data.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if let Some(pace) = &mut self.pace {
                match pace.poll_allowed(cx, self.moved) {
                    Poll::Ready(allowed) => data = data.get(..allowed).unwrap_or(data),
                    Poll::Pending => {
                        // What may go, goes: it is not to wait for what may not.
                        let _sent = down.poll_flush(cx).map_err(Side::Client)?;
                        return Poll::Pending;
                    }
                }
            }
            match ready!(down.poll_write(cx, data)).map_err(Side::Client)? {
                // More than was announced: the client's connection cannot take it.
                0 => return Poll::Ready(Err(Side::Client(ClientError::Gone))),
                length => {
                    self.moved += length as u64;
                    self.sent(length);
                }
            }
        }
    }

    /// The client's connection has taken so much of what waits.
    fn sent(&mut self, length: usize) {
        if let Some(coding) = &mut self.coding {
            coding.sent(length);
        } else if let Some(buffer) = &mut self.buffer {
            buffer.consume(length);
            if buffer.is_empty() {
                self.buffer = None;
            }
        }
    }
}
