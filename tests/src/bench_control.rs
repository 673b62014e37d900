//! How fast the agent follows a cluster, and what it takes to: beside a real API server.

use std::{
    fs,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testbed::{
    Pod, Pods,
    kubernetes::{ApiServer, Programs, Watcher},
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
    /// How many events are timed.
    #[arg(long, default_value_t = 200)]
    events: usize,
    /// Changes of EndpointSlices per second, for the second half of the events.
    #[arg(long, default_value_t = 100)]
    churn: u32,
}

/// The most that anything may take.
const LIMIT: Duration = Duration::from_secs(300);
const NAMESPACE: &str = "bench";

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let programs = Programs::find().context("no API server: `cargo xtask setup --cluster`")?;
    say(
        "ingresses  last route live   RSS  event to request: p50    p99  in churn: p50    p99  errors",
    );
    for count in &arguments.ingresses {
        let server = Arc::new(ApiServer::start(programs.clone())?);
        say(&measure(&server, *count, arguments)?);
    }
    Ok(())
}

fn measure(server: &Arc<ApiServer>, count: usize, arguments: &Arguments) -> Result<String> {
    let address = own_address().context("no address but the loopback's")?;
    let port = TcpListener::bind((address, 0))?.local_addr()?.port();
    let backend = SocketAddrV4::new(address, port);
    let _pods = Pods::start(None, vec![Pod { address: backend, name: "pod".to_owned() }])?;
    server.objects().apply(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: bench}\n---\n\
         apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: penstock}\n\
         spec: {controller: penstock.dev/ingress-controller}\n",
    )?;
    let objects = (0..count).flat_map(|number| objects(number, backend, 0)).collect();
    server.objects().apply_all(objects)?;

    let log = server.directory().join("agent.log");
    let start = Instant::now();
    let mut agent = Watcher::start(
        &arguments.agent,
        &server.kubeconfig(),
        log,
        &[],
        &["--update-status=false"],
    )?;
    await_route(&agent, count - 1)?;
    let live = start.elapsed();
    let memory = resident(agent.agent().process().context("the agent has ended")?)?;

    let traffic = Load::start(&agent);
    let idle = events(server, &agent, count, arguments.events, backend)?;
    let churn = Churn::start(server, backend, count, arguments.churn);
    let busy = events(server, &agent, count + arguments.events, arguments.events, backend)?;
    let changed = churn.end();
    let grown = resident(agent.agent().process().context("the agent has ended")?)?;
    let errors = traffic.end();
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    Ok(format!(
        "{count:>9}  {:>13.2} s  {:>3} MB → {grown} MB  {:>6.1} ms  {:>6.1} ms   {:>6.1} ms  {:>6.1} ms  {errors}  \
         ({changed:.0} changes/s)",
        live.as_secs_f64(),
        memory,
        ms(percentile(&idle, 50)),
        ms(percentile(&idle, 99)),
        ms(percentile(&busy, 50)),
        ms(percentile(&busy, 99)),
    ))
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
        let [service, slice, ingress] = objects(number, backend, 0);
        server.objects().apply_all(vec![service, slice])?;
        server.objects().apply_object(&ingress)?;
        let start = Instant::now();
        await_route(agent, number)?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times)
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

/// A Service, its EndpointSlice and its Ingress.
fn objects(number: usize, backend: SocketAddrV4, version: usize) -> [Value; 3] {
    let name = format!("i{number}");
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
    });
    let paths: Vec<Value> = (0..5)
        .map(|path| {
            json!({ "path": format!("/p{path}"), "pathType": "Prefix", "backend": {
                "service": { "name": name, "port": { "number": 80 } },
            }})
        })
        .collect();
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": { "ingressClassName": "penstock", "rules": [{
            "host": host(number), "http": { "paths": paths },
        }]},
    });
    [service, slice(number, backend, version), ingress]
}

/// Two endpoints, one of which is ready: the other stands for a pod that comes and goes.
fn slice(number: usize, backend: SocketAddrV4, version: usize) -> Value {
    let [third, fourth] = [(version / 250) % 250, version % 250];
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("i{number}"), "namespace": NAMESPACE,
            "labels": { "kubernetes.io/service-name": format!("i{number}") },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": backend.port(), "protocol": "TCP" }],
        "endpoints": [
            { "addresses": [backend.ip()], "conditions": { "ready": true } },
            { "addresses": [format!("10.200.{third}.{}", fourth + 1)],
              "conditions": { "ready": false } },
        ],
    })
}

fn host(number: usize) -> String {
    format!("h{number}.example.com")
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

/// Resident memory, in megabytes.
fn resident(process: u32) -> Result<u64> {
    let status = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: u64 =
        line.and_then(|line| line.split_whitespace().next()).unwrap_or("0").parse()?;
    Ok(kibibytes * 1024 / 1_000_000)
}

/// Requests all the while, one after another.
struct Load {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<usize>,
}

impl Load {
    fn start(agent: &Watcher) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (own, http) = (Arc::clone(&stop), agent.http());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return usize::MAX };
            let mut errors = 0;
            while !own.load(Ordering::Relaxed) {
                let limit = Duration::from_secs(10);
                let answer = runtime.block_on(testbed::get(http, &host(0), "/p0", limit));
                errors += usize::from(!answer.is_ok_and(|answer| answer.status == 200));
                // A steady trickle: it is to find errors, not to use the processor.
                thread::sleep(Duration::from_millis(5));
            }
            errors
        });
        Self { stop, thread }
    }

    fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(usize::MAX)
    }
}

/// EndpointSlices that change all the while.
struct Churn {
    stop: Arc<AtomicBool>,
    changes: Arc<AtomicUsize>,
    start: Instant,
    thread: thread::JoinHandle<()>,
}

impl Churn {
    fn start(server: &Arc<ApiServer>, backend: SocketAddrV4, count: usize, rate: u32) -> Self {
        let (stop, changes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (own_stop, own_changes) = (Arc::clone(&stop), Arc::clone(&changes));
        let (server, start) = (Arc::clone(server), Instant::now());
        let thread = thread::spawn(move || {
            let mut version = 1;
            while !own_stop.load(Ordering::Relaxed) {
                let slice = slice(version % count, backend, version);
                if server.objects().apply_object(&slice).is_ok() {
                    own_changes.fetch_add(1, Ordering::Relaxed);
                }
                version += 1;
                let due =
                    start + Duration::from_secs(1) / rate * u32::try_from(version).unwrap_or(1);
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        });
        Self { stop, changes, start, thread }
    }

    /// Changes per second.
    fn end(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        // A panic has been reported by the thread itself.
        let _ = self.thread.join();
        self.changes.load(Ordering::Relaxed) as f64 / self.start.elapsed().as_secs_f64()
    }
}

/// An address of this machine that an EndpointSlice may have. Nothing is sent.
fn own_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(address) if !address.is_loopback() => Some(address),
        _ => None,
    }
}

fn say(line: &str) {
    // A closed pipe at the other end is no reason to stop.
    let _ = writeln!(io::stdout(), "{line}");
}
