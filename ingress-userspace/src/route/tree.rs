// Seeded at random, as std's, and several times faster for short keys; which keys there are, no client
// decides.
use hashbrown::HashMap;

use super::{CompiledRoute, Found};
use crate::model::PathKind;

/// The paths of a host in ordinary mode (reference section 3.2). Finding costs one hash of the
/// path and one of each of its elements, however many routes there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    exact: HashMap<Box<str>, CompiledRoute>,
    nodes: Vec<Node>,
}

/// What is known about a run of path elements. The first node is the root.
#[derive(Clone, Debug, Default)]
struct Node {
    /// The nodes with one element more.
    children: HashMap<Box<str>, usize>,
    /// Of Prefix, written without a final slash.
    bare: Option<CompiledRoute>,
    /// Of Prefix, written with a final slash.
    slash: Option<CompiledRoute>,
}

impl Tree {
    /// Adds a route. Of two with one kind and path, the first stays.
    pub(super) fn insert(&mut self, compiled: CompiledRoute) {
        let path = std::sync::Arc::clone(&compiled.route.path);
        match compiled.route.kind {
            PathKind::Exact => {
                self.exact.entry((*path).into()).or_insert(compiled);
            }
            PathKind::Prefix => {
                let (elements, slash) = split(&path);
                let node = self.node(elements);
                let place = if slash { &mut node.slash } else { &mut node.bare };
                place.get_or_insert(compiled);
            }
        }
    }

    /// The node of these elements, made where it is missing.
    fn node(&mut self, elements: Option<&str>) -> &mut Node {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for element in elements.into_iter().flat_map(|elements| elements.split('/')) {
            at = match self.nodes[at].children.get(element) {
                Some(&child) => child,
                None => {
                    let child = self.nodes.len();
                    self.nodes.push(Node::default());
                    self.nodes[at].children.insert(element.into(), child);
                    child
                }
            };
        }
        &mut self.nodes[at]
    }

    /// Where a path leads.
    pub(super) fn find(&self, path: &str) -> Found<'_> {
        if let Some(exact) = self.exact.get(path) {
            return Found::Route(exact);
        }
        let Some(mut node) = self.nodes.first() else { return Found::None };
        let mut best = node.slash.as_ref().or(node.bare.as_ref());
        let (elements, slash) = split(path);
        let mut rest = elements;
        while let Some(elements) = rest {
            let element;
            (element, rest) = match elements.split_once('/') {
                Some((element, rest)) => (element, Some(rest)),
                None => (elements, None),
            };
            let Some(&child) = node.children.get(element) else { break };
            node = &self.nodes[child];
            let followed = rest.is_some() || slash;
            match (&node.slash, &node.bare) {
                (Some(route), _) if followed => best = Some(route),
                (_, Some(route)) => best = Some(route),
                // As NGINX, even though a shorter prefix matches.
                (Some(route), None) => return Found::AddSlash(route),
                (None, None) => {}
            }
        }
        best.map_or(Found::None, Found::Route)
    }
}

/// The elements of a path, `None` for the root, and whether a slash follows them.
fn split(path: &str) -> (Option<&str>, bool) {
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.is_empty() {
        return (None, false);
    }
    path.strip_suffix('/').map_or((Some(path), false), |elements| (Some(elements), true))
}
