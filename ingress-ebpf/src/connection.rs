//! A packet's headers → the virtual service that it is for and the flow that it belongs to.

use ingress_common::{
    Address, Flow, HashKey, Port, Reason, VipAddress, VipKey, VipValue, vip::VIP_AFFINITY_SOURCE,
};

use crate::{
    Packet, World,
    parse::{Ip, Network, Quoted, Segment, TCP, Transport, addresses},
    world::Socket,
};

/// A packet for a virtual service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection<'p> {
    /// Its IP header.
    pub ip: Ip,
    /// Its 5-tuple.
    pub flow: Flow,
    /// What it is.
    pub segment: Segment<'p>,
    /// The virtual service.
    pub vip: VipValue,
}

impl<'p> Connection<'p> {
    /// Reads the TCP segment or datagram that begins at `offset`.
    ///
    /// # Errors
    /// The reason why it cannot be steered; [`Reason::Fragment`] and [`Reason::Icmp`] are other
    /// readers' business.
    #[inline(always)]
    pub fn read<P: Packet, W: World>(
        packet: &'p P,
        offset: usize,
        network: Network,
        address: &VipAddress,
        world: &W,
    ) -> Result<Self, Reason> {
        let ip = Ip::read(packet, offset, network)?;
        let transport = Transport::read(packet, offset, &ip)?;
        let (source, destination) = addresses(packet, offset, network).ok_or(Reason::Malformed)?;
        let key = VipKey::new(destination, transport.destination, ip.protocol());
        let vip = service(&key, address, world).ok_or(Reason::OtherPort)?;
        if transport.segment == Segment::Opening {
            world.opening();
        }
        let flow = Flow::new(
            (source, transport.source),
            (destination, transport.destination),
            ip.protocol(),
        );
        Ok(Self { ip, flow, segment: transport.segment, vip })
    }

    /// Reads the ICMP error that begins at `offset`, about a packet that a virtual service sent:
    /// it belongs to the flow that it was sent for.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`Reason::Icmp`] if it is nothing of the kind.
    #[inline(always)]
    pub fn read_error<P: Packet, W: World>(
        packet: &'p P,
        offset: usize,
        network: Network,
        address: &VipAddress,
        world: &W,
    ) -> Result<Self, Reason> {
        let ip = Ip::read(packet, offset, network)?;
        let (_, destination) = addresses(packet, offset, network).ok_or(Reason::Malformed)?;
        let quoted = Quoted::read(packet, offset, &ip).ok_or(Reason::Icmp)?;
        // Who was told is who sent. Anything else is made up.
        if quoted.source.0 != destination {
            return Err(Reason::Icmp);
        }
        let key = VipKey::new(destination, quoted.source.1, quoted.protocol);
        let vip = service(&key, address, world).ok_or(Reason::Icmp)?;
        let flow = Flow::new(quoted.destination, quoted.source, quoted.protocol);
        let segment =
            if quoted.protocol == TCP { Segment::Related } else { Segment::DatagramError };
        Ok(Self { ip, flow, segment, vip })
    }

    /// The hash that chooses the row: over all of the flow, or only the client's address if the
    /// service wants one client to meet one node.
    #[inline(always)]
    pub fn hash(&self, key: HashKey) -> u64 {
        let by_source = self.vip.flags & VIP_AFFINITY_SOURCE != 0;
        self.flow.hash(key, by_source)
    }

    /// This node is the one for the packet: it has the connection, or may begin it. With `probe`
    /// it may not: a connection begins where it would by the table in force.
    #[inline(always)]
    pub fn is_mine<W: World>(&self, probe: bool, world: &W) -> bool {
        let (opening, header) = match self.segment {
            Segment::Opening => (true, None),
            Segment::Ongoing(header) => (false, Some(header)),
            Segment::Related => (false, None),
            // No socket table to ask: whether the agent lives is all there is to go by.
            Segment::Datagram | Segment::DatagramError => return !world.is_stale(),
        };
        match world.socket(&self.flow, header) {
            // A SYN for a connection that is known already is a repetition, or reuses a port that
            // is in TIME-WAIT: either way this node's.
            Socket::Known => true,
            Socket::Listening => opening && !probe && !world.is_draining() && !world.is_stale(),
            Socket::Unknown => false,
        }
    }

    /// An answer from a node that does not have the connection would end it.
    #[inline(always)]
    pub const fn is_ongoing(&self) -> bool {
        matches!(self.segment, Segment::Ongoing(_) | Segment::Related)
    }
}

/// The virtual service with this key, or the one for all ports of its address.
#[inline(always)]
pub(crate) fn service<W: World>(key: &VipKey, address: &VipAddress, world: &W) -> Option<VipValue> {
    let any = VipKey { port: Port::ANY, ..*key };
    let mut found = address.service(key.service());
    if found.is_none() {
        found = if address.more == 0 {
            address.service(any.service())
        } else {
            world.vip(key).or_else(|| world.vip(&any))
        };
    }
    let value = found?;
    world.serving(value);
    Some(value)
}

/// The virtual address that the packet at `offset` is for.
#[inline(always)]
pub(crate) fn destination<P: Packet>(
    packet: &P,
    offset: usize,
    network: Network,
) -> Option<Address> {
    addresses(packet, offset, network).map(|(_, destination)| destination)
}
