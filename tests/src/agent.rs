use std::{
    ffi::OsString,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{client, namespace::Namespace};

/// What a box runs.
#[derive(Clone, Debug, Default)]
pub struct Binaries {
    /// The `penstock` binary.
    pub agent: PathBuf,
    /// The eBPF object, for the program on the fabric's ports.
    pub object: PathBuf,
}

/// An agent's process. Killed on drop.
#[derive(Debug)]
pub struct Agent {
    program: PathBuf,
    arguments: Vec<OsString>,
    /// `None` stands for this process's own namespace.
    namespace: Option<Namespace>,
    admin: SocketAddr,
    log: PathBuf,
    child: Option<Child>,
}

impl Agent {
    /// The default of `--healthz-port`.
    pub(crate) const ADMIN_PORT: u16 = 10254;

    /// An agent that is not started yet.
    pub(crate) fn new(
        program: PathBuf,
        arguments: Vec<OsString>,
        namespace: Option<Namespace>,
        admin_port: u16,
        log: PathBuf,
    ) -> Self {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, admin_port));
        Self { program, arguments, namespace, admin, log, child: None }
    }

    /// Starts the process, again if it has been killed.
    pub fn start(&mut self) -> Result<()> {
        // Should this process be killed, so is the agent; and Ctrl-C is not for the agent.
        let mut command = match &self.namespace {
            Some(namespace) => namespace.command("setpriv"),
            None => Command::new("setpriv"),
        };
        let log = File::options().create(true).append(true).open(&self.log)?;
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&self.program)
            .args(&self.arguments)
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        self.child = Some(command.spawn().context("cannot start the agent")?);
        Ok(())
    }

    /// Waits until the agent says that it is ready.
    pub fn await_ready(&mut self, limit: Duration) -> Result<()> {
        self.await_state("ready", limit, |agent| {
            agent.admin("/readyz").is_ok_and(|(status, _)| status == 200)
        })
    }

    /// Waits until the agent steers to as many nodes: it can reach them, and they are ready.
    pub fn await_peers(&mut self, count: usize, limit: Duration) -> Result<()> {
        self.await_state("steering to all nodes", limit, |agent| {
            let state = agent.admin("/state").ok();
            let state: Option<Value> = state.and_then(|(_, body)| serde_json::from_str(&body).ok());
            let nodes = state.and_then(|state| state["steering"]["nodes"].as_array().cloned());
            // A table that has them may come some seconds after they are known to be ready.
            let usable = |node: &&Value| {
                let rows = node["rows"].as_u64().unwrap_or_default();
                node["state"] == "ready" && node["reachable"] == true && rows > 0
            };
            nodes.is_some_and(|nodes| nodes.iter().filter(usable).count() == count)
        })
    }

    fn await_state(
        &mut self,
        what: &str,
        limit: Duration,
        reached: impl Fn(&Self) -> bool,
    ) -> Result<()> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.exited()? {
                bail!("the agent ended ({status}):\n{}", self.log_tail());
            }
            if reached(self) {
                return Ok(());
            }
            if start.elapsed() > limit {
                let state = self.admin("/state").map_or(String::new(), |(_, body)| body);
                bail!("the agent is not {what} after {limit:?}:\n{state}\n{}", self.log_tail());
            }
            // The agent tells nobody when its state changes; a poll is all there is.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the process at once, as a crash would.
    pub fn crash(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Asks the process to end and waits for it.
    pub fn stop(&mut self) -> Result<Option<ExitStatus>> {
        let Some(mut child) = self.child.take() else { return Ok(None) };
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)?;
        Ok(Some(child.wait()?))
    }

    /// Sends the process a signal, and does not wait.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process().context("the agent does not run")?;
        Ok(kill(Pid::from_raw(process.cast_signed()), signal)?)
    }

    /// Waits until a condition on what `/state` says of steering holds.
    pub fn await_steering(
        &mut self,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        self.await_state(what, limit, |agent| {
            let state = agent.admin("/state").ok();
            let state: Option<Value> = state.and_then(|(_, body)| serde_json::from_str(&body).ok());
            state.is_some_and(|state| holds(&state["steering"]))
        })
    }

    /// The status and body of a page of the admin port.
    pub fn admin(&self, path: &str) -> Result<(u16, String)> {
        let answer = self.inside(|| async {
            client::get(self.admin, "localhost", path, Duration::from_secs(2)).await
        })??;
        Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    }

    /// What the agent would do with a request for this URL.
    pub fn explain(&self, url: &str) -> Result<Value> {
        let encoded: String = url.bytes().map(encode).collect();
        let (status, body) = self.admin(&format!("/api/v1/explain?url={encoded}"))?;
        if status != 200 {
            bail!("explain answers {status}: {body}");
        }
        serde_json::from_str(&body).with_context(|| format!("explain answers {body}"))
    }

    /// The last lines of what the agent has logged.
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// The admin address.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// The process's number, if it runs.
    pub fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn exited(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?),
            None => bail!("the agent has not been started"),
        }
    }

    fn inside<T: Send, F: Future<Output = T>>(&self, work: impl FnOnce() -> F + Send) -> Result<T> {
        match &self.namespace {
            Some(namespace) => namespace.block_on(work),
            None => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                Ok(runtime.block_on(work()))
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Nothing is left to do about a process that cannot be killed.
        let _ = self.crash();
    }
}

/// Percent-encodes what a query's value must not hold (RFC 3986 section 3.4), and `&` and `+`.
fn encode(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    }
}
