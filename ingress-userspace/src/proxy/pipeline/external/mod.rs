//! External authentication (reference section 8.1): part of step 10. A server is asked about each
//! request by one of its own, which has the request's fields and no body.

mod cache;
mod lookups;
mod question;
mod server;

use std::{cell::OnceCell, rc::Rc, sync::Arc};

use self::{
    cache::{Key, Verdicts},
    lookups::Lookups,
};
use super::{
    access::Verdict, admission::Admission, authority::without_port, explain, stages::Located,
    variables::Seen,
};
use crate::{
    model::{ExternalAuth, Judged, Proxying, Text, Variable},
    proxy::{
        balance::View,
        client::Client,
        message::{Fields, Known, RequestHead, ResponseHead},
        respond::{self, Answer, Failure},
        trial::{Says, Stage},
    },
    resolve::Asking,
};

/// What a worker keeps from one request to the next.
pub(crate) struct Judges {
    lookups: Lookups,
    verdicts: Verdicts,
    /// How the servers are spoken to.
    proxying: Proxying,
}

impl Judges {
    pub(crate) fn new(asking: Asking) -> Self {
        let proxying = Proxying {
            connect_timeout: server::PATIENCE,
            send_timeout: server::PATIENCE,
            read_timeout: server::PATIENCE,
            ..Proxying::default()
        };
        Self { lookups: Lookups::new(asking), verdicts: Verdicts::default(), proxying }
    }
}

/// What of a server's answer goes on, of a request that it let pass or not.
#[derive(Debug, Default)]
pub(super) struct Granted {
    /// `auth-response-headers`.
    to_upstream: Rc<Fields>,
    /// What snippets look at.
    noted: Rc<Fields>,
    status: u16,
    cookies: Vec<Box<[u8]>>,
    /// They go to the client whatever the status.
    always: bool,
}

/// What is kept of a server's answer.
#[derive(Debug)]
struct Judgement {
    status: u16,
    /// `auth-response-headers`, of each name one.
    to_upstream: Rc<Fields>,
    /// What snippets look at.
    noted: Rc<Fields>,
    /// Of a 401.
    challenges: Vec<Box<[u8]>>,
}

/// What snippets see of a server's answer; nothing where none was asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Noted {
    status: u16,
    /// `None` of most requests, for which it must cost nothing.
    fields: Option<Rc<Fields>>,
}

impl Noted {
    /// Of the answer that let this request pass.
    pub(super) fn of(admission: Option<&Admission>) -> Self {
        let granted = admission.and_then(|admission| admission.external.as_ref());
        granted.map_or_else(Self::default, |own| Self {
            status: own.status,
            fields: Some(Rc::clone(&own.noted)),
        })
    }

    /// Appends what it says.
    pub(super) fn append(&self, part: &Judged, out: &mut Vec<u8>) {
        match part {
            Judged::Status if self.status == 0 => {}
            Judged::Status => out.extend_from_slice(self.status.to_string().as_bytes()),
            Judged::Header(name) => {
                let fields = self.fields.iter().flat_map(|fields| fields.iter());
                let named = fields.filter(|field| field.is_named(name.as_bytes()));
                for (index, field) in named.enumerate() {
                    if index > 0 {
                        out.extend_from_slice(b", ");
                    }
                    out.extend_from_slice(field.value);
                }
            }
            Judged::Cookie(name) => {
                let fields = self.fields.as_ref();
                let value = fields.and_then(|fields| fields.set_cookie(name.as_bytes()));
                let value = value.unwrap_or_default();
                out.extend_from_slice(value);
            }
        }
    }
}

/// Asks the server of the route whether the request may pass. What upstream and client are to get
/// from its answer is put into `admission`.
pub(super) async fn check(
    client: &Rc<Client>,
    view: &Rc<View>,
    head: &mut RequestHead,
    located: &Located<'_>,
    auth: &Arc<ExternalAuth>,
    admission: &mut Admission,
) -> Verdict {
    match judge(client, view, head, located, auth, admission).await {
        Ok(judgement) => verdict(&judgement, auth, admission),
        Err(failure) => Verdict::Failed(failure),
    }
}

