//! The kinds that are asked for: where they are, what of them is kept.

use std::{marker::PhantomData, sync::Arc};

use k8s_openapi::{
    Metadata,
    api::{
        core::v1::{ConfigMap, Namespace, Node, NodeStatus, Secret, Service},
        discovery::v1::EndpointSlice,
        networking::v1::{Ingress, IngressClass},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    model::ObjectRef,
    stores::{Key, Object},
};

/// What kubectl writes of an object into the object: all of it once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// An object of one kind as the API server tells it.
pub(super) trait Kind: DeserializeOwned + Send + 'static {
    /// As people know it.
    const NAME: &'static str;
    /// The API group and the plural, as RBAC rules have them.
    const RULE: (&'static str, &'static str);
    /// Only names and versions are asked for.
    const METADATA_ONLY: bool = false;

    /// The path of all objects, or of those of a namespace.
    fn path(namespace: Option<&str>) -> String;

    fn metadata(&self) -> Names<'_>;

    /// What is kept of it.
    fn kept(self) -> Kept;
}

/// What an object is known by.
pub(super) struct Names<'o> {
    pub(super) namespace: Option<&'o str>,
    pub(super) name: Option<&'o str>,
    pub(super) version: Option<&'o str>,
}

/// What is kept of an object.
#[derive(Clone)]
pub(super) enum Kept {
    /// What of it is read.
    Object(Object),
    /// That it is there.
    Name,
}

/// An object, or why it cannot be read.
pub(super) struct Decoded {
    pub(super) id: ObjectRef,
    /// Changes with every change of the object.
    pub(super) version: Option<Arc<str>>,
    pub(super) kept: Result<Kept, String>,
}

impl Decoded {
    /// `None`: it has no name.
    pub(super) fn of<K: Kind>(object: K) -> Option<Self> {
        let names = object.metadata();
        let id = id::<K>(names.namespace, names.name)?;
        let version = names.version.map(Arc::from);
        Some(Self { id, version, kept: Ok(object.kept()) })
    }

    /// One that is not as its kind should be. `None`: not even a name can be told.
    pub(super) fn of_broken<K: Kind>(value: &serde_json::Value, why: &str) -> Option<Self> {
        let text = |key: &str| value.get("metadata")?.get(key)?.as_str();
        let id = id::<K>(text("namespace"), text("name"))?;
        let version = text("resourceVersion").map(Arc::from);
        // The decoder quotes what it does not like.
        let why = if K::NAME == "Secret" { "" } else { why };
        Some(Self { id, version, kept: Err(why.to_owned()) })
    }
}

fn id<K: Kind>(namespace: Option<&str>, name: Option<&str>) -> Option<ObjectRef> {
    let name = name.filter(|name| !name.is_empty())?;
    Some(ObjectRef::new(K::NAME, namespace.unwrap_or_default(), name))
}

macro_rules! kinds {
    ($($kind:ident, $group:literal, $plural:literal, $trim:path;)*) => { $(
        impl Kind for $kind {
            const NAME: &'static str = stringify!($kind);
            const RULE: (&'static str, &'static str) = ($group, $plural);

            fn path(namespace: Option<&str>) -> String {
                <$kind as kube::Resource>::url_path(&(), namespace)
            }

            fn metadata(&self) -> Names<'_> {
                let metadata = Metadata::metadata(self);
                Names {
                    namespace: metadata.namespace.as_deref(),
                    name: metadata.name.as_deref(),
                    version: metadata.resource_version.as_deref(),
                }
            }

            fn kept(mut self) -> Kept {
                $trim(&mut self);
                Kept::Object(Object::$kind(Arc::new(self)))
            }
        }
    )* };
}

kinds! {
    Ingress, "networking.k8s.io", "ingresses", ingress;
    IngressClass, "networking.k8s.io", "ingressclasses", ingress_class;
    Service, "", "services", service;
    EndpointSlice, "discovery.k8s.io", "endpointslices", endpoint_slice;
    Secret, "", "secrets", secret;
    ConfigMap, "", "configmaps", config_map;
    Node, "", "nodes", node;
    Namespace, "", "namespaces", namespace;
}

