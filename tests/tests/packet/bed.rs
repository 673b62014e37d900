//! A node under test: programs, maps and a network namespace with its virtual addresses.

use std::{
    hash::Hasher,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ingress_common::{
    Config, Counters, Group, HashKey, Mac, Node, NodeId, Peer, Port, Reason, Row, VipKey, VipValue,
    limits::ROWS, node::NODE_USABLE, vip::VIP_AFFINITY_SOURCE,
};
use siphasher::sip::SipHasher13;
use testbed::{
    programs::{Programs, Run, in_own_namespace},
    requirement,
    wire::{Packet, Transport},
};

pub(crate) const DROP: u32 = 1;
pub(crate) const PASS: u32 = 2;
pub(crate) const TX: u32 = 3;
pub(crate) const REDIRECT: u32 = 4;

/// tc's actions (include/uapi/linux/pkt_cls.h): go on, drop, redirect.
const TC_ACTIONS: [u32; 3] = [-1i32 as u32, 2, 7];

pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
pub(crate) const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
pub(crate) const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7);
/// Of the loopback that stands for the node's interface, as each namespace numbers it.
pub(crate) const INTERFACE: u32 = 1;
/// Port of the steered TCP service.
pub(crate) const HTTP: u16 = 80;
/// Port of the steered UDP service.
pub(crate) const DNS: u16 = 53;
/// Port of the TCP service that hashes the client's address alone.
pub(crate) const STICKY: u16 = 8080;
/// Nothing is steered there.
pub(crate) const UNSTEERED: u16 = 22;
pub(crate) const TUNNEL_PORT: u16 = 6082;

/// The node under test.
pub(crate) const OWN: u16 = 1;
/// A node that is reached over IPv4, by the interface that packets arrive on.
pub(crate) const OVER_V4: u16 = 2;
/// A node that is reached over IPv6, by the same interface.
pub(crate) const OVER_V6: u16 = 3;
/// A node that is reached by another interface.
pub(crate) const ELSEWHERE: u16 = 4;
/// A node that cannot be reached.
pub(crate) const UNUSABLE: u16 = 5;

pub(crate) const OWN_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const PEER_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3);
pub(crate) const PEER_ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 4);
pub(crate) const OTHER_INTERFACE: u32 = 77;
pub(crate) const MTU: u16 = 1500;

pub(crate) const GENERATION: u32 = 0x0002_0006;
const KEY: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

/// The node under test.
pub(crate) struct Bed {
    pub(crate) programs: Programs,
    runs: u64,
    /// What comes is nothing that tc can do.
    pub(crate) xdp_only: bool,
}

/// Runs `case` against a fresh node in a fresh namespace, or says that it cannot.
pub(crate) fn bed<F: FnOnce(&mut Bed) + Send>(case: F) {
    // libtest does not name its threads when it has only one.
    let name = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
    let Some(object) = requirement::bpf(name) else { return };
    let addresses = [VIP.into(), VIP6.into(), CLIENT.into(), CLIENT6.into()];
    in_own_namespace(&addresses, || {
        let mut bed = Bed { programs: Programs::load(&object).unwrap(), runs: 0, xdp_only: false };
        bed.fill();
        case(&mut bed);
        bed.every_packet_was_counted_once();
    })
    .unwrap();
}

pub(crate) fn mac(node: u16) -> [u8; 6] {
    [0x02, 0, 0, 1, 0, node as u8]
}

pub(crate) fn source_mac(node: u16) -> [u8; 6] {
    [0x02, 0, 0, 2, 0, node as u8]
}

pub(crate) fn node(id: u16, source: IpAddr, address: IpAddr, ifindex: u32) -> Node {
    Node {
        address: address.into(),
        source: source.into(),
        next_hop: Mac::new(mac(id)),
        source_mac: Mac::new(source_mac(id)),
        ifindex,
        mtu: MTU,
        flags: NODE_USABLE,
        slot: 0,
    }
}

