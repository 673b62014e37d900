//! Certificates for the benchmark, made anew each time: no private key is ever committed.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_RSA_SHA256,
    RsaKeySize,
};

/// Writes `ecdsa.pem`, `ecdsa.key` (P-256) and `rsa.pem`, `rsa.key` (2048 bits) for these hosts.
pub(crate) fn write(directory: &Path, ecdsa: &str, rsa: &str) -> Result<()> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "Penstock benchmark authority");
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let keys = [
        ("ecdsa", ecdsa, KeyPair::generate()?),
        ("rsa", rsa, KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?),
    ];
    for (name, host, key) in keys {
        let leaf = CertificateParams::new(vec![host.to_owned()])?.signed_by(&key, &issuer)?;
        put(directory, &format!("{name}.pem"), &leaf.pem())?;
        put(directory, &format!("{name}.key"), &key.serialize_pem())?;
    }
    Ok(())
}

fn put(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| path.display().to_string())
}
