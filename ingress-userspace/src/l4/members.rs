//! The members as they are now, and what the maps should hold for them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use ingress_common::{
    Address, Config, Node, NodeId, Peer, Port, Row, VipKey, VipValue, config::CONFIG_DRAINING,
    limits::PEERS, vip::VIP_AFFINITY_SOURCE,
};

use super::{
    Desired, NodeStatus, Options, announce,
    diff::Table,
    health::{Health, Probe, Tunnel, with_panic_threshold},
    plan::{Candidate, State, node_ids},
    planned::Planned,
};
use crate::model::Member;

/// The replica group of all virtual services: there is one until services can choose their nodes.
const GROUP: u16 = 0;
/// IP protocol number of TCP.
const TCP: u8 = 6;
/// IP protocol number of UDP.
const UDP: u8 = 17;
/// How long the number of a node that left stays its own: longer than programs remember flows. Only
/// a node whose name wants the same number could get it sooner. For as long its tunnel packets are
/// taken: its pinned program goes on steering what still comes in there.
const NUMBER_KEPT: Duration = Duration::from_secs(180);
/// Nodes that left and whose numbers are kept, at most; the oldest go first.
const RETIRED: usize = 1024;

/// What is served at the virtual addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    /// The virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// The TCP ports that are served at each of them. The first is asked about through the tunnel.
    pub tcp: Vec<u16>,
    /// The UDP ports, likewise.
    pub udp: Vec<u16>,
    /// All connections of a client's address go to one node, rather than each to its own.
    pub by_client: bool,
}

/// The members, their health, and the rows that follow from them.
pub(super) struct Members {
    own_name: String,
    tunnel_port: u16,
    health_port: u16,
    key: ingress_common::HashKey,
    services: Services,
    list: Vec<Member>,
    health: BTreeMap<String, Health>,
    /// The nodes that left, as they were named last, and when.
    retired: BTreeMap<String, (Member, Instant)>,
    /// Whose tunnel packets the maps take: what stays while this node's address is not known.
    taken: HashMap<Address, Peer>,
    /// This node takes no new connections any more.
    draining: bool,
    /// How many candidates a row gets.
    candidates: usize,
    table: Option<Planned>,
    /// How many of the rows each node comes first in. Counted once, not each second.
    heads: HashMap<NodeId, u32>,
}

impl Members {
    /// Nobody yet: this node alone.
    pub(super) fn new(options: &Options) -> Self {
        Self {
            own_name: options.node_name.clone(),
            tunnel_port: options.tunnel_port,
            health_port: options.health_port,
            key: options.key,
            services: options.services.clone(),
            list: Vec::new(),
            health: BTreeMap::new(),
            retired: BTreeMap::new(),
            taken: HashMap::new(),
            draining: false,
            candidates: options.candidates,
            table: None,
            heads: HashMap::new(),
        }
    }

    /// Takes note of whose tunnel packets the maps take, from an agent before this one.
    pub(super) fn found(&mut self, peers: &HashMap<Address, Peer>) {
        self.taken.clone_from(peers);
    }

    /// Takes note of the nodes that the maps know by name. Those that the source does not name any more
    /// left not long ago: their numbers are nobody else's yet.
    pub(super) fn recall(&mut self, known: impl IntoIterator<Item = (String, IpAddr)>) {
        let now = Instant::now();
        for (name, address) in known {
            if name != self.own_name {
                let weight = Member::WEIGHT;
                let member = Member { name: name.as_str().into(), address, ready: false, weight };
                self.retired.insert(name, (member, now));
            }
        }
    }

    /// Takes note of what is served now; `true` if the addresses are others.
    pub(super) fn serve(&mut self, services: Services) -> bool {
        let others = self.services.addresses != services.addresses;
        self.services = services;
        others
    }

    /// The virtual addresses.
    pub(super) fn addresses(&self) -> &[IpAddr] {
        &self.services.addresses
    }

