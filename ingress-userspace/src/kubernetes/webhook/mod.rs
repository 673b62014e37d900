//! The admission webhook: the API server asks it before an Ingress is written. It runs `translate`
//! and nothing else: no text of anybody becomes a configuration or is executed.
//!
//! What it cannot judge it does not refuse but answers with a status of HTTP, so that the cluster's
//! `failurePolicy` decides: before the objects are known, or where a verdict takes too long. An
//! Ingress that makes the code panic is refused: it would do so in every agent too.

mod certificate;
mod judge;
mod review;

pub use certificate::WebhookError;

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr, TcpListener},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    runtime::Builder,
    sync::{Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;

use self::{
    certificate::Certificate,
    judge::judge,
    review::{Review, Verdict},
};
use super::moment::{Moment, Moments};
use crate::{
    ledger::{Checks, Ledger},
    proxy::open_single,
    stores::Key,
    translate::Options,
};

/// The largest question, as for ingress-nginx: two objects of the largest size, and what is around.
const LARGEST: usize = 9 << 20;
/// To shake hands, to send a head, to send a body; each.
const PATIENCE: Duration = Duration::from_secs(5);
/// A verdict takes some milliseconds; the API server waits for ten seconds unless it is told less.
const LONGEST_VERDICT: Duration = Duration::from_secs(5);
/// For answers that are under way when all is to end: a verdict, and its way to the client.
const LAST_WORDS: Duration = Duration::from_secs(6);
/// Connections at once; the API server keeps few.
const CONNECTIONS: usize = 64;
/// A connection without traffic is asked after so long whether it is still there, and has as long to say so.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// So that a client that only keeps its place loses it.
const LONGEST_CONNECTION: Duration = Duration::from_secs(600);
const PANICKED: &str = "penstock has a bug that this Ingress brings to light: no agent could serve it; please report it";
/// Threads that judge.
const JUDGES: usize = 2;

/// The flags `--validating-webhook*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookOptions {
    /// Where it listens; `None`: every address.
    pub address: Option<IpAddr>,
    /// Port 0 stands for one that the kernel picks.
    pub port: u16,
    /// PEM, the leaf first.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// Serves the webhook until `stop` is true or its sender gone; returns where it listens.
///
/// # Errors
/// [`WebhookError`]; nothing is left running then.
pub(crate) fn serve(
    webhook: &WebhookOptions,
    options: Options,
    moments: Moments,
    ledger: Arc<Ledger>,
    stop: watch::Receiver<bool>,
) -> Result<(Vec<SocketAddr>, thread::JoinHandle<()>), WebhookError> {
    let certificate = Certificate::open(&webhook.certificate, &webhook.key)?;
    let sockets = open_single(webhook.address, webhook.port, "--validating-webhook")?;
    let addresses: Vec<_> = sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(JUDGES)
        .build()
        .map_err(WebhookError::Thread)?;
    let court = Court { options: Arc::new(options), moments, ledger };
    let thread = thread::Builder::new()
        .name("webhook".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let court = Arc::new(court);
                let certificate = Arc::new(Mutex::new(certificate));
                let free = Arc::new(Semaphore::new(CONNECTIONS));
                let accepting = sockets.into_iter().map(|socket| {
                    let (court, certificate) = (Arc::clone(&court), Arc::clone(&certificate));
                    accept(court, certificate, socket, Arc::clone(&free), stop.clone())
                });
                let mut stopped = stop.clone();
                tokio::select! {
                    _ = join_all(accepting) => {}
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
                // All places are free again: each connection has had its answers.
                let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
                let _late = tokio::time::timeout(LAST_WORDS, free.acquire_many(all)).await;
            });
            // A verdict that is not there yet, nobody waits for.
            runtime.shutdown_background();
        })
        .map_err(WebhookError::Thread)?;
    tracing::info!(?addresses, "judging Ingresses");
    Ok((addresses, thread))
}

/// Who judges, and by what.
struct Court {
    options: Arc<Options>,
    moments: Moments,
    ledger: Arc<Ledger>,
}

