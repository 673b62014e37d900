//! A site to test against: a directory of manifests, the real agent serving it in this process on
//! ports that the kernel picks, scripted backends, and clients that show every byte.

#[expect(dead_code, reason = "some of it is for the tests of the source alone")]
mod api_server;
mod backend;
mod client;
mod collector;
mod manifests;
mod requirement;
mod served;

pub(crate) use api_server::ApiServer;
pub(crate) use backend::{Backend, read_head, read_request, saying};
pub(crate) use client::{
    Connection, Pair, Reply, TlsOptions, exchange, tls, tls_behind, tls_config, tls_over, tls_with,
};
pub(crate) use collector::{Collector, attribute};
pub(crate) use manifests::*;
pub(crate) use requirement::skip;
pub(crate) use served::Served;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use ingress_userspace::{
    config::{self, Config, Invocation, Parsed},
    lifecycle::{Agent, Stop},
};
use tempfile::TempDir;

/// The longest that anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// An agent and its manifests. Stopped and deleted on drop.
pub(crate) struct Site {
    pub(crate) dir: TempDir,
    agent: Option<Agent>,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) page: Option<SocketAddr>,
}

impl Site {
    /// Starts an agent on these files.
    pub(crate) fn start(files: &[(&str, &str)]) -> Self {
        Self::start_with(files, &[], |_| {})
    }

    /// The same with more arguments, and with a configuration that a test can change.
    pub(crate) fn start_with(
        files: &[(&str, &str)],
        arguments: &[&str],
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).expect("a manifest");
        }
        let mut config = config(dir.path(), arguments);
        change(&mut config);
        Self::run(dir, config)
    }

    /// Starts an agent on the objects of an API server, which it asks as this user.
    pub(crate) fn start_on(served: &Served, user: serde_json::Value, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let kubeconfig = served.kubeconfig(dir.path(), user);
        Self::run(dir, config_of(format!("--kubeconfig={kubeconfig}"), arguments))
    }

    fn run(dir: TempDir, config: Config) -> Self {
        let agent = Agent::start(config).expect("the agent starts");
        let addresses = agent.addresses().clone();
        Self {
            dir,
            agent: Some(agent),
            http: addresses.http[0],
            https: addresses.https[0],
            admin: addresses.admin[0],
            page: addresses.page,
        }
    }

    /// Writes or replaces a file of the manifests.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).expect("a manifest");
    }

    /// The same in one step: nothing between the old and the new text is ever seen.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        let outside = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(outside.path(), text).expect("a temporary file");
        outside.persist(self.dir.path().join(name)).expect("the same file system");
    }

    /// The number of the snapshot that is served.
    pub(crate) fn generation(&self) -> u64 {
        self.state()["generation"].as_u64().expect("a number")
    }

    /// The admin port's `/state`.
    pub(crate) fn state(&self) -> serde_json::Value {
        let reply = self.admin("/state");
        serde_json::from_slice(&reply.body).expect("it is JSON")
    }

    /// An answer of the admin port.
    pub(crate) fn admin(&self, target: &str) -> Reply {
        exchange(
            self.admin,
            &format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"),
        )
    }

    /// What the admin API says of a resource and its query.
    pub(crate) fn api(&self, resource: &str) -> serde_json::Value {
        let reply = self.admin(&format!("/api/v1/{resource}"));
        assert_eq!(reply.status, 200, "{resource}: {}", reply.text());
        serde_json::from_slice(&reply.body).expect("it is JSON")
    }

    /// What would become of a request.
    pub(crate) fn explain(&self, query: &str) -> serde_json::Value {
        self.api(&format!("explain?{query}"))
    }

    /// The answer to a GET over plain HTTP on a connection of its own.
    pub(crate) fn get(&self, host: &str, target: &str) -> Reply {
        exchange(
            self.http,
            &format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"),
        )
    }

    /// Waits until the state is as wanted.
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&serde_json::Value) -> bool) {
        until(what, || wanted(&self.state()));
    }

    /// The sum of all series with this name and these labels, as Prometheus writes them.
    pub(crate) fn metric(&self, line: &str) -> Option<u64> {
        let (name, labels) = line.split_once('{').unwrap_or((line, ""));
        let labels = labels.trim_end_matches('}').split(',');
        let labels: Vec<_> = labels
            .filter_map(|label| label.split_once('='))
            .map(|(label, value)| (label, value.trim_matches('"')))
            .collect();
        self.series(name, &labels).map(|value| value as u64)
    }

    /// The sum of all series of this name that have these labels; `None`: there is none.
    pub(crate) fn series(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let reply = self.admin("/metrics");
        let text = String::from_utf8(reply.body).expect("it is text");
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (own, value) = rest.rsplit_once(' ')?;
            let own = own.strip_prefix('{').unwrap_or(own);
            let has = |(label, value): &(&str, &str)| {
                let wanted = format!("{label}=\"{value}\"");
                own.starts_with(&wanted) || own.contains(&format!(",{wanted}"))
            };
            (rest.starts_with(['{', ' ']) && labels.iter().all(has))
                .then(|| value.parse::<f64>().expect("a number"))
        });
        let values: Vec<_> = values.collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Tells the agent to stop.
    pub(crate) fn signal(&self, stop: Stop) {
        self.agent.as_ref().expect("it runs").stop_handle().stop(stop);
    }

    /// Waits for the agent's end.
    pub(crate) fn wait(mut self) -> bool {
        ended(self.agent.take().expect("it runs")).expect("the agent ends in time")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.stop_handle().stop(Stop::Now);
            let sound = ended(agent);
            if !thread::panicking() {
                assert!(sound.is_ok(), "the agent does not stop at once: not within {DEADLINE:?}");
                assert!(sound == Ok(true), "a part of the agent ended by a bug");
            }
        }
    }
}

