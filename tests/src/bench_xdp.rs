//! What a packet costs in the kernel tier, above a program that does nothing.
//!
//! A test run repeated in the kernel sees what the run before left, so that a program that rewrites
//! packets has to be called anew for each: then the clock and cold caches weigh more than the
//! program, and the median of many calls less that of the empty program is what it costs. Where the
//! packet stays as it is, a second figure is the mean of runs repeated in the kernel.

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
};

use anyhow::{Result, ensure};
use ingress_common::{
    Config, Flow, Group, HashKey, Mac, Node, NodeId, Peer, Port, Reason, Row, VipKey, VipValue,
    node::NODE_USABLE, table::row_index,
};
use testbed::{
    programs::{Programs, in_own_namespace},
    wire::{ACK, Packet, SYN, Transport},
};

/// Arguments of `testbed bench-xdp`; `cargo xtask bench xdp` gives the path.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The eBPF object.
    #[arg(long)]
    object: PathBuf,
    /// How often each case and the empty program take turns.
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// Calls of each in one turn.
    #[arg(long, default_value_t = 2000)]
    calls: u32,
}

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
    frame: Vec<u8>,
    /// At most so many nanoseconds: what the micro-costs of the helpers and maps add up to.
    budget: Option<f64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    in_own_namespace(&[VIP.into(), VIP6.into()], || measure(arguments))?
}

