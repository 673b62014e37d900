//! Crafted packets through the programs in the kernel and through the same core on the host: the
//! verdict, every byte that comes out, and the counters.
#![expect(clippy::panic, clippy::print_stdout, reason = "a test's helpers panic, and skip loudly")]

#[path = "packet/bed.rs"]
mod bed;
#[path = "packet/builder.rs"]
mod builder;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd as _, AsRawFd as _},
};

use bed::*;
use builder::*;
use ingress_common::{Flow, NodeId, Reason, Row};
use ingress_ebpf::Socket;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The hops of a row; the rest is empty.
fn row(ids: &[u16]) -> Row {
    let mut row = Row::EMPTY;
    for (slot, id) in row.nodes.iter_mut().zip(ids) {
        *slot = NodeId(*id);
    }
    row
}

/// A frame, the row of its flow, and what has to become of it.
struct Case {
    name: &'static str,
    row: Row,
    flow: Flow,
    frame: Vec<u8>,
    reason: Reason,
    sent_to: Option<u32>,
    /// `None`: as it came.
    out: Option<Vec<u8>>,
}

/// The sockets of the namespace: a listener on port 80 of both virtual addresses, and one
/// connection to each from these ports.
struct Sockets {
    _open: Vec<TcpStream>,
    _listeners: Vec<TcpListener>,
    known4: u16,
    known6: u16,
}

/// A port that nothing uses.
const STRANGER: u16 = 999;

fn v4_flow(port: u16, to: u16, protocol: u8) -> Flow {
    flow((CLIENT4.into(), port), (VIP4.into(), to), protocol)
}

fn v6_flow(port: u16, to: u16, protocol: u8) -> Flow {
    flow((CLIENT6.into(), port), (VIP6.into(), to), protocol)
}

fn client4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    Ipv4::new(CLIENT4, VIP4, protocol).around(payload)
}

fn client6(next: u8, payload: &[u8]) -> Vec<u8> {
    ipv6(CLIENT6, VIP6, 0, 64, next, payload)
}

/// The source port of tunnel packets of this flow.
fn entropy(flow: &Flow) -> u16 {
    0xc000 | (flow.hash(KEY, false) >> 48) as u16
}

/// The packet that this node sends to a node over IPv4.
fn outer4(to: u16, source_port: u16, tunnel: &[u8]) -> Vec<u8> {
    let mut ip = Ipv4::new(OWN4, Ipv4Addr::new(10, 0, 0, to as u8), UDP);
    (ip.ttl, ip.id) = (8, 0);
    ip.around(&udp(source_port, PORT, tunnel))
}

fn outer6(to: u16, source_port: u16, tunnel: &[u8]) -> Vec<u8> {
    let to = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, to);
    ipv6(OWN6, to, u32::from(source_port), 8, UDP, &udp(source_port, PORT, tunnel))
}

/// The frame that this node sends to a node.
fn sent(to: u16, tags: &[(u16, u16)], protocol: u16, packet: &[u8]) -> Vec<u8> {
    frame(ethernet_between([2, 0, 0, 0, 1, to as u8], OUR_MAC, tags, protocol), packet)
}

/// A tunnel packet from node 2 to this one.
fn from_peer(tunnel: &[u8]) -> Vec<u8> {
    let outer = Ipv4::new(Ipv4Addr::new(10, 0, 0, 2), OWN4, UDP);
    frame(ethernet(&[], IPV4), &outer.around(&udp(0xc123, PORT, tunnel)))
}

const GEN: u16 = GENERATION as u16;

fn passes(name: &'static str, ids: &[u16], flow: Flow, frame: Vec<u8>, reason: Reason) -> Case {
    Case { name, row: row(ids), flow, frame, reason, sent_to: None, out: None }
}

