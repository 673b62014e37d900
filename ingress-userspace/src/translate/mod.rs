//! From Kubernetes objects to the [`Model`]: pure, no I/O, no clock, never awaits. What it cannot
//! understand becomes a [`Diagnostic`] and takes nothing else down; what asks for protection that
//! Penstock does not give yet is denied, never served without it.
#![forbid(unsafe_code)]

mod aliases;
mod annotations;
mod authority;
mod backends;
mod canary;
mod class;
mod config;
mod decide;
mod error_pages;
mod external_auth;
mod host;
mod ingress;
mod member;
mod mirrors;
mod options;
mod password;
mod quantity;
mod references;
mod report;
mod rule;
mod selector;
mod snippet;
mod streams;
mod suite;
mod text;
mod ticket;
mod tls;
mod upstream_tls;
mod users;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use annotations::SUITES as UPSTREAM_SUITES;
pub(crate) use annotations::{Described, described, document as annotations_document};
pub(crate) use class::Classes;
pub use options::Options;
pub use references::{Reference, references};
pub use selector::{NamespaceSelector, SelectorError};

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::api::networking::v1::Ingress;

use self::{
    authority::Authorities,
    backends::{Backends, Found, Resolved, Slices, World},
    config::Config,
    error_pages::FirstPorts,
    ingress::Assembly,
    mirrors::Mirrors,
    report::Report,
    streams::Services,
    tls::Certificates,
    upstream_tls::Policies,
    users::UserLists,
};
use crate::{
    expression::Expressions,
    model::{
        BackendKey, Certificate, CertificateId, Diagnostic, Host, HostName, Model, ObjectRef,
        Passthrough, Severity, Streams, TicketKey, Transport,
    },
    names::Names,
    stores::{Key, Stores},
};

/// What the objects of one moment amount to.
#[derive(Clone, Debug)]
pub struct Translation {
    /// What is served. Parts that did not change are the same allocation as in the one before.
    pub model: Arc<Model>,
    /// What is not served as written, sorted; the whole list, not only what is new.
    pub diagnostics: Vec<Diagnostic>,
    /// The names outside the cluster that backends stand for; they are to be resolved.
    pub names: BTreeSet<Arc<str>>,
}

/// Translates and remembers what need not be done again.
#[derive(Debug)]
pub struct Translator {
    options: Options,
    lasting: Lasting,
    previous: Option<Previous>,
}

/// What a translation left behind.
#[derive(Debug)]
struct Previous {
    stores: Stores,
    names: Arc<Names>,
    slices: Slices,
    default_backend: Option<BackendKey>,
    routing: Arc<Routing>,
    resolved: Vec<Resolved>,
    /// The endpoints of the services of [`Routing`].
    found: Vec<Found>,
}

/// What is read or compared once for as long as it does not change.
#[derive(Debug, Default)]
struct Lasting {
    certificates: Certificates,
    upstream_tls: Policies,
    authorities: Authorities,
    expressions: Expressions,
    users: UserLists,
}

/// What follows from the Ingresses and what they refer to, endpoints excepted.
#[derive(Clone, Debug)]
struct Routing {
    hosts: Arc<[Arc<Host>]>,
    certificates: Arc<[Arc<Certificate>]>,
    default_certificate: Option<CertificateId>,
    config: Config,
    ticket_keys: Vec<TicketKey>,
    backends: Backends,
    services: Services,
    first_ports: FirstPorts,
    passthrough: Arc<HashMap<Arc<str>, Passthrough>>,
    /// The names that copies of requests go to, and where in which Ingress each is named.
    mirrors: Mirrors,
    diagnostics: Vec<Diagnostic>,
}

