//! What is remembered of a request for its spans, from its beginning on.

use std::{
    cell::{OnceCell, RefCell},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    attributes::{ENOUGH, LONGEST},
    context::Context,
};
use crate::{
    model::{HostName, Propagator, Proxying, Settings, Target, Text},
    proxy::{
        balance::View,
        client::Client,
        counters::Subject,
        message::{Known, RequestHead},
        pipeline::{Origin, Seen, without_port},
    },
};

/// A request that may have spans: that is known with its route.
#[derive(Debug)]
pub(crate) struct Trace {
    /// When it began, since 1970.
    pub(super) begun: Duration,
    /// The target as the client sent it.
    pub(super) target: Box<str>,
    /// `None` within: it has no part in a trace.
    settled: OnceCell<Option<Box<Settled>>>,
    /// How endpoints were asked, in the order of the attempts.
    pub(super) asked: RefCell<Vec<Asked>>,
}

/// What is known of it since then.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) context: Context,
    /// What it is called, if somebody chose that.
    pub(super) name: Option<Vec<u8>>,
    /// The same of attempts at endpoints.
    pub(super) attempt_name: Option<Vec<u8>>,
    pub(super) address: String,
    pub(super) host: String,
    pub(super) user_agent: Vec<u8>,
}

/// One attempt at an endpoint.
#[derive(Debug)]
pub(super) struct Asked {
    /// Its span; never zero.
    pub(super) span: u64,
    pub(super) tls: bool,
    /// Empty where nothing will be told of it.
    pub(super) target: Box<str>,
}

impl Trace {
    /// Of a request as it came. `None`: nobody takes spans.
    pub(crate) fn begin(head: &RequestHead, settings: &Settings) -> Option<Self> {
        settings.tracing.as_ref()?;
        // What could not be read is no request.
        if head.target.is_empty() {
            return None;
        }
        Some(Self {
            begun: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            target: head.target.as_str().into(),
            settled: OnceCell::new(),
            asked: RefCell::default(),
        })
    }

    /// The route is known, and the request is still as its client sent it: decides once and for all
    /// whether it has a part in a trace.
    pub(crate) fn settle(&self, seen: &Seen<'_>, settings: &Settings) {
        self.settled.get_or_init(|| settled(seen, settings).map(Box::new));
    }

    /// The same at its end, of a request that no endpoint was to be asked about.
    pub(crate) fn settle_late(
        &self,
        client: &Client,
        subject: &Subject<'_>,
        head: &RequestHead,
        view: &View,
    ) {
        if self.settled.get().is_some() {
            return;
        }
        let settings = &view.snapshot.model.settings;
        let route = subject.route.map(|route| &**route);
        let service = match route.map(|route| &route.target) {
            Some(Target::Backend(id)) => view.backend(*id),
            _ => None,
        };
        let origin = Origin::of(client, &head.fields, settings);
        let host = match head.authority.as_str() {
            "" => head.fields.get(Known::Host).unwrap_or_default(),
            named => named.as_bytes(),
        };
        let seen = Seen {
            client,
            fields: &head.fields,
            method: &head.method,
            target: &self.target,
            path: head.path(),
            host: without_port(std::str::from_utf8(host).unwrap_or_default()),
            address: &origin.address,
            server: subject.host.unwrap_or(&HostName::CatchAll),
            route,
            service: service.map(|service| &service.key),
            request_id: OnceCell::new(),
            trace: None,
        };
        self.settle(&seen, settings);
    }

    pub(super) fn settled(&self) -> Option<&Settled> {
        self.settled.get()?.as_deref()
    }

    /// An endpoint is asked: tells it of this attempt's span.
    pub(crate) fn announce(&self, client: &Client, proxying: &Proxying, head: &mut RequestHead) {
        let Some(Settled { context, .. }) = self.settled() else { return };
        let span = client.worker.random.borrow_mut().u64(1..);
        let target = if context.sampled { cut(&head.target) } else { "" };
        let tls = proxying.protocol.uses_tls(client.https);
        self.asked.borrow_mut().push(Asked { span, tls, target: target.into() });
        context.write(span, &mut head.fields);
    }

    /// The last attempt was none.
    pub(crate) fn forget_attempt(&self) {
        self.asked.borrow_mut().pop();
    }

    /// `$opentelemetry_trace_id`.
    pub(crate) fn trace_id(&self) -> Option<String> {
        Some(format!("{:032x}", self.settled()?.context.trace))
    }

    /// `$opentelemetry_span_id`.
    pub(crate) fn span_id(&self) -> Option<String> {
        Some(format!("{:016x}", self.settled()?.context.span))
    }

    /// `$opentelemetry_context_traceparent` and `$opentelemetry_context_b3`.
    pub(crate) fn context_as(&self, propagator: Propagator) -> Option<Vec<u8>> {
        let context = &self.settled()?.context;
        Some(match propagator {
            Propagator::TraceContext => context.traceparent(context.span),
            Propagator::B3 | Propagator::B3Multi => context.b3(context.span),
        })
    }
}

fn settled(seen: &Seen<'_>, settings: &Settings) -> Option<Settled> {
    let tracing = settings.tracing.as_deref()?;
    let policy = seen.route.and_then(|route| route.policies.as_ref()?.tracing.as_ref());
    if !policy.and_then(|own| own.enabled).unwrap_or(tracing.enabled) {
        return None;
    }
    let trust = policy.and_then(|own| own.trust).unwrap_or(tracing.trust);
    let mut random = seen.client.worker.random.borrow_mut();
    let context = Context::begin(seen.fields, tracing, trust, &mut random);
    drop(random);
    let mut settled = Settled {
        context,
        name: None,
        attempt_name: None,
        address: seen.address.to_owned(),
        host: String::new(),
        user_agent: Vec::new(),
    };
    if settled.context.sampled {
        let name = policy.and_then(|own| own.name.as_ref()).or(tracing.name.as_ref());
        let chosen = |name: Option<&Arc<Text>>| {
            name.map(|name| seen.text(name)).filter(|name| !name.is_empty())
        };
        settled.name = chosen(name);
        settled.attempt_name = chosen(tracing.attempt_name.as_ref());
        settled.host = cut(seen.host).to_owned();
        let agent = seen.fields.get(Known::UserAgent).unwrap_or_default();
        settled.user_agent = agent.get(..ENOUGH).unwrap_or(agent).to_owned();
    }
    Some(settled)
}

/// As much of a text as is told.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
