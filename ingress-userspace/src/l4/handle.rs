//! The kernel tier at work: one thread of its own that probes peers, resolves neighbours, and keeps
//! the maps as the members want them.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use aya::maps::{MapData, PerCpuArray};
use ingress_common::{
    Address, Config, Counters, Node, NodeId, Peer, Port, Reason, Row, VipKey, VipValue,
};
use tokio::{sync::mpsc, task::AbortHandle, time::MissedTickBehavior};

use super::{
    Desired, KernelMaps, L4Error, MapStore as _, Mode, Options,
    apply::{cannot, open},
    attach::{self, Loaded, directory},
    command::discard,
    diff::{Table, diff},
    health::{self, Health, Probe, with_panic_threshold},
    log, loopback, machine, neighbor,
    plan::{Candidate, State, node_ids, rows},
};
use crate::model::Member;

/// The replica group of all virtual services: there is one until services can choose their nodes.
const GROUP: u16 = 0;
/// IP protocol number of TCP.
const TCP: u8 = 6;
/// Between two looks at the neighbour table.
const REFRESH: Duration = Duration::from_secs(1);
/// How long the start waits until all peers can be reached. One that is down must not hold it up.
const ACQUAINTANCE: Duration = Duration::from_secs(1);

/// A running kernel tier. Dropping it ends the probes and leaves everything pinned: packets go on
/// being steered as they were.
pub struct Handle {
    members: mpsc::UnboundedSender<Vec<Member>>,
    counters: PerCpuArray<MapData, Counters>,
    status: Arc<Mutex<Status>>,
}

/// What the kernel tier is doing.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// How the program is attached to each interface.
    pub interfaces: BTreeMap<String, attach::Mode>,
    /// The nodes, by name.
    pub nodes: BTreeMap<String, NodeStatus>,
    /// How many of the table's rows each node comes first in, by name.
    pub rows: BTreeMap<String, u32>,
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
}

/// Loads and attaches the programs, puts the virtual addresses on the loopback interface, and
/// starts to steer to the members. Packets that a program pinned by an earlier agent steers go on
/// being steered meanwhile: nothing is taken out of its maps before what replaces it is known.
///
/// `None` if the mode is off, or there is no virtual address or no interface.
///
/// # Errors
/// Whatever keeps the kernel tier from working; see [`L4Error`]. Nothing is left behind then,
/// except what an earlier agent had pinned.
pub fn start(options: Options) -> Result<Option<Handle>, L4Error> {
    if options.mode == Mode::Off || options.vips.is_empty() || options.interfaces.is_empty() {
        return Ok(None);
    }
    machine::check()?;
    for interface in &options.interfaces {
        attach::index_of(interface)?;
    }
    machine::warn_about_settings(&options.interfaces);
    let anew = !directory(&options.bpf_dir).exists();
    begin(&options).map(Some).inspect_err(|_failure| {
        // Programs without an agent, and addresses that nobody serves, would take packets.
        if anew && let Err(error) = discard(&options.bpf_dir) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "what was begun cannot be taken back");
        }
    })
}

