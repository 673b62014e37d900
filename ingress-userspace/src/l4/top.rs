//! `penstock top`: virtual services, nodes, flows and drops, as they are now.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, IsTerminal as _, Read as _, Write},
    os::fd::AsFd as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use ingress_common::{Counters, observe::CaptureFilter, reason::Verdict};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr},
};
use serde_json::{Value, json};

use super::{
    L4Error, Reader,
    capture::Capture,
    counters::{NodeCounts, ServiceCounts},
    record::{Names, time_of},
};

/// How many of the last flows and drops are shown.
const FLOWS: usize = 12;
/// Ctrl-C, where the terminal does not make a signal of it.
const CONTROL_C: u8 = 3;

/// Shows what the kernel tier does.
#[derive(Clone, Debug, clap::Args)]
pub struct Top {
    /// Show what was counted so far, once.
    #[arg(long)]
    once: bool,
    /// Text for people or JSON for scripts: an object, or without --once one a line.
    #[arg(long, value_name = "text|json", default_value = "text", value_parser = ["text", "json"])]
    output: String,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=3600))]
    interval: u16,
    /// Where programs and maps are pinned.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/penstock")]
    bpf_dir: PathBuf,
}

/// All counters at one time.
struct Look {
    time: Instant,
    services: Vec<ServiceCounts>,
    nodes: Vec<NodeCounts>,
    generations: Vec<(u16, u32)>,
}

impl Look {
    fn now(reader: &Reader) -> Result<Self, L4Error> {
        Ok(Self {
            time: Instant::now(),
            services: reader.services()?,
            nodes: reader.nodes()?,
            generations: reader.generations()?,
        })
    }
}

impl Top {
    /// Shows it until `q` or Ctrl-C is pressed, or nobody reads any more.
    ///
    /// # Errors
    /// [`L4Error`]. A failure to write to `out` ends it, and is none.
    pub fn run(&self, out: &mut impl Write) -> Result<(), L4Error> {
        let reader = Reader::open(&self.bpf_dir)?;
        let json = self.output == "json";
        if self.once {
            let look = Look::now(&reader)?;
            let _ = if json {
                writeln!(out, "{:#}", to_json(&look))
            } else {
                print(out, &look, None, &VecDeque::new(), "\n")
            };
            return Ok(());
        }
        let keys = Keys::new();
        // Beginnings of flows, and drops: without them if somebody else captures.
        let filter = CaptureFilter { reasons: u64::MAX, slot: CaptureFilter::ANY, events_only: 1 };
        let mut capture = if json { None } else { Capture::start(&self.bpf_dir, filter).ok() };
        let mut flows = VecDeque::new();
        let mut before: Option<Look> = None;
        loop {
            let look = Look::now(&reader)?;
            drain(&mut capture, &reader, &mut flows)?;
            let shown = if json {
                writeln!(out, "{}", to_json(&look))
            } else {
                // Home, and each line to its end, then all below: nothing flickers.
                out.write_all(b"\x1b[H")
                    .and_then(|()| print(out, &look, before.as_ref(), &flows, "\x1b[K\r\n"))
                    .and_then(|()| out.write_all(b"\x1b[J"))
            };
            if shown.and_then(|()| out.flush()).is_err() {
                return Ok(());
            }
            before = Some(look);
            // A capture that is not drained ends, and its buffer fills.
            for _second in 0..self.interval {
                drain(&mut capture, &reader, &mut flows)?;
                if keys.quit_within(Duration::from_secs(1)) {
                    return Ok(());
                }
            }
        }
    }
}

/// Takes what has come since the last call.
fn drain(
    capture: &mut Option<Capture>,
    reader: &Reader,
    flows: &mut VecDeque<String>,
) -> Result<(), L4Error> {
    let Some(capture) = capture else { return Ok(()) };
    let names = Names::read(reader)?;
    capture
        .drain(|record| {
            let event = names.event(&record, time_of(record.seen.time));
            flows.extend(event.map(|event| event.to_line()));
            if flows.len() > FLOWS {
                flows.pop_front();
            }
            false
        })
        .map(drop)
}

/// The terminal's keys, one by one and unseen, until this is dropped.
struct Keys {
    before: Option<Termios>,
}

impl Keys {
    fn new() -> Self {
        let input = io::stdin();
        let before = if input.is_terminal() { tcgetattr(&input).ok() } else { None };
        if let Some(before) = &before {
            let mut raw = before.clone();
            // Ctrl-C comes as a key, so that the terminal is left as it was.
            raw.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
            let _ = tcsetattr(&input, SetArg::TCSANOW, &raw);
        }
        Self { before }
    }

    /// Whether a key that ends it was pressed within that time, which passes otherwise.
    fn quit_within(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            if self.before.is_none() {
                // No terminal: a signal ends it.
                std::thread::sleep(left);
                return false;
            }
            let input = io::stdin();
            let mut files = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut files, timeout) {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
            let mut key = [0];
            match input.lock().read(&mut key) {
                Ok(1) if matches!(key, [b'q' | b'Q' | CONTROL_C]) => return true,
                Ok(1) => {}
                // The terminal is gone.
                _ => return true,
            }
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, before);
        }
    }
}

