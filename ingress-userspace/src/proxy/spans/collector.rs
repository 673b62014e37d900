//! One collector, by OTLP over gRPC or HTTP. hyper speaks both; the one method of gRPC that is called
//! here is a request of HTTP/2 with five bytes in front of its body, for which a framework (tonic, with
//! its own balancing, retries and code generation) would be out of proportion.

use std::{sync::Arc, time::Duration};

use bytes::{Buf as _, Bytes};
use data_encoding::BASE64_NOPAD;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    attributes::{self, OF_RESOURCE},
    protobuf::{self, Value},
};
use crate::{
    model::{Export, OtlpProtocol},
    proxy::access_log::hostname,
};

/// To connect, and then to be answered.
const PATIENCE: Duration = Duration::from_secs(10);
/// What an answer may have. Bytes.
const ANSWER: usize = 64 * 1024;

/// Why a collector did not take spans.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    /// It cannot be connected to.
    #[error("cannot connect")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// TLS cannot be spoken, whatever the collector does.
    #[error("cannot speak TLS")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke off.
    #[error("no answer")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It takes too long.
    #[error("no answer in time")]
    Late,
    /// It answered with this status of HTTP.
    #[error("status {0}")]
    Status(StatusCode),
    /// It answered with this status of gRPC.
    #[error("status {status} of gRPC: {message}")]
    Grpc {
        /// As gRPC numbers them.
        status: u32,
        /// As it says it.
        message: String,
        /// It says when it may be asked again (`google.rpc.RetryInfo`).
        may_retry: bool,
    },
}

impl ExportError {
    /// The same spans may be taken later (OTLP 1.0, "failures" of both protocols).
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Broken(_) | Self::Late => true,
            Self::Tls(_) => false,
            Self::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            // Resource exhausted: by this batch for good, unless it says otherwise.
            Self::Grpc { status: 8, may_retry, .. } => *may_retry,
            // Cancelled, deadline exceeded, aborted, out of range, unavailable, data loss.
            Self::Grpc { status, .. } => matches!(status, 1 | 4 | 10 | 11 | 14 | 15),
        }
    }
}

/// A collector and the connection to it.
pub(super) struct Collector {
    export: Arc<Export>,
    /// What all spans share: the resource and the scope, encoded.
    resource: Vec<u8>,
    scope: Vec<u8>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    connection: Option<Connection>,
}

enum Connection {
    Http1(conn::http1::SendRequest<Full<Bytes>>),
    Http2(conn::http2::SendRequest<Full<Bytes>>),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Collector {
    pub(super) fn new(export: Arc<Export>) -> Result<Self, ExportError> {
        let tls = if export.tls { Some(connector(&export)?) } else { None };
        let mut resource = Vec::new();
        protobuf::message(&mut resource, 1, |out| {
            let mut text =
                |name, value: &str| attributes::text(out, OF_RESOURCE, name, value.as_bytes());
            text("service.name", &export.service);
            text("host.name", &hostname());
            text("telemetry.sdk.name", "penstock");
            text("telemetry.sdk.language", "rust");
            text("telemetry.sdk.version", env!("CARGO_PKG_VERSION"));
        });
        let mut scope = Vec::new();
        protobuf::message(&mut scope, 1, |out| {
            protobuf::bytes(out, 1, b"penstock");
            protobuf::bytes(out, 2, env!("CARGO_PKG_VERSION").as_bytes());
        });
        Ok(Self { export, resource, scope, tls, connection: None })
    }

    /// Hands over spans, each a field of `ScopeSpans`. Returns how many of them were refused.
    pub(super) async fn export(&mut self, spans: &[u8]) -> Result<usize, ExportError> {
        let message = self.message(spans);
        let connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            _ => within(self.connect()).await?,
        };
        let connection = self.connection.insert(connection);
        let outcome = within(ask(&self.export, connection, message)).await;
        // Whatever is wrong, the next one begins with a connection of its own.
        if outcome.is_err() {
            self.connection = None;
        }
        outcome
    }

    /// `ExportTraceServiceRequest`.
    fn message(&self, spans: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(spans.len() + self.resource.len() + 128);
        protobuf::message(&mut out, 1, |out| {
            out.extend_from_slice(&self.resource);
            protobuf::message(out, 2, |out| {
                out.extend_from_slice(&self.scope);
                out.extend_from_slice(spans);
            });
        });
        out
    }

    async fn connect(&self) -> Result<Connection, ExportError> {
        let Export { host, port, protocol, .. } = &*self.export;
        let connect = |error| ExportError::Connect(Box::new(error));
        let stream = TcpStream::connect((&**host, *port)).await.map_err(connect)?;
        stream.set_nodelay(true).map_err(connect)?;
        let stream: Box<dyn Stream> = match &self.tls {
            Some((connector, name)) => {
                Box::new(connector.connect(name.clone(), stream).await.map_err(connect)?)
            }
            None => Box::new(stream),
        };
        let stream = TokioIo::new(stream);
        let broken = |error| ExportError::Connect(Box::new(error));
        Ok(match protocol {
            OtlpProtocol::Http => {
                let (sender, connection) = conn::http1::handshake(stream).await.map_err(broken)?;
                tokio::spawn(connection);
                Connection::Http1(sender)
            }
            OtlpProtocol::Grpc => {
                let handshake = conn::http2::handshake(TokioExecutor::new(), stream);
                let (sender, connection) = handshake.await.map_err(broken)?;
                tokio::spawn(connection);
                Connection::Http2(sender)
            }
        })
    }
}

impl Connection {
    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }

    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<http::Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

async fn within<T>(what: impl Future<Output = Result<T, ExportError>>) -> Result<T, ExportError> {
    timeout(PATIENCE, what).await.unwrap_or(Err(ExportError::Late))
}

