//! What Ingresses have to do with each other by, so that of a change only that much is translated again
//! as it can touch.
//!
//! Two Ingresses belong together if they name one host, also as an alias or as the host that redirects;
//! a wildcard host decides about TLS of those beneath; canaries belong to all Ingresses whose paths
//! lead to the Service that they take requests from. Naming too much together costs time and is never
//! wrong.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use k8s_openapi::api::networking::v1::Ingress;

use super::{
    annotations::{AliasRequest, alias_names},
    backends::Backends,
    references::{Reference, of_ingress},
    rule::{backend_key, host_name},
};
use crate::{
    model::{BackendKey, HostName},
    stores::{Key, Store},
};

/// Which Ingresses name what.
#[derive(Debug, Default)]
pub(super) struct Footprints {
    keys: Naming,
    /// By a name as [`text`] writes it.
    by_name: HashMap<Arc<str>, Vec<Key>>,
    by_reference: HashMap<Reference, Vec<Key>>,
}

/// Which hosts Ingresses have to do with: more than their rules name, by annotations.
#[derive(Debug, Default)]
pub(crate) struct Naming {
    prefix: String,
    alias: String,
    www: String,
    canary: String,
}

/// A part of the Ingresses that has nothing to do with the rest.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Those that belong to it now or did before.
    pub(super) ingresses: BTreeSet<Key>,
    /// All names of theirs, now and before.
    pub(super) names: BTreeSet<Arc<str>>,
}

/// A name as it is written; the catch-all is empty.
fn text(name: &HostName) -> Arc<str> {
    match name {
        HostName::Exact(name) => Arc::clone(name),
        HostName::Wildcard(suffix) => format!("*.{suffix}").into(),
        HostName::CatchAll => "".into(),
    }
}

impl Footprints {
    /// Those of all Ingresses, whose annotations have this prefix.
    pub(super) fn of(prefix: &str, ingresses: &Store<Ingress>) -> Self {
        let mut footprints = Self { keys: Naming::new(prefix), ..Self::default() };
        for (key, ingress) in ingresses.iter() {
            footprints.add(key, ingress);
        }
        footprints
    }

    fn add(&mut self, key: &Key, ingress: &Ingress) {
        fn insert(keys: &mut Vec<Key>, key: &Key) {
            if let Err(at) = keys.binary_search(key) {
                keys.reserve_exact(usize::from(keys.is_empty()));
                keys.insert(at, key.clone());
            }
        }
        for name in self.keys.names(ingress) {
            insert(self.by_name.entry(name).or_default(), key);
        }
        for reference in of_ingress(key, ingress, &self.keys.prefix, true) {
            insert(self.by_reference.entry(reference).or_default(), key);
        }
    }

    fn remove(&mut self, key: &Key, ingress: &Ingress) {
        fn remove(keys: &mut Vec<Key>, key: &Key) -> bool {
            if let Ok(at) = keys.binary_search(key) {
                keys.remove(at);
            }
            keys.is_empty()
        }
        for name in self.keys.names(ingress) {
            if self.by_name.get_mut(&name).is_some_and(|keys| remove(keys, key)) {
                self.by_name.remove(&name);
            }
        }
        for reference in of_ingress(key, ingress, &self.keys.prefix, true) {
            if self.by_reference.get_mut(&reference).is_some_and(|keys| remove(keys, key)) {
                self.by_reference.remove(&reference);
            }
        }
    }

    /// The Ingresses that name this Secret or ConfigMap.
    pub(super) fn naming(&self, reference: &Reference) -> &[Key] {
        self.by_reference.get(reference).map_or(&[], Vec::as_slice)
    }

    /// Goes on from `before` to `now`, between which these Ingresses are to be translated again, and
    /// tells with which others. `None`: with so many that it might as well be all of them.
    pub(super) fn go_on(
        &mut self,
        changed: &BTreeSet<Key>,
        before: &Store<Ingress>,
        now: &Store<Ingress>,
        backends: &Backends,
    ) -> Option<Part> {
        let at = |store: &Store<Ingress>, key: &Key| store.get(&key.namespace, &key.name).cloned();
        for key in changed {
            if let Some(ingress) = at(now, key) {
                self.add(key, &ingress);
            }
        }
        let part = self.part(changed, before, now, backends);
        for key in changed {
            if let Some(ingress) = at(before, key) {
                self.remove(key, &ingress);
            }
            if let Some(ingress) = at(now, key) {
                self.add(key, &ingress);
            }
        }
        part
    }

