//! The Kubernetes objects of one moment, by kind. Immutable and cheap to clone; what did not change
//! between two of them is the same allocation, so that `translate` can tell by comparing pointers.

use std::{cmp::Ordering, collections::BTreeMap, fmt, sync::Arc};

use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Node, Secret, Service},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressClass},
};

use crate::model::ObjectRef;

/// The objects of one kind, by namespace and name.
pub struct Store<K> {
    /// Sorted by key, no two equal.
    objects: Arc<[(Key, Arc<K>)]>,
}

/// What an object is known by within its kind. The namespace of a kind that has none is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl Key {
    /// The key of this namespace and name.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl<K> Store<K> {
    /// The object of this namespace and name.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.objects
            .binary_search_by(|(key, _)| (&*key.namespace, &*key.name).cmp(&(namespace, name)))
            .ok()
            .map(|index| &self.objects[index].1)
    }

    /// All objects, by namespace, then name.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<K>)> {
        self.objects.iter().map(|(key, object)| (key, object))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Both hold the very same objects, told by address and therefore without looking into them.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.objects, &other.objects)
            || self.len() == other.len()
                && self
                    .iter()
                    .zip(other.iter())
                    .all(|(one, two)| one.0 == two.0 && Arc::ptr_eq(one.1, two.1))
    }

    /// What is not the very same object in `later`: its key, what it is here and what it is there.
    /// Told by address, in one walk over both.
    pub fn changes<'s>(
        &'s self,
        later: &'s Self,
    ) -> impl Iterator<Item = (&'s Key, Option<&'s Arc<K>>, Option<&'s Arc<K>>)> {
        let same = Arc::ptr_eq(&self.objects, &later.objects);
        let (mut here, mut there) = match same {
            true => ([].iter().peekable(), [].iter().peekable()),
            false => (self.objects.iter().peekable(), later.objects.iter().peekable()),
        };
        std::iter::from_fn(move || {
            loop {
                let order = match (here.peek(), there.peek()) {
                    (None, None) => return None,
                    // One object has one key: most need no look at it.
                    (Some(one), Some(two)) if Arc::ptr_eq(&one.1, &two.1) => Ordering::Equal,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some(one), Some(two)) => one.0.cmp(&two.0),
                };
                let before = if order.is_le() { here.next() } else { None };
                let after = if order.is_ge() { there.next() } else { None };
                match (before, after) {
                    (Some(one), Some(two)) if Arc::ptr_eq(&one.1, &two.1) => {}
                    (Some((key, object)), after) => {
                        return Some((key, Some(object), after.map(|(_, object)| object)));
                    }
                    (None, Some((key, object))) => return Some((key, None, Some(object))),
                    (None, None) => return None,
                }
            }
        })
    }
}

impl<K> Store<K> {
    fn keys(&self) -> Vec<Key> {
        self.objects.iter().map(|(key, _)| key.clone()).collect()
    }

    /// Takes these changes over. Where none is one (what it was is what it is, what is gone was not
    /// there), the store stays the one that it was. However many they are, the list of the objects,
    /// not the objects, is copied once: some microseconds for thousands of them.
    fn apply(&mut self, mut changes: Changed<K>) {
        changes.retain(|key, object| match (self.get(&key.namespace, &key.name), object) {
            (Some(before), Some(after)) => !Arc::ptr_eq(before, after),
            (before, after) => before.is_some() != after.is_some(),
        });
        if changes.is_empty() {
            return;
        }
        let mut objects = Vec::with_capacity(self.len() + changes.len());
        let mut rest = &*self.objects;
        for (key, object) in changes {
            let (before, after) = rest.split_at(rest.partition_point(|(other, _)| *other < key));
            objects.extend_from_slice(before);
            rest = match after.split_first() {
                Some(((other, _), after)) if *other == key => after,
                _ => after,
            };
            objects.extend(object.map(|object| (key, object)));
        }
        objects.extend_from_slice(rest);
        self.objects = objects.into();
    }
}

impl<K> FromIterator<(Key, Arc<K>)> for Store<K> {
    /// Of two objects with one key, the first stays.
    fn from_iter<I: IntoIterator<Item = (Key, Arc<K>)>>(objects: I) -> Self {
        let mut objects: Vec<_> = objects.into_iter().collect();
        objects.sort_by(|one, two| one.0.cmp(&two.0));
        objects.dedup_by(|later, first| later.0 == first.0);
        Self { objects: objects.into() }
    }
}

impl<K> Clone for Store<K> {
    fn clone(&self) -> Self {
        Self { objects: Arc::clone(&self.objects) }
    }
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        Self { objects: Arc::new([]) }
    }
}

impl<K> fmt::Debug for Store<K> {
    /// Names only: Secrets are among the kinds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|(key, _)| key)).finish()
    }
}

