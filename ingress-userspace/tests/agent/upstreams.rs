//! What endpoints are spoken to in: TLS, HTTP/2, and never clear text by mistake.

use std::{
    io::{BufReader, Read as _},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex, mpsc},
};

use bytes::Bytes;
use http::HeaderMap;
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::aws_lc_rs};

use crate::support::{
    Backend, Connection, Ingress, Site, TlsOptions, config_map, documents, read_request, secret_of,
    service, tls_with,
};

const GET: &str = "GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n";

fn site(annotations: &[(&str, &str)], endpoint: SocketAddr, more: &str) -> Site {
    let ingress = Ingress {
        name: "shop",
        annotations,
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let mut parts = vec![ingress.yaml(), service("shop", &[endpoint])];
    if !more.is_empty() {
        parts.push(more.to_owned());
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let configured = more.contains("kind: ConfigMap");
    let flags: &[&str] = if configured { &["--configmap=web/controller"] } else { &[] };
    Site::start_with(&[("all.yaml", &documents(&parts))], flags, |_| {})
}

/// A server's configuration, and its certificate in PEM.
fn server(name: &str) -> (Arc<ServerConfig>, String) {
    let key = rcgen::KeyPair::generate().expect("randomness");
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()])
        .and_then(|parameters| parameters.self_signed(&key))
        .expect("plain names");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        )
        .expect("a pair");
    (Arc::new(config), certificate.pem())
}

