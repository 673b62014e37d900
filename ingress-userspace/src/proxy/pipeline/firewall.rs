//! The web application firewall: after who asks is admitted, and before anything goes on, a copy
//! for somebody else included. What is inspected is the request as the client sent it. Without a
//! verdict the answer is 503.

use std::{
    future::poll_fn,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use super::{
    admission::Admission,
    authority::without_port,
    explain,
    held::Begun,
    stages::{self, Decision, Located},
};
use crate::{
    firewall::{Body, Match, Mode, OnLimit, Outcome, Request, Verdict, lossy},
    log::AUDIT,
    model,
    proxy::{
        balance::View,
        client::Client,
        counters::Judged,
        exchange::Ahead,
        held::Asking,
        message::{BodyLength, Known, RequestHead, Version},
        respond::{self, Answer, Failure},
        sides::Downstream,
        trial::{Says, Stage},
    },
};

/// As many rules are named in one line of the log.
pub(super) const NAMED: usize = 12;

/// A request that was admitted and is to be inspected.
pub(super) struct Admitted<'v> {
    pub(super) located: Box<Located<'v>>,
    pub(super) admission: Box<Admission>,
    pub(super) firewall: &'v model::Firewall,
}

/// Inspects the request, and takes it through the rest of the stages if it may go on.
pub(super) async fn pass<'v, D: Downstream>(
    client: &'v Rc<Client>,
    view: &'v Rc<View>,
    head: &mut RequestHead,
    admitted: Admitted<'v>,
    down: &mut D,
) -> Result<Decision<'v>, Failure> {
    let Admitted { mut located, admission, firewall } = admitted;
    match judge(client, head, &located, firewall, down).await {
        Ok((None, ahead)) => {
            let decision = stages::forward(client, view, head, &mut located, Some(admission))?;
            Ok(match decision {
                Decision::Forward(forward) => {
                    Decision::Forward(stages::Forward { ahead, ..forward })
                }
                other => other,
            })
        }
        Ok((Some(answer), _)) => {
            head.authority.clone_from(&located.authority);
            Ok(Decision::Own(answer))
        }
        Err(failure) => {
            head.authority.clone_from(&located.authority);
            Err(failure)
        }
    }
}

/// The answer of a request that may not go on, or what was read of the body of one that may.
async fn judge<D: Downstream>(
    client: &Rc<Client>,
    head: &RequestHead,
    located: &Located<'_>,
    firewall: &model::Firewall,
    down: &mut D,
) -> Result<(Option<Answer>, Option<Box<Ahead>>), Failure> {
    client.note(Stage::Firewall, Says::Pass, String::new);
    let count = |judged| {
        if !client.is_trial() {
            client.worker.counters.judged(judged);
        }
    };
    let settings = firewall.rules.settings();
    let mut begun = None;
    // What follows a request for another protocol is no body.
    if settings.inspect_bodies && head.body != BodyLength::None && !located.over_http2 {
        // To reject is to block, which is for rules that do.
        let rejects = settings.on_limit == OnLimit::Reject && settings.mode == Mode::On;
        let read = read(client, head, located, settings.most, rejects, down).await;
        if matches!(read, Err(Failure::Busy)) {
            count(Judged::TurnedAway);
        }
        if matches!(read, Err(Failure::BodyTooLarge)) {
            count(Judged::Blocked);
        }
        begun = Some(read?);
    }
    let (body, rest) = match begun {
        None => (Body::None, None),
        Some(Begun { bytes, whole: true, held }) => (Body::Whole(bytes), Some((true, held))),
        Some(Begun { bytes, whole: false, held }) => (Body::Beginning(bytes), Some((false, held))),
    };
    let request = request(client, head, located, body);
    let rules = Arc::clone(&firewall.rules);
    // Whoever only thinks of a client takes none of its turns.
    let asking = match client.is_trial() {
        true => Asking::new(&located.route.ingress, Ipv4Addr::UNSPECIFIED.into()),
        false => asking(located),
    };
    let mut verdict = pin!(client.worker.firewall.run(&asking, move || {
        let outcome = rules.evaluate(&request);
        (outcome, request)
    }));
    let has_body = rest.is_some();
    let watch = client.worker.deadlines.deadline();
    let verdict = poll_fn(|cx| match verdict.as_mut().poll(cx) {
        Poll::Pending if !has_body && down.poll_gone(cx).is_ready() => {
            Poll::Ready(Err(Failure::ClientGone))
        }
        Poll::Pending => client.worker.poll_cut(&watch, cx).map(|()| Err(Failure::ClientGone)),
        Poll::Ready(Ok(done)) => Poll::Ready(Ok(done)),
        Poll::Ready(Err(refused)) => {
            count(Judged::TurnedAway);
            if !client.is_trial() {
                tracing::warn!(
                    ?refused,
                    "a request was refused for want of the firewall's verdict"
                );
            }
            Poll::Ready(Err(Failure::Busy))
        }
    });
    let (outcome, request) = verdict.await?;
    let outcome = outcome.map_err(|error| {
        count(Judged::TurnedAway);
        if !client.is_trial() {
            tracing::error!(%error, "a request was refused for want of the firewall's verdict");
        }
        Failure::Busy
    })?;
    match client.is_trial() {
        true => explain::firewall(client, &outcome),
        false => tell(client, head, located, firewall, &outcome),
    }
    let ahead = match (request.body, rest) {
        (Body::Whole(bytes) | Body::Beginning(bytes), Some((whole, held))) => {
            Some(Box::new(Ahead::new(bytes, whole, held)))
        }
        _ => None,
    };
    match outcome.verdict {
        Verdict::Pass => Ok((None, ahead)),
        Verdict::Answer(status) => Ok((Some(respond::status(status)), None)),
        // What is written into a field holds no control characters.
        Verdict::Redirect(to) if to.bytes().any(|byte| byte < b' ' || byte == 0x7F) => {
            Err(Failure::Forbidden)
        }
        Verdict::Redirect(to) => Ok((Some(respond::redirect(302, &to)), None)),
    }
}

