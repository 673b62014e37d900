//! `cargo xtask bench http`: CPU time per proxied request, memory per connection and latency. The
//! proxy has one core, the load and the backend have the other; the proxies take turns, so that what
//! else the machine does hits all.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::{
    case::{Case, ROUTES, WEBSOCKETS},
    load::{self, Load, Wrk},
    peer::{HOST, Name, Peer, RSA_HOST, Site, free_addresses, penstock, write},
    process::Server,
    report::{self, Role, Row, Table},
    turn::Turn,
};
use crate::{
    build::{self, Profile},
    setup, step, workspace,
};

/// Arguments of `cargo xtask bench http`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to measure; default: everything.
    #[arg(long = "case", value_name = "CASE", value_delimiter = ',', num_args = 1..)]
    cases: Vec<Case>,
    /// What to compare; default: all that are here or can be installed.
    #[arg(long, value_delimiter = ',', num_args = 1..)]
    peers: Vec<Name>,
    /// How often each proxy has its turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load in each turn.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// One round of one second: shows that everything works, measures nothing.
    #[arg(long)]
    quick: bool,
    /// An agent that is built already.
    #[arg(long)]
    agent: Option<PathBuf>,
    /// Requests per second of the case `latency`; default: half of the best peer's most.
    #[arg(long)]
    rate: Option<f64>,
    /// Write the table and the plot into docs/benchmarks.
    #[arg(long)]
    write: bool,
}

/// The proxy's core.
const PROXY_CORE: usize = 0;
/// Open connections of the cases with small bodies.
const CONNECTIONS: u32 = 64;
/// Requests per second that a proxy is thought to make before it has warmed up.
const FIRST_SPEED: f64 = 8_000.0;
/// Open connections of the cases with large bodies.
const FEW_CONNECTIONS: u32 = 8;

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        bail!("this needs two cores: one for the proxy, one for the load");
    }
    setup::bench()?;
    let names = names(&arguments.peers)?;
    let agent = match &arguments.agent {
        Some(agent) => agent.canonicalize().with_context(|| agent.display().to_string())?,
        None => build::agent(Profile::Release, &build::object(false)?)?,
    };
    let ground = Ground::prepare()?;
    let site = ground.site(&agent);
    let _backend = ground.backend()?;
    let bench = Bench {
        load: &ground.load,
        site,
        names,
        rounds: if arguments.quick { 1 } else { arguments.rounds },
        seconds: if arguments.quick { 1 } else { arguments.seconds },
        rate: arguments.rate,
    };
    let cases = if arguments.cases.is_empty() { Case::value_variants() } else { &arguments.cases };
    let mut tables = Vec::new();
    for case in cases {
        let table = bench.case(*case).with_context(|| case.title().to_owned())?;
        step::say(&report::text(&table));
        tables.push(table);
    }
    step::say(&report::summary(&tables));
    if arguments.write {
        report::write(&tables, &bench.method())?;
    }
    Ok(())
}

