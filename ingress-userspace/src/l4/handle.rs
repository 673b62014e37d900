//! The kernel tier at work: how it starts, and what is known of it from outside its thread.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use ingress_common::{Counters, NodeId, Reason};
use tokio::sync::mpsc;

use super::{
    KernelMaps, L4Error, MapStore as _, Mode, Options, Services, announce,
    attach::{self, Loaded},
    command::discard,
    counters::Reader,
    detach::is_link,
    diff::diff,
    directory::{directory, entries, prepare, versions},
    events::{Kept, Sampler},
    link::Kind,
    lock::{self, Lock},
    log, loopback, machine,
    members::Members,
    netlink,
    plan::State,
    reach::Reach,
    record::Event,
    settings, stack,
    worker::{Update, Worker},
};
use crate::model::Member;

/// A running kernel tier. Dropping it ends the probes and leaves everything pinned: packets go on
/// being steered as they were.
pub struct Handle {
    updates: mpsc::UnboundedSender<Update>,
    reader: Reader,
    status: Arc<Mutex<Status>>,
    events: Kept,
}

/// What the kernel tier is doing.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// How the program is attached to each interface.
    pub interfaces: BTreeMap<String, Kind>,
    /// The nodes, by name.
    pub nodes: BTreeMap<String, NodeStatus>,
    /// How many of the table's rows each node comes first in, by name.
    pub rows: BTreeMap<String, u32>,
    /// The node that announces each virtual address on the link, as far as this node can see; empty
    /// without `--announce`.
    pub announcers: BTreeMap<IpAddr, String>,
    /// The last failure to write a map, if it has not been made good since.
    pub error: Option<String>,
}

/// What the kernel tier knows of a node.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// Its number in rows and tunnel headers.
    pub id: NodeId,
    /// Where tunnel packets are sent to.
    pub address: IpAddr,
    /// What it is planned as.
    pub state: State,
    /// It is this node, or its next hop on the link is known.
    pub reachable: bool,
    /// Its share of new connections, relative to the others'.
    pub weight: u32,
    /// Whether packets as long as the link takes get through the tunnel; `None`: not known.
    pub full_size: Option<bool>,
}

/// Loads and attaches the programs, puts the virtual addresses on the loopback interface, and
/// starts to steer to the members. Packets that a program pinned by an earlier agent steers go on
/// being steered meanwhile: nothing is taken out of its maps before what replaces it is known.
///
/// `None` if the mode is off, or there is no interface.
///
/// # Errors
/// Whatever keeps the kernel tier from working; see [`L4Error`]. Nothing is left behind then,
/// except what an earlier agent had pinned.
pub fn start(options: Options) -> Result<Option<Handle>, L4Error> {
    if options.mode == Mode::Off || options.interfaces.is_empty() {
        return Ok(None);
    }
    whole(&options, Begun::run).map(Some)
}

/// As [`start`], without an agent: what is pinned steers to what it was told to begin with.
///
/// # Errors
/// As [`start`].
pub(super) fn load(options: &Options) -> Result<(), L4Error> {
    whole(options, Begun::rest)
}

/// Begins, and goes on with `then`; or takes back what was begun.
fn whole<T>(
    options: &Options,
    then: impl FnOnce(Begun) -> Result<T, L4Error>,
) -> Result<T, L4Error> {
    machine::check(options.announce)?;
    for interface in &options.interfaces {
        attach::index_of(interface)?;
    }
    stack::check(&options.interfaces)?;
    if !options.settings {
        machine::warn_about_settings(&options.interfaces);
    }
    machine::warn_about_surroundings(&options.interfaces, &options.services.addresses);
    prepare(&options.bpf_dir, &options.bpf_dir)?;
    let lock = lock::take(&options.bpf_dir)?;
    let before = versions(&options.bpf_dir);
    let own = directory(&options.bpf_dir);
    begin(options, lock).and_then(then).inspect_err(|_failure| {
        // A link of an older version that has a program of ours runs on our maps already: without
        // them it would find no other program. Both stay, for whoever tries again.
        let taken_over = !before.is_empty() && entries(&own).iter().any(|pin| is_link(pin));
        let anew = !before.contains(&own) && !taken_over;
        // Programs without an agent, and addresses that nobody serves, would take packets.
        if anew && let Err(error) = discard(&options.bpf_dir) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "what was begun cannot be taken back");
        }
    })
}

/// All that works, but the thread that keeps it so.
struct Begun {
    worker: Worker,
    runtime: tokio::runtime::Runtime,
    reader: Reader,
    events: Kept,
}

