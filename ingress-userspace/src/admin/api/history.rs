//! `history`: the last ten minutes. One row a second, of all requests or of those of one `host` or
//! `ingress`; with `by`, who had requests in the last `window` seconds.

use std::{
    cmp::Ordering,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{Refusal, query::Query};
use crate::admin::{
    Board,
    history::{By, KEPT, Row, Sample, last, of, percentile, rows},
};

/// The columns of a second. Rates are a second's; durations are in seconds, as are `at` (since 1970)
/// and `lasted`; `null`: not known.
const COLUMNS: [&str; 19] = [
    "number",
    "at",
    "lasted",
    "requests",
    "2xx",
    "3xx",
    "4xx",
    "5xx",
    "other",
    "mean",
    "p50",
    "p90",
    "p99",
    "received",
    "sent",
    "connections",
    "in_progress",
    "unconnected",
    "handshakes_failed",
];
/// What comes first.
const SORTS: [&str; 4] = ["requests", "errors", "latency", "name"];
/// The window unless the question says otherwise. Seconds.
const WINDOW: usize = 60;
/// Points of a row's line, at most.
const POINTS: usize = 30;

/// `by`, `window` and `sort`: who had requests; otherwise `host` or `ingress`, and `after`: the number
/// of the last second that is known already.
pub(super) fn render(board: &Board, query: &Query) -> Result<Value, Refusal> {
    let (number, samples) = board.history.all();
    match query.one("by")? {
        None => seconds(board, query, number, &samples),
        Some(_) => {
            let by = if query.choice("by", &["ingress", "host"])? == "host" {
                By::Host
            } else {
                By::Ingress
            };
            by_name(board, query, &samples, by)
        }
    }
}

/// One row a second.
fn seconds(
    board: &Board,
    query: &Query,
    number: u64,
    samples: &[Arc<Sample>],
) -> Result<Value, Refusal> {
    query.only(&["host", "ingress", "after"])?;
    // 0 is no number of a second.
    let after = query.number("after", 0, usize::MAX)? as u64;
    let name = match (query.one("host")?, query.one("ingress")?) {
        (Some(_), Some(_)) => {
            return Err(Refusal::Query("host, ingress: one of the two is allowed".to_owned()));
        }
        (Some(host), None) => Some((By::Host, ("", host))),
        (None, Some(ingress)) => match ingress.split_once('/') {
            Some(name) => Some((By::Ingress, name)),
            None => return Err(Refusal::Query(format!("ingress={ingress} is no namespace/name"))),
        },
        (None, None) => None,
    };
    // So many are forgotten.
    let gone = number.saturating_sub(samples.len() as u64);
    let skip = usize::try_from(after.saturating_sub(gone)).unwrap_or(usize::MAX);
    let fresh = samples.get(skip..).unwrap_or_default();
    let sums = match name {
        Some((by, name)) => of(fresh, by, name),
        None => fresh.iter().map(|sample| sample.sum.clone()).collect(),
    };
    let clock = (Instant::now(), SystemTime::now());
    let first = after.max(gone).saturating_add(1);
    let rows = fresh.iter().zip(&sums).zip(first..);
    let bounds = &*board.metrics.time_buckets;
    let rows: Vec<_> = rows
        .map(|((sample, sum), number)| {
            let rate = |count: u64| rounded(count as f64 / sample.lasted.as_secs_f64().max(1e-3));
            let class = |class: usize| rate(sum.classes.get(class).copied().unwrap_or(0).into());
            let share = |share| percentile(bounds, &sum.buckets, share).map(rounded);
            json!([
                number,
                rounded(since_1970(sample.at, clock)),
                rounded(sample.lasted.as_secs_f64()),
                rate(sum.requests()),
                class(2),
                class(3),
                class(4),
                class(5),
                rounded(class(0) + class(1)),
                sum.mean().map(rounded),
                share(0.5),
                share(0.9),
                share(0.99),
                rate(sum.received),
                rate(sum.sent),
                sample.connections,
                sample.in_progress,
                rate(sample.unconnected),
                rate(sample.handshakes_failed),
            ])
        })
        .collect();
    Ok(json!({
        "counted": board.metrics.enabled,
        "bounds": bounds,
        "kept": KEPT,
        "last": number,
        "columns": COLUMNS,
        "rows": rows,
    }))
}

/// Who had requests.
fn by_name(
    board: &Board,
    query: &Query,
    samples: &[Arc<Sample>],
    by: By,
) -> Result<Value, Refusal> {
    query.only(&["q", "page", "per", "by", "sort", "window"])?;
    let mut page = query.page()?;
    let window = query.number("window", WINDOW, KEPT)?;
    let sort = query.choice("sort", &SORTS)?;
    let samples = last(samples, window, Instant::now());
    let bounds = &*board.metrics.time_buckets;
    let lasted: f64 = samples.iter().map(|sample| sample.lasted.as_secs_f64()).sum();
    let rate = |count: u64| rounded(count as f64 / lasted.max(1e-3));
    let mut found: Vec<_> = rows(samples, by, POINTS)
        .into_iter()
        .map(|row| (percentile(bounds, &row.sum.buckets, 0.99), row))
        .collect();
    found.sort_by(|one, two| {
        let order = match sort {
            "requests" => two.1.sum.requests().cmp(&one.1.sum.requests()),
            "errors" => two.1.sum.errors().cmp(&one.1.sum.errors()),
            "latency" => two.0.unwrap_or(-1.0).total_cmp(&one.0.unwrap_or(-1.0)),
            _ => Ordering::Equal,
        };
        order.then_with(|| one.1.name().cmp(&two.1.name()))
    });
    for (p99, row) in &found {
        let Row { namespace, ingress, host, sum, .. } = row;
        if !page.words().is_empty() && !page.words().are_in(&[namespace, ingress, host]) {
            continue;
        }
        page.add(|| {
            let class = |class: usize| rate(sum.classes.get(class).copied().unwrap_or(0).into());
            let share = |share| percentile(bounds, &sum.buckets, share).map(rounded);
            let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            json!({
                "name": {
                    "namespace": some(namespace),
                    "ingress": some(ingress),
                    "host": some(host),
                },
                "requests": rate(sum.requests()),
                "4xx": class(4),
                "5xx": class(5),
                "mean": sum.mean().map(rounded),
                "p50": share(0.5),
                "p90": share(0.9),
                "p99": p99.map(rounded),
                "received": rate(sum.received),
                "sent": rate(sum.sent),
                "line": row.line,
            })
        });
    }
    let mut answer = page.finish(board.reader.current().generation);
    // False: requests are not told apart so (`--enable-metrics`, `--metrics-per-host`).
    answer["counted"] =
        json!(board.metrics.enabled && (by == By::Ingress || board.metrics.per_host));
    answer["bounds"] = json!(bounds);
    answer["window"] = json!(rounded(lasted));
    Ok(answer)
}

fn since_1970(at: Instant, (now, clock): (Instant, SystemTime)) -> f64 {
    let ago = now.saturating_duration_since(at);
    let then = clock.checked_sub(ago).unwrap_or(UNIX_EPOCH);
    then.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Six places after the point: more is noise, and text that is sent every second.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}
