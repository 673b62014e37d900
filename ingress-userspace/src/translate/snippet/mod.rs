//! Snippets of nginx configuration, by a strict grammar: `token` and `parse` read them as nginx
//! does, `lower` knows which directive may stand where and makes typed values of it. Whatever is
//! not known refuses the whole snippet, with the line and the reason; nothing of a text is kept.

mod alternative;
mod effects;
mod fields;
mod lower;
mod overrides;
mod parse;
mod steps;
mod token;
mod value;

use std::{collections::BTreeSet, sync::Arc};

use self::lower::{Lower, Place};
pub(super) use self::{alternative::of_key, overrides::Overrides, parse::Directive, token::Fault};
use crate::model::{Effects, Program, ServerProgram};

/// Effects of a location with an `if` for each, at most so many: each is worked out beneath its
/// server.
const MOST_CONTEXTS: usize = 500;

/// A `configuration-snippet`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) program: Program,
    pub(super) overrides: Overrides,
    /// Where `satisfy any` stands.
    pub(super) satisfy_any: Option<usize>,
    /// Where the first directive about TLS to endpoints stands.
    pub(super) tls: Option<usize>,
    /// What does nothing, and why.
    pub(super) notes: Vec<(usize, String)>,
}

/// A `server-snippet`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) program: ServerProgram,
    pub(super) notes: Vec<(usize, String)>,
}

/// The directives of a text.
pub(super) fn parse(text: &str) -> Result<Vec<Directive>, Fault> {
    parse::directives(text)
}

/// The variables that a `server-snippet` makes, for the `configuration-snippet` beside it.
pub(super) fn variables(directives: &[Directive]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    steps::names(directives, &mut names);
    names
}

/// What a `configuration-snippet` amounts to; `variables`: those of the server.
pub(super) fn location(
    directives: &[Directive],
    variables: &BTreeSet<String>,
) -> Result<Location, Fault> {
    let mut lower = Lower { names: variables.clone(), ..Lower::default() };
    steps::names(directives, &mut lower.names);
    let context = lower.new_context();
    let steps = lower.block(directives, Place::Location, context)?;
    many(lower.contexts.len())?;
    if let Some(directive) = directives.iter().find(|one| one.name == "limit_except")
        && !steps.is_empty()
    {
        let why = "`limit_except` beside `if`, `set`, `return` or `rewrite` is not supported: \
                   nginx does none of these for the methods that are excepted";
        return Err(Fault::new(directive.line, why));
    }
    Ok(Location {
        program: Program { steps: steps.into(), contexts: lower.contexts },
        tls: lower.overrides.tls_line,
        overrides: lower.overrides,
        satisfy_any: lower.satisfy_any,
        notes: lower.notes,
    })
}

/// What a `server-snippet` amounts to, beneath an `http-snippet`.
pub(super) fn server(directives: &[Directive], http: &Effects) -> Result<Server, Fault> {
    let mut lower = Lower::default();
    steps::names(directives, &mut lower.names);
    let context = lower.new_context();
    let steps: Arc<[_]> = lower.block(directives, Place::Server, context)?.into();
    many(lower.locations.iter().map(|one| one.program.contexts.len()).sum())?;
    let mut effects = lower.contexts.into_iter().next().unwrap_or_default();
    effects.inherit(http);
    satisfied(lower.satisfy_any)?;
    let mut locations = lower.locations;
    for location in &mut locations {
        location.program = location.program.beneath(&effects);
    }
    Ok(Server { program: ServerProgram { steps, effects, locations }, notes: lower.notes })
}

/// What an `http-snippet` amounts to.
pub(super) fn http(directives: &[Directive]) -> Result<Effects, Fault> {
    let mut lower = Lower::default();
    let context = lower.new_context();
    lower.block(directives, Place::Http, context)?;
    satisfied(lower.satisfy_any)?;
    Ok(lower.contexts.into_iter().next().unwrap_or_default())
}

fn satisfied(any: Option<usize>) -> Result<(), Fault> {
    match any {
        Some(line) => {
            let why = "`satisfy any` is supported in a `configuration-snippet` alone";
            Err(Fault { instead: Some("the annotation `satisfy`"), ..Fault::new(line, why) })
        }
        None => Ok(()),
    }
}

fn many(contexts: usize) -> Result<(), Fault> {
    if contexts > MOST_CONTEXTS {
        return Err(Fault::new(1, format!("has more than {MOST_CONTEXTS} `if`")));
    }
    Ok(())
}
