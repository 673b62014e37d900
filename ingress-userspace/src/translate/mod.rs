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
mod footprint;
mod host;
mod ingress;
mod member;
mod mirrors;
mod options;
mod password;
mod quantity;
mod references;
mod report;
mod routing;
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
pub(crate) use footprint::Naming;
pub use options::Options;
pub use references::{Reference, References, references};
pub(crate) use references::{naming_any, shared};
pub(crate) use report::UNLIKE;
pub use selector::{NamespaceSelector, SelectorError};

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::api::{core::v1::Secret, networking::v1::Ingress};

use self::{
    authority::Authorities,
    backends::{Found, Resolved, Slices, World},
    config::Config,
    footprint::{Footprints, Part},
    mirrors::Mirrors,
    report::Report,
    routing::{Around, Assembled, Routing, assemble},
    streams::Services,
    tls::Certificates,
    upstream_tls::Policies,
    users::UserLists,
};
use crate::{
    expression::Expressions,
    model::{
        BackendKey, CertificateId, Diagnostic, Host, HostName, Model, ObjectRef, Route, Settings,
        Severity, Streams, TicketKey, Transport,
    },
    names::Names,
    stores::{Key, Store, Stores},
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
    /// The last translation was of a part of the Ingresses.
    #[cfg(test)]
    parts: bool,
}

