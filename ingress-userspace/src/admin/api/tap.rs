//! `tap`: requests as they are answered, a line of JSON for each, until who asks has left.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    Refusal,
    objects::{object, service},
    query::Query,
};
use crate::{
    admin::{Board, metrics::Body},
    proxy::taps::{Answered, Filter, Watch},
};

/// An empty line is sent that often, so that who waits knows that the agent is there.
const ALIVE: Duration = Duration::from_secs(5);
/// For as long who asks may take nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// Lines that are on their way.
const AHEAD: usize = 64;

/// `host`, `path`, `method`, `status`, `ingress`, `slower`.
pub(super) fn answer(board: &Arc<Board>, query: &Query) -> Result<Response<Body>, Refusal> {
    let filter = filter(query)?;
    let watch = board.taps.open(filter);
    let watch = watch.ok_or_else(|| Refusal::Busy("too many others watch".to_owned()))?;
    let (lines, mut sent) = mpsc::channel(AHEAD);
    tokio::task::spawn_local(tell(watch, lines));
    let body = stream::poll_fn(move |cx| {
        sent.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    });
    let mut response = Response::new(StreamBody::new(body).boxed_unsync());
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    super::guard(&mut response);
    Ok(response)
}

/// Ends when nobody takes what is told: the tap is closed then, and costs requests nothing.
async fn tell(mut watch: Watch, lines: mpsc::Sender<Bytes>) {
    let mut alive = interval(ALIVE);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let line = tokio::select! {
            answered = watch.next() => match answered {
                Some(answered) => format!("{}\n", item(&answered)),
                None => return,
            },
            // The first at once: the tap is open.
            _ = alive.tick() => match watch.lost() {
                0 => "\n".to_owned(),
                lost => format!("{}\n", json!({ "lost": lost })),
            },
            () = lines.closed() => return,
        };
        match timeout(PATIENCE, lines.send(line.into())).await {
            Ok(Ok(())) => {}
            Ok(Err(_gone)) => return,
            Err(_takes_nothing) => return,
        }
    }
}

fn filter(query: &Query) -> Result<Filter, Refusal> {
    query.only(&["host", "path", "method", "status", "ingress", "slower"])?;
    let own = |name| query.one(name).map(|value| value.map(ToOwned::to_owned));
    let status = match query.one("status")? {
        None => None,
        Some(text) => Some(status(text).ok_or_else(|| {
            Refusal::Query(format!("status={text}: 404, 5xx or 400-499 is allowed"))
        })?),
    };
    let slower = match query.one("slower")? {
        None => None,
        Some(text) => {
            let seconds = text.parse().ok().filter(|seconds: &f64| (0.0..1e6).contains(seconds));
            let wrong = || Refusal::Query(format!("slower={text}: it is no number of seconds"));
            Some(Duration::from_secs_f64(seconds.ok_or_else(wrong)?))
        }
    };
    let ingress = query.one("ingress")?.map(|text| match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace.to_owned()), name.to_owned()),
        None => (None, text.to_owned()),
    });
    let host = own("host")?.map(|host| host.to_ascii_lowercase());
    Ok(Filter { host, path: own("path")?, method: own("method")?, status, ingress, slower })
}

/// `404`, `5xx`, `400-499`.
fn status(text: &str) -> Option<(u16, u16)> {
    let number =
        |text: &str| text.parse::<u16>().ok().filter(|number| (100..1000).contains(number));
    if let Some((first, last)) = text.split_once('-') {
        return Some((number(first)?, number(last)?)).filter(|(first, last)| first <= last);
    }
    match text.strip_suffix("xx") {
        Some(class) => {
            let class: u16 = class.parse().ok().filter(|class| (1..10).contains(class))?;
            Some((class * 100, class * 100 + 99))
        }
        None => number(text).map(|number| (number, number)),
    }
}

fn item(own: &Answered) -> Value {
    let seconds = |took: Option<Duration>| took.map(|own| own.as_secs_f64());
    let since = own.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    json!({
        "time": Timestamp::from_millisecond(millis).ok().map(|time| format!("{time:.3}")),
        "client": own.client,
        "method": own.method,
        "scheme": if own.tls { "https" } else { "http" },
        "version": own.version,
        "host": own.host,
        "path": own.path,
        "has_query": own.has_query,
        "status": own.status,
        "ingress": own.ingress.as_ref().map(object),
        "service": own.service.as_ref().map(service),
        "endpoint": own.endpoint.map(|endpoint| endpoint.to_string()),
        "attempts": own.attempts,
        "request_id": own.request_id,
        "seconds": {
            "total": seconds(own.phases.total),
            "before": seconds(own.phases.before),
            "connect": seconds(own.phases.connect),
            "wait": seconds(own.phases.wait),
            "answer": seconds(own.phases.answer),
        },
        "bytes_received": own.received,
        "bytes_sent": own.sent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_one_a_class_or_a_range() {
        for (text, wanted) in [
            ("404", Some((404, 404))),
            ("5xx", Some((500, 599))),
            ("400-499", Some((400, 499))),
            ("499-400", None),
            ("xx", None),
            ("55xx", None),
            ("99", None),
            ("1000", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(status(text), wanted, "{text}");
        }
        for text in ["slower=x", "slower=-1", "slower=inf", "status=abc", "hots=a"] {
            let query = Query::parse(text).expect("few");
            assert!(filter(&query).is_err(), "{text}");
        }
    }
}
