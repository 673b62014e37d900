//! The names that copies of requests go to (`mirror-target`): what is to be resolved, and what is
//! wrong with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    model::{Diagnostic, Host, MirrorHost, ObjectRef, Severity},
    names::{Known, Names},
};

/// The names, and the Ingresses that say so.
#[derive(Clone, Debug, Default)]
pub(super) struct Mirrors(BTreeMap<Arc<str>, BTreeSet<ObjectRef>>);

impl Mirrors {
    pub(super) fn of(hosts: &[Host]) -> Self {
        let mut mirrors = BTreeMap::<_, BTreeSet<_>>::new();
        for route in hosts.iter().flat_map(|host| &host.routes) {
            let mirror = route.policies.as_ref().and_then(|policies| policies.mirror.as_ref());
            if let Some(MirrorHost::Name(name)) = mirror.map(|mirror| &mirror.to) {
                mirrors.entry(Arc::clone(name)).or_default().insert(route.ingress.clone());
            }
        }
        Self(mirrors)
    }

    /// Puts what these hosts say now in the place of what these Ingresses said before.
    pub(super) fn replace(&mut self, is_one: impl Fn(&ObjectRef) -> bool, hosts: &[Host]) {
        self.0.retain(|_, ingresses| {
            ingresses.retain(|ingress| !is_one(ingress));
            !ingresses.is_empty()
        });
        for (name, ingresses) in Self::of(hosts).0 {
            self.0.entry(name).or_default().extend(ingresses);
        }
    }

    /// They are to be resolved.
    pub(super) fn names(&self) -> impl Iterator<Item = Arc<str>> {
        self.0.keys().cloned()
    }

    /// What is wrong with the names.
    pub(super) fn tell(&self, names: &Names, prefix: &str, diagnostics: &mut Vec<Diagnostic>) {
        for (name, ingresses) in &self.0 {
            let message = match names.get(name) {
                Some(Known::Addresses { late: None, .. }) => continue,
                Some(Known::Addresses { late: Some(why), .. }) => {
                    format!("`{name}`: {why}; its last addresses stay")
                }
                Some(Known::Nothing(why)) => format!("`{name}`: {why}; nothing is mirrored"),
                None => format!("`{name}` is not resolved yet"),
            };
            diagnostics.extend(ingresses.iter().map(|ingress| Diagnostic {
                severity: Severity::Warning,
                object: ingress.clone(),
                field: format!("metadata.annotations[{prefix}/mirror-target]"),
                message: message.clone(),
            }));
        }
    }
}
