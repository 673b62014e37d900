//! The text of rules, cut into directives and those into words, as far as a directive that says the
//! same to every engine goes.

/// A directive and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'t> {
    /// From 1.
    pub(super) line: usize,
    /// With the lines that continue it.
    pub(super) text: &'t str,
}

/// The directives of a text: a line each, and those that follow a backslash at a line's end. Without
/// comments and empty lines.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut start, mut first, mut end) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let begins = start == end;
        end += line.len();
        let content = line.trim_end_matches(['\n', '\r']);
        if begins {
            first = index + 1;
            let trimmed = content.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                start = end;
                continue;
            }
        }
        if !content.ends_with('\\') {
            pieces.extend(text.get(start..end).map(|text| Piece { line: first, text }));
            start = end;
        }
    }
    if start < end {
        pieces.extend(text.get(start..).map(|text| Piece { line: first, text }));
    }
    pieces
}

/// The words of a directive; quoted ones without their quotes, with what is escaped in them as it is
/// written.
///
/// # Errors
/// A quote has no end, or there is white space that not every engine takes for such.
pub(super) fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\r' | '\n' => {}
            '\\' if matches!(characters.peek(), Some('\n' | '\r')) => {}
            // The engine calls itself for each of them, until the stack ends.
            '\\' => return Err("has a backslash where a word begins"),
            '"' | '\'' => words.push(quoted(character, &mut characters)?),
            other if other.is_whitespace() => return Err("has white space of an unusual kind"),
            other => {
                let mut word = String::from(other);
                while let Some(next) =
                    characters.next_if(|next| !next.is_whitespace() && !matches!(next, '"' | '\''))
                {
                    word.push(next);
                }
                words.push(word);
            }
        }
    }
    Ok(words)
}

fn quoted(
    quote: char,
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
) -> Result<String, &'static str> {
    let mut word = String::new();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                word.push('\\');
                word.extend(characters.next());
            }
            end if end == quote => return Ok(word),
            other => word.push(other),
        }
    }
    Err("has a quote without an end")
}

/// The names of a list of actions, in lower case, and what follows their colon.
pub(super) fn actions(list: &str) -> Vec<(String, &str)> {
    let mut actions = Vec::new();
    let (mut start, mut inside) = (0, false);
    let ends = list.char_indices().filter(|(_, character)| match character {
        '\'' => {
            inside = !inside;
            false
        }
        ',' => !inside,
        _ => false,
    });
    for end in ends.map(|(end, _)| end).chain([list.len()]).collect::<Vec<_>>() {
        let action = list.get(start..end).unwrap_or_default();
        let action = action.trim_matches(|one: char| one.is_whitespace() || one == '\\');
        start = end + 1;
        if !action.is_empty() {
            let (name, value) = action.split_once(':').unwrap_or((action, ""));
            actions.push((name.trim().to_ascii_lowercase(), value));
        }
    }
    actions
}

/// What nginx makes of the text: ingress-nginx writes it between single quotes into nginx.conf, so
/// that snippets escape quotes and backslashes.
pub(super) fn unescaped(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            ('\\', Some(next @ ('\'' | '"' | '\\'))) => {
                whole.push(*next);
                characters.next();
            }
            _ => whole.push(character),
        }
    }
    whole
}
