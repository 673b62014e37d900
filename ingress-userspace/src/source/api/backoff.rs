use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// How long to wait after failures: anything up to twice as long with each, and up to half a minute.
/// The whole of it is left to chance, so that a thousand nodes that lost one API server at one moment
/// do not come back at one moment.
#[derive(Debug)]
pub(super) struct Backoff {
    limit: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { limit: FIRST }
    }
}

impl Backoff {
    /// All went well.
    pub(super) fn reset(&mut self) {
        self.limit = FIRST;
    }

    /// How long to wait now; at least as long as the other side asked for.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let limit = self.limit;
        self.limit = (limit * 2).min(LONGEST);
        limit.mul_f64(fastrand::f64()).max(asked.unwrap_or_default().min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_half_a_minute_and_begin_again() {
        let mut backoff = Backoff::default();
        for limit in [1, 2, 4, 8, 16, 30, 30, 30] {
            assert_eq!(backoff.limit, Duration::from_secs(limit));
            assert!(backoff.next(None) <= Duration::from_secs(limit));
        }
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
        assert!(backoff.next(Some(Duration::from_secs(9))) >= Duration::from_secs(9));
        assert!(backoff.next(Some(Duration::from_secs(3600))) <= LONGEST);
    }

    #[test]
    fn waits_are_spread() {
        let wait = || Backoff::default().next(None);
        let (low, high) = (Duration::from_millis(250), Duration::from_millis(750));
        let waits: Vec<_> = (0..200).map(|_| wait()).collect();
        assert!(waits.iter().any(|one| *one < low) && waits.iter().any(|one| *one > high));
    }
}
