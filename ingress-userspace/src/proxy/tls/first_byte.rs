use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::proxy::client::Client;

/// The first byte of a TLS record that carries a handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// Fails the first read if it does not begin a TLS handshake, before rustls answers it with an
/// alert that a plain client would take for the answer. Tells the client's deadline that it came.
pub(crate) struct FirstByte {
    pub(super) tcp: TcpStream,
    /// Nothing has come yet.
    waiting: Option<Rc<Client>>,
    /// It does not.
    pub(super) plain: bool,
}

impl FirstByte {
    pub(super) fn new(tcp: TcpStream, client: &Rc<Client>) -> Self {
        Self { tcp, waiting: Some(Rc::clone(client)), plain: false }
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}

impl AsyncRead for FirstByte {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let outcome = Pin::new(&mut this.tcp).poll_read(cx, buf);
        if let (Some(client), Some(first)) = (&this.waiting, buf.filled().get(before)) {
            client.expect_rest();
            this.waiting = None;
            if *first != HANDSHAKE_RECORD {
                this.plain = true;
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
        outcome
    }
}

impl AsyncWrite for FirstByte {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
