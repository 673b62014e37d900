//! What the programs counted, read from the pinned maps: beside an agent, within it or without one.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    path::Path,
};

use aya::maps::{Array, HashMap as BpfHashMap, Map, MapData, MapError, PerCpuArray};
use ingress_common::{
    Address, Config, Counters, Group, Meta, Node, NodeId, Port, Reason, Row, VipAddress, VipKey,
    VipValue,
    limits::{ABI_VERSION, GROUPS, NODE_SLOTS, VIP_SLOTS},
    observe::{
        Forwards, NODE_DEAD, NODE_DRAINING, NODE_READY, NODE_SUSPECT, NodeLabel, counter_index,
    },
};

use super::{L4Error, apply::cannot, directory::directory};

/// The pinned maps, opened to be read.
pub struct Reader {
    config: Array<MapData, Config>,
    reasons: PerCpuArray<MapData, Counters>,
    forwards: PerCpuArray<MapData, Forwards>,
    names: Array<MapData, NodeLabel>,
    nodes: Array<MapData, Node>,
    vip_addresses: BpfHashMap<MapData, Address, VipAddress>,
    vips: BpfHashMap<MapData, VipKey, VipValue>,
    groups: Array<MapData, Group>,
    table: Array<MapData, Row>,
}

/// What was counted for a virtual service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCounts {
    /// `203.0.113.1:80/tcp`; an address alone for what is for none of its services; `none` for what
    /// is for no virtual address.
    pub name: String,
    /// By reason; without those that nothing was counted for.
    pub reasons: Vec<(Reason, Counters)>,
}

/// What was sent to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCounts {
    /// Its name, as far as the maps have it.
    pub name: String,
    /// Its number.
    pub id: NodeId,
    /// `ready`, `draining`, `suspect`, `dead`, or `away` for one that is no member.
    pub state: &'static str,
    /// What was sent.
    pub forwards: Forwards,
}

impl Reader {
    /// Opens what is pinned below a directory.
    ///
    /// # Errors
    /// [`L4Error::NotLoaded`], [`L4Error::AbiMismatch`] or [`L4Error::Map`].
    pub fn open(bpf_dir: &Path) -> Result<Self, L4Error> {
        let directory = directory(bpf_dir);
        if !directory.join("META").exists() {
            return Err(L4Error::NotLoaded { path: bpf_dir.to_owned() });
        }
        let meta: Array<MapData, Meta> = array(&directory, "META")?;
        let found = meta.get(&0, 0).map_err(cannot("META", "read"))?.abi_version;
        if found != ABI_VERSION {
            return Err(L4Error::AbiMismatch { path: directory, found, needed: ABI_VERSION });
        }
        Ok(Self {
            config: array(&directory, "CONFIG")?,
            reasons: per_cpu(&directory, "REASONS")?,
            forwards: per_cpu(&directory, "FORWARDS")?,
            names: array(&directory, "NAMES")?,
            nodes: array(&directory, "NODES")?,
            vip_addresses: hash(&directory, "VIPADDR")?,
            vips: hash(&directory, "VIPS")?,
            groups: array(&directory, "GROUPS")?,
            table: array(&directory, "TABLE")?,
        })
    }

    /// Packets and bytes by reason, over all services. Their sum is the number of packets seen.
    ///
    /// # Errors
    /// [`L4Error::Map`], as of all that follow.
    pub fn totals(&self) -> Result<Vec<(Reason, Counters)>, L4Error> {
        let mut totals: Vec<_> =
            Reason::ALL.iter().map(|reason| (*reason, Counters::default())).collect();
        for slot in 0..VIP_SLOTS as u16 {
            for (reason, total) in &mut totals {
                *total = total.plus(self.counter(slot, *reason)?);
            }
        }
        Ok(totals)
    }

    /// What was counted for each virtual service, each virtual address, and for none of them.
    ///
    /// # Errors
    /// See [`totals`](Self::totals).
    pub fn services(&self) -> Result<Vec<ServiceCounts>, L4Error> {
        let mut services = Vec::new();
        for (slot, name) in self.service_names()? {
            let mut reasons = Vec::new();
            for reason in Reason::ALL {
                let count = self.counter(slot, *reason)?;
                if count.packets > 0 {
                    reasons.push((*reason, count));
                }
            }
            services.push(ServiceCounts { name, reasons });
        }
        Ok(services)
    }

    fn counter(&self, slot: u16, reason: Reason) -> Result<Counters, L4Error> {
        let index = counter_index(slot, reason as u32);
        let values = self.reasons.get(&index, 0).map_err(cannot("REASONS", "read"))?;
        Ok(values.iter().fold(Counters::default(), |sum, one| sum.plus(*one)))
    }

    /// What was sent to each node that was ever a member.
    ///
    /// # Errors
    /// See [`totals`](Self::totals).
    pub fn nodes(&self) -> Result<Vec<NodeCounts>, L4Error> {
        let mut nodes = Vec::new();
        for (slot, label) in self.labels()? {
            let values = self.forwards.get(&slot, 0).map_err(cannot("FORWARDS", "read"))?;
            let forwards = values.iter().fold(Forwards::default(), |sum, one| Forwards {
                first: sum.first.wrapping_add(one.first),
                next: sum.next.wrapping_add(one.next),
                relayed: sum.relayed.wrapping_add(one.relayed),
                bytes: sum.bytes.wrapping_add(one.bytes),
            });
            nodes.push(NodeCounts {
                name: display(&label),
                id: label.id,
                state: state(label.state),
                forwards,
            });
        }
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(nodes)
    }

