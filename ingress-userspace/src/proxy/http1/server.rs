//! The client's side: takes one request after the other from a connection and writes their
//! answers.

use std::{
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{
    decode::Decoder,
    encode::{Encoder, content_length, push_number},
    inbound::{Broken, Inbound},
    outbound::Outbound,
    parse::{self, BadHead},
};
use crate::proxy::{
    buffer::Buffer,
    client::Client,
    message::{BodyLength, Fields, Known, RequestHead, ResponseHead, Version},
    respond::{self, Failure},
    sides::{ClientError, Downstream, Read, Traffic},
    stream::Stream,
};

/// How much of a body that nobody wants is read so that the connection can be used again. Bytes.
const DISCARDED: usize = 64 * 1024;
/// How long a client whose connection is to be closed may go on sending: closing at once would
/// reset the connection and take the answer with it.
const LINGER: Duration = Duration::from_secs(2);
/// How often it is looked whether a client is still there that sends more than is read.
const LOOK: Duration = Duration::from_millis(500);

/// How long a client may be gone from a fresh connection before it is noticed, and a tick.
const UNWATCHED: Duration = Duration::from_millis(100);

/// A client's connection.
pub(crate) struct Http1 {
    client: Rc<Client>,
    stream: Stream,
    inbound: Inbound,
    outbound: Outbound,
    requests: u32,
    version: Version,
    /// The request is HEAD: no body is sent.
    to_head: bool,
    /// The client waits for 100 before it sends its body.
    wants_continue: bool,
    /// The connection ends after this answer.
    close: bool,
    /// The client said that it sends no request after this one.
    is_last: bool,
    /// What came was no request: who knows what comes behind it.
    refused: bool,
    /// The answer did not reach its end: the connection must not look as if it did.
    aborted: bool,
    tunnel: Tunnel,
    /// The deadline runs until the client sends or takes something.
    waiting: bool,
    /// It runs until it is looked again whether the client is there.
    looking: bool,
    /// Of the present request.
    traffic: Traffic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tunnel {
    No,
    Open,
    /// No more is sent to the client.
    Ending,
}

/// What comes next on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A request; its head has been filled in.
    Request,
    /// Nothing.
    End,
    /// No request that can be answered but by this.
    Refused(Failure),
}

impl Http1 {
    /// `early` was read already.
    pub(crate) fn new(client: Rc<Client>, stream: Stream, early: Option<Buffer>) -> Self {
        let buffers = &client.worker.buffers;
        Self {
            inbound: Inbound::new(buffers, early),
            outbound: Outbound::new(buffers),
            client,
            stream,
            requests: 0,
            version: Version::Http11,
            to_head: false,
            wants_continue: false,
            close: false,
            is_last: false,
            refused: false,
            aborted: false,
            tunnel: Tunnel::No,
            waiting: false,
            looking: false,
            traffic: Traffic::default(),
        }
    }

    /// Waits for the next request, whose head is put into `head`. Nothing is taken from the worker
    /// before the first byte has come.
    pub(crate) async fn next(&mut self, head: &mut Option<Box<RequestHead>>) -> Next {
        let mut begun = false;
        loop {
            if !self.inbound.pending().is_empty() {
                let head = head.get_or_insert_with(|| self.client.worker.http2.heads.take());
                let limits = self.client.worker.limits.get();
                match parse::request(self.inbound.pending(), head, limits.header_line) {
                    Ok(Some(length)) if length > limits.header_total => {
                        return self.refuse(BadHead::TooLarge);
                    }
                    Ok(Some(length)) => {
                        self.inbound.consume(length);
                        self.begin(head);
                        self.traffic.head_received = u32::try_from(length).unwrap_or(u32::MAX);
                        return Next::Request;
                    }
                    Ok(None) if self.inbound.is_full() => {
                        return self.refuse(BadHead::TooLarge);
                    }
                    Ok(None) => {}
                    Err(bad) => return self.refuse(bad),
                }
                if !begun {
                    begun = true;
                    self.client.expect_head();
                }
            } else if self.requests > 0 {
                self.client.expect_next();
            }
            let filled = poll_fn(|cx| {
                let filled = self.inbound.poll_fill(cx, &mut self.stream);
                if filled.is_ready() {
                    return filled.map(Some);
                }
                self.client.poll_late(cx).map(|()| None)
            })
            .await;
            match filled {
                Some(Ok(1..)) => {}
                Some(Ok(0) | Err(_)) => return Next::End,
                // Late with its head, or merely idle.
                None if begun => {
                    self.client.answering();
                    return self.refuse_for(Failure::ClientTimeout);
                }
                None => return Next::End,
            }
        }
    }

    fn refuse(&mut self, bad: BadHead) -> Next {
        self.refuse_for(bad.failure())
    }

    /// Nothing of the request before this one says how this is answered.
    fn refuse_for(&mut self, failure: Failure) -> Next {
        self.version = Version::Http11;
        self.to_head = false;
        (self.waiting, self.looking) = (false, false);
        self.traffic = Traffic::default();
        self.close = true;
        self.refused = true;
        Next::Refused(failure)
    }

    fn begin(&mut self, head: &RequestHead) {
        self.client.answering();
        self.requests += 1;
        self.version = head.version;
        self.to_head = head.method == http::Method::HEAD;
        (self.waiting, self.looking) = (false, false);
        self.traffic = Traffic::default();
        let fields = &head.fields;
        let option = |wanted: &[u8]| {
            fields.items(Known::Connection).any(|item| item.eq_ignore_ascii_case(wanted))
        };
        let keep_alive =
            !option(b"close") && (head.version != Version::Http10 || option(b"keep-alive"));
        let limits = self.client.worker.limits.get();
        self.is_last = !keep_alive;
        self.close = !keep_alive
            || limits.keep_alive.is_none()
            || self.requests >= limits.keep_alive_requests;
        self.wants_continue = head.version == Version::Http11
            && fields.get(Known::Expect).is_some_and(|v| v.eq_ignore_ascii_case(b"100-continue"))
            && head.body != BodyLength::None;
        self.inbound.begin(Decoder::new(head.body, true));
    }

    /// After an answer: makes the connection ready for the next request. False: it has ended.
    pub(crate) async fn settle(&mut self) -> bool {
        if self.aborted {
            // Whose end is that of the connection must not end as if it were whole.
            if self.tunnel == Tunnel::No && self.outbound.is_until_close() {
                self.stream.reset_on_close();
            }
            return false;
        }
        if !self.close && !self.inbound.is_ended() {
            self.close = self.wants_continue || !self.discard().await;
        }
        if self.close {
            // Nothing of the client's is unread: closing at once takes nothing with it.
            let is_read = self.inbound.is_ended() && self.inbound.pending().is_empty();
            if is_read && !self.refused && (self.is_last || !self.stream.has_unseen()) {
                let _told = poll_fn(|cx| Poll::Ready(self.stream.poll_close_notify(cx))).await;
            } else {
                self.linger().await;
            }
            return false;
        }
        true
    }

    /// Reads the rest of a body that nobody wants. False: it is too much, or broken.
    async fn discard(&mut self) -> bool {
        let mut sink = self.client.worker.buffers.take();
        let mut discarded = 0;
        self.client.expect_head();
        while discarded < DISCARDED {
            let read = poll_fn(|cx| {
                let read = self.inbound.poll_body(cx, &mut self.stream, &mut sink);
                if read.is_ready() {
                    return read.map(Result::ok);
                }
                self.client.poll_late(cx).map(|()| None)
            })
            .await;
            match read {
                Some(Read::End) => {
                    // From now on it waits for the next request, like others.
                    self.client.answering();
                    return true;
                }
                Some(Read::Data) => {
                    discarded += sink.len();
                    sink.consume(sink.len());
                }
                None => return false,
            }
        }
        false
    }

    /// Tells the client that nothing more comes, and waits until it has seen it.
    async fn linger(&mut self) {
        self.client.deadline().set(LINGER);
        let mut sink = self.client.worker.buffers.take();
        let mut ended = false;
        poll_fn(|cx| {
            if !ended {
                match self.stream.poll_end(cx) {
                    Poll::Ready(Ok(())) => ended = true,
                    Poll::Ready(Err(_gone)) => return Poll::Ready(()),
                    Poll::Pending => return self.client.deadline().poll(cx),
                }
            }
            loop {
                match self.stream.poll_read_slice(cx, sink.room()) {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                    Poll::Pending => return self.client.deadline().poll(cx),
                }
            }
        })
        .await;
    }

    /// The client counts as gone, for the process ends.
    fn is_cut(&mut self) -> bool {
        let is_cut = self.client.worker.is_cut();
        self.aborted |= is_cut;
        is_cut
    }

    fn wrote<T>(
        &mut self,
        cx: &Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<Result<T, ClientError>> {
        match outcome {
            Poll::Ready(Ok(done)) => {
                self.moved();
                Poll::Ready(Ok(done))
            }
            Poll::Ready(Err(_gone)) => {
                self.aborted = true;
                Poll::Ready(Err(ClientError::Gone))
            }
            Poll::Pending => {
                if !self.is_cut() {
                    ready!(self.wait(cx, self.client.worker.timeouts.send));
                }
                self.aborted = true;
                Poll::Ready(Err(ClientError::Gone))
            }
        }
    }

    /// Ready when the client neither sends nor takes anything for too long. A tunnel has a deadline
    /// of its own.
    fn wait(&mut self, cx: &Context<'_>, timeout: Duration) -> Poll<()> {
        if self.tunnel != Tunnel::No {
            return Poll::Pending;
        }
        if !self.waiting {
            (self.waiting, self.looking) = (true, false);
            self.client.deadline().set(timeout);
        }
        self.client.deadline().poll(cx)
    }

    /// The client sent or took something.
    fn moved(&mut self) {
        if self.waiting || self.looking {
            (self.waiting, self.looking) = (false, false);
            self.client.deadline().clear();
        }
    }
}

impl Downstream for Http1 {
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Buffer,
    ) -> Poll<Result<Read, ClientError>> {
        if self.is_cut() {
            return Poll::Ready(Err(ClientError::Gone));
        }
        let before = into.len();
        match self.inbound.poll_body(cx, &mut self.stream, into) {
            Poll::Ready(outcome) => {
                self.traffic.body_received += into.len().saturating_sub(before) as u64;
                self.moved();
                self.wants_continue = false;
                Poll::Ready(outcome.map_err(|broken| {
                    self.close = true;
                    match broken {
                        Broken::Closed => {
                            self.aborted = true;
                            ClientError::Gone
                        }
                        Broken::Malformed => ClientError::Malformed,
                    }
                }))
            }
            Poll::Pending => {
                ready!(self.wait(cx, self.client.worker.limits.get().body_timeout));
                // The answer has time of its own.
                self.moved();
                self.close = true;
                Poll::Ready(Err(ClientError::Late))
            }
        }
    }

    fn trailers(&self) -> Option<&Fields> {
        self.inbound.trailers()
    }

    fn expect_body(&mut self) {
        if self.wants_continue {
            self.wants_continue = false;
            self.outbound.queue().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    fn interim(&mut self, head: &ResponseHead) {
        if self.version == Version::Http11 {
            let queue = self.outbound.queue();
            status_line(queue, head);
            // Some upstreams send a length, which an interim answer must not have (RFC 9110,
            // section 8.6).
            fields_but_length(queue, &head.fields);
            queue.extend_from_slice(b"\r\n");
        }
    }

    fn start(&mut self, head: &ResponseHead) {
        if self.client.worker.draining() {
            self.close = true;
        }
        // A client that waits for 100 will not send its body after this; one that sends it all
        // the same would have it taken for a request.
        if self.wants_continue {
            self.close = true;
        }
        let queue = self.outbound.queue();
        let before = queue.len();
        status_line(queue, head);
        fields_but_length(queue, &head.fields);
        let mut encoder = Encoder::Ended;
        match head.body {
            // Whatever was meant: what follows is the next answer (RFC 9112, section 6.3).
            BodyLength::Exact(_) | BodyLength::Unknown if matches!(head.status, 204 | 304) => {}
            BodyLength::Exact(length) if self.to_head => content_length(queue, length),
            BodyLength::Unknown if self.to_head => {}
            BodyLength::Unknown if self.version < Version::Http11 => {
                self.close = true;
                encoder = Encoder::Raw;
            }
            BodyLength::Exact(_) | BodyLength::Unknown => {
                encoder = Encoder::announce(head.body, queue);
            }
            BodyLength::None if self.to_head || head.status == 304 => {
                if let Some(length) = head.fields.get(Known::ContentLength) {
                    queue.extend_from_slice(b"Content-Length: ");
                    queue.extend_from_slice(length);
                    queue.extend_from_slice(b"\r\n");
                }
            }
            BodyLength::None if head.status < 200 || head.status == 204 => {}
            BodyLength::None => content_length(queue, 0),
        }
        if head.status == 101 {
            queue.extend_from_slice(b"Connection: upgrade\r\n");
        } else if self.close {
            queue.extend_from_slice(b"Connection: close\r\n");
        } else if self.version == Version::Http10 {
            queue.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        queue.extend_from_slice(b"\r\n");
        let length = queue.len().saturating_sub(before);
        self.traffic.head_sent = u32::try_from(length).unwrap_or(u32::MAX);
        self.outbound.begin(encoder);
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, ClientError>> {
        let outcome = self.outbound.poll_write(cx, &mut self.stream, data);
        if let Poll::Ready(Ok(length)) = outcome {
            self.traffic.body_sent += length as u64;
        }
        self.wrote(cx, outcome)
    }

    fn finish(&mut self, trailers: Option<&Fields>) {
        if !self.outbound.finish(trailers) {
            self.aborted = true;
        }
        if self.tunnel == Tunnel::Open {
            self.tunnel = Tunnel::Ending;
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        if !self.outbound.is_flushed() {
            let outcome = self.outbound.poll_flush(cx, &mut self.stream);
            ready!(self.wrote(cx, outcome))?;
        }
        if self.tunnel == Tunnel::Ending {
            let outcome = self.stream.poll_end(cx);
            return self.wrote(cx, outcome);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_cut() {
            return Poll::Ready(());
        }
        // Most answers are there before it would be worth having the runtime watch the client.
        if self.stream.is_fresh() && !self.waiting {
            let deadline = self.client.deadline();
            if !self.looking {
                self.looking = true;
                deadline.set(UNWATCHED);
            }
            if deadline.poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.looking = false;
            deadline.clear();
        }
        // What comes now is the next request, or the end: kept, as far as there is room.
        while !self.inbound.is_full() {
            match self.inbound.poll_fill(cx, &mut self.stream) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.aborted = true;
                    return Poll::Ready(());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        self.poll_left(cx)
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_cut() || self.stream.is_read_closed() {
            self.aborted = true;
            return Poll::Ready(());
        }
        // Nothing wakes for the end while bytes are unread before it.
        if !self.waiting && self.tunnel == Tunnel::No {
            let deadline = self.client.deadline();
            if !self.looking || deadline.poll(cx).is_ready() {
                // Fresh still, it would be looked at for nothing. Where the runtime cannot watch it, what
                // is written next finds out.
                if self.looking {
                    let _unwatched = self.stream.register();
                }
                self.looking = true;
                deadline.set(LOOK);
                let _set = deadline.poll(cx);
            }
        }
        Poll::Pending
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn tunnel(&mut self) {
        self.tunnel = Tunnel::Open;
        self.close = true;
        self.inbound.begin(Decoder::UntilClose);
        self.outbound.begin(Encoder::Raw);
    }

    fn close(&mut self) {
        self.close = true;
    }

    fn abort(&mut self) {
        self.aborted = true;
    }
}

/// All fields but `Content-Length`, which is written where it is certain.
fn fields_but_length(queue: &mut Vec<u8>, fields: &Fields) {
    for field in fields.iter() {
        if field.known != Some(Known::ContentLength) {
            queue.extend_from_slice(field.name);
            queue.extend_from_slice(b": ");
            queue.extend_from_slice(field.value);
            queue.extend_from_slice(b"\r\n");
        }
    }
}

fn status_line(queue: &mut Vec<u8>, head: &ResponseHead) {
    queue.extend_from_slice(b"HTTP/1.1 ");
    push_number(queue, u64::from(head.status));
    queue.push(b' ');
    if head.reason.is_empty() {
        queue.extend_from_slice(respond::reason(head.status).as_bytes());
    } else {
        queue.extend_from_slice(&head.reason);
    }
    queue.extend_from_slice(b"\r\n");
}
