//! The core's questions, answered from the maps and the socket table.

use aya_ebpf::programs::XdpContext;
use ingress_common::{
    Address, Config, Flow, Group, Node, NodeId, Peer, Row, VipAddress, VipKey, VipValue,
};
use ingress_ebpf::{Socket, World};

use super::{maps, socket};

/// The kernel as a program sees it.
pub(super) struct View<'c>(pub(super) &'c XdpContext);

impl World for View<'_> {
    #[inline(always)]
    fn config(&self) -> Config {
        maps::CONFIG.get(0).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        let mut index = self.0.ingress_ifindex() as u32;
        // SAFETY: The assembly is empty. It keeps the compiler from joining this read of the context
        // with a read of other memory at the same distance: the verifier takes no pointer for both.
        unsafe {
            core::arch::asm!("{0} = {0}", inout(reg) index, options(nomem, nostack));
        }
        index
    }

    #[inline(always)]
    fn vip_address(&self, address: &Address) -> Option<VipAddress> {
        // SAFETY: The map is preallocated: the memory stays, and a racing update shows one value or
        // the other, both of which were meant.
        unsafe { maps::VIPADDR.get(address) }.copied()
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
        maps::NODES.get(u32::from(id.0))
    }

    #[inline(always)]
    fn peer(&self, address: &Address) -> Option<&Peer> {
        // SAFETY: As in `vip_address`. An entry is written once and removed, never changed.
        unsafe { maps::PEERS.get(address) }
    }

    #[inline(always)]
    fn socket(&self, flow: &Flow, segment: &[u8; 20]) -> Socket {
        socket::look_up(self.0, flow, segment)
    }
}
