//! What is told of a request that has come to its end: a span of the request, and one of each attempt
//! at an endpoint. Numbers of fields are those of `opentelemetry/proto/trace/v1/trace.proto`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::Method;

use super::{
    attributes::{self, OF_SPAN},
    context::Context,
    protobuf,
    trace::{Asked, Settled, Trace},
};
use crate::{
    model::{Export, Route, Target},
    proxy::{
        access_log::Ending,
        balance::View,
        message::{RequestHead, Version},
    },
};

/// `SpanKind`.
const SERVER: u64 = 2;
const CLIENT: u64 = 3;
/// `StatusCode`.
const ERROR: u64 = 2;
/// `SpanFlags`: it is known whether the parent is of another process; it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;
/// `ScopeSpans.spans`.
const SPANS: u32 = 2;

/// When, and how, an attempt went; times since the beginning of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempted {
    pub(crate) address: SocketAddr,
    pub(crate) begun: Duration,
    pub(crate) ended: Duration,
    /// The endpoint's own, if it has answered; else what the failure counts as.
    pub(crate) status: u16,
    pub(crate) is_answered: bool,
}

impl Trace {
    /// Hands over the request's spans, if it has some. `elapsed`: since its beginning; `complete`: the
    /// answer reached its end.
    pub(crate) fn end(
        &self,
        view: &View,
        ending: &Ending<'_>,
        elapsed: Duration,
        complete: bool,
        attempts: impl Iterator<Item = Attempted>,
    ) {
        let Some(settled) = self.settled().filter(|settled| settled.context.sampled) else {
            return;
        };
        let Some(tracing) = &view.snapshot.model.settings.tracing else { return };
        // Balancers in front ask all the time.
        if ending.subject.route.is_none() && ending.status == 200 {
            return;
        }
        let outlet = &ending.client.worker.spans;
        let whole = Whole { trace: self, settled, view, ending, elapsed, complete };
        outlet.span(&tracing.export, |out| protobuf::message(out, SPANS, |out| whole.write(out)));
        for (index, (attempt, asked)) in attempts.zip(&*self.asked.borrow()).enumerate() {
            self.attempt(&tracing.export, settled, ending, index, attempt, asked);
        }
    }

    fn attempt(
        &self,
        export: &Arc<Export>,
        settled: &Settled,
        ending: &Ending<'_>,
        index: usize,
        attempt: Attempted,
        asked: &Asked,
    ) {
        let own = |out: &mut Vec<u8>| {
            let head = ending.head;
            let span = Span {
                id: asked.span,
                parent: Some(settled.context.span),
                is_remote: false,
                kind: CLIENT,
                begun: self.begun + attempt.begun,
                ended: self.begun + attempt.ended,
            };
            span.write(out, &settled.context);
            match &settled.attempt_name {
                Some(name) => name_of(out, name),
                None => name_of(out, known(&head.method).unwrap_or("HTTP").as_bytes()),
            }
            method(out, head);
            let address = attempt.address.ip().to_string();
            text(out, "server.address", &address);
            number(out, "server.port", attempt.address.port().into());
            text(out, "network.peer.address", &address);
            number(out, "network.peer.port", attempt.address.port().into());
            let scheme = if asked.tls { "https" } else { "http" };
            let (path, query) = split(&asked.target);
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            text(out, "url.full", &format!("{scheme}://{}{path}{query}", attempt.address));
            if index > 0 {
                number(out, "http.request.resend_count", index as u64);
            }
            let status = attempt.status;
            if attempt.is_answered {
                number(out, "http.response.status_code", status.into());
            }
            let error = match (attempt.is_answered, status) {
                (true, ..400) => return,
                (true, status) => status.to_string(),
                (false, 504) => "timeout".to_owned(),
                (false, 0) => "client_gone".to_owned(),
                (false, _) => "connection_error".to_owned(),
            };
            failed(out, &error);
        };
        let outlet = &ending.client.worker.spans;
        outlet.span(export, |out| protobuf::message(out, SPANS, own));
    }
}

/// The span of the request itself.
struct Whole<'r> {
    trace: &'r Trace,
    settled: &'r Settled,
    view: &'r View,
    ending: &'r Ending<'r>,
    elapsed: Duration,
    complete: bool,
}

