//! Where rules are run: beside the workers' loops, so many at once and no more, each for as long as
//! it takes and no request waiting longer than it may. Whatever goes wrong, there is no verdict, and
//! a request without one does not go on.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::Semaphore;

/// As many requests wait for a verdict, in all workers, before others are turned away.
const MOST_WAITING: usize = 512;

/// How long a request waits for its verdict.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of bodies is held to be inspected, in all workers. Bytes.
const MOST_HELD: usize = 256 << 20;

/// As many lines a worker writes about requests in a second: whoever attacks writes the log.
const LINES: u32 = 20;

/// Why there is no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too many wait, or this one waited for too long.
    Busy,
    /// What was to give it ended by a bug.
    Broken,
}

/// What the workers of a process share.
#[derive(Debug)]
pub(super) struct Shared {
    /// One for each evaluation that may be under way: they keep processors busy.
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    held: AtomicUsize,
    patience: Duration,
}

impl Shared {
    pub(super) fn new() -> Arc<Self> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        // The others are for the requests that need no verdict.
        Self::with((processors / 2).max(1), PATIENCE)
    }

    fn with(permits: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(permits)),
            waiting: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            patience,
        })
    }

    /// Runs `job` on a thread of its own, and waits for it no longer than a request may. It ends on
    /// its own time; until then its place is taken.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let _waiting = Waiting::new(self).ok_or(Refused::Busy)?;
        let permits = Arc::clone(&self.permits);
        let done = async {
            let permit = permits.acquire_owned().await.map_err(|_closed| Refused::Broken)?;
            let running = tokio::task::spawn_blocking(move || {
                let done = job();
                drop(permit);
                done
            });
            running.await.map_err(|_panicked| Refused::Broken)
        };
        tokio::time::timeout(self.patience, done).await.unwrap_or(Err(Refused::Busy))
    }
}

/// Counts a request as waiting.
struct Waiting<'s>(&'s Shared);

impl<'s> Waiting<'s> {
    fn new(shared: &'s Shared) -> Option<Self> {
        let before = shared.waiting.fetch_add(1, Ordering::Relaxed);
        let own = Self(shared);
        (before < MOST_WAITING).then_some(own)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What of the memory for bodies a request has.
#[derive(Debug)]
pub(super) struct Held {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Held {
    /// Takes so much more. False: there is no more.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let before = self.shared.held.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        before + bytes <= MOST_HELD
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A worker's access to it.
pub(super) struct Firewall {
    shared: Arc<Shared>,
    /// In which second, and how many lines were written in it.
    told: Cell<(u64, u32)>,
}

impl Firewall {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, told: Cell::default() }
    }

    /// As [`Shared::run`].
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        self.shared.run(job).await
    }

    /// Nothing yet of the memory for bodies.
    pub(super) fn hold(&self) -> Held {
        Held { shared: Arc::clone(&self.shared), bytes: 0 }
    }

    /// One more line may be written. Worker's milliseconds.
    pub(super) fn may_tell(&self, now: u64) -> bool {
        let second = now / 1000;
        let (last, told) = self.told.get();
        let told = if last == second { told.saturating_add(1) } else { 1 };
        self.told.set((second, told));
        told <= LINES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("it can be had").block_on(future)
    }

    #[test]
    fn what_panics_costs_one_request_its_verdict_and_no_other() {
        let shared = Shared::with(1, LONG);
        let panics = block_on(shared.run(|| -> u8 { panic!("a bug of the engine") }));
        assert_eq!(panics, Err(Refused::Broken));
        assert_eq!(block_on(shared.run(|| 7)), Ok(7), "its place is free again");
        assert_eq!(shared.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let shared = Shared::with(1, Duration::from_millis(50));
        let (end, ended) = std::sync::mpsc::channel::<()>();
        block_on(async {
            let slow = shared.run(move || ended.recv().is_ok());
            assert_eq!(slow.await, Err(Refused::Busy));
            assert_eq!(shared.run(|| 7).await, Err(Refused::Busy), "its place is still taken");
            end.send(()).expect("it is still at it");
            let again = Shared { patience: LONG, ..take(&shared) };
            assert_eq!(Arc::new(again).run(|| 7).await, Ok(7));
        });
    }

    fn take(shared: &Shared) -> Shared {
        Shared {
            permits: Arc::clone(&shared.permits),
            waiting: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            patience: shared.patience,
        }
    }

    #[test]
    fn those_who_are_too_many_are_turned_away() {
        let shared = Shared::with(1, LONG);
        let all: Vec<_> = (0..MOST_WAITING).filter_map(|_| Waiting::new(&shared)).collect();
        assert_eq!(all.len(), MOST_WAITING);
        assert_eq!(block_on(shared.run(|| 7)), Err(Refused::Busy));
        drop(all);
        assert_eq!(block_on(shared.run(|| 7)), Ok(7));
    }

    #[test]
    fn bodies_have_so_much_memory_and_no_more() {
        let firewall = Firewall::new(Shared::with(1, LONG));
        let mut one = firewall.hold();
        assert!(one.grow(MOST_HELD));
        let mut other = firewall.hold();
        assert!(!other.grow(1));
        drop((one, other));
        assert!(firewall.hold().grow(MOST_HELD));
    }

    #[test]
    fn a_second_has_so_many_lines() {
        let firewall = Firewall::new(Shared::with(1, LONG));
        let told = (0..100).filter(|_| firewall.may_tell(5_500)).count();
        assert_eq!(told, LINES as usize);
        assert!(firewall.may_tell(6_000));
    }
}
