//! `cargo xtask bench http`: CPU time per proxied request. The proxy has one core, the load and the
//! backend have the other; the proxies take turns, so that what else the machine does hits all.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Command,
    thread,
};

use anyhow::{Context, Result, bail};

use super::{
    peer::{self, HOST, Peer},
    process::{Cpu, Server},
};
use crate::{
    build::{self, Profile},
    setup, step, workspace,
};

/// Arguments of `cargo xtask bench http`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How often each proxy has its turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load in each turn.
    #[arg(long, default_value_t = 6)]
    seconds: u32,
    /// Open connections of the load.
    #[arg(long, default_value_t = 64)]
    connections: u32,
}

/// The proxy's core.
const PROXY_CORE: usize = 0;
/// The core of the load and the backend.
const LOAD_CORE: usize = 1;

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        bail!("this needs two cores: one for the proxy, one for the load");
    }
    setup::bench()?;
    let agent = build::agent(Profile::Release, &build::object(false)?)?;
    let directory = workspace::logs()?.join("bench");
    fs::create_dir_all(&directory)?;

    let [backend, nginx, haproxy, http, https, admin] = free_addresses()?;
    let peers = [
        peer::penstock(&agent, &directory, [http, https, admin], backend)?,
        peer::nginx(&directory, nginx, backend)?,
        peer::haproxy(&directory, haproxy, backend)?,
    ];
    let backend = peer::backend(&directory, backend)?;
    let _backend = start(&backend, LOAD_CORE)?;
    let servers: Vec<Server> =
        peers.iter().map(|peer| start(peer, PROXY_CORE)).collect::<Result<_>>()?;

    let mut turns: Vec<Vec<Turn>> = peers.iter().map(|_| Vec::new()).collect();
    for peer in &peers {
        load(peer, 1, arguments.connections).context("while warming up")?;
    }
    for round in 1..=arguments.rounds {
        for ((peer, server), turns) in peers.iter().zip(&servers).zip(&mut turns) {
            let before = server.cpu()?;
            let requests = load(peer, arguments.seconds, arguments.connections)?;
            let cpu = server.cpu()?.minus(before);
            let turn = Turn { cpu, requests, seconds: f64::from(arguments.seconds) };
            step::say(&format!(
                "  round {round}  {:<9} {:>6.2} µs/request  {:>7.0} requests/s",
                peer.name,
                turn.total(),
                turn.rate()
            ));
            turns.push(turn);
        }
    }
    report(arguments, &peers, &turns);
    Ok(())
}

fn start(peer: &Peer, core: usize) -> Result<Server> {
    let log = workspace::logs()?.join(format!("bench/{}.log", peer.name));
    Server::start(peer.name, core, &peer.command, &log, peer.address)
}

/// One proxy's turn.
#[derive(Clone, Copy)]
struct Turn {
    cpu: Cpu,
    requests: u64,
    seconds: f64,
}

impl Turn {
    /// Microseconds per request.
    fn per_request(self, seconds: f64) -> f64 {
        seconds * 1e6 / self.requests as f64
    }

    fn user(self) -> f64 {
        self.per_request(self.cpu.user)
    }

    fn system(self) -> f64 {
        self.per_request(self.cpu.system)
    }

    fn total(self) -> f64 {
        self.per_request(self.cpu.total())
    }

    fn rate(self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// Loads the proxy and returns how many requests were answered with 200; any other is an error.
fn load(peer: &Peer, seconds: u32, connections: u32) -> Result<u64> {
    let output = step::output(
        Command::new("taskset")
            .args(["--cpu-list", &LOAD_CORE.to_string(), "wrk", "--threads", "1"])
            .args(["--connections", &connections.to_string()])
            .args(["--duration", &format!("{seconds}s")])
            .args(["--header", &format!("Host: {HOST}")])
            .arg(format!("http://{}/", peer.address)),
    )
    .with_context(|| format!("wrk cannot reach {}", peer.name))?;
    answered(&output).with_context(|| format!("{} under load:\n{output}", peer.name))
}

/// The number of requests in wrk's report.
fn answered(report: &str) -> Result<u64> {
    if let Some(line) = report
        .lines()
        .find(|line| line.contains("Non-2xx or 3xx responses") || line.contains("Socket errors"))
    {
        bail!("not all requests were answered: {}", line.trim());
    }
    let requests = report.lines().find_map(|line| line.trim().split_once(" requests in "));
    let requests = requests.and_then(|(number, _)| number.parse().ok()).unwrap_or(0);
    if requests == 0 {
        bail!("no request was answered");
    }
    Ok(requests)
}

fn report(arguments: &Arguments, peers: &[Peer], turns: &[Vec<Turn>]) {
    let Arguments { rounds, seconds, connections } = arguments;
    step::say(&format!(
        "\nCPU µs per request: median (lowest to highest) of {rounds} rounds of {seconds} s, \
         {connections} connections, 1 kB bodies\n"
    ));
    step::say("             user   system    total  (range)          requests/s   Penstock is");
    let ours = Spread::of(&turns[0], Turn::total).median;
    for (peer, turns) in peers.iter().zip(turns) {
        let total = Spread::of(turns, Turn::total);
        step::say(&format!(
            "  {:<9} {:>6.2}   {:>6.2}   {:>6.2}  ({:.2} to {:.2})   {:>8.0}     {:.2} times it",
            peer.name,
            Spread::of(turns, Turn::user).median,
            Spread::of(turns, Turn::system).median,
            total.median,
            total.lowest,
            total.highest,
            Spread::of(turns, Turn::rate).median,
            ours / total.median,
        ));
    }
}

/// A measurement over all rounds.
#[derive(Debug, PartialEq)]
struct Spread {
    median: f64,
    lowest: f64,
    highest: f64,
}

impl Spread {
    fn of(turns: &[Turn], value: impl Fn(Turn) -> f64) -> Self {
        let mut values: Vec<f64> = turns.iter().map(|turn| value(*turn)).collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
        Self {
            median: (at(low) + at(high)) / 2.0,
            lowest: at(0),
            highest: at(values.len().saturating_sub(1)),
        }
    }
}

/// Loopback addresses that nobody uses at this moment.
fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut listeners = Vec::new();
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for address in &mut addresses {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        // Held until all are known, so that they differ.
        listeners.push(listener);
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_that_was_not_answered_in_full_counts_nothing() {
        let good = "  1 threads and 64 connections\n  61203 requests in 1.00s, 70 MB read\n";
        assert_eq!(answered(good).unwrap(), 61203);
        for bad in ["Non-2xx or 3xx responses: 3", "Socket errors: connect 0, read 1"] {
            assert!(answered(&format!("  9 requests in 1s\n  {bad}\n")).is_err(), "{bad}");
        }
        assert!(answered("nothing\n").is_err());
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let turn = |requests| Turn { cpu: Cpu::default(), requests, seconds: 1.0 };
        let turns = [turn(4), turn(1), turn(2), turn(9)];
        let spread = Spread { median: 3.0, lowest: 1.0, highest: 9.0 };
        assert_eq!(Spread::of(&turns, Turn::rate), spread);
        assert_eq!(Spread::of(&turns[..3], Turn::rate).median, 2.0);
    }
}
