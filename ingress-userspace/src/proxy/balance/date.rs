//! Points in time as NGINX writes them into cookies: `Sat, 21-Nov-26 09:44:05 GMT`.

use std::fmt::Write as _;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// The end of the year 9999, after which years have five digits.
const LAST: i64 = 253_402_300_799;

/// `seconds` since 1970; times before it are taken for its start. The year has two digits up to
/// 2037 and four from then on (`ngx_http_cookie_time`).
pub(super) fn write(text: &mut String, seconds: i64) {
    let seconds = seconds.clamp(0, LAST);
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let weekday = name(&DAYS, days % 7);
    let month = name(&MONTHS, month - 1);
    let _infallible = write!(text, "{weekday}, {day:02}-{month}-");
    let _infallible = match year {
        ..=2037 => write!(text, "{:02}", year % 100),
        _ => write!(text, "{year:04}"),
    };
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    let _infallible = write!(text, " {hour:02}:{minute:02}:{second:02} GMT");
}

fn name<const N: usize>(names: &[&'static str; N], index: i64) -> &'static str {
    usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
}

/// Year, month and day of the month, both from 1, of a day since 1970, in the Gregorian calendar:
/// years are counted from March, so that the day of a leap year is the last.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day = days % 146_097;
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}
