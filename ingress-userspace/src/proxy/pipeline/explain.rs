//! What becomes of a request that is only thought through ([`trial`](crate::proxy::trial)): the same
//! stages, in the same order, without the exchange at their end; and the words in which they say what
//! they do.

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use rustls::pki_types::UnixTime;

use super::{
    access::Verdict,
    canary::{self, Chosen},
    errors,
    finish::Answered,
    firewall::{NAMED, named},
    said,
    snippet::Planned,
    stages::{self, Decision, Forward, Step},
};
use crate::{
    firewall,
    model::{
        AuthScheme, Backend, ExternalAuth, HostName, Login, Mirror, MirrorHost, Route, Target,
    },
    proxy::{
        balance::View,
        buffer::Buffer,
        client::Client,
        counters::Subject,
        http1,
        limits::Rejected,
        message::{Field, Fields, Known, RequestHead, ResponseHead},
        mirror::Copy,
        respond::{self, Answer, Failure},
        sides::{ClientError, Downstream, Read, Traffic},
        trial::{Explanation, Forwarded, Outcome, Question, Says, Stage, Texts, Trial},
        worker::Worker,
    },
    route::HostTable,
    tls::{self, Identity},
};

/// Thinks a request through.
pub(in crate::proxy) async fn explain(worker: &Rc<Worker>, question: Question) -> Explanation {
    let view = worker.view();
    let Question { tls, server_name, from, to, head } = question;
    let client = Rc::new(Client::imagined(Rc::clone(worker), from, tls, to));
    let mut explained = Explanation {
        generation: view.snapshot.generation,
        host: None,
        route: None,
        stages: Vec::new(),
        outcome: Outcome::NoHandshake,
    };
    if !tls || shake_hands(&client, &view, server_name) {
        explained.outcome = think(&client, &view, &head, &mut explained).await;
    }
    explained.stages = client.trial.as_deref().map(Trial::take).unwrap_or_default();
    explained
}

/// The handshake. False: there is none.
fn shake_hands(client: &Client, view: &View, server_name: Option<String>) -> bool {
    let handshakes = &view.snapshot.handshakes;
    let name = server_name.as_deref();
    let verifier = match handshakes.answer(name) {
        tls::Answer::Go(_, verifier) => verifier,
        tls::Answer::UnknownName | tls::Answer::Refuse => {
            client.note(Stage::Handshake, Says::Answer(0), || {
                "no host has this server name".to_owned()
            });
            return false;
        }
    };
    client.note(Stage::Handshake, Says::Pass, || {
        let named = name.map_or("no server name".to_owned(), ToOwned::to_owned);
        match handshakes.certificate(name) {
            Some(secret) => format!("{named}: the certificate of {secret}"),
            None => format!("{named}: the self-signed certificate"),
        }
    });
    let server_name = server_name.map(|name| {
        let name = name.to_ascii_lowercase();
        name.strip_suffix('.').unwrap_or(&name).into()
    });
    let identity = match verifier {
        Some(verifier) => verifier.judge(server_name, &[], UnixTime::now()),
        None => Identity { server_name, ..Identity::default() },
    };
    let _first = client.identity.set(identity);
    true
}

