//! Drives the packet core with arbitrary bytes: the world comes from the input's first bytes, the
//! frame is the rest. `cargo fuzz run packet` calls it, and an ordinary test of `ingress-ebpf`
//! includes this very file, so that it never rots.

use ingress_common::{
    Address, Config, Flow, Group, HashKey, Mac, Node, NodeId, Peer, Port, Reason, Row, VipAddress,
    VipKey, VipValue, limits::tail, node::NODE_USABLE, reason::Verdict,
};
use ingress_ebpf::{Buffer, Outcome, Socket, World};

/// Room before the frame, as drivers leave it.
const HEADROOM: usize = 256;
const OWN: NodeId = NodeId(1);
const OWN_ADDRESS: Address = Address::v4([10, 0, 0, 1]);
const TUNNEL_PORT: Port = Port::new(6082);

/// The addresses that are virtual, and the port that is served.
pub const VIPS: [Address; 2] = [
    Address::v4([203, 0, 113, 1]),
    Address::v6(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]),
];
pub const VIP_PORT: Port = Port::new(80);
/// The peer that tunnel packets are taken from.
pub const PEER: Address = Address::v4([10, 0, 0, 2]);

struct Fuzzed {
    row: Row,
    group: Group,
    nodes: [Node; 8],
    peer: Peer,
    socket: Socket,
    flags: u32,
}

impl Fuzzed {
    /// Four bytes choose the row, the state of the nodes, and the socket table's answer.
    fn new([a, b, c, d]: [u8; 4]) -> Self {
        let nodes = std::array::from_fn(|id| {
            let v6 = id % 3 == 0;
            Node {
                address: if v6 { VIPS[1] } else { Address::v4([10, 0, 0, id as u8]) },
                source: if v6 { VIPS[1] } else { OWN_ADDRESS },
                next_hop: Mac::new([2, 0, 0, 0, 1, id as u8]),
                source_mac: Mac::new([2, 0, 0, 0, 0, 1]),
                ifindex: 1 + u32::from(c >> 7),
                mtu: if c & 0x40 == 0 { 1500 } else { 100 },
                flags: if c >> (id % 6) & 1 == 0 { NODE_USABLE } else { 0 },
                reserved: 0,
            }
        });
        let id = |bits: u8| NodeId(u16::from(bits & 7));
        Self {
            row: Row { nodes: [id(a), id(a >> 4), id(b), id(b >> 4)] },
            group: Group { generation: 1, ready: u32::from(d & 4 == 0), key: HashKey([1, 2]) },
            nodes,
            peer: Peer { local: OWN_ADDRESS, node: NodeId(2), reserved: [0; 2] },
            socket: [Socket::Unknown, Socket::Listening, Socket::Known, Socket::Known]
                [usize::from(d & 3)],
            flags: u32::from(d & 8 != 0),
        }
    }
}

impl World for Fuzzed {
    fn config(&self) -> Config {
        Config { node: OWN, tunnel_port: TUNNEL_PORT, reserved: 0 }
    }
    fn interface(&self) -> u32 {
        1
    }
    fn vip_address(&self, address: &Address) -> Option<VipAddress> {
        VIPS.contains(address).then(VipAddress::default)
    }
    fn vip(&self, key: &VipKey) -> Option<VipValue> {
        let served = VIPS.contains(&key.address) && key.port == VIP_PORT;
        served.then_some(VipValue { vip_id: 0, group: 0, flags: self.flags })
    }
    fn group(&self, _number: u16) -> Option<&Group> {
        Some(&self.group)
    }
    fn row(&self, _index: u32) -> Option<Row> {
        Some(self.row)
    }
    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::from(id.0))
    }
    fn peer(&self, address: &Address) -> Option<&Peer> {
        (*address == PEER).then_some(&self.peer)
    }
    fn socket(&self, _flow: &Flow, _segment: &[u8; 20]) -> Socket {
        self.socket
    }
}

/// Runs the core over one input and checks what must hold for every frame; the reason that it
/// ended with, for a test that wants to know how far inputs get.
///
/// # Panics
/// If the core panics or breaks one of its promises.
pub fn drive(input: &[u8]) -> Option<Reason> {
    let (world, frame) = input.split_first_chunk::<4>()?;
    let world = Fuzzed::new(*world);
    let mut memory = vec![0xff; HEADROOM];
    memory.extend_from_slice(frame);
    let mut buffer = Buffer::new(&mut memory, HEADROOM);
    let mut outcome = ingress_ebpf::steer(&mut buffer, &world);
    if let Outcome::Tail { slot, .. } = outcome {
        assert_eq!(slot, tail::DECAP);
        assert_eq!(buffer.frame(), frame, "changed before a tail call");
        outcome = ingress_ebpf::receive(&mut buffer, &world);
    }
    let reason = match outcome {
        Outcome::Done(reason) => {
            assert_ne!(reason.verdict(), Verdict::Forward);
            let unpacked = matches!(reason, Reason::Decapsulated | Reason::DecapsulatedLast);
            if reason.verdict() == Verdict::Pass && !unpacked {
                assert_eq!(buffer.frame(), frame, "passed, but changed: {reason:?}");
            }
            if unpacked {
                let out = buffer.frame();
                assert!(frame.ends_with(&out[network(out)..]), "{reason:?} invented bytes");
            }
            reason
        }
        Outcome::Send { reason, interface } => {
            assert_eq!(reason.verdict(), Verdict::Forward);
            assert!(interface == 1 || interface == 2);
            check_sent(buffer.frame(), frame);
            reason
        }
        Outcome::Tail { .. } => unreachable!("a tail call from a tail call"),
    };
    // It cannot be for a virtual address if its bytes do not have one.
    let names_vip = VIPS.iter().any(|vip| {
        let bytes: &[u8] = vip.octets();
        let v4 = vip.as_v4();
        let bytes = v4.as_ref().map_or(bytes, |v4| v4);
        frame.windows(bytes.len()).any(|window| window == bytes)
    });
    if !names_vip {
        assert_eq!(buffer_verdict(reason), reason.verdict(), "{reason:?}");
    }
    Some(reason)
}

/// What a frame without a virtual address may meet: it passes, unless a peer sent nonsense.
fn buffer_verdict(reason: Reason) -> Verdict {
    match reason {
        Reason::BadTunnel | Reason::TunnelNotVip => Verdict::Drop,
        _ => Verdict::Pass,
    }
}

/// Where the network header of a frame begins.
fn network(frame: &[u8]) -> usize {
    let mut at = 12;
    while matches!(frame[at..at + 2], [0x81, 0x00] | [0x88, 0xa8]) {
        at += 4;
    }
    at + 2
}

/// A frame that is sent is a whole tunnel packet to a node other than this one, and its end is the
/// end of the frame that came in.
fn check_sent(out: &[u8], frame: &[u8]) {
    let at = network(out) - 2;
    let udp = match out[at..at + 2] {
        [0x08, 0x00] => {
            let ip = &out[at + 2..at + 22];
            let sum =
                ip.chunks(2).fold(0u32, |s, w| s + u32::from(u16::from_be_bytes([w[0], w[1]])));
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "header checksum");
            assert_ne!(ip[16..20], [10, 0, 0, 1], "sent to itself");
            let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
            assert!(at + 2 + total <= out.len());
            at + 22
        }
        [0x86, 0xdd] => at + 42,
        ref other => unreachable!("EtherType {other:?}"),
    };
    assert_eq!(out[udp + 2..udp + 4], TUNNEL_PORT.to_wire());
    let inner = &out[udp + 20..];
    assert!(frame.ends_with(inner), "the client's packet was changed");
}
