//! Who of a list of candidates is asked next, and what becomes of a packet.

use ingress_common::{
    Group, Hops, Node, NodeId, Reason, TunnelHeader,
    node::NODE_USABLE,
    table::{Row, row_index},
};

use crate::{
    World,
    connection::Connection,
    parse::{Network, Segment},
};

/// A walk along a list of candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Who is left to ask.
    pub rest: Hops,
    /// Where the walk stopped last.
    pub at: NodeId,
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
        Self { rest: candidates, at: NodeId::NONE, passed: 0, skipped: false }
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
            self.at = id;
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

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'w> {
    /// It is this node's.
    Own,
    /// Another node is asked.
    Send(Sending<'w>),
}

/// A packet that goes to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending<'w> {
    /// The node.
    pub node: &'w Node,
    /// What is said to it.
    pub header: TunnelHeader,
    /// Length of the client's packet in bytes.
    pub length: usize,
    /// What spreads tunnel packets over paths and queues.
    pub entropy: u16,
    /// Why it is sent.
    pub reason: Reason,
    /// What it is counted as if it cannot be sent; [`Reason::TooLong`] stands for the failure's own
    /// reason.
    pub unsent: Reason,
    /// Its sender may be told that it is too long, if it is.
    pub answerable: bool,
}

/// The group, if a table was published for it.
#[inline(always)]
pub(crate) fn group<W: World>(number: u16, world: &W) -> Result<&Group, Reason> {
    world.group(number).filter(|group| group.ready != 0).ok_or(Reason::NoTable)
}

/// Chooses by the table of this node.
///
/// # Errors
/// The reason for which the packet goes nowhere.
#[inline(always)]
pub fn decide<'w, W: World>(
    connection: &Connection<'_>,
    world: &'w W,
) -> Result<Decision<'w>, Reason> {
    let own = world.config().node;
    let number = connection.vip.group;
    let group = group(number, world)?;
    // Read once: a packet sees one table or the other, never some of each.
    let generation = group.generation;
    let hash = connection.hash(group.key);
    let row = world.row(row_index(number, generation, hash)).ok_or(Reason::NoTable)?;
    let mut candidates = Hops::of_row(&row);
    if candidates.is_empty() {
        return Err(Reason::EmptyRow);
    }

    let mut probe = false;
    let mut remembered = NodeId::NONE;
    let datagram = match connection.segment {
        Segment::Opening => {
            let until = group.transition_until;
            if until != 0 && world.now() < until {
                let idle = world.row(row_index(number, generation ^ 1, hash));
                let before = idle.map_or(NodeId::NONE, |row| Hops::of_row(&row).first());
                if before != NodeId::NONE && before != candidates.first() {
                    candidates = candidates.prepend(before);
                    probe = true;
                }
            }
            false
        }
        Segment::Ongoing(_) | Segment::Related => false,
        Segment::Datagram | Segment::DatagramError => {
            // A row of one node leaves nothing to remember.
            if !candidates.rest().is_empty() {
                // As long as it is in the row: a node that is dead leaves it, and takes nothing.
                let node = world.flow(key_of(hash, number)).filter(|n| candidates.contains(*n));
                remembered = node.unwrap_or(NodeId::NONE);
                if remembered != NodeId::NONE {
                    candidates = candidates.prepend(remembered);
                }
            } else {
                remembered = candidates.first();
            }
            true
        }
    };

    let mut walk = Walk::new(candidates);
    let mut stop = walk.next(own, false, world);
    // Only the head of the row before is asked so.
    probe &= walk.passed == 1;
    let ongoing = connection.is_ongoing();
    let ask = match stop {
        // A flow that begins is not for a node that drains; one that is remembered here stays.
        Stop::Own => !(datagram && walk.at != remembered && world.is_draining()),
        Stop::Other(_) => false,
        // Its SYN may have come when nobody could be reached either, and was taken here.
        Stop::Nobody => walk.skipped && ongoing,
    };
    // One question in one place: the verifier would follow another on its own.
    let mine = ask && connection.is_mine(probe, world);
    if !mine && stop == Stop::Own {
        probe = false;
        stop = walk.next(own, true, world);
    }
    // Who takes it, not who was asked: a flow that had to leave a hung agent's node is elsewhere.
    if matches!(connection.segment, Segment::Datagram)
        && stop != Stop::Nobody
        && walk.at != remembered
    {
        world.remember_flow(key_of(hash, number), walk.at);
    }
    if mine {
        return Ok(Decision::Own);
    }
    let Stop::Other(node) = stop else {
        return Err(match walk.skipped {
            false => Reason::LastResort,
            true if ongoing => Reason::OwnerUnreachable,
            true => Reason::NodeUnusable,
        });
    };

    let Walk { rest, passed, skipped, .. } = walk;
    // Without a socket table to ask there is no second chance.
    let rest = if datagram { rest.none() } else { rest };
    let mut flags = if skipped { TunnelHeader::SKIPPED } else { 0 };
    if probe {
        flags |= TunnelHeader::SYN_PROBE;
    }
    Ok(Decision::Send(Sending {
        node,
        header: TunnelHeader::new(
            rest,
            passed,
            flags,
            inner_protocol(connection.ip.network),
            generation as u16,
        ),
        length: connection.ip.length,
        entropy: (hash >> 48) as u16,
        reason: if passed == 1 { Reason::Forwarded } else { Reason::ForwardedNext },
        // The local stack would end a connection that is not its own.
        unsent: if ongoing { Reason::RelayFailed } else { Reason::TooLong },
        answerable: matches!(connection.segment, Segment::Ongoing(_) | Segment::Datagram),
    }))
}

/// Groups have flows of their own.
#[inline(always)]
const fn key_of(hash: u64, group: u16) -> u64 {
    hash ^ group as u64
}

/// The protocol number of a packet in the tunnel.
#[inline(always)]
pub(crate) const fn inner_protocol(network: Network) -> u8 {
    match network {
        Network::V4 => TunnelHeader::INNER_V4,
        Network::V6 => TunnelHeader::INNER_V6,
    }
}
