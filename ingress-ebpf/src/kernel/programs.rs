//! The programs: run the core, count its reason, return its verdict.

use aya_ebpf::{
    bindings::xdp_action, helpers::generated::bpf_redirect, macros::xdp, programs::XdpContext,
};
use ingress_common::{Reason, reason::Verdict};
use ingress_ebpf::{Outcome, Packet as _};

use super::{frame::Frame, maps, view::View};

/// The entry: attached to the interfaces.
#[xdp]
fn xdp_steer(context: XdpContext) -> u32 {
    let mut frame = Frame(&context);
    let bytes = frame.length() as u64;
    let outcome = ingress_ebpf::steer(&mut frame, &View(&context));
    finish(&context, bytes, outcome)
}

/// Slot [`DECAP`](ingress_common::limits::tail::DECAP): packets out of the tunnel.
#[xdp]
fn xdp_decap(context: XdpContext) -> u32 {
    let mut frame = Frame(&context);
    let bytes = frame.length() as u64;
    let outcome = ingress_ebpf::receive(&mut frame, &View(&context));
    finish(&context, bytes, outcome)
}

/// Slot [`ICMP`](ingress_common::limits::tail::ICMP): ICMP for virtual addresses.
#[xdp]
fn xdp_icmp(context: XdpContext) -> u32 {
    let mut frame = Frame(&context);
    let bytes = frame.length() as u64;
    let outcome = ingress_ebpf::steer_icmp(&mut frame, &View(&context));
    finish(&context, bytes, outcome)
}

/// Slot [`DECAP_ICMP`](ingress_common::limits::tail::DECAP_ICMP): ICMP out of the tunnel.
#[xdp]
fn xdp_decap_icmp(context: XdpContext) -> u32 {
    let mut frame = Frame(&context);
    let bytes = frame.length() as u64;
    let outcome = ingress_ebpf::receive_icmp(&mut frame, &View(&context));
    finish(&context, bytes, outcome)
}

/// Slot [`FRAGMENT`](ingress_common::limits::tail::FRAGMENT): fragments for virtual addresses.
#[xdp]
fn xdp_frag(context: XdpContext) -> u32 {
    let mut frame = Frame(&context);
    let bytes = frame.length() as u64;
    let outcome = ingress_ebpf::steer_fragment(&mut frame, &View(&context));
    finish(&context, bytes, outcome)
}

/// Slot [`DECAP_FRAGMENT`](ingress_common::limits::tail::DECAP_FRAGMENT): fragments out of the
/// tunnel.
#[xdp]
fn xdp_decap_frag(context: XdpContext) -> u32 {
    let mut frame = Frame(&context);
    let bytes = frame.length() as u64;
    let outcome = ingress_ebpf::receive_fragment(&mut frame, &View(&context));
    finish(&context, bytes, outcome)
}

/// Slot [`TOO_BIG`](ingress_common::limits::tail::TOO_BIG): what does not fit into the tunnel.
#[xdp]
fn xdp_too_big(context: XdpContext) -> u32 {
    let mut frame = Frame(&context);
    let bytes = frame.length() as u64;
    let outcome = ingress_ebpf::too_big(&mut frame, &View(&context));
    finish(&context, bytes, outcome)
}

/// For the far ends of veth pairs: a veth takes frames that were sent by `XDP_TX` or a redirect
/// only if its own end runs a program.
#[xdp]
fn xdp_pass(_context: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

#[inline(always)]
fn finish(context: &XdpContext, bytes: u64, outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Done(reason) => {
            count(context, reason, bytes);
            match reason.verdict() {
                Verdict::Pass => xdp_action::XDP_PASS,
                Verdict::Forward | Verdict::Drop => xdp_action::XDP_DROP,
            }
        }
        Outcome::Send { reason, interface } => {
            count(context, reason, bytes);
            if interface == context.ingress_ifindex() as u32 {
                xdp_action::XDP_TX
            } else {
                // SAFETY: The helper takes plain numbers; an interface that does not exist makes
                // it return XDP_ABORTED, or the kernel drop the frame.
                unsafe { bpf_redirect(interface, 0) as u32 }
            }
        }
        Outcome::Tail { slot, otherwise } => {
            // SAFETY: No value of this program has a destructor that the jump would skip.
            unsafe { maps::PROGS.tail_call(context, slot) };
            count(context, otherwise, bytes);
            match otherwise.verdict() {
                Verdict::Pass => xdp_action::XDP_PASS,
                Verdict::Forward | Verdict::Drop => xdp_action::XDP_DROP,
            }
        }
    }
}

#[inline(always)]
#[cfg_attr(not(feature = "log"), expect(unused_variables, reason = "only the log needs it"))]
fn count(context: &XdpContext, reason: Reason, bytes: u64) {
    #[cfg(feature = "log")]
    super::log::verdict(context.ctx, reason as u32, bytes as u32);
    if let Some(counters) = maps::REASONS.get_ptr_mut(reason as u32) {
        // SAFETY: The map gave a valid pointer to this CPU's entry, and XDP programs do not
        // preempt each other on a CPU.
        let counters = unsafe { &mut *counters };
        counters.packets += 1;
        counters.bytes += bytes;
    }
}
