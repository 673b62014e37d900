//! A whole cluster on one machine: a control plane, nodes with kubelet, containerd and kube-proxy, and
//! a client outside, each in a network namespace, all on one switch.
//!
//! It outlives the process that made it: [`Cluster::up`] and [`Cluster::down`] are commands. All of
//! it can be found again by its name: the namespaces' names, one directory, one control group.

mod cgroups;
mod images;
mod layout;
mod leftovers;
mod network;
mod node;
mod runtime;
mod start;

pub use images::Image;
pub use layout::{Layout, Place, VIRTUAL};
pub use node::run as run_node;
pub use start::Cluster;
