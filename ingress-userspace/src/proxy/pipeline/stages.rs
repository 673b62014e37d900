//! The stages of a request, in the order in which they can be told apart from outside (reference
//! section 2).

use std::{cell::OnceCell, rc::Rc, sync::Arc};

use super::{
    access::Verdict,
    admission::{self, Admission, Admitted},
    asker::Asked,
    authority::{self, without_port},
    blocked,
    canary::{self, Chosen},
    client_auth::{self, Entry},
    cors, errors, explain, external, fastcgi, firewall, forwarded, headers, held, mirror,
    origin::Origin,
    redirect, settings,
    snippet::{Applied, Next, Planned, Script},
    sources, target,
    variables::Seen,
    websocket,
};
use crate::{
    model::{Backend, BackendKey, FieldPolicy, HostName, Route, Target},
    proxy::{
        balance::{Attempts, View},
        client::Client,
        counters::Subject,
        exchange::Ahead,
        held::Asking,
        message::{BodyLength, Known, RequestHead},
        mirror::Copy,
        respond::{self, Answer, Failure},
        trial::{Says, Stage},
    },
    route::{Found, HostTable, normalize},
};

/// Answered 200 by the catch-all host, for balancers in front that look at the traffic ports
/// (reference section 10).
const HEALTH: &str = "/healthz";

/// What the stages come to when nothing goes wrong.
pub(super) enum Decision<'v> {
    Forward(Forward<'v>),
    /// First its body is to be read, and all of it to be judged.
    Inspect(Box<firewall::Admitted<'v>>),
    Own(Answer),
}

/// To an endpoint.
pub(super) struct Forward<'v> {
    pub(super) attempts: Attempts<'v, Asked<'v>>,
    pub(super) route: &'v Route,
    /// The client asks for another protocol.
    pub(super) upgrade: bool,
    /// It does so over HTTP/2.
    pub(super) over_http2: bool,
    /// What it was admitted with, of a route with policies.
    pub(super) admission: Option<Box<Admission>>,
    /// A copy that waits for the request's body.
    pub(super) mirror: Option<Box<Copy>>,
    /// What was read of the body already.
    pub(super) ahead: Option<Box<Ahead>>,
    /// The length of its body is to be found out, for these.
    pub(super) measured: Option<Box<Asking>>,
}

/// A request whose endpoints are known.
pub(super) struct Located<'v> {
    pub(super) host: &'v HostTable,
    pub(super) route: &'v Arc<Route>,
    /// What the route leads to.
    pub(super) service: &'v Arc<Backend>,
    /// The Service that `default-backend` stands in for.
    missing: Option<&'v BackendKey>,
    /// Who is asked: that, or its canary.
    pub(super) chosen: Chosen<'v>,
    /// What it brings of its client's certificate.
    pub(super) entry: Entry<'v>,
    /// Where it comes from.
    pub(super) origin: Origin<'v>,
    /// The host and port that the client asked for.
    pub(super) authority: String,
    /// The target as the client sent it, where it was rewritten.
    pub(super) original: Option<String>,
    /// What snippets leave to be done.
    pub(super) applied: Option<Box<Applied<'v>>>,
    /// It stands in the place of another's page.
    pub(super) is_page: bool,
    pub(super) over_http2: bool,
}

impl Located<'_> {
    /// The request for the variables of texts; `head` is the one that the upstream is to be asked.
    pub(super) fn seen<'r>(&'r self, client: &'r Client, head: &'r RequestHead) -> Seen<'r> {
        Seen {
            client,
            fields: &head.fields,
            method: &head.method,
            target: self.original.as_deref().unwrap_or(&head.target),
            path: head.path(),
            host: without_port(&self.authority),
            address: &self.origin.address,
            server: self.host.name(),
            route: Some(self.route),
            service: Some(&self.service.key),
            request_id: OnceCell::new(),
            trace: head.trace(),
        }
    }
}

