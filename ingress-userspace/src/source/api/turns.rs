//! Whose object is fetched next. Whoever may write Ingresses can have any number of objects named, and
//! named anew; the API server is everybody's, and so is the way to it: namespaces take turns.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{
        OwnedSemaphorePermit, Semaphore,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::{Instant, sleep_until},
};

/// Objects that are fetched at once.
const AT_ONCE: usize = 16;
/// So many objects are fetched as fast as the API server answers, at a start above all; then one in
/// each of these.
const EARLY: u32 = if cfg!(test) { 200 } else { 5000 };
const EACH: Duration = Duration::from_millis(5);

/// Asks for turns. Clones stand in the same queue.
#[derive(Clone)]
pub(super) struct Turns(UnboundedSender<Asking>);

struct Asking {
    namespace: Arc<str>,
    turn: oneshot::Sender<Turn>,
}

/// Leave to fetch, until it is dropped.
pub(super) type Turn = OwnedSemaphorePermit;

impl Turns {
    /// Begins to give turns; ends with the last of these.
    pub(super) fn start() -> Self {
        let (sender, asking) = unbounded_channel();
        tokio::spawn(give(asking));
        Self(sender)
    }

    /// Waits for a turn of this namespace. `None`: nobody gives turns any more.
    pub(super) async fn next(&self, namespace: &Arc<str>) -> Option<Turn> {
        let (turn, given) = oneshot::channel();
        self.0.send(Asking { namespace: Arc::clone(namespace), turn }).ok()?;
        given.await.ok()
    }
}

async fn give(mut asking: UnboundedReceiver<Asking>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let (mut queue, mut pace) = (Queue::default(), Pace::new(Instant::now()));
    loop {
        // However long a place takes: who asks is entered, and who waits no more is forgotten.
        tokio::select! {
            next = asking.recv() => match next {
                Some(next) => queue.push(next),
                None => return,
            },
            place = vacancy(&places, &pace), if !queue.is_empty() => {
                let Some(place) = place else { return };
                if let Some(next) = queue.pop()
                    && next.turn.send(place).is_ok()
                {
                    pace.spend(Instant::now());
                }
            }
        }
    }
}

/// Waits until one more may fetch. Nothing is lost where it is not waited for to the end.
async fn vacancy(places: &Arc<Semaphore>, pace: &Pace) -> Option<Turn> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    sleep_until(pace.due()).await;
    Some(place)
}

/// Who waits: of each namespace the first come first, the namespaces in turn.
#[derive(Default)]
struct Queue {
    waiting: BTreeMap<Arc<str>, VecDeque<Asking>>,
    /// Those that have somebody waiting, the next one first.
    order: VecDeque<Arc<str>>,
    /// How many wait, those included that do so no more; and of how many on those are looked for.
    len: usize,
    many: usize,
}

/// So few are not worth a look.
const FEW: usize = 1024;

impl Queue {
    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn push(&mut self, asking: Asking) {
        let waiting = self.waiting.entry(Arc::clone(&asking.namespace)).or_default();
        if waiting.is_empty() {
            self.order.push_back(Arc::clone(&asking.namespace));
        }
        waiting.push_back(asking);
        self.len += 1;
        if self.len >= self.many.max(FEW) {
            self.forget();
            self.many = self.len * 2;
        }
    }

    /// Leaves out who waits no more.
    fn forget(&mut self) {
        let waiting = &mut self.waiting;
        waiting.values_mut().for_each(|waiting| waiting.retain(|one| !one.turn.is_closed()));
        waiting.retain(|_, waiting| !waiting.is_empty());
        self.order.retain(|namespace| waiting.contains_key(namespace));
        self.len = waiting.values().map(VecDeque::len).sum();
    }

    /// The next who waits still.
    fn pop(&mut self) -> Option<Asking> {
        while let Some(namespace) = self.order.pop_front() {
            let waiting = self.waiting.get_mut(&namespace)?;
            let mut next = None;
            while let Some(asking) = waiting.pop_front() {
                self.len = self.len.saturating_sub(1);
                // What is not named any more is not fetched.
                if !asking.turn.is_closed() {
                    next = Some(asking);
                    break;
                }
            }
            if waiting.is_empty() {
                self.waiting.remove(&namespace);
            } else {
                self.order.push_back(namespace);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }
}

/// How fast turns follow each other.
struct Pace {
    /// When the next is due if none may come early: it runs ahead of the clock by what was given of late.
    /// Counted from `start`, for clocks cannot show times from before the machine ran.
    ahead: Duration,
    start: Instant,
}

impl Pace {
    fn new(start: Instant) -> Self {
        Self { ahead: Duration::ZERO, start }
    }

    /// When the next turn may be.
    fn due(&self) -> Instant {
        self.start + self.ahead.saturating_sub(EACH * (EARLY - 1))
    }

    fn spend(&mut self, now: Instant) {
        self.ahead = self.ahead.max(now.saturating_duration_since(self.start)) + EACH;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_come_at_once_and_then_one_after_the_other() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for _ in 0..EARLY {
            assert!(pace.due() <= start);
            pace.spend(start);
        }
        assert_eq!(pace.due(), start + EACH);
        pace.spend(start + EACH);
        assert_eq!(pace.due(), start + EACH * 2);
        // It has recovered.
        let later = start + EACH * (EARLY + 2);
        for _ in 0..EARLY {
            assert!(pace.due() <= later);
            pace.spend(later);
        }
        assert_eq!(pace.due(), later + EACH);
    }

    #[test]
    fn namespaces_take_turns_and_who_waits_no_more_gets_none() {
        let mut queue = Queue::default();
        let mut given = Vec::new();
        for namespace in ["a", "a", "a", "a", "b", "c"] {
            let (turn, waits) = oneshot::channel();
            queue.push(Asking { namespace: namespace.into(), turn });
            given.push(waits);
        }
        drop(given.remove(1));
        let order: Vec<_> =
            std::iter::from_fn(|| queue.pop()).map(|asking| asking.namespace).collect();
        assert_eq!(order.iter().map(|one| &**one).collect::<Vec<_>>(), ["a", "b", "c", "a", "a"]);
        assert!(queue.is_empty() && queue.waiting.is_empty());
    }

    #[test]
    fn who_waits_no_more_takes_no_memory() {
        let mut queue = Queue::default();
        let (turn, _waits) = oneshot::channel();
        queue.push(Asking { namespace: "patient".into(), turn });
        for number in 0..100 * FEW {
            let (turn, _) = oneshot::channel();
            queue.push(Asking { namespace: format!("n{}", number % 7).into(), turn });
            assert!(queue.waiting.values().map(VecDeque::len).sum::<usize>() <= FEW);
        }
        let next = queue.pop().expect("one waits");
        assert_eq!((&*next.namespace, queue.pop().is_none()), ("patient", true));
        assert!(queue.is_empty() && queue.len == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_some_have_a_turn_at_once() {
        let turns = Turns::start();
        let namespace = Arc::from("web");
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(turns.next(&namespace).await.expect("a turn"));
        }
        let waits = tokio::time::timeout(Duration::from_secs(60), turns.next(&namespace)).await;
        assert!(waits.is_err(), "all places are taken");
        held.pop();
        held.push(turns.next(&namespace).await.expect("a turn"));
    }
}