    /// The names are those of before and of now.
    fn part(
        &self,
        changed: &BTreeSet<Key>,
        before: &Store<Ingress>,
        now: &Store<Ingress>,
        backends: &Backends,
    ) -> Option<Part> {
        let limit = 64 + now.len() / 8;
        let mut part = Part::default();
        let mut waiting: Vec<Key> = changed.iter().cloned().collect();
        // Those that lead to the same Services count as soon as there is a canary.
        let mut has_canary = false;
        let mut led_to: BTreeSet<BackendKey> = BTreeSet::new();
        let mut followed: BTreeSet<BackendKey> = BTreeSet::new();
        loop {
            while let Some(key) = waiting.pop() {
                if !part.ingresses.insert(key.clone()) {
                    continue;
                }
                if part.ingresses.len() > limit {
                    return None;
                }
                let versions = [before, now].map(|store| store.get(&key.namespace, &key.name));
                for ingress in versions.into_iter().flatten() {
                    has_canary |= self.keys.is_canary(ingress);
                    led_to.extend(paths_lead_to(&key, ingress));
                    for name in self.keys.names(ingress) {
                        if part.names.contains(&name) {
                            continue;
                        }
                        waiting.extend(self.by_name.get(&name).into_iter().flatten().cloned());
                        if let Some(suffix) = name.strip_prefix("*.") {
                            waiting.extend(self.beneath(suffix).cloned());
                        }
                        part.names.insert(name);
                    }
                }
            }
            if !has_canary {
                return Some(part);
            }
            for key in std::mem::take(&mut led_to) {
                if followed.insert(key.clone()) {
                    let others = backends.with_paths_to(&key);
                    let others = others.filter(|object| object.kind == "Ingress").map(|object| {
                        Key::new(Arc::clone(&object.namespace), Arc::clone(&object.name))
                    });
                    waiting.extend(others.filter(|other| !part.ingresses.contains(other)));
                }
            }
            if waiting.is_empty() {
                return Some(part);
            }
        }
    }

    /// The Ingresses that name one label before this.
    fn beneath(&self, suffix: &str) -> impl Iterator<Item = &Key> {
        let is_beneath = move |name: &str| name.split_once('.').is_some_and(|(_, of)| of == suffix);
        self.by_name.iter().filter(move |(name, _)| is_beneath(name)).flat_map(|(_, keys)| keys)
    }
}

impl Naming {
    /// By annotations with this prefix.
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            alias: format!("{prefix}/server-alias"),
            www: format!("{prefix}/from-to-www-redirect"),
            canary: format!("{prefix}/canary"),
        }
    }

    /// Under which names something of this Ingress can be; the catch-all's is empty.
    pub(crate) fn names(&self, ingress: &Ingress) -> Vec<Arc<str>> {
        let Some(spec) = &ingress.spec else { return Vec::new() };
        let rules = spec.rules.as_deref().unwrap_or_default();
        let hosts = rules.iter().map(|rule| host_name(rule.host.as_deref().unwrap_or_default()));
        let hosts: Vec<_> = hosts.filter_map(Result::ok).collect();
        let mut names: Vec<_> = hosts.iter().map(text).collect();
        if rules.is_empty() {
            names.push(text(&HostName::CatchAll));
        }
        let Some(annotations) = &ingress.metadata.annotations else { return names };
        for alias in annotations.get(&self.alias).into_iter().flat_map(|list| alias_names(list)) {
            if let AliasRequest::Exact(name) = &alias
                && let Some((_, suffix)) = name.split_once('.')
            {
                // Which may have TLS for it.
                names.push(format!("*.{suffix}").into());
            }
            names.push(alias.text().into());
        }
        if annotations.contains_key(&self.www) {
            names.extend(hosts.iter().filter_map(|name| match name {
                HostName::Exact(name) => Some(match name.strip_prefix("www.") {
                    Some(bare) => bare.into(),
                    None => format!("www.{name}").into(),
                }),
                HostName::Wildcard(_) | HostName::CatchAll => None,
            }));
        }
        names
    }

    fn is_canary(&self, ingress: &Ingress) -> bool {
        let annotations = ingress.metadata.annotations.as_ref();
        annotations.is_some_and(|annotations| annotations.contains_key(&self.canary))
    }
}

/// The Services that its paths lead to.
fn paths_lead_to<'i>(
    key: &'i Key,
    ingress: &'i Ingress,
) -> impl Iterator<Item = BackendKey> + use<'i> {
    let spec = ingress.spec.iter();
    let default = spec.clone().filter_map(|spec| spec.default_backend.as_ref());
    let rules = spec.flat_map(|spec| spec.rules.iter().flatten());
    let paths = rules.flat_map(|rule| &rule.http).flat_map(|http| &http.paths);
    let backends = default.chain(paths.map(|path| &path.backend));
    backends.filter_map(|backend| backend_key(&key.namespace, "", backend).ok())
}
