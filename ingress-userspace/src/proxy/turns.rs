//! Whose turn it is where only so many may work at once: Ingresses take turns, and within one its
//! clients, so that neither makes others wait for more than one turn of its own. Who waits is bounded
//! in number, for each of them too.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::oneshot;

use super::held::Asking;
use crate::model::ObjectRef;

/// As many wait, before others are turned away.
pub(super) const MOST_WAITING: usize = 512;
/// As many of one Ingress.
const OF_INGRESS: usize = MOST_WAITING / 2;
/// As many of one client.
const OF_CLIENT: usize = MOST_WAITING / 8;

/// The turns of all workers.
#[derive(Debug)]
pub(super) struct Turns {
    /// As many of one Ingress work at once: one place is for others, where there are several.
    share: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: usize,
    next: u64,
    waiting: usize,
    /// Ingresses of which someone waits, in the order of their turns.
    round: VecDeque<ObjectRef>,
    ingresses: HashMap<ObjectRef, Line>,
    /// How many of a client wait.
    clients: HashMap<IpAddr, usize>,
}

/// What is known of an Ingress of which someone waits or works.
#[derive(Debug, Default)]
struct Line {
    working: usize,
    waiting: usize,
    /// Clients of which someone waits, in the order of their turns.
    round: VecDeque<(IpAddr, VecDeque<Entry>)>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    turn: oneshot::Sender<()>,
}

/// Too many wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// A turn; over when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    ingress: ObjectRef,
}

impl Turns {
    pub(super) fn new(places: usize) -> Arc<Self> {
        let places = places.max(1);
        let state = Mutex::new(State { free: places, ..State::default() });
        Arc::new(Self { share: (places - 1).max(1), state })
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// Too many wait, of all, of this Ingress or of this client.
    pub(super) async fn take(self: &Arc<Self>, asking: &Asking) -> Result<Turn, TooMany> {
        let waiter = self.with(|state| {
            let working = state.ingresses.get(&asking.ingress).map_or(0, |line| line.working);
            if state.free > 0 && working < self.share {
                state.free -= 1;
                state.ingresses.entry(asking.ingress.clone()).or_default().working += 1;
                return Ok(None);
            }
            state.wait(asking).map(Some)
        })?;
        if let Some((number, turn)) = waiter {
            let turns = Arc::clone(self);
            let mut waiter = Waiter { turns, asking: asking.clone(), number, done: false };
            // The sender is dropped with nobody's turn only when its entry is.
            let _its_turn = turn.await;
            waiter.done = true;
        }
        Ok(Turn { turns: Arc::clone(self), ingress: asking.ingress.clone() })
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.with(|state| state.waiting)
    }

    fn end(&self, ingress: &ObjectRef) {
        self.with(|state| {
            if let Some(line) = state.ingresses.get_mut(ingress) {
                line.working = line.working.saturating_sub(1);
            }
            state.forget(ingress);
            state.free += 1;
            state.give(self.share);
        });
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.end(&self.ingress);
    }
}

/// One who waits. Whoever stops to leaves nothing behind, not even a turn that came too late.
struct Waiter {
    turns: Arc<Turns>,
    asking: Asking,
    number: u64,
    done: bool,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if !self.done && !self.turns.with(|state| state.leave(&self.asking, self.number)) {
            self.turns.end(&self.asking.ingress);
        }
    }
}

impl State {
    fn wait(&mut self, asking: &Asking) -> Result<(u64, oneshot::Receiver<()>), TooMany> {
        let Asking { ingress, client } = asking;
        let of_ingress = self.ingresses.get(ingress).map_or(0, |line| line.waiting);
        let of_client = self.clients.get(client).copied().unwrap_or(0);
        if self.waiting >= MOST_WAITING || of_ingress >= OF_INGRESS || of_client >= OF_CLIENT {
            return Err(TooMany);
        }
        let (turn, its_turn) = oneshot::channel();
        let number = self.next;
        self.next += 1;
        self.waiting += 1;
        *self.clients.entry(*client).or_default() += 1;
        let line = self.ingresses.entry(ingress.clone()).or_default();
        if line.waiting == 0 {
            self.round.push_back(ingress.clone());
        }
        line.waiting += 1;
        let entry = Entry { number, turn };
        match line.round.iter_mut().find(|(own, _)| own == client) {
            Some((_, entries)) => entries.push_back(entry),
            None => line.round.push_back((*client, VecDeque::from([entry]))),
        }
        Ok((number, its_turn))
    }

