//! What is served at one moment, and its swap: published once per change, read without a lock, in
//! one piece. A request works on one snapshot from its first byte to its upstream's answer.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;

use crate::{model::Model, route::RouteTable, tls::Handshakes};

/// Everything that a request or a handshake looks at.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Grows by one with each publication; 0 is the empty one before the first.
    pub generation: u64,
    /// What is served, as values.
    pub model: Arc<Model>,
    /// The same, ready to be searched.
    pub routes: Arc<RouteTable>,
    /// What handshakes are answered with.
    pub(crate) handshakes: Arc<Handshakes>,
}

#[derive(Debug, Default)]
struct Shared {
    current: ArcSwap<Snapshot>,
    /// The generation of `current`, written after it: whoever sees a generation finds that
    /// snapshot or a later one.
    generation: AtomicU64,
}

/// The only writer.
#[derive(Debug, Default)]
pub struct Publisher {
    shared: Arc<Shared>,
    /// Snapshots that readers may still hold. Kept so that the last to let go of one is the
    /// publisher: to free thousands of routes takes longer than to answer a request.
    retired: Vec<Arc<Snapshot>>,
}

impl Publisher {
    /// Makes this the snapshot of all requests that begin from now on, and returns its generation.
    pub(crate) fn publish(
        &mut self,
        model: Arc<Model>,
        routes: Arc<RouteTable>,
        handshakes: Arc<Handshakes>,
    ) -> u64 {
        let generation = self.shared.generation.load(Ordering::Relaxed) + 1;
        let snapshot = Snapshot { generation, model, routes, handshakes };
        self.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        self.retired.push(self.shared.current.swap(Arc::new(snapshot)));
        self.shared.generation.store(generation, Ordering::Release);
        generation
    }

    /// The snapshot published last.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.shared.current.load_full()
    }

    /// One more reader.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader { shared: Arc::clone(&self.shared) }
    }
}

/// Follows the publisher.
#[derive(Clone, Debug)]
pub struct Reader {
    shared: Arc<Shared>,
}

impl Reader {
    /// The snapshot published last, if its generation is another than `seen`: one atomic load where
    /// nothing changed.
    #[must_use]
    pub fn newer(&self, seen: u64) -> Option<Arc<Snapshot>> {
        (self.shared.generation.load(Ordering::Acquire) != seen)
            .then(|| self.shared.current.load_full())
    }

    /// The snapshot published last.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.shared.current.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_each_publication_once() {
        let mut publisher = Publisher::default();
        let reader = publisher.reader();
        assert!(reader.newer(0).is_none());
        let generation = publisher.publish(Arc::default(), Arc::default(), Arc::default());
        assert_eq!(generation, 1);
        let seen = reader.newer(0).expect("one was published");
        assert_eq!(seen.generation, 1);
        assert!(reader.newer(seen.generation).is_none());
    }
}
