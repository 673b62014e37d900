//! Counting each packet once, and showing some of them to watchers.
//!
//! Who watches is asked of one map entry. While nobody does, that is all; where somebody does, a
//! packet's end is told to a program of its own behind a tail call, with a buffer of its own.

use core::ptr;

use aya_ebpf::{
    helpers::generated::{bpf_get_prandom_u32, bpf_ktime_get_coarse_ns},
    maps::RingBuf,
};
use ingress_common::{
    Counters, Reason,
    limits::{self, tail},
    observe::{
        self, CaptureFilter, Forwards, OBSERVE_CAPTURE, OBSERVE_EVENTS, Record, SEEN_CAPTURE,
        SEEN_EVENT, SEEN_OPENING, Seen,
    },
    reason::Verdict,
};

use super::{hook::Hook, maps, view::View};

/// Counts a packet under the service that it was for. This CPU's entry is this program's alone:
/// neither XDP nor tc programs preempt each other at the entrance of the network stack.
#[inline(always)]
pub(super) fn count(slot: u16, reason: Reason, bytes: u64) {
    let index = observe::counter_index(slot, reason as u32);
    if let Some(counters) = maps::REASONS.get_ptr_mut(index) {
        // SAFETY: The map gave a valid pointer, to what nobody else writes; see above.
        let counters: &mut Counters = unsafe { &mut *counters };
        counters.packets += 1;
        counters.bytes += bytes;
    }
}

/// Counts a packet that is sent to the node that the view was asked for last.
#[inline(always)]
pub(super) fn count_forward(node: u16, reason: Reason, bytes: u64) {
    // An answer goes to whoever asked.
    if matches!(reason.verdict(), Verdict::Drop) || matches!(reason, Reason::Probe) {
        return;
    }
    if let Some(forwards) = maps::FORWARDS.get_ptr_mut(u32::from(node)) {
        // SAFETY: As in `count`.
        let forwards: &mut Forwards = unsafe { &mut *forwards };
        match reason {
            Reason::Relayed => forwards.relayed += 1,
            Reason::ForwardedNext => forwards.next += 1,
            _ => forwards.first += 1,
        }
        forwards.bytes += bytes;
    }
}

/// Shows the packet to whoever watches. Does not return if somebody does.
#[inline(always)]
pub(super) fn offer<H: Hook>(
    hook: &H,
    view: &View<'_, H>,
    reason: Reason,
    action: u32,
    bytes: u64,
    sent: bool,
) {
    let Some(watched) = maps::OBSERVE.get(0) else { return };
    let wanted = watched.flags;
    if wanted == 0 {
        return;
    }
    let mut flags = 0;
    // A peer's question begins nothing.
    if view.opening.get() && !matches!(reason, Reason::Probe) {
        flags |= SEEN_OPENING;
    }
    if wanted & OBSERVE_EVENTS != 0 {
        let sampled = match reason.verdict() {
            Verdict::Drop => true,
            // SAFETY: The helper takes nothing and cannot fail.
            _ => flags != 0 && unsafe { bpf_get_prandom_u32() } & watched.flow_mask == 0,
        };
        if sampled {
            flags |= SEEN_EVENT;
        }
    }
    // The agent always samples: what follows is for the few packets that somebody wants to see.
    if wanted & OBSERVE_CAPTURE == 0 && flags & SEEN_EVENT == 0 {
        return;
    }
    // SAFETY: As above.
    let time = unsafe { bpf_ktime_get_coarse_ns() };
    if wanted & OBSERVE_CAPTURE != 0 && time < watched.capture_until {
        flags |= SEEN_CAPTURE;
    }
    if flags & (SEEN_EVENT | SEEN_CAPTURE) == 0 {
        return;
    }
    let Some(seen) = maps::SEEN.get_ptr_mut(0) else { return };
    let node_slot = if sent { view.node.get() } else { 0 };
    // SAFETY: As in `count`.
    unsafe {
        *seen = Seen {
            time,
            reason: reason as u32,
            action,
            interface: hook.interface(),
            bytes: bytes as u32,
            left: hook.length(),
            snap: 0,
            slot: view.slot.get(),
            node_slot,
            flags,
        };
    }
    if flags & SEEN_EVENT != 0 {
        hook.jump(tail::EVENTS);
    }
    if flags & SEEN_CAPTURE != 0 {
        hook.jump(tail::CAPTURE);
    }
}

