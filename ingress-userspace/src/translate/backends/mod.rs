//! The backends that routes lead to: what the Ingresses ask for each (reference section 3.5), and
//! which endpoints it has at the moment (section 5.6).

mod endpoints;
mod external;
mod slices;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

pub(super) use self::{
    endpoints::{Found, World, find, first_port},
    slices::Slices,
};
use super::annotations::Balances;
use crate::{
    model::{
        Affinity, AffinityMode, Backend, BackendId, BackendKey, Balancing, Canary, Diagnostic,
        ObjectRef, Policy, SessionCookie, Severity, Transport,
    },
    stores::Key,
};

/// The backends that routes lead to, and where in which Ingress each is named first.
#[derive(Clone, Debug, Default)]
pub(super) struct Backends {
    named: Vec<Named>,
    ids: HashMap<BackendKey, BackendId>,
}

#[derive(Clone, Debug)]
struct Named {
    key: BackendKey,
    /// Who to tell what is wrong with it: the first place of every Ingress.
    places: BTreeMap<ObjectRef, String>,
    /// Likewise, where it is named as the one that is asked whether requests may pass.
    judges: BTreeMap<ObjectRef, String>,
    /// Likewise, of canaries that lead to it.
    canary_places: BTreeMap<ObjectRef, String>,
    asked: Asked,
    /// Its own canary.
    canary: Option<Arc<Canary>>,
}

/// What the Ingresses that name a backend ask for.
#[derive(Clone, Debug, Default)]
struct Asked {
    /// The oldest one's.
    policy: Option<(Policy, bool)>,
    /// The oldest one's that has any.
    mode: Option<AffinityMode>,
    /// The youngest one's that has any.
    cookie: Option<SessionCookie>,
}

impl Asked {
    fn add(&mut self, balances: &Balances) {
        self.policy.get_or_insert_with(|| (balances.policy.clone(), balances.service_upstream));
        self.mode = self.mode.or(balances.mode);
        if balances.cookie.is_some() {
            self.cookie.clone_from(&balances.cookie);
        }
    }

    fn balancing(&self, canary: Option<&Arc<Canary>>) -> Balancing {
        let affinity = self.cookie.clone();
        Balancing {
            policy: self.policy.as_ref().map(|(policy, _)| policy.clone()).unwrap_or_default(),
            affinity: affinity
                .map(|cookie| Affinity { mode: self.mode.unwrap_or_default(), cookie }),
            canary: canary.cloned(),
        }
    }
}

impl Backends {
    /// The id of this backend, which is named in this place by an Ingress that asks for this; the
    /// next Ingress must be younger. `None`: the global default backend, which asks for nothing.
    pub(super) fn id(
        &mut self,
        key: BackendKey,
        object: &ObjectRef,
        field: &str,
        balances: Option<&Balances>,
    ) -> BackendId {
        let id = self.enter(key);
        let named = &mut self.named[id.0 as usize];
        named.places.entry(object.clone()).or_insert_with(|| field.to_owned());
        if let Some(balances) = balances {
            named.asked.add(balances);
        }
        id
    }

    /// The id of this backend, which an Ingress asks for pages of errors only: it asks for nothing
    /// of its balancing, and without endpoints it is not asked.
    pub(super) fn aside(&mut self, key: BackendKey) -> BackendId {
        self.enter(key)
    }

    /// The id of this backend, which an Ingress names in this place as the one that is asked
    /// whether requests may pass.
    pub(super) fn id_of_judge(
        &mut self,
        key: BackendKey,
        object: &ObjectRef,
        field: &str,
    ) -> BackendId {
        let id = self.enter(key);
        let judges = &mut self.named[id.0 as usize].judges;
        judges.entry(object.clone()).or_insert_with(|| field.to_owned());
        id
    }

    fn enter(&mut self, key: BackendKey) -> BackendId {
        let next = BackendId(u32::try_from(self.named.len()).expect("paths are fewer than 2^32"));
        *self.ids.entry(key).or_insert_with_key(|key| {
            let (places, judges, canary_places, asked) = Default::default();
            let key = key.clone();
            self.named.push(Named { key, places, judges, canary_places, asked, canary: None });
            next
        })
    }

    /// The Ingress of the canary of this backend, and the backend that it leads to.
    pub(super) fn canary(&self, main: BackendId) -> Option<(&ObjectRef, &BackendKey)> {
        let canary = self.named.get(main.0 as usize)?.canary.as_ref()?;
        Some((&canary.ingress, self.key(canary.backend)?))
    }

