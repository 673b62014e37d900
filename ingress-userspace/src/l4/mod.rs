//! The agent's side of the kernel tier, in the order of the data:
//!
//! ```text
//! members, health ─→ plan, planned       ┐
//! neighbor ─→ reach ─→ each node's hop   ├→ diff (pure) ─→ apply ─→ BPF maps
//! options ─→ virtual services            ┘
//! object, machine, stack, translation    what this build has, and what this machine allows
//! attach, link, detach                   what runs in the kernel, and survives the agent
//! directory, lock, loopback, settings    where it is pinned, and the addresses that go with it
//! question, watch                        what peers are asked, and how often
//! announce                               who answers for an address on the link
//! worker                                 what goes on while it runs
//! slots, counters                        whose counters are whose, and what they say
//! record, events, capture, pcapng        single packets, for the agent and for people
//! handle, command, follow, explain, top  the ways in
//! ```
//!
//! Programs, maps and links are pinned: the death of the agent stops no packet.

mod announce;
mod apply;
mod attach;
mod capture;
pub mod command;
mod counters;
mod detach;
mod diff;
mod directory;
mod error;
mod events;
mod explain;
mod follow;
mod handle;
pub mod health;
mod link;
mod lock;
mod log;
mod loopback;
mod machine;
mod members;
mod neighbor;
mod netlink;
pub mod object;
mod pcapng;
pub mod plan;
mod planned;
mod question;
mod reach;
mod record;
mod segment;
mod settings;
mod slots;
mod stack;
mod top;
mod translation;
mod watch;
mod worker;

use std::path::PathBuf;

use ingress_common::HashKey;

use crate::model::Member;

pub use apply::{KernelMaps, MapStore};
pub use attach::MAPS;
pub use command::leave;
pub use counters::{NodeCounts, Reader, ServiceCounts, totals as pinned_counters};
pub use diff::{Desired, Operation, diff};
pub use error::L4Error;
pub use explain::Explain;
pub use handle::{Handle, NodeStatus, Status, start};
pub use link::Kind as AttachKind;
pub use members::Services;
pub use record::Event;
pub use segment::largest_segment;
pub use top::Top;
pub use translation::{Translation, translations};
pub use watch::SETTLED;

/// Whether to steer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Never: no rights beyond the ports are needed.
    #[default]
    Off,
    /// If there is an interface to do it on: as [`Xdp`](Self::Xdp).
    Auto,
    /// By XDP, in the driver or, where that has none, in the network stack.
    Xdp,
    /// By tc, which is an experiment: only for who asks for it.
    Tc,
}

/// What the kernel tier is told once.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether to steer.
    pub mode: Mode,
    /// The interfaces that packets for virtual addresses, and tunnel packets, come in on.
    pub interfaces: Vec<String>,
    /// What is served, to begin with; [`Handle::serve`] names others.
    pub services: Services,
    /// This node's name, as in [`Member::name`](crate::model::Member::name).
    pub node_name: String,
    /// Where programs, maps and links are pinned, e.g. `/sys/fs/bpf/penstock`.
    pub bpf_dir: PathBuf,
    /// The UDP port of the tunnel, equal on all nodes.
    pub tunnel_port: u16,
    /// The TCP port of `/readyz` on all nodes.
    pub health_port: u16,
    /// The secret of the flow hash, equal on all nodes.
    pub key: HashKey,
    /// The nodes to begin with; none stands for this node alone. [`Handle::update`] names others.
    pub members: Vec<Member>,
    /// How many candidates a row gets, 1 to 4: fewer than all only to show what they are good for.
    pub candidates: usize,
    /// Settings of the network stack that steering needs are made.
    pub settings: bool,
    /// One node answers ARP and neighbour solicitations for each virtual address.
    pub announce: bool,
}
