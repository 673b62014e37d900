//! Out of the tunnel: take the packet, or hand it on to the next candidate.

use ingress_common::{Reason, TunnelHeader, VipAddress, limits::tail};

use super::{
    Outer, enter,
    link::{self, Tags},
    probe,
};
use crate::{
    Outcome, Packet, World,
    connection::{Connection, destination},
    parse::{Link, Network, addresses},
    pick::{Sending, Stop, Walk},
    steer::inner_network,
};

/// Decides about a frame that [`steer`](crate::steer) found to come from a peer's tunnel.
#[inline(always)]
pub fn receive<P: Packet, W: World>(packet: &mut P, world: &W) -> Outcome {
    try_receive(packet, world).unwrap_or_else(Outcome::Done)
}

/// As [`receive`], for a frame with ICMP in the tunnel.
#[inline(always)]
pub fn receive_icmp<P: Packet, W: World>(packet: &mut P, world: &W) -> Outcome {
    try_receive_icmp(packet, world).unwrap_or_else(Outcome::Done)
}

/// A packet in the tunnel, as far as all of them are alike.
pub(crate) struct Arrival<'w> {
    pub(crate) link: Link,
    pub(crate) outer: Outer,
    /// The version of the client's packet.
    pub(crate) network: Network,
    /// Where the client's packet begins.
    pub(crate) inner: usize,
    /// What it is for.
    pub(crate) address: &'w VipAddress,
}

impl<'w> Arrival<'w> {
    #[inline(always)]
    pub(crate) fn read<P: Packet, W: World>(packet: &P, world: &'w W) -> Result<Self, Reason> {
        let link = Link::read(packet).ok_or(Reason::NotIp)?;
        let (source, to) = addresses(packet, link.length, link.network).ok_or(Reason::NotIp)?;
        // Asked again, so that nothing depends on who calls: this is what keeps strangers from
        // injecting packets.
        let from_peer = Outer::looks_like(packet, &link, world.config().tunnel_port)
            && world.peer(&source).is_some_and(|peer| peer.local == to);
        if !from_peer {
            return Err(Reason::ForeignTunnel);
        }
        let outer = Outer::read(packet, &link)?;
        let network = inner_network(outer.header.inner_protocol).ok_or(Reason::BadTunnel)?;
        let inner = link.length + outer.length;
        let to = destination(packet, inner, network).ok_or(Reason::BadTunnel)?;
        let address = world.vip_address(&to).ok_or(Reason::TunnelNotVip)?;
        Ok(Self { link, outer, network, inner, address })
    }
}

#[inline(always)]
fn try_receive<P: Packet, W: World>(packet: &mut P, world: &W) -> Result<Outcome, Reason> {
    let arrival = Arrival::read(packet, world)?;
    let read = Connection::read(packet, arrival.inner, arrival.network, arrival.address, world);
    let next = match read {
        Ok(connection) => hand_on(&connection, &arrival, world)?,
        Err(Reason::Fragment) => return tail_call(tail::DECAP_FRAGMENT),
        Err(Reason::Icmp) => return tail_call(tail::DECAP_ICMP),
        Err(reason) => return Err(not_a_client(reason)),
    };
    carry_out(packet, world, &arrival, next)
}

#[inline(always)]
fn try_receive_icmp<P: Packet, W: World>(packet: &mut P, world: &W) -> Result<Outcome, Reason> {
    let arrival = Arrival::read(packet, world)?;
    let (inner, network) = (arrival.inner, arrival.network);
    let connection = Connection::read_error(packet, inner, network, arrival.address, world)
        .map_err(not_a_client)?;
    let next = hand_on(&connection, &arrival, world)?;
    carry_out(packet, world, &arrival, next)
}

/// Peers send no such packet to a node that has not all programs.
#[inline(always)]
fn tail_call(slot: u32) -> Result<Outcome, Reason> {
    Ok(Outcome::Tail { slot, otherwise: Reason::BadTunnel })
}

/// What comes out of the tunnel next.
pub(crate) enum Next<'w> {
    /// The packet is for this node's stack, for this reason.
    Leave(Reason),
    /// Another node is asked.
    On(Sending<'w>),
    /// A peer's agent is told whether this node would take the packet.
    Answer(bool),
}

/// Asks this node, and then the candidates that the header names.
#[inline(always)]
pub(crate) fn hand_on<'w, W: World>(
    connection: &Connection<'_>,
    arrival: &Arrival<'w>,
    world: &'w W,
) -> Result<Next<'w>, Reason> {
    let received = &arrival.outer.header;
    let rest = received.rest().ok_or(Reason::BadTunnel)?;
    let sent_skipped = received.flags & TunnelHeader::SKIPPED != 0;
    let probe = received.flags & TunnelHeader::SYN_PROBE != 0;
    let mine = connection.is_mine(probe, world);
    if received.flags & TunnelHeader::PROBE != 0 {
        return Ok(Next::Answer(mine));
    }
    if mine {
        return Ok(Next::Leave(Reason::Decapsulated));
    }
    let mut walk = Walk::new(rest);
    let Stop::Other(node) = walk.next(world.config().node, true, world) else {
        if (walk.skipped || sent_skipped) && connection.is_ongoing() {
            return Err(Reason::OwnerUnreachable);
        }
        return Ok(Next::Leave(Reason::DecapsulatedLast));
    };

    let Walk { rest, passed, skipped, .. } = walk;
    let flags = if skipped || sent_skipped { TunnelHeader::SKIPPED } else { 0 };
    let header = TunnelHeader {
        generation: received.generation,
        ..TunnelHeader::new(rest, received.tried + passed, flags, received.inner_protocol, 0)
    };
    Ok(Next::On(Sending {
        node,
        header,
        length: connection.ip.length,
        entropy: arrival.outer.entropy,
        reason: Reason::Relayed,
        // The local stack knows nothing of tunnel packets, so that there is nobody to pass to.
        unsent: Reason::RelayFailed,
        answerable: false,
    }))
}

/// Does with a frame out of the tunnel what was decided about it.
#[inline(always)]
pub(crate) fn carry_out<P: Packet, W: World>(
    packet: &mut P,
    world: &W,
    arrival: &Arrival<'_>,
    next: Next<'_>,
) -> Result<Outcome, Reason> {
    let Arrival { link, outer, network, .. } = arrival;
    let sending = match next {
        Next::Leave(reason) => return leave(packet, link, outer, *network, reason),
        Next::On(sending) => sending,
        Next::Answer(takes) => return probe::answer(packet, world, link, outer, takes),
    };
    let Sending { node, header, length, entropy, reason, .. } = sending;
    enter::replace(packet, world, link, outer.length, length, node, &header, entropy)
        .map_err(|_unsent| Reason::RelayFailed)?;
    Ok(Outcome::Send { reason, interface: node.ifindex })
}

/// What a peer sent is not what peers send.
#[inline(always)]
pub(crate) fn not_a_client(reason: Reason) -> Reason {
    match reason {
        Reason::OtherPort | Reason::OtherProtocol | Reason::Icmp => Reason::TunnelNotVip,
        Reason::FragmentUnknown | Reason::FragmentShort => reason,
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
