//! `penstock explain --flow`: what would become of a packet. A copy of the loaded program is run on
//! a made one, over the maps and sockets as they are, with counters of its own.

use std::{
    fmt,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use aya::{
    TestRun as _, TestRunOptions,
    maps::{MapData, PerCpuArray},
    programs::Xdp,
};
use ingress_common::{
    Address, Counters, Flow, NodeId, Port, Reason, VipValue,
    limits::VIP_SLOTS,
    node::NODE_USABLE,
    observe::{Forwards, counter_index},
    table::row_index,
    vip::VIP_AFFINITY_SOURCE,
};
use serde_json::{Value, json};

use super::{
    L4Error, Reader,
    apply::{cannot, open},
    attach::{explain_loader, load_xdp, program},
    counters::{by_number, display, state},
    directory::directory,
    object,
};

/// The flow of a packet: `SRC:PORT-DST:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    source: SocketAddr,
    destination: SocketAddr,
}

impl FromStr for Ends {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no SRC:PORT-DST:PORT, such as 192.0.2.1:4000-203.0.113.1:80");
        let (source, destination) = text.split_once('-').ok_or_else(wrong)?;
        let parse = |part: &str| part.trim().parse::<SocketAddr>().map_err(|_no_address| wrong());
        let (source, destination) = (parse(source)?, parse(destination)?);
        if source.is_ipv4() == destination.is_ipv4() {
            Ok(Self { source, destination })
        } else {
            Err(format!("{text:?} has addresses of both families"))
        }
    }
}

/// Which packet of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Syn,
    Ack,
    Udp,
}

impl Kind {
    const fn protocol(self) -> u8 {
        match self {
            Self::Syn | Self::Ack => 6,
            Self::Udp => 17,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Syn => "TCP SYN",
            Self::Ack => "TCP ACK",
            Self::Udp => "UDP",
        }
    }
}

/// Says what would become of a packet.
#[derive(Clone, Debug, clap::Args)]
pub struct Explain {
    /// The packet's ends: SRC:PORT-DST:PORT, an IPv6 address in brackets.
    #[arg(long, value_name = "SRC:PORT-DST:PORT")]
    flow: Ends,
    /// A packet that begins a TCP connection; so it is without any of the three.
    #[arg(long, conflicts_with_all = ["ack", "udp"])]
    syn: bool,
    /// A packet of a TCP connection that exists.
    #[arg(long, conflicts_with = "udp")]
    ack: bool,
    /// A datagram.
    #[arg(long)]
    udp: bool,
    /// Text for people or JSON for scripts.
    #[arg(long, value_name = "text|json", default_value = "text", value_parser = ["text", "json"])]
    output: String,
    /// Where programs and maps are pinned.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/penstock")]
    bpf_dir: PathBuf,
}

impl Explain {
    /// Does it.
    ///
    /// # Errors
    /// [`L4Error`]. A failure to write to `out` is none.
    pub fn run(&self, out: &mut impl Write) -> Result<(), L4Error> {
        let kind = match (self.ack, self.udp) {
            (true, _) => Kind::Ack,
            (_, true) => Kind::Udp,
            _ => Kind::Syn,
        };
        let story = tell(&self.bpf_dir, self.flow, kind)?;
        let _ = if self.output == "json" {
            writeln!(out, "{:#}", story.to_json())
        } else {
            story.print(out)
        };
        Ok(())
    }
}

struct Candidate {
    name: String,
    id: NodeId,
    state: &'static str,
    own: bool,
    address: Option<IpAddr>,
}

struct Steered {
    service: String,
    group: u16,
    generation: u32,
    row: u32,
    candidates: Vec<Candidate>,
}

struct Story {
    ends: Ends,
    kind: Kind,
    steered: Option<Steered>,
    reason: Option<Reason>,
    node: Option<String>,
}

