//! The Kubernetes objects of one moment, by kind. Immutable and cheap to clone; what did not change
//! between two of them is the same allocation, so that `translate` can tell by comparing pointers.

use std::{cmp::Ordering, fmt, sync::Arc};

use k8s_openapi::api::{
    core::v1::{ConfigMap, Node, Secret, Service},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressClass},
};

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
}
