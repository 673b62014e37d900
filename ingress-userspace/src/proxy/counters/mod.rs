//! What happened, counted: each worker adds to numbers of its own with plain loads and stores, and
//! writes requests down in a batch of its own that is added up when it is full ([`book`]). Label
//! values come from configured objects and closed sets only.

mod book;
#[cfg(test)]
mod cost;
mod layout;
mod recent;
mod record;
#[cfg(test)]
mod tests;
mod timing;

pub(crate) use self::{
    book::{Counted, Labels, Series},
    layout::{Histogram, SIZES, TIMES},
    recent::{CLASSES, Recent, RecentSeries, Seen},
    timing::Timing,
};

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::Method;

use self::{
    book::{BATCH, Shared},
    record::{Record, Variant, short},
};
use super::{limits::Rejected, sides::Traffic, tls::HandshakeFailure};
use crate::{
    config::Metrics,
    model::{Backend, HostName, Model, Route},
    route::RouteTable,
};

/// One worker's numbers that are not about requests.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    connections: AtomicU64,
    accepted: AtomicU64,
    /// By version, then in full or resumed.
    handshakes: [[AtomicU64; 2]; TLS_VERSIONS.len()],
    handshakes_failed: [AtomicU64; HandshakeFailure::ALL.len()],
    refused: AtomicU64,
    proxy_headers_failed: AtomicU64,
    passed: AtomicU64,
    datagrams_in: AtomicU64,
    datagrams_out: AtomicU64,
    datagrams_dropped: AtomicU64,
    upstream_connected: AtomicU64,
    upstream_failed: AtomicU64,
    upstream_reused: AtomicU64,
    upstream_idle: AtomicU64,
    /// By `limit-rps` and `limit-rpm`, by `limit-connections`.
    limited: [AtomicU64; 2],
    /// Sent, failed, dropped.
    mirrored: [AtomicU64; 3],
    passwords_compared: AtomicU64,
    passwords_turned_away: AtomicU64,
    /// In the order of [`Judged::ALL`].
    judged: [AtomicU64; Judged::ALL.len()],
    requests: AtomicU64,
    in_progress: AtomicU64,
}

/// The numbers of all workers.
#[derive(Debug)]
pub(crate) struct Registry {
    gauges: Vec<Arc<Gauges>>,
    requests: Shared,
}

/// The sums over all workers of [`Gauges`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) connections: u64,
    pub(crate) accepted: u64,
    /// In the order of [`TLS_VERSIONS`]: in full, resumed.
    pub(crate) handshakes: [[u64; 2]; TLS_VERSIONS.len()],
    /// In the order of [`HandshakeFailure::ALL`].
    pub(crate) handshakes_failed: [u64; HandshakeFailure::ALL.len()],
    /// Connections closed at once because of `max-worker-connections`.
    pub(crate) refused: u64,
    /// Connections without the header that `use-proxy-protocol` asks for.
    pub(crate) proxy_headers_failed: u64,
    /// Connections passed on below HTTP.
    pub(crate) passed: u64,
    /// Datagrams passed on to endpoints.
    pub(crate) datagrams_in: u64,
    /// Datagrams passed on to clients.
    pub(crate) datagrams_out: u64,
    /// Datagrams of clients that were not passed on.
    pub(crate) datagrams_dropped: u64,
    pub(crate) upstream_connected: u64,
    pub(crate) upstream_failed: u64,
    /// Attempts over connections that were open.
    pub(crate) upstream_reused: u64,
    /// Connections of HTTP/1 that no request uses.
    pub(crate) upstream_idle: u64,
    /// Requests turned away by `limit-rps` and `limit-rpm`, and by `limit-connections`.
    pub(crate) limited: [u64; 2],
    /// Copies of requests by [`Copied`].
    pub(crate) mirrored: [u64; 3],
    /// Passwords compared with a hash that is expensive.
    pub(crate) passwords_compared: u64,
    /// Those that were not, for so many were waiting.
    pub(crate) passwords_turned_away: u64,
    /// Requests that rules judged, in the order of [`Judged::ALL`].
    pub(crate) judged: [u64; Judged::ALL.len()],
    pub(crate) requests: u64,
    /// Requests that are being answered.
    pub(crate) in_progress: u64,
}

/// Versions of TLS that are spoken.
pub(crate) const TLS_VERSIONS: [&str; 2] = ["1.2", "1.3"];

/// What became of a request that the firewall was to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// No rule matched.
    Passed,
    /// Rules matched, and it went on.
    Detected,
    /// It did not go on.
    Blocked,
    /// There was no verdict, and it did not go on.
    TurnedAway,
}

