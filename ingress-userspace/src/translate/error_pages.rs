//! Which backends are asked in the place of errors (reference section 5.7).

use std::{collections::BTreeSet, sync::Arc};

use super::{
    annotations::{Annotations, ErrorPagesRequest},
    backends::first_port,
    ingress::Assembly,
    report::Report,
};
use crate::{
    model::{BackendId, BackendKey, ErrorPages, ObjectRef, Policies, PortRef},
    stores::{Key, Stores},
};

/// The first ports of the Services that annotations name without port. They are part of what routes
/// are made of: another first port is another backend.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstPorts(Vec<FirstPort>);

/// The first port of a Service, as an Ingress found it.
#[derive(Clone, Debug)]
struct FirstPort {
    ingress: Key,
    service: Key,
    port: Option<PortRef>,
}

impl FirstPorts {
    fn find(&mut self, stores: &Stores, ingress: &Key, service: Key) -> Option<PortRef> {
        let port = Self::port(stores, &service);
        self.0.push(FirstPort { ingress: ingress.clone(), service, port: port.clone() });
        port
    }

    /// Puts what these Ingresses found now in the place of what they found before.
    pub(super) fn replace(&mut self, ingresses: &BTreeSet<Key>, found: Self) {
        self.0.retain(|one| !ingresses.contains(&one.ingress));
        self.0.extend(found.0);
    }

    /// They still are what they were.
    pub(super) fn are_same(&self, stores: &Stores) -> bool {
        self.0.iter().all(|one| Self::port(stores, &one.service) == one.port)
    }

    fn port(stores: &Stores, key: &Key) -> Option<PortRef> {
        stores.services.get(&key.namespace, &key.name).and_then(|service| first_port(service))
    }
}

impl Assembly<'_> {
    /// Adds to what requests of an Ingress go through who answers in the place of errors.
    pub(super) fn add_error_pages(
        &mut self,
        key: &Key,
        annotations: &mut Annotations,
        report: &mut Report<'_>,
    ) {
        if let Some(pages) = self.error_pages(key, &annotations.error_pages, report) {
            let policies = annotations.policies.as_deref().cloned().unwrap_or_default();
            let errors = Some(pages);
            annotations.policies = Some(Arc::new(Policies { errors, ..policies }));
        }
    }

    fn error_pages(
        &mut self,
        key: &Key,
        request: &ErrorPagesRequest,
        report: &mut Report<'_>,
    ) -> Option<ErrorPages> {
        let own = request.default_backend.as_ref().and_then(|service| {
            let named = Key::new(Arc::clone(&key.namespace), Arc::clone(service));
            let Some(port) = self.first_ports.find(self.stores, key, named) else {
                let message = format!(
                    "Service {}/{service} does not exist or has no port; it is ignored",
                    key.namespace
                );
                report.error(self.field("default-backend"), message);
                return None;
            };
            let namespace = Arc::clone(&key.namespace);
            let service = Arc::clone(service);
            let object = ObjectRef::new("Ingress", key.namespace.clone(), key.name.clone());
            Some(self.backends.aside(BackendKey { namespace, service, port }, &object))
        });
        if request.named && own.is_none() && self.global_backend.is_none() {
            let message = "there is nobody to ask, neither `default-backend` nor \
                           --default-backend-service; these answers stay as they are";
            report.warning(self.field("custom-http-errors"), message);
        }
        self.pages(Arc::clone(&request.statuses), request.own_only, own)
    }

    /// `None` where there is nothing to replace, or nobody to ask.
    pub(super) fn pages(
        &self,
        statuses: Arc<[u16]>,
        own_only: bool,
        own: Option<BackendId>,
    ) -> Option<ErrorPages> {
        let global = self.global_backend;
        let is_needed = own.is_some() || global.is_some() && !statuses.is_empty();
        let proxying = Arc::clone(&self.config.proxying);
        is_needed.then_some(ErrorPages { statuses, own_only, own, global, proxying })
    }
}