fn begin(options: &Options) -> Result<Handle, L4Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(L4Error::Thread)?;

    let mut loaded = Loaded::new(&options.bpf_dir)?;
    let mut maps = KernelMaps::new(&mut loaded.object)?;
    let counters = open(&mut loaded.object, "REASONS")?;
    let mut have = maps.read()?;
    let mut plan = Plan::new(options);
    plan.set_members(options.members.clone());
    let mut reachable: HashMap<IpAddr, Node> =
        have.nodes.values().map(|node| (node.address.into(), *node)).collect();
    let netlink = runtime.block_on(async {
        let netlink = connect()?;
        loopback::ensure(&netlink, &directory(&options.bpf_dir), &options.vips).await?;
        acquaint(&netlink, &plan, &mut reachable).await;
        Ok::<_, L4Error>(netlink)
    })?;

    // The table is in place before the first packet meets the program.
    let want = plan.desired(&reachable);
    for operation in diff(&have, &want) {
        maps.apply(&operation)?;
    }
    have = want;
    let mut interfaces = BTreeMap::new();
    let mut attached = BTreeMap::new();
    for interface in &options.interfaces {
        attached.insert(interface.clone(), attach::index_of(interface)?);
        let mode = loaded.attach(interface)?;
        tracing::info!(interface, mode = mode.name(), "steering");
        interfaces.insert(interface.clone(), mode);
    }
    loaded.detach_others(&options.interfaces);

    let log = log::follow(&mut loaded.object);
    let status = Arc::new(Mutex::new(Status { interfaces, ..Status::default() }));
    let (members, updates) = mpsc::unbounded_channel();
    let worker = Worker {
        plan,
        maps,
        have,
        netlink,
        reachable,
        status: Arc::clone(&status),
        probes: HashMap::new(),
        attached,
        loaded,
    };
    worker.publish_status();
    thread::Builder::new()
        .name("l4".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                if let Some(log) = log {
                    tokio::spawn(log);
                }
                worker.run(updates).await;
            });
        })
        .map_err(L4Error::Thread)?;
    Ok(Handle { members, counters, status })
}

impl Handle {
    /// Names the nodes. Takes effect soon; never blocks.
    pub fn update(&self, members: &[Member]) {
        // The worker is gone only if it panicked, which it has reported.
        let _ = self.members.send(members.to_vec());
    }

    /// Packets and bytes by reason, summed over all CPUs, since the maps were made.
    ///
    /// # Errors
    /// [`L4Error::Map`].
    pub fn counters(&self) -> Result<Vec<(Reason, Counters)>, L4Error> {
        sum(&self.counters)
    }

    /// What the kernel tier is doing now.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The counters of all reasons.
pub(super) fn sum(
    map: &PerCpuArray<MapData, Counters>,
) -> Result<Vec<(Reason, Counters)>, L4Error> {
    Reason::ALL
        .iter()
        .map(|reason| {
            let values = map.get(&(*reason as u32), 0).map_err(cannot("REASONS", "read"))?;
            let total = values.iter().fold(Counters::default(), |total, one| Counters {
                packets: total.packets + one.packets,
                bytes: total.bytes + one.bytes,
            });
            Ok((*reason, total))
        })
        .collect()
}

/// A netlink connection that the current runtime drives.
pub(super) fn connect() -> Result<rtnetlink::Handle, L4Error> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(L4Error::Netlink)?;
    tokio::spawn(connection);
    Ok(handle)
}

/// Members and health, and what the maps should hold for them.
pub(super) struct Plan {
    own_name: String,
    tunnel_port: u16,
    health_port: u16,
    key: ingress_common::HashKey,
    vips: HashMap<VipKey, VipValue>,
    members: Vec<Member>,
    health: BTreeMap<String, Health>,
    table: Option<(Vec<Candidate>, Arc<Vec<Row>>)>,
    /// How many of the rows each node comes first in. Counted once, not each second.
    heads: HashMap<NodeId, u32>,
}

impl Plan {
    pub(super) fn new(options: &Options) -> Self {
        let mut vips = HashMap::new();
        for (number, address) in (0u16..).zip(&options.vips) {
            for port in &options.ports {
                let key = VipKey::new(Address::from(*address), Port::new(*port), TCP);
                vips.insert(key, VipValue { vip_id: number, group: GROUP, flags: 0 });
            }
        }
        Self {
            own_name: options.node_name.clone(),
            tunnel_port: options.tunnel_port,
            health_port: options.health_port,
            key: options.key,
            vips,
            members: Vec::new(),
            health: BTreeMap::new(),
            table: None,
            heads: HashMap::new(),
        }
    }

