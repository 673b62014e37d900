//! Against a rustls server of the test's own.

use std::sync::Mutex;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, server::WebPkiClientVerifier};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::model::{Certificate, ObjectRef};

/// A certificate with its key, and who signed it.
struct Signed {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

fn params(names: &[&str], authority: bool) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).expect("plain names");
    params.distinguished_name.push(rcgen::DnType::CommonName, names.join("+"));
    if authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("randomness");
        let params = params(&[name], true);
        let certificate = params.self_signed(&key).expect("it signs itself").der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// An authority that this one vouches for.
    fn below(&self, name: &str) -> Self {
        let key = KeyPair::generate().expect("randomness");
        let params = params(&[name], true);
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs").der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn sign(&self, names: &[&str]) -> Signed {
        let key = KeyPair::generate().expect("randomness");
        let certificate = params(names, false).signed_by(&key, &self.issuer).expect("it signs");
        Signed { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }
}

/// What the server saw of the last handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    name: Option<String>,
    alpn: Option<Vec<u8>>,
    resumed: bool,
    client_certificate: bool,
    suite: Option<u16>,
    version: Option<rustls::ProtocolVersion>,
}

/// A server that answers one byte with what it saw.
async fn server(
    signed: Signed,
    clients: Option<&Authority>,
) -> (std::net::SocketAddr, Arc<Mutex<Seen>>) {
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the defaults");
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.certificate.clone()).expect("an authority");
            let provider = Arc::new(aws_lc_rs::default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("roots"))
        }
        None => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::try_from(signed.key).expect("a key");
    let mut config = builder.with_single_cert(signed.chain, key).expect("a pair");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let seen = Arc::new(Mutex::new(Seen::default()));
    let shared = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let connection = stream.get_ref().1;
            *shared.lock().expect("nobody panics") = Seen {
                name: connection.server_name().map(str::to_owned),
                alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
                resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
                client_certificate: connection.peer_certificates().is_some(),
                suite: connection.negotiated_cipher_suite().map(|suite| suite.suite().into()),
                version: connection.protocol_version(),
            };
            let _written = stream.write_all(b"x").await;
            let _closed = stream.shutdown().await;
        }
    });
    (address, seen)
}

fn verified(authority: &Authority, name: &str) -> UpstreamTls {
    let authorities = [authority.certificate.to_vec()].into();
    UpstreamTls {
        verify: Some(Verification { authorities, depth: 1 }),
        name: Some(name.into()),
        ..UpstreamTls::default()
    }
}

fn identity(signed: &Signed) -> Option<Identity> {
    Some(Identity(Arc::new(Certificate {
        secret: ObjectRef::new("Secret", "web", "client"),
        chain: signed.chain.iter().map(|certificate| certificate.to_vec()).collect(),
        key: signed.key.clone(),
    })))
}

/// Connects and reads the server's byte: with TLS 1.3 the server's verdict comes after the
/// handshake.
async fn byte(
    client: &ClientTls,
    address: std::net::SocketAddr,
    inside: Inside,
) -> Result<(), String> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let mut stream =
        connect(stream, client, address.ip(), inside).await.map_err(|failure| match failure {
            TlsFailure::Handshake(error) => error.to_string(),
            TlsFailure::Policy(error) => error.to_string(),
        })?;
    stream.read_u8().await.map(drop).map_err(|error| error.to_string())
}

async fn tried(policy: UpstreamTls, address: std::net::SocketAddr) -> Result<(), String> {
    let client = ClientTls::new(&policy).expect("a policy");
    byte(&client, address, Inside::Http1).await
}

