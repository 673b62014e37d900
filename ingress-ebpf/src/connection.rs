//! A packet's headers → the virtual service that it is for and the flow that it belongs to.

use ingress_common::{Flow, HashKey, Port, Reason, VipKey, VipValue, vip::VIP_AFFINITY_SOURCE};

use crate::{
    Packet, World,
    parse::{Ip, Network, Segment, Transport, addresses},
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
    /// Reads the packet that begins at `offset`.
    ///
    /// # Errors
    /// The reason why it cannot be steered.
    #[inline(always)]
    pub fn read<P: Packet, W: World>(
        packet: &'p P,
        offset: usize,
        network: Network,
        world: &W,
    ) -> Result<Self, Reason> {
        let ip = Ip::read(packet, offset, network)?;
        let transport = Transport::read(packet, offset, &ip)?;
        let (source, destination) = addresses(packet, offset, network).ok_or(Reason::Malformed)?;
        let mut key = VipKey::new(destination, transport.destination, ip.protocol);
        let vip = match world.vip(&key) {
            Some(vip) => vip,
            None => {
                key.port = Port::ANY;
                world.vip(&key).ok_or(Reason::OtherPort)?
            }
        };
        let flow = Flow::new(
            (source, transport.source),
            (destination, transport.destination),
            ip.protocol,
        );
        Ok(Self { ip, flow, segment: transport.segment, vip })
    }

    /// The hash that chooses the row: over all of the flow, or only the client's address if the
    /// service wants one client to meet one node.
    #[inline(always)]
    pub fn hash(&self, key: HashKey) -> u64 {
        let by_source = self.vip.flags & VIP_AFFINITY_SOURCE != 0;
        self.flow.hash(key, by_source)
    }

    /// This node is the one for the packet: it has the connection, or may begin it.
    #[inline(always)]
    pub fn is_mine<W: World>(&self, world: &W) -> bool {
        match self.segment {
            // A SYN for a connection that is known already is a repetition, or reuses a port that
            // is in TIME-WAIT: either way this node's.
            Segment::Opening(header) => match world.socket(&self.flow, header) {
                Socket::Known => true,
                Socket::Listening => !world.is_draining(),
                Socket::Unknown => false,
            },
            Segment::Ongoing(header) => world.socket(&self.flow, header) == Socket::Known,
            Segment::Datagram => true,
        }
    }

    /// An answer from a node that does not have the connection would end it.
    #[inline(always)]
    pub const fn is_ongoing(&self) -> bool {
        matches!(self.segment, Segment::Ongoing(_))
    }
}
