//! Maps and sockets as plain values.

use ingress_common::{
    Address, Config, Flow, Group, Node, NodeId, Peer, Row, VipAddress, VipKey, VipValue, limits,
};
use ingress_ebpf::Socket;

/// A world in which every row is the same, and one answer is true of every socket.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) interface: u32,
    pub(crate) vip_addresses: Vec<Address>,
    pub(crate) vips: Vec<(VipKey, VipValue)>,
    pub(crate) groups: Vec<Group>,
    pub(crate) row: Row,
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
            nodes: Vec::new(),
            peers: Vec::new(),
            socket: Socket::Unknown,
        }
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

    fn vip_address(&self, address: &Address) -> Option<VipAddress> {
        self.vip_addresses.contains(address).then(VipAddress::default)
    }

    fn vip(&self, key: &VipKey) -> Option<VipValue> {
        find(&self.vips, key).copied()
    }

    fn group(&self, number: u16) -> Option<&Group> {
        self.groups.get(usize::from(number))
    }

    fn row(&self, index: u32) -> Option<Row> {
        (index < limits::TABLE).then_some(self.row)
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::from(id.0))
    }

    fn peer(&self, address: &Address) -> Option<&Peer> {
        find(&self.peers, address)
    }

    fn socket(&self, _: &Flow, _: &[u8; 20]) -> Socket {
        self.socket
    }
}
