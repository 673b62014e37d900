//! Values that come from a client must not break a line, nor end it.

use crate::model::LogEscape;

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// Appends a value to a line as NGINX's `log_format` writes it.
pub(super) fn push(escape: LogEscape, value: &[u8], line: &mut Vec<u8>) {
    match escape {
        LogEscape::Text => each(value, line, is_text, |byte, line| {
            line.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte)]);
        }),
        LogEscape::Json => each(value, line, is_json, |byte, line| match byte {
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            0x08 => line.extend_from_slice(b"\\b"),
            0x0C => line.extend_from_slice(b"\\f"),
            _ => {
                line.extend_from_slice(b"\\u00");
                line.extend_from_slice(&[digit(byte >> 4), digit(byte)]);
            }
        }),
    }
}

/// What stands for a value that is missing.
pub(super) fn missing(escape: LogEscape) -> &'static [u8] {
    match escape {
        LogEscape::Text => b"-",
        LogEscape::Json => b"",
    }
}

fn digit(nibble: u8) -> u8 {
    DIGITS[usize::from(nibble & 15)]
}

fn is_text(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\'
}

fn is_json(byte: u8) -> bool {
    byte >= b' ' && byte != b'"' && byte != b'\\'
}

/// Most values have nothing to escape, and are copied in one piece.
fn each(
    mut value: &[u8],
    line: &mut Vec<u8>,
    is_plain: fn(u8) -> bool,
    escaped: fn(u8, &mut Vec<u8>),
) {
    while let Some(place) = value.iter().position(|byte| !is_plain(*byte)) {
        let (plain, rest) = value.split_at(place);
        line.extend_from_slice(plain);
        let Some((byte, rest)) = rest.split_first() else { return };
        escaped(*byte, line);
        value = rest;
    }
    line.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pushed(escape: LogEscape, value: &[u8]) -> String {
        let mut line = Vec::new();
        push(escape, value, &mut line);
        String::from_utf8_lossy(&line).into_owned()
    }

    #[test]
    fn text_is_escaped_as_nginx_does() {
        assert_eq!(
            pushed(LogEscape::Text, b"a \"b\"\\\n\xC3\xA9\x7F~"),
            r"a \x22b\x22\x5C\x0A\xC3\xA9\x7F~"
        );
        assert_eq!(
            pushed(LogEscape::Json, b"a \"b\"\\\n\t\r\x08\x0C\x01\xC3\xA9"),
            "a \\\"b\\\"\\\\\\n\\t\\r\\b\\f\\u0001é"
        );
    }

    proptest! {
        #[test]
        fn no_value_breaks_a_line(value: Vec<u8>) {
            for escape in [LogEscape::Text, LogEscape::Json] {
                let mut line = Vec::new();
                push(escape, &value, &mut line);
                prop_assert!(line.iter().all(|byte| *byte >= b' '));
                let quotes = line.iter().enumerate().filter(|(_, byte)| **byte == b'"');
                for (place, _) in quotes {
                    prop_assert!(escape == LogEscape::Json && place > 0 && line[place - 1] == b'\\');
                }
            }
        }

        #[test]
        fn json_says_what_the_value_was(value: String) {
            let line = pushed(LogEscape::Json, value.as_bytes());
            let read: String = serde_json::from_str(&format!("\"{line}\"")).expect("JSON");
            prop_assert_eq!(read, value);
        }
    }
}
