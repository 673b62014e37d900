//! What anybody can see of a frame, by a reading that shares nothing with the code under test.

use ingress_common::Address;

use crate::world::World;

/// The IP packet of a frame.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    /// Where its header begins.
    pub(crate) start: usize,
    /// Version 6.
    pub(crate) v6: bool,
    pub(crate) source: Address,
    pub(crate) destination: Address,
}

/// The tunnel's headers in a packet that has them.
#[derive(Clone, Debug)]
pub(crate) struct Tunnel {
    /// Where the client's packet begins.
    pub(crate) inner: usize,
    pub(crate) tried: u8,
    pub(crate) flags: u8,
    pub(crate) inner_protocol: u8,
    pub(crate) source_port: u16,
    pub(crate) generation: [u8; 2],
    /// The nodes that the header names, as far as it says it does.
    pub(crate) hops: Vec<u16>,
}

fn number(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?))
}

/// The packet of a frame that has whole addresses; `None` for all others.
pub(crate) fn packet(frame: &[u8]) -> Option<Sight> {
    let mut at = 12;
    let mut tags = 0;
    let protocol = loop {
        match number(frame, at)? {
            // The service tag is the outer one only.
            0x88a8 if tags == 0 => {}
            0x8100 if tags < 2 => {}
            other => break other,
        }
        tags += 1;
        at += 4;
    };
    let start = at + 2;
    let (v6, addresses, size) = match protocol {
        0x0800 => (false, start + 12, 4),
        0x86dd => (true, start + 8, 16),
        _ => return None,
    };
    let address = |at: usize| {
        let bytes = frame.get(at..at + size)?;
        Some(match <[u8; 4]>::try_from(bytes) {
            Ok(v4) => Address::v4(v4),
            Err(_) => Address::v6(bytes.try_into().ok()?),
        })
    };
    let (source, destination) = (address(addresses)?, address(addresses + size)?);
    Some(Sight { start, v6, source, destination })
}

impl Sight {
    /// Is it UDP to the tunnel's port, from a peer to where its tunnel leads?
    pub(crate) fn is_of_a_peer(&self, frame: &[u8], world: &World) -> bool {
        let peer = world.peers.iter().find(|(address, _)| *address == self.source);
        peer.is_some_and(|(_, peer)| peer.local == self.destination)
            && self.is_to_the_tunnel(frame, world)
    }

    fn is_to_the_tunnel(&self, frame: &[u8], world: &World) -> bool {
        let (protocol, header) = if self.v6 { (6, 40) } else { (9, 20) };
        let plain = self.v6
            || frame[self.start] == 0x45
                && number(frame, self.start + 6).is_some_and(|field| field & 0x3fff == 0);
        plain
            && frame[self.start + protocol] == 17
            && number(frame, self.start + header + 2) == Some(world.config.tunnel_port.number())
    }

    /// The flags of a TCP segment that has neither options nor extension headers before it.
    pub(crate) fn tcp_flags(&self, frame: &[u8]) -> Option<u8> {
        let (protocol, header) = if self.v6 { (6, 40) } else { (9, 20) };
        // What is in another fragment than the first is no header.
        let whole = self.v6 || number(frame, self.start + 6)? & 0x1fff == 0;
        let plain =
            whole && (self.v6 || frame[self.start] == 0x45) && frame[self.start + protocol] == 6;
        if plain { frame.get(self.start + header + 13).copied() } else { None }
    }

    /// How long the packet says that it is.
    pub(crate) fn length(&self, frame: &[u8]) -> usize {
        let (at, fixed) = if self.v6 { (4, 40) } else { (2, 0) };
        fixed + usize::from(number(frame, self.start + at).expect("the addresses lie behind"))
    }

    /// The tunnel's headers of a packet that is one of the tunnel's.
    pub(crate) fn tunnel(&self, frame: &[u8]) -> Option<Tunnel> {
        let udp = self.start + if self.v6 { 40 } else { 20 };
        let header = frame.get(udp + 8..udp + 20)?;
        let hops = usize::from(header[0] & 15).min(3);
        Some(Tunnel {
            inner: udp + 20,
            tried: header[1],
            flags: header[2],
            inner_protocol: header[3],
            source_port: number(frame, udp)?,
            generation: [header[4], header[5]],
            hops: (0..hops).filter_map(|hop| number(header, 6 + 2 * hop)).collect(),
        })
    }
}
