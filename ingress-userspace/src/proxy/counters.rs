//! What happened, counted: each worker adds to numbers of its own with plain loads and stores; a
//! scrape adds them up. Label values come from configured objects and closed sets only.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use hashbrown::HashMap;
use http::Method;

use super::{limits::Rejected, tls::HandshakeFailure};
use crate::model::{BackendKey, HostName, Model, Route};

/// What a count of requests is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Labels {
    /// The host as configured: `*.example.com` for a wildcard, `_` for all others.
    pub(crate) host: Arc<str>,
    pub(crate) namespace: Arc<str>,
    pub(crate) ingress: Arc<str>,
    pub(crate) service: Arc<str>,
    /// The backend that was asked instead of the Service's, as ingress-nginx calls it.
    pub(crate) canary: Arc<str>,
    /// The path as the Ingress writes it.
    pub(crate) path: Arc<str>,
    pub(crate) method: &'static str,
    pub(crate) status: u16,
}

/// One worker's numbers that are not about requests.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    connections: AtomicU64,
    accepted: AtomicU64,
    handshakes: [AtomicU64; 2],
    handshakes_failed: [AtomicU64; HandshakeFailure::ALL.len()],
    refused: AtomicU64,
    proxy_headers_failed: AtomicU64,
    passed: AtomicU64,
    datagrams_in: AtomicU64,
    datagrams_out: AtomicU64,
    datagrams_dropped: AtomicU64,
    upstream_connected: AtomicU64,
    upstream_failed: AtomicU64,
    /// By `limit-rps` and `limit-rpm`, by `limit-connections`.
    limited: [AtomicU64; 2],
    /// Sent, failed, dropped.
    mirrored: [AtomicU64; 3],
    passwords_compared: AtomicU64,
    passwords_turned_away: AtomicU64,
    /// In the order of [`Judged::ALL`].
    judged: [AtomicU64; Judged::ALL.len()],
    requests: AtomicU64,
}

/// The numbers of all workers.
#[derive(Debug)]
pub(crate) struct Registry {
    gauges: Vec<Arc<Gauges>>,
    /// One number per worker for each set of labels. Locked when a worker counts something for the
    /// first time after a change of the snapshot, and by scrapes.
    series: Mutex<HashMap<Labels, Vec<Arc<AtomicU64>>>>,
}

/// The sums over all workers of [`Gauges`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) connections: u64,
    pub(crate) accepted: u64,
    /// In full, resumed.
    pub(crate) handshakes: [u64; 2],
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
}

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
    pub(crate) fn new(workers: usize) -> Arc<Self> {
        let gauges = (0..workers).map(|_| Arc::default()).collect();
        Arc::new(Self { gauges, series: Mutex::default() })
    }

    pub(super) fn counters(self: &Arc<Self>, worker: usize) -> Counters {
        Counters {
            gauges: Arc::clone(&self.gauges[worker]),
            registry: Arc::clone(self),
            worker,
            known: RefCell::default(),
        }
    }

    fn number(&self, labels: Labels, worker: usize) -> Arc<AtomicU64> {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers = series
            .entry(labels)
            .or_insert_with(|| self.gauges.iter().map(|_| Arc::default()).collect());
        Arc::clone(&numbers[worker])
    }

    /// All requests so far by labels, in order.
    pub(crate) fn requests(&self) -> BTreeMap<Labels, u64> {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        series
            .iter()
            .map(|(labels, numbers)| {
                let sum = numbers.iter().map(|number| number.load(Ordering::Relaxed)).sum();
                (labels.clone(), sum)
            })
            .collect()
    }

    /// Forgets the series of Ingresses and hosts that are no more, as ingress-nginx does.
    pub(crate) fn prune(&self, model: &Model) {
        let hosts: HashSet<Arc<str>> = model.hosts.iter().map(|host| label(&host.name)).collect();
        // Routes of one Ingress follow one another.
        let mut last = None;
        let ingresses: HashSet<(&str, &str)> = model
            .hosts
            .iter()
            .flat_map(|host| &host.routes)
            .map(|route| &route.ingress)
            .filter(|ingress| last.replace(*ingress) != Some(*ingress))
            .map(|ingress| (&*ingress.namespace, &*ingress.name))
            .collect();
        self.series.lock().unwrap_or_else(PoisonError::into_inner).retain(|labels, _| {
            (hosts.contains(&labels.host) || &*labels.host == "_")
                && (labels.ingress.is_empty()
                    || ingresses.contains(&(&*labels.namespace, &*labels.ingress)))
        });
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
            handshakes: std::array::from_fn(|kind| all(&self.gauges, |own| &own.handshakes[kind])),
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
            limited: std::array::from_fn(|kind| all(&self.gauges, |own| &own.limited[kind])),
            mirrored: std::array::from_fn(|kind| all(&self.gauges, |own| &own.mirrored[kind])),
            passwords_compared: sum(|gauges| &gauges.passwords_compared),
            passwords_turned_away: sum(|gauges| &gauges.passwords_turned_away),
            judged: std::array::from_fn(|kind| all(&self.gauges, |own| &own.judged[kind])),
            requests: sum(|gauges| &gauges.requests),
        }
    }
}

