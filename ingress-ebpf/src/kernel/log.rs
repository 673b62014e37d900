//! Debug builds: a line per packet, for whoever wants to watch. It costs more than the forwarding.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use aya_log_ebpf::debug;
/// Says what became of a packet.
// A function that the verifier checks once and by itself: within the programs it would be checked
// again for each of their ways out. Its arguments are therefore plain numbers.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn verdict(context: *mut xdp_md, reason: u32, bytes: u32) -> u32 {
    // aya-log does nothing with the context, but it must be passed: the verifier wants every
    // argument of a global function, and the compiler leaves out the unused.
    let context = XdpContext::new(core::hint::black_box(context));
    // The number, not its name: the verifier knows too little of a name that is looked up.
    debug!(context, "{} bytes, reason {}", bytes, reason);
    0
}
