//! What becomes of the objects of one kind: listed once, then watched for as long as it lasts.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::UnboundedSender,
    time::{Instant, sleep, timeout},
};

use super::{
    Scope,
    backoff::Backoff,
    gather::{FeedId, Message},
    kind::Kind,
    session::{Event, Failure, Session},
};
use crate::source::SourceState;

/// An API server ends a watch after so long, and something less, so that not all end at once.
const LASTING: Duration = Duration::from_secs(290);
const LESS: Duration = Duration::from_secs(60);
/// A watch without a sign of life is opened again. An API server sends a bookmark every minute.
const SILENCE: Duration = Duration::from_secs(150);
/// A watch that ends sooner did not work.
const SHORT: Duration = Duration::from_secs(1);

/// So often in a row must a right be refused to be taken as not given: an API server that just began
/// refuses everything for a moment.
const REFUSALS: u32 = 3;
/// Once another feed is answered again, it is tried within this.
const SOON: Duration = Duration::from_millis(500);

/// Follows a kind.
pub(super) struct Feed<K> {
    pub(super) id: FeedId,
    pub(super) scope: Scope,
    pub(super) session: Arc<Session>,
    pub(super) state: Arc<SourceState>,
    pub(super) messages: UnboundedSender<Message>,
    /// Where it is forbidden, all goes on as if there were none.
    pub(super) dispensable: bool,
    pub(super) of: PhantomData<fn() -> K>,
}

impl<K: Kind> Feed<K> {
    /// Runs until nobody listens.
    pub(super) async fn run(self, spread: Duration) {
        sleep(spread).await;
        let mut backoff = Backoff::default();
        let mut version = None;
        // Until it is listed for the first time.
        let mut refusals = Some(0);
        let mut odd = 0;
        // Whether nothing was heard of the API server when it was asked last.
        let mut unheard = false;
        while !self.messages.is_closed() {
            let failure = match &mut version {
                None => match self.session.list::<K>(self.scope.namespace()).await {
                    // Whether it lasts, the watch that follows shows: one list after the other would
                    // not be a way to go on.
                    Ok(listed) => {
                        self.works();
                        refusals = None;
                        version = Some(listed.version);
                        self.tell(Message::Listed(self.id, listed.objects));
                        continue;
                    }
                    Err(failure) => failure,
                },
                Some(version) => match self.watch(version, &mut backoff).await {
                    Ok(()) => continue,
                    Err(failure) => failure,
                },
            };
            // What the API server has forgotten, does not take for a version, or has nothing to say to
            // for a second time (it was restored from a copy, say) is listed anew.
            let is_odd = matches!(failure, Failure::Refused(_) | Failure::Silent);
            odd = if is_odd { odd + 1 } else { 0 };
            if failure == Failure::Expired || odd >= 2 {
                version = None;
            }
            match (&failure, &mut refusals) {
                (Failure::Forbidden(_), Some(refusals)) if self.dispensable => {
                    *refusals += 1;
                    if *refusals >= REFUSALS {
                        self.tell(Message::Dispensed(self.id, failure.to_string()));
                    }
                }
                _ => self.fails(&failure),
            }
            let wait = backoff.next(failure.after());
            let was_unheard = unheard;
            unheard = matches!(
                failure,
                Failure::Unreachable(_) | Failure::Unauthorized(_) | Failure::Silent
            );
            // Where one is answered again, all are, if only that it has forgotten what is asked for: none
            // need wait for half a minute more.
            let soon = wait.min(SOON).mul_f64(fastrand::f64());
            if unheard {
                tokio::select! {
                    () = sleep(wait) => {}
                    () = self.session.recovered.notified() => sleep(soon).await,
                }
            } else if was_unheard && failure == Failure::Expired {
                sleep(soon).await;
            } else {
                sleep(wait).await;
            }
        }
    }

    /// Follows the events; `version` becomes that of the last one. Ends as watches do, or fails.
    async fn watch(&self, version: &mut String, backoff: &mut Backoff) -> Result<(), Failure> {
        let start = Instant::now();
        let lasting = LASTING - LESS.mul_f64(fastrand::f64());
        let mut events = self.session.watch::<K>(self.scope.namespace(), version, lasting).await?;
        self.works();
        loop {
            let next = timeout(SILENCE, events.next::<K>()).await;
            let next = next.map_err(|_late| Failure::Silent)?;
            let Some((event, latest)) = next? else { break };
            backoff.reset();
            if let Some(latest) = latest.filter(|latest| !latest.is_empty()) {
                *version = latest;
            }
            match event {
                Event::Is(decoded) => self.tell(Message::Changed(decoded)),
                Event::Gone(decoded) => self.tell(Message::Gone(decoded.id)),
                Event::Bookmark => {}
            }
        }
        if start.elapsed() < SHORT {
            return Err(Failure::Unreachable("it ends every watch at once".to_owned()));
        }
        backoff.reset();
        Ok(())
    }

    fn tell(&self, message: Message) {
        // Nobody listens any more: the run ends.
        let _ended = self.messages.send(message);
    }

    fn works(&self) {
        let what = self.what();
        if self.state.works(&what) {
            tracing::info!("{what}: works again");
            self.session.recovered.notify_waiters();
        }
    }

    fn fails(&self, failure: &Failure) {
        let what = self.what();
        let (group, plural) = K::RULE;
        match failure {
            // As often as an API server forgets; the list that follows fails or does not.
            Failure::Expired => tracing::debug!("{what}: {failure}"),
            Failure::Forbidden(said) => {
                let why = format!(
                    "forbidden: {said}; the rule that is missing: apiGroups [{group:?}], resources \
                     [{plural:?}], verbs [\"list\", \"watch\"]"
                );
                self.failed(&what, &why);
            }
            _ => self.failed(&what, &failure.to_string()),
        }
    }

    fn failed(&self, what: &str, why: &str) {
        if self.state.fails(what, why) {
            tracing::warn!("{what}: {why}; what is known goes on being served");
        }
        self.tell(Message::Failed);
    }

    fn what(&self) -> String {
        match &self.scope {
            Scope::All => K::NAME.to_owned(),
            Scope::Namespace(name) => format!("{} in {name}", K::NAME),
        }
    }
}
