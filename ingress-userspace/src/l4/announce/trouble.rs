//! Where nothing can be announced, and why.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The interfaces that do not work just now, with what keeps them from it.
#[derive(Clone, Debug, Default)]
pub(super) struct Troubles(Arc<Mutex<BTreeMap<String, String>>>);

impl Troubles {
    /// The interface does not work; `true` if it was not known to.
    pub(super) fn begin(&self, interface: &str, error: &io::Error) -> bool {
        self.known().insert(interface.to_owned(), error.to_string()).is_none()
    }

    /// The interface works: something was sent there, or it has been there for a while. That it could
    /// be opened says nothing yet.
    pub(super) fn end(&self, interface: &str) {
        if self.known().remove(interface).is_some() {
            tracing::info!(interface, "virtual addresses are announced again");
        }
    }

    /// What keeps the first of them from it, for people.
    pub(super) fn first(&self) -> Option<String> {
        let known = self.known();
        let (interface, error) = known.first_key_value()?;
        Some(format!("{interface}: virtual addresses are not announced: {error}"))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_stays_away_is_told_of_once() {
        let troubles = Troubles::default();
        let error = io::Error::from(io::ErrorKind::NetworkDown);
        assert!(troubles.begin("eth0", &error));
        assert!(!troubles.begin("eth0", &error));
        assert!(troubles.begin("eth1", &error));
        let first = troubles.first().expect("two do not work");
        assert!(first.starts_with("eth0: "), "{first}");
        troubles.end("eth0");
        troubles.end("eth1");
        assert_eq!(troubles.first(), None);
        assert!(troubles.begin("eth0", &error));
    }
}