fn not_ours() -> Vec<Case> {
    let any = v4_flow(STRANGER, 80, TCP);
    let elsewhere = Ipv4::new(CLIENT4, Ipv4Addr::new(192, 0, 2, 55), TCP);
    let mut broken = elsewhere.around(&tcp(1, 80, SYN, b""));
    broken[0] = 0x4f;
    broken[2] = 0xff;
    let mut arp = ethernet(&[], 0x0806);
    arp.extend([0; 28]);
    let three = [(SERVICE_VLAN, 1), (VLAN, 2), (VLAN, 3)];
    let vip = client4(TCP, &tcp(1, 80, SYN, b""));
    let tunnel4 = |to| Ipv4::new(CLIENT4, to, UDP).around(&udp(9, PORT, &[0x13; 60]));
    let transit = Ipv4::new(Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 9), UDP);
    vec![
        passes("arp", &[2], any, arp, Reason::NotIp),
        passes("empty frame", &[2], any, ethernet(&[], IPV4), Reason::NotIp),
        passes(
            "cut in its addresses",
            &[2],
            any,
            frame(ethernet(&[], IPV4), &vip[..19]),
            Reason::NotIp,
        ),
        passes("three tags", &[2], any, frame(ethernet(&three, IPV4), &vip), Reason::NotIp),
        passes(
            "other destination",
            &[2],
            any,
            frame(ethernet(&[], IPV4), &elsewhere.around(&tcp(1, 80, SYN, b""))),
            Reason::NotVip,
        ),
        passes(
            "other destination, nonsense header",
            &[2],
            any,
            frame(ethernet(&[(VLAN, 9)], IPV4), &broken),
            Reason::NotVip,
        ),
        passes(
            "other destination over IPv6",
            &[2],
            any,
            frame(ethernet(&[], IPV6), &ipv6(CLIENT6, OWN6, 0, 64, TCP, &tcp(1, 80, SYN, b""))),
            Reason::NotVip,
        ),
        passes(
            "stranger on the tunnel's port",
            &[2],
            any,
            frame(ethernet(&[], IPV4), &tunnel4(OWN4)),
            Reason::ForeignTunnel,
        ),
        passes(
            "stranger on the tunnel's port of a virtual address",
            &[2],
            any,
            frame(ethernet(&[], IPV4), &tunnel4(VIP4)),
            Reason::OtherPort,
        ),
        passes(
            "tunnel between two others",
            &[2],
            any,
            frame(
                ethernet(&[], IPV4),
                &transit.around(&udp(9, PORT, &tunnel(1, 0, &[], GEN, &vip))),
            ),
            Reason::ForeignTunnel,
        ),
    ]
}

