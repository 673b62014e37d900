//! The backends that routes lead to: what the Ingresses ask for each (reference section 3.5), and
//! which endpoints it has at the moment (section 5.6).

mod endpoints;
mod external;
mod named;
mod resolved;
mod slices;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use self::named::{Named, Purpose, User};
pub(super) use self::{
    endpoints::{Found, World, find, first_port},
    named::Slashed,
    resolved::{Resolved, names},
    slices::Slices,
};
use super::annotations::Balances;
use crate::{
    model::{BackendId, BackendKey, Canary, Diagnostic, ObjectRef},
    stores::Key,
};

/// The backends that routes lead to, and where in which Ingress each is named first. Each keeps its
/// id for as long as somebody names it.
#[derive(Clone, Debug, Default)]
pub(super) struct Backends {
    named: Vec<Named>,
    ids: HashMap<BackendKey, BackendId>,
    /// Places that nobody names; given to the next that is named first.
    free: Vec<BackendId>,
    /// Those that something became of since all was settled.
    touched: Vec<BackendId>,
}

impl Backends {
    /// The id of this backend, which a path of an Ingress leads to, named in this place. What the
    /// Ingress asks for comes with when it was created; nothing: it is the global default backend.
    pub(super) fn id(
        &mut self,
        key: BackendKey,
        ingress: &ObjectRef,
        field: &str,
        asks: Option<(Option<Time>, Arc<Balances>)>,
    ) -> BackendId {
        self.enter(key, Purpose::Path, ingress, field, asks)
    }

    /// The id of this backend, which an Ingress asks for pages of errors only: it asks for nothing
    /// of its balancing, and without endpoints it is not asked.
    pub(super) fn aside(&mut self, key: BackendKey, ingress: &ObjectRef) -> BackendId {
        self.enter(key, Purpose::Errors, ingress, "", None)
    }

    /// The id of this backend, which an Ingress names in this place as the one that is asked
    /// whether requests may pass.
    pub(super) fn id_of_judge(
        &mut self,
        key: BackendKey,
        ingress: &ObjectRef,
        field: &str,
    ) -> BackendId {
        self.enter(key, Purpose::Judge, ingress, field, None)
    }

    fn enter(
        &mut self,
        key: BackendKey,
        purpose: Purpose,
        ingress: &ObjectRef,
        field: &str,
        asks: Option<(Option<Time>, Arc<Balances>)>,
    ) -> BackendId {
        let id = match self.ids.get(&key) {
            Some(id) => *id,
            None => {
                let named = Named::new(key.clone());
                let id = match self.free.pop() {
                    Some(id) => {
                        self.named[id.0 as usize] = named;
                        id
                    }
                    None => {
                        self.named.push(named);
                        let last = self.named.len() - 1;
                        BackendId(u32::try_from(last).expect("paths are fewer than 2^32"))
                    }
                };
                self.ids.insert(key, id);
                id
            }
        };
        let named = self.touch(id);
        if !named.has(purpose, ingress) {
            named.add(User { purpose, ingress: ingress.clone(), field: field.into(), asks });
        }
        id
    }

    fn touch(&mut self, id: BackendId) -> &mut Named {
        let named = &mut self.named[id.0 as usize];
        if !std::mem::replace(&mut named.touched, true) {
            self.touched.push(id);
        }
        named
    }

    /// The Ingress of the canary of this backend, and the backend that it leads to.
    pub(super) fn canary(&self, main: BackendId) -> Option<(&ObjectRef, &BackendKey)> {
        let canary = self.named.get(main.0 as usize)?.canary.as_ref()?;
        Some((&canary.ingress, self.key(canary.backend)?))
    }

    /// Gives a backend its canary, which leads to `key` and is named in this place by an Ingress
    /// created then. What it asks for counts where no ordinary Ingress names that backend.
    pub(super) fn set_canary(
        &mut self,
        main: BackendId,
        key: BackendKey,
        ingress: &ObjectRef,
        field: &str,
        asks: (Option<Time>, Arc<Balances>),
        canary: impl FnOnce(BackendId) -> Canary,
    ) {
        let id = self.enter(key, Purpose::Canary, ingress, field, Some(asks));
        self.touch(main).canary = Some(Arc::new(canary(id)));
    }

