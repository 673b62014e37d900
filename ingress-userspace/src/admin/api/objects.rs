//! How what several resources name is written.

use serde_json::{Value, json};

use crate::model::{
    Backend, BackendId, BackendKey, Canary, CanaryHeaderRule, Model, ObjectRef, Policy,
};

/// Kind, namespace (empty for kinds that have none) and name.
pub(super) fn object(object: &ObjectRef) -> Value {
    json!({ "kind": object.kind, "namespace": &*object.namespace, "name": &*object.name })
}

/// Namespace, name and port of a Service; the port as the Ingress has it, always as text.
pub(super) fn service(key: &BackendKey) -> Value {
    json!({
        "namespace": &*key.namespace,
        "name": &*key.service,
        "port": key.port.to_string(),
    })
}

pub(super) fn backend_of(model: &Model, id: BackendId) -> Option<&Backend> {
    model.backends.get(usize::try_from(id.0).ok()?).map(|own| &**own)
}

/// How one of several endpoints is chosen.
pub(super) fn policy(backend: &Backend) -> &'static str {
    match &backend.balancing.policy {
        Policy::RoundRobin => "round_robin",
        Policy::Ewma => "ewma",
        Policy::Hash(_) => "hash",
    }
}

/// Who gets a part of another backend's requests.
pub(super) fn canary(model: &Model, canary: &Canary) -> Value {
    let backend = backend_of(model, canary.backend);
    json!({
        "ingress": object(&canary.ingress),
        "service": backend.map(|own| service(&own.key)),
        "endpoints": backend.map_or(0, |own| own.endpoints.len()),
        "header": canary.header.as_ref().map(|header| json!({
            "name": &*header.name,
            "value": match &header.rule {
                CanaryHeaderRule::Value(value) => Some(&**value),
                _ => None,
            },
            "pattern": match &header.rule {
                CanaryHeaderRule::Pattern(pattern) => Some(pattern.text()),
                _ => None,
            },
        })),
        "cookie": canary.cookie.as_deref(),
        "weight": canary.weight,
        "weight_total": canary.total,
        "sticky": canary.sticky,
    })
}