fn left_to_the_stack() -> Vec<Case> {
    let any = v4_flow(STRANGER, 80, TCP);
    let syn = tcp(STRANGER, 80, SYN, b"");
    let v4 = |packet: &[u8]| frame(ethernet(&[], IPV4), packet);
    let v6 = |packet: &[u8]| frame(ethernet(&[], IPV6), packet);
    let changed = |at: usize, value: u8| {
        let mut packet = client4(TCP, &syn);
        packet[at] = value;
        v4(&packet)
    };
    let mut fragment = Ipv4::new(CLIENT4, VIP4, TCP);
    fragment.fragment = 0x2000;
    let mut last = fragment.clone();
    last.fragment = 100;
    // Next header TCP, offset 8, no more.
    let fragment6 = [&[TCP, 0, 0, 8, 0, 0, 0, 1][..], &syn].concat();
    let five = [[0u8, 0, 0, 0, 0, 0, 0, 0]; 5].concat();
    let beyond = [&[TCP, 200, 0, 0, 0, 0, 0, 0][..], &syn].concat();
    vec![
        passes("icmp", &[2], any, v4(&client4(1, &[8; 20])), Reason::OtherProtocol),
        passes("icmpv6", &[2], any, v6(&client6(58, &[128; 20])), Reason::OtherProtocol),
        passes(
            "other port",
            &[2],
            any,
            v4(&client4(TCP, &tcp(STRANGER, 82, SYN, b""))),
            Reason::OtherPort,
        ),
        passes(
            "no table",
            &[2],
            any,
            v4(&client4(TCP, &tcp(STRANGER, 81, SYN, b""))),
            Reason::NoTable,
        ),
        passes("empty row", &[], any, v4(&client4(TCP, &syn)), Reason::EmptyRow),
        passes("first fragment", &[2], any, v4(&fragment.around(&syn)), Reason::Fragment),
        passes("last fragment", &[2], any, v4(&last.around(&syn)), Reason::Fragment),
        passes("IPv6 fragment", &[2], any, v6(&client6(44, &fragment6)), Reason::Fragment),
        passes("version 5", &[2], any, changed(0, 0x55), Reason::Malformed),
        passes("header of 16 bytes", &[2], any, changed(0, 0x44), Reason::Malformed),
        passes("longer than its frame", &[2], any, changed(3, 200), Reason::Malformed),
        passes("shorter than its header", &[2], any, changed(3, 19), Reason::Malformed),
        passes("TCP header cut short", &[2], any, v4(&client4(TCP, &syn[..19])), Reason::Malformed),
        passes("TCP header beyond its packet", &[2], any, changed(32, 0xf0), Reason::Malformed),
        passes(
            "UDP header cut short",
            &[2],
            any,
            v4(&client4(UDP, &udp(1, 443, b"")[..7])),
            Reason::Malformed,
        ),
        passes("too many extensions", &[2], any, v6(&client6(0, &five)), Reason::OtherProtocol),
        passes(
            "extension beyond its packet",
            &[2],
            any,
            v6(&client6(0, &beyond)),
            Reason::Malformed,
        ),
    ]
}

fn for_this_node(sockets: &Sockets) -> Vec<Case> {
    let syn = |port| frame(ethernet(&[], IPV4), &client4(TCP, &tcp(port, 80, SYN, b"")));
    let ack = |port| frame(ethernet(&[], IPV4), &client4(TCP, &tcp(port, 80, ACK, b"x")));
    let ack6 = |port| frame(ethernet(&[], IPV6), &client6(TCP, &tcp(port, 80, ACK, b"x")));
    let mut options = Ipv4::new(CLIENT4, VIP4, TCP);
    options.options = vec![1; 8];
    let with_options = options.around(&tcp(sockets.known4, 80, ACK, b"x"));
    let stranger = v4_flow(STRANGER, 80, TCP);
    let known4 = v4_flow(sockets.known4, 80, TCP);
    let known6 = v6_flow(sockets.known6, 80, TCP);
    let datagram = frame(ethernet(&[], IPV4), &client4(UDP, &udp(STRANGER, 443, b"q")));
    let hop_by_hop = [&[TCP, 0, 0, 0, 0, 0, 0, 0][..], &tcp(sockets.known6, 80, ACK, b"")].concat();
    let atomic = [&[TCP, 0, 0, 0, 0, 0, 0, 1][..], &tcp(sockets.known6, 80, ACK, b"")].concat();
    vec![
        passes("SYN, somebody listens", &[1, 2], stranger, syn(STRANGER), Reason::Local),
        passes("known connection", &[1, 2], known4, ack(sockets.known4), Reason::Local),
        passes("known connection over IPv6", &[1, 4], known6, ack6(sockets.known6), Reason::Local),
        passes(
            "known connection with IP options",
            &[1, 2],
            known4,
            frame(ethernet(&[], IPV4), &with_options),
            Reason::Local,
        ),
        passes(
            "known connection behind an extension header",
            &[1, 2],
            known6,
            frame(ethernet(&[], IPV6), &client6(0, &hop_by_hop)),
            Reason::Local,
        ),
        passes(
            "known connection in an atomic fragment",
            &[1, 2],
            known6,
            frame(ethernet(&[(VLAN, 7)], IPV6), &client6(44, &atomic)),
            Reason::Local,
        ),
        passes(
            "unknown connection, nobody else",
            &[1],
            stranger,
            ack(STRANGER),
            Reason::LastResort,
        ),
        passes(
            "datagram for this node",
            &[1, 2],
            v4_flow(STRANGER, 443, UDP),
            datagram,
            Reason::Local,
        ),
        passes(
            "SYN, the only candidate is out of reach",
            &[5],
            stranger,
            syn(STRANGER),
            Reason::NodeUnusable,
        ),
        passes(
            "unknown connection whose owner is out of reach",
            &[5, 1],
            stranger,
            ack(STRANGER),
            Reason::OwnerUnreachable,
        ),
        passes(
            "known connection although another is out of reach",
            &[5, 1],
            known4,
            ack(sockets.known4),
            Reason::Local,
        ),
        passes("too long for the path", &[6], stranger, ack(STRANGER), Reason::TooLong),
    ]
}

