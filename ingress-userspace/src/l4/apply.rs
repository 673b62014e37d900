//! Operations → maps.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    time::Duration,
};

use aya::maps::{Array, HashMap as BpfHashMap, MapData};
use bytemuck::Zeroable as _;
use ingress_common::{
    Address, Config, Group, Heart, Node, NodeId, Peer, Row, VipAddress, VipKey, VipValue,
    limits::{ROWS, VIP_FILTER},
    table::row_index,
    vip::filter_bit,
};
use nix::time::{ClockId, clock_gettime};

use super::{
    L4Error, NodeStatus, Operation,
    diff::Table,
    slots::{Service, Slots},
};

/// How long after a change of the table a SYN is offered first to the node that had its row. A
/// client whose SYN or whose answer was lost sends it again after one second and after three (RFC
/// 6298 section 2).
pub(super) const TRANSITION: Duration = Duration::from_secs(4);

/// What can be written to: the kernel's maps, or a test's.
pub trait MapStore {
    /// Carries out one operation.
    ///
    /// # Errors
    /// The map that could not be written. The maps then hold what they held before, except that a
    /// table's idle generation may be half written: no packet sees it.
    fn apply(&mut self, operation: &Operation) -> Result<(), L4Error>;
}

/// The maps of the loaded programs.
pub struct KernelMaps {
    config: Array<MapData, Config>,
    nodes: Array<MapData, Node>,
    peers: BpfHashMap<MapData, Address, Peer>,
    vip_filter: Array<MapData, u64>,
    vip_addresses: BpfHashMap<MapData, Address, VipAddress>,
    vips: BpfHashMap<MapData, VipKey, VipValue>,
    groups: Array<MapData, Group>,
    table: Array<MapData, Row>,
    heart: Array<MapData, Heart>,
    /// The rows that the two generations of each group are known to hold, so that only those that
    /// differ are written: there is no call that writes many.
    written: HashMap<(u16, u32), Vec<Row>>,
    /// Which counters belong to whom. Plans know nothing of it: a plan's values have no slots.
    slots: Slots,
}

impl KernelMaps {
    /// Takes the maps out of a loaded object.
    ///
    /// # Errors
    /// [`L4Error::Incomplete`] or [`L4Error::Map`].
    pub fn new(object: &mut aya::Ebpf) -> Result<Self, L4Error> {
        Ok(Self {
            config: open(object, "CONFIG")?,
            nodes: open(object, "NODES")?,
            peers: open(object, "PEERS")?,
            vip_filter: open(object, "VIPFILTER")?,
            vip_addresses: open(object, "VIPADDR")?,
            vips: open(object, "VIPS")?,
            groups: open(object, "GROUPS")?,
            table: open(object, "TABLE")?,
            heart: open(object, "HEART")?,
            written: HashMap::new(),
            slots: Slots::new(
                open(object, "REASONS")?,
                open(object, "FORWARDS")?,
                open(object, "NAMES")?,
            )?,
        })
    }

    /// What an agent before this one left in the maps that have to be cleaned, without tables:
    /// those are always published anew.
    ///
    /// # Errors
    /// [`L4Error::Map`].
    pub fn read(&mut self) -> Result<super::Desired, L4Error> {
        let config = self.config.get(&0, 0).map_err(cannot("CONFIG", "read"))?;
        let peers = self.peers.iter().collect::<Result<_, _>>().map_err(cannot("PEERS", "read"))?;
        let mut vips = HashMap::new();
        for entry in self.vips.iter() {
            let (key, value): (VipKey, VipValue) = entry.map_err(cannot("VIPS", "read"))?;
            self.slots.note(Service::Port(key), value.vip_id);
            vips.insert(key, VipValue { vip_id: 0, ..value });
        }
        for entry in self.vip_addresses.iter() {
            let (address, value) = entry.map_err(cannot("VIPADDR", "read"))?;
            self.slots.note(Service::Address(address), value.slot);
        }
        let mut nodes = HashMap::new();
        for number in 1..self.nodes.len() {
            let node = self.nodes.get(&number, 0).map_err(cannot("NODES", "read"))?;
            if node != Node::zeroed() {
                nodes.insert(NodeId(number as u16), Node { slot: 0, ..node });
            }
        }
        Ok(super::Desired { config, nodes, peers, vips, tables: HashMap::new() })
    }

