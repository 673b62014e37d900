//! How much of an Ingress each client has had (reference section 1.5): shared by all workers, as
//! NGINX's zones are by its processes, so that a limit holds for the process and not for each
//! thread. What is counted is kept by Ingress, beyond changes of the snapshot.
//!
//! Locks are held for one lookup. Clients are spread over many of them, so that two workers hardly
//! ever want the same one, and requests to Ingresses without limits never come here.

mod buckets;
mod slots;
mod zones;

#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

pub(crate) use self::zones::{Rejected, Slot, Zones};
use crate::model::{Model, ObjectRef, Policies};

/// The zones of all Ingresses.
#[derive(Debug)]
pub(crate) struct Registry {
    start: Instant,
    zones: Mutex<HashMap<ObjectRef, Arc<Zones>>>,
}

impl Registry {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), zones: Mutex::default() })
    }

    /// Those of this Ingress; new ones if it has none.
    fn of(&self, ingress: &ObjectRef) -> Arc<Zones> {
        let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        match zones.get(ingress) {
            Some(known) => Arc::clone(known),
            None => Arc::clone(zones.entry(ingress.clone()).or_default()),
        }
    }

    /// Forgets Ingresses that limit nothing any more.
    pub(crate) fn prune(&self, model: &Model) {
        let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        if zones.is_empty() {
            return;
        }
        let mut gone = std::mem::take(&mut *zones);
        for route in model.hosts.iter().flat_map(|host| &host.routes) {
            let limits = route.policies.as_ref().is_some_and(|policies| policies.limits.is_some());
            if limits && let Some((ingress, known)) = gone.remove_entry(&route.ingress) {
                zones.insert(ingress, known);
            }
        }
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A worker's way to the zones: takes the lock of all only for an Ingress that it has not seen since
/// the snapshot changed.
#[derive(Debug)]
pub(crate) struct Access {
    registry: Arc<Registry>,
    /// By address of the policies in the current snapshot.
    known: RefCell<HashMap<usize, Arc<Zones>>>,
}

impl Access {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self { registry, known: RefCell::default() }
    }

    /// The zones of the Ingress whose policies these are.
    pub(crate) fn zones(&self, ingress: &ObjectRef, policies: &Arc<Policies>) -> Arc<Zones> {
        let mut known = self.known.borrow_mut();
        let zones =
            known.entry(Arc::as_ptr(policies).addr()).or_insert_with(|| self.registry.of(ingress));
        Arc::clone(zones)
    }

    /// The snapshot changed: what was known by address is not any more.
    pub(crate) fn forget(&self) {
        self.known.borrow_mut().clear();
    }

    /// The clock of all workers. Milliseconds.
    pub(crate) fn now(&self) -> u64 {
        // Far from zero: a bucket that was never used is one that was used an hour ago.
        const ORIGIN: u64 = 3_600_000;
        let elapsed = self.registry.start.elapsed().as_millis();
        u64::try_from(elapsed).unwrap_or(u64::MAX / 2) + ORIGIN
    }
}