fn measure(arguments: &Arguments) -> Result<()> {
    let mut programs = Programs::load(&arguments.object)?;
    fill(&mut programs)?;
    // The sockets stay open to the end.
    let (v4, v6) = (connect(VIP.into())?, connect(VIP6.into())?);
    let cases = cases(&mut programs, v4.port()?, v6.port()?)?;

    say("ns per packet above the empty program:      one by one   repeated   budget\n");
    for case in &cases {
        // The runs that were timed count too.
        programs.counted()?;
        let run = programs.run(&case.frame)?;
        ensure!(run.reason == case.reason, "{}: counted as {}", case.name, run.reason.name());
        let unchanged = run.frame == case.frame;
        let (single, repeated) = cost(&programs, case, unchanged, arguments)?;
        let repeated_text = repeated.map_or_else(|| "-".into(), |cost| format!("{cost:.0}"));
        // The budget is for a machine that does nothing else; this one may.
        let budget = case.budget.map_or_else(String::new, |budget| {
            let over = repeated.unwrap_or(single).min(single) > budget;
            format!("{budget:>8.0}{}", if over { "  over" } else { "" })
        });
        say(&format!("  {:<40} {single:>11.0} {repeated_text:>10} {budget}\n", case.name));
    }
    let empty = programs.time("xdp_pass", &[0; 64], arguments.calls * 50)?.1;
    say(&format!("\nThe empty program itself, repeated: {empty:.0} ns\n"));
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

/// Nanoseconds above the empty program: the median of single calls, and the lowest of the means of
/// repeated runs.
fn cost(
    programs: &Programs,
    case: &Case,
    unchanged: bool,
    arguments: &Arguments,
) -> Result<(f64, Option<f64>)> {
    let (mut empty, mut full) = (Vec::new(), Vec::new());
    let (mut empty_mean, mut full_mean) = (f64::MAX, f64::MAX);
    for _ in 0..arguments.rounds {
        for (program, single, mean) in
            [("xdp_pass", &mut empty, &mut empty_mean), ("xdp_steer", &mut full, &mut full_mean)]
        {
            for _ in 0..arguments.calls {
                single.push(programs.time(program, &case.frame, 1)?.1);
            }
            if unchanged {
                let repeat = arguments.calls * 50;
                *mean = mean.min(programs.time(program, &case.frame, repeat)?.1);
            }
        }
    }
    let single = median(&mut full) - median(&mut empty);
    Ok((single, unchanged.then_some(full_mean - empty_mean)))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Two services, one of which has all its flows here and the other there.
fn fill(programs: &mut Programs) -> Result<()> {
    let tunnel_port = Port::new(TUNNEL);
    programs.set_config(Config { node: NodeId(1), tunnel_port, flags: 0 })?;
    for group in 0..2 {
        programs
            .set_group(group, Group { generation: 0, ready: 1, key: KEY, transition_until: 0 })?;
    }
    for vip in [IpAddr::from(VIP), VIP6.into()] {
        programs.add_vip_address(vip)?;
        for (group, port) in [HERE, THERE].into_iter().enumerate() {
            let value = VipValue { vip_id: 0, group: group as u16, flags: 0 };
            programs.add_vip(VipKey::new(vip.into(), Port::new(port), 6), value)?;
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
    let segment = |port, service, flags| Packet::tcp((VIP, port), (VIP, service), flags, b"data");
    let segment6 =
        |port, service, flags| Packet::tcp((VIP6, port), (VIP6, service), flags, b"data");
    let mut cases = Vec::new();
    let mut add = |name, reason, packet: &Packet, budget| {
        cases.push(Case { name, reason, frame: packet.frame(), budget });
    };
    let other = Packet::tcp((VIP, 5), (OWN, 22), ACK, b"data");
    let other6 = Packet::tcp((VIP6, 5), (OWN6, 22), ACK, b"data");
    add("not for a virtual address, IPv4", Reason::NotVip, &other, Some(30.0));
    add("not for a virtual address, IPv6", Reason::NotVip, &other6, Some(30.0));

    let (known, known6) = (segment(port, HERE, ACK), segment6(port6, HERE, ACK));
    let (new, new6) = (segment(9, HERE, SYN), segment6(9, HERE, SYN));
    for packet in [&known, &known6, &new, &new6] {
        set_row(programs, packet, 0, &[1, 2])?;
    }
    add("known here, IPv4", Reason::Local, &known, Some(90.0));
    add("known here, IPv6", Reason::Local, &known6, Some(90.0));
    add("SYN to a listener here, IPv4", Reason::Local, &new, None);
    add("SYN to a listener here, IPv6", Reason::Local, &new6, None);

    let (away, away6) = (segment(9, THERE, ACK), segment6(9, THERE, ACK));
    set_row(programs, &away, 1, &[2, 3])?;
    set_row(programs, &away6, 1, &[3, 2])?;
    add("to another node, IPv4 over IPv4", Reason::Forwarded, &away, Some(90.0));
    add("to another node, IPv6 over IPv6", Reason::Forwarded, &away6, Some(90.0));
    let unknown = segment(10, HERE, ACK);
    set_row(programs, &unknown, 0, &[1, 2])?;
    add("unknown here, to the second node, IPv4", Reason::ForwardedNext, &unknown, None);

    add("out of the tunnel and known, IPv4", Reason::Decapsulated, &tunnelled(&known), None);
    add("out of the tunnel and known, IPv6", Reason::Decapsulated, &tunnelled(&known6), None);
    add("out of the tunnel and on, IPv4", Reason::Relayed, &tunnelled(&away), None);
    Ok(cases)
}

fn set_row(programs: &mut Programs, packet: &Packet, group: u16, nodes: &[u16]) -> Result<()> {
    let Transport::Tcp { source, destination, .. } = packet.transport else {
        return Ok(());
    };
    let flow = Flow {
        source: packet.source.into(),
        destination: packet.destination.into(),
        source_port: Port::new(source),
        destination_port: Port::new(destination),
        protocol: 6,
        reserved: [0; 3],
    };
    let mut row = Row::EMPTY;
    for (slot, id) in row.nodes.iter_mut().zip(nodes) {
        *slot = NodeId(*id);
    }
    programs.set_row(row_index(group, 0, flow.hash(KEY, false)), row)
}

/// The packet as the peer sends it, with this peer's other address to try next.
fn tunnelled(client: &Packet) -> Packet {
    let v4 = client.source.is_ipv4();
    let mut payload = vec![0x11, 1, 0, if v4 { 4 } else { 41 }, 0, 0, 0, 2, 0, 0, 0, 0];
    payload.extend(client.ip());
    if v4 {
        Packet::udp((PEER, 0xc000), (OWN, TUNNEL), &payload)
    } else {
        Packet::udp((PEER6, 0xc000), (OWN6, TUNNEL), &payload)
    }
}

fn say(text: &str) {
    // Whoever closed the other end wants no more.
    let _ = io::stdout().write_all(text.as_bytes());
}
