//! What a connection carries after 101 Switching Protocols: bytes, both ways, until one side has
//! ended both, or neither sends for too long. It stays a connection of its worker, so draining
//! waits for it.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::{client::Client, deadline::Deadline, stream::ClientStream, upstream::Raw};

/// The upstream's end of a connection that was upgraded.
pub(crate) struct Tunnel {
    pub(crate) upstream: Raw,
}

/// Carries bytes between the two ends. `early` is what the client sent right after its request.
pub(crate) async fn run(client: &Rc<Client>, stream: ClientStream, early: Bytes, tunnel: Tunnel) {
    let timeout = client.worker.timeouts.tunnel;
    let deadline = client.worker.deadlines.deadline();
    deadline.set(timeout);
    let Tunnel { upstream: Raw { stream: upstream, read } } = tunnel;
    let mut near = Watched { inner: stream, deadline: &deadline, timeout };
    let mut far = Watched { inner: upstream, deadline: &deadline, timeout };
    let mut copy = pin!(async {
        far.write_all(&early).await?;
        near.write_all(&read).await?;
        tokio::io::copy_bidirectional(&mut near, &mut far).await
    });
    let outcome = poll_fn(|cx| match copy.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => deadline.poll(cx).map(|()| None),
    })
    .await;
    match outcome {
        Some(Ok((up, down))) => tracing::debug!(up, down, "tunnel ended"),
        Some(Err(error)) => tracing::debug!(%error, "tunnel broke"),
        None => tracing::debug!("tunnel was idle for too long"),
    }
}

/// One end; moves the deadline whenever bytes do.
struct Watched<'d, S> {
    inner: S,
    deadline: &'d Deadline,
    timeout: std::time::Duration,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<'_, S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let outcome = Pin::new(&mut this.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            this.deadline.set(this.timeout);
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<'_, S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write(cx, buf);
        if outcome.is_ready() {
            this.deadline.set(this.timeout);
        }
        outcome
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