impl Bed {
    fn fill(&mut self) {
        let programs = &mut self.programs;
        let (tcp, udp) = (6, 17);
        programs
            .set_config(Config { node: NodeId(OWN), tunnel_port: Port::new(TUNNEL_PORT), flags: 0 })
            .unwrap();
        for address in [IpAddr::from(VIP), IpAddr::from(VIP6)] {
            programs.add_vip_address(address).unwrap();
            for (port, protocol, flags) in
                [(HTTP, tcp, 0), (DNS, udp, 0), (STICKY, tcp, VIP_AFFINITY_SOURCE)]
            {
                let key = VipKey::new(address.into(), Port::new(port), protocol);
                programs.add_vip(key, VipValue { vip_id: 0, group: 1, flags }).unwrap();
            }
        }
        for (id, node) in [
            (OVER_V4, node(OVER_V4, OWN_V4.into(), PEER_V4.into(), INTERFACE)),
            (OVER_V6, node(OVER_V6, OWN_V6.into(), PEER_V6.into(), INTERFACE)),
            (ELSEWHERE, node(ELSEWHERE, OWN_V4.into(), PEER_ELSEWHERE.into(), OTHER_INTERFACE)),
        ] {
            programs.set_node(NodeId(id), node).unwrap();
        }
        let peer = |local: IpAddr, node| Peer {
            local: local.into(),
            node: NodeId(node),
            reserved: [0; 2],
        };
        programs.add_peer(PEER_V4.into(), peer(OWN_V4.into(), OVER_V4)).unwrap();
        programs.add_peer(PEER_V6.into(), peer(OWN_V6.into(), OVER_V6)).unwrap();
        self.publish(GENERATION);
    }

    /// Puts a generation of the table in force.
    pub(crate) fn publish(&mut self, generation: u32) {
        self.publish_until(generation, 0);
    }

    /// As [`publish`](Self::publish), with a transition until then.
    pub(crate) fn publish_until(&mut self, generation: u32, transition_until: u64) {
        let group = Group { generation, ready: 1, key: HashKey(KEY), transition_until };
        self.programs.set_group(1, group).unwrap();
    }

    /// Sets the candidates of a packet's flow in the generation of [`fill`](Self::fill); no other
    /// row has any.
    pub(crate) fn row(&mut self, packet: &Packet, nodes: &[u16]) {
        self.row_of(GENERATION, packet, nodes);
    }

    pub(crate) fn row_of(&mut self, generation: u32, packet: &Packet, nodes: &[u16]) {
        self.row_at(generation, hash(packet), nodes);
    }

    /// Sets the candidates of the row that this hash chooses.
    pub(crate) fn row_at(&mut self, generation: u32, hash: u64, nodes: &[u16]) {
        let mut row = Row::EMPTY;
        for (slot, id) in row.nodes.iter_mut().zip(nodes) {
            *slot = NodeId(*id);
        }
        // Group 1, its two generations behind the two of group 0.
        let index = (2 + generation % 2) * ROWS + (hash & 0xffff) as u32;
        self.programs.set_row(index, row).unwrap();
    }

    /// Checks that the program leaves the frame alone.
    #[track_caller]
    pub(crate) fn passes(&mut self, frame: &[u8], reason: Reason) {
        self.check(frame, PASS, reason, frame);
    }

    /// Checks that the program leaves all these frames alone, for one reason.
    #[track_caller]
    pub(crate) fn all_pass(&mut self, frames: impl IntoIterator<Item = Vec<u8>>, reason: Reason) {
        let mut sum = Counters::default();
        for frame in frames {
            let run = self.run_uncounted(&frame);
            assert_eq!(run, (PASS, frame.clone()), "for {frame:02x?}");
            sum.packets += 1;
            sum.bytes += frame.len() as u64;
        }
        assert_eq!(self.programs.counted().unwrap(), [(reason, sum)]);
    }

    /// Checks that the program drops the frame.
    #[track_caller]
    pub(crate) fn drops(&mut self, frame: &[u8], reason: Reason) {
        self.check(frame, DROP, reason, frame);
    }

    /// Checks that the program makes `expected` of the frame.
    #[track_caller]
    pub(crate) fn check(&mut self, frame: &[u8], action: u32, reason: Reason, expected: &[u8]) {
        let run = self.run(frame);
        assert_eq!((run.action, run.reason), (action, reason), "for {frame:02x?}");
        assert_eq!(run.frame, expected, "after {}\nfor {frame:02x?}", reason.name());
        self.check_tc(frame, action, reason, expected);
    }

