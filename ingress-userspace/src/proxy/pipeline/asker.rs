//! What balancing asks of a request.

use std::{cell::OnceCell, rc::Rc};

use http::Method;

use super::{
    canary::Chosen,
    origin::Origin,
    variables::{self, Seen},
};
use crate::{
    model::{BackendKey, HostName, Policy, Route, Variable},
    proxy::{
        balance::Asker,
        client::Client,
        message::{Fields, RequestHead},
    },
};

/// Where a request was led.
#[derive(Clone, Copy)]
pub(super) struct Led<'v> {
    pub(super) route: &'v Route,
    pub(super) service: &'v BackendKey,
    /// The host of the Ingress.
    pub(super) server: &'v HostName,
}

/// A request as the policies see it, while its head is elsewhere.
pub(super) struct Asked<'v> {
    client: Rc<Client>,
    led: Led<'v>,
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
}

impl<'v> Asked<'v> {
    /// The request as balancing sees it; without what costs where nothing will be asked of it.
    /// `target` is the one that the client sent, `head` the one that the upstream is asked.
    pub(super) fn new(
        client: &Rc<Client>,
        led: Led<'v>,
        chosen: &Chosen<'_>,
        head: &RequestHead,
        host: &str,
        target: Option<&str>,
        origin: &Origin<'_>,
    ) -> Self {
        let policy = &chosen.backend.balancing.policy;
        let is_asked = chosen.choice.affinity.is_some() || matches!(policy, Policy::Hash(_));
        let copy = || {
            Box::new(Copy {
                fields: head.fields.clone(),
                method: head.method.clone(),
                target: target.unwrap_or(&head.target).to_owned(),
                path: head.path().to_owned(),
                host: host.to_owned(),
                address: origin.address.clone().into_owned(),
            })
        };
        Self { client: Rc::clone(client), led, request: is_asked.then(copy) }
    }
}

impl Asker for Asked<'_> {
    fn variable(&self, variable: &Variable, take: &mut dyn FnMut(&[u8])) {
        let Some(request) = &self.request else { return };
        let seen = Seen {
            client: &self.client,
            fields: &request.fields,
            method: &request.method,
            target: &request.target,
            path: &request.path,
            host: &request.host,
            address: &request.address,
            server: self.led.server,
            route: Some(self.led.route),
            service: Some(self.led.service),
            request_id: OnceCell::new(),
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
