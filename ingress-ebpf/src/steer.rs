//! The entry: one frame, one outcome.

use ingress_common::{Hops, Reason, limits::tail, table::row_index, tunnel::TunnelHeader};

use crate::{
    Outcome, Packet, World,
    connection::Connection,
    parse::{Link, Network, Segment, addresses},
    pick::{Stop, Walk},
    tunnel::{self, Outer},
};

/// Decides about a frame as it came from the wire, and rewrites it if it goes to another node.
#[inline(always)]
pub fn steer<P: Packet, W: World>(packet: &mut P, world: &W) -> Outcome {
    match try_steer(packet, world) {
        Ok(outcome) => outcome,
        Err(reason) => Outcome::Done(reason),
    }
}

#[inline(always)]
fn try_steer<P: Packet, W: World>(packet: &mut P, world: &W) -> Result<Outcome, Reason> {
    let link = Link::read(packet).ok_or(Reason::NotIp)?;
    let config = world.config();
    // Before the question for virtual addresses, because a node's own address may be one.
    let tunnel = Outer::looks_like(packet, &link, config.tunnel_port);
    let (source, destination) =
        addresses(packet, link.length, link.network).ok_or(Reason::NotIp)?;
    if tunnel && world.peer(&source).is_some_and(|peer| peer.local == destination) {
        return Ok(Outcome::Tail { slot: tail::DECAP, otherwise: Reason::NoDecap });
    }
    if world.vip_address(&destination).is_none() {
        return Err(if tunnel { Reason::ForeignTunnel } else { Reason::NotVip });
    }

    let connection = Connection::read(packet, link.length, link.network, world)?;
    let group = world.group(connection.vip.group).ok_or(Reason::NoTable)?;
    if group.ready == 0 {
        return Err(Reason::NoTable);
    }
    // Read once: a packet sees one table or the other, never some of each.
    let generation = group.generation;
    let hash = connection.hash(group.key);
    let row =
        world.row(row_index(connection.vip.group, generation, hash)).ok_or(Reason::NoTable)?;
    let candidates = Hops::of_row(&row);
    if candidates.is_empty() {
        return Err(Reason::EmptyRow);
    }

    let mut walk = Walk::new(candidates);
    let mut stop = walk.next(config.node, false, world);
    let ongoing = connection.is_ongoing();
    let ask = match stop {
        Stop::Own => true,
        Stop::Other(_) => false,
        // Its SYN may have come when nobody could be reached either, and was taken here.
        Stop::Nobody => walk.skipped && ongoing,
    };
    // One question in one place: the verifier would follow another on its own.
    if ask && connection.is_mine(world) {
        return Ok(Outcome::Done(Reason::Local));
    }
    if stop == Stop::Own {
        stop = walk.next(config.node, true, world);
    }
    let Stop::Other(node) = stop else {
        return Err(match walk.skipped {
            false => Reason::LastResort,
            true if ongoing => Reason::OwnerUnreachable,
            true => Reason::NodeUnusable,
        });
    };

    let Walk { rest, passed, skipped } = walk;
    let rest = match connection.segment {
        // Without a socket table to ask there is no second chance.
        Segment::Datagram => rest.none(),
        Segment::Opening(_) | Segment::Ongoing(_) => rest,
    };
    let flags = if skipped { TunnelHeader::SKIPPED } else { 0 };
    let inner = match link.network {
        Network::V4 => TunnelHeader::INNER_V4,
        Network::V6 => TunnelHeader::INNER_V6,
    };
    let header = TunnelHeader::new(rest, passed, flags, inner, generation as u16);
    let length = connection.ip.length;
    tunnel::enter(packet, world, &link, length, node, &header, (hash >> 48) as u16)
        // The local stack would end a connection that is not its own.
        .map_err(|reason| if ongoing { Reason::RelayFailed } else { reason })?;
    let reason = if passed == 1 { Reason::Forwarded } else { Reason::ForwardedNext };
    Ok(Outcome::Send { reason, interface: node.ifindex })
}
