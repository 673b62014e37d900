//! The Secrets and ConfigMaps that something names: fetched when they are named, and again when their
//! version is another one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use tokio::{
    sync::{Semaphore, mpsc::UnboundedSender},
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};

use super::{
    backoff::Backoff,
    gather::Message,
    kind::Decoded,
    session::{Failure, Session},
};
use crate::{source::SourceState, translate::Reference};

/// Objects that are fetched at once.
const AT_ONCE: usize = 16;
/// An object that cannot be had for so long (the API server cannot decrypt this one Secret, or does not
/// come to an end with it) keeps the changes of all Ingresses waiting no longer, if the API server
/// answers at all. One that answers nothing has no changes.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of a fetch.
pub(super) enum Fetched {
    Is(Decoded),
    Missing,
    /// It may be there; it is tried again.
    Failed(String),
}

/// All that is named.
pub(super) struct Referenced {
    items: BTreeMap<Reference, Item>,
    tickets: u64,
    fetcher: Fetcher,
}

#[derive(Default)]
struct Item {
    /// What is held; `None`: nothing.
    version: Option<Arc<str>>,
    /// It is known what there is, as far as it can be.
    answered: bool,
    fetch: Option<Fetch>,
    /// It changed while it was fetched.
    again: bool,
}

/// A fetch under way; ends with this.
struct Fetch {
    ticket: u64,
    task: AbortHandle,
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Fetcher {
    session: Arc<Session>,
    state: Arc<SourceState>,
    messages: UnboundedSender<Message>,
    places: Arc<Semaphore>,
    pace: Arc<Pace>,
}

/// How fast objects are fetched: whoever may write Ingresses can have any number of them named, and
/// named anew, and the API server is everybody's.
struct Pace {
    /// When the next one is due if none may come early; it runs ahead of the clock by what was fetched
    /// of late.
    due: Mutex<Instant>,
}

/// So many objects are fetched as fast as the API server answers, at a start above all; then one in
/// each of these.
const AT_ONCE_EARLY: u32 = 5000;
const EACH: Duration = Duration::from_millis(5);

impl Pace {
    fn new() -> Self {
        Self { due: Mutex::new(Instant::now()) }
    }

    /// When the next fetch may begin.
    fn next(&self, now: Instant) -> Instant {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        *due = (*due).max(now) + EACH;
        // Before that much is fetched, at once.
        due.checked_sub(EACH * AT_ONCE_EARLY).map_or(now, |early| early.max(now))
    }
}

impl Referenced {
    pub(super) fn new(
        session: Arc<Session>,
        state: Arc<SourceState>,
        messages: UnboundedSender<Message>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let pace = Arc::new(Pace::new());
        let fetcher = Fetcher { session, state, messages, places, pace };
        Self { items: BTreeMap::new(), tickets: 0, fetcher }
    }

    /// These are named now, and no others. Those that `is_watched` refuses cannot be had.
    pub(super) fn want(
        &mut self,
        wanted: &BTreeSet<Reference>,
        is_watched: impl Fn(&Reference) -> bool,
    ) {
        let state = &self.fetcher.state;
        self.items.retain(|reference, _| {
            let is_wanted = wanted.contains(reference);
            if !is_wanted {
                state.works(&reference.object().to_string());
            }
            is_wanted
        });
        for reference in wanted {
            if self.items.contains_key(reference) {
                continue;
            }
            self.items.insert(reference.clone(), Item::default());
            if is_watched(reference) {
                self.fetch(reference);
            } else if let Some(item) = self.items.get_mut(reference) {
                item.answered = true;
            }
        }
    }

    pub(super) fn contains(&self, reference: &Reference) -> bool {
        self.items.contains_key(reference)
    }

    /// Those that nothing is known of yet.
    pub(super) fn outstanding(&self) -> impl Iterator<Item = &Reference> {
        self.items.iter().filter(|(_, item)| !item.answered).map(|(reference, _)| reference)
    }

    /// Everything that is named was asked for and answered.
    pub(super) fn is_complete(&self) -> bool {
        self.outstanding().next().is_none()
    }

    /// These were asked for and answered, or are not asked for any more.
    pub(super) fn is_complete_for(&self, named: &BTreeSet<Reference>) -> bool {
        self.outstanding().all(|reference| !named.contains(reference))
    }

