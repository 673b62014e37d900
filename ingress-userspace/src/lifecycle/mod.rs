//! Wires the modules together and owns the phases: start, ready, draining, stopped. Everything that
//! can fail at start fails before the first connection is taken.

mod control;
mod diagnostics;
mod readiness;
mod roster;
mod steering;
mod writing;

pub use readiness::Readiness;
pub use roster::RosterError;
pub(crate) use steering::Steering;
pub use steering::{SteeringError, l4_exit_code};

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    admin::{self, Board},
    config::Config,
    firewall::Library,
    kubernetes::WebhookError,
    proxy::{self, Bound, ListenError, Phase, Ports, counters::Registry, limits},
    resolve,
    snapshot::{Publisher, Reader},
    source::{Source, SourceError, Stopper, Watched},
    stores::Stores,
    tls::{Lasting, TlsError},
    translate,
};
use control::Control;
use roster::Roster;
use steering::Fixed;
use writing::Writing;

/// Why the agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The manifests.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A port.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The cryptography library.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The file of nodes.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// The kernel tier.
    #[error(transparent)]
    Steering(#[from] SteeringError),
    /// The admission webhook.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// A thread.
    #[error("cannot start a thread")]
    Thread(#[from] io::Error),
    /// It was told to stop before it had begun to serve.
    #[error("stopped before it had started")]
    Stopped,
}

impl StartError {
    /// The process's exit code: 2 for what the user wrote, 3 for what this machine cannot do, 0 where
    /// nothing is wrong.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Stopped => 0,
            Self::Source(SourceError::Unreadable { .. } | SourceError::Client(_))
            | Self::Roster(_) => 2,
            Self::Steering(error) => error.exit_code(),
            Self::Webhook(error) if error.is_of_the_user() => 2,
            _ => 3,
        }
    }
}

/// Where a running agent listens; ports are the real ones also where 0 was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// HTTP.
    pub http: Vec<SocketAddr>,
    /// HTTPS.
    pub https: Vec<SocketAddr>,
    /// Health, metrics, state.
    pub admin: Vec<SocketAddr>,
    /// The page for browsers.
    pub page: Option<SocketAddr>,
}

/// What a running agent is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Finish what is there, up to the deadline. A second one is [`Stop::Now`].
    Gracefully,
    /// Drop everything.
    Now,
}

/// A running agent.
pub struct Agent {
    addresses: Addresses,
    stop: mpsc::Sender<Stop>,
    main: thread::JoinHandle<bool>,
}

/// Tells an agent to stop, from any thread.
#[derive(Clone)]
pub struct StopHandle(mpsc::Sender<Stop>);

impl StopHandle {
    /// Does not wait. Telling an agent that has ended does nothing.
    pub fn stop(&self, stop: Stop) {
        let _ended = self.0.send(stop);
    }
}

/// What an agent hears signals by, made before it so that one that comes while it starts is heard.
pub struct Stops {
    sender: mpsc::Sender<Stop>,
    receiver: mpsc::Receiver<Stop>,
}

impl Default for Stops {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { sender, receiver }
    }
}

impl Stops {
    /// What it is told by.
    #[must_use]
    pub fn handle(&self) -> StopHandle {
        StopHandle(self.sender.clone())
    }
}

