//! What snippets do with a request, in nginx's order: the steps of the server before its path is
//! looked at, a location of the snippet or a route, the steps of that, and then what holds in the
//! context that they end in. Only hosts and routes with snippets have any of this.

mod place;
mod plan;
mod steps;
mod values;

use std::{cell::OnceCell, sync::Arc};

use http::Method;

pub(super) use self::{
    place::Next,
    plan::{Observed, Plan},
};
use super::{admission::Admission, authority::without_port, origin::Origin};
use crate::{
    model::{Access, BackendKey, Effects, HostName, Program, Route, ServerProgram, Settings},
    proxy::{
        client::Client,
        message::{Fields, Known, RequestHead},
        respond::{Answer, Failure, Instead},
    },
    route::escape,
};
use place::typed;
use steps::Flow;

/// As nginx: who is sent on more often goes in circles.
const JUMPS: u32 = 10;

/// A request while it goes through snippets.
pub(super) struct Script<'v> {
    client: &'v Client,
    server: &'v HostName,
    method: Method,
    /// As the client wrote it.
    authority: String,
    /// Lower case, without port.
    host: String,
    address: String,
    /// As the client sent it.
    target: String,
    /// The decoded path, as it stands now.
    pub(super) uri: String,
    /// The query, as it stands now.
    args: String,
    /// One of these is not the client's any more.
    pub(super) replaced: bool,
    /// A rewrite made the path: it may lead to what is `internal` (nginx's `r->internal`).
    internal: bool,
    /// The path is to be looked up again.
    changed: bool,
    /// No further step of the location, the rewrite of its route included.
    broken: bool,
    /// The client escaped something: groups are escaped where nginx does so.
    escaped: bool,
    groups: Vec<String>,
    own: Vec<(Arc<str>, Vec<u8>)>,
    /// Which context of the program holds.
    context: usize,
    jumps: u32,
    route: Option<&'v Route>,
    service: Option<&'v BackendKey>,
    request_id: OnceCell<[u8; 32]>,
    /// The answer stands in the place of another one's page.
    is_page: bool,
}

/// What snippets are about while a request goes through the stages.
#[derive(Default)]
pub(super) struct Planned<'v> {
    /// What is to be done to its answer.
    pub(super) plan: Option<Box<Plan<'v>>>,
    /// In whose place its answer stands: a request of ours.
    pub(super) page: Option<Box<Instead>>,
    /// The head before it was changed, where another request may have to be made of it.
    pub(super) pristine: Option<Box<RequestHead>>,
}

/// What is left to do for a request that is passed on.
pub(super) struct Applied<'v> {
    effects: &'v Effects,
    to_upstream: Vec<(&'v Arc<str>, plan::Settled)>,
    /// What `set` made.
    own: Vec<(Arc<str>, Vec<u8>)>,
}

impl<'v> Script<'v> {
    pub(super) fn new(
        client: &'v Client,
        server: &'v HostName,
        head: &RequestHead,
        authority: &str,
        path: &str,
        settings: &Settings,
    ) -> Self {
        let origin = Origin::of(client, &head.fields, settings);
        // Of a page: what the client asked for.
        let target = head.original.as_ref().unwrap_or(&head.target).clone();
        Self {
            client,
            server,
            method: head.method.clone(),
            authority: authority.to_owned(),
            host: without_port(authority).trim_end_matches('.').to_ascii_lowercase(),
            address: origin.address.clone().into_owned(),
            uri: path.to_owned(),
            args: head.query().unwrap_or_default().to_owned(),
            replaced: false,
            internal: false,
            changed: false,
            broken: false,
            escaped: head.path().contains(['%', '+']),
            groups: Vec::new(),
            own: Vec::new(),
            context: 0,
            jumps: 0,
            route: None,
            service: None,
            request_id: OnceCell::new(),
            is_page: head.original.is_some(),
            target,
        }
    }