async fn accept(
    court: Arc<Court>,
    certificate: Arc<Mutex<Certificate>>,
    socket: TcpListener,
    free: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
) {
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "cannot serve the webhook");
            return;
        }
    };
    loop {
        // Who comes when all places are taken waits in the kernel.
        let Ok(place) = Arc::clone(&free).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let config =
            certificate.lock().unwrap_or_else(PoisonError::into_inner).current(Instant::now());
        let acceptor = TlsAcceptor::from(config);
        let (court, mut stop) = (Arc::clone(&court), stop.clone());
        tokio::spawn(async move {
            let _place = place;
            let shaken = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await;
            let Ok(Ok(stream)) = shaken else { return };
            let service = service_fn(|request| {
                let court = Arc::clone(&court);
                async move { Ok::<_, Infallible>(court.answer(request).await) }
            });
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            // An API server that is gone without a word (its node, the network) leaves its place.
            builder
                .http2()
                .timer(TokioTimer::new())
                .max_concurrent_streams(32)
                .keep_alive_interval(KEEPALIVE)
                .keep_alive_timeout(KEEPALIVE);
            let serving = builder.serve_connection(TokioIo::new(stream), service);
            tokio::pin!(serving);
            tokio::select! {
                _client_left = &mut serving => return,
                () = tokio::time::sleep(LONGEST_CONNECTION) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            // What was asked is answered; what comes then comes by another connection.
            serving.as_mut().graceful_shutdown();
            let _late = tokio::time::timeout(LAST_WORDS, serving).await;
        });
    }
}

impl Court {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let begun = Instant::now();
        if request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only POST of an AdmissionReview\n");
        }
        let body = Limited::new(request.into_body(), LARGEST).collect();
        let body = match tokio::time::timeout(PATIENCE, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return text(StatusCode::PAYLOAD_TOO_LARGE, "the AdmissionReview is over 9 MiB\n");
            }
            Ok(Err(_)) => return text(StatusCode::BAD_REQUEST, "the body broke off\n"),
            Err(_late) => return text(StatusCode::REQUEST_TIMEOUT, "the body took too long\n"),
        };
        let review: Review = match serde_json::from_slice(&body) {
            Ok(review) => review,
            Err(error) => {
                return text(StatusCode::BAD_REQUEST, &format!("no AdmissionReview: {error}\n"));
            }
        };
        let Some(question) = review.request else {
            return text(StatusCode::BAD_REQUEST, "the AdmissionReview has no request\n");
        };
        if !question.is_about_an_ingress() {
            return json(Verdict::allowed().answer(&question.uid));
        }
        let Some(moment) = self.moments.borrow().clone() else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "the objects are not known yet\n");
        };
        let options = Arc::clone(&self.options);
        let uid = question.uid.clone();
        let of = (question.namespace.to_string(), question.name.to_string());
        let (read, ingresses) = (Instant::now(), moment.stores.ingresses.len() as u64);
        let judged = tokio::task::spawn_blocking(move || {
            // A panic has written to the log what it was.
            catch_unwind(AssertUnwindSafe(|| verdict(&options, &moment, &question)))
        });
        match tokio::time::timeout(LONGEST_VERDICT, judged).await {
            Ok(Ok(Ok(verdict))) => {
                let checks = Checks {
                    roundtrip: begun.elapsed().as_secs_f64(),
                    tested: read.elapsed().as_secs_f64(),
                    ingresses,
                    any: true,
                };
                self.ledger.judged(&of.0, &of.1, verdict.refusal.is_none(), checks);
                json(verdict.answer(&uid))
            }
            Ok(_) => json(Verdict::refused(PANICKED).answer(&uid)),
            Err(_late) => text(StatusCode::GATEWAY_TIMEOUT, "the verdict took too long\n"),
        }
    }
}

fn verdict(options: &Options, moment: &Moment, question: &review::Request) -> Verdict {
    let ingress = match question.ingress() {
        Ok(ingress) => ingress,
        Err(error) => return Verdict::refused(format!("cannot be understood: {error}")),
    };
    // The name of one that gets its name from `generateName` is not known yet.
    let name = match &*question.name {
        "" => ingress.metadata.name.clone().unwrap_or_default(),
        name => name.to_owned(),
    };
    judge(options, moment, &Key::new(&*question.namespace, name), ingress)
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn json(body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