fn forwarded() -> Vec<Case> {
    let flow4 = v4_flow(STRANGER, 80, TCP);
    let flow6 = v6_flow(STRANGER, 80, TCP);
    let ack = client4(TCP, &tcp(STRANGER, 80, ACK, b"hello"));
    let ack6 = client6(TCP, &tcp(STRANGER, 80, ACK, b"hello"));
    let query = client4(UDP, &udp(STRANGER, 443, b"quic"));
    let udp_flow = v4_flow(STRANGER, 443, UDP);
    let forward = |name, ids: &[u16], flow, tags: &[(u16, u16)], protocol, packet: &[u8]| Case {
        name,
        row: row(ids),
        flow,
        frame: frame(ethernet(tags, protocol), packet),
        reason: Reason::Forwarded,
        sent_to: Some(SAME_INTERFACE),
        out: None,
    };
    let mut options = Ipv4::new(CLIENT4, VIP4, TCP);
    options.options = vec![1; 12];
    let options = options.around(&tcp(STRANGER, 80, SYN, b""));
    let mut padded = frame(ethernet(&[], IPV4), &client4(TCP, &tcp(STRANGER, 80, ACK, b"")));
    padded.extend([0xee; 6]);
    let to2 = |tags: &[(u16, u16)], packet: &[u8], hops: &[u16], flow: &Flow| {
        let header = tunnel(1, 0, hops, GEN, packet);
        sent(2, tags, IPV4, &outer4(2, entropy(flow), &header))
    };
    let double = [(SERVICE_VLAN, 0x6001), (VLAN, 0x0123)];
    let mut padded_out = to2(&[], &client4(TCP, &tcp(STRANGER, 80, ACK, b"")), &[1], &flow4);
    padded_out.extend([0xee; 6]);
    vec![
        Case {
            out: Some(to2(&[], &ack, &[1, 3], &flow4)),
            ..forward("to the first candidate", &[2, 1, 3], flow4, &[], IPV4, &ack)
        },
        Case {
            out: Some(to2(&[(VLAN, 0x2005)], &ack, &[], &flow4)),
            ..forward("with a VLAN tag", &[2], flow4, &[(VLAN, 0x2005)], IPV4, &ack)
        },
        Case {
            out: Some(to2(&double, &ack, &[], &flow4)),
            ..forward("with two VLAN tags", &[2], flow4, &double, IPV4, &ack)
        },
        Case {
            out: Some(to2(&[], &options, &[1, 3, 4], &flow4)),
            ..forward("with IP options", &[2, 1, 3, 4], flow4, &[], IPV4, &options)
        },
        Case {
            frame: padded,
            out: Some(padded_out),
            ..forward("Ethernet padding is no part of the packet", &[2, 1], flow4, &[], IPV4, &ack)
        },
        Case {
            out: Some(to2(&[], &ack6, &[1], &flow6)),
            ..forward("IPv6 over IPv4", &[2, 1], flow6, &[], IPV6, &ack6)
        },
        Case {
            out: Some(sent(
                4,
                &[],
                IPV6,
                &outer6(4, entropy(&flow6), &tunnel(1, 0, &[2], GEN, &ack6)),
            )),
            ..forward("IPv6 over IPv6", &[4, 2], flow6, &[], IPV6, &ack6)
        },
        Case {
            out: Some(sent(
                4,
                &[],
                IPV6,
                &outer6(4, entropy(&flow4), &tunnel(1, 0, &[], GEN, &ack)),
            )),
            ..forward("IPv4 over IPv6", &[4], flow4, &[], IPV4, &ack)
        },
        Case {
            sent_to: Some(OTHER_INTERFACE),
            out: Some(sent(
                3,
                &[],
                IPV4,
                &outer4(3, entropy(&flow4), &tunnel(1, 0, &[], GEN, &ack)),
            )),
            ..forward("another interface has other VLANs", &[3], flow4, &[(VLAN, 5)], IPV4, &ack)
        },
        Case {
            out: Some(to2(&[], &query, &[], &udp_flow)),
            ..forward("a datagram has no second chance", &[2, 1], udp_flow, &[], IPV4, &query)
        },
        Case {
            reason: Reason::ForwardedNext,
            out: Some(sent(
                2,
                &[],
                IPV4,
                &outer4(2, entropy(&flow4), &tunnel(2, 0, &[3], GEN, &ack)),
            )),
            ..forward("unknown here, on to the next", &[1, 2, 3], flow4, &[], IPV4, &ack)
        },
        Case {
            reason: Reason::ForwardedNext,
            out: Some(sent(
                2,
                &[],
                IPV4,
                &outer4(2, entropy(&flow4), &tunnel(2, 1, &[], GEN, &ack)),
            )),
            ..forward("past a candidate out of reach", &[5, 2], flow4, &[], IPV4, &ack)
        },
    ]
}

