//! What rustls has of the suites that OpenSSL's names stand for.

use std::sync::Arc;

use rustls::{
    SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{
        CryptoProvider, SupportedKxGroup,
        aws_lc_rs::{self, cipher_suite as rustls_suite, kx_group},
    },
    version::{TLS12, TLS13},
};

use crate::model::{Group, Suite, TlsSettings};

/// Those of TLS 1.3, which cannot be chosen. AES-128 first, as in the default list for TLS 1.2: it
/// costs less than AES-256, and nothing can be gained by breaking either.
const TLS13_SUITES: [SupportedCipherSuite; 3] = [
    rustls_suite::TLS13_AES_128_GCM_SHA256,
    rustls_suite::TLS13_AES_256_GCM_SHA384,
    rustls_suite::TLS13_CHACHA20_POLY1305_SHA256,
];

fn of(suite: Suite) -> SupportedCipherSuite {
    match suite {
        Suite::EcdheEcdsaAes128GcmSha256 => rustls_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        Suite::EcdheRsaAes128GcmSha256 => rustls_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        Suite::EcdheEcdsaAes256GcmSha384 => rustls_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        Suite::EcdheRsaAes256GcmSha384 => rustls_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        Suite::EcdheEcdsaChacha20Poly1305 => {
            rustls_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        Suite::EcdheRsaChacha20Poly1305 => {
            rustls_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
    }
}

fn group_of(group: Group) -> &'static dyn SupportedKxGroup {
    match group {
        Group::X25519Mlkem768 => kx_group::X25519MLKEM768,
        Group::X25519 => kx_group::X25519,
        Group::Secp256r1 => kx_group::SECP256R1,
        Group::Secp384r1 => kx_group::SECP384R1,
    }
}

/// The cryptography of a class whose suites of TLS 1.2 are these, and whose groups these, of none:
/// all.
pub(super) fn provider(suites: &[Suite], groups: &[Group]) -> Arc<CryptoProvider> {
    let cipher_suites = TLS13_SUITES.into_iter().chain(suites.iter().map(|suite| of(*suite)));
    let default = aws_lc_rs::default_provider();
    let kx_groups = match groups {
        [] => default.kx_groups,
        _ => groups.iter().map(|group| group_of(*group)).collect(),
    };
    Arc::new(CryptoProvider { cipher_suites: cipher_suites.collect(), kx_groups, ..default })
}

/// `ssl-protocols`.
pub(super) fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(settings.tls13, &TLS13), (settings.tls12, &TLS12)];
    all.into_iter().filter_map(|(on, version)| on.then_some(version)).collect()
}
