//! The eBPF object that the build embedded, and how its programs get into the kernel.

use aya::programs::{ProgramError, SchedClassifier, Xdp};
use ingress_common::limits::tail;
use nix::sys::signal::{SigSet, SigmaskHow};

/// The object's bytes, aligned as the ELF parser wants them; empty in a build without a BPF
/// toolchain.
static EMBEDDED: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/penstock.bpf.o"));

/// All programs of the object.
pub const PROGRAMS: [&str; 18] = [
    "xdp_steer",
    "xdp_decap",
    "xdp_icmp",
    "xdp_decap_icmp",
    "xdp_frag",
    "xdp_decap_frag",
    "xdp_too_big",
    "xdp_events",
    "xdp_capture",
    "xdp_pass",
    "tc_steer",
    "tc_decap",
    "tc_icmp",
    "tc_decap_icmp",
    "tc_frag",
    "tc_decap_frag",
    "tc_events",
    "tc_capture",
];

/// The programs behind tail calls, each with its slot.
pub const TAILS: [(u32, &str); 6] = [
    (tail::DECAP, "xdp_decap"),
    (tail::ICMP, "xdp_icmp"),
    (tail::DECAP_ICMP, "xdp_decap_icmp"),
    (tail::FRAGMENT, "xdp_frag"),
    (tail::DECAP_FRAGMENT, "xdp_decap_frag"),
    (tail::TOO_BIG, "xdp_too_big"),
];

/// The same for tc. A packet that is too long is not answered there: the room that
/// `bpf_skb_adjust_room` makes is not where the answer's headers go.
pub const TC_TAILS: [(u32, &str); 5] = [
    (tail::DECAP, "tc_decap"),
    (tail::ICMP, "tc_icmp"),
    (tail::DECAP_ICMP, "tc_decap_icmp"),
    (tail::FRAGMENT, "tc_frag"),
    (tail::DECAP_FRAGMENT, "tc_decap_frag"),
];

/// The object, or `None` if this build has none: then there is nothing to steer with, and
/// everything else works.
pub fn embedded() -> Option<&'static [u8]> {
    if EMBEDDED.is_empty() { None } else { Some(EMBEDDED) }
}

/// How often the kernel is asked to take a program that it only put off.
const ATTEMPTS: u32 = 5;

/// A program of one of the kinds that the object has.
pub trait Loadable {
    /// Asks the kernel once.
    ///
    /// # Errors
    /// The kernel's.
    fn attempt(&mut self) -> Result<(), ProgramError>;
}

impl Loadable for Xdp {
    fn attempt(&mut self) -> Result<(), ProgramError> {
        self.load()
    }
}

impl Loadable for SchedClassifier {
    fn attempt(&mut self) -> Result<(), ProgramError> {
        self.load()
    }
}

/// Loads a program. Signals to this thread wait until that is done.
///
/// # Errors
/// The kernel's, with the words of its verifier.
pub fn load(program: &mut impl Loadable) -> Result<(), ProgramError> {
    // The verifier gives up with EAGAIN once its thread has a signal pending, even one that nobody
    // listens to, such as a child's end (`do_check` of kernel/bpf/verifier.c). It takes
    // milliseconds, which is long enough to meet one now and then.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let mut outcome = program.attempt();
    // What cannot be blocked, such as a stop or the freezer, interrupts it as well.
    for _ in 1..ATTEMPTS {
        if !outcome.as_ref().is_err_and(put_off) {
            break;
        }
        outcome = program.attempt();
    }
    if let Ok(before) = before {
        // A set that this thread had can be set again.
        let _ = before.thread_set_mask();
    }
    outcome
}

fn put_off(error: &ProgramError) -> bool {
    matches!(error, ProgramError::LoadError { io_error, .. }
        if io_error.kind() == std::io::ErrorKind::WouldBlock)
}
