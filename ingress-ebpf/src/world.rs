//! What the core asks the world outside the frame: maps, the clock and the kernel's socket table.

use ingress_common::{
    Address, Config, Flow, Fragmented, Group, Node, NodeId, Peer, Row, VipAddress, VipKey,
    VipValue, config::CONFIG_DRAINING,
};

/// The kernel's answer to "whose connection is this?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// There is none.
    Unknown,
    /// Somebody listens: a new connection is welcome, another segment belongs elsewhere.
    Listening,
    /// This node's connection: established, half open, in TIME-WAIT, or about to be completed by a
    /// SYN cookie of ours.
    Known,
}

/// Maps and socket look-ups.
pub trait World {
    /// The node and its settings.
    fn config(&self) -> Config;
    /// This node takes no new connections if there is another that does.
    #[inline(always)]
    fn is_draining(&self) -> bool {
        self.config().flags & CONFIG_DRAINING != 0
    }
    /// The interface that the frame came in on.
    fn interface(&self) -> u32;
    /// Nanoseconds of the coarse monotonic clock.
    fn now(&self) -> u64;
    /// The agent has not said for too long that it runs: it may be hung, though it listens.
    fn is_stale(&self) -> bool;
    /// What is known of a virtual address; `None` for all others.
    fn vip_address(&self, address: &Address) -> Option<&VipAddress>;
    /// The virtual service with exactly this key.
    fn vip(&self, key: &VipKey) -> Option<VipValue>;
    /// A replica group.
    fn group(&self, number: u16) -> Option<&Group>;
    /// A row; see [`row_index`](ingress_common::table::row_index).
    fn row(&self, index: u32) -> Option<Row>;
    /// How to reach a node. The last one that was asked for is the one that a packet is sent to.
    fn node(&self, id: NodeId) -> Option<&Node>;
    /// The peer that has this address.
    fn peer(&self, address: &Address) -> Option<&Peer>;
    /// Told which virtual service the packet is for.
    fn serving(&self, _vip: VipValue) {}
    /// Told that the packet begins a flow, for whoever watches; of a peer's question too, which
    /// carries a SYN of nobody's.
    fn opening(&self) {}
    /// The TCP socket of this node that would get the flow's segment with this header.
    fn socket(&self, flow: &Flow, segment: Option<&[u8; 20]>) -> Socket;
    /// Where the UDP flow with this hash goes, if it was remembered lately.
    fn flow(&self, hash: u64) -> Option<NodeId>;
    /// Remembers it.
    fn remember_flow(&self, hash: u64, node: NodeId);
    /// What the first fragment of the packet with this hash said.
    fn fragmented(&self, hash: u64) -> Option<Fragmented>;
    /// Remembers it.
    fn remember_fragmented(&self, hash: u64, fragmented: Fragmented);
    /// Tells the program behind the tail call how long a packet may be, in bytes.
    fn set_limit(&self, bytes: u32);
    /// What was told so; `None` if this CPU has sent too many answers lately. Counts as one.
    fn take_answer(&self) -> Option<u32>;
}
