//! The programs: run the core, count its reason, return its verdict.

use aya_ebpf::{
    bindings::xdp_action,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use ingress_common::reason::Verdict;
use ingress_ebpf::Outcome;

use super::{frame::Frame, hook::Hook, observe, skb::Skb, view::View};

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

/// For the far ends of veth pairs: a veth takes frames that were sent by `XDP_TX` or a redirect
/// only if its own end runs a program.
#[xdp]
fn xdp_pass(_context: XdpContext) -> u32 {
    xdp_action::XDP_PASS
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

#[inline(always)]
fn finish<H: Hook>(hook: &H, view: &View<'_, H>, bytes: u32, outcome: Outcome) -> u32 {
    let bytes = u64::from(bytes);
    let (reason, action, sent) = match outcome {
        Outcome::Done(reason) => match reason.verdict() {
            Verdict::Pass => (reason, H::PASS, false),
            Verdict::Forward | Verdict::Drop => (reason, H::DROP, false),
        },
        Outcome::Send { reason, interface } => {
            observe::count_forward(view.node.get(), reason, bytes);
            (reason, hook.send(interface), true)
        }
        Outcome::Tail { slot, otherwise } => {
            hook.jump(slot);
            (otherwise, H::PASS, false)
        }
    };
    #[cfg(feature = "log")]
    hook.log(reason as u32, bytes as u32);
    observe::count(view.slot.get(), reason, bytes);
    observe::offer(hook, view, reason, action, bytes, sent);
    action
}