impl Agent {
    /// Starts an agent: reads the manifests or the cluster's objects, opens the ports, serves. Returns
    /// when it is ready; an API server that cannot be reached is waited for.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, Stops::default())
    }

    /// The same, ending when `stops` is told to while it waits for the first objects.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start_with(config: Config, stops: Stops) -> Result<Self, StartError> {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let publisher = Publisher::default();
        let reader = publisher.reader();
        let source = Source::open(&config.source, Watched::of(&config))?;
        let roster = config.l4.members.as_deref().map(Roster::open).transpose()?;
        let tls = Lasting::new()?;
        let segment = steering::largest_segment(&config.l4);
        let bound = Bound::open(&config.listen, config.workers, segment)?;
        let (http, https) = bound.addresses();
        let admin_sockets =
            proxy::open_single(config.admin.address, config.admin.port, "--healthz-port")?;
        let admin = admin_sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        let page = config.admin.page.and_then(admin::open_page);
        let page_address = page.as_ref().and_then(|page| page.local_addr().ok());
        let addresses = Addresses { http, https, admin, page: page_address };
        let steering = Steering::default();
        let readiness = Arc::new(Readiness::default());
        readiness.listening();
        let registry = Registry::new(config.workers, &config.metrics);
        let zones = limits::Registry::new();
        let (writer, access_log) = proxy::access_log::start(config.standard_output)?;
        let (phase, phases) = watch::channel(Phase::Serve);
        let (exporter, spans) = proxy::spans::start(phases.clone())?;
        let taps = proxy::taps::Taps::default();
        let inquiries = proxy::inquiry::Inquiries::new(config.workers);
        let board = Arc::new(Board {
            reader: reader.clone(),
            registry: Arc::clone(&registry),
            zones: Arc::clone(&zones),
            log_lines: access_log.lines(),
            spans: spans.spans(),
            readiness: Arc::clone(&readiness),
            addresses: addresses.clone(),
            diagnostics: Default::default(),
            ledger: Arc::default(),
            stores: Mutex::default(),
            source: source.state(),
            election: config.writes.election.as_ref().map(|election| election.id.clone()),
            source_name: config.source.to_string(),
            steering: steering.clone(),
            health_path: config.admin.health_path.clone(),
            controller_class: config.translate.controller_class.clone(),
            annotations_prefix: config.translate.annotations_prefix.clone(),
            configmap: config.translate.configmap.clone(),
            levels: config.levels.clone(),
            controller_namespace: config.writes.identity.namespace.clone().unwrap_or_default(),
            controller_pod: config
                .writes
                .identity
                .name
                .clone()
                .unwrap_or_else(proxy::access_log::hostname),
            is_cluster: matches!(config.source, crate::config::Source::Cluster(_)),
            metrics: config.metrics.clone(),
            hashes: Default::default(),
            pages: Default::default(),
            history: Default::default(),
            started: Instant::now(),
            api: Default::default(),
            workers: inquiries.clone(),
            taps: taps.clone(),
        });
        let own = [&addresses.http, &addresses.https, &addresses.admin];
        let ports = Ports::new(
            config.listen.addresses.clone(),
            config.workers,
            segment,
            own.into_iter().flatten().chain(&addresses.page).map(SocketAddr::port).collect(),
            phases.clone(),
        );
        let open_ports = ports.follow();
        let socket = config.admin.socket.as_deref().and_then(admin::Socket::open);
        let admin = admin::start(Arc::clone(&board), admin_sockets, socket, phases.clone())?;
        let page = page
            .map(|page| admin::start_page(Arc::clone(&board), page, phases.clone()))
            .transpose()?;

        let stopper = source.stopper();
        let (wanted, asking, told) = resolve::channel();
        let firewall = library(&config.modsecurity_rules);
        let control = Arc::new(Mutex::new(Control::new(
            translate::Options { firewall, ..config.translate.clone() },
            tls,
            publisher,
            Arc::clone(&board),
            (steering.clone(), Fixed::new(&config, &addresses)),
            wanted,
            ports,
        )));
        let (leaving, left) = mpsc::channel();
        let mut threads = Vec::new();
        if let Some((roster, members)) = roster {
            let held = || control.lock().unwrap_or_else(PoisonError::into_inner);
            held().named(Ok(members));
            let weak = Arc::downgrade(&control);
            threads.push(roster.follow(left, move |members| {
                if let Some(control) = weak.upgrade() {
                    control.lock().unwrap_or_else(PoisonError::into_inner).named(members);
                }
            })?);
        }
        let mut writing = Writing::prepare(&config, &control, &board.ledger)?;
        // The source's thread keeps the control, and with it the resolver, for as long as it runs.
        let weak = Arc::downgrade(&control);
        let (settled, known) = mpsc::channel();
        let settle = settled.clone();
        let resolver = resolve::start(config.names.clone(), told, move |names| {
            if let Some(control) = weak.upgrade() {
                let mut control = control.lock().unwrap_or_else(PoisonError::into_inner);
                control.resolved(names);
                let _started = settle.send(control.knows_names());
            }
        })?;
        let (first, published) = mpsc::channel();
        let source = thread::Builder::new().name("control".to_owned()).spawn(move || {
            source.run(move |update| {
                let stores = Arc::clone(&update.stores);
                let mut control = control.lock().unwrap_or_else(PoisonError::into_inner);
                control.apply(update);
                let _started = settled.send(control.knows_names());
                let _started = first.send(stores);
            });
        })?;
        // Connections wait in the kernel until there is something to route them by; packets are
        // steered here only when there is somebody to take them.
        let Some(stores) = first_of(&published, &stops.receiver) else {
            phase.send_replace(Phase::Stop);
            stopper.stop();
            return Err(StartError::Stopped);
        };
        await_names(&known);
        let shared = proxy::Shared { registry, zones, asking, access_log, spans, inquiries, taps };
        let workers = bound.start(&reader, &shared, &config.timeouts, &phases, &open_ports)?;
        if let Err(error) = steering.start(&config, &addresses, &stores) {
            phase.send_replace(Phase::Stop);
            stopper.stop();
            let _error_first = workers.join();
            return Err(error.into());
        }
        readiness.steering();
        writing.start(&config)?;
        tracing::info!(
            http = ?addresses.http,
            https = ?addresses.https,
            admin = ?addresses.admin,
            page = addresses.page.map(tracing::field::display),
            workers = config.workers,
            "serving {}",
            config.source
        );

        let Stops { sender: stop, receiver: stops } = stops;
        threads.extend([source, resolver, admin]);
        threads.extend(page);
        let parts = Parts {
            steering,
            leaving,
            phase,
            workers,
            readiness,
            stopper,
            writing,
            threads,
            access_log: writer,
            exporter,
        };
        let main = thread::Builder::new()
            .name("lifecycle".to_owned())
            .spawn(move || parts.run(&config.shutdown, &config.l4, &reader, &stops))?;
        Ok(Self { addresses, stop, main })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What stops it.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(self.stop.clone())
    }

    /// Waits for its end. False: a part of it ended by a bug.
    #[must_use]
    pub fn wait(self) -> bool {
        self.main.join().unwrap_or(false)
    }
}

