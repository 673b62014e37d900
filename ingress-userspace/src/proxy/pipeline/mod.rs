//! From a request's head to its answer. The stages stand in [`stages`] in the order in which they
//! can be told apart from outside (reference section 2); each is a module.

mod authority;
mod client_auth;
mod forwarded;
mod headers;
mod origin;
mod redirect;
mod target;

use std::{rc::Rc, sync::Arc};

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING, UPGRADE},
    request,
};
use hyper::body::{Body as _, Incoming};

use super::{
    balance::View,
    body::{RequestBody, ResponseBody, Upstream},
    client::{Client, InFlight},
    counters::Subject,
    respond::{self, Failure},
    upgrade::Tunnel,
    upstream::{self, Answer, Raw},
};
use crate::{
    model::{BackendId, HostName, Route, Target},
    route::{CompiledRoute, Found, HostTable, normalize},
};
use authority::Authority;
use client_auth::Entry;
use origin::Origin;

/// Answered 200 by the catch-all host, for balancers in front that look at the traffic ports
/// (reference section 10).
const HEALTH: &str = "/healthz";

/// Answers a request.
pub(super) async fn answer(
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let in_flight = client.enter();
    let view = client.worker.view();
    let (head, body) = request.into_parts();
    let method = head.method.clone();
    let http1 = head.version < Version::HTTP_2;
    let mut subject = Subject::default();
    let outcome = stages(&client, &view, head, body, &mut subject).await;
    let mut closes = client.worker.draining();
    let mut response = match outcome {
        Ok(Outcome::Upstream(Answer::Response(response, connection))) => {
            let (mut head, incoming) = response.into_parts();
            headers::clean_response(&mut head.headers);
            let body = ResponseBody::upstream(Upstream::new(incoming, connection), in_flight);
            Response::from_parts(head, body)
        }
        Ok(Outcome::Upstream(Answer::Upgrade(response, raw))) => match raw.await {
            Ok(raw) => switched(&client, response, raw, in_flight),
            Err(_connection_broke) => respond::failure(Failure::Upstream, in_flight),
        },
        Ok(Outcome::Healthy) => respond::healthy(in_flight),
        Ok(Outcome::Elsewhere(status, location)) => respond::redirect(status, location, in_flight),
        Err(failure) => {
            closes |= failure.closes();
            tracing::debug!(?failure, client.address = %client.peer, "not answered by an upstream");
            respond::failure(failure, in_flight)
        }
    };
    // hyper sends what it is given over HTTP/2, to HEAD too.
    if method == Method::HEAD
        && let Some(length) = response.body_mut().take_own()
    {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    client.worker.counters.request(subject, &method, response.status().as_u16());
    let headers = response.headers_mut();
    if client.https
        && let Some(hsts) = &view.hsts
    {
        headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    // hyper closes the connection after an answer that says so.
    if http1 && closes && !headers.contains_key(UPGRADE) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What the stages come to when nothing goes wrong.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the usual one; a box would cost it"
)]
enum Outcome {
    Upstream(Answer),
    Healthy,
    Elsewhere(StatusCode, HeaderValue),
}

/// The stages, in their order.
async fn stages<'v>(
    client: &Rc<Client>,
    view: &'v Rc<View>,
    mut head: request::Parts,
    body: Incoming,
    subject: &mut Subject<'v>,
) -> Result<Outcome, Failure> {
    let snapshot = &view.snapshot;
    let settings = &snapshot.model.settings;
    if head.method == Method::CONNECT {
        return Err(Failure::Connect);
    }
    let authority = Authority::of(&head)?;
    let path = normalize(head.uri.path()).map_err(|_bad_path| Failure::BadRequest)?;

    // The host, then the path.
    let host = snapshot.routes.host(authority.as_str());
    subject.host = Some(host.name());
    let entry = client_auth::enter(client, host, authority.as_str())?;
    if let Entry::Elsewhere(location) = entry {
        return Ok(Outcome::Elsewhere(StatusCode::FOUND, location));
    }
    if path == HEALTH && *host.name() == HostName::CatchAll {
        return Ok(Outcome::Healthy);
    }
    let compiled = match find(host, &path)? {
        Place::Route(compiled) => compiled,
        Place::AddSlash(compiled) => {
            subject.route = Some(&compiled.route);
            let location = redirect::add_slash(client, &authority, &head.uri)?;
            return Ok(Outcome::Elsewhere(StatusCode::MOVED_PERMANENTLY, location));
        }
    };
    let route: &'v Arc<Route> = &compiled.route;
    subject.route = Some(route);

    // (a) Denied; (c) redirects of the route's own.
    let origin = Origin::of(client, &authority, &head.headers, settings);
    let backend = match &route.target {
        Target::Denied(_) => return Err(Failure::Denied),
        Target::Redirect(redirect) => {
            let (status, location) = redirect::configured(redirect, client, &authority)?;
            return Ok(Outcome::Elsewhere(status, location));
        }
        Target::NotFound => None,
        Target::Backend(id) => Some(*id),
    };
    let service = backend.and_then(|id| view.backend(id));
    subject.service = service.map(|backend| &backend.key.service);

    // (d) The rewrite.
    let uri = target::upstream(&head.uri, compiled.rewrite(&path))?;

    // (e) The redirect to HTTPS.
    if redirect::is_due(route, host.tls(), &origin) {
        let location = redirect::to_https(route, &origin, &head.uri)?;
        let status = StatusCode::from_u16(settings.redirect_code as u16);
        return Ok(Outcome::Elsewhere(status.unwrap_or(StatusCode::PERMANENT_REDIRECT), location));
    }

    // (f) The upstream; without endpoints there is none.
    let backend = backend.ok_or(Failure::NoRoute)?;
    if service.is_none_or(|service| service.endpoints.is_empty()) {
        return Err(Failure::NoEndpoint);
    }
    drop(path);
    head.uri = uri;
    let upgrade = headers::clean_request(&mut head);
    forwarded::apply(&mut head.headers, origin, client);
    entry.apply(&mut head.headers);
    forward(client, view, backend, head, body, upgrade).await.map(Outcome::Upstream)
}

