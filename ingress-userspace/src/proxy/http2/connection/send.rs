//! What the handlers of requests do to their streams. A handler's stream is there as long as it
//! holds its key.

use std::task::{Context, Poll};

use super::{Connection, OUTPUT, SHARE};
use crate::proxy::{
    buffer::Buffer,
    http2::{
        error::Code,
        frame::{self, Header, flag, kind},
        head::{encode_response, encode_trailers},
        stream::{Ended, Stream, register},
    },
    message::{BodyLength, Fields, ResponseHead},
    sides::Read,
};

impl Connection {
    /// Moves some of a request's body. Pending: nothing is there.
    pub(crate) fn poll_body(
        &mut self,
        key: usize,
        cx: &mut Context<'_>,
        into: &mut Buffer,
    ) -> Poll<Result<Read, Ended>> {
        let Some(stream) = self.streams.get(key) else { return Poll::Ready(Err(Ended::Gone)) };
        // What has come to its end can be read whatever happened then.
        if let Some(ended) = stream.ended.filter(|_| !stream.received_end) {
            return Poll::Ready(Err(ended));
        }
        if stream.body.len() > 0 {
            let moved = stream.body.take(into);
            let id = stream.id;
            self.credit(moved);
            self.credit_stream(id, moved);
            return Poll::Ready(Ok(Read::Data));
        }
        if stream.received_end {
            return Poll::Ready(Ok(Read::End));
        }
        register(&mut stream.reading, cx.waker());
        Poll::Pending
    }

    /// So many bytes of a stream's data were used up.
    pub(super) fn credit_stream(&mut self, id: u32, length: usize) {
        let Some((_, stream)) = self.streams.find(id) else { return };
        if stream.received_end {
            return;
        }
        if let Some(increment) = stream.receive.consume(length) {
            frame::write_window(self.out.queue(), id, increment);
            self.kick();
        }
    }

    /// The trailers of the request, once.
    pub(crate) fn take_trailers(&mut self, key: usize) -> Option<Box<Fields>> {
        self.streams.get(key)?.trailers.take()
    }

    /// Ready when the stream is reset, or the connection lost.
    pub(crate) fn poll_gone(&mut self, key: usize, cx: &mut Context<'_>) -> Poll<()> {
        let Some(stream) = self.streams.get(key) else { return Poll::Ready(()) };
        if stream.ended.is_some() {
            return Poll::Ready(());
        }
        register(&mut stream.reading, cx.waker());
        Poll::Pending
    }

    /// The stream, if something can still be sent on it.
    fn sendable(&mut self, key: usize) -> Option<&mut Stream> {
        self.streams.get(key).filter(|stream| stream.ended.is_none() && !stream.sent_end)
    }

    /// 100, if the client waits for it.
    pub(crate) fn expect_body(&mut self, key: usize) {
        let Some(stream) = self.sendable(key) else { return };
        if std::mem::take(&mut stream.request.expects) && !stream.started && stream.body.len() == 0
        {
            self.interim(key, &ResponseHead { status: 100, ..ResponseHead::default() });
        }
    }

    /// Queues an interim answer.
    pub(crate) fn interim(&mut self, key: usize, head: &ResponseHead) {
        let Some(stream) = self.sendable(key).filter(|stream| !stream.started) else { return };
        let id = stream.id;
        self.write_block(id, false, |queue| encode_response(queue, head, head.status));
        self.kick();
    }

    /// Queues the head of the answer.
    pub(crate) fn start(&mut self, key: usize, head: &ResponseHead) {
        let Some(stream) = self.sendable(key).filter(|stream| !stream.started) else { return };
        let request = stream.request;
        // RFC 8441, section 5: where HTTP/1 says 101, an extended CONNECT is answered 200.
        // Any other 2xx does not: its body would be taken for the tunnel's bytes.
        let status = match head.status {
            101 if request.extended => 200,
            200..300 if request.extended => 502,
            status => status,
        };
        let tunnel = request.connect && (200..300).contains(&status);
        let end = !tunnel
            && (request.head
                || matches!(status, 204 | 304)
                || matches!(head.body, BodyLength::None | BodyLength::Exact(0)));
        stream.started = true;
        stream.sent_end = end;
        stream.owed = match head.body {
            BodyLength::Exact(length) if !tunnel => Some(length),
            _ => None,
        };
        let id = stream.id;
        let closed = stream.is_closed();
        self.write_block(id, end, |queue| encode_response(queue, head, status));
        if closed {
            self.streams.close(id, false);
        }
        self.flood.useful();
        self.kick();
    }

