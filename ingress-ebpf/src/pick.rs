//! Who of a list of candidates is asked next.

use ingress_common::{Hops, Node, NodeId, node::NODE_USABLE, table::Row};

use crate::World;

/// A walk along a list of candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Who is left to ask.
    pub rest: Hops,
    /// How many candidates of the list were passed.
    pub passed: u8,
    /// One of those could not be reached.
    pub skipped: bool,
}

/// Where a walk stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop<'w> {
    /// At this node, which has to say whether it takes the packet.
    Own,
    /// At another node, which is asked.
    Other(&'w Node),
    /// Nobody is left to ask.
    Nobody,
}

impl Walk {
    /// The walk along `candidates`, at its beginning.
    #[inline(always)]
    pub const fn new(candidates: Hops) -> Self {
        Self { rest: candidates, passed: 0, skipped: false }
    }

    /// Walks on to another node that can be reached, or to the node `own` unless that was `asked`.
    /// The one where the walk stops counts as passed.
    #[inline(always)]
    pub fn next<'w, W: World>(&mut self, own: NodeId, asked: bool, world: &'w W) -> Stop<'w> {
        for _ in 0..Row::WIDTH {
            let id = self.rest.first();
            if id == NodeId::NONE {
                break;
            }
            self.rest = self.rest.rest();
            self.passed += 1;
            if id == own {
                if asked {
                    continue;
                }
                return Stop::Own;
            }
            match world.node(id) {
                Some(node) if node.flags & NODE_USABLE != 0 => return Stop::Other(node),
                _ => self.skipped = true,
            }
        }
        Stop::Nobody
    }
}
