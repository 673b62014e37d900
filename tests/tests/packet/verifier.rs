//! What the verifier thinks of the programs.

use testbed::{programs, requirement};

/// A fifth of what it looks at before it gives up. Linux 6.1 looks longest, at about 85,000.
const INSTRUCTIONS: u32 = 200_000;

#[test]
fn no_program_comes_near_the_verifiers_limit() {
    let Some(object) = requirement::bpf("no_program_comes_near_the_verifiers_limit") else {
        return;
    };
    for (name, verified) in programs::verify(&object).unwrap() {
        let verified = verified.unwrap();
        assert!(verified.instructions > 0 || verified.bytes > 0, "{name}: {verified:?}");
        assert!(verified.instructions < INSTRUCTIONS, "{name}: {verified:?}");
    }
}
