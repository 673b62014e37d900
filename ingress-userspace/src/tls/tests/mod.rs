//! Whole handshakes in memory: what a model's hosts agree on, ask for and resume.

mod admission;
mod authority;
mod clients;
mod policy;
mod resumption;
mod scale;

use std::sync::Arc;

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, ServerConnection,
    SignatureScheme, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
    version::{TLS12, TLS13},
};

use super::{Answer, Handshakes, Identity, Lasting};
use crate::model::{Host, HostName, HostTls, Model};

/// A host without TLS of its own: the default certificate is served.
fn host(name: &str, handshake: Option<HostTls>) -> Arc<Host> {
    Arc::new(Host {
        name: match name.strip_prefix("*.") {
            Some(suffix) => HostName::Wildcard(suffix.into()),
            None if name == "-" => HostName::CatchAll,
            None => HostName::Exact(name.into()),
        },
        aliases: Box::default(),
        certificate: None,
        tls: false,
        handshake: handshake.map(Arc::new),
        regex: false,
        snippet: None,
        app_root: None,
        routes: Vec::new(),
    })
}

fn model(hosts: Vec<Arc<Host>>) -> Model {
    Model { hosts: hosts.into(), ..Model::default() }
}

fn handshakes(model: &Model) -> Handshakes {
    Handshakes::default().next(model, &Lasting::new().expect("randomness"))
}

const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// A client that believes every server.
fn client(
    versions: &[&'static SupportedProtocolVersion],
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions that exist")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything));
    Arc::new(match own {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).expect("a pair"),
        None => config.with_no_client_auth(),
    })
}

/// What came of a handshake.
#[derive(Debug)]
struct Done {
    identity: Identity,
    kind: Option<HandshakeKind>,
    suite: String,
    version: rustls::ProtocolVersion,
}

/// Both sides in turns until neither has something to say.
fn connect(
    handshakes: &Handshakes,
    config: &Arc<ClientConfig>,
    name: &str,
) -> Result<Done, rustls::Error> {
    let Answer::Go(server, verifier) = handshakes.answer(Some(name)) else {
        panic!("{name} is refused")
    };
    let server_name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = ClientConnection::new(Arc::clone(config), server_name)?;
    let mut server = ServerConnection::new(server)?;
    loop {
        let mut moved = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut moved).expect("memory");
        }
        let mut bytes = &moved[..];
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).expect("memory");
            server.process_new_packets()?;
        }
        let mut answer = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answer).expect("memory");
        }
        if moved.is_empty() && answer.is_empty() {
            break;
        }
        let mut bytes = &answer[..];
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).expect("memory");
            client.process_new_packets()?;
        }
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    let identity = match &verifier {
        Some(verifier) => {
            let certificates = server.peer_certificates().unwrap_or_default();
            verifier.judge(Some(name.into()), certificates, UnixTime::now())
        }
        None => {
            assert_eq!(server.peer_certificates(), None);
            Identity { server_name: Some(name.into()), ..Identity::default() }
        }
    };
    Ok(Done {
        identity,
        kind: server.handshake_kind(),
        suite: format!("{:?}", server.negotiated_cipher_suite().expect("agreed").suite()),
        version: server.protocol_version().expect("agreed"),
    })
}

/// Verifies nothing: what the server does is what tests look at.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
