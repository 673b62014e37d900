//! The value of `Date`, written once a second instead of once an answer.

use std::{
    cell::{Cell, RefCell},
    time::{SystemTime, UNIX_EPOCH},
};

/// A clock that shows what [`tick`](Self::tick) last saw.
pub(crate) struct Date {
    second: Cell<u64>,
    text: RefCell<String>,
}

impl Date {
    pub(crate) fn new(now: SystemTime) -> Self {
        let date = Self { second: Cell::new(u64::MAX), text: RefCell::default() };
        date.tick(now);
        date
    }

    /// Moves the clock.
    pub(crate) fn tick(&self, now: SystemTime) {
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if self.second.replace(second) != second {
            self.text.replace(httpdate::fmt_http_date(now));
        }
    }

    /// Runs `with` with the date in the form that HTTP prefers (RFC 9110, section 5.6.7).
    pub(crate) fn with<T>(&self, with: impl FnOnce(&[u8]) -> T) -> T {
        with(self.text.borrow().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_date_moves_with_the_clock() {
        let date = Date::new(UNIX_EPOCH + Duration::from_secs(784_111_777));
        date.with(|text| assert_eq!(text, b"Sun, 06 Nov 1994 08:49:37 GMT"));
        date.tick(UNIX_EPOCH + Duration::from_millis(784_111_778_900));
        date.with(|text| assert_eq!(text, b"Sun, 06 Nov 1994 08:49:38 GMT"));
    }
}
