use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore};

/// A certificate authority that lives as long as the process: no private key is ever committed, and
/// the client can check what it is shown.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority with a fresh key.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Penstock demo authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer })
    }

    /// A fresh certificate for these names or addresses and its key, in PEM.
    pub fn certificate(&self, names: &[&str]) -> Result<(String, String)> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(names)?.signed_by(&key, &self.issuer)?;
        Ok((leaf.pem(), key.serialize_pem()))
    }

    /// A `kubernetes.io/tls` Secret with a fresh certificate for these names.
    pub fn secret(&self, namespace: &str, name: &str, hosts: &[&str]) -> Result<String> {
        let (certificate, key) = self.certificate(hosts)?;
        let indented =
            |pem: String| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
        Ok(format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  namespace: {namespace}\n  name: {name}\n\
             type: kubernetes.io/tls\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
            indented(certificate),
            indented(key),
        ))
    }

    /// The authority's certificate, for other clients.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A client that trusts this authority and nobody else.
    pub fn client(&self, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).context("the authority's own certificate")?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }
}
