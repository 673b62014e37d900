//! What is counted and watched: slots of counters for virtual services and nodes, names for
//! whoever reads the maps without an agent, and what the programs tell watchers.

use bytemuck::{Pod, Zeroable};

use crate::{Counters, NodeId, Reason, limits};

/// Where the packets of a virtual service that left for a reason are counted.
///
/// Slot 0 is for what belongs to no service; a slot beyond the last is taken modulo their number,
/// because a program may not fail for the sake of a count.
#[inline(always)]
pub const fn counter_index(slot: u16, reason: u32) -> u32 {
    (slot as u32 & (limits::VIP_SLOTS - 1)) * limits::REASON_SLOTS
        + (reason & (limits::REASON_SLOTS - 1))
}
const _: () =
    assert!(limits::VIP_SLOTS.is_power_of_two() && limits::REASON_SLOTS.is_power_of_two());
const _: () = assert!(Reason::COUNT <= limits::REASON_SLOTS);

/// Packets that were sent to a node through the tunnel, by the way that they took there. Index
/// into the map: [`Node::slot`](crate::Node::slot).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Forwards {
    /// As the first candidate of their row.
    pub first: u64,
    /// As a later candidate: one before did not have the socket or could not be reached.
    pub next: u64,
    /// As the next hop of a packet that came out of the tunnel itself.
    pub relayed: u64,
    /// Bytes of all of them, as they arrived.
    pub bytes: u64,
}
const _: () = assert!(size_of::<Forwards>() == 32);

/// The name of a node, so that the maps can be read without an agent. Index into the map: the
/// node's slot. All zero where the slot is free.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct NodeLabel {
    /// The node's number.
    pub id: NodeId,
    /// One of [`NODE_READY`] and the others; 0 if the agent has not said.
    pub state: u8,
    /// Bytes of `text` in use.
    pub length: u8,
    /// The name's beginning, in UTF-8. A longer one is cut.
    pub text: [u8; NodeLabel::TEXT],
}
const _: () = assert!(size_of::<NodeLabel>() == 64);

/// [`NodeLabel::state`]: takes new connections.
pub const NODE_READY: u8 = 1;
/// [`NodeLabel::state`]: finishes what it has.
pub const NODE_DRAINING: u8 = 2;
/// [`NodeLabel::state`]: missed probes.
pub const NODE_SUSPECT: u8 = 3;
/// [`NodeLabel::state`]: in no row.
pub const NODE_DEAD: u8 = 4;

impl NodeLabel {
    /// Bytes of a name that are kept.
    pub const TEXT: usize = 60;
    /// A free slot.
    pub const FREE: Self = Self { id: NodeId::NONE, state: 0, length: 0, text: [0; Self::TEXT] };

    /// The label of a node; of a long name, the characters that fit.
    pub fn new(id: NodeId, name: &str, state: u8) -> Self {
        let mut end = name.len().min(Self::TEXT);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let mut text = [0; Self::TEXT];
        text[..end].copy_from_slice(&name.as_bytes()[..end]);
        Self { id, state, length: end as u8, text }
    }

    /// The name; empty if what is there is no text.
    pub fn name(&self) -> &str {
        let bytes = self.text.get(..usize::from(self.length)).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// The only entry of the `OBSERVE` map: who watches. All zero, as a fresh map is: nobody.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Observe {
    /// [`OBSERVE_EVENTS`] and [`OBSERVE_CAPTURE`]; 0 costs a packet one test.
    pub flags: u32,
    /// Of beginnings of flows one in this number plus one is an event; a power of two less one.
    pub flow_mask: u32,
    /// How many drops may become events on each CPU in about a second (2^30 ns).
    pub drop_budget: u32,
    /// Always zero.
    pub reserved: u32,
    /// When the capture ends unless its reader prolongs it: nanoseconds of `CLOCK_MONOTONIC`.
    /// A reader that was killed watches no longer than this.
    pub capture_until: u64,
}
const _: () = assert!(size_of::<Observe>() == 24);

/// [`Observe::flags`]: the agent wants samples of flows and drops.
pub const OBSERVE_EVENTS: u32 = 1;
/// [`Observe::flags`]: a capture runs.
pub const OBSERVE_CAPTURE: u32 = 2;

/// What a capture wants to see. The only entry of a map of its own; every field narrows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct CaptureFilter {
    /// The reasons: bit by number.
    pub reasons: u64,
    /// The slot of a virtual service, or [`CaptureFilter::ANY`].
    pub slot: u32,
    /// 1: only packets that begin a flow, and drops.
    pub events_only: u32,
}
const _: () = assert!(size_of::<CaptureFilter>() == 16 && limits::REASON_SLOTS <= 64);

