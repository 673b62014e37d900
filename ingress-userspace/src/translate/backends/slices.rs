use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::{
    model::BackendKey,
    stores::{Key, Store, Stores},
};

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The EndpointSlices by the Service that they are labelled with. By the label alone: ingress-nginx
/// also asks for the slice's name to begin like the Service's, a defect (reference section 5.6).
#[derive(Debug, Default)]
pub(in crate::translate) struct Slices {
    all: Store<EndpointSlice>,
    by_service: HashMap<Key, Vec<Arc<EndpointSlice>>>,
}

impl Slices {
    /// Takes over the slices as they are now, and adds the Services of those that changed.
    pub(in crate::translate) fn update(&mut self, stores: &Stores, changed: &mut HashSet<Key>) {
        for (key, before, after) in self.all.changes(&stores.endpoint_slices) {
            if let Some((before, service)) = before.and_then(|slice| labelled(key, slice)) {
                if let Some(slices) = self.by_service.get_mut(&service) {
                    slices.retain(|slice| !Arc::ptr_eq(slice, before));
                    if slices.is_empty() {
                        self.by_service.remove(&service);
                    }
                }
                changed.insert(service);
            }
            if let Some((after, service)) = after.and_then(|slice| labelled(key, slice)) {
                self.by_service.entry(service.clone()).or_default().push(Arc::clone(after));
                changed.insert(service);
            }
        }
        self.all = stores.endpoint_slices.clone();
    }

    /// The slices of a backend's Service, in no particular order.
    pub(super) fn of(&self, key: &BackendKey) -> &[Arc<EndpointSlice>] {
        let service = Key::new(Arc::clone(&key.namespace), Arc::clone(&key.service));
        self.by_service.get(&service).map_or(&[], Vec::as_slice)
    }
}

fn labelled<'s>(key: &Key, slice: &'s Arc<EndpointSlice>) -> Option<(&'s Arc<EndpointSlice>, Key)> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some((slice, Key::new(Arc::clone(&key.namespace), service.as_str())))
}
