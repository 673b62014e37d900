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
mod connection;
mod cors;
mod errors;
mod explain;
mod external;
mod fastcgi;
mod finish;
mod firewall;
mod forwarded;
mod headers;
mod held;
mod limits;
mod login;
mod mirror;
mod origin;
mod page;
mod redirect;
mod rewrites;
mod settings;
#[cfg(test)]
mod sizes;
mod snippet;
mod sources;
mod stages;
mod tapped;
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

pub(super) use self::{
    authority::without_port, explain::explain, external::Judges, origin::Origin, variables::Seen,
};

use self::{
    admission::Admission,
    asker::Asked,
    finish::Answered,
    snippet::{Observed, Plan, Planned},
    stages::{Decision, Forward, Located, Step},
    tapped::Tapped,
};
use super::{
    access_log::{Ending, Journal},
    balance::{Attempts, View},
    client::Client,
    counters::Subject,
    exchange::{self, Outcome, Terms, Verdict},
    message::{BodyLength, Known, RequestHead, ResponseHead, Version},
    respond::{self, Answer, Failure, Instead},
    sides::{Downstream, Traffic},
};
use crate::model::Route;

/// Answers a request.
pub(super) async fn answer<D: Downstream>(
    client: &Rc<Client>,
    head: &mut RequestHead,
    down: &mut D,
) {
    let view = client.worker.view();
    client.worker.counters.begin(&head.timing, &head.method);
    let _in_progress = client.worker.counters.in_progress();
    client.requests.set(client.requests.get().saturating_add(1));
    let settings = &view.snapshot.model.settings;
    head.journal = Journal::begin(client, head, settings);
    let tapped = client.worker.taps.are_open().then(|| Tapped::begin(client, head, settings));
    if head.version == Version::Http2
        && (head.journal.is_some() || client.worker.counters.counts_requests())
    {
        down.head_is(head.length_as_http1());
    }
    client.worker.answer_begun();
    let (subject, status) = match attend(client, &view, head, None, down).await {
        Attended::Done(subject, status) => (subject, status),
        Attended::Not(instead, pristine) => {
            if let Some(pristine) = pristine {
                let (proved, timing) = (head.proved.take(), std::mem::take(&mut head.timing));
                // It is later than it was then.
                timing.waited();
                *head = RequestHead { proved, timing, ..*pristine };
            }
            page::turn(head, &instead.target);
            // Rare and large. What stands in the place of a page has none itself.
            let mut down = errors::Bodiless(down);
            let page = Box::pin(attend(client, &view, head, Some(instead), &mut down));
            match page.await {
                Attended::Done(subject, status) => (subject, status),
                Attended::Not(..) => {
                    down.abort();
                    (Subject::default(), 500)
                }
            }
        }
    };
    client.worker.answer_ended();
    client.worker.counters.request(subject, status, &head.timing, down.traffic());
    if let Some(tapped) = tapped {
        let traffic = down.traffic();
        client.worker.taps.tell(&tapped.end(client, &view, head, &subject, status, traffic));
    }
    if let Some(journal) = head.journal.take() {
        journal.end(&view, Ending { client, subject, head, status, traffic: down.traffic() });
    }
}

/// What became of a request.
enum Attended<'v> {
    /// It was answered with this status.
    Done(Subject<'v>, u16),
    /// Another request's answer is to stand in the place of its own. With the head as it came, if it
    /// has been changed.
    Not(Box<Instead>, Option<Box<RequestHead>>),
}

