use std::sync::Arc;

use super::rewrite::CompiledRewrite;
use crate::model::Route;

/// A route and what it takes to apply it.
#[derive(Clone, Debug)]
pub struct CompiledRoute {
    /// The route.
    pub route: Arc<Route>,
    /// What its requests are counted by: see [`HostTable::first_number`](super::HostTable).
    pub(crate) number: u64,
    /// Most have none: what all have in common is small, and lies in one place with its path.
    pub(super) rewrite: Option<Box<CompiledRewrite>>,
}

/// What a path leads to.
#[derive(Clone, Copy, Debug)]
pub enum Found<'t> {
    /// This route.
    Route(&'t CompiledRoute),
    /// Nowhere, but with a final `/` it would lead to this route: 301, with the query and the
    /// connection's scheme kept (reference section 3.2).
    AddSlash(&'t CompiledRoute),
    /// Nowhere: 404.
    None,
}

impl CompiledRoute {
    /// The route, without a rewrite.
    pub(super) fn plain(route: Arc<Route>, number: u64) -> Self {
        Self { route, number, rewrite: None }
    }

    /// The path to ask the upstream for, escaped, the query not included; `None`: the request's own
    /// target, untouched.
    #[must_use]
    pub fn rewrite(&self, normalized_path: &str) -> Option<String> {
        self.rewrite.as_ref()?.apply(normalized_path)
    }
}
