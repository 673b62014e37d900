//! `auth-tls-secret`: who signs the certificates of clients (reference sections 1.4, 4.6).

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::api::core::v1::Secret;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject};

use crate::{
    model::{Authority, ObjectRef},
    stores::{Key, Store},
    tls,
};

type Checked = Result<Arc<Authority>, Arc<str>>;

/// The authorities of all Secrets that were asked for, each read once.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    checked: HashMap<Key, (Arc<Secret>, Checked)>,
}

impl Authorities {
    /// Forgets Secrets that are gone.
    pub(super) fn forget_gone(&mut self, secrets: &Store<Secret>) {
        self.checked.retain(|key, _| secrets.get(&key.namespace, &key.name).is_some());
    }

    /// The authority of this Secret. The error completes the sentence "Secret shop/ca ...".
    pub(super) fn of_secret(&mut self, secrets: &Store<Secret>, key: &Key) -> Checked {
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

/// An authority that cannot be read in full is none: a revocation list that is left out lets in
/// those on it.
fn parse(secret: ObjectRef, object: &Secret) -> Result<Authority, String> {
    let entry = |key: &str| {
        let bytes = object.data.as_ref()?.get(key)?;
        (!bytes.0.trim_ascii().is_empty()).then_some(&*bytes.0)
    };
    let text = entry("ca.crt").ok_or("has no entry `ca.crt`")?;
    let roots: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(text)
        .map(|root| root.map(|root| root.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|_details_could_quote| "has a `ca.crt` that is no PEM")?;
    if roots.is_empty() {
        return Err("has a `ca.crt` without a certificate".to_owned());
    }
    if !roots.iter().all(|root| tls::is_authority(root)) {
        return Err("has a `ca.crt` that is no X.509 certificate of version 3".to_owned());
    }
    let lists = match entry("ca.crl") {
        Some(text) => revocation_lists(text)?,
        None => Vec::new(),
    };
    Ok(Authority { secret, roots, lists })
}

fn revocation_lists(text: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let lists: Vec<Vec<u8>> = CertificateRevocationListDer::pem_slice_iter(text)
        .map(|list| list.map(|list| list.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|_details_could_quote| "has a `ca.crl` that is no PEM")?;
    if lists.is_empty() || !lists.iter().all(|list| tls::is_revocation_list(list)) {
        return Err("has a `ca.crl` that is no X.509 revocation list of version 2".to_owned());
    }
    Ok(lists)
}
