//! What the name of a field stands for, found once per name that enters a table.

use crate::proxy::message::Known;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Method,
    Scheme,
    Authority,
    Path,
    /// Of an extended CONNECT (RFC 8441).
    Protocol,
    Status,
    /// A field; `None`: one that the proxy does not look at.
    Field(Option<Known>),
    /// No name that HTTP/2 has: not a token in lower case, or a pseudo-field that is not defined
    /// (RFC 9113, sections 8.2.1 and 8.3).
    Malformed,
}

impl Kind {
    /// What `name` stands for.
    pub(crate) fn of(name: &[u8]) -> Self {
        if let [b':', pseudo @ ..] = name {
            return match pseudo {
                b"method" => Self::Method,
                b"scheme" => Self::Scheme,
                b"authority" => Self::Authority,
                b"path" => Self::Path,
                b"protocol" => Self::Protocol,
                b"status" => Self::Status,
                _ => Self::Malformed,
            };
        }
        let token = name.iter().fold(true, |all, byte| all & NAME[usize::from(*byte)]);
        if token && !name.is_empty() { Self::Field(Known::of(name)) } else { Self::Malformed }
    }

    /// What a name of the static table stands for, which are all sound.
    pub(super) const fn of_static(name: &str) -> Self {
        let name = name.as_bytes();
        if name[0] == b':' {
            return match name[1] {
                b'm' => Self::Method,
                b'a' => Self::Authority,
                b'p' => Self::Path,
                b's' if name[2] == b'c' => Self::Scheme,
                _ => Self::Status,
            };
        }
        let mut at = 0;
        while at < Known::ALL.len() {
            if Known::ALL[at].as_str().as_bytes().eq_ignore_ascii_case(name) {
                return Self::Field(Some(Known::ALL[at]));
            }
            at += 1;
        }
        Self::Field(None)
    }
}

/// The bytes of a token (RFC 9110, section 5.6.2) but for capitals.
static NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(
            byte as u8,
            b'a'..=b'z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+'
                | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
        byte += 1;
    }
    table
};

/// No control characters but the tab, and no white space at either end (RFC 9113, section 8.2.1).
/// Looks at all bytes whatever it finds, which the compiler makes vector instructions of.
pub(crate) fn is_sound_value(value: &[u8]) -> bool {
    let white = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let control = value
        .iter()
        .fold(false, |bad, byte| bad | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7F));
    !control && !white(value.first()) && !white(value.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_tokens() {
        assert_eq!(Kind::of(b"content-type"), Kind::Field(Some(Known::ContentType)));
        assert_eq!(Kind::of(b"x-own"), Kind::Field(None));
        for name in ["", "Host", "a b", "a:b", ":", ":own", ":Path", "\u{e4}", "a\0"] {
            assert_eq!(Kind::of(name.as_bytes()), Kind::Malformed, "{name:?}");
        }
    }

    #[test]
    fn values_hold_no_controls_and_no_outer_space() {
        for value in ["", "a b", "a\tb", "\u{e4}"] {
            assert!(is_sound_value(value.as_bytes()), "{value:?}");
        }
        for value in [" a", "a ", "\ta", "a\0b", "a\r", "a\nb", "a\x7f"] {
            assert!(!is_sound_value(value.as_bytes()), "{value:?}");
        }
    }
}
