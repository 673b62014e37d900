//! The steering table of a replica group: 65536 rows of candidate nodes, in two generations.
//!
//! The rows of all groups and generations lie in one array map; [`row_index`] says where. A
//! change writes the idle generation and then stores [`Group::generation`] once, so that no packet
//! sees a mixture.

use bytemuck::{Pod, Zeroable};

use crate::{HashKey, NodeId, limits::ROWS};

/// The candidate nodes of one row, the preferred one first; [`NodeId::NONE`] fills the rest.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Row {
    /// Candidates in order of preference (highest rendezvous weight first).
    pub nodes: [NodeId; Row::WIDTH],
}
const _: () = assert!(size_of::<Row>() == 8);

impl Row {
    /// Candidates per row. The second is the node that held the row before, or will hold it after,
    /// the first: that is what makes a second chance possible without flow state.
    pub const WIDTH: usize = 4;
    /// A row without a candidate: its packets go to the local stack.
    pub const EMPTY: Self = Self { nodes: [NodeId::NONE; Self::WIDTH] };
}

/// A replica group: the set of nodes that serve the same virtual services.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Group {
    /// Counts the tables published; its lowest bit selects the generation that is in force.
    pub generation: u32,
    /// 1 once a table was published; 0 sends the group's packets to the local stack.
    pub ready: u32,
    /// The secret of the flow hash, equal on all nodes.
    pub key: HashKey,
    /// Until then, in nanoseconds of the coarse monotonic clock, a SYN is offered first to the head
    /// of the idle generation's row, the one in force before: a connection whose SYN is sent again
    /// may be there already. 0 if there was none before.
    pub transition_until: u64,
}
const _: () = assert!(size_of::<Group>() == 32);

/// Where a row lies in the array of rows.
///
/// `group` is below [`limits::GROUPS`](crate::limits::GROUPS); only the lowest bit of `generation`
/// and the lowest 16 bits of `hash` count.
#[inline(always)]
pub const fn row_index(group: u16, generation: u32, hash: u64) -> u32 {
    (((group as u32) << 1) | (generation & 1)) * ROWS + (hash as u32 & (ROWS - 1))
}
