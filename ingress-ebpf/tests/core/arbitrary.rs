//! Bytes → a small world and a frame that has to do with it. The same bytes always make the same.

use ingress_common::{
    Address, Config, Fragmented, Group, HashKey, Mac, Node, NodeId, Peer, Port, Row, TunnelHeader,
    VipAddress, VipKey, VipValue, limits, node::NODE_USABLE, vip::VIP_AFFINITY_SOURCE,
};
use ingress_ebpf::Socket;

use crate::world::World;

const VIP: [u8; 4] = [192, 0, 2, 80];
const VIP6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80];
const TUNNEL_PORT: u16 = 6082;
const OWN: u16 = 1;
/// Nodes are numbered 1 to this; a row may name more.
const NODES: u16 = 5;

/// Reads numbers off the front of some bytes; zeros when there are none left.
pub(crate) struct Source<'b>(&'b [u8]);

impl<'b> Source<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Below `end`.
    fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    /// True once in so many times.
    fn once_in(&mut self, times: u8) -> bool {
        self.below(times) == times - 1
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }

    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).to_vec()
    }
}

/// A node's address and that of the node under test towards it.
fn addresses(id: u16, v6: bool) -> (Address, Address) {
    let id = id as u8;
    if v6 {
        let of = |last| {
            let mut octets = [0; 16];
            (octets[0], octets[15]) = (0xfd, last);
            Address::v6(&octets)
        };
        (of(id), of(OWN as u8))
    } else {
        (Address::v4([10, 0, 0, id]), Address::v4([10, 0, 0, OWN as u8]))
    }
}

pub(crate) fn world(from: &mut Source<'_>) -> World {
    let mut world = World {
        config: Config { node: NodeId(OWN), tunnel_port: Port::new(TUNNEL_PORT), flags: 0 },
        interface: 1,
        ..World::default()
    };
    for address in [Address::v4(VIP), Address::v6(&VIP6)] {
        let flags = if from.once_in(4) { VIP_AFFINITY_SOURCE } else { 0 };
        let group = if from.once_in(16) { from.word() } else { 0 };
        let value = VipValue { vip_id: 0, group, flags };
        let port = if from.once_in(4) { Port::ANY } else { Port::new(80) };
        world.vips.push((VipKey::new(address, port, 6), value));
        world.vips.push((VipKey::new(address, port, 17), value));
        // The service is with the address, or behind more than fit.
        let others = (1..=4 * u16::from(from.once_in(4)))
            .map(|port| (VipKey::new(address, Port::new(port), 6), value))
            .collect::<Vec<_>>();
        let services = world.vips.iter().filter(|(key, _)| key.address == address);
        let services = others.iter().chain(services).map(|(key, value)| (key, value));
        world.vip_addresses.push((address, VipAddress::new(services)));
        world.vips.extend(others.iter().copied());
    }
    let ready = u32::from(!from.once_in(16));
    let generation = u32::from(from.word());
    let key = HashKey([u64::from(from.word()), u64::from(from.word())]);
    let transition_until = if from.once_in(2) { 10 } else { 0 };
    world.now = u64::from(from.below(20));
    world.stale = from.once_in(4);
    world.flow = NodeId(u16::from(from.below(6)));
    world.answers = !from.once_in(4);
    world.fragmented = from.once_in(2).then(|| Fragmented {
        source: Port::new(from.word()),
        destination: Port::new(80),
        protocol: if from.once_in(2) { 17 } else { 6 },
        flags: if from.once_in(4) { from.below(4) } else { 0 },
        second: 0,
    });
    world.idle = Row { nodes: [0; Row::WIDTH].map(|_| NodeId(u16::from(from.below(8)))) };
    world
        .groups
        .resize(limits::GROUPS as usize, Group { generation, ready, key, transition_until });
    world.row = Row { nodes: [0; Row::WIDTH].map(|_| NodeId(u16::from(from.below(8)))) };
    for id in 0..=NODES {
        let (address, source) = addresses(id, from.once_in(2));
        world.nodes.push(Node {
            address,
            source: if from.once_in(8) { addresses(id, true).1 } else { source },
            next_hop: Mac::new([2, 0, 0, 1, 0, id as u8]),
            source_mac: Mac::new([2, 0, 0, 2, 0, id as u8]),
            ifindex: if from.once_in(4) { 2 } else { 1 },
            mtu: if from.once_in(4) { u16::from(from.byte()) } else { 1500 },
            flags: if from.once_in(4) { 0 } else { NODE_USABLE },
            slot: 0,
        });
        for v6 in [false, true] {
            let (address, local) = addresses(id, v6);
            world.peers.push((address, Peer { local, node: NodeId(id), reserved: [0; 2] }));
        }
    }
    world.socket = [Socket::Unknown, Socket::Listening, Socket::Known][usize::from(from.below(3))];
    world
}

