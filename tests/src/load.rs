use std::{
    net::SocketAddr,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{client::Connection, namespace::Namespace};

/// Steady load on a virtual address: clients that keep their connection open, and clients that
/// connect anew for each request.
#[derive(Clone, Debug)]
pub struct Load {
    /// What the clients connect to.
    pub target: SocketAddr,
    /// The host that they ask for.
    pub host: &'static str,
    /// Clients that keep their connection until it breaks.
    pub kept: usize,
    /// Clients that connect anew for each request.
    pub anew: usize,
    /// The pause between two requests of a client.
    pub pause: Duration,
}

/// One request of a [`Load`].
#[derive(Clone, Debug)]
pub struct Event {
    /// The number of the client: those that keep their connection come first.
    pub client: usize,
    /// When it was begun; for one on a new connection, when connecting was begun.
    pub begun: Instant,
    /// How long it took, connecting included.
    pub took: Duration,
    /// It had a connection of its own, or was the first on one.
    pub new: bool,
    /// Where the request before on the same connection was answered.
    pub before: Option<SocketAddr>,
    /// The address that the pod saw as its peer, or what went wrong.
    pub outcome: Result<SocketAddr, String>,
}

/// Longer than a lost SYN and its first two retransmissions (RFC 6298: 1 s, then 2 s): a connection
/// that is that slow shows as slow, and one that gets nowhere as failed.
const LIMIT: Duration = Duration::from_secs(5);

impl Load {
    /// Runs the clients inside the namespace while `meanwhile` runs on this thread; ends them when
    /// it returns. Every request that was begun is in the list, in the order of the ends: what is
    /// pending then has [`LIMIT`] to come to an end, and has failed if it does not.
    pub fn run<T>(
        &self,
        namespace: &Namespace,
        meanwhile: impl FnOnce(&Progress) -> T,
    ) -> Result<(T, Vec<Event>)> {
        let (stop, stopped) = watch::channel(false);
        let progress = Progress::default();
        let (outcome, clients) = std::thread::scope(|scope| {
            let clients = scope.spawn(|| namespace.block_on(|| self.clients(stopped, &progress)));
            // A panic of `meanwhile` must end the clients too, for the scope waits for them.
            let stopper = Stopper(stop);
            let outcome = meanwhile(&progress);
            drop(stopper);
            (outcome, clients.join())
        });
        clients.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let events = progress.events.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((outcome, events))
    }

    async fn clients(&self, stopped: watch::Receiver<bool>, progress: &Progress) {
        let local = tokio::task::LocalSet::new();
        let mut clients = JoinSet::new();
        let (log, mut logged) = mpsc::unbounded_channel();
        for number in 0..self.kept + self.anew {
            let (load, stopped, log) = (self.clone(), stopped.clone(), log.clone());
            let client = Client { number, load, keep: number < self.kept, stopped, log };
            clients.spawn_local_on(client.run(), &local);
        }
        drop(log);
        // Ends with the last client.
        let collect = async {
            while let Some(event) = logged.recv().await {
                progress.add(event);
            }
        };
        local.run_until(collect).await;
    }
}

/// The requests so far.
#[derive(Debug, Default)]
pub struct Progress {
    events: Mutex<Vec<Event>>,
    more: Condvar,
}

impl Progress {
    /// Waits until as many more requests have succeeded.
    pub fn await_successes(&self, count: usize, limit: Duration) -> Result<()> {
        let successes = |events: &[Event]| events.iter().filter(|e| e.outcome.is_ok()).count();
        let events = self.lock();
        let wanted = successes(&events) + count;
        let (events, timeout) = self
            .more
            .wait_timeout_while(events, limit, |events| successes(events) < wanted)
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            let last = events.iter().rev().find_map(|event| event.outcome.as_ref().err());
            bail!(
                "{} of {wanted} successes after {limit:?}; last failure: {last:?}",
                successes(&events)
            );
        }
        Ok(())
    }

    /// Waits until each of so many clients has begun and ended `count` more requests with success.
    pub fn await_rounds(&self, clients: usize, count: usize, limit: Duration) -> Result<()> {
        let since = Instant::now();
        let events = self.lock();
        let first = events.len();
        let missing = |events: &[Event]| {
            let mut rounds = vec![0; clients];
            let later = events.iter().skip(first);
            for event in later.filter(|event| event.begun >= since && event.outcome.is_ok()) {
                if let Some(rounds) = rounds.get_mut(event.client) {
                    *rounds += 1;
                }
            }
            let missing = rounds.iter().enumerate().filter(|(_, rounds)| **rounds < count);
            missing.map(|(client, _)| client).collect::<Vec<_>>()
        };
        let (events, timeout) = self
            .more
            .wait_timeout_while(events, limit, |events| !missing(events).is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            let last = events.iter().rev().find_map(|event| event.outcome.as_ref().err());
            bail!(
                "clients {:?} have not had {count} successes after {limit:?}; last failure: {last:?}",
                missing(&events)
            );
        }
        Ok(())
    }

    /// Waits until so many of the requests begun from now on were answered by whoever `is_theirs`
    /// says.
    pub fn await_answers(
        &self,
        count: usize,
        limit: Duration,
        is_theirs: impl Fn(SocketAddr) -> bool,
    ) -> Result<()> {
        let since = Instant::now();
        let answers = |events: &[Event]| {
            let later = events.iter().filter(|event| event.begun >= since);
            later.filter(|event| event.outcome.as_ref().is_ok_and(|peer| is_theirs(*peer))).count()
        };
        let (events, timeout) = self
            .more
            .wait_timeout_while(self.lock(), limit, |events| answers(events) < count)
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            bail!("{} of {count} answers after {limit:?}", answers(&events));
        }
        Ok(())
    }

    fn add(&self, event: Event) {
        self.lock().push(event);
        self.more.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Stopper(watch::Sender<bool>);

impl Drop for Stopper {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

struct Client {
    number: usize,
    load: Load,
    keep: bool,
    stopped: watch::Receiver<bool>,
    log: mpsc::UnboundedSender<Event>,
}

impl Client {
    async fn run(self) {
        let mut open: Option<(Connection, SocketAddr)> = None;
        while !*self.stopped.borrow() {
            let begun = Instant::now();
            let before = open.as_ref().map(|(_, peer)| *peer);
            // Ended while nothing was asked: in good order, or it broke.
            let ended = open.as_ref().and_then(|(connection, _)| connection.end().cloned());
            if ended.is_some() {
                open = None;
            }
            let new = open.is_none() && !matches!(ended, Some(Err(_)));
            let outcome = match ended {
                Some(Err(error)) => Err(anyhow::anyhow!("while idle: {error}")),
                _ => {
                    // Nothing that hangs goes unseen because everything ends.
                    tokio::select! {
                        outcome = self.request(open.take()) => outcome,
                        () = self.given_up() => Err(anyhow::anyhow!("pending at the end")),
                    }
                }
            };
            let took = begun.elapsed();
            let outcome = outcome.map(|(connection, peer)| {
                // The server may have said that it was the last request.
                open = (self.keep && !connection.is_closing()).then_some((connection, peer));
                peer
            });
            let outcome = outcome.map_err(|error| format!("{error:#}"));
            let client = self.number;
            if self.log.send(Event { client, begun, took, new, before, outcome }).is_err() {
                return;
            }
            tokio::time::sleep(self.load.pause).await;
        }
    }

    /// When what is pending has had its time since the load was stopped.
    async fn given_up(&self) {
        // An error means that whoever stops is gone, which is the same.
        let _ = self.stopped.clone().wait_for(|stopped| *stopped).await;
        tokio::time::sleep(LIMIT).await;
    }

    async fn request(
        &self,
        open: Option<(Connection, SocketAddr)>,
    ) -> Result<(Connection, SocketAddr)> {
        let mut connection = match open {
            Some((connection, _)) => connection,
            None => Connection::open(self.load.target, None, LIMIT).await?,
        };
        let answer = connection.get(self.load.host, "/", LIMIT).await?;
        match answer.echo() {
            Some(echo) if answer.status == 200 => Ok((connection, echo.peer)),
            _ => anyhow::bail!("status {}", answer.status),
        }
    }
}