/// By the table of the reference.
fn verdict(judgement: &Judgement, auth: &ExternalAuth, admission: &Admission) -> Verdict {
    let mut answer = match judgement.status {
        200 => return Verdict::Allowed,
        201..=299 if !auth.only_200 => return Verdict::Allowed,
        401 => respond::unauthorized(judgement.challenges.iter().map(|own| &**own)),
        403 => respond::failure(Failure::Forbidden),
        status => {
            tracing::debug!(status, "the answer of an authentication server is no verdict");
            return Verdict::Failed(Failure::NoVerdict);
        }
    };
    cookies(admission, &mut answer.head);
    Verdict::Refused(answer)
}

/// The verdict that is kept, else the one of the server.
async fn judge(
    client: &Rc<Client>,
    view: &Rc<View>,
    head: &mut RequestHead,
    located: &Located<'_>,
    auth: &Arc<ExternalAuth>,
    admission: &mut Admission,
) -> Result<Rc<Judgement>, Failure> {
    client.note(Stage::ExternalAuth, Says::Pass, String::new);
    let policy = &view.snapshot.model.settings.fields;
    let fields = question::known(client, head, located, policy);
    let host = host(located);
    let seen = seen(client, &fields, head, located, &host);
    let judges = &client.worker.judges;
    let now = client.worker.deadlines.now();
    let key = auth.cache.as_ref().map(|cache| Key::new(located, &host, &seen.text(&cache.key)));
    // What is kept is another's: who only asks what would happen is not told it.
    let kept = key.as_ref().filter(|_| !client.is_trial());
    if let Some(kept) = kept.and_then(|key| judges.verdicts.get(key, auth, now)) {
        admission.external = Some(Granted {
            to_upstream: Rc::clone(&kept.to_upstream),
            noted: Rc::clone(&kept.noted),
            status: kept.status,
            always: auth.always_set_cookie,
            cookies: Vec::new(),
        });
        return Ok(kept);
    }
    // The server's own path is protected by itself: each question would ask the next.
    if question::is_one(&fields) {
        tracing::debug!(host, "a question about a question is not asked");
        return Err(Failure::NoVerdict);
    }
    let mut question = question::about(&seen, head, located, auth, policy)?;
    let name = server::name(auth, &host);
    if client.is_trial() {
        explain::external(client, auth, &name, &question);
        // What follows is what would if it agreed.
        return Ok(Rc::new(Judgement::assumed()));
    }
    let mut answer = client.worker.take_answer();
    let outcome = server::ask(client, view, auth, &name, &mut question, &mut answer).await;
    let judged = outcome.map(|()| {
        let judgement = Rc::new(Judgement::of(&answer, auth));
        let cookies = answer.fields.get_all(Known::SetCookie).map(Into::into).collect();
        admission.external = Some(Granted {
            to_upstream: Rc::clone(&judgement.to_upstream),
            noted: Rc::clone(&judgement.noted),
            status: judgement.status,
            cookies,
            always: auth.always_set_cookie,
        });
        if let Some((key, cache)) = key.zip(auth.cache.as_ref())
            && let Some(time) = cache.duration(answer.status)
            && let Some(time) = cache::lifetime(&answer, time)
        {
            judges.verdicts.put(key, auth, &judgement, now, time);
        }
        judgement
    });
    client.worker.give_answer(answer);
    judged.map_err(|error| {
        tracing::debug!(?error, host = &*name, "an authentication server does not answer");
        Failure::NoVerdict
    })
}

impl Judgement {
    /// Of a server that was not asked.
    fn assumed() -> Self {
        Self {
            status: 200,
            to_upstream: Rc::default(),
            noted: Rc::default(),
            challenges: Vec::new(),
        }
    }

    fn of(answer: &ResponseHead, auth: &ExternalAuth) -> Self {
        let mut to_upstream = Fields::default();
        for name in &auth.response_headers {
            let named = answer.fields.iter().filter(|field| field.is_named(name.as_bytes()));
            let values: Vec<_> = named.map(|field| field.value).collect();
            let value = values.join(&b", "[..]);
            if !value.is_empty() {
                to_upstream.push(name.as_bytes(), &value);
            }
        }
        let mut noted = Fields::default();
        for field in answer.fields.iter() {
            if auth.noted.iter().any(|name| field.is_named(name.as_bytes())) {
                noted.push(field.name, field.value);
            }
        }
        let challenges = match answer.status {
            401 => answer.fields.get_all(Known::WwwAuthenticate).map(Into::into).collect(),
            _ => Vec::new(),
        };
        let (to_upstream, noted) = (Rc::new(to_upstream), Rc::new(noted));
        Self { status: answer.status, to_upstream, noted, challenges }
    }
}