/// How far the stages come that wait for nothing.
#[expect(clippy::large_enum_variant, reason = "the large one is what most requests come to")]
pub(super) enum Step<'v> {
    Decided(Decision<'v>),
    /// The route has policies.
    Admit(Box<Located<'v>>),
}

/// The stages of most routes, at once. What is known of the request stays in its place meanwhile:
/// handing such a value on costs more than most stages do.
pub(super) fn run<'v>(
    client: &'v Rc<Client>,
    view: &'v Rc<View>,
    head: &mut RequestHead,
    subject: &mut Subject<'v>,
    planned: &mut Planned<'v>,
) -> Result<Step<'v>, Failure> {
    let mut located = None;
    let own = locate(client, view, head, subject, planned, &mut located)?;
    match (own, located) {
        (None, Some(located)) if located.route.policies.is_some() => {
            Ok(Step::Admit(Box::new(located)))
        }
        (None, Some(mut located)) => {
            forward(client, view, head, &mut located, None).map(Step::Decided)
        }
        (Some(answer), _) => Ok(Step::Decided(Decision::Own(answer))),
        (None, None) => Err(Failure::NoRoute),
    }
}

/// The stages that some routes ask for, which may wait, and what comes behind them.
pub(super) async fn admit<'v>(
    client: &'v Rc<Client>,
    view: &'v Rc<View>,
    head: &mut RequestHead,
    mut located: Box<Located<'v>>,
) -> Result<Decision<'v>, Failure> {
    let route = located.route;
    if let Some(trace) = head.trace() {
        trace.settle(&located.seen(client, head), &view.snapshot.model.settings);
    }
    let Some(policies) = &route.policies else {
        return forward(client, view, head, &mut located, None);
    };
    let admitted = admission::admit(client, view, head, &located, policies).await;
    if !matches!(admitted, Ok(Admitted::With(_))) {
        head.authority.clone_from(&located.authority);
    }
    match (admitted?, &policies.firewall) {
        (Admitted::With(admission), Some(firewall)) => {
            let admitted = firewall::Admitted { located, admission, firewall };
            Ok(Decision::Inspect(Box::new(admitted)))
        }
        (Admitted::With(admission), None) => {
            forward(client, view, head, &mut located, Some(admission))
        }
        (Admitted::Own(answer), _) => Ok(Decision::Own(answer)),
    }
}

/// Steps 4 to 8: which host, route and endpoints are meant, which is put into `located`, or which
/// answer needs none.
fn locate<'v>(
    client: &'v Rc<Client>,
    view: &'v Rc<View>,
    head: &mut RequestHead,
    subject: &mut Subject<'v>,
    planned: &mut Planned<'v>,
    located: &mut Option<Located<'v>>,
) -> Result<Option<Answer>, Failure> {
    let over_http2 = websocket::is_asked(head)?;
    authority::settle(head)?;
    let mut authority = std::mem::take(&mut head.authority);
    let own = place(client, view, head, subject, &mut authority, over_http2, planned, located);
    if located.is_none() {
        // What is answered in another way still looks at it.
        head.authority = authority;
    }
    own
}

