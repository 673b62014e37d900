//! The time as lines have it, written once a second instead of once a line.

use std::{
    cell::{Cell, RefCell},
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::{Zoned, tz::TimeZone};

/// Shows the time where the machine is.
pub(crate) struct Clock {
    zone: TimeZone,
    second: Cell<u64>,
    texts: RefCell<Texts>,
}

#[derive(Default)]
struct Texts {
    local: String,
    iso: String,
    syslog: String,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(TimeZone::system())
    }
}

impl Clock {
    fn new(zone: TimeZone) -> Self {
        Self { zone, second: Cell::new(u64::MAX), texts: RefCell::default() }
    }

    /// Since 1970.
    pub(in crate::proxy) fn now() -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// Runs `with` with NGINX's `$time_local`: `21/Nov/2026:15:32:08 +0000`.
    pub(in crate::proxy) fn local<T>(&self, now: Duration, with: impl FnOnce(&str) -> T) -> T {
        self.move_to(now);
        with(&self.texts.borrow().local)
    }

    /// Runs `with` with `$time_iso8601`: `2026-11-21T15:32:08+00:00`.
    pub(in crate::proxy) fn iso<T>(&self, now: Duration, with: impl FnOnce(&str) -> T) -> T {
        self.move_to(now);
        with(&self.texts.borrow().iso)
    }

    /// Runs `with` with the time as RFC 3164, section 4.1.2, has it: `Nov 21 15:32:08`.
    pub(super) fn syslog<T>(&self, now: Duration, with: impl FnOnce(&str) -> T) -> T {
        self.move_to(now);
        with(&self.texts.borrow().syslog)
    }

    fn move_to(&self, now: Duration) {
        if self.second.replace(now.as_secs()) == now.as_secs() {
            return;
        }
        let mut texts = self.texts.borrow_mut();
        let time = Zoned::try_from(UNIX_EPOCH + now)
            .map(|time| time.with_time_zone(self.zone.clone()))
            .unwrap_or_default();
        texts.local.clear();
        texts.iso.clear();
        texts.syslog.clear();
        let Texts { local, iso, syslog } = &mut *texts;
        let _infallible = write!(syslog, "{}", time.strftime("%b %e %H:%M:%S"));
        let _infallible = write!(local, "{}", time.strftime("%d/%b/%Y:%H:%M:%S %z"));
        let _infallible = write!(iso, "{}", time.strftime("%Y-%m-%dT%H:%M:%S%:z"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_written_as_nginx_does() {
        let clock = Clock::new(TimeZone::fixed(jiff::tz::offset(-5)));
        let then = Duration::from_millis(1_763_737_928_999);
        clock.local(then, |text| assert_eq!(text, "21/Nov/2025:10:12:08 -0500"));
        clock.iso(then, |text| assert_eq!(text, "2025-11-21T10:12:08-05:00"));
        clock.syslog(then, |text| assert_eq!(text, "Nov 21 10:12:08"));
        let later = then + Duration::from_millis(1);
        clock.local(later, |text| assert_eq!(text, "21/Nov/2025:10:12:09 -0500"));
    }
}