/// Packets of a service by verdict.
fn by_verdict(service: &ServiceCounts) -> [u64; 3] {
    let of = |verdict| {
        service
            .reasons
            .iter()
            .filter(|(reason, _)| reason.verdict() == verdict)
            .map(|(_, count)| count.packets)
            .sum()
    };
    [of(Verdict::Pass), of(Verdict::Forward), of(Verdict::Drop)]
}

fn sent(node: &NodeCounts) -> [u64; 3] {
    [node.forwards.first, node.forwards.next, node.forwards.relayed]
}

fn total(looks: &Look) -> Counters {
    let counts = looks.services.iter().flat_map(|service| &service.reasons);
    counts.fold(Counters::default(), |sum, (_, count)| sum.plus(*count))
}

/// Rates since `before`, or, without it, what was counted so far.
fn print(
    out: &mut impl Write,
    look: &Look,
    before: Option<&Look>,
    flows: &VecDeque<String>,
    end: &str,
) -> io::Result<()> {
    let seconds = before.map_or(1.0, |before| (look.time - before.time).as_secs_f64().max(1e-3));
    let rate = |now: u64, then: u64| (now.saturating_sub(then) as f64 / seconds).round() as u64;
    let unit = if before.is_some() { "packets/s" } else { "packets" };
    let all = total(look);
    let then = before.map(total).unwrap_or_default();
    let generations: Vec<String> =
        look.generations.iter().map(|(_, generation)| generation.to_string()).collect();
    write!(
        out,
        "penstock top: {} {unit}, {} bytes{}, table {}{end}{end}",
        rate(all.packets, then.packets),
        rate(all.bytes, then.bytes),
        if before.is_some() { "/s" } else { "" },
        generations.join(" "),
    )?;

    let known: HashMap<&str, [u64; 3]> = before
        .iter()
        .flat_map(|before| &before.services)
        .map(|service| (&*service.name, by_verdict(service)))
        .collect();
    write!(out, "{:<40} {:>12} {:>12} {:>12}{end}", "service", "pass", "forward", "drop")?;
    for service in &look.services {
        let then = known.get(&*service.name).copied().unwrap_or_default();
        let [pass, forward, drop] = by_verdict(service);
        let [a, b, c] = [rate(pass, then[0]), rate(forward, then[1]), rate(drop, then[2])];
        write!(out, "{:<40} {a:>12} {b:>12} {c:>12}{end}", service.name)?;
    }

    let known: HashMap<&str, [u64; 3]> = before
        .iter()
        .flat_map(|before| &before.nodes)
        .map(|node| (&*node.name, sent(node)))
        .collect();
    write!(
        out,
        "{end}{:<29} {:<10} {:>12} {:>12} {:>12}{end}",
        "node", "state", "first", "next", "relayed"
    )?;
    for node in &look.nodes {
        let then = known.get(&*node.name).copied().unwrap_or_default();
        let now = sent(node);
        let [a, b, c] = [0, 1, 2].map(|way| rate(now[way], then[way]));
        write!(out, "{:<29} {:<10} {a:>12} {b:>12} {c:>12}{end}", node.name, node.state)?;
    }

    let mut drops: Vec<(&str, &str, u64)> = look
        .services
        .iter()
        .flat_map(|service| {
            service
                .reasons
                .iter()
                .filter(|(reason, _)| reason.verdict() == Verdict::Drop)
                .map(|(reason, count)| (&*service.name, reason.name(), count.packets))
        })
        .collect();
    drops.sort_unstable_by_key(|(_, _, packets)| std::cmp::Reverse(*packets));
    write!(out, "{end}{:<40} {:<20} {:>12}{end}", "drops so far, of", "reason", "packets")?;
    for (service, reason, packets) in drops.into_iter().take(8) {
        write!(out, "{service:<40} {reason:<20} {packets:>12}{end}")?;
    }
    if before.is_some() {
        write!(out, "{end}flows that began, and drops{end}")?;
    }
    for line in flows {
        write!(out, "{line}{end}")?;
    }
    Ok(())
}

fn to_json(look: &Look) -> Value {
    json!({
        "services": look.services.iter().map(|service| json!({
            "name": service.name,
            "reasons": service.reasons.iter().map(|(reason, count)| json!({
                "reason": reason.name(),
                "verdict": reason.verdict().name(),
                "packets": count.packets,
                "bytes": count.bytes,
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "nodes": look.nodes.iter().map(|node| json!({
            "name": node.name,
            "id": node.id.0,
            "state": node.state,
            "first": node.forwards.first,
            "next": node.forwards.next,
            "relayed": node.forwards.relayed,
            "bytes": node.forwards.bytes,
        })).collect::<Vec<_>>(),
        "generations": look.generations.iter().map(|(group, generation)| json!({
            "group": group,
            "generation": generation,
        })).collect::<Vec<_>>(),
    })
}
