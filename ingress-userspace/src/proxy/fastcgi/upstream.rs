//! The upstream's side: one connection to an application, with one request. Closed when dropped,
//! which is how a client that leaves takes its request along.

use std::{
    net::SocketAddr,
    rc::Rc,
    task::{Context, Poll, ready},
};

use super::{
    Complaints, answer, complaints, parameters,
    record::{self, Ending, HEADER, Header, Kind},
};
use crate::proxy::{
    buffer::{Buffer, Buffers, SIZE},
    deadline::Deadline,
    http1::Patience,
    message::{BodyLength, Fields, RequestHead, ResponseHead},
    sides::{Read, Upstream, UpstreamError},
    stream::Stream,
};

/// More of the request waits here only until the transport has taken what is there. Bytes.
const QUEUED: usize = SIZE;

/// A connection to an application.
pub(crate) struct FastCgiUpstream {
    stream: Stream,
    address: SocketAddr,
    buffers: Buffers,
    complaints: Rc<Complaints>,
    /// What was said aside so far.
    said: Vec<u8>,
    /// To be sent, and how much of it is. Lent by the worker.
    queue: Vec<u8>,
    sent: usize,
    /// Read and not yet used. Lent only while something is in it.
    buffer: Option<Buffer>,
    place: Place,
    /// The answer's head as far as it has come, and what came behind it.
    text: Vec<u8>,
    /// So much of that is used. Bytes.
    used: usize,
    body: Body,
    patience: Patience,
    deadline: Deadline,
    waiting: Waiting,
    to_head: bool,
    /// The whole request is queued, at least.
    finished: bool,
    /// The answer's head has come.
    answered: bool,
}

/// Where in what the application sends the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before a record.
    Header,
    /// Within one of this kind: so many bytes before the end of its content.
    Content(Kind, usize, usize),
    /// So many bytes before the next record.
    Padding(usize),
    /// There is no more.
    Ended(Ending),
}

/// What is left of the answer's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Ended,
    /// So many bytes; never 0.
    Left(u64),
    /// What comes until the output ends.
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    No,
    Send,
    Read,
    Both,
}

/// What became of a look at the application's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// There is more now, or no room for it.
    More,
    Ended(Ending),
}

impl FastCgiUpstream {
    /// Over a transport that is connected to this address.
    pub(crate) fn new(
        stream: Stream,
        address: SocketAddr,
        buffers: &Buffers,
        deadline: Deadline,
        complaints: Rc<Complaints>,
        patience: Patience,
    ) -> Self {
        Self {
            stream,
            address,
            buffers: buffers.clone(),
            complaints,
            said: Vec::new(),
            queue: Vec::new(),
            sent: 0,
            buffer: None,
            place: Place::Header,
            text: Vec::new(),
            used: 0,
            body: Body::Ended,
            patience,
            deadline,
            waiting: Waiting::No,
            to_head: false,
            finished: false,
            answered: false,
        }
    }

    fn queue(&mut self) -> &mut Vec<u8> {
        if self.queue.capacity() == 0 {
            self.queue = self.buffers.take_queue();
        }
        &mut self.queue
    }

