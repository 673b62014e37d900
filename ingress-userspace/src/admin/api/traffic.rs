//! `traffic`: what was counted of requests since the agent started, by Ingress, host, Service or
//! route. Whoever wants rates asks twice and takes the difference.

use std::{cmp::Reverse, collections::HashMap};

use serde_json::{Value, json};

use super::{Refusal, query::Query};
use crate::{
    admin::Board,
    proxy::counters::{Counted, Series},
};

/// By what requests are told apart.
const BY: [&str; 4] = ["ingress", "host", "service", "route"];
/// What comes first.
const SORTS: [&str; 4] = ["requests", "errors", "latency", "name"];
/// Of a request as a whole, in `counters::TIMES`.
const REQUEST: usize = 0;

/// What was counted of some requests.
#[derive(Clone, Debug, Default)]
struct Sum {
    requests: u64,
    /// By the class of their status; first those without one.
    classes: [u64; 6],
    /// Seconds, and of how many.
    seconds: f64,
    timed: u64,
    /// Requests by upper bound of their duration in seconds, not cumulative.
    buckets: Vec<(f64, u64)>,
    received: u64,
    sent: u64,
}

/// What a row is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Name {
    namespace: String,
    ingress: String,
    service: String,
    host: String,
    path: String,
}

/// `by`: one of [`BY`]; `sort`: one of [`SORTS`].
pub(super) fn render(board: &Board, query: &Query) -> Result<Value, Refusal> {
    query.only(&["q", "page", "per", "by", "sort"])?;
    let mut page = query.page()?;
    let (by, sort) = (query.choice("by", &BY)?, query.choice("sort", &SORTS)?);
    let counted = board.registry.requests();
    let mut rows: HashMap<Name, Sum> = HashMap::new();
    let mut all = Sum::default();
    for series in &counted.series {
        rows.entry(name(series, by)).or_default().add(&counted, series);
        all.add(&counted, series);
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by(|one, two| one.0.cmp(&two.0));
    match sort {
        "requests" => rows.sort_by_key(|(_, sum)| Reverse(sum.requests)),
        "errors" => rows.sort_by_key(|(_, sum)| Reverse(sum.errors())),
        "latency" => rows.sort_by(|one, two| {
            let of = |sum: &Sum| sum.quantile(0.99).unwrap_or(0.0);
            of(&two.1).total_cmp(&of(&one.1))
        }),
        _ => {}
    }
    for (name, sum) in &rows {
        let Name { namespace, ingress, service, host, path } = name;
        if page.words().is_empty()
            || page.words().are_in(&[namespace, ingress, service, host, path])
        {
            page.add(|| {
                let mut row = sum.shown();
                row["name"] = json!({
                    "namespace": some(namespace),
                    "ingress": some(ingress),
                    "service": some(service),
                    "host": some(host),
                    "path": some(path),
                });
                row
            });
        }
    }
    let totals = board.registry.totals();
    let mut answer = page.finish(board.reader.current().generation);
    answer["by"] = json!(by);
    // False: requests are not told apart (`--enable-metrics=false`).
    answer["counted"] = json!(board.metrics.enabled);
    answer["all"] = all.shown();
    answer["agent"] = json!({
        "uptime_seconds": board.started.elapsed().as_secs_f64(),
        "requests": totals.requests,
        "in_progress": totals.in_progress,
        "connections": totals.connections,
        "accepted": totals.accepted,
        "upstream_connected": totals.upstream_connected,
        "upstream_reused": totals.upstream_reused,
        "upstream_failed": totals.upstream_failed,
        "upstream_idle": totals.upstream_idle,
        "limited": totals.limited.iter().sum::<u64>(),
    });
    Ok(answer)
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn name(series: &Series, by: &str) -> Name {
    let own = &series.labels;
    let host = || own.host.as_deref().unwrap_or_default().to_owned();
    let (namespace, ingress) = (own.namespace.to_string(), own.ingress.to_string());
    match by {
        "host" => Name { host: host(), ..Name::default() },
        "service" => Name { namespace, service: own.service.to_string(), ..Name::default() },
        "route" => Name {
            namespace,
            ingress,
            service: own.service.to_string(),
            host: host(),
            path: own.path.to_string(),
        },
        _ => Name { namespace, ingress, ..Name::default() },
    }
}

impl Sum {
    fn add(&mut self, counted: &Counted, series: &Series) {
        let requests = counted.requests(series);
        self.requests += requests;
        let class = series.class();
        if let Some(own) = self.classes.get_mut(class) {
            *own += requests;
        }
        if let Some(own) = counted.time(series, REQUEST) {
            self.seconds += own.sum;
            self.timed += own.count;
            if self.buckets.is_empty() {
                self.buckets = own.buckets;
            } else {
                let pairs = self.buckets.iter_mut().zip(own.buckets);
                pairs.for_each(|(sum, own)| sum.1 += own.1);
            }
        }
        let (received, sent) = counted.bytes(series);
        self.received = self.received.wrapping_add(received);
        self.sent = self.sent.wrapping_add(sent);
    }

    /// Those that failed by what is behind us, or by ourselves.
    fn errors(&self) -> u64 {
        self.classes[5]
    }

    /// As Prometheus' `histogram_quantile`: in proportion within a bucket; of what is above the last
    /// bound no more is known than that. Seconds.
    fn quantile(&self, part: f64) -> Option<f64> {
        let rank = part * self.timed as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (bound, count) in self.buckets.iter().filter(|_| self.timed > 0) {
            let count = *count as f64;
            if *bound == f64::MAX {
                return Some(lower);
            }
            if below + count >= rank && count > 0.0 {
                return Some(lower + (bound - lower) * (rank - below) / count);
            }
            below += count;
            lower = *bound;
        }
        None
    }

    fn shown(&self) -> Value {
        let [other, classes @ ..] = self.classes;
        let names = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let mut statuses: serde_json::Map<String, Value> = names
            .iter()
            .zip(classes)
            .map(|(name, count)| ((*name).to_owned(), json!(count)))
            .collect();
        statuses.insert("other".to_owned(), json!(other));
        let mean = (self.timed > 0).then(|| self.seconds / self.timed as f64);
        json!({
            "requests": self.requests,
            "statuses": statuses,
            "errors": self.errors(),
            "latency_seconds": {
                "mean": mean,
                "p50": self.quantile(0.5),
                "p90": self.quantile(0.9),
                "p99": self.quantile(0.99),
            },
            "bytes_received": self.received,
            "bytes_sent": self.sent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let buckets = vec![(0.1, 50), (0.2, 40), (0.4, 5), (f64::MAX, 5)];
        let sum = Sum { timed: 100, buckets, ..Sum::default() };
        let near = |part: f64, wanted: f64| {
            let found = sum.quantile(part).expect("some were timed");
            assert!((found - wanted).abs() < 1e-9, "{part}: {found}, not {wanted}");
        };
        near(0.25, 0.05);
        near(0.5, 0.1);
        near(0.7, 0.15);
        near(0.95, 0.4);
        near(0.99, 0.4);
        assert_eq!(Sum::default().quantile(0.5), None);
    }
}