/// The same, of a request whose authority is known; which is taken along.
#[expect(clippy::too_many_arguments, reason = "the state of one walk through the stages")]
fn place<'v>(
    client: &'v Rc<Client>,
    view: &'v Rc<View>,
    head: &mut RequestHead,
    subject: &mut Subject<'v>,
    authority: &mut String,
    over_http2: bool,
    planned: &mut Planned<'v>,
    located: &mut Option<Located<'v>>,
) -> Result<Option<Answer>, Failure> {
    let snapshot = &view.snapshot;
    let settings = &snapshot.model.settings;
    let Planned { plan, page, pristine } = planned;
    let path = normalize(head.path()).map_err(|_bad_path| Failure::BadRequest)?;

    // The host, then the path.
    let host: &'v HostTable = snapshot.routes.host(authority);
    subject.host = Some(host.name());
    head.timing.belongs_to(host.first_number());
    client.note(Stage::Host, Says::Pass, || explain::host(host, authority));
    // Client certificates.
    let entry = client_auth::enter(client, host, authority)?;
    if let Entry::Elsewhere(page) = entry {
        return elsewhere(302, page);
    }
    // What is blocked everywhere.
    if let Some(blocked) = &settings.blocked {
        client.note(Stage::Blocked, Says::Pass, String::new);
        blocked::check(blocked, &head.fields)?;
    }
    if path == HEALTH && *host.name() == HostName::CatchAll {
        client.note(Stage::Health, Says::Pass, String::new);
        return Ok(Some(respond::healthy()));
    }
    // What snippets do before the path is looked at; most hosts and routes have none.
    let mut script = host
        .snippet()
        .map(|_| Box::new(Script::new(client, host.name(), head, authority, &path, settings)));
    let mut named = page.as_ref().map(|page| &*page.target).filter(|name| name.starts_with('@'));
    if let (Some(script), Some(server)) = (&mut script, host.snippet()) {
        client.note(Stage::ServerSnippet, Says::Pass, String::new);
        let answer = match named {
            // As nginx: a named location is gone to past the steps of the server.
            Some(_) => script.enter_aside(server, head, plan)?,
            None => script.enter(server, head, plan)?,
        };
        if answer.is_some() {
            return Ok(answer);
        }
    }
    let (route, program, backend, rewritten) = loop {
        let found = match (&mut script, host.snippet()) {
            (Some(script), Some(server)) => {
                let next = match named.take() {
                    Some(name) => script.go(server, name, head, plan)?,
                    None => script.place(server, host, head, plan)?,
                };
                match next {
                    Next::Host(found) => found,
                    Next::Own(answer) => return Ok(Some(answer)),
                    Next::Again => continue,
                }
            }
            _ if named.is_some() => return Err(Failure::RewriteLoop),
            (Some(script), None) => host.find(&script.uri),
            (None, _) => host.find(&path),
        };
        let compiled = match found {
            Found::Route(compiled) => compiled,
            Found::AddSlash(compiled) => {
                explain::route(client, host, &compiled.route);
                subject.route = Some(&compiled.route);
                head.timing.belongs_to(compiled.number);
                let route = &compiled.route;
                let port = settings.https_port;
                let path = script.as_ref().map_or(&*path, |script| &script.uri);
                let location =
                    redirect::add_slash(route, client, port, authority, path, head.query());
                return elsewhere(301, &location);
            }
            Found::None => {
                client.note(Stage::Route, Says::Pass, || "no path of the host".to_owned());
                return Err(Failure::NoRoute);
            }
        };
        let route: &'v Arc<Route> = &compiled.route;
        subject.route = Some(route);
        head.timing.belongs_to(compiled.number);
        explain::route(client, host, route);
        let backend = match &route.target {
            Target::Backend(id) => Some(*id),
            Target::Denied(_) | Target::Redirect(_) | Target::OtherHost(_) | Target::NotFound => {
                None
            }
        };
        let service = backend.and_then(|id| view.backend(id));
        subject.service = service.map(|backend| &backend.key.service);
        let program = route.policies.as_ref().and_then(|policies| policies.snippet.as_deref());
        if let Some(program) = program {
            let script = script.get_or_insert_with(|| {
                Box::new(Script::new(client, host.name(), head, authority, &path, settings))
            });
            script.arrive(route, service.map(|service| &service.key), program, head, plan);
        } else {
            *plan = None;
        }

        // A body that is announced as too large, before all else of the location (step 7).
        if let (BodyLength::Exact(length), Some(most)) = (head.body, route.proxying.max_body)
            && length > most
        {
            client.note(Stage::BodySize, Says::Pass, || format!("{length} of {most} bytes"));
            return Err(Failure::BodyTooLarge);
        }

        // (a) Denied; (b) browsers that ask whether they may ask; (c) redirects of the route's own.
        if let Some(policies) = &route.policies
            && !matches!(route.target, Target::Denied(_))
            && let Some(answer) = cors::preflight(policies, head)
        {
            client.note(Stage::Preflight, Says::Pass, String::new);
            return Ok(Some(answer));
        }
        explain::target(client, route);
        match &route.target {
            Target::Denied(_) => return Err(Failure::Denied),
            Target::Redirect(redirect) => {
                let location =
                    redirect::configured(redirect, route, client, settings.https_port, authority);
                return elsewhere(redirect.status, &location);
            }
            Target::OtherHost(name) => {
                let origin = Origin::of(client, &head.fields, settings);
                let location =
                    redirect::to_host(name, client, settings.https_port, &origin, &head.target);
                return elsewhere(settings.redirect_code as u16, &location);
            }
            Target::NotFound | Target::Backend(_) => {}
        }

        // What the route's own snippet does; (d) the rewrite.
        let Some(script) = &mut script else {
            break (route, program, backend, compiled.rewrite(&path));
        };
        if let Some(program) = program {
            client.note(Stage::Snippet, Says::Pass, String::new);
            if let Some(answer) = script.pass(program, head, plan)? {
                return Ok(Some(answer));
            }
        }
        let rewritten = script.rewrites().then(|| compiled.rewrite(&script.uri)).flatten();
        if rewritten.is_some() || !script.jumps()? {
            break (route, program, backend, rewritten);
        }
    };
    let service = backend.and_then(|id| view.backend(id));
    // A request for a page of ours is made of this one, as it came.
    if plan.as_ref().is_some_and(|plan| plan.leads_inside()) {
        *pristine = Some(Box::new(RequestHead { authority: authority.clone(), ..head.clone() }));
    }
    // Of a page: what the client asked for.
    let of_client = head.original.take();
    let is_page = of_client.is_some();
    let mut original = of_client.or_else(|| rewritten.is_some().then(|| head.target.clone()));
    let mut applied = None;
    // Who asks is settled before a snippet changes what the request says, as by nginx.
    let arrived = script.is_some().then(|| Origin::of(client, &head.fields, settings));
    if let Some(script) = script {
        if let Some(target) = script.new_target()? {
            let before = std::mem::replace(&mut head.target, target);
            original = original.filter(|_| is_page).or(Some(before));
        }
        if program.is_some() {
            headers::settle_connection(&mut head.fields);
        }
        applied = program.and_then(|program| script.leave(program, &mut head.fields));
        if let (Some(applied), Some(plan)) = (&applied, plan)
            && applied.tells(Known::AcceptEncoding)
        {
            plan.remember_codings(&head.fields);
        }
    }
    if route.policies.is_some() || !settings.fields.to_client.is_empty() {
        head.original.clone_from(&original);
    }
    if rewritten.is_some() {
        client.note(Stage::Rewrite, Says::Change, || rewritten.clone().unwrap_or_default());
    }
    target::rewrite(head, rewritten)?;

    // (e) The redirect to HTTPS.
    let mut origin = Origin::of(client, &head.fields, settings);
    if let Some(arrived) = arrived {
        (origin.address, origin.ip) = (arrived.address, arrived.ip);
        origin.forwarded_for = arrived.forwarded_for;
    }
    if redirect::is_due(route, host.tls(), &origin) {
        client.note(Stage::HttpsRedirect, Says::Pass, String::new);
        let target = original.as_deref().unwrap_or(&head.target);
        let location =
            redirect::to_https(route, origin.host(authority), settings.https_port, target);
        return elsewhere(settings.redirect_code as u16, &location);
    }

    // (f) Where it goes.
    client.note(Stage::Service, Says::Pass, || explain::service(service));
    let Some(backend) = backend else {
        // Nothing is there to ask for a password for; who is kept out learns not even that.
        let lists = route.policies.as_ref().and_then(|policies| policies.sources.as_ref());
        if let Some(Verdict::Refused(answer)) = lists.and_then(|own| sources::check(own, origin.ip))
        {
            client.note(Stage::Sources, Says::Pass, || origin.ip.to_string());
            return Ok(Some(answer));
        }
        return Err(Failure::NoRoute);
    };
    let missing = service.map(|service| &service.key);
    let (backend, service, missing) = match service {
        Some(service) if !service.endpoints.is_empty() => (backend, service, None),
        _ => {
            let (backend, service) = errors::stand_in(route, view).ok_or(Failure::NoEndpoint)?;
            (backend, service, missing)
        }
    };
    // What stands in for a main Service does not stand in for its canary.
    let chosen = match missing {
        None => {
            let chosen = canary::choose(view, &head.fields, backend, service);
            explain::canary(client, view, &head.fields, service, &chosen);
            chosen
        }
        Some(_) => Chosen::itself(backend, service),
    };
    subject.canary = chosen.is_canary.then_some(chosen.backend);
    *located = Some(Located {
        host,
        route,
        service,
        missing,
        chosen,
        entry,
        origin,
        authority: std::mem::take(authority),
        original,
        applied,
        is_page: page.is_some(),
        over_http2,
    });
    Ok(None)
}

