//! What balancing asks of a request.

use std::{cell::OnceCell, rc::Rc, sync::Arc};

use http::Method;

use super::{
    authority::without_port,
    origin::Origin,
    stages::Located,
    variables::{self, Seen},
};
use crate::{
    model::{Backend, BackendKey, HostName, Policy, Route, Variable},
    proxy::{
        balance::Asker,
        client::Client,
        message::{Fields, RequestHead},
    },
};

/// A request as the policies see it, while its head is elsewhere.
pub(super) struct Asked<'v> {
    client: Rc<Client>,
    route: &'v Route,
    service: &'v BackendKey,
    /// The host of the Ingress.
    server: &'v HostName,
    /// `None` where nothing will be asked of it.
    request: Option<Box<Copy>>,
}

/// What is asked of a request.
struct Copy {
    fields: Fields,
    method: Method,
    target: String,
    path: String,
    host: String,
    address: String,
    /// What its snippet made.
    own: Vec<(Arc<str>, Vec<u8>)>,
}

impl Copy {
    fn of(head: &RequestHead, target: &str, authority: &str, origin: &Origin<'_>) -> Box<Self> {
        Box::new(Self {
            fields: head.fields.clone(),
            method: head.method.clone(),
            target: target.to_owned(),
            path: head.path().to_owned(),
            host: without_port(authority).to_ascii_lowercase(),
            address: origin.address.clone().into_owned(),
            own: Vec::new(),
        })
    }
}

impl<'v> Asked<'v> {
    /// The request as balancing sees it; without what costs where nothing will be asked of it.
    /// `head` is the one that the upstream is asked.
    pub(super) fn new(client: &Rc<Client>, located: &Located<'v>, head: &RequestHead) -> Self {
        let Located { host, route, service, chosen, origin, authority, original, applied, .. } =
            located;
        let policy = &chosen.backend.balancing.policy;
        let is_asked = chosen.choice.affinity.is_some() || matches!(policy, Policy::Hash(_));
        let target = original.as_ref().unwrap_or(&head.target);
        Self {
            client: Rc::clone(client),
            route,
            service: &service.key,
            server: host.name(),
            request: is_asked.then(|| {
                let mut copy = Copy::of(head, target, authority, origin);
                if let Some(applied) = applied {
                    copy.own = applied.variables().to_vec();
                }
                copy
            }),
        }
    }

    /// A request of our own to this backend, on behalf of one to `route` of `server`.
    pub(super) fn aside(
        client: &Rc<Client>,
        route: &'v Route,
        server: &'v HostName,
        backend: &'v Backend,
        head: &RequestHead,
        authority: &str,
        origin: &Origin<'_>,
    ) -> Self {
        let is_asked = matches!(backend.balancing.policy, Policy::Hash(_));
        Self {
            client: Rc::clone(client),
            route,
            service: &backend.key,
            server,
            request: is_asked.then(|| Copy::of(head, &head.target, authority, origin)),
        }
    }
}

impl Asker for Asked<'_> {
    fn variable(&self, variable: &Variable, take: &mut dyn FnMut(&[u8])) {
        let Some(request) = &self.request else { return };
        if let Variable::Snippet(name) = variable {
            let own = request.own.iter().find(|(own, _)| own == name);
            return own.map_or((), |(_, value)| take(value));
        }
        let seen = Seen {
            client: &self.client,
            fields: &request.fields,
            method: &request.method,
            target: &request.target,
            path: &request.path,
            host: &request.host,
            address: &request.address,
            server: self.server,
            route: Some(self.route),
            service: Some(self.service),
            request_id: OnceCell::new(),
            trace: None,
        };
        seen.variable(variable, take);
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        variables::cookie(&self.request.as_ref()?.fields, name)
    }

    fn now(&self) -> u64 {
        self.client.worker.deadlines.now()
    }
}