    /// The object of this name has this version now; `None`: there is none. Asks for it where that is
    /// news: what it is, only its own answer says.
    pub(super) fn touched(&mut self, reference: &Reference, version: Option<&str>) {
        let Some(item) = self.items.get_mut(reference) else { return };
        if item.fetch.is_some() {
            item.again = true;
        } else if item.version.as_deref() != version {
            self.fetch(reference);
        }
    }

    /// All objects in a scope were listed.
    pub(super) fn listed(
        &mut self,
        is_in: impl Fn(&Reference) -> bool,
        versions: &BTreeMap<Reference, Option<Arc<str>>>,
    ) {
        let all: Vec<_> = self.items.keys().filter(|one| is_in(one)).cloned().collect();
        for reference in all {
            let version = versions.get(&reference).cloned().flatten();
            self.touched(&reference, version.as_deref());
        }
    }

    /// Takes the outcome of a fetch; `None` if it is out of date.
    pub(super) fn fetched(
        &mut self,
        reference: &Reference,
        ticket: u64,
        fetched: Fetched,
    ) -> Option<Fetched> {
        let item = self.items.get_mut(reference)?;
        if item.fetch.as_ref().is_none_or(|fetch| fetch.ticket != ticket) {
            return None;
        }
        item.answered = true;
        match &fetched {
            Fetched::Is(decoded) => item.version.clone_from(&decoded.version),
            Fetched::Missing => item.version = None,
            Fetched::Failed(_) => return Some(fetched),
        }
        item.fetch = None;
        if std::mem::take(&mut item.again) {
            self.fetch(reference);
        }
        Some(fetched)
    }

    fn fetch(&mut self, reference: &Reference) {
        self.tickets += 1;
        let ticket = self.tickets;
        let task = self.fetcher.clone().fetch(reference.clone(), ticket);
        let task = tokio::spawn(task).abort_handle();
        if let Some(item) = self.items.get_mut(reference) {
            item.fetch = Some(Fetch { ticket, task });
        }
    }
}

impl Fetcher {
    /// Asks until there is an answer.
    async fn fetch(self, reference: Reference, ticket: u64) {
        let what = reference.object().to_string();
        let tell = |fetched| {
            // Nobody listens any more: the run ends.
            let _ended = self.messages.send(Message::Fetched(reference.clone(), ticket, fetched));
        };
        let mut backoff = Backoff::default();
        let mut failing_since = None;
        loop {
            let failure = match self.find(&reference).await {
                Ok(found) => {
                    self.state.works(&what);
                    return tell(found.map_or(Fetched::Missing, Fetched::Is));
                }
                Err(failure) => failure,
            };
            if self.state.fails(&what, &failure.to_string()) {
                tracing::warn!("{what}: {failure}; what is known of it goes on being served");
            }
            let since = *failing_since.get_or_insert_with(Instant::now);
            let is_final = match &failure {
                Failure::Forbidden(_) => true,
                Failure::Refused(_) => since.elapsed() >= PATIENCE,
                _ => since.elapsed() >= PATIENCE && self.session.has_answered_since(since),
            };
            if is_final {
                tell(Fetched::Failed(failure.to_string()));
            }
            sleep(backoff.next(failure.after())).await;
        }
    }

    async fn find(&self, reference: &Reference) -> Result<Option<Decoded>, Failure> {
        let _place = self.places.acquire().await;
        sleep_until(self.pace.next(Instant::now())).await;
        let key = reference.key();
        match reference {
            Reference::Secret(_) => self.session.find::<Secret>(&key.namespace, &key.name).await,
            Reference::ConfigMap(_) => {
                self.session.find::<ConfigMap>(&key.namespace, &key.name).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_are_fetched_at_once_and_then_one_after_the_other() {
        let pace = Pace::new();
        let start = Instant::now();
        for _ in 0..AT_ONCE_EARLY {
            assert_eq!(pace.next(start), start);
        }
        assert_eq!(pace.next(start), start + EACH);
        assert_eq!(pace.next(start), start + EACH * 2);
        let later = start + EACH * (AT_ONCE_EARLY + 2);
        assert_eq!(pace.next(later), later, "it has recovered");
    }
}
