//! Where a test loads and attaches, and what it looks at there.

use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use aya::programs::{SchedClassifier, TcAttachType};
use ingress_common::HashKey;
use ingress_userspace::l4::{L4Error, Mode, Options, Services, command, object};
use testbed::requirement;

pub(crate) const VIP: &str = "203.0.113.1";
pub(crate) const VIP6: &str = "2001:db8:0:1::1";

/// A place for one test: in a fresh namespace, a pair of veth ends `eth0` and `wire`.
pub(crate) struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    /// `None`, after saying so, where nothing can be loaded.
    pub(crate) fn new() -> Option<Self> {
        let test = thread::current().name().unwrap_or_default().to_owned();
        requirement::bpf(&test)?;
        assert!(object::embedded().is_some(), "built with PENSTOCK_EBPF_OBJECT");
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("root may");
        ip("link set lo up");
        ip("link add eth0 type veth peer name wire");
        ip("link set eth0 up");
        ip("link set wire up");
        ip("address add 10.0.0.1/24 dev eth0");
        Some(Self { directory: tempfile::tempdir().expect("a directory") })
    }

    pub(crate) fn bpf_dir(&self) -> PathBuf {
        self.directory.path().join("penstock")
    }

    pub(crate) fn options(&self, interfaces: &[&str]) -> Options {
        Options {
            mode: Mode::Auto,
            interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
            services: Services {
                addresses: vec![
                    VIP.parse().expect("an address"),
                    VIP6.parse().expect("an address"),
                ],
                tcp: vec![80, 443],
                udp: Vec::new(),
                by_client: false,
            },
            node_name: "n1".to_owned(),
            bpf_dir: self.bpf_dir(),
            tunnel_port: 6082,
            health_port: 10_254,
            key: HashKey([1, 2]),
            members: Vec::new(),
            candidates: 4,
            settings: false,
            announce: false,
        }
    }

    pub(crate) fn unload(&self) -> Result<(), L4Error> {
        command::Command::Unload { bpf_dir: self.bpf_dir() }.run(&mut Vec::new())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.bpf_dir().exists() {
            let _ = self.unload();
        }
    }
}

pub(crate) fn ip(arguments: &str) {
    assert!(run(arguments).0, "ip {arguments}");
}

pub(crate) fn run(arguments: &str) -> (bool, String) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("iproute2");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How many tc programs an interface has at its entrance, by links and by filters.
pub(crate) fn tc_programs(interface: &str) -> (usize, usize) {
    let (_, links) =
        SchedClassifier::query_tcx(interface, TcAttachType::Ingress).expect("root may");
    let output = Command::new("tc")
        .args(["filter", "show", "dev", interface, "ingress"])
        .output()
        .expect("iproute2");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (links.len(), text.matches("tc_steer").count())
}

/// The number of the XDP program of an interface, and whether it runs in the driver.
pub(crate) fn attached(interface: &str) -> Option<(u64, bool)> {
    let (_, text) = run(&format!("-json -details link show dev {interface}"));
    let links: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let xdp = links[0].get("xdp")?;
    let program = xdp.get("prog").and_then(|prog| prog.get("id"))?.as_u64()?;
    Some((program, xdp.get("mode").and_then(serde_json::Value::as_u64) == Some(1)))
}

pub(crate) fn loopback_has(address: &str) -> bool {
    run("address show dev lo")
        .1
        .contains(&format!("inet{} {address}/", if address.contains(':') { "6" } else { "" }))
}

pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 60 s: {what}");
        // What is waited for needs the processor.
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

pub(crate) fn is_mounted(path: &Path) -> bool {
    let path = path.to_string_lossy();
    std::fs::read_to_string("/proc/self/mountinfo")
        .expect("mountinfo")
        .lines()
        .any(|line| line.split(' ').nth(4) == Some(&*path))
}

/// What a command prints.
pub(crate) fn printed(command: command::Command) -> String {
    let mut out = Vec::new();
    command.run(&mut out).expect("it works");
    String::from_utf8(out).expect("text")
}

pub(crate) fn parsed(arguments: &str, place: &Place) -> command::Command {
    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: command::Command,
    }
    let directory = place.bpf_dir();
    let words = arguments.split(' ').chain(["--bpf-dir", directory.to_str().expect("text")]);
    <Line as clap::Parser>::parse_from(std::iter::once("l4").chain(words)).command
}
