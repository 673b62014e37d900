//! The entry: one frame, one outcome.

use ingress_common::{Reason, VipAddress, limits::tail};

use crate::{
    Outcome, Packet, World,
    connection::{Connection, destination},
    parse::{Link, Network, addresses},
    pick::{Decision, Sending, decide},
    tunnel::{self, Outer},
};

/// Decides about a frame as it came from the wire, and rewrites it if it goes to another node.
#[inline(always)]
pub fn steer<P: Packet, W: World>(packet: &mut P, world: &W) -> Outcome {
    try_steer(packet, world).unwrap_or_else(Outcome::Done)
}

/// As [`steer`], for a frame that it found to be ICMP for a virtual address.
#[inline(always)]
pub fn steer_icmp<P: Packet, W: World>(packet: &mut P, world: &W) -> Outcome {
    try_steer_icmp(packet, world).unwrap_or_else(Outcome::Done)
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
    let Some(address) = world.vip_address(&destination) else {
        return Err(if tunnel { Reason::ForeignTunnel } else { Reason::NotVip });
    };
    let decision = match Connection::read(packet, link.length, link.network, address, world) {
        Ok(connection) => decide(&connection, world)?,
        Err(reason) => return elsewhere(reason, tail::FRAGMENT, tail::ICMP),
    };
    carry_out(packet, world, &link, decision)
}

/// Fragments and ICMP are the business of other programs, in these slots.
#[inline(always)]
pub(crate) fn elsewhere(reason: Reason, fragment: u32, icmp: u32) -> Result<Outcome, Reason> {
    match reason {
        Reason::Fragment => Ok(Outcome::Tail { slot: fragment, otherwise: reason }),
        Reason::Icmp => Ok(Outcome::Tail { slot: icmp, otherwise: reason }),
        _ => Err(reason),
    }
}

#[inline(always)]
fn try_steer_icmp<P: Packet, W: World>(packet: &mut P, world: &W) -> Result<Outcome, Reason> {
    let (link, address) = virtual_destination(packet, world)?;
    let connection = Connection::read_error(packet, link.length, link.network, address, world)?;
    let decision = decide(&connection, world)?;
    carry_out(packet, world, &link, decision)
}

/// Asked again, so that nothing depends on who calls.
#[inline(always)]
pub(crate) fn virtual_destination<'w, P: Packet, W: World>(
    packet: &P,
    world: &'w W,
) -> Result<(Link, &'w VipAddress), Reason> {
    let link = Link::read(packet).ok_or(Reason::NotIp)?;
    let destination = destination(packet, link.length, link.network).ok_or(Reason::NotIp)?;
    let address = world.vip_address(&destination).ok_or(Reason::NotVip)?;
    Ok((link, address))
}

/// Does with a frame from the wire what was decided about it.
#[inline(always)]
pub(crate) fn carry_out<P: Packet, W: World>(
    packet: &mut P,
    world: &W,
    link: &Link,
    decision: Decision<'_>,
) -> Result<Outcome, Reason> {
    let Decision::Send(sending) = decision else {
        return Ok(Outcome::Done(Reason::Local));
    };
    let Sending { node, header, length, entropy, reason, unsent, answerable } = sending;
    match tunnel::enter(packet, world, link, length, node, &header, entropy) {
        Ok(()) => Ok(Outcome::Send { reason, interface: node.ifindex }),
        Err(Reason::TooLong) if answerable => {
            world.set_limit(tunnel::room(node));
            Ok(Outcome::Tail { slot: tail::TOO_BIG, otherwise: unsent })
        }
        Err(failure) => Err(if unsent == Reason::TooLong { failure } else { unsent }),
    }
}

/// The version of IP that a number of the tunnel header stands for.
#[inline(always)]
pub(crate) const fn inner_network(protocol: u8) -> Option<Network> {
    match protocol {
        ingress_common::TunnelHeader::INNER_V4 => Some(Network::V4),
        ingress_common::TunnelHeader::INNER_V6 => Some(Network::V6),
        _ => None,
    }
}