    fn set_members(&mut self, mut members: Vec<Member>) {
        members.sort_unstable();
        members.dedup_by(|a, b| a.name == b.name);
        if members.iter().all(|member| *member.name != *self.own_name) && !members.is_empty() {
            tracing::warn!(
                node = self.own_name,
                "this node is not among the members, which would give its address: it forwards \
                 nothing, and what comes in here does not reach its owner; --node-name must be the \
                 name of its Node object"
            );
        }
        self.health.retain(|name, _| members.iter().any(|member| *member.name == **name));
        // Those named first were there before this agent, and all nodes count them as ready.
        if !self.members.is_empty() {
            for member in &members {
                let known = self.members.iter().any(|other| other.name == member.name);
                if !known && *member.name != *self.own_name {
                    self.health.insert(member.name.to_string(), Health::newcomer());
                }
            }
        }
        self.members = members;
    }

    /// This node's address, which its peers know it by.
    fn own_address(&self) -> Option<IpAddr> {
        let own = self.members.iter().find(|member| *member.name == *self.own_name);
        own.map(|member| member.address)
    }

    fn peers(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| *member.name != *self.own_name)
    }

    fn candidates(&self) -> Vec<Candidate> {
        if self.members.is_empty() {
            // Nobody said who is there: this node serves alone.
            let name = self.own_name.clone();
            return vec![Candidate { name, weight: 1, state: State::Ready }];
        }
        let observed = self
            .members
            .iter()
            .map(|member| {
                let health = self.health.get(&*member.name).copied().unwrap_or_default();
                (member.name.to_string(), health.state())
            })
            .collect();
        let states = with_panic_threshold(&observed);
        self.members
            .iter()
            .map(|member| {
                let listed = if member.ready { State::Ready } else { State::Draining };
                let seen = states.get(&*member.name).copied().unwrap_or(State::Ready);
                Candidate { name: member.name.to_string(), weight: 1, state: listed.max(seen) }
            })
            .collect()
    }

    fn ids(&self) -> BTreeMap<String, NodeId> {
        let own = self.members.is_empty().then_some(self.own_name.as_str());
        node_ids(self.members.iter().map(|member| &*member.name).chain(own))
    }

    /// What the maps should hold, with the peers that are reachable so.
    fn desired(&mut self, reachable: &HashMap<IpAddr, Node>) -> Desired {
        let candidates = self.candidates();
        let ids = self.ids();
        let rows = match &self.table {
            // Rows cost milliseconds, and this is called whenever a neighbour changes.
            Some((known, rows)) if *known == candidates => Arc::clone(rows),
            _ => {
                let rows = Arc::new(rows(&candidates, &ids));
                self.heads.clear();
                for row in rows.iter() {
                    *self.heads.entry(row.nodes[0]).or_default() += 1;
                }
                self.table = Some((candidates, Arc::clone(&rows)));
                rows
            }
        };
        let own = ids.get(&self.own_name).copied().unwrap_or(NodeId::NONE);
        let mut nodes = HashMap::new();
        let mut peers = HashMap::new();
        for member in self.peers() {
            let Some(id) = ids.get(&*member.name) else { continue };
            if let Some(node) = reachable.get(&member.address) {
                nodes.insert(*id, *node);
            }
            if let Some(local) = self.own_address() {
                let peer = Peer { local: local.into(), node: *id, reserved: [0; 2] };
                peers.insert(Address::from(member.address), peer);
            }
        }
        let tunnel_port = Port::new(self.tunnel_port);
        Desired {
            config: Config { node: own, tunnel_port, reserved: 0 },
            nodes,
            peers,
            vips: self.vips.clone(),
            tables: HashMap::from([(GROUP, Table { key: self.key, rows })]),
        }
    }
}

