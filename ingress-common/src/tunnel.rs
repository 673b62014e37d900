//! The header between the outer UDP header and the packet of the client.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------+-------+---------------+---------------+---------------+
//! |version| hops  |     next      |     flags     | inner protocol|
//! +-------+-------+---------------+---------------+---------------+
//! |          generation           |            hop 0              |
//! +-------------------------------+-------------------------------+
//! |            hop 1              |            hop 2              |
//! +-------------------------------+-------------------------------+
//! |                the client's packet from its IP header ...
//! ```
//!
//! The list always has room for [`TunnelHeader::HOPS`] nodes, so that the header has one length and
//! the verifier one bound. `hops` says how many are filled and `next` which of them is tried after
//! the receiver: it only grows, hence no packet can loop.

use bytemuck::{Pod, Zeroable};

/// The tunnel header, in network order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct TunnelHeader {
    /// [`TunnelHeader::VERSION`] in the upper four bits, the number of hops in the lower four.
    pub version_hops: u8,
    /// Index of the hop that follows the receiver; equal to the number of hops when none is left.
    pub next: u8,
    /// None defined yet: zero when sent, ignored when received.
    pub flags: u8,
    /// IP protocol number of the inner packet: 4 (IPv4) or 41 (IPv6).
    pub inner_protocol: u8,
    /// The lowest 16 bits of the sender's table generation, for diagnosis only.
    pub generation: [u8; 2],
    /// The candidates after the receiver, in order.
    pub hops: [[u8; 2]; TunnelHeader::HOPS],
}
const _: () = assert!(size_of::<TunnelHeader>() == TunnelHeader::LEN);

impl TunnelHeader {
    /// Version of this layout. A receiver drops others, with a reason.
    pub const VERSION: u8 = 1;
    /// Hops that fit: a row's candidates but the first.
    pub const HOPS: usize = crate::Row::WIDTH - 1;
    /// Length in bytes.
    pub const LEN: usize = 12;
    /// The default UDP port of the tunnel.
    pub const PORT: u16 = 6081 + 1;
    /// IP protocol number of an inner IPv4 packet.
    pub const INNER_V4: u8 = 4;
    /// IP protocol number of an inner IPv6 packet.
    pub const INNER_V6: u8 = 41;
}
