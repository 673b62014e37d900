//! What a packet costs in the kernel tier, above a program that does nothing.
//!
//! A test run repeated in the kernel sees what the run before left. So a program in front brings each
//! frame back to what it was and goes on with the program under measurement, or with the empty one:
//! the difference is what the former costs. Both take turns, and of many rounds the shortest counts,
//! for whatever else the machine does only ever makes a run longer.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use ingress_common::{
    Config, Flow, FlowNode, Group, HashKey, Mac, Node, NodeId, Peer, Port, Reason, Row, VipKey,
    VipValue,
    limits::{BENCH_FRAME, ROWS, tail},
    node::NODE_USABLE,
    table::row_index,
};
use testbed::{
    programs::{Programs, in_own_namespace},
    wire::{ACK, Packet, SYN, Transport},
};

/// Arguments of `testbed bench-l4`; `cargo xtask bench l4` gives the paths.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The eBPF object.
    #[arg(long)]
    object: PathBuf,
    /// How often each case and the empty program take turns.
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// Packets of each in one turn.
    #[arg(long, default_value_t = 200_000)]
    packets: u32,
    /// Writes the table to this file too.
    #[arg(long)]
    write: Option<PathBuf>,
}

/// How many flows there are where there are many.
const FLOWS: u32 = 100_000;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OWN6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PEER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
/// Rows name this node.
const HERE: u16 = 80;
/// Rows name the peer.
const THERE: u16 = 81;
const TUNNEL: u16 = 6082;
const KEY: HashKey = HashKey([1, 2]);

struct Case {
    name: &'static str,
    reason: Reason,
    /// The first packet of each flow.
    packets: Vec<Packet>,
    /// At most so many nanoseconds: what the issue allows.
    bar: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    in_own_namespace(&[VIP.into(), VIP6.into()], || measure(arguments))?
}

fn measure(arguments: &Arguments) -> Result<()> {
    let mut programs = Programs::load_to_measure(&arguments.object, FLOWS)?;
    fill(&mut programs)?;
    // The sockets stay open to the end.
    let (v4, v6) = (connect(VIP.into())?, connect(VIP6.into())?);
    let cases = cases(&mut programs, v4.port()?, v6.port()?)?;

    let mut table = "| packet | flows | ns | bar |\n|---|---|---|---|\n".to_owned();
    say("ns per packet above the empty program:                  flows      ns    bar\n");
    for case in &cases {
        let (flows, bar) = (case.packets.len(), case.bar);
        let cost = cost(&mut programs, case, arguments)?;
        // The bar is for a machine that does nothing else; this one may.
        let over = if cost > bar { "over" } else { "" };
        say(&format!("  {:<50} {flows:>8} {cost:>7.0} {bar:>6.0} {over}\n", case.name));
        let _ = writeln!(table, "| {} | {flows} | {cost:.0} | {bar:.0} |", case.name);
    }
    if let Some(path) = &arguments.write {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let text = format!(
            "# What a packet costs in the kernel tier\n\nNanoseconds per packet above an empty program, \
             by `cargo xtask bench l4` on Linux {}, in test runs\nof the loaded programs: the shortest of \
             {} rounds of {} packets. How: `tests/src/bench_l4.rs`.\nThe bars are those of a machine \
             that does nothing else.\n\n{table}",
            release.trim(),
            arguments.rounds,
            arguments.packets,
        );
        std::fs::write(path, text)?;
    }
    Ok(())
}

/// A listener and a connection to it.
struct Sockets {
    client: TcpStream,
    _server: TcpStream,
    _listener: TcpListener,
}

fn connect(vip: IpAddr) -> io::Result<Sockets> {
    let listener = TcpListener::bind(SocketAddr::new(vip, HERE))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    Ok(Sockets { client, _server: server, _listener: listener })
}

impl Sockets {
    /// The client's port.
    fn port(&self) -> io::Result<u16> {
        Ok(self.client.local_addr()?.port())
    }
}

/// Nanoseconds above the empty program.
fn cost(programs: &mut Programs, case: &Case, arguments: &Arguments) -> Result<f64> {
    let frames: Vec<[u8; BENCH_FRAME]> = case.packets.iter().map(frame).collect::<Result<_>>()?;
    let first = frames.first().context("a case has packets")?.to_vec();
    let (mut empty, mut full) = (f64::MAX, f64::MAX);
    programs.counted()?;
    for _ in 0..arguments.rounds {
        for (program, shortest) in [("xdp_pass", &mut empty), ("xdp_steer", &mut full)] {
            programs.fill("PROGS", tail::BENCH, program)?;
            programs.prepare(&frames)?;
            let (_, mean) = programs.time("xdp_front", &first, arguments.packets)?;
            *shortest = shortest.min(mean);
        }
    }
    for (reason, counters) in programs.counted()? {
        ensure!(
            reason == case.reason,
            "{}: {} packets counted as {}",
            case.name,
            counters.packets,
            reason.name()
        );
    }
    Ok(full - empty)
}

