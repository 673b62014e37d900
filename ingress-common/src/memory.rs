//! What the programs remember from one packet to the next, and what the agent tells them by the
//! clock. Times are of the coarse monotonic clock (`CLOCK_MONOTONIC_COARSE`), which costs next to
//! nothing to read.

use bytemuck::{Pod, Zeroable};

use crate::{NodeId, Port};

/// The only entry of the `HEART` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Heart {
    /// When the agent last said that it runs, in nanoseconds. 0, as in a fresh map, if no agent
    /// will: the programs then ask the sockets alone.
    pub beat: u64,
}
const _: () = assert!(size_of::<Heart>() == 8);

/// Where a UDP flow goes. The key is the flow's hash: with the cluster's secret, so that nobody can
/// make two flows one.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct FlowNode {
    /// The second of its last datagram.
    pub seen: u32,
    /// The node.
    pub node: NodeId,
    /// Always zero.
    pub reserved: u16,
}
const _: () = assert!(size_of::<FlowNode>() == 8);

/// What the first fragment of a packet says of those that follow. The key is the hash of addresses,
/// identification and protocol.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Fragmented {
    /// The client's port.
    pub source: Port,
    /// The virtual service's port.
    pub destination: Port,
    /// The protocol behind all extension headers.
    pub protocol: u8,
    /// [`Fragmented::OPENING`] and friends.
    pub flags: u8,
    /// The second in which it came, without the bits that do not fit.
    pub second: u16,
}
const _: () = assert!(size_of::<Fragmented>() == 8);

impl Fragmented {
    /// Flag: the packet begins a connection.
    pub const OPENING: u8 = 1;
    /// Flag: the packet is for no virtual service, and all of it is left alone.
    pub const FOREIGN: u8 = 2;

    /// What a first fragment of a packet between these ports says.
    // From whole words: the compiler would write fields together that the verifier wants apart.
    #[inline(always)]
    pub fn new(source: Port, destination: Port, protocol: u8, flags: u8) -> Self {
        let ([a, b], [c, d]) = (source.to_wire(), destination.to_wire());
        bytemuck::must_cast(u64::from_ne_bytes([a, b, c, d, protocol, flags, 0, 0]))
    }

    /// The same, come in this second.
    #[inline(always)]
    pub fn come_in(self, second: u32) -> Self {
        let word: u64 = bytemuck::must_cast(self);
        let [a, b, c, d, protocol, flags, ..] = word.to_ne_bytes();
        let [low, high] = (second as u16).to_ne_bytes();
        bytemuck::must_cast(u64::from_ne_bytes([a, b, c, d, protocol, flags, low, high]))
    }
}

/// The only entry of the `SCRATCH` map, one for each CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Scratch {
    /// When an answer was last added to `answers`, in nanoseconds.
    pub refilled: u64,
    /// Answers "packet too big" that may be sent now.
    pub answers: u32,
    /// What the program before told the one behind the tail call: how long a packet may be.
    pub limit: u32,
    /// The second that `inserts` counts in.
    pub second: u32,
    /// UDP flows and fragmented packets remembered in that second.
    pub inserts: u32,
}
const _: () = assert!(size_of::<Scratch>() == 24);
