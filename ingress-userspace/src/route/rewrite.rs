use std::sync::Arc;

use super::{octets, pattern::Pattern};

/// A `rewrite-target` and the pattern whose groups it refers to (reference section 3.4).
#[derive(Clone, Debug)]
pub(super) struct CompiledRewrite {
    pattern: Arc<Pattern>,
    pieces: Box<[Piece]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Group(usize),
}

impl CompiledRewrite {
    pub(super) fn new(pattern: Arc<Pattern>, template: &str) -> Self {
        Self { pattern, pieces: pieces(template).into() }
    }

    /// The new path, escaped; `None`: the pattern does not match, the path stays.
    pub(super) fn apply(&self, path: &str) -> Option<String> {
        // A pattern that gives up here has just matched the same path, anchored, within its limit.
        let groups = self.pattern.groups(path).ok()??;
        let mut rewritten = String::with_capacity(path.len() + 16);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => octets::escape(text, &mut rewritten),
                Piece::Group(group) => {
                    let place = groups.get(*group).copied().flatten();
                    let text = place.and_then(|(start, end)| path.get(start..end));
                    octets::escape(text.unwrap_or_default(), &mut rewritten);
                }
            }
        }
        // NGINX would ask for a target without it, or answer 500 if nothing is left.
        if !rewritten.starts_with('/') {
            rewritten.insert(0, '/');
        }
        Some(rewritten)
    }
}

/// `$1` to `$9` are groups, one digit each as in NGINX: `$12` is the first group and a `2`.
fn pieces(template: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut characters = template.chars().peekable();
    while let Some(character) = characters.next() {
        let group = match (character, characters.peek().and_then(|next| next.to_digit(10))) {
            ('$', Some(group @ 1..)) => group as usize,
            _ => {
                text.push(character);
                continue;
            }
        };
        characters.next();
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text).into()));
        }
        pieces.push(Piece::Group(group));
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into()));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_text_and_groups_of_one_digit() {
        assert_eq!(
            pieces("/a/$1/$23$"),
            [
                Piece::Text("/a/".into()),
                Piece::Group(1),
                Piece::Text("/".into()),
                Piece::Group(2),
                Piece::Text("3$".into()),
            ]
        );
    }
}
