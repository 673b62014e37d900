use std::time::Duration;

use tokio::time::Instant;

/// How much there may be of something: `burst` at once, then one per `refill`.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    burst: u32,
    refill: Duration,
    left: u32,
    /// Up to when it was refilled.
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(burst: u32, refill: Duration, now: Instant) -> Self {
        Self { burst, refill, left: burst, at: now }
    }

    /// There is one left. Not taken yet: [`Bucket::take`].
    pub(super) fn has(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left > 0
    }

    /// One less.
    pub(super) fn take(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// What was taken is given back.
    pub(super) fn give(&mut self) {
        self.left = self.left.saturating_add(1).min(self.burst);
    }

    /// As good as new: nobody need remember it.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left == self.burst
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_nanos() / self.refill.as_nanos();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        match self.left.saturating_add(passed) {
            left if left >= self.burst => (self.left, self.at) = (self.burst, now),
            left => {
                self.left = left;
                self.at += self.refill * passed;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_one_at_a_time() {
        let start = Instant::now();
        let mut bucket = Bucket::new(3, Duration::from_secs(10), start);
        let mut taken = |seconds| {
            let has = bucket.has(start + Duration::from_secs(seconds));
            if has {
                bucket.take();
            }
            has
        };
        assert_eq!([0, 0, 0, 0].map(&mut taken), [true, true, true, false]);
        assert_eq!([9, 10, 11, 19, 20].map(&mut taken), [false, true, false, false, true]);
        assert_eq!([1000, 1000, 1000, 1000].map(&mut taken), [true, true, true, false]);
        assert!(!bucket.is_full(start + Duration::from_secs(1029)));
        assert!(bucket.is_full(start + Duration::from_secs(1030)));
    }
}
