//! From tokens to directives.

use std::iter::Peekable;

use super::token::{Fault, Kind, Token, tokens};

/// How deep blocks may stand in each other: `location { if { } }` is two.
const DEEPEST: usize = 4;

/// A directive of a snippet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Directive {
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    /// What stands between its braces, if it has any.
    pub(super) block: Option<Vec<Directive>>,
    pub(super) line: usize,
}

/// The directives of a snippet.
pub(super) fn directives(text: &str) -> Result<Vec<Directive>, Fault> {
    let mut tokens = tokens(text)?.into_iter().peekable();
    let directives = list(&mut tokens, 0)?;
    match tokens.next() {
        Some(token) => Err(Fault::new(token.line, "a `}` closes nothing")),
        None => Ok(directives),
    }
}

fn list(
    tokens: &mut Peekable<impl Iterator<Item = Token>>,
    depth: usize,
) -> Result<Vec<Directive>, Fault> {
    let mut directives = Vec::new();
    while let Some(token) = tokens.next_if(|token| token.kind != Kind::Close) {
        let Token { kind: Kind::Word(name), line } = token else {
            return Err(Fault::new(token.line, "a `;` or `{` has no directive before it"));
        };
        let mut directive = Directive { name, arguments: Vec::new(), block: None, line };
        loop {
            let Some(token) = tokens.next() else {
                let why = format!("`{}` is not ended by `;`", directive.name);
                return Err(Fault::new(line, why));
            };
            match token.kind {
                Kind::Word(word) => directive.arguments.push(word),
                Kind::End => break,
                Kind::Close => {
                    let why = format!("`{}` is not ended by `;`", directive.name);
                    return Err(Fault::new(line, why));
                }
                // What stands in it are no words of nginx.
                Kind::Open if directive.name.ends_with("_by_lua_block") => {
                    let why = format!("`{}` is not supported: there is no Lua", directive.name);
                    return Err(Fault::new(line, why));
                }
                Kind::Open if depth == DEEPEST => {
                    return Err(Fault::new(token.line, "blocks stand too deep in each other"));
                }
                Kind::Open => {
                    directive.block = Some(list(tokens, depth + 1)?);
                    if tokens.next().is_none() {
                        let why = format!("the block of `{}` has no `}}`", directive.name);
                        return Err(Fault::new(line, why));
                    }
                    break;
                }
            }
        }
        directives.push(directive);
    }
    Ok(directives)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_hold_directives() {
        let all = directives("a b;\nif (c) {\n d; e {} }\nf;").expect("well formed");
        let names: Vec<_> = all.iter().map(|one| (&*one.name, one.line)).collect();
        assert_eq!(names, [("a", 1), ("if", 2), ("f", 4)]);
        let block = all[1].block.as_ref().expect("a block");
        assert_eq!((block.len(), block[0].line), (2, 3));
        assert_eq!(block[1].block.as_deref(), Some(&[][..]));
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        for (text, line) in [
            ("a", 1),
            ("a b", 1),
            (";", 1),
            ("a;\n{}", 2),
            ("a {\n b;", 1),
            ("a { b }", 1),
            ("a;}", 1),
            ("a {{}}", 1),
            ("a{b{c{d{e{f;}}}}}", 1),
        ] {
            assert_eq!(directives(text).expect_err(text).line, line, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "(if|[a-z$(){};#'\" \n]){0,80}") {
            let _any = directives(&text);
        }
    }
}
