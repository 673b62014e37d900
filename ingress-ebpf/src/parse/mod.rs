//! Bytes → headers. Every reader takes the offset where its header begins, reads within the frame
//! only, and never looks at more than it was asked for.

mod icmp;
mod ip;
mod ipv4;
mod ipv6;
mod link;
mod transport;

pub use icmp::Quoted;
pub use ip::{Ip, Network, Piece, addresses};
pub use link::{ETHERNET, Link};
pub use transport::{Segment, TCP, Transport, UDP};