    /// This node takes no new connections from now on.
    pub(super) fn drain(&mut self) {
        self.draining = true;
    }

    /// The service to ask a peer about: each address in turn.
    pub(super) fn asked_about(&self) -> Vec<SocketAddr> {
        let port = self.services.tcp.first().copied();
        let addresses = self.services.addresses.iter();
        addresses.filter_map(|address| Some(SocketAddr::new(*address, port?))).collect()
    }

    /// The port of the tunnel, on all nodes.
    pub(super) fn tunnel_port(&self) -> u16 {
        self.tunnel_port
    }

    /// Takes note of who is there now. Nobody at all, after somebody was, is more likely a fault of
    /// the source than the end of this node too: those stay who were there.
    pub(super) fn set(&mut self, mut members: Vec<Member>) {
        if members.is_empty() && !self.list.is_empty() {
            tracing::warn!(
                nodes = self.list.len(),
                "the source names no node any more: the nodes that were known last stay"
            );
            return;
        }
        self.retire(&members, Instant::now());
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

    /// Keeps the numbers of those that are no longer named, and forgets those that left long ago.
    fn retire(&mut self, members: &[Member], now: Instant) {
        let named = |name: &str| members.iter().any(|member| *member.name == *name);
        for member in self.list.iter().filter(|member| !named(&member.name)) {
            self.retired.insert(member.name.to_string(), (member.clone(), now));
        }
        self.retired.retain(|name, _| !named(name));
        self.forget(now);
        while self.retired.len() > RETIRED {
            let oldest = self.retired.iter().min_by_key(|(_, (_, left))| *left);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else { return };
            self.retired.remove(&oldest);
        }
    }

    /// Forgets those that left long ago.
    fn forget(&mut self, now: Instant) {
        self.retired.retain(|_, (_, left)| now.saturating_duration_since(*left) < NUMBER_KEPT);
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

    /// The peers, and then those that left not long ago: all whom packets may still be sent to.
    pub(super) fn reached(&self) -> impl Iterator<Item = &Member> {
        let left = self.retired.values().map(|(member, _)| member);
        self.peers().chain(left.filter(|member| *member.name != *self.own_name))
    }

    fn candidates(&self) -> Vec<Candidate> {
        if self.list.is_empty() {
            // Nobody said who is there: this node serves alone.
            let name = self.own_name.clone();
            return vec![Candidate { name, weight: Member::WEIGHT, state: self.own_state() }];
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
                let name = member.name.to_string();
                let listed = if member.ready { State::Ready } else { State::Draining };
                let seen = match *member.name == *self.own_name {
                    true => self.own_state(),
                    false => states.get(&name).copied().unwrap_or(State::Ready),
                };
                Candidate { name, weight: member.weight, state: listed.max(seen) }
            })
            .collect()
    }

    fn own_state(&self) -> State {
        if self.draining { State::Draining } else { State::Ready }
    }

    fn ids(&self) -> BTreeMap<String, NodeId> {
        let own = self.list.is_empty().then_some(self.own_name.as_str());
        let retired = self.retired.keys().map(String::as_str);
        node_ids(self.list.iter().map(|member| &*member.name).chain(own).chain(retired))
    }

    /// The new state of a peer, if this probe changed it.
    pub(super) fn observe(&mut self, name: &str, probe: Probe, tunnel: Tunnel) -> Option<State> {
        let health = self.health.entry(name.to_owned()).or_default();
        health.observe(probe, tunnel).then(|| health.state())
    }

    /// Takes note of whether a packet as long as the link takes got through to a peer; whether they
    /// do, if that changed.
    pub(super) fn observe_full(&mut self, name: &str, passed: bool) -> Option<bool> {
        self.health.entry(name.to_owned()).or_default().observe_full(passed)
    }

    /// The TCP port of `/readyz` on all nodes.
    pub(super) fn health_port(&self) -> u16 {
        self.health_port
    }

    /// The node that announces each virtual address, as far as this one can see.
    pub(super) fn announcers(&self) -> BTreeMap<IpAddr, String> {
        let candidates = self.candidates();
        let addresses = self.services.addresses.iter();
        addresses
            .filter_map(|address| {
                let name = announce::announcer(*address, &candidates)?;
                Some((*address, name.to_owned()))
            })
            .collect()
    }

    /// What each node is planned as.
    pub(super) fn states(&self) -> BTreeMap<String, State> {
        self.candidates().into_iter().map(|node| (node.name, node.state)).collect()
    }

    /// The name of this node.
    pub(super) fn own_name(&self) -> &str {
        &self.own_name
    }

    /// What is known of each node, with the peers that are reachable so.
    pub(super) fn nodes(&self, reachable: &HashMap<IpAddr, Node>) -> BTreeMap<String, NodeStatus> {
        let ids = self.ids();
        let states = self.states();
        self.list
            .iter()
            .filter_map(|member| {
                let own = *member.name == *self.own_name;
                let health = self.health.get(&*member.name);
                let status = NodeStatus {
                    id: *ids.get(&*member.name)?,
                    address: member.address,
                    state: states.get(&*member.name).copied().unwrap_or(State::Ready),
                    reachable: own || reachable.contains_key(&member.address),
                    weight: member.weight,
                    full_size: health.and_then(Health::full_size),
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
        self.forget(Instant::now());
        let ids = self.ids();
        let rows = self.plan(&ids);
        let own = ids.get(&self.own_name).copied().unwrap_or(NodeId::NONE);
        let (nodes, peers) = self.others(reachable, &ids);
        self.taken.clone_from(&peers);
        let tunnel_port = Port::new(self.tunnel_port);
        let flags = if self.draining { CONFIG_DRAINING } else { 0 };
        Desired {
            config: Config { node: own, tunnel_port, flags },
            nodes,
            peers,
            vips: self.vips(),
            tables: HashMap::from([(GROUP, Table { key: self.key, rows })]),
        }
    }

    /// The rows as they should be now.
    fn plan(&mut self, ids: &BTreeMap<String, NodeId>) -> Arc<Vec<Row>> {
        let candidates = self.candidates();
        // Rows cost milliseconds, and this is called whenever a neighbour changes.
        if let Some(known) = &self.table
            && known.serves(&candidates, ids)
        {
            return Arc::clone(known.rows());
        }
        let planned = Planned::new(candidates, ids, self.candidates, self.list.is_empty());
        let rows = Arc::clone(planned.rows());
        self.heads.clear();
        for row in rows.iter() {
            *self.heads.entry(row.nodes[0]).or_default() += 1;
        }
        self.table = Some(planned);
        rows
    }

    /// How the others are reached, and whose tunnel packets are taken.
    fn others(
        &self,
        reachable: &HashMap<IpAddr, Node>,
        ids: &BTreeMap<String, NodeId>,
    ) -> (HashMap<NodeId, Node>, HashMap<Address, Peer>) {
        let (mut nodes, mut peers) = (HashMap::new(), HashMap::new());
        let own = self.own_address();
        // Peers first: an address that a node left to another is the other's.
        let mut addresses: HashSet<IpAddr> = own.into_iter().collect();
        for member in self.reached() {
            let Some(id) = ids.get(&*member.name) else { continue };
            if !addresses.insert(member.address) {
                continue;
            }
            if let Some(node) = reachable.get(&member.address) {
                nodes.insert(*id, *node);
            }
            if let Some(local) = own
                && peers.len() < PEERS as usize
            {
                let peer = Peer { local: local.into(), node: *id, reserved: [0; 2] };
                peers.insert(Address::from(member.address), peer);
            }
        }
        match own {
            Some(_) => (nodes, peers),
            None => (nodes, self.taken.clone()),
        }
    }

    fn vips(&self) -> HashMap<VipKey, VipValue> {
        let Services { addresses, tcp, udp, by_client } = &self.services;
        let flags = if *by_client { VIP_AFFINITY_SOURCE } else { 0 };
        let ports = tcp.iter().map(|port| (TCP, *port)).chain(udp.iter().map(|port| (UDP, *port)));
        let mut vips = HashMap::new();
        for (number, address) in (0u16..).zip(addresses) {
            for (protocol, port) in ports.clone() {
                let key = VipKey::new(Address::from(*address), Port::new(port), protocol);
                vips.insert(key, VipValue { vip_id: number, group: GROUP, flags });
            }
        }
        vips
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l4::Mode;

    fn member(name: &str, last: u8) -> Member {
        let address = IpAddr::from([10, 0, 0, last]);
        Member { name: name.into(), address, ready: true, weight: Member::WEIGHT }
    }

    fn members() -> Members {
        Members::new(&Options {
            mode: Mode::Auto,
            interfaces: Vec::new(),
            services: Services {
                addresses: vec![IpAddr::from([203, 0, 113, 80])],
                tcp: vec![80],
                udp: vec![53],
                by_client: false,
            },
            node_name: "n1".to_owned(),
            bpf_dir: "/nowhere".into(),
            tunnel_port: 1,
            health_port: 1,
            key: ingress_common::HashKey([1, 2]),
            members: Vec::new(),
            candidates: Row::WIDTH,
            settings: true,
            announce: false,
        })
    }

    fn states(members: &Members) -> Vec<State> {
        members.candidates().iter().map(|candidate| candidate.state).collect()
    }

    #[test]
    fn a_node_that_joins_gets_connections_when_it_has_answered() {
        let mut members = members();
        members.set(vec![member("n1", 1), member("n2", 2)]);
        assert_eq!(states(&members), [State::Ready; 2]);
        // Its Node object is there before its agent is.
        let three = vec![member("n1", 1), member("n2", 2), member("n3", 3)];
        members.set(three.clone());
        assert_eq!(states(&members), [State::Ready, State::Ready, State::Suspect]);
        while members.observe("n3", Probe::Ready, Tunnel::Takes).is_none() {}
        members.set(three);
        assert_eq!(states(&members), [State::Ready; 3]);
    }

    #[test]
    fn a_node_that_drains_says_so_in_its_own_table() {
        let mut members = members();
        members.set(vec![member("n1", 1), member("n2", 2)]);
        members.drain();
        assert_eq!(states(&members), [State::Draining, State::Ready]);
        let desired = members.desired(&HashMap::new());
        assert_eq!(desired.config.flags, CONFIG_DRAINING);
        let own = members.ids()["n1"];
        let rows = &desired.tables[&GROUP].rows;
        assert!(rows.iter().all(|row| row.nodes[0] != own && row.nodes[1] == own));
    }

    #[test]
    fn a_node_alone_keeps_its_rows_while_it_drains() {
        let mut members = members();
        members.set(vec![member("n1", 1)]);
        members.drain();
        let desired = members.desired(&HashMap::new());
        let own = members.ids()["n1"];
        assert!(desired.tables[&GROUP].rows.iter().all(|row| row.nodes[0] == own));
    }

    #[test]
    fn the_number_of_a_node_that_left_is_not_given_away_for_a_while() {
        // Two names that want one number: found, not made up.
        let names: Vec<String> = (0..600).map(|number| format!("w{number}")).collect();
        let alone = |name: &str| node_ids([name])[name];
        let mut wanted = HashMap::new();
        let (first, second) = names
            .iter()
            .find_map(|name| {
                let before = wanted.insert(alone(name), name.clone())?;
                Some((before, name.clone()))
            })
            .expect("of 600 names two want one of 16383 numbers");
        let (first, second) = if first < second { (first, second) } else { (second, first) };
        let mut members = members();
        members.set(vec![member("n1", 1), member(&first, 2), member(&second, 3)]);
        let before = members.ids();
        assert_ne!(before[&first], before[&second]);
        members.set(vec![member("n1", 1), member(&second, 3)]);
        assert_eq!(members.ids()[&second], before[&second]);
        assert!(
            !members.desired(&HashMap::new()).tables[&GROUP]
                .rows
                .iter()
                .any(|row| row.nodes.contains(&before[&first]))
        );
        // Long after, nothing is kept.
        let later = Instant::now() + NUMBER_KEPT;
        let list = members.list.clone();
        members.retire(&list, later);
        assert_eq!(members.ids()[&second], alone(&second));
        assert!(members.retired.is_empty());
    }

    fn reachable(last: u8) -> (IpAddr, Node) {
        use bytemuck::Zeroable as _;
        let address = IpAddr::from([10, 0, 0, last]);
        (address, Node { address: address.into(), ..Node::zeroed() })
    }

    #[test]
    fn a_node_that_left_still_forwards_for_a_while() {
        let mut members = members();
        let reachable = HashMap::from([reachable(2), reachable(3)]);
        members.set(vec![member("n1", 1), member("n2", 2), member("n3", 3)]);
        let before = members.desired(&reachable);
        let left = members.ids()["n3"];
        members.set(vec![member("n1", 1), member("n2", 2)]);
        let after = members.desired(&reachable);
        // Its program still encapsulates what clients send to it.
        assert_eq!((&after.peers, &after.nodes), (&before.peers, &before.nodes));
        assert!(after.tables[&GROUP].rows.iter().all(|row| !row.nodes.contains(&left)));
        assert_eq!(members.peers().count(), 1, "it is not asked any more");
        // Its address is another's now.
        members.set(vec![member("n1", 1), member("n2", 2), member("n4", 3)]);
        let moved = members.desired(&reachable);
        let address = Address::from(IpAddr::from([10, 0, 0, 3]));
        assert_eq!(moved.peers[&address].node, members.ids()["n4"]);
        assert!(!moved.nodes.contains_key(&left));
        members.forget(Instant::now() + NUMBER_KEPT);
        assert!(members.retired.is_empty());
    }

    #[test]
    fn who_joins_waits_until_the_table_is_settled_and_who_drains_does_not() {
        fn heads(members: &mut Members, name: &str) -> usize {
            let rows = members.desired(&HashMap::new()).tables[&GROUP].rows.clone();
            let id = members.ids()[name];
            rows.iter().filter(|row| row.nodes[0] == id).count()
        }
        fn settle(members: &mut Members) {
            members.table.as_mut().expect("there is one").settle();
        }
        let list = |weight: u32, count: u8| -> Vec<Member> {
            let mut list: Vec<Member> =
                (1..=count).map(|number| member(&format!("n{number}"), number)).collect();
            list[1].weight = weight;
            list
        };
        let mut members = members();
        assert!(heads(&mut members, "n1") > 0);
        // Nobody had been named before: this does not wait.
        members.set(list(100, 2));
        let half = heads(&mut members, "n2");
        assert!(half > 0);
        // More for one, and another.
        members.set(list(200, 3));
        while members.observe("n3", Probe::Ready, Tunnel::Takes).is_none() {}
        assert_eq!((heads(&mut members, "n2"), heads(&mut members, "n3")), (half, 0));
        settle(&mut members);
        assert!(heads(&mut members, "n2") > 0 && heads(&mut members, "n3") > 0);
        // One drains just then, and one leaves.
        let mut draining = list(200, 3);
        draining[1].ready = false;
        members.set(draining.clone());
        assert_eq!(heads(&mut members, "n2"), 0);
        // Its return waits, until something else cannot.
        members.set(list(200, 3));
        assert_eq!(heads(&mut members, "n2"), 0);
        members.drain();
        assert_eq!(heads(&mut members, "n1"), 0);
        assert!(heads(&mut members, "n2") > 0);
        members.set(list(200, 2));
        assert!(
            members.desired(&HashMap::new()).tables[&GROUP]
                .rows
                .iter()
                .all(|row| { row.nodes[0] == members.ids()["n2"] })
        );
    }

    #[test]
    fn an_empty_list_takes_nobody_away() {
        let mut members = members();
        members.set(vec![member("n1", 1), member("n2", 2)]);
        let before = members.desired(&HashMap::new());
        members.set(Vec::new());
        assert_eq!(members.desired(&HashMap::new()), before);
        assert!(members.retired.is_empty());
    }

    #[test]
    fn without_an_address_of_its_own_a_node_keeps_the_peers_that_the_maps_have() {
        let mut before = members();
        before.set(vec![member("n1", 1), member("n2", 2)]);
        let peers = before.desired(&HashMap::new()).peers;
        assert_eq!(peers.len(), 1);
        // The next agent, before its source named anybody.
        let mut members = members();
        members.found(&peers);
        assert_eq!(members.desired(&HashMap::new()).peers, peers);
        members.set(vec![member("n2", 2), member("n3", 3)]);
        assert_eq!(members.desired(&HashMap::new()).peers, peers);
        members.set(vec![member("n1", 1), member("n3", 3)]);
        let address = Address::from(IpAddr::from([10, 0, 0, 3]));
        assert!(members.desired(&HashMap::new()).peers.contains_key(&address));
    }

    /// Two names that want one number; the second in the alphabet gets the next one.
    fn colliding() -> [String; 2] {
        let alone = |name: &str| node_ids([name])[name];
        let mut seen = HashMap::new();
        for number in 0..2000 {
            let name = format!("node-{number:04}");
            if let Some(other) = seen.insert(alone(&name), name.clone()) {
                return [other, name];
            }
        }
        unreachable!("there are 1023 numbers")
    }

    #[test]
    fn an_agent_that_starts_again_keeps_the_numbers_of_nodes_that_left() {
        let [left, stays] = colliding();
        let mut before = members();
        before.set(vec![member("n1", 1), member(&left, 2), member(&stays, 3)]);
        before.set(vec![member("n1", 1), member(&stays, 3)]);
        let number = before.ids()[&stays];
        assert_eq!(before.ids().len(), 3);

        let mut after = members();
        after.recall([(left.clone(), IpAddr::from([10, 0, 0, 2])), ("n1".to_owned(), own())]);
        after.set(vec![member("n1", 1), member(&stays, 3)]);
        assert_eq!(after.ids()[&stays], number);
        assert!(after.reached().any(|member| *member.name == *left), "it may still send");
        // It would have another one, were the other forgotten.
        after.forget(Instant::now() + NUMBER_KEPT);
        assert_ne!(after.ids()[&stays], number);
        // Who is named is not one that left.
        after.recall([(stays.clone(), IpAddr::from([10, 0, 0, 3]))]);
        after.set(vec![member("n1", 1), member(&stays, 3)]);
        assert!(after.retired.is_empty());
    }

    fn own() -> IpAddr {
        IpAddr::from([10, 0, 0, 1])
    }

    #[test]
    fn nodes_that_come_and_go_do_not_pile_up() {
        let mut members = members();
        for number in 0..3000 {
            members.set(vec![member("n1", 1), member(&format!("node-{number}"), 2)]);
        }
        assert!(members.retired.len() <= RETIRED && members.health.len() <= 2);
    }

    #[test]
    fn services_of_both_protocols_are_steered() {
        let mut members = members();
        assert_eq!(members.desired(&HashMap::new()).vips.len(), 2);
        let addresses = vec![IpAddr::from([203, 0, 113, 80]), IpAddr::from([203, 0, 113, 81])];
        let (tcp, udp) = (vec![80, 443], Vec::new());
        let changed = members.serve(Services { addresses, tcp, udp, by_client: true });
        assert!(changed);
        let vips = members.desired(&HashMap::new()).vips;
        assert_eq!(vips.len(), 4);
        assert!(vips.values().all(|vip| vip.flags == VIP_AFFINITY_SOURCE));
        assert_eq!(members.asked_about().len(), 2);
    }
}
