//! Which certificate a handshake presents (reference sections 4.1, 4.2): exact name, then the
//! wildcard one label up, then the default. Keys are parsed when first asked for and kept for as
//! long as their Secret does not change, so that thousands of certificates cost nothing at start.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};

use crate::model::{AliasName, Certificate, CertificateId, HostName, Model, ObjectRef};

/// The certificates of one snapshot.
#[derive(Debug, Default)]
pub struct Certificates {
    exact: HashMap<Arc<str>, Choice>,
    wildcard: HashMap<Arc<str>, Choice>,
    keys: Vec<Arc<Lazy>>,
    default: Option<usize>,
}

/// What a host that has TLS presents.
#[derive(Clone, Copy, Debug)]
enum Choice {
    /// Index into `keys`.
    Key(usize),
    /// The default one: the host's own Secret is missing, broken, or not for this name.
    Default,
}

struct Lazy {
    certificate: Arc<Certificate>,
    parsed: OnceLock<Option<Arc<CertifiedKey>>>,
}

impl std::fmt::Debug for Lazy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.certificate.fmt(f)
    }
}

impl Lazy {
    fn key(&self) -> Option<Arc<CertifiedKey>> {
        self.parsed.get_or_init(|| parse(&self.certificate)).clone()
    }
}

/// `translate` has checked the pair already, so this fails only for a kind of key that the
/// cryptography library does not know.
fn parse(certificate: &Certificate) -> Option<Arc<CertifiedKey>> {
    let key = PrivateKeyDer::try_from(certificate.key.clone())
        .map_err(|reason| reason.to_owned())
        .and_then(|der| any_supported_type(&der).map_err(|error| error.to_string()));
    match key {
        Ok(key) => {
            let chain = certificate.chain.iter().cloned().map(CertificateDer::from).collect();
            Some(Arc::new(CertifiedKey::new(chain, key)))
        }
        Err(reason) => {
            tracing::warn!(
                object = %certificate.secret,
                reason,
                "the key cannot be used; the default certificate is presented instead"
            );
            None
        }
    }
}

impl Certificates {
    /// The certificates of a model; keys that are also in these ones are not parsed again.
    #[must_use]
    pub fn next(&self, model: &Model) -> Self {
        let known: HashMap<_, _> =
            self.keys.iter().map(|lazy| (Arc::as_ptr(&lazy.certificate), lazy)).collect();
        let keys: Vec<_> = model
            .certificates
            .iter()
            .map(|certificate| match known.get(&Arc::as_ptr(certificate)) {
                Some(lazy) => Arc::clone(lazy),
                None => {
                    Arc::new(Lazy { certificate: Arc::clone(certificate), parsed: OnceLock::new() })
                }
            })
            .collect();
        let place = |id: CertificateId| usize::try_from(id.0).ok().filter(|at| *at < keys.len());
        let mut exact = HashMap::new();
        let mut wildcard = HashMap::new();
        // Hosts precede the aliases of others, whatever their order.
        for host in model.hosts.iter() {
            let Some(at) = host.certificate.and_then(place) else { continue };
            for alias in host.aliases.iter().filter(|alias| alias.tls) {
                match &alias.name {
                    AliasName::Exact(name) => exact.insert(Arc::clone(name), Choice::Key(at)),
                    AliasName::Beneath(suffix) => {
                        wildcard.insert(Arc::clone(suffix), Choice::Key(at))
                    }
                    AliasName::Before(_) | AliasName::Matching(_) => None,
                };
            }
        }
        for host in model.hosts.iter() {
            // A host without any TLS leaves its name to the wildcard above it.
            let choice = match host.certificate.and_then(place) {
                Some(at) => Choice::Key(at),
                None if host.tls => Choice::Default,
                None => continue,
            };
            match &host.name {
                HostName::Exact(name) => exact.insert(Arc::clone(name), choice),
                HostName::Wildcard(suffix) => wildcard.insert(Arc::clone(suffix), choice),
                HostName::CatchAll => None,
            };
        }
        Self { exact, wildcard, default: model.default_certificate.and_then(place), keys }
    }

    /// What to present for this server name, lower case and without trailing dot; `None`: the
    /// self-signed certificate.
    #[must_use]
    pub fn find(&self, server_name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        self.chosen(server_name).map(|(_, key)| key)
    }

    /// The Secret of what [`find`](Self::find) finds.
    #[must_use]
    pub fn secret(&self, server_name: Option<&str>) -> Option<&ObjectRef> {
        self.chosen(server_name).map(|(own, _)| &own.certificate.secret)
    }

    fn chosen(&self, server_name: Option<&str>) -> Option<(&Lazy, Arc<CertifiedKey>)> {
        let usable = |at: usize| {
            let own = self.keys.get(at)?;
            Some((&**own, own.key()?))
        };
        let choice = server_name.and_then(|name| {
            self.exact.get(name).or_else(|| {
                let (label, suffix) = name.split_once('.')?;
                if label.is_empty() { None } else { self.wildcard.get(suffix) }
            })
        });
        let own = match choice {
            Some(Choice::Key(at)) => usable(*at),
            Some(Choice::Default) | None => None,
        };
        own.or_else(|| self.default.and_then(usable))
    }
}

