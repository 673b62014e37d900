//! Sends a request to one of a backend's endpoints and gets the head of its answer: pooled
//! connections, connect and read timeouts, and another attempt where nothing can happen twice
//! (reference sections 5.4, 5.5). Knows no route; picks no status.

mod connection;
pub(crate) mod http2;
mod pool;
pub(crate) mod tls;

pub(crate) use connection::{Connection, Raw};
pub(crate) use pool::Pool;

use std::{net::SocketAddr, rc::Rc};

use http::{Request, Response, StatusCode, request};
use hyper::body::Incoming;
use tokio::sync::oneshot;

use self::connection::Broken;
use super::{body::RequestBody, respond::Failure, worker::Worker};

/// Attempts in total: ingress-nginx's `proxy-next-upstream-tries`.
const TRIES: u32 = 3;

/// The head of an upstream's answer.
pub(crate) enum Answer {
    /// An ordinary one, with its body and the connection that it comes from.
    Response(Response<Incoming>, Connection),
    /// 101 to a request that asked for it: after it, the connection carries something else.
    Upgrade(Response<Incoming>, oneshot::Receiver<Raw>),
}

/// Sends `head` and `body` to an endpoint that `next` names; it is called again for each further
/// attempt. `head` is an origin-form HTTP/1.1 request without hop-by-hop headers but those of an
/// upgrade.
pub(crate) async fn send(
    worker: &Rc<Worker>,
    mut next: impl FnMut() -> Option<SocketAddr>,
    head: request::Parts,
    body: RequestBody,
    upgrade: bool,
) -> Result<Answer, Failure> {
    let idempotent = !matches!(head.method.as_str(), "POST" | "LOCK" | "PATCH");
    let mut head = Some(head);
    let mut tries = 0;
    // After a pooled connection turned out to be closed, the others to that endpoint are too.
    let mut fresh_only = None;
    loop {
        let address = match fresh_only {
            Some(address) => address,
            None => next().ok_or(Failure::NoEndpoint)?,
        };
        let repeatable = idempotent && !body.progress().taken;
        let pooled = match fresh_only.take() {
            Some(_) => None,
            None => worker.pool.take(address, repeatable),
        };
        let reused = pooled.is_some();
        let mut connection = match pooled {
            Some(connection) => connection,
            None => {
                tries += 1;
                match connect(worker, address).await {
                    Ok(connection) => connection,
                    Err(_) if tries < TRIES => continue,
                    Err(failure) => return Err(failure),
                }
            }
        };
        let raw = upgrade.then(|| connection.expect_raw());
        // The head is kept where it may be needed again, given away where it cannot be.
        let parts = if repeatable { head.clone() } else { head.take() };
        let Some(parts) = parts else { return Err(Failure::Upstream) };
        let request = Request::from_parts(parts, body.clone());
        match connection.send(request, &body).await {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                let raw = raw.ok_or(Failure::Upstream)?;
                return Ok(Answer::Upgrade(response, raw));
            }
            Ok(response) => return Ok(Answer::Response(response, connection)),
            Err(Broken::Unsent(request)) => {
                head = Some(request.into_parts().0);
                if reused {
                    fresh_only = Some(address);
                } else if tries >= TRIES {
                    return Err(Failure::Upstream);
                }
            }
            Err(Broken::Lost(error)) => {
                tracing::debug!(%error, upstream.address = %address, "the upstream broke off");
                if !repeatable || body.progress().taken || (!reused && tries >= TRIES) {
                    return Err(Failure::Upstream);
                }
                if reused {
                    fresh_only = Some(address);
                }
            }
            Err(Broken::Garbled(error)) => {
                tracing::debug!(%error, upstream.address = %address, "no valid answer");
                return Err(Failure::Upstream);
            }
            Err(Broken::Late) => {
                tries += u32::from(reused);
                if !repeatable || body.progress().taken || tries >= TRIES {
                    return Err(Failure::UpstreamTimeout);
                }
            }
            Err(Broken::Starved) => return Err(Failure::ClientTimeout),
        }
    }
}

async fn connect(worker: &Rc<Worker>, address: SocketAddr) -> Result<Connection, Failure> {
    let opening = Connection::open(address, &worker.pool);
    match tokio::time::timeout(worker.timeouts.connect, opening).await {
        Ok(Ok(connection)) => {
            worker.counters.upstream_connected();
            Ok(connection)
        }
        Ok(Err(error)) => {
            worker.counters.upstream_failed();
            tracing::debug!(%error, upstream.address = %address, "cannot connect");
            Err(Failure::Upstream)
        }
        Err(_elapsed) => {
            worker.counters.upstream_failed();
            tracing::debug!(upstream.address = %address, "connecting takes too long");
            Err(Failure::UpstreamTimeout)
        }
    }
}