    /// The steps of the server.
    pub(super) fn enter(
        &mut self,
        server: &'v ServerProgram,
        head: &RequestHead,
        plan: &mut Option<Box<Plan<'v>>>,
    ) -> Result<Option<Answer>, Failure> {
        *plan = Some(self.plan(&server.effects, &head.fields));
        let flow = self.steps(&server.steps, &head.fields)?;
        self.changed = false;
        *plan = Some(self.plan(&server.effects, &head.fields));
        Ok(self.answered(flow, plan))
    }

    /// What the steps of the server leave behind, without what they answer: they answered before, or
    /// let the request pass, which now is on its way to a named location.
    pub(super) fn enter_aside(
        &mut self,
        server: &'v ServerProgram,
        head: &RequestHead,
        plan: &mut Option<Box<Plan<'v>>>,
    ) -> Result<Option<Answer>, Failure> {
        let (uri, args) = (self.uri.clone(), self.args.clone());
        let (replaced, jumps, internal) = (self.replaced, self.jumps, self.internal);
        let _answered = self.steps(&server.steps, &head.fields);
        (self.uri, self.args) = (uri, args);
        (self.replaced, self.jumps, self.changed, self.broken) = (replaced, jumps, false, false);
        self.internal = internal;
        *plan = Some(self.plan(&server.effects, &head.fields));
        Ok(None)
    }

    /// A route is found: what holds for it from now on.
    pub(super) fn arrive(
        &mut self,
        route: &'v Route,
        service: Option<&'v BackendKey>,
        program: &'v Program,
        head: &RequestHead,
        plan: &mut Option<Box<Plan<'v>>>,
    ) {
        (self.route, self.service) = (Some(route), service);
        (self.context, self.changed, self.broken) = (0, false, false);
        *plan = self.effects(program).map(|effects| self.plan(effects, &head.fields));
    }

    /// The steps of the route.
    pub(super) fn pass(
        &mut self,
        program: &'v Program,
        head: &RequestHead,
        plan: &mut Option<Box<Plan<'v>>>,
    ) -> Result<Option<Answer>, Failure> {
        let flow = self.steps(&program.steps, &head.fields)?;
        *plan = self.effects(program).map(|effects| self.plan(effects, &head.fields));
        Ok(self.answered(flow, plan))
    }

    /// An answer of a step; pages of nginx may stand elsewhere.
    fn answered(&self, flow: Flow, plan: &Option<Box<Plan<'v>>>) -> Option<Answer> {
        match flow {
            Flow::Answer { answer, is_page: true } => {
                let elsewhere = plan.as_ref().and_then(|plan| plan.page(answer.head.status));
                Some(elsewhere.unwrap_or(answer))
            }
            Flow::Answer { mut answer, is_page: false } => {
                typed(&mut answer, plan.as_ref().and_then(|plan| plan.content_type()));
                Some(answer)
            }
            Flow::Next | Flow::Break | Flow::Last => None,
        }
    }

    /// The rewrite of the route is still to be done.
    pub(super) fn rewrites(&self) -> bool {
        !self.broken
    }

    /// The path must be looked up again, unless the route's own rewrite settles it.
    pub(super) fn jumps(&mut self) -> Result<bool, Failure> {
        if !self.changed {
            return Ok(false);
        }
        self.changed = false;
        self.jumps += 1;
        if self.jumps > JUMPS { Err(Failure::RewriteLoop) } else { Ok(true) }
    }

    /// The target to ask for, where it is not the client's.
    pub(super) fn new_target(&self) -> Result<Option<String>, Failure> {
        if !self.replaced {
            return Ok(None);
        }
        let mut target = String::with_capacity(self.uri.len() + self.args.len() + 2);
        if !self.uri.starts_with('/') {
            target.push('/');
        }
        escape(&self.uri, &mut target);
        if !self.args.is_empty() {
            target.push('?');
            target.push_str(&self.args);
        }
        if target.bytes().any(|byte| byte <= b' ' || byte == 0x7F) {
            return Err(Failure::BadTarget);
        }
        Ok(Some(target))
    }