/// The request itself, up to where somebody else would have to be asked.
async fn think(
    client: &Rc<Client>,
    view: &Rc<View>,
    bytes: &[u8],
    explained: &mut Explanation,
) -> Outcome {
    let mut head = RequestHead::default();
    let limits = client.worker.limits.get();
    client.note(Stage::Request, Says::Pass, String::new);
    if let Err(failure) = http1::whole(bytes, &mut head, &limits) {
        return answered(client, view, Subject::default(), &head, respond::failure(failure));
    }
    let mut subject = Subject::default();
    let mut planned = Planned::default();
    let step = stages::run(client, view, &mut head, &mut subject, &mut planned);
    let decision = match step {
        Ok(Step::Decided(decision)) => Ok(decision),
        Ok(Step::Admit(located)) => {
            // As in `attend`, but nobody is there to leave.
            let mut nobody = Nobody;
            let plan = planned.plan.as_deref();
            Box::pin(super::admit(client, view, &mut head, located, plan, &mut nobody)).await
        }
        Err(failure) => Err(failure),
    };
    explained.host = subject.host.cloned();
    explained.route = subject.route.cloned();
    let plan = planned.plan.as_deref();
    let answer = match decision {
        Ok(Decision::Forward(forward)) => return forwarded(client, view, (bytes, &head), forward),
        Ok(Decision::Inspect(_)) => said(Failure::Denied, plan),
        Ok(Decision::Own(answer)) => answer,
        Err(failure) => said(failure, plan),
    };
    if let Some(instead) = answer.instead {
        let status = instead.status.unwrap_or(answer.head.status);
        if let Some(trial) = &client.trial {
            trial.answers(status);
        }
        return Outcome::Page { status, target: instead.target };
    }
    answered(client, view, subject, &head, answer)
}

/// An answer of our own, as the client would get it.
fn answered(
    client: &Rc<Client>,
    view: &Rc<View>,
    subject: Subject<'_>,
    request: &RequestHead,
    mut answer: Answer,
) -> Outcome {
    let status = answer.head.status;
    // nginx says nothing with 444.
    let status_said = if matches!(status, 444 | 499) { 0 } else { status };
    if let Some(trial) = &client.trial {
        trial.answers(status_said);
    }
    if status_said != 0 && errors::pages(&subject, status, false).is_some() {
        client.note(Stage::ErrorPages, Says::Ask, || {
            format!("a default backend has the page of {status}, where it can be reached")
        });
    }
    let own = Answered { client, view, subject, request, admission: None };
    own.finish(&mut answer.head);
    Outcome::Answered { status: status_said, fields: texts(&answer.head.fields, |_public| true) }
}

/// `bytes`: the head as it was asked about, `head`: as it is sent.
fn forwarded(
    client: &Client,
    view: &View,
    (bytes, head): (&[u8], &RequestHead),
    forward: Forward<'_>,
) -> Outcome {
    let Some(backend) = forward.attempts.backend() else {
        return Outcome::Answered { status: Failure::NoEndpoint.status(), fields: Vec::new() };
    };
    let mut sent = RequestHead::default();
    let _as_before = http1::whole(bytes, &mut sent, &client.worker.limits.get());
    let main = match &forward.route.target {
        Target::Backend(id) => view.backend(*id),
        _ => None,
    };
    let is_canary = main.is_some_and(|main| match &main.balancing.canary {
        Some(canary) => view.backend(canary.backend).is_some_and(|own| Arc::ptr_eq(own, backend)),
        None => false,
    });
    let (endpoints, bound) = forward.attempts.foretell();
    if let Some(trial) = &client.trial {
        trial.tell(Stage::Upstream, format!("{} {}", head.method, head.target));
    }
    client.note(Stage::Endpoint, Says::Ask, || match bound {
        Some(address) => address.to_string(),
        None => format!("one of {}", endpoints.len()),
    });
    Outcome::Forwarded(Box::new(Forwarded {
        service: backend.key.clone(),
        is_canary,
        method: head.method.to_string(),
        target: head.target.clone(),
        fields: texts(&head.fields, |own| {
            is_ours(own.name) || sent.fields.iter().any(|it| it == *own)
        }),
        endpoints,
        bound,
    }))
}

/// Names, or their beginnings, of fields for endpoints that hold what is known of the request and of us.
const OURS: [&str; 12] = [
    "host",
    "connection",
    "upgrade",
    "te",
    "content-",
    "accept",
    "x-real-ip",
    "x-request-id",
    "x-scheme",
    "x-forwarded-",
    "x-original-",
    "x-auth-request-redirect",
];

