//! Takes connections from a listener and finds out what they speak.

use std::{
    future::poll_fn,
    io,
    net::{SocketAddr, TcpListener},
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use nix::sys::resource::{Resource, getrlimit};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    sync::watch,
};

use super::{
    client::Client,
    connection,
    endpoints::before,
    passthrough,
    proxy_protocol::{self, Arrival},
    respond,
    stream::{ClientStream, Stream},
    tcp::{self, Course},
    worker::{Phase, Worker},
};

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The first byte of a TLS record that carries a handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// Room for the first read of a plain connection, which most request heads fit in.
const FIRST_READ: usize = 4096;
/// Connections that are accepted before others get a turn: a flood of new ones must not stop those
/// that are there.
const AT_ONCE: u32 = 32;
/// Errors of the listener in a row, after which it is waited before the next attempt. Single ones
/// are clients that left before they were accepted.
const ERRORS: u32 = 16;
/// Open files of a worker that are no client connections, as ingress-nginx counts them.
const OTHER_FILES: u64 = 1024;
/// How long to go on when the process has no file descriptors left.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);
/// How long a refused client may go on sending.
const LINGER: Duration = Duration::from_secs(2);

/// What comes in at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// HTTP.
    Http,
    /// TLS.
    Https,
    /// Whatever the TCP service of the port speaks.
    Service,
}