    /// The nodes whose tunnel packets the maps take, by their names.
    pub(super) fn named(&self, peers: &HashMap<Address, Peer>) -> Vec<(String, IpAddr)> {
        let address =
            |id| peers.iter().find(|(_, peer)| peer.node == id).map(|(address, _)| *address);
        let names = self.slots.names();
        names.filter_map(|(id, name)| Some((name.to_owned(), IpAddr::from(address(id)?)))).collect()
    }

    /// Writes what the nodes are called, and how they are, for whoever reads the maps.
    ///
    /// # Errors
    /// [`L4Error::Map`].
    pub fn name(&mut self, nodes: &BTreeMap<String, NodeStatus>) -> Result<(), L4Error> {
        self.slots.name(nodes)
    }

    fn publish(&mut self, number: u16, wanted: &Table) -> Result<(), L4Error> {
        let index = u32::from(number);
        let group = self.groups.get(&index, 0).map_err(cannot("GROUPS", "read"))?;
        let generation = group.generation.wrapping_add(1);
        let key = (number, generation & 1);
        // Forgotten while it is being written: if that fails half way, all of it is written again.
        let known = self.written.remove(&key);
        for (position, row) in wanted.rows.iter().take(ROWS as usize).enumerate() {
            if known.as_ref().and_then(|rows| rows.get(position)) != Some(row) {
                let at = row_index(number, generation, position as u64);
                self.table.set(at, row, 0).map_err(cannot("TABLE", "written"))?;
            }
        }
        self.written.insert(key, wanted.rows.to_vec());
        // By another secret the rows before were others' rows.
        let follows = group.ready != 0 && group.key == wanted.key;
        let transition_until =
            if follows { monotonic().saturating_add(TRANSITION) } else { Duration::ZERO };
        let transition_until = nanoseconds(transition_until);
        let group = Group { generation, ready: 1, key: wanted.key, transition_until };
        self.groups.set(index, group, 0).map_err(cannot("GROUPS", "written"))
    }

    fn set_vip(&mut self, key: &VipKey, value: &VipValue) -> Result<(), L4Error> {
        let value = VipValue { vip_id: self.slots.service(Service::Port(*key))?, ..*value };
        self.vips.insert(key, value, 0).map_err(cannot("VIPS", "written"))?;
        self.set_services(&key.address, &self.services(&key.address)?)?;
        // Last: from here on packets are looked at.
        self.set_filter(filter_bit(&key.address), true)
    }

    fn remove_vip(&mut self, key: &VipKey) -> Result<(), L4Error> {
        absent_is_fine(self.vips.remove(key)).map_err(cannot("VIPS", "written"))?;
        self.slots.release(Service::Port(*key));
        let left = self.services(&key.address)?;
        if !left.is_empty() {
            return self.set_services(&key.address, &left);
        }
        let bit = filter_bit(&key.address);
        let shared = self
            .vip_addresses
            .keys()
            .flatten()
            .any(|other| other != key.address && filter_bit(&other) == bit);
        if !shared {
            self.set_filter(bit, false)?;
        }
        self.slots.release(Service::Address(key.address));
        absent_is_fine(self.vip_addresses.remove(&key.address))
            .map_err(cannot("VIPADDR", "written"))
    }

    /// The services of an address, always in the same order.
    fn services(&self, address: &Address) -> Result<Vec<(VipKey, VipValue)>, L4Error> {
        let all = self.vips.iter().collect::<Result<Vec<(VipKey, VipValue)>, _>>();
        let mut services = all.map_err(cannot("VIPS", "read"))?;
        services.retain(|(key, _)| key.address == *address);
        services.sort_unstable_by_key(|(key, _)| (key.protocol, key.port.number()));
        Ok(services)
    }

