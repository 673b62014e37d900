use std::{fmt, sync::Arc, time::Duration};

use super::ObjectRef;

/// How TLS is ended, for all hosts: the ConfigMap's `ssl-*` keys (reference sections 4.3, 9.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// `ssl-protocols` lists TLS 1.2. One of the two is always on.
    pub tls12: bool,
    /// `ssl-protocols` lists TLS 1.3.
    pub tls13: bool,
    /// `ssl-ciphers`, for TLS 1.2, in order of preference; never empty.
    pub suites: Vec<Suite>,
    /// `ssl-ecdh-curve`: how keys are agreed on, in order of preference. Empty: all, in our order.
    pub groups: Vec<Group>,
    /// `ssl-prefer-server-ciphers`: our order counts, not the client's.
    pub prefer_own_suites: bool,
    /// `ssl-session-cache` and `ssl-session-cache-size`: how many sessions are remembered.
    pub sessions: usize,
    /// `ssl-session-timeout`: how long a session can be resumed.
    pub session_timeout: Duration,
    /// `ssl-session-tickets`: sessions are kept by the client, sealed.
    pub tickets: bool,
    /// `ssl-reject-handshake`: names that no host has get no certificate.
    pub reject_unknown_names: bool,
}

impl Default for TlsSettings {
    /// ingress-nginx's defaults.
    fn default() -> Self {
        Self {
            tls12: true,
            tls13: true,
            suites: Suite::DEFAULT.to_vec(),
            groups: Vec::new(),
            prefer_own_suites: true,
            // What nginx keeps in 10 MB.
            sessions: 40_960,
            session_timeout: Duration::from_secs(600),
            tickets: false,
            reject_unknown_names: false,
        }
    }
}

/// A cipher suite of TLS 1.2, named as OpenSSL does. All have forward secrecy and authenticated
/// encryption. Those of TLS 1.3 cannot be chosen, as in nginx. DHE is not offered: no client that
/// speaks TLS 1.2 with AEAD needs it.
#[expect(missing_docs, reason = "the names say it all")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Suite {
    EcdheEcdsaAes128GcmSha256,
    EcdheRsaAes128GcmSha256,
    EcdheEcdsaAes256GcmSha384,
    EcdheRsaAes256GcmSha384,
    EcdheEcdsaChacha20Poly1305,
    EcdheRsaChacha20Poly1305,
}

impl Suite {
    /// ingress-nginx's default list (reference section 4.3) without DHE.
    pub const DEFAULT: [Self; 6] = [
        Self::EcdheEcdsaAes128GcmSha256,
        Self::EcdheRsaAes128GcmSha256,
        Self::EcdheEcdsaAes256GcmSha384,
        Self::EcdheRsaAes256GcmSha384,
        Self::EcdheEcdsaChacha20Poly1305,
        Self::EcdheRsaChacha20Poly1305,
    ];
}

/// A group that keys are agreed on in (RFC 8446, section 4.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// `X25519MLKEM768`: no quantum computer finds the key later. TLS 1.3 only.
    X25519Mlkem768,
    /// `X25519`.
    X25519,
    /// `prime256v1`, `secp256r1` or `P-256`.
    Secp256r1,
    /// `secp384r1` or `P-384`.
    Secp384r1,
}

impl Group {
    /// The group that OpenSSL has this name for, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match &*name.to_ascii_lowercase() {
            "x25519mlkem768" => Self::X25519Mlkem768,
            "x25519" => Self::X25519,
            "prime256v1" | "secp256r1" | "p-256" => Self::Secp256r1,
            "secp384r1" | "p-384" => Self::Secp384r1,
            _ => return None,
        })
    }
}

/// What the handshakes of one host ask for beyond [`TlsSettings`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostTls {
    /// `ssl-ciphers` of its oldest Ingress that has it; never empty.
    pub suites: Option<Vec<Suite>>,
    /// `ssl-prefer-server-ciphers` of its oldest Ingress that has it.
    pub prefer_own_suites: Option<bool>,
    /// `auth-tls-*` (reference sections 1.4 and 4.6).
    pub client_auth: Option<ClientAuth>,
}

/// Which certificates clients of a host must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `auth-tls-secret` cannot be obeyed: nobody gets in.
    Broken,
    /// As the rule says.
    Rule(Arc<ClientRule>),
}

/// The `auth-tls-*` annotations of the oldest Ingress of a host that has an authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientRule {
    /// `auth-tls-secret`.
    pub authority: Arc<Authority>,
    /// `auth-tls-verify-client`.
    pub verify: VerifyClient,
    /// `auth-tls-verify-depth`: how many certificates there may be between the client's and the
    /// authority's.
    pub depth: usize,
    /// `auth-tls-error-page`: where clients without a good certificate are sent instead of 400.
    pub error_page: Option<Arc<str>>,
    /// `auth-tls-pass-certificate-to-upstream`.
    pub pass_certificate: bool,
    /// `auth-tls-match-cn`: an expression that is searched for in the subject. It compiles.
    pub subject: Option<Arc<str>>,
}

/// `auth-tls-verify-client`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum VerifyClient {
    /// `on`: a good certificate, or 400.
    #[default]
    Required,
    /// `optional`: a good certificate or none.
    Optional,
    /// `optional_no_ca`: also one that nobody we know has signed.
    OptionalUntrusted,
    /// `off`: not asked for.
    Off,
}

/// The authorities of a Secret and what they have revoked.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    /// The Secret.
    pub secret: ObjectRef,
    /// `ca.crt`: certificates in DER; never empty, and each can be trusted.
    pub roots: Vec<Vec<u8>>,
    /// `ca.crl`: revocation lists in DER. If there is any, each certificate of a chain must be in
    /// the domain of one, as in nginx.
    pub lists: Vec<Vec<u8>>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("secret", &self.secret).finish_non_exhaustive()
    }
}

/// A key that session tickets are sealed with: 48 or 80 bytes, as nginx has them. Never shown,
/// logged or dumped.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKey(pub Vec<u8>);

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(..)")
    }
}
