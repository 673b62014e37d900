//! The client's role: connections to upstreams, and the streams that we open on them.

use std::{
    rc::Rc,
    task::{Context, Poll},
};

use http::Method;

use super::{Connection, Leaving, Role, Setup};
use crate::proxy::{
    http2::{
        error::{Code, Fault},
        frame::{MAX_ID, PREFACE, setting},
        head::{ResponseReader, Verdict, encode_request},
        output::Output,
        stream::{Ended, Request, Stream, WINDOW, register},
    },
    message::{BodyLength, RequestHead, ResponseHead},
};

impl Connection {
    /// A connection to an upstream, whose preface and SETTINGS are queued. `https`: over TLS.
    pub(crate) fn to_upstream(setup: &Rc<Setup>, https: bool) -> Self {
        let mut out = Output::new(setup);
        out.queue().extend_from_slice(PREFACE);
        let settings = [
            (setting::ENABLE_PUSH, 0),
            (setting::INITIAL_WINDOW_SIZE, WINDOW),
            (setting::MAX_HEADER_LIST_SIZE, setup.limits.list as u32),
        ];
        Self::begin(setup, Role::Client { https, reserved: 0 }, out, &settings)
    }

    /// Another stream can be opened, or reserved: the upstream takes new ones, and allows so many
    /// (RFC 9113, section 5.1.2).
    pub(crate) fn has_room(&self) -> bool {
        let Role::Client { reserved, .. } = self.role else { return false };
        let most = self.peer.streams.min(self.setup.limits.streams as usize);
        self.ended.is_none()
            && self.leaving == Leaving::No
            && self.requests < self.setup.limits.requests
            && self.streams.open() + reserved < most
    }

    /// No stream will be opened any more.
    pub(crate) fn is_over(&self) -> bool {
        let used_up = self.requests >= self.setup.limits.requests && !self.is_reserved();
        self.ended.is_some() || self.leaving != Leaving::No || used_up
    }

    /// Keeps room for a stream.
    pub(crate) fn reserve(&mut self) {
        if let Role::Client { reserved, .. } = &mut self.role {
            *reserved += 1;
            self.requests = self.requests.saturating_add(1);
        }
    }

    /// Gives that room back, or uses it.
    pub(crate) fn unreserve(&mut self) {
        if let Role::Client { reserved, .. } = &mut self.role {
            *reserved = reserved.saturating_sub(1);
        }
        self.kick();
    }

    /// A stream is reserved.
    pub(crate) fn is_reserved(&self) -> bool {
        matches!(self.role, Role::Client { reserved: 1.., .. })
    }

    /// Opens a stream with this request, for which room was kept. `None`: the upstream has left
    /// meanwhile.
    pub(crate) fn open(&mut self, head: &RequestHead) -> Option<usize> {
        let Role::Client { https, .. } = self.role else { return None };
        if self.ended.is_some() || self.leaving != Leaving::No || self.highest >= MAX_ID - 1 {
            return None;
        }
        let id = if self.highest == 0 { 1 } else { self.highest + 2 };
        self.highest = id;
        let mut stream = Stream::new(id, self.peer.window);
        stream.request = Request {
            head: head.method == Method::HEAD,
            connect: head.method == Method::CONNECT,
            extended: !head.protocol.is_empty(),
            expects: false,
        };
        let end =
            !stream.request.connect && matches!(head.body, BodyLength::None | BodyLength::Exact(0));
        stream.headed = false;
        stream.started = true;
        stream.sent_end = end;
        if let BodyLength::Exact(length) = head.body {
            stream.owed = Some(length);
        }
        let key = self.streams.insert(stream);
        self.flood.opened();
        self.write_block(id, end, |queue| encode_request(queue, head, https));
        self.kick();
        Some(key)
    }

    /// The head of an answer, interim or not.
    pub(super) fn answer(&mut self, id: u32, end: bool, block: &[u8]) -> Result<(), Fault> {
        let mut head = ResponseHead::default();
        let mut reader = ResponseReader::new(&mut head, self.setup.limits.list);
        self.decode(block, &mut reader)?;
        let Some((_, stream)) = self.streams.find(id) else { return Ok(()) };
        if reader.finish(end, stream.request.head) != Verdict::Sound {
            return Err(Fault::Stream(id, Code::Protocol));
        }
        let interim = head.is_interim();
        stream.headed = !interim;
        stream.received_end = end;
        let tunnel = stream.request.connect && (200..300).contains(&head.status);
        stream.expected = match head.body {
            _ if tunnel || interim => None,
            BodyLength::None => Some(0),
            BodyLength::Exact(length) => Some(length),
            BodyLength::Unknown => None,
        };
        stream.heads.push_back(head);
        self.stirred |= stream.wake_reader();
        if stream.is_closed() {
            self.streams.close(id, false);
        }
        if interim {
            self.flood.idle()?;
        } else {
            self.flood.useful();
        }
        Ok(())
    }

    /// The next head of an answer.
    pub(crate) fn poll_head(
        &mut self,
        key: usize,
        cx: &mut Context<'_>,
        into: &mut ResponseHead,
    ) -> Poll<Result<(), Ended>> {
        let Some(stream) = self.streams.get(key) else { return Poll::Ready(Err(Ended::Gone)) };
        if let Some(head) = stream.heads.pop_front() {
            *into = head;
            return Poll::Ready(Ok(()));
        }
        if let Some(ended) = stream.ended {
            return Poll::Ready(Err(ended));
        }
        register(&mut stream.reading, cx.waker());
        Poll::Pending
    }

    /// The upstream leaves: streams above `last` were not looked at (section 6.8).
    pub(super) fn refuse_above(&mut self, last: u32) {
        let mut refused = Vec::new();
        for stream in self.streams.iter_mut().filter(|stream| stream.id > last) {
            stream.ended.get_or_insert(Ended::Refused);
            self.stirred |= stream.wake_reader();
            self.stirred |= stream.wake_writer();
            refused.push(stream.id);
        }
        refused.into_iter().for_each(|id| self.streams.close(id, false));
    }
}