impl Judged {
    pub(crate) const ALL: [Self; 4] =
        [Self::Passed, Self::Detected, Self::Blocked, Self::TurnedAway];

    /// As metrics and the log have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Detected => "detected",
            Self::Blocked => "blocked",
            Self::TurnedAway => "turned_away",
        }
    }
}

/// What became of the copy of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    /// It was answered.
    Sent,
    /// It could not be sent, or was not answered.
    Failed,
    /// It was not sent: too many were under way, the body was too large, or there was no address.
    Dropped,
}

impl Registry {
    pub(crate) fn new(workers: usize, metrics: &Metrics) -> Arc<Self> {
        let gauges = (0..workers).map(|_| Arc::default()).collect();
        Arc::new(Self { gauges, requests: Shared::new(metrics) })
    }

    pub(super) fn counters(self: &Arc<Self>, worker: usize) -> Counters {
        Counters {
            gauges: Arc::clone(&self.gauges[worker]),
            registry: Arc::clone(self),
            batch: RefCell::new(Vec::with_capacity(BATCH)),
        }
    }

    /// All requests that were counted and added up so far, in no order.
    pub(crate) fn requests(&self) -> Counted {
        self.requests.counted()
    }

    /// What was counted and added up since this reader looked last.
    pub(crate) fn since(&self, seen: &mut Seen) -> Recent {
        self.requests.since(seen)
    }

    /// Requests that were not added up.
    pub(crate) fn lost(&self) -> u64 {
        self.requests.lost()
    }

    /// These routes are about to be served, and no others. To be told before any request can be.
    pub(crate) fn publish(&self, model: &Model, routes: &RouteTable) {
        self.requests.publish(model, routes);
    }

    /// The numbers that are not about requests.
    pub(crate) fn totals(&self) -> Totals {
        fn all(gauges: &[Arc<Gauges>], field: impl Fn(&Gauges) -> &AtomicU64) -> u64 {
            gauges.iter().map(|gauges| field(gauges).load(Ordering::Relaxed)).sum()
        }
        let sum = |field: fn(&Gauges) -> &AtomicU64| all(&self.gauges, field);
        Totals {
            connections: sum(|gauges| &gauges.connections),
            accepted: sum(|gauges| &gauges.accepted),
            handshakes: std::array::from_fn(|version| {
                std::array::from_fn(|kind| all(&self.gauges, |own| &own.handshakes[version][kind]))
            }),
            handshakes_failed: std::array::from_fn(|reason| {
                all(&self.gauges, |own| &own.handshakes_failed[reason])
            }),
            refused: sum(|gauges| &gauges.refused),
            proxy_headers_failed: sum(|gauges| &gauges.proxy_headers_failed),
            passed: sum(|gauges| &gauges.passed),
            datagrams_in: sum(|gauges| &gauges.datagrams_in),
            datagrams_out: sum(|gauges| &gauges.datagrams_out),
            datagrams_dropped: sum(|gauges| &gauges.datagrams_dropped),
            upstream_connected: sum(|gauges| &gauges.upstream_connected),
            upstream_failed: sum(|gauges| &gauges.upstream_failed),
            upstream_reused: sum(|gauges| &gauges.upstream_reused),
            upstream_idle: sum(|gauges| &gauges.upstream_idle),
            limited: std::array::from_fn(|kind| all(&self.gauges, |own| &own.limited[kind])),
            mirrored: std::array::from_fn(|kind| all(&self.gauges, |own| &own.mirrored[kind])),
            passwords_compared: sum(|gauges| &gauges.passwords_compared),
            passwords_turned_away: sum(|gauges| &gauges.passwords_turned_away),
            judged: std::array::from_fn(|kind| all(&self.gauges, |own| &own.judged[kind])),
            requests: sum(|gauges| &gauges.requests),
            in_progress: sum(|gauges| &gauges.in_progress),
        }
    }
}

/// What a request turned out to be about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Subject<'v> {
    pub(super) host: Option<&'v HostName>,
    pub(super) route: Option<&'v Arc<Route>>,
    pub(super) service: Option<&'v Arc<str>>,
    /// The backend that is asked instead of the route's.
    pub(super) canary: Option<&'v Arc<Backend>>,
}

/// A request that is being answered; dropped also where its connection breaks off.
pub(super) struct InProgress<'c>(&'c Gauges);

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        let number = &self.0.in_progress;
        number.store(number.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }
}

/// A worker's access to its numbers.
pub(super) struct Counters {
    registry: Arc<Registry>,
    gauges: Arc<Gauges>,
    batch: RefCell<Vec<Record>>,
}

