//! What follows from the Ingresses and what they refer to, endpoints excepted: of all of them, or of
//! those that a change can touch put in the place of what they came to before.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use k8s_openapi::api::networking::v1::Ingress;

use super::{
    Lasting, Options,
    backends::{Backends, Slashed},
    class::Classes,
    config::Config,
    error_pages::FirstPorts,
    footprint::Part,
    ingress::Assembly,
    mirrors::Mirrors,
    report::Report,
    rule::host_name,
    streams::Services,
};
use crate::{
    model::{
        BackendId, BackendKey, Certificate, CertificateId, Diagnostic, Host, HostName, ObjectRef,
        Passthrough, TicketKey,
    },
    stores::{Key, Stores},
};

/// What follows from the Ingresses and what they refer to, endpoints excepted.
#[derive(Clone, Debug, Default)]
pub(super) struct Routing {
    /// By name.
    pub(super) hosts: Arc<[Arc<Host>]>,
    pub(super) certificates: Arc<[Arc<Certificate>]>,
    pub(super) default_certificate: Option<CertificateId>,
    pub(super) config: Config,
    pub(super) ticket_keys: Vec<TicketKey>,
    pub(super) backends: Backends,
    pub(super) services: Services,
    pub(super) first_ports: FirstPorts,
    pub(super) passthrough: Arc<HashMap<Arc<str>, Passthrough>>,
    /// The names that copies of requests go to, and where in which Ingress each is named.
    pub(super) mirrors: Mirrors,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// What Ingresses come to.
pub(super) struct Assembled {
    /// By name.
    pub(super) hosts: Vec<Host>,
    pub(super) backends: Backends,
    pub(super) passthrough: HashMap<Arc<str>, Passthrough>,
    pub(super) first_ports: FirstPorts,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// What all Ingresses are translated by.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) options: &'a Options,
    pub(super) stores: &'a Stores,
    pub(super) config: &'a Config,
    pub(super) default_backend: Option<&'a BackendKey>,
}

/// The TLS of wildcard hosts, by what follows `*.`; `None`: it has none, or no certificate.
pub(super) type Wildcards = HashMap<Arc<str>, Option<Option<CertificateId>>>;

/// Translates these Ingresses. Those of `backends` and `beside` are of others.
pub(super) fn assemble<'i>(
    around: Around<'_>,
    lasting: &mut Lasting,
    ingresses: impl Iterator<Item = (&'i Key, &'i Arc<Ingress>)>,
    backends: Backends,
    beside: Wildcards,
) -> Assembled {
    let Around { options, stores, config, default_backend } = around;
    let mut diagnostics = Vec::new();
    let mut ingresses: Vec<_> = ingresses.collect();
    ingresses.sort_by(|(one, first), (two, second)| order(one, first).cmp(&order(two, second)));
    let classes = Classes::new(options, stores);
    let Lasting { certificates, upstream_tls, authorities, expressions, users } = lasting;
    let known = (certificates, authorities, users);
    let mut assembly =
        Assembly::new(options, config, stores, known, default_backend, backends, beside);
    for (key, ingress) in ingresses {
        let object = ObjectRef::new("Ingress", key.namespace.clone(), key.name.clone());
        let mut report = Report::on(object, &mut diagnostics);
        if classes.serve(key, ingress, &mut report) {
            assembly.add(key, ingress, &mut diagnostics);
        }
    }
    assembly.settle_names(expressions, &mut diagnostics);
    assembly.attach_canaries(expressions, &mut diagnostics);
    let passthrough = assembly.passthrough(&mut diagnostics);
    let first_ports = std::mem::take(&mut assembly.first_ports);
    let (hosts, backends) = assembly.finish(upstream_tls, &mut diagnostics);
    Assembled { hosts, backends, passthrough, first_ports, diagnostics }
}

/// The order of Ingresses (reference section 3.5): older first, ties by `namespace/name`
/// descending. Manifests mostly have no creation timestamp, which counts as younger than any.
fn order<'i>(key: &'i Key, ingress: &'i Ingress) -> impl Ord + use<'i> {
    let created = ingress.metadata.creation_timestamp.as_ref();
    let (namespace, name) = (&*key.namespace, &*key.name);
    (created.is_none(), created, Reverse(Slashed { namespace, name }))
}

