//! Clients and backends in other languages, from `tests/interop`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use testbed::requirement;

use crate::{
    process::{Process, await_listener, free_port, which},
    site::{Host, Site},
};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("interop").join(name)
}

/// Debian's Python with a script, if it has these modules.
pub(crate) fn python(script: &str, modules: &[&str], arguments: &[&str]) -> Option<Command> {
    // Not the first of `PATH`, which may be another than the one that Debian's packages are for.
    let program = PathBuf::from("/usr/bin/python3");
    let imports: String = modules.iter().map(|module| format!("import {module}\n")).collect();
    let mut probe = Command::new(&program);
    probe.args(["-c", &imports]).stdout(Stdio::null()).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        return None;
    }
    let mut command = Command::new(program);
    command.arg("-u").arg(file(script)).args(arguments);
    Some(command)
}

/// Node with a script, if it is there.
pub(crate) fn node(script: &str, arguments: &[&str]) -> Option<Command> {
    let mut command = Command::new(which("node")?);
    command.arg(file(script)).args(arguments);
    Some(command)
}

/// Says that something is missing, so that (a part of) `test` is skipped.
pub(crate) fn missing(test: &str, what: &str) {
    requirement::interop(test, what);
}

/// Runs a client that prints a line `ok NAME` or `FAILED NAME: why` for each of its cases.
pub(crate) fn rows(mut command: Command, report: &mut crate::report::Report) {
    let output = command.stdin(Stdio::null()).output().expect("it can be run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("ok ") {
            report.row(name, Ok(()));
        } else if let Some(row) = line.strip_prefix("FAILED ") {
            let (name, why) = row.split_once(": ").unwrap_or((row, ""));
            report.row(name, Err(why.to_owned()));
        }
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let end: String =
        errors.chars().rev().take(2000).collect::<Vec<_>>().into_iter().rev().collect();
    report.row("the client ends well", output.status.success().then_some(()).ok_or(end));
}

/// The backend that the clients of others are pointed at: `app.py`.
pub(crate) struct App {
    address: SocketAddr,
    _process: Process,
}

impl App {
    /// Starts it; `None` after saying that `test` is skipped.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let Some(command) = python("app.py", &["aiohttp"], &[&address.port().to_string()]) else {
            missing(test, "python3-aiohttp");
            return None;
        };
        let mut process = Process::start(&command);
        await_listener(&mut process, address, "the backend");
        Some(Self { address, _process: process })
    }

    /// An agent before it, for the hosts `a.test` and `localhost`.
    pub(crate) fn site(&self, test: &str) -> Option<Site> {
        let hosts = [Host::new("a.test", self.address), Host::new("localhost", self.address)];
        Site::start(test, &hosts)
    }

    /// The path of the authority's certificate, as an argument.
    pub(crate) fn authority(&self, site: &Site) -> String {
        site.authority().to_string_lossy().into_owned()
    }

    /// What a page has told it.
    pub(crate) fn result(&self) -> Value {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let asked = testbed::get(self.address, "a", "/result", Duration::from_secs(5));
        let answer = runtime.expect("a runtime").block_on(asked).expect("the backend answers");
        serde_json::from_slice(&answer.body).expect("it is JSON")
    }
}
