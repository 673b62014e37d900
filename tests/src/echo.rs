use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
    header,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use serde::{Deserialize, Serialize};
use tokio::{io, net::TcpListener};

/// What a pod saw of a request; the body of its answer, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// The pod's name.
    pub pod: String,
    /// The request's method.
    pub method: String,
    /// The request's path, as it arrived.
    pub path: String,
    /// Its query, without the question mark.
    pub query: Option<String>,
    /// Its headers; values of one name are joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// How many bytes its body had.
    pub body_bytes: u64,
    /// Who connected: the agent.
    pub peer: SocketAddr,
}

impl Echo {
    /// A header's value; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Answers requests until the listener fails. A path that ends in `/status/NNN` gets that status,
/// in `/delay/MS` a pause before the answer, in `/bytes/N` a chunked body of that length; a request
/// to switch protocols gets its bytes back.
pub async fn serve(listener: TcpListener, pod: String) -> io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        let pod = pod.clone();
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let service = service_fn(move |request| {
                let pod = pod.clone();
                async move { Ok::<_, Infallible>(answer(pod, peer, request).await) }
            });
            // A client that goes away is no concern of a pod's.
            let _ = Builder::new(TokioExecutor::new())
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(pod: String, peer: SocketAddr, mut request: Request<Incoming>) -> Response<Body> {
    if let Some(protocol) = request.headers().get(header::UPGRADE).cloned() {
        tokio::spawn(give_back(hyper::upgrade::on(&mut request)));
        let mut response = Response::new(Full::default().boxed());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(header::UPGRADE, protocol);
        let upgrade = header::HeaderValue::from_static("upgrade");
        response.headers_mut().insert(header::CONNECTION, upgrade);
        return response;
    }
    let wish = Wish::of(request.uri().path());
    let (head, mut body) = request.into_parts();
    let mut body_bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        body_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    let mut status = StatusCode::OK;
    match wish {
        Some(Wish::Status(wanted)) => status = wanted,
        Some(Wish::Delay(pause)) => tokio::time::sleep(pause).await,
        Some(Wish::Bytes(count)) => return Response::new(Pieces(count).boxed()),
        None => {}
    }
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let known = headers.entry(name.to_string()).or_default();
        known.push_str(if known.is_empty() { "" } else { ", " });
        known.push_str(&value);
    }
    let echo = Echo {
        pod,
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        headers,
        body_bytes,
        peer,
    };
    let json = serde_json::to_vec_pretty(&echo).expect("an echo is a map with text as keys");
    let mut response = Response::new(Full::from(json).boxed());
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Something that the last two elements of a path ask for.
enum Wish {
    Status(StatusCode),
    Delay(Duration),
    Bytes(u64),
}

impl Wish {
    fn of(path: &str) -> Option<Self> {
        let (rest, value) = path.rsplit_once('/')?;
        let (_, name) = rest.rsplit_once('/')?;
        match name {
            "status" => StatusCode::from_bytes(value.as_bytes()).ok().map(Self::Status),
            "delay" => value.parse().ok().map(Duration::from_millis).map(Self::Delay),
            "bytes" => value.parse().ok().map(Self::Bytes),
            _ => None,
        }
    }
}

/// A body without a declared length, of this many bytes, in pieces.
struct Pieces(u64);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static PIECE: [u8; 16 * 1024] = [b'.'; 16 * 1024];
        let length = self.0.min(PIECE.len() as u64);
        self.0 -= length;
        let length = usize::try_from(length).expect("no longer than a piece");
        Poll::Ready((length > 0).then(|| Ok(Frame::data(Bytes::from_static(&PIECE[..length])))))
    }
}

async fn give_back(upgrade: hyper::upgrade::OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let (mut reader, mut writer) = io::split(TokioIo::new(upgraded));
    let _ = io::copy(&mut reader, &mut writer).await;
}