fn tell(bpf_dir: &Path, ends: Ends, kind: Kind) -> Result<Story, L4Error> {
    let reader = Reader::open(bpf_dir)?;
    let destination = Address::from(ends.destination.ip());
    let service = reader.service(destination, ends.destination.port(), kind.protocol());
    let steered = match service {
        Some(service) => Some(look_up(&reader, ends, kind, service)?),
        None => None,
    };
    let (reason, slot) = run(bpf_dir, &frame(ends, kind))?;
    let labels = reader.labels()?;
    let node = slot.map(|slot| {
        let label = labels.iter().find(|(at, _)| *at == slot);
        label.map_or_else(|| "a node that has no name here".to_owned(), |(_, label)| display(label))
    });
    Ok(Story { ends, kind, steered, reason, node })
}

/// The row as the programs find it, by the same function.
fn look_up(reader: &Reader, ends: Ends, kind: Kind, service: VipValue) -> Result<Steered, L4Error> {
    let names = reader.service_names()?;
    let labels = by_number(reader.labels()?);
    let group = reader.group(service.group)?;
    let own = reader.config()?.node;
    let end = |end: SocketAddr| (Address::from(end.ip()), Port::new(end.port()));
    let flow = Flow::new(end(ends.source), end(ends.destination), kind.protocol());
    let hash = flow.hash(group.key, service.flags & VIP_AFFINITY_SOURCE != 0);
    let row = reader.row(row_index(service.group, group.generation, hash))?;
    let mut candidates = Vec::new();
    for id in row.nodes.into_iter().filter(|id| *id != NodeId::NONE) {
        let node = reader.node(id)?;
        let label = labels.get(&id);
        candidates.push(Candidate {
            name: label.map_or_else(|| format!("node {}", id.0), display),
            id,
            state: label.map_or("unknown", |label| state(label.state)),
            own: id == own,
            address: (node.flags & NODE_USABLE != 0).then(|| node.address.into()),
        });
    }
    Ok(Steered {
        service: names.get(&service.vip_id).cloned().unwrap_or_default(),
        group: service.group,
        generation: group.generation,
        row: (hash & 0xffff) as u32,
        candidates,
    })
}

/// Runs a copy of the program; why the packet left it, and the slot of the node that it was sent to.
fn run(bpf_dir: &Path, frame: &[u8]) -> Result<(Option<Reason>, Option<u32>), L4Error> {
    let bytes = object::embedded().ok_or(L4Error::NoObject)?;
    let object = explain_loader(&directory(bpf_dir)).load(bytes);
    let mut object = object.map_err(|error| L4Error::Load(Box::new(error)))?;
    load_xdp(&mut object)?;
    let reasons: PerCpuArray<MapData, Counters> = open(&mut object, "REASONS")?;
    let forwards: PerCpuArray<MapData, Forwards> = open(&mut object, "FORWARDS")?;

    let steer: &mut Xdp = program(&mut object, "xdp_steer")?;
    let mut after = [0; 512];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut after),
        ..TestRunOptions::default()
    };
    steer.test_run(options).map_err(|source| L4Error::TestRun(Box::new(source)))?;

    let mut reason = None;
    'slots: for slot in 0..VIP_SLOTS as u16 {
        for candidate in Reason::ALL {
            let index = counter_index(slot, *candidate as u32);
            let counted = reasons.get(&index, 0).map_err(cannot("REASONS", "read"))?;
            if counted.iter().any(|cpu| cpu.packets > 0) {
                reason = Some(*candidate);
                break 'slots;
            }
        }
    }
    let mut sent = None;
    for slot in 0..forwards.len() {
        let counted = forwards.get(&slot, 0).map_err(cannot("FORWARDS", "read"))?;
        if counted.iter().any(|cpu| cpu.first + cpu.next + cpu.relayed > 0) {
            sent = Some(slot);
            break;
        }
    }
    Ok((reason, sent))
}

