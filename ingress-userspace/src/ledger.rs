//! What became of changes, and of what the cluster asked: written by the control plane, read by
//! scrapes. Nothing here is on the way of a request.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Ingresses that checks are counted by; who asks the webhook may name any. The others are counted
/// together.
const CHECKED: usize = 1000;

/// How long the names of objects can be (RFC 1123). Bytes.
const LONGEST_NAME: usize = 253;

/// Upper bounds of the durations of changes. Seconds.
pub(crate) const BOUNDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Durations by [`BOUNDS`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Durations {
    /// Seconds.
    pub(crate) sum: f64,
    /// Not cumulative; the last one of what is above all bounds.
    pub(crate) buckets: [u64; BOUNDS.len() + 1],
}

/// Tells whether this replica leads at this moment.
struct Leads(Box<dyn Fn() -> bool + Send + Sync>);

impl std::fmt::Debug for Leads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Leads").field(&(self.0)()).finish()
    }
}

/// What was written down.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    inner: Mutex<Inner>,
    leads: OnceLock<Leads>,
    failures: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    changes: Changes,
    checks: Checks,
    by_ingress: BTreeMap<(String, String), Verdicts>,
}

/// What became of the states of the objects.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Changes {
    pub(crate) published: u64,
    /// The last one was.
    pub(crate) is_successful: bool,
    /// When one was last. Seconds since 1970.
    pub(crate) at: f64,
    pub(crate) translate: Durations,
    pub(crate) apply: Durations,
    /// From the first word of a change on.
    pub(crate) live: Durations,
}

/// The last question to the admission webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Checks {
    /// Seconds.
    pub(crate) roundtrip: f64,
    pub(crate) tested: f64,
    /// Ingresses that were known.
    pub(crate) ingresses: u64,
    /// There was one.
    pub(crate) any: bool,
}

/// How often an Ingress was let pass or refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdicts {
    pub(crate) allowed: u64,
    pub(crate) refused: u64,
}

/// The namespace and name of an Ingress, and what was said of it.
pub(crate) type Checked = ((String, String), Verdicts);

impl Durations {
    fn add(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        self.sum += seconds;
        let bucket = BOUNDS.iter().filter(|bound| seconds > **bound).count();
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
    }
}

impl Ledger {
    fn with<T>(&self, of: impl FnOnce(&mut Inner) -> T) -> T {
        of(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A state was published. `live`: after the first word of it, if that is known.
    pub(crate) fn published(&self, translate: Duration, apply: Duration, live: Option<Duration>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.with(|Inner { changes, .. }| {
            changes.published += 1;
            changes.is_successful = true;
            changes.at = now.as_secs_f64();
            changes.translate.add(translate);
            changes.apply.add(apply);
            live.into_iter().for_each(|live| changes.live.add(live));
        });
    }

    /// A state could not be published, by a bug.
    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.with(|inner| inner.changes.is_successful = false);
    }

    /// Changes that were lost by a bug.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(crate) fn changes(&self) -> Changes {
        self.with(|inner| inner.changes)
    }

    /// An Ingress was judged.
    pub(crate) fn judged(&self, namespace: &str, name: &str, is_allowed: bool, checks: Checks) {
        self.with(|inner| {
            let is_name = namespace.len() <= LONGEST_NAME && name.len() <= LONGEST_NAME;
            let mut key = match is_name {
                true => (namespace.to_owned(), name.to_owned()),
                false => Default::default(),
            };
            if inner.by_ingress.len() >= CHECKED && !inner.by_ingress.contains_key(&key) {
                key = Default::default();
            }
            let verdicts = inner.by_ingress.entry(key).or_default();
            match is_allowed {
                true => verdicts.allowed += 1,
                false => verdicts.refused += 1,
            }
            inner.checks = Checks { any: true, ..checks };
        });
    }

    /// The last question, and the verdicts by namespace and name.
    pub(crate) fn checks(&self) -> (Checks, Vec<Checked>) {
        self.with(|inner| {
            let by_ingress = inner.by_ingress.iter().map(|(key, own)| (key.clone(), *own));
            (inner.checks, by_ingress.collect())
        })
    }

    /// Whom to ask whether this replica leads.
    pub(crate) fn ask_who_leads(&self, leads: impl Fn() -> bool + Send + Sync + 'static) {
        let _second = self.leads.set(Leads(Box::new(leads)));
    }

    /// This replica leads; `None`: nobody is elected.
    pub(crate) fn leads(&self) -> Option<bool> {
        self.leads.get().map(|leads| (leads.0)())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_the_webhook_makes_a_bounded_number_of_series() {
        let ledger = Ledger::default();
        for number in 0..3 * CHECKED {
            ledger.judged("web", &format!("a{number}"), number % 2 == 0, Checks::default());
        }
        let (_, verdicts) = ledger.checks();
        assert_eq!(verdicts.len(), CHECKED + 1);
        ledger.judged(&"a".repeat(1 << 20), "b", true, Checks::default());
        ledger.judged("web", &"a".repeat(254), true, Checks::default());
        assert_eq!(ledger.checks().1.len(), CHECKED + 1);
        let all: u64 = verdicts.iter().map(|(_, own)| own.allowed + own.refused).sum();
        assert_eq!(all, 3 * CHECKED as u64);
    }

    #[test]
    fn a_lost_change_shows_until_one_is_published() {
        let ledger = Ledger::default();
        let moment = Duration::from_millis(3);
        ledger.published(moment, moment, None);
        assert!(ledger.changes().is_successful);
        ledger.failed();
        assert!(!ledger.changes().is_successful);
        ledger.published(moment, moment, Some(moment));
        let changes = ledger.changes();
        assert!(changes.is_successful && changes.published == 2 && ledger.failures() == 1);
        assert_eq!(changes.live.buckets.iter().sum::<u64>(), 1);
        assert_eq!(changes.apply.buckets[3], 2);
    }
}