/// A packet as a frame of the length that all have.
fn frame(packet: &Packet) -> Result<[u8; BENCH_FRAME]> {
    let mut frame = packet.frame();
    ensure!(frame.len() <= BENCH_FRAME, "{} bytes are too many", frame.len());
    frame.resize(BENCH_FRAME, 0);
    frame.try_into().map_err(|_bytes| anyhow!("not {BENCH_FRAME} bytes"))
}

/// Two services, one of which has all its flows here and the other there.
fn fill(programs: &mut Programs) -> Result<()> {
    let tunnel_port = Port::new(TUNNEL);
    programs.set_config(Config { node: NodeId(1), tunnel_port, flags: 0 })?;
    for group in 0..3 {
        programs
            .set_group(group, Group { generation: 0, ready: 1, key: KEY, transition_until: 0 })?;
    }
    for vip in [IpAddr::from(VIP), VIP6.into()] {
        programs.add_vip_address(vip)?;
        // What is there is reached over the client's version of IP.
        let there = if vip.is_ipv4() { 1 } else { 2 };
        for (group, port, protocol) in [(0, HERE, 6), (there, THERE, 6), (there, THERE, 17)] {
            let value = VipValue { vip_id: 0, group, flags: 0 };
            programs.add_vip(VipKey::new(vip.into(), Port::new(port), protocol), value)?;
        }
    }
    let node = |address: IpAddr, source: IpAddr| Node {
        address: address.into(),
        source: source.into(),
        next_hop: Mac::new([2, 0, 0, 0, 0, 2]),
        source_mac: Mac::new([2, 0, 0, 0, 0, 1]),
        ifindex: 1,
        mtu: 1500,
        flags: NODE_USABLE,
        slot: 0,
    };
    programs.set_node(NodeId(2), node(PEER.into(), OWN.into()))?;
    programs.set_node(NodeId(3), node(PEER6.into(), OWN6.into()))?;
    let peer = |local: IpAddr| Peer { local: local.into(), node: NodeId(2), reserved: [0; 2] };
    programs.add_peer(PEER.into(), peer(OWN.into()))?;
    programs.add_peer(PEER6.into(), peer(OWN6.into()))
}

