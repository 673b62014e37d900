//! What every answer gets and none keeps, whoever made it.

use std::{cell::OnceCell, rc::Rc};

use super::{
    admission::Admission,
    compression, cors, external, headers,
    origin::Origin,
    settings,
    snippet::{Observed, Plan},
    variables::Seen,
};
use crate::{
    model::{Compression, FieldSetting, HostName, Target},
    proxy::{
        balance::View,
        client::Client,
        counters::Subject,
        exchange::{Encoder, Verdict},
        message::{Fields, Known, RequestHead, ResponseHead},
    },
};

/// The request that is answered.
pub(super) struct Answered<'r> {
    pub(super) client: &'r Rc<Client>,
    pub(super) view: &'r Rc<View>,
    /// The host and route that were meant, as far as that is known.
    pub(super) subject: Subject<'r>,
    pub(super) request: &'r RequestHead,
    /// What it was admitted with.
    pub(super) admission: Option<&'r Admission>,
}

impl Answered<'_> {
    /// Makes an answer ready for the client.
    pub(super) fn finish(&self, head: &mut ResponseHead) {
        let Self { client, view, subject, request, .. } = self;
        let policy = &view.snapshot.model.settings.fields;
        headers::clean_response(head);
        if !head.fields.contains(Known::Date) {
            client.worker.date.with(|date| head.fields.push_known(Known::Date, date));
        }
        if client.tls
            && let Some(hsts) = &view.hsts
        {
            head.fields.set(Known::StrictTransportSecurity, hsts.as_bytes());
        }
        if let Some(admission) = self.admission {
            external::cookies(admission, head);
        }
        settings::server(&mut head.fields, policy);
        self.set(&policy.to_client, head);
        // What the location says precedes what all say.
        if let Some(policies) = subject.route.and_then(|route| route.policies.as_deref()) {
            if let Some(cors) = &policies.cors {
                cors::apply(cors, &request.fields, head);
            }
            if let Some(own) = &policies.headers {
                self.set(own, head);
            }
        }
    }

    /// How the body of a finished answer goes to the client. `plan`: what snippets do to it,
    /// `observed`: what they saw of it.
    pub(super) fn encode(
        &self,
        head: &mut ResponseHead,
        plan: Option<(&Plan<'_>, &Observed)>,
    ) -> Verdict {
        let all = self.view.snapshot.model.settings.compression.as_deref();
        let Some((plan, observed)) = plan else {
            let encoder = all.and_then(|all| self.compress(all, &self.request.fields, head));
            return encoder.map_or(Verdict::Pass, Verdict::Encode);
        };
        let substituter = plan.substitute(head, observed);
        let own = plan.compression(all);
        let accepted = plan.accepted().unwrap_or(&self.request.fields);
        let encoder = own.as_ref().or(all).and_then(|own| self.compress(own, accepted, head));
        match (substituter, encoder) {
            (None, encoder) => encoder.map_or(Verdict::Pass, Verdict::Encode),
            (Some(substituter), encoder) => {
                let mut encoder = encoder.unwrap_or_else(|| Box::new(Encoder::plain()));
                encoder.substitute(substituter);
                Verdict::Encode(encoder)
            }
        }
    }

    fn compress(
        &self,
        compression: &Compression,
        accepted: &Fields,
        head: &mut ResponseHead,
    ) -> Option<Box<Encoder>> {
        let hold = self.subject.route.is_some_and(|route| route.proxying.buffer_response);
        compression::apply(compression, self.request, accepted, head, hold)
    }

    fn set(&self, settings: &[FieldSetting], head: &mut ResponseHead) {
        let values = match settings::have_variables(settings) {
            true => self.values(settings),
            false => settings::Values::new(),
        };
        settings::set(&mut head.fields, settings, values);
    }

    fn values(&self, settings: &[FieldSetting]) -> settings::Values {
        let Self { client, view, subject, request, .. } = self;
        let origin = Origin::of(client, &request.fields, &view.snapshot.model.settings);
        let route = subject.route.map(|route| &**route);
        let service = match route.map(|route| &route.target) {
            Some(Target::Backend(id)) => view.backend(*id),
            _ => None,
        };
        let seen = Seen {
            client,
            fields: &request.fields,
            method: &request.method,
            target: request.original.as_deref().unwrap_or(&request.target),
            path: request.path(),
            host: &request.authority,
            address: &origin.address,
            server: subject.host.unwrap_or(&HostName::CatchAll),
            route,
            service: service.map(|service| &service.key),
            request_id: OnceCell::new(),
            trace: request.trace(),
        };
        settings::values(settings, &seen)
    }
}