struct Worker {
    plan: Plan,
    maps: KernelMaps,
    have: Desired,
    netlink: rtnetlink::Handle,
    /// How each peer was reached when it last could be. An entry that the kernel has forgotten or
    /// is asking about anew is a better guess than none.
    reachable: HashMap<IpAddr, Node>,
    status: Arc<Mutex<Status>>,
    probes: HashMap<String, (IpAddr, AbortHandle)>,
    /// The number of each interface that the program was attached to, or could not be.
    attached: BTreeMap<String, u32>,
    /// Programs without a pin, such as those for rare paths, live as long as the object.
    loaded: Loaded,
}

struct Seen {
    name: String,
    probe: Probe,
}

impl Worker {
    /// Until the handle is dropped.
    async fn run(mut self, mut updates: mpsc::UnboundedReceiver<Vec<Member>>) {
        let (seen, mut probes) = mpsc::unbounded_channel();
        self.watch_peers(&seen);
        let mut refresh = tokio::time::interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                members = updates.recv() => match members {
                    Some(members) => {
                        self.plan.set_members(members);
                        self.watch_peers(&seen);
                    }
                    None => return,
                },
                Some(Seen { name, probe }) = probes.recv() => {
                    let Some(health) = self.observe(&name, probe) else { continue };
                    tracing::info!(node = name, state = ?health, "a node's health changed");
                }
                _ = refresh.tick() => self.follow_interfaces(),
            }
            self.reconcile().await;
        }
    }

    /// An interface that was made anew, as by a driver's reload, has lost its program.
    fn follow_interfaces(&mut self) {
        for (interface, attached) in &mut self.attached {
            // One that is away may come back.
            let Ok(now) = attach::index_of(interface) else { continue };
            if std::mem::replace(attached, now) == now {
                continue;
            }
            match self.loaded.attach_anew(interface) {
                Ok(mode) => {
                    tracing::info!(interface, mode = mode.name(), "steering anew");
                    let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
                    status.interfaces.insert(interface.clone(), mode);
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(interface, error, "the new interface is not steered");
                    let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
                    status.interfaces.remove(interface);
                }
            }
        }
    }

    /// The new state, if the probe changed it.
    fn observe(&mut self, name: &str, probe: Probe) -> Option<State> {
        if !self.probes.contains_key(name) {
            // Of a node that left while the probe was under way.
            return None;
        }
        let health = self.plan.health.entry(name.to_owned()).or_default();
        health.observe(probe).then(|| health.state())
    }

    /// One task per peer; none for those that left or moved.
    fn watch_peers(&mut self, seen: &mpsc::UnboundedSender<Seen>) {
        let wanted: HashMap<String, IpAddr> =
            self.plan.peers().map(|member| (member.name.to_string(), member.address)).collect();
        self.probes.retain(|name, (address, task)| {
            let stays = wanted.get(name) == Some(address);
            if !stays {
                task.abort();
            }
            stays
        });
        for (name, address) in wanted {
            if self.probes.contains_key(&name) {
                continue;
            }
            let task = tokio::spawn(watch(
                name.clone(),
                SocketAddr::new(address, self.plan.health_port),
                seen.clone(),
            ));
            self.probes.insert(name, (address, task.abort_handle()));
        }
    }

    /// Brings the maps to where the plan wants them.
    async fn reconcile(&mut self) {
        refresh(&self.netlink, &self.plan, &mut self.reachable).await;
        let want = self.plan.desired(&self.reachable);
        let mut error = None;
        for operation in diff(&self.have, &want) {
            if let Err(failure) = self.maps.apply(&operation) {
                tracing::error!(error = &failure as &dyn std::error::Error, "a map is not written");
                error = Some(failure.to_string());
            }
        }
        if error.is_none() {
            self.have = want;
        } else if let Ok(have) = self.maps.read() {
            // Some operations succeeded: the next round starts from what is there, and publishes
            // the table anew.
            self.have = have;
        }
        self.status.lock().unwrap_or_else(PoisonError::into_inner).error = error;
        self.publish_status();
    }

    fn publish_status(&self) {
        let ids = self.plan.ids();
        let states: BTreeMap<String, State> =
            self.plan.candidates().into_iter().map(|node| (node.name, node.state)).collect();
        let nodes = self
            .plan
            .members
            .iter()
            .filter_map(|member| {
                let own = *member.name == *self.plan.own_name;
                let status = NodeStatus {
                    id: *ids.get(&*member.name)?,
                    address: member.address,
                    state: states.get(&*member.name).copied().unwrap_or(State::Ready),
                    reachable: own || self.reachable.contains_key(&member.address),
                };
                Some((member.name.to_string(), status))
            })
            .collect();
        let heads = &self.plan.heads;
        let rows = ids
            .iter()
            .map(|(name, id)| (name.clone(), heads.get(id).copied().unwrap_or_default()))
            .collect();
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.nodes = nodes;
        status.rows = rows;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        for (_, task) in self.probes.values() {
            task.abort();
        }
    }
}

