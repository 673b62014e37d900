//! When a request's parts happened, and whose it is. The clock is read where something was waited for, and not again
//! before the next wait: most requests read it twice.

use std::{cell::Cell, time::Instant};

/// The times of one request. Durations in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timing {
    begun: Cell<Option<Instant>>,
    /// The time, as long as nothing was waited for.
    now: Cell<Option<Instant>>,
    /// When the last attempt at an endpoint began.
    asked: Cell<Option<Instant>>,
    connected: Cell<Option<u64>>,
    answered: Cell<Option<u64>>,
    /// Of the route, or else of the host: see `route::HostTable`. 0: of neither.
    number: Cell<u64>,
    /// Place in [`super::record::METHODS`]; the request's own may be changed on its way.
    method: Cell<u8>,
}

/// How long a request took, in microseconds. What did not happen is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Durations {
    /// From its head to the end of its answer.
    pub(crate) request: u64,
    /// Of the last attempt: until there was a connection; 0 of one that was open.
    pub(crate) connect: Option<u64>,
    /// Likewise: until the answer's head was there.
    pub(crate) header: Option<u64>,
    /// Likewise: until its end.
    pub(crate) response: Option<u64>,
}

impl Timing {
    /// The request's head is there, with this method.
    pub(super) fn begin(&self, method: u8) {
        self.method.set(method);
        let now = Instant::now();
        self.begun.set(Some(now));
        self.now.set(Some(now));
        self.asked.set(None);
        self.connected.set(None);
        self.answered.set(None);
        self.number.set(0);
    }

    /// What is asked for belongs to this host or route.
    pub(crate) fn belongs_to(&self, number: u64) {
        self.number.set(number);
    }

    pub(super) fn method(&self) -> u8 {
        self.method.get()
    }

    pub(super) fn number(&self) -> u64 {
        self.number.get()
    }

    /// Nothing is to be measured.
    pub(crate) fn forget(&self) {
        self.begun.set(None);
    }

    /// Something was waited for: it is later now.
    pub(crate) fn waited(&self) {
        self.now.set(None);
    }

    /// An attempt at an endpoint begins.
    pub(crate) fn ask(&self) {
        if self.is_on() {
            self.asked.set(Some(self.now()));
            self.connected.set(None);
            self.answered.set(None);
        }
    }

    /// There is a connection: one that was open, or a new one.
    pub(crate) fn connected(&self, reused: bool) {
        if reused {
            self.connected.set(self.is_on().then_some(0));
        } else {
            self.waited();
            self.connected.set(self.since_asked());
        }
    }

    /// The head of an endpoint's answer is there.
    pub(crate) fn answered(&self) {
        self.waited();
        self.answered.set(self.since_asked());
    }

    /// From the last attempt to the head of its answer. Microseconds; `None`: nothing is measured.
    pub(crate) fn header(&self) -> Option<u64> {
        self.answered.get()
    }

    /// How long it all took until now; `None`: nothing is measured.
    pub(crate) fn durations(&self) -> Option<Durations> {
        let begun = self.begun.get()?;
        Some(Durations {
            request: micros(begun, self.now()),
            connect: self.connected.get(),
            header: self.answered.get(),
            response: self.since_asked(),
        })
    }

    fn is_on(&self) -> bool {
        self.begun.get().is_some()
    }

    fn since_asked(&self) -> Option<u64> {
        self.asked.get().map(|asked| micros(asked, self.now()))
    }

    fn now(&self) -> Instant {
        self.now.get().unwrap_or_else(|| {
            let now = Instant::now();
            self.now.set(Some(now));
            now
        })
    }
}

fn micros(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u64::MAX)
}
