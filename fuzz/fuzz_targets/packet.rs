//! One frame in one small world, both made of the fuzzer's bytes. The world, the frame and what is
//! checked are those of the ordinary tests in `ingress-ebpf/tests/core`.
#![no_main]
#![forbid(unsafe_code)]

#[path = "../../ingress-ebpf/tests/core/arbitrary.rs"]
mod arbitrary;
#[path = "../../ingress-ebpf/tests/core/invariants.rs"]
mod invariants;
#[path = "../../ingress-ebpf/tests/core/sight.rs"]
mod sight;
#[path = "../../ingress-ebpf/tests/core/world.rs"]
mod world;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    invariants::check(input);
});
