use std::sync::Arc;

// Seeded at random, as std's, and several times faster for short keys; which keys there are, no client
// decides.
use hashbrown::HashMap;
use smol_str::SmolStr;

use crate::model::{AliasName, Expression, HostName};

/// What belongs to hosts, by their names (reference section 3.1). Names of requests and handshakes
/// are looked up here, lower case, without port and final dot.
#[derive(Clone, Debug)]
pub(crate) struct Names<T> {
    /// Most names are short enough to lie beside what belongs to them, which is one place in memory to
    /// wait for; the others are the model's.
    exact: HashMap<SmolStr, T>,
    /// By what follows `*.`.
    wildcard: HashMap<SmolStr, T>,
    /// `None` as long as nobody has an alias that is not exact.
    aliases: Option<Box<Aliases<T>>>,
}

#[derive(Clone, Debug)]
struct Aliases<T> {
    /// Those of `beneath` where one label is before the suffix, if that makes a difference.
    one_beneath: HashMap<Arc<str>, T>,
    beneath: HashMap<Arc<str>, T>,
    before: HashMap<Arc<str>, T>,
    /// Oldest Ingress first.
    matching: Vec<(Expression, T)>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new(), aliases: None }
    }
}

impl<T> Default for Aliases<T> {
    fn default() -> Self {
        Self {
            one_beneath: HashMap::new(),
            beneath: HashMap::new(),
            before: HashMap::new(),
            matching: Vec::new(),
        }
    }
}

impl<T> Names<T> {
    /// With room for so many names.
    pub(crate) fn with_room(names: usize) -> Self {
        Self { exact: HashMap::with_capacity(names), ..Self::default() }
    }

    /// Adds a host. The catch-all has no name.
    pub(crate) fn insert(&mut self, name: &HostName, value: T) {
        match name {
            HostName::Exact(name) => drop(self.exact.insert(Arc::clone(name).into(), value)),
            HostName::Wildcard(suffix) => {
                drop(self.wildcard.insert(Arc::clone(suffix).into(), value))
            }
            HostName::CatchAll => {}
        }
    }

    /// Adds another name of a host.
    pub(crate) fn insert_alias(&mut self, name: &AliasName, value: T) {
        let aliases = match name {
            AliasName::Exact(name) => {
                return drop(self.exact.insert(Arc::clone(name).into(), value));
            }
            _ => self.aliases.get_or_insert_default(),
        };
        match name {
            AliasName::Exact(_) => {}
            AliasName::Beneath(suffix) => drop(aliases.beneath.insert(Arc::clone(suffix), value)),
            AliasName::Before(prefix) => drop(aliases.before.insert(Arc::clone(prefix), value)),
            AliasName::Matching(pattern) => aliases.matching.push((pattern.clone(), value)),
        }
    }

    /// What names of one label before this suffix get, instead of what its alias has.
    pub(crate) fn insert_one_beneath(&mut self, suffix: &str, value: T) {
        self.aliases.get_or_insert_default().one_beneath.insert(suffix.into(), value);
    }

    /// The host of exactly this name.
    pub(crate) fn get(&self, name: &HostName) -> Option<&T> {
        match name {
            HostName::Exact(name) => self.exact.get(&**name),
            HostName::Wildcard(suffix) => self.wildcard.get(&**suffix),
            HostName::CatchAll => None,
        }
    }

    /// What this name gets: the exact host or alias, then aliases with wildcards, then the wildcard
    /// host with one label more, then aliases by expression.
    pub(crate) fn find(&self, name: &str) -> Option<&T> {
        if let Some(value) = self.exact.get(name) {
            return Some(value);
        }
        let wildcard = || {
            let (label, suffix) = name.split_once('.')?;
            if is_label(label) { self.wildcard.get(suffix) } else { None }
        };
        match &self.aliases {
            None => wildcard(),
            Some(aliases) => {
                aliases.wildcards(name).or_else(wildcard).or_else(|| aliases.matching(name))
            }
        }
    }
}

impl<T> Aliases<T> {
    /// The longest suffix, then the longest prefix, as nginx has it.
    fn wildcards(&self, name: &str) -> Option<&T> {
        let mut dots = name.match_indices('.').map(|(at, _)| at).filter(|at| *at > 0);
        let first = dots.clone().next()?;
        let suffix = |at: usize| name.get(at + 1..).filter(|suffix| !suffix.is_empty());
        let one = || self.one_beneath.get(suffix(first)?);
        let beneath = || dots.find_map(|at| self.beneath.get(suffix(at)?));
        one().or_else(beneath).or_else(|| {
            let mut ends = name.rmatch_indices('.').map(|(at, _)| at);
            ends.find_map(|at| {
                name.get(at + 1..).filter(|rest| !rest.is_empty())?;
                self.before.get(name.get(..at)?)
            })
        })
    }

    /// The first that is found in the name. One that cannot be decided ends the search: whoever
    /// comes later must not get what may be another's.
    fn matching(&self, name: &str) -> Option<&T> {
        if name.is_empty() {
            return None;
        }
        for (pattern, value) in &self.matching {
            match pattern.is_match(name) {
                Ok(true) => return Some(value),
                Ok(false) => {}
                Err(_undecided) => return None,
            }
        }
        None
    }
}

fn is_label(label: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !label.is_empty() && label.bytes().all(is_part)
}