/// One store per kind.
#[derive(Clone, Debug, Default)]
pub struct Stores {
    /// `networking.k8s.io/v1`.
    pub ingresses: Store<Ingress>,
    /// `networking.k8s.io/v1`; no namespace.
    pub ingress_classes: Store<IngressClass>,
    /// `v1`.
    pub services: Store<Service>,
    /// `discovery.k8s.io/v1`.
    pub endpoint_slices: Store<EndpointSlice>,
    /// `v1`; `stringData` is merged into `data`.
    pub secrets: Store<Secret>,
    /// `v1`.
    pub config_maps: Store<ConfigMap>,
    /// `v1`; no namespace.
    pub nodes: Store<Node>,
    /// `v1`; no namespace.
    pub namespaces: Store<Namespace>,
    /// IngressClasses may not be read. As with ingress-nginx, `spec.ingressClassName` decides nothing
    /// then.
    pub classes_forbidden: bool,
}

impl Stores {
    /// Takes these changes over. A store in which nothing changed stays the very same.
    pub fn apply(&mut self, changes: Changes) {
        self.ingresses.apply(changes.ingresses);
        self.ingress_classes.apply(changes.ingress_classes);
        self.services.apply(changes.services);
        self.endpoint_slices.apply(changes.endpoint_slices);
        self.secrets.apply(changes.secrets);
        self.config_maps.apply(changes.config_maps);
        self.nodes.apply(changes.nodes);
        self.namespaces.apply(changes.namespaces);
    }

    /// Both hold the very same objects.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.ingresses.same(&other.ingresses)
            && self.ingress_classes.same(&other.ingress_classes)
            && self.services.same(&other.services)
            && self.endpoint_slices.same(&other.endpoint_slices)
            && self.secrets.same(&other.secrets)
            && self.config_maps.same(&other.config_maps)
            && self.nodes.same(&other.nodes)
            && self.namespaces.same(&other.namespaces)
            && self.classes_forbidden == other.classes_forbidden
    }

    /// The object of this kind and name.
    #[must_use]
    pub fn object(&self, id: &ObjectRef) -> Option<Object> {
        let (namespace, name) = (&*id.namespace, &*id.name);
        match id.kind {
            "Ingress" => self.ingresses.get(namespace, name).cloned().map(Object::Ingress),
            "IngressClass" => {
                self.ingress_classes.get(namespace, name).cloned().map(Object::IngressClass)
            }
            "Service" => self.services.get(namespace, name).cloned().map(Object::Service),
            "EndpointSlice" => {
                self.endpoint_slices.get(namespace, name).cloned().map(Object::EndpointSlice)
            }
            "Secret" => self.secrets.get(namespace, name).cloned().map(Object::Secret),
            "ConfigMap" => self.config_maps.get(namespace, name).cloned().map(Object::ConfigMap),
            "Node" => self.nodes.get(namespace, name).cloned().map(Object::Node),
            "Namespace" => self.namespaces.get(namespace, name).cloned().map(Object::Namespace),
            _ => None,
        }
    }

    /// What all objects of a kind are known by.
    pub fn ids(&self, kind: &'static str) -> impl Iterator<Item = ObjectRef> + use<> {
        let keys: Vec<Key> = match kind {
            "Ingress" => self.ingresses.keys(),
            "IngressClass" => self.ingress_classes.keys(),
            "Service" => self.services.keys(),
            "EndpointSlice" => self.endpoint_slices.keys(),
            "Secret" => self.secrets.keys(),
            "ConfigMap" => self.config_maps.keys(),
            "Node" => self.nodes.keys(),
            "Namespace" => self.namespaces.keys(),
            _ => Vec::new(),
        };
        keys.into_iter().map(move |Key { namespace, name }| ObjectRef::new(kind, namespace, name))
    }
}

impl<'o> FromIterator<(&'o ObjectRef, &'o Object)> for Stores {
    /// Of two objects with one name, the first counts.
    fn from_iter<I: IntoIterator<Item = (&'o ObjectRef, &'o Object)>>(objects: I) -> Self {
        let mut changes = Changes::default();
        for (id, object) in objects.into_iter().collect::<Vec<_>>().into_iter().rev() {
            changes.applied(id, object);
        }
        let mut stores = Self::default();
        stores.apply(changes);
        stores
    }
}

/// An object of one of the kinds that are read.
#[derive(Clone, PartialEq)]
pub enum Object {
    /// An Ingress.
    Ingress(Arc<Ingress>),
    /// An IngressClass.
    IngressClass(Arc<IngressClass>),
    /// A Service.
    Service(Arc<Service>),
    /// An EndpointSlice.
    EndpointSlice(Arc<EndpointSlice>),
    /// A Secret.
    Secret(Arc<Secret>),
    /// A ConfigMap.
    ConfigMap(Arc<ConfigMap>),
    /// A Node.
    Node(Arc<Node>),
    /// A Namespace.
    Namespace(Arc<Namespace>),
}

