//! Questions to the API server and what it answers.

use std::{
    error::Error,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::{Request, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::{BodyExt as _, Limited};
use kube::{
    Client,
    api::{ListParams, WatchParams},
    client::Body,
};
use serde::Deserialize;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{
    kind::{Decoded, Kind},
    lines::Lines,
};
use crate::kubernetes::Access;

/// Until the head of an answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Until the end of a page.
const WHOLE: Duration = Duration::from_secs(60);
/// Objects of a page.
const PAGE: u32 = 500;
/// The longest message of a refusal that is read, in bytes.
const MESSAGE: usize = 64 << 10;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// 410: what was asked for is too old. Listing again helps.
    Expired,
    /// 401, also with what the token's file and the kubeconfig say now.
    Unauthorized(String),
    /// 403.
    Forbidden(String),
    /// 429 or 503, and when to come again.
    Busy(String, Option<Duration>),
    /// Any other answer that is none.
    Refused(String),
    /// Nobody answers, or the answer broke off.
    Unreachable(String),
    /// A watch without any sign of life.
    Silent,
}

impl Failure {
    pub(super) fn unreachable(error: &(dyn Error + 'static)) -> Self {
        // What the outer ones say is mostly "client error".
        let mut text = error.to_string();
        let mut inner = error.source();
        while let Some(error) = inner {
            let more = error.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            inner = error.source();
        }
        Self::Unreachable(text)
    }

    /// The API server was asked, and did not want to.
    fn refusal(status: StatusCode, said: String, after: Option<Duration>) -> Self {
        match status.as_u16() {
            401 => Self::Unauthorized(said),
            403 => Self::Forbidden(said),
            410 => Self::Expired,
            429 | 503 => Self::Busy(said, after),
            _ => Self::Refused(said),
        }
    }

    /// How long the other side wants to be left alone.
    pub(super) fn after(&self) -> Option<Duration> {
        match self {
            Self::Busy(_, after) => *after,
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("the API server has forgotten what was known"),
            Self::Unauthorized(said) => write!(f, "the API server does not know us: {said}"),
            Self::Forbidden(said) | Self::Busy(said, _) | Self::Refused(said) => {
                write!(f, "the API server refuses: {said}")
            }
            Self::Silent => f.write_str("the API server has nothing to say, not even that"),
            Self::Unreachable(why) => write!(f, "the API server cannot be reached: {why}"),
        }
    }
}

/// A client that renews itself when it is not known any more.
pub(super) struct Session {
    /// `None`: there is nothing to renew it from.
    access: Option<Access>,
    current: Mutex<(u64, Client)>,
    renewal: tokio::sync::Mutex<()>,
    /// Something that failed works again: whoever waits for his turn may try his luck.
    pub(super) recovered: Notify,
    /// When something was last answered with success.
    answered: Mutex<Option<Instant>>,
}

/// The objects of a list.
pub(super) struct Listed {
    pub(super) objects: Vec<Decoded>,
    /// Where watching goes on.
    pub(super) version: String,
}

/// One event of a watch.
pub(super) enum Event {
    /// The object is this now.
    Is(Decoded),
    /// The object was this, and is gone.
    Gone(Decoded),
    /// Nothing happened until here.
    Bookmark,
}

/// The events of a watch.
pub(super) struct Events(Lines);

#[derive(Deserialize)]
struct List<K> {
    #[serde(default)]
    metadata: ListMetadata,
    /// Go writes an empty list as `null` at times.
    items: Option<Vec<K>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    more: Option<String>,
}

#[derive(Deserialize)]
struct Line<K> {
    #[serde(rename = "type")]
    kind: String,
    object: K,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
    message: String,
    details: Details,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: u64,
}

impl Session {
    pub(super) fn new(client: Client, access: Option<Access>) -> Self {
        Self {
            access,
            current: Mutex::new((0, client)),
            renewal: tokio::sync::Mutex::new(()),
            recovered: Notify::new(),
            answered: Mutex::new(None),
        }
    }

    /// The API server has answered something with success since.
    pub(super) fn has_answered_since(&self, then: Instant) -> bool {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at > then)
    }

    fn current(&self) -> (u64, Client) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads again who we are, unless somebody else just did.
    async fn renew(&self, refused: u64) -> bool {
        let Some(access) = &self.access else { return false };
        let _one_at_a_time = self.renewal.lock().await;
        if self.current().0 != refused {
            return true;
        }
        match access.client().await {
            Ok(client) => {
                let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
                *current = (refused + 1, client);
                true
            }
            Err(error) => {
                let error = &error as &dyn Error;
                tracing::warn!(error, "the API server does not know us, nor do we");
                false
            }
        }
    }

    /// Asks. Whoever is not known reads again who he is and asks once more.
    async fn ask(&self, request: Request<Vec<u8>>) -> Result<Response<Body>, Failure> {
        let (number, client) = self.current();
        let outcome = match answer(&client, request.clone()).await {
            Err(Failure::Unauthorized(said)) => match self.renew(number).await {
                true => answer(&self.current().1, request).await,
                false => Err(Failure::Unauthorized(said)),
            },
            outcome => outcome,
        };
        if outcome.is_ok() {
            let now = Some(Instant::now());
            *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
        outcome
    }

    /// Lists all objects of a kind, by pages. A list that expires between two of them (an API server
    /// keeps one for some minutes) is asked for in one piece.
    pub(super) async fn list<K: Kind>(&self, namespace: Option<&str>) -> Result<Listed, Failure> {
        match self.pages::<K>(namespace, ListParams::default().limit(PAGE)).await {
            Err(Failure::Expired) => self.pages::<K>(namespace, ListParams::default()).await,
            outcome => outcome,
        }
    }

    /// The object of this name. `list` on it is all the right that it takes, and that is needed anyway.
    pub(super) async fn find<K: Kind>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Decoded>, Failure> {
        let by_name = ListParams::default().fields(&format!("metadata.name={name}"));
        let listed = self.pages::<K>(Some(namespace), by_name).await?;
        // Whatever else an odd API server thinks that this means.
        Ok(listed.objects.into_iter().find(|object| &*object.id.name == name))
    }

    async fn pages<K: Kind>(
        &self,
        namespace: Option<&str>,
        mut page: ListParams,
    ) -> Result<Listed, Failure> {
        let asking = kube::core::Request::new(K::path(namespace));
        let mut objects = Vec::new();
        loop {
            let request = match K::METADATA_ONLY {
                true => asking.list_metadata(&page),
                false => asking.list(&page),
            };
            let request = request.map_err(|error| Failure::Refused(error.to_string()))?;
            let answer = self.ask(request).await?;
            let body = timeout(WHOLE, answer.into_body().collect()).await;
            let body = body
                .map_err(|_late| Failure::Unreachable("a page takes too long".to_owned()))?
                .map_err(|error| Failure::unreachable(&error))?
                .to_bytes();
            let metadata = read_page::<K>(&body, &mut objects)?;
            match metadata.more.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => {
                    let version = metadata.resource_version.unwrap_or_default();
                    return Ok(Listed { objects, version });
                }
            }
        }
    }

    /// Watches a kind from a version on.
    pub(super) async fn watch<K: Kind>(
        &self,
        namespace: Option<&str>,
        version: &str,
        lasting: Duration,
    ) -> Result<Events, Failure> {
        let asking = kube::core::Request::new(K::path(namespace));
        let seconds = u32::try_from(lasting.as_secs()).unwrap_or(u32::MAX);
        let parameters = WatchParams::default().timeout(seconds);
        let request = match K::METADATA_ONLY {
            true => asking.watch_metadata(&parameters, version),
            false => asking.watch(&parameters, version),
        };
        let request = request.map_err(|error| Failure::Refused(error.to_string()))?;
        Ok(Events(Lines::new(self.ask(request).await?.into_body())))
    }
}

async fn answer(client: &Client, request: Request<Vec<u8>>) -> Result<Response<Body>, Failure> {
    let asked = timeout(ANSWER, client.send(request.map(Body::from))).await;
    let answer = asked
        .map_err(|_late| Failure::Unreachable("there is no answer".to_owned()))?
        .map_err(|error| Failure::unreachable(&error))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let after =
        answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = timeout(ANSWER, Limited::new(answer.into_body(), MESSAGE).collect()).await;
    let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
    let said = serde_json::from_slice::<Status>(&body).unwrap_or_default().message;
    let said = if said.is_empty() { format!("status {}", status.as_u16()) } else { said };
    Err(Failure::refusal(status, said, after.map(Duration::from_secs)))
}

/// Adds the objects of a page. One that is not as its kind should be costs no other.
fn read_page<K: Kind>(body: &[u8], objects: &mut Vec<Decoded>) -> Result<ListMetadata, Failure> {
    if let Ok(list) = serde_json::from_slice::<List<K>>(body) {
        objects.extend(list.items.into_iter().flatten().filter_map(Decoded::of));
        return Ok(list.metadata);
    }
    let list = serde_json::from_slice::<List<serde_json::Value>>(body).map_err(|error| {
        Failure::Refused(format!("it answers what is no list of {}: {}", K::NAME, place(&error)))
    })?;
    objects.extend(list.items.into_iter().flatten().filter_map(read_value::<K>));
    Ok(list.metadata)
}

fn read_value<K: Kind>(value: serde_json::Value) -> Option<Decoded> {
    let decoded = match K::deserialize(&value) {
        Ok(object) => Decoded::of(object),
        Err(error) => Decoded::of_broken::<K>(&value, &error.to_string()),
    };
    if decoded.is_none() {
        tracing::warn!(kind = K::NAME, "the API server tells of an object without name");
    }
    decoded
}

/// Where the text is wrong, without what it says there.
fn place(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

impl Events {
    /// The next event and the version that it leads to; `None` at the end.
    pub(super) async fn next<K: Kind>(
        &mut self,
    ) -> Result<Option<(Event, Option<String>)>, Failure> {
        loop {
            let Some(line) = self.0.next().await? else { return Ok(None) };
            if let Some(event) = read_line::<K>(&line)? {
                return Ok(Some(event));
            }
        }
    }
}

/// `None`: nothing that could be attributed to an object.
fn read_line<K: Kind>(line: &[u8]) -> Result<Option<(Event, Option<String>)>, Failure> {
    let (kind, decoded) = match serde_json::from_slice::<Line<K>>(line) {
        Ok(Line { kind, object }) if matches!(&*kind, "ADDED" | "MODIFIED" | "DELETED") => {
            (kind, Decoded::of(object))
        }
        _ => {
            // A bookmark, an error, or an object that is not as its kind should be.
            let Line { kind, object } = serde_json::from_slice::<Line<serde_json::Value>>(line)
                .map_err(|error| {
                    tracing::warn!(kind = K::NAME, "an event is no JSON at {}", place(&error));
                    // Whatever it was about, the list says it.
                    Failure::Expired
                })?;
            match &*kind {
                "BOOKMARK" => {
                    let version = object.pointer("/metadata/resourceVersion");
                    let version = version.and_then(|version| version.as_str()).map(str::to_owned);
                    return Ok(Some((Event::Bookmark, version)));
                }
                "ERROR" => return Err(error_event(object)),
                _ => (kind, read_value::<K>(object)),
            }
        }
    };
    let Some(decoded) = decoded else { return Ok(None) };
    let version = decoded.version.as_deref().map(str::to_owned);
    Ok(match &*kind {
        "ADDED" | "MODIFIED" => Some((Event::Is(decoded), version)),
        "DELETED" => Some((Event::Gone(decoded), version)),
        _ => None,
    })
}

fn error_event(object: serde_json::Value) -> Failure {
    let status: Status = serde_json::from_value(object).unwrap_or_default();
    let after = status.details.retry_after_seconds;
    let after = (after > 0).then(|| Duration::from_secs(after));
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Failure::refusal(code, status.message, after)
}
