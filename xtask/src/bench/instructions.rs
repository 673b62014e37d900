//! `cargo xtask bench instructions`: how many instructions a request costs the agent, counted by
//! callgrind. A count does not depend on what else the machine does, so that a few percent show; it
//! sees nothing of the kernel's part.
//!
//! One client asks one thing after the other, on its own connection. What the start costs is left
//! out by dumping the count before and after.
//!
//! Calls of the allocator are counted with it: what is meant to cost none shows.
//!
//! The record is made with `--write`, and says which compiler it is of: another one makes other code,
//! and is not compared. Counts of one build are within half a percent of each other.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum as _;
use serde::{Deserialize, Serialize};

use super::{
    case::ROUTES,
    http::Ground,
    load::{self, Load},
    peer::{HOST, Name, Peer, penstock},
    process::Server,
    report::number,
};
use crate::{
    build::{self, Profile},
    setup, step, workspace,
};

/// Arguments of `cargo xtask bench instructions`.
#[derive(Default, clap::Args)]
pub(crate) struct Arguments {
    /// What to count; default: everything.
    #[arg(long = "case", value_name = "CASE", value_delimiter = ',', num_args = 1..)]
    cases: Vec<Case>,
    /// An agent that is built already, with the profile `count`.
    #[arg(long)]
    agent: Option<PathBuf>,
    /// Record what is counted.
    #[arg(long, conflicts_with = "cases")]
    write: bool,
    /// Count how often a request waits for memory, instead: data in no cache of the second level, by
    /// callgrind's model of one of 1 MiB.
    #[arg(long, conflicts_with = "write")]
    misses: bool,
}

/// The record, below the workspace's root.
const RECORD: &str = "docs/benchmarks/instructions.json";
/// More than this share above the record is a regression.
const TOLERANCE: f64 = 0.03;
/// Requests of one count.
const REQUESTS: usize = 400;
/// The same, of misses: hosts are to come in no order that a cache remembers.
const REQUESTS_FOR_MISSES: usize = 6000;
/// The caches of callgrind's model: the last is as large as a core's own usually is.
const CACHES: [&str; 3] = ["--cache-sim=yes", "--D1=32768,8,64", "--LL=1048576,16,64"];
/// Counts of a case, the lowest of which is taken: a timer that fires meanwhile only adds.
const COUNTS: usize = 3;
/// The core of the agent under valgrind.
const AGENT_CORE: usize = 0;

/// What is asked.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Case {
    /// HTTP/1.1 keep-alive.
    KeepAlive,
    /// The same with `--enable-metrics=false`: what metrics add is the difference.
    MetricsOff,
    /// As keep-alive, with a line of the access log for each request, in ingress-nginx's format.
    AccessLog,
    /// As keep-alive, with two spans for each request, that are sent to a collector by HTTP.
    Tracing,
    /// HTTP/1.1, a connection for each request.
    NewConnection,
    /// HTTP/2, a stream at a time.
    H2,
    /// A resumed TLS session with a request.
    Resumed,
    /// One of 10 000 Ingresses with 5 paths each.
    Routes,
    /// An Ingress with five annotations that each request goes through.
    #[value(name = "policies-5")]
    Policies5,
    /// Likewise, with twenty.
    #[value(name = "policies-20")]
    Policies20,
}

/// What a request takes.
#[derive(Clone, Copy, Debug)]
struct Count {
    instructions: f64,
    /// Calls of the allocator.
    allocations: f64,
}

/// The functions of C's library that give memory.
const ALLOCATORS: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

