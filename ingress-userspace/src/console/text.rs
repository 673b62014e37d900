//! What others wrote, made fit for a terminal: an Ingress may have any text in a path, and a client in
//! a request.

use std::fmt::Write as _;

/// The text, in which what a terminal would obey, or would show as another text, is escaped.
pub(super) fn plain(text: &str) -> String {
    if !text.chars().any(is_odd) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for own in text.chars() {
        match is_odd(own) {
            true => {
                let _infallible = write!(shown, "\\u{{{:x}}}", u32::from(own));
            }
            false => shown.push(own),
        }
    }
    shown
}

/// The same of a text of several lines, which stay lines.
pub(crate) fn plain_lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(plain).collect();
    lines.join("\n")
}

/// Control characters, and those that turn the direction of others around, or take no room.
fn is_odd(own: char) -> bool {
    own.is_control()
        || matches!(
            own,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        for (text, wanted) in [
            ("/a b/ü", "/a b/ü"),
            ("\x1b[2J", "\\u{1b}[2J"),
            ("a\nb\tc", "a\\u{a}b\\u{9}c"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("\u{7f}\u{0}", "\\u{7f}\\u{0}"),
        ] {
            assert_eq!(plain(text), wanted);
        }
    }
}
