//! A virtual host while Ingresses add to it, oldest first.

use std::{collections::HashMap, sync::Arc};

use super::{
    backends::Backends, config::SharedSnippets, report::Report,
    upstream_tls::Policies as TlsPolicies,
};
use crate::model::{
    Alias, BackendId, CertificateId, ClientAuth, Denial, Diagnostic, Effects, Host, HostName,
    HostTls, HttpsRedirect, Matching, ObjectRef, PathKind, Policies, ProxyVersion, Proxying, Route,
    ServerProgram, Target, UpstreamTls,
};

#[derive(Debug)]
pub(super) struct HostParts {
    name: HostName,
    routes: Vec<Route>,
    /// By kind and path: index into `routes`.
    taken: HashMap<(PathKind, Arc<str>), usize>,
    /// What `/` leads to unless an Ingress defines it.
    default: Route,
    pub(super) app_root: Option<Route>,
    /// Decided by the oldest Ingress with TLS.
    pub(super) tls: Option<Option<CertificateId>>,
    /// Decided by the oldest Ingress with `proxy-ssl-secret`.
    pub(super) upstream_tls: Option<Result<UpstreamTls, Denial>>,
    pub(super) denial: Option<Denial>,
    /// Of the oldest Ingress with a `server-snippet`.
    pub(super) snippet: Option<(ObjectRef, Arc<ServerProgram>)>,
    handshake: HostTls,
    /// The oldest Ingress with `ssl-passthrough`, and what it says about the PROXY protocol.
    pub(super) passthrough: Option<(ObjectRef, Option<ProxyVersion>)>,
    /// The oldest Ingress with `server-alias`.
    pub(super) aliased_by: Option<ObjectRef>,
    pub(super) aliases: Vec<Alias>,
    /// The oldest Ingress with `from-to-www-redirect`.
    pub(super) www: Option<ObjectRef>,
}

impl HostParts {
    pub(super) fn new(name: HostName, default: Route) -> Self {
        Self {
            name,
            routes: Vec::new(),
            taken: HashMap::new(),
            default,
            app_root: None,
            tls: None,
            upstream_tls: None,
            denial: None,
            snippet: None,
            handshake: HostTls::default(),
            passthrough: None,
            aliased_by: None,
            aliases: Vec::new(),
            www: None,
        }
    }

    /// Adds a route, unless an older one has its place; returns that one.
    pub(super) fn add(&mut self, route: Route) -> Result<(), &Route> {
        let key = (route.kind, Arc::clone(&route.path));
        if let Some(&older) = self.taken.get(&key) {
            return Err(&self.routes[older]);
        }
        self.taken.insert(key, self.routes.len());
        self.routes.push(route);
        Ok(())
    }

    /// The route of this kind and path, the default one included.
    pub(super) fn route(&self, kind: PathKind, path: &Arc<str>) -> Option<&Route> {
        match self.taken.get(&(kind, Arc::clone(path))) {
            Some(&at) => self.routes.get(at),
            None if kind == PathKind::Prefix && **path == *"/" => Some(&self.default),
            None => None,
        }
    }

    /// The backend of the path `/`, `Prefix` before `Exact`; `None` if that is not served by one.
    pub(super) fn root(&self) -> Option<BackendId> {
        let of = |kind| self.taken.get(&(kind, Arc::from("/"))).and_then(|&at| self.routes.get(at));
        let route = of(PathKind::Prefix).or_else(|| of(PathKind::Exact)).unwrap_or(&self.default);
        match route.target {
            Target::Backend(id) if self.denial.is_none() => Some(id),
            _ => None,
        }
    }

    /// Gives every route that is forwarded over TLS its policy: that of its own Ingress, else that of
    /// the host, else one that verifies nothing and sends no name (reference section 1.8).
    pub(super) fn decide_upstream_tls(&mut self, backends: &Backends, policies: &mut TlsPolicies) {
        let of_host = self.upstream_tls.take();
        // Routes that had the same before have the same afterwards.
        let mut done: HashMap<(*const Proxying, *const UpstreamTls), Arc<Proxying>> =
            HashMap::new();
        for route in self.routes.iter_mut().chain([&mut self.default]) {
            if !route.proxying.protocol.may_use_tls() {
                continue;
            }
            let mut policy = match (&route.proxying.tls, &of_host) {
                // A name alone, of a snippet: the rest is the host's, verification above all.
                (Some(own), Some(Ok(host))) if own.verify.is_none() && own.identity.is_none() => {
                    UpstreamTls {
                        name: own.name.clone().or_else(|| host.name.clone()),
                        send_name: own.send_name || host.send_name,
                        ..host.clone()
                    }
                }
                (None, Some(Ok(policy))) => policy.clone(),
                (own, Some(Err(denial))) if own.as_ref().is_none_or(|own| own.verify.is_none()) => {
                    deny(route, denial);
                    continue;
                }
                (Some(own), _) => UpstreamTls::clone(own),
                (None, _) => UpstreamTls::default(),
            };
            if policy.name.is_none()
                && (policy.send_name || policy.verify.is_some())
                && let Target::Backend(id) = &route.target
                && let Some(key) = backends.key(*id)
            {
                policy.name = Some(format!("{}.{}.svc", key.service, key.namespace).into());
            }
            let policy = policies.shared(policy);
            let place = (Arc::as_ptr(&route.proxying), Arc::as_ptr(&policy));
            let proxying = done.entry(place).or_insert_with(|| {
                Arc::new(Proxying { tls: Some(policy), ..Proxying::clone(&route.proxying) })
            });
            route.proxying = Arc::clone(proxying);
        }
    }

