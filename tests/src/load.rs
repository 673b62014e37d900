use std::{
    net::SocketAddr,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::task::JoinSet;

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
    /// it returns. Every request that came to an end is in the list, in the order of the ends.
    pub fn run<T>(
        &self,
        namespace: &Namespace,
        meanwhile: impl FnOnce(&Progress) -> T,
    ) -> Result<(T, Vec<Event>)> {
        let stop = AtomicBool::new(false);
        let progress = Progress::default();
        let (outcome, clients) = std::thread::scope(|scope| {
            let clients = scope.spawn(|| namespace.block_on(|| self.clients(&stop, &progress)));
            // A panic of `meanwhile` must end the clients too, for the scope waits for them.
            let _stopper = Stopper(&stop);
            let outcome = meanwhile(&progress);
            stop.store(true, Ordering::Relaxed);
            (outcome, clients.join())
        });
        clients.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let events = progress.events.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((outcome, events))
    }

    async fn clients(&self, stop: &AtomicBool, progress: &Progress) {
        let local = tokio::task::LocalSet::new();
        let mut clients = JoinSet::new();
        let (log, logged) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..self.kept + self.anew {
            let client = Client { load: self.clone(), keep: number < self.kept, log: log.clone() };
            clients.spawn_local_on(client.run(), &local);
        }
        drop(log);
        local.run_until(collect(logged, stop, progress)).await;
        clients.abort_all();
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

    fn add(&self, event: Event) {
        self.lock().push(event);
        self.more.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Stopper<'s>(&'s AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Takes events until `stop`. The clients run on the same thread and produce events all the time,
/// so that the flag is looked at often.
async fn collect(
    mut logged: tokio::sync::mpsc::UnboundedReceiver<Event>,
    stop: &AtomicBool,
    progress: &Progress,
) {
    while !stop.load(Ordering::Relaxed) {
        let next = tokio::time::timeout(Duration::from_millis(50), logged.recv()).await;
        if let Ok(Some(event)) = next {
            progress.add(event);
        }
    }
}

struct Client {
    load: Load,
    keep: bool,
    log: tokio::sync::mpsc::UnboundedSender<Event>,
}

impl Client {
    async fn run(self) {
        let mut open: Option<(Connection, SocketAddr)> = None;
        loop {
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
                _ => self.request(open.take()).await,
            };
            let took = begun.elapsed();
            let outcome = outcome.map(|(connection, peer)| {
                // The server may have said that it was the last request.
                open = (self.keep && !connection.is_closing()).then_some((connection, peer));
                peer
            });
            let outcome = outcome.map_err(|error| format!("{error:#}"));
            if self.log.send(Event { begun, took, new, before, outcome }).is_err() {
                return;
            }
            tokio::time::sleep(self.load.pause).await;
        }
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
