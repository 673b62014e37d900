//! The traffic of the last ten minutes, second by second: what was counted between two looks at the
//! counters. Bounded: so many seconds, and so many tallies by host and Ingress in all of them.

mod latency;
mod sample;
mod window;

pub(super) use self::{
    latency::percentile,
    sample::Sample,
    window::{By, Row, last, of, rows},
};

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::MissedTickBehavior;

use self::sample::Looker;
use super::Board;

/// How often it is looked.
const SECOND: Duration = Duration::from_secs(1);
/// Looks that are kept: ten minutes.
pub(super) const KEPT: usize = 600;
/// Parts that are kept in all looks together; then those of the oldest are forgotten, and only the
/// sums of these seconds stay. About 150 bytes each.
const TALLIES: usize = 100_000;

/// The ring.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    /// The oldest first.
    samples: VecDeque<Arc<Sample>>,
    /// The number of the last one; the first has 1.
    number: u64,
    tallies: usize,
}

impl History {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, sample: Sample) {
        self.ring().push(sample, TALLIES);
    }

    /// The number of the last sample, and all that are kept, the oldest first.
    pub(super) fn all(&self) -> (u64, Vec<Arc<Sample>>) {
        let ring = self.ring();
        (ring.number, ring.samples.iter().cloned().collect())
    }
}

impl Ring {
    fn push(&mut self, sample: Sample, most: usize) {
        self.number += 1;
        self.tallies += sample.tallies.len();
        self.samples.push_back(Arc::new(sample));
        if self.samples.len() > KEPT
            && let Some(gone) = self.samples.pop_front()
        {
            self.tallies -= gone.tallies.len();
        }
        // The newest has its tallies in any case, or nothing would be told of anybody.
        let newest = self.samples.len() - 1;
        for sample in self.samples.iter_mut().take(newest) {
            if self.tallies <= most {
                break;
            }
            if !sample.tallies.is_empty() {
                self.tallies -= sample.tallies.len();
                *sample = Arc::new(sample.without_tallies());
            }
        }
    }
}

/// Looks once a second, for ever.
pub(super) async fn keep(board: Arc<Board>) {
    let mut looker = Looker::new(&board.registry, Instant::now());
    let mut tick = tokio::time::interval(SECOND);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first comes at once.
    tick.tick().await;
    loop {
        tick.tick().await;
        board.history.push(looker.look(&board.registry, board.metrics.enabled, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::{sample::Tally, *};

    fn sample(tallies: usize) -> Sample {
        let tally = Tally::default();
        Sample { tallies: vec![tally; tallies].into(), ..Sample::empty(Instant::now()) }
    }

    #[test]
    fn ten_minutes_are_kept() {
        let mut ring = Ring::default();
        for _ in 0..KEPT + 7 {
            ring.push(sample(1), usize::MAX);
        }
        assert_eq!((ring.samples.len(), ring.number, ring.tallies), (600, 607, 600));
    }

    #[test]
    fn the_oldest_tallies_go_first_and_the_newest_stay() {
        let mut ring = Ring::default();
        for tallies in [4, 0, 4, 4] {
            ring.push(sample(tallies), 9);
        }
        let left: Vec<_> = ring.samples.iter().map(|sample| sample.tallies.len()).collect();
        assert_eq!((left, ring.tallies), (vec![0, 0, 4, 4], 8));
        assert!(ring.samples[0].is_cut && !ring.samples[1].is_cut && !ring.samples[2].is_cut);
        ring.push(sample(20), 9);
        let left: Vec<_> = ring.samples.iter().map(|sample| sample.tallies.len()).collect();
        assert_eq!((left, ring.tallies), (vec![0, 0, 0, 0, 20], 20));
    }
}