fn serve(mut stream: BufReader<impl std::io::Read + std::io::Write>, word: &str) {
    while read_request(&mut stream).is_some() {
        let length = word.len();
        let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{word}");
        if stream.get_mut().write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

/// Answers in what it is asked in, and says which.
fn both(config: Arc<ServerConfig>) -> Backend {
    Backend::scripted(move |stream, _| {
        let mut first = [0];
        let Ok(1) = stream.peek(&mut first) else { return };
        if first == [22] {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            serve(BufReader::new(StreamOwned::new(session, stream)), "tls");
        } else {
            serve(BufReader::new(stream), "clear");
        }
    })
}

#[test]
fn https_endpoints_are_asked_over_tls_and_their_connections_kept() {
    let shop = both(server("shop").0);
    let site = site(&[("backend-protocol", "HTTPS")], shop.address, "");
    let mut connection = Connection::open(site.http);
    for _ in 0..10 {
        let reply = connection.request(GET);
        assert_eq!((reply.status, reply.text()), (200, "tls"));
    }
    assert_eq!(shop.connections(), 1);
}

#[test]
fn what_is_meant_to_be_tls_is_never_sent_in_clear_text() {
    for protocol in ["HTTPS", "GRPCS"] {
        let (told, tells) = mpsc::channel();
        let told = Mutex::new(told);
        let shop = Backend::scripted(move |mut stream: TcpStream, _| {
            let mut first = [0];
            let _length = stream.read(&mut first);
            let _test_over = told.lock().expect("no panic").send(first[0]);
        });
        let site = site(&[("backend-protocol", protocol)], shop.address, "");
        assert_eq!(site.get("shop.example.com", "/").status, 502, "{protocol}");
        let first = tells.recv_timeout(crate::support::DEADLINE);
        assert_eq!(first, Ok(22), "{protocol}: a handshake");
    }
}

#[test]
fn auto_http_asks_as_the_client_did() {
    let shop = both(server("shop").0);
    let site = site(&[("backend-protocol", "AUTO_HTTP")], shop.address, "");
    assert_eq!(Connection::open(site.http).request(GET).text(), "clear");
    let (stream, _) = tls_with(site.https, "shop.example.com", TlsOptions::default());
    assert_eq!(Connection::over(stream).request(GET).text(), "tls");
    // The connection of the one is not taken for the other.
    assert_eq!(Connection::open(site.http).request(GET).text(), "clear");
}

#[test]
fn only_endpoints_that_the_authority_vouches_for_are_asked() {
    let (config, pem) = server("shop.example.com");
    let (_, other) = server("shop.example.com");
    for (authority, expected) in [(pem, 200), (other, 502)] {
        let shop = both(Arc::clone(&config));
        let annotations = [
            ("backend-protocol", "HTTPS"),
            ("proxy-ssl-secret", "web/authority"),
            ("proxy-ssl-verify", "on"),
            ("proxy-ssl-name", "shop.example.com"),
        ];
        let secret = secret_of("authority", &[("ca.crt", &authority)]);
        let site = site(&annotations, shop.address, &secret);
        assert_eq!(site.get("shop.example.com", "/").status, expected);
    }
}

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// Says how it is asked: version, suite and server name.
fn telling(config: Arc<ServerConfig>) -> Backend {
    Backend::scripted(move |stream, _| {
        let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
        let mut stream = BufReader::new(StreamOwned::new(session, stream));
        while read_request(&mut stream).is_some() {
            let session = &stream.get_ref().conn;
            let text = format!(
                "{:?} {:?} {:?}",
                session.protocol_version().expect("it is agreed on"),
                session.negotiated_cipher_suite().expect("it is agreed on").suite(),
                session.server_name()
            );
            let length = text.len();
            let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}");
            if std::io::Write::write_all(stream.get_mut(), text.as_bytes()).is_err() {
                return;
            }
        }
    })
}

#[test]
fn annotations_choose_how_tls_to_endpoints_is_done() {
    const OLD: (&str, &str) = ("proxy-ssl-protocols", "TLSv1.2");
    let (config, pem) = server("shop.example.com");
    let secret = secret_of("authority", &[("ca.crt", &pem)]);
    let name = ("proxy-ssl-name", "shop.example.com");
    let cases: &[(Pairs<'_>, &str, &str)] = &[
        (&[], "TLSv1_3 ", ""),
        (&[OLD], "TLSv1_2 ", ""),
        (&[("proxy-ssl-protocols", "SSLv9")], "TLSv1_3 ", "proxy-ssl-protocols"),
        (
            &[OLD, ("proxy-ssl-ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305")],
            "TLSv1_2 TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 ",
            "",
        ),
        (&[name], " None", ""),
        (&[name, ("proxy-ssl-server-name", "on")], " Some(\"shop.example.com\")", ""),
        (&[name, ("proxy-ssl-server-name", "perhaps")], " None", "proxy-ssl-server-name"),
        (&[("proxy-ssl-verify-depth", "many")], "TLSv1_3 ", "proxy-ssl-verify-depth"),
    ];
    for (annotations, expected, why) in cases {
        let shop = telling(Arc::clone(&config));
        let base = [("backend-protocol", "HTTPS"), ("proxy-ssl-secret", "web/authority")];
        let site = site(&[&base, *annotations].concat(), shop.address, &secret);
        let reply = site.get("shop.example.com", "/");
        assert_eq!(reply.status, 200, "{annotations:?}");
        assert!(reply.text().contains(expected), "{annotations:?}: {}", reply.text());
        let said = site.state()["diagnostics"].to_string();
        assert_eq!((said.contains(why), said == "[]"), (true, why.is_empty()), "{said}");
    }
    // What is not `off` was meant to protect, and a name is what is verified.
    for wrong in [("proxy-ssl-verify", "perhaps"), ("proxy-ssl-name", "a b")] {
        let shop = telling(Arc::clone(&config));
        let base = [("backend-protocol", "HTTPS"), ("proxy-ssl-secret", "web/authority"), wrong];
        let site = site(&base, shop.address, &secret);
        assert_eq!(site.get("shop.example.com", "/").status, 503, "{wrong:?}");
        assert_eq!(shop.connections(), 0);
    }
}

/// Echoes each piece of a request as it comes, then its trailers. Tells each request's head.
fn streaming(heads: mpsc::Sender<http::request::Parts>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    listener.set_nonblocking(true).expect("an option");
    std::thread::spawn(move || {
        run(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let heads = heads.clone();
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        let (parts, body) = request.into_parts();
                        let _test_over = heads.send(parts);
                        tokio::spawn(echo(body, respond));
                    }
                });
            }
        });
    });
    address
}

async fn echo(mut body: h2::RecvStream, mut respond: h2::server::SendResponse<Bytes>) {
    let head = http::Response::builder().header("content-type", "application/grpc");
    let head = head.body(()).expect("a head");
    let mut answer = respond.send_response(head, false).expect("open");
    while let Some(Ok(data)) = body.data().await {
        let _given = body.flow_control().release_capacity(data.len());
        let _client_left = answer.send_data(data, false);
    }
    let mut trailers = body.trailers().await.expect("whole").unwrap_or_default();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    trailers.insert("set-cookie", http::HeaderValue::from_static("a=1"));
    let _client_left = answer.send_trailers(trailers);
}

