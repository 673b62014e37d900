//! Regular expressions as Ingresses have them, in the dialect of PCRE as far as it occurs: compiled
//! once, bounded in size and in the time that a client can take with them.

use std::{collections::HashMap, fmt, sync::Arc};

/// How often one comparison with a pattern that backtracks may do so. It bounds the time that a
/// client can take from a worker where an Ingress has an exponential pattern: about a millisecond
/// in a release build. Look-arounds as they occur in the wild backtrack less than once per octet.
const BACKTRACK_LIMIT: usize = 50_000;

/// How large a compiled pattern may be. Bytes. A thousand long paths of a host stay below it
/// together; `(a{1000}){1000}` does not.
const SIZE_LIMIT: usize = 4 << 20;

/// Whether letters that differ in case alone are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Case {
    /// They are not.
    Told,
    /// They are.
    Ignored,
}

/// A compiled expression.
#[derive(Debug)]
pub(crate) enum Program {
    /// Linear in the text, whatever the expression.
    Automaton(regex::Regex),
    /// Look-around, back-references and other things that only a backtracking matcher knows.
    Backtracking(Box<fancy_regex::Regex>),
}

/// The matcher gave up on a text: it can be said neither to match nor not to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecided;

impl From<fancy_regex::Error> for Undecided {
    /// While matching there is no error but a limit that was reached.
    fn from(_: fancy_regex::Error) -> Self {
        Self
    }
}

/// Where the groups of a match are in the text, the whole match first.
pub type Groups = [Option<(usize, usize)>; 10];

impl Program {
    pub(crate) fn new(pattern: &str, case: Case) -> Result<Self, String> {
        let ignored = case == Case::Ignored;
        let automaton = regex::RegexBuilder::new(pattern)
            .case_insensitive(ignored)
            .size_limit(SIZE_LIMIT)
            .build();
        match automaton {
            Ok(regex) => Ok(Self::Automaton(regex)),
            Err(error @ regex::Error::CompiledTooBig(_)) => Err(error.to_string()),
            Err(_) => fancy_regex::RegexBuilder::new(pattern)
                .case_insensitive(ignored)
                .backtrack_limit(BACKTRACK_LIMIT)
                .delegate_size_limit(SIZE_LIMIT)
                .build()
                .map(|regex| Self::Backtracking(Box::new(regex)))
                .map_err(|error| error.to_string()),
        }
    }

    /// What its groups are called; the whole match comes first.
    fn names(&self) -> Box<dyn Iterator<Item = Option<&str>> + '_> {
        match self {
            Self::Automaton(regex) => Box::new(regex.capture_names()),
            Self::Backtracking(regex) => Box::new(regex.capture_names()),
        }
    }

    /// It is found somewhere in the text.
    pub(crate) fn is_match(&self, text: &str) -> Result<bool, Undecided> {
        match self {
            Self::Automaton(regex) => Ok(regex.is_match(text)),
            Self::Backtracking(regex) => regex.is_match(text).map_err(Undecided::from),
        }
    }

    /// The groups of the first match.
    pub(crate) fn groups(&self, text: &str) -> Result<Option<Groups>, Undecided> {
        let mut groups = Groups::default();
        match self {
            Self::Automaton(regex) => {
                let Some(captures) = regex.captures(text) else { return Ok(None) };
                for (group, place) in groups.iter_mut().enumerate() {
                    *place = captures.get(group).map(|found| (found.start(), found.end()));
                }
            }
            Self::Backtracking(regex) => {
                let Some(captures) = regex.captures(text)? else { return Ok(None) };
                for (group, place) in groups.iter_mut().enumerate() {
                    *place = captures.get(group).map(|found| (found.start(), found.end()));
                }
            }
        }
        Ok(Some(groups))
    }

    /// Matching may give up.
    pub(crate) fn may_give_up(&self) -> bool {
        matches!(self, Self::Backtracking(_))
    }
}

/// An expression and its text, by which it is compared.
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
    case: Case,
    program: Arc<Program>,
}

