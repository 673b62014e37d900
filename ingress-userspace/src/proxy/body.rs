//! The bodies that pass through, frame by frame, without being collected.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{client::InFlight, patience::Patience, upstream::Connection};

/// A request's body on its way to an upstream. Clones are one body: an attempt that failed before
/// the first byte was taken leaves it to the next attempt.
#[derive(Clone, Default)]
pub(crate) struct RequestBody(Option<Rc<Source>>);

struct Source {
    incoming: RefCell<Incoming>,
    state: Cell<Progress>,
}

/// How far a body got, as the attempt that sends it sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Some of it was handed out: no other attempt can send it.
    pub(crate) taken: bool,
    /// Some of it was handed out since the last look.
    pub(crate) moved: bool,
    /// The client has to send more before anything can go on.
    pub(crate) starved: bool,
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming) -> Self {
        if incoming.is_end_stream() {
            return Self(None);
        }
        Self(Some(Rc::new(Source {
            incoming: RefCell::new(incoming),
            state: Cell::new(Progress::default()),
        })))
    }

    /// How far it got; forgets that it moved.
    pub(crate) fn progress(&self) -> Progress {
        let Some(source) = &self.0 else { return Progress::default() };
        let progress = source.state.get();
        source.state.set(Progress { moved: false, ..progress });
        progress
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(source) = &self.0 else { return Poll::Ready(None) };
        let mut incoming = source.incoming.borrow_mut();
        let mut frame = Pin::new(&mut *incoming).poll_frame(cx);
        // Trailers end here, as in nginx: an upstream that merges them into the head would believe
        // the client what only we may say.
        while let Poll::Ready(Some(Ok(trailers))) = &frame
            && !trailers.is_data()
        {
            frame = Pin::new(&mut *incoming).poll_frame(cx);
        }
        let taken = source.state.get().taken || frame.is_ready();
        let progress = Progress { taken, moved: frame.is_ready(), starved: frame.is_pending() };
        let moved = source.state.get().moved || progress.moved;
        source.state.set(Progress { moved, ..progress });
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|source| source.incoming.borrow().is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), |source| source.incoming.borrow().size_hint())
    }
}

/// An answer's body on its way to the client.
pub(crate) struct ResponseBody {
    kind: Kind,
    /// Runs while it is the client that something waits for; of HTTP/2 only.
    patience: Option<Rc<Patience>>,
    /// The request counts as in flight until its answer's last byte is handed out.
    _in_flight: InFlight,
}

enum Kind {
    /// One of ours; empty when handed out.
    Own(Bytes),
    /// An upstream's, and the connection that it comes from.
    Upstream(Upstream),
}

pub(crate) struct Upstream {
    incoming: Incoming,
    ended: bool,
    /// The last poll found nothing; the connection's deadline runs since then.
    waiting: bool,
    /// Given back to the pool when the body has ended, closed when it is dropped before.
    connection: Option<Connection>,
}

/// Why an answer ended before its end. The client's connection ends with it, so that no client
/// takes what it got for the whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the upstream broke off its answer")]
    Upstream(#[from] hyper::Error),
    #[error("the upstream sent nothing for too long")]
    Timeout,
}

impl ResponseBody {
    fn new(kind: Kind, in_flight: InFlight) -> Self {
        let patience = Patience::of_stream();
        if let Some(patience) = &patience {
            patience.start();
        }
        Self { kind, patience, _in_flight: in_flight }
    }

    pub(crate) fn own(bytes: Bytes, in_flight: InFlight) -> Self {
        Self::new(Kind::Own(bytes), in_flight)
    }

    /// Takes the bytes out, if it is one of ours, and returns how many they were.
    pub(crate) fn take_own(&mut self) -> Option<usize> {
        match &mut self.kind {
            Kind::Own(bytes) => Some(std::mem::take(bytes).len()),
            Kind::Upstream(_) => None,
        }
    }

    pub(crate) fn upstream(upstream: Upstream, in_flight: InFlight) -> Self {
        Self::new(Kind::Upstream(upstream), in_flight)
    }
}

impl Upstream {
    /// `connection` is where it comes from, reused when the body has ended.
    pub(crate) fn new(incoming: Incoming, connection: Connection) -> Self {
        let connection = Some(connection);
        Self { incoming, ended: false, waiting: false, connection }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.waiting = false;
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.connection = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                let Some(connection) = &self.connection else { return Poll::Pending };
                if !self.waiting {
                    self.waiting = true;
                    connection.expect_read();
                }
                if connection.poll_late(cx).is_pending() {
                    return Poll::Pending;
                }
                self.connection = None;
                Poll::Ready(Some(Err(BodyError::Timeout)))
            }
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && (self.ended || self.incoming.is_end_stream())
        {
            connection.give_back();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = match &mut this.kind {
            Kind::Own(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Own(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Upstream(upstream) => upstream.poll_frame(cx),
        };
        match &this.patience {
            Some(patience) if frame.is_ready() => patience.start(),
            Some(patience) => patience.stop(),
            None => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own(bytes) => bytes.is_empty(),
            Kind::Upstream(upstream) => upstream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Kind::Upstream(upstream) => upstream.incoming.size_hint(),
        }
    }
}
