//! The packet core over arbitrary frames; see [`penstock_fuzz::drive`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    penstock_fuzz::drive(input);
});
