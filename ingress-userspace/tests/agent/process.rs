//! The binary: its exit codes, its messages, its signals.

use std::{
    cell::RefCell,
    io::{BufRead as _, BufReader, Read as _},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use tempfile::TempDir;

use crate::support::{Backend, Connection, documents, exchange, ingress, service, until};

fn penstock(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
    command.args(arguments).env_remove("NODE_NAME").env("RUST_LOG", "info");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Exit code and standard error of arguments that must not run.
fn refused(arguments: &[&str]) -> (i32, String) {
    let output = penstock(arguments).output().expect("it starts");
    let text = String::from_utf8(output.stderr).expect("text");
    (output.status.code().expect("no signal"), text)
}

/// A running agent in a process of its own, killed on drop.
pub(crate) struct Process {
    child: Child,
    dir: TempDir,
    admin: SocketAddr,
}

impl Process {
    pub(crate) fn start(files: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::start_with(files, arguments, &[])
    }

    /// The same with more variables.
    pub(crate) fn start_with(
        files: &[(&str, &str)],
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).expect("a manifest");
        }
        let manifests = format!("--manifests={}", dir.path().display());
        let mut all = vec![
            "run",
            &manifests,
            "--http-port=0",
            "--https-port=0",
            "--healthz-port=0",
            "--page-address=",
            "--bind-address=127.0.0.1",
            "--healthz-host=127.0.0.1",
            "--watch-ingress-without-class",
            "--admin-socket=",
            "--log-format=json",
        ];
        all.extend(arguments);
        let mut command = penstock(&all);
        let mut child = command.envs(variables.iter().copied()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let admin = loop {
            let line = lines.next().expect("it says where it serves").expect("text");
            let value: serde_json::Value = serde_json::from_str(&line).expect("a line is JSON");
            if let Some(list) = value["fields"]["admin"].as_str() {
                break list.trim_matches(['[', ']']).parse().expect("one address");
            }
        };
        // Nobody else reads the pipe, and a full one would stop the agent.
        thread::spawn(move || lines.for_each(drop));
        Self { child, dir, admin }
    }

    pub(crate) fn http(&self) -> SocketAddr {
        let reply = exchange(
            self.admin,
            "GET /state HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        );
        let state: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
        state["listeners"]["http"][0].as_str().expect("one").parse().expect("an address")
    }

    /// A number of `/metrics`.
    pub(crate) fn metric(&self, line: &str) -> Option<u64> {
        let reply =
            exchange(self.admin, "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let text = String::from_utf8(reply.body).expect("it is text");
        text.lines().find_map(|own| own.strip_prefix(line)?.trim().parse().ok())
    }

    /// The most memory that it ever had, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    fn terminate(&self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().expect("a pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn wrong_arguments_are_exit_code_2() {
    let (code, text) = refused(&["run", "--http-prot=80", "--workers=none"]);
    assert_eq!(code, 2);
    for part in ["--http-prot", "--http-port", "--workers"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(refused(&[]).0, 2);
    assert_eq!(refused(&["fly"]).0, 2);
}

#[test]
fn a_directory_that_is_not_there_is_exit_code_2() {
    let (code, text) = refused(&["run", "--manifests=/no/such/place", "--http-port=0"]);
    assert_eq!(code, 2);
    assert!(text.contains("/no/such/place") && text.contains("No such file"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn a_port_in_use_is_exit_code_3_and_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = taken.local_addr().expect("bound");
    let dir = tempfile::tempdir().expect("a directory");
    let (manifests, port) = (dir.path().display().to_string(), address.port().to_string());
    for flag in ["--http-port", "--https-port", "--healthz-port"] {
        let mut arguments = vec![
            "run",
            "--manifests",
            &manifests,
            "--bind-address=127.0.0.1",
            "--healthz-host=127.0.0.1",
        ];
        for other in ["--http-port", "--https-port", "--healthz-port"] {
            arguments.extend([other, if other == flag { &port } else { "0" }]);
        }
        let (code, text) = refused(&arguments);
        assert_eq!(code, 3, "{text}");
        assert!(text.contains(&address.to_string()) && text.contains(flag), "{text}");
        assert!(text.contains("in use"), "{text}");
    }
}

#[test]
fn a_kernel_tier_that_cannot_start_is_exit_code_3_and_says_how_to_go_without() {
    let dir = tempfile::tempdir().expect("a directory");
    let manifests = dir.path().display().to_string();
    let common = [
        "run",
        "--manifests",
        &manifests,
        "--http-port=0",
        "--https-port=0",
        "--healthz-port=0",
        "--page-address=",
        "--bind-address=127.0.0.1",
        "--healthz-host=127.0.0.1",
        "--vip=192.0.2.1",
        "--node-name=here",
    ];
    // Whatever this machine lacks first: the right, the eBPF object, or the interface.
    let (code, text) = refused(&[&common[..], &["--interface=no-such-if"]].concat());
    assert!(code == 3 || code == 2, "{code}: {text}");
    assert!(text.contains("--l4=off"), "{text}");
    let secret = ["--interface=lo", "--l4-key-secret=a/b"];
    let (code, text) = refused(&[&common[..], &secret].concat());
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("a/b") && text.contains("no such Secret"), "{text}");
}

#[test]
fn help_and_version_are_no_fault() {
    for arguments in [&["--help"][..], &["run", "--help"], &["--version"]] {
        let output = penstock(arguments).output().expect("it starts");
        assert!(output.status.success());
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn sigterm_drains_and_exits_0() {
    let shop = Backend::echo("shop");
    let rules =
        documents(&[&ingress("shop.example.com", "shop"), &service("shop", &[shop.address])]);
    let mut agent = Process::start(&[("all.yaml", &rules)], &[]);
    assert!(agent.dir.path().exists());
    let http = agent.http();
    let mut connection = Connection::open(http);
    let get = "GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n";
    assert_eq!(connection.request(get).status, 200);
    agent.terminate();
    until("nobody listens", || std::net::TcpStream::connect(http).is_err());
    assert!(agent.wait().success());
}

#[test]
fn ignored_flags_are_told_once_each() {
    let dir = tempfile::tempdir().expect("a directory");
    let manifests = dir.path().display().to_string();
    let mut child = penstock(&[
        "run",
        "--manifests",
        &manifests,
        "--http-port=0",
        "--https-port=0",
        "--healthz-port=0",
        "--page-address=",
        "--bind-address=127.0.0.1",
        "--healthz-host=127.0.0.1",
        "--publish-service=a/b",
        "--election-id=x",
        "--v=3",
    ])
    .spawn()
    .expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let (mut warnings, mut pointless) = (0, 0);
    for line in &mut lines {
        let line = line.expect("text");
        warnings += usize::from(line.contains("is accepted and does nothing"));
        pointless += usize::from(line.contains("does nothing with --manifests"));
        if line.contains("serving") {
            break;
        }
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let mut rest = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut rest).expect("text");
    }
    assert_eq!((warnings, pointless, rest.as_str()), (1, 2, ""));
}

#[test]
fn an_agent_without_file_descriptors_still_drains() {
    let shop = Backend::echo("shop");
    let rules =
        documents(&[&ingress("shop.example.com", "shop"), &service("shop", &[shop.address])]);
    let mut agent = Process::start(&[("all.yaml", &rules)], &["--workers=1", "--drain-timeout=1"]);
    let http = agent.http();
    // As many as it has open now, and a few more.
    let open = std::fs::read_dir(format!("/proc/{}/fd", agent.child.id())).expect("it runs");
    let limit = format!("--nofile={}", open.count() + 4);
    let limited = Command::new("prlimit")
        .args(["--pid", &agent.child.id().to_string(), &limit])
        .status()
        .expect("util-linux is there");
    assert!(limited.success());
    // Heads that never end hold all of its descriptors, and more of them wait in the queue.
    let clients: Vec<_> = (0..30)
        .map(|_| {
            let mut connection = Connection::open(http);
            connection.send("GET / HTTP/1.1\r\nhost: shop.example.com\r\n");
            connection
        })
        .collect();
    let taken = || std::fs::read_dir(format!("/proc/{}/fd", agent.child.id())).map(Iterator::count);
    let full = limit.trim_start_matches("--nofile=").parse::<usize>().expect("a number");
    until("no descriptor is left", || taken().is_ok_and(|taken| taken >= full));
    agent.terminate();
    let child = RefCell::new(&mut agent.child);
    until("it ends", || child.borrow_mut().try_wait().expect("it is ours").is_some());
    drop(clients);
}

/// Signals that the process has a handler for, as `/proc/PID/status` has them; none once it has ended.
fn caught(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    let status = status.unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// A container's first process ignores what it does not catch: whoever stops a pod that has just begun
/// would wait for the kill.
#[test]
fn a_signal_in_the_first_moment_is_obeyed() {
    for _ in 0..10 {
        // Nobody answers there, so that it waits for objects for good.
        let arguments = ["run", "--apiserver-host=http://127.0.0.1:1", "--l4=off", "--http-port=0"];
        let more =
            ["--https-port=0", "--healthz-port=0", "--page-address=", "--bind-address=127.0.0.1"];
        let child = penstock(&[&arguments[..], &more].concat()).spawn().expect("it starts");
        let terminate = 1 << (nix::sys::signal::Signal::SIGTERM as u32 - 1);
        until("it catches SIGTERM", || caught(&child) & terminate != 0);
        let pid = nix::unistd::Pid::from_raw(child.id().try_into().expect("a pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
        let child = RefCell::new(child);
        until("it ends", || child.borrow_mut().try_wait().expect("it is ours").is_some());
        let ended = child.borrow_mut().wait().expect("it has ended");
        assert_eq!(ended.code(), Some(0), "{ended:?}");
    }
}
