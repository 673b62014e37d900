//! Samples of flows and drops, read from the programs' ring buffer and kept for whoever asks.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use aya::maps::{Array, Map, MapData, RingBuf};
use ingress_common::observe::{OBSERVE_EVENTS, Observe};

use super::{
    L4Error, Reader,
    apply::cannot,
    counters::pinned,
    directory::directory,
    record::{Event, Names, Record, time_of},
};

/// Of connections that begin one in so many is an event.
const ONE_IN: u32 = 64;
/// Drops that become events on each CPU in a second, at most.
const DROPS: u32 = 16;
/// How many are kept.
const KEPT: usize = 256;

/// The last events, the oldest first.
pub(super) type Kept = Arc<Mutex<VecDeque<Event>>>;

/// Reads events.
pub(super) struct Sampler {
    ring: RingBuf<MapData>,
    reader: Reader,
    kept: Kept,
}

impl Sampler {
    /// Asks the programs for samples.
    ///
    /// # Errors
    /// [`L4Error::Map`].
    pub(super) fn start(bpf_dir: &Path, kept: Kept) -> Result<Self, L4Error> {
        let reader = Reader::open(bpf_dir)?;
        let directory = directory(bpf_dir);
        let ring = pinned(&directory, "EVENTS", |data| RingBuf::try_from(Map::RingBuf(data)))?;
        let mut observe: Array<MapData, Observe> =
            pinned(&directory, "OBSERVE", |data| Array::try_from(Map::Array(data)))?;
        let before = observe.get(&0, 0).map_err(cannot("OBSERVE", "read"))?;
        let wanted = Observe {
            flags: before.flags | OBSERVE_EVENTS,
            flow_mask: ONE_IN - 1,
            drop_budget: DROPS,
            ..before
        };
        observe.set(0, wanted, 0).map_err(cannot("OBSERVE", "written"))?;
        Ok(Self { ring, reader, kept })
    }

    /// Takes what has come since the last call.
    pub(super) fn drain(&mut self) {
        let Some(first) = self.ring.next() else { return };
        // Names change seldom, and events are few.
        let Ok(names) = Names::read(&self.reader) else { return };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keep = |bytes: &[u8]| {
            let Some(record) = Record::read(bytes) else { return };
            let event = names.event(&record, time_of(record.seen.time));
            kept.extend(event);
            if kept.len() > KEPT {
                kept.pop_front();
            }
        };
        keep(&first);
        drop(first);
        while let Some(item) = self.ring.next() {
            keep(&item);
        }
    }
}