impl Translator {
    /// A translator that has seen nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, lasting: Lasting::default(), previous: None }
    }

    /// The model of these objects and names. Where only endpoints changed, only their backends are
    /// looked at again: most changes of a cluster are of that kind, and none is more urgent.
    pub fn translate(&mut self, stores: &Stores, names: &Arc<Names>) -> Translation {
        let mut diagnostics = Vec::new();
        let mut previous = self.previous.take();
        let mut changed = HashSet::new();
        let mut slices = previous
            .as_mut()
            .map_or_else(Slices::default, |previous| std::mem::take(&mut previous.slices));
        slices.update(stores, &mut changed);
        let world = World { options: &self.options, stores, slices: &slices, names };
        let default_backend = self.default_backend(&world, &mut diagnostics);
        let (routing, resolved, found) = match previous {
            Some(previous)
                if is_same(&previous.stores, stores)
                    && previous.default_backend == default_backend
                    && previous.routing.first_ports.are_same(stores) =>
            {
                let Previous { stores: before, names: known, routing, .. } = previous;
                let (mut resolved, mut found) = (previous.resolved, previous.found);
                let services = before.services.changes(&stores.services);
                changed.extend(services.map(|(key, ..)| key.clone()));
                let names = changed_names(&known, names, referred(&resolved, &found));
                if !changed.is_empty() || !names.is_empty() {
                    routing.backends.resolve_again(&world, &changed, &names, &mut resolved);
                    routing.services.resolve_again(&world, &changed, &names, &mut found);
                }
                (routing, resolved, found)
            }
            previous => {
                let before = previous.as_ref().map(|previous| &*previous.routing);
                let routing = Self::route(
                    &self.options,
                    &mut self.lasting,
                    stores,
                    default_backend.as_ref(),
                    before,
                );
                let known = previous.as_ref().map_or(&[][..], |previous| &previous.resolved);
                let resolved = routing.backends.resolve(&world, known);
                let found = routing.services.resolve(&world);
                (Arc::new(routing), resolved, found)
            }
        };
        diagnostics.extend_from_slice(&routing.diagnostics);
        routing.backends.tell(&resolved, &mut diagnostics);
        let (tcp, udp) = routing.services.finish(&found, &mut diagnostics);
        let model = Arc::new(Model {
            hosts: Arc::clone(&routing.hosts),
            backends: resolved.iter().map(|resolved| Arc::clone(&resolved.backend)).collect(),
            certificates: Arc::clone(&routing.certificates),
            default_certificate: routing.default_certificate,
            members: member::members(
                stores,
                self.options.members_service.as_ref(),
                &mut diagnostics,
            ),
            settings: routing.config.settings.clone(),
            ticket_keys: routing.ticket_keys.clone(),
            streams: Streams { tcp, udp, passthrough: Arc::clone(&routing.passthrough) },
            names: Arc::clone(names),
        });
        routing.mirrors.tell(names, &self.options.annotations_prefix, &mut diagnostics);
        let mut referred = referred(&resolved, &found);
        referred.extend(routing.mirrors.names());
        self.previous = Some(Previous {
            stores: stores.clone(),
            names: Arc::clone(names),
            slices,
            default_backend,
            routing,
            resolved,
            found,
        });
        diagnostics.sort_by(|one, two| {
            (&one.object, &one.field, &one.message).cmp(&(&two.object, &two.field, &two.message))
        });
        diagnostics.dedup();
        Translation { model, diagnostics, names: referred }
    }

    /// The Service of `--default-backend-service`; `None` without endpoints, for then the built-in
    /// one answers (reference section 5.7).
    fn default_backend(
        &self,
        world: &World<'_>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<BackendKey> {
        let (namespace, name) = self.options.default_backend_service.as_ref()?;
        let mut report =
            Report::on(ObjectRef::new("Service", namespace.as_str(), name.as_str()), diagnostics);
        let mut built_in = |why: &str| {
            report.error("--default-backend-service", format!("{why}; the built-in 404 answers"));
        };
        let Some(service) = world.stores.services.get(namespace, name) else {
            built_in("does not exist");
            return None;
        };
        let Some(port) = backends::first_port(service) else {
            built_in("has no port");
            return None;
        };
        let key = BackendKey {
            namespace: namespace.as_str().into(),
            service: name.as_str().into(),
            port,
        };
        let found = backends::find(&key, Transport::Tcp, false, world);
        if found.endpoints.is_empty() {
            let why = found.fault.map(|(_, why)| why).unwrap_or_default();
            built_in(&why);
            return None;
        }
        Some(key)
    }

    /// Translates all Ingresses, oldest first.
    fn route(
        options: &Options,
        lasting: &mut Lasting,
        stores: &Stores,
        default_backend: Option<&BackendKey>,
        previous: Option<&Routing>,
    ) -> Routing {
        let mut diagnostics = Vec::new();
        let mut config = Self::config(options, stores, &mut diagnostics);
        config.settings.https_port = options.https_port;
        config.firewall.library = options.firewall.clone();
        let ticket_keys = Self::ticket_keys(options, stores, &mut config, &mut diagnostics);
        let Lasting { certificates, upstream_tls, authorities, expressions, users } = lasting;
        expressions.begin();
        authorities.begin(&stores.secrets);
        users.begin(&stores.secrets);
        certificates.begin(&stores.secrets);
        upstream_tls.begin();
        let default_certificate =
            Self::default_certificate(options, certificates, stores, &mut diagnostics);
        if !config.error_statuses.is_empty()
            && default_backend.is_none()
            && let Some((namespace, name)) = &options.configmap
        {
            let object = ObjectRef::new("ConfigMap", namespace.as_str(), name.as_str());
            let message = "there is nobody to ask without --default-backend-service, except for \
                           Ingresses with `default-backend`; other answers stay as they are";
            Report::on(object, &mut diagnostics).warning("data.custom-http-errors", message);
        }
        let classes = Classes::new(options, stores);
        let mut ingresses: Vec<_> = stores.ingresses.iter().collect();
        ingresses.sort_by_cached_key(|(key, ingress)| order(key, ingress));
        let known = (&mut *certificates, authorities, users);
        let mut assembly = Assembly::new(options, &config, stores, known, default_backend);
        for (key, ingress) in ingresses {
            let object = ObjectRef::new("Ingress", key.namespace.clone(), key.name.clone());
            let mut report = Report::on(object, &mut diagnostics);
            if classes.serve(key, ingress, &mut report) {
                assembly.add(key, ingress, &mut diagnostics);
            }
        }
        assembly.settle_names(expressions, &mut diagnostics);
        assembly.attach_canaries(expressions, &mut diagnostics);
        let passthrough = Arc::new(assembly.passthrough(&mut diagnostics));
        let first_ports = std::mem::take(&mut assembly.first_ports);
        let (hosts, backends) = assembly.finish(upstream_tls, &mut diagnostics);
        let services = Services::read(options, stores, &mut diagnostics);
        let mirrors = Mirrors::of(&hosts);
        Routing {
            hosts: reuse(hosts, previous.map_or(&[], |previous| &previous.hosts)).into(),
            certificates: certificates.finish().into(),
            default_certificate,
            config,
            ticket_keys,
            backends,
            services,
            first_ports,
            passthrough,
            mirrors,
            diagnostics,
        }
    }

    fn config(options: &Options, stores: &Stores, diagnostics: &mut Vec<Diagnostic>) -> Config {
        let Some((namespace, name)) = &options.configmap else { return Config::default() };
        let object = ObjectRef::new("ConfigMap", namespace.as_str(), name.as_str());
        let mut report = Report::on(object, diagnostics);
        match stores.config_maps.get(namespace, name) {
            Some(map) => Config::parse(map, &stores.config_maps, &options.firewall, &mut report),
            None => {
                report.warning("--configmap", "does not exist; the defaults apply");
                Config::default()
            }
        }
    }

    /// The keys of `--tls-ticket-secret`, which also switches tickets on unless the ConfigMap says
    /// otherwise, then those of the ConfigMap.
    fn ticket_keys(
        options: &Options,
        stores: &Stores,
        config: &mut Config,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Vec<TicketKey> {
        let mut keys = Vec::new();
        if let Some((namespace, name)) = &options.tls_ticket_secret {
            let object = ObjectRef::new("Secret", namespace.as_str(), name.as_str());
            let mut report = Report::on(object, diagnostics);
            keys = ticket::of_secret(stores.secrets.get(namespace, name), &mut report);
            config.settings.tls.tickets = config.tickets.unwrap_or(!keys.is_empty());
        }
        keys.extend(config.ticket_keys.iter().cloned());
        keys
    }

    fn default_certificate(
        options: &Options,
        certificates: &mut Certificates,
        stores: &Stores,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<CertificateId> {
        let (namespace, name) = options.default_ssl_certificate.as_ref()?;
        let key = Key::new(namespace.as_str(), name.as_str());
        let object = ObjectRef::new("Secret", namespace.as_str(), name.as_str());
        let found = certificates.of_secret(&stores.secrets, key);
        found
            .map_err(|why| {
                diagnostics.push(Diagnostic {
                    severity: Severity::Error,
                    object,
                    field: "--default-ssl-certificate".to_owned(),
                    message: format!("{why}; a self-signed certificate is used"),
                })
            })
            .ok()
    }
}

/// The order of Ingresses (reference section 3.5): older first, ties by `namespace/name`
/// descending. Manifests mostly have no creation timestamp, which counts as younger than any.
fn order(key: &Key, ingress: &Ingress) -> impl Ord + use<> {
    let created = ingress.metadata.creation_timestamp.clone();
    (created.is_none(), created, Reverse(format!("{}/{}", key.namespace, key.name)))
}

/// The names outside the cluster that are to be resolved.
fn referred(resolved: &[Resolved], found: &[Found]) -> BTreeSet<Arc<str>> {
    let mut names = backends::names(resolved);
    names.append(&mut streams::names(found));
    names
}

/// The names of backends that stand for something else than they did.
fn changed_names(
    known: &Arc<Names>,
    now: &Arc<Names>,
    referred: BTreeSet<Arc<str>>,
) -> HashSet<Arc<str>> {
    if Arc::ptr_eq(known, now) {
        return HashSet::new();
    }
    let mut names = referred.into_iter().collect::<HashSet<_>>();
    names.retain(|name| known.get(name) != now.get(name));
    names
}

/// Nothing changed but, perhaps, Services' endpoints and nodes.
fn is_same(previous: &Stores, stores: &Stores) -> bool {
    previous.ingresses.changes(&stores.ingresses).all(|(_, before, after)| {
        before.zip(after).is_some_and(|(before, after)| reads_the_same(before, after))
    }) && previous.classes_forbidden == stores.classes_forbidden
        && previous.ingress_classes.same(&stores.ingress_classes)
        && previous.secrets.same(&stores.secrets)
        && previous.config_maps.same(&stores.config_maps)
        && previous.namespaces.same(&stores.namespaces)
}

/// The Ingress differs in nothing that is read here. The leader writes the status of each, and for
/// nobody is that a reason to translate again.
fn reads_the_same(before: &Ingress, after: &Ingress) -> bool {
    let (one, two) = (&before.metadata, &after.metadata);
    before.spec == after.spec
        && one.annotations == two.annotations
        && one.labels == two.labels
        && one.creation_timestamp == two.creation_timestamp
        && one.deletion_timestamp == two.deletion_timestamp
        && one.uid == two.uid
}

/// Hosts that did not change are the allocations of before, so that their routes need not be
/// compiled again.
fn reuse(hosts: Vec<Host>, previous: &[Arc<Host>]) -> Vec<Arc<Host>> {
    let previous: HashMap<&HostName, &Arc<Host>> =
        previous.iter().map(|host| (&host.name, host)).collect();
    let reuse = |host: Host| match previous.get(&host.name) {
        Some(same) if ***same == host => Arc::clone(same),
        _ => Arc::new(host),
    };
    hosts.into_iter().map(reuse).collect()
}
