//! `/api/v1`: what the agent serves and does, as JSON for the command line, the page and scripts
//! (docs/admin-api.md). One module for each resource. Lists are filtered and paged here, so that who
//! asks never has to hold ten thousand Ingresses; an answer is made on a thread of its own, so that a
//! probe never waits for one.

mod certificates;
mod diagnostics;
mod endpoints;
mod explain;
mod history;
mod objects;
mod query;
mod routes;
mod status;
mod steering;
mod tap;
mod traffic;

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use self::query::Query;
use super::{Board, json, metrics::Body};

/// Where it begins.
pub(crate) const ROOT: &str = "/api/v1/";
/// Answers that are made at once: each may look at all that is served.
const ANSWERS: usize = 4;

/// What the resources keep between two questions.
#[derive(Debug)]
pub(crate) struct State {
    turns: Arc<Semaphore>,
    certificates: certificates::Known,
}

impl Default for State {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(ANSWERS)), certificates: Default::default() }
    }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// What it says means nothing.
    #[error("{0}")]
    Query(String),
    /// There is too much to do.
    #[error("{0}")]
    Busy(String),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Query(_) => StatusCode::BAD_REQUEST,
            Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A list or an object that is answered with.
type Resource = fn(&Board, &Query) -> Result<Value, Refusal>;

/// By their names, which come after [`ROOT`].
const RESOURCES: [(&str, Resource); 9] = [
    ("certificates", certificates::render),
    ("diagnostics", diagnostics::render),
    ("endpoints", endpoints::render),
    ("explain", explain::render),
    ("history", history::render),
    ("l4", steering::render),
    ("routes", routes::render),
    ("status", status::render),
    ("traffic", traffic::render),
];

/// What goes on until who asks has left.
const TAP: &str = "tap";

/// A path is one of these.
pub(super) fn is_meant(path: &str) -> bool {
    path.starts_with(ROOT) || Some(path) == ROOT.strip_suffix('/')
}

/// Answers a question whose path [is meant](is_meant). Who may ask is settled before. `is_trusted`: who asks
/// may change the agent too.
pub(super) async fn answer<B>(
    board: &Arc<Board>,
    request: Request<B>,
    is_trusted: bool,
) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed here");
    }
    let path = request.uri().path();
    let name = path.strip_prefix(ROOT).unwrap_or_default();
    if name.is_empty() {
        let names = RESOURCES.iter().map(|(name, _)| *name).chain([TAP]);
        let names: Vec<_> = names.map(|name| format!("{ROOT}{name}")).collect();
        return shown(StatusCode::OK, &json!({ "resources": names }));
    }
    if name == TAP {
        let query = Query::parse(request.uri().query().unwrap_or_default());
        return query
            .and_then(|query| tap::answer(board, &query))
            .unwrap_or_else(|refusal| refuse(refusal.status(), &refusal.to_string()));
    }
    let Some((_, resource)) = RESOURCES.iter().find(|(own, _)| *own == name) else {
        let names: Vec<_> = RESOURCES.iter().map(|(name, _)| *name).chain([TAP]).collect();
        let known = names.join(", ");
        return refuse(StatusCode::NOT_FOUND, &format!("no such resource; there are {known}"));
    };
    let query = match Query::parse(request.uri().query().unwrap_or_default()) {
        Ok(query) => query,
        Err(refusal) => return refuse(refusal.status(), &refusal.to_string()),
    };
    if name == "explain" && !is_trusted && query.all("header").any(explain::is_credentials) {
        let why = "passwords are judged for --admin-socket alone";
        return refuse(StatusCode::FORBIDDEN, why);
    }
    let Ok(turn) = Arc::clone(&board.api.turns).acquire_owned().await else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "the agent stops");
    };
    let board = Arc::clone(board);
    let made = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        match resource(&board, &query) {
            Ok(value) => shown(StatusCode::OK, &value),
            Err(refusal) => refuse(refusal.status(), &refusal.to_string()),
        }
    });
    made.await.unwrap_or_else(|_bug| {
        refuse(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be made: a bug")
    })
}

/// The answer to a question that has none.
pub(super) fn refuse(status: StatusCode, why: &str) -> Response<Body> {
    shown(status, &json!({ "error": why }))
}

/// As JSON that is never kept, for it is old soon, and never taken for anything else.
fn shown(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = json(status, value);
    guard(&mut response);
    response
}

fn guard(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
