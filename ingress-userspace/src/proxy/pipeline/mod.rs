//! From a request's head to its answer. The stages stand in [`stages`] in the order in which they
//! can be told apart from outside (reference section 2); each is a module. What is done to answers
//! stands here.

mod access;
mod admission;
mod asker;
mod authority;
mod blocked;
mod canary;
mod client_auth;
mod compression;
mod cors;
mod errors;
mod external;
mod fastcgi;
mod finish;
mod firewall;
mod forwarded;
mod headers;
mod limits;
mod login;
mod mirror;
mod origin;
mod redirect;
mod rewrites;
mod settings;
#[cfg(test)]
mod sizes;
mod snippet;
mod sources;
mod stages;
mod target;
pub(super) mod trailers;
mod variables;
mod websocket;

use std::{
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::Poll,
    time::{SystemTime, UNIX_EPOCH},
};

use http::Method;

pub(super) use self::{authority::without_port, external::Judges, origin::Origin, variables::Seen};

use self::{
    admission::Admission,
    asker::Asked,
    finish::Answered,
    snippet::{Observed, Plan},
    stages::{Decision, Forward, Located, Step},
};
use super::{
    access_log::{Ending, Journal},
    balance::{Attempts, View},
    client::Client,
    counters::Subject,
    exchange::{self, Outcome, Terms, Verdict},
    message::{BodyLength, Known, RequestHead, ResponseHead},
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
    head.journal = Journal::begin(client, head, &view.snapshot.model.settings);
    let mut plan = None;
    let decision = match stages::run(client, &view, head, &mut subject, &mut plan) {
        Ok(Step::Decided(decision)) => Ok(decision),
        // Boxed: what only some routes ask for is not to be a part of every connection's task.
        Ok(Step::Admit(located)) => Box::pin(admit(client, &view, head, located, down)).await,
        Err(failure) => Err(failure),
    };
    let plan = plan.as_deref();
    let status = match decision {
        Ok(Decision::Forward(forward)) => {
            let Forward { mut attempts, route, upgrade, over_http2, admission, mirror, ahead } =
                forward;
            let mut discarded = None;
            let finish = |head: &RequestHead,
                          answer: &mut ResponseHead,
                          attempts: &Attempts<'_, Asked<'_>>| {
                if let Some(journal) = &head.journal {
                    journal.upstream_answer(answer);
                }
                if errors::pages(&subject, answer.status, true).is_some() {
                    discarded = Some(Box::new(errors::remains(answer)));
                    return Verdict::Discard;
                }
                let host = head.fields.get(Known::Host).unwrap_or_default();
                let observed =
                    plan.map(|plan| plan.observe(&mut answer.fields)).unwrap_or_default();
                rewrites::apply(route, client.https, host, &mut answer.fields);
                settings::hide(&mut answer.fields, &view.snapshot.model.settings.fields);
                session_cookie(client, head, route, answer, attempts);
                if over_http2 {
                    websocket::clean_response(answer);
                }
                let answered = Answered {
                    client,
                    view: &view,
                    subject,
                    request: head,
                    admission: admission.as_deref(),
                };
                answered.finish(answer);
                if let Some(plan) = plan {
                    plan.apply(answer, &observed);
                }
                let verdict = answered.encode(answer, plan.map(|plan| (plan, &observed)));
                if let Some(journal) = &head.journal {
                    journal.answer(answer);
                }
                verdict
            };
            let terms = Terms { proxying: &route.proxying, upgrade, ahead, mirror };
            let attempts = &mut attempts;
            let outcome = exchange::run(client, attempts, head, terms, down, finish).await;
            let meant = Meant { subject, prepared: true, admission: admission.as_deref(), plan };
            match (outcome, discarded) {
                (Outcome::Answered(status), _) => status,
                (Outcome::Discarded, Some(answer)) => {
                    own(client, &view, meant, head, down, *answer).await
                }
                (Outcome::Discarded, None) => {
                    let answer = respond::failure(Failure::Upstream);
                    own(client, &view, meant, head, down, answer).await
                }
                (Outcome::Unanswered(failure), _) => {
                    own(client, &view, meant, head, down, said(failure, plan)).await
                }
            }
        }
        // It was inspected by `decide`.
        Ok(Decision::Inspect(_)) => {
            let meant = Meant { subject, prepared: false, admission: None, plan };
            own(client, &view, meant, head, down, said(Failure::Denied, plan)).await
        }
        Ok(Decision::Own(answer)) => {
            let meant = Meant { subject, prepared: false, admission: None, plan };
            own(client, &view, meant, head, down, answer).await
        }
        Err(failure) => {
            tracing::debug!(?failure, client.address = %client.peer, "not answered by an upstream");
            let meant = Meant { subject, prepared: false, admission: None, plan };
            own(client, &view, meant, head, down, said(failure, plan)).await
        }
    };
    client.worker.counters.request(subject, &method, status);
    if let Some(journal) = head.journal.take() {
        journal.end(&view, Ending { client, subject, head, status, traffic: down.traffic() });
    }
}

