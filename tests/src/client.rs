use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{HeaderMap, Request, client::conn::http1::SendRequest, header};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use crate::Echo;

/// An HTTP/1.1 connection, kept open between requests. Lives on the runtime that opened it.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
    local: SocketAddr,
    /// The last answer said that there will be no other.
    closing: bool,
    /// How the connection ended, once it has.
    end: Arc<OnceLock<Result<(), String>>>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// What the pod saw, if a pod answered.
    pub fn echo(&self) -> Option<Echo> {
        serde_json::from_slice(&self.body).ok()
    }

    /// A header's value as text; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Connection {
    /// Connects, with TLS for this name if asked to.
    pub async fn open(
        target: SocketAddr,
        tls: Option<(Arc<ClientConfig>, &str)>,
        limit: Duration,
    ) -> Result<Self> {
        let deadline = Instant::now() + limit;
        let stream = timeout_at(deadline, TcpStream::connect(target))
            .await
            .context("connecting takes too long")?
            .context("cannot connect")?;
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let (sender, driver, end) = match tls {
            None => handshake(stream).await?,
            Some((config, name)) => {
                let name = ServerName::try_from(name.to_owned())?;
                let connecting = TlsConnector::from(config).connect(name, stream);
                let stream = timeout_at(deadline, connecting)
                    .await
                    .context("the TLS handshake takes too long")?
                    .context("the TLS handshake failed")?;
                handshake(stream).await?
            }
        };
        Ok(Self { sender, driver, local, closing: false, end })
    }

    /// The last answer said that there will be no other.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// How it ended, once it has: in good order, or by what.
    pub fn end(&self) -> Option<&Result<(), String>> {
        self.end.get()
    }

    /// The client's end.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether the server has closed it.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Asks for a path of a host.
    pub async fn get(&mut self, host: &str, path: &str, limit: Duration) -> Result<Answer> {
        let request = Request::get(path)
            .header(header::HOST, host)
            .header(header::USER_AGENT, "penstock-testbed")
            .body(Empty::new())?;
        self.send(request, limit).await
    }

    /// Sends a request and reads its answer to the end.
    pub async fn send(
        &mut self,
        request: Request<Empty<Bytes>>,
        limit: Duration,
    ) -> Result<Answer> {
        let exchange = async {
            self.sender.ready().await.context("the connection is closed")?;
            let response = self.sender.send_request(request).await.context("no answer")?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.context("the answer is cut short")?.to_bytes();
            let connection = head.headers.get(header::CONNECTION);
            self.closing = connection.is_some_and(|value| value.as_bytes() == b"close");
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        match timeout_at(Instant::now() + limit, exchange).await {
            Ok(answer) => answer,
            Err(_) => bail!("no answer within {limit:?}"),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// One request on a connection of its own.
pub async fn get(target: SocketAddr, host: &str, path: &str, limit: Duration) -> Result<Answer> {
    let mut connection = Connection::open(target, None, limit).await?;
    connection.get(host, path, limit).await
}

type Open = (SendRequest<Empty<Bytes>>, JoinHandle<()>, Arc<OnceLock<Result<(), String>>>);

async fn handshake<S>(stream: S) -> Result<Open>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let end = Arc::new(OnceLock::new());
    let told = Arc::clone(&end);
    // Its error reaches the request that it breaks, if there is one.
    let driver = tokio::spawn(async move {
        let ended = connection.await.map_err(|error| format!("{:#}", anyhow::Error::new(error)));
        let _only_once = told.set(ended);
    });
    Ok((sender, driver, end))
}
