//! Attributes of spans, by OpenTelemetry's semantic conventions for HTTP (1.23 and later).

use super::protobuf;

/// The most that a text may have: what a client makes up must not fill the queue. Bytes.
pub(super) const LONGEST: usize = 1024;

/// Parameters of queries that are signatures or keys, whose values the conventions hide.
const SECRET: [&str; 4] = ["AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature"];

/// The numbers of `Span` and `Resource` in the published definitions.
pub(super) const OF_SPAN: u32 = 9;
pub(super) const OF_RESOURCE: u32 = 1;

/// Enough of a text for [`shown`]: its last character may be cut, and is not shown then. Bytes.
pub(super) const ENOUGH: usize = LONGEST + 3;

/// A text as it is told: what is no UTF-8 is replaced, what is too long then is cut.
pub(super) fn shown(value: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(value.get(..ENOUGH).unwrap_or(value)).into_owned();
    text.truncate(text.floor_char_boundary(LONGEST));
    text
}

/// An attribute that is text, as [`shown`] has it.
pub(super) fn text(out: &mut Vec<u8>, of: u32, name: &str, value: &[u8]) {
    let value = shown(value);
    protobuf::message(out, of, |out| {
        protobuf::bytes(out, 1, name.as_bytes());
        protobuf::message(out, 2, |out| protobuf::bytes(out, 1, value.as_bytes()));
    });
}

/// An attribute that is a number.
pub(super) fn number(out: &mut Vec<u8>, of: u32, name: &str, value: u64) {
    protobuf::message(out, of, |out| {
        protobuf::bytes(out, 1, name.as_bytes());
        protobuf::message(out, 2, |out| protobuf::number(out, 3, value));
    });
}

/// A query without its secrets.
pub(super) fn query(query: &str) -> String {
    let mut shown = String::with_capacity(query.len().min(LONGEST));
    for (index, pair) in query.split('&').enumerate() {
        if shown.len() > LONGEST {
            break;
        }
        if index > 0 {
            shown.push('&');
        }
        match pair.split_once('=') {
            Some((name, _)) if SECRET.contains(&name) => {
                shown.push_str(name);
                shown.push_str("=REDACTED");
            }
            _ => shown.push_str(pair),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_not_shown() {
        assert_eq!(query("a=1&sig=abc&Signature=x&b"), "a=1&sig=REDACTED&Signature=REDACTED&b");
        assert_eq!(query("signal=1"), "signal=1");
        assert_eq!(query(""), "");
    }

    #[test]
    fn long_texts_are_cut_and_always_text() {
        let mut out = Vec::new();
        text(&mut out, OF_SPAN, "a", &[0xFF; 5000]);
        assert!(out.len() < LONGEST + 32, "{}", out.len());
        assert_eq!(shown(&[0xFF; 5000]), "\u{FFFD}".repeat(LONGEST / 3));
        // A character is told whole or not at all.
        let long = format!("a{}", "\u{e9}".repeat(600));
        assert_eq!(shown(long.as_bytes()), long[..LONGEST - 1]);
        let mut short = Vec::new();
        text(&mut short, OF_SPAN, "a", &"\u{e9}".repeat(600).into_bytes()[..1025]);
        assert!(short.len() < LONGEST + 32);
    }
}