impl Begun {
    /// Starts the thread.
    fn run(self) -> Result<Handle, L4Error> {
        let Self { mut worker, runtime, reader, events } = self;
        let status = Arc::clone(&worker.status);
        let (sender, updates) = mpsc::unbounded_channel();
        thread::Builder::new()
            .name("l4".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    if let Some(log) = log::follow(&mut worker.loaded.object) {
                        tokio::spawn(log);
                    }
                    worker.run(updates).await;
                });
            })
            .map_err(L4Error::Thread)?;
        Ok(Handle { updates: sender, reader, status, events })
    }

    /// Leaves it without one: nobody is there whose silence would mean anything.
    fn rest(mut self) -> Result<(), L4Error> {
        self.worker.maps.rest()
    }
}

fn begin(options: &Options, lock: Lock) -> Result<Begun, L4Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(L4Error::Thread)?;

    let mut loaded = Loaded::new(&options.bpf_dir, options.mode)?;
    let mut maps = KernelMaps::new(&mut loaded.object)?;
    let reader = Reader::open(&options.bpf_dir)?;
    let have = maps.read()?;
    let mut members = Members::new(options);
    members.found(&have.peers);
    members.recall(maps.named(&have.peers));
    members.set(options.members.clone());
    let (netlink, reach) = runtime.block_on(async {
        let netlink = netlink::connect()?;
        let addresses = &options.services.addresses;
        loopback::ensure(&netlink, &directory(&options.bpf_dir), addresses).await?;
        let mut reach = Reach::new(netlink.clone(), have.nodes.values().copied());
        reach.acquaint(&members).await;
        Ok::<_, L4Error>((netlink, reach))
    })?;

    // The table is in place before the first packet meets the program.
    let want = members.desired(reach.nodes());
    for operation in diff(&have, &want) {
        maps.apply(&operation)?;
    }
    if options.settings {
        for interface in &options.interfaces {
            settings::make(&directory(&options.bpf_dir), interface);
        }
    }
    let mut interfaces = BTreeMap::new();
    let mut attached = BTreeMap::new();
    for interface in &options.interfaces {
        attached.insert(interface.clone(), attach::index_of(interface)?);
        let mode = loaded.attach(interface)?;
        tracing::info!(interface, mode = mode.name(), "steering");
        interfaces.insert(interface.clone(), mode);
    }
    let detached = loaded.detach_others(&options.interfaces);
    if let Err(error) = runtime.block_on(detached.settled(&netlink)) {
        // It goes on with the maps as they are now, which does no harm.
        tracing::warn!(error = &error as &dyn std::error::Error, "an interface is not let go of");
    }

    let status = Arc::new(Mutex::new(Status { interfaces, ..Status::default() }));
    let events = Kept::default();
    let sampler = Sampler::start(&options.bpf_dir, Arc::clone(&events))
        .inspect_err(|error| {
            // Packets go where they should all the same.
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, "flows and drops are not sampled");
        })
        .ok();
    let announced = options.announce.then(|| {
        // The sockets are the runtime's.
        let _inside = runtime.enter();
        announce::start(options.interfaces.clone())
    });
    let mut worker = Worker {
        members,
        maps,
        have: want,
        reach,
        status,
        netlink,
        directory: directory(&options.bpf_dir),
        unaddressed: false,
        refused: Vec::new(),
        settings: options.settings,
        announced,
        announced_by: BTreeMap::new(),
        attached,
        loaded,
        sampler,
        _lock: lock,
    };
    worker.publish_status();
    Ok(Begun { worker, runtime, reader, events })
}

impl Handle {
    /// Names the nodes. Takes effect soon; never blocks.
    pub fn update(&self, members: &[Member]) {
        self.send(Update::Members(members.to_vec()));
    }

    /// Names what is served. Takes effect soon; never blocks.
    pub fn serve(&self, services: Services) {
        self.send(Update::Services(services));
    }

    /// Sends new connections to other nodes from now on. Takes effect soon; never blocks.
    pub fn drain(&self) {
        self.send(Update::Drain);
    }

    fn send(&self, update: Update) {
        // The worker is gone only if it panicked, which it has reported.
        let _ = self.updates.send(update);
    }

    /// Packets and bytes by reason, summed over all CPUs, since the maps were made.
    ///
    /// # Errors
    /// [`L4Error::Map`].
    pub fn counters(&self) -> Result<Vec<(Reason, Counters)>, L4Error> {
        self.reader.totals()
    }

    /// The counters in full, by service and by node.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Samples of flows that began and of drops, the last ones, in the order of time.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// What the kernel tier is doing now.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