/// Those that are asked for, which must be here; else those that are.
fn names(asked: &[Name]) -> Result<Vec<Name>> {
    let mut names = Vec::new();
    for name in if asked.is_empty() { &Name::ALL[..] } else { asked } {
        match name.install() {
            Ok(()) => names.push(*name),
            Err(error) if asked.is_empty() => {
                step::say(&format!("  {} is left out: {error:#}", name.shown()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(names)
}

/// What every measurement stands on: a directory, certificates, our own loads and a backend.
pub(super) struct Ground {
    pub(super) directory: PathBuf,
    pub(super) load: Load,
    address: std::net::SocketAddr,
}

impl Ground {
    pub(super) fn prepare() -> Result<Self> {
        let directory = workspace::logs()?.join("bench");
        fs::create_dir_all(&directory)?;
        let load = Load { program: build::load()? };
        let mut certificates = load.own("certificates");
        certificates.arg(&directory).args(["--ecdsa", HOST, "--rsa", RSA_HOST]);
        load::said(&mut certificates)?;
        let [address] = free_addresses()?;
        Ok(Self { directory, load, address })
    }

    pub(super) fn site<'s>(&'s self, agent: &'s Path) -> Site<'s> {
        Site {
            directory: &self.directory,
            certificates: &self.directory,
            backend: self.address,
            agent,
        }
    }

    pub(super) fn backend(&self) -> Result<Server> {
        let program = self.load.program.display().to_string();
        let command = [program, "backend".to_owned(), self.address.to_string()];
        let log = self.directory.join("backend.log");
        Server::start("backend", load::CORE, &command, &log, (self.address, HOST))
    }
}

/// One run.
struct Bench<'b> {
    load: &'b Load,
    site: Site<'b>,
    names: Vec<Name>,
    rounds: usize,
    seconds: u32,
    rate: Option<f64>,
}

/// Something that takes turns.
struct Contender {
    peer: Peer,
    role: Role,
    server: Server,
    /// Requests per second when it warmed up, for loads that want a number instead of a time.
    speed: f64,
}

impl Bench<'_> {
    fn method(&self) -> String {
        format!(
            "Medians (lowest to highest) of {} alternating rounds of {} s; {CONNECTIONS} connections \
             with small bodies, {FEW_CONNECTIONS} with large ones, 4 with 100 streams each over \
             HTTP/2, 8 with handshakes. Each proxy has one worker and one core, load and backend \
             have the other. ",
            self.rounds, self.seconds
        )
    }

    fn case(&self, case: Case) -> Result<Table> {
        step::say(&format!("\n{}", case.title()));
        let mut contenders = self.contenders(case)?;
        let rate = if case == Case::Latency { self.fixed_rate(&contenders)? } else { 0.0 };
        let mut rows: Vec<Row> = contenders
            .iter()
            .map(|contender| Row {
                name: contender.peer.name,
                role: contender.role,
                turns: Vec::new(),
            })
            .collect();
        if case == Case::Websockets {
            // What was open once leaves memory behind: each round has fresh processes.
            drop(contenders);
            for round in 1..=self.rounds {
                for (contender, row) in self.contenders(case)?.into_iter().zip(&mut rows) {
                    let turn = self.memory(&contender)?;
                    self.say(round, case, row.name, &turn);
                    row.turns.push(turn);
                }
            }
        } else {
            for contender in &mut contenders {
                let turn = self
                    .turn(case, contender, 1, rate)
                    .with_context(|| format!("{}, warming up", contender.peer.name))?;
                contender.speed = turn.columns.last().copied().unwrap_or(FIRST_SPEED);
            }
            for round in 1..=self.rounds {
                for (contender, row) in contenders.iter().zip(&mut rows) {
                    let turn = self
                        .turn(case, contender, self.seconds, rate)
                        .with_context(|| contender.peer.name.to_owned())?;
                    self.say(round, case, row.name, &turn);
                    row.turns.push(turn);
                }
            }
        }
        let note = match case {
            Case::Latency => format!("{rate:.0} requests/s, open loop"),
            _ => String::new(),
        };
        Ok(Table { case, rows, note })
    }

    fn say(&self, round: usize, case: Case, name: &str, turn: &Turn) {
        let unit = case.measure().unit();
        step::say(&format!("  round {round}  {name:<10} {:>9.2} {unit}", turn.value));
    }

    fn contenders(&self, case: Case) -> Result<Vec<Contender>> {
        let mut peers = Vec::new();
        if case == Case::Routes {
            let (hosts, paths) = ROUTES;
            peers.push((penstock::with_routes(&self.site, "Penstock", hosts, paths)?, Role::Ours));
            peers.push((penstock::with_routes(&self.site, "one route", 1, 1)?, Role::Peer));
        } else {
            for name in &self.names {
                let ours = *name == Name::Penstock;
                let role = if ours { Role::Ours } else { Role::Peer };
                peers.push((name.configure(&self.site)?, role));
            }
        }
        if case == Case::KeepAlive {
            peers.push((self.floor()?, Role::Reference));
        }
        let start = |(peer, role): (Peer, Role)| {
            let log = self.site.directory.join(format!("{}.log", peer.name));
            let probe = (peer.http, peer.host);
            let server = Server::start(peer.name, PROXY_CORE, &peer.command, &log, probe)?;
            Ok(Contender { peer, role, server, speed: FIRST_SPEED })
        };
        peers.into_iter().map(start).collect()
    }

    /// What parses nothing.
    fn floor(&self) -> Result<Peer> {
        let [address] = free_addresses()?;
        let program = self.load.program.display().to_string();
        let command =
            vec![program, "forward".into(), address.to_string(), self.site.backend.to_string()];
        let name = "floor";
        Ok(Peer { name, command, http: address, h2: address, https: address, host: HOST })
    }

    /// Half of what the best peer can do, closed loop.
    fn fixed_rate(&self, contenders: &[Contender]) -> Result<f64> {
        if let Some(rate) = self.rate {
            return Ok(rate);
        }
        let mut most: f64 = 0.0;
        for contender in contenders.iter().filter(|contender| contender.role == Role::Peer) {
            let seconds = 2.min(self.seconds);
            let wrk = Wrk { seconds, ..self.wrk(contender) };
            most = most.max(self.load.wrk(&wrk)? as f64 / f64::from(seconds));
        }
        if most == 0.0 {
            bail!("the case `latency` needs a peer, or --rate");
        }
        Ok((most / 2.0).round())
    }

    fn wrk<'w>(&self, contender: &'w Contender) -> Wrk<'w> {
        let Peer { http, host, .. } = contender.peer;
        Wrk {
            address: http,
            host,
            path: "/",
            connections: CONNECTIONS,
            seconds: self.seconds,
            script: None,
            close: false,
        }
    }

    fn turn(&self, case: Case, contender: &Contender, seconds: u32, rate: f64) -> Result<Turn> {
        let Contender { peer, server, speed, .. } = contender;
        // About as many as take that long.
        let streams = (speed * f64::from(seconds)) as u64 + 1;
        let wrk = Wrk { seconds, ..self.wrk(contender) };
        let few = FEW_CONNECTIONS;
        // Written before the clock starts.
        let script = self.script(case, peer)?;
        let script = script.as_deref();
        let before = server.cpu()?;
        let start = Instant::now();
        let mut latency = None;
        let requests = match case {
            Case::KeepAlive => self.load.wrk(&wrk)?,
            Case::NewConnection => self.load.wrk(&Wrk { close: true, ..wrk })?,
            Case::H2 => self.load.h2load("http", peer.h2, streams)?,
            Case::H2Tls => self.load.h2load("https", peer.https, streams)?,
            Case::HandshakeEcdsa => self.load.handshakes(peer.https, HOST, false, seconds)?,
            Case::HandshakeRsa => self.load.handshakes(peer.https, RSA_HOST, false, seconds)?,
            Case::Resumed => self.load.handshakes(peer.https, HOST, true, seconds)?,
            Case::Download => self.load.wrk(&Wrk { path: "/1m", connections: few, ..wrk })?,
            Case::Upload => self.load.wrk(&Wrk { connections: few, script, ..wrk })?,
            Case::Routes => self.load.wrk(&Wrk { script, ..wrk })?,
            Case::Websockets => bail!("memory is measured otherwise"),
            Case::Latency => {
                let (requests, percentiles) =
                    self.load.rate(peer.http, peer.host, rate, seconds)?;
                latency = Some(percentiles);
                requests
            }
        };
        let time = start.elapsed().as_secs_f64();
        let cpu = server.cpu()?.minus(before);
        let each = |seconds: f64| seconds * 1e6 / requests as f64;
        Ok(match latency {
            Some([p50, p99, p999]) => {
                Turn { value: p99, columns: vec![p50, p999, each(cpu.total())] }
            }
            None => Turn {
                value: each(cpu.total()),
                columns: vec![each(cpu.user()), each(cpu.system()), requests as f64 / time],
            },
        })
    }

    /// What each of many idle WebSockets costs.
    fn memory(&self, Contender { peer, server, .. }: &Contender) -> Result<Turn> {
        let open = |number| {
            self.load.websockets(peer.http, peer.host, number).with_context(|| peer.name.to_owned())
        };
        // What is made with the first of them is not theirs.
        drop(open(10)?);
        let before = server.memory()?;
        let sockets = open(WEBSOCKETS)?;
        let each = (server.memory()? - before) / WEBSOCKETS as f64;
        drop(sockets);
        Ok(Turn { value: each / 1024.0, columns: Vec::new() })
    }

    /// The file of wrk's script, for the cases that have one.
    fn script(&self, case: Case, peer: &Peer) -> Result<Option<String>> {
        let lua = match case {
            Case::Upload => "wrk.method = 'POST'\nwrk.body = string.rep('x', 1048576)\n".to_owned(),
            Case::Routes => {
                let (hosts, paths) = if peer.name == "Penstock" { ROUTES } else { (1, 1) };
                format!(
                    "math.randomseed(1)\nfunction request()\n  return 'GET /p' .. \
                     math.random(0, {paths} - 1) .. ' HTTP/1.1\\r\\nHost: h' .. \
                     math.random(0, {hosts} - 1) .. '.example.com\\r\\n\\r\\n'\nend\n"
                )
            }
            _ => return Ok(None),
        };
        let name = format!("{}.lua", peer.name.replace(' ', "-"));
        write(self.site.directory, &name, &lua).map(Some)
    }
}
