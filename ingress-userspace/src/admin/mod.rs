//! The health port: probes, metrics, and what the agent thinks it serves. Only reads; shows no
//! secret; runs on a thread of its own so that a scrape never waits for a request or the other way
//! round. The same over a Unix socket ([`socket`]), where the agent can be changed too.

mod api;
mod history;
mod levels;
mod metrics;
mod page;
mod socket;
mod state;

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, TcpListener},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, HOST, ORIGIN},
    uri::Authority,
};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::{Builder, LocalOptions},
    sync::watch,
};

pub(crate) use self::{
    history::History,
    levels::PATH as LOG_LEVEL,
    page::{open as open_page, start as start_page},
    socket::Socket,
};
use crate::{
    ledger::Ledger,
    lifecycle::{Addresses, Readiness, Steering},
    log::Levels,
    model::Diagnostic,
    proxy::{
        Phase, access_log::Lines, counters::Registry, inquiry::Inquiries, limits, spans::Spans,
        taps::Taps,
    },
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
    /// What became of spans.
    pub(crate) spans: Arc<Spans>,
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
    /// `--election-id`.
    pub(crate) election: Option<String>,
    /// What it is, for people.
    pub(crate) source_name: String,
    pub(crate) steering: Steering,
    /// `--health-check-path`.
    pub(crate) health_path: String,
    pub(crate) controller_class: String,
    /// `--annotations-prefix`.
    pub(crate) annotations_prefix: String,
    /// `--configmap`: namespace and name.
    pub(crate) configmap: Option<(String, String)>,
    /// What changes our own log; `None`: the log is not the agent's.
    pub(crate) levels: Option<Levels>,
    /// `POD_NAMESPACE`; empty where it is not known.
    pub(crate) controller_namespace: String,
    /// `POD_NAME`, or the machine's name.
    pub(crate) controller_pod: String,
    /// The objects are of a cluster.
    pub(crate) is_cluster: bool,
    /// What is counted of requests.
    pub(crate) metrics: crate::config::Metrics,
    pub(crate) hashes: metrics::Hashes,
    /// Pages of metrics that are being written.
    pub(crate) pages: AtomicUsize,
    /// The traffic of the last minutes.
    pub(crate) history: History,
    /// When the agent started.
    pub(crate) started: Instant,
    /// Asks the workers.
    pub(crate) workers: Inquiries,
    /// Watches requests.
    pub(crate) taps: Taps,
    /// What `/api/v1` keeps.
    pub(crate) api: api::State,
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

/// Serves the health port and the socket until the phase is [`Phase::Stop`].
pub(crate) fn start(
    board: Arc<Board>,
    sockets: Vec<TcpListener>,
    socket: Option<Socket>,
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
            let socket = socket.map(Rc::new);
            if let Some(socket) = &socket {
                tokio::task::spawn_local(accept_local(Arc::clone(&board), Rc::clone(socket)));
            }
            if let Some(levels) = board.levels.clone() {
                tokio::task::spawn_local(summarize(levels));
            }
            tokio::task::spawn_local(history::keep(Arc::clone(&board)));
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
        let asking = if is_local(peer.ip()) { Asking::Local } else { Asking::Remote };
        tokio::task::spawn_local(serve(Arc::clone(&board), stream, asking));
    }
}

async fn accept_local(board: Arc<Board>, socket: Rc<Socket>) {
    let listener = socket.listener.try_clone().and_then(tokio::net::UnixListener::from_std);
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "cannot serve the admin socket");
            return;
        }
    };
    loop {
        match listener.accept().await {
            Ok((stream, _unnamed)) => {
                tokio::task::spawn_local(serve(Arc::clone(&board), stream, Asking::Socket));
            }
            Err(_too_many) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn serve(board: Arc<Board>, stream: impl AsyncRead + AsyncWrite + Unpin, asking: Asking) {
    let service = service_fn(|request: Request<Incoming>| {
        let board = &board;
        async move {
            Ok::<_, Infallible>(match (asking, request.uri().path()) {
                (Asking::Socket, levels::PATH) => levels::change(board, request).await,
                (_, path) if api::is_meant(path) => match may_ask(asking, request.headers()) {
                    Ok(()) => api::answer(board, request, asking == Asking::Socket).await,
                    Err(why) => api::refuse(StatusCode::FORBIDDEN, why),
                },
                _ => answer(board, asking, &request),
            })
        }
    });
    let _client_left = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Tells once in a while what our own log left out.
async fn summarize(levels: Levels) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tick.tick().await;
        levels.summarize();
    }
}

/// Who asks: what is served, to whom and from where, is told on this machine only, for the port
/// itself has to be open to scrapers and to the other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    /// Another machine, or a pod.
    Remote,
    /// This machine, by its port.
    Local,
    /// This user on this machine.
    Socket,
}

/// What is served and who asks for it is told on this machine; and to no page in a browser that was
/// led here by a name of its own (DNS rebinding): whoever uses a port of this machine says an address,
/// or `localhost`.
fn may_ask(asking: Asking, headers: &HeaderMap) -> Result<(), &'static str> {
    match asking {
        Asking::Remote => {
            Err("only from this machine: ask localhost, for example through `kubectl port-forward`")
        }
        Asking::Local if !is_local_name(headers) => {
            Err("the Host field names neither an address nor localhost")
        }
        Asking::Local if is_of_a_page(headers) => Err("a page of another place asks"),
        Asking::Local | Asking::Socket => Ok(()),
    }
}

/// A browser says that the question is one of a page's: none of ours is on this port.
fn is_of_a_page(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    headers.contains_key(ORIGIN) || site.is_some_and(|site| site != b"none")
}

/// The host that a request is for is an address or `localhost`.
fn is_local_name(headers: &HeaderMap) -> bool {
    let mut named = headers.get_all(HOST).iter();
    let (Some(host), None) = (named.next(), named.next()) else { return false };
    let Some(authority) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else {
        return false;
    };
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

fn is_local(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}

fn answer(
    board: &Arc<Board>,
    asking: Asking,
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
        "/state" | levels::PATH => match may_ask(asking, request.headers()) {
            Err(why) => text(StatusCode::FORBIDDEN, &format!("{why}\n")),
            Ok(()) if path == "/state" => json(StatusCode::OK, &state::render(board)),
            Ok(()) => levels::show(board),
        },
        _ => text(StatusCode::NOT_FOUND, "/healthz /readyz /metrics /state /log-level /api/v1/\n"),
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
    fn a_name_of_somebody_else_is_not_ours() {
        for (host, local) in [
            ("localhost", true),
            ("LocalHost:10254", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("10.0.0.1", true),
            ("rebound.example", false),
            ("localhost.example", false),
            ("127.0.0.1.example", false),
            ("", false),
            ("a b", false),
        ] {
            let headers = [(HOST, HeaderValue::from_static(host))].into_iter().collect();
            assert_eq!(is_local_name(&headers), local, "{host}");
        }
        assert!(!is_local_name(&HeaderMap::new()));
        assert!(may_ask(Asking::Socket, &HeaderMap::new()).is_ok());
        assert!(may_ask(Asking::Remote, &HeaderMap::new()).is_err());
    }

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
