//! The programs: run the core, count its reason, return its verdict.

use aya_ebpf::{
    bindings::xdp_action,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use ingress_common::{Reason, limits::tail, reason::Verdict};
use ingress_ebpf::Outcome;

use super::{bench, frame::Frame, hook::Hook, observe, skb::Skb, view::View};

/// The entry: attached to the interfaces.
#[xdp]
fn xdp_steer(context: XdpContext) -> u32 {
    let view = View::new(&context);
    let bytes = context.length();
    let outcome = ingress_ebpf::steer(&mut Frame(&context), &view);
    finish(&context, &view, bytes, outcome)
}

/// Slot [`DECAP`](ingress_common::limits::tail::DECAP): packets out of the tunnel.
#[xdp]
fn xdp_decap(context: XdpContext) -> u32 {
    let view = View::new(&context);
    let bytes = context.length();
    let outcome = ingress_ebpf::receive(&mut Frame(&context), &view);
    finish(&context, &view, bytes, outcome)
}

/// Slot [`EVENTS`](ingress_common::limits::tail::EVENTS): samples for the agent.
#[xdp]
fn xdp_events(context: XdpContext) -> u32 {
    observe::sample(&context)
}

/// Slot [`CAPTURE`](ingress_common::limits::tail::CAPTURE), while somebody captures.
#[xdp]
fn xdp_capture(context: XdpContext) -> u32 {
    observe::capture(&context)
}

/// Slot [`ICMP`](ingress_common::limits::tail::ICMP): ICMP for virtual addresses.
#[xdp]
fn xdp_icmp(context: XdpContext) -> u32 {
    let view = View::new(&context);
    let bytes = context.length();
    let outcome = ingress_ebpf::steer_icmp(&mut Frame(&context), &view);
    finish(&context, &view, bytes, outcome)
}

/// Slot [`DECAP_ICMP`](ingress_common::limits::tail::DECAP_ICMP): ICMP out of the tunnel.
#[xdp]
fn xdp_decap_icmp(context: XdpContext) -> u32 {
    let view = View::new(&context);
    let bytes = context.length();
    let outcome = ingress_ebpf::receive_icmp(&mut Frame(&context), &view);
    finish(&context, &view, bytes, outcome)
}

/// Slot [`FRAGMENT`](ingress_common::limits::tail::FRAGMENT): fragments for virtual addresses.
#[xdp]
fn xdp_frag(context: XdpContext) -> u32 {
    let view = View::new(&context);
    let bytes = context.length();
    let outcome = ingress_ebpf::steer_fragment(&mut Frame(&context), &view);
    finish(&context, &view, bytes, outcome)
}

/// Slot [`DECAP_FRAGMENT`](ingress_common::limits::tail::DECAP_FRAGMENT): fragments out of the tunnel.
#[xdp]
fn xdp_decap_frag(context: XdpContext) -> u32 {
    let view = View::new(&context);
    let bytes = context.length();
    let outcome = ingress_ebpf::receive_fragment(&mut Frame(&context), &view);
    finish(&context, &view, bytes, outcome)
}

/// Slot [`TOO_BIG`](ingress_common::limits::tail::TOO_BIG): what does not fit into the tunnel.
#[xdp]
fn xdp_too_big(context: XdpContext) -> u32 {
    let view = View::new(&context);
    let bytes = context.length();
    let outcome = ingress_ebpf::too_big(&mut Frame(&context), &view);
    finish(&context, &view, bytes, outcome)
}

/// For the far ends of veth pairs: a veth takes frames that were sent by `XDP_TX` or a redirect
/// only if its own end runs a program.
#[xdp]
fn xdp_pass(_context: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// For the benchmark alone: brings a frame back to what it was, whatever the run before made of it,
/// and goes on with the program under measurement.
#[xdp]
fn xdp_front(context: XdpContext) -> u32 {
    bench::restore(&context);
    context.jump(tail::BENCH);
    xdp_action::XDP_ABORTED
}

/// The entry where an interface's driver has no XDP.
#[classifier]
fn tc_steer(context: TcContext) -> i32 {
    let view = View::new(&context);
    let bytes = context.length();
    let outcome = ingress_ebpf::steer(&mut Skb::new(&context), &view);
    finish(&context, &view, bytes, outcome) as i32
}

/// As `xdp_decap`.
#[classifier]
fn tc_decap(context: TcContext) -> i32 {
    let view = View::new(&context);
    let bytes = context.length();
    let outcome = ingress_ebpf::receive(&mut Skb::new(&context), &view);
    finish(&context, &view, bytes, outcome) as i32
}

/// As `xdp_events`.
#[classifier]
fn tc_events(context: TcContext) -> i32 {
    observe::sample(&context) as i32
}

/// As `xdp_capture`.
#[classifier]
fn tc_capture(context: TcContext) -> i32 {
    observe::capture(&context) as i32
}

/// As `xdp_icmp`.
#[classifier]
fn tc_icmp(context: TcContext) -> i32 {
    let view = View::new(&context);
    let bytes = context.length();
    let outcome = ingress_ebpf::steer_icmp(&mut Skb::new(&context), &view);
    finish(&context, &view, bytes, outcome) as i32
}

/// As `xdp_decap_icmp`.
#[classifier]
fn tc_decap_icmp(context: TcContext) -> i32 {
    let view = View::new(&context);
    let bytes = context.length();
    let outcome = ingress_ebpf::receive_icmp(&mut Skb::new(&context), &view);
    finish(&context, &view, bytes, outcome) as i32
}

/// As `xdp_frag`.
#[classifier]
fn tc_frag(context: TcContext) -> i32 {
    let view = View::new(&context);
    let bytes = context.length();
    let outcome = ingress_ebpf::steer_fragment(&mut Skb::new(&context), &view);
    finish(&context, &view, bytes, outcome) as i32
}

/// As `xdp_decap_frag`.
#[classifier]
fn tc_decap_frag(context: TcContext) -> i32 {
    let view = View::new(&context);
    let bytes = context.length();
    let outcome = ingress_ebpf::receive_fragment(&mut Skb::new(&context), &view);
    finish(&context, &view, bytes, outcome) as i32
}

#[inline(always)]
fn finish<H: Hook>(hook: &H, view: &View<'_, H>, bytes: u32, outcome: Outcome) -> u32 {
    let bytes = u64::from(bytes);
    let (reason, action, sent) = match outcome {
        Outcome::Done(reason) => (reason, action::<H>(reason), false),
        Outcome::Send { reason, interface } => {
            observe::count_forward(view.node.get(), reason, bytes);
            (reason, hook.send(interface), true)
        }
        Outcome::Tail { slot, otherwise } => {
            hook.jump(slot);
            (otherwise, action::<H>(otherwise), false)
        }
    };
    #[cfg(feature = "log")]
    hook.log(reason as u32, bytes as u32);
    observe::count(view.slot.get(), reason, bytes);
    observe::offer(hook, view, reason, action, bytes, sent);
    action
}

/// What becomes of a frame that is not sent.
#[inline(always)]
const fn action<H: Hook>(reason: Reason) -> u32 {
    match reason.verdict() {
        Verdict::Pass => H::PASS,
        Verdict::Forward | Verdict::Drop => H::DROP,
    }
}
