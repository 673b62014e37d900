use std::sync::Arc;

use k8s_openapi::{
    ByteString, Metadata,
    api::{
        core::v1::{ConfigMap, Node, Secret, Service},
        discovery::v1::EndpointSlice,
        networking::v1::{Ingress, IngressClass},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::Deserialize;

use super::{tree, typed};
use crate::{
    model::ObjectRef,
    stores::{Key, Store, Stores},
};

/// An object of one of the kinds that are read.
#[derive(Clone, PartialEq)]
pub(super) enum Object {
    Ingress(Arc<Ingress>),
    IngressClass(Arc<IngressClass>),
    Service(Arc<Service>),
    EndpointSlice(Arc<EndpointSlice>),
    Secret(Arc<Secret>),
    ConfigMap(Arc<ConfigMap>),
    Node(Arc<Node>),
}

/// The kinds that are read, by name, API version and whether they have a namespace.
const KINDS: &[(&str, &str, bool)] = &[
    ("Ingress", "networking.k8s.io/v1", true),
    ("IngressClass", "networking.k8s.io/v1", false),
    ("Service", "v1", true),
    ("EndpointSlice", "discovery.k8s.io/v1", true),
    ("Secret", "v1", true),
    ("ConfigMap", "v1", true),
    ("Node", "v1", false),
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

impl Object {
    /// The object of this kind and name that the tree stands for.
    pub(super) fn read(
        id: &ObjectRef,
        node: &tree::Node,
    ) -> (Result<Self, typed::FieldFault>, Vec<typed::FieldFault>) {
        match id.kind {
            "Ingress" => read(id, node, Self::Ingress),
            "IngressClass" => read(id, node, Self::IngressClass),
            "Service" => read(id, node, Self::Service),
            "EndpointSlice" => read(id, node, Self::EndpointSlice),
            "Secret" => {
                let (object, unknown) = read(id, node, Self::Secret);
                (object.map(Self::with_string_data), unknown)
            }
            "ConfigMap" => read(id, node, Self::ConfigMap),
            _ => read(id, node, Self::Node),
        }
    }

    /// Merges `stringData` into `data`, as the API server does.
    fn with_string_data(self) -> Self {
        let Self::Secret(mut secret) = self else { return self };
        let object = Arc::make_mut(&mut secret);
        if let Some(text) = object.string_data.take() {
            let data = object.data.get_or_insert_default();
            data.extend(text.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
        }
        Self::Secret(secret)
    }
}

fn read<T>(
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

/// The stores of these objects. A store in which nothing changed is the one of before.
pub(super) fn stores<'o>(
    objects: impl Iterator<Item = (&'o ObjectRef, &'o Object)>,
    previous: &Stores,
) -> Stores {
    let mut ingresses = Vec::new();
    let mut ingress_classes = Vec::new();
    let mut services = Vec::new();
    let mut endpoint_slices = Vec::new();
    let mut secrets = Vec::new();
    let mut config_maps = Vec::new();
    let mut nodes = Vec::new();
    for (id, object) in objects {
        let key = Key::new(id.namespace.clone(), id.name.clone());
        match object {
            Object::Ingress(object) => ingresses.push((key, Arc::clone(object))),
            Object::IngressClass(object) => ingress_classes.push((key, Arc::clone(object))),
            Object::Service(object) => services.push((key, Arc::clone(object))),
            Object::EndpointSlice(object) => endpoint_slices.push((key, Arc::clone(object))),
            Object::Secret(object) => secrets.push((key, Arc::clone(object))),
            Object::ConfigMap(object) => config_maps.push((key, Arc::clone(object))),
            Object::Node(object) => nodes.push((key, Arc::clone(object))),
        }
    }
    Stores {
        ingresses: store(ingresses, &previous.ingresses),
        ingress_classes: store(ingress_classes, &previous.ingress_classes),
        services: store(services, &previous.services),
        endpoint_slices: store(endpoint_slices, &previous.endpoint_slices),
        secrets: store(secrets, &previous.secrets),
        config_maps: store(config_maps, &previous.config_maps),
        nodes: store(nodes, &previous.nodes),
    }
}

fn store<K>(objects: Vec<(Key, Arc<K>)>, previous: &Store<K>) -> Store<K> {
    let store: Store<K> = objects.into_iter().collect();
    if store.same(previous) { previous.clone() } else { store }
}