fn elsewhere(status: u16, location: &str) -> Result<Option<Answer>, Failure> {
    // What is written into a field holds no control characters.
    if location.bytes().any(|byte| byte < b' ' || byte == 0x7F) {
        return Err(Failure::BadRequest);
    }
    Ok(Some(respond::redirect(status, location)))
}

/// What the upstream is told, and which endpoints may be asked.
pub(super) fn forward<'v>(
    client: &Rc<Client>,
    view: &'v Rc<View>,
    head: &mut RequestHead,
    located: &mut Located<'v>,
    admission: Option<Box<Admission>>,
) -> Result<Decision<'v>, Failure> {
    let settings = &view.snapshot.model.settings;
    let Located { route, ref origin, over_http2, .. } = *located;
    client.note(Stage::Upstream, Says::Pass, String::new);
    if let Some(trace) = head.trace() {
        trace.settle(&located.seen(client, head), settings);
    }
    if head.fields.get(Known::Expect).is_some_and(|v| !v.eq_ignore_ascii_case(b"100-continue")) {
        return Err(Failure::Expectation);
    }
    let (policy, proxying) = (&settings.fields, &*route.proxying);
    let values = match settings::have_variables(&policy.to_upstream) {
        true => values(client, head, located, policy),
        false => settings::Values::new(),
    };
    let told = match &proxying.host {
        Some(text) => Some(forwarded::host(text, &located.seen(client, head), &located.authority)?),
        None => None,
    };
    let applied = located.applied.as_deref();
    let mut upgrade = match applied.and_then(Applied::underscores) {
        Some(underscores) => {
            headers::clean_request(head, &FieldPolicy { underscores, ..policy.clone() })
        }
        None => headers::clean_request(head, policy),
    };
    if let Some(applied) = applied {
        applied.drop_fields(&mut head.fields);
    }
    if !proxying.protocol.is_http1() && (upgrade || over_http2) {
        // Such an endpoint is asked for no other protocol; a CONNECT means nothing else.
        if over_http2 {
            return Err(Failure::UnknownCoding);
        }
        head.fields.remove(Known::Upgrade);
        upgrade = false;
    }
    if over_http2 {
        websocket::upgrade(head, client.worker.random.borrow_mut().u128(..).to_ne_bytes());
        upgrade = true;
    }
    let authority = &located.authority;
    let own = (told.as_deref(), policy.request_id);
    forwarded::apply(&mut head.fields, authority, origin, client, proxying, own);
    if let (Some(connection), false) = (proxying.connection, upgrade) {
        forwarded::connection(&mut head.fields, connection);
    }
    located.entry.apply(&mut head.fields);
    let original = located.original.as_deref();
    settings::to_upstream(&mut head.fields, policy, original.unwrap_or(&head.target), values);
    if let Some(missing) = located.missing {
        errors::describe(&mut head.fields, Failure::NoEndpoint.status(), route, Some(missing));
    }
    if let Some(applied) = applied {
        applied.to_upstream(&mut head.fields, admission.as_deref());
    }
    // After all that is done to what the client said: it must not have a say in these.
    if let (Some(admission), Some(policies)) = (&admission, &route.policies)
        && let Some(auth) = &policies.external
    {
        external::to_upstream(auth, admission, &mut head.fields);
    }
    if let Some(own) = &proxying.fastcgi {
        let user = admission.as_ref().and_then(|own| own.user.as_deref()).unwrap_or_default();
        let parameters = fastcgi::parameters(own, &located.seen(client, head), head, user)?;
        head.parameters = Some(parameters);
    }
    let asked = Asked::new(client, located, head);
    let own = route.policies.as_ref().and_then(|policies| policies.mirror.as_ref());
    let names = &view.snapshot.model.names;
    let mirror = own.and_then(|own| match client.is_trial() {
        true => explain::mirror(client, own),
        false => mirror::copy(client, head, located, names, own),
    });
    let choice = located.chosen.choice;
    head.authority = std::mem::take(&mut located.authority);
    let attempts = Attempts::new(view, choice, asked);
    let ahead = None;
    // By who it is, whatever the fields say that the endpoint is told.
    let asking = || Box::new(Asking::new(&route.ingress, located.origin.ip));
    let measured = held::is_measured(route, head).then(asking);
    let forward =
        Forward { attempts, route, upgrade, over_http2, admission, mirror, ahead, measured };
    Ok(Decision::Forward(forward))
}

/// What `proxy-set-headers` comes to where it has variables: of the request as the client sent it.
fn values(
    client: &Client,
    head: &mut RequestHead,
    located: &Located<'_>,
    policy: &FieldPolicy,
) -> settings::Values {
    let seen = Seen {
        client,
        fields: &head.fields,
        method: &head.method,
        target: located.original.as_deref().unwrap_or(&head.target),
        path: head.path(),
        host: &located.authority,
        address: &located.origin.address,
        server: located.host.name(),
        route: Some(located.route),
        service: Some(&located.service.key),
        request_id: OnceCell::new(),
        trace: head.trace(),
    };
    let values = settings::values(&policy.to_upstream, &seen);
    if policy.request_id
        && let Some(id) = seen.request_id.into_inner()
    {
        // The upstream is told the same one.
        head.fields.set(Known::XRequestId, &id);
    }
    values
}