/// Takes a request through the stages that wait, unless its client leaves meanwhile, as far as that
/// can be seen while nothing is read from it.
async fn admit<'v, D: Downstream>(
    client: &'v Rc<Client>,
    view: &'v Rc<View>,
    head: &mut RequestHead,
    located: Box<Located<'v>>,
    down: &mut D,
) -> Result<Decision<'v>, Failure> {
    let nothing_more = head.body == BodyLength::None;
    let decision = {
        let mut stages = pin!(stages::admit(client, view, head, located));
        poll_fn(|cx| match stages.as_mut().poll(cx) {
            Poll::Pending if nothing_more && down.poll_gone(cx).is_ready() => {
                Poll::Ready(Err(Failure::ClientGone))
            }
            outcome => outcome,
        })
        .await
    };
    match decision {
        // Of few routes, and large.
        Ok(Decision::Inspect(admitted)) => {
            Box::pin(firewall::pass(client, view, head, *admitted, down)).await
        }
        decision => decision,
    }
}

/// Answers what is no request.
pub(super) async fn refuse<D: Downstream>(client: &Rc<Client>, failure: Failure, down: &mut D) {
    let view = client.worker.view();
    let head = RequestHead::default();
    let subject = Subject::default();
    let journal = Journal::begin(client, &head, &view.snapshot.model.settings);
    let answer = respond::failure(failure);
    let meant = Meant { subject, prepared: false, admission: None, plan: None };
    let status = own(client, &view, meant, &head, down, answer).await;
    client.worker.counters.request(subject, &Method::GET, status);
    if let Some(journal) = journal {
        let head = &head;
        journal.end(&view, Ending { client, subject, head, status, traffic: down.traffic() });
    }
}

/// What an answer of our own is the answer to.
#[derive(Clone, Copy)]
struct Meant<'r> {
    /// The host and route, as far as they are known.
    subject: Subject<'r>,
    /// The request's head is as an endpoint was sent it.
    prepared: bool,
    /// What the request was admitted with.
    admission: Option<&'r Admission>,
    /// What snippets do to it.
    plan: Option<&'r Plan<'r>>,
}

/// The answer to what went wrong, or where a snippet's `error_page` has it instead.
fn said(failure: Failure, plan: Option<&Plan<'_>>) -> Answer {
    let elsewhere = plan.and_then(|plan| plan.page(failure.status()));
    elsewhere.unwrap_or_else(|| respond::failure(failure))
}

/// Sends an answer of our own, or what a default backend has in its place. Returns the status that
/// the client gets.
async fn own<D: Downstream>(
    client: &Rc<Client>,
    view: &Rc<View>,
    meant: Meant<'_>,
    head: &RequestHead,
    down: &mut D,
    mut answer: Answer,
) -> u16 {
    let Meant { subject, prepared, admission, plan } = meant;
    let status = answer.head.status;
    // nginx says nothing with 444 and 499: it closes the connection.
    if matches!(status, 444 | 499) {
        down.abort();
        return status;
    }
    let answered = Answered { client, view, subject, request: head, admission };
    if let Some(pages) = errors::pages(&subject, status, false) {
        // Rare and large.
        match Box::pin(errors::replace(pages, &answered, prepared, down, &answer)).await {
            Ok(status) => return status,
            Err(Failure::ClientGone) => {
                down.abort();
                return status;
            }
            Err(_nobody) => {}
        }
    }
    answered.finish(&mut answer.head);
    if let Some(plan) = plan {
        plan.apply(&mut answer.head, &Observed::default());
        plan.substitute_text(&mut answer);
    }
    if let Some(journal) = &head.journal {
        journal.answer(&answer.head);
    }
    match (respond::send(down, &answer).await, &head.journal) {
        (Ok(()), Some(journal)) => journal.completed(),
        (Ok(()), None) => {}
        (Err(_), _) => down.abort(),
    }
    status
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
