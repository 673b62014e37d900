//! Other programs that a test runs: killed on drop.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// The longest that anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// A running program.
pub(crate) struct Process(Child);

impl Process {
    /// Starts it; should this process be killed, so is the program.
    pub(crate) fn start(command: &Command) -> Self {
        let mut own = Command::new("setpriv");
        own.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            own.env(name, value.unwrap_or_default());
        }
        own.stdin(std::process::Stdio::null());
        if env::var_os("PENSTOCK_PROOF_LOUD").is_none() {
            own.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        }
        Self(own.spawn().expect("setpriv is there"))
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Its resident memory in bytes: now, and the most that it ever was.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let field = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            number.expect("the process runs") * 1024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// Ends it at once.
    pub(crate) fn end(&mut self) {
        self.0.kill().expect("it is ours");
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

/// A port of the loopback that nobody uses at this moment. Below those that the kernel gives to
/// clients, one of which would otherwise take it before the server starts; beginning at another place in
/// each process.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() % 60_000 * 61;
        let port = u16::try_from(12_000 + number % 20_000).expect("below 32768");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Waits until somebody listens.
pub(crate) fn await_listener(process: &mut Process, address: SocketAddr, what: &str) {
    until(&format!("{what} listens"), || {
        assert!(process.runs(), "{what} has ended");
        TcpStream::connect(address).is_ok()
    });
}

/// Looks until it is so.
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The program's path, looked up in `PATH` and where Debian keeps programs of root.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}