fn cases(programs: &mut Programs, port: u16, port6: u16) -> Result<Vec<Case>> {
    // Every flow of the one service is here, of the other there.
    for (group, row) in [(0, [1, 2]), (1, [2, 1]), (2, [3, 1])] {
        for index in 0..ROWS {
            let row = Row { nodes: [NodeId(row[0]), NodeId(row[1]), NodeId::NONE, NodeId::NONE] };
            programs.set_row(row_index(group, 0, u64::from(index)), row)?;
        }
    }
    let many = |of: &dyn Fn(u32) -> Packet| -> Vec<Packet> { (0..FLOWS).map(of).collect() };
    let client = |n: u32| Ipv4Addr::from_bits(0xc633_0000 + n / 50_000);
    let client6 = |n: u32| Ipv6Addr::from_bits((0x2001_0db8 << 96) + u128::from(n / 50_000));
    let port_of = |n: u32| (n % 50_000 + 1024) as u16;
    let tcp = |n, service, flags| Packet::tcp((client(n), port_of(n)), (VIP, service), flags, b"");
    let tcp6 =
        |n, service, flags| Packet::tcp((client6(n), port_of(n)), (VIP6, service), flags, b"");
    let udp = |n| Packet::udp((client(n), port_of(n)), (VIP, THERE), b"query");
    let udp6 = |n| Packet::udp((client6(n), port_of(n)), (VIP6, THERE), b"query");
    let other = |n| Packet::tcp((client(n), port_of(n)), (OWN, 22), ACK, b"");
    let other6 = |n| Packet::tcp((client6(n), port_of(n)), (OWN6, 22), ACK, b"");
    let known = Packet::tcp((VIP, port), (VIP, HERE), ACK, b"");
    let known6 = Packet::tcp((VIP6, port6), (VIP6, HERE), ACK, b"");
    let error = |about: &Packet, v4: bool| {
        let mut message = if v4 { vec![3, 4, 0, 0] } else { vec![2, 0, 0, 0] };
        message.extend([0, 0, 5, 0x78]);
        message.extend(&about.ip()[..if v4 { 28 } else { 48 }]);
        let transport = Transport::Other(if v4 { 1 } else { 58 }, message);
        Packet::new(about.destination, about.source, transport)
    };
    let answer = Packet::tcp((VIP, THERE), (client(0), 9), ACK, b"");
    let answer6 = Packet::tcp((VIP6, THERE), (client6(0), 9), ACK, b"");
    let (about, about6) = (error(&answer, true), error(&answer6, false));

    // The flows of UDP are there already: a hit is measured, not an insertion.
    let second = Duration::from(nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?);
    for n in 0..FLOWS {
        for (packet, node, group) in [(udp(n), 2, 1), (udp6(n), 3, 2)] {
            let seen = second.as_secs() as u32;
            let flow = FlowNode { seen, node: NodeId(node), reserved: 0 };
            programs.remember_flow(hash(&packet) ^ group, flow)?;
        }
    }

    let (pass, forward, syn) = (30.0, 90.0, 130.0);
    let mut cases = Vec::new();
    let mut add = |name, reason, bar, packets: Vec<Packet>| {
        cases.push(Case { name, reason, packets, bar });
    };
    add("not for a virtual address, IPv4", Reason::NotVip, pass, vec![other(0)]);
    add("not for a virtual address, IPv4", Reason::NotVip, pass, many(&other));
    add("not for a virtual address, IPv6", Reason::NotVip, pass, vec![other6(0)]);
    add("not for a virtual address, IPv6", Reason::NotVip, pass, many(&other6));
    add("known here, IPv4", Reason::Local, forward, vec![known.clone()]);
    add("known here, IPv6", Reason::Local, forward, vec![known6.clone()]);
    let away = |n| tcp(n, THERE, ACK);
    let away6 = |n| tcp6(n, THERE, ACK);
    add("to another node, IPv4 over IPv4", Reason::Forwarded, forward, vec![away(0)]);
    add("to another node, IPv4 over IPv4", Reason::Forwarded, forward, many(&away));
    add("to another node, IPv6 over IPv6", Reason::Forwarded, forward, vec![away6(0)]);
    add("to another node, IPv6 over IPv6", Reason::Forwarded, forward, many(&away6));
    let (inside, inside6) = (tunnelled(&known), tunnelled(&known6));
    add("out of the tunnel and known, IPv4", Reason::Decapsulated, forward, vec![inside]);
    add("out of the tunnel and known, IPv6", Reason::Decapsulated, forward, vec![inside6]);
    let new = |n| tcp(n, HERE, SYN);
    let new6 = |n| tcp6(n, HERE, SYN);
    add("SYN to a listener here, IPv4", Reason::Local, syn, vec![new(0)]);
    add("SYN to a listener here, IPv4", Reason::Local, syn, many(&new));
    add("SYN to a listener here, IPv6", Reason::Local, syn, vec![new6(0)]);
    add("SYN to a listener here, IPv6", Reason::Local, syn, many(&new6));
    let new = |n| tcp(n, THERE, SYN);
    let new6 = |n| tcp6(n, THERE, SYN);
    add("SYN to another node, IPv4", Reason::Forwarded, syn, vec![new(0)]);
    add("SYN to another node, IPv4", Reason::Forwarded, syn, many(&new));
    add("SYN to another node, IPv6", Reason::Forwarded, syn, vec![new6(0)]);
    add("SYN to another node, IPv6", Reason::Forwarded, syn, many(&new6));
    add("datagram of a known flow, IPv4", Reason::Forwarded, forward, vec![udp(0)]);
    add("datagram of a known flow, IPv4", Reason::Forwarded, forward, many(&udp));
    add("datagram of a known flow, IPv6", Reason::Forwarded, forward, vec![udp6(0)]);
    add("datagram of a known flow, IPv6", Reason::Forwarded, forward, many(&udp6));
    add("ICMP error to another node, IPv4", Reason::Forwarded, forward, vec![about]);
    add("ICMP error to another node, IPv6", Reason::Forwarded, forward, vec![about6]);
    Ok(cases)
}

/// The hash of a packet's flow.
fn hash(packet: &Packet) -> u64 {
    let (source, destination) = match packet.transport {
        Transport::Udp { source, destination, .. } => (source, destination),
        _ => (0, 0),
    };
    let of = |address: IpAddr, port| (address.into(), Port::new(port));
    Flow::new(of(packet.source, source), of(packet.destination, destination), 17).hash(KEY, false)
}

/// The packet as the peer sends it, with this peer's other address to try next.
fn tunnelled(client: &Packet) -> Packet {
    let v4 = client.source.is_ipv4();
    let mut payload = vec![0x11, 1, 0, if v4 { 4 } else { 41 }, 0, 0, 0, 2, 0, 0, 0, 0];
    payload.extend(client.ip());
    // Over IPv4 whatever the client's version: over IPv6 it would not fit into the frames.
    Packet::udp((PEER, 0xc000), (OWN, TUNNEL), &payload)
}

fn say(text: &str) {
    // Whoever closed the other end wants no more.
    let _ = io::stdout().write_all(text.as_bytes());
}