/// What a translation left behind.
#[derive(Debug)]
struct Previous {
    stores: Stores,
    names: Arc<Names>,
    slices: Slices,
    default_backend: Option<BackendKey>,
    routing: Routing,
    footprints: Footprints,
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

/// How much of what was is to be done again, endpoints aside.
enum Extent {
    Nothing,
    Part(Part),
    Everything,
}

/// What the ConfigMap says, as far as anything can come of it: where no request can have spans, none
/// is to pay for them.
fn settings(routing: &Routing) -> Settings {
    let mut settings = routing.config.settings.clone();
    let is_enabled = |route: &Arc<Route>| {
        let own = route.policies.as_ref().and_then(|own| own.tracing.as_ref());
        own.is_some_and(|own| own.enabled == Some(true))
    };
    let mut routes = routing.hosts.iter().flat_map(|host| host.routes.iter().chain(&host.app_root));
    if settings.tracing.as_ref().is_some_and(|own| !own.enabled) && !routes.any(is_enabled) {
        settings.tracing = None;
    }
    settings
}

impl Translator {
    /// A translator that has seen nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            lasting: Lasting::default(),
            previous: None,
            #[cfg(test)]
            parts: false,
        }
    }

    /// The model of these objects and names. Where only endpoints changed, only their backends are
    /// looked at again: most changes of a cluster are of that kind, and none is more urgent. Where
    /// Ingresses or what they name changed, those that have to do with each other
    /// ([`footprint`]). What flags and the controller's ConfigMap name, classes and namespaces can
    /// touch everything.
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
        let mut touched = Vec::new();
        let known = previous.map(|mut previous| {
            let extent = previous.extent(&self.options, stores, default_backend.as_ref());
            (previous, extent)
        });
        #[cfg(test)]
        {
            self.parts = matches!(known, Some((_, Extent::Part(_))));
        }
        let (routing, footprints, resolved, found) = match known {
            Some((previous, extent @ (Extent::Nothing | Extent::Part(_)))) => {
                let Previous { stores: before, names: known, .. } = previous;
                let (mut routing, mut resolved) = (previous.routing, previous.resolved);
                let mut found = previous.found;
                if let Extent::Part(part) = &extent {
                    let (options, lasting) = (&self.options, &mut self.lasting);
                    let default_backend = default_backend.as_ref();
                    touched = routing.replace(options, lasting, stores, default_backend, part);
                }
                let services = before.services.changes(&stores.services);
                changed.extend(services.map(|(key, ..)| key.clone()));
                let names = changed_names(&known, names, referred(&resolved, &found));
                routing.backends.resolve_again(&world, &touched, &changed, &names, &mut resolved);
                routing.services.resolve_again(&world, &changed, &names, &mut found);
                (routing, previous.footprints, resolved, found)
            }
            mut known => {
                let before = known.as_mut().map(|(previous, _)| &mut previous.routing);
                let routing = Self::route(
                    &self.options,
                    &mut self.lasting,
                    stores,
                    default_backend.as_ref(),
                    before,
                );
                let previous = known.as_ref().map(|(previous, _)| previous);
                let known = previous.map_or(&[][..], |previous| &previous.resolved);
                let resolved = routing.backends.resolve(&world, known);
                let found = routing.services.resolve(&world);
                let prefix = &self.options.annotations_prefix;
                (routing, Footprints::of(prefix, &stores.ingresses), resolved, found)
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
            settings: settings(&routing),
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
            footprints,
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

    /// Translates all Ingresses, oldest first. Takes the backends of `previous`: each keeps its id.
    fn route(
        options: &Options,
        lasting: &mut Lasting,
        stores: &Stores,
        default_backend: Option<&BackendKey>,
        previous: Option<&mut Routing>,
    ) -> Routing {
        let mut diagnostics = Vec::new();
        let mut config = Self::config(options, stores, &mut diagnostics);
        config.settings.https_port = options.https_port;
        config.firewall.library = options.firewall.clone();
        let ticket_keys = Self::ticket_keys(options, stores, &mut config, &mut diagnostics);
        lasting.begin(&stores.secrets);
        let default_certificate =
            Self::default_certificate(options, &mut lasting.certificates, stores, &mut diagnostics);
        if !config.error_statuses.is_empty()
            && default_backend.is_none()
            && let Some((namespace, name)) = &options.configmap
        {
            let object = ObjectRef::new("ConfigMap", namespace.as_str(), name.as_str());
            let message = "there is nobody to ask without --default-backend-service, except for \
                           Ingresses with `default-backend`; other answers stay as they are";
            Report::on(object, &mut diagnostics).warning("data.custom-http-errors", message);
        }
        let around = Around { options, stores, config: &config, default_backend };
        let (backends, known) = previous.map_or_else(Default::default, Routing::hand_on);
        let assembled =
            assemble(around, lasting, stores.ingresses.iter(), backends, Default::default());
        let Assembled { hosts, mut backends, passthrough, first_ports, diagnostics: of_ingresses } =
            assembled;
        diagnostics.extend(of_ingresses);
        backends.settle();
        let services = Services::read(options, stores, &mut diagnostics);
        let mirrors = Mirrors::of(&hosts);
        Routing {
            hosts: reuse(hosts, known).into(),
            certificates: lasting.certificates.changed().unwrap_or_default(),
            default_certificate,
            config,
            ticket_keys,
            backends,
            services,
            first_ports,
            passthrough: Arc::new(passthrough),
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

impl Lasting {
    /// Begins a new model.
    fn begin(&mut self, secrets: &Store<Secret>) {
        self.expressions.begin();
        self.upstream_tls.begin();
        self.forget_gone(secrets);
        self.certificates.begin(secrets);
    }

    /// Forgets Secrets that are gone.
    fn forget_gone(&mut self, secrets: &Store<Secret>) {
        self.authorities.forget_gone(secrets);
        self.users.forget_gone(secrets);
        self.certificates.forget_gone(secrets);
    }
}

impl Previous {
    /// How much is to be done again for these objects. Goes on to their footprints.
    fn extent(
        &mut self,
        options: &Options,
        stores: &Stores,
        default_backend: Option<&BackendKey>,
    ) -> Extent {
        let before = &self.stores;
        let is_shared = before.classes_forbidden == stores.classes_forbidden
            && before.ingress_classes.same(&stores.ingress_classes)
            && before.namespaces.same(&stores.namespaces)
            && self.default_backend.as_ref() == default_backend
            && self.routing.first_ports.are_same(stores)
            && !self.routing.backends.is_sparse();
        // Locations of the operator's, for all hosts, can be told to be wrong by any of them.
        let locations = self.routing.config.snippets.program.as_ref();
        if !is_shared || locations.is_some_and(|program| !program.locations.is_empty()) {
            return Extent::Everything;
        }
        let shared = shared(stores, options);
        let secrets = before.secrets.changes(&stores.secrets);
        let secrets = secrets.map(|(key, ..)| Reference::Secret(key.clone()));
        let config_maps = before.config_maps.changes(&stores.config_maps);
        let config_maps = config_maps.map(|(key, ..)| Reference::ConfigMap(key.clone()));
        let mut changed = BTreeSet::new();
        for reference in secrets.chain(config_maps) {
            if shared.contains(&reference) || !reference.is_nameable() {
                return Extent::Everything;
            }
            changed.extend(self.footprints.naming(&reference).iter().cloned());
        }
        let ingresses = before.ingresses.changes(&stores.ingresses);
        let read_otherwise = ingresses.filter(|(_, before, after)| {
            !before.zip(*after).is_some_and(|(before, after)| reads_the_same(before, after))
        });
        changed.extend(read_otherwise.map(|(key, ..)| key.clone()));
        if changed.is_empty() {
            return Extent::Nothing;
        }
        let (before, now) = (&before.ingresses, &stores.ingresses);
        let part = self.footprints.go_on(&changed, before, now, &self.routing.backends);
        part.map_or(Extent::Everything, Extent::Part)
    }
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
/// compiled again. Those of `previous` name backends by the same ids.
fn reuse(hosts: Vec<Host>, previous: &[Arc<Host>]) -> Vec<Arc<Host>> {
    let previous: HashMap<&HostName, &Arc<Host>> =
        previous.iter().map(|host| (&host.name, host)).collect();
    let reuse = |host: Host| match previous.get(&host.name) {
        Some(same) if ***same == host => Arc::clone(same),
        _ => Arc::new(host),
    };
    hosts.into_iter().map(reuse).collect()
}