fn out_of_the_tunnel(sockets: &Sockets) -> Vec<Case> {
    let stranger = v4_flow(STRANGER, 80, TCP);
    let known = client4(TCP, &tcp(sockets.known4, 80, ACK, b"x"));
    let known6 = client6(TCP, &tcp(sockets.known6, 80, ACK, b"x"));
    let unknown = client4(TCP, &tcp(STRANGER, 80, ACK, b"x"));
    let syn = client4(TCP, &tcp(STRANGER, 80, SYN, b""));
    let plain = |protocol, packet: &[u8]| Some(frame(ethernet(&[], protocol), packet));
    let case = |name, frame, reason, sent_to, out| Case {
        name,
        row: row(&[2]),
        flow: stranger,
        frame,
        reason,
        sent_to,
        out,
    };
    let tagged = {
        let outer = Ipv4::new(Ipv4Addr::new(10, 0, 0, 2), OWN4, UDP);
        let header = tunnel(1, 0, &[3], GEN, &known);
        frame(ethernet(&[(VLAN, 5)], IPV4), &outer.around(&udp(0xc001, PORT, &header)))
    };
    let over6 = {
        let from = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 4);
        let header = udp(0xc123, PORT, &tunnel(1, 0, &[3], GEN, &known6));
        frame(ethernet(&[], IPV6), &ipv6(from, OWN6, 0xc123, 8, UDP, &header))
    };
    let relayed = |tried, flags, hops: &[u16]| {
        let header = tunnel(tried, flags, hops, 0x0909, &unknown);
        Some(sent(2, &[], IPV4, &outer4(2, 0xc123, &header)))
    };
    let mut version = tunnel(1, 0, &[], GEN, &known);
    version[0] = 0x20;
    let mut protocol = tunnel(1, 0, &[], GEN, &known);
    protocol[3] = 99;
    let elsewhere = Ipv4::new(CLIENT4, OWN4, TCP).around(&tcp(1, 22, SYN, b""));
    vec![
        case(
            "this node has the connection",
            from_peer(&tunnel(1, 0, &[2], GEN, &known)),
            Reason::Decapsulated,
            None,
            plain(IPV4, &known),
        ),
        case(
            "the tag stays",
            tagged,
            Reason::Decapsulated,
            None,
            Some(frame(ethernet(&[(VLAN, 5)], IPV4), &known)),
        ),
        case("IPv6 out of IPv6", over6, Reason::Decapsulated, None, plain(IPV6, &known6)),
        case(
            "IPv6 out of IPv4",
            from_peer(&tunnel(1, 0, &[], GEN, &known6)),
            Reason::Decapsulated,
            None,
            plain(IPV6, &known6),
        ),
        case(
            "SYN, somebody listens",
            from_peer(&tunnel(1, 0, &[2], GEN, &syn)),
            Reason::Decapsulated,
            None,
            plain(IPV4, &syn),
        ),
        case(
            "last hop",
            from_peer(&tunnel(2, 0, &[], GEN, &unknown)),
            Reason::DecapsulatedLast,
            None,
            plain(IPV4, &unknown),
        ),
        case(
            "last hop, but another may own the connection",
            from_peer(&tunnel(2, 1, &[], GEN, &unknown)),
            Reason::OwnerUnreachable,
            None,
            None,
        ),
        case(
            "on to the next hop",
            from_peer(&tunnel(1, 0, &[2, 3], 0x0909, &unknown)),
            Reason::Relayed,
            Some(SAME_INTERFACE),
            relayed(2, 0, &[3]),
        ),
        case(
            "this node is asked once only",
            from_peer(&tunnel(1, 0, &[1, 2], 0x0909, &unknown)),
            Reason::Relayed,
            Some(SAME_INTERFACE),
            relayed(3, 0, &[]),
        ),
        case(
            "past a hop out of reach",
            from_peer(&tunnel(1, 0, &[5, 2], 0x0909, &unknown)),
            Reason::Relayed,
            Some(SAME_INTERFACE),
            relayed(3, 1, &[]),
        ),
        case(
            "next hop on a path that is too short",
            from_peer(&tunnel(1, 0, &[6], 0x0909, &unknown)),
            Reason::RelayFailed,
            None,
            None,
        ),
        case("another version", from_peer(&version), Reason::BadTunnel, None, None),
        case("unknown inner protocol", from_peer(&protocol), Reason::BadTunnel, None, None),
        case("nothing in it", from_peer(&[0x10, 1, 0, 4]), Reason::BadTunnel, None, None),
        case(
            "more hops than a row has",
            from_peer(&tunnel(3, 0, &[2, 3], GEN, &known)),
            Reason::BadTunnel,
            None,
            None,
        ),
        case(
            "not for a virtual service",
            from_peer(&tunnel(1, 0, &[], GEN, &elsewhere)),
            Reason::TunnelNotVip,
            None,
            None,
        ),
        case(
            "cut short",
            from_peer(&tunnel(1, 0, &[], GEN, &known[..30])),
            Reason::BadTunnel,
            None,
            None,
        ),
    ]
}

