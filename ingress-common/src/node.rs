//! The nodes that a packet can be handed to.

use bytemuck::{Pod, Zeroable};

use crate::Address;

/// A node's number, the same on every node of the cluster. Index into the `NODES` map.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Pod, Zeroable)]
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
    pub next_hop: [u8; 6],
    /// Link-layer source.
    pub source_mac: [u8; 6],
    /// Index of the interface to send from.
    pub ifindex: u32,
    /// Largest IP packet, outer header included, that the path takes. Bytes.
    pub mtu: u16,
    /// [`NODE_LOCAL`], [`NODE_USABLE`].
    pub flags: u16,
    /// Always zero.
    pub reserved: u32,
}
const _: () = assert!(size_of::<Node>() == 56);

/// This is the node that the program runs on.
pub const NODE_LOCAL: u16 = 1;
/// All fields are resolved: the node can be sent to.
pub const NODE_USABLE: u16 = 2;