fn run(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future);
}

#[test]
fn grpc_streams_both_ways_with_trailers_both_ways() {
    let (heads, asked) = mpsc::channel();
    let endpoint = streaming(heads);
    let annotations = [("backend-protocol", "GRPC"), ("proxy-body-size", "0")];
    let site = site(&annotations, endpoint, "");
    let test = async {
        let stream = tokio::net::TcpStream::connect(site.http).await.expect("it listens");
        let (mut sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        let request = http::Request::post("http://shop.example.com/a.B/C")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", "5S")
            .body(())
            .expect("a request");
        let (response, mut body) = sender.send_request(request, false).expect("open");
        body.send_data(Bytes::from_static(b"ping"), false).expect("open");
        let mut answer = response.await.expect("an answer").into_body();
        for word in [&b"ping"[..], b"pong"] {
            let data = answer.data().await.expect("a piece").expect("open");
            assert_eq!(data, word);
            answer.flow_control().release_capacity(data.len()).expect("open");
            if word == b"ping" {
                body.send_data(Bytes::from_static(b"pong"), false).expect("open");
            }
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-check", http::HeaderValue::from_static("1"));
        trailers.insert("x-real-ip", http::HeaderValue::from_static("6.6.6.6"));
        body.send_trailers(trailers).expect("open");
        assert!(answer.data().await.is_none());
        let trailers = answer.trailers().await.expect("whole").expect("there are some");
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["x-check"], "1");
        assert_eq!(trailers.len(), 2, "{trailers:?}");
    };
    run(async {
        tokio::time::timeout(crate::support::DEADLINE, test).await.expect("in time");
    });
    let head = asked.try_recv().expect("it was asked");
    assert_eq!(head.headers["te"], "trailers");
    assert_eq!(head.headers["grpc-timeout"], "5S");
    assert_eq!(head.headers["x-real-ip"], "127.0.0.1");
    assert_eq!(head.uri.to_string(), "http://shop.example.com/a.B/C");
}

#[test]
fn http1_clients_reach_http2_endpoints() {
    let (heads, _asked) = mpsc::channel();
    let site = site(&[("backend-protocol", "GRPC")], streaming(heads), "");
    let mut connection = Connection::open(site.http);
    for _ in 0..3 {
        let post = "POST / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: 5\r\n\r\nhello";
        let reply = {
            connection.send(post);
            connection.head().expect("a head")
        };
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
        assert_eq!(connection.chunk().expect("a chunk").as_deref(), Some(&b"hello"[..]));
        // The last chunk, then trailers up to an empty line.
        assert!(connection.head().expect("trailers").contains("grpc-status: 0"));
    }
}

#[test]
fn a_snippet_tells_endpoints_what_is_meant_for_their_protocol() {
    // As Linkerd's documentation has it, and a field for each alone.
    let snippet = "proxy_set_header l5d-dst-override $service_name.$namespace.svc:$service_port;\n\
                   grpc_set_header l5d-dst-override $service_name.$namespace.svc:$service_port;\n\
                   proxy_set_header X-Http 1;\ngrpc_set_header X-Grpc 1;";
    let map = config_map(&[
        ("allow-snippet-annotations", "true"),
        ("annotations-risk-level", "Critical"),
    ]);
    let (heads, asked) = mpsc::channel();
    let of_grpc = [("backend-protocol", "GRPC"), ("configuration-snippet", snippet)];
    let grpc = site(&of_grpc, streaming(heads), &map);
    let mut connection = Connection::open(grpc.http);
    connection.send("POST / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: 0\r\n\r\n");
    assert!(connection.head().expect("a head").starts_with("HTTP/1.1 200"));
    let head = asked.recv_timeout(crate::support::DEADLINE).expect("it was asked");
    assert_eq!(head.headers["l5d-dst-override"], "shop.web.svc:80");
    let told = |name: &str| head.headers.contains_key(name);
    assert_eq!((told("x-grpc"), told("x-http")), (true, false));

    let shop = Backend::echo("shop");
    let http = site(&[("configuration-snippet", snippet)], shop.address, &map);
    let reply = http.get("shop.example.com", "/");
    assert_eq!(reply.line("l5d-dst-override: "), Some("shop.web.svc:80"));
    assert_eq!((reply.line("X-Http: "), reply.line("X-Grpc: ")), (Some("1"), None));
}
