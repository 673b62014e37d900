//! Percentiles out of buckets, as Prometheus' `histogram_quantile` estimates them: within a bucket
//! durations are taken to be spread evenly, and what is above the highest bound counts as that bound.

/// The duration in seconds that this share of the requests was no longer than; `None`: there are no
/// requests, or their durations are not gathered.
pub(crate) fn percentile(bounds: &[f64], buckets: &[u32], share: f64) -> Option<f64> {
    let count: u64 = buckets.iter().map(|count| u64::from(*count)).sum();
    if count == 0 {
        return None;
    }
    let rank = share * count as f64;
    let mut below = 0.0;
    let mut lower = 0.0;
    for (bound, count) in bounds.iter().zip(buckets) {
        let own = f64::from(*count);
        if own > 0.0 && below + own >= rank {
            return Some(lower + (bound - lower) * ((rank - below) / own).clamp(0.0, 1.0));
        }
        below += own;
        lower = *bound;
    }
    bounds.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_within_their_bucket() {
        let bounds = [0.1, 0.2, 1.0];
        for (buckets, share, wanted) in [
            ([10, 0, 0, 0], 0.5, Some(0.05)),
            ([0, 10, 0, 0], 0.9, Some(0.19)),
            ([5, 5, 0, 0], 0.5, Some(0.1)),
            ([9, 0, 1, 0], 0.99, Some(0.92)),
            // Above all bounds: the highest of them.
            ([0, 0, 0, 3], 0.5, Some(1.0)),
            ([99, 0, 0, 1], 1.0, Some(1.0)),
            ([0; 4], 0.5, None),
        ] {
            let found = percentile(&bounds, &buckets, share);
            let is_same = match (found, wanted) {
                (Some(found), Some(wanted)) => f64::abs(found - wanted) < 1e-9,
                (found, wanted) => found == wanted,
            };
            assert!(is_same, "{buckets:?} {share}: {found:?}, not {wanted:?}");
        }
        assert_eq!(percentile(&bounds, &[], 0.5), None);
        assert_eq!(percentile(&[], &[3], 0.5), None);
    }
}
