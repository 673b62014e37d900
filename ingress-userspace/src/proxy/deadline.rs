//! Coarse deadlines: one timer per worker wakes whoever is late. Setting, moving and clearing a
//! deadline is a store into a cell, so that a request pays for no timer of its own.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use slab::Slab;

/// How often a worker looks for what is late; a deadline is met that much late at most.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// All deadlines of one worker.
pub(crate) struct Deadlines {
    start: Instant,
    /// Milliseconds since `start`, as of the last tick.
    now: Cell<u64>,
    entries: RefCell<Slab<Entry>>,
}

struct Entry {
    /// Milliseconds since `start`; `u64::MAX`: none.
    at: u64,
    waker: Option<Waker>,
}

/// One deadline; not set at first. Freed on drop.
pub(crate) struct Deadline {
    owner: Rc<Deadlines>,
    key: usize,
}

impl Deadlines {
    pub(crate) fn new(start: Instant) -> Rc<Self> {
        Rc::new(Self { start, now: Cell::new(0), entries: RefCell::default() })
    }

    /// Milliseconds since the worker's start, as of the last tick.
    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    pub(crate) fn deadline(self: &Rc<Self>) -> Deadline {
        let key = self.entries.borrow_mut().insert(Entry { at: u64::MAX, waker: None });
        Deadline { owner: Rc::clone(self), key }
    }

    /// Moves the clock and wakes whoever is late.
    pub(crate) fn tick(&self, now: Instant) {
        let now = millis(now.saturating_duration_since(self.start));
        self.now.set(now);
        self.wake(|entry| entry.at <= now);
    }

    /// Wakes all, late or not: something changed that all have to look at.
    pub(crate) fn wake_all(&self) {
        self.wake(|_| true);
    }

    fn wake(&self, which: impl Fn(&Entry) -> bool) {
        // A waker may run code that comes back here, so the borrow ends first.
        let wakers: Vec<_> = self
            .entries
            .borrow_mut()
            .iter_mut()
            .filter_map(|(_, entry)| if which(entry) { entry.waker.take() } else { None })
            .collect();
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Deadline {
    /// From now on, `after` from now is late.
    pub(crate) fn set(&self, after: Duration) {
        // The clock stands still between ticks: one tick more, so that no deadline comes early.
        self.put(self.owner.now.get() + millis(after) + millis(TICK));
    }

    /// Late is `after` from now, or earlier if it was so already.
    pub(crate) fn shorten(&self, after: Duration) {
        let at = self.owner.now.get() + millis(after) + millis(TICK);
        if let Some(entry) = self.owner.entries.borrow_mut().get_mut(self.key) {
            entry.at = entry.at.min(at);
        }
    }

    /// Never late.
    pub(crate) fn clear(&self) {
        self.put(u64::MAX);
    }

    fn put(&self, at: u64) {
        if let Some(entry) = self.owner.entries.borrow_mut().get_mut(self.key) {
            entry.at = at;
        }
    }

    /// Ready when it is late; else wakes the task when it will be, wherever it is moved to.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut entries = self.owner.entries.borrow_mut();
        let Some(entry) = entries.get_mut(self.key) else { return Poll::Pending };
        if entry.at <= self.owner.now.get() {
            return Poll::Ready(());
        }
        match &mut entry.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let entry = self.owner.entries.borrow_mut().try_remove(self.key);
        drop(entry);
    }
}

/// The outcome, or `None` when the deadline comes first.
pub(crate) async fn before<T>(deadline: &Deadline, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => deadline.poll(cx).map(|()| None),
    })
    .await
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl std::task::Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_deadline_wakes_once_and_never_early() {
        let start = Instant::now();
        let deadlines = Deadlines::new(start);
        let deadline = deadlines.deadline();
        let woken = Arc::new(Counting::default());
        let waker = Waker::from(Arc::clone(&woken));
        let context = Context::from_waker(&waker);
        assert!(deadline.poll(&context).is_pending());
        deadline.set(Duration::from_secs(1));
        deadlines.tick(start + Duration::from_millis(1000));
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        assert!(deadline.poll(&context).is_pending());
        deadlines.tick(start + Duration::from_millis(1100));
        deadlines.tick(start + Duration::from_millis(1200));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(deadline.poll(&context).is_ready());
    }

    #[test]
    fn a_cleared_deadline_is_never_late() {
        let start = Instant::now();
        let deadlines = Deadlines::new(start);
        let deadline = deadlines.deadline();
        deadline.set(Duration::from_secs(1));
        deadline.clear();
        deadlines.tick(start + Duration::from_secs(1000));
        assert!(deadline.poll(&Context::from_waker(Waker::noop())).is_pending());
    }
}
