//! `cargo xtask bench http`: CPU time per proxied request, memory per connection and latency. The
//! proxy has one core, the load and the backend have the other; the proxies take turns, so that what
//! else the machine does hits all.

use std::{
    fs, mem,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::{
    case::{Case, ROUTES, WEBSOCKETS},
    failures::{self, Failures},
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
    /// What to compare, each of which must then do every case; default: all that are here or can
    /// be installed, those that fail a case left out of it.
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
        asked: !arguments.peers.is_empty(),
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
    /// The peers were asked for by name.
    asked: bool,
    rounds: usize,
    seconds: u32,
    rate: Option<f64>,
}

/// Something that takes part in a case.
struct Entrant {
    name: &'static str,
    role: Role,
    /// That it fails is an error of the run.
    must: bool,
    configured: Result<Peer>,
}

/// An entrant that runs and takes turns.
struct Contender {
    peer: Peer,
    role: Role,
    must: bool,
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
        let mut failures = Failures::default();
        let (mut rows, mut note) = (Vec::new(), String::new());
        if case == Case::Websockets {
            self.open(&mut rows, &mut failures)?;
        } else {
            let mut contenders = self.contenders(case, &mut failures)?;
            let rate = match case {
                Case::Latency => self.fixed_rate(&contenders, &mut failures)?,
                _ => 0.0,
            };
            if case == Case::Latency {
                note = format!("{rate:.0} requests/s, open loop");
                contenders.retain(|contender| !failures.has(contender.peer.name));
            }
            self.loaded(case, contenders, rate, &mut rows, &mut failures)?;
        }
        // What a peer did before it failed is no measurement of this case.
        rows.retain(|row| !failures.has(row.name));
        Ok(Table { case, rows, failures: failures.finish(), note })
    }

    /// All turns of a case of memory. What was open once leaves memory behind: each round has fresh
    /// processes.
    fn open(&self, rows: &mut Vec<Row>, failures: &mut Failures) -> Result<()> {
        for round in 1..=self.rounds {
            for contender in self.contenders(Case::Websockets, failures)? {
                let Contender { peer, must, .. } = &contender;
                let measured = self.memory(&contender);
                if let Some(turn) = failures.judge(peer.name, *must, measured)? {
                    self.took(Case::Websockets, round, &contender, turn, rows);
                }
            }
        }
        Ok(())
    }

    /// All turns of a case of requests, after a second to warm up.
    fn loaded(
        &self,
        case: Case,
        contenders: Vec<Contender>,
        rate: f64,
        rows: &mut Vec<Row>,
        failures: &mut Failures,
    ) -> Result<()> {
        let mut running = Vec::new();
        for mut contender in contenders {
            let Contender { peer: Peer { name, .. }, must, .. } = contender;
            let turn = self.turn(case, &contender, 1, rate).context("warming up");
            if let Some(turn) = failures.judge(name, must, turn)? {
                contender.speed = turn.columns.last().copied().unwrap_or(FIRST_SPEED);
                running.push(contender);
            }
        }
        for round in 1..=self.rounds {
            for contender in mem::take(&mut running) {
                let Contender { peer: Peer { name, .. }, must, .. } = contender;
                let turn = self.turn(case, &contender, self.seconds, rate);
                if let Some(turn) = failures.judge(name, must, turn)? {
                    self.took(case, round, &contender, turn, rows);
                    running.push(contender);
                }
            }
        }
        Ok(())
    }

    /// Notes a contender's turn.
    fn took(
        &self,
        case: Case,
        round: usize,
        Contender { peer: Peer { name, .. }, role, .. }: &Contender,
        turn: Turn,
        rows: &mut Vec<Row>,
    ) {
        self.say(round, case, name, &turn);
        match rows.iter_mut().find(|row| row.name == *name) {
            Some(row) => row.turns.push(turn),
            None => rows.push(Row { name, role: *role, turns: vec![turn] }),
        }
    }

    fn say(&self, round: usize, case: Case, name: &str, turn: &Turn) {
        let unit = case.measure().unit();
        step::say(&format!("  round {round}  {name:<10} {:>9.2} {unit}", turn.value));
    }

    /// Who takes part in a case.
    fn entrants(&self, case: Case) -> Vec<Entrant> {
        let ours = |name, role, configured| Entrant { name, role, must: true, configured };
        if case == Case::Routes {
            let (hosts, paths) = ROUTES;
            let routes = |name, hosts, paths| penstock::with_routes(&self.site, name, hosts, paths);
            return vec![
                ours("Penstock", Role::Ours, routes("Penstock", hosts, paths)),
                ours("one route", Role::Peer, routes("one route", 1, 1)),
            ];
        }
        let mut entrants = Vec::new();
        for name in &self.names {
            let (shown, configured) = (name.shown(), name.configure(&self.site));
            let role = if *name == Name::Penstock { Role::Ours } else { Role::Peer };
            let must = failures::must(*name, self.asked);
            entrants.push(Entrant { name: shown, role, must, configured });
        }
        if case == Case::KeepAlive {
            entrants.push(ours("floor", Role::Reference, self.floor()));
        }
        entrants
    }

    /// Starts those who take part in a case and have not dropped out of it.
    fn contenders(&self, case: Case, failures: &mut Failures) -> Result<Vec<Contender>> {
        let mut contenders = Vec::new();
        for Entrant { name, role, must, configured } in self.entrants(case) {
            if failures.has(name) {
                continue;
            }
            let started = configured.and_then(|peer| {
                let log = self.site.directory.join(format!("{name}.log"));
                let probe = (peer.http, peer.host);
                let server = Server::start(name, PROXY_CORE, &peer.command, &log, probe)?;
                Ok(Contender { peer, role, must, server, speed: FIRST_SPEED })
            });
            contenders.extend(failures.judge(name, must, started)?);
        }
        Ok(contenders)
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
    fn fixed_rate(&self, contenders: &[Contender], failures: &mut Failures) -> Result<f64> {
        if let Some(rate) = self.rate {
            return Ok(rate);
        }
        let mut most: f64 = 0.0;
        for contender in contenders.iter().filter(|contender| contender.role == Role::Peer) {
            let seconds = 2.min(self.seconds);
            let wrk = Wrk { seconds, ..self.wrk(contender) };
            let answered = self.load.wrk(&wrk).context("looking for its most");
            let answered = failures.judge(contender.peer.name, contender.must, answered)?;
            most = most.max(answered.unwrap_or(0) as f64 / f64::from(seconds));
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
        let open = |number| self.load.websockets(peer.http, peer.host, number);
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
