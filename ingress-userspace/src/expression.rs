//! Regular expressions as people write them for nginx (PCRE), in bounded time: linear where an
//! automaton can do it, else with a limit of steps.

/// How often one comparison with an expression that backtracks may do so. It bounds the time that a
/// client can take from a worker where an Ingress has an exponential pattern: about a millisecond
/// in a release build. Look-arounds as they occur in the wild backtrack less than once per octet.
const BACKTRACK_LIMIT: usize = 50_000;

/// How large a compiled expression may be. Bytes. A thousand long paths of a host stay below it
/// together; `(a{1000}){1000}` does not.
const SIZE_LIMIT: usize = 4 << 20;

/// A compiled expression.
#[derive(Debug)]
pub enum Expression {
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

impl Expression {
    /// Compiles it; `insensitive`: without regard to case.
    ///
    /// # Errors
    /// What is wrong with it, in the words of the compiler.
    pub fn new(text: &str, insensitive: bool) -> Result<Self, String> {
        let automaton = regex::RegexBuilder::new(text)
            .case_insensitive(insensitive)
            .size_limit(SIZE_LIMIT)
            .build();
        match automaton {
            Ok(regex) => Ok(Self::Automaton(regex)),
            Err(error @ regex::Error::CompiledTooBig(_)) => Err(error.to_string()),
            Err(_) => fancy_regex::RegexBuilder::new(text)
                .case_insensitive(insensitive)
                .backtrack_limit(BACKTRACK_LIMIT)
                .delegate_size_limit(SIZE_LIMIT)
                .build()
                .map(|regex| Self::Backtracking(Box::new(regex)))
                .map_err(|error| error.to_string()),
        }
    }

    /// It is found in the text.
    ///
    /// # Errors
    /// [`Undecided`].
    pub fn matches(&self, text: &str) -> Result<bool, Undecided> {
        match self {
            Self::Automaton(regex) => Ok(regex.is_match(text)),
            Self::Backtracking(regex) => regex.is_match(text).map_err(Undecided::from),
        }
    }

    /// The groups of the first match.
    ///
    /// # Errors
    /// [`Undecided`].
    pub fn groups(&self, text: &str) -> Result<Option<Groups>, Undecided> {
        let mut groups = Groups::default();
        match self {
            Self::Automaton(regex) => {
                let Some(captures) = regex.captures(text) else { return Ok(None) };
                for (group, place) in groups.iter_mut().enumerate() {
                    *place = captures.get(group).map(|found| (found.start(), found.end()));
                }
            }
            Self::Backtracking(regex) => {
                let captures = regex.captures(text).map_err(Undecided::from)?;
                let Some(captures) = captures else { return Ok(None) };
                for (group, place) in groups.iter_mut().enumerate() {
                    *place = captures.get(group).map(|found| (found.start(), found.end()));
                }
            }
        }
        Ok(Some(groups))
    }

    /// Matching may give up.
    #[must_use]
    pub fn may_give_up(&self) -> bool {
        matches!(self, Self::Backtracking(_))
    }
}
