//! From a request's head to its answer. The stages stand in [`stages`] in the order in which they
//! can be told apart from outside (reference section 2); each is a module. What is done to answers
//! stands here.

mod access;
mod admission;
mod asker;
mod authority;
mod blocked;
mod client_auth;
mod external;
mod forwarded;
mod headers;
mod limits;
mod login;
mod mirror;
mod origin;
mod redirect;
mod rewrites;
mod settings;
mod snippet;
mod sources;
mod stages;
mod target;
pub(super) mod trailers;
mod variables;
mod websocket;

use std::{
    rc::Rc,
    time::{SystemTime, UNIX_EPOCH},
};

use http::Method;

use self::{
    admission::Admission,
    asker::Asked,
    snippet::{Observed, Plan},
    stages::{Decision, Forward},
};
use super::{
    balance::{Attempts, View},
    client::Client,
    counters::Subject,
    exchange::{self, Outcome, Terms},
    message::{Known, RequestHead, ResponseHead},
    respond::{self, Answer, Failure},
    sides::Downstream,
};
use crate::model::Route;

/// Answers a request.
pub(super) async fn answer<D: Downstream>(
    client: &Rc<Client>,
    head: &mut RequestHead,
    down: &mut D,
) {
    let view = client.worker.view();
    let mut subject = Subject::default();
    let method = head.method.clone();
    let mut plan = None;
    let decision = stages::run(client, &view, head, &mut subject, &mut plan).await;
    let plan = plan.as_deref();
    let status = match decision {
        Ok(Decision::Forward(forward)) => {
            let Forward { mut attempts, route, upgrade, over_http2, admission, mirror } = forward;
            let finish = |head: &RequestHead,
                          answer: &mut ResponseHead,
                          attempts: &Attempts<'_, Asked<'_>>| {
                let host = head.fields.get(Known::Host).unwrap_or_default();
                let observed =
                    plan.map(|plan| plan.observe(&mut answer.fields)).unwrap_or_default();
                rewrites::apply(route, client.https, host, &mut answer.fields);
                settings::hide(&mut answer.fields, &view.snapshot.model.settings.fields);
                session_cookie(client, head, route, answer, attempts);
                if over_http2 {
                    websocket::clean_response(answer);
                }
                finish(client, &view, Some(route), head, admission.as_ref(), answer);
                if let Some(plan) = plan {
                    plan.apply(answer, &observed);
                }
            };
            let terms = Terms { proxying: &route.proxying, upgrade, mirror };
            let attempts = &mut attempts;
            match exchange::run(client, attempts, head, terms, down, finish).await {
                Outcome::Answered(status) => status,
                Outcome::Unanswered(failure) => {
                    let answer = said(failure, plan);
                    own(client, &view, Some(route), head, down, answer, plan).await;
                    failure.status()
                }
            }
        }
        Ok(Decision::Own(answer)) => {
            let status = answer.head.status;
            let route = subject.route.map(|route| &**route);
            own(client, &view, route, head, down, answer, plan).await;
            status
        }
        Err(failure) => {
            tracing::debug!(?failure, client.address = %client.peer, "not answered by an upstream");
            let route = subject.route.map(|route| &**route);
            own(client, &view, route, head, down, said(failure, plan), plan).await;
            failure.status()
        }
    };
    client.worker.counters.request(subject, &method, status);
}

/// Answers what is no request.
pub(super) async fn refuse<D: Downstream>(client: &Rc<Client>, failure: Failure, down: &mut D) {
    let view = client.worker.view();
    let head = RequestHead::default();
    own(client, &view, None, &head, down, respond::failure(failure), None).await;
    client.worker.counters.request(Subject::default(), &Method::GET, failure.status());
}

/// The answer to what went wrong, or where a snippet's `error_page` has it instead.
fn said(failure: Failure, plan: Option<&Plan<'_>>) -> Answer {
    let elsewhere = plan.and_then(|plan| plan.page(failure.status()));
    elsewhere.unwrap_or_else(|| respond::failure(failure))
}

/// Sends an answer of our own; `route` is the one that was meant, if that is known.
async fn own<D: Downstream>(
    client: &Client,
    view: &View,
    route: Option<&Route>,
    head: &RequestHead,
    down: &mut D,
    mut answer: Answer,
    plan: Option<&Plan<'_>>,
) {
    // nginx says nothing with 444 and 499: it closes the connection.
    if matches!(answer.head.status, 444 | 499) {
        down.abort();
        return;
    }
    finish(client, view, route, head, None, &mut answer.head);
    if let Some(plan) = plan {
        plan.apply(&mut answer.head, &Observed::default());
    }
    if respond::send(down, &answer).await.is_err() {
        down.abort();
    }
}

/// What every answer gets and none keeps.
fn finish(
    client: &Client,
    view: &View,
    _route: Option<&Route>,
    _request: &RequestHead,
    _admission: Option<&Admission>,
    head: &mut ResponseHead,
) {
    headers::clean_response(head);
    if !head.fields.contains(Known::Date) {
        client.worker.date.with(|date| head.fields.push_known(Known::Date, date));
    }
    if client.tls
        && let Some(hsts) = &view.hsts
    {
        head.fields.set(Known::StrictTransportSecurity, hsts.as_bytes());
    }
    settings::to_client(&mut head.fields, &view.snapshot.model.settings.fields);
}

/// Tells the client its session, where one begins or moves.
fn session_cookie(
    client: &Client,
    head: &RequestHead,
    route: &Route,
    answer: &mut ResponseHead,
    attempts: &Attempts<'_, Asked<'_>>,
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
