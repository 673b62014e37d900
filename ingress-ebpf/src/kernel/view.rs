//! The core's questions, answered from the maps and the socket table.

use core::cell::Cell;

use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use ingress_common::{
    Address, Config, Flow, FlowNode, Fragmented, Group, Node, NodeId, Peer, Row, Scratch,
    VipAddress, VipKey, VipValue, limits, vip,
};
use ingress_ebpf::{Socket, World};

use super::{hook::Hook, maps, socket};

/// The kernel as a program sees it, and what it has asked: whose packet it was, which the counters
/// and watchers want to know in the end.
pub(super) struct View<'c, H> {
    hook: &'c H,
    /// The slot of the virtual service, or of the address.
    pub(super) slot: Cell<u16>,
    /// The slot of the node that was asked for last.
    pub(super) node: Cell<u16>,
    /// The packet begins a flow, or is a peer's question whether one may begin.
    pub(super) opening: Cell<bool>,
}

impl<'c, H: Hook> View<'c, H> {
    #[inline(always)]
    pub(super) fn new(hook: &'c H) -> Self {
        Self { hook, slot: Cell::new(0), node: Cell::new(0), opening: Cell::new(false) }
    }
}

impl<H: Hook> World for View<'_, H> {
    #[inline(always)]
    fn config(&self) -> Config {
        maps::CONFIG.get(0).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        self.hook.interface()
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: The helper only reads the clock.
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn is_stale(&self) -> bool {
        let beat = maps::HEART.get(0).map_or(0, |heart| heart.beat);
        // A beat after `now` was read leaves nothing.
        beat != 0 && self.now().saturating_sub(beat) > limits::HEART_STALE
    }

    #[inline(always)]
    fn vip_address(&self, address: &Address) -> Option<&VipAddress> {
        let bit = vip::filter_bit(address);
        let word = *maps::VIPFILTER.get(bit >> 6)?;
        if word >> (bit & 63) & 1 == 0 {
            return None;
        }
        // SAFETY: The map is preallocated: the memory stays, and a racing update shows one value or
        // the other, both of which were meant.
        let value = unsafe { maps::VIPADDR.get(address) }?;
        self.slot.set(value.slot);
        Some(value)
    }

    #[inline(always)]
    fn vip(&self, key: &VipKey) -> Option<VipValue> {
        // SAFETY: As in `vip_address`; the value is one aligned word.
        unsafe { maps::VIPS.get(key) }.copied()
    }

    #[inline(always)]
    fn group(&self, number: u16) -> Option<&Group> {
        maps::GROUPS.get(u32::from(number))
    }

    #[inline(always)]
    fn row(&self, index: u32) -> Option<Row> {
        maps::TABLE.get(index).copied()
    }

    #[inline(always)]
    fn node(&self, id: NodeId) -> Option<&Node> {
        let node = maps::NODES.get(u32::from(id.0))?;
        self.node.set(node.slot as u16);
        Some(node)
    }

    #[inline(always)]
    fn peer(&self, address: &Address) -> Option<&Peer> {
        // SAFETY: As in `vip_address`. An entry is written once and removed, never changed.
        unsafe { maps::PEERS.get(address) }
    }

    #[inline(always)]
    fn serving(&self, vip: VipValue) {
        self.slot.set(vip.vip_id);
    }

    #[inline(always)]
    fn opening(&self) {
        self.opening.set(true);
    }

    #[inline(always)]
    fn socket(&self, flow: &Flow, segment: Option<&[u8; 20]>) -> Socket {
        socket::look_up(self.hook, flow, segment)
    }

    #[inline(always)]
    fn flow(&self, hash: u64) -> Option<NodeId> {
        let entry = maps::FLOWS.get_ptr_mut(&hash)?;
        let second = second(self.now());
        // SAFETY: As in `vip_address`.
        let FlowNode { seen, node, .. } = unsafe { *entry };
        if seen != second {
            if second.wrapping_sub(seen) > limits::FLOW_SECONDS {
                return None;
            }
            // SAFETY: As above. Other CPUs that write it at the same time write the same second.
            unsafe { (*entry).seen = second };
        }
        Some(node)
    }

    #[inline(always)]
    fn remember_flow(&self, hash: u64, node: NodeId) {
        let seen = second(self.now());
        if may_insert(seen) {
            // A full map makes room; the kernel may still be short of a free entry for a moment.
            let _ = maps::FLOWS.insert(&hash, &FlowNode { seen, node, reserved: 0 }, 0);
        }
    }

    #[inline(always)]
    fn fragmented(&self, hash: u64) -> Option<Fragmented> {
        // SAFETY: As in `vip_address`.
        let fragmented = unsafe { maps::FRAGMENTS.get(&hash) }.copied()?;
        let age = (second(self.now()) as u16).wrapping_sub(fragmented.second);
        (age <= limits::FRAGMENT_SECONDS).then_some(fragmented)
    }

    #[inline(always)]
    fn remember_fragmented(&self, hash: u64, fragmented: Fragmented) {
        let second = second(self.now());
        if may_insert(second) {
            // As for flows.
            let _ = maps::FRAGMENTS.insert(&hash, &fragmented.come_in(second), 0);
        }
    }

    #[inline(always)]
    fn set_limit(&self, bytes: u32) {
        if let Some(scratch) = scratch() {
            scratch.limit = bytes;
        }
    }

    #[inline(always)]
    fn take_answer(&self) -> Option<u32> {
        let scratch = scratch()?;
        let now = self.now();
        let gained = now.saturating_sub(scratch.refilled) / limits::ANSWER_INTERVAL;
        if gained > 0 {
            scratch.refilled = now;
            let answers = u64::from(scratch.answers) + gained;
            scratch.answers = answers.min(u64::from(limits::ANSWERS)) as u32;
        }
        if scratch.answers == 0 {
            return None;
        }
        scratch.answers -= 1;
        Some(scratch.limit)
    }
}

/// The second that a time lies in.
#[inline(always)]
fn second(nanoseconds: u64) -> u32 {
    (nanoseconds / 1_000_000_000) as u32
}

/// Whether this CPU may remember one thing more in this second. Counts as one.
#[inline(always)]
fn may_insert(second: u32) -> bool {
    let Some(scratch) = scratch() else { return false };
    if scratch.second != second {
        scratch.second = second;
        scratch.inserts = 0;
    }
    let may = scratch.inserts < limits::FLOW_INSERTS;
    if may {
        scratch.inserts += 1;
    }
    may
}

/// This CPU's own memory.
#[inline(always)]
fn scratch<'s>() -> Option<&'s mut Scratch> {
    let scratch = maps::SCRATCH.get_ptr_mut(0)?;
    // SAFETY: The map gave a valid pointer to this CPU's entry, which nobody else uses: programs do
    // not preempt each other on a CPU, and each caller drops the reference before it returns.
    Some(unsafe { &mut *scratch })
}
