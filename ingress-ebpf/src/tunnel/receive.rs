//! Out of the tunnel: take the packet, or hand it on to the next candidate.

use ingress_common::{Reason, TunnelHeader};

use super::{
    Outer, enter,
    link::{self, Tags},
    probe,
};
use crate::{
    Outcome, Packet, World,
    connection::Connection,
    parse::{Link, Network, addresses},
    pick::{Stop, Walk},
};

/// Decides about a frame that [`steer`](crate::steer) found to come from a peer's tunnel.
#[inline(always)]
pub fn receive<P: Packet, W: World>(packet: &mut P, world: &W) -> Outcome {
    match try_receive(packet, world) {
        Ok(outcome) => outcome,
        Err(reason) => Outcome::Done(reason),
    }
}

#[inline(always)]
fn try_receive<P: Packet, W: World>(packet: &mut P, world: &W) -> Result<Outcome, Reason> {
    let config = world.config();
    let link = Link::read(packet).ok_or(Reason::NotIp)?;
    let (source, destination) =
        addresses(packet, link.length, link.network).ok_or(Reason::NotIp)?;
    // Asked again, so that nothing depends on who calls: this is what keeps strangers from
    // injecting packets.
    let from_peer = Outer::looks_like(packet, &link, config.tunnel_port)
        && world.peer(&source).is_some_and(|peer| peer.local == destination);
    if !from_peer {
        return Err(Reason::ForeignTunnel);
    }

    let outer = Outer::read(packet, &link)?;
    let network = match outer.header.inner_protocol {
        TunnelHeader::INNER_V4 => Network::V4,
        TunnelHeader::INNER_V6 => Network::V6,
        _ => return Err(Reason::BadTunnel),
    };
    let rest = outer.header.rest().ok_or(Reason::BadTunnel)?;
    let inner = link.length + outer.length;
    let connection = Connection::read(packet, inner, network, world).map_err(not_a_client)?;

    let sent_skipped = outer.header.flags & TunnelHeader::SKIPPED != 0;
    let mine = connection.is_mine(world);
    if outer.header.flags & TunnelHeader::PROBE != 0 {
        return probe::answer(packet, world, &link, &outer, mine);
    }
    if mine {
        return leave(packet, &link, &outer, network, Reason::Decapsulated);
    }
    let mut walk = Walk::new(rest);
    let Stop::Other(node) = walk.next(config.node, true, world) else {
        if (walk.skipped || sent_skipped) && connection.is_ongoing() {
            return Err(Reason::OwnerUnreachable);
        }
        return leave(packet, &link, &outer, network, Reason::DecapsulatedLast);
    };

    let Walk { rest, passed, skipped } = walk;
    let flags = if skipped || sent_skipped { TunnelHeader::SKIPPED } else { 0 };
    let tried = outer.header.tried + passed;
    let header = TunnelHeader {
        generation: outer.header.generation,
        ..TunnelHeader::new(rest, tried, flags, outer.header.inner_protocol, 0)
    };
    let length = connection.ip.length;
    enter::replace(packet, world, &link, outer.length, length, node, &header, outer.entropy)
        // The local stack knows nothing of tunnel packets, so that there is nobody to pass to.
        .map_err(|_unsent| Reason::RelayFailed)?;
    Ok(Outcome::Send { reason: Reason::Relayed, interface: node.ifindex })
}

/// What a peer sent is not what peers send.
#[inline(always)]
fn not_a_client(reason: Reason) -> Reason {
    match reason {
        Reason::OtherPort | Reason::OtherProtocol => Reason::TunnelNotVip,
        _ => Reason::BadTunnel,
    }
}

/// Removes the outer headers; the link-layer header, tags included, moves to the client's packet.
#[inline(always)]
fn leave<P: Packet>(
    packet: &mut P,
    link: &Link,
    outer: &Outer,
    network: Network,
    reason: Reason,
) -> Result<Outcome, Reason> {
    let tags = Tags::read(packet, link).ok_or(Reason::RewriteFailed)?;
    let (destination, source) = link::addresses(packet).ok_or(Reason::RewriteFailed)?;
    if !packet.move_front(outer.length as i32) {
        return Err(Reason::RewriteFailed);
    }
    tags.write(packet, destination, source, Link::protocol(network))
        .ok_or(Reason::RewriteFailed)?;
    Ok(Outcome::Done(reason))
}