impl Expression {
    /// Compiles.
    ///
    /// # Errors
    /// Says why the text is no expression, or is too large a one.
    pub fn new(text: &str, case: Case) -> Result<Self, String> {
        // Of the several lines that the compilers draw, the last says what is wrong.
        let last = |error: String| {
            error.lines().last().unwrap_or(&error).trim_start_matches("error: ").to_owned()
        };
        let program = Program::new(text, case).map_err(last)?;
        Ok(Self { text: text.into(), case, program: Arc::new(program) })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The groups that have a name, by their numbers.
    pub fn names(&self) -> impl Iterator<Item = (usize, &str)> {
        self.program.names().enumerate().filter_map(|(group, name)| Some((group, name?)))
    }

    /// It is found somewhere in the text.
    ///
    /// # Errors
    /// That cannot be said within bounded time.
    pub fn is_match(&self, text: &str) -> Result<bool, Undecided> {
        self.program.is_match(text)
    }

    /// The groups of the first match.
    ///
    /// # Errors
    /// That cannot be said within bounded time.
    pub fn groups(&self, text: &str) -> Result<Option<Groups>, Undecided> {
        self.program.groups(text)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.case == other.case
    }
}

impl Eq for Expression {}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

/// Expressions that several models in a row have, each compiled once.
#[derive(Debug, Default)]
pub(crate) struct Expressions {
    current: HashMap<(Arc<str>, Case), Compiled>,
    earlier: HashMap<(Arc<str>, Case), Compiled>,
    /// Of more than so many it is looked which are in use.
    kept: usize,
}

type Compiled = Result<Expression, Arc<str>>;

impl Expressions {
    /// Begins a new model: what it does not ask for is forgotten with the one after.
    pub(crate) fn begin(&mut self) {
        self.earlier = std::mem::take(&mut self.current);
    }

    /// Goes on with the model before, of which a part is made anew: forgets what no model has, once
    /// that is much.
    pub(crate) fn go_on(&mut self) {
        self.earlier.clear();
        if self.current.len() > self.kept {
            let is_used = |compiled: &Compiled| {
                compiled.as_ref().is_ok_and(|one| Arc::strong_count(&one.program) > 1)
            };
            self.current.retain(|_, compiled| is_used(compiled));
            self.kept = 64 + 2 * self.current.len();
        }
    }

    /// The expression of this text, or why there is none.
    pub(crate) fn get(&mut self, text: &Arc<str>, case: Case) -> Compiled {
        let key = (Arc::clone(text), case);
        let earlier = &mut self.earlier;
        self.current
            .entry(key)
            .or_insert_with_key(|key| {
                let compile = || Expression::new(text, case).map_err(Into::into);
                earlier.remove(key).unwrap_or_else(compile)
            })
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_compiled_once_for_as_long_as_models_ask_for_it() {
        let mut all = Expressions::default();
        let text = Arc::from("a+");
        let first = all.get(&text, Case::Told).unwrap();
        all.begin();
        let second = all.get(&text, Case::Told).unwrap();
        assert!(Arc::ptr_eq(&first.program, &second.program));
        assert_ne!(first, all.get(&text, Case::Ignored).unwrap());
        all.begin();
        all.begin();
        let again = all.get(&text, Case::Told).unwrap();
        assert!(!Arc::ptr_eq(&first.program, &again.program));
        assert_eq!(first, again);
    }

    #[test]
    fn case_is_told_or_ignored_and_faults_are_said_in_a_line() {
        assert_eq!(Expression::new("aB", Case::Told).unwrap().is_match("xab"), Ok(false));
        assert_eq!(Expression::new("aB", Case::Ignored).unwrap().is_match("xab"), Ok(true));
        assert_eq!(Expression::new("a(?!b)", Case::Told).unwrap().is_match("ab"), Ok(false));
        let error = Expression::new("(a", Case::Told).unwrap_err();
        assert!(!error.is_empty() && !error.contains('\n'), "{error}");
        let endless = Expression::new("((?=a)a|a(?!c))+$", Case::Told).unwrap();
        assert_eq!(endless.is_match(&format!("{}b", "a".repeat(4000))), Err(Undecided));
    }
}