    /// What a backend is known by.
    pub(super) fn key(&self, id: BackendId) -> Option<&BackendKey> {
        self.named.get(id.0 as usize).map(|named| &named.key)
    }

    /// The Ingresses with paths that lead to this backend.
    pub(super) fn with_paths_to(&self, key: &BackendKey) -> impl Iterator<Item = &ObjectRef> {
        let named = self.ids.get(key).and_then(|id| self.named.get(id.0 as usize));
        let users = named.into_iter().flat_map(|named| &named.users);
        users.filter(|user| user.purpose == Purpose::Path).map(|user| &user.ingress)
    }

    /// Forgets what these Ingresses say, and what is said by none. They may be added again.
    pub(super) fn forget(&mut self, is_one: impl Fn(&ObjectRef) -> bool) {
        let is_one = |object: &ObjectRef| object.kind != "Ingress" || is_one(object);
        for at in 0..self.named.len() {
            let named = &mut self.named[at];
            let before = named.users.len();
            named.users.retain(|user| !is_one(&user.ingress));
            let own = named.canary.take_if(|canary| is_one(&canary.ingress));
            if own.is_some() || named.users.len() != before {
                self.touch(BackendId(u32::try_from(at).expect("ids are of 32 bits")));
            }
        }
    }

    /// All was said: frees the places of what nobody names any more. Returns those that something
    /// became of.
    pub(super) fn settle(&mut self) -> Vec<BackendId> {
        let touched = std::mem::take(&mut self.touched);
        for id in &touched {
            let named = &mut self.named[id.0 as usize];
            named.touched = false;
            named.sort();
            if named.users.is_empty() && self.ids.remove(&named.key).is_some() {
                *named = Named::new(BackendKey::nobody());
                self.free.push(*id);
            }
        }
        touched
    }

    /// So many places are nobody's that it is time for new ids.
    pub(super) fn is_sparse(&self) -> bool {
        self.free.len() > 64 + self.named.len() / 4
    }

    /// All backends as they are now. What did not change is the same allocation as in `previous`,
    /// which may be of other Ingresses.
    pub(super) fn resolve(&self, world: &World<'_>, previous: &[Resolved]) -> Vec<Resolved> {
        let previous: HashMap<_, _> =
            previous.iter().map(|resolved| (&resolved.backend.key, resolved)).collect();
        let before = |named: &Named| previous.get(&named.key).copied();
        self.named.iter().map(|named| named.resolve(before(named), false, world)).collect()
    }

    /// Looks again at those that something became of, whose Service is among `services` or whose name
    /// among `names`; `resolved` is of these same backends.
    pub(super) fn resolve_again(
        &self,
        world: &World<'_>,
        touched: &[BackendId],
        services: &HashSet<Key>,
        names: &HashSet<Arc<str>>,
        resolved: &mut Vec<Resolved>,
    ) {
        resolved.resize_with(self.named.len(), Resolved::default);
        for id in touched {
            let at = id.0 as usize;
            resolved[at] = self.named[at].resolve(Some(&resolved[at]), false, world);
        }
        if services.is_empty() && names.is_empty() {
            return;
        }
        for (named, resolved) in self.named.iter().zip(resolved) {
            let key = &named.key;
            let is_named = resolved.found.name.as_ref().is_some_and(|name| names.contains(name));
            let service = || Key::new(Arc::clone(&key.namespace), Arc::clone(&key.service));
            if is_named || !services.is_empty() && services.contains(&service()) {
                *resolved = named.resolve(Some(resolved), true, world);
            }
        }
    }

    /// What is wrong with the endpoints, told to each Ingress that names them.
    pub(super) fn tell(&self, resolved: &[Resolved], diagnostics: &mut Vec<Diagnostic>) {
        for (named, resolved) in self.named.iter().zip(resolved) {
            if let Some((severity, why)) = &resolved.found.fault {
                named.tell(*severity, why, diagnostics);
            }
        }
    }
}
