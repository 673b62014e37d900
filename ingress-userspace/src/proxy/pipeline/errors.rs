//! Other answers in the place of errors (reference section 5.7): a default backend is asked for
//! them, once. What it says is never replaced itself, so that nothing goes round in circles.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::Method;

use super::{
    admission::Admission, asker::Asked, external, finish::Answered, forwarded, headers,
    origin::Origin, settings,
};
use crate::{
    model::{Backend, BackendId, BackendKey, ErrorPages, Proxying, Route, Target},
    proxy::{
        balance::{Attempts, Choice, View},
        buffer::Buffer,
        client::Client,
        counters::Subject,
        exchange::{self, Outcome, Terms},
        message::{BodyLength, Fields, Known, RequestHead, ResponseHead},
        respond::{self, Answer, Failure},
        sides::{ClientError, Downstream, Read, Traffic},
    },
};

/// Who answers in the place of an answer of this status, if somebody does. Not for gRPC, whose
/// clients read no pages.
pub(super) fn pages<'v>(
    subject: &Subject<'v>,
    status: u16,
    of_endpoint: bool,
) -> Option<&'v ErrorPages> {
    let route = subject.route?;
    let pages = route.policies.as_ref()?.errors.as_ref()?;
    let is_replaced = pages.cover(status, of_endpoint) && !route.proxying.protocol.is_http2();
    is_replaced.then_some(pages)
}

/// `default-backend`, which stands in for a Service without endpoints.
pub(super) fn stand_in<'v>(route: &Route, view: &'v View) -> Option<(BackendId, &'v Arc<Backend>)> {
    let pages = route.policies.as_ref()?.errors.as_ref()?;
    ready(view, pages.own)
}

fn ready(view: &View, id: Option<BackendId>) -> Option<(BackendId, &Arc<Backend>)> {
    let id = id?;
    let backend = view.backend(id).filter(|backend| !backend.endpoints.is_empty())?;
    Some((id, backend))
}

/// What is left of an endpoint's answer that is replaced: our page of its status, should nobody have
/// another one, and how to log in.
pub(super) fn remains(discarded: &ResponseHead) -> Answer {
    let mut answer = respond::status(discarded.status);
    if discarded.status == 401 {
        // nginx too keeps it (`ngx_http_upstream_intercept_errors`).
        for challenge in discarded.fields.get_all(Known::WwwAuthenticate) {
            answer.head.fields.push_known(Known::WwwAuthenticate, challenge);
        }
    }
    answer
}

/// Tells a default backend what went wrong.
pub(super) fn describe(
    fields: &mut Fields,
    status: u16,
    route: &Route,
    service: Option<&BackendKey>,
) {
    let format = fields.get(Known::Accept).unwrap_or_default().to_vec();
    let port = service.map(|key| key.port.to_string()).unwrap_or_default();
    let service = service.map(|key| &*key.service).unwrap_or_default();
    for (name, value) in [
        ("X-Code", status.to_string().as_bytes()),
        ("X-Format", &format),
        ("X-Namespace", route.ingress.namespace.as_bytes()),
        ("X-Ingress-Name", route.ingress.name.as_bytes()),
        ("X-Service-Name", service.as_bytes()),
        ("X-Service-Port", port.as_bytes()),
    ] {
        fields.remove_alike(name.as_bytes());
        // nginx leaves out what is empty.
        if !value.is_empty() {
            fields.push(name.as_bytes(), value);
        }
    }
}

/// Asks for another answer and sends that. `prepared`: the head is as an endpoint was sent it.
/// Returns its status.
///
/// # Errors
/// Nobody has another answer, or the client left; nothing was sent.
pub(super) async fn replace<D: Downstream>(
    pages: &ErrorPages,
    answered: &Answered<'_>,
    prepared: bool,
    down: &mut D,
    answer: &Answer,
) -> Result<u16, Failure> {
    let Answered { client, view, subject, request, .. } = *answered;
    let (Some(route), Some(host)) = (subject.route, subject.host) else {
        return Err(Failure::NoEndpoint);
    };
    let found = ready(view, pages.own).or_else(|| ready(view, pages.global));
    let (id, backend) = found.ok_or(Failure::NoEndpoint)?;
    let origin = Origin::of(client, &request.fields, &view.snapshot.model.settings);
    let mut head = RequestHead {
        method: request.method.clone(),
        version: request.version,
        target: "/".to_owned(),
        fields: request.fields.clone(),
        journal: request.journal.clone(),
        ..RequestHead::default()
    };
    if !matches!(head.method, Method::GET | Method::HEAD) {
        head.body = BodyLength::Exact(0);
    }
    if !prepared {
        prepare(&mut head, client, view, &pages.proxying, &origin, &request.authority);
        // Nobody has vouched for what the client says of itself.
        if let Some(auth) = route.policies.as_ref().and_then(|own| own.external.as_ref()) {
            external::to_upstream(auth, &Admission::default(), &mut head.fields);
        }
    }
    strip(&mut head.fields);
    head.fields.set(Known::Host, origin.host(&request.authority).as_bytes());
    let service = match &route.target {
        Target::Backend(id) => view.backend(*id).map(|backend| &backend.key),
        _ => None,
    };
    describe(&mut head.fields, answer.head.status, route, service);
    let target = request.original.as_deref().unwrap_or(&request.target);
    head.fields.set(Known::XOriginalUri, target.as_bytes());
    if head.fields.get(Known::XRequestId).is_none_or(<[u8]>::is_empty) {
        head.fields.set(Known::XRequestId, &forwarded::new_request_id(client));
    }
    let authority = &request.authority;
    if let Some(trace) = head.trace() {
        trace.settle_late(client, &subject, request, view);
    }
    let asked = Asked::aside(client, route, host, backend, &head, authority, &origin);
    let attempts = Attempts::new(view, Choice { id, affinity: None }, asked);
    ask(pages, answered, attempts, head, down, answer).await
}

