//! What a client's certificate is worth. As in nginx the handshake succeeds whatever it is, if the
//! client has its key; the verdict is a value on the connection. It is computed anew for resumed
//! sessions, from the certificates that they remember: a session carries no verdict.

use std::sync::Arc;

use data_encoding::BASE64;
use fancy_regex::Regex;
use rustls::{
    DigitallySignedStruct, DistinguishedName, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs},
    pki_types::{CertificateDer, TrustAnchor, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy, anchor_from_trusted_cert,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::name;
use crate::model::{ClientRule, VerifyClient};

/// What was found out about a client in its handshake.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    /// The name that it asked for, in lower case and without trailing dot.
    pub(crate) server_name: Option<Box<str>>,
    /// What it was judged by; `None`: it was not asked for a certificate.
    pub(crate) rule: Option<Arc<ClientRule>>,
    /// The outcome.
    pub(crate) verdict: ClientVerdict,
    /// The subject is one that `auth-tls-match-cn` lets in, if the rule has it.
    pub(crate) subject_matches: bool,
    /// What both agreed on.
    pub(crate) session: Option<Agreed>,
}

/// What a handshake agreed on, in OpenSSL's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// `TLSv1.3`.
    pub(crate) version: &'static str,
    /// `TLS_AES_128_GCM_SHA256`.
    pub(crate) suite: &'static str,
    /// By an earlier session.
    pub(crate) resumed: bool,
}

impl Agreed {
    /// Of a handshake that is over.
    pub(crate) fn of(session: &rustls::ServerConnection) -> Option<Self> {
        use rustls::{CipherSuite as Its, HandshakeKind, ProtocolVersion};
        let version = match session.protocol_version()? {
            ProtocolVersion::TLSv1_2 => "TLSv1.2",
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => return None,
        };
        let suite = match session.negotiated_cipher_suite()?.suite() {
            Its::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
            Its::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
            Its::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
            Its::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
            Its::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
            Its::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
            Its::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
            Its::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
            Its::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
            _ => return None,
        };
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        Some(Self { version, suite, resumed })
    }
}

/// The outcome of a judgement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ClientVerdict {
    /// There is no certificate.
    #[default]
    None,
    /// It is good.
    Valid(Box<ClientCertificate>),
    /// It is not.
    Failed(Fault, Box<ClientCertificate>),
}

/// A client's certificate as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// Visible ASCII.
    pub(crate) subject: String,
    /// Visible ASCII.
    pub(crate) issuer: String,
    /// PEM, URL-encoded as nginx's `$ssl_client_escaped_cert`; empty unless the rule passes it on.
    pub(crate) pem: String,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// Nobody that we know has signed it.
    Untrusted,
    /// Its time, or that of one above it, is over.
    Expired,
    /// Its time, or that of one above it, has not come.
    NotYetValid,
    /// It, or one above it, was revoked.
    Revoked,
    /// No revocation list covers it, though there are some.
    NoRevocationList,
    /// The revocation list that covers it is too old.
    StaleRevocationList,
    /// It is not for clients.
    Purpose,
    /// There are too many between it and the authority.
    TooLong,
    /// A signature of its chain is wrong.
    Signature,
    /// It cannot be read.
    Malformed,
}

impl Fault {
    /// OpenSSL's words, which upstreams may look for after `FAILED:`.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Untrusted => "unable to verify the first certificate",
            Self::Expired => "certificate has expired",
            Self::NotYetValid => "certificate is not yet valid",
            Self::Revoked => "certificate revoked",
            Self::NoRevocationList => "unable to get certificate CRL",
            Self::StaleRevocationList => "CRL has expired",
            Self::Purpose => "unsuitable certificate purpose",
            Self::TooLong => "certificate chain too long",
            Self::Signature => "certificate signature failure",
            Self::Malformed => "certificate rejected",
        }
    }
}

/// Judges the clients of a class.
pub(crate) struct Verifier {
    rule: Arc<ClientRule>,
    anchors: Vec<TrustAnchor<'static>>,
    lists: Vec<CertRevocationList<'static>>,
    subject: Option<Regex>,
    asking: Option<Arc<Asking>>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("rule", &self.rule).finish_non_exhaustive()
    }
}

/// Whether these are certificates that a chain can end at. `translate` asks before it puts them
/// into the model.
pub(crate) fn is_authority(certificate: &[u8]) -> bool {
    anchor_from_trusted_cert(&CertificateDer::from(certificate)).is_ok()
}

/// Whether this is a revocation list that can be consulted.
pub(crate) fn is_revocation_list(list: &[u8]) -> bool {
    OwnedCertRevocationList::from_der(list).is_ok()
}

