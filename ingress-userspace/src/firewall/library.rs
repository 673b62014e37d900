//! Rule sets, one for all who ask for the same.

use std::{
    collections::HashMap,
    fmt,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use zentinel_modsec::parser::Directive;

use super::{
    core_rules::{self, CoreRules, CoreRulesError},
    directives::{self, Fault, Item, Note},
    engine::Engine,
    request::{Outcome, Request},
    settings::{Mode, Said, Settings},
};

/// As many rule sets with the Core Rule Set in them there may be at once: each takes some ten
/// megabytes.
const MOST: usize = 64;

/// What a rule set is made of, in the order in which rules are run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// A snippet, as it is written.
    Snippet(Arc<str>),
    /// ModSecurity's recommended configuration.
    Base,
    /// The Core Rule Set.
    Core,
}

/// Why there is no such rule set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleSetError {
    /// A snippet is not understood.
    #[error("{fault}")]
    Snippet {
        /// Which of the parts.
        part: usize,
        /// Where and why.
        fault: Fault,
    },
    /// The Core Rule Set is not there.
    #[error("{0}")]
    NoCoreRules(Arc<str>),
    /// There are too many.
    #[error("there are {MOST} different sets of rules with the Core Rule Set already")]
    TooMany,
}

/// Makes rule sets, and knows those that are in use. Clones are one.
#[derive(Clone)]
pub struct Library(Arc<Inner>);

struct Inner {
    core: Core,
    sets: Mutex<HashMap<Vec<Part>, Weak<RuleSet>>>,
    /// Made and not yet told by [`Library::fresh`].
    fresh: Mutex<Vec<Weak<RuleSet>>>,
}

enum Core {
    Loaded(CoreRules),
    Missing(Arc<str>),
    Assumed,
}

impl Library {
    fn new(core: Core) -> Self {
        Self(Arc::new(Inner { core, sets: Mutex::default(), fresh: Mutex::default() }))
    }

    /// Without the Core Rule Set; says why.
    #[must_use]
    pub fn without_core_rules(why: &str) -> Self {
        Self::new(Core::Missing(why.into()))
    }

    /// As if there were the Core Rule Set: to judge with, not to serve.
    #[must_use]
    pub fn assuming_core_rules() -> Self {
        Self::new(Core::Assumed)
    }

    /// With the Core Rule Set of this directory.
    ///
    /// # Errors
    /// [`CoreRulesError`].
    pub fn load(directory: &Path) -> Result<Self, CoreRulesError> {
        CoreRules::load(directory).map(|rules| Self::new(Core::Loaded(rules)))
    }

    /// The rule set of these parts; a part that is said twice counts once.
    ///
    /// # Errors
    /// [`RuleSetError`].
    pub fn rule_set(&self, parts: &[Part]) -> Result<Arc<RuleSet>, RuleSetError> {
        let mut sets = self.0.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = sets.get(parts).and_then(Weak::upgrade) {
            return Ok(known);
        }
        sets.retain(|_, set| set.strong_count() > 0);
        let made = Arc::new(self.make(parts)?);
        let is_large = |set: &Weak<RuleSet>| set.upgrade().is_some_and(|set| set.has_core_rules);
        if made.has_core_rules && sets.values().filter(|set| is_large(set)).count() >= MOST {
            return Err(RuleSetError::TooMany);
        }
        sets.insert(parts.to_vec(), Arc::downgrade(&made));
        let mut fresh = self.0.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.push(Arc::downgrade(&made));
        Ok(made)
    }

