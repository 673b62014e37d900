//! Whether traffic may come.

use std::sync::atomic::{AtomicBool, Ordering};

/// What has to have happened before traffic may come, a latch each.
#[derive(Debug, Default)]
pub struct Readiness {
    listening: AtomicBool,
    published: AtomicBool,
    steering: AtomicBool,
    stopping: AtomicBool,
}

impl Readiness {
    /// All listeners are bound.
    pub(super) fn listening(&self) {
        self.listening.store(true, Ordering::Relaxed);
    }

    /// The first snapshot is published.
    pub(super) fn published(&self) {
        self.published.store(true, Ordering::Relaxed);
    }

    /// The kernel tier is attached, or off.
    pub(super) fn steering(&self) {
        self.steering.store(true, Ordering::Relaxed);
    }

    /// The agent is about to stop: no new traffic, please.
    pub(super) fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// What is missing, for people; `None`: ready.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        [
            (self.stopping.load(Ordering::Relaxed), "stopping"),
            (!self.listening.load(Ordering::Relaxed), "the listeners are not bound yet"),
            (!self.published.load(Ordering::Relaxed), "no snapshot is published yet"),
            (!self.steering.load(Ordering::Relaxed), "the kernel tier is not attached yet"),
        ]
        .into_iter()
        .find_map(|(is, what)| is.then_some(what))
    }

    /// Healthy from the start to the signal. ingress-nginx is from its first configuration on; but
    /// nothing is gained by restarting who waits for an API server.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.listening.load(Ordering::Relaxed) && !self.stopping.load(Ordering::Relaxed)
    }
}
