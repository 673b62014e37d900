//! What a peer may make us do for nothing: requests that it cancels at once, and frames that move
//! neither a request nor a byte.

use super::error::Code;

/// Counts begin anew after so long. Milliseconds.
const PERIOD: u64 = 10_000;
/// Streams that may be reset in a period, if they are more than half of those opened. Resets of
/// ours count as well, as it is the peer's errors that cause them.
const RESETS: u32 = 100;
/// Frames that are of no use, in a period, beyond those that go with the useful ones.
const IDLE_FRAMES: u32 = 2000;
/// So many frames can go with each useful one: WINDOW_UPDATE of stream and connection, a PING.
const COMPANIONS: u32 = 4;

/// What one connection did in the present period.
#[derive(Debug, Default)]
pub(super) struct Flood {
    since: u64,
    opened: u32,
    resets: u32,
    idle: u32,
}

impl Flood {
    /// The time, in milliseconds since whenever.
    pub(super) fn tick(&mut self, now: u64) {
        if now.saturating_sub(self.since) >= PERIOD {
            *self = Self { since: now, ..Self::default() };
        }
    }

    /// A request came, or an answer's data left.
    pub(super) fn useful(&mut self) {
        self.idle = self.idle.saturating_sub(COMPANIONS);
    }

    /// A stream was opened.
    pub(super) fn opened(&mut self) {
        self.opened = self.opened.saturating_add(1);
        self.useful();
    }

    /// A stream was reset before its end.
    ///
    /// # Errors
    /// Too many were.
    pub(super) fn reset(&mut self) -> Result<(), Code> {
        self.resets = self.resets.saturating_add(1);
        let most = self.resets > RESETS && self.resets.saturating_mul(2) > self.opened;
        if most { Err(Code::EnhanceYourCalm) } else { Ok(()) }
    }

    /// A frame came that asks for nothing, or only for an acknowledgement.
    ///
    /// # Errors
    /// Too many did.
    pub(super) fn idle(&mut self) -> Result<(), Code> {
        self.idle = self.idle.saturating_add(1);
        if self.idle > IDLE_FRAMES { Err(Code::EnhanceYourCalm) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_are_counted_against_streams() {
        let mut flood = Flood::default();
        for _ in 0..RESETS {
            assert_eq!(flood.reset(), Ok(()));
        }
        assert_eq!(flood.reset(), Err(Code::EnhanceYourCalm));
        for _ in 0..2 * (RESETS + 2) {
            flood.opened();
        }
        assert_eq!(flood.reset(), Ok(()));
    }

    #[test]
    fn idle_frames_are_counted_against_useful_ones_and_forgotten() {
        let mut flood = Flood::default();
        for _ in 0..IDLE_FRAMES {
            assert_eq!(flood.idle(), Ok(()));
        }
        flood.useful();
        assert_eq!(flood.idle(), Ok(()));
        for _ in 0..COMPANIONS {
            let _counted = flood.idle();
        }
        assert_eq!(flood.idle(), Err(Code::EnhanceYourCalm));
        flood.tick(PERIOD - 1);
        assert_eq!(flood.idle(), Err(Code::EnhanceYourCalm));
        flood.tick(PERIOD);
        assert_eq!(flood.idle(), Ok(()));
    }
}