/// Accepts until the phase says otherwise, then takes what is left in the queue and closes.
pub(super) async fn run(
    worker: Rc<Worker>,
    socket: TcpListener,
    door: Door,
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
    let mut full = false;
    let (mut in_a_row, mut errors) = (0, 0);
    loop {
        in_a_row += 1;
        if in_a_row >= AT_ONCE {
            in_a_row = 0;
            tokio::task::yield_now().await;
        }
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
                (out_of_descriptors, errors) = (false, 0);
                worker.counters.accepted();
                // Closed and not left waiting: another worker or another node may have room.
                if worker.connections() >= most(&worker) {
                    worker.counters.refused();
                    if !full {
                        tracing::warn!(port, "connections refused: max-worker-connections");
                    }
                    full = true;
                    continue;
                }
                full = false;
                let place = Place::take(&worker);
                tokio::task::spawn_local(serve(place, stream, peer, door, port));
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
            // The client left before it was accepted, or the listener is broken.
            Some(Err(error)) => {
                errors += 1;
                if errors >= ERRORS {
                    if errors == ERRORS {
                        tracing::warn!(%error, port, "cannot accept");
                    }
                    if *phase.borrow() != Phase::Serve {
                        break;
                    }
                    tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
                }
            }
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

/// How many client connections the worker may have: `max-worker-connections`.
fn most(worker: &Worker) -> u64 {
    let most = worker.view().snapshot.model.settings.max_connections;
    if most > 0 {
        return most;
    }
    // As ingress-nginx: an equal share of the limit of open files, less what else is open.
    let (files, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default();
    let workers = u64::try_from(worker.counters.workers()).unwrap_or(1).max(1);
    (files / workers).saturating_sub(OTHER_FILES).max(OTHER_FILES)
}

/// A connection that counts as open, whatever serves it.
struct Place(Rc<Worker>);

impl Place {
    fn take(worker: &Rc<Worker>) -> Self {
        worker.connection_opened();
        Self(Rc::clone(worker))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

/// What is done before HTTP or TLS; nothing for most connections.
fn needs_preface(worker: &Worker, door: Door) -> bool {
    let view = worker.view();
    let model = &view.snapshot.model;
    match door {
        Door::Http => model.settings.proxy_protocol,
        Door::Https => model.settings.proxy_protocol || !model.streams.passthrough.is_empty(),
        Door::Service => true,
    }
}

/// Takes the PROXY header where there must be one, and passes the connection on if it is not for
/// us. `None`: it has come to its end.
async fn preface(
    worker: &Rc<Worker>,
    tcp: TcpStream,
    peer: SocketAddr,
    door: Door,
    port: u16,
) -> Option<(TcpStream, Arrival)> {
    let mut arrival = Arrival::direct(peer);
    let (mut course, expected, patience) = {
        let view = worker.view();
        let model = &view.snapshot.model;
        let settings = &model.settings;
        let service = model.streams.tcp(port).filter(|_| door == Door::Service);
        let course = service.map(|service| Course {
            backend: service.backend.clone(),
            endpoints: service.endpoints.clone(),
            send_proxy: service.send_proxy,
            settings: settings.stream.clone(),
        });
        let expected = match door {
            Door::Service => service.is_some_and(|service| service.accept_proxy),
            Door::Http | Door::Https => settings.proxy_protocol,
        };
        (course, expected, settings.proxy_protocol_timeout)
    };
    let deadline = worker.deadlines.deadline();
    if expected {
        deadline.set(patience);
        let outcome = before(&deadline, proxy_protocol::receive(&tcp)).await;
        match outcome {
            Some(Ok(proxied)) => arrival.proxied = proxied,
            failed => {
                let error = failed.and_then(Result::err);
                let error = error.map_or_else(|| "too late".to_owned(), |error| error.to_string());
                tracing::debug!(error, client.address = %peer, port, "no PROXY header");
                worker.counters.proxy_header_failed();
                return None;
            }
        }
    }
    match door {
        Door::Http => {}
        Door::Https => {
            if !worker.view().snapshot.model.streams.passthrough.is_empty() {
                deadline.set(worker.timeouts.head);
                match before(&deadline, passthrough::choose(worker, &tcp)).await {
                    Some(Ok(found)) => course = found,
                    _ => {
                        worker.counters.handshake_failed();
                        return None;
                    }
                }
            }
        }
        // The service went away while the connection waited.
        Door::Service if course.is_none() => return None,
        Door::Service => {}
    }
    drop(deadline);
    let Some(course) = course else { return Some((tcp, arrival)) };
    worker.counters.passed();
    tcp::pass(worker, tcp, arrival, course).await;
    None
}

async fn serve(place: Place, tcp: TcpStream, peer: SocketAddr, door: Door, port: u16) {
    let worker = Rc::clone(&place.0);
    let (tcp, arrival) = if needs_preface(&worker, door) {
        // Boxed: most connections have none and pay no memory for it.
        match Box::pin(preface(&worker, tcp, peer, door, port)).await {
            Some(preface) => preface,
            None => return,
        }
    } else {
        (tcp, Arrival::direct(peer))
    };
    let https = door == Door::Https;
    let client = Client::new(worker, arrival, https, port);
    // The client counts from now on.
    drop(place);
    let outcome = if https {
        handshake(&client, tcp).await
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

async fn handshake(client: &Client, tcp: TcpStream) -> Option<(Stream, Bytes, bool)> {
    let first = FirstByte { tcp, checked: false, plain: false };
    let accept = client.worker.tls.accept(first).into_fallible();
    match in_time(client, accept).await? {
        Ok(tls) => {
            let (_, session) = tls.get_ref();
            let http2 = session.alpn_protocol() == Some(b"h2");
            Some((Stream::Tls(Box::new(tls)), Bytes::new(), http2))
        }
        Err((_, first)) if first.plain => {
            refuse_plain(client, first.tcp).await;
            None
        }
        Err((error, _)) => {
            tracing::debug!(%error, client.address = %client.peer, "TLS handshake failed");
            client.worker.counters.handshake_failed();
            None
        }
    }
}

/// As nginx answers plain HTTP on the TLS port.
async fn refuse_plain(client: &Client, mut tcp: TcpStream) {
    let answer = respond::plain_to_tls();
    let sent = async {
        tcp.write_all(&answer).await?;
        tcp.shutdown().await?;
        // Closing with unread bytes would reset the connection and take the answer with it.
        let mut rest = [0; 1024];
        while tcp.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    client.deadline().set(LINGER);
    let _either_way = in_time(client, sent).await;
}

/// The outcome, or `None` when the connection's deadline comes first.
async fn in_time<T>(client: &Client, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => client.deadline().poll(cx).map(|()| None),
    })
    .await
}

/// Fails the first read if it does not begin a TLS handshake, before rustls answers it with an
/// alert that a plain client would take for the answer.
pub(super) struct FirstByte {
    tcp: TcpStream,
    checked: bool,
    plain: bool,
}

impl AsyncRead for FirstByte {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let outcome = Pin::new(&mut this.tcp).poll_read(cx, buf);
        if !this.checked
            && let Some(first) = buf.filled().get(before)
        {
            this.checked = true;
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
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
