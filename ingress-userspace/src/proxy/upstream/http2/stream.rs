//! One request on a shared connection: the upstream's side of it.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture};

use super::{connection::Connection, convert};
use crate::{
    model::Proxying,
    proxy::{
        buffer::Buffer,
        deadline::{Deadline, Deadlines},
        message::{BodyLength, Fields, RequestHead, ResponseHead},
        sides::{Read, Upstream, UpstreamError},
    },
};

/// As much of a request's body is handed over at once. Bytes.
const CHUNK: usize = 16 * 1024;

/// A stream, or the place for one until [`start`](Upstream::start). Reset if it is dropped before
/// both its sides have ended, which is how a client that leaves takes its upstream request along.
pub(crate) struct Http2Stream {
    connection: Rc<Connection>,
    https: bool,
    reused: bool,
    to_head: bool,
    request: Option<SendStream<Bytes>>,
    response: Option<ResponseFuture>,
    answer: Option<RecvStream>,
    /// Of the answer's body; the window for it is given back as it moves on.
    rest: Bytes,
    trailers: Option<Fields>,
    /// The request has ended.
    finished: bool,
    /// The endpoint wants no more of the request's body, though it answers.
    unwanted: bool,
    /// The answer has ended.
    ended: bool,
    failed: Option<UpstreamError>,
    reading: Patience,
    writing: Patience,
}

/// A timeout that runs while something is waited for.
struct Patience {
    deadline: Deadline,
    timeout: Duration,
    waiting: bool,
}

impl Patience {
    fn new(deadlines: &Rc<Deadlines>, timeout: Duration) -> Self {
        Self { deadline: deadlines.deadline(), timeout, waiting: false }
    }

    /// Something moved.
    fn stop(&mut self) {
        if std::mem::take(&mut self.waiting) {
            self.deadline.clear();
        }
    }

    /// Ready when nothing has moved for too long.
    fn poll_late(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !self.waiting {
            self.waiting = true;
            self.deadline.set(self.timeout);
        }
        self.deadline.poll(cx)
    }
}

impl Http2Stream {
    pub(super) fn new(
        connection: Rc<Connection>,
        deadlines: &Rc<Deadlines>,
        https: bool,
        proxying: &Proxying,
    ) -> Self {
        let reused = connection.requests() > 0;
        connection.enter();
        Self {
            connection,
            https,
            reused,
            to_head: false,
            request: None,
            response: None,
            answer: None,
            rest: Bytes::new(),
            trailers: None,
            finished: false,
            unwanted: false,
            ended: false,
            failed: None,
            reading: Patience::new(deadlines, proxying.read_timeout),
            writing: Patience::new(deadlines, proxying.send_timeout),
        }
    }

    /// The connection has had other requests before: one that is found closed may have been idle for
    /// too long, which says nothing about the endpoint.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }

    fn fail(&mut self, error: UpstreamError) -> UpstreamError {
        if error == UpstreamError::Late {
            self.connection.suspect();
        }
        self.failed = Some(error);
        error
    }

    /// What an error of the stream or of its connection means for the request.
    fn fail_by(&mut self, error: &h2::Error) -> UpstreamError {
        tracing::debug!(%error, "an HTTP/2 stream to an endpoint failed");
        // The endpoint does not look at streams that it refuses, nor at those above the last one
        // that its GOAWAY names; those below fail by the end of the connection (RFC 9113, sections
        // 6.8 and 8.7).
        let unseen = self.answer.is_none()
            && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM));
        self.fail(if error.is_remote() && unseen {
            UpstreamError::Refused
        } else if error.is_library() {
            UpstreamError::Malformed
        } else {
            UpstreamError::Closed
        })
    }

    /// Moves what was read. Gives its window back.
    fn pour(&mut self, into: &mut Buffer) {
        let length = into.append(&self.rest);
        self.rest.advance(length);
        if let Some(answer) = &mut self.answer {
            // Fails only if more is given back than was taken.
            let _given = answer.flow_control().release_capacity(length);
        }
    }

    /// Why the endpoint takes no more of the body.
    fn refuse_body(&mut self, cx: &mut Context<'_>, length: usize) -> Result<usize, UpstreamError> {
        let reset = self.request.as_mut().map(|request| request.poll_reset(cx));
        match reset {
            // It has said, or will, all it has to say without the rest (RFC 9113, section 8.1).
            Some(Poll::Ready(Ok(Reason::NO_ERROR))) => {
                self.unwanted = true;
                Ok(length)
            }
            Some(Poll::Ready(Ok(Reason::REFUSED_STREAM))) if self.answer.is_none() => {
                Err(self.fail(UpstreamError::Refused))
            }
            Some(Poll::Ready(Err(error))) => Err(self.fail_by(&error)),
            _ => Err(self.fail(UpstreamError::Closed)),
        }
    }
}

