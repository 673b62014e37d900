//! Takes connections from a listener.

use std::{
    future::poll_fn,
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit};
use tokio::{net::TcpStream, sync::watch};

use super::{
    client::Client,
    listen, preface,
    proxy_protocol::Arrival,
    serve,
    worker::{Phase, Worker},
};

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
            // The queue may never be found empty.
            if *phase.borrow() != Phase::Serve {
                break;
            }
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
                admit(&worker, stream, peer, door, port, &mut full);
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
    // What waits is taken, not reset: tokio knows only of what epoll has reported to it, which is
    // nothing yet where the worker has just begun.
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..listen::BACKLOG {
        in_a_row += 1;
        if in_a_row >= AT_ONCE {
            in_a_row = 0;
            tokio::task::yield_now().await;
        }
        let Ok((stream, peer)) = listener.accept() else { break };
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            admit(&worker, stream, peer, door, port, &mut full);
        }
    }
}

/// Begins to serve a connection if the worker may have one more. `full`: the last was refused.
fn admit(
    worker: &Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    door: Door,
    port: u16,
    full: &mut bool,
) {
    worker.counters.accepted();
    let view = worker.view();
    let doors = &view.snapshot.model.settings.doors;
    if !doors.are_open() {
        let web = matches!(door, Door::Http | Door::Https);
        if !stream.local_addr().is_ok_and(|own| doors.admit(own.ip(), web)) {
            worker.counters.refused();
            return;
        }
    }
    // Closed and not left waiting: another worker or another node may have room.
    if worker.connections() >= most(worker) {
        worker.counters.refused();
        if !*full {
            tracing::warn!(port, "connections refused: max-worker-connections");
        }
        *full = true;
        return;
    }
    *full = false;
    let place = Place::take(worker);
    // Boxed: tokio moves what it is given eight times on its way to the heap and out of it, which for
    // these kilobytes is a tenth of what a connection with one request costs.
    tokio::task::spawn_local(Box::pin(connection(place, stream, peer, door, port)));
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

/// Serves a connection to its end.
async fn connection(place: Place, tcp: TcpStream, peer: SocketAddr, door: Door, port: u16) {
    let worker = Rc::clone(&place.0);
    let (tcp, arrival) = if preface::is_needed(&worker, door) {
        // Boxed: most connections have none and pay no memory for it.
        match Box::pin(preface::take(&worker, tcp, peer, door, port)).await {
            Some(preface) => preface,
            None => return,
        }
    } else {
        (tcp, Arrival::direct(peer))
    };
    let tls = door == Door::Https;
    let local = tcp.local_addr().ok().map(|own| own.ip());
    let client = Client::new(worker, arrival, tls, (port, local));
    // The client counts from now on.
    drop(place);
    serve::serve(client, tcp).await;
}