/// Answers a request; `page`: in whose place.
async fn attend<'v, D: Downstream>(
    client: &'v Rc<Client>,
    view: &'v Rc<View>,
    head: &mut RequestHead,
    page: Option<Box<Instead>>,
    down: &mut D,
) -> Attended<'v> {
    let mut subject = Subject::default();
    let is_page = page.is_some();
    let status_of_page = page.as_ref().and_then(|page| page.status);
    let mut planned = Planned { page, ..Planned::default() };
    let mut decision = match stages::run(client, view, head, &mut subject, &mut planned) {
        Ok(Step::Decided(decision)) => Ok(decision),
        // Boxed: what only some routes ask for is not to be a part of every connection's task.
        Ok(Step::Admit(located)) => {
            let plan = planned.plan.as_deref();
            Box::pin(admit(client, view, head, located, plan, down)).await
        }
        Err(failure) => Err(failure),
    };
    let plan = planned.plan.as_deref();
    let mut meant = Meant { subject, prepared: false, admission: None, plan };
    if let Ok(Decision::Forward(forward)) = &mut decision
        && let Some(asking) = forward.measured.take()
    {
        let (route, ahead) = (forward.route, forward.ahead.take());
        // Of few routes, and large.
        match Box::pin(held::measure(client, route, *asking, head, ahead, down)).await {
            Ok(ahead) => forward.ahead = ahead,
            Err(failure) => {
                meant.prepared = true;
                decision = Err(failure);
            }
        }
    }
    // Taken out by reference: what is moved out of it would have room of its own in every task.
    let mut answer = match &mut decision {
        Ok(Decision::Forward(forward)) => {
            let Forward { attempts, route, upgrade, over_http2, admission, mirror, ahead, .. } =
                forward;
            let (route, over_http2, admission) = (*route, *over_http2, admission.as_deref());
            let mut discarded = None;
            let finish = |head: &RequestHead,
                          answer: &mut ResponseHead,
                          attempts: &Attempts<'_, Asked<'_>>| {
                if let Some(journal) = &head.journal {
                    journal.upstream_answer(answer);
                }
                if !is_page && errors::pages(&subject, answer.status, true).is_some() {
                    discarded = Some(Box::new(errors::remains(answer)));
                    return Verdict::Discard;
                }
                if let Some(page) = plan.filter(|plan| plan.intercepts(answer.status)) {
                    discarded = page.page(answer.status).map(Box::new);
                    return Verdict::Discard;
                }
                if let Some(status) = status_of_page {
                    answer.status = status;
                    answer.reason.clear();
                }
                let host = head.fields.get(Known::Host).unwrap_or_default();
                let observed = plan
                    .map(|plan| plan.observe(&mut answer.fields, admission))
                    .unwrap_or_default();
                rewrites::apply(route, client.https, host, &mut answer.fields);
                settings::hide(&mut answer.fields, &view.snapshot.model.settings.fields);
                session_cookie(client, head, route, answer, attempts);
                if over_http2 {
                    websocket::clean_response(answer);
                }
                let answered = Answered { client, view, subject, request: head, admission };
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
            let (ahead, mirror) = (ahead.take(), mirror.take());
            let terms = Terms { proxying: &route.proxying, upgrade: *upgrade, ahead, mirror };
            let outcome = exchange::run(client, attempts, head, terms, down, finish).await;
            (meant.prepared, meant.admission) = (true, admission);
            match (outcome, discarded) {
                (Outcome::Answered(status), _) => return Attended::Done(subject, status),
                (Outcome::Discarded, Some(answer)) => answer,
                (Outcome::Discarded, None) => Box::new(respond::failure(Failure::Upstream)),
                (Outcome::Unanswered(failure), _) => Box::new(said(failure, plan)),
            }
        }
        // It was inspected by `admit`.
        Ok(Decision::Inspect(_)) => Box::new(said(Failure::Denied, plan)),
        Ok(Decision::Own(answer)) => Box::new(std::mem::take(answer)),
        Err(failure) => {
            tracing::debug!(?failure, client.address = %client.peer, "not answered by an upstream");
            Box::new(said(*failure, plan))
        }
    };
    match (answer.instead.take(), status_of_page) {
        (Some(instead), _) if planned.page.is_none() => {
            return Attended::Not(instead, planned.pristine);
        }
        // Words of a snippet stand there as they are; what leads elsewhere does.
        (_, Some(status)) if answer.is_worded && !(300..400).contains(&answer.head.status) => {
            answer.head.status = status;
        }
        _ => {}
    }
    // Boxed: most requests are answered by an endpoint.
    Attended::Done(subject, Box::pin(own(client, view, meant, head, down, *answer)).await)
}

/// Takes a request through the stages that wait, unless its client leaves meanwhile, as far as that
/// can be seen while nothing is read from it, or the process ends.
async fn admit<'v, D: Downstream>(
    client: &'v Rc<Client>,
    view: &'v Rc<View>,
    head: &mut RequestHead,
    located: Box<Located<'v>>,
    plan: Option<&Plan<'v>>,
    down: &mut D,
) -> Result<Decision<'v>, Failure> {
    let nothing_more = head.body == BodyLength::None;
    head.timing.waited();
    let watch = client.worker.deadlines.deadline();
    let decision = {
        let mut stages = pin!(stages::admit(client, view, head, located));
        poll_fn(|cx| match stages.as_mut().poll(cx) {
            Poll::Pending if nothing_more && down.poll_gone(cx).is_ready() => {
                Poll::Ready(Err(Failure::ClientGone))
            }
            Poll::Pending => client.worker.poll_cut(&watch, cx).map(|()| Err(Failure::ClientGone)),
            outcome => outcome,
        })
        .await
    };
    let decision = match decision {
        // Of few routes, and large.
        Ok(Decision::Inspect(admitted)) => {
            Box::pin(firewall::pass(client, view, head, *admitted, down)).await
        }
        decision => decision,
    };
    Ok(match decision? {
        Decision::Own(answer) => {
            let page = plan.and_then(|plan| plan.page(answer.head.status));
            Decision::Own(page.unwrap_or(answer))
        }
        decision => decision,
    })
}

/// Answers what is no request.
pub(super) async fn refuse<D: Downstream>(client: &Rc<Client>, failure: Failure, down: &mut D) {
    let view = client.worker.view();
    let mut head = RequestHead::default();
    client.worker.counters.begin(&head.timing, &Method::GET);
    let subject = Subject::default();
    head.journal = Journal::begin(client, &head, &view.snapshot.model.settings);
    let answer = respond::failure(failure);
    let meant = Meant { subject, prepared: false, admission: None, plan: None };
    let status = own(client, &view, meant, &head, down, answer).await;
    let counters = &client.worker.counters;
    counters.request(subject, status, &head.timing, down.traffic());
    if let Some(journal) = head.journal.take() {
        let head = &head;
        journal.end(&view, Ending { client, subject, head, status, traffic: down.traffic() });
    }
}

/// Counts and writes down what was answered before it could become a request.
pub(super) fn note(client: &Rc<Client>, version: Version, status: u16, traffic: Traffic) {
    let view = client.worker.view();
    let head = RequestHead { version, ..RequestHead::default() };
    let subject = Subject::default();
    let counters = &client.worker.counters;
    counters.begin(&head.timing, &head.method);
    counters.request(subject, status, &head.timing, traffic);
    if let Some(journal) = Journal::begin(client, &head, &view.snapshot.model.settings) {
        journal.completed();
        journal.end(&view, Ending { client, subject, head: &head, status, traffic });
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
        let observed = Observed::of(admission);
        plan.apply(&mut answer.head, &observed);
        plan.substitute_text(&mut answer, &observed);
    }
    if let Some(journal) = &head.journal {
        journal.answer(&answer.head);
    }
    let sent = respond::send(down, &answer).await;
    head.timing.waited();
    match (sent, &head.journal) {
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