    fn set_services(
        &mut self,
        address: &Address,
        services: &[(VipKey, VipValue)],
    ) -> Result<(), L4Error> {
        let mut value = VipAddress::new(services.iter().map(|(key, value)| (key, value)));
        value.slot = self.slots.service(Service::Address(*address))?;
        self.vip_addresses.insert(address, value, 0).map_err(cannot("VIPADDR", "written"))
    }

    fn set_filter(&mut self, bit: u32, set: bool) -> Result<(), L4Error> {
        let index = (bit >> 6) % VIP_FILTER;
        let word = self.vip_filter.get(&index, 0).map_err(cannot("VIPFILTER", "read"))?;
        let mask = 1 << (bit & 63);
        let word = if set { word | mask } else { word & !mask };
        self.vip_filter.set(index, word, 0).map_err(cannot("VIPFILTER", "written"))
    }

    /// Says that the agent runs. Once it has, and then has not for two seconds, the programs offer
    /// new connections to other nodes first.
    ///
    /// # Errors
    /// [`L4Error::Map`].
    pub fn beat(&mut self) -> Result<(), L4Error> {
        let beat = nanoseconds(monotonic());
        self.heart.set(0, Heart { beat }, 0).map_err(cannot("HEART", "written"))
    }

    /// Says that there is no agent, and that none is missed.
    ///
    /// # Errors
    /// [`L4Error::Map`].
    pub fn rest(&mut self) -> Result<(), L4Error> {
        self.heart.set(0, Heart { beat: 0 }, 0).map_err(cannot("HEART", "written"))
    }
}

impl MapStore for KernelMaps {
    fn apply(&mut self, operation: &Operation) -> Result<(), L4Error> {
        match operation {
            Operation::SetConfig(config) => {
                self.config.set(0, config, 0).map_err(cannot("CONFIG", "written"))
            }
            Operation::SetNode(id, node) => {
                let node = Node { slot: self.slots.node(*id)?, ..*node };
                self.nodes.set(u32::from(id.0), node, 0).map_err(cannot("NODES", "written"))
            }
            Operation::RemoveNode(id) => {
                self.slots.leave(*id);
                let nobody = Node::zeroed();
                self.nodes.set(u32::from(id.0), nobody, 0).map_err(cannot("NODES", "written"))
            }
            Operation::SetPeer(address, peer) => {
                self.peers.insert(address, peer, 0).map_err(cannot("PEERS", "written"))
            }
            Operation::RemovePeer(address) => {
                absent_is_fine(self.peers.remove(address)).map_err(cannot("PEERS", "written"))
            }
            Operation::SetVip(key, value) => self.set_vip(key, value),
            Operation::RemoveVip(key) => self.remove_vip(key),
            Operation::Publish(group, table) => self.publish(*group, table),
        }
    }
}

