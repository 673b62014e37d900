//! Which replica writes: the one that holds a Lease.

mod candidate;

use std::time::Duration;

use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::{
    Api,
    api::{GetParams, PostParams},
};
use tokio::{sync::watch, time::Instant};

use self::candidate::{Candidate, Step};
use super::{
    account::Account,
    fault::{Fault, told},
    writes::Election,
};

/// Of the pause after a failure: 2 s become half a minute.
const MOST_DOUBLINGS: u32 = 4;

/// Whether this replica may write now. Asked before each write.
#[derive(Clone, Debug)]
pub(super) struct Leadership(watch::Receiver<Option<Term>>);

/// One stretch of leading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term {
    /// When it began: tells one from another.
    began: Instant,
    /// Unless it is renewed; `None`: for good, nobody else is there.
    until: Option<Instant>,
}

impl Leadership {
    /// Of a replica that asks nobody.
    pub(super) fn alone() -> Self {
        Self(watch::channel(Some(Term { began: Instant::now(), until: None })).1)
    }

    /// The term that is now; `None`: another leads, or nobody does.
    pub(super) fn term(&self) -> Option<Instant> {
        let term = (*self.0.borrow())?;
        term.until.is_none_or(|until| Instant::now() < until).then_some(term.began)
    }

    /// Waits until a term begins or ends. Never returns where nothing changes any more.
    pub(super) async fn changed(&mut self) {
        let before = self.0.borrow_and_update().map(|term| term.began);
        loop {
            if self.0.changed().await.is_err() {
                return std::future::pending().await;
            }
            if self.0.borrow_and_update().map(|term| term.began) != before {
                return;
            }
        }
    }
}

/// The election, for as long as it runs.
pub(super) struct Elections {
    account: Account,
    namespace: String,
    name: String,
    candidate: Candidate,
    term: watch::Sender<Option<Term>>,
    /// The Lease as we wrote it last: renewed without being read again.
    written: Option<Lease>,
    /// In a row.
    failures: u32,
    fault: Fault,
}

impl Elections {
    /// Not begun yet: [`Elections::run`].
    pub(super) fn new(
        account: Account,
        namespace: &str,
        pod: &str,
        election: &Election,
    ) -> (Self, Leadership) {
        let (term, leadership) = watch::channel(None);
        // A container that is started again is another candidate than the one before, of which nobody
        // knows that it is gone: the pod's name alone would let both lead.
        let identity = format!("{pod}_{:016x}", fastrand::u64(..));
        let elections = Self {
            account,
            namespace: namespace.to_owned(),
            name: election.id.clone(),
            candidate: Candidate::new(identity, election.ttl),
            term,
            written: None,
            failures: 0,
            fault: Fault::new("the leader's Lease"),
        };
        (elections, Leadership(leadership))
    }

    fn api(&self) -> Api<Lease> {
        Api::namespaced(self.account.client(), &self.namespace)
    }

    /// Stands for election until `stop` is true.
    pub(super) async fn run(&mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let pause = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                pause = self.turn() => pause,
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Lets the next one begin at once. Whoever has written until now has ended.
    pub(super) async fn release(&mut self) {
        self.term.send_replace(None);
        let released = async {
            // Read anew: it may have become ours while this was to end.
            let Some(lease) = self.api().get_opt(&self.name).await? else { return Ok(()) };
            match self.candidate.released(&lease, Timestamp::now()) {
                Some(lease) => {
                    self.api().replace(&self.name, &PostParams::default(), &lease).await?;
                    tracing::info!(lease = self.name, "released");
                    Ok::<_, kube::Error>(())
                }
                None => Ok(()),
            }
        };
        match tokio::time::timeout(self.candidate.renewal(), released).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!("cannot release the leader's Lease: {}", told(&error));
            }
            Err(_late) => tracing::warn!("cannot release the leader's Lease in time"),
        }
    }

    /// Looks at the Lease once; returns how long to wait for the next look.
    async fn turn(&mut self) -> Duration {
        let began = Instant::now();
        // A request that hangs must not take what is left of the term: the next one may get through.
        let limit = (self.candidate.hold() / 2).max(self.candidate.renewal());
        let outcome = tokio::time::timeout(limit, self.attempt()).await;
        let renewal = self.candidate.renewal();
        match outcome {
            Ok(Ok(None)) => {
                self.failures = 0;
                self.fault.gone();
                self.hold(began);
                renewal
            }
            Ok(Ok(Some(until))) => {
                self.failures = 0;
                self.fault.gone();
                self.end();
                let free = until.saturating_duration_since(Instant::now());
                let ttl = renewal * 5;
                // Not all at the same moment.
                let look = self.candidate.look().mul_f32(0.9 + 0.2 * fastrand::f32());
                look.min(free + ttl.mul_f32(0.05 * fastrand::f32()))
            }
            Ok(Err(error)) => {
                self.fault.told(&error);
                self.failed()
            }
            Err(_late) => {
                self.fault.said("the API server does not answer");
                self.failed()
            }
        }
    }

    /// Until it is tried again: soon by the one who leads, later and later by all the others. There
    /// may be a thousand of them, and an API server that has just come back.
    fn failed(&mut self) -> Duration {
        self.written = None;
        let leads = (*self.term.borrow())
            .is_some_and(|term| term.until.is_none_or(|until| Instant::now() < until));
        self.failures = if leads { 0 } else { (self.failures + 1).min(MOST_DOUBLINGS) };
        (self.candidate.renewal() * (1 << self.failures)).mul_f32(0.5 + fastrand::f32())
    }

    /// `None`: it is ours; else somebody else's, until then at least.
    async fn attempt(&mut self) -> kube::Result<Option<Instant>> {
        // Ours is not read before it is renewed. Others read what any replica of the API server
        // knows: who acts on an old answer writes against an old version, which fails.
        let found = match self.written.take() {
            Some(lease) => Some(lease),
            None => match self.api().get_with(&self.name, &GetParams::any()).await {
                Ok(lease) => Some(lease),
                Err(kube::Error::Api(status)) if status.code == 404 => None,
                Err(error) => return Err(error),
            },
        };
        let mut found = found;
        // A conflict: somebody was quicker. What is there now decides; it is asked once.
        for _again in 0..2 {
            let step =
                self.candidate.step(&self.name, found.as_ref(), Instant::now(), Timestamp::now());
            let lease = match step {
                Step::Wait(until) => return Ok(Some(until)),
                Step::Write(lease) => lease,
            };
            let parameters = PostParams::default();
            let written = match found.is_some() {
                true => self.api().replace(&self.name, &parameters, &lease).await,
                false => self.api().create(&parameters, &lease).await,
            };
            match written {
                Ok(lease) => {
                    self.written = Some(lease);
                    return Ok(None);
                }
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                    found = self.api().get_opt(&self.name).await?;
                }
                Err(error) => return Err(error),
            }
        }
        // Contended: look again soon.
        Ok(Some(Instant::now()))
    }

    fn hold(&mut self, began: Instant) {
        let until = Some(began + self.candidate.hold());
        let before = *self.term.borrow();
        let lasting = before.filter(|term| term.until.is_none_or(|until| Instant::now() < until));
        if lasting.is_none() {
            tracing::info!(lease = self.name, "leading: writing status and events");
        }
        let began = lasting.map_or(began, |term| term.began);
        self.term.send_replace(Some(Term { began, until }));
    }

    fn end(&mut self) {
        if self.term.send_replace(None).is_some() {
            tracing::info!(lease = self.name, "leading no more");
        }
    }
}
