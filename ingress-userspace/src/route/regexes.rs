use std::sync::Arc;

use super::{CompiledRoute, Found, pattern::Pattern};
use crate::model::{Denial, Route, Target};

/// The paths of a host in regex mode (reference section 3.3), tried in order until one matches.
#[derive(Clone, Debug, Default)]
pub(super) struct Regexes {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// What the place in the order depends on: the path or, for a plain Prefix, the path and `/`.
    text: Arc<str>,
    pattern: Arc<Pattern>,
    found: CompiledRoute,
    /// What is found where the pattern gives up.
    undecided: Option<Box<CompiledRoute>>,
}

impl Regexes {
    /// Adds the route under this pattern.
    pub(super) fn push(&mut self, text: Arc<str>, pattern: Arc<Pattern>, found: CompiledRoute) {
        let undecided = pattern.may_give_up().then(|| Box::new(undecided(&found)));
        self.entries.push(Entry { text, pattern, found, undecided });
    }

    /// Puts the routes into the order that they are tried in: longer text first (counting the
    /// characters of the expression), then greater text, then older.
    pub(super) fn sort(&mut self) {
        self.entries
            .sort_by(|one, two| (two.text.len(), &two.text).cmp(&(one.text.len(), &one.text)));
    }

    /// Where a path leads.
    pub(super) fn find(&self, path: &str) -> Found<'_> {
        for entry in &self.entries {
            match (entry.pattern.matches(path), &entry.undecided) {
                (Ok(true), _) => return Found::Route(&entry.found),
                (Ok(false), _) => {}
                // Going on could pass by a rule that restricts access.
                (Err(_), Some(undecided)) => return Found::Route(undecided),
                (Err(_), None) => return Found::None,
            }
        }
        Found::None
    }
}

/// The route, answering 503.
fn undecided(found: &CompiledRoute) -> CompiledRoute {
    let route = &found.route;
    let denial = Denial { key: format!("{}.path", route.field).into() };
    let denied = Route { rewrite: None, target: Target::Denied(denial), ..Route::clone(route) };
    CompiledRoute::plain(Arc::new(denied), found.number)
}
