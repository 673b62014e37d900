//! From a request's head to its answer. The stages stand in [`stages`] in the order in which they
//! can be told apart from outside (reference section 2); each is a module.

mod asker;
mod authority;
mod client_auth;
mod forwarded;
mod headers;
mod origin;
mod redirect;
mod target;
mod websocket;

use std::{
    rc::Rc,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use http::Method;

use super::{
    balance::{Attempts, View},
    client::Client,
    counters::Subject,
    exchange::{self, Outcome},
    message::{Known, RequestHead, ResponseHead},
    respond::{self, Answer, Failure},
    sides::Downstream,
};
use crate::{
    model::{HostName, Route, Target},
    route::{Found, HostTable, normalize},
};
use asker::Asked;
use client_auth::Entry;
use origin::Origin;

/// Answered 200 by the catch-all host, for balancers in front that look at the traffic ports
/// (reference section 10).
const HEALTH: &str = "/healthz";

/// Answers a request.
pub(super) async fn answer<D: Downstream>(
    client: &Rc<Client>,
    head: &mut RequestHead,
    down: &mut D,
) {
    let view = client.worker.view();
    let mut subject = Subject::default();
    let method = head.method.clone();
    let decision = stages(client, &view, head, &mut subject);
    let head = &*head;
    let status = match decision {
        Ok(Decision::Forward(forward)) => {
            let Forward { mut attempts, route, upgrade, over_http2 } = forward;
            let finish = |answer: &mut ResponseHead, attempts: &Attempts<'_, Asked>| {
                session_cookie(client, head, route, answer, attempts);
                if over_http2 {
                    websocket::clean_response(answer);
                }
                finish(client, &view, answer);
            };
            match exchange::run(client, &mut attempts, head, upgrade, down, finish).await {
                Outcome::Answered(status) => status,
                Outcome::Unanswered(failure) => {
                    own(client, &view, down, respond::failure(failure)).await;
                    failure.status()
                }
            }
        }
        Ok(Decision::Own(answer)) => {
            let status = answer.head.status;
            own(client, &view, down, answer).await;
            status
        }
        Err(failure) => {
            tracing::debug!(?failure, client.address = %client.peer, "not answered by an upstream");
            own(client, &view, down, respond::failure(failure)).await;
            failure.status()
        }
    };
    client.worker.counters.request(subject, &method, status);
}

/// Answers what is no request.
pub(super) async fn refuse<D: Downstream>(client: &Rc<Client>, failure: Failure, down: &mut D) {
    let view = client.worker.view();
    own(client, &view, down, respond::failure(failure)).await;
    client.worker.counters.request(Subject::default(), &Method::GET, failure.status());
}

async fn own<D: Downstream>(client: &Client, view: &View, down: &mut D, mut answer: Answer) {
    if answer.head.status == Failure::ClientGone.status() {
        down.abort();
        return;
    }
    finish(client, view, &mut answer.head);
    if respond::send(down, &answer).await.is_err() {
        down.abort();
    }
}

/// What every answer gets and none keeps.
fn finish(client: &Client, view: &View, head: &mut ResponseHead) {
    headers::clean_response(head);
    if !head.fields.contains(Known::Date) {
        client.worker.date.with(|date| head.fields.push_known(Known::Date, date));
    }
    if client.https
        && let Some(hsts) = &view.hsts
    {
        head.fields.set(Known::StrictTransportSecurity, hsts.as_bytes());
    }
}

/// What the stages come to when nothing goes wrong.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
enum Decision<'v> {
    Forward(Forward<'v>),
    Own(Answer),
}

/// To an endpoint.
struct Forward<'v> {
    attempts: Attempts<'v, Asked>,
    route: &'v Route,
    /// The client asks for another protocol.
    upgrade: bool,
    /// It does so over HTTP/2.
    over_http2: bool,
}

impl Decision<'_> {
    fn elsewhere(status: u16, location: &str) -> Result<Self, Failure> {
        // What is written into a field holds no control characters.
        if location.bytes().any(|byte| byte < b' ' || byte == 0x7F) {
            return Err(Failure::BadRequest);
        }
        Ok(Self::Own(respond::redirect(status, location)))
    }
}

