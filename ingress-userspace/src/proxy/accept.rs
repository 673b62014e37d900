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

use bytes::{Bytes, BytesMut};
use tokio::{io::AsyncReadExt as _, net::TcpStream, sync::watch};

use super::{
    client::Client,
    connection,
    stream::{ClientStream, Stream},
    tls,
    worker::{Phase, Worker},
};

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Room for the first read of a plain connection, which most request heads fit in.
const FIRST_READ: usize = 4096;
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
        tls::handshake(&client, tcp).await.map(|tls| (tls.stream, Bytes::new(), tls.http2))
    } else {
        sniff(&client, Stream::Plain(tcp)).await
    };
    let Some((stream, prefix, http2)) = outcome else { return };
    let stream = ClientStream::new(stream, prefix, Rc::clone(&client));
    if http2 {
        connection::serve_http2(client, stream).await;
    } else {
        connection::serve_http1(client, stream).await;
    }
}

/// Finds out by the first bytes whether a client speaks HTTP/2 by prior knowledge. They are read
/// into a buffer that hyper gets, so that this costs no system call.
async fn sniff(client: &Client, mut stream: Stream) -> Option<(Stream, Bytes, bool)> {
    let mut buffer = BytesMut::with_capacity(FIRST_READ);
    while buffer.len() < PREFACE.len() && PREFACE.starts_with(&buffer) {
        match in_time(client, stream.read_buf(&mut buffer)).await {
            Some(Ok(length)) if length > 0 => {}
            _ => return None,
        }
    }
    let http2 = buffer.starts_with(PREFACE);
    Some((stream, buffer.freeze(), http2))
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