/// A frame, and how many bytes the driver leaves before it.
pub(crate) fn frame(from: &mut Source<'_>) -> (Vec<u8>, usize) {
    let headroom = if from.once_in(8) { usize::from(from.below(64)) } else { 256 };
    if from.once_in(16) {
        return (from.rest(), headroom);
    }
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 10];
    for _ in 0..from.below(8).saturating_sub(4) {
        frame.extend(if from.once_in(2) { [0x88, 0xa8] } else { [0x81, 0x00] });
        frame.extend(from.bytes(2));
    }
    let tunnel = from.once_in(3);
    let (v6, damage, padding) = (from.once_in(2), from.below(8).saturating_sub(4), from.below(4));
    frame.extend(protocol(v6));
    frame.extend(if tunnel { tunnelled(from, v6) } else { client(from, v6) });
    frame.extend(vec![0xa5; usize::from(padding)]);
    for _ in 0..damage {
        let position = usize::from(from.word()) % frame.len();
        frame[position] = from.byte();
    }
    if from.once_in(8) {
        frame.truncate(usize::from(from.word()) % (frame.len() + 1));
    }
    (frame, headroom)
}

fn protocol(v6: bool) -> [u8; 2] {
    if v6 { [0x86, 0xdd] } else { [0x08, 0x00] }
}

/// An IP packet as a client sends it, mostly to a virtual address.
fn client(from: &mut Source<'_>, v6: bool) -> Vec<u8> {
    let stranger = from.once_in(8);
    let extensions = if from.once_in(4) { from.below(6) } else { 0 };
    let ports = (from.word(), if from.once_in(8) { from.word() } else { 80 });
    let (mut protocol, mut transport) = transport(from, ports);
    if from.once_in(6) {
        (protocol, transport) = error(from, v6, protocol, ports, &transport);
    }
    if v6 {
        let mut destination = VIP6;
        destination[15] ^= u8::from(stranger);
        let source = from.bytes(16);
        packet6(from, extensions, protocol, &source, &destination, &transport)
    } else {
        let mut destination = VIP;
        destination[3] ^= u8::from(stranger);
        let fragment = match from.below(16) {
            0 => from.word(),
            1 => 0x2000,
            _ => 0x4000,
        };
        let source = from.bytes(4);
        packet4(extensions, fragment, protocol, &source, &destination, &transport)
    }
}

fn transport(from: &mut Source<'_>, (source, destination): (u16, u16)) -> (u8, Vec<u8>) {
    let length = usize::from(from.byte());
    let data = from.bytes(length);
    let mut bytes = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    match from.below(8) {
        0 => {
            bytes.extend((8 + data.len() as u16).to_be_bytes());
            bytes.extend([0; 2]);
            (17, [bytes, data].concat())
        }
        1 => (from.byte(), data),
        _ => {
            bytes.extend([0; 8]);
            bytes.extend([0x50, from.byte(), 0, 0, 0, 0, 0, 0]);
            (6, [bytes, data].concat())
        }
    }
}

