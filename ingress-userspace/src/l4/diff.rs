//! What the maps should hold, and the fewest operations that lead there. Pure.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use ingress_common::{Address, Config, HashKey, Node, NodeId, Peer, Row, VipKey, VipValue};

/// The contents of the maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The node and its settings.
    pub config: Config,
    /// How to reach each node. A node that cannot be reached is absent.
    pub nodes: HashMap<NodeId, Node>,
    /// Whose tunnel packets are taken.
    pub peers: HashMap<Address, Peer>,
    /// The virtual services.
    pub vips: HashMap<VipKey, VipValue>,
    /// The table of each replica group; absent while there is none.
    pub tables: HashMap<u16, Table>,
}

/// A replica group's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The secret of the flow hash.
    pub key: HashKey,
    /// All rows.
    pub rows: Arc<Vec<Row>>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Replaces the settings.
    SetConfig(Config),
    /// Says how to reach a node.
    SetNode(NodeId, Node),
    /// Marks a node as out of reach.
    RemoveNode(NodeId),
    /// Takes tunnel packets from this address.
    SetPeer(Address, Peer),
    /// Takes them no longer.
    RemovePeer(Address),
    /// Steers a virtual service.
    SetVip(VipKey, VipValue),
    /// Steers it no longer.
    RemoveVip(VipKey),
    /// Writes a group's idle generation and puts it in force.
    Publish(u16, Table),
}

/// The operations from `have` to `want`, in an order in which every step is safe: first what
/// packets may refer to, then what refers to it, then what nothing refers to any more.
pub fn diff(have: &Desired, want: &Desired) -> Vec<Operation> {
    let mut operations = Vec::new();
    // A node that leaves says so last: while it still takes tunnel packets it has to know itself.
    let config = (have.config != want.config).then_some(Operation::SetConfig(want.config));
    let leaves = want.config.node == NodeId::NONE;
    operations.extend(config.clone().filter(|_| !leaves));
    let peers = changes(&have.peers, &want.peers);
    let nodes = changes(&have.nodes, &want.nodes);
    let vips = changes(&have.vips, &want.vips);
    operations.extend(peers.set.iter().map(|(key, value)| Operation::SetPeer(*key, *value)));
    operations.extend(nodes.set.iter().map(|(key, value)| Operation::SetNode(*key, *value)));
    for (group, table) in &want.tables {
        if have.tables.get(group) != Some(table) {
            operations.push(Operation::Publish(*group, table.clone()));
        }
    }
    operations.extend(vips.set.iter().map(|(key, value)| Operation::SetVip(*key, *value)));
    operations.extend(vips.removed.iter().map(|key| Operation::RemoveVip(*key)));
    operations.extend(nodes.removed.iter().map(|key| Operation::RemoveNode(*key)));
    operations.extend(peers.removed.iter().map(|key| Operation::RemovePeer(*key)));
    operations.extend(config.filter(|_| leaves));
    operations
}

struct Changes<K, V> {
    set: Vec<(K, V)>,
    removed: Vec<K>,
}

fn changes<K: Copy + Eq + Hash, V: Copy + PartialEq>(
    have: &HashMap<K, V>,
    want: &HashMap<K, V>,
) -> Changes<K, V> {
    let set = want
        .iter()
        .filter(|(key, value)| have.get(key) != Some(value))
        .map(|(key, value)| (*key, *value))
        .collect();
    let removed = have.keys().filter(|key| !want.contains_key(key)).copied().collect();
    Changes { set, removed }
}