    /// Gives free places to those whose turn it is.
    fn give(&mut self, share: usize) {
        while self.free > 0 {
            let may = |ingress: &ObjectRef| {
                self.ingresses.get(ingress).is_some_and(|line| line.working < share)
            };
            let Some(place) = self.round.iter().position(may) else { return };
            let Some(ingress) = self.round.remove(place) else { return };
            let Some(line) = self.ingresses.get_mut(&ingress) else { return };
            let Some((client, mut entries)) = line.round.pop_front() else { return };
            let Some(entry) = entries.pop_front() else { return };
            if !entries.is_empty() {
                line.round.push_back((client, entries));
            }
            line.working += 1;
            self.free -= 1;
            self.left(&ingress, client);
            if self.ingresses.get(&ingress).is_some_and(|line| line.waiting > 0) {
                self.round.push_back(ingress);
            }
            // Who waits for it holds the other end until its entry is gone.
            let _sent = entry.turn.send(());
        }
    }

    /// Removes one who waits. False: it is its turn already.
    fn leave(&mut self, asking: &Asking, number: u64) -> bool {
        let Asking { ingress, client } = asking;
        let Some(line) = self.ingresses.get_mut(ingress) else { return false };
        let Some(place) = line.round.iter().position(|(own, _)| own == client) else {
            return false;
        };
        let Some((_, entries)) = line.round.get_mut(place) else { return false };
        let Some(own) = entries.iter().position(|entry| entry.number == number) else {
            return false;
        };
        entries.remove(own);
        if entries.is_empty() {
            line.round.remove(place);
        }
        self.left(ingress, *client);
        let line = self.ingresses.get(ingress);
        if line.is_none_or(|line| line.waiting == 0) {
            self.round.retain(|own| own != ingress);
        }
        self.forget(ingress);
        true
    }

