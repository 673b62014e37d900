//! Serves HTTP on a connection: finds out which version it speaks, and hands its requests to the
//! pipeline.

use std::{future::poll_fn, rc::Rc, task::Poll};

use super::{
    buffer::Buffer,
    client::Client,
    http1::{Http1, Next},
    http2::{self, Environment, Http2Stream, Setup},
    message::{RequestHead, Version},
    pipeline,
    sides::Traffic,
    stream::Stream,
    tls,
};

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a client to its end.
pub(super) async fn serve(client: Rc<Client>, stream: Stream) {
    let outcome = if client.tls {
        let Ok(tcp) = stream.into_tcp() else { return };
        // Boxed: it is over soon, and its size is not to be that of every connection's task.
        let tls = Box::pin(tls::handshake(&client, tcp)).await;
        tls.map(|tls| (tls.stream, None, tls.http2))
    } else {
        sniff(&client, stream).await
    };
    let Some((stream, early, http2)) = outcome else { return };
    if http2 {
        // It has deadlines of its own.
        client.answering();
        http2::serve(stream, early, client).await;
    } else {
        serve_http1(client, stream, early).await;
    }
}

impl Environment for Client {
    fn setup(&self) -> &Rc<Setup> {
        &self.worker.http2
    }

    fn draining(&self) -> bool {
        self.worker.draining()
    }

    fn cut(&self) -> bool {
        self.worker.is_cut()
    }

    fn refused(self: &Rc<Self>, status: u16) {
        pipeline::note(self, Version::Http2, status, Traffic::default());
    }

    fn answer(
        self: &Rc<Self>,
        mut head: Box<RequestHead>,
        mut stream: Http2Stream,
    ) -> impl Future<Output = ()> + 'static {
        let client = Rc::clone(self);
        async move {
            // Boxed: what makes a task of this future moves it several times.
            Box::pin(pipeline::answer(&client, &mut head, &mut stream)).await;
            client.worker.http2.heads.give(head);
        }
    }
}

/// Serves HTTP/1.0 and 1.1, one request after the other.
async fn serve_http1(client: Rc<Client>, stream: Stream, early: Option<Buffer>) {
    let mut connection = Http1::new(Rc::clone(&client), stream, early);
    loop {
        let mut head = None;
        let next = connection.next(&mut head).await;
        match (next, &mut head) {
            (Next::Request, Some(head)) => pipeline::answer(&client, head, &mut connection).await,
            (Next::Refused(failure), _) => {
                pipeline::refuse(&client, failure, &mut connection).await;
            }
            (Next::Request | Next::End, _) => {}
        }
        if let Some(head) = head {
            client.worker.http2.heads.give(head);
        }
        if next == Next::End || !connection.settle().await {
            break;
        }
    }
}

/// Finds out by the first bytes whether a client speaks HTTP/2 by prior knowledge. What is read is
/// handed on, so that this costs no system call.
async fn sniff(client: &Client, mut stream: Stream) -> Option<(Stream, Option<Buffer>, bool)> {
    let mut early: Option<Buffer> = None;
    loop {
        let read = poll_fn(|cx| {
            let mut buffer = early.take().unwrap_or_else(|| client.worker.buffers.take());
            let read = stream.poll_read_slice(cx, buffer.room());
            if let Poll::Ready(Ok(length)) = read {
                buffer.fill(length);
            }
            early = Some(buffer).filter(|buffer| !buffer.is_empty());
            if read.is_ready() { read.map(Result::ok) } else { client.poll_late(cx).map(|()| None) }
        })
        .await?;
        client.expect_rest();
        let bytes = early.as_ref().map_or(&[][..], Buffer::filled);
        if read == 0 {
            return None;
        }
        if !client.worker.limits.get().http2 {
            return Some((stream, early, false));
        }
        if bytes.starts_with(PREFACE) {
            return Some((stream, early, true));
        }
        if !PREFACE.starts_with(bytes) {
            return Some((stream, early, false));
        }
    }
}
