use std::{collections::HashMap, sync::Arc};

use crate::expression::{Case, Groups, Program, Undecided};

/// A path as a case-insensitive regular expression.
#[derive(Debug)]
pub(super) struct Pattern {
    /// What every match begins with, in lower case; spares most comparisons.
    literal: Option<Box<str>>,
    program: Program,
}

impl Pattern {
    /// The pattern `^<path>`, nothing quoted and the end open (reference section 3.3).
    fn anchored(path: &str) -> Result<Self, String> {
        // As written there: an alternative that is not in a group is not anchored.
        Ok(Self {
            literal: literal(path),
            program: Program::new(&format!("^{path}"), Case::Ignored)?,
        })
    }

    /// The pattern `<path>`, found anywhere (reference section 3.4).
    fn floating(path: &str) -> Result<Self, String> {
        Ok(Self { literal: None, program: Program::new(path, Case::Ignored)? })
    }

    /// The path matches.
    pub(super) fn matches(&self, path: &str) -> Result<bool, Undecided> {
        if let Some(literal) = &self.literal {
            let begin = path.as_bytes().get(..literal.len());
            if !begin.is_some_and(|begin| begin.eq_ignore_ascii_case(literal.as_bytes())) {
                return Ok(false);
            }
        }
        self.program.is_match(path)
    }

    /// The groups of the first match.
    pub(super) fn groups(&self, path: &str) -> Result<Option<Groups>, Undecided> {
        self.program.groups(path)
    }

    /// Matching may give up.
    pub(super) fn may_give_up(&self) -> bool {
        self.program.may_give_up()
    }
}

/// What every match of `^<path>` begins with, as far as it is easily seen.
fn literal(path: &str) -> Option<Box<str>> {
    let mut depth = 0_usize;
    let mut escaped = false;
    for byte in path.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => return None,
            _ => {}
        }
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '~');
    let end = path.find(|c| !is_plain(c)).unwrap_or(path.len());
    let mut literal = path.get(..end)?;
    if matches!(path.as_bytes().get(end), Some(b'?' | b'*' | b'{')) {
        literal = literal.get(..end.checked_sub(1)?)?;
    }
    // `k` and `s` also match U+212A and U+017F without regard to case, which are longer.
    let end = literal.find(['k', 'K', 's', 'S']).unwrap_or(literal.len());
    literal.get(..end).filter(|literal| literal.len() > 1).map(Into::into)
}

/// The patterns of a host, each compiled once.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns {
    anchored: HashMap<Arc<str>, Compiled>,
    floating: HashMap<Arc<str>, Compiled>,
}

type Compiled = Result<Arc<Pattern>, Arc<str>>;

impl Patterns {
    /// `^<path>`, from here or else from those of an earlier table; or why it is none.
    pub(super) fn anchored(&mut self, path: &Arc<str>, earlier: Option<&Self>) -> Compiled {
        let earlier = earlier.and_then(|earlier| earlier.anchored.get(path));
        compiled(&mut self.anchored, path, earlier, Pattern::anchored)
    }

    /// `<path>` anywhere, likewise.
    pub(super) fn floating(&mut self, path: &Arc<str>, earlier: Option<&Self>) -> Compiled {
        let earlier = earlier.and_then(|earlier| earlier.floating.get(path));
        compiled(&mut self.floating, path, earlier, Pattern::floating)
    }
}

fn compiled(
    patterns: &mut HashMap<Arc<str>, Compiled>,
    path: &Arc<str>,
    earlier: Option<&Compiled>,
    compile: fn(&str) -> Result<Pattern, String>,
) -> Compiled {
    let compile =
        || earlier.cloned().unwrap_or_else(|| compile(path).map(Arc::new).map_err(Into::into));
    patterns.entry(Arc::clone(path)).or_insert_with(compile).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_only_what_every_match_begins_with() {
        for (path, expected) in [
            ("/api(/|$)(.*)", Some("/api")),
            ("/api", Some("/api")),
            ("/api?", Some("/ap")),
            ("/api*/x", Some("/ap")),
            ("/api{2}", Some("/ap")),
            ("/api+", Some("/api")),
            ("/a.b", Some("/a")),
            ("/api|/b", None),
            ("/a(b|c)", Some("/a")),
            (r"/a\|b", Some("/a")),
            ("/desk", Some("/de")),
            ("/(?!api)(.*)", None),
            ("/", None),
            ("/é", None),
        ] {
            assert_eq!(literal(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_pattern_that_cannot_be_decided_in_time_says_so() {
        let pattern = Pattern::anchored("/((?=a)a|a(?!c))+$").unwrap();
        assert!(pattern.may_give_up());
        let path = format!("/{}b", "a".repeat(4000));
        assert_eq!(pattern.matches(&path), Err(Undecided));
    }

    #[test]
    fn a_pattern_that_is_too_large_is_refused() {
        assert!(Pattern::anchored("/((a{1000}){1000}){1000}").is_err());
    }
}