async fn ask<D: Downstream>(
    pages: &ErrorPages,
    answered: &Answered<'_>,
    mut attempts: Attempts<'_, Asked<'_>>,
    mut head: RequestHead,
    down: &mut D,
    answer: &Answer,
) -> Result<u16, Failure> {
    let Answered { client, view, .. } = *answered;
    let finish = |head: &RequestHead, page: &mut ResponseHead, _: &Attempts<'_, Asked<'_>>| {
        if let Some(journal) = &head.journal {
            journal.upstream_answer(page);
        }
        settings::hide(&mut page.fields, &view.snapshot.model.settings.fields);
        for challenge in answer.head.fields.get_all(Known::WwwAuthenticate) {
            page.fields.push_known(Known::WwwAuthenticate, challenge);
        }
        answered.finish(page);
        let verdict = answered.encode(page, None);
        if let Some(journal) = &head.journal {
            journal.answer(page);
        }
        verdict
    };
    let mut down = Bodiless(down);
    let terms = Terms { proxying: &pages.proxying, upgrade: false, ahead: None, mirror: None };
    let asked = exchange::run(client, &mut attempts, &mut head, terms, &mut down, finish).await;
    match asked {
        Outcome::Answered(status) => Ok(status),
        Outcome::Discarded => Err(Failure::Upstream),
        Outcome::Unanswered(failure) => {
            tracing::debug!(?failure, client.address = %client.peer, "no page from a default backend");
            Err(failure)
        }
    }
}

/// As for an endpoint.
fn prepare(
    head: &mut RequestHead,
    client: &Client,
    view: &View,
    proxying: &Proxying,
    origin: &Origin<'_>,
    authority: &str,
) {
    let policy = &view.snapshot.model.settings.fields;
    let _upgrade = headers::clean_request(head, policy);
    // What these say of a client's certificate nobody has looked at.
    for known in [
        Known::SslClientCert,
        Known::SslClientIssuerDn,
        Known::SslClientSubjectDn,
        Known::SslClientVerify,
    ] {
        head.fields.remove(known);
    }
    // `upstream-vhost` is about the endpoints of the path.
    let own = (None, policy.request_id);
    forwarded::apply(&mut head.fields, authority, origin, client, proxying, own);
}

/// What asks for something else than a whole page, belongs to a body that is not sent, or opens what
/// may just have been refused.
pub(super) fn strip(fields: &mut Fields) {
    for known in [
        Known::Authorization,
        Known::Connection,
        Known::Upgrade,
        Known::Range,
        Known::IfModifiedSince,
        Known::IfNoneMatch,
        Known::ContentEncoding,
        Known::ContentLength,
        Known::ContentType,
        Known::Expect,
    ] {
        fields.remove(known);
    }
    for name in [&b"If-Match"[..], b"If-Unmodified-Since", b"If-Range"] {
        fields.remove_named(name);
    }
}

/// A client whose body is not read: the page is asked for without it.
pub(super) struct Bodiless<'d, D>(pub(super) &'d mut D);

impl<D: Downstream> Downstream for Bodiless<'_, D> {
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

    fn start(&mut self, head: &ResponseHead) {
        self.0.start(head);
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, ClientError>> {
        self.0.poll_write(cx, data)
    }

    fn finish(&mut self, trailers: Option<&Fields>) {
        self.0.finish(trailers);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        self.0.poll_flush(cx)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Otherwise the body would be read for the next request.
        self.0.poll_left(cx)
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_left(cx)
    }

    fn traffic(&self) -> Traffic {
        self.0.traffic()
    }

    fn tunnel(&mut self) {
        self.0.tunnel();
    }

    fn close(&mut self) {
        self.0.close();
    }

    fn abort(&mut self) {
        self.0.abort();
    }
}