impl Counters {
    /// A request begins.
    pub(super) fn begin(&self, timing: &Timing, method: &Method) {
        if self.counts_requests() {
            timing.begin(record::known(method));
        } else {
            timing.forget();
        }
    }

    /// Requests are written down one by one.
    pub(super) fn counts_requests(&self) -> bool {
        self.registry.requests.enabled
    }

    /// A request is being answered for as long as this is kept.
    pub(super) fn in_progress(&self) -> InProgress<'_> {
        increment(&self.gauges.in_progress);
        InProgress(&self.gauges)
    }

    /// A request has ended.
    pub(super) fn request(
        &self,
        subject: Subject<'_>,
        status: u16,
        timing: &Timing,
        traffic: Traffic,
    ) {
        increment(&self.gauges.requests);
        let Some(durations) = timing.durations() else { return };
        let mut batch = self.batch.borrow_mut();
        batch.push(Record {
            number: timing.number(),
            canary: subject.canary.cloned(),
            request: durations.request,
            response: durations.response.unwrap_or(record::NONE),
            header: short(durations.header),
            connect: short(durations.connect),
            received: u64::from(traffic.head_received) + traffic.body_received,
            sent: u64::from(traffic.head_sent) + traffic.body_sent,
            variant: Variant { status, method: timing.method() },
        });
        if batch.len() >= BATCH {
            self.registry.requests.add(&mut batch);
        }
    }

    /// Adds up what waits in the batch.
    pub(super) fn flush(&self) {
        let mut batch = self.batch.borrow_mut();
        if !batch.is_empty() {
            self.registry.requests.add(&mut batch);
        }
    }

    pub(super) fn connections(&self, open: u64) {
        self.gauges.connections.store(open, Ordering::Relaxed);
    }

    pub(super) fn accepted(&self) {
        increment(&self.gauges.accepted);
    }

    pub(super) fn refused(&self) {
        increment(&self.gauges.refused);
    }

    pub(super) fn proxy_header_failed(&self) {
        increment(&self.gauges.proxy_headers_failed);
    }

    pub(super) fn passed(&self) {
        increment(&self.gauges.passed);
    }

    pub(super) fn datagram_in(&self) {
        increment(&self.gauges.datagrams_in);
    }

    pub(super) fn datagram_out(&self) {
        increment(&self.gauges.datagrams_out);
    }

    pub(super) fn datagram_dropped(&self) {
        increment(&self.gauges.datagrams_dropped);
    }

    /// How many workers there are.
    pub(super) fn workers(&self) -> usize {
        self.registry.gauges.len()
    }

    /// `newest`: in the last of [`TLS_VERSIONS`].
    pub(super) fn handshake(&self, newest: bool, resumed: bool) {
        increment(&self.gauges.handshakes[usize::from(newest)][usize::from(resumed)]);
    }

    pub(super) fn handshake_failed(&self, reason: HandshakeFailure) {
        let reasons = HandshakeFailure::ALL.iter().zip(&self.gauges.handshakes_failed);
        for (_, number) in reasons.filter(|(own, _)| **own == reason) {
            increment(number);
        }
    }

    pub(super) fn limited(&self, rejected: Rejected) {
        increment(match rejected {
            Rejected::Requests => &self.gauges.limited[0],
            Rejected::Connections => &self.gauges.limited[1],
        });
    }

    pub(super) fn mirrored(&self, copied: Copied) {
        increment(match copied {
            Copied::Sent => &self.gauges.mirrored[0],
            Copied::Failed => &self.gauges.mirrored[1],
            Copied::Dropped => &self.gauges.mirrored[2],
        });
    }

    pub(super) fn upstream_connected(&self) {
        increment(&self.gauges.upstream_connected);
    }

    pub(super) fn upstream_reused(&self) {
        increment(&self.gauges.upstream_reused);
    }

    pub(super) fn upstream_idle(&self, idle: usize) {
        self.gauges.upstream_idle.store(idle as u64, Ordering::Relaxed);
    }

    pub(super) fn upstream_failed(&self) {
        increment(&self.gauges.upstream_failed);
    }

    pub(super) fn password_compared(&self) {
        increment(&self.gauges.passwords_compared);
    }

    pub(super) fn judged(&self, judged: Judged) {
        let all = Judged::ALL.iter().zip(&self.gauges.judged);
        for (_, number) in all.filter(|(own, _)| **own == judged) {
            increment(number);
        }
    }

    pub(super) fn password_turned_away(&self) {
        increment(&self.gauges.passwords_turned_away);
    }
}

/// Only its own worker writes a number: no locked instruction is needed.
fn increment(number: &AtomicU64) {
    number.store(number.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}