    /// The rule sets that were made since this was last asked, and are in use.
    pub(crate) fn fresh(&self) -> Vec<Arc<RuleSet>> {
        let mut fresh = self.0.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *fresh).iter().filter_map(Weak::upgrade).collect()
    }

    fn make(&self, parts: &[Part]) -> Result<RuleSet, RuleSetError> {
        let mut gathered = Gathered::default();
        for (index, part) in parts.iter().enumerate() {
            match part {
                Part::Snippet(text) => {
                    let parsed = directives::snippet(text)
                        .map_err(|fault| RuleSetError::Snippet { part: index, fault })?;
                    gathered.said = gathered.said.or(parsed.said);
                    gathered.notes.extend(parsed.notes);
                    for item in parsed.items {
                        self.add(&mut gathered, item, index)?;
                    }
                }
                Part::Base => self.add(&mut gathered, Item::Base, index)?,
                Part::Core => self.add(&mut gathered, Item::Core, index)?,
            }
        }
        let Gathered { directives, core, said, notes, .. } = gathered;
        Ok(RuleSet {
            parts: parts.to_vec(),
            settings: said.into(),
            notes,
            has_core_rules: core,
            directives: directives.into(),
            engine: OnceLock::new(),
        })
    }

    fn add(&self, gathered: &mut Gathered, item: Item, part: usize) -> Result<(), RuleSetError> {
        match item {
            Item::Directive(directive) => gathered.directives.push(*directive),
            Item::Base if gathered.base => {}
            Item::Base => {
                gathered.base = true;
                let fault = |why| RuleSetError::Snippet { part, fault: Fault { line: 0, why } };
                gathered.directives.extend(core_rules::base().map_err(fault)?);
            }
            Item::Core if gathered.core => {}
            Item::Core => {
                gathered.core = true;
                match &self.0.core {
                    Core::Loaded(rules) => {
                        gathered.directives.extend(rules.directives.iter().cloned());
                    }
                    Core::Missing(why) => return Err(RuleSetError::NoCoreRules(Arc::clone(why))),
                    Core::Assumed => {}
                }
            }
        }
        Ok(())
    }
}

impl PartialEq for Library {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Library {}

impl Default for Library {
    fn default() -> Self {
        Self::without_core_rules("no Core Rule Set was loaded")
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = match &self.0.core {
            Core::Loaded(_) => "loaded",
            Core::Missing(why) => why,
            Core::Assumed => "assumed",
        };
        f.debug_struct("Library").field("core_rules", &core).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Gathered {
    directives: Vec<Directive>,
    base: bool,
    core: bool,
    said: Said,
    notes: Vec<Note>,
}

/// A set of rules and how it is applied. Compiled by whoever evaluates first, for that takes as long
/// as hundreds of requests.
pub struct RuleSet {
    parts: Vec<Part>,
    settings: Settings,
    notes: Vec<Note>,
    has_core_rules: bool,
    directives: Arc<[Directive]>,
    engine: OnceLock<Result<Engine, String>>,
}

/// A request for which there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no verdict: {0}")]
pub(crate) struct NoVerdict(String);

impl RuleSet {
    /// How requests are inspected.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Nothing is inspected.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.settings.mode == Mode::Off
    }

    /// What of the snippets has no effect.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The Core Rule Set is among the rules.
    #[must_use]
    pub fn has_core_rules(&self) -> bool {
        self.has_core_rules
    }

    /// Compiles the rules, and by a request their expressions, unless that is done: else the first
    /// client waits for it.
    pub(crate) fn warm(&self) {
        if let Err(error) = self.evaluate(&core_rules::harmless()) {
            tracing::error!(%error, "rules of the firewall were understood and cannot be run");
        }
    }

    fn engine(&self) -> Result<&Engine, NoVerdict> {
        let made =
            self.engine.get_or_init(|| Engine::new(self.directives.to_vec(), self.settings.mode));
        made.as_ref().map_err(|why| NoVerdict(why.clone()))
    }

    /// What the rules come to. Takes milliseconds with the Core Rule Set: not for a worker's loop.
    ///
    /// # Errors
    /// There is no verdict: the request must not go on.
    pub(crate) fn evaluate(&self, request: &Request) -> Result<Outcome, NoVerdict> {
        let outcome = self.engine()?.evaluate(request, &self.settings);
        outcome.map_err(|error| NoVerdict(error.to_string()))
    }
}

impl PartialEq for RuleSet {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl Eq for RuleSet {}

impl fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleSet")
            .field("settings", &self.settings)
            .field("rules", &self.directives.len())
            .finish_non_exhaustive()
    }
}
