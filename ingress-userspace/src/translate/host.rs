//! A virtual host while Ingresses add to it, oldest first.

use std::{collections::HashMap, sync::Arc};

use crate::model::{
    BackendId, CertificateId, Denial, Host, HostName, HttpsRedirect, ObjectRef, PathKind,
    ProxyVersion, Route, Target,
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
    pub(super) denial: Option<Denial>,
    /// The oldest Ingress with `ssl-passthrough`, and what it says about the PROXY protocol.
    pub(super) passthrough: Option<(ObjectRef, Option<ProxyVersion>)>,
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
            denial: None,
            passthrough: None,
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

    /// The backend of the path `/`, `Prefix` before `Exact`; `None` if that is not served by one.
    pub(super) fn root(&self) -> Option<BackendId> {
        let of = |kind| self.taken.get(&(kind, Arc::from("/"))).and_then(|&at| self.routes.get(at));
        let route = of(PathKind::Prefix).or_else(|| of(PathKind::Exact)).unwrap_or(&self.default);
        match route.target {
            Target::Backend(id) if self.denial.is_none() => Some(id),
            _ => None,
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
            certificate: tls.flatten(),
            tls: tls.is_some(),
            regex,
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
