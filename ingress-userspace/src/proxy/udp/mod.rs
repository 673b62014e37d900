//! UDP services: datagrams of one client's address and port are a session, which has one endpoint
//! and a socket of its own to it, so that answers find their way back.

mod datagram;
mod table;

use std::{
    future::poll_fn,
    io,
    net::{SocketAddr, UdpSocket as StdUdpSocket},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{io::Interest, net::UdpSocket, sync::watch};

pub(crate) use table::Table;

use self::{
    datagram::{LARGEST, receive, reply},
    table::{Key, Upstream},
};
use super::{
    access_log::{Ends, Session},
    worker::{Phase, Worker},
};
use crate::model::UdpService;

/// Datagrams that are passed on before others get a turn.
const AT_ONCE: u32 = 64;
/// How long a socket rests that reports an error.
const REST: Duration = Duration::from_millis(50);

/// Passes on what comes in at a socket until the phase says otherwise; sessions end with it.
pub(super) async fn run(
    worker: Rc<Worker>,
    socket: StdUdpSocket,
    port: u16,
    mut phase: watch::Receiver<Phase>,
) {
    let socket = match UdpSocket::from_std(socket) {
        Ok(socket) => Rc::new(socket),
        Err(error) => return tracing::error!(%error, port, "cannot watch the UDP socket"),
    };
    let mut ended = pin!(phase.wait_for(|phase| *phase != Phase::Serve));
    loop {
        let serve = poll_fn(|cx| {
            if ended.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            socket.poll_recv_ready(cx).map(|ready| ready.is_ok())
        });
        if !serve.await {
            break;
        }
        if let Err(error) = take(&worker, &socket, port) {
            tracing::debug!(%error, port, "a UDP socket reports an error");
            tokio::time::sleep(REST).await;
        }
        tokio::task::yield_now().await;
    }
    worker.streams.datagrams.close(port);
}

/// Takes what waits, up to [`AT_ONCE`].
fn take(worker: &Rc<Worker>, socket: &Rc<UdpSocket>, port: u16) -> io::Result<()> {
    let mut scratch = worker.streams.datagrams.scratch.borrow_mut();
    scratch.resize(LARGEST, 0);
    for _ in 0..AT_ONCE {
        let received = socket.try_io(Interest::READABLE, || receive(socket, &mut scratch));
        let (length, client, local) = match received {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        };
        let key = Key { port, client, local };
        if !pass(worker, socket, key, scratch.get(..length).unwrap_or_default()) {
            worker.counters.datagram_dropped();
        }
    }
    Ok(())
}

/// Sends a client's datagram to its session's endpoint; false if it is lost, as datagrams may be.
fn pass(worker: &Rc<Worker>, listener: &Rc<UdpSocket>, key: Key, datagram: &[u8]) -> bool {
    let view = worker.view();
    let model = &view.snapshot.model;
    let settings = &model.settings.stream;
    let Some(service) = model.streams.udp(key.port) else { return false };
    let table = &worker.streams.datagrams;
    // A second attempt is for a session whose endpoint has turned out to be gone.
    for _attempt in 0..2 {
        let known = table.touch(&key).filter(|known| {
            // What is asked next is asked of an endpoint that is there.
            service.endpoints.binary_search(&known.address).is_ok()
        });
        let upstream = match known {
            Some(upstream) => upstream,
            None => {
                table.remove(&key, None);
                match open(worker, listener, service, key) {
                    Ok(upstream) => upstream,
                    Err(error) => {
                        tracing::debug!(%error, port = key.port, "no UDP session");
                        return false;
                    }
                }
            }
        };
        // Not by tokio, which would wait for epoll to report a new socket first.
        match SockRef::from(&upstream.socket).send(datagram) {
            Ok(_length) => {
                upstream.sent(settings.timeout);
                if let Some(log) = &upstream.log {
                    log.ways.up.read(datagram.len());
                    log.ways.up.wrote(datagram.len());
                }
                worker.counters.datagram_in();
                if settings.responses == 0 {
                    table.remove(&key, None);
                }
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => {
                tracing::debug!(%error, endpoint = %upstream.address, "UDP endpoint failed");
                table.remove(&key, None);
            }
        }
    }
    false
}

/// Begins a session with the endpoint whose turn it is.
fn open(
    worker: &Rc<Worker>,
    listener: &Rc<UdpSocket>,
    service: &UdpService,
    key: Key,
) -> io::Result<Rc<Upstream>> {
    let endpoints = &service.endpoints;
    let ends = || {
        let client = SocketAddr::new(key.client.ip().to_canonical(), key.client.port());
        let server = key.local.map(|own| SocketAddr::new(own, key.port));
        Ends { protocol: "UDP", client, peer: key.client, server }
    };
    let log = Session::begin(worker, ends, &service.backend, None);
    let place = worker.streams.turn(worker, &service.backend, endpoints.len());
    let address = place.and_then(|place| endpoints.get(place));
    let socket = address
        .ok_or_else(|| io::Error::other("no endpoint is ready"))
        .and_then(|address| Ok((*address, connected(*address)?)));
    let (address, socket) = socket.inspect_err(|_error| {
        if let Some(log) = &log {
            log.failed();
        }
    })?;
    if let Some(log) = &log {
        log.connected(address);
    }
    let upstream = Rc::new(Upstream::new(socket, address, worker.deadlines.deadline(), log));
    let task = answer(Rc::clone(worker), Rc::clone(listener), key, Rc::clone(&upstream));
    let task = tokio::task::spawn_local(task).abort_handle();
    worker.streams.datagrams.insert(key, table::Session::new(Rc::clone(&upstream), task));
    Ok(upstream)
}

fn connected(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.connect(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Passes answers on to the client until the session ends.
async fn answer(worker: Rc<Worker>, listener: Rc<UdpSocket>, key: Key, upstream: Rc<Upstream>) {
    loop {
        let ready = poll_fn(|cx| {
            if let Poll::Ready(ready) = upstream.socket.poll_recv_ready(cx) {
                return Poll::Ready(ready.is_ok());
            }
            upstream.deadline.poll(cx).map(|()| false)
        });
        if !ready.await || !pass_answers(&worker, &listener, key, &upstream) {
            break;
        }
        tokio::task::yield_now().await;
    }
    worker.streams.datagrams.remove(&key, Some(&upstream));
}

/// Passes on what waits; false when the session is over.
fn pass_answers(worker: &Worker, listener: &UdpSocket, key: Key, upstream: &Upstream) -> bool {
    let (timeout, expected) = {
        let view = worker.view();
        let settings = &view.snapshot.model.settings.stream;
        (settings.timeout, settings.responses)
    };
    let mut scratch = worker.streams.datagrams.scratch.borrow_mut();
    scratch.resize(LARGEST, 0);
    for _ in 0..AT_ONCE {
        match upstream.socket.try_recv(&mut scratch) {
            Ok(length) => {
                let sent = reply(listener, key, scratch.get(..length).unwrap_or_default());
                if let Some(log) = &upstream.log {
                    log.ways.down.read(length);
                }
                if sent.is_ok() {
                    worker.counters.datagram_out();
                    if let Some(log) = &upstream.log {
                        log.ways.down.wrote(length);
                    }
                }
                if upstream.answered(timeout, expected) {
                    return false;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // Nobody listens there: the next datagram begins another session.
            Err(error) => {
                tracing::debug!(%error, endpoint = %upstream.address, "UDP endpoint failed");
                return false;
            }
        }
    }
    true
}
