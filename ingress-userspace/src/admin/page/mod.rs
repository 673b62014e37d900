//! The page (docs/page.md): what a person looks at in a browser, on a port of its own. It only reads:
//! files that are part of the program, and `/api/v1`. Whoever reaches the port may look; what keeps
//! others' pages in the same browser away is here.

mod assets;
mod visitor;

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    rc::Rc,
    sync::Arc,
    thread,
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    runtime::{Builder, LocalOptions},
    sync::{Semaphore, watch},
};

use super::{Board, api, metrics::Body, text};
use crate::proxy::Phase;

/// How long a client may take to send a request's head, and between two.
const HEAD: Duration = Duration::from_secs(30);
/// Connections at once. A browser opens six.
const CONNECTIONS: usize = 64;
/// How long a connection is used, and how long its last answer may take: who does not read must not
/// keep a place for ever.
const LIFE: Duration = Duration::from_secs(600);
const LAST: Duration = Duration::from_secs(60);

/// What is not on the page: a stream of requests, with what their URLs say.
const TAP: &str = "/api/v1/tap";

/// Said with every answer. Scripts, styles and answers come from this port alone; nothing is framed,
/// guessed, kept by others or told to them.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// Opens the port. `None`, with a word about it, where that cannot be: the agent serves without.
pub(crate) fn open(address: SocketAddr) -> Option<TcpListener> {
    let opened = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    match opened {
        Ok(listener) => {
            if !address.ip().to_canonical().is_loopback() {
                tracing::warn!(
                    "--page-address {address}: whoever reaches this address sees what is served"
                );
            }
            Some(listener)
        }
        Err(error) => {
            tracing::warn!("--page-address {address}: {error}; the page is not served");
            None
        }
    }
}

/// Serves the page until the phase is [`Phase::Stop`].
pub(crate) fn start(
    board: Arc<Board>,
    listener: TcpListener,
    mut phase: watch::Receiver<Phase>,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("page".to_owned()).spawn(move || {
        let runtime =
            match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => runtime,
                Err(error) => {
                    tracing::error!(%error, "cannot serve the page");
                    return;
                }
            };
        runtime.block_on(async {
            tokio::task::spawn_local(accept(board, listener));
            let _sender_gone = phase.wait_for(|phase| *phase == Phase::Stop).await;
        });
        // What is being made is not waited for.
        runtime.shutdown_background();
    })
}

async fn accept(board: Arc<Board>, listener: TcpListener) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "cannot serve the page");
            return;
        }
    };
    let places = Rc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok((stream, _peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Too many: closed at once, so that those that are open are served.
        let places = Rc::clone(&places);
        let board = Arc::clone(&board);
        tokio::task::spawn_local(async move {
            if let Ok(_place) = places.try_acquire() {
                serve(board, stream).await;
            }
        });
    }
}

async fn serve(board: Arc<Board>, stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| {
        let board = &board;
        async move { Ok::<_, Infallible>(answer(board, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    if tokio::time::timeout(LIFE, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _cut_off = tokio::time::timeout(LAST, connection).await;
    }
}

async fn answer(board: &Arc<Board>, request: Request<Incoming>) -> Response<Body> {
    let mut response = match visitor::judge(&request) {
        Err(why) => text(StatusCode::FORBIDDEN, &format!("{why}\n")),
        Ok(()) if request.uri().path() == TAP => text(StatusCode::NOT_FOUND, "not on this port\n"),
        Ok(()) if api::is_meant(request.uri().path()) => api::answer(board, request, false).await,
        Ok(()) => file(&request),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A file of the page.
fn file<B>(request: &Request<B>) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed here\n");
    }
    match assets::find(request.uri().path()) {
        Some(asset) => asset.answer(request.headers()),
        None => text(StatusCode::NOT_FOUND, "no such page\n"),
    }
}

/// One of the members of a list of tokens in headers of this name.
fn names(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|member| member.trim() == token)
}
