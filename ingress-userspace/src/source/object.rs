use std::sync::Arc;

use k8s_openapi::{
    ByteString, Metadata, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::Deserialize;

use super::{tree, typed};
use crate::{model::ObjectRef, stores::Object};

/// The kinds that are read, by name, API version and whether they have a namespace.
const KINDS: &[(&str, &str, bool)] = &[
    ("Ingress", "networking.k8s.io/v1", true),
    ("IngressClass", "networking.k8s.io/v1", false),
    ("Service", "v1", true),
    ("EndpointSlice", "discovery.k8s.io/v1", true),
    ("Secret", "v1", true),
    ("ConfigMap", "v1", true),
    ("Node", "v1", false),
    ("Namespace", "v1", false),
];

/// Whether a kind is read, and how.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) api_version: &'static str,
    pub(super) namespaced: bool,
}

impl Kind {
    pub(super) fn named(name: &str) -> Option<Self> {
        let row = KINDS.iter().find(|(known, ..)| *known == name)?;
        Some(Self { name: row.0, api_version: row.1, namespaced: row.2 })
    }

    /// The names of all kinds that are read.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        KINDS.iter().map(|(name, ..)| *name)
    }
}

/// The object of this kind and name that the tree stands for.
pub(super) fn read(
    id: &ObjectRef,
    node: &tree::Node,
) -> (Result<Object, typed::FieldFault>, Vec<typed::FieldFault>) {
    match id.kind {
        "Ingress" => kind(id, node, Object::Ingress),
        "IngressClass" => kind(id, node, Object::IngressClass),
        "Service" => kind(id, node, Object::Service),
        "EndpointSlice" => kind(id, node, Object::EndpointSlice),
        "Secret" => kind(id, node, |secret| Object::Secret(with_string_data(secret))),
        "ConfigMap" => kind(id, node, Object::ConfigMap),
        "Namespace" => kind(id, node, Object::Namespace),
        _ => kind(id, node, Object::Node),
    }
}

/// Merges `stringData` into `data`, as the API server does.
fn with_string_data(mut secret: Arc<Secret>) -> Arc<Secret> {
    let object = Arc::make_mut(&mut secret);
    if let Some(text) = object.string_data.take() {
        let data = object.data.get_or_insert_default();
        data.extend(text.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
    }
    secret
}

fn kind<T>(
    id: &ObjectRef,
    node: &tree::Node,
    wrap: fn(Arc<T>) -> Object,
) -> (Result<Object, typed::FieldFault>, Vec<typed::FieldFault>)
where
    T: for<'de> Deserialize<'de> + Metadata<Ty = ObjectMeta>,
{
    let (object, unknown) = typed::object::<T>(node);
    let object = object.map(|mut object| {
        let metadata = object.metadata_mut();
        metadata.name = Some(id.name.to_string());
        metadata.namespace = (!id.namespace.is_empty()).then(|| id.namespace.to_string());
        wrap(Arc::new(object))
    });
    (object, unknown)
}
