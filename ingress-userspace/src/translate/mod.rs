//! From Kubernetes objects to the [`Model`]: pure, no I/O, no clock, never awaits. What it cannot
//! understand becomes a [`Diagnostic`] and takes nothing else down; what asks for protection that
//! Penstock does not give yet is denied, never served without it.
#![forbid(unsafe_code)]

mod annotations;
mod backend;
mod class;
mod config;
mod host;
mod ingress;
mod member;
mod options;
mod report;
mod rule;
mod streams;
mod tls;

#[cfg(test)]
mod tests;

pub use options::Options;

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use k8s_openapi::api::networking::v1::Ingress;

use self::{
    backend::{Backends, Slices},
    class::Classes,
    config::Config,
    ingress::Assembly,
    report::Report,
    tls::Certificates,
};
use crate::{
    model::{
        Backend, BackendKey, Certificate, CertificateId, Diagnostic, Host, HostName, Model,
        ObjectRef, Passthrough, Severity, Streams,
    },
    stores::{Key, Stores},
};

/// What the objects of one moment amount to.
#[derive(Clone, Debug)]
pub struct Translation {
    /// What is served. Parts that did not change are the same allocation as in the one before.
    pub model: Arc<Model>,
    /// What is not served as written, sorted; the whole list, not only what is new.
    pub diagnostics: Vec<Diagnostic>,
}

/// Translates and remembers what need not be done again.
#[derive(Debug)]
pub struct Translator {
    options: Options,
    certificates: Certificates,
    previous: Option<Previous>,
}

/// What a translation left behind.
#[derive(Debug)]
struct Previous {
    stores: Stores,
    default_backend: Option<BackendKey>,
    routing: Routing,
    backends: Vec<Arc<Backend>>,
}

/// What follows from the Ingresses and what they refer to, endpoints excepted.
#[derive(Clone, Debug)]
struct Routing {
    hosts: Vec<Arc<Host>>,
    certificates: Vec<Arc<Certificate>>,
    default_certificate: Option<CertificateId>,
    config: Config,
    backends: Backends,
    passthrough: HashMap<Arc<str>, Passthrough>,
    diagnostics: Vec<Diagnostic>,
}

