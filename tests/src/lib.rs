//! A cluster in a box: a client, a router, nodes that each run an agent, and pods, out of network
//! namespaces on one machine. The demo and the namespace tests run in it.
//!
//! ```text
//!  client ──── router ════ fabric (bridge) ──┬── n1: agent, XDP on eth0 ── pods 10.244.1.0/24
//!               ECMP route to the VIPs       ├── n2: agent, XDP on eth0 ── pods 10.244.2.0/24
//!               over all nodes               └── n3: agent, XDP on eth0 ── pods 10.244.3.0/24
//! ```
//!
//! Whatever is made carries the box's [`BoxId`] in its name and goes when the [`Cluster`] is
//! dropped or the process is told to end; what a killed process left goes with the next box.
#![forbid(unsafe_code)]

mod agent;
mod authority;
mod client;
mod cluster;
mod echo;
mod fabric;
mod id;
mod interrupt;
mod leftovers;
mod load;
mod loopback;
mod manifests;
mod namespace;
mod pods;
mod topology;

pub mod failover;
pub mod kubernetes;
pub mod programs;
pub mod requirement;
pub mod wire;

pub use agent::{Agent, Binaries};
pub use authority::Authority;
pub use client::{Answer, Connection, get};
pub use cluster::{Cluster, Named, Options};
pub use echo::{Echo, serve};
pub use id::BoxId;
pub use leftovers::clean;
pub use load::{Event, Load, Progress};
pub use loopback::Loopback;
pub use manifests::{Manifests, Pod};
pub use namespace::Namespace;
pub use pods::Pods;
pub use topology::{NodeAddresses, VIP_V4, VIP_V6};
