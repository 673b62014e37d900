//! The invariants on random inputs: what the fuzzer of `fuzz/` does, without a fuzzer.

use std::collections::BTreeMap;

use ingress_common::Reason;
use proptest::{collection::vec, prelude::*};

use crate::invariants;

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The invariants would mean little if the inputs never got anywhere.
#[test]
fn random_inputs_hold_the_invariants_and_find_every_way_out() {
    let mut seen = BTreeMap::new();
    for seed in 0..30_000 {
        let mut random = Random(seed);
        let length = 100 + random.next() % 300;
        let input: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        let reason = std::panic::catch_unwind(|| invariants::check(&input));
        let reason = reason.unwrap_or_else(|_| panic!("an invariant broke with seed {seed}"));
        *seen.entry(reason as u32).or_insert(0) += 1;
    }
    // Those of an empty slot and of what cannot happen.
    let unseen =
        [Reason::NoDecap, Reason::Fragment, Reason::RewriteFailed].map(|reason| reason as u32);
    for reason in Reason::ALL {
        let expected = !unseen.contains(&(*reason as u32));
        assert_eq!(seen.contains_key(&(*reason as u32)), expected, "{}", reason.name());
    }
}

proptest! {
    #[test]
    fn any_input_holds_the_invariants(input in vec(any::<u8>(), 0..400)) {
        invariants::check(&input);
    }
}
