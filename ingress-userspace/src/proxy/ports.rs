//! The ports of TCP and UDP services: opened and closed while the agent runs, by the thread that
//! publishes snapshots, and served by the workers. What a port leads to is not here but in the
//! snapshot, so that a change of a Service moves no socket.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, TcpListener, UdpSocket},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::{sync::watch, task::JoinHandle};

use super::{
    accept::{self, Door},
    listen, udp,
    worker::{Phase, Worker},
};
use crate::model::{Diagnostic, ObjectRef, Severity, Streams, Transport};

/// Names a port.
type Name = (Transport, u16);

/// The sockets of one worker at one port.
#[derive(Debug)]
enum Sockets {
    Tcp(Vec<TcpListener>),
    Udp(Vec<UdpSocket>),
}

/// An open port: one set of sockets for each worker, which takes it once. Whoever holds this may
/// have a socket open.
#[derive(Debug)]
pub(crate) struct Port(Vec<Mutex<Option<Sockets>>>);

/// All open ports.
pub(crate) type Open = Arc<BTreeMap<Name, Arc<Port>>>;

/// Opens and closes ports.
pub(crate) struct Ports {
    addresses: Vec<IpAddr>,
    workers: usize,
    segment: Option<u32>,
    /// Ports of the agent itself.
    reserved: Vec<u16>,
    /// Closed, but maybe not yet by all workers.
    closing: HashMap<Name, Weak<Port>>,
    open: watch::Sender<Open>,
    /// What the workers do: in any phase but the first they open no more ports.
    phase: watch::Receiver<Phase>,
}

impl Ports {
    /// None is open. `segment` as of [`listen::open`].
    pub(crate) fn new(
        addresses: Vec<IpAddr>,
        workers: usize,
        segment: Option<u32>,
        reserved: Vec<u16>,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        let open = watch::Sender::default();
        Self { addresses, workers, segment, reserved, closing: HashMap::new(), open, phase }
    }

    /// What the workers follow.
    pub(crate) fn follow(&self) -> watch::Receiver<Open> {
        self.open.subscribe()
    }

    /// Opens what is new and closes what is gone. A port that cannot be opened is a diagnostic, and
    /// is tried again with the next change. While draining nothing is opened, for nobody would serve
    /// it.
    pub(crate) fn update(&mut self, streams: &Streams) -> Vec<Diagnostic> {
        if !self.is_serving() {
            return Vec::new();
        }
        let tcp = streams.tcp.iter().map(|one| ((Transport::Tcp, one.port), &one.object));
        let udp = streams.udp.iter().map(|one| ((Transport::Udp, one.port), &one.object));
        let wanted: BTreeMap<Name, &ObjectRef> = tcp.chain(udp).collect();
        let before = Arc::clone(&self.open.borrow());
        let mut open = BTreeMap::new();
        let mut diagnostics = Vec::new();
        for (name, object) in &wanted {
            match before.get(name).map_or_else(|| self.open(*name), |port| Ok(Arc::clone(port))) {
                Ok(port) => {
                    open.insert(*name, port);
                }
                Err(why) => diagnostics.push(Diagnostic {
                    severity: Severity::Error,
                    object: (*object).clone(),
                    field: format!("data.{}", name.1),
                    message: format!("{why}; the port is closed"),
                }),
            }
        }
        self.closing.retain(|_, port| port.strong_count() > 0);
        for (name, port) in before.iter().filter(|(name, _)| !wanted.contains_key(*name)) {
            self.closing.insert(*name, Arc::downgrade(port));
        }
        if !open.keys().eq(before.keys()) {
            self.open.send_replace(Arc::new(open));
            // A worker that drains looks here once more. If one did so before, nobody has its share
            // of what is new: connections would wait there for the end of the process.
            if !self.is_serving() {
                self.open.send_replace(before);
            }
        }
        diagnostics
    }

    fn is_serving(&self) -> bool {
        *self.phase.borrow() == Phase::Serve
    }