/// What became of objects of one kind; `None`: gone.
type Changed<K> = BTreeMap<Key, Option<Arc<K>>>;

/// What became of objects since some [`Stores`] were what is: any source gathers it object by
/// object, then [`Stores::apply`]s all at once. Of two changes of one object the later counts.
#[derive(Default)]
pub struct Changes {
    ingresses: Changed<Ingress>,
    ingress_classes: Changed<IngressClass>,
    services: Changed<Service>,
    endpoint_slices: Changed<EndpointSlice>,
    secrets: Changed<Secret>,
    config_maps: Changed<ConfigMap>,
    nodes: Changed<Node>,
    namespaces: Changed<Namespace>,
}

impl Changes {
    /// The object of this name is this now, whether it is new or not.
    pub fn applied(&mut self, id: &ObjectRef, object: &Object) {
        self.set(id, object, true);
    }

    /// The object of this name is gone; `object` is what it was last.
    pub fn deleted(&mut self, id: &ObjectRef, object: &Object) {
        self.set(id, object, false);
    }

    fn set(&mut self, id: &ObjectRef, object: &Object, there: bool) {
        fn insert<K>(changed: &mut Changed<K>, id: &ObjectRef, object: &Arc<K>, there: bool) {
            let key = Key::new(Arc::clone(&id.namespace), Arc::clone(&id.name));
            changed.insert(key, there.then(|| Arc::clone(object)));
        }
        match object {
            Object::Ingress(object) => insert(&mut self.ingresses, id, object, there),
            Object::IngressClass(object) => insert(&mut self.ingress_classes, id, object, there),
            Object::Service(object) => insert(&mut self.services, id, object, there),
            Object::EndpointSlice(object) => insert(&mut self.endpoint_slices, id, object, there),
            Object::Secret(object) => insert(&mut self.secrets, id, object, there),
            Object::ConfigMap(object) => insert(&mut self.config_maps, id, object, there),
            Object::Node(object) => insert(&mut self.nodes, id, object, there),
            Object::Namespace(object) => insert(&mut self.namespaces, id, object, there),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> (ObjectRef, Object) {
        (ObjectRef::new("Node", "", name), Object::Node(Arc::default()))
    }

    fn names(stores: &Stores) -> Vec<&str> {
        stores.nodes.iter().map(|(key, _)| &*key.name).collect()
    }

    /// The stores after `names` came, in this order.
    fn with(stores: &Stores, names: &[&str]) -> Stores {
        let mut changes = Changes::default();
        for (id, object) in names.iter().map(|name| node(name)) {
            changes.applied(&id, &object);
        }
        let mut stores = stores.clone();
        stores.apply(changes);
        stores
    }

    #[test]
    fn objects_come_and_go_in_the_order_of_their_names() {
        let mut stores = with(&Stores::default(), &["c", "a", "e"]);
        assert_eq!(names(&stores), ["a", "c", "e"]);
        let mut changes = Changes::default();
        for (there, name) in [(true, "b"), (false, "e"), (true, "f"), (false, "a")] {
            let (id, object) = node(name);
            changes.set(&id, &object, there);
        }
        stores.apply(changes);
        assert_eq!(names(&stores), ["b", "c", "f"]);
        assert!(stores.nodes.get("", "c").is_some() && stores.nodes.get("", "a").is_none());
    }

    #[test]
    fn what_did_not_change_is_the_same_allocation() {
        let before = with(&Stores::default(), &["a", "b", "c"]);
        let after = with(&before, &["b"]);
        assert!(!after.nodes.same(&before.nodes));
        let changed: Vec<_> =
            before.nodes.changes(&after.nodes).map(|(key, ..)| &*key.name).collect();
        assert_eq!(changed, ["b"]);
        assert!(Arc::ptr_eq(&after.secrets.objects, &before.secrets.objects));
    }

    #[test]
    fn a_change_that_is_none_leaves_the_store_as_it_was() {
        let before = with(&Stores::default(), &["a", "b"]);
        let mut changes = Changes::default();
        let same = before.nodes.get("", "a").expect("it came");
        changes.applied(&node("a").0, &Object::Node(Arc::clone(same)));
        let (id, object) = node("x");
        changes.deleted(&id, &object);
        let mut after = before.clone();
        after.apply(changes);
        assert!(Arc::ptr_eq(&after.nodes.objects, &before.nodes.objects));
    }

    #[test]
    fn of_two_changes_of_one_object_the_later_counts() {
        let (id, object) = node("a");
        let mut changes = Changes::default();
        changes.applied(&id, &object);
        changes.deleted(&id, &object);
        let mut stores = Stores::default();
        stores.apply(changes);
        assert!(stores.nodes.is_empty());
    }
}