/// The program that samples for the agent.
#[inline(always)]
pub(super) fn sample<H: Hook>(hook: &H) -> u32 {
    let Some(seen) = seen() else { return H::PASS };
    if affordable(&seen) {
        tell::<H, { observe::EVENT_SNAP }>(hook, &maps::EVENTS, limits::EVENTS, &seen);
    }
    if seen.flags & SEEN_CAPTURE != 0 {
        hook.jump(tail::CAPTURE);
    }
    seen.action
}

/// The program that captures.
#[inline(always)]
pub(super) fn capture<H: Hook>(hook: &H) -> u32 {
    let Some(seen) = seen() else { return H::PASS };
    if maps::FILTER.get(0).is_some_and(|filter| wants(filter, &seen)) {
        tell::<H, { observe::CAPTURE_SNAP }>(hook, &maps::CAPTURED, limits::CAPTURED, &seen);
    }
    seen.action
}

#[inline(always)]
fn seen() -> Option<Seen> {
    maps::SEEN.get(0).copied()
}

#[inline(always)]
fn wants(filter: &CaptureFilter, seen: &Seen) -> bool {
    let reason = filter.reasons >> (seen.reason & (limits::REASON_SLOTS - 1)) & 1 == 1;
    let slot = filter.slot == CaptureFilter::ANY || filter.slot == u32::from(seen.slot);
    let event = filter.events_only == 0 || seen.flags & SEEN_OPENING != 0 || dropped(seen);
    reason && slot && event
}

/// Whether the packet's reason is one of a drop.
#[inline(always)]
fn dropped(seen: &Seen) -> bool {
    DROPS >> (seen.reason & (limits::REASON_SLOTS - 1)) & 1 == 1
}

/// The reasons of drops, bit by number.
const DROPS: u64 = {
    let mut drops = 0;
    let mut number = 0;
    while number < Reason::ALL.len() {
        if matches!(Reason::ALL[number].verdict(), Verdict::Drop) {
            drops |= 1 << number;
        }
        number += 1;
    }
    drops
};

/// Beginnings of flows were sampled before; drops have so many a second on each CPU.
#[inline(always)]
fn affordable(seen: &Seen) -> bool {
    if !dropped(seen) {
        return true;
    }
    let allowed = maps::OBSERVE.get(0).map_or(0, |watched| u64::from(watched.drop_budget));
    let Some(budget) = maps::BUDGET.get_ptr_mut(0) else { return false };
    // SAFETY: As in `count`.
    let [second, left] = unsafe { &mut *budget };
    let now = seen.time >> 30;
    if *second != now {
        *second = now;
        *left = allowed;
    }
    if *left == 0 {
        return false;
    }
    *left -= 1;
    true
}

/// Writes a record, unless the buffer is three quarters full: a reader that is late has enough to
/// do, and the rest is for what begins now.
#[inline(always)]
fn tell<H: Hook, const SNAP: usize>(hook: &H, ring: &RingBuf, size: u32, seen: &Seen) {
    // 0 asks for the bytes that wait (BPF_RB_AVAIL_DATA).
    if ring.query(0) > u64::from(size / 4 * 3) {
        return;
    }
    let Some(mut entry) = ring.reserve::<Record<SNAP>>(0) else { return };
    let record: *mut Record<SNAP> = entry.as_mut_ptr();
    let snap = seen.left.min(SNAP as u32);
    // SAFETY: The buffer reserved room for a record; both fields are written within it, and
    // `copy` writes `snap` bytes, at most SNAP.
    let copied = unsafe {
        ptr::addr_of_mut!((*record).seen).write(Seen { snap, ..*seen });
        // From 1 to SNAP, a power of two, by arithmetic that no compiler takes away: Linux 6.1 does
        // not keep the bound of a comparison with half a register.
        let less = forgotten((snap as usize).wrapping_sub(1)) & (SNAP - 1);
        snap > 0 && hook.copy(ptr::addr_of_mut!((*record).data).cast(), less as u32 + 1)
    };
    if copied {
        entry.submit(0);
    } else {
        entry.discard(0);
    }
}

/// The same number, of which the compiler knows nothing any more.
#[inline(always)]
fn forgotten(mut number: usize) -> usize {
    // SAFETY: Nothing is done.
    unsafe {
        core::arch::asm!("{number} = {number}", number = inout(reg) number, options(pure, nomem, nostack));
    }
    number
}
