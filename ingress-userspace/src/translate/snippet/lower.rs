//! From directives to what is done: which directive may stand where, and what becomes of it.

use std::collections::BTreeSet;

use super::{
    alternative::alternative, judged::Made, overrides::Overrides, parse::Directive, steps::pattern,
    token::Fault, value::Known,
};
use crate::model::{Effects, Matching, Program, SnippetLocation, Step};

/// Where a directive stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `http-snippet`.
    Http,
    /// `server-snippet`.
    Server,
    /// `if` there.
    ServerIf,
    /// `location` there.
    Own,
    /// `if` in that.
    OwnIf,
    /// `configuration-snippet`: the location of every path of the Ingress.
    Location,
    /// `if` there.
    LocationIf,
}

impl Place {
    pub(super) fn inside_if(self) -> Self {
        match self {
            Self::Http | Self::Server | Self::ServerIf => Self::ServerIf,
            Self::Own | Self::OwnIf => Self::OwnIf,
            Self::Location | Self::LocationIf => Self::LocationIf,
        }
    }

    /// In an `if`.
    pub(super) fn is_conditional(self) -> bool {
        matches!(self, Self::ServerIf | Self::OwnIf | Self::LocationIf)
    }
}

/// A snippet while it is lowered.
#[derive(Default)]
pub(super) struct Lower {
    /// The variables that are set somewhere.
    pub(super) names: BTreeSet<String>,
    /// Those that an `auth_request_set` makes.
    pub(super) judged: Made,
    pub(super) contexts: Vec<Effects>,
    pub(super) locations: Vec<SnippetLocation>,
    /// What replaces annotations.
    pub(super) overrides: Overrides,
    /// Where `satisfy any` stands.
    pub(super) satisfy_any: Option<usize>,
    /// What does nothing, and why.
    pub(super) notes: Vec<(usize, String)>,
    /// The location that is being lowered is `internal`.
    pub(super) internal: bool,
    /// What refuses the snippet.
    pub(super) faults: Vec<Fault>,
}

impl Lower {
    pub(super) fn new_context(&mut self) -> usize {
        self.contexts.push(Effects::default());
        self.contexts.len() - 1
    }

    /// The steps of a block; its effects go into the context, what is wrong with it into the faults.
    pub(super) fn block(
        &mut self,
        directives: &[Directive],
        place: Place,
        context: usize,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        for directive in directives {
            match self.directive(directive, place, context) {
                Ok(step) => steps.extend(step),
                Err(fault) => self.faults.push(fault),
            }
        }
        steps
    }

    fn directive(
        &mut self,
        directive: &Directive,
        place: Place,
        context: usize,
    ) -> Result<Option<Step>, Fault> {
        if place != Place::Http
            && !(place.is_conditional() && directive.name == "if")
            && let Some(step) = self.step(directive, place, context)?
        {
            return Ok(Some(step));
        }
        if directive.name == "location" && place == Place::Server {
            self.location(directive)?;
        } else if !self.effect(directive, place, context)? {
            return Err(unknown(directive, place));
        }
        Ok(None)
    }

    /// What values may refer to, once there is an answer.
    pub(super) fn known(&self) -> Known<'_> {
        Known { own: &self.names, judged: &self.judged, answer: true }
    }

    fn location(&mut self, directive: &Directive) -> Result<(), Fault> {
        let fault = |why: &str| Fault::new(directive.line, format!("`location`: {why}"));
        let words: Vec<&str> = directive.arguments.iter().map(|word| &**word).collect();
        let expression = |text, insensitive| {
            pattern(text, insensitive).map(Matching::Pattern).map_err(|why| fault(&why))
        };
        let matching = match &*words {
            ["=", path] => Matching::Exact((*path).into()),
            ["^~", path] => Matching::Prefix { path: (*path).into(), is_final: true },
            ["~", text] => expression(text, false)?,
            ["~*", text] => expression(text, true)?,
            [name] if name.len() > 1 && name.starts_with('@') => Matching::Named((*name).into()),
            // The sign and the path may be one word.
            [word] => match (word.strip_prefix('='), word.strip_prefix("^~")) {
                (Some(path), _) => Matching::Exact(path.into()),
                (_, Some(path)) => Matching::Prefix { path: path.into(), is_final: true },
                _ => match (word.strip_prefix("~*"), word.strip_prefix('~')) {
                    (Some(text), _) => expression(text, true)?,
                    (_, Some(text)) => expression(text, false)?,
                    _ => Matching::Prefix { path: (*word).into(), is_final: false },
                },
            },
            _ => return Err(fault("is not `location [= | ^~ | ~ | ~*] path { … }`")),
        };
        if let Matching::Exact(path) | Matching::Prefix { path, .. } = &matching
            && !path.starts_with('/')
        {
            return Err(fault("its path does not begin with `/`"));
        }
        if self.locations.iter().any(|other| same_path(&other.matching, &matching)) {
            return Err(fault("there is another one with this path"));
        }
        let Some(block) = &directive.block else { return Err(fault("has no block")) };
        let outer = std::mem::take(&mut self.contexts);
        let context = self.new_context();
        self.internal = false;
        let steps = self.block(block, Place::Own, context);
        let contexts = std::mem::replace(&mut self.contexts, outer);
        self.locations.push(SnippetLocation {
            matching,
            internal: self.internal,
            program: Program { steps: steps.into(), contexts },
        });
        Ok(())
    }
}

/// nginx refuses two of these in one server.
fn same_path(one: &Matching, two: &Matching) -> bool {
    match (one, two) {
        (Matching::Exact(one), Matching::Exact(two))
        | (Matching::Named(one), Matching::Named(two)) => one == two,
        (Matching::Prefix { path: one, .. }, Matching::Prefix { path: two, .. }) => one == two,
        _ => false,
    }
}

fn unknown(directive: &Directive, place: Place) -> Fault {
    let name = &directive.name;
    let why = match (&**name, place) {
        ("if", _) if place.is_conditional() => {
            "`if` in `if` is not known to nginx either".to_owned()
        }
        ("location", Place::Location | Place::LocationIf | Place::Own | Place::OwnIf) => {
            "`location` in a location is not supported: what ingress-nginx says of the path (its \
             Service, the redirect to HTTPS) does not hold in it, and with most paths nginx does not \
             start; it can stand in a `server-snippet`"
                .to_owned()
        }
        ("else" | "elseif" | "elif", _) => {
            format!("`{name}` is not known to nginx either; another `if` is")
        }
        (_, place) if place.is_conditional() => format!("`{name}` is not supported in `if`"),
        _ => format!("`{name}` is not supported"),
    };
    Fault { line: directive.line, why, instead: alternative(name) }
}