async fn ask(
    export: &Export,
    connection: &mut Connection,
    message: Vec<u8>,
) -> Result<usize, ExportError> {
    let broken = |error: Box<dyn std::error::Error + Send + Sync>| ExportError::Broken(error);
    let request = request(export, message).map_err(|error| broken(Box::new(error)))?;
    let response = connection.send(request).await.map_err(|error| broken(Box::new(error)))?;
    if response.status() != StatusCode::OK {
        return Err(ExportError::Status(response.status()));
    }
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER).collect().await.map_err(broken)?;
    let trailers = body.trailers().cloned();
    let mut answer = body.to_bytes();
    if export.protocol == OtlpProtocol::Grpc {
        grpc_status(trailers.as_ref().unwrap_or(&head.headers))?;
        answer.advance(answer.len().min(FRAME));
    }
    Ok(refused(&answer))
}

/// The flag for compression and the length, before each message of gRPC.
const FRAME: usize = 5;

fn request(export: &Export, message: Vec<u8>) -> Result<Request<Full<Bytes>>, http::Error> {
    let scheme = if export.tls { "https" } else { "http" };
    let host = match export.host.contains(':') {
        true => format!("[{}]", export.host),
        false => export.host.to_string(),
    };
    let authority = format!("{host}:{}", export.port);
    let request = Request::post(&*export.path);
    match export.protocol {
        OtlpProtocol::Http => request
            .header(header::HOST, authority)
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .body(Full::new(message.into())),
        OtlpProtocol::Grpc => {
            let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
            let mut framed = Vec::with_capacity(message.len() + FRAME);
            framed.push(0);
            framed.extend_from_slice(&length.to_be_bytes());
            framed.extend_from_slice(&message);
            request
                .uri(format!("{scheme}://{authority}{}", export.path))
                .header(header::CONTENT_TYPE, "application/grpc")
                .header(header::TE, "trailers")
                .body(Full::new(framed.into()))
        }
    }
}

/// Among these details of a status, in Base64 with or without padding, one is a `RetryInfo`: an `Any`
/// begins with the name of its type in the clear.
fn has_retry_info(details: &str) -> bool {
    const NAME: &[u8] = b"type.googleapis.com/google.rpc.RetryInfo";
    let details = BASE64_NOPAD.decode(details.trim_end_matches('=').as_bytes());
    details.is_ok_and(|own| own.windows(NAME.len()).any(|part| part == NAME))
}

fn grpc_status(fields: &HeaderMap) -> Result<(), ExportError> {
    let text = |name| fields.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    match text("grpc-status").and_then(|status| status.parse().ok()) {
        Some(0) => Ok(()),
        Some(status) => {
            let message = text("grpc-message").unwrap_or_default().chars().take(200).collect();
            let details = text("grpc-status-details-bin").unwrap_or_default();
            Err(ExportError::Grpc { status, message, may_retry: has_retry_info(details) })
        }
        // Unknown, as gRPC has it where nothing is said.
        None => {
            let message = "no status".to_owned();
            Err(ExportError::Grpc { status: 2, message, may_retry: false })
        }
    }
}

/// `ExportTraceServiceResponse.partial_success.rejected_spans`.
fn refused(answer: &[u8]) -> usize {
    let partial = protobuf::fields(answer).find_map(|field| match field {
        (1, Value::Bytes(partial)) => Some(partial),
        _ => None,
    });
    let rejected = protobuf::fields(partial.unwrap_or_default()).find_map(|field| match field {
        (1, Value::Number(rejected)) => usize::try_from(rejected).ok(),
        _ => None,
    });
    rejected.unwrap_or(0)
}

/// Trusts whom the machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` say otherwise).
fn connector(export: &Export) -> Result<(TlsConnector, ServerName<'static>), ExportError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _not_understood) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = "there are no authorities on this machine; SSL_CERT_FILE names some";
        return Err(ExportError::Tls(why.into()));
    }
    let tls = |error| ExportError::Tls(Box::new(error));
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = match export.protocol {
        OtlpProtocol::Grpc => vec![b"h2".to_vec()],
        OtlpProtocol::Http => vec![b"http/1.1".to_vec()],
    };
    let name = ServerName::try_from(export.host.to_string())
        .map_err(|error| ExportError::Tls(Box::new(error)))?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::*;

    fn status(status: &'static str, details: Option<String>) -> ExportError {
        let mut fields = HeaderMap::new();
        fields.insert("grpc-status", HeaderValue::from_static(status));
        if let Some(details) = details {
            let value = HeaderValue::try_from(details).expect("text");
            fields.insert("grpc-status-details-bin", value);
        }
        grpc_status(&fields).expect_err("it is no success")
    }

    /// `google.rpc.Status` with one detail of this type.
    fn details(name: &str) -> Vec<u8> {
        let mut out = Vec::new();
        protobuf::number(&mut out, 1, 8);
        protobuf::message(&mut out, 3, |out| protobuf::bytes(out, 1, name.as_bytes()));
        out
    }

    #[test]
    fn a_collector_that_is_exhausted_is_asked_again_if_it_says_so() {
        let info = details("type.googleapis.com/google.rpc.RetryInfo");
        for encoded in [BASE64.encode(&info), BASE64_NOPAD.encode(&info)] {
            assert!(status("8", Some(encoded)).is_transient());
        }
        let other = details("type.googleapis.com/google.rpc.DebugInfo");
        for details in [None, Some(BASE64.encode(&other)), Some("?".to_owned())] {
            assert!(!status("8", details).is_transient());
        }
        assert!(status("14", None).is_transient());
        assert!(!status("3", None).is_transient());
    }
}