/// The first objects that were published; `None`: told to stop before there were any. A source that
/// ends without any does so by a bug, which is found soon.
fn first_of(
    published: &mpsc::Receiver<Arc<Stores>>,
    stops: &mpsc::Receiver<Stop>,
) -> Option<Arc<Stores>> {
    const LOOK: Duration = Duration::from_millis(50);
    loop {
        match published.recv_timeout(LOOK) {
            Ok(stores) => return Some(stores),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Some(Arc::default()),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if stops.try_recv().is_ok() {
                    return None;
                }
            }
        }
    }
}

/// How long the start waits for the names of Services outside the cluster: what is asked for such a
/// Service before the DNS has answered is answered 503.
const NAMES: Duration = Duration::from_secs(2);

/// Waits until all names are known, but no longer than name servers may take for one answer: a DNS
/// that is down keeps nobody else from being served.
fn await_names(known: &mpsc::Receiver<bool>) {
    let end = Instant::now() + NAMES;
    loop {
        match known.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(true) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
            Ok(false) => {}
            Err(mpsc::RecvTimeoutError::Timeout) => {
                tracing::warn!("serving without all names of Services of type ExternalName");
                return;
            }
        }
    }
}

/// The rules of the firewall. Without the Core Rule Set nothing is served that asks for it, and
/// everything else is.
fn library(directory: &Path) -> Library {
    let started = Instant::now();
    match Library::load(directory) {
        Ok(library) => {
            let elapsed = started.elapsed();
            tracing::info!(?elapsed, "the Core Rule Set of {} is proved", directory.display());
            library
        }
        Err(error) => {
            if directory.exists() {
                tracing::error!("--modsecurity-rules {}: {error}", directory.display());
            }
            let why = format!("--modsecurity-rules {}: {error}", directory.display());
            Library::without_core_rules(&why)
        }
    }
}

