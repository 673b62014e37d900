//! What the verifier thinks of the programs.

use std::collections::BTreeMap;

use testbed::{programs, requirement};

/// Half of what it looks at before it gives up: kernels differ by a factor of three, and some that
/// was not tried may look longer.
const INSTRUCTIONS: u32 = 500_000;

/// What was counted when somebody looked last: `cargo xtask kernels --record`.
const RECORD: &str = include_str!("../../../docs/benchmarks/verifier.json");

#[test]
fn no_program_comes_near_the_verifiers_limit_or_grows_unnoticed() {
    let name = "no_program_comes_near_the_verifiers_limit_or_grows_unnoticed";
    let Some(object) = requirement::bpf(name) else { return };
    let record: BTreeMap<String, BTreeMap<String, u32>> = serde_json::from_str(RECORD).unwrap();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    // Of a kernel that nobody has tried there is nothing to compare with.
    let known = record.get(&release.split('.').take(2).collect::<Vec<_>>().join("."));
    for (name, verified) in programs::verify(&object).unwrap() {
        let verified = verified.unwrap();
        assert!(verified.instructions > 0 || verified.bytes > 0, "{name}: {verified:?}");
        assert!(verified.instructions < INSTRUCTIONS, "{name}: {verified:?}");
        if let Some(known) = known {
            let before = known.get(name).copied().unwrap_or_default();
            // A fifth is what another compiler may come to.
            assert!(
                u64::from(verified.instructions) * 5 <= u64::from(before) * 6,
                "{name}: {} instructions on Linux {release}, {before} are on record; if that has to \
                 be, cargo xtask kernels --record",
                verified.instructions
            );
        }
    }
}