/// A path's place in a host.
enum Place<'v> {
    Route(&'v CompiledRoute),
    AddSlash(&'v CompiledRoute),
}

fn find<'v>(host: &'v HostTable, path: &str) -> Result<Place<'v>, Failure> {
    match host.find(path) {
        Found::Route(compiled) => Ok(Place::Route(compiled)),
        Found::AddSlash(compiled) => Ok(Place::AddSlash(compiled)),
        Found::None => Err(Failure::NoRoute),
    }
}

async fn forward(
    client: &Rc<Client>,
    view: &Rc<View>,
    backend: BackendId,
    mut head: request::Parts,
    body: Incoming,
    upgrade: bool,
) -> Result<Answer, Failure> {
    head.version = Version::HTTP_11;
    // hyper's own marks of the client's connection mean nothing to the upstream's.
    head.extensions.clear();
    let body = RequestBody::new(body);
    // Without either hyper takes it that a GET has no body, and drops it.
    if !body.is_end_stream() && !head.headers.contains_key(CONTENT_LENGTH) {
        head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    upstream::send(&client.worker, || view.next(backend), head, body, upgrade).await
}

fn switched(
    client: &Rc<Client>,
    response: Response<Incoming>,
    upstream: Raw,
    in_flight: InFlight,
) -> Response<ResponseBody> {
    let (mut head, _) = response.into_parts();
    let protocol = head.headers.remove(UPGRADE);
    headers::clean_response(&mut head.headers);
    head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        head.headers.insert(UPGRADE, protocol);
    }
    head.extensions.clear();
    client.tunnel.replace(Some(Tunnel { upstream }));
    Response::from_parts(head, ResponseBody::own(bytes::Bytes::new(), in_flight))
}
