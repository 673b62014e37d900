//! Which counters are whose: a slot for each virtual service, virtual address and node. The maps
//! themselves remember it, so that counters go on when the agent is replaced, and so that they can
//! be read when there is none.

use std::collections::{BTreeMap, HashMap, HashSet};

use aya::{
    maps::{Array, MapData, PerCpuArray, PerCpuValues},
    util::nr_cpus,
};
use ingress_common::{
    Address, Counters, NodeId, VipKey,
    limits::{NODE_SLOTS, REASON_SLOTS, VIP_SLOTS},
    observe::{
        Forwards, NODE_DEAD, NODE_DRAINING, NODE_READY, NODE_SUSPECT, NodeLabel, counter_index,
    },
};

use super::{L4Error, NodeStatus, apply::cannot, plan::State};

/// Shorter names are whole: a longer one may have lost as much of its end as a character has.
const WHOLE: usize = NodeLabel::TEXT - 3;

/// What packets are counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Service {
    /// Packets to the address that are for none of its services.
    Address(Address),
    /// A virtual service.
    Port(VipKey),
}

/// The slots that are taken.
pub(super) struct Slots {
    reasons: PerCpuArray<MapData, Counters>,
    forwards: PerCpuArray<MapData, Forwards>,
    names: Array<MapData, NodeLabel>,
    /// What `names` holds.
    labels: Vec<NodeLabel>,
    services: HashMap<Service, u16>,
    /// Nodes in use: their slots are nobody else's.
    nodes: HashSet<NodeId>,
    /// Those that could not be counted by themselves were reported.
    full: bool,
}

impl Slots {
    /// Reads which slots are taken by nodes; [`note`](Self::note) names those of services.
    ///
    /// # Errors
    /// [`L4Error::Map`].
    pub(super) fn new(
        reasons: PerCpuArray<MapData, Counters>,
        forwards: PerCpuArray<MapData, Forwards>,
        names: Array<MapData, NodeLabel>,
    ) -> Result<Self, L4Error> {
        let labels = (0..NODE_SLOTS)
            .map(|slot| names.get(&slot, 0).map_err(cannot("NAMES", "read")))
            .collect::<Result<_, _>>()?;
        let (services, nodes) = (HashMap::new(), HashSet::new());
        Ok(Self { reasons, forwards, names, labels, services, nodes, full: false })
    }

    /// The nodes that were ever named, but those whose names are too long to be whole.
    pub(super) fn names(&self) -> impl Iterator<Item = (NodeId, &str)> {
        let named = self.labels.iter().filter(|label| label.id != NodeId::NONE);
        named
            .map(|label| (label.id, label.name()))
            .filter(|(_, name)| !name.is_empty() && name.len() < WHOLE)
    }

    /// The maps say that this slot is the service's.
    pub(super) fn note(&mut self, service: Service, slot: u16) {
        if slot != 0 {
            self.services.insert(service, slot);
        }
    }

    /// The slot of a service; 0 if all are taken.
    ///
    /// # Errors
    /// [`L4Error::Map`].
    pub(super) fn service(&mut self, service: Service) -> Result<u16, L4Error> {
        if let Some(slot) = self.services.get(&service) {
            return Ok(*slot);
        }
        let taken: HashSet<u16> = self.services.values().copied().collect();
        let Some(slot) = (1..VIP_SLOTS as u16).find(|slot| !taken.contains(slot)) else {
            self.report("virtual services");
            return Ok(0);
        };
        // Somebody may have had it before.
        let zero = zeros::<Counters>()?;
        for reason in 0..REASON_SLOTS {
            let index = counter_index(slot, reason);
            self.reasons.set(index, zero(), 0).map_err(cannot("REASONS", "written"))?;
        }
        self.services.insert(service, slot);
        Ok(slot)
    }

    /// The service is steered no longer.
    pub(super) fn release(&mut self, service: Service) {
        self.services.remove(&service);
    }

    /// The slot of a node; 0 if all are taken. A node that was out of reach has its own again.
    ///
    /// # Errors
    /// [`L4Error::Map`].
    pub(super) fn node(&mut self, id: NodeId) -> Result<u32, L4Error> {
        self.nodes.insert(id);
        let position = |wanted: NodeId, labels: &[NodeLabel]| {
            labels.iter().skip(1).position(|label| label.id == wanted).map(|at| at + 1)
        };
        let found = position(id, &self.labels)
            .map(|at| (at, true))
            .or_else(|| position(NodeId::NONE, &self.labels).map(|at| (at, false)))
            .or_else(|| {
                let gone = |label: &NodeLabel| !self.nodes.contains(&label.id);
                self.labels.iter().skip(1).position(gone).map(|at| (at + 1, false))
            });
        let Some((at, own)) = found else {
            self.report("nodes");
            return Ok(0);
        };
        let slot = at as u32;
        if !own {
            let zero = zeros::<Forwards>()?;
            self.forwards.set(slot, zero(), 0).map_err(cannot("FORWARDS", "written"))?;
            self.write(at, NodeLabel { id, ..NodeLabel::FREE })?;
        }
        Ok(slot)
    }

    /// The node cannot be reached. Its slot stays its own until another needs it.
    pub(super) fn leave(&mut self, id: NodeId) {
        self.nodes.remove(&id);
    }

    /// Writes what the nodes are called, and how they are, for whoever reads the maps.
    ///
    /// # Errors
    /// [`L4Error::Map`].
    pub(super) fn name(&mut self, nodes: &BTreeMap<String, NodeStatus>) -> Result<(), L4Error> {
        for (name, status) in nodes {
            let at = self.node(status.id)? as usize;
            let state = match status.state {
                State::Ready => NODE_READY,
                State::Draining => NODE_DRAINING,
                State::Suspect => NODE_SUSPECT,
                State::Dead => NODE_DEAD,
            };
            let label = NodeLabel::new(status.id, name, state);
            if at != 0 && self.labels.get(at) != Some(&label) {
                self.write(at, label)?;
            }
        }
        // Whoever left keeps its name and its counters, and is known to be away.
        let present: HashSet<NodeId> = nodes.values().map(|status| status.id).collect();
        for at in 1..self.labels.len() {
            let label = self.labels[at];
            if label.id != NodeId::NONE && label.state != 0 && !present.contains(&label.id) {
                self.write(at, NodeLabel { state: 0, ..label })?;
                self.nodes.remove(&label.id);
            }
        }
        Ok(())
    }

    fn write(&mut self, at: usize, label: NodeLabel) -> Result<(), L4Error> {
        self.names.set(at as u32, label, 0).map_err(cannot("NAMES", "written"))?;
        self.labels[at] = label;
        Ok(())
    }

    fn report(&mut self, what: &str) {
        if !std::mem::replace(&mut self.full, true) {
            tracing::warn!("there are more {what} than can be counted one by one");
        }
    }
}

/// What a per-CPU entry is reset to.
fn zeros<T: aya::Pod + bytemuck::Zeroable>() -> Result<impl Fn() -> PerCpuValues<T>, L4Error> {
    let cpus = nr_cpus().map_err(|(_, source)| L4Error::Netlink(source))?;
    Ok(move || PerCpuValues::try_from(vec![T::zeroed(); cpus]).expect("one value for each CPU"))
}