/// Waits for the agent's end, which may need the time that connections get to end in.
fn ended(agent: Agent) -> Result<bool, mpsc::RecvTimeoutError> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(agent.wait()));
    receiver.recv_timeout(DEADLINE)
}

/// A configuration for tests: loopback, ports of the kernel's choice, two workers.
pub(crate) fn config(manifests: &Path, more: &[&str]) -> Config {
    config_of(format!("--manifests={}", manifests.display()), more)
}

fn config_of(source: String, more: &[&str]) -> Config {
    let mut arguments = vec![
        "penstock".to_owned(),
        "run".to_owned(),
        source,
        "--http-port=0".to_owned(),
        "--https-port=0".to_owned(),
        "--healthz-port=0".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        "--healthz-host=127.0.0.1".to_owned(),
        "--workers=2".to_owned(),
        "--watch-ingress-without-class".to_owned(),
        "--l4=off".to_owned(),
        "--admin-socket=".to_owned(),
    ];
    if !more.iter().any(|argument| argument.starts_with("--page-address=")) {
        arguments.push("--page-address=".to_owned());
    }
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    match config::parse(arguments.into_iter().map(Into::into), 2) {
        // libtest's output is not the agent's.
        Parsed::Go(Invocation::Run(config)) => Config { standard_output: false, ..*config },
        other => unreachable!("the arguments are right: {other:?}"),
    }
}

/// Looks until it is so.
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// An address on which nobody listens: taken for as long as the tests run, so that nobody ever does.
pub(crate) fn nobody() -> SocketAddr {
    static TAKEN: Mutex<Vec<socket2::Socket>> = Mutex::new(Vec::new());
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&any.into()).expect("loopback");
    let address = socket.local_addr().expect("bound").as_socket().expect("of IPv4");
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
    address
}

/// A port that no other test of this run gets, below those that the kernel picks from.
pub(crate) fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() % 400 * 50;
    let start = u16::try_from(start).expect("below 20000");
    loop {
        let port = 10_000 + (start + TAKEN.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let address = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}
