//! Between nodes: Ethernet, IP, UDP, [`TunnelHeader`](ingress_common::TunnelHeader), and then the
//! client's packet from its IP header on.

mod enter;
mod link;
mod outer;
mod probe;
pub(crate) mod receive;

pub use enter::{enter, room};
pub(crate) use link::{Tags, addresses};
pub use outer::Outer;
pub use receive::{receive, receive_icmp};
