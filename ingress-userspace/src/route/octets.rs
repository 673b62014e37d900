//! Octets as text and back. A path may decode to octets that are no UTF-8, and NGINX neither minds
//! nor loses them; patterns are compared with text. An octet of 0x80 and above that is not part of
//! a character stands as the private-use character U+F700 + octet. A genuine one of those stands as
//! its three octets, so that the way back is unambiguous.

/// U+F780 to U+F7FF stand for the octets 0x80 to 0xFF.
const STANDS_FOR_OCTET: std::ops::RangeInclusive<char> = '\u{F780}'..='\u{F7FF}';

/// The text of these octets.
pub(crate) fn to_text(octets: Vec<u8>) -> String {
    let octets = match String::from_utf8(octets) {
        Ok(text) if !text.contains(|c| STANDS_FOR_OCTET.contains(&c)) => return text,
        Ok(text) => text.into_bytes(),
        Err(error) => error.into_bytes(),
    };
    let mut text = String::with_capacity(octets.len());
    for chunk in octets.utf8_chunks() {
        for character in chunk.valid().chars() {
            if STANDS_FOR_OCTET.contains(&character) {
                let mut buffer = [0; 4];
                text.extend(character.encode_utf8(&mut buffer).bytes().map(stand_in));
            } else {
                text.push(character);
            }
        }
        text.extend(chunk.invalid().iter().copied().map(stand_in));
    }
    text
}

/// The octets that this text stands for.
pub(crate) fn octets(text: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len());
    for character in text.chars() {
        if STANDS_FOR_OCTET.contains(&character) {
            octets.push(character as u32 as u8);
        } else {
            let mut buffer = [0; 4];
            octets.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        }
    }
    octets
}

/// Appends the path with its octets escaped where NGINX escapes them (`ngx_escape_uri`,
/// `NGX_ESCAPE_URI`): controls, space, `"#%<>?\^` and the backtick, `{|}`, DEL and above.
pub(crate) fn escape(text: &str, path: &mut String) {
    for character in text.chars() {
        if STANDS_FOR_OCTET.contains(&character) {
            escape_octet(character as u32 as u8, path);
        } else if character.is_ascii() && !must_escape(character) {
            path.push(character);
        } else {
            let mut buffer = [0; 4];
            for octet in character.encode_utf8(&mut buffer).bytes() {
                escape_octet(octet, path);
            }
        }
    }
}

fn must_escape(character: char) -> bool {
    character.is_ascii_control()
        || matches!(
            character,
            ' ' | '"' | '#' | '%' | '<' | '>' | '?' | '\\' | '^' | '`' | '{' | '|' | '}'
        )
}

fn escape_octet(octet: u8, path: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    path.push('%');
    path.push(char::from(DIGITS[usize::from(octet >> 4)]));
    path.push(char::from(DIGITS[usize::from(octet & 15)]));
}

fn stand_in(octet: u8) -> char {
    char::from_u32(0xF700 + u32::from(octet)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_nginx_escapes_is_escaped() {
        let mut path = String::new();
        escape("/a b\"#%<>?\\^`{|}\u{7f}\né~!$&'()*+,-.:;=@[]_", &mut path);
        assert_eq!(
            path,
            "/a%20b%22%23%25%3C%3E%3F%5C%5E%60%7B%7C%7D%7F%0A%C3%A9~!$&'()*+,-.:;=@[]_"
        );
    }

    proptest! {
        #[test]
        fn no_octet_is_lost(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut path = String::new();
            escape(&to_text(octets.clone()), &mut path);
            let mut back = Vec::new();
            let mut rest = path.as_bytes();
            while let [first, after @ ..] = rest {
                if *first == b'%' {
                    back.push(u8::from_str_radix(&path[path.len() - after.len()..][..2], 16).unwrap());
                    rest = &after[2..];
                } else {
                    back.push(*first);
                    rest = after;
                }
            }
            prop_assert_eq!(back, octets);
        }

        #[test]
        fn private_use_characters_come_back(text in "[\u{F77E}-\u{F802}a]{0,10}") {
            let mut path = String::new();
            escape(&to_text(text.clone().into_bytes()), &mut path);
            let mut expected = String::new();
            for octet in text.bytes() {
                if octet == b'a' { expected.push('a') } else { escape_octet(octet, &mut expected) }
            }
            prop_assert_eq!(path, expected);
        }
    }
}