impl Translator {
    /// A translator that has seen nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, certificates: Certificates::default(), previous: None }
    }

    /// The model of these objects.
    pub fn translate(&mut self, stores: &Stores) -> Translation {
        let mut diagnostics = Vec::new();
        let slices = Slices::new(stores);
        let default_backend = self.default_backend(stores, &slices, &mut diagnostics);
        let previous = self.previous.take();
        let routing = match &previous {
            Some(previous)
                if is_same(&previous.stores, stores)
                    && previous.default_backend == default_backend =>
            {
                previous.routing.clone()
            }
            _ => self.route(stores, default_backend.as_ref(), previous.as_ref()),
        };
        diagnostics.extend_from_slice(&routing.diagnostics);
        let known = previous.map_or(Vec::new(), |previous| previous.backends);
        let backends = routing.backends.resolve(stores, &slices, &known, &mut diagnostics);
        let streams = Streams {
            tcp: streams::tcp(
                self.options.tcp_services.as_ref(),
                stores,
                &slices,
                &mut diagnostics,
            ),
            udp: streams::udp(
                self.options.udp_services.as_ref(),
                stores,
                &slices,
                &mut diagnostics,
            ),
            passthrough: routing.passthrough.clone(),
        };
        let model = Arc::new(Model {
            streams,
            hosts: routing.hosts.clone(),
            backends: backends.clone(),
            certificates: routing.certificates.clone(),
            default_certificate: routing.default_certificate,
            members: member::members(&stores.nodes, &mut diagnostics),
            settings: routing.config.settings.clone(),
        });
        self.previous =
            Some(Previous { stores: stores.clone(), default_backend, routing, backends });
        diagnostics.sort_by(|one, two| {
            (&one.object, &one.field, &one.message).cmp(&(&two.object, &two.field, &two.message))
        });
        diagnostics.dedup();
        Translation { model, diagnostics }
    }

    /// The Service of `--default-backend-service`; `None` without endpoints, for then the built-in
    /// one answers (reference section 5.7).
    fn default_backend(
        &self,
        stores: &Stores,
        slices: &Slices<'_>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<BackendKey> {
        let (namespace, name) = self.options.default_backend_service.as_ref()?;
        let mut report =
            Report::on(ObjectRef::new("Service", namespace.as_str(), name.as_str()), diagnostics);
        let mut built_in = |why: &str| {
            report.error("--default-backend-service", format!("{why}; the built-in 404 answers"));
        };
        let Some(service) = stores.services.get(namespace, name) else {
            built_in("does not exist");
            return None;
        };
        let Some(port) = backend::first_port(service) else {
            built_in("has no port");
            return None;
        };
        let key = BackendKey {
            namespace: namespace.as_str().into(),
            service: name.as_str().into(),
            port,
        };
        match backend::endpoints(&key, stores, slices) {
            Ok(_) => Some(key),
            Err(why) => {
                built_in(&why);
                None
            }
        }
    }

    /// Translates all Ingresses, oldest first.
    fn route(
        &mut self,
        stores: &Stores,
        default_backend: Option<&BackendKey>,
        previous: Option<&Previous>,
    ) -> Routing {
        let mut diagnostics = Vec::new();
        let config = self.config(stores, &mut diagnostics);
        self.certificates.begin(&stores.secrets);
        let default_certificate = self.default_certificate(stores, &mut diagnostics);
        let classes = Classes::new(&self.options, &stores.ingress_classes);
        let mut ingresses: Vec<_> = stores.ingresses.iter().collect();
        ingresses.sort_by_cached_key(|(key, ingress)| order(key, ingress));
        let certificates = &mut self.certificates;
        let mut assembly =
            Assembly::new(&self.options, &config, stores, certificates, default_backend);
        for (key, ingress) in ingresses {
            let object = ObjectRef::new("Ingress", key.namespace.clone(), key.name.clone());
            let mut report = Report::on(object, &mut diagnostics);
            if classes.serve(key, ingress, &mut report) {
                assembly.add(key, ingress, &mut diagnostics);
            }
        }
        let passthrough = assembly.passthrough(&mut diagnostics);
        let (hosts, backends) = assembly.finish();
        Routing {
            hosts: reuse(hosts, previous.map_or(&[], |previous| &previous.routing.hosts)),
            certificates: self.certificates.finish(),
            default_certificate,
            config,
            backends,
            passthrough,
            diagnostics,
        }
    }

    fn config(&self, stores: &Stores, diagnostics: &mut Vec<Diagnostic>) -> Config {
        let Some((namespace, name)) = &self.options.configmap else { return Config::default() };
        let object = ObjectRef::new("ConfigMap", namespace.as_str(), name.as_str());
        let mut report = Report::on(object, diagnostics);
        match stores.config_maps.get(namespace, name) {
            Some(map) => Config::parse(map, &mut report),
            None => {
                report.warning("--configmap", "does not exist; the defaults apply");
                Config::default()
            }
        }
    }

    fn default_certificate(
        &mut self,
        stores: &Stores,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<CertificateId> {
        let (namespace, name) = self.options.default_ssl_certificate.as_ref()?;
        let key = Key::new(namespace.as_str(), name.as_str());
        let object = ObjectRef::new("Secret", namespace.as_str(), name.as_str());
        let found = self.certificates.of_secret(&stores.secrets, key);
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

/// Nothing changed but, perhaps, Services' endpoints and nodes.
fn is_same(previous: &Stores, stores: &Stores) -> bool {
    previous.ingresses.same(&stores.ingresses)
        && previous.ingress_classes.same(&stores.ingress_classes)
        && previous.secrets.same(&stores.secrets)
        && previous.config_maps.same(&stores.config_maps)
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