/// Others have values that somebody wrote into an Ingress or a ConfigMap, a key of the endpoint's maybe.
fn is_ours(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    OURS.iter().any(|own| match own.ends_with('-') {
        true => name.starts_with(own.as_bytes()),
        false => name == own.as_bytes(),
    })
}

/// Fields as text; what a client proves itself with is not shown, nor what may not be.
fn texts(fields: &Fields, may_be: impl Fn(&Field<'_>) -> bool) -> Texts {
    let is_secret = |known: Option<Known>| {
        matches!(
            known,
            Some(
                Known::Authorization | Known::Cookie | Known::SetCookie | Known::ProxyAuthorization
            )
        )
    };
    fields
        .iter()
        .map(|field| {
            let value = match is_secret(field.known) || !may_be(&field) {
                true => "(not shown)".to_owned(),
                false => String::from_utf8_lossy(field.value).into_owned(),
            };
            (String::from_utf8_lossy(field.name).into_owned(), value)
        })
        .collect()
}

/// Which host answers.
pub(super) fn host(host: &HostTable, authority: &str) -> String {
    match host.name() {
        HostName::Exact(name) if **name == *authority => name.to_string(),
        HostName::Exact(name) => format!("{name}, which {authority} stands for"),
        HostName::Wildcard(suffix) => format!("*.{suffix}, which {authority} is beneath"),
        HostName::CatchAll => format!("the catch-all: no Ingress has {authority}"),
    }
}

/// Which route.
pub(super) fn route(client: &Client, host: &HostTable, route: &Route) {
    client.note(Stage::Route, Says::Pass, || match host.model().regex {
        true => format!("~ {}", route.path),
        false => format!("{:?} {}", route.kind, route.path),
    });
    because_of(client, route);
}

/// Where a route leads that has no Service.
pub(super) fn target(client: &Client, route: &Route) {
    let detail = || match &route.target {
        Target::Denied(denial) => format!("{}: not served, for that cannot be obeyed", denial.key),
        Target::Redirect(redirect) => format!("{} {}", redirect.status, redirect.location),
        Target::OtherHost(name) => name.to_string(),
        Target::NotFound => "nothing".to_owned(),
        Target::Backend(_) => String::new(),
    };
    if !matches!(route.target, Target::Backend(_)) {
        client.note(Stage::Target, Says::Pass, detail);
        because_of(client, route);
    }
}

/// Which Service.
pub(super) fn service(service: Option<&Arc<Backend>>) -> String {
    match service {
        None => "none".to_owned(),
        Some(own) => {
            let key = &own.key;
            let count = own.endpoints.len();
            let endpoints = if count == 1 { "endpoint" } else { "endpoints" };
            format!("{}/{}:{}, {count} {endpoints}", key.namespace, key.service, key.port)
        }
    }
}

/// Whether the canary takes it, and whether that is chance.
pub(super) fn canary(
    client: &Client,
    view: &View,
    fields: &Fields,
    main: &Backend,
    chosen: &Chosen<'_>,
) {
    let Some(canary) = &main.balancing.canary else { return };
    let thrown = Cell::new(false);
    let _decided = canary::decide(canary, fields, |_| {
        thrown.set(true);
        1
    });
    let says = match (thrown.get(), chosen.is_canary) {
        (true, _) => Says::Chance,
        (false, true) => Says::Change,
        (false, false) => Says::Pass,
    };
    client.note(Stage::Canary, says, || {
        let taken = if chosen.is_canary { "the canary" } else { "the main Service" };
        let share = match thrown.get() {
            true => format!("{} of {} go to the canary; this time ", canary.weight, canary.total),
            false => String::new(),
        };
        let endpoints = view.backend(canary.backend).map_or(0, |own| own.endpoints.len());
        let empty = if endpoints == 0 { " (the canary has no endpoint)" } else { "" };
        format!("{share}{taken}{empty}")
    });
    if let Some(trial) = &client.trial {
        trial.because(&canary.ingress, "metadata.annotations");
    }
}

/// What a way of authentication says.
pub(super) fn way(
    client: &Client,
    stage: Stage,
    verdict: Option<&Verdict>,
    what: impl FnOnce() -> String,
) {
    client.note(stage, Says::Pass, || {
        let what = what();
        match verdict {
            Some(Verdict::Allowed) => format!("{what}: allowed"),
            Some(Verdict::Refused(answer)) => format!("{what}: {}", answer.head.status),
            Some(Verdict::Failed(failure)) => format!("{what}: {}", failure.status()),
            None => format!("{what}: not denied"),
        }
    });
}

pub(super) fn login(login: &Login) -> String {
    match login {
        Login::Basic { realm, .. } => format!("basic, realm {realm:?}"),
        Login::Digest { realm, .. } => format!("digest, realm {realm:?}"),
    }
}

pub(super) fn limits(client: &Client, admitted: Result<(), Rejected>) {
    client.note(Stage::Limits, Says::Pass, || match admitted {
        Ok(()) => "within them now".to_owned(),
        Err(Rejected::Requests) => "too many requests now".to_owned(),
        Err(Rejected::Connections) => "too many requests under way now".to_owned(),
    });
}

/// The server that would be asked.
pub(super) fn external(client: &Client, auth: &ExternalAuth, name: &str, question: &RequestHead) {
    client.note(Stage::ExternalAuth, Says::Ask, || {
        let scheme = match auth.server.scheme {
            AuthScheme::Http => "http",
            AuthScheme::Https => "https",
            AuthScheme::Client => {
                if client.tls {
                    "https"
                } else {
                    "http"
                }
            }
        };
        let port = auth.server.port.map(|port| format!(":{port}")).unwrap_or_default();
        // Its query may be of the configuration, and hold a key.
        let (path, query) = match question.target.split_once('?') {
            Some((path, _not_shown)) => (path, "?(not shown)"),
            None => (&*question.target, ""),
        };
        format!("{} {scheme}://{name}{port}{path}{query}", question.method)
    });
}

pub(super) fn firewall(client: &Client, outcome: &firewall::Outcome) {
    client.note(Stage::Firewall, Says::Pass, || match outcome.matched.is_empty() {
        true => "no rule matched".to_owned(),
        false => {
            let rules: Vec<_> = outcome.matched.iter().take(NAMED).map(named).collect();
            rules.join("; ")
        }
    });
}

/// Who would get a copy.
pub(super) fn mirror(client: &Client, mirror: &Mirror) -> Option<Box<Copy>> {
    client.note(Stage::Mirror, Says::Ask, || match &mirror.to {
        MirrorHost::Address(ip) => format!("a copy for {}", SocketAddr::new(*ip, mirror.port)),
        MirrorHost::Name(name) => format!("a copy for {name}:{}", mirror.port),
    });
    None
}

fn because_of(client: &Client, route: &Route) {
    if let Some(trial) = &client.trial {
        trial.because(&route.ingress, &route.field);
    }
}

/// The client of a request that nobody sent.
struct Nobody;

impl Downstream for Nobody {
    fn poll_body(
        &mut self,
        _cx: &mut Context<'_>,
        _into: &mut Buffer,
    ) -> Poll<Result<Read, ClientError>> {
        Poll::Ready(Ok(Read::End))
    }

    fn trailers(&self) -> Option<&Fields> {
        None
    }

    fn expect_body(&mut self) {}

    fn interim(&mut self, _head: &ResponseHead) {}

    fn start(&mut self, _head: &ResponseHead) {}

    fn poll_write(
        &mut self,
        _cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, ClientError>> {
        Poll::Ready(Ok(data.len()))
    }

    fn finish(&mut self, _trailers: Option<&Fields>) {}

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_gone(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn poll_left(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn traffic(&self) -> Traffic {
        Traffic::default()
    }

    fn tunnel(&mut self) {}

    fn abort(&mut self) {}
}
