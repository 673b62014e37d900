//! The only definition of anything that crosses Penstock's kernel boundary.
//!
//! The XDP programs, the agent and the tests all read these types, so that a map's bytes mean the
//! same to each. Every type is `#[repr(C)]`, has no implicit padding (bytemuck's `Pod` derive
//! refuses it), no `bool`, `enum` or `Option`, and a size asserted beside it. A change of layout
//! raises [`ABI_VERSION`](limits::ABI_VERSION): the agent refuses pinned maps of another version.
//!
//! Addresses and ports are kept as the packet has them (network order, [`net`]); every other
//! integer is in host order.
#![no_std]
#![deny(unsafe_code)]

pub mod config;
pub mod flow;
pub mod limits;
pub mod memory;
pub mod net;
pub mod node;
pub mod observe;
#[cfg(feature = "user")]
mod pod;
pub mod reason;
pub mod table;
pub mod tunnel;
pub mod vip;

pub use config::{Config, Meta};
pub use flow::{Flow, HashKey};
pub use memory::{FlowNode, Fragmented, Heart, Scratch};
pub use net::{Address, Mac, Port};
pub use node::{Node, NodeId, Peer};
pub use reason::{Counters, Reason};
pub use table::{Group, Row};
pub use tunnel::{Hops, TunnelHeader};
pub use vip::{Service, VipAddress, VipKey, VipValue};