/// The clock that the programs read. Zero if it cannot be read, which does not happen: a time that
/// has passed long ago, so that nothing is in transition.
fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Duration::from)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn absent_is_fine(result: Result<(), aya::maps::MapError>) -> Result<(), aya::maps::MapError> {
    match result {
        Err(aya::maps::MapError::KeyNotFound) => Ok(()),
        Err(aya::maps::MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Takes one map of the object, as its type.
pub(super) fn open<M>(object: &mut aya::Ebpf, name: &'static str) -> Result<M, L4Error>
where
    M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let map = object.take_map(name).ok_or(L4Error::Incomplete { kind: "map", name })?;
    M::try_from(map).map_err(cannot(name, "opened"))
}

/// Names the map in an error.
pub(super) fn cannot(
    map: &'static str,
    action: &'static str,
) -> impl Fn(aya::maps::MapError) -> L4Error {
    move |source| L4Error::Map { map, action, source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use ingress_common::{Mac, Port};
    use proptest::prelude::*;

    use super::*;
    use crate::l4::{Desired, diff};

    /// Maps in memory. Refuses what would make a packet find less than it needs.
    #[derive(Default)]
    struct Fake(Desired);

    impl MapStore for Fake {
        fn apply(&mut self, operation: &Operation) -> Result<(), L4Error> {
            let Desired { config, nodes, peers, vips, tables } = &mut self.0;
            match operation.clone() {
                Operation::SetConfig(value) => *config = value,
                Operation::SetNode(key, value) => drop(nodes.insert(key, value)),
                Operation::RemoveNode(key) => assert!(nodes.remove(&key).is_some()),
                Operation::SetPeer(key, value) => drop(peers.insert(key, value)),
                Operation::RemovePeer(key) => assert!(peers.remove(&key).is_some()),
                Operation::SetVip(key, value) => drop(vips.insert(key, value)),
                Operation::RemoveVip(key) => assert!(vips.remove(&key).is_some()),
                Operation::Publish(group, table) => drop(tables.insert(group, table)),
            }
            Ok(())
        }
    }

    fn any_address() -> impl Strategy<Value = Address> {
        (0u8..8).prop_map(|last| Address::v4([10, 0, 0, last]))
    }

    fn any_node() -> impl Strategy<Value = Node> {
        (any_address(), 0u16..3).prop_map(|(address, mtu)| Node {
            address,
            source: Address::UNSPECIFIED,
            next_hop: Mac::new([2, 0, 0, 0, 0, 1]),
            source_mac: Mac::new([2, 0, 0, 0, 0, 2]),
            ifindex: 3,
            mtu,
            flags: 1,
            slot: 0,
        })
    }

    prop_compose! {
        fn any_desired()(
            node in 0u16..3,
            nodes in prop::collection::hash_map((1u16..8).prop_map(NodeId), any_node(), 0..6),
            peers in prop::collection::hash_map(any_address(), 1u16..4, 0..6),
            vips in prop::collection::hash_map((any_address(), 1u16..4), 0u16..2, 0..6),
            table in prop::option::of(0u16..3),
        ) -> Desired {
            Desired {
                config: Config { node: NodeId(node), tunnel_port: Port::new(6082), flags: 0 },
                nodes,
                peers: peers
                    .into_iter()
                    .map(|(address, node)| {
                        (address, Peer { local: address, node: NodeId(node), reserved: [0; 2] })
                    })
                    .collect(),
                vips: vips
                    .into_iter()
                    .map(|((address, port), group)| {
                        let value = VipValue { vip_id: 0, group, flags: 0 };
                        (VipKey::new(address, Port::new(port), 6), value)
                    })
                    .collect(),
                tables: table
                    .map(|id| {
                        let row = Row { nodes: [NodeId(id); Row::WIDTH] };
                        let key = ingress_common::HashKey([1, 2]);
                        (0, Table { key, rows: std::sync::Arc::new(vec![row; 4]) })
                    })
                    .into_iter()
                    .collect(),
            }
        }
    }

    proptest! {
        #[test]
        fn applying_the_difference_leads_there(have in any_desired(), mut want in any_desired()) {
            // A table is replaced, never taken back.
            if want.tables.is_empty() {
                want.tables = have.tables.clone();
            }
            let mut store = Fake(have.clone());
            for operation in diff(&have, &want) {
                store.apply(&operation).expect("the fake never fails");
            }
            prop_assert_eq!(&store.0, &want);
            prop_assert!(diff(&want, &want).is_empty());
        }
    }

    #[test]
    fn a_service_appears_after_its_table_and_a_node_leaves_after_it() {
        let id = NodeId(1);
        let row = Row { nodes: [id, NodeId::NONE, NodeId::NONE, NodeId::NONE] };
        let table = |row| Table {
            key: ingress_common::HashKey([0, 0]),
            rows: std::sync::Arc::new(vec![row]),
        };
        let mut have = Desired::default();
        have.nodes.insert(id, Node::zeroed());
        have.tables.insert(0, table(row));
        let mut want = Desired::default();
        want.tables.insert(0, table(Row::EMPTY));
        let key = VipKey::new(Address::v4([192, 0, 2, 1]), Port::new(80), 6);
        want.vips.insert(key, VipValue { vip_id: 0, group: 0, flags: 0 });
        let operations = diff(&have, &want);
        assert!(matches!(
            operations[..],
            [Operation::Publish(..), Operation::SetVip(..), Operation::RemoveNode(_)]
        ));
    }
}
