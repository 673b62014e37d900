//! TLS to endpoints: what a policy of the model amounts to in rustls, made once per worker and kept
//! for as long as a model uses it, and the handshake. Sessions are resumed within a worker.

use std::{
    cell::RefCell,
    collections::HashMap,
    net::IpAddr,
    rc::Rc,
    sync::{Arc, Weak},
};

use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::model::{Identity, TlsVersions, UpstreamTls, Verification};

/// What is spoken inside of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inside {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Why there is no TLS to an endpoint. Nothing of a request was sent.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum TlsFailure {
    /// The policy itself cannot be used, as with a key of a kind that the library does not know.
    #[error("the policy cannot be used")]
    Policy(#[source] rustls::Error),
    /// The endpoint broke the handshake off, or its certificate is not what the policy asks for.
    #[error("the handshake failed")]
    Handshake(#[source] Arc<std::io::Error>),
}

/// A policy, ready for handshakes.
pub(crate) struct ClientTls {
    http1: TlsConnector,
    http2: TlsConnector,
    /// What the certificate is checked for. Where nothing is checked and no name is sent, rustls
    /// still asks for one, to keep sessions by; the endpoint's address serves.
    name: Option<ServerName<'static>>,
}

/// The policies that a worker has connected by.
#[derive(Default)]
pub(crate) struct Clients {
    /// By the address of the policy. The weak reference keeps the address from being used for
    /// another one.
    known: RefCell<HashMap<*const UpstreamTls, Known>>,
}

struct Known {
    policy: Weak<UpstreamTls>,
    client: Result<Rc<ClientTls>, rustls::Error>,
}

impl Clients {
    /// What this policy amounts to. Asked for once per connection, not once per request.
    pub(crate) fn of(&self, policy: &Arc<UpstreamTls>) -> Result<Rc<ClientTls>, TlsFailure> {
        let mut known = self.known.borrow_mut();
        if let Some(known) = known.get(&Arc::as_ptr(policy)) {
            return known.client.clone().map_err(TlsFailure::Policy);
        }
        // Keys of Secrets that are gone do not stay in memory.
        known.retain(|_, known| known.policy.strong_count() > 0);
        let client = ClientTls::new(policy).map(Rc::new);
        let entry = Known { policy: Arc::downgrade(policy), client: client.clone() };
        known.insert(Arc::as_ptr(policy), entry);
        client.map_err(TlsFailure::Policy)
    }
}

impl ClientTls {
    fn new(policy: &UpstreamTls) -> Result<Self, rustls::Error> {
        let provider = Arc::new(provider(&policy.suites));
        let config = |protocol: &[u8]| {
            let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(versions(policy.versions))?
                .dangerous()
                .with_custom_certificate_verifier(verifier(policy.verify.as_ref(), &provider)?);
            let mut config = match &policy.identity {
                Some(Identity(certificate)) => {
                    let chain = certificate.chain.iter().cloned().map(CertificateDer::from);
                    let key = PrivateKeyDer::try_from(certificate.key.clone())
                        .map_err(|reason| rustls::Error::General(reason.to_owned()))?;
                    builder.with_client_auth_cert(chain.collect(), key)?
                }
                None => builder.with_no_client_auth(),
            };
            config.enable_sni = policy.send_name;
            config.alpn_protocols = vec![protocol.to_vec()];
            Ok::<_, rustls::Error>(TlsConnector::from(Arc::new(config)))
        };
        let name = match &policy.name {
            Some(name) => Some(
                ServerName::try_from(name.to_string())
                    .map_err(|error| rustls::Error::General(error.to_string()))?,
            ),
            None => None,
        };
        Ok(Self { http1: config(b"http/1.1")?, http2: config(b"h2")?, name })
    }
}

/// TLS on a connection to the endpoint of this address. The caller limits the time.
///
/// # Errors
/// If the endpoint does not take part, or is not who the policy asks for.
pub(crate) async fn connect(
    stream: TcpStream,
    tls: &ClientTls,
    address: IpAddr,
    inside: Inside,
) -> Result<TlsStream<TcpStream>, TlsFailure> {
    let connector = match inside {
        Inside::Http1 => &tls.http1,
        Inside::Http2 => &tls.http2,
    };
    let name = tls.name.clone().unwrap_or_else(|| ServerName::IpAddress(address.into()));
    let stream = connector.connect(name, stream).await;
    stream.map_err(|error| TlsFailure::Handshake(Arc::new(error)))
}

/// The library's, with the suites of TLS 1.2 that the policy names, in its order.
fn provider(suites: &[u16]) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if !suites.is_empty() {
        let place =
            |suite: CipherSuite| suites.iter().position(|number| *number == u16::from(suite));
        provider
            .cipher_suites
            .retain(|suite| suite.tls13().is_some() || place(suite.suite()).is_some());
        provider.cipher_suites.sort_by_key(|suite| place(suite.suite()));
    }
    provider
}

fn versions(versions: TlsVersions) -> &'static [&'static SupportedProtocolVersion] {
    static TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
    static TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
    match versions {
        TlsVersions::Tls12 => TLS12,
        TlsVersions::Tls13 => TLS13,
        TlsVersions::Both => rustls::ALL_VERSIONS,
    }
}

fn verifier(
    verification: Option<&Verification>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
    let Some(verification) = verification else {
        return Ok(Arc::new(NoVerification(Arc::clone(provider))));
    };
    let mut roots = RootCertStore::empty();
    for authority in verification.authorities.iter() {
        roots.add(CertificateDer::from(authority.as_slice()))?;
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    Ok(Arc::new(LimitedDepth { inner, depth: verification.depth.into() }))
}

/// Verifies with as many certificates between the endpoint's and an authority's as
/// `proxy-ssl-verify-depth` allows: those beyond are not looked at. Endpoints send the chain in its
/// order (RFC 8446, section 4.4.2).
#[derive(Debug)]
struct LimitedDepth {
    inner: Arc<WebPkiServerVerifier>,
    depth: usize,
}

impl ServerCertVerifier for LimitedDepth {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let allowed = intermediates.get(..self.depth).unwrap_or(intermediates);
        self.inner.verify_server_cert(end_entity, allowed, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Takes any certificate: ingress-nginx's behaviour without `proxy-ssl-verify: on`, where pods have
/// certificates that no one could check. What is exchanged is still safe from those who only
/// listen. Whoever shows a certificate must have its key.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
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
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
