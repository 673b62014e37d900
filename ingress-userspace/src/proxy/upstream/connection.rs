//! What one request uses of the way to its endpoint: a connection of its own, or a stream.

use std::task::{Context, Poll};

use super::{http2::Http2Stream, pool::Kept};
use crate::{
    model::Proxying,
    proxy::{
        buffer::Buffer,
        fastcgi::FastCgiUpstream,
        http1::Patience,
        message::{Fields, RequestHead, ResponseHead},
        sides::{Read, Upstream, UpstreamError},
    },
};

/// A connection to an endpoint, or a stream of one. Ended when dropped.
pub(crate) enum Connection {
    /// HTTP/1, in clear text or over TLS.
    Http1(Kept),
    /// HTTP/2, likewise.
    Http2(Box<Http2Stream>),
    /// FastCGI.
    FastCgi(Box<FastCgiUpstream>),
}

impl Connection {
    /// It has carried requests before: one that is found closed may have idled for too long, which
    /// says nothing about the endpoint.
    pub(crate) fn is_reused(&self) -> bool {
        match self {
            Self::Http1(kept) => kept.requests() > 0,
            Self::Http2(stream) => stream.is_reused(),
            Self::FastCgi(_) => false,
        }
    }

    /// It can become a tunnel.
    pub(crate) fn can_switch(&self) -> bool {
        matches!(self, Self::Http1(_))
    }

    /// What the route says about it. The others know it already.
    pub(crate) fn obey(&mut self, proxying: &Proxying) {
        if let Self::Http1(kept) = self {
            kept.http.obey(Patience::of(proxying), proxying.http_version);
        }
    }
}

impl Upstream for Connection {
    fn start(&mut self, head: &RequestHead) {
        match self {
            Self::Http1(kept) => kept.http.start(head),
            Self::Http2(stream) => stream.start(head),
            Self::FastCgi(own) => own.start(head),
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, UpstreamError>> {
        match self {
            Self::Http1(kept) => kept.http.poll_write(cx, data),
            Self::Http2(stream) => stream.poll_write(cx, data),
            Self::FastCgi(own) => own.poll_write(cx, data),
        }
    }

    fn finish(&mut self, trailers: Option<&Fields>) {
        match self {
            Self::Http1(kept) => kept.http.finish(trailers),
            Self::Http2(stream) => stream.finish(trailers),
            Self::FastCgi(own) => own.finish(trailers),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        match self {
            Self::Http1(kept) => kept.http.poll_flush(cx),
            Self::Http2(stream) => stream.poll_flush(cx),
            Self::FastCgi(own) => own.poll_flush(cx),
        }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<(), UpstreamError>> {
        match self {
            Self::Http1(kept) => kept.http.poll_head(cx, head),
            Self::Http2(stream) => stream.poll_head(cx, head),
            Self::FastCgi(own) => own.poll_head(cx, head),
        }
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Buffer,
    ) -> Poll<Result<Read, UpstreamError>> {
        match self {
            Self::Http1(kept) => kept.http.poll_body(cx, into),
            Self::Http2(stream) => stream.poll_body(cx, into),
            Self::FastCgi(own) => own.poll_body(cx, into),
        }
    }

    fn trailers(&self) -> Option<&Fields> {
        match self {
            Self::Http1(kept) => kept.http.trailers(),
            Self::Http2(stream) => stream.trailers(),
            Self::FastCgi(own) => own.trailers(),
        }
    }
}