/// Looks up how the plan's peers can be reached now, and forgets who is no peer any more.
async fn refresh(netlink: &rtnetlink::Handle, plan: &Plan, reachable: &mut HashMap<IpAddr, Node>) {
    let peers: Vec<IpAddr> = plan.peers().map(|member| member.address).collect();
    reachable.retain(|address, _| peers.contains(address));
    if let Some(own) = plan.own_address() {
        reachable.extend(neighbor::resolve(netlink, own, peers).await);
    }
}

/// Gets to know the peers on the link before the first packet has to be sent to one: a probe makes
/// the kernel ask for its address.
async fn acquaint(netlink: &rtnetlink::Handle, plan: &Plan, reachable: &mut HashMap<IpAddr, Node>) {
    let mut probes: tokio::task::JoinSet<()> = plan
        .peers()
        .map(|member| SocketAddr::new(member.address, plan.health_port))
        .map(|peer| async move {
            health::probe(peer).await;
        })
        .collect();
    let deadline = tokio::time::Instant::now() + ACQUAINTANCE;
    loop {
        refresh(netlink, plan, reachable).await;
        if plan.peers().all(|member| reachable.contains_key(&member.address)) {
            return;
        }
        // A probe that ended is the sign that its peer's address is known, or will not be.
        match tokio::time::timeout_at(deadline, probes.join_next()).await {
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
    refresh(netlink, plan, reachable).await;
}

/// Probes a peer until it is told to stop.
async fn watch(name: String, peer: SocketAddr, seen: mpsc::UnboundedSender<Seen>) {
    let mut ticks = tokio::time::interval(health::INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let probe = health::probe(peer).await;
        if seen.send(Seen { name: name.clone(), probe }).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, last: u8) -> Member {
        Member { name: name.into(), address: IpAddr::from([10, 0, 0, last]), ready: true }
    }

    #[test]
    fn a_node_that_joins_gets_connections_when_it_has_answered() {
        let mut plan = Plan::new(&Options {
            mode: Mode::Auto,
            interfaces: Vec::new(),
            vips: Vec::new(),
            ports: Vec::new(),
            node_name: "n1".to_owned(),
            bpf_dir: "/nowhere".into(),
            tunnel_port: 1,
            health_port: 1,
            key: ingress_common::HashKey([1, 2]),
            members: Vec::new(),
        });
        let states = |plan: &Plan| -> Vec<State> {
            plan.candidates().iter().map(|candidate| candidate.state).collect()
        };
        plan.set_members(vec![member("n1", 1), member("n2", 2)]);
        assert_eq!(states(&plan), [State::Ready; 2]);
        // Its Node object is there before its agent is.
        let three = vec![member("n1", 1), member("n2", 2), member("n3", 3)];
        plan.set_members(three.clone());
        assert_eq!(states(&plan), [State::Ready, State::Ready, State::Suspect]);
        let health = plan.health.get_mut("n3").expect("it is observed");
        while !health.observe(Probe::Ready) {}
        plan.set_members(three);
        assert_eq!(states(&plan), [State::Ready; 3]);
    }
}
