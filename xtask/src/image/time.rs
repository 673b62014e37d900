//! The one time that everything in an image has: of the sources, so that the image does not depend
//! on when it is made.

use std::{env, path::Path, process::Command};

use crate::step;

/// Seconds since 1970: `SOURCE_DATE_EPOCH` (reproducible-builds.org), else the commit's, else 0.
pub(super) fn source_date(root: &Path) -> u64 {
    let given = env::var("SOURCE_DATE_EPOCH").ok();
    let commit =
        || step::output(Command::new("git").args(["show", "-s", "--format=%ct"]).current_dir(root));
    let text = given.or_else(commit).unwrap_or_default();
    text.trim().parse().unwrap_or_default()
}

/// `2026-11-21T15:43:59Z`.
pub(super) fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March here, so that the day that only some years have is their last; four
    // hundred of them have 146 097 days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_what_date_says() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