/// What a request turned out to be about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Subject<'v> {
    pub(super) host: Option<&'v HostName>,
    pub(super) route: Option<&'v Arc<Route>>,
    pub(super) service: Option<&'v Arc<str>>,
    pub(super) canary: Option<&'v BackendKey>,
}

/// An address, with its lowest bit set for the canary, a method and a status.
type Known = (usize, &'static str, u16);

/// A worker's access to its numbers.
pub(super) struct Counters {
    registry: Arc<Registry>,
    gauges: Arc<Gauges>,
    worker: usize,
    /// By address of the route, or else of the host's name, in the current snapshot.
    known: RefCell<HashMap<Known, Arc<AtomicU64>>>,
}

impl Counters {
    pub(super) fn request(&self, subject: Subject<'_>, method: &Method, status: u16) {
        increment(&self.gauges.requests);
        let address = match (subject.route, subject.host) {
            // A route has one canary at most, and an even address.
            (Some(route), _) => Arc::as_ptr(route).addr() | usize::from(subject.canary.is_some()),
            (None, Some(host)) => std::ptr::from_ref(host).addr(),
            (None, None) => 0,
        };
        let method = known_method(method);
        let mut known = self.known.borrow_mut();
        let number = known
            .entry((address, method, status))
            .or_insert_with(|| self.registry.number(labels(subject, method, status), self.worker));
        increment(number);
    }

    /// The snapshot changed: what was known by address is not any more.
    pub(super) fn forget(&self) {
        self.known.borrow_mut().clear();
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

    pub(super) fn handshake(&self, resumed: bool) {
        increment(&self.gauges.handshakes[usize::from(resumed)]);
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

fn labels(subject: Subject<'_>, method: &'static str, status: u16) -> Labels {
    let empty: Arc<str> = Arc::from("");
    let of = |field: fn(&Arc<Route>) -> &Arc<str>| subject.route.map_or(&empty, field).clone();
    // The built-in default backend is no Ingress.
    let of_ingress = |field: fn(&Arc<Route>) -> &Arc<str>| {
        subject.route.filter(|route| route.ingress.kind == "Ingress").map_or(&empty, field).clone()
    };
    Labels {
        host: subject.host.map_or_else(|| Arc::from("_"), label),
        namespace: of_ingress(|route| &route.ingress.namespace),
        ingress: of_ingress(|route| &route.ingress.name),
        service: subject.service.unwrap_or(&empty).clone(),
        canary: subject.canary.map_or(empty.clone(), |key| key.to_string().into()),
        path: of(|route| &route.path),
        method,
        status,
    }
}

fn label(name: &HostName) -> Arc<str> {
    match name {
        HostName::Exact(name) => Arc::clone(name),
        HostName::Wildcard(suffix) => format!("*.{suffix}").into(),
        HostName::CatchAll => Arc::from("_"),
    }
}

/// Methods are the client's to make up; series are not.
fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 8] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("OTHER")
}
