//! The core's questions, answered from the maps and the socket table.

use core::cell::Cell;

use ingress_common::{
    Address, Config, Flow, Group, Node, NodeId, Peer, Row, VipAddress, VipKey, VipValue,
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
    /// The packet begins a flow.
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
    fn vip_address(&self, address: &Address) -> Option<VipAddress> {
        // SAFETY: The map is preallocated: the memory stays, and a racing update shows one value or
        // the other, both of which were meant.
        let value = unsafe { maps::VIPADDR.get(address) }.copied()?;
        self.slot.set(value.slot);
        Some(value)
    }

    #[inline(always)]
    fn vip(&self, key: &VipKey) -> Option<VipValue> {
        // SAFETY: As in `vip_address`; the value is one aligned word.
        let value = unsafe { maps::VIPS.get(key) }.copied()?;
        self.slot.set(value.vip_id);
        Some(value)
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
    fn opening(&self) {
        self.opening.set(true);
    }

    #[inline(always)]
    fn socket(&self, flow: &Flow, segment: &[u8; 20]) -> Socket {
        socket::look_up(self.hook, flow, segment)
    }
}