impl Case {
    /// Its name in the record.
    fn name(self) -> &'static str {
        match self {
            Self::KeepAlive => "keep-alive",
            Self::MetricsOff => "metrics-off",
            Self::AccessLog => "access-log",
            Self::Tracing => "tracing",
            Self::NewConnection => "new-connection",
            Self::H2 => "h2",
            Self::Resumed => "resumed",
            Self::Routes => "routes",
            Self::Policies5 => "policies-5",
            Self::Policies20 => "policies-20",
        }
    }

    /// Whether its count is held against the record: not where a part of it comes when a thread of its own
    /// sees fit, as what is sent to a collector does.
    fn is_on_record(self) -> bool {
        !matches!(self, Self::Tracing)
    }

    /// Asks so many times.
    fn ask(self, load: &Load, peer: &Peer, requests: usize) -> Result<()> {
        let sequential = |address: SocketAddr, host: &str| {
            let mut command = load.own("sequential");
            command.args([&address.to_string(), "--host", host]);
            command.args(["--requests", &requests.to_string()]);
            command
        };
        let mut command = match self {
            Self::KeepAlive
            | Self::MetricsOff
            | Self::AccessLog
            | Self::Tracing
            | Self::Policies5
            | Self::Policies20 => sequential(peer.http, HOST),
            Self::NewConnection => {
                let mut command = sequential(peer.http, HOST);
                command.arg("--close");
                command
            }
            Self::Resumed => {
                let mut command = sequential(peer.https, HOST);
                command.arg("--resume");
                command
            }
            Self::Routes => {
                let mut command = sequential(peer.http, "h{}.example.com");
                let (hosts, paths) = ROUTES;
                command.args(["--path", "/p{}", "--hosts", &hosts.to_string()]);
                command.args(["--paths", &paths.to_string()]);
                command
            }
            Self::H2 => return load.h2_one_by_one(peer.h2, requests),
        };
        load::said(&mut command).map(drop)
    }
}

/// What is on record.
#[derive(Debug, Deserialize, Serialize)]
struct Record {
    /// The compiler: another one makes other code.
    compiler: String,
    /// Instructions per request, by case.
    instructions: BTreeMap<String, f64>,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    setup::valgrind()?;
    let agent = match &arguments.agent {
        Some(agent) => agent.canonicalize().with_context(|| agent.display().to_string())?,
        // The kernel tier is off: its programs need not be built.
        None => build::agent_without_object(Profile::Count)?,
    };
    let ground = Ground::prepare()?;
    let site = ground.site(&agent);
    let _backend = ground.backend()?;
    let mut instructions = BTreeMap::new();
    let cases = if arguments.cases.is_empty() { Case::value_variants() } else { &arguments.cases };
    for &case in cases {
        let peer = match case {
            Case::Routes => penstock::with_routes(&site, "routes", ROUTES.0, ROUTES.1)?,
            Case::Policies5 => penstock::with_policies(&site, "policies-5", 5)?,
            Case::Policies20 => penstock::with_policies(&site, "policies-20", 20)?,
            Case::AccessLog => penstock::with_access_log(&site)?,
            Case::Tracing => penstock::with_tracing(&site)?,
            Case::MetricsOff => {
                let mut peer = Name::Penstock.configure(&site)?;
                peer.command.push("--enable-metrics=false".to_owned());
                peer
            }
            _ => Name::Penstock.configure(&site)?,
        };
        if arguments.misses {
            let misses = misses(case, &peer, &ground).with_context(|| case.name().to_owned())?;
            step::say(&format!("  {:<14} {:>9} misses per request", case.name(), number(misses)));
            continue;
        }
        let count = count(case, &peer, &ground).with_context(|| case.name().to_owned())?;
        let allocations = number(count.allocations);
        step::say(&format!("  {:<14} {allocations:>9} allocations per request", case.name()));
        instructions.insert(case.name().to_owned(), count.instructions.round());
    }
    if arguments.misses {
        return Ok(());
    }
    let mut counted = Record { compiler: compiler()?, instructions };
    let path = workspace::root().join(RECORD);
    let recorded: Option<Record> = match fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).with_context(|| RECORD.to_owned())?),
        Err(_absent) => None,
    };
    let regressions = compare(&counted, recorded.as_ref());
    if arguments.write {
        let cases = cases.iter().filter(|case| case.is_on_record()).map(|case| case.name());
        let names: HashSet<&str> = cases.collect();
        counted.instructions.retain(|name, _| names.contains(&**name));
        let text = serde_json::to_string_pretty(&counted)?;
        fs::write(&path, text + "\n").with_context(|| path.display().to_string())?;
        step::say(&format!("  wrote {RECORD}"));
        return Ok(());
    }
    let Some(recorded) = recorded else { bail!("{RECORD} is missing; make it with --write") };
    if recorded.compiler != counted.compiler {
        step::say(&format!(
            "  NOT COMPARED: the record is of {}, this is {}",
            recorded.compiler, counted.compiler
        ));
        return Ok(());
    }
    if !regressions.is_empty() {
        bail!(
            "more than {:.0} % more instructions per request: {}; find out why, or record it with \
             `cargo xtask bench instructions --write` and say why in the commit",
            TOLERANCE * 100.0,
            regressions.join(", ")
        );
    }
    Ok(())
}

