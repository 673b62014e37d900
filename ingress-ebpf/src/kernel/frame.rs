//! The only raw packet pointers: bounds-checked access to the frame of an XDP program.

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail},
    programs::XdpContext,
};
use ingress_ebpf::Packet;

/// The frame that an XDP program runs on.
pub(super) struct Frame<'c>(pub(super) &'c XdpContext);

impl Frame<'_> {
    /// Where `N` bytes at `offset` begin, if the frame has that many.
    #[inline(always)]
    fn at<const N: usize>(&self, offset: usize) -> Option<*mut [u8; N]> {
        let start = pinned(self.0.data() + offset);
        if start + N > self.0.data_end() {
            return None;
        }
        // SAFETY: A frame never lies at address zero. Said because `Option` of a reference would
        // otherwise cost a comparison at each access.
        unsafe { core::hint::assert_unchecked(start != 0) };
        Some(start as *mut [u8; N])
    }
}

/// Keeps the compiler from computing one address in two ways: the verifier learns from a comparison
/// about the register compared, and knows nothing of an equal sum in another one.
#[inline(always)]
pub(super) fn pinned(mut address: usize) -> usize {
    // SAFETY: The assembly is empty. It has no effect but to hide where the value comes from.
    unsafe {
        core::arch::asm!("{0} = {0}", inout(reg) address, options(nomem, nostack));
    }
    address
}

impl Packet for Frame<'_> {
    #[inline(always)]
    fn bytes<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        let start = self.at(offset)?;
        // SAFETY: `at` compared the end of the bytes with `data_end`; `[u8; N]` has no alignment;
        // the only call that moves the frame, `move_front`, needs `&mut self` and so ends this
        // borrow.
        Some(unsafe { &*start })
    }

    #[inline(always)]
    fn bytes_mut<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        let start = self.at(offset)?;
        // SAFETY: As in `bytes`; `&mut self` makes the borrow the only one.
        Some(unsafe { &mut *start })
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.0.data_end() - self.0.data()
    }

    #[inline(always)]
    fn move_front(&mut self, delta: i32) -> bool {
        if delta == 0 {
            return true;
        }
        // SAFETY: The pointer is the context that the kernel passed to the program. All packet
        // pointers become invalid, and `&mut self` guarantees that nobody holds one.
        unsafe { bpf_xdp_adjust_head(self.0.as_ptr().cast(), delta) == 0 }
    }

    #[inline(always)]
    fn truncate(&mut self, length: usize) -> bool {
        let delta = length as i32 - self.length() as i32;
        // SAFETY: As in `move_front`.
        delta < 0 && unsafe { bpf_xdp_adjust_tail(self.0.as_ptr().cast(), delta) == 0 }
    }

    #[inline(always)]
    fn merged<const MASK: usize>(&self, value: usize) -> usize {
        unknown_zero(self.length(), value) & MASK
    }
}

/// The value, of which no verifier knows anything: it is combined with the upper half of the frame's
/// length, which is zero to everybody else. `length` is the difference of two packet pointers.
#[inline(always)]
pub(super) fn unknown_zero(length: usize, mut value: usize) -> usize {
    let mut zero = length;
    // SAFETY: Arithmetic on two registers.
    unsafe {
        core::arch::asm!(
            "{zero} >>= 32",
            "{value} ^= {zero}",
            zero = inout(reg) zero,
            value = inout(reg) value,
            options(pure, nomem, nostack),
        );
    }
    let _ = zero;
    value
}
