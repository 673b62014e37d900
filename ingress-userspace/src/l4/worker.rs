//! The thread of the kernel tier: probes peers, follows neighbours and interfaces, and keeps the
//! maps as the members want them.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ingress_common::Address;
use rtnetlink::Handle as Netlink;
use tokio::{sync::mpsc, time::MissedTickBehavior};

use super::{
    Desired, KernelMaps, MapStore as _, Services, Status,
    announce::Announcing,
    attach::{self, Loaded},
    capture,
    diff::diff,
    events::Sampler,
    lock::Lock,
    loopback,
    members::Members,
    plan::State,
    reach::Reach,
    settings,
    watch::{Asked, Seen, Watches},
};
use crate::model::Member;

/// Between two looks at the neighbour table.
const REFRESH: Duration = Duration::from_secs(1);

/// Between two heartbeats; the programs take the agent for hung after two seconds without one.
const BEAT: Duration = Duration::from_millis(250);

/// What the rest of the agent tells the thread.
#[derive(Clone, Debug)]
pub(super) enum Update {
    /// The nodes.
    Members(Vec<Member>),
    /// What is served at the virtual addresses.
    Services(Services),
    /// No new connections for this node from now on.
    Drain,
}

/// All that the thread works with.
pub(super) struct Worker {
    pub(super) members: Members,
    pub(super) maps: KernelMaps,
    /// What the maps hold.
    pub(super) have: Desired,
    pub(super) reach: Reach,
    pub(super) status: Arc<Mutex<Status>>,
    pub(super) netlink: Netlink,
    /// Where the programs are pinned, and what was added to the loopback is remembered.
    pub(super) directory: PathBuf,
    /// The loopback interface may have other virtual addresses than it should.
    pub(super) unaddressed: bool,
    /// The virtual addresses that could not be added when that was tried last.
    pub(super) refused: Vec<IpAddr>,
    /// Settings of the network stack are made.
    pub(super) settings: bool,
    /// What is announced on the link; `None` where nothing is.
    pub(super) announced: Option<Announcing>,
    /// The nodes as they were when that was said last.
    pub(super) announced_by: BTreeMap<String, State>,
    /// The number of each interface that the program was attached to, or could not be.
    pub(super) attached: BTreeMap<String, u32>,
    /// Programs without a pin, such as those for rare paths, live as long as the object.
    pub(super) loaded: Loaded,
    /// Samples of flows and drops; `None` if the programs could not be asked for them.
    pub(super) sampler: Option<Sampler>,
    /// Nobody else works on these maps.
    pub(super) _lock: Lock,
}

