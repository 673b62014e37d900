//! Who of a list of candidates is asked next.

use ingress_common::{Hops, Node, NodeId, node::NODE_USABLE, table::Row};

use crate::World;

/// The outcome of a walk along a list of candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice<'w> {
    /// This node takes the packet.
    Mine,
    /// Another node is asked.
    Other {
        /// Where it is.
        node: &'w Node,
        /// Who is asked after it.
        rest: Hops,
        /// How many candidates of the list were passed before it.
        passed: u8,
        /// One of those could not be reached.
        skipped: bool,
    },
    /// Nobody is left to ask.
    Nobody {
        /// A candidate could not be reached.
        skipped: bool,
    },
}

/// Walks along `candidates`: the first that is this node and says `is_mine`, or is another node
/// that can be reached, ends the walk.
#[inline(always)]
pub fn pick<'w, W: World>(
    candidates: Hops,
    own: NodeId,
    world: &'w W,
    is_mine: impl Fn() -> bool,
) -> Choice<'w> {
    let mut rest = candidates;
    let mut skipped = false;
    for passed in 0..Row::WIDTH as u8 {
        let id = rest.first();
        if id == NodeId::NONE {
            break;
        }
        rest = rest.rest();
        if id == own {
            if is_mine() {
                return Choice::Mine;
            }
            continue;
        }
        match world.node(id) {
            Some(node) if node.flags & NODE_USABLE != 0 => {
                return Choice::Other { node, rest, passed, skipped };
            }
            _ => skipped = true,
        }
    }
    Choice::Nobody { skipped }
}
