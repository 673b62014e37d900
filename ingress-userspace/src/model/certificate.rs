use super::ObjectRef;

/// Index into [`Model::certificates`](super::Model::certificates).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateId(pub u32);

/// The certificate chain and key of a TLS Secret, checked to belong together.
#[derive(Clone)]
pub struct Certificate {
    /// The Secret.
    pub secret: ObjectRef,
    /// The chain in DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The private key in PKCS#8, PKCS#1 or SEC1 DER; never shown, logged or dumped.
    pub key: Vec<u8>,
}

impl Certificate {
    /// What stands where no host needs a certificate.
    pub(crate) fn nobody() -> Self {
        let secret = ObjectRef::new("Secret", "", "");
        Self { secret, chain: Vec::new(), key: Vec::new() }
    }

    /// It is no Secret's.
    #[cfg(test)]
    pub(crate) fn is_nobody(&self) -> bool {
        self.secret.name.is_empty()
    }
}

impl std::fmt::Debug for Certificate {
    /// Shows neither chain nor key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("secret", &self.secret).finish_non_exhaustive()
    }
}
