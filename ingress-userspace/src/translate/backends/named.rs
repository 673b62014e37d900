//! One backend: who names it and what they ask for.

use std::{cmp::Reverse, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{World, endpoints::find, resolved::Resolved};
use crate::{
    model::{
        Affinity, AffinityMode, Backend, BackendKey, Balancing, Canary, Diagnostic, ObjectRef,
        SessionCookie, Severity, Transport,
    },
    translate::annotations::Balances,
};

/// A backend, and who names it.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) key: BackendKey,
    /// One for each Ingress and purpose; in their [order](User::order) once settled.
    pub(super) users: Vec<User>,
    /// Its own canary.
    pub(super) canary: Option<Arc<Canary>>,
    /// Something of this is other than when it was last settled.
    pub(super) touched: bool,
}

/// What for an Ingress names a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// A path of it leads there.
    Path,
    /// A path of it leads a part of the requests there.
    Canary,
    /// It is asked whether requests may pass.
    Judge,
    /// It is asked for pages of errors only: without endpoints it is not asked, and nobody is told.
    Errors,
}

/// An Ingress that names a backend.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) purpose: Purpose,
    pub(super) ingress: ObjectRef,
    /// Where it names the backend first, for people.
    pub(super) field: Box<str>,
    /// When it was created, and what it asks for, where that counts.
    pub(super) asks: Option<(Option<Time>, Arc<Balances>)>,
}

impl User {
    /// In which order they are heard: those of canaries after all others, then older ones first
    /// (reference section 3.5).
    fn order(&self) -> impl Ord + use<'_> {
        let created = self.asks.as_ref().and_then(|(created, _)| created.as_ref());
        let ObjectRef { namespace, name, .. } = &self.ingress;
        (self.purpose, created.is_none(), created, Reverse(Slashed { namespace, name }))
    }
}

/// `namespace/name`, as text in the order of text.
#[derive(PartialEq, Eq)]
pub(in crate::translate) struct Slashed<'n> {
    pub(in crate::translate) namespace: &'n str,
    pub(in crate::translate) name: &'n str,
}

impl Ord for Slashed<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let bytes = |one: &Self| {
            let (namespace, name) = (one.namespace.as_bytes(), one.name.as_bytes());
            namespace.iter().chain(b"/").chain(name).copied().collect::<Vec<_>>()
        };
        match self.namespace == other.namespace {
            true => self.name.cmp(other.name),
            false => bytes(self).cmp(&bytes(other)),
        }
    }
}

impl PartialOrd for Slashed<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Named {
    pub(super) fn new(key: BackendKey) -> Self {
        Self { key, users: Vec::new(), canary: None, touched: false }
    }

    /// The Ingress that names it now is a user for this purpose already. An Ingress names all of its
    /// backends before the next one does.
    pub(super) fn has(&self, purpose: Purpose, ingress: &ObjectRef) -> bool {
        let mut latest = self.users.iter().rev().take_while(|one| one.ingress == *ingress);
        latest.any(|one| one.purpose == purpose)
    }

    pub(super) fn add(&mut self, user: User) {
        // Most have one: no room for more.
        self.users.reserve_exact(usize::from(self.users.is_empty()));
        self.users.push(user);
    }

    pub(super) fn sort(&mut self) {
        self.users.sort_by(|one, two| one.order().cmp(&two.order()));
    }

    /// How its endpoints are chosen: as the oldest says, with the affinity of the youngest that has
    /// any.
    fn balancing(&self) -> Balancing {
        let mut asked = self.users.iter().filter_map(|user| user.asks.as_ref());
        let policy = asked.clone().next().map(|(_, oldest)| oldest.policy.clone());
        let mode: Option<AffinityMode> = asked.clone().find_map(|(_, one)| one.mode);
        let cookie: Option<SessionCookie> =
            asked.rfind(|(_, one)| one.cookie.is_some()).and_then(|(_, one)| one.cookie.clone());
        Balancing {
            policy: policy.unwrap_or_default(),
            affinity: cookie.map(|cookie| Affinity { mode: mode.unwrap_or_default(), cookie }),
            canary: self.canary.clone(),
        }
    }

    /// The backend as it is now; the same allocation as before where that is the same. `again`: who
    /// names it did not change.
    pub(super) fn resolve(
        &self,
        before: Option<&Resolved>,
        again: bool,
        world: &World<'_>,
    ) -> Resolved {
        if self.users.is_empty() {
            return Resolved::default();
        }
        let before = before.filter(|before| before.backend.key == self.key);
        let balancing = match before.map(|before| &before.backend.balancing) {
            Some(known) if again => Arc::clone(known),
            known => {
                let balancing = self.balancing();
                match known {
                    Some(known) if **known == balancing => Arc::clone(known),
                    _ => Arc::new(balancing),
                }
            }
        };
        let oldest = self.users.iter().find_map(|user| user.asks.as_ref());
        let service_upstream = oldest.is_some_and(|(_, oldest)| oldest.service_upstream);
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

    /// What is wrong with its endpoints, told to each Ingress that names it.
    pub(super) fn tell(&self, severity: Severity, why: &str, diagnostics: &mut Vec<Diagnostic>) {
        for User { purpose, ingress, field, .. } in &self.users {
            let (of_judge, consequence) = match purpose {
                Purpose::Path => (false, "the answer is 503"),
                Purpose::Canary => (false, "the main Service gets the traffic"),
                Purpose::Judge => (true, "its name is looked up in the DNS"),
                Purpose::Errors => continue,
            };
            diagnostics.push(Diagnostic {
                severity: if of_judge { Severity::Warning } else { severity },
                object: ingress.clone(),
                field: field.to_string(),
                message: match severity {
                    Severity::Warning => why.to_owned(),
                    Severity::Error => format!("{why}; {consequence}"),
                },
            });
        }
    }
}
