use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use super::endpoints::Found;
use crate::model::Backend;

/// A backend with its endpoints.
#[derive(Clone, Debug)]
pub(in crate::translate) struct Resolved {
    pub(in crate::translate) backend: Arc<Backend>,
    /// What else was found; the endpoints are in the backend.
    pub(super) found: Found,
}

impl Default for Resolved {
    /// A place that nobody leads to.
    fn default() -> Self {
        static NOBODY: LazyLock<Arc<Backend>> = LazyLock::new(|| Arc::new(Backend::nobody()));
        Self { backend: Arc::clone(&NOBODY), found: Found::default() }
    }
}

/// The names that backends stand for.
pub(in crate::translate) fn names(resolved: &[Resolved]) -> BTreeSet<Arc<str>> {
    resolved.iter().filter_map(|resolved| resolved.found.name.clone()).collect()
}
