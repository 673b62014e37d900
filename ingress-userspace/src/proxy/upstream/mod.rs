//! Connections to endpoints: opens them, keeps the idle ones, hands them out. Knows no route, picks
//! no status.

pub(crate) mod http2;
mod pool;
pub(crate) mod tls;

pub(crate) use pool::{Connection, Pool};

use std::{io, net::SocketAddr};

use tokio::net::TcpStream;

use super::{http1::Http1Upstream, sides::UpstreamError, stream::Stream, worker::Worker};

/// Opens a connection to an endpoint, within the connect timeout.
///
/// # Errors
/// `Late`, or `Refused` for whatever else keeps it from being opened: nothing was sent.
pub(crate) async fn connect(
    worker: &Worker,
    address: SocketAddr,
) -> Result<Connection, UpstreamError> {
    match tokio::time::timeout(worker.timeouts.connect, open(address)).await {
        Ok(Ok(stream)) => {
            worker.counters.upstream_connected();
            let deadline = worker.deadlines.deadline();
            let upstream = Http1Upstream::new(Stream::Plain(stream), &worker.buffers, deadline);
            Ok(worker.pool.opened(address, upstream))
        }
        Ok(Err(error)) => {
            worker.counters.upstream_failed();
            tracing::debug!(%error, upstream.address = %address, "cannot connect");
            Err(UpstreamError::Refused)
        }
        Err(_elapsed) => {
            worker.counters.upstream_failed();
            tracing::debug!(upstream.address = %address, "connecting takes too long");
            Err(UpstreamError::Late)
        }
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