/// ingress-nginx's self-signed certificate, but with an ECDSA key, which takes no time to make.
///
/// # Errors
/// Only if the cryptography library fails: no randomness.
pub fn self_signed() -> Result<CertifiedKey, rcgen::Error> {
    let key = rcgen::KeyPair::generate()?;
    let mut parameters = rcgen::CertificateParams::new(vec!["ingress.local".to_owned()])?;
    let mut name = rcgen::DistinguishedName::new();
    name.push(rcgen::DnType::OrganizationName, "Acme Co");
    name.push(rcgen::DnType::CommonName, "Kubernetes Ingress Controller Fake Certificate");
    parameters.distinguished_name = name;
    let now = std::time::SystemTime::now();
    parameters.not_before = now.into();
    parameters.not_after = (now + std::time::Duration::from_secs(365 * 24 * 3600)).into();
    let certificate = parameters.self_signed(&key)?;
    let der = PrivateKeyDer::try_from(key.serialize_der())
        .map_err(|_own_format| rcgen::Error::CouldNotParseKeyPair)?;
    let signer = any_supported_type(&der).map_err(|_own_key| rcgen::Error::CouldNotParseKeyPair)?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Host, ObjectRef};

    fn certificate(name: &str) -> Arc<Certificate> {
        let key = rcgen::KeyPair::generate().expect("randomness");
        let signed = rcgen::CertificateParams::new(vec![name.to_owned()])
            .and_then(|parameters| parameters.self_signed(&key))
            .expect("a plain name");
        Arc::new(Certificate {
            secret: ObjectRef::new("Secret", "web", name),
            chain: vec![signed.der().to_vec()],
            key: key.serialize_der(),
        })
    }

    fn host(name: HostName, certificate: Option<u32>, tls: bool) -> Arc<Host> {
        let certificate = certificate.map(CertificateId);
        Arc::new(Host {
            name,
            aliases: Box::default(),
            certificate,
            tls,
            handshake: None,
            regex: false,
            snippet: None,
            app_root: None,
            routes: Vec::new(),
        })
    }

    fn leaf(found: Option<Arc<CertifiedKey>>) -> Option<Vec<u8>> {
        found.map(|key| key.cert[0].to_vec())
    }

    fn model() -> Model {
        Model {
            hosts: Arc::new([
                host(HostName::Exact("shop.example.com".into()), Some(0), true),
                host(HostName::Wildcard("example.com".into()), Some(1), true),
                host(HostName::Exact("plain.example.com".into()), None, false),
                host(HostName::Exact("broken.example.com".into()), None, true),
            ]),
            certificates: Arc::new([
                certificate("shop.example.com"),
                certificate("*.example.com"),
                certificate("default"),
            ]),
            default_certificate: Some(CertificateId(2)),
            ..Model::default()
        }
    }

    #[test]
    fn names_choose_exact_then_wildcard_then_default() {
        let model = model();
        let certificates = Certificates::default().next(&model);
        let chain = |at: usize| Some(model.certificates[at].chain[0].clone());
        let find = |name| leaf(certificates.find(name));
        assert_eq!(find(Some("shop.example.com")), chain(0));
        assert_eq!(find(Some("other.example.com")), chain(1));
        assert_eq!(find(Some("plain.example.com")), chain(1), "no TLS of its own");
        assert_eq!(find(Some("broken.example.com")), chain(2), "TLS, but no certificate");
        assert_eq!(find(Some("a.b.example.com")), chain(2), "a wildcard is one label");
        assert_eq!(find(Some("example.com")), chain(2));
        assert_eq!(find(Some(".example.com")), chain(2));
        assert_eq!(find(None), chain(2));
    }

    #[test]
    fn without_any_the_self_signed_one_is_left() {
        assert!(Certificates::default().find(Some("shop.example.com")).is_none());
        assert!(self_signed().is_ok());
    }

    #[test]
    fn an_unchanged_secret_is_parsed_once() {
        let model = model();
        let first = Certificates::default().next(&model);
        let one = first.find(Some("shop.example.com")).expect("it has one");
        let second = first.next(&model);
        let two = second.find(Some("shop.example.com")).expect("it has one");
        assert!(Arc::ptr_eq(&one, &two));
    }

    #[test]
    fn a_broken_key_falls_back_to_the_default() {
        let mut model = model();
        let mut broken = Certificate::clone(&model.certificates[0]);
        broken.key = vec![1, 2, 3];
        Arc::make_mut(&mut model.certificates)[0] = Arc::new(broken);
        let certificates = Certificates::default().next(&model);
        let found = leaf(certificates.find(Some("shop.example.com")));
        assert_eq!(found, Some(model.certificates[2].chain[0].clone()));
    }
}