/// What a 401 of the location becomes: the way to the sign-in page, if there is one.
pub(super) fn signin(
    client: &Rc<Client>,
    head: &RequestHead,
    located: &Located<'_>,
    auth: &ExternalAuth,
    admission: &Admission,
    unauthorized: Answer,
) -> Result<Answer, Failure> {
    let Some(signin) = &auth.signin else { return Ok(unauthorized) };
    let mut fields = Fields::default();
    fields.push_known(Known::Host, located.authority.as_bytes());
    let host = host(located);
    let seen = seen(client, &fields, head, located, &host);
    let mut location = seen.text(&signin.url);
    if let Some(parameter) = &signin.parameter {
        location.extend_from_slice(parameter.as_bytes());
        location.extend_from_slice(&located.origin.scheme);
        location.extend_from_slice(b"://");
        location.extend_from_slice(located.authority.as_bytes());
        let target = Variable::EscapedRequestUri;
        seen.variable(&target, &mut |bytes| location.extend_from_slice(bytes));
    }
    let location = String::from_utf8(location).map_err(|_no_text| Failure::BadRequest)?;
    if location.bytes().any(|byte| byte <= b' ' || byte == 0x7F) {
        return Err(Failure::BadRequest);
    }
    let mut answer = respond::redirect(302, &location);
    cookies(admission, &mut answer.head);
    Ok(answer)
}

/// `auth-response-headers` of a request that goes to its upstream: what the server said, and
/// nothing that the client did, whether the server was asked or not. Names that an upstream might
/// take for the same, with underscores, go too.
pub(super) fn to_upstream(auth: &ExternalAuth, admission: &Admission, fields: &mut Fields) {
    if auth.response_headers.is_empty() {
        return;
    }
    for name in &auth.response_headers {
        fields.remove_alike(name.as_bytes());
    }
    if let Some(granted) = &admission.external {
        for field in granted.to_upstream.iter() {
            fields.push(field.name, field.value);
        }
    }
}

/// The server's cookies, where the status of the answer is one that takes them (nginx's
/// `add_header`).
pub(super) fn cookies(admission: &Admission, answer: &mut ResponseHead) {
    let Some(granted) = &admission.external else { return };
    let takes = matches!(answer.status, 200 | 201 | 204 | 206 | 301..=304 | 307 | 308);
    if granted.always || takes {
        for cookie in &granted.cookies {
            answer.fields.push_known(Known::SetCookie, cookie);
        }
    }
}

/// `$host`: lower case, without port and final dot.
fn host(located: &Located<'_>) -> String {
    let host = without_port(&located.authority).to_ascii_lowercase();
    host.strip_suffix('.').unwrap_or(&host).to_owned()
}

fn seen<'r>(
    client: &'r Rc<Client>,
    fields: &'r Fields,
    head: &'r RequestHead,
    located: &'r Located<'_>,
    host: &'r str,
) -> Seen<'r> {
    Seen {
        client,
        fields,
        method: &head.method,
        target: located.original.as_deref().unwrap_or(&head.target),
        path: head.path(),
        host,
        address: &located.origin.address,
        server: located.host.name(),
        route: Some(located.route),
        service: Some(&located.service.key),
        request_id: OnceCell::new(),
        trace: head.trace(),
    }
}

/// A text as the value of a field.
///
/// # Errors
/// What the request has for a variable, as a decoded path may, would end the field.
fn value(seen: &Seen<'_>, text: &Text) -> Result<Vec<u8>, Failure> {
    let value = seen.text(text);
    let ends = |byte: &u8| *byte < b' ' && *byte != b'\t' || *byte == 0x7F;
    if value.iter().any(ends) { Err(Failure::BadRequest) } else { Ok(value) }
}
