//! A connection's transport: TCP, or TLS over it, towards clients and towards upstreams.

use std::{
    io::{self, IoSlice, Read as _, Write as _},
    net::Shutdown,
    os::fd::AsFd,
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client, server};

use super::tls::FirstByte;

/// A connection's transport.
pub(crate) enum Stream {
    /// Of a client whose first bytes most likely came with it: the runtime hears of it when there is
    /// something to wait for. A connection with one request is over without, which spares two system
    /// calls and an event of epoll.
    Fresh(Fresh),
    Plain(TcpStream),
    // Boxed: a TLS state is some hundred bytes, and plain connections need none of them.
    Tls(Box<server::TlsStream<FirstByte>>),
    /// To an upstream.
    UpstreamTls(Box<client::TlsStream<TcpStream>>),
}

/// A socket that is not registered with the runtime. Does not block.
pub(crate) struct Fresh {
    socket: Option<std::net::TcpStream>,
    was_read: bool,
}

impl Fresh {
    /// What is there, the first time; else, or if nothing is, `None`: it is to be waited for.
    fn read(&mut self, buf: &mut ReadBuf<'_>) -> Option<io::Result<()>> {
        if std::mem::replace(&mut self.was_read, true) {
            return None;
        }
        let read = self.attempt(|mut socket| socket.read(buf.initialize_unfilled()))?;
        Some(read.map(|length| buf.advance(length)))
    }

    fn attempt<T>(
        &self,
        act: impl FnOnce(&std::net::TcpStream) -> io::Result<T>,
    ) -> Option<io::Result<T>> {
        let Some(socket) = &self.socket else {
            return Some(Err(io::ErrorKind::NotConnected.into()));
        };
        Some(act(socket)).filter(|outcome| {
            let kind = outcome.as_ref().map_err(io::Error::kind).err();
            !matches!(kind, Some(io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted))
        })
    }
}

impl Stream {
    /// A socket that does not block and is not registered with the runtime.
    pub(super) fn fresh(socket: std::net::TcpStream) -> Self {
        Self::Fresh(Fresh { socket: Some(socket), was_read: false })
    }

    /// Nothing wakes for what happens to it.
    pub(super) fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh(_))
    }

    /// Something has come that nobody has looked at: of a fresh connection, for of others the runtime
    /// tells.
    pub(super) fn has_unseen(&self) -> bool {
        let Self::Fresh(Fresh { socket: Some(socket), .. }) = self else { return false };
        matches!(socket.peek(&mut [0]), Ok(1..))
    }

    /// Has the runtime watch it.
    ///
    /// # Errors
    ///
    /// The system's, which has no room for one more.
    pub(super) fn register(&mut self) -> io::Result<()> {
        if let Self::Fresh(fresh) = self {
            let socket = fresh.socket.take().ok_or(io::ErrorKind::NotConnected)?;
            *self = Self::Plain(TcpStream::from_std(socket)?);
        }
        Ok(())
    }

    /// The socket of a connection without TLS, registered.
    ///
    /// # Errors
    ///
    /// As those of registering, or it has TLS.
    pub(super) fn into_tcp(mut self) -> io::Result<TcpStream> {
        self.register()?;
        match self {
            Self::Plain(stream) => Ok(stream),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Reads into `into`. 0: the other side has ended, or there is no room.
    pub(crate) fn poll_read_slice(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        ready!(Pin::new(self).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    pub(crate) fn poll_write_slice(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write(cx, data)
    }

    pub(crate) fn poll_write_slices(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write_vectored(cx, data)
    }

    /// Sends what TLS has queued; TCP queues nothing here.
    pub(crate) fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Fresh(_) | Self::Plain(_) => Poll::Ready(Ok(())),
            other => Pin::new(other).poll_flush(cx),
        }
    }

    /// Tells a TLS client that nothing more comes; without TLS, closing says so.
    pub(crate) fn poll_close_notify(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Fresh(_) | Self::Plain(_) => Poll::Ready(Ok(())),
            other => Pin::new(other).poll_shutdown(cx),
        }
    }

    /// The other side has ended or reset the connection, as far as the runtime was told; what came
    /// before may be unread.
    pub(crate) fn is_read_closed(&self) -> bool {
        let Some(tcp) = self.tcp() else { return false };
        let mut context = Context::from_waker(Waker::noop());
        let ready = pin!(tcp.ready(Interest::READABLE)).as_mut().poll(&mut context);
        matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }

    /// When it is dropped, the other side sees a reset and not an end.
    pub(crate) fn reset_on_close(&self) {
        let fresh = match self {
            Self::Fresh(fresh) => fresh.socket.as_ref().map(AsFd::as_fd),
            _ => None,
        };
        let Some(socket) = fresh.or_else(|| self.tcp().map(AsFd::as_fd)) else { return };
        // Where that fails, the connection is gone already.
        let _gone = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
    }

    /// The registered socket.
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Fresh(_) => None,
            Self::Plain(stream) => Some(stream),
            Self::Tls(stream) => Some(stream.get_ref().0.tcp()),
            Self::UpstreamTls(stream) => Some(stream.get_ref().0),
        }
    }

    /// Ends this side's half of the connection.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_shutdown(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Self::Fresh(fresh) = this {
            if let Some(read) = fresh.read(buf) {
                return Poll::Ready(read);
            }
            this.register()?;
        }
        match this {
            Self::Fresh(_) => unregistered(),
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::UpstreamTls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Self::Fresh(fresh) = this {
            if let Some(written) = fresh.attempt(|mut socket| socket.write(buf)) {
                return Poll::Ready(written);
            }
            this.register()?;
        }
        match this {
            Self::Fresh(_) => unregistered(),
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::UpstreamTls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Self::Fresh(fresh) = this {
            if let Some(written) = fresh.attempt(|mut socket| socket.write_vectored(bufs)) {
                return Poll::Ready(written);
            }
            this.register()?;
        }
        match this {
            Self::Fresh(_) => unregistered(),
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::UpstreamTls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Fresh(_) => Poll::Ready(Ok(())),
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::UpstreamTls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Fresh(fresh) => {
                let ended = fresh.socket.as_ref().map(|socket| socket.shutdown(Shutdown::Write));
                Poll::Ready(ended.unwrap_or(Ok(())))
            }
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::UpstreamTls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// What was just registered is not fresh any more.
fn unregistered<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}
