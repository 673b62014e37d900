//! How a source itself is, apart from what its objects say: shown by the health port.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What keeps objects from being as new as they could be. A directory has none of it.
#[derive(Debug, Default)]
pub struct SourceState(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// By what it is that does not work.
    troubles: BTreeMap<String, (Instant, String)>,
    /// What the first complete state waits for.
    waiting: Vec<String>,
}

/// Something that does not work, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Since the first failure.
    pub lasting: Duration,
    /// What it is about, and why.
    pub what: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, for {} s", self.what, self.lasting.as_secs())
    }
}

impl SourceState {
    /// This does not work. True: it did until now, or failed otherwise.
    pub(super) fn fails(&self, what: &str, why: &str) -> bool {
        let mut inner = self.lock();
        match inner.troubles.get_mut(what) {
            Some((_, known)) if known == why => false,
            Some((_, known)) => {
                why.clone_into(known);
                true
            }
            None => {
                let trouble = (Instant::now(), why.to_owned());
                inner.troubles.insert(what.to_owned(), trouble);
                true
            }
        }
    }

    /// This works. True: it did not until now.
    pub(super) fn works(&self, what: &str) -> bool {
        self.lock().troubles.remove(what).is_some()
    }

    /// The first complete state waits for these.
    pub(super) fn waits_for(&self, what: Vec<String>) {
        self.lock().waiting = what;
    }

    /// What does not work, the longest lasting first.
    #[must_use]
    pub fn troubles(&self) -> Vec<Trouble> {
        let inner = self.lock();
        let mut troubles: Vec<_> = inner
            .troubles
            .iter()
            .map(|(what, (since, why))| Trouble {
                lasting: since.elapsed(),
                what: format!("{what}: {why}"),
            })
            .collect();
        troubles.sort_by_key(|trouble| std::cmp::Reverse(trouble.lasting));
        troubles
    }

    /// What the first complete state waits for; empty once it was there.
    #[must_use]
    pub fn waiting(&self) -> Vec<String> {
        self.lock().waiting.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_told_once_and_until_it_works() {
        let state = SourceState::default();
        assert!(state.fails("watching Service", "refused"));
        assert!(!state.fails("watching Service", "refused"));
        assert!(state.fails("watching Service", "forbidden"));
        let troubles = state.troubles();
        assert_eq!(troubles.len(), 1);
        assert_eq!(troubles[0].what, "watching Service: forbidden");
        assert!(state.works("watching Service"));
        assert!(!state.works("watching Service"));
        assert!(state.troubles().is_empty());
    }
}