    /// What the host's `server-snippet`, or the operator's, says for all its paths. One whose
    /// locations are also those of Ingresses would keep nginx from starting: the host answers 503.
    /// `field`: where a person finds the annotation; `configmap`: what holds the operator's.
    pub(super) fn decide_snippet(
        &mut self,
        shared: &SharedSnippets,
        field: &str,
        configmap: Option<&ObjectRef>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let (object, program) = match (&self.snippet, &shared.program) {
            (Some((object, program)), _) => (Some(object.clone()), Arc::clone(program)),
            (None, Some(program)) => (None, Arc::clone(program)),
            (None, None) => {
                self.beneath(&Effects::default());
                return;
            }
        };
        let clashes = program.locations.iter().filter_map(|own| self.clash(&own.matching));
        for path in clashes.collect::<Vec<_>>() {
            let message = format!(
                "location `{path}` of the host's server-snippet is a path of an Ingress too, which \
                 nginx does not start with; all paths of the host answer 503"
            );
            let (object, field) = match (&object, configmap) {
                (Some(object), _) => (object, field),
                (None, Some(map)) => (map, "data.server-snippet"),
                (None, None) => (&self.default.ingress, field),
            };
            Report::on(object.clone(), diagnostics).error(field, message);
            let key = field.trim_start_matches("metadata.annotations[").trim_end_matches(']');
            self.denial.get_or_insert_with(|| Denial { key: key.into() });
        }
        self.beneath(&program.effects);
        self.snippet = Some((self.default.ingress.clone(), program));
    }

    /// The path of a location that an Ingress makes too.
    fn clash(&self, matching: &Matching) -> Option<Arc<str>> {
        let routes = self.routes.iter();
        if routes.clone().any(|route| route.use_regex || route.rewrite.is_some()) {
            // They are all expressions.
            return None;
        }
        let path = match matching {
            Matching::Exact(path) => {
                let is_it = |route: &Route| {
                    *route.path == **path && (route.kind == PathKind::Exact || !path.ends_with('/'))
                };
                routes.clone().any(is_it).then_some(path)
            }
            Matching::Prefix { path, .. } => {
                let is_it = |route: &Route| {
                    route.kind == PathKind::Prefix
                        && route.path.trim_end_matches('/') == path.trim_end_matches('/')
                        && path.ends_with('/')
                };
                (&**path == "/" || routes.clone().any(is_it)).then_some(path)
            }
            Matching::Pattern(_) | Matching::Named(_) => None,
        };
        path.cloned()
    }

    /// Gives every route what holds around it.
    fn beneath(&mut self, around: &Effects) {
        // Routes that had the same before have the same afterwards.
        let mut done: HashMap<*const Policies, Arc<Policies>> = HashMap::new();
        let none = *around == Effects::default();
        for route in self.routes.iter_mut().chain([&mut self.default]).chain(&mut self.app_root) {
            let own = route.policies.clone().unwrap_or_default();
            if own.snippet.is_none() && none {
                continue;
            }
            let place = route.policies.as_ref().map_or(std::ptr::null(), Arc::as_ptr);
            let policies = done.entry(place).or_insert_with(|| {
                let program = own.snippet.clone().unwrap_or_default();
                let snippet = Some(Arc::new(program.beneath(around)));
                Arc::new(Policies { snippet, ..Policies::clone(&own) })
            });
            route.policies = Some(Arc::clone(policies));
        }
    }

    /// What an Ingress asks of handshakes. The oldest that asks for something gets it, but for an
    /// authority that is broken: nobody gets in then.
    pub(super) fn ask(&mut self, own: HostTls, key: &Denial) {
        let host = &mut self.handshake;
        host.suites = host.suites.take().or(own.suites);
        host.prefer_own_suites = host.prefer_own_suites.or(own.prefer_own_suites);
        if own.client_auth == Some(ClientAuth::Broken) {
            host.client_auth = own.client_auth;
            self.denial.get_or_insert_with(|| key.clone());
        } else {
            host.client_auth = host.client_auth.take().or(own.client_auth);
        }
    }

    /// The finished host. `above` is the TLS of the wildcard host that this name is beneath.
    pub(super) fn finish(mut self, above: Option<Option<CertificateId>>) -> Host {
        let root = (PathKind::Prefix, Arc::from("/"));
        if !self.taken.contains_key(&root) {
            self.routes.push(self.default);
        }
        // One Ingress that asks for it puts the whole host into regex mode.
        let regex = self.routes.iter().any(|route| route.use_regex || route.rewrite.is_some());
        if let Some(denial) = &self.denial {
            self.app_root = None;
            for route in &mut self.routes {
                deny(route, denial);
            }
        }
        // Names beneath a TLS wildcard are looked up there if they have no entry of their own, both
        // for the handshake and for the redirect (reference sections 4.2 and 4.4).
        let tls = self.tls.or(above);
        Host {
            name: self.name,
            aliases: self.aliases.into(),
            certificate: tls.flatten(),
            tls: tls.is_some(),
            handshake: (self.handshake != HostTls::default()).then(|| Arc::new(self.handshake)),
            regex,
            snippet: self.snippet.map(|(_, program)| program).filter(|program| {
                self.denial.is_none() && !(program.steps.is_empty() && program.locations.is_empty())
            }),
            app_root: self.app_root.map(Arc::new),
            routes: self.routes.into_iter().map(Arc::new).collect(),
        }
    }
}

/// The route answers 503, whatever else it would do. It keeps its place and what that depends on.
pub(super) fn deny(route: &mut Route, denial: &Denial) {
    route.target = Target::Denied(denial.clone());
    route.https_redirect = HttpsRedirect::Never;
}
