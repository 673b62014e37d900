//! Where rules are run: beside the workers' loops, so many at once and no more, each for as long as
//! it takes and no request waiting longer than it may. Whatever goes wrong, there is no verdict, and
//! a request without one does not go on.

use std::{cell::Cell, sync::Arc, thread, time::Duration};

use super::{
    held::Asking,
    turns::{TooMany, Turns},
};

/// How long a request waits for its verdict.
const PATIENCE: Duration = Duration::from_secs(10);

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
    turns: Arc<Turns>,
    patience: Duration,
}

impl Shared {
    pub(super) fn new() -> Arc<Self> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        // The others are for the requests that need no verdict.
        Self::with((processors / 2).max(1), PATIENCE)
    }

    fn with(places: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self { turns: Turns::new(places), patience })
    }

    /// Runs `job` on a thread of its own when it is the turn of who asks, and waits for it no longer
    /// than a request may. It ends on its own time; until then its place is taken.
    async fn run<T: Send + 'static>(
        &self,
        asking: &Asking,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let done = async {
            let turn = self.turns.take(asking).await.map_err(|TooMany| Refused::Busy)?;
            let running = tokio::task::spawn_blocking(move || {
                let done = job();
                drop(turn);
                done
            });
            running.await.map_err(|_panicked| Refused::Broken)
        };
        tokio::time::timeout(self.patience, done).await.unwrap_or(Err(Refused::Busy))
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
        asking: &Asking,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        self.shared.run(asking, job).await
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

    fn who() -> Asking {
        let ingress = crate::model::ObjectRef::new("Ingress", "web", "shop");
        Asking::new(&ingress, [192, 0, 2, 1].into())
    }

    #[test]
    fn what_panics_costs_one_request_its_verdict_and_no_other() {
        let shared = Shared::with(1, LONG);
        let panics = block_on(shared.run(&who(), || -> u8 { panic!("a bug of the engine") }));
        assert_eq!(panics, Err(Refused::Broken));
        assert_eq!(block_on(shared.run(&who(), || 7)), Ok(7), "its place is free again");
        assert_eq!(shared.turns.waiting(), 0);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let shared = Shared::with(1, Duration::from_millis(50));
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let who = who();
        block_on(async {
            let slow = shared.run(&who, move || ended.recv().is_ok());
            assert_eq!(slow.await, Err(Refused::Busy));
            let taken = shared.run(&who, || 7).await;
            assert_eq!(taken, Err(Refused::Busy), "its place is still taken");
            end.send(()).expect("it is still at it");
            let again = Shared { turns: Arc::clone(&shared.turns), patience: LONG };
            assert_eq!(again.run(&who, || 7).await, Ok(7));
        });
    }

    #[test]
    fn a_second_has_so_many_lines() {
        let firewall = Firewall::new(Shared::with(1, LONG));
        let told = (0..100).filter(|_| firewall.may_tell(5_500)).count();
        assert_eq!(told, LINES as usize);
        assert!(firewall.may_tell(6_000));
    }
}