    /// The slots of nodes that are taken.
    ///
    /// # Errors
    /// See [`totals`](Self::totals).
    pub(super) fn labels(&self) -> Result<Vec<(u32, NodeLabel)>, L4Error> {
        let mut labels = Vec::new();
        for slot in 1..NODE_SLOTS {
            let label = self.names.get(&slot, 0).map_err(cannot("NAMES", "read"))?;
            // They are given out from the first on.
            if label.id == NodeId::NONE {
                break;
            }
            labels.push((slot, label));
        }
        Ok(labels)
    }

    /// The names of the counted services by their slots.
    ///
    /// # Errors
    /// See [`totals`](Self::totals).
    pub(super) fn service_names(&self) -> Result<BTreeMap<u16, String>, L4Error> {
        let mut names = BTreeMap::from([(0, "none".to_owned())]);
        for entry in self.vip_addresses.iter() {
            let (address, value) = entry.map_err(cannot("VIPADDR", "read"))?;
            names.insert(value.slot, IpAddr::from(address).to_string());
        }
        for entry in self.vips.iter() {
            let (key, value) = entry.map_err(cannot("VIPS", "read"))?;
            names.insert(value.vip_id, service_name(&key));
        }
        // What has no slot of its own is counted with the rest.
        names.insert(0, "none".to_owned());
        Ok(names)
    }

    /// How many tables each replica group has had; the lowest bit tells which rows are in force.
    ///
    /// # Errors
    /// See [`totals`](Self::totals).
    pub fn generations(&self) -> Result<Vec<(u16, u32)>, L4Error> {
        let mut generations = Vec::new();
        for number in 0..GROUPS {
            let group = self.groups.get(&number, 0).map_err(cannot("GROUPS", "read"))?;
            if group.ready != 0 {
                generations.push((number as u16, group.generation));
            }
        }
        Ok(generations)
    }

    pub(super) fn config(&self) -> Result<Config, L4Error> {
        self.config.get(&0, 0).map_err(cannot("CONFIG", "read"))
    }

    pub(super) fn group(&self, number: u16) -> Result<Group, L4Error> {
        self.groups.get(&u32::from(number), 0).map_err(cannot("GROUPS", "read"))
    }

    pub(super) fn row(&self, index: u32) -> Result<Row, L4Error> {
        self.table.get(&index, 0).map_err(cannot("TABLE", "read"))
    }

    pub(super) fn node(&self, id: NodeId) -> Result<Node, L4Error> {
        self.nodes.get(&u32::from(id.0), 0).map_err(cannot("NODES", "read"))
    }

    /// The virtual service of this address, port and protocol, as the programs find it.
    pub(super) fn service(&self, address: Address, port: u16, protocol: u8) -> Option<VipValue> {
        [Port::new(port), Port::ANY]
            .into_iter()
            .find_map(|port| self.vips.get(&VipKey::new(address, port, protocol), 0).ok())
    }
}

/// `203.0.113.1:80/tcp`, `[2001:db8::1]:any/udp`.
fn service_name(key: &VipKey) -> String {
    let address = match IpAddr::from(key.address) {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    let port = match key.port {
        Port::ANY => "any".to_owned(),
        port => port.number().to_string(),
    };
    let protocol = match key.protocol {
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        other => other.to_string(),
    };
    format!("{address}:{port}/{protocol}")
}

/// A node's name, or its number where it has none yet.
pub(super) fn display(label: &NodeLabel) -> String {
    match label.name() {
        "" => format!("node {}", label.id.0),
        name => name.to_owned(),
    }
}

pub(super) const fn state(number: u8) -> &'static str {
    match number {
        NODE_READY => "ready",
        NODE_DRAINING => "draining",
        NODE_SUSPECT => "suspect",
        NODE_DEAD => "dead",
        _ => "away",
    }
}

/// The nodes by their numbers.
pub(super) fn by_number(labels: Vec<(u32, NodeLabel)>) -> HashMap<NodeId, NodeLabel> {
    labels.into_iter().map(|(_, label)| (label.id, label)).collect()
}

fn array<V: aya::Pod>(directory: &Path, name: &'static str) -> Result<Array<MapData, V>, L4Error> {
    pinned(directory, name, |data| Array::try_from(Map::Array(data)))
}

fn per_cpu<V: aya::Pod>(
    directory: &Path,
    name: &'static str,
) -> Result<PerCpuArray<MapData, V>, L4Error> {
    pinned(directory, name, |data| PerCpuArray::try_from(Map::PerCpuArray(data)))
}

fn hash<K: aya::Pod, V: aya::Pod>(
    directory: &Path,
    name: &'static str,
) -> Result<BpfHashMap<MapData, K, V>, L4Error> {
    pinned(directory, name, |data| BpfHashMap::try_from(Map::HashMap(data)))
}

/// Opens a pinned map.
pub(super) fn pinned<M>(
    directory: &Path,
    name: &'static str,
    as_kind: impl FnOnce(MapData) -> Result<M, MapError>,
) -> Result<M, L4Error> {
    MapData::from_pin(directory.join(name)).and_then(as_kind).map_err(cannot(name, "opened"))
}

/// The counters by reason of whatever is loaded below a directory.
///
/// # Errors
/// [`L4Error::NotLoaded`] or [`L4Error::Map`].
pub fn totals(bpf_dir: &Path) -> Result<Vec<(Reason, Counters)>, L4Error> {
    Reader::open(bpf_dir)?.totals()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_named_as_people_write_them() {
        let name = |address: &str, port, protocol| {
            let address: IpAddr = address.parse().expect("an address");
            service_name(&VipKey::new(address.into(), port, protocol))
        };
        assert_eq!(name("203.0.113.1", Port::new(80), 6), "203.0.113.1:80/tcp");
        assert_eq!(name("2001:db8::1", Port::ANY, 17), "[2001:db8::1]:any/udp");
    }
}
