//! Numbers with units, as nginx writes them: sizes (`8k`, `1m`) and times (`60`, `1h 30m`).

use std::time::Duration;

use super::annotations::Invalid;

const SIZE: Invalid = Invalid("a size like `1024`, `8k`, `1m` or `1g`");
const TIME: Invalid = Invalid("a time like `60`, `500ms`, `1h` or `1h 30m`");

/// The longest time that is taken at its word: ten years. More would overflow clocks.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A size in bytes. Units are `k`, `m` and `g` in either case (`ngx_parse_offset`).
pub(super) fn size(text: &str) -> Result<u64, Invalid> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (text.get(..text.len() - 1), 10),
        Some(b'm' | b'M') => (text.get(..text.len() - 1), 20),
        Some(b'g' | b'G') => (text.get(..text.len() - 1), 30),
        _ => (Some(text), 0),
    };
    let number = whole(digits.unwrap_or_default()).ok_or(SIZE)?;
    number.checked_mul(1 << shift).filter(|bytes| i64::try_from(*bytes).is_ok()).ok_or(SIZE)
}

/// A size of which zero stands for none.
pub(super) fn limit(text: &str) -> Result<Option<u64>, Invalid> {
    size(text).map(|bytes| Some(bytes).filter(|bytes| *bytes > 0))
}

/// Seconds without a unit, one at least: what ingress-nginx takes for most of its times.
pub(super) fn seconds(text: &str) -> Result<Duration, Invalid> {
    let expected = Invalid("a number of seconds from 1, without unit");
    whole(text).filter(|seconds| *seconds > 0).and_then(reasonable).ok_or(expected)
}

/// Seconds without a unit, of which zero stands for none.
pub(super) fn optional_seconds(text: &str) -> Result<Option<Duration>, Invalid> {
    let expected = Invalid("a number of seconds without unit, or 0");
    let time = whole(text).and_then(reasonable).ok_or(expected)?;
    Ok(Some(time).filter(|time| !time.is_zero()))
}

/// A time of nginx: numbers with units from the largest to the smallest, a bare number at the end
/// being seconds (`ngx_parse_time`). Above zero.
pub(super) fn time(text: &str) -> Result<Duration, Invalid> {
    const UNITS: [(&str, u64); 8] = [
        ("y", 365 * 24 * 3_600_000),
        ("M", 30 * 24 * 3_600_000),
        ("w", 7 * 24 * 3_600_000),
        ("d", 24 * 3_600_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let mut rest = text;
    let mut allowed = &UNITS[..];
    let mut total = 0_u64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at(end);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        // A bare number is seconds, and the last.
        let place = match unit {
            "" if after.is_empty() => allowed.iter().position(|(unit, _)| *unit == "s"),
            unit => allowed.iter().position(|(known, _)| *known == unit),
        };
        let (place, number) = place.zip(whole(digits)).ok_or(TIME)?;
        let (_, millis) = allowed.get(place).ok_or(TIME)?;
        total = number.checked_mul(*millis).and_then(|part| total.checked_add(part)).ok_or(TIME)?;
        allowed = allowed.get(place + 1..).unwrap_or_default();
        rest = after.trim_start_matches(' ');
    }
    let time = Duration::from_millis(total);
    Some(time).filter(|time| !time.is_zero() && *time <= LONGEST).ok_or(TIME)
}

/// A whole number in digits alone.
pub(super) fn whole(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

fn reasonable(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds)).filter(|time| *time <= LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_kilobytes_megabytes_and_gigabytes() {
        for (text, bytes) in [
            ("0", 0),
            ("1", 1),
            ("8k", 8192),
            ("8K", 8192),
            ("1m", 1 << 20),
            ("20M", 20 << 20),
            ("2g", 2 << 30),
            ("9007199254740991k", 9_007_199_254_740_991 << 10),
        ] {
            assert_eq!(size(text).ok(), Some(bytes), "{text}");
        }
        for bad in
            ["", "k", "1kb", "-1", "+1", "1.5m", "1 m", "0x10", "1t", "9223372036854775807k", "ｍ"]
        {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(limit("0").ok(), Some(None));
        assert_eq!(limit("1").ok(), Some(Some(1)));
    }

    #[test]
    fn seconds_have_no_unit() {
        assert_eq!(seconds("60").ok(), Some(Duration::from_secs(60)));
        for bad in ["", "0", "60s", "-1", "1.5", "99999999999", "99999999999999999999"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert_eq!(optional_seconds("0").ok(), Some(None));
        assert_eq!(optional_seconds("7").ok(), Some(Some(Duration::from_secs(7))));
        assert!(optional_seconds("7s").is_err());
    }

    #[test]
    fn times_have_units_from_the_largest_to_the_smallest() {
        for (text, millis) in [
            ("60", 60_000),
            ("60s", 60_000),
            ("500ms", 500),
            ("1m", 60_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("1h 5", 3_605_000),
            ("1d", 86_400_000),
            ("1w 1d", 8 * 86_400_000),
            ("1y", 365 * 86_400_000),
        ] {
            assert_eq!(time(text).ok(), Some(Duration::from_millis(millis)), "{text}");
        }
        for bad in
            ["", "0", "h", "1m 1h", "1h 1h", "5 1m", "1x", "-1s", "1.5h", "11y", "1ms 5", "é"]
        {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
