//! Fragments for a virtual address.
//!
//! Only the first fragment of a packet says which flow it belongs to, and a router that spreads
//! flows by their ports may send the others to another node. So all of them first go to one node,
//! their *home*, chosen by what they share (Eisenbud et al., "Maglev", NSDI 2016, section 4.3).
//! There, and at every node on the way after it, the first leaves the flow's ports for those that
//! follow, and each of them then goes where the packet would have gone. Nothing can be kept until
//! the first one comes: what is before it is dropped.

use ingress_common::{
    Address, Flow, Fragmented, HashKey, Hops, NodeId, Port, Reason, TunnelHeader, VipAddress,
    VipKey, flow::hash_words, table::row_index,
};

use crate::{
    Outcome, Packet, World,
    connection::{Connection, service},
    parse::{Ip, Network, Piece, Segment, TCP, Transport, addresses},
    pick::{self, Decision, Sending, Stop, Walk, decide},
    steer::{self, virtual_destination},
    tunnel::{
        self,
        receive::{Arrival, Next, hand_on},
    },
};

/// As [`steer`](crate::steer()), for a frame that it found to be a fragment.
#[inline(always)]
pub fn steer_fragment<P: Packet, W: World>(packet: &mut P, world: &W) -> Outcome {
    try_steer(packet, world).unwrap_or_else(Outcome::Done)
}

/// As [`receive`](crate::receive), for a frame with a fragment in the tunnel.
#[inline(always)]
pub fn receive_fragment<P: Packet, W: World>(packet: &mut P, world: &W) -> Outcome {
    try_receive(packet, world).unwrap_or_else(Outcome::Done)
}

#[inline(always)]
fn try_steer<P: Packet, W: World>(packet: &mut P, world: &W) -> Result<Outcome, Reason> {
    let (link, address) = virtual_destination(packet, world)?;
    let fragment = Fragment::read(packet, link.length, link.network, address, world)?;
    let connection = fragment.connection(packet, link.length, address, world);
    // Of a service that is not steered, all fragments that come by this node stay at it.
    if matches!(connection, Err(Reason::OtherPort | Reason::OtherProtocol)) {
        return connection.map(|_| Outcome::Done(Reason::OtherPort));
    }
    let decision = match fragment.home(world)? {
        Some(sending) => Decision::Send(sending),
        None => decide(&connection?, world)?,
    };
    steer::carry_out(packet, world, &link, decision)
}

#[inline(always)]
fn try_receive<P: Packet, W: World>(packet: &mut P, world: &W) -> Result<Outcome, Reason> {
    let arrival = Arrival::read(packet, world)?;
    let (inner, network) = (arrival.inner, arrival.network);
    let fragment = Fragment::read(packet, inner, network, arrival.address, world)
        .map_err(tunnel::receive::not_a_client)?;
    let connection = fragment
        .connection(packet, inner, arrival.address, world)
        .map_err(tunnel::receive::not_a_client)?;
    let at_home = arrival.outer.header.flags & TunnelHeader::FRAGMENT_HOME != 0;
    let next = if at_home {
        match decide(&connection, world) {
            Ok(Decision::Own) => Next::Leave(Reason::Decapsulated),
            Ok(Decision::Send(sending)) => {
                Next::On(Sending { entropy: arrival.outer.entropy, ..sending })
            }
            Err(reason @ Reason::OwnerUnreachable) => return Err(reason),
            // There is nobody to hand a tunnel packet to but the stack, without its tunnel.
            Err(_) => Next::Leave(Reason::DecapsulatedLast),
        }
    } else {
        hand_on(&connection, &arrival, world)?
    };
    tunnel::receive::carry_out(packet, world, &arrival, next)
}

/// A fragment for a virtual address.
struct Fragment {
    ip: Ip,
    first: bool,
    source: Address,
    destination: Address,
    /// The replica group of its address.
    group: u16,
    /// The hash of what all fragments of one packet share.
    hash: u64,
}