    /// Checks that tc's program does what XDP's does. Of a frame whose tag is in it, rather than
    /// beside it as the kernel has the outer one by then, tc cannot change the headers.
    #[track_caller]
    fn check_tc(&mut self, frame: &[u8], action: u32, reason: Reason, expected: &[u8]) {
        let tagged = matches!(frame.get(12..14), Some([0x81, 0x00] | [0x88, 0xa8]));
        if tagged && frame != expected || self.xdp_only {
            return;
        }
        self.runs += 1;
        let run = self.programs.run_tc(frame).unwrap();
        let [go_on, drop, redirect] = TC_ACTIONS;
        let action = match action {
            PASS => go_on,
            DROP => drop,
            _ => redirect,
        };
        assert_eq!((run.action, run.reason), (action, reason), "in tc, for {frame:02x?}");
        let after = reason.name();
        assert_eq!(run.frame, expected, "in tc, after {after}\nfor {frame:02x?}");
    }

    /// Checks that the packet goes to the first candidate of its row, `node`, with `rest` to try
    /// after it.
    #[track_caller]
    pub(crate) fn forwards(&mut self, packet: &Packet, node: u16, rest: &[u16]) {
        let expected = sent_to(node, &Header::new(1, rest), packet);
        let action = if node == ELSEWHERE { REDIRECT } else { TX };
        self.check(&packet.frame(), action, Reason::Forwarded, &expected.frame());
    }

    /// Runs the program on a frame.
    pub(crate) fn run(&mut self, frame: &[u8]) -> Run {
        self.runs += 1;
        self.programs.run(frame).unwrap()
    }

    /// Runs tc's program on a frame.
    pub(crate) fn run_tc(&mut self, frame: &[u8]) -> Run {
        self.runs += 1;
        self.programs.run_tc(frame).unwrap()
    }

    /// As [`run`](Self::run), without a look at the counters.
    pub(crate) fn run_uncounted(&mut self, frame: &[u8]) -> (u32, Vec<u8>) {
        self.runs += 1;
        self.programs.run_uncounted(frame).unwrap()
    }

    /// As [`check`](Self::check), where the driver leaves no room before the frame.
    #[track_caller]
    pub(crate) fn check_without_headroom(&mut self, frame: &[u8], action: u32, reason: Reason) {
        if !self.programs.takes_long_metadata() {
            requirement::headroom("a frame without headroom");
            return;
        }
        let run = self.programs.run_with_metadata(frame, 212).unwrap();
        self.runs += 1;
        assert_eq!((run.action, run.reason), (action, reason), "for {frame:02x?}");
        assert_eq!(run.frame, frame, "after {}", reason.name());
    }

    fn every_packet_was_counted_once(&self) {
        let counters = self.programs.read_counters().unwrap();
        let sum: u64 = counters.iter().map(|counter| counter.packets).sum();
        assert_eq!(sum, self.runs);
    }
}

/// The hash of a packet's flow, by an implementation that is not ours.
pub(crate) fn hash(packet: &Packet) -> u64 {
    let (protocol, source, destination) = match packet.transport {
        Transport::Tcp { source, destination, .. } => (6, source, destination),
        Transport::Udp { source, destination, .. } => (17, source, destination),
        Transport::Other(..) => unreachable!("no flow"),
    };
    let mut bytes = Vec::new();
    for address in [packet.source, packet.destination] {
        match address {
            IpAddr::V4(v4) => bytes.extend(v4.octets()),
            IpAddr::V6(v6) => bytes.extend(v6.octets()),
        }
    }
    let client = bytes.len() / 2;
    bytes.extend(source.to_be_bytes());
    bytes.extend(destination.to_be_bytes());
    bytes.extend([protocol, 0, 0, 0]);
    if destination == STICKY {
        bytes[client..].fill(0);
    }
    sip(&bytes)
}

