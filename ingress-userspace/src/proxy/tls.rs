//! The server side of TLS: versions, suites, sessions (reference section 4.3); the certificate
//! comes from the snapshot at the moment of the handshake.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use crate::{certificates, snapshot::Reader};

/// Sessions that can be resumed: what nginx keeps in its 10 MB cache.
const SESSIONS: usize = 40_000;

/// Why TLS cannot be set up: a failure of the cryptography library, which has no randomness or
/// does not know a version.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No self-signed certificate.
    #[error("cannot make the self-signed certificate")]
    SelfSigned(#[from] rcgen::Error),
    /// No configuration.
    #[error("cannot set up TLS 1.2 and 1.3")]
    Versions(#[from] rustls::Error),
}

#[derive(Debug)]
struct Resolver {
    reader: Reader,
    self_signed: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let snapshot = self.reader.current();
        let name = hello.server_name().map(|name| name.to_ascii_lowercase());
        let name = name.as_deref().map(|name| name.trim_end_matches('.'));
        Some(snapshot.certificates.find(name).unwrap_or_else(|| Arc::clone(&self.self_signed)))
    }
}

/// The configuration of all HTTPS listeners, with one session cache for all workers.
///
/// # Errors
/// [`TlsError`].
pub(crate) fn server_config(reader: Reader) -> Result<ServerConfig, TlsError> {
    let self_signed = Arc::new(certificates::self_signed()?);
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver { reader, self_signed }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ignore_client_order = true;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    Ok(config)
}