/// Reads as much of the body as is inspected.
async fn read<D: Downstream>(
    client: &Client,
    head: &RequestHead,
    located: &Located<'_>,
    most: usize,
    rejects: bool,
    down: &mut D,
) -> Result<Begun, Failure> {
    let allowed = located.route.proxying.max_body.unwrap_or(u64::MAX);
    if let BodyLength::Exact(length) = head.body
        && rejects
        && length > most as u64
    {
        return Err(Failure::BodyTooLarge);
    }
    let mut begun = Begun::new(client, &asking(located));
    begun.read(client, most, allowed, down).await?;
    match rejects && begun.bytes.len() > most {
        true => Err(Failure::BodyTooLarge),
        false => Ok(begun),
    }
}

fn asking(located: &Located<'_>) -> Asking {
    Asking::new(&located.route.ingress, located.origin.ip)
}

/// The request as the client sent it.
fn request(client: &Client, head: &RequestHead, located: &Located<'_>, body: Body) -> Request {
    let mut fields: Vec<_> =
        head.fields.iter().map(|field| (lossy(field.name), lossy(field.value))).collect();
    // HTTP/2 has a pseudo-field for it.
    if !head.fields.contains(Known::Host) && !located.authority.is_empty() {
        fields.push(("Host".to_owned(), located.authority.clone()));
    }
    let target = located.original.as_deref().unwrap_or(&head.target);
    Request {
        method: head.method.to_string(),
        target: if target.is_empty() { "/".to_owned() } else { target.to_owned() },
        protocol: match head.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2.0",
        },
        client: SocketAddr::new(located.origin.ip, client.peer.port()),
        host: without_port(&located.authority).to_owned(),
        fields,
        body,
    }
}

/// Counts and logs what became of the request: numbers and messages of rules, never what it holds.
fn tell(
    client: &Client,
    head: &RequestHead,
    located: &Located<'_>,
    firewall: &model::Firewall,
    outcome: &Outcome,
) {
    let worker = &client.worker;
    let judged = match &outcome.verdict {
        Verdict::Pass if outcome.matched.is_empty() => Judged::Passed,
        Verdict::Pass => Judged::Detected,
        Verdict::Answer(_) | Verdict::Redirect(_) => Judged::Blocked,
    };
    worker.counters.judged(judged);
    if judged == Judged::Passed || !worker.firewall.may_tell(worker.deadlines.now()) {
        return;
    }
    let id = firewall.transaction_id.as_ref().map(|id| located.seen(client, head).text(id));
    let id = id.map(|id| lossy(&id)).unwrap_or_default();
    let rules: Vec<_> = outcome.matched.iter().take(NAMED).map(named).collect();
    tracing::warn!(
        target: AUDIT,
        {
            firewall.verdict = judged.name(),
            firewall.rules = rules.join("; "),
            firewall.transaction = id,
            ingress = %located.route.ingress,
            client.address = %located.origin.ip,
            http.method = %head.method,
            url.path = head.path(),
        },
        "the firewall's rules matched"
    );
}

pub(super) fn named(rule: &Match) -> String {
    let Match { id, message, tag } = rule;
    format!("{id} {message:?} [{tag}]")
}
