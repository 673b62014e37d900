//! From `proxy-ssl-secret` and what goes with it to how TLS to endpoints is done. What is equal is
//! one allocation, also in later models.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::api::core::v1::Secret;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::{annotations::UpstreamTlsRequest, report::Report, tls};
use crate::{
    model::{Denial, Identity, ObjectRef, UpstreamTls, Verification},
    stores::{Key, Store},
};

/// What is in use, so that the next model can have the same.
#[derive(Debug, Default)]
pub(super) struct Policies(HashSet<Arc<UpstreamTls>>);

impl Policies {
    /// Begins a new model: forgets what no model uses.
    pub(super) fn begin(&mut self) {
        self.0.retain(|policy| Arc::strong_count(policy) > 1);
    }

    /// The one that is equal to this.
    pub(super) fn shared(&mut self, policy: UpstreamTls) -> Arc<UpstreamTls> {
        match self.0.get(&policy) {
            Some(known) => Arc::clone(known),
            None => {
                let policy = Arc::new(policy);
                self.0.insert(Arc::clone(&policy));
                policy
            }
        }
    }
}

/// What the Secret and the annotations amount to, but for the name that follows from the Service.
/// `namespace` is the one that the Secret has to be of, if there is such a one.
/// A Secret that cannot be used is reported, and the reason to answer 503: to go on without it
/// would be to talk to whoever answers.
pub(super) fn resolve(
    request: &UpstreamTlsRequest,
    namespace: Option<&str>,
    secrets: &Store<Secret>,
    field: &str,
    report: &mut Report<'_>,
) -> Result<UpstreamTls, Denial> {
    policy(request, namespace, secrets).map_err(|why| {
        let Key { namespace, name } = &request.secret;
        let message = format!(
            "Secret {namespace}/{name} {why}; the paths of this Ingress answer 503, and those of \
             the host that are forwarded over TLS"
        );
        report.error(field, message);
        let key = field.trim_start_matches("metadata.annotations[").trim_end_matches(']');
        Denial { key: key.into() }
    })
}

fn policy(
    request: &UpstreamTlsRequest,
    namespace: Option<&str>,
    secrets: &Store<Secret>,
) -> Result<UpstreamTls, String> {
    let Key { namespace: of_secret, name } = &request.secret;
    if namespace.is_some_and(|own| **of_secret != *own) {
        return Err("is of another namespace".to_owned());
    }
    let secret = secrets.get(of_secret, name).ok_or("does not exist")?;
    let has = |key: &str| secret.data.as_ref().is_some_and(|data| data.contains_key(key));
    let identity = match has("tls.crt") || has("tls.key") {
        true => {
            let object = ObjectRef::new("Secret", Arc::clone(of_secret), Arc::clone(name));
            Some(Identity(tls::client_certificate(object, secret)?))
        }
        false => None,
    };
    let authorities = authorities(secret)?;
    let verify = match (request.verify, authorities) {
        (true, Some(authorities)) => Some(Verification { authorities, depth: request.depth }),
        // ingress-nginx verifies nothing then, and says nothing.
        (true, None) => return Err("has no entry `ca.crt` to verify endpoints by".to_owned()),
        (false, None) if identity.is_none() => {
            return Err("has neither `tls.crt` and `tls.key` nor `ca.crt`".to_owned());
        }
        (false, _) => None,
    };
    Ok(UpstreamTls {
        verify,
        name: request.name.clone(),
        send_name: request.send_name,
        identity,
        versions: request.versions,
        suites: Arc::clone(&request.suites),
    })
}

/// The certificates of `ca.crt`, each fit to be an authority.
fn authorities(secret: &Secret) -> Result<Option<Arc<[Vec<u8>]>>, String> {
    let Some(pem) = secret.data.as_ref().and_then(|data| data.get("ca.crt")) else {
        return Ok(None);
    };
    let mut store = RootCertStore::empty();
    let mut authorities = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&pem.0) {
        let certificate = certificate
            .map_err(|_details_could_quote| "has a `ca.crt` that is no PEM".to_owned())?;
        store.add(certificate.clone()).map_err(|error| {
            format!("has a `ca.crt` with a certificate that cannot be used ({error})")
        })?;
        authorities.push(certificate.to_vec());
    }
    if authorities.is_empty() {
        return Err("has a `ca.crt` without a certificate".to_owned());
    }
    Ok(Some(authorities.into()))
}
