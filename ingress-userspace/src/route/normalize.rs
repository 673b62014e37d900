use std::borrow::Cow;

use super::octets;

/// Why a request's path cannot be understood: the answer is 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It does not begin with `/`.
    #[error("path does not begin with a slash")]
    NotAbsolute,
    /// A `%` is not followed by two hexadecimal digits.
    #[error("path has a percent sign without two hexadecimal digits")]
    Escape,
    /// It holds a NUL, plain or escaped.
    #[error("path holds a NUL")]
    Nul,
    /// Its `..` segments lead out of the root.
    #[error("path leads out of the root")]
    AboveRoot,
}

/// The path that rules are compared with, as NGINX makes it (`ngx_http_parse_complex_uri`): escapes
/// decoded, `//` merged, `.` and `..` segments resolved. An escaped slash or dot counts as a plain
/// one; an escaped `?`, `#` or `%` is a character of the path. What follows a plain `?` or `#` is
/// not part of it. Octets that are no UTF-8 stand as private-use characters, which
/// [`CompiledRoute::rewrite`](super::CompiledRoute::rewrite) turns back.
///
/// # Errors
/// [`BadPath`].
pub fn normalize(raw_path: &str) -> Result<Cow<'_, str>, BadPath> {
    if !raw_path.starts_with('/') {
        return Err(BadPath::NotAbsolute);
    }
    if is_normal(raw_path.as_bytes()) { Ok(Cow::Borrowed(raw_path)) } else { resolve(raw_path) }
}

/// The path is its own normal form, as nearly all are.
fn is_normal(path: &[u8]) -> bool {
    let mut previous = 0;
    path.iter().all(|&byte| {
        let normal = match byte {
            // 0xEF begins the private-use characters that stand for single octets.
            b'%' | b'?' | b'#' | 0 | 0xEF => false,
            b'/' | b'.' => previous != b'/',
            _ => true,
        };
        previous = byte;
        normal
    })
}

fn resolve(raw_path: &str) -> Result<Cow<'_, str>, BadPath> {
    let mut path = Vec::with_capacity(raw_path.len());
    // Where in `path` the segment begins that is being written; the byte before is a slash.
    let mut segment = 1;
    path.push(b'/');
    let mut rest = raw_path.as_bytes().get(1..).unwrap_or_default();
    while let [first, after @ ..] = rest {
        let mut byte = *first;
        rest = after;
        let mut literal = false;
        match byte {
            b'?' | b'#' => break,
            b'%' => {
                let [high, low, after @ ..] = rest else { return Err(BadPath::Escape) };
                byte = hex(*high)? << 4 | hex(*low)?;
                rest = after;
                literal = matches!(byte, b'?' | b'#' | b'%');
            }
            _ => {}
        }
        match byte {
            0 => return Err(BadPath::Nul),
            b'/' if !literal => {
                end_segment(&mut path, segment, true)?;
                segment = path.len();
            }
            _ => path.push(byte),
        }
    }
    end_segment(&mut path, segment, false)?;
    Ok(Cow::Owned(octets::to_text(path)))
}

/// Resolves the segment that begins at `segment`, and adds the slash after it.
fn end_segment(path: &mut Vec<u8>, segment: usize, slash: bool) -> Result<(), BadPath> {
    match path.get(segment..).unwrap_or_default() {
        b"" | b"." => path.truncate(segment),
        b".." => {
            // The slash before this segment goes too; what stays is up to the slash before the
            // previous one. Each byte is removed once, so all of it is linear in the path.
            path.truncate(segment.saturating_sub(1));
            let parent = path.iter().rposition(|byte| *byte == b'/').ok_or(BadPath::AboveRoot)?;
            path.truncate(parent + 1);
        }
        _ if slash => path.push(b'/'),
        _ => {}
    }
    Ok(())
}

fn hex(digit: u8) -> Result<u8, BadPath> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or(BadPath::Escape)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_become_what_nginx_compares() {
        for (raw, normal) in [
            ("/", "/"),
            ("/foo", "/foo"),
            ("/foo/", "/foo/"),
            ("/foo.html", "/foo.html"),
            ("//", "/"),
            ("///foo////bar//", "/foo/bar/"),
            ("/foo/./bar", "/foo/bar"),
            ("/foo/.", "/foo/"),
            ("/foo/..", "/"),
            ("/foo/../bar", "/bar"),
            ("/foo/bar/../../baz", "/baz"),
            ("/foo//../bar", "/bar"),
            ("/.hidden", "/.hidden"),
            ("/...", "/..."),
            ("/..foo", "/..foo"),
            ("/foo%20bar", "/foo bar"),
            ("/%66oo", "/foo"),
            ("/foo%2Fbar", "/foo/bar"),
            ("/foo%2f%2fbar", "/foo/bar"),
            ("/foo/%2E%2e/bar", "/bar"),
            ("/foo/.%2E/bar", "/bar"),
            ("/foo%2F..%2Fbar", "/bar"),
            ("/a%3Fb", "/a?b"),
            ("/a%23b", "/a#b"),
            ("/a%25b", "/a%b"),
            ("/%252e%252e/a", "/%2e%2e/a"),
            ("/foo?bar=/../..", "/foo"),
            ("/foo#bar", "/foo"),
            ("/caf%C3%A9", "/café"),
            ("/a+b", "/a+b"),
            ("/a\\b", "/a\\b"),
        ] {
            assert_eq!(normalize(raw).as_deref(), Ok(normal), "{raw}");
        }
    }

    #[test]
    fn paths_that_nginx_refuses_are_refused() {
        for (raw, why) in [
            ("", BadPath::NotAbsolute),
            ("*", BadPath::NotAbsolute),
            ("foo", BadPath::NotAbsolute),
            ("/..", BadPath::AboveRoot),
            ("/../", BadPath::AboveRoot),
            ("/../foo", BadPath::AboveRoot),
            ("/foo/../..", BadPath::AboveRoot),
            ("/foo/../../bar", BadPath::AboveRoot),
            ("//..", BadPath::AboveRoot),
            ("/%2e%2e/foo", BadPath::AboveRoot),
            ("/foo%2F..%2F..", BadPath::AboveRoot),
            ("/%", BadPath::Escape),
            ("/%2", BadPath::Escape),
            ("/%zz", BadPath::Escape),
            ("/%2g", BadPath::Escape),
            ("/%+1", BadPath::Escape),
            ("/foo%00bar", BadPath::Nul),
            ("/foo\0bar", BadPath::Nul),
        ] {
            assert_eq!(normalize(raw), Err(why), "{raw}");
        }
    }

    #[test]
    fn an_ordinary_path_is_not_copied() {
        assert!(matches!(normalize("/shop/basket.html"), Ok(Cow::Borrowed(_))));
    }

    proptest! {
        #[test]
        fn a_normal_path_has_no_empty_or_dot_segment(raw in "/[a.%/2eEfF0-]{0,40}") {
            if let Ok(path) = normalize(&raw) {
                prop_assert!(path.starts_with('/'));
                let mut segments: Vec<_> = path.split('/').skip(1).collect();
                // After the last slash there may be nothing.
                prop_assert_ne!(segments.last(), Some(&"."));
                if segments.last() == Some(&"") { segments.pop(); }
                prop_assert!(!segments.iter().any(|segment| matches!(*segment, "" | "." | "..")));
            }
        }

        #[test]
        fn text_without_escapes_is_normalized_once(raw in "/[a./]{0,40}") {
            if let Ok(path) = normalize(&raw) {
                let again = normalize(&path);
                prop_assert_eq!(again.as_deref(), Ok(&*path));
            }
        }
    }
}