/// A packet without payload, as a client would send it.
fn frame(ends: Ends, kind: Kind) -> Vec<u8> {
    let mut transport = ends.source.port().to_be_bytes().to_vec();
    transport.extend(ends.destination.port().to_be_bytes());
    match kind {
        Kind::Syn | Kind::Ack => {
            let flags = if kind == Kind::Syn { 0x02 } else { 0x10 };
            transport.extend([0; 8]);
            transport.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        }
        Kind::Udp => transport.extend([0, 8, 0, 0]),
    }
    let length = transport.len() as u16;
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    match (ends.source.ip(), ends.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend((length + 20).to_be_bytes());
            frame.extend([0, 0, 0x40, 0, 64, kind.protocol(), 0, 0]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
            let sum: u32 = frame[14..34]
                .chunks_exact(2)
                .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
                .sum();
            let sum = (sum & 0xffff) + (sum >> 16);
            let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        (source, destination) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([kind.protocol(), 64]);
            for address in [source, destination] {
                match address {
                    IpAddr::V4(v4) => frame.extend(v4.to_ipv6_mapped().octets()),
                    IpAddr::V6(v6) => frame.extend(v6.octets()),
                }
            }
        }
    }
    frame.extend(transport);
    frame
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (id {}), {}, ", self.name, self.id.0, self.state)?;
        match (self.own, self.address) {
            (true, _) => f.write_str("this node"),
            (false, Some(address)) => write!(f, "at {address}"),
            (false, None) => f.write_str("cannot be reached"),
        }
    }
}

impl Story {
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { ends, kind, .. } = self;
        writeln!(out, "packet       {}, {} > {}", kind.name(), ends.source, ends.destination)?;
        match &self.steered {
            None => {
                writeln!(out, "service      none: nothing is steered at that address and port")?
            }
            Some(steered) => {
                let Steered { service, group, generation, row, candidates } = steered;
                writeln!(out, "service      {service}, group {group}, generation {generation}")?;
                writeln!(out, "row          {row}")?;
                if candidates.is_empty() {
                    writeln!(out, "candidates   none")?;
                }
                for (position, candidate) in candidates.iter().enumerate() {
                    let head = if position == 0 { "candidates" } else { "" };
                    writeln!(out, "{head:<12} {}. {candidate}", position + 1)?;
                }
            }
        }
        match self.reason {
            None => writeln!(out, "verdict      unknown: nothing was counted")?,
            Some(reason) => {
                let to = self.node.as_ref().map(|node| format!(", to {node}")).unwrap_or_default();
                writeln!(out, "verdict      {}: {}{to}", reason.verdict().name(), reason.name())?;
            }
        }
        Ok(())
    }

    fn to_json(&self) -> Value {
        json!({
            "source": self.ends.source.to_string(),
            "destination": self.ends.destination.to_string(),
            "packet": self.kind.name(),
            "service": self.steered.as_ref().map(|steered| steered.service.clone()),
            "group": self.steered.as_ref().map(|steered| steered.group),
            "generation": self.steered.as_ref().map(|steered| steered.generation),
            "row": self.steered.as_ref().map(|steered| steered.row),
            "candidates": self.steered.iter().flat_map(|steered| &steered.candidates)
                .map(|candidate| json!({
                    "name": candidate.name,
                    "id": candidate.id.0,
                    "state": candidate.state,
                    "own": candidate.own,
                    "address": candidate.address.map(|address| address.to_string()),
                }))
                .collect::<Vec<_>>(),
            "verdict": self.reason.map(|reason| reason.verdict().name()),
            "reason": self.reason.map(Reason::name),
            "node": self.node,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_read_and_a_wrong_one_is_explained() {
        let ends: Ends = "192.0.2.1:4000-203.0.113.1:80".parse().expect("it is right");
        assert_eq!(ends.destination.to_string(), "203.0.113.1:80");
        assert!("[2001:db8::1]:1-[2001:db8::2]:2".parse::<Ends>().is_ok());
        for wrong in ["", "192.0.2.1-203.0.113.1", "192.0.2.1:1-[::1]:2", "a:1-b:2"] {
            assert!(wrong.parse::<Ends>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn made_packets_have_the_lengths_that_they_say() {
        for text in ["192.0.2.1:4000-203.0.113.1:80", "[2001:db8::1]:1-[2001:db8::2]:2"] {
            let ends: Ends = text.parse().expect("it is right");
            for kind in [Kind::Syn, Kind::Ack, Kind::Udp] {
                let frame = frame(ends, kind);
                let (at, fixed) = if ends.source.is_ipv4() { (16, 14) } else { (18, 54) };
                let said = usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
                assert_eq!(said + fixed, frame.len(), "{text} {kind:?}");
            }
        }
    }
}