/// The stages, in their order.
fn stages<'v>(
    client: &Rc<Client>,
    view: &'v Rc<View>,
    head: &mut RequestHead,
    subject: &mut Subject<'v>,
) -> Result<Decision<'v>, Failure> {
    let snapshot = &view.snapshot;
    let settings = &snapshot.model.settings;
    let over_http2 = websocket::is_asked(head)?;
    authority::settle(head)?;
    let authority = std::mem::take(&mut head.authority);
    let path = normalize(head.path()).map_err(|_bad_path| Failure::BadRequest)?;

    // The host, then the path.
    let host: &'v HostTable = snapshot.routes.host(&authority);
    subject.host = Some(host.name());
    // Client certificates.
    let entry = client_auth::enter(client, host, &authority)?;
    if let Entry::Elsewhere(page) = entry {
        return Decision::elsewhere(302, page);
    }
    if path == HEALTH && *host.name() == HostName::CatchAll {
        return Ok(Decision::Own(respond::healthy()));
    }
    let compiled = match host.find(&path) {
        Found::Route(compiled) => compiled,
        Found::AddSlash(compiled) => {
            subject.route = Some(&compiled.route);
            let location = redirect::add_slash(client, &authority, &head.target);
            return Decision::elsewhere(301, &location);
        }
        Found::None => return Err(Failure::NoRoute),
    };
    let route: &'v Arc<Route> = &compiled.route;
    subject.route = Some(route);

    // (a) Denied; (c) redirects of the route's own.
    let backend = match &route.target {
        Target::Denied(_) => return Err(Failure::Denied),
        Target::Redirect(redirect) => {
            let location = redirect::configured(redirect, client, &authority);
            return Decision::elsewhere(redirect.status, &location);
        }
        Target::NotFound => None,
        Target::Backend(id) => Some(*id),
    };
    let service = backend.and_then(|id| view.backend(id));
    subject.service = service.map(|backend| &backend.key.service);

    // (d) The rewrite.
    let rewritten = compiled.rewrite(&path);
    let original = rewritten.is_some().then(|| head.target.clone());
    target::rewrite(head, rewritten)?;

    // (e) The redirect to HTTPS.
    let origin = Origin::of(client, &authority, &head.fields, settings);
    if redirect::is_due(route, host.tls(), &origin) {
        let target = original.as_deref().unwrap_or(&head.target);
        let location = redirect::to_https(route, &origin, target);
        return Decision::elsewhere(settings.redirect_code as u16, &location);
    }

    // (f) Where it goes.
    let backend = backend.ok_or(Failure::NoRoute)?;
    let service = service.filter(|service| !service.endpoints.is_empty());
    let service = service.ok_or(Failure::NoEndpoint)?;

    // What the upstream is told.
    if head.fields.get(Known::Expect).is_some_and(|v| !v.eq_ignore_ascii_case(b"100-continue")) {
        return Err(Failure::Expectation);
    }
    let mut upgrade = headers::clean_request(head);
    if over_http2 {
        websocket::upgrade(head, client.worker.random.borrow_mut().u128(..).to_ne_bytes());
        upgrade = true;
    }
    forwarded::apply(&mut head.fields, &origin, client);
    entry.apply(&mut head.fields);
    drop(origin);
    head.authority = authority;
    let asked =
        Asked::new(client, service, head, original.as_deref().unwrap_or(&head.target), host.name());
    let attempts = Attempts::new(view, backend, asked);
    Ok(Decision::Forward(Forward { attempts, route, upgrade, over_http2 }))
}

/// Tells the client its session, where one begins or moves.
fn session_cookie(
    client: &Client,
    head: &RequestHead,
    route: &Route,
    answer: &mut ResponseHead,
    attempts: &Attempts<'_, Asked>,
) {
    if !attempts.begins_session() {
        return;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let user_agent = head.fields.get(Known::UserAgent);
    if let Some(cookie) = attempts.session_cookie(route, client.https, user_agent, now) {
        answer.fields.push_known(Known::SetCookie, cookie.as_bytes());
    }
}

/// Makes an interim answer of an endpoint ready for the client.
pub(super) fn clean_interim(head: &mut ResponseHead) {
    headers::clean_response(head);
}