impl Upstream for Http2Stream {
    fn start(&mut self, head: &RequestHead) {
        let Some(request) = convert::request(head, self.https) else {
            self.fail(UpstreamError::Malformed);
            return;
        };
        self.to_head = head.method == http::Method::HEAD;
        self.finished = matches!(head.body, BodyLength::None | BodyLength::Exact(0));
        match self.connection.sender().send_request(request, self.finished) {
            Ok((response, request)) => {
                self.response = Some(response);
                self.request = Some(request);
            }
            Err(error) => {
                tracing::debug!(%error, "an HTTP/2 connection takes no more requests");
                self.connection.suspect();
                self.fail(UpstreamError::Refused);
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, UpstreamError>> {
        if let Some(error) = self.failed {
            return Poll::Ready(Err(error));
        }
        if data.is_empty() || self.unwanted {
            return Poll::Ready(Ok(data.len()));
        }
        let Some(request) = self.request.as_mut().filter(|_| !self.finished) else {
            return Poll::Ready(Err(self.fail(UpstreamError::Closed)));
        };
        let wanted = data.len().min(CHUNK);
        request.reserve_capacity(wanted);
        while request.capacity() == 0 {
            match request.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(self.fail_by(&error))),
                Poll::Ready(None) => return Poll::Ready(self.refuse_body(cx, data.len())),
                Poll::Pending => {
                    ready!(self.writing.poll_late(cx));
                    return Poll::Ready(Err(self.fail(UpstreamError::Late)));
                }
            }
        }
        let length = wanted.min(request.capacity());
        let chunk = Bytes::copy_from_slice(data.get(..length).unwrap_or_default());
        if request.send_data(chunk, false).is_err() {
            return Poll::Ready(self.refuse_body(cx, data.len()));
        }
        self.writing.stop();
        self.reading.stop();
        Poll::Ready(Ok(length))
    }

    fn finish(&mut self, trailers: Option<&Fields>) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let Some(request) = &mut self.request else { return };
        // Where this fails the endpoint has reset the stream, which reading the answer tells.
        let _reset = match trailers.filter(|trailers| !trailers.is_empty()) {
            Some(trailers) => request.send_trailers(convert::trailers(trailers)),
            None => request.send_data(Bytes::new(), true),
        };
        self.reading.stop();
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        // The connection writes by itself; how much it may hold is decided by the windows.
        Poll::Ready(self.failed.map_or(Ok(()), Err))
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<(), UpstreamError>> {
        head.clear();
        if let Some(error) = self.failed {
            return Poll::Ready(Err(error));
        }
        let Some(response) = &mut self.response else {
            return Poll::Ready(Err(self.fail(UpstreamError::Closed)));
        };
        match response.poll_informational(cx) {
            Poll::Ready(Some(Ok(interim))) => {
                self.reading.stop();
                convert::response(&interim, false, self.to_head, head);
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(self.fail_by(&error))),
            Poll::Ready(None) | Poll::Pending => {}
        }
        match Pin::new(response).poll(cx) {
            Poll::Ready(Ok(answer)) => {
                self.reading.stop();
                self.response = None;
                convert::response(&answer, answer.body().is_end_stream(), self.to_head, head);
                self.answer = Some(answer.into_body());
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.fail_by(&error))),
            // As long as the request goes on, others decide what is too slow.
            Poll::Pending if !self.finished && !self.unwanted => Poll::Pending,
            Poll::Pending => {
                ready!(self.reading.poll_late(cx));
                Poll::Ready(Err(self.fail(UpstreamError::Late)))
            }
        }
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Buffer,
    ) -> Poll<Result<Read, UpstreamError>> {
        if into.room().is_empty() {
            return Poll::Ready(Ok(Read::Data));
        }
        while self.rest.is_empty() {
            if self.ended {
                return Poll::Ready(Ok(Read::End));
            }
            if let Some(error) = self.failed {
                return Poll::Ready(Err(error));
            }
            let Some(answer) = &mut self.answer else {
                return Poll::Ready(Err(self.fail(UpstreamError::Closed)));
            };
            let outcome = match answer.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => {
                    self.rest = data;
                    continue;
                }
                Poll::Ready(Some(Err(error))) => Poll::Ready(Err(error)),
                Poll::Ready(None) => answer.poll_trailers(cx),
                Poll::Pending => Poll::Pending,
            };
            match outcome {
                Poll::Ready(Ok(trailers)) => {
                    self.reading.stop();
                    self.trailers = trailers.as_ref().map(convert::fields);
                    self.ended = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.fail_by(&error))),
                Poll::Pending => {
                    ready!(self.reading.poll_late(cx));
                    return Poll::Ready(Err(self.fail(UpstreamError::Late)));
                }
            }
        }
        self.reading.stop();
        self.pour(into);
        Poll::Ready(Ok(Read::Data))
    }

    fn trailers(&self) -> Option<&Fields> {
        self.trailers.as_ref()
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        if let Some(request) = &mut self.request
            && !(self.finished && self.ended)
        {
            request.send_reset(Reason::CANCEL);
        }
        self.connection.leave();
    }
}
