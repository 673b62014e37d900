//! Bytes → headers. Every reader takes the offset where its header begins, reads within the frame
//! only, and never looks at more than it was asked for.

mod ip;
mod ipv4;
mod ipv6;
mod link;
mod transport;

pub use ip::{Ip, Network, addresses};
pub use link::{ETHERNET, Link};
pub use transport::{Segment, Transport};
