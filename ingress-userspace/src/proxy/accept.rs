//! Takes connections from a listener and finds out what they speak.

use std::{
    future::poll_fn,
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use tokio::{net::TcpStream, sync::watch};

use super::{
    buffer::Buffer,
    client::Client,
    http1::{Http1, Next},
    http2::{self, Environment, Http2Stream, Setup},
    message::RequestHead,
    pipeline,
    stream::Stream,
    tls,
    worker::{Phase, Worker},
};

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long to go on when the process has no file descriptors left.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);

/// Accepts until the phase says otherwise, then takes what is left in the queue and closes.
pub(super) async fn run(
    worker: Rc<Worker>,
    socket: TcpListener,
    https: bool,
    mut phase: watch::Receiver<Phase>,
) {
    let port = socket.local_addr().map_or(0, |address| address.port());
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, port, "cannot watch the listener");
            return;
        }
    };
    let mut out_of_descriptors = false;
    loop {
        let accepted = {
            let mut ended = pin!(phase.wait_for(|phase| *phase != Phase::Serve));
            poll_fn(|cx| {
                if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                    return Poll::Ready(Some(accepted));
                }
                ended.as_mut().poll(cx).map(|_ended| None)
            })
            .await
        };
        match accepted {
            Some(Ok((stream, peer))) => {
                out_of_descriptors = false;
                let task = serve(Rc::clone(&worker), stream, peer, https, port);
                tokio::task::spawn_local(task);
            }
            Some(Err(error)) if is_exhaustion(&error) => {
                if !out_of_descriptors {
                    tracing::warn!(%error, port, "cannot accept; raise the limit of open files");
                }
                out_of_descriptors = true;
                // What waits in the queue cannot be taken, and whoever ends the listener waits for
                // it: only the end of other connections frees descriptors.
                if *phase.borrow() != Phase::Serve {
                    break;
                }
                tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
            }
            // The client left before it was accepted.
            Some(Err(_)) => {}
            None => break,
        }
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    use nix::errno::Errno;
    [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}

async fn serve(worker: Rc<Worker>, tcp: TcpStream, peer: SocketAddr, https: bool, port: u16) {
    let client = Client::new(worker, peer, https, port);
    let outcome = if https {
        // Boxed: it is over soon, and its size is not to be that of every connection's task.
        let tls = Box::pin(tls::handshake(&client, tcp)).await;
        tls.map(|tls| (tls.stream, None, tls.http2))
    } else {
        sniff(&client, Stream::Plain(tcp)).await
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

    fn answer(
        self: &Rc<Self>,
        mut head: Box<RequestHead>,
        mut stream: Http2Stream,
    ) -> impl Future<Output = ()> + 'static {
        let client = Rc::clone(self);
        async move {
            pipeline::answer(&client, &mut head, &mut stream).await;
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
        let bytes = early.as_ref().map_or(&[][..], Buffer::filled);
        if read == 0 {
            return None;
        }
        if bytes.starts_with(PREFACE) {
            return Some((stream, early, true));
        }
        if !PREFACE.starts_with(bytes) {
            return Some((stream, early, false));
        }
    }
}

/// The outcome, or `None` when the connection's deadline comes first.
pub(super) async fn in_time<T>(client: &Client, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => client.deadline().poll(cx).map(|()| None),
    })
    .await
}
