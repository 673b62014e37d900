//! The members as they are now, and what the maps should hold for them.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use ingress_common::{Address, Config, Node, NodeId, Peer, Port, Row, VipKey, VipValue};

use super::{
    Desired, NodeStatus, Options,
    diff::Table,
    health::{Health, Probe, with_panic_threshold},
    plan::{Candidate, State, node_ids, rows},
};
use crate::model::Member;

/// The replica group of all virtual services: there is one until services can choose their nodes.
const GROUP: u16 = 0;
/// IP protocol number of TCP.
const TCP: u8 = 6;

/// The members, their health, and the rows that follow from them.
pub(super) struct Members {
    own_name: String,
    tunnel_port: u16,
    health_port: u16,
    key: ingress_common::HashKey,
    vips: HashMap<VipKey, VipValue>,
    list: Vec<Member>,
    health: BTreeMap<String, Health>,
    table: Option<(Vec<Candidate>, Arc<Vec<Row>>)>,
    /// How many of the rows each node comes first in. Counted once, not each second.
    heads: HashMap<NodeId, u32>,
}

impl Members {
    /// Nobody yet: this node alone.
    pub(super) fn new(options: &Options) -> Self {
        let mut vips = HashMap::new();
        for address in &options.vips {
            for port in &options.ports {
                let key = VipKey::new(Address::from(*address), Port::new(*port), TCP);
                vips.insert(key, VipValue { vip_id: 0, group: GROUP, flags: 0 });
            }
        }
        Self {
            own_name: options.node_name.clone(),
            tunnel_port: options.tunnel_port,
            health_port: options.health_port,
            key: options.key,
            vips,
            list: Vec::new(),
            health: BTreeMap::new(),
            table: None,
            heads: HashMap::new(),
        }
    }

    /// Takes note of who is there now.
    pub(super) fn set(&mut self, mut members: Vec<Member>) {
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
        if !self.list.is_empty() {
            for member in &members {
                let known = self.list.iter().any(|other| other.name == member.name);
                if !known && *member.name != *self.own_name {
                    self.health.insert(member.name.to_string(), Health::newcomer());
                }
            }
        }
        self.list = members;
    }

    /// This node's address, which its peers know it by.
    pub(super) fn own_address(&self) -> Option<IpAddr> {
        let own = self.list.iter().find(|member| *member.name == *self.own_name);
        own.map(|member| member.address)
    }

    /// All but this node.
    pub(super) fn peers(&self) -> impl Iterator<Item = &Member> {
        self.list.iter().filter(|member| *member.name != *self.own_name)
    }

    fn candidates(&self) -> Vec<Candidate> {
        if self.list.is_empty() {
            // Nobody said who is there: this node serves alone.
            let name = self.own_name.clone();
            return vec![Candidate { name, weight: 1, state: State::Ready }];
        }
        let observed = self
            .list
            .iter()
            .map(|member| {
                let health = self.health.get(&*member.name).copied().unwrap_or_default();
                (member.name.to_string(), health.state())
            })
            .collect();
        let states = with_panic_threshold(&observed);
        self.list
            .iter()
            .map(|member| {
                let listed = if member.ready { State::Ready } else { State::Draining };
                let seen = states.get(&*member.name).copied().unwrap_or(State::Ready);
                Candidate { name: member.name.to_string(), weight: 1, state: listed.max(seen) }
            })
            .collect()
    }

    fn ids(&self) -> BTreeMap<String, NodeId> {
        let own = self.list.is_empty().then_some(self.own_name.as_str());
        node_ids(self.list.iter().map(|member| &*member.name).chain(own))
    }

    /// The new state of a peer, if this probe changed it.
    pub(super) fn observe(&mut self, name: &str, probe: Probe) -> Option<State> {
        let health = self.health.entry(name.to_owned()).or_default();
        health.observe(probe).then(|| health.state())
    }

    /// The TCP port of `/readyz` on all nodes.
    pub(super) fn health_port(&self) -> u16 {
        self.health_port
    }

    /// What is known of each node, with the peers that are reachable so.
    pub(super) fn nodes(&self, reachable: &HashMap<IpAddr, Node>) -> BTreeMap<String, NodeStatus> {
        let ids = self.ids();
        let states: BTreeMap<String, State> =
            self.candidates().into_iter().map(|node| (node.name, node.state)).collect();
        self.list
            .iter()
            .filter_map(|member| {
                let own = *member.name == *self.own_name;
                let status = NodeStatus {
                    id: *ids.get(&*member.name)?,
                    address: member.address,
                    state: states.get(&*member.name).copied().unwrap_or(State::Ready),
                    reachable: own || reachable.contains_key(&member.address),
                };
                Some((member.name.to_string(), status))
            })
            .collect()
    }

    /// How many rows of the last table each node comes first in.
    pub(super) fn rows(&self) -> BTreeMap<String, u32> {
        let heads = |id| self.heads.get(&id).copied().unwrap_or_default();
        self.ids().into_iter().map(|(name, id)| (name, heads(id))).collect()
    }

    /// What the maps should hold, with the peers that are reachable so.
    pub(super) fn desired(&mut self, reachable: &HashMap<IpAddr, Node>) -> Desired {
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
            config: Config { node: own, tunnel_port, flags: 0 },
            nodes,
            peers,
            vips: self.vips.clone(),
            tables: HashMap::from([(GROUP, Table { key: self.key, rows })]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l4::Mode;

    fn member(name: &str, last: u8) -> Member {
        Member { name: name.into(), address: IpAddr::from([10, 0, 0, last]), ready: true }
    }

    #[test]
    fn a_node_that_joins_gets_connections_when_it_has_answered() {
        let mut members = Members::new(&Options {
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
        let states = |members: &Members| -> Vec<State> {
            members.candidates().iter().map(|candidate| candidate.state).collect()
        };
        members.set(vec![member("n1", 1), member("n2", 2)]);
        assert_eq!(states(&members), [State::Ready; 2]);
        // Its Node object is there before its agent is.
        let three = vec![member("n1", 1), member("n2", 2), member("n3", 3)];
        members.set(three.clone());
        assert_eq!(states(&members), [State::Ready, State::Ready, State::Suspect]);
        while members.observe("n3", Probe::Ready).is_none() {}
        members.set(three);
        assert_eq!(states(&members), [State::Ready; 3]);
    }
}