/// What runs, for the thread that ends it.
struct Parts {
    steering: Steering,
    /// Ends, when it is dropped, who reads the file of nodes.
    leaving: mpsc::Sender<()>,
    phase: watch::Sender<Phase>,
    workers: proxy::Running,
    readiness: Arc<Readiness>,
    stopper: Stopper,
    writing: Writing,
    threads: Vec<thread::JoinHandle<()>>,
    access_log: proxy::access_log::Writer,
    exporter: proxy::spans::Exporter,
}

impl Parts {
    /// Serves until told to stop, then goes through the phases of the end.
    fn run(
        self,
        shutdown: &crate::config::Shutdown,
        l4: &crate::config::L4,
        reader: &Reader,
        stops: &mpsc::Receiver<Stop>,
    ) -> bool {
        let (first, mut sound) = match self.serve(stops) {
            Some(stop) => (stop, true),
            None => (Stop::Gracefully, false),
        };
        self.readiness.stopping();
        self.writing.stop();
        let mut now = first == Stop::Now;
        // What other nodes send here until they know is taken: a listener that closes with
        // connections in its queue resets them.
        let grace = self.steering.drain().map_or(shutdown.grace, |all| shutdown.grace.max(all));
        if !now && !grace.is_zero() {
            tracing::info!(seconds = grace.as_secs_f32(), "unready; still accepting");
            now = stops.recv_timeout(grace).is_ok();
        }
        if !now {
            let drain = reader.current().model.settings.drain.unwrap_or(shutdown.drain);
            tracing::info!(seconds = drain.as_secs(), "draining");
            self.phase.send_replace(Phase::Drain);
            now = self.drained(drain, stops) == Drained::Not;
        }
        // The admin port answers until now: unready is an answer too.
        self.phase.send_replace(Phase::Stop);
        self.stopper.stop();
        drop(self.leaving);
        sound &= self.workers.join();
        self.steering.leave(l4);
        sound &= self.writing.join(now);
        for thread in self.threads {
            sound &= thread.join().is_ok();
        }
        self.access_log.finish();
        self.exporter.finish();
        tracing::info!(drained = !now, "stopped");
        sound
    }

    /// Waits for the first signal. `None`: a thread ended before, which is a bug and a reason to
    /// stop: a worker's share of the connections would never be served, a change never be seen.
    fn serve(&self, stops: &mpsc::Receiver<Stop>) -> Option<Stop> {
        const LOOK: Duration = Duration::from_secs(1);
        loop {
            match stops.recv_timeout(LOOK) {
                Ok(stop) => return Some(stop),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let ended = self.threads.iter().any(thread::JoinHandle::is_finished);
                    if ended || self.workers.any_finished() || self.writing.any_finished() {
                        tracing::error!("a thread ended by a bug; stopping");
                        return None;
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return Some(Stop::Now),
            }
        }
    }

    fn drained(&self, deadline: Duration, stops: &mpsc::Receiver<Stop>) -> Drained {
        const LOOK: Duration = Duration::from_millis(20);
        let end = Instant::now() + deadline;
        loop {
            if self.workers.is_finished() {
                return Drained::All;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || stops.recv_timeout(left.min(LOOK)).is_ok() {
                return Drained::Not;
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    All,
    Not,
}