/// The hash of what all fragments of a packet share.
pub(crate) fn fragment_hash(packet: &Packet, identification: [u8; 4]) -> u64 {
    let mut bytes = Vec::new();
    for address in [packet.source, packet.destination] {
        bytes.extend(match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        });
    }
    bytes.extend(identification);
    let protocol = match &packet.transport {
        _ if packet.source.is_ipv6() => 0,
        Transport::Tcp { .. } => 6,
        Transport::Udp { .. } => 17,
        Transport::Other(protocol, _) => *protocol,
    };
    bytes.extend([protocol, 0, 0, 0]);
    sip(&bytes)
}

fn sip(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(KEY[0], KEY[1]);
    hasher.write(bytes);
    hasher.finish()
}

/// A segment from the client to the steered TCP service over IPv4.
pub(crate) fn segment(flags: u8) -> Packet {
    Packet::tcp((CLIENT, 40_000), (VIP, HTTP), flags, b"GET / HTTP/1.1\r\n\r\n")
}

/// The same over IPv6.
pub(crate) fn segment6(flags: u8) -> Packet {
    Packet::tcp((CLIENT6, 40_000), (VIP6, HTTP), flags, b"GET / HTTP/1.1\r\n\r\n")
}

/// The tunnel header as the document of its layout has it.
pub(crate) struct Header {
    pub(crate) tried: u8,
    pub(crate) skipped: bool,
    /// Others than that.
    pub(crate) flags: u8,
    pub(crate) generation: u16,
    pub(crate) hops: Vec<u16>,
}

impl Header {
    pub(crate) fn new(tried: u8, hops: &[u16]) -> Self {
        Self { tried, skipped: false, flags: 0, generation: GENERATION as u16, hops: hops.to_vec() }
    }

    /// The header before a packet of the client, and that packet from its IP header on.
    pub(crate) fn before(&self, client: &Packet) -> Vec<u8> {
        let version = 1;
        let mut bytes = vec![
            version << 4 | self.hops.len() as u8,
            self.tried,
            self.flags | u8::from(self.skipped),
            if client.source.is_ipv4() { 4 } else { 41 },
        ];
        bytes.extend(self.generation.to_be_bytes());
        for slot in 0..3 {
            bytes.extend(self.hops.get(slot).copied().unwrap_or(0).to_be_bytes());
        }
        bytes.extend(client.ip());
        bytes
    }
}

/// A tunnel packet from `source` to `destination`. `entropy` is the UDP source port.
pub(crate) fn tunnelled(
    (source, destination): (impl Into<IpAddr>, impl Into<IpAddr>),
    entropy: u16,
    payload: Vec<u8>,
) -> Packet {
    let source = source.into();
    let transport = Transport::Udp {
        source: entropy,
        destination: TUNNEL_PORT,
        data: payload,
        unchecked: true,
    };
    Packet {
        ttl: 8,
        identification: 0,
        label: if source.is_ipv6() { u32::from(entropy) } else { 0 },
        ..Packet::new(source, destination, transport)
    }
}

/// The source port that the tunnel gives a packet's flow.
pub(crate) fn entropy(client: &Packet) -> u16 {
    0xc000 | (hash(client) >> 48) as u16
}

/// What a packet of the client becomes on its way to a node.
pub(crate) fn sent_to(node: u16, header: &Header, client: &Packet) -> Packet {
    sent_by(node, header, client, hash(client))
}

/// As [`sent_to`], with the hash that its row was chosen by.
pub(crate) fn sent_by(node: u16, header: &Header, client: &Packet, hash: u64) -> Packet {
    let payload = header.before(client);
    let entropy = 0xc000 | (hash >> 48) as u16;
    let mut outer = match node {
        OVER_V4 => tunnelled((OWN_V4, PEER_V4), entropy, payload),
        OVER_V6 => tunnelled((OWN_V6, PEER_V6), entropy, payload),
        ELSEWHERE => tunnelled((OWN_V4, PEER_ELSEWHERE), entropy, payload),
        other => unreachable!("node {other} cannot be reached"),
    };
    outer.link = [mac(node), source_mac(node)];
    if node != ELSEWHERE {
        // A tag means nothing on another interface.
        outer.tags.clone_from(&client.tags);
    }
    outer.padding = client.padding;
    outer
}
