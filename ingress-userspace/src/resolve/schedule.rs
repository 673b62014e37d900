//! When each name is looked up again, and what is known of it meanwhile. No clock, no I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::names::{Known, Names, is_own};

/// However short an answer may be kept by its owner's will.
const SHORTEST: Duration = Duration::from_secs(1);
/// However long.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long a name that stands for nothing is left alone at most: somebody may be about to add it.
const LONGEST_NOTHING: Duration = Duration::from_secs(30);
/// The longest pause between two attempts while no name server answers.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the DNS says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// These addresses, for so long.
    Addresses(Vec<IpAddr>, Duration),
    /// That it has none, for so long.
    Nothing(Duration),
    /// Nothing: there was no answer.
    Failed(&'static str),
}

/// The names that are wanted.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    names: BTreeMap<Arc<str>, Entry>,
}

#[derive(Debug)]
struct Entry {
    known: Option<Known>,
    due: Instant,
    /// It is being looked up.
    running: bool,
    /// Lookups without an answer since the last one with.
    failures: u32,
}

impl Schedule {
    /// From now on these names and no others; new ones are due at once.
    pub(super) fn replace(&mut self, names: BTreeSet<Arc<str>>, now: Instant) {
        self.names.retain(|name, _| names.contains(name));
        for name in names {
            self.names.entry(name).or_insert(Entry {
                known: None,
                due: now,
                running: false,
                failures: 0,
            });
        }
    }

    /// A name whose time has come; it counts as being looked up from now on.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<Arc<str>> {
        let (name, entry) =
            self.names.iter_mut().find(|(_, entry)| !entry.running && entry.due <= now)?;
        entry.running = true;
        Some(Arc::clone(name))
    }

    /// When the next name's time comes.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.names.values().filter(|entry| !entry.running).map(|entry| entry.due).min()
    }

    /// A lookup has ended. Returns whether something else is known now.
    pub(super) fn answered(&mut self, name: &str, answer: Answer, now: Instant) -> bool {
        // Nobody wants it any more.
        let Some(entry) = self.names.get_mut(name) else { return false };
        entry.running = false;
        let before = entry.known.clone();
        let (known, pause) = match answer {
            Answer::Addresses(mut addresses, time) => {
                addresses.retain(|address| !is_own(*address));
                addresses.sort_unstable();
                addresses.dedup();
                entry.failures = 0;
                let known = match addresses.is_empty() {
                    true => Known::Nothing("stands for this node itself, which is refused".into()),
                    false => Known::Addresses { addresses, late: None },
                };
                (known, time.clamp(SHORTEST, LONGEST))
            }
            Answer::Nothing(time) => {
                entry.failures = 0;
                let why = "the DNS has no address for it".to_owned();
                (Known::Nothing(why), time.clamp(SHORTEST, LONGEST_NOTHING))
            }
            Answer::Failed(why) => {
                let pause = SHORTEST * 2_u32.pow(entry.failures.min(5));
                entry.failures += 1;
                let known = match entry.known.take() {
                    Some(Known::Addresses { addresses, .. }) => {
                        Known::Addresses { addresses, late: Some(why.to_owned()) }
                    }
                    _ => Known::Nothing(why.to_owned()),
                };
                (known, pause.min(LONGEST_PAUSE))
            }
        };
        entry.due = now + pause;
        let changed = before.as_ref() != Some(&known);
        entry.known = Some(known);
        changed
    }

    /// All that is known.
    pub(super) fn names(&self) -> Names {
        let known =
            |(name, entry): (&Arc<str>, &Entry)| Some((Arc::clone(name), entry.known.clone()?));
        self.names.iter().filter_map(known).collect()
    }
}
