//! What a worker knows of one endpoint.

use std::{cell::Cell, net::SocketAddr, time::Duration};

use super::hash;

/// How fast the past of an endpoint's pace fades: to a third in this time. Milliseconds
/// (ingress-nginx's).
const DECAY: f64 = 10_000.0;
/// How many answers the average that people see is about.
const RECENT: f64 = 16.0;
/// How long an endpoint is passed over after it refused for the first time. Milliseconds.
const FIRST_PAUSE: u64 = 1000;
/// The longest.
const LONGEST_PAUSE: u64 = 30_000;

/// What a worker has learnt of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PeerState {
    pub(crate) address: SocketAddr,
    /// Connections in a row that it did not take.
    pub(crate) refusals: u32,
    /// It is passed over for them now.
    pub(crate) is_avoided: bool,
    /// About how long it took to answer lately; seconds. `None`: nothing was measured.
    pub(crate) latency: Option<f64>,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) hash: u64,
    /// What smooth weighted round robin has saved up for it.
    pub(super) credit: Cell<i64>,
    /// The peak-sensitive moving average of its times to answer, in milliseconds, as it was at
    /// `observed`; negative: none yet.
    average: Cell<f64>,
    observed: Cell<u64>,
    /// The moving average of its times to answer that people see, whatever the policy; microseconds.
    /// Negative: none yet.
    lately: Cell<f64>,
    /// Refusals since it last took a connection.
    refusals: Cell<u32>,
    /// Until when it is passed over because of them.
    until: Cell<u64>,
}

impl Peer {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            hash: hash::of(address.to_string().as_bytes()),
            credit: Cell::new(0),
            average: Cell::new(-1.0),
            observed: Cell::new(0),
            lately: Cell::new(-1.0),
            refusals: Cell::new(0),
            until: Cell::new(0),
        }
    }

    /// It refused the last time.
    pub(super) fn is_suspect(&self) -> bool {
        self.refusals.get() > 0
    }

    /// It may get a request, if only to see whether it takes one.
    pub(super) fn is_due(&self, now: u64) -> bool {
        self.refusals.get() == 0 || now >= self.until.get()
    }

    /// It gets a request. If that is the one that finds out, all others pass it over meanwhile: as
    /// if this one had been refused already.
    pub(super) fn claim(&self, now: u64) {
        if self.is_suspect() && now >= self.until.get() {
            self.pause(now);
        }
    }

    /// It refused. Of many requests that were on their way to it at once, one counts.
    pub(super) fn refused(&self, now: u64) {
        if self.is_due(now) {
            self.pause(now);
        }
    }

    fn pause(&self, now: u64) {
        let refusals = self.refusals.get();
        let pause = (FIRST_PAUSE << refusals.min(10)).min(LONGEST_PAUSE);
        self.refusals.set(refusals.saturating_add(1));
        self.until.set(now.saturating_add(pause));
    }

    pub(super) fn connected(&self) {
        self.refusals.set(0);
    }

    /// It answered after this time. One slow answer counts at once, a fast one with time: peaks are
    /// what clients notice. A failure that came fast says nothing good.
    pub(super) fn observe(&self, took: Duration, answered: bool, now: u64) {
        let took = took.as_secs_f64() * 1000.0;
        let average = self.average.get();
        if average < 0.0 || took > average {
            self.average.set(took);
        } else if answered {
            let past = self.fading(now);
            self.average.set(average * past + took * (1.0 - past));
        } else {
            return;
        }
        self.observed.set(now);
    }

    /// Its answer began after this time.
    #[expect(clippy::cast_precision_loss, reason = "microseconds of one answer")]
    pub(super) fn took(&self, micros: u64) {
        let (now, lately) = (micros as f64, self.lately.get());
        let next = if lately < 0.0 { now } else { lately + (now - lately) / RECENT };
        self.lately.set(next);
    }

    /// How slow it is now, as far as is known. Fades when nothing is observed, so that an endpoint
    /// that was slow is tried again. Milliseconds.
    pub(super) fn pace(&self, now: u64) -> f64 {
        self.average.get().max(0.0) * self.fading(now)
    }

    /// What is known of it, for people.
    pub(super) fn look(&self, now: u64) -> PeerState {
        let lately = self.lately.get();
        PeerState {
            address: self.address,
            refusals: self.refusals.get(),
            is_avoided: !self.is_due(now),
            latency: (lately >= 0.0).then_some(lately / 1e6),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "milliseconds between two requests")]
    fn fading(&self, now: u64) -> f64 {
        (-(now.saturating_sub(self.observed.get()) as f64) / DECAY).exp()
    }

    /// Begins where others are on average: neither shunned nor overrun.
    pub(super) fn begin_like<'p>(&self, others: impl Iterator<Item = &'p Self>) {
        let (mut sum, mut count, mut observed, mut credit, mut all) = (0.0, 0_u32, 0, 0, 0_i64);
        for other in others {
            credit += other.credit.get();
            all += 1;
            if other.average.get() >= 0.0 {
                sum += other.average.get();
                count += 1;
                observed = other.observed.get().max(observed);
            }
        }
        if count > 0 {
            self.average.set(sum / f64::from(count));
            self.observed.set(observed);
        }
        self.credit.set(credit.checked_div(all).unwrap_or(0));
    }
}
