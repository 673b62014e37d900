//! Between nodes: Ethernet, IP, UDP, [`TunnelHeader`](ingress_common::TunnelHeader), and then the
//! client's packet from its IP header on.

mod enter;
mod link;
mod outer;
mod probe;
mod receive;

pub use enter::enter;
pub use outer::Outer;
pub use receive::receive;