/// Without a listener on port 80.
fn nobody_listens() -> Vec<Case> {
    let flow4 = v4_flow(STRANGER, 80, TCP);
    let syn = client4(TCP, &tcp(STRANGER, 80, SYN, b""));
    let header = tunnel(2, 0, &[], GEN, &syn);
    vec![
        Case {
            name: "SYN, on to the next",
            row: row(&[1, 2]),
            flow: flow4,
            frame: frame(ethernet(&[], IPV4), &syn),
            reason: Reason::ForwardedNext,
            sent_to: Some(SAME_INTERFACE),
            out: Some(sent(2, &[], IPV4, &outer4(2, entropy(&flow4), &header))),
        },
        passes(
            "SYN, nobody else",
            &[1],
            flow4,
            frame(ethernet(&[], IPV4), &syn),
            Reason::LastResort,
        ),
    ]
}

fn open_sockets() -> Sockets {
    let mut sockets = Sockets { _open: vec![], _listeners: vec![], known4: 0, known6: 0 };
    for (vip, client) in
        [(IpAddr::from(VIP4), IpAddr::from(CLIENT4)), (VIP6.into(), CLIENT6.into())]
    {
        let listener = TcpListener::bind((vip, 80)).expect("a listener");
        let connection = connect(client, SocketAddr::new(vip, 80));
        let port = connection.local_addr().expect("bound").port();
        if vip.is_ipv4() {
            sockets.known4 = port;
        } else {
            sockets.known6 = port;
        }
        let (accepted, _) = listener.accept().expect("the connection");
        sockets._open.extend([connection, accepted]);
        sockets._listeners.push(listener);
    }
    sockets
}

fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let domain = socket2::Domain::for_address(to);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(from, 0).into()).expect("the client's address");
    socket.connect(&to.into()).expect("connected");
    socket.into()
}

/// What the core on the host is told about these sockets.
fn fake_sockets(sockets: &Sockets) -> HashMap<Flow, Socket> {
    HashMap::from([
        (v4_flow(sockets.known4, 80, TCP), Socket::Known),
        (v6_flow(sockets.known6, 80, TCP), Socket::Known),
        (v4_flow(STRANGER, 80, TCP), Socket::Listening),
        (v6_flow(STRANGER, 80, TCP), Socket::Listening),
    ])
}

fn check(case: &Case, got: &Result, by: &str) {
    let name = case.name;
    let frame = case.out.as_ref().unwrap_or(&case.frame);
    assert_eq!(got.reason, case.reason, "{by}: {name}");
    assert_eq!(got.sent_to, case.sent_to, "{by}: {name}");
    assert_eq!(hex(&got.frame), hex(frame), "{by}: {name}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn with_sockets(sockets: &Sockets) -> Vec<Case> {
    let mut cases = not_ours();
    cases.extend(left_to_the_stack());
    cases.extend(for_this_node(sockets));
    cases.extend(forwarded());
    cases.extend(out_of_the_tunnel(sockets));
    cases
}

#[test]
fn the_core_does_what_the_table_says() {
    let sockets = Sockets { _open: vec![], _listeners: vec![], known4: 40_004, known6: 40_006 };
    for case in with_sockets(&sockets) {
        let world = Fake::new(case.row, fake_sockets(&sockets));
        check(&case, &on_host(&world, &case.frame), "host");
    }
    for case in nobody_listens() {
        check(&case, &on_host(&Fake::new(case.row, HashMap::new()), &case.frame), "host");
    }
}

#[test]
fn the_programs_do_what_the_table_says() {
    let Some(mut kernel) = Kernel::load() else { return };
    enter_namespace();
    for case in nobody_listens() {
        kernel.set_row(&case.flow, case.row);
        check(&case, &kernel.run(&case.frame), "kernel, nobody listens");
    }
    let sockets = open_sockets();
    for case in with_sockets(&sockets) {
        kernel.set_row(&case.flow, case.row);
        check(&case, &kernel.run(&case.frame), "kernel");
    }
}

#[test]
fn a_connection_in_time_wait_is_this_nodes() {
    let Some(mut kernel) = Kernel::load() else { return };
    enter_namespace();
    let listener = TcpListener::bind((VIP4, 80)).expect("a listener");
    let client = connect(CLIENT4.into(), SocketAddr::from((VIP4, 80)));
    let port = client.local_addr().expect("bound").port();
    let (server, _) = listener.accept().expect("the connection");
    // The side that closes first keeps the TIME-WAIT.
    drop(server);
    let mut client = client;
    assert_eq!(std::io::Read::read(&mut client, &mut [0]).expect("the end"), 0);
    drop(client);
    drop(listener);
    let flow = v4_flow(port, 80, TCP);
    kernel.set_row(&flow, row(&[1, 2]));
    let late = frame(ethernet(&[], IPV4), &client4(TCP, &tcp(port, 80, ACK, b"")));
    assert_eq!(kernel.run(&late).reason, Reason::Local);
}

#[test]
fn an_empty_slot_leaves_tunnel_packets_to_the_stack() {
    let Some(mut kernel) = Kernel::load() else { return };
    enter_namespace();
    kernel.set_decap(false);
    let packet = from_peer(&tunnel(1, 0, &[], GEN, &client4(TCP, &tcp(1, 80, SYN, b""))));
    let got = kernel.run(&packet);
    assert_eq!((got.reason, got.frame), (Reason::NoDecap, packet));
}

#[test]
fn a_frame_cut_anywhere_is_no_trouble() {
    let Some(mut kernel) = Kernel::load() else { return };
    enter_namespace();
    let sockets = Sockets { _open: vec![], _listeners: vec![], known4: 40_004, known6: 40_006 };
    for case in with_sockets(&sockets) {
        for length in (14..case.frame.len()).step_by(3) {
            let frame = &case.frame[..length];
            let world = Fake::new(case.row, HashMap::new());
            kernel.set_row(&case.flow, case.row);
            assert_eq!(kernel.run(frame), on_host(&world, frame), "{} at {length}", case.name);
        }
    }
}

#[test]
fn the_maps_take_little_memory() {
    let Some(kernel) = Kernel::load() else { return };
    let mut total = 0;
    for (name, map) in kernel.object().maps() {
        let data = match map {
            aya::maps::Map::Array(data)
            | aya::maps::Map::PerCpuArray(data)
            | aya::maps::Map::HashMap(data)
            | aya::maps::Map::ProgramArray(data) => data,
            other => panic!("{name} is {other:?}"),
        };
        let descriptor = data.fd().as_fd().as_raw_fd();
        // What the kernel charged for it.
        let told = std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).expect(name);
        let bytes: u64 = told
            .lines()
            .find_map(|line| line.strip_prefix("memlock:"))
            .and_then(|bytes| bytes.trim().parse().ok())
            .expect("the kernel says what a map takes");
        println!("{name:<10} {bytes:>10}");
        total += bytes;
    }
    assert!(total > 0 && total < 8 << 20, "{total} bytes");
}

