//! How fast the agent follows a cluster, and what it takes to: beside a real API server.

mod objects;
mod process;
mod report;
mod strain;
mod webhook;

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use testbed::{
    Pod, Pods,
    kubernetes::{ApiServer, Programs, Watcher},
};

use self::{
    objects::{around, beneath, host, ingress, own_address},
    process::{processor_time, resident},
    report::Figures,
    strain::{Churn, Traffic},
};

/// Arguments of `testbed bench-control`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The `penstock` binary.
    #[arg(long)]
    agent: PathBuf,
    /// How many Ingresses, with five paths each and two endpoints.
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000")]
    ingresses: Vec<usize>,
    /// How many events are timed, idle and in churn.
    #[arg(long, default_value_t = 200)]
    events: usize,
    /// How long the churn lasts at least. Seconds.
    #[arg(long, default_value_t = 60)]
    churn: u64,
    /// Changes per second in the churn.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// The page to write.
    #[arg(long)]
    page: Option<PathBuf>,
    /// What the page says about the machine.
    #[arg(long, default_value = "")]
    machine: String,
}

/// The most that anything may take.
const LIMIT: Duration = Duration::from_secs(300);
/// How many dry runs are timed.
const DRY_RUNS: usize = 200;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let programs = Programs::find().context("no API server: `cargo xtask setup --cluster`")?;
    let mut all = Vec::new();
    for count in &arguments.ingresses {
        let server = Arc::new(ApiServer::start(programs.clone())?);
        all.push(measure(&server, *count, arguments)?);
        say(&report::table(&all));
    }
    match &arguments.page {
        Some(page) => report::write(page, &all, &arguments.machine),
        None => Ok(()),
    }
}

fn measure(server: &Arc<ApiServer>, count: usize, arguments: &Arguments) -> Result<Figures> {
    let address = own_address().context("no address but the loopback's")?;
    let port = TcpListener::bind((address, 0))?.local_addr()?.port();
    let backend = SocketAddrV4::new(address, port);
    let _pods = Pods::start(None, vec![Pod { address: backend, name: "pod".to_owned() }])?;
    around(server.objects())?;
    let mut objects = Vec::new();
    for number in 0..count {
        objects.extend(beneath(number, backend)?);
        objects.push(ingress(number, 0));
    }
    server.objects().apply_all(objects)?;

    let [certificate, key] = webhook::certificate(&server.directory())?;
    let judge = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let flags = [
        "--update-status=false".to_owned(),
        format!("--validating-webhook=127.0.0.1:{judge}"),
        format!("--validating-webhook-certificate={certificate}"),
        format!("--validating-webhook-key={key}"),
    ];
    let flags: Vec<_> = flags.iter().map(|flag| &**flag).collect();
    let log = server.directory().join("agent.log");
    let start = Instant::now();
    let mut agent = Watcher::start(&arguments.agent, &server.kubeconfig(), log, &[], &flags)?;
    let process = agent.agent().process().context("the agent has ended")?;
    await_route(&agent, count - 1)?;
    let live = start.elapsed();
    let (live_processor, memory) = (processor_time(process)?, resident(process)?);

    let traffic = Traffic::start(agent.http(), count);
    let idle = events(server, &agent, count, arguments.events, backend)?;
    let dry_runs = webhook::dry_runs(server, judge, &certificate, count, DRY_RUNS)?;
    let before = processor_time(process)?;
    let churn = Churn::start(server, backend, count, arguments.rate);
    let lasting = Duration::from_secs(arguments.churn);
    let busy = events(server, &agent, count + arguments.events, arguments.events, backend)?;
    await_time(&churn, lasting / 5);
    let early = resident(process)?;
    await_time(&churn, lasting);
    let (changes, churned) = churn.changed();
    let churn_processor = processor_time(process)?.saturating_sub(before);
    churn.end();
    let late = resident(process)?;
    let (requests, errors) = traffic.end();
    Ok(Figures {
        ingresses: count,
        live,
        live_processor,
        resident: [memory, early, late],
        idle,
        busy,
        dry_runs,
        churn: churned,
        // Those that were timed changed something too.
        changes: changes + 3 * arguments.events,
        churn_processor,
        requests,
        errors,
    })
}

/// Waits until the churn has lasted so long.
fn await_time(churn: &Churn, lasting: Duration) {
    while let Some(left) = lasting.checked_sub(churn.changed().1).filter(|left| !left.is_zero()) {
        thread::sleep(left);
    }
}

/// From the API server's answer to a new Ingress to the first request that it serves.
fn events(
    server: &ApiServer,
    agent: &Watcher,
    first: usize,
    count: usize,
    backend: SocketAddrV4,
) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(count);
    for number in first..first + count {
        server.objects().apply_all(beneath(number, backend)?)?;
        server.objects().apply_object(&ingress(number, 0))?;
        let start = Instant::now();
        await_route(agent, number)?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times)
}

fn await_route(agent: &Watcher, number: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (start, host) = (Instant::now(), host(number));
    loop {
        let answer = testbed::get(agent.http(), &host, "/p4", Duration::from_secs(10));
        if runtime.block_on(answer).is_ok_and(|answer| answer.status == 200) {
            return Ok(());
        }
        if start.elapsed() > LIMIT {
            bail!("{host} is not served after {LIMIT:?}");
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn say(text: &str) {
    // A closed pipe at the other end is no reason to stop.
    let _ = writeln!(io::stdout(), "{text}");
}