    fn open(&self, name: Name) -> Result<Arc<Port>, String> {
        let (transport, port) = name;
        if transport == Transport::Tcp && self.reserved.contains(&port) {
            return Err("is a port of the agent itself".to_owned());
        }
        // A port that a worker has not closed yet is ours, and nobody else's meanwhile.
        let ours = self.closing.get(&name).is_some_and(|port| port.strong_count() > 0);
        let all = match transport {
            Transport::Tcp => {
                listen::open_tcp(&self.addresses, port, self.workers, self.segment, ours)
                    .map(|all| all.into_iter().map(Sockets::Tcp).collect::<Vec<_>>())
            }
            Transport::Udp => listen::open_udp(&self.addresses, port, self.workers, ours)
                .map(|all| all.into_iter().map(Sockets::Udp).collect()),
        };
        let all = all.map_err(|error| error.to_string())?;
        Ok(Arc::new(Port(all.into_iter().map(|own| Mutex::new(Some(own))).collect())))
    }
}

/// Serves a worker's share of the open ports until the phase says otherwise, then takes what waits
/// at them and closes them.
pub(super) async fn serve(
    worker: Rc<Worker>,
    index: usize,
    mut open: watch::Receiver<Open>,
    mut phase: watch::Receiver<Phase>,
) {
    let mut served: HashMap<Name, Served> = HashMap::new();
    loop {
        // Also when it begins to drain: what waits at a port that was opened just before is served,
        // and no socket stays open that nobody accepts from.
        let now = Arc::clone(&open.borrow_and_update());
        served.retain(|name, served| {
            let stays = now.get(name).is_some_and(|port| Arc::ptr_eq(port, &served.port));
            if !stays {
                served.end.send_replace(Phase::Drain);
            }
            stays
        });
        for (name, port) in &*now {
            if !served.contains_key(name)
                && let Some(one) = Served::start(&worker, index, *name, port)
            {
                served.insert(*name, one);
            }
        }
        drop(now);
        if *phase.borrow() != Phase::Serve {
            break;
        }
        tokio::select! {
            changed = open.changed() => {
                if changed.is_err() {
                    break;
                }
            }
            changed = phase.changed() => {
                if changed.is_err() {
                    break;
                }
            }
        }
    }
    // Whoever publishes is gone, or the worker drains.
    let _ended = phase.wait_for(|phase| *phase != Phase::Serve).await.is_ok();
    for one in served.values() {
        one.end.send_replace(Phase::Drain);
    }
    for task in served.into_values().flat_map(|one| one.tasks) {
        let _ended = task.await;
    }
}

/// A port that a worker serves.
struct Served {
    port: Arc<Port>,
    end: watch::Sender<Phase>,
    tasks: Vec<JoinHandle<()>>,
}

impl Served {
    fn start(worker: &Rc<Worker>, index: usize, name: Name, port: &Arc<Port>) -> Option<Self> {
        let sockets = port.0.get(index)?.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let (end, phase) = watch::channel(Phase::Serve);
        let mut tasks = Vec::new();
        match sockets {
            Sockets::Tcp(sockets) => {
                for socket in sockets {
                    // Holds the port until the socket is closed.
                    let (worker, phase, port) =
                        (Rc::clone(worker), phase.clone(), Arc::clone(port));
                    tasks.push(tokio::task::spawn_local(async move {
                        accept::run(worker, socket, Door::Service, phase).await;
                        drop(port);
                    }));
                }
            }
            Sockets::Udp(sockets) => {
                for socket in sockets {
                    let (worker, phase, held) =
                        (Rc::clone(worker), phase.clone(), Arc::clone(port));
                    tasks.push(tokio::task::spawn_local(async move {
                        udp::run(worker, socket, name.1, phase).await;
                        drop(held);
                    }));
                }
            }
        }
        Some(Self { port: Arc::clone(port), end, tasks })
    }
}
