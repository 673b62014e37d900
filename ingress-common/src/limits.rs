//! Capacities, one per map, with the arithmetic; and the version of all layouts.

/// Version of every layout in this crate and of the maps' shapes. Part of the pin directory's name
/// and of the `META` map.
pub const ABI_VERSION: u32 = 2;

/// Rows per table and generation. With n nodes of equal weight the fullest carries 1 + ~2.5/sqrt(ROWS/n)
/// of its share: 1 % at 3 nodes, 8 % at 50.
pub const ROWS: u32 = 65_536;
/// Replica groups. Each costs 2 generations x [`ROWS`] x 8 bytes = 1 MiB.
pub const GROUPS: u32 = 4;
/// Entries of the array of rows.
pub const TABLE: u32 = GROUPS * 2 * ROWS;
/// Virtual services (address, port, protocol).
pub const VIPS: u32 = 4096;
/// Virtual addresses.
pub const VIP_ADDRESSES: u32 = 4096;
/// Node numbers; 0 is [`NodeId::NONE`](crate::NodeId::NONE). Far more than nodes, because numbers
/// come from hashed names and two nodes should seldom want the same one: with n nodes that happens
/// about n²/2·[`NODES`] times, 0.08 at 50 nodes. 16384 x 56 bytes = 896 KiB.
pub const NODES: u32 = 16_384;
/// Addresses that tunnel packets are taken from.
pub const PEERS: u32 = 4096;
/// Virtual services that are counted one by one; a power of two. Slot 0 counts what belongs to none,
/// and the services beyond the last share it.
pub const VIP_SLOTS: u32 = 128;
/// Room for reasons in the counters of a service; a power of two.
pub const REASON_SLOTS: u32 = 64;
/// Entries of the counters, each 16 bytes on each CPU: 128 KiB.
pub const COUNTERS: u32 = VIP_SLOTS * REASON_SLOTS;
/// Nodes that are counted one by one, each 32 bytes on each CPU: 32 KiB. Slot 0 is for the others.
pub const NODE_SLOTS: u32 = 1024;
/// Size of the ring buffer of events. Bytes.
pub const EVENTS: u32 = 256 * 1024;
/// Size of a capture's ring buffer, which is there only while the capture runs. Bytes.
pub const CAPTURED: u32 = 1024 * 1024;
/// Entries of the program array; see [`tail`].
pub const TAILS: u32 = 16;
/// Words of the filter in front of the map of virtual addresses: 65536 bits, 8 KiB. Of packets to
/// other addresses it lets through one in 65536 for each virtual address.
pub const VIP_FILTER: u32 = 1024;
/// UDP flows that are remembered, the least recently used forgotten first: 80 bytes each, 10 MiB.
pub const FLOWS: u32 = 131_072;
/// Fragmented packets that are remembered: 80 bytes each, 640 KiB.
pub const FRAGMENTS: u32 = 8192;
/// Seconds after which what a first fragment said is forgotten: as long as Linux waits for the rest
/// of a packet (`net.ipv4.ipfrag_time`). Identifications come round again.
pub const FRAGMENT_SECONDS: u16 = 30;
/// UDP flows and fragmented packets that one CPU remembers in a second. An insertion into a full map
/// costs the time of thirty look-ups, so that a flood of them is an attack; a flow that is not
/// remembered goes by the row, and later fragments are dropped.
pub const FLOW_INSERTS: u32 = 20_000;
/// Seconds without a datagram after which a UDP flow is forgotten. RFC 4787 section 4.3 has two
/// minutes as the least for a NAT; nothing breaks here but that the row decides again.
pub const FLOW_SECONDS: u32 = 120;
/// Answers "packet too big" that one CPU sends at once, and then one in [`ANSWER_INTERVAL`].
pub const ANSWERS: u32 = 64;
/// Nanoseconds in which a CPU may send one more answer.
pub const ANSWER_INTERVAL: u64 = 10_000_000;
/// Length of the benchmark's frames. Bytes.
pub const BENCH_FRAME: usize = 128;
/// Nanoseconds without a heartbeat after which an agent is taken for hung.
pub const HEART_STALE: u64 = 2_000_000_000;

/// Slots of the program array. A rare path gets a stack and a verifier budget of its own. An empty
/// slot is no error: the caller goes on as if the path did not exist.
pub mod tail {
    /// Takes packets out of the tunnel.
    pub const DECAP: u32 = 0;
    /// ICMP errors about steered flows.
    pub const ICMP: u32 = 1;
    /// Fragments to a virtual address.
    pub const FRAGMENT: u32 = 2;
    /// SYN cookies.
    pub const SYN_COOKIE: u32 = 3;
    /// Copies packets to whoever looks.
    pub const CAPTURE: u32 = 4;
    /// Samples flows and drops for the agent.
    pub const EVENTS: u32 = 5;
    /// ICMP errors out of the tunnel.
    pub const DECAP_ICMP: u32 = 6;
    /// Fragments out of the tunnel.
    pub const DECAP_FRAGMENT: u32 = 7;
    /// What the benchmark measures; empty otherwise.
    pub const BENCH: u32 = 15;
    /// Tells the sender of a packet that does not fit into the tunnel.
    pub const TOO_BIG: u32 = 8;
}