impl Whole<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { trace, settled, ending, elapsed, complete, .. } = *self;
        let Ending { client, head, status, .. } = *ending;
        let context = &settled.context;
        let span = Span {
            id: context.span,
            parent: context.parent,
            is_remote: context.parent.is_some(),
            kind: SERVER,
            begun: trace.begun,
            ended: trace.begun + elapsed,
        };
        span.write(out, context);
        let verb = known(&head.method).unwrap_or("HTTP");
        match (&settled.name, self.own()) {
            (Some(name), _) => name_of(out, name),
            (None, Some(route)) => name_of(out, format!("{verb} {}", route.path).as_bytes()),
            (None, None) => name_of(out, verb.as_bytes()),
        }
        method(out, head);
        text(out, "url.scheme", if client.https { "https" } else { "http" });
        let (path, query) = split(&trace.target);
        text(out, "url.path", path);
        if let Some(query) = query {
            text(out, "url.query", &query);
        }
        number(out, "http.response.status_code", status.into());
        let version = match head.version {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::Http2 => "2",
        };
        text(out, "network.protocol.version", version);
        if !settled.host.is_empty() {
            text(out, "server.address", &settled.host);
        }
        if let Ok(port) = client.port.parse() {
            number(out, "server.port", port);
        }
        text(out, "client.address", &settled.address);
        text(out, "network.peer.address", &client.peer_text);
        number(out, "network.peer.port", client.peer.port().into());
        if !settled.user_agent.is_empty() {
            attributes::text(out, OF_SPAN, "user_agent.original", &settled.user_agent);
        }
        self.route(out);
        match (status, complete) {
            (500.., _) => failed(out, &status.to_string()),
            (_, false) => failed(out, "incomplete"),
            _ => {}
        }
    }

    /// The route, if it is an Ingress', and not the built-in default backend.
    fn own(&self) -> Option<&Route> {
        let route = self.ending.subject.route?;
        (route.ingress.kind == "Ingress").then_some(route)
    }

    /// The conventions' `http.route`, and what people of ingress-nginx have configured.
    fn route(&self, out: &mut Vec<u8>) {
        let Some(route) = self.own() else { return };
        text(out, "http.route", &route.path);
        text(out, "ingress.namespace", &route.ingress.namespace);
        text(out, "ingress.name", &route.ingress.name);
        let service = match &route.target {
            Target::Backend(id) => self.view.backend(*id),
            _ => None,
        };
        let Some(key) = service.map(|service| &service.key) else { return };
        text(out, "ingress.service_name", &key.service);
        let upstream = self.ending.subject.canary.map_or(key, |canary| &canary.key);
        let named = format!("{}-{}-{}", upstream.namespace, upstream.service, upstream.port);
        text(out, "ingress.upstream", &named);
    }
}

/// What every span has.
struct Span {
    id: u64,
    parent: Option<u64>,
    is_remote: bool,
    kind: u64,
    begun: Duration,
    ended: Duration,
}

impl Span {
    fn write(&self, out: &mut Vec<u8>, context: &Context) {
        protobuf::bytes(out, 1, &context.trace.to_be_bytes());
        protobuf::bytes(out, 2, &self.id.to_be_bytes());
        if !context.state.is_empty() {
            protobuf::bytes(out, 3, &context.state);
        }
        if let Some(parent) = self.parent {
            protobuf::bytes(out, 4, &parent.to_be_bytes());
        }
        protobuf::number(out, 6, self.kind);
        protobuf::fixed64(out, 7, nanos(self.begun));
        protobuf::fixed64(out, 8, nanos(self.ended));
        let remote = if self.is_remote { IS_REMOTE } else { 0 };
        protobuf::fixed32(out, 16, context.flags() | HAS_IS_REMOTE | remote);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn name_of(out: &mut Vec<u8>, name: &[u8]) {
    protobuf::bytes(out, 5, attributes::shown(name).as_bytes());
}

fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    attributes::text(out, OF_SPAN, name, value.as_bytes());
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    attributes::number(out, OF_SPAN, name, value);
}

fn failed(out: &mut Vec<u8>, kind: &str) {
    text(out, "error.type", kind);
    protobuf::message(out, 15, |out| protobuf::number(out, 3, ERROR));
}

/// Methods are the client's to make up; the conventions name those that there are.
fn known(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 9] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|known| *known == method.as_str())
}

fn method(out: &mut Vec<u8>, head: &RequestHead) {
    match known(&head.method) {
        Some(known) => text(out, "http.request.method", known),
        None => {
            text(out, "http.request.method", "_OTHER");
            text(out, "http.request.method_original", head.method.as_str());
        }
    }
}

/// A target's path, and its query without secrets.
fn split(target: &str) -> (&str, Option<String>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(attributes::query(query))),
        None => (target, None),
    }
}