#[test]
fn what_a_packet_costs() {
    let Some(mut kernel) = Kernel::load() else { return };
    enter_namespace();
    let sockets = open_sockets();
    let known = v4_flow(sockets.known4, 80, TCP);
    kernel.set_row(&known, row(&[1, 2]));
    kernel.set_row(&v4_flow(STRANGER, 443, UDP), row(&[1, 2]));
    let cases = [
        (
            "not for a virtual address",
            frame(
                ethernet(&[], IPV4),
                &Ipv4::new(CLIENT4, OWN4, TCP).around(&tcp(1, 80, ACK, b"")),
            ),
        ),
        (
            "another port of a virtual address",
            frame(ethernet(&[], IPV4), &client4(UDP, &udp(STRANGER, 82, b"q"))),
        ),
        (
            "without a table",
            frame(ethernet(&[], IPV4), &client4(TCP, &tcp(STRANGER, 81, ACK, b""))),
        ),
        (
            "datagram for this node",
            frame(ethernet(&[], IPV4), &client4(UDP, &udp(STRANGER, 443, b"q"))),
        ),
        (
            "local, known",
            frame(ethernet(&[], IPV4), &client4(TCP, &tcp(sockets.known4, 80, ACK, b""))),
        ),
    ];
    let empty = kernel.time("xdp_pass", &cases[0].1, 20_000);
    println!("empty program {empty} ns");
    for (name, frame) in cases {
        let took = kernel.time("xdp_steer", &frame, 20_000);
        println!("{name}: {took} ns, {} above empty", took.saturating_sub(empty));
    }
    let forwarded = &forwarded()[0];
    kernel.set_row(&forwarded.flow, forwarded.row);
    // A repeated run would see its own output.
    let median = |program: &str| {
        let mut runs: Vec<u128> =
            (0..500).map(|_| kernel.time(program, &forwarded.frame, 1)).collect();
        runs.sort_unstable();
        runs[runs.len() / 2]
    };
    let (empty, took) = (median("xdp_pass"), median("xdp_steer"));
    println!("forwarded: {took} ns, {} above empty (single runs)", took.saturating_sub(empty));
}
