use std::sync::Arc;

use crate::model::{Diagnostic, HostName, Model, Route};

/// All hosts and their routes, ready to be searched.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    catch_all: HostTable,
}

/// The routes of one host.
#[derive(Clone, Debug, Default)]
pub struct HostTable {
    tls: bool,
}

/// A route and what it takes to apply it.
#[derive(Clone, Debug)]
pub struct CompiledRoute {
    /// The route.
    pub route: Arc<Route>,
}

/// What a path leads to.
#[derive(Clone, Copy, Debug)]
pub enum Found<'t> {
    /// This route.
    Route(&'t CompiledRoute),
    /// Nowhere, but with a final `/` it would lead to this route: 301 (reference section 3.2).
    AddSlash(&'t CompiledRoute),
    /// Nowhere.
    None,
}

impl RouteTable {
    /// The table of a model, and the regular expressions in it that are none.
    #[must_use]
    pub fn new(model: &Model) -> (Self, Vec<Diagnostic>) {
        Self::default().next(model)
    }

    /// The table of the model after this one's: what did not change is not compiled again.
    #[must_use]
    pub fn next(&self, _model: &Model) -> (Self, Vec<Diagnostic>) {
        (self.clone(), Vec::new())
    }

    /// The host that answers for this `Host` header.
    #[must_use]
    pub fn host(&self, _host_header: &str) -> &HostTable {
        &self.catch_all
    }
}

impl HostTable {
    /// Which host this is.
    #[must_use]
    pub fn name(&self) -> &HostName {
        &HostName::CatchAll
    }

    /// Some Ingress lists TLS for the host.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Where a normalized path leads.
    #[must_use]
    pub fn find(&self, _path: &str) -> Found<'_> {
        Found::None
    }
}

impl CompiledRoute {
    /// The path to ask the upstream for, escaped; `None`: the request's own, untouched.
    #[must_use]
    pub fn rewrite(&self, _normalized_path: &str) -> Option<String> {
        None
    }
}
