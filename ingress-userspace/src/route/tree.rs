//! Ten thousand hosts do not fit into the processor's caches: what a request costs there is the number
//! of places in memory that it waits for. A path is found with two of them, wherever it is: the map's
//! tags, and the entry, which holds its path itself unless that is long.

// Seeded at random, as std's, and several times faster for short keys; which keys there are, no client
// decides.
use hashbrown::HashMap;
use smol_str::SmolStr;

use super::{CompiledRoute, Found};

/// The paths of type Prefix of a host in ordinary mode (reference section 3.2).
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    /// By the path without its final slash: of the root, nothing is left.
    prefixes: HashMap<SmolStr, Place>,
    /// How many elements the longest of `prefixes` has: of a path, no more are looked up, and each
    /// look-up is one hash, however many routes there are.
    depth: u32,
}

/// The routes of one path; one of them at least.
#[derive(Clone, Debug, Default)]
struct Place {
    /// Written without a final slash.
    bare: Option<CompiledRoute>,
    /// Written with a final slash.
    slash: Option<CompiledRoute>,
}

impl Tree {
    /// Adds a route. Of two with one path, the first stays.
    pub(super) fn insert(&mut self, compiled: CompiledRoute) {
        let path = std::sync::Arc::clone(&compiled.route.path);
        let (elements, slash) = split(&path);
        let depth = elements.matches('/').count();
        self.depth = self.depth.max(u32::try_from(depth).unwrap_or(u32::MAX));
        let place = self.prefixes.entry(elements.into()).or_default();
        let own = if slash { &mut place.slash } else { &mut place.bare };
        own.get_or_insert(compiled);
    }

    /// Where a path leads: to the longest.
    pub(super) fn find(&self, path: &str) -> Found<'_> {
        let (mut elements, mut followed) = split(path);
        let cut = match self.depth as usize {
            0 => (!elements.is_empty()).then_some(0),
            depth => memchr::memchr_iter(b'/', elements.as_bytes()).nth(depth),
        };
        if let Some(end) = cut {
            (elements, followed) = (&elements[..end], true);
        }
        loop {
            if let Some(place) = self.prefixes.get(elements) {
                return match (&place.slash, &place.bare) {
                    (Some(route), _) if followed => Found::Route(route),
                    (_, Some(route)) => Found::Route(route),
                    // As NGINX, even though a shorter prefix matches.
                    (Some(route), None) => Found::AddSlash(route),
                    (None, None) => Found::None,
                };
            }
            if elements.is_empty() {
                return Found::None;
            }
            // All but the root is below the root, also what does not begin with a slash.
            let end = elements.rfind('/').unwrap_or(0);
            (elements, followed) = (&elements[..end], true);
        }
    }
}

/// A path without its final slash, and whether it had one. Of the root nothing is left, and its slash
/// is not one that follows anything.
fn split(path: &str) -> (&str, bool) {
    match path.strip_suffix('/') {
        Some("") => ("", false),
        Some(elements) => (elements, true),
        None => (path, false),
    }
}