impl CaptureFilter {
    /// Every virtual service, and what belongs to none.
    pub const ANY: u32 = u32::MAX;
}

/// What a program says about a packet on its way out, to itself between two tail calls and to
/// watchers in front of the packet's bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Seen {
    /// When, in nanoseconds of `CLOCK_MONOTONIC`, to the kernel's tick.
    pub time: u64,
    /// Why the packet went where it went; a number of [`Reason`].
    pub reason: u32,
    /// What the program returns to the kernel.
    pub action: u32,
    /// The interface that the packet came in on.
    pub interface: u32,
    /// Its length as it arrived, in bytes.
    pub bytes: u32,
    /// The frame's length as it leaves the program, in bytes.
    pub left: u32,
    /// How many of its first bytes follow.
    pub snap: u32,
    /// The slot of the virtual service; 0 for none.
    pub slot: u16,
    /// The slot of the node that it was sent to; 0 if it was not sent.
    pub node_slot: u16,
    /// [`SEEN_OPENING`] and friends.
    pub flags: u32,
}
const _: () = assert!(size_of::<Seen>() == 40);

/// [`Seen::flags`]: the packet begins a TCP connection, or is a datagram of a new flow.
pub const SEEN_OPENING: u32 = 1;
/// [`Seen::flags`]: the agent's sample takes it.
pub const SEEN_EVENT: u32 = 2;
/// [`Seen::flags`]: a capture runs.
pub const SEEN_CAPTURE: u32 = 4;

/// One entry of a watcher's ring buffer: what is known of a packet, and its first `N` bytes as it
/// left the program.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<const N: usize> {
    /// What is known.
    pub seen: Seen,
    /// Its first bytes; those beyond [`Seen::snap`] mean nothing.
    pub data: [u8; N],
}

/// Bytes of a packet in an event: all headers, those of a tunnel too.
pub const EVENT_SNAP: usize = 128;
/// Bytes of a packet in a capture, at most.
pub const CAPTURE_SNAP: usize = 1024;

impl Counters {
    /// The sum of two.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;

    use super::*;

    #[test]
    fn every_reason_of_every_slot_has_a_counter_of_its_own() {
        let mut seen = [false; limits::COUNTERS as usize];
        for slot in 0..limits::VIP_SLOTS {
            for reason in 0..limits::REASON_SLOTS {
                let index = counter_index(slot as u16, reason) as usize;
                assert!(!core::mem::replace(&mut seen[index], true), "{slot} {reason}");
            }
        }
        assert!(seen.iter().all(|seen| *seen));
        assert!(counter_index(u16::MAX, u32::MAX) < limits::COUNTERS);
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let name = "é".repeat(40);
        let label = NodeLabel::new(NodeId(7), &name, NODE_READY);
        assert_eq!(label.name(), "é".repeat(30));
        assert_eq!(NodeLabel::new(NodeId(1), "worker-1", 0).name(), "worker-1");
        assert_eq!(NodeLabel::FREE.name(), "");
        let odd = NodeLabel::new(NodeId(1), &format!("a{}", "é".repeat(40)), 0);
        assert_eq!(odd.length, 59);
    }
}
