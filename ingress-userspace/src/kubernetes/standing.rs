use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

/// Whether this replica leads, for whoever watches it from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing(Arc<AtomicU8>);

const FOLLOWS: u8 = 1;
const LEADS: u8 = 2;

impl Standing {
    /// `None`: there is no election.
    pub(crate) fn leads(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            FOLLOWS => Some(false),
            LEADS => Some(true),
            _ => None,
        }
    }

    /// It does from now on, or does not.
    pub(super) fn set(&self, leads: bool) {
        self.0.store(if leads { LEADS } else { FOLLOWS }, Ordering::Relaxed);
    }
}
