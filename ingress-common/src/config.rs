//! What the agent tells the programs about the node that they run on.

use bytemuck::{Pod, Zeroable};

use crate::{NodeId, Port, limits::ABI_VERSION};

/// The only entry of the `CONFIG` map. All zero, as a fresh map is, it describes no node: the
/// programs then own nothing and take nothing for a tunnel packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// UDP port of the tunnel, on all nodes of the cluster.
    pub tunnel_port: Port,
    /// [`CONFIG_DRAINING`].
    pub flags: u32,
}
const _: () = assert!(size_of::<Config>() == 8);

/// New connections go to the next candidate although somebody still listens here; they stay where
/// nobody else is left.
pub const CONFIG_DRAINING: u32 = 1;

/// The only entry of the `META` map: what whoever opens pinned maps reads first.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Meta {
    /// [`ABI_VERSION`] of the agent that made the maps; 0 while they are being set up.
    pub abi_version: u32,
    /// Always zero.
    pub reserved: u32,
}
const _: () = assert!(size_of::<Meta>() == 8);

impl Meta {
    /// What this build writes.
    pub const CURRENT: Self = Self { abi_version: ABI_VERSION, reserved: 0 };
}