impl Fragment {
    #[inline(always)]
    fn read<P: Packet, W: World>(
        packet: &P,
        offset: usize,
        network: Network,
        address: &VipAddress,
        world: &W,
    ) -> Result<Self, Reason> {
        let (ip, piece) = Ip::read_piece(packet, offset, network)?;
        let Some(Piece { identification, first }) = piece else {
            return Err(Reason::Malformed);
        };
        let (source, destination) = addresses(packet, offset, network).ok_or(Reason::Malformed)?;
        let group = address.group;
        let key = pick::group(group, world)?.key;
        // RFC 8200 section 4.5: over IPv6 the protocol does not count.
        let protocol = if network == Network::V4 { ip.protocol() } else { 0 };
        let hash = hash(key, source, destination, identification, protocol);
        Ok(Self { ip, first, source, destination, group, hash })
    }

    /// The flow that it belongs to.
    #[inline(always)]
    fn connection<'p, P: Packet, W: World>(
        &self,
        packet: &'p P,
        offset: usize,
        address: &VipAddress,
        world: &W,
    ) -> Result<Connection<'p>, Reason> {
        let (ports, segment, protocol) = if self.first {
            let transport = match Transport::read_first(packet, offset, &self.ip) {
                Err(Reason::Malformed) => return Err(Reason::FragmentShort),
                // One that is not ours to judge, like those of its packet that follow.
                Err(_) => return self.foreign(world),
                Ok(transport) => transport,
            };
            ((transport.source, transport.destination), transport.segment, self.ip.protocol())
        } else {
            let Fragmented { source, destination, protocol, flags, .. } =
                world.fragmented(self.hash).ok_or(Reason::FragmentUnknown)?;
            if flags & Fragmented::FOREIGN != 0 {
                return Err(Reason::OtherPort);
            }
            let segment = match (protocol, flags & Fragmented::OPENING != 0) {
                (TCP, true) => Segment::Opening,
                (TCP, false) => Segment::Related,
                _ => Segment::Datagram,
            };
            ((source, destination), segment, protocol)
        };
        let service_key = VipKey::new(self.destination, ports.1, protocol);
        let Some(vip) = service(&service_key, address, world) else {
            return self.foreign(world);
        };
        if self.first {
            let opening = matches!(segment, Segment::Opening);
            let flags = if opening { Fragmented::OPENING } else { 0 };
            let fragmented = Fragmented::new(ports.0, ports.1, protocol, flags);
            world.remember_fragmented(self.hash, fragmented);
        }
        let flow = Flow::new((self.source, ports.0), (self.destination, ports.1), protocol);
        Ok(Connection { ip: self.ip, flow, segment, vip })
    }

    #[inline(always)]
    fn foreign<T, W: World>(&self, world: &W) -> Result<T, Reason> {
        if self.first {
            let fragmented = Fragmented::new(Port::ANY, Port::ANY, 0, Fragmented::FOREIGN);
            world.remember_fragmented(self.hash, fragmented);
        }
        Err(Reason::OtherPort)
    }

    /// The way to the home of all its packet's fragments; `None` if that is here.
    #[inline(always)]
    fn home<'w, W: World>(&self, world: &'w W) -> Result<Option<Sending<'w>>, Reason> {
        let generation = pick::group(self.group, world)?.generation;
        let index = row_index(self.group, generation, self.hash);
        let row = world.row(index).ok_or(Reason::NoTable)?;
        let mut walk = Walk::new(Hops::of_row(&row));
        if walk.rest.first() == NodeId::NONE {
            return Err(Reason::EmptyRow);
        }
        let Stop::Other(node) = walk.next(world.config().node, false, world) else {
            return Ok(None);
        };
        let header = TunnelHeader::new(
            walk.rest.none(),
            walk.passed,
            TunnelHeader::FRAGMENT_HOME,
            pick::inner_protocol(self.ip.network),
            generation as u16,
        );
        Ok(Some(Sending {
            node,
            header,
            length: self.ip.length,
            entropy: (self.hash >> 48) as u16,
            reason: Reason::FragmentHome,
            unsent: Reason::RelayFailed,
            answerable: false,
        }))
    }
}

#[inline(always)]
fn hash(
    key: HashKey,
    source: Address,
    destination: Address,
    identification: u32,
    protocol: u8,
) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (source.words(), destination.words());
    let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let last = pair(identification, u32::from(protocol));
    hash_words(key, [pair(a, b), pair(c, d), pair(e, f), pair(g, h), last])
}
