//! Maps and sockets as plain values.

use std::cell::Cell;

use ingress_common::{
    Address, Config, Flow, Fragmented, Group, Node, NodeId, Peer, Row, VipAddress, VipKey,
    VipValue, limits,
};
use ingress_ebpf::Socket;

/// A world in which every row is the same, and one answer is true of every socket.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) interface: u32,
    pub(crate) vip_addresses: Vec<(Address, VipAddress)>,
    pub(crate) vips: Vec<(VipKey, VipValue)>,
    pub(crate) groups: Vec<Group>,
    pub(crate) row: Row,
    /// The same row in the idle generation.
    pub(crate) idle: Row,
    pub(crate) now: u64,
    pub(crate) stale: bool,
    /// Where every UDP flow goes.
    pub(crate) flow: NodeId,
    /// What every first fragment said.
    pub(crate) fragmented: Option<Fragmented>,
    /// How long a packet may be, as one program tells another.
    pub(crate) limit: Cell<u32>,
    pub(crate) answers: bool,
    pub(crate) nodes: Vec<Node>,
    pub(crate) peers: Vec<(Address, Peer)>,
    pub(crate) socket: Socket,
}

impl Default for World {
    fn default() -> Self {
        Self {
            config: Config::default(),
            interface: 0,
            vip_addresses: Vec::new(),
            vips: Vec::new(),
            groups: Vec::new(),
            row: Row::EMPTY,
            idle: Row::EMPTY,
            now: 0,
            stale: false,
            flow: NodeId::NONE,
            fragmented: None,
            limit: Cell::new(0),
            answers: true,
            nodes: Vec::new(),
            peers: Vec::new(),
            socket: Socket::Unknown,
        }
    }
}

impl World {
    /// Is this a virtual address?
    pub(crate) fn is_virtual(&self, address: &Address) -> bool {
        self.vip_addresses.iter().any(|(known, _)| known == address)
    }

    /// The candidates of every row as they are asked about a packet that is, or is not, a SYN or a
    /// datagram.
    pub(crate) fn candidates(&self, group: u16, opening: bool, datagram: bool) -> Vec<u16> {
        let of = |row: Row| row.nodes.map(|id| id.0).into_iter().take_while(|id| *id != 0);
        let mut row: Vec<u16> = of(self.row).collect();
        let until = self.groups.get(usize::from(group)).map_or(0, |group| group.transition_until);
        let before = of(self.idle).next();
        if opening && self.now < until && before.is_some_and(|id| id != row[0]) {
            row.insert(0, before.unwrap_or_default());
        }
        if datagram && row.len() > 1 && self.row.nodes.contains(&self.flow) {
            row.insert(0, self.flow.0);
        }
        row.truncate(Row::WIDTH);
        row
    }
}

fn find<'l, K: PartialEq, V>(list: &'l [(K, V)], key: &K) -> Option<&'l V> {
    list.iter().find(|(candidate, _)| candidate == key).map(|(_, value)| value)
}

impl ingress_ebpf::World for World {
    fn config(&self) -> Config {
        self.config
    }

    fn interface(&self) -> u32 {
        self.interface
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn is_stale(&self) -> bool {
        self.stale
    }

    fn vip_address(&self, address: &Address) -> Option<&VipAddress> {
        find(&self.vip_addresses, address)
    }

    fn vip(&self, key: &VipKey) -> Option<VipValue> {
        find(&self.vips, key).copied()
    }

    fn group(&self, number: u16) -> Option<&Group> {
        self.groups.get(usize::from(number))
    }

    fn row(&self, index: u32) -> Option<Row> {
        let generation = index / limits::ROWS;
        let group = self.groups.get(generation as usize / 2)?;
        let current = generation & 1 == group.generation & 1;
        Some(if current { self.row } else { self.idle })
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::from(id.0))
    }

    fn peer(&self, address: &Address) -> Option<&Peer> {
        find(&self.peers, address)
    }

    fn socket(&self, _: &Flow, _: Option<&[u8; 20]>) -> Socket {
        self.socket
    }

    fn flow(&self, _: u64) -> Option<NodeId> {
        (self.flow != NodeId::NONE).then_some(self.flow)
    }

    fn remember_flow(&self, _: u64, node: NodeId) {
        assert!(self.row.nodes.contains(&node), "{node:?} is remembered");
    }

    fn fragmented(&self, _: u64) -> Option<Fragmented> {
        self.fragmented
    }

    fn remember_fragmented(&self, _: u64, _: Fragmented) {}

    fn set_limit(&self, bytes: u32) {
        self.limit.set(bytes);
    }

    fn take_answer(&self) -> Option<u32> {
        self.answers.then(|| self.limit.get())
    }
}
