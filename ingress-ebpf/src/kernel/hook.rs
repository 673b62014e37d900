//! Where a program runs: XDP, in front of the network stack, or tc, at its entrance. The core is
//! the same; how it learns where a frame came from and says where it goes is not.

use aya_ebpf::{
    EbpfContext,
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    helpers::generated::{bpf_redirect, bpf_skb_load_bytes, bpf_skb_vlan_pop, bpf_xdp_load_bytes},
    programs::{TcContext, XdpContext},
};

use super::maps;

/// The context of a kind of program. Its answers are the kernel's numbers.
pub(super) trait Hook: EbpfContext {
    /// To the local stack.
    const PASS: u32;
    /// Gone.
    const DROP: u32;

    /// The interface that the frame came in on.
    fn interface(&self) -> u32;
    /// Length of the frame as it is now, in bytes.
    fn length(&self) -> u32;
    /// Sends the frame out of an interface; what to return for that.
    fn send(&self, interface: u32) -> u32;
    /// Goes on with the program of this slot. Returns if there is none.
    fn jump(&self, slot: u32);
    /// Says what became of the frame, in debug builds.
    #[cfg(feature = "log")]
    fn log(&self, _reason: u32, _bytes: u32) {}
    /// Copies the frame's first bytes to `to`, which has room for them; whether that went well.
    ///
    /// # Safety
    /// `to` is valid for writes of `length` bytes.
    unsafe fn copy(&self, to: *mut u8, length: u32) -> bool;
}

impl Hook for XdpContext {
    const PASS: u32 = xdp_action::XDP_PASS;
    const DROP: u32 = xdp_action::XDP_DROP;

    #[inline(always)]
    fn interface(&self) -> u32 {
        self.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        (self.data_end() - self.data()) as u32
    }

    #[inline(always)]
    fn send(&self, interface: u32) -> u32 {
        if interface == self.interface() {
            return xdp_action::XDP_TX;
        }
        // SAFETY: The helper takes plain numbers; an interface that does not exist makes it return
        // XDP_ABORTED, or the kernel drop the frame.
        unsafe { bpf_redirect(interface, 0) as u32 }
    }

    #[inline(always)]
    fn jump(&self, slot: u32) {
        // SAFETY: No value of the programs has a destructor that the jump would skip.
        unsafe { maps::PROGS.tail_call(self, slot) };
    }

    #[cfg(feature = "log")]
    #[inline(always)]
    fn log(&self, reason: u32, bytes: u32) {
        super::log::verdict(self.ctx, reason, bytes);
    }

    #[inline(always)]
    unsafe fn copy(&self, to: *mut u8, length: u32) -> bool {
        // SAFETY: The context is the program's own; the caller vouches for the room.
        unsafe { bpf_xdp_load_bytes(self.as_ptr().cast(), 0, to.cast(), length) == 0 }
    }
}

impl Hook for TcContext {
    // Whoever comes after in the chain judges too; if there is nobody, the stack has it.
    const PASS: u32 = TC_ACT_UNSPEC as u32;
    const DROP: u32 = TC_ACT_SHOT as u32;

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: The pointer is the context that the kernel passed to the program.
        unsafe { (*self.skb.skb).ifindex }
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        self.len()
    }

    #[inline(always)]
    fn send(&self, interface: u32) -> u32 {
        // SAFETY: As in `interface`.
        if interface != self.interface() && unsafe { (*self.skb.skb).vlan_present } != 0 {
            // The tag, which lies beside the frame, names a VLAN of the interface that it came in
            // on. If it cannot be removed, the switch sorts it out.
            // SAFETY: The context is the program's own, and nobody holds a packet pointer.
            unsafe { bpf_skb_vlan_pop(self.skb.skb) };
        }
        // SAFETY: The helper takes plain numbers; the kernel drops what it cannot send.
        unsafe { bpf_redirect(interface, 0) as u32 }
    }

    #[inline(always)]
    fn jump(&self, slot: u32) {
        // SAFETY: As for XDP.
        unsafe { maps::TCPROGS.tail_call(self, slot) };
    }

    #[inline(always)]
    unsafe fn copy(&self, to: *mut u8, length: u32) -> bool {
        // SAFETY: As for XDP.
        unsafe { bpf_skb_load_bytes(self.as_ptr().cast(), 0, to.cast(), length) == 0 }
    }
}
