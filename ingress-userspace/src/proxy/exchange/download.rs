//! The answer's body on its way to the client.

use std::task::{Context, Poll, ready};

use super::{Side, pace::Pace};
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
    state: State,
    /// Of an answer with `limit-rate`.
    pace: Option<Box<Pace>>,
    /// Bytes so far.
    moved: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    Read,
    Finished,
    Done,
}

impl Download {
    pub(super) fn new(buffers: &Buffers) -> Self {
        Self::paced(buffers, model::Pace::default())
    }

    /// The body of an answer that begins now, at this pace.
    pub(super) fn paced(buffers: &Buffers, pace: model::Pace) -> Self {
        let (buffer, pace) = (None, Pace::new(pace));
        Self { buffers: buffers.clone(), buffer, state: State::Reading, pace, moved: 0 }
    }

    pub(super) fn moved(&self) -> u64 {
        self.moved
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
            match self.state {
                State::Reading => {
                    let mut buffer = self.buffers.take();
                    let read = up.poll_body(cx, &mut buffer);
                    self.buffer = Some(buffer).filter(|buffer| !buffer.is_empty());
                    match read {
                        Poll::Ready(Ok(Read::Data)) => {}
                        Poll::Ready(Ok(Read::End)) => self.state = State::Read,
                        Poll::Ready(Err(error)) => {
                            return Poll::Ready(Err(Side::Upstream(error)));
                        }
                        Poll::Pending => {
                            // What is there the client gets at once: it may be an event.
                            let _sent = down.poll_flush(cx).map_err(Side::Client)?;
                            return Poll::Pending;
                        }
                    }
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
        while let Some(buffer) = &mut self.buffer {
            let mut data = buffer.filled();
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
                    buffer.consume(length);
                    if buffer.is_empty() {
                        self.buffer = None;
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
