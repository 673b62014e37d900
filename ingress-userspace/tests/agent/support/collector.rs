//! A receiver of OTLP, made from the published definitions of its messages.

use std::{
    io::{BufReader, Write as _},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use bytes::Bytes;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message as _;

use super::{Backend, read_request, until};

/// The method of the published service.
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// What a collector was sent.
#[derive(Clone, Default)]
pub(crate) struct Received {
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    /// It takes nothing now: UNAVAILABLE.
    refusing: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
}

/// A collector on loopback.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    pub(crate) received: Received,
}

impl Received {
    fn take(&self, body: &[u8]) -> Option<Vec<u8>> {
        if self.refusing.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return None;
        }
        let request = ExportTraceServiceRequest::decode(body).expect("it is as published");
        self.requests.lock().expect("nobody panics").push(request);
        let partial_success = Some(ExportTracePartialSuccess::default());
        Some(ExportTraceServiceResponse { partial_success }.encode_to_vec())
    }

    pub(crate) fn refuse(&self, refusing: bool) {
        self.refusing.store(refusing, Ordering::SeqCst);
    }

    /// Requests that were not taken, and connections without any.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        self.requests.lock().expect("nobody panics").clone()
    }

    /// All spans so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let resources = self.requests().into_iter().flat_map(|request| request.resource_spans);
        resources.flat_map(|own| own.scope_spans).flat_map(|own| own.spans).collect()
    }

    /// The spans, once there are so many.
    pub(crate) fn wait(&self, count: usize) -> Vec<Span> {
        until("the spans are there", || self.spans().len() >= count);
        let spans = self.spans();
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans
    }
}

impl Collector {
    /// By HTTP, with a path.
    pub(crate) fn http(path: &'static str) -> Self {
        let received = Received::default();
        let own = received.clone();
        let backend = Backend::scripted(move |stream, _| {
            let reader = BufReader::new(stream.try_clone().expect("a second handle"));
            serve(reader, stream, path, &own);
        });
        Self { address: backend.address, received }
    }

    /// By HTTP over TLS, with this certificate.
    pub(crate) fn https(path: &'static str, config: Arc<rustls::ServerConfig>) -> Self {
        let received = Received::default();
        let own = received.clone();
        let backend = Backend::scripted(move |mut stream, _| {
            let connection =
                rustls::ServerConnection::new(Arc::clone(&config)).expect("it is right");
            let mut connection = connection;
            let mut reader = BufReader::new(rustls::Stream::new(&mut connection, &mut stream));
            while let Some((head, body)) = read_request(&mut reader) {
                let answer = answer(&head, &body, path, &own);
                if reader.get_mut().write_all(&answer).is_err() {
                    return;
                }
            }
            drop(reader);
            // The client did not like who we are.
            if connection.is_handshaking() {
                own.refused.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address: backend.address, received }
    }

    /// By gRPC.
    pub(crate) fn grpc() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        listener.set_nonblocking(true).expect("it can be");
        let address = listener.local_addr().expect("bound");
        let received = Received::default();
        let own = received.clone();
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("one");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("it is open");
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve_grpc(stream, own.clone()));
                }
            });
        });
        Self { address, received }
    }
}

fn serve(
    mut reader: BufReader<impl std::io::Read>,
    mut writer: impl std::io::Write,
    path: &str,
    received: &Received,
) {
    while let Some((head, body)) = read_request(&mut reader) {
        if writer.write_all(&answer(&head, &body, path, received)).is_err() {
            return;
        }
    }
}

fn answer(head: &str, body: &[u8], path: &str, received: &Received) -> Vec<u8> {
    assert!(head.starts_with(&format!("POST {path} HTTP/1.1\n")), "{head}");
    let lower = head.to_ascii_lowercase();
    assert!(lower.contains("content-type: application/x-protobuf\n"), "{head}");
    let (status, body) = match received.take(body) {
        Some(body) => ("200 OK", body),
        None => ("503 Service Unavailable", Vec::new()),
    };
    let mut answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend(body);
    answer
}

async fn serve_grpc(stream: tokio::net::TcpStream, received: Received) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let received = received.clone();
        tokio::spawn(async move {
            assert_eq!(request.uri().path(), GRPC_PATH);
            assert_eq!(request.headers()["content-type"], "application/grpc");
            assert_eq!(request.headers()["te"], "trailers");
            let mut body = request.into_body();
            let mut message = Vec::new();
            while let Some(Ok(data)) = body.data().await {
                let _ended = body.flow_control().release_capacity(data.len());
                message.extend_from_slice(&data);
            }
            assert_eq!(message[0], 0, "it is not compressed");
            let length = u32::from_be_bytes(message[1..5].try_into().expect("four"));
            assert_eq!(length as usize, message.len() - 5);
            let answer = received.take(&message[5..]);
            let head = http::Response::builder().header("content-type", "application/grpc");
            let mut send =
                respond.send_response(head.body(()).expect("it is right"), false).expect("open");
            let status = match answer {
                Some(answer) => {
                    let mut framed = vec![0];
                    framed.extend((answer.len() as u32).to_be_bytes());
                    framed.extend(answer);
                    send.send_data(Bytes::from(framed), false).expect("open");
                    "0"
                }
                None => "14",
            };
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", status.parse().expect("a value"));
            send.send_trailers(trailers).expect("open");
        });
    }
}

/// An attribute as text.
pub(crate) fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|own| own.key == name)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}
