//! What lets the benchmark repeat a program that rewrites its frame.

use aya_ebpf::programs::XdpContext;
use ingress_common::limits::BENCH_FRAME;
use ingress_ebpf::Packet as _;

use super::{frame::Frame, maps};

/// Makes the frame the next one of those that the benchmark prepared.
#[inline(always)]
pub(super) fn restore(context: &XdpContext) {
    let mut frame = Frame(context);
    let moved = frame.length() as i32 - BENCH_FRAME as i32;
    if !frame.move_front(moved) {
        return;
    }
    let Some(turn) = maps::TURN.get_ptr_mut(0) else { return };
    // SAFETY: The map gave a valid pointer; the benchmark runs one program at a time.
    let [next, count] = unsafe { &mut *turn };
    let at = *next;
    *next = if at + 1 < *count { at + 1 } else { 0 };
    let Some(wanted) = maps::FRAMES.get(at) else { return };
    if let Some(bytes) = frame.bytes_mut::<BENCH_FRAME>(0) {
        let words: &mut [[u8; 8]; BENCH_FRAME / 8] = bytemuck::must_cast_mut(bytes);
        for (word, value) in words.iter_mut().zip(wanted) {
            *word = value.to_ne_bytes();
        }
    }
}
