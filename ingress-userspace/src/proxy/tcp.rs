//! TCP services: a connection in, a connection to an endpoint, bytes both ways. Passed-through TLS
//! is the same with another choice of where to.

use std::{
    future::poll_fn,
    io,
    net::{Shutdown, SocketAddr},
    rc::Rc,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{
    access_log::{Ends, Session, Way, Ways},
    buffer::{Buffer, Buffers},
    endpoints::{connect, in_time},
    proxy_protocol::Arrival,
    worker::Worker,
};
use crate::model::{BackendKey, ProxyVersion, StreamSettings};

/// Where a connection goes.
pub(crate) struct Course {
    pub(crate) backend: BackendKey,
    pub(crate) endpoints: Vec<SocketAddr>,
    /// They are the addresses of one name.
    pub(crate) is_name: bool,
    pub(crate) send_proxy: Option<ProxyVersion>,
    pub(crate) settings: StreamSettings,
    /// The name that the client asks for, of passed-through TLS.
    pub(crate) server_name: Option<Box<str>>,
}

/// Passes a connection on, to its end. A connection for which there is no endpoint is closed: there
/// is no other answer below HTTP.
pub(crate) async fn pass(worker: &Rc<Worker>, client: TcpStream, arrival: Arrival, course: Course) {
    let Course { backend, endpoints, is_name, send_proxy, settings, server_name } = course;
    let peer = arrival.client();
    let ends = || Ends {
        protocol: "TCP",
        client: peer,
        peer: arrival.peer,
        server: client.local_addr().ok(),
    };
    let log = Session::begin(worker, ends, &backend, server_name);
    let upstream = match connect(worker, &backend, &endpoints, is_name, &settings).await {
        Ok(upstream) => {
            if let (Some(log), Ok(address)) = (&log, upstream.peer_addr()) {
                log.connected(address);
            }
            upstream
        }
        Err(error) => {
            if let Some(log) = &log {
                log.failed();
            }
            tracing::debug!(%error, client.address = %peer, %backend, "connection not passed on");
            return;
        }
    };
    drop(endpoints);
    let unlogged = Ways::default();
    let ways = log.as_ref().map_or(&unlogged, |log| &log.ways);
    match relay(worker, (client, upstream), arrival, send_proxy, &settings, ways).await {
        Ok(()) => {}
        Err(error) => {
            tracing::debug!(%error, client.address = %peer, %backend, "passed connection ended");
        }
    }
}

async fn relay(
    worker: &Rc<Worker>,
    (client, mut upstream): (TcpStream, TcpStream),
    arrival: Arrival,
    send_proxy: Option<ProxyVersion>,
    settings: &StreamSettings,
    ways: &Ways,
) -> io::Result<()> {
    if let Some(version) = send_proxy {
        let header = arrival.header(version, client.local_addr()?);
        in_time(worker, worker.timeouts.send, upstream.write_all(&header)).await?;
    }
    let deadline = worker.deadlines.deadline();
    deadline.set(settings.timeout);
    let buffers = &worker.buffers;
    let (mut up, mut down) = (Direction::default(), Direction::default());
    poll_fn(|cx| {
        let mut moved = false;
        let up = up.poll((&client, &upstream), buffers, &ways.up, &mut moved, cx)?;
        let down = down.poll((&upstream, &client), buffers, &ways.down, &mut moved, cx)?;
        if up.is_ready() && down.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if moved {
            deadline.set(settings.timeout);
        }
        deadline.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    })
    .await
}

/// One direction. Holds a buffer only while something is in it.
#[derive(Default)]
struct Direction {
    buffer: Option<Buffer>,
    ended: bool,
}

impl Direction {
    /// Ready when the one side has ended and the other knows it.
    fn poll(
        &mut self,
        (from, to): (&TcpStream, &TcpStream),
        buffers: &Buffers,
        count: &Way,
        moved: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.ended {
            if let Some(buffer) = &mut self.buffer {
                ready!(to.poll_write_ready(cx))?;
                match to.try_write(buffer.filled()) {
                    Ok(length) => {
                        *moved = true;
                        count.wrote(length);
                        buffer.consume(length);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
                if buffer.is_empty() {
                    self.buffer = None;
                }
                continue;
            }
            ready!(from.poll_read_ready(cx))?;
            let mut buffer = buffers.take();
            match from.try_read(buffer.room()) {
                Ok(0) => {
                    self.ended = true;
                    *moved = true;
                    // The other direction may go on. That the peer is gone already is its to find.
                    let _gone = SockRef::from(to).shutdown(Shutdown::Write);
                }
                Ok(length) => {
                    *moved = true;
                    count.read(length);
                    buffer.fill(length);
                    self.buffer = Some(buffer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}