    /// Ready when the transport has taken all that is queued.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        while let Some(queued @ [_, ..]) = self.queue.get(self.sent..) {
            match self.stream.poll_write_slice(cx, queued) {
                Poll::Ready(Ok(length @ 1..)) => {
                    self.sent += length;
                    self.moved();
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(UpstreamError::Closed)),
                Poll::Pending => return self.wait(cx, Waiting::Send).map(Err),
            }
        }
        self.sent = 0;
        if self.queue.capacity() > 0 {
            self.buffers.give_queue(std::mem::take(&mut self.queue));
        }
        Poll::Ready(Ok(()))
    }

    /// Reads more.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        let mut buffer = self.buffer.take().unwrap_or_else(|| self.buffers.take());
        buffer.compact();
        let read = self.stream.poll_read_slice(cx, buffer.room());
        if let Poll::Ready(Ok(length)) = read {
            buffer.fill(length);
        }
        self.buffer = Some(buffer).filter(|buffer| !buffer.is_empty());
        match read {
            Poll::Ready(Ok(1..)) => {
                self.moved();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(UpstreamError::Closed)),
            // While the request is still being sent and no head has come, it is not the
            // application's turn.
            Poll::Pending if self.finished || self.answered => {
                self.wait(cx, Waiting::Read).map(Err)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn consume(&mut self, length: usize) {
        if let Some(buffer) = &mut self.buffer {
            buffer.consume(length);
            if buffer.is_empty() {
                self.buffer = None;
            }
        }
    }

    /// Moves output to the end of `into` or, without it, of the text: all that can be had with one
    /// read.
    fn poll_output(
        &mut self,
        cx: &mut Context<'_>,
        mut into: Option<&mut Buffer>,
    ) -> Poll<Result<Output, UpstreamError>> {
        let mut gained = false;
        loop {
            match self.place {
                Place::Ended(_) if gained => return Poll::Ready(Ok(Output::More)),
                Place::Ended(ending) => return Poll::Ready(Ok(Output::Ended(ending))),
                Place::Padding(0) => {
                    self.place = Place::Header;
                    continue;
                }
                Place::Content(kind @ (Kind::Output | Kind::Complaint), 0, padding) => {
                    debug_assert!(kind != Kind::End, "its content is read as a whole");
                    self.place = Place::Padding(padding);
                    continue;
                }
                Place::Header | Place::Content(..) | Place::Padding(_) => {}
            }
            let pending = self.buffer.as_ref().map_or(&[][..], Buffer::filled);
            let available = pending.len();
            match self.place {
                Place::Header => {
                    if let Some(bytes) = pending.first_chunk::<HEADER>() {
                        let header =
                            Header::read(*bytes).map_err(|_bad| UpstreamError::Malformed)?;
                        self.consume(HEADER);
                        self.place = match header {
                            Header { kind: Kind::Output, length: 0, .. } => {
                                Place::Ended(Ending::Complete)
                            }
                            Header { kind, length, padding } => {
                                Place::Content(kind, length, padding)
                            }
                        };
                        continue;
                    }
                }
                Place::Content(Kind::End, ..) => {
                    if let Some(content) = pending.first_chunk::<8>() {
                        self.place = Place::Ended(Ending::read(*content));
                        continue;
                    }
                }
                Place::Content(kind, left, padding) if available > 0 => {
                    let content = pending.get(..left).unwrap_or(pending);
                    let taken = match (kind, &mut into) {
                        (Kind::Output, Some(into)) => {
                            let content = capped(self.body, content);
                            into.append(content)
                        }
                        (Kind::Output, None) => {
                            let room = SIZE.saturating_sub(self.text.len());
                            let content = content.get(..room).unwrap_or(content);
                            self.text.extend_from_slice(content);
                            content.len()
                        }
                        _ => {
                            let room = complaints::KEPT.saturating_sub(self.said.len());
                            let kept = content.get(..room).unwrap_or(content);
                            self.said.extend_from_slice(kept);
                            content.len()
                        }
                    };
                    self.consume(taken);
                    self.place = Place::Content(kind, left - taken, padding);
                    if kind == Kind::Output {
                        gained = true;
                        if into.is_some() {
                            self.took(taken);
                        }
                        if taken == 0 || self.body == Body::Ended && into.is_some() {
                            return Poll::Ready(Ok(Output::More));
                        }
                    }
                    continue;
                }
                Place::Padding(left) if available > 0 => {
                    let skipped = left.min(available);
                    self.consume(skipped);
                    self.place = Place::Padding(left - skipped);
                    continue;
                }
                Place::Content(..) | Place::Padding(_) | Place::Ended(_) => {}
            }
            if gained {
                return Poll::Ready(Ok(Output::More));
            }
            ready!(self.poll_fill(cx))?;
        }
    }

    /// So many bytes of the body were handed over.
    fn took(&mut self, length: usize) {
        if let Body::Left(left) = self.body {
            let left = left.saturating_sub(length as u64);
            self.body = if left == 0 { Body::Ended } else { Body::Left(left) };
        }
    }

    /// Late, if the deadline for this has passed. As in `http1::client`.
    fn wait(&mut self, cx: &Context<'_>, waiting: Waiting) -> Poll<UpstreamError> {
        let patience = match waiting {
            Waiting::Read => self.patience.read,
            _ => self.patience.send,
        };
        match self.waiting {
            Waiting::No => {
                self.waiting = waiting;
                self.deadline.set(patience);
            }
            own if own != waiting && own != Waiting::Both => {
                self.waiting = Waiting::Both;
                self.deadline.shorten(patience);
            }
            _ => {}
        }
        ready!(self.deadline.poll(cx));
        self.moved();
        Poll::Ready(UpstreamError::Late)
    }

    /// What was waited for is waited for anew.
    fn moved(&mut self) {
        if self.waiting != Waiting::No {
            self.waiting = Waiting::No;
            self.deadline.clear();
        }
    }
}

/// As much of the content as the body still has; nginx too ignores what is beyond.
fn capped(body: Body, content: &[u8]) -> &[u8] {
    match body {
        Body::Ended => &[],
        Body::Open => content,
        Body::Left(left) => {
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            content.get(..left).unwrap_or(content)
        }
    }
}

impl Upstream for FastCgiUpstream {
    fn start(&mut self, head: &RequestHead) {
        self.to_head = head.method == http::Method::HEAD;
        let pairs = parameters::of(head);
        let queue = self.queue();
        record::begin(queue);
        record::parameters(queue, &pairs);
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, UpstreamError>> {
        if self.queue.len() > QUEUED {
            ready!(self.poll_send(cx))?;
        }
        Poll::Ready(Ok(record::body(self.queue(), data)))
    }

    fn finish(&mut self, _trailers: Option<&Fields>) {
        record::end_of_body(self.queue());
        self.finished = true;
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        self.poll_send(cx)
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<(), UpstreamError>> {
        loop {
            match answer::read(&self.text, head, self.to_head) {
                Ok(Some(length)) => {
                    self.used = length;
                    self.answered = true;
                    self.moved();
                    self.body = match head.body {
                        BodyLength::None | BodyLength::Exact(0) => Body::Ended,
                        BodyLength::Exact(length) => Body::Left(length),
                        BodyLength::Unknown => Body::Open,
                    };
                    return Poll::Ready(Ok(()));
                }
                Ok(None) if self.text.len() < SIZE => {}
                Ok(None) | Err(_) => return Poll::Ready(Err(UpstreamError::Malformed)),
            }
            match ready!(self.poll_output(cx, None))? {
                Output::More => {}
                Output::Ended(Ending::Refused) => return Poll::Ready(Err(UpstreamError::Refused)),
                Output::Ended(Ending::Complete | Ending::Unfit) => {
                    return Poll::Ready(Err(UpstreamError::Malformed));
                }
            }
        }
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Buffer,
    ) -> Poll<Result<Read, UpstreamError>> {
        if self.body == Body::Ended {
            return Poll::Ready(Ok(Read::End));
        }
        if let Some(rest @ [_, ..]) = self.text.get(self.used..) {
            let length = into.append(capped(self.body, rest));
            self.used += length;
            self.took(length);
            return Poll::Ready(Ok(Read::Data));
        }
        if self.used > 0 {
            (self.text, self.used) = (Vec::new(), 0);
        }
        match ready!(self.poll_output(cx, Some(into)))? {
            Output::More => Poll::Ready(Ok(Read::Data)),
            Output::Ended(Ending::Complete) if self.body == Body::Open => {
                self.body = Body::Ended;
                Poll::Ready(Ok(Read::End))
            }
            // Less than its length says, or the request ended badly.
            Output::Ended(_) => Poll::Ready(Err(UpstreamError::Closed)),
        }
    }

    fn trailers(&self) -> Option<&Fields> {
        None
    }
}

impl Drop for FastCgiUpstream {
    fn drop(&mut self) {
        self.complaints.tell(self.address, &self.said);
    }
}
