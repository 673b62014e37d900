//! Which certificate a host presents (reference section 4.1).

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::api::{
    core::v1::Secret,
    networking::v1::{Ingress, IngressTLS},
};
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{references::MOST_TLS, report::Report};
use crate::{
    model::{Certificate, CertificateId, ObjectRef},
    stores::{Key, Store},
};

/// The certificate of a Secret and the names that it is valid for.
#[derive(Debug)]
struct Parsed {
    certificate: Arc<Certificate>,
    /// The DNS names among its subject alternative names or, without any alternative name, its
    /// common name. Lower case.
    names: Vec<String>,
}

type Checked = Result<Arc<Parsed>, Arc<str>>;

/// The certificates of all Secrets that were asked for, each parsed and checked once.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    checked: HashMap<Key, (Arc<Secret>, Checked)>,
    /// Those in use, in the order of their ids.
    used: Vec<Arc<Certificate>>,
    ids: HashMap<Key, CertificateId>,
    /// Places in `used` that nobody needs.
    free: Vec<CertificateId>,
    /// `used` is not what it was when it was last asked for.
    changed: bool,
}

impl Certificates {
    /// Begins a new model: forgets which certificates are in use, and Secrets that are gone.
    pub(super) fn begin(&mut self, secrets: &Store<Secret>) {
        self.used.clear();
        self.ids.clear();
        self.free.clear();
        self.changed = true;
        self.forget_gone(secrets);
    }

    /// Forgets Secrets that are gone.
    pub(super) fn forget_gone(&mut self, secrets: &Store<Secret>) {
        self.checked.retain(|key, _| secrets.get(&key.namespace, &key.name).is_some());
    }

    /// The certificates in use, by id, if they are not the same as when last asked for.
    pub(super) fn changed(&mut self) -> Option<Arc<[Arc<Certificate>]>> {
        std::mem::take(&mut self.changed).then(|| self.used.as_slice().into())
    }

    /// Nobody needs the certificate of this id any more.
    pub(super) fn release(&mut self, id: CertificateId) {
        let place = usize::try_from(id.0).ok().and_then(|at| self.used.get_mut(at));
        let Some(certificate) = place else { return };
        let ObjectRef { namespace, name, .. } = &certificate.secret;
        if self.ids.remove(&Key::new(Arc::clone(namespace), Arc::clone(name))).is_some() {
            *certificate = Arc::new(Certificate::nobody());
            self.free.push(id);
            self.changed = true;
        }
    }

    /// The certificate of this Secret, whatever names it is for.
    pub(super) fn of_secret(
        &mut self,
        secrets: &Store<Secret>,
        key: Key,
    ) -> Result<CertificateId, Arc<str>> {
        let parsed = self.check(secrets, &key)?;
        Ok(self.id(key, &parsed))
    }

    /// The certificate for one of the hosts of an Ingress that has TLS. `None` stands for the
    /// default one; the report says why, if it should not.
    pub(super) fn of_host(
        &mut self,
        secrets: &Store<Secret>,
        namespace: &Arc<str>,
        ingress: &Ingress,
        host: &str,
        report: &mut Report<'_>,
    ) -> Option<CertificateId> {
        let entries =
            ingress.spec.as_ref().and_then(|spec| spec.tls.as_deref()).unwrap_or_default();
        let entries = entries.get(..MOST_TLS).unwrap_or(entries);
        let names = |entry: &IngressTLS| {
            let mut hosts = entry.hosts.iter().flatten();
            hosts.any(|name| name.eq_ignore_ascii_case(host))
        };
        let key = |secret: &str| Key::new(Arc::clone(namespace), secret);
        let Some(place) = entries.iter().position(names) else {
            // No entry lists the host: the first certificate that happens to be for it.
            for secret in entries.iter().filter_map(|entry| entry.secret_name.as_deref()) {
                let key = key(secret);
                match self.check(secrets, &key) {
                    Ok(parsed) if parsed.covers(host) => return Some(self.id(key, &parsed)),
                    _ => {}
                }
            }
            let message = format!(
                "no entry lists {host}, and no certificate is for it; the default certificate is used"
            );
            report.warning("spec.tls", message);
            return None;
        };
        let field = format!("spec.tls[{place}].secretName");
        // Without a Secret's name the default certificate is what was asked for.
        let secret = entries.get(place)?.secret_name.as_deref().filter(|name| !name.is_empty())?;
        let key = key(secret);
        let why = match self.check(secrets, &key) {
            Ok(parsed) if parsed.covers(host) => return Some(self.id(key, &parsed)),
            Ok(parsed) => format!(
                "the certificate of Secret {namespace}/{secret} is for {}, not for {host}",
                parsed.names.join(", ")
            ),
            Err(error) => format!("Secret {namespace}/{secret} {error}"),
        };
        report.error(field, format!("{why}; the default certificate is used for {host}"));
        None
    }

