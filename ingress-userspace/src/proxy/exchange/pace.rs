//! `limit-rate`: how much of an answer's body may go to the client by now.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Steps in a second: small enough for a stream that does not stutter, large enough for few timers.
const STEPS: u64 = 20;

/// The largest step. Bytes.
const STEP: u64 = 16 * 1024;

/// The pace of one answer. Only answers with a limit have one, and with it a timer.
pub(super) struct Pace {
    /// Bytes in a second, above zero.
    rate: u64,
    /// Bytes that come first, without limit.
    after: u64,
    begun: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Pace {
    /// Of an answer that begins now. `None`: as fast as can be.
    pub(super) fn new(pace: crate::model::Pace) -> Option<Box<Self>> {
        let begun = Instant::now();
        (pace.rate > 0).then(|| {
            let timer = Box::pin(sleep_until(begun));
            Box::new(Self { rate: pace.rate, after: pace.after, begun, timer })
        })
    }

    /// How much more may go, of an answer of which so much went: ready when it is worth a write.
    pub(super) fn poll_allowed(&mut self, cx: &mut Context<'_>, moved: u64) -> Poll<usize> {
        loop {
            match self.allowed(self.begun.elapsed(), moved) {
                Ok(allowed) => return Poll::Ready(allowed),
                Err(due) => self.timer.as_mut().reset(self.begun + due),
            }
            ready!(self.timer.as_mut().poll(cx));
        }
    }

    /// The same, so long after the beginning; or when it will be worth a write.
    fn allowed(&self, elapsed: Duration, moved: u64) -> Result<usize, Duration> {
        let step = (self.rate / STEPS).clamp(1, STEP);
        let allowed = self.by(elapsed).saturating_sub(moved);
        if allowed >= step {
            Ok(usize::try_from(allowed).unwrap_or(usize::MAX))
        } else {
            Err(self.when(moved.saturating_add(step)))
        }
    }

    /// What may have gone by then. Bytes.
    fn by(&self, elapsed: Duration) -> u64 {
        let share = u128::from(self.rate) * elapsed.as_micros() / 1_000_000;
        u64::try_from(share).unwrap_or(u64::MAX).saturating_add(self.after)
    }

    /// When so much may have gone; above `after`.
    fn when(&self, bytes: u64) -> Duration {
        let paced = u128::from(bytes.saturating_sub(self.after));
        let micros = (paced * 1_000_000).div_ceil(u128::from(self.rate));
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    async fn pace(rate: u64, after: u64) -> Box<Pace> {
        Pace::new(model::Pace { rate, after }).expect("it is limited")
    }

    #[tokio::test]
    async fn what_comes_first_is_not_limited() {
        assert!(Pace::new(model::Pace { rate: 0, after: 5 }).is_none());
        let pace = pace(1000, 5000).await;
        assert_eq!(pace.allowed(Duration::ZERO, 0), Ok(5000));
        assert_eq!(pace.allowed(Duration::ZERO, 5000), Err(Duration::from_millis(50)));
    }

    #[tokio::test]
    async fn the_rest_comes_evenly() {
        for rate in [1, 19, 1024, 100_000, 50_000_000] {
            let pace = pace(rate, 0).await;
            let (mut now, mut moved, mut largest) = (Duration::ZERO, 0, 0);
            while moved < rate * 3 {
                match pace.allowed(now, moved) {
                    Ok(allowed) => {
                        moved += allowed as u64;
                        largest = largest.max(allowed as u64);
                    }
                    Err(due) => {
                        assert!(due > now, "{rate}: the timer makes progress");
                        now = due;
                    }
                }
                assert!(moved <= pace.by(now), "{rate}");
            }
            let took = now.as_millis();
            assert!((2950..=3050).contains(&took), "{rate}: {took} ms");
            assert!(largest <= (rate / 10).max(1), "{rate}: {largest} at once");
        }
    }
}
