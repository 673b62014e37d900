//! What the kernel tier costs before the first packet.

use crate::bed::bed;

/// 4 MiB of rows, 10 MiB of UDP flows, less than 5 MiB of everything else, and of counters 160 KiB on
/// each CPU. A node pays this once.
#[test]
fn all_maps_together_stay_within_nineteen_mebibytes_and_counters() {
    bed(|bed| {
        let maps = bed.programs.memory().unwrap();
        let sum: u64 = maps.iter().map(|(_, bytes)| bytes).sum();
        assert!(maps.len() >= 10, "{maps:?}");
        assert!(sum >= 4 << 20, "not even the rows are there: {maps:?}");
        let cpus = aya::util::nr_cpus().unwrap() as u64;
        assert!(sum <= (19 << 20) + cpus * 165 * 1024, "{sum} bytes: {maps:?}");
    });
}
