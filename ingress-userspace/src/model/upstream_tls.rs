use std::sync::Arc;

use super::Certificate;

/// How TLS to endpoints is done (reference section 1.8). What is equal is the same allocation, also
/// in later models, so that connections and sessions can be kept by address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// Whom the endpoint's certificate must be signed by, and to what depth. `None`: any
    /// certificate is accepted, as in ingress-nginx without `proxy-ssl-verify`.
    pub verify: Option<Verification>,
    /// `proxy-ssl-name`: the name that the certificate must be for, and the one that is sent.
    /// Without the annotation the Service's: `web.shop.svc`. `None`: no name is sent.
    pub name: Option<Arc<str>>,
    /// `proxy-ssl-server-name`: the name is sent in the handshake.
    pub send_name: bool,
    /// What is shown when the endpoint asks for a certificate.
    pub identity: Option<Identity>,
    /// `proxy-ssl-protocols`.
    pub versions: TlsVersions,
    /// `proxy-ssl-ciphers`: the cipher suites of TLS 1.2, by their IANA numbers, in the order of
    /// preference. Empty: all that there are. Those of TLS 1.3 are always on, as in OpenSSL.
    pub suites: Arc<[u16]>,
}

/// What an endpoint's certificate is checked against.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Verification {
    /// The certificates of `ca.crt` in DER; one at least.
    pub authorities: Arc<[Vec<u8>]>,
    /// `proxy-ssl-verify-depth`: as many certificates between the endpoint's and an authority's at
    /// most.
    pub depth: u8,
}

/// The certificate that we show to endpoints. Equal where the chain and the key are.
#[derive(Clone, Debug)]
pub struct Identity(pub Arc<Certificate>);

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (&self.0, &other.0);
        Arc::ptr_eq(one, two) || (one.chain == two.chain && one.key == two.key)
    }
}

impl Eq for Identity {}

impl std::hash::Hash for Identity {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.chain.hash(state);
    }
}

/// Versions of TLS; one at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsVersions {
    /// TLS 1.2 alone.
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
    /// Both.
    #[default]
    Both,
}
