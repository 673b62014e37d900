//! `/log-level`: which lines of our own log are written. `PUT` and `DELETE` change it, over the socket
//! only.

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

use super::{Board, metrics, text};

pub(crate) const PATH: &str = "/log-level";
/// What a level may have. Bytes.
const LONGEST: usize = 4096;
const NOT_OURS: &str = "the log of this process is not the agent's\n";

/// What applies.
pub(super) fn show(board: &Board) -> Response<metrics::Body> {
    match &board.levels {
        Some(levels) => text(StatusCode::OK, &format!("{}\n", levels.current())),
        None => text(StatusCode::NOT_FOUND, NOT_OURS),
    }
}

/// Sets it to the body, or back to what else says something.
pub(super) async fn change(board: &Board, request: Request<Incoming>) -> Response<metrics::Body> {
    let Some(levels) = &board.levels else { return show(board) };
    let told = match *request.method() {
        Method::GET | Method::HEAD => return show(board),
        Method::PUT => match Limited::new(request.into_body(), LONGEST).collect().await {
            Ok(body) => Some(String::from_utf8_lossy(&body.to_bytes()).trim().to_owned()),
            Err(_long_or_gone) => {
                return text(StatusCode::PAYLOAD_TOO_LARGE, "the level is too long\n");
            }
        },
        Method::DELETE => None,
        _ => return text(StatusCode::METHOD_NOT_ALLOWED, "GET, PUT or DELETE\n"),
    };
    match levels.tell(told.as_deref()) {
        Ok(()) => show(board),
        Err(error) => text(StatusCode::BAD_REQUEST, &format!("log-level {error}\n")),
    }
}