/// Prints each case beside its record; the names of those that are above it.
fn compare(counted: &Record, recorded: Option<&Record>) -> Vec<String> {
    let mut regressions = Vec::new();
    for (name, count) in &counted.instructions {
        let before = recorded.and_then(|record| record.instructions.get(name)).copied();
        let change = before.map(|before| count / before - 1.0);
        let shown = change.map_or("not on record".to_owned(), |change| {
            format!("{:+.1} % against the record", change * 100.0)
        });
        step::say(&format!("  {name:<14} {:>9} instructions per request, {shown}", number(*count)));
        if change.is_some_and(|change| change > TOLERANCE) {
            regressions.push(name.clone());
        }
    }
    regressions
}

fn count(case: Case, peer: &Peer, ground: &Ground) -> Result<Count> {
    let mut lowest = (u64::MAX, u64::MAX);
    for dump in dumps(case, peer, ground, REQUESTS, &[])? {
        lowest = lowest.min((total(&dump, 0)?, allocations(&dump)));
    }
    let each = |count: u64| count as f64 / REQUESTS as f64;
    Ok(Count { instructions: each(lowest.0), allocations: each(lowest.1) })
}

/// How often a request finds data in no cache: what is read and what is written, the lowest count.
fn misses(case: Case, peer: &Peer, ground: &Ground) -> Result<f64> {
    let mut lowest = u64::MAX;
    for dump in dumps(case, peer, ground, REQUESTS_FOR_MISSES, &CACHES)? {
        let events = dump.lines().find_map(|line| line.strip_prefix("events: "));
        let events: Vec<_> = events.context("a dump without its events")?.split(' ').collect();
        let of = |name| {
            let place = events.iter().position(|event| *event == name);
            total(&dump, place.with_context(|| format!("nothing about {name}"))?)
        };
        lowest = lowest.min(of("DLmr")? + of("DLmw")?);
    }
    Ok(lowest as f64 / REQUESTS_FOR_MISSES as f64)
}

/// What callgrind wrote down of each of [`COUNTS`] times so many requests.
fn dumps(
    case: Case,
    peer: &Peer,
    ground: &Ground,
    requests: usize,
    options: &[&str],
) -> Result<Vec<String>> {
    // Dumps of an earlier run would be taken for ours.
    let directory = ground.directory.join("callgrind");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory)?;
    let out = directory.join("out");
    let mut command = vec!["valgrind".to_owned(), "--tool=callgrind".to_owned()];
    command.push(format!("--callgrind-out-file={}", out.display()));
    // Starting with ten thousand Ingresses takes a while as it is.
    command.push("--instr-atstart=no".to_owned());
    command.extend(options.iter().map(|option| (*option).to_owned()));
    command.extend(peer.command.iter().cloned());
    let log = ground.directory.join(format!("valgrind-{}.log", case.name()));
    let probe = (peer.http, peer.host);
    let server = Server::start("valgrind", AGENT_CORE, &command, &log, probe)?;

    let control = |order: &str| {
        let process = server.id().to_string();
        load::said(Command::new("callgrind_control").args([order, &process])).map(drop)
    };
    control("--instr=on")?;
    let mut dumps = Vec::new();
    // Before the first that counts, pools are filled and tables have grown to their size.
    for number in 1..=COUNTS + 1 {
        case.ask(&ground.load, peer, requests)?;
        control("--dump")?;
        let file = format!("{}.{number}", out.display());
        dumps.push(fs::read_to_string(&file).with_context(|| format!("no dump in {file}"))?);
    }
    dumps.remove(0);
    Ok(dumps)
}

