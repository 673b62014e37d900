//! One second: the difference between two looks at the counters.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::HashMap;

use crate::proxy::counters::{CLASSES, Labels, RecentSeries, Registry, Seen, Totals};

/// What happened between two looks.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// When it ended.
    pub(crate) at: Instant,
    /// How long it was; a machine that is busy looks late.
    pub(crate) lasted: Duration,
    pub(crate) sum: Sum,
    /// Connections of clients that are open at its end, and requests that are being answered.
    pub(crate) connections: u64,
    pub(crate) in_progress: u64,
    /// Connections to endpoints that could not be opened, and handshakes that failed.
    pub(crate) unconnected: u64,
    pub(crate) handshakes_failed: u64,
    /// By host and Ingress, those that had requests.
    pub(crate) tallies: Box<[Tally]>,
    /// There were tallies that are forgotten.
    pub(crate) is_cut: bool,
}

/// The requests of one host to one Ingress.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Those of one of its series: of them, host, namespace and Ingress count.
    pub(crate) labels: Arc<Labels>,
    pub(crate) sum: Sum,
}

/// What is added up of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    /// Requests by the class of their status.
    pub(crate) classes: [u32; CLASSES],
    /// Requests whose durations are in `micros`.
    pub(crate) timed: u64,
    /// The sum of their durations.
    pub(crate) micros: u64,
    /// Bytes.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// By duration: see `--time-buckets`; empty where none is gathered.
    pub(crate) buckets: Box<[u32]>,
}

impl Sum {
    pub(crate) fn requests(&self) -> u64 {
        self.classes.iter().map(|count| u64::from(*count)).sum()
    }

    /// Requests answered `5xx`.
    pub(crate) fn errors(&self) -> u64 {
        self.classes[5].into()
    }

    /// Their mean duration in seconds, if it is gathered.
    pub(crate) fn mean(&self) -> Option<f64> {
        (self.timed > 0).then(|| self.micros as f64 / 1e6 / self.timed as f64)
    }

    /// Adds another.
    pub(crate) fn add(&mut self, other: &Self) {
        for (own, more) in self.classes.iter_mut().zip(other.classes) {
            *own = own.saturating_add(more);
        }
        self.timed = self.timed.saturating_add(other.timed);
        self.micros = self.micros.saturating_add(other.micros);
        self.received = self.received.saturating_add(other.received);
        self.sent = self.sent.saturating_add(other.sent);
        self.add_buckets(&other.buckets);
    }

    fn add_series(&mut self, series: &RecentSeries) {
        self.add_class(series.class, series.requests);
        if !series.buckets.is_empty() {
            self.timed = self.timed.saturating_add(series.requests);
            self.micros = self.micros.saturating_add(series.micros);
        }
        self.received = self.received.saturating_add(series.received);
        self.sent = self.sent.saturating_add(series.sent);
        self.add_buckets(&series.buckets);
    }

    fn add_class(&mut self, class: usize, requests: u64) {
        if let Some(number) = self.classes.get_mut(class) {
            *number = number.saturating_add(u32::try_from(requests).unwrap_or(u32::MAX));
        }
    }

    fn add_buckets(&mut self, more: &[u32]) {
        if self.buckets.is_empty() {
            self.buckets = more.into();
        } else {
            for (own, more) in self.buckets.iter_mut().zip(more) {
                *own = own.saturating_add(*more);
            }
        }
    }
}

impl Sample {
    /// Nothing, that ended now.
    #[cfg(test)]
    pub(crate) fn empty(at: Instant) -> Self {
        Self {
            at,
            lasted: super::SECOND,
            sum: Sum::default(),
            connections: 0,
            in_progress: 0,
            unconnected: 0,
            handshakes_failed: 0,
            tallies: Box::default(),
            is_cut: false,
        }
    }

    /// The same, but for who it was.
    pub(crate) fn without_tallies(&self) -> Self {
        Self { tallies: Box::default(), is_cut: true, sum: self.sum.clone(), ..*self }
    }
}

/// What it was at the last look.
pub(crate) struct Looker {
    seen: Seen,
    totals: Totals,
    at: Instant,
}

impl Looker {
    /// What was counted before is not looked at.
    pub(crate) fn new(registry: &Registry, now: Instant) -> Self {
        let mut seen = Seen::default();
        let _before = registry.since(&mut seen);
        Self { seen, totals: registry.totals(), at: now }
    }

    /// What happened since the last look. Where requests are not `counted` one by one, only how many
    /// there were.
    pub(crate) fn look(&mut self, registry: &Registry, counted: bool, now: Instant) -> Sample {
        let recent = registry.since(&mut self.seen);
        let totals = registry.totals();
        let before = std::mem::replace(&mut self.totals, totals);
        let lasted = now.saturating_duration_since(std::mem::replace(&mut self.at, now));
        let mut sum = Sum::default();
        for (class, requests) in recent.other.into_iter().enumerate() {
            sum.add_class(class, requests);
        }
        if !counted {
            sum.add_class(0, totals.requests.saturating_sub(before.requests));
        }
        let mut tallies: HashMap<[Option<Arc<str>>; 3], Tally> = HashMap::new();
        for series in &recent.series {
            sum.add_series(series);
            let Labels { host, namespace, ingress, .. } = &*series.labels;
            let key = [host.clone(), Some(Arc::clone(namespace)), Some(Arc::clone(ingress))];
            let tally = tallies.entry(key).or_insert_with(|| Tally {
                labels: Arc::clone(&series.labels),
                sum: Sum::default(),
            });
            tally.sum.add_series(series);
        }
        let failed = |totals: &Totals| totals.handshakes_failed.iter().sum::<u64>();
        Sample {
            at: now,
            lasted,
            sum,
            connections: totals.connections,
            in_progress: totals.in_progress,
            unconnected: totals.upstream_failed.saturating_sub(before.upstream_failed),
            handshakes_failed: failed(&totals).saturating_sub(failed(&before)),
            tallies: tallies.into_values().collect(),
            is_cut: false,
        }
    }
}
