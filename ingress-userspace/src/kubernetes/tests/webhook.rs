//! The admission webhook over its port.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::super::{
    moment::{Moment, Moments},
    webhook::{WebhookOptions, serve},
};
use crate::{stores::Stores, translate::Options};

struct Webhook {
    address: std::net::SocketAddr,
    root: CertificateDer<'static>,
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Webhook {
    fn start(moments: Moments) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let root = pair(dir.path());
        let (stop, stopped) = watch::channel(false);
        let webhook = WebhookOptions {
            address: Some([127, 0, 0, 1].into()),
            port: 0,
            certificate: dir.path().join("cert"),
            key: dir.path().join("key"),
        };
        let (addresses, thread) =
            serve(&webhook, Options::default(), moments, Arc::default(), stopped)
                .expect("it starts");
        let address = addresses[0];
        Self { address, root, stop, thread, _dir: dir }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("known")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.expect("it listens");
        let name = "webhook.test".try_into().expect("a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        stream.expect("a handshake")
    }

    async fn post(&self, body: impl Into<Bytes>) -> (StatusCode, Value) {
        let stream = TokioIo::new(self.connect().await);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(stream).await.expect("a connection");
        tokio::spawn(connection);
        let request = Request::post("/networking/v1/ingresses")
            .header("host", "webhook.test")
            .body(Full::new(body.into()))
            .expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    fn end(self) {
        self.stop.send_replace(true);
        self.thread.join().expect("it ends in order");
    }
}

fn pair(dir: &Path) -> CertificateDer<'static> {
    let pair =
        rcgen::generate_simple_self_signed(vec!["webhook.test".to_owned()]).expect("a certificate");
    std::fs::write(dir.join("cert"), pair.cert.pem()).expect("writable");
    std::fs::write(dir.join("key"), pair.signing_key.serialize_pem()).expect("writable");
    pair.cert.der().clone()
}

fn review(operation: &str, annotations: Value) -> String {
    let mut all = json!({"kubernetes.io/ingress.class": "penstock"});
    for (key, value) in annotations.as_object().expect("an object") {
        all[format!("nginx.ingress.kubernetes.io/{key}")] = value.clone();
    }
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "shop", "namespace": "web", "annotations": all},
        "spec": {"rules": [{"host": "a.test", "http": {"paths": [{"path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "app", "port": {"number": 80}}}}]}}]}
    });
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "705ab4f5", "operation": operation, "namespace": "web", "name": "shop",
            "kind": {"group": "networking.k8s.io", "version": "v1", "kind": "Ingress"},
            "object": if operation == "DELETE" { Value::Null } else { object }}
    })
    .to_string()
}

fn known() -> Moments {
    let moment = Moment {
        stores: Arc::new(Stores::default()),
        names: Arc::default(),
        diagnostics: Arc::from([]),
    };
    watch::channel(Some(Arc::new(moment))).1
}

#[tokio::test]
async fn an_ingress_is_judged_before_it_is_written() {
    let webhook = Webhook::start(known());
    let (status, answer) = webhook.post(review("CREATE", json!({}))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&answer["apiVersion"], &answer["kind"]),
        (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
    );
    assert_eq!(
        (&answer["response"]["uid"], &answer["response"]["allowed"]),
        (&json!("705ab4f5"), &json!(true))
    );
    let wrong = json!({"denylist-source-range": "10.0.0.0/99"});
    for operation in ["CREATE", "UPDATE"] {
        let (status, answer) = webhook.post(review(operation, wrong.clone())).await;
        assert_eq!((status, &answer["response"]["allowed"]), (StatusCode::OK, &json!(false)));
        assert_eq!(answer["response"]["status"]["code"], 400);
        let why = answer["response"]["status"]["message"].as_str().unwrap_or_default();
        assert!(why.contains("nginx.ingress.kubernetes.io/denylist-source-range"), "{why}");
    }
    let (_, answer) = webhook.post(review("DELETE", wrong)).await;
    assert_eq!(answer["response"]["allowed"], true);
    webhook.end();
}

#[tokio::test]
async fn what_is_no_review_is_told_so_and_harms_nothing() {
    let webhook = Webhook::start(known());
    for (body, want) in [
        (String::new(), StatusCode::BAD_REQUEST),
        ("nonsense".to_owned(), StatusCode::BAD_REQUEST),
        ("{}".to_owned(), StatusCode::BAD_REQUEST),
        ("[".repeat(1 << 20), StatusCode::BAD_REQUEST),
        (" ".repeat((9 << 20) + 1), StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        assert_eq!(webhook.post(body).await.0, want);
    }
    let no_ingress = review("CREATE", json!({})).replace("\"spec\"", "\"spec\":7,\"other\"");
    let (status, answer) = webhook.post(no_ingress).await;
    assert_eq!((status, &answer["response"]["allowed"]), (StatusCode::OK, &json!(false)));
    webhook.end();
}

#[tokio::test]
async fn before_the_objects_are_known_nothing_is_judged() {
    let (sender, moments) = watch::channel(None);
    let webhook = Webhook::start(moments);
    assert_eq!(webhook.post(review("CREATE", json!({}))).await.0, StatusCode::SERVICE_UNAVAILABLE);
    sender.send_replace(known().borrow().clone());
    assert_eq!(webhook.post(review("CREATE", json!({}))).await.0, StatusCode::OK);
    webhook.end();
}

/// Reads a frame of HTTP/2 (RFC 9113, section 4.1): its type, flags and payload.
async fn frame(stream: &mut TlsStream<TcpStream>) -> Option<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.ok()?;
    Some((head[3], head[4], payload))
}

#[tokio::test]
async fn an_idle_connection_is_told_that_it_ends() {
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    const ACK: u8 = 1;
    let webhook = Webhook::start(known());
    let mut stream = webhook.connect().await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("it reads");
    stream.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]).await.expect("it reads");
    let first = frame(&mut stream).await.expect("its settings");
    assert_eq!(first.0, SETTINGS);
    webhook.stop.send_replace(true);
    let mut said = false;
    while let Some((kind, flags, payload)) = frame(&mut stream).await {
        said |= kind == GOAWAY;
        if (kind, flags & ACK) == (PING, 0) {
            let mut answer = vec![0, 0, 8, PING, ACK, 0, 0, 0, 0];
            answer.extend(payload);
            // It may be gone already.
            let _closed = stream.write_all(&answer).await;
        }
    }
    assert!(said, "the connection ended without a word");
    webhook.end();
}