/// The expression of `auth-tls-match-cn`, if it is one.
pub(crate) fn subject_pattern(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

impl Verifier {
    /// # Errors
    /// Something in the rule is not what `translate` has checked it to be.
    pub(super) fn new(rule: &Arc<ClientRule>) -> Result<Self, rustls::Error> {
        let broken = |what: &str| rustls::Error::General(format!("a broken {what}"));
        let roots = rule.authority.roots.iter().map(|root| CertificateDer::from(&**root));
        let anchors: Vec<TrustAnchor<'static>> = roots
            .map(|root| anchor_from_trusted_cert(&root).map(|anchor| anchor.to_owned()))
            .collect::<Result<_, _>>()
            .map_err(|_checked_before| broken("authority"))?;
        let lists = rule.authority.lists.iter().map(|list| OwnedCertRevocationList::from_der(list));
        let lists = lists
            .map(|list| list.map(CertRevocationList::from))
            .collect::<Result<_, _>>()
            .map_err(|_checked_before| broken("revocation list"))?;
        let subject = rule
            .subject
            .as_deref()
            .map(|text| subject_pattern(text).ok_or_else(|| broken("auth-tls-match-cn")))
            .transpose()?;
        let asking = (rule.verify != VerifyClient::Off).then(|| {
            let names =
                anchors.iter().map(|anchor| DistinguishedName::in_sequence(&anchor.subject));
            let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
            Arc::new(Asking { names: names.collect(), algorithms })
        });
        Ok(Self { rule: Arc::clone(rule), anchors, lists, subject, asking })
    }

    /// What asks clients for certificates; `None`: they are not asked.
    pub(super) fn asking(self: &Arc<Self>) -> Option<Arc<dyn ClientCertVerifier>> {
        self.asking.clone().map(|asking| asking as Arc<dyn ClientCertVerifier>)
    }

    /// What a client's certificates, leaf first, are worth.
    pub(crate) fn judge(
        &self,
        server_name: Option<Box<str>>,
        certificates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Identity {
        let verdict = match certificates.split_first() {
            None => ClientVerdict::None,
            Some((leaf, above)) => {
                let (certificate, readable) = self.describe(leaf);
                match self.check(leaf, above, now) {
                    Ok(()) if readable => ClientVerdict::Valid(certificate),
                    Ok(()) => ClientVerdict::Failed(Fault::Malformed, certificate),
                    Err(fault) => ClientVerdict::Failed(fault, certificate),
                }
            }
        };
        let subject = match &verdict {
            ClientVerdict::None => "",
            ClientVerdict::Valid(certificate) | ClientVerdict::Failed(_, certificate) => {
                &certificate.subject
            }
        };
        // An expression that gives up has not matched.
        let subject_matches =
            self.subject.as_ref().is_none_or(|pattern| pattern.is_match(subject).unwrap_or(false));
        let rule = Some(Arc::clone(&self.rule));
        Identity { server_name, rule, verdict, subject_matches, session: None }
    }

    fn describe(&self, leaf: &CertificateDer<'_>) -> (Box<ClientCertificate>, bool) {
        let pem = if self.rule.pass_certificate { escaped_pem(leaf) } else { String::new() };
        let mut certificate = Box::new(ClientCertificate { pem, ..Default::default() });
        let Ok((_, parsed)) = X509Certificate::from_der(leaf) else {
            return (certificate, false);
        };
        certificate.subject = name::rfc2253(parsed.subject());
        certificate.issuer = name::rfc2253(parsed.issuer());
        (certificate, true)
    }

    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Fault> {
        let leaf = EndEntityCert::try_from(leaf).map_err(|_unreadable| Fault::Malformed)?;
        let lists: Vec<_> = self.lists.iter().collect();
        // nginx asks OpenSSL for CRL_CHECK and CRL_CHECK_ALL: each certificate needs a list, and
        // a list that is not too old.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let outcome = leaf.verify_for_usage(
            aws_lc_rs::default_provider().signature_verification_algorithms.all,
            &self.anchors,
            above,
            now,
            KeyUsage::client_auth(),
            revocation,
            None,
        );
        let path = outcome.map_err(fault)?;
        // OpenSSL counts what is between the client's certificate and the authority.
        if path.intermediate_certificates().count() > self.rule.depth {
            return Err(Fault::TooLong);
        }
        Ok(())
    }
}

fn fault(error: webpki::Error) -> Fault {
    use webpki::Error;
    match error {
        Error::UnknownIssuer => Fault::Untrusted,
        Error::CertExpired { .. } => Fault::Expired,
        Error::CertNotValidYet { .. } => Fault::NotYetValid,
        Error::CertRevoked => Fault::Revoked,
        Error::UnknownRevocationStatus => Fault::NoRevocationList,
        Error::CrlExpired { .. } => Fault::StaleRevocationList,
        Error::RequiredEkuNotFoundContext(_)
        | Error::EmptyEkuExtension
        | Error::CaUsedAsEndEntity => Fault::Purpose,
        Error::PathLenConstraintViolated | Error::MaximumPathDepthExceeded => Fault::TooLong,
        Error::InvalidSignatureForPublicKey
        | Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Fault::Signature,
        _ => Fault::Malformed,
    }
}

/// PEM, with everything escaped but letters, digits and `-_.~`.
fn escaped_pem(der: &[u8]) -> String {
    const LINE: usize = 64;
    let base64 = BASE64.encode(der);
    let mut text = String::with_capacity(base64.len() * 5 / 4 + 100);
    text.push_str("-----BEGIN%20CERTIFICATE-----%0A");
    for (place, character) in base64.chars().enumerate() {
        if place > 0 && place % LINE == 0 {
            text.push_str("%0A");
        }
        match character {
            '+' => text.push_str("%2B"),
            '/' => text.push_str("%2F"),
            '=' => text.push_str("%3D"),
            other => text.push(other),
        }
    }
    text.push_str("%0A-----END%20CERTIFICATE-----%0A");
    text
}

/// Asks for a certificate, takes any, and has its key proved: the rest is [`Verifier::judge`]'s.
#[derive(Debug)]
struct Asking {
    /// Those of the authorities, so that a browser offers the right certificates.
    names: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Asking {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