    /// The certificate in use with this id is for this name.
    pub(super) fn covers(&self, id: CertificateId, name: &str) -> bool {
        let used = usize::try_from(id.0).ok().and_then(|at| self.used.get(at));
        let checked = used.and_then(|certificate| {
            let ObjectRef { namespace, name, .. } = &certificate.secret;
            self.checked.get(&Key::new(Arc::clone(namespace), Arc::clone(name)))
        });
        matches!(checked, Some((_, Ok(parsed))) if parsed.covers(name))
    }

    fn id(&mut self, key: Key, parsed: &Parsed) -> CertificateId {
        let certificate = Arc::clone(&parsed.certificate);
        let known = self.ids.get(&key).copied().or_else(|| self.free.pop());
        let id = known.unwrap_or_else(|| {
            let next = u32::try_from(self.used.len()).expect("Secrets are fewer than 2^32");
            self.used.push(Arc::clone(&certificate));
            self.changed = true;
            CertificateId(next)
        });
        let place = &mut self.used[id.0 as usize];
        if !Arc::ptr_eq(place, &certificate) {
            *place = certificate;
            self.changed = true;
        }
        self.ids.entry(key).or_insert(id);
        id
    }

    fn check(&mut self, secrets: &Store<Secret>, key: &Key) -> Checked {
        let Some(secret) = secrets.get(&key.namespace, &key.name) else {
            return Err("does not exist".into());
        };
        if let Some((known, checked)) = self.checked.get(key)
            && (Arc::ptr_eq(known, secret) || known.data == secret.data)
        {
            return checked.clone();
        }
        let object = ObjectRef::new("Secret", key.namespace.clone(), key.name.clone());
        let checked = parse(object, secret).map(Arc::new).map_err(Arc::from);
        self.checked.insert(key.clone(), (Arc::clone(secret), checked.clone()));
        checked
    }
}

impl Parsed {
    /// The certificate is for this host; `*.example.com` only if it says so literally.
    fn covers(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.names.iter().any(|name| {
            *name == host
                || !host.starts_with('*')
                    && name.strip_prefix("*.").is_some_and(|suffix| {
                        let parent = host.split_once('.').filter(|(label, _)| !label.is_empty());
                        parent.is_some_and(|(_, parent)| parent == suffix)
                    })
        })
    }
}

/// Reads and checks a TLS Secret. The error completes the sentence "Secret shop/cert ..."; it never
/// quotes content.
fn parse(secret: ObjectRef, object: &Secret) -> Result<Parsed, String> {
    let entry = |key: &str| {
        let data = object.data.as_ref().and_then(|data| data.get(key));
        data.map(|bytes| &*bytes.0).ok_or(format!("has no entry `{key}`"))
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(entry("tls.crt")?)
        .collect::<Result<_, _>>()
        .map_err(|_details_could_quote| "has a `tls.crt` that is no PEM".to_owned())?;
    let leaf = chain.first().ok_or("has a `tls.crt` without a certificate")?;
    let key = PrivateKeyDer::from_pem_slice(entry("tls.key")?).map_err(|_details_could_quote| {
        "has a `tls.key` that is no private key in PEM".to_owned()
    })?;
    let signer = any_supported_type(&key).map_err(|_details_could_quote| {
        "has a `tls.key` of an unsupported kind; use RSA, ECDSA or Ed25519".to_owned()
    })?;
    let (_, parsed) = X509Certificate::from_der(leaf)
        .map_err(|error| format!("has a `tls.crt` that is no X.509 certificate ({error})"))?;
    let names = names(&parsed);
    CertifiedKey::new(chain.clone(), signer).keys_match().map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            "has a `tls.key` that does not belong to the first certificate of `tls.crt`".to_owned()
        }
        error => format!("has a `tls.crt` that cannot be used ({error})"),
    })?;
    let certificate = Arc::new(Certificate {
        secret,
        chain: chain.iter().map(|certificate| certificate.to_vec()).collect(),
        key: key.secret_der().to_vec(),
    });
    Ok(Parsed { certificate, names })
}

/// The certificate and key of a Secret, checked to belong together, to be shown to endpoints.
pub(super) fn client_certificate(
    object: ObjectRef,
    secret: &Secret,
) -> Result<Arc<Certificate>, String> {
    parse(object, secret).map(|parsed| parsed.certificate)
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let Some(alternative) = alternative else {
        let common = certificate.subject().iter_common_name();
        let text = common.filter_map(|name| name.as_str().ok());
        return text.map(str::to_ascii_lowercase).collect();
    };
    let dns = alternative.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    dns.collect()
}