#[tokio::test]
async fn who_is_signed_and_named_right_is_accepted() {
    let authority = Authority::new("ca");
    let (address, seen) = server(authority.sign(&["web.shop.svc"]), None).await;
    tried(verified(&authority, "web.shop.svc"), address).await.expect("it is right");
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.name, None, "a name is only sent when asked for");
    assert_eq!(seen.alpn.as_deref(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn an_address_can_be_the_name() {
    let authority = Authority::new("ca");
    let (address, _) = server(authority.sign(&["127.0.0.1"]), None).await;
    tried(verified(&authority, "127.0.0.1"), address).await.expect("it is right");
    assert!(tried(verified(&authority, "127.0.0.2"), address).await.is_err());
}

#[tokio::test]
async fn who_is_signed_by_another_is_refused() {
    let (authority, other) = (Authority::new("ca"), Authority::new("ca"));
    let (address, _) = server(other.sign(&["web.shop.svc"]), None).await;
    let error = tried(verified(&authority, "web.shop.svc"), address).await.unwrap_err();
    assert!(error.contains("invalid peer certificate"), "{error}");
}

#[tokio::test]
async fn who_is_named_otherwise_is_refused() {
    let authority = Authority::new("ca");
    let (address, _) = server(authority.sign(&["web.shop.svc"]), None).await;
    let error = tried(verified(&authority, "api.shop.svc"), address).await.unwrap_err();
    assert!(error.contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn without_verification_anyone_is_accepted() {
    let (address, seen) = server(Authority::new("unknown").sign(&["x"]), None).await;
    tried(UpstreamTls::default(), address).await.expect("nothing is checked");
    assert_eq!(seen.lock().unwrap().name, None);
}

#[tokio::test]
async fn the_name_is_sent_when_asked_for() {
    let (address, seen) = server(Authority::new("unknown").sign(&["x"]), None).await;
    let name = Some("web.example".into());
    let policy = UpstreamTls { name, send_name: true, ..UpstreamTls::default() };
    tried(policy, address).await.expect("nothing is checked");
    assert_eq!(seen.lock().unwrap().name.as_deref(), Some("web.example"));
}

#[tokio::test]
async fn an_endpoint_that_asks_gets_our_certificate() {
    let (authority, clients) = (Authority::new("ca"), Authority::new("clients"));
    let (address, seen) = server(authority.sign(&["web"]), Some(&clients)).await;
    for versions in [TlsVersions::Tls12, TlsVersions::Tls13] {
        let policy = UpstreamTls { versions, ..verified(&authority, "web") };
        tried(policy.clone(), address).await.expect_err("it has none to show");
        let stranger = identity(&Authority::new("strangers").sign(&["us"]));
        tried(UpstreamTls { identity: stranger, ..policy.clone() }, address)
            .await
            .expect_err("of another authority");
        let own = identity(&clients.sign(&["us"]));
        tried(UpstreamTls { identity: own, ..policy }, address).await.expect("it is known");
        assert!(seen.lock().unwrap().client_certificate);
    }
}

#[tokio::test]
async fn the_depth_limits_the_chain() {
    let root = Authority::new("root");
    let one = root.below("one");
    let two = one.below("two");
    let mut signed = two.sign(&["web"]);
    signed.chain.extend([two.certificate.clone(), one.certificate.clone()]);
    let (address, _) = server(signed, None).await;
    for (depth, accepted) in [(0, false), (1, false), (2, true), (3, true)] {
        let mut policy = verified(&root, "web");
        policy.verify.as_mut().expect("it verifies").depth = depth;
        assert_eq!(tried(policy, address).await.is_ok(), accepted, "{depth}");
    }
}

#[tokio::test]
async fn versions_and_suites_are_those_of_the_policy() {
    let (address, seen) = server(Authority::new("ca").sign(&["x"]), None).await;
    for (versions, version) in [
        (TlsVersions::Tls12, rustls::ProtocolVersion::TLSv1_2),
        (TlsVersions::Tls13, rustls::ProtocolVersion::TLSv1_3),
        (TlsVersions::Both, rustls::ProtocolVersion::TLSv1_3),
    ] {
        let policy = UpstreamTls { versions, ..UpstreamTls::default() };
        tried(policy, address).await.expect("it can both");
        assert_eq!(seen.lock().unwrap().version, Some(version));
    }
    for (.., suite) in crate::translate::UPSTREAM_SUITES {
        let versions = TlsVersions::Tls12;
        let suites = [suite].into();
        let policy = UpstreamTls { versions, suites, ..UpstreamTls::default() };
        // The server's key is of ECDSA.
        let usable = matches!(suite, 0xc02b | 0xc02c | 0xcca9);
        assert_eq!(tried(policy, address).await.is_ok(), usable, "{suite:x}");
        assert!(!usable || seen.lock().unwrap().suite == Some(suite));
    }
}

#[tokio::test]
async fn the_protocol_inside_is_negotiated() {
    let (address, seen) = server(Authority::new("ca").sign(&["x"]), None).await;
    let client = ClientTls::new(&UpstreamTls::default()).expect("a policy");
    byte(&client, address, Inside::Http2).await.expect("it can both");
    assert_eq!(seen.lock().unwrap().alpn.as_deref(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn sessions_are_resumed() {
    let authority = Authority::new("ca");
    let (address, seen) = server(authority.sign(&["web"]), None).await;
    let client = ClientTls::new(&verified(&authority, "web")).expect("a policy");
    for resumed in [false, true, true] {
        byte(&client, address, Inside::Http1).await.expect("it is right");
        assert_eq!(seen.lock().unwrap().resumed, resumed);
    }
}

#[test]
fn a_policy_is_made_once_and_forgotten_when_no_model_has_it() {
    let clients = Clients::default();
    let policy = Arc::new(UpstreamTls::default());
    let one = clients.of(&policy).expect("a policy");
    assert!(Rc::ptr_eq(&one, &clients.of(&policy).expect("a policy")));
    let gone = Rc::downgrade(&one);
    drop((one, policy));
    clients.of(&Arc::new(UpstreamTls::default())).expect("a policy");
    assert!(gone.upgrade().is_none());
}

#[test]
fn a_key_that_cannot_be_used_is_said_each_time() {
    let mut signed = Authority::new("ca").sign(&["us"]);
    signed.key = vec![1, 2, 3];
    let identity = identity(&signed);
    let policy = Arc::new(UpstreamTls { identity, ..UpstreamTls::default() });
    let clients = Clients::default();
    for _ in 0..2 {
        assert!(matches!(clients.of(&policy), Err(TlsFailure::Policy(_))));
    }
}
