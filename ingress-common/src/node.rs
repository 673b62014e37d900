//! The nodes that a packet can be handed to.

use bytemuck::{Pod, Zeroable};

use crate::{Address, Mac};

/// A node's number, the same on every node of the cluster. Index into the `NODES` map.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Pod, Zeroable)]
pub struct NodeId(pub u16);

impl NodeId {
    /// No node: the end of a row or of a hop list.
    pub const NONE: Self = Self(0);
}

/// How to reach a node with an encapsulated packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Node {
    /// Destination of the outer header.
    pub address: Address,
    /// Source of the outer header: this node's own address towards that node.
    pub source: Address,
    /// Link-layer destination: the node itself on a shared link, else the gateway to it.
    pub next_hop: Mac,
    /// Link-layer source.
    pub source_mac: Mac,
    /// Index of the interface to send from.
    pub ifindex: u32,
    /// Largest IP packet, outer header included, that the path takes. Bytes.
    pub mtu: u16,
    /// [`NODE_USABLE`].
    pub flags: u16,
    /// Index into the per-node counters; 0 for a node that is not counted by itself.
    pub slot: u32,
}
const _: () = assert!(size_of::<Node>() == 56);

/// All fields are resolved: the node can be sent to.
pub const NODE_USABLE: u16 = 1;

/// A node that tunnel packets are taken from. The key of the map is the address that they come
/// from.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Peer {
    /// The only destination that makes them ours. Tunnel packets between two peers that this node
    /// merely routes stay untouched.
    pub local: Address,
    /// The peer's number.
    pub node: NodeId,
    /// Always zero.
    pub reserved: [u8; 2],
}
const _: () = assert!(size_of::<Peer>() == 20);