    /// Gives a backend its canary, which leads to `key` and is named in this place. What it asks
    /// for counts where no ordinary Ingress names that backend; older canaries come first.
    pub(super) fn set_canary(
        &mut self,
        main: BackendId,
        key: BackendKey,
        field: &str,
        balances: &Balances,
        canary: impl FnOnce(BackendId) -> Canary,
    ) {
        let id = self.enter(key);
        let canary = canary(id);
        let named = &mut self.named[id.0 as usize];
        named.canary_places.entry(canary.ingress.clone()).or_insert_with(|| field.to_owned());
        named.asked.add(balances);
        self.named[main.0 as usize].canary = Some(Arc::new(canary));
    }

    /// What a backend is known by.
    pub(super) fn key(&self, id: BackendId) -> Option<&BackendKey> {
        self.named.get(id.0 as usize).map(|named| &named.key)
    }

    /// All backends as they are now. What did not change is the same allocation as in `previous`,
    /// which may be of other Ingresses.
    pub(super) fn resolve(&self, world: &World<'_>, previous: &[Resolved]) -> Vec<Resolved> {
        let previous: HashMap<_, _> =
            previous.iter().map(|resolved| (&resolved.backend.key, resolved)).collect();
        let resolve = |named: &Named| {
            let before = previous.get(&named.key).copied();
            let balancing = named.asked.balancing(named.canary.as_ref());
            let balancing = match before {
                Some(before) if *before.backend.balancing == balancing => {
                    Arc::clone(&before.backend.balancing)
                }
                _ => Arc::new(balancing),
            };
            named.resolve(balancing, before, world)
        };
        self.named.iter().map(resolve).collect()
    }

    /// Looks again at those backends whose Service is among `services` or whose name among `names`;
    /// `resolved` is of these same backends.
    pub(super) fn resolve_again(
        &self,
        world: &World<'_>,
        services: &HashSet<Key>,
        names: &HashSet<Arc<str>>,
        resolved: &mut [Resolved],
    ) {
        for (named, resolved) in self.named.iter().zip(resolved) {
            let key = &named.key;
            let is_named = resolved.found.name.as_ref().is_some_and(|name| names.contains(name));
            let service = || Key::new(Arc::clone(&key.namespace), Arc::clone(&key.service));
            if is_named || !services.is_empty() && services.contains(&service()) {
                let balancing = Arc::clone(&resolved.backend.balancing);
                *resolved = named.resolve(balancing, Some(resolved), world);
            }
        }
    }

    /// What is wrong with the endpoints, told to each Ingress that names them.
    pub(super) fn tell(&self, resolved: &[Resolved], diagnostics: &mut Vec<Diagnostic>) {
        for (named, resolved) in self.named.iter().zip(resolved) {
            let Some((severity, why)) = &resolved.found.fault else { continue };
            for (places, consequence) in [
                (&named.places, "the answer is 503"),
                (&named.canary_places, "the main Service gets the traffic"),
            ] {
                let message = match severity {
                    Severity::Warning => why.clone(),
                    Severity::Error => format!("{why}; {consequence}"),
                };
                diagnostics.extend(places.iter().map(|(object, field)| Diagnostic {
                    severity: *severity,
                    object: object.clone(),
                    field: field.clone(),
                    message: message.clone(),
                }));
            }
            diagnostics.extend(named.judges.iter().map(|(object, field)| Diagnostic {
                severity: Severity::Warning,
                object: object.clone(),
                field: field.clone(),
                message: match severity {
                    Severity::Warning => why.clone(),
                    Severity::Error => format!("{why}; its name is looked up in the DNS"),
                },
            }));
        }
    }
}

impl Named {
    fn resolve(
        &self,
        balancing: Arc<Balancing>,
        before: Option<&Resolved>,
        world: &World<'_>,
    ) -> Resolved {
        let service_upstream = self.asked.policy.as_ref().is_some_and(|(_, upstream)| *upstream);
        let mut found = find(&self.key, Transport::Tcp, service_upstream, world);
        let endpoints = std::mem::take(&mut found.endpoints);
        let is_name = found.name.is_some();
        let backend = Backend { key: self.key.clone(), endpoints, is_name, balancing };
        let backend = match before {
            Some(before) if *before.backend == backend => Arc::clone(&before.backend),
            _ => Arc::new(backend),
        };
        Resolved { backend, found }
    }
}

/// A backend with its endpoints.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub(super) backend: Arc<Backend>,
    /// What else was found; the endpoints are in the backend.
    found: Found,
}

/// The names that backends stand for.
pub(super) fn names(resolved: &[Resolved]) -> BTreeSet<Arc<str>> {
    resolved.iter().filter_map(|resolved| resolved.found.name.clone()).collect()
}
