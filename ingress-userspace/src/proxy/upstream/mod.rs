//! Connections to endpoints: opens them, keeps the idle ones, hands them out. Knows no route, picks
//! no status.

mod connection;
pub(crate) mod http2;
mod pool;
mod race;
pub(crate) mod tls;

pub(crate) use connection::Connection;
pub(crate) use pool::Pool;
pub(crate) use race::{Candidates, interleave, race};

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use tokio::net::TcpStream;

use self::{http2::ConnectError, tls::Inside};
use super::{
    fastcgi::FastCgiUpstream,
    http1::{Http1Upstream, Patience},
    sides::UpstreamError,
    stream::Stream,
    worker::Worker,
};
use crate::model::{Protocol, Proxying, UpstreamTls};

/// How endpoints are spoken to for one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'r> {
    proxying: &'r Proxying,
    /// `None`: in clear text, and that is meant.
    tls: Option<&'r Arc<UpstreamTls>>,
}

impl<'r> Way<'r> {
    /// `https`: the client came over TLS. `None` where there must be TLS and nobody says how: such
    /// a request goes nowhere.
    pub(crate) fn new(proxying: &'r Proxying, https: bool) -> Option<Self> {
        let tls =
            if proxying.protocol.uses_tls(https) { Some(proxying.tls.as_ref()?) } else { None };
        Some(Self { proxying, tls })
    }

    /// A way of its own: TLS as this policy says; `None`: in clear text, and that is meant.
    pub(crate) fn own(proxying: &'r Proxying, tls: Option<&'r Arc<UpstreamTls>>) -> Self {
        Self { proxying, tls }
    }
}

/// Opens a connection to an endpoint, or a stream on one of HTTP/2, within the connect timeout.
///
/// # Errors
/// `Late`, or `Refused` for whatever else keeps it from being opened: nothing was sent.
pub(crate) async fn connect(
    worker: &Worker,
    address: SocketAddr,
    way: &Way<'_>,
) -> Result<Connection, UpstreamError> {
    let opened = if way.proxying.protocol.is_http2() {
        let limits = worker.pool.limits();
        // Boxed, as below: rare and large, and the task of every connection has room for it else.
        let opened = Box::pin(worker.pool.http2.open(address, way.proxying, &limits)).await;
        opened.map(|stream| Connection::Http2(Box::new(stream)))
    } else {
        match tokio::time::timeout(way.proxying.connect_timeout, open(worker, address, way)).await {
            Ok(Ok(stream)) => Ok(own(worker, address, way, stream)),
            Ok(Err(error)) => Err(error),
            Err(_elapsed) => Err(ConnectError::Late),
        }
    };
    match &opened {
        Ok(connection) if connection.is_reused() => {}
        Ok(_) => worker.counters.upstream_connected(),
        Err(error) => {
            worker.counters.upstream_failed();
            let error: &dyn std::error::Error = error;
            tracing::debug!(error, upstream.address = %address, "cannot connect");
        }
    }
    opened.map_err(|error| match error {
        ConnectError::Late => UpstreamError::Late,
        _ => UpstreamError::Refused,
    })
}

/// A connection of the request's own over a new transport.
fn own(worker: &Worker, address: SocketAddr, way: &Way<'_>, stream: Stream) -> Connection {
    let deadline = worker.deadlines.deadline();
    if way.proxying.protocol == Protocol::Fcgi {
        let complaints = Rc::clone(&worker.pool.complaints);
        let patience = Patience::of(way.proxying);
        let buffers = &worker.buffers;
        let upstream =
            FastCgiUpstream::new(stream, address, buffers, deadline, complaints, patience);
        return Connection::FastCgi(Box::new(upstream));
    }
    let upstream = Http1Upstream::new(stream, &worker.buffers, deadline);
    Connection::Http1(worker.pool.opened(address, way.tls.cloned(), upstream))
}

/// A transport for HTTP/1 or FastCGI.
async fn open(worker: &Worker, address: SocketAddr, way: &Way<'_>) -> Result<Stream, ConnectError> {
    let io = |error| ConnectError::Io(Arc::new(error));
    let stream = TcpStream::connect(address).await.map_err(io)?;
    stream.set_nodelay(true).map_err(io)?;
    let Some(policy) = way.tls else { return Ok(Stream::Plain(stream)) };
    let client = worker.pool.clients.of(policy)?;
    let stream = Box::pin(tls::connect(stream, &client, address.ip(), Inside::Http1)).await;
    Ok(stream.map(|stream| Stream::UpstreamTls(Box::new(stream)))?)
}
