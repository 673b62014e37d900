//! The Secrets and ConfigMaps that something names: fetched when they are named, and again when their
//! version is another one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use tokio::{
    sync::mpsc::UnboundedSender,
    task::AbortHandle,
    time::{Instant, sleep},
};

use super::{
    backoff::Backoff,
    gather::Message,
    kind::Decoded,
    session::{Failure, Session},
    turns::Turns,
};
use crate::{source::SourceState, translate::Reference};

/// What is named for so long, and not known yet, keeps nobody waiting but those that name it.
const LATE: Duration = Duration::from_secs(2);
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

struct Item {
    /// Since when it is named.
    since: Instant,
    /// What is held; `None`: nothing.
    version: Option<Arc<str>>,
    /// It is known what there is, as far as it can be.
    answered: bool,
    fetch: Option<Fetch>,
    /// It changed while it was fetched.
    again: bool,
}

impl Item {
    fn new() -> Self {
        Self { since: Instant::now(), version: None, answered: false, fetch: None, again: false }
    }

    fn is_late(&self) -> bool {
        self.since.elapsed() >= LATE
    }
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
    turns: Turns,
}

impl Referenced {
    pub(super) fn new(
        session: Arc<Session>,
        state: Arc<SourceState>,
        messages: UnboundedSender<Message>,
    ) -> Self {
        let fetcher = Fetcher { session, state, messages, turns: Turns::start() };
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
            self.items.insert(reference.clone(), Item::new());
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

    /// Those that nothing has been known of for [`LATE`].
    pub(super) fn late(&self) -> BTreeSet<Reference> {
        let late = self.items.iter().filter(|(_, item)| !item.answered && item.is_late());
        late.map(|(reference, _)| reference.clone()).collect()
    }

    /// When the next one will be late, if nothing is known of it until then.
    pub(super) fn late_next(&self) -> Option<Instant> {
        let waiting = self.items.values().filter(|item| !item.answered && !item.is_late());
        waiting.map(|item| item.since + LATE).min()
    }

    /// Of what is named, and is not late, nothing is outstanding.
    pub(super) fn is_complete_but(&self, late: &BTreeSet<Reference>) -> bool {
        self.outstanding().all(|reference| late.contains(reference))
    }

    /// The same of these; or they are not asked for any more.
    pub(super) fn is_complete_for(
        &self,
        named: &BTreeSet<Reference>,
        late: &BTreeSet<Reference>,
    ) -> bool {
        self.outstanding().all(|reference| !named.contains(reference) || late.contains(reference))
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
        let key = reference.key();
        let Some(_turn) = self.turns.next(&key.namespace).await else {
            return Err(Failure::Unreachable("nothing is fetched any more".to_owned()));
        };
        match reference {
            Reference::Secret(_) => self.session.find::<Secret>(&key.namespace, &key.name).await,
            Reference::ConfigMap(_) => {
                self.session.find::<ConfigMap>(&key.namespace, &key.name).await
            }
        }
    }
}