/// An ICMP error about a packet that the virtual service sent to a client.
fn error(
    from: &mut Source<'_>,
    v6: bool,
    protocol: u8,
    (client, service): (u16, u16),
    transport: &[u8],
) -> (u8, Vec<u8>) {
    let mut about = transport.to_vec();
    if let Some(ports) = about.first_chunk_mut::<4>() {
        *ports =
            [service.to_be_bytes(), client.to_be_bytes()].concat().try_into().unwrap_or([0; 4]);
    }
    let (stranger, extensions) = (from.once_in(8), if from.once_in(4) { from.below(4) } else { 0 });
    let mut quoted = if v6 {
        let mut source = VIP6;
        source[15] ^= u8::from(stranger);
        let destination = from.bytes(16);
        packet6(from, extensions, protocol, &source, &destination, &about)
    } else {
        let mut source = VIP;
        source[3] ^= u8::from(stranger);
        let destination = from.bytes(4);
        packet4(extensions, 0x4000, protocol, &source, &destination, &about)
    };
    let keep = if v6 { 48 } else { 28 } + usize::from(from.byte());
    quoted.truncate(keep);
    let kinds: &[u8] = if v6 { &[1, 2, 3, 4, 128] } else { &[3, 11, 12, 5, 8] };
    let mut icmp = vec![kinds[usize::from(from.below(5))], from.below(5), 0, 0, 0, 0, 0, 0];
    icmp.extend(quoted);
    (if v6 { 58 } else { 1 }, icmp)
}

fn packet4(
    option_words: u8,
    fragment: u16,
    protocol: u8,
    source: &[u8],
    destination: &[u8],
    transport: &[u8],
) -> Vec<u8> {
    let length = 20 + 4 * u16::from(option_words) + transport.len() as u16;
    let mut ip = vec![0x45 + option_words, 0];
    ip.extend(length.to_be_bytes());
    ip.extend([0, 1]);
    ip.extend(fragment.to_be_bytes());
    ip.extend([64, protocol, 0, 0]);
    ip.extend(source);
    ip.extend(destination);
    ip.extend(vec![1; 4 * usize::from(option_words)]);
    ip.extend(transport);
    ip
}

fn packet6(
    from: &mut Source<'_>,
    extensions: u8,
    protocol: u8,
    source: &[u8],
    destination: &[u8],
    transport: &[u8],
) -> Vec<u8> {
    let mut next = protocol;
    let mut behind = transport.to_vec();
    for _ in 0..extensions {
        let number = [0, 43, 44, 51, 60][usize::from(from.below(5))];
        let (units, field) = match number {
            44 => (1, if from.once_in(4) { from.byte() } else { from.below(2) }),
            51 => (2, 2),
            _ => {
                let units = 1 + usize::from(from.below(3));
                (units, units as u8 - 1)
            }
        };
        let mut header = vec![0; units * 8];
        header[0] = next;
        // The length, or of a fragment header the offset.
        header[if number == 44 { 3 } else { 1 }] = field;
        behind = [header, behind].concat();
        next = number;
    }
    let mut ip = vec![0x60, 0, 0, 0];
    ip.extend((behind.len() as u16).to_be_bytes());
    ip.extend([next, 64]);
    ip.extend(source);
    ip.extend(destination);
    ip.extend(behind);
    ip
}

/// An IP packet as a peer sends it, mostly.
fn tunnelled(from: &mut Source<'_>, v6: bool) -> Vec<u8> {
    let inner_v6 = from.once_in(2);
    let inner = client(from, inner_v6);
    let hops = from.below(4);
    let tried = 1 + from.below(4 - hops.min(3));
    let flags = [0, 0, 1, 2, 4, 4, 0x20, 5][usize::from(from.below(8))];
    let inner_protocol = if inner_v6 { TunnelHeader::INNER_V6 } else { TunnelHeader::INNER_V4 };
    let mut data = vec![TunnelHeader::VERSION << 4 | hops, tried, flags, inner_protocol];
    data.extend(from.bytes(2));
    for slot in 0..3 {
        let hop = if slot < hops { 1 + from.below(7) } else { 0 };
        data.extend([0, hop]);
    }
    data.extend(inner);
    let mut udp = [(0xc000 | from.word()).to_be_bytes(), TUNNEL_PORT.to_be_bytes()].concat();
    udp.extend((8 + data.len() as u16).to_be_bytes());
    udp.extend([0; 2]);
    udp.extend(data);
    let (peer, own) = addresses(2 + u16::from(from.below(4)), v6);
    match (peer.as_v4(), own.as_v4()) {
        (Some(peer), Some(own)) => packet4(0, 0x4000, 17, &peer, &own, &udp),
        _ => packet6(from, 0, 17, peer.octets(), own.octets(), &udp),
    }
}