    /// Changes the fields of the request, and says what is to be done later.
    pub(super) fn leave(
        self,
        program: &'v Program,
        fields: &mut Fields,
    ) -> Option<Box<Applied<'v>>> {
        let effects = self.effects(program)?;
        for rule in &effects.input {
            if rule.replace && fields.get_named(rule.name.as_bytes()).is_none() {
                continue;
            }
            let value = rule.value.as_ref().map(|value| self.value(value, fields, false));
            if !rule.prefix {
                fields.remove_alike(rule.name.as_bytes());
            }
            plan::put(fields, &rule.name, rule.prefix, value.as_deref());
        }
        let value = |(name, value)| (name, self.settled(value, fields));
        let grpc = self.route.is_some_and(|route| route.proxying.protocol.is_http2());
        let told = if grpc { &effects.to_grpc } else { &effects.to_upstream };
        let pairs = told.iter().flatten().map(|(name, value)| (name, value));
        let to_upstream = pairs.map(value).collect();
        if let Some(id) = self.request_id.get() {
            fields.set(Known::XRequestId, id);
        }
        Some(Box::new(Applied { effects, to_upstream, own: self.own }))
    }

    /// What holds now.
    fn effects(&self, program: &'v Program) -> Option<&'v Effects> {
        program.contexts.get(self.context)
    }
}

impl Applied<'_> {
    /// What `set` made, by its names.
    pub(super) fn variables(&self) -> &[(Arc<str>, Vec<u8>)] {
        &self.own
    }

    /// `allow`, `deny` and `limit_except`. `decided`: a list of the annotations has let the address in,
    /// and in nginx the first rule that holds an address counts.
    pub(super) fn admit(
        &self,
        method: &Method,
        address: std::net::IpAddr,
        decided: bool,
    ) -> Result<(), Failure> {
        let excepted = self.effects.methods.as_ref();
        if excepted.is_some_and(|all| !all.iter().any(|own| **own == *method.as_str())) {
            return Err(Failure::Forbidden);
        }
        let rules = self.effects.access.as_deref().filter(|_| !decided);
        if is_allowed(rules.unwrap_or_default(), address) {
            Ok(())
        } else {
            Err(Failure::Forbidden)
        }
    }

    /// The client's own fields do not go to the endpoint; only what says who asks for what.
    pub(super) fn drop_fields(&self, fields: &mut Fields) {
        if self.effects.drop_fields == Some(true) {
            fields.retain(|field| {
                matches!(
                    field.known,
                    Some(
                        Known::Upgrade
                            | Known::XForwardedFor
                            | Known::XForwardedHost
                            | Known::XRequestId
                    )
                )
            });
        }
    }

    /// `underscores_in_headers`, if it says something.
    pub(super) fn underscores(&self) -> Option<bool> {
        self.effects.underscores
    }

    /// `proxy_set_header` says this field.
    pub(super) fn tells(&self, known: Known) -> bool {
        self.to_upstream.iter().any(|(name, _)| name.eq_ignore_ascii_case(known.as_str()))
    }

    /// `proxy_set_header`: an empty value removes the field.
    pub(super) fn to_upstream(&self, fields: &mut Fields, admission: Option<&Admission>) {
        if self.to_upstream.is_empty() {
            return;
        }
        let observed = Observed::of(admission);
        for (name, value) in &self.to_upstream {
            fields.remove_alike(name.as_bytes());
            plan::put(fields, name, false, Some(&plan::text(value, 0, &observed)));
        }
    }
}

/// The first rule that holds the address decides; without any, everyone may ask.
fn is_allowed(rules: &[Access], address: std::net::IpAddr) -> bool {
    rules
        .iter()
        .find(|rule| rule.range.is_none_or(|range| range.contains(address)))
        .is_none_or(|rule| rule.allowed)
}