impl Routing {
    /// Translates a part of the Ingresses again. Returns the backends that something became of.
    pub(super) fn replace(
        &mut self,
        options: &Options,
        lasting: &mut Lasting,
        stores: &Stores,
        default_backend: Option<&BackendKey>,
        part: &Part,
    ) -> Vec<BackendId> {
        lasting.expressions.go_on();
        lasting.upstream_tls.begin();
        lasting.forget_gone(&stores.secrets);
        let is_one = |object: &ObjectRef| {
            let key = || Key::new(Arc::clone(&object.namespace), Arc::clone(&object.name));
            object.kind == "Ingress" && part.ingresses.contains(&key())
        };
        let mut backends = std::mem::take(&mut self.backends);
        backends.forget(is_one);
        let names: BTreeSet<HostName> =
            part.names.iter().filter_map(|name| host_name(name).ok()).collect();
        let around = Around { options, stores, config: &self.config, default_backend };
        let ingresses = part
            .ingresses
            .iter()
            .filter_map(|key| Some((key, stores.ingresses.get(&key.namespace, &key.name)?)));
        let beside = self.wildcards_beside(&names);
        let assembled = assemble(around, lasting, ingresses, backends, beside);
        let Assembled { mut hosts, mut backends, passthrough, first_ports, diagnostics } =
            assembled;
        // That of all names is made whoever asks.
        hosts.retain(|host| names.contains(&host.name));
        let touched = backends.settle();
        self.backends = backends;
        self.first_ports.replace(&part.ingresses, first_ports);
        self.mirrors.replace(is_one, &hosts);
        self.diagnostics.retain(|diagnostic| !is_one(&diagnostic.object));
        self.diagnostics.extend(diagnostics);
        self.replace_passthrough(&names, passthrough);
        self.replace_hosts(&names, hosts, lasting);
        touched
    }

    /// What a translation of all Ingresses begins with: the backends, none of them named yet, and the
    /// hosts of before, which name them by these ids. Where it is time for new ids, nothing: a host of
    /// before would name other backends by the same numbers.
    pub(super) fn hand_on(&mut self) -> (Backends, &[Arc<Host>]) {
        if self.backends.is_sparse() {
            return (Backends::default(), &[]);
        }
        let mut backends = std::mem::take(&mut self.backends);
        backends.forget(|_| true);
        (backends, &self.hosts)
    }

    /// The TLS of the wildcard hosts that are not among these.
    fn wildcards_beside(&self, names: &BTreeSet<HostName>) -> Wildcards {
        // They follow those without wildcard.
        let first = self.hosts.partition_point(|host| matches!(host.name, HostName::Exact(_)));
        let wildcards = self.hosts.iter().skip(first).filter(|host| !names.contains(&host.name));
        let tls = |host: &Arc<Host>| match &host.name {
            HostName::Wildcard(suffix) => {
                Some((Arc::clone(suffix), host.tls.then_some(host.certificate)))
            }
            HostName::Exact(_) | HostName::CatchAll => None,
        };
        wildcards.filter_map(tls).collect()
    }

    fn replace_passthrough(
        &mut self,
        names: &BTreeSet<HostName>,
        passthrough: HashMap<Arc<str>, Passthrough>,
    ) {
        let exact = |name: &HostName| match name {
            HostName::Exact(name) => Some(Arc::clone(name)),
            HostName::Wildcard(_) | HostName::CatchAll => None,
        };
        let names: Vec<_> = names.iter().filter_map(exact).collect();
        if names.iter().all(|name| self.passthrough.get(name) == passthrough.get(name)) {
            return;
        }
        let all = Arc::make_mut(&mut self.passthrough);
        all.retain(|name, _| !names.contains(name));
        all.extend(passthrough);
    }

    /// Puts these hosts in the place of those of these names.
    fn replace_hosts(
        &mut self,
        names: &BTreeSet<HostName>,
        hosts: Vec<Host>,
        lasting: &mut Lasting,
    ) {
        let mut hosts = hosts.into_iter().peekable();
        let mut rest = &*self.hosts;
        let mut all = Vec::with_capacity(rest.len() + hosts.len());
        let mut lost = BTreeSet::new();
        let mut changed = false;
        for name in names {
            let (before, after) = rest.split_at(rest.partition_point(|host| host.name < *name));
            all.extend_from_slice(before);
            let known = after.first().filter(|host| host.name == *name);
            rest = if known.is_some() { &after[1..] } else { after };
            let host = hosts.next_if(|host| host.name == *name);
            match (known, host) {
                (Some(known), Some(host)) if **known == host => all.push(Arc::clone(known)),
                (known, host) => {
                    changed |= known.is_some() || host.is_some();
                    lost.extend(known.and_then(|known| known.certificate));
                    all.extend(host.map(Arc::new));
                }
            }
        }
        all.extend_from_slice(rest);
        if changed {
            self.hosts = all.into();
        }
        if !lost.is_empty() {
            let needed = self.hosts.iter().filter_map(|host| host.certificate);
            needed.chain(self.default_certificate).for_each(|id| {
                lost.remove(&id);
            });
            lost.into_iter().for_each(|id| lasting.certificates.release(id));
        }
        if let Some(certificates) = lasting.certificates.changed() {
            self.certificates = certificates;
        }
    }
}
