//! The thread of the kernel tier: probes peers, follows neighbours and interfaces, and keeps the
//! maps as the members want them.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::mpsc, task::AbortHandle, time::MissedTickBehavior};

use super::{
    Desired, KernelMaps, MapStore as _, Status,
    attach::{self, Loaded},
    diff::diff,
    events::Sampler,
    health::{self, Probe},
    members::Members,
    plan::State,
    reach::Reach,
};
use crate::model::Member;

/// Between two looks at the neighbour table.
const REFRESH: Duration = Duration::from_secs(1);

/// Between two heartbeats; the programs take the agent for hung after two seconds without one.
const BEAT: Duration = Duration::from_millis(250);

/// All that the thread works with.
pub(super) struct Worker {
    pub(super) members: Members,
    pub(super) maps: KernelMaps,
    /// What the maps hold.
    pub(super) have: Desired,
    pub(super) reach: Reach,
    pub(super) status: Arc<Mutex<Status>>,
    /// One task for each peer, and the address that it probes.
    pub(super) probes: HashMap<String, (IpAddr, AbortHandle)>,
    /// The number of each interface that the program was attached to, or could not be.
    pub(super) attached: BTreeMap<String, u32>,
    /// Programs without a pin, such as those for rare paths, live as long as the object.
    pub(super) loaded: Loaded,
    /// Samples of flows and drops; `None` if the programs could not be asked for them.
    pub(super) sampler: Option<Sampler>,
}

struct Seen {
    name: String,
    probe: Probe,
}

impl Worker {
    /// Until the handle is dropped.
    pub(super) async fn run(mut self, mut updates: mpsc::UnboundedReceiver<Vec<Member>>) {
        let (seen, mut probes) = mpsc::unbounded_channel();
        self.watch_peers(&seen);
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
                members = updates.recv() => match members {
                    Some(members) => {
                        self.members.set(members);
                        self.watch_peers(&seen);
                    }
                    None => return,
                },
                Some(Seen { name, probe }) = probes.recv() => {
                    let Some(health) = self.observe(&name, probe) else { continue };
                    tracing::info!(node = name, state = ?health, "a node's health changed");
                }
                _ = refresh.tick() => {
                    self.follow_interfaces();
                    if let Some(sampler) = &mut self.sampler {
                        sampler.drain();
                    }
                }
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
        self.members.observe(name, probe)
    }

    /// One task per peer; none for those that left or moved.
    fn watch_peers(&mut self, seen: &mpsc::UnboundedSender<Seen>) {
        let wanted: HashMap<String, IpAddr> =
            self.members.peers().map(|member| (member.name.to_string(), member.address)).collect();
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
                SocketAddr::new(address, self.members.health_port()),
                seen.clone(),
            ));
            self.probes.insert(name, (address, task.abort_handle()));
        }
    }

    /// Brings the maps to where the members want them.
    async fn reconcile(&mut self) {
        self.reach.refresh(&self.members).await;
        let want = self.members.desired(self.reach.nodes());
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
        self.status().error = error;
        self.publish_status();
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

impl Drop for Worker {
    fn drop(&mut self) {
        for (_, task) in self.probes.values() {
            task.abort();
        }
    }
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