/// Calls of the allocator in a dump: `cfn=(7) malloc`, where the name is left out from the second
/// time on, and then `calls=3 ...`.
fn allocations(dump: &str) -> u64 {
    let mut allocators = HashSet::new();
    let (mut calls, mut called) = (0, "");
    for line in dump.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        match key {
            "fn" | "cfn" => {
                let (id, name) = value.split_once(' ').unwrap_or((value, ""));
                // `malloc'2` is a call of it from itself.
                if ALLOCATORS.contains(&name) {
                    allocators.insert(id);
                }
                if key == "cfn" {
                    called = id;
                }
            }
            "calls" if allocators.contains(called) => {
                let number = value.split(' ').next().and_then(|number| number.parse().ok());
                calls += number.unwrap_or(0);
            }
            _ => {}
        }
    }
    calls
}

/// The line `totals: 123 45` of a dump: of the event at this place.
fn total(dump: &str, place: usize) -> Result<u64> {
    let line = dump.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    let total = line.and_then(|totals| totals.split_whitespace().nth(place)?.parse().ok());
    total.context("a dump without its totals")
}

/// `rustc 1.95.0 (...) for x86_64-...`.
fn compiler() -> Result<String> {
    let rustc = workspace::cargo().with_file_name("rustc");
    let said = step::output(Command::new(rustc).arg("-vV")).context("cannot run rustc")?;
    let line = |prefix: &str| said.lines().find_map(|line| line.strip_prefix(prefix));
    let (release, host) = (line("release: "), line("host: "));
    Ok(format!("rustc {} for {}", release.unwrap_or("?"), host.unwrap_or("?")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(counts: &[(&str, f64)]) -> Record {
        let instructions = counts.iter().map(|(name, count)| ((*name).to_owned(), *count));
        Record { compiler: "rustc".to_owned(), instructions: instructions.collect() }
    }

    #[test]
    fn only_more_than_the_tolerance_is_a_regression() {
        let before = record(&[("a", 1000.0), ("b", 1000.0), ("c", 1000.0)]);
        let now = record(&[("a", 1029.0), ("b", 1031.0), ("c", 500.0), ("new", 9.0)]);
        assert_eq!(compare(&now, Some(&before)), ["b"]);
        assert!(compare(&now, None).is_empty());
    }

    #[test]
    fn the_total_is_that_of_the_whole_dump() {
        let dump = "summary: 7 1\nfn=(1) totals\n16 7 1\ntotals: 8 2\n";
        assert_eq!((total(dump, 0).unwrap(), total(dump, 1).unwrap()), (8, 2));
        assert!(total(dump, 2).is_err());
        assert!(total("fn=(1)\n", 0).is_err());
    }

    #[test]
    fn calls_of_the_allocator_are_counted_by_whoever_makes_them() {
        let dump = "fn=(1) main\ncfi=(2) x.c\ncfn=(5) malloc\ncalls=3 0\n16 90\n\
                    cfn=(6) mallocate\ncalls=9 0\n16 1\nfn=(6)\ncfn=(5)\ncalls=4 0\n16 1\n\
                    fn=(7) realloc\n1 1\nfn=(1)\ncfn=(7)\ncalls=1 0\n2 2\n";
        assert_eq!(allocations(dump), 8);
    }
}