/// The name and version of an object, and nothing else of it.
#[derive(Deserialize)]
#[serde(bound = "")]
pub(super) struct Mark<K> {
    #[serde(default)]
    metadata: MarkMetadata,
    #[serde(skip)]
    _of: PhantomData<fn() -> K>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MarkMetadata {
    namespace: Option<String>,
    name: Option<String>,
    resource_version: Option<String>,
}

impl<K: Kind> Kind for Mark<K> {
    const NAME: &'static str = K::NAME;
    const RULE: (&'static str, &'static str) = K::RULE;
    const METADATA_ONLY: bool = true;

    fn path(namespace: Option<&str>) -> String {
        K::path(namespace)
    }

    fn metadata(&self) -> Names<'_> {
        Names {
            namespace: self.metadata.namespace.as_deref(),
            name: self.metadata.name.as_deref(),
            version: self.metadata.resource_version.as_deref(),
        }
    }

    fn kept(self) -> Kept {
        Kept::Name
    }
}

/// Leaves of an object's metadata what is read: its names, age and annotations. The version would make
/// a change of what nobody reads look like one.
fn metadata(metadata: &mut ObjectMeta) {
    let ObjectMeta { namespace, name, uid, creation_timestamp, deletion_timestamp, .. } =
        std::mem::take(metadata);
    *metadata = ObjectMeta {
        namespace,
        name,
        uid,
        creation_timestamp,
        deletion_timestamp,
        ..ObjectMeta::default()
    };
}

fn annotated(of: &mut ObjectMeta) {
    let annotations = of.annotations.take();
    metadata(of);
    of.annotations = annotations.filter(|all| !all.is_empty()).map(|mut all| {
        all.remove(LAST_APPLIED);
        all
    });
}

fn labelled(of: &mut ObjectMeta) {
    let labels = of.labels.take();
    metadata(of);
    of.labels = labels;
}

/// With its version, for whoever writes its status. Lists are read into room for more than they have;
/// of thousands of objects that is a good part.
fn ingress(ingress: &mut Ingress) {
    let version = ingress.metadata.resource_version.take();
    annotated(&mut ingress.metadata);
    ingress.metadata.resource_version = version;
    let rules = ingress.spec.as_mut().and_then(|spec| spec.rules.as_mut());
    if let Some(rules) = rules {
        rules.shrink_to_fit();
        for http in rules.iter_mut().filter_map(|rule| rule.http.as_mut()) {
            http.paths.shrink_to_fit();
        }
    }
}

fn ingress_class(class: &mut IngressClass) {
    annotated(&mut class.metadata);
}

fn service(service: &mut Service) {
    let version = service.metadata.resource_version.take();
    annotated(&mut service.metadata);
    service.metadata.resource_version = version;
}

fn endpoint_slice(slice: &mut EndpointSlice) {
    labelled(&mut slice.metadata);
    if let Some(labels) = &mut slice.metadata.labels {
        labels.retain(|key, _| key == SERVICE_NAME);
    }
    slice.endpoints.iter_mut().for_each(Vec::shrink_to_fit);
    for endpoint in slice.endpoints.iter_mut().flatten() {
        endpoint.addresses.shrink_to_fit();
        if let Some(target) = &mut endpoint.target_ref {
            target.api_version = None;
            target.field_path = None;
            target.resource_version = None;
            target.uid = None;
        }
    }
}

fn secret(secret: &mut Secret) {
    metadata(&mut secret.metadata);
}

fn config_map(map: &mut ConfigMap) {
    metadata(&mut map.metadata);
    map.binary_data = None;
}

/// Without what a kubelet reports every few minutes.
fn node(node: &mut Node) {
    labelled(&mut node.metadata);
    node.spec = None;
    if let Some(status) = node.status.take() {
        let mut conditions = status.conditions;
        for conditions in conditions.iter_mut() {
            conditions.retain(|condition| condition.type_ == "Ready");
            for condition in conditions {
                condition.last_heartbeat_time = None;
                condition.last_transition_time = None;
                condition.message = None;
                condition.reason = None;
            }
        }
        node.status =
            Some(NodeStatus { addresses: status.addresses, conditions, ..NodeStatus::default() });
    }
}

fn namespace(namespace: &mut Namespace) {
    labelled(&mut namespace.metadata);
    namespace.spec = None;
    namespace.status = None;
}

/// The key of an object in its store.
pub(super) fn store_key(id: &ObjectRef) -> Key {
    Key::new(Arc::clone(&id.namespace), Arc::clone(&id.name))
}
