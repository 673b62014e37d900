//! The frame of a tc program: a socket buffer, which may stand for many segments at once and whose
//! checksum may still have to be filled in. Headers come and go by the kernel's own means, so that
//! it knows where the inner ones are when it cuts the segments apart or fills the checksum in.

use aya_ebpf::{
    helpers::generated::{bpf_skb_adjust_room, bpf_skb_change_proto, bpf_skb_pull_data},
    programs::TcContext,
};
use ingress_ebpf::{
    Packet,
    parse::{ETHERNET, Network},
};

use super::frame::{pinned, unknown_zero};

/// How much of a frame the core may look at: link, outer and inner headers with all they may hold.
/// What a driver left in pages is brought to where a program can see it.
const HEADERS: u32 = 256;
/// Outer headers of the tunnel over IPv4: IP, UDP, and the tunnel's own.
const OVER_V4: i32 = 40;
/// The same over IPv6.
const OVER_V6: i32 = 60;

// `bpf_adj_room_mode` and the flags of `bpf_skb_adjust_room` (include/uapi/linux/bpf.h).
const ROOM_AFTER_LINK: u32 = 1;
const ENCAP_V4: u64 = 1 << 1;
const ENCAP_V6: u64 = 1 << 2;
const ENCAP_UDP: u64 = 1 << 4;
/// Since Linux 6.3.
const DECAP_V4: u64 = 1 << 7;
const DECAP_V6: u64 = 1 << 8;

/// The frame that a tc program runs on. The outer VLAN tag is not in it: the kernel keeps that
/// beside the frame, and sends it along.
pub(super) struct Skb<'c>(&'c TcContext);

impl<'c> Skb<'c> {
    /// The frame of this context, with its headers in one piece.
    #[inline(always)]
    pub(super) fn new(context: &'c TcContext) -> Self {
        let wanted = context.len().min(HEADERS);
        if context.data_end() - context.data() < wanted as usize {
            // SAFETY: The context is the program's own, and nobody holds a packet pointer. If there
            // is no memory, the core finds a frame that is too short, and passes it.
            unsafe { bpf_skb_pull_data(context.skb.skb, wanted) };
        }
        Self(context)
    }

    #[inline(always)]
    fn at<const N: usize>(&self, offset: usize) -> Option<*mut [u8; N]> {
        let start = pinned(self.0.data() + offset);
        if start + N > self.0.data_end() {
            return None;
        }
        // SAFETY: A frame never lies at address zero; see `Frame`.
        unsafe { core::hint::assert_unchecked(start != 0) };
        Some(start as *mut [u8; N])
    }

    /// Puts the tunnel's headers between the link header and the packet.
    #[inline(always)]
    fn grow(&mut self, by: i32, flags: u64) -> bool {
        // The segments of a merged packet become as much shorter as the headers are long
        // (`bpf_skb_net_grow`): what fitted into the link still does.
        // SAFETY: The context is the program's own; `&mut self` ends all borrows of the frame.
        unsafe { bpf_skb_adjust_room(self.0.skb.skb, by, ROOM_AFTER_LINK, flags | ENCAP_UDP) == 0 }
    }

    /// Makes room for outer headers of the other version of IP, of this EtherType, in place of those
    /// that are there. Not for merged segments: the kernel would take the inner ones to be of that
    /// version too.
    #[inline(always)]
    fn exchange(&mut self, protocol: u16) -> bool {
        let skb = self.0.skb.skb;
        // SAFETY: The pointer is the context that the kernel passed to the program.
        let merged = unsafe { (*skb).gso_size } != 0;
        // SAFETY: As in `grow`.
        !merged && unsafe { bpf_skb_change_proto(skb, protocol.to_be(), 0) == 0 }
    }

    /// Takes outer headers of `BY` bytes away. What a network card summed up contains those bytes:
    /// the kernel takes them out of the sum itself (`bpf_skb_generic_pop`).
    #[inline(always)]
    fn shrink<const BY: usize>(&mut self) -> bool {
        let Some([first]) = self.bytes::<1>(ETHERNET + BY) else { return false };
        let inner = if first >> 4 == 6 { Network::V6 } else { Network::V4 };
        let outer = if BY == OVER_V6 as usize { Network::V6 } else { Network::V4 };
        let skb = self.0.skb.skb;
        let by = BY as i32;
        let flag = if inner == Network::V6 { DECAP_V6 } else { DECAP_V4 };
        // SAFETY: As in `grow`, for this call and those below.
        let mut done = unsafe { bpf_skb_adjust_room(skb, -by, ROOM_AFTER_LINK, flag) == 0 };
        if !done {
            // Before Linux 6.3 the kernel goes on taking the packet for one of the outer version,
            // unless that is changed first: which moves the front by what the headers differ.
            let by = match (outer, inner) {
                (Network::V4, Network::V6) => {
                    // SAFETY: See above.
                    done = unsafe { bpf_skb_change_proto(skb, 0x86dd_u16.to_be(), 0) == 0 };
                    by + 20
                }
                (Network::V6, Network::V4) => {
                    // SAFETY: See above.
                    done = unsafe { bpf_skb_change_proto(skb, 0x0800_u16.to_be(), 0) == 0 };
                    by - 20
                }
                _ => {
                    done = true;
                    by
                }
            };
            // SAFETY: See above.
            done = done && unsafe { bpf_skb_adjust_room(skb, -by, ROOM_AFTER_LINK, 0) == 0 };
        }
        done
    }
}

impl Packet for Skb<'_> {
    #[inline(always)]
    fn bytes<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        let start = self.at(offset)?;
        // SAFETY: As for `Frame`: within the frame, without alignment, and ended by `&mut self`.
        Some(unsafe { &*start })
    }

    #[inline(always)]
    fn bytes_mut<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        let start = self.at(offset)?;
        // SAFETY: As in `bytes`; `&mut self` makes the borrow the only one. The kernel sees that
        // nobody else has the memory before a program that writes begins.
        Some(unsafe { &mut *start })
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.0.len() as usize
    }

    #[inline(always)]
    fn longest(&self, length: usize) -> usize {
        // SAFETY: The pointer is the context that the kernel passed to the program.
        let segment = unsafe { (*self.0.skb.skb).gso_size } as usize;
        if segment == 0 || length > usize::from(u16::MAX) {
            return length;
        }
        // The headers that every segment has at least. What it is too little by does no harm:
        // `grow` makes the segments shorter by the headers that it adds.
        segment + 40
    }

    /// The moves that the tunnel makes, of frames without a tag of their own. Others have no room:
    /// the kernel would not know what became of the headers.
    #[inline(always)]
    fn move_front(&mut self, delta: i32) -> bool {
        match -delta {
            0 => true,
            OVER_V4 => self.grow(OVER_V4, ENCAP_V4),
            OVER_V6 => self.grow(OVER_V6, ENCAP_V6),
            by if by == -OVER_V4 => self.shrink::<{ OVER_V4 as usize }>(),
            by if by == -OVER_V6 => self.shrink::<{ OVER_V6 as usize }>(),
            by if by == OVER_V6 - OVER_V4 => self.exchange(0x86dd),
            by if by == OVER_V4 - OVER_V6 => self.exchange(0x0800),
            _ => false,
        }
    }

    /// Not needed: no program that runs on socket buffers cuts one off.
    #[inline(always)]
    fn truncate(&mut self, _length: usize) -> bool {
        false
    }

    #[inline(always)]
    fn merged<const MASK: usize>(&self, value: usize) -> usize {
        unknown_zero(self.0.data_end() - self.0.data(), value) & MASK
    }
}