impl Worker {
    /// Until the handle is dropped.
    pub(super) async fn run(mut self, mut updates: mpsc::UnboundedReceiver<Update>) {
        let (seen, mut found) = mpsc::unbounded_channel();
        let mut watches = Watches::new(self.asked());
        watches.follow(self.peers(), &seen);
        let mut refresh = tokio::time::interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick() => {
                    if let Err(error) = self.maps.beat() {
                        tracing::error!(error = &error as &dyn std::error::Error, "no heartbeat");
                    }
                    continue;
                }
                update = updates.recv() => match update {
                    Some(Update::Members(members)) => {
                        self.members.set(members);
                        watches.follow(self.peers(), &seen);
                    }
                    Some(Update::Services(services)) => {
                        self.unaddressed |= self.members.serve(services);
                    }
                    Some(Update::Drain) => {
                        tracing::info!("new connections go to other nodes");
                        self.members.drain();
                    }
                    None => return,
                },
                Some(seen) = found.recv() => {
                    // One that left while the probe was under way is no peer any more.
                    if !watches.has(&seen.name) || !self.observe(&seen) {
                        continue;
                    }
                    // Who takes an address over says so before it writes a new table.
                    self.announce();
                }
                _ = refresh.tick() => {
                    self.follow_interfaces();
                    if let Err(error) = capture::sweep(&self.directory) {
                        let error = &error as &dyn std::error::Error;
                        tracing::debug!(error, "captures that were left are not looked for");
                    }
                    if let Some(sampler) = &mut self.sampler {
                        sampler.drain();
                    }
                }
            }
            self.reconcile().await;
            self.announce();
            watches.ask(self.asked());
        }
    }

    fn peers(&self) -> HashMap<String, IpAddr> {
        self.members.peers().map(|member| (member.name.to_string(), member.address)).collect()
    }

    fn asked(&self) -> Asked {
        let nodes = self.reach.nodes().iter();
        Asked {
            own: self.members.own_address(),
            health_port: self.members.health_port(),
            tunnel_port: self.members.tunnel_port(),
            services: self.members.asked_about(),
            lengths: nodes.map(|(address, node)| (*address, node.mtu)).collect(),
        }
    }

    /// Takes note of what a peer was found to be; `true` if that changed anything.
    fn observe(&mut self, seen: &Seen) -> bool {
        let node = &*seen.name;
        let state: Option<State> = self.members.observe(node, seen.probe, seen.tunnel);
        if let Some(state) = state {
            let (agent, tunnel) = (seen.probe, seen.tunnel);
            tracing::info!(node, ?state, ?agent, ?tunnel, "a node's health changed");
        }
        let path = seen.full.and_then(|passed| self.members.observe_full(node, passed));
        match path {
            Some(true) => tracing::info!(node, "packets as long as the link takes get through"),
            Some(false) => tracing::warn!(
                node,
                "packets as long as the link's MTU do not get through the tunnel to this node: the \
                 MTU of something between is smaller, and long segments of clients are lost; make \
                 it as large, or the link's MTU as small"
            ),
            None => {}
        }
        state.is_some() || path.is_some()
    }

    /// An interface that was made anew, as by a driver's reload, has lost its program.
    fn follow_interfaces(&mut self) {
        for (interface, attached) in &mut self.attached {
            // One that is away may come back.
            let Ok(now) = attach::index_of(interface) else { continue };
            if std::mem::replace(attached, now) == now {
                continue;
            }
            if self.settings {
                settings::make(&self.directory, interface);
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

    /// Brings the maps to where the members want them.
    async fn reconcile(&mut self) {
        self.reach.refresh(&self.members).await;
        let mut want = self.members.desired(self.reach.nodes());
        // Before packets for a new address are taken, and after those for an old one are not.
        let unaddressed = self.address(&want).await;
        // What the stack does not have is not steered to it, here or elsewhere; all others are.
        let refused: Vec<Address> = self.refused.iter().copied().map(Address::from).collect();
        want.vips.retain(|key, _| !refused.contains(&key.address));
        let mut unwritten = None;
        for operation in diff(&self.have, &want) {
            if let Err(failure) = self.maps.apply(&operation) {
                tracing::error!(error = &failure as &dyn std::error::Error, "a map is not written");
                unwritten = Some(failure.to_string());
            }
        }
        let mut unremoved = None;
        if unwritten.is_none() {
            self.have = want;
            unremoved = self.unaddress().await;
        } else if let Ok(have) = self.maps.read() {
            // Some operations succeeded: the next round starts from what is there, and publishes
            // the table anew.
            self.have = have;
        }
        let unannounced = self.announced.as_ref().and_then(Announcing::trouble);
        self.status().error = unwritten.or(unaddressed).or(unremoved).or(unannounced);
        self.publish_status();
    }

    /// Adds the virtual addresses that are missing on the loopback interface.
    async fn address(&mut self, want: &Desired) -> Option<String> {
        if !self.unaddressed || want.vips.is_empty() {
            self.refused.clear();
            return None;
        }
        let addresses = self.members.addresses();
        let failed = loopback::add(&self.netlink, &self.directory, addresses).await;
        for (address, error) in &failed {
            // It is tried again each second, and told once.
            if !self.refused.contains(address) {
                told(error);
            }
        }
        self.refused = failed.iter().map(|(address, _)| *address).collect();
        failed.first().map(|(_, error)| error.to_string())
    }

    /// Removes those that were added and are virtual no longer.
    async fn unaddress(&mut self) -> Option<String> {
        if !self.unaddressed {
            return None;
        }
        let keep = self.members.addresses();
        let removed = loopback::remove_except(&self.netlink, &self.directory, keep).await;
        self.unaddressed = removed.is_err() || !self.refused.is_empty();
        removed.err().map(|error| told(&error))
    }

    /// Announces what is this node's to announce, on the interfaces that are steered.
    fn announce(&mut self) {
        let Some(announced) = &self.announced else { return };
        let states = self.members.states();
        let changed = states != self.announced_by;
        self.announced_by = states;
        let announcers = self.members.announcers();
        // One that is not on the loopback interface is nobody's here; the others, who do not know
        // that, leave it to this node all the same.
        let own = announcers
            .iter()
            .filter(|(address, name)| {
                **name == *self.members.own_name() && !self.refused.contains(address)
            })
            .map(|(address, _)| *address)
            .collect();
        let mut status = self.status();
        // Those whose program could not be attached are not there.
        let steered = self
            .attached
            .iter()
            .filter(|(interface, _)| status.interfaces.contains_key(*interface))
            .map(|(interface, index)| (interface.clone(), *index))
            .collect();
        status.announcers = announcers;
        drop(status);
        announced.tell(own, steered, changed);
    }

    /// Shows what is known of the nodes.
    pub(super) fn publish_status(&mut self) {
        let nodes = self.members.nodes(self.reach.nodes());
        if let Err(error) = self.maps.name(&nodes) {
            tracing::warn!(error = &error as &dyn std::error::Error, "nodes have no names in maps");
        }
        let rows = self.members.rows();
        let mut status = self.status();
        status.nodes = nodes;
        status.rows = rows;
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The failure, which is logged.
fn told(error: &super::L4Error) -> String {
    tracing::error!(error = error as &dyn std::error::Error, "a virtual address");
    error.to_string()
}
