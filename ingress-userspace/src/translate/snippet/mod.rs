//! Snippets of nginx configuration, by a strict grammar: `token` and `parse` read them as nginx
//! does, `lower` knows which directive may stand where and makes typed values of it. Whatever is
//! not known refuses the whole snippet, with the line and the reason; nothing of a text is kept.

mod alternative;
mod bodies;
mod effects;
mod fields;
mod judged;
mod lower;
mod overrides;
mod parse;
mod question;
mod steps;
mod token;
mod value;

use std::{collections::BTreeSet, sync::Arc};

use self::lower::{Lower, Place};
pub(super) use self::{
    alternative::of_key,
    overrides::Overrides,
    parse::Directive,
    question::{Question, question},
    token::Fault,
};
use crate::model::{Effects, Part, Program, ServerProgram};

/// Effects of a location with an `if` for each, at most so many: each is worked out beneath its
/// server.
const MOST_CONTEXTS: usize = 500;

/// As many faults of a snippet are told.
const MOST_FAULTS: usize = 20;

/// A `configuration-snippet`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) program: Program,
    pub(super) overrides: Overrides,
    /// Where `satisfy any` stands.
    pub(super) satisfy_any: Option<usize>,
    /// Where the first directive about TLS to endpoints stands.
    pub(super) tls: Option<usize>,
    /// The fields of the answer of `auth-url` that it looks at.
    pub(super) noted: Vec<Arc<str>>,
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
pub(super) fn parse(text: &str) -> Result<Vec<Directive>, Vec<Fault>> {
    parse::directives(text).map_err(|fault| vec![fault])
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
) -> Result<Location, Vec<Fault>> {
    let mut lower = Lower { names: variables.clone(), ..Lower::default() };
    steps::names(directives, &mut lower.names);
    lower.judged = judged::made(directives, &lower.names, &mut lower.faults);
    let context = lower.new_context();
    let steps = lower.block(directives, Place::Location, context);
    lower.faults.extend(many(lower.contexts.len()));
    if let Some(directive) = directives.iter().find(|one| one.name == "limit_except")
        && !steps.is_empty()
    {
        let why = "`limit_except` beside `if`, `set`, `return` or `rewrite` is not supported: \
                   nginx does none of these for the methods that are excepted";
        lower.faults.push(Fault::new(directive.line, why));
    }
    without_faults(lower.faults)?;
    Ok(Location {
        program: Program { steps: steps.into(), contexts: lower.contexts },
        tls: lower.overrides.tls_line,
        overrides: lower.overrides,
        satisfy_any: lower.satisfy_any,
        noted: noted(&lower.judged),
        notes: lower.notes,
    })
}

/// Each field once.
fn noted(judged: &judged::Made) -> Vec<Arc<str>> {
    let fields = judged.values().flatten().filter_map(|part| match part {
        Part::Judged(own) => own.field(),
        _ => None,
    });
    fields.collect::<BTreeSet<_>>().into_iter().collect()
}

/// What a `server-snippet` amounts to, beneath an `http-snippet`.
pub(super) fn server(directives: &[Directive], http: &Effects) -> Result<Server, Vec<Fault>> {
    let mut lower = Lower::default();
    steps::names(directives, &mut lower.names);
    let context = lower.new_context();
    let steps: Arc<[_]> = lower.block(directives, Place::Server, context).into();
    lower.faults.extend(many(lower.locations.iter().map(|one| one.program.contexts.len()).sum()));
    lower.faults.extend(satisfied(lower.satisfy_any));
    without_faults(lower.faults)?;
    let mut effects = lower.contexts.into_iter().next().unwrap_or_default();
    effects.inherit(http);
    let mut locations = lower.locations;
    for location in &mut locations {
        location.program = location.program.beneath(&effects);
    }
    Ok(Server { program: ServerProgram { steps, effects, locations }, notes: lower.notes })
}

/// What an `http-snippet` amounts to.
pub(super) fn http(directives: &[Directive]) -> Result<Effects, Vec<Fault>> {
    let mut lower = Lower::default();
    let context = lower.new_context();
    lower.block(directives, Place::Http, context);
    lower.faults.extend(satisfied(lower.satisfy_any));
    without_faults(lower.faults)?;
    Ok(lower.contexts.into_iter().next().unwrap_or_default())
}

/// All that is wrong, in the order of its lines; of much the first.
fn without_faults(mut faults: Vec<Fault>) -> Result<(), Vec<Fault>> {
    faults.sort_by_key(|fault| fault.line);
    faults.truncate(MOST_FAULTS);
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn satisfied(any: Option<usize>) -> Option<Fault> {
    let why = "`satisfy any` is supported in a `configuration-snippet` alone";
    any.map(|line| Fault { instead: Some("the annotation `satisfy`"), ..Fault::new(line, why) })
}

fn many(contexts: usize) -> Option<Fault> {
    let why = || format!("has more than {MOST_CONTEXTS} `if`");
    (contexts > MOST_CONTEXTS).then(|| Fault::new(1, why()))
}
