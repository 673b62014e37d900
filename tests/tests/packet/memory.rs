//! What the kernel tier costs before the first packet.

use crate::bed::bed;

/// 4 MiB of rows, and less than 2.5 MiB of everything else on any machine of up to 256 CPUs. A node
/// pays this once.
#[test]
fn all_maps_together_stay_within_six_and_a_half_mebibytes() {
    bed(|bed| {
        let maps = bed.programs.memory().unwrap();
        let sum: u64 = maps.iter().map(|(_, bytes)| bytes).sum();
        assert!(maps.len() >= 10, "{maps:?}");
        assert!(sum >= 4 << 20, "not even the rows are there: {maps:?}");
        assert!(sum <= 13 << 19, "{sum} bytes: {maps:?}");
    });
}
