//! The health port: probes, metrics, and what the agent thinks it serves. Only reads; shows no
//! secret; runs on a thread of its own so that a scrape never waits for a request or the other way
//! round.

mod explain;
mod metrics;
mod state;

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::watch,
};

use crate::{
    ledger::Ledger,
    lifecycle::{Addresses, Readiness, Steering},
    model::Diagnostic,
    proxy::{Phase, access_log::Lines, counters::Registry, limits},
    snapshot::Reader,
    source::SourceState,
    stores::Stores,
};

/// How long a client may take to send a request's head.
const HEAD: Duration = Duration::from_secs(10);

/// All that the health port shows.
pub(crate) struct Board {
    pub(crate) reader: Reader,
    pub(crate) registry: Arc<Registry>,
    /// What clients of limited Ingresses have had.
    pub(crate) zones: Arc<limits::Registry>,
    /// What became of lines of the access log.
    pub(crate) log_lines: Arc<Lines>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) addresses: Addresses,
    /// The diagnostics of the current snapshot.
    pub(crate) diagnostics: Mutex<Arc<[Diagnostic]>>,
    /// What became of changes and questions of the cluster.
    pub(crate) ledger: Arc<Ledger>,
    /// The objects as they were published last.
    pub(crate) stores: Mutex<Arc<Stores>>,
    /// How the source of the objects is.
    pub(crate) source: Arc<SourceState>,
    pub(crate) steering: Steering,
    /// `--health-check-path`.
    pub(crate) health_path: String,
    pub(crate) controller_class: String,
    /// `POD_NAMESPACE`; empty where it is not known.
    pub(crate) controller_namespace: String,
    /// `POD_NAME`, or the machine's name.
    pub(crate) controller_pod: String,
    /// `--election-id`.
    pub(crate) election: Option<String>,
    /// The objects are of a cluster.
    pub(crate) is_cluster: bool,
    /// What is counted of requests.
    pub(crate) metrics: crate::config::Metrics,
    pub(crate) hashes: metrics::Hashes,
    /// Pages of metrics that are being written.
    pub(crate) pages: AtomicUsize,
}

impl Board {
    pub(crate) fn set_diagnostics(&self, diagnostics: Arc<[Diagnostic]>) {
        *self.diagnostics.lock().unwrap_or_else(PoisonError::into_inner) = diagnostics;
    }

    pub(crate) fn set_stores(&self, stores: Arc<Stores>) {
        *self.stores.lock().unwrap_or_else(PoisonError::into_inner) = stores;
    }

    fn stores(&self) -> Arc<Stores> {
        Arc::clone(&self.stores.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn diagnostics(&self) -> Arc<[Diagnostic]> {
        Arc::clone(&self.diagnostics.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Serves the health port until the phase is [`Phase::Stop`].
pub(crate) fn start(
    board: Arc<Board>,
    sockets: Vec<TcpListener>,
    mut phase: watch::Receiver<Phase>,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("admin".to_owned()).spawn(move || {
        let runtime =
            match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => runtime,
                Err(error) => {
                    tracing::error!(%error, "cannot serve the health port");
                    return;
                }
            };
        runtime.block_on(async {
            for socket in sockets {
                tokio::task::spawn_local(accept(Arc::clone(&board), socket));
            }
            let _sender_gone = phase.wait_for(|phase| *phase == Phase::Stop).await;
        });
    })
}

async fn accept(board: Arc<Board>, socket: TcpListener) {
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "cannot serve the health port");
            return;
        }
    };
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let board = Arc::clone(&board);
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| {
                let response = answer(&board, peer.ip(), &request);
                async move { Ok::<_, Infallible>(response) }
            });
            let _client_left = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// What is served, to whom and from where, is told on this machine only: the port itself has to be
/// open to scrapers and to the other nodes.
fn is_local(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}

fn answer(
    board: &Arc<Board>,
    peer: IpAddr,
    request: &Request<Incoming>,
) -> Response<metrics::Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed here\n");
    }
    let path = request.uri().path();
    if path == board.health_path {
        // ingress-nginx answers 500 where it is not well (reference section 10).
        return if board.readiness.healthy() {
            text(StatusCode::OK, "ok")
        } else {
            let missing = board.readiness.missing().unwrap_or("not healthy");
            text(StatusCode::INTERNAL_SERVER_ERROR, missing)
        };
    }
    match path {
        "/readyz" => ready(board),
        "/metrics" => metrics::answer(board, request.headers()),
        "/state" | "/explain" if !is_local(peer) => text(
            StatusCode::FORBIDDEN,
            "only from this machine: ask localhost, for example through `kubectl port-forward`\n",
        ),
        "/state" => json(StatusCode::OK, &state::render(board)),
        "/explain" => match explain::render(board, request.uri().query().unwrap_or_default()) {
            Ok(value) => json(StatusCode::OK, &value),
            Err(message) => text(StatusCode::BAD_REQUEST, &message),
        },
        _ => text(
            StatusCode::NOT_FOUND,
            "/healthz /readyz /metrics /state /explain?url=http://host/path\n",
        ),
    }
}

/// Ready from the first complete state on. While the source fails later, what was last known is
/// served, which is better than nobody: still ready, with a word about it.
fn ready(board: &Board) -> Response<metrics::Body> {
    let (status, mut body) = match board.readiness.missing() {
        None => (StatusCode::OK, "ok".to_owned()),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, missing.to_owned()),
    };
    for what in board.source.waiting() {
        body.push_str(&format!("\nwaiting for {what}"));
    }
    for trouble in board.source.troubles() {
        body.push_str(&format!("\nthe last state is served where there is one: {trouble}"));
    }
    text(status, &body)
}

fn text(status: StatusCode, body: &str) -> Response<metrics::Body> {
    let mut response =
        Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())).boxed_unsync());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<metrics::Body> {
    let mut response = text(status, &format!("{value:#}\n"));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for (peer, local) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(is_local(peer.parse().expect("an address")), local, "{peer}");
        }
    }
}