    /// One less waits.
    fn left(&mut self, ingress: &ObjectRef, client: IpAddr) {
        self.waiting = self.waiting.saturating_sub(1);
        if let Some(line) = self.ingresses.get_mut(ingress) {
            line.waiting = line.waiting.saturating_sub(1);
        }
        if let Some(own) = self.clients.get_mut(&client) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.clients.remove(&client);
            }
        }
    }

    /// Nothing is kept of an Ingress of which nobody waits or works.
    fn forget(&mut self, ingress: &ObjectRef) {
        let idle = |line: &Line| line.waiting == 0 && line.working == 0;
        if self.ingresses.get(ingress).is_some_and(idle) {
            self.ingresses.remove(ingress);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    use proptest::prelude::*;

    use super::*;

    type Taking = Pin<Box<dyn Future<Output = Result<Turn, TooMany>>>>;

    fn asking(ingress: &str, client: u8) -> Asking {
        let ingress = ObjectRef::new("Ingress", "web", ingress);
        Asking::new(&ingress, [192, 0, 2, client].into())
    }

    fn take(turns: &Arc<Turns>, ingress: &str, client: u8) -> Taking {
        let (turns, asking) = (Arc::clone(turns), asking(ingress, client));
        Box::pin(async move { turns.take(&asking).await })
    }

    fn poll(taking: &mut Taking) -> Poll<Result<Turn, TooMany>> {
        taking.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    fn now(taking: &mut Taking) -> Option<Turn> {
        match poll(taking) {
            Poll::Ready(turn) => Some(turn.expect("there is room")),
            Poll::Pending => None,
        }
    }

    #[test]
    fn ingresses_and_their_clients_take_turns() {
        let turns = Turns::new(1);
        let mut working = now(&mut take(&turns, "a", 1));
        assert!(working.is_some());
        let asked = [("a", 1), ("a", 1), ("a", 2), ("b", 3), ("b", 3), ("c", 1)];
        let mut waiting: Vec<_> =
            asked.map(|(ingress, client)| take(&turns, ingress, client)).into();
        assert!(waiting.iter_mut().all(|taking| now(taking).is_none()));
        let mut order = Vec::new();
        while order.len() < asked.len() {
            drop(working.take());
            let mut came =
                waiting.iter_mut().enumerate().filter(|(place, _)| !order.contains(place));
            let (place, turn) =
                came.find_map(|(place, taking)| Some((place, now(taking)?))).expect("a turn");
            order.push(place);
            working = Some(turn);
        }
        assert_eq!(order, [0, 3, 5, 2, 4, 1]);
    }

    #[test]
    fn one_place_is_for_others() {
        let turns = Turns::new(3);
        let mine: Vec<_> = (0..2).map(|_| now(&mut take(&turns, "a", 1)).expect("free")).collect();
        let mut third = take(&turns, "a", 1);
        assert!(now(&mut third).is_none());
        let other = now(&mut take(&turns, "b", 2));
        assert!(other.is_some());
        drop(other);
        assert!(now(&mut third).is_none(), "it is still for others");
        drop(mine);
        assert!(now(&mut third).is_some());
    }

    #[test]
    fn only_so_many_wait() {
        let turns = Turns::new(1);
        let _working = now(&mut take(&turns, "a", 0));
        let mut all: Vec<Taking> = Vec::new();
        let mut wait = |ingress: &str, client: u8| {
            let mut taking = take(&turns, ingress, client);
            let turned_away = matches!(poll(&mut taking), Poll::Ready(Err(TooMany)));
            all.push(taking);
            !turned_away
        };
        assert_eq!((0..100).filter(|_| wait("a", 1)).count(), OF_CLIENT);
        assert!(!wait("b", 1), "elsewhere too");
        assert_eq!((0..=255).filter(|client| wait("a", *client)).count(), OF_INGRESS - OF_CLIENT);
        assert_eq!(
            (0..=255).filter(|client| wait("b", *client)).count(),
            OF_INGRESS - 1,
            "but for the client who has waited most"
        );
        assert!(wait("c", 7));
        assert!(!wait("d", 8));
        drop(all);
        assert_eq!(turns.waiting(), 0);
    }

    proptest! {
        #[test]
        fn whoever_leaves_when_leaves_nothing_behind(
            steps in prop::collection::vec((0_u8..4, 0_u8..3, 0_u8..3, 0_usize..8), 1..60),
            places in 1_usize..4,
        ) {
            let turns = Turns::new(places);
            let mut waiting: Vec<Taking> = Vec::new();
            let mut working: Vec<Turn> = Vec::new();
            for (step, ingress, client, place) in steps {
                match step {
                    0 | 1 => waiting.push(take(&turns, &ingress.to_string(), client)),
                    2 if place < waiting.len() => drop(waiting.swap_remove(place)),
                    3 if place < working.len() => drop(working.swap_remove(place)),
                    _ => {}
                }
                let mut still = Vec::new();
                for mut taking in waiting.drain(..) {
                    // Some are not looked at when their turn comes.
                    match if place % 2 == 0 { poll(&mut taking) } else { Poll::Pending } {
                        Poll::Ready(turn) => working.extend(turn.ok()),
                        Poll::Pending => still.push(taking),
                    }
                }
                waiting = still;
                prop_assert!(working.len() <= places);
            }
            drop(waiting);
            drop(working);
            turns.with(|state| {
                assert_eq!((state.free, state.waiting), (places, 0));
                assert!(state.round.is_empty() && state.ingresses.is_empty());
                assert!(state.clients.is_empty());
            });
        }
    }
}
