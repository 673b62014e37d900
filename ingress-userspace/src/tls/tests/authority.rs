//! A private authority, what it signs, and what it takes back.

use std::{sync::Arc, time::Duration, time::SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::model::{Authority, ClientAuth, ClientRule, HostTls, ObjectRef, VerifyClient};

const DAY: Duration = Duration::from_secs(86_400);

/// A certificate that may sign others.
pub(super) struct Ca {
    pub(super) der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// A client's chain and key.
pub(super) type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Ca {
    pub(super) fn root(name: &str) -> Self {
        let key = KeyPair::generate().expect("randomness");
        let params = ca_params(name);
        let der = params.self_signed(&key).expect("plain").der().to_vec();
        Self { der, issuer: Issuer::new(params, key) }
    }

    /// An authority below this one.
    pub(super) fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().expect("randomness");
        let params = ca_params(name);
        let der = params.signed_by(&key, &self.issuer).expect("plain").der().to_vec();
        Self { der, issuer: Issuer::new(params, key) }
    }

    /// A client's certificate, with those of `above` after it.
    pub(super) fn client(&self, name: &str, above: &[&Self]) -> Pair {
        self.client_with(name, above, |_| {})
    }

    pub(super) fn client_with(
        &self,
        name: &str,
        above: &[&Self],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Pair {
        let key = KeyPair::generate().expect("randomness");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Shop");
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(7));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let own = params.signed_by(&key, &self.issuer).expect("plain").der().clone();
        let above = above.iter().map(|ca| CertificateDer::from(ca.der.clone()));
        let chain = std::iter::once(own).chain(above).collect();
        (chain, PrivateKeyDer::try_from(key.serialize_der()).expect("our own"))
    }

    /// A list that takes these serial numbers back; `age` since it should have been replaced.
    pub(super) fn list(&self, revoked: &[u64], age: Option<Duration>) -> Vec<u8> {
        let now = SystemTime::now();
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: (now - DAY).into(),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: (now - DAY).into(),
            next_update: age.map_or(now + DAY, |age| now - age).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("plain").der().to_vec()
    }
}

/// A rule that asks for what these have signed.
pub(super) fn rule(roots: &[&Ca], lists: Vec<Vec<u8>>, verify: VerifyClient) -> ClientRule {
    ClientRule {
        authority: Arc::new(Authority {
            secret: ObjectRef::new("Secret", "web", "ca"),
            roots: roots.iter().map(|ca| ca.der.clone()).collect(),
            lists,
        }),
        verify,
        depth: 1,
        error_page: None,
        pass_certificate: false,
        subject: None,
    }
}

/// What a host with this rule asks for.
pub(super) fn asking(rule: ClientRule) -> Option<HostTls> {
    let client_auth = Some(ClientAuth::Rule(Arc::new(rule)));
    Some(HostTls { client_auth, ..HostTls::default() })
}