    /// Queues some of the answer's body. Pending: there is no room, or others come first.
    pub(crate) fn poll_write(
        &mut self,
        key: usize,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, Ended>> {
        let (turn, full, room) = (self.turn, self.out.len() >= OUTPUT, self.send.room());
        let others = !self.waiting.is_empty();
        let Some(stream) = self.streams.get(key) else { return Poll::Ready(Err(Ended::Gone)) };
        if let Some(ended) = stream.ended {
            return Poll::Ready(Err(ended));
        }
        if stream.sent.0 != turn {
            stream.sent = (turn, 0);
        }
        // What is beyond the announced length, or answers HEAD, is not sent.
        let owed =
            stream.owed.map_or(data.len(), |owed| usize::try_from(owed).unwrap_or(data.len()));
        let wanted = data.len().min(owed);
        if stream.sent_end || wanted == 0 {
            return Poll::Ready(Ok(data.len()));
        }
        let own = stream.send.room();
        let queued = stream.waits || others && stream.sent.1 >= SHARE;
        if own == 0 || full || room == 0 || queued {
            register(&mut stream.writing, cx.waker());
            // A stream without window waits for its own, and for nobody's turn.
            if own > 0 && !std::mem::replace(&mut stream.waits, true) {
                self.waiting.push_back(key);
                self.kick();
            }
            return Poll::Pending;
        }
        let length = wanted.min(own).min(room).min(self.peer.frame).min(frame::LONGEST);
        stream.send.take(length);
        stream.sent.1 += length;
        if let Some(owed) = &mut stream.owed {
            *owed = owed.saturating_sub(length as u64);
        }
        // The byte of the flags is the fifth of a header.
        stream.last_data = Some(self.out.position() + 4);
        let id = stream.id;
        self.send.take(length);
        let payload = data.get(..length).unwrap_or_default();
        frame::write(self.out.queue(), kind::DATA, 0, id, payload);
        self.flood.useful();
        self.kick();
        Poll::Ready(Ok(length))
    }

    /// Ends the answer.
    pub(crate) fn finish(&mut self, key: usize, trailers: Option<&Fields>) {
        let Some(stream) = self.sendable(key) else { return };
        if !stream.started || stream.owed.is_some_and(|owed| owed > 0) {
            // Shorter than announced: nobody is to take it for the whole.
            self.abort(key);
            return;
        }
        stream.sent_end = true;
        let id = stream.id;
        let closed = stream.is_closed();
        let last = stream.last_data;
        match trailers.filter(|trailers| !trailers.is_empty()) {
            Some(trailers) => self.write_block(id, true, |queue| encode_trailers(queue, trailers)),
            None => self.end_data(id, last),
        }
        if closed {
            self.streams.close(id, false);
        }
        self.kick();
    }

    /// Says that the last DATA was the last: in its flags, if it still waits.
    fn end_data(&mut self, id: u32, last: Option<u64>) {
        match last.and_then(|position| self.out.byte_at(position)) {
            Some(flags) => *flags |= flag::END_STREAM,
            None => {
                let header =
                    Header { length: 0, kind: kind::DATA, flags: flag::END_STREAM, stream: id };
                header.write(self.out.queue());
            }
        }
    }

    /// Resets the stream, unless it has ended.
    pub(crate) fn abort(&mut self, key: usize) {
        self.abort_with(key, Code::Internal);
    }

    /// The client lets nothing be sent for too long.
    pub(crate) fn give_up(&mut self, key: usize) {
        self.abort_with(key, Code::Cancel);
    }

    fn abort_with(&mut self, key: usize, code: Code) {
        let Some(stream) = self.sendable(key) else { return };
        let id = stream.id;
        self.reset(id, code, Ended::Gone);
        self.kick();
    }

    /// Nobody works for the stream any more. If its answer is not complete, the client learns of
    /// it; if it is, what the client still sends is not wanted (section 8.1).
    pub(crate) fn release(&mut self, key: usize) {
        let Some(stream) = self.streams.get(key) else { return };
        let id = stream.id;
        let (unread, waits) = (stream.body.len(), stream.waits);
        if !stream.is_closed() {
            let code = if stream.sent_end { Code::NoError } else { Code::Internal };
            self.reset(id, code, Ended::Gone);
            self.kick();
        }
        if waits {
            self.waiting.retain(|other| *other != key);
        }
        self.streams.remove(key);
        self.credit(unread);
        if self.streams.len() == 0 {
            // The driver looks at what it waits for now.
            self.kick();
        }
    }
}
