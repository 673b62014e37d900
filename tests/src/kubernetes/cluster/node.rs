//! The first process of a node. It is root in a process, mount, network, host name and IPC namespace
//! of its own; everything that it mounts goes with it.

use std::{
    collections::HashMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    mount::{MsFlags, mount},
    sys::wait::{WaitStatus, waitpid},
    unistd::Pid,
};
use serde_json::Value;

use super::{
    cgroups::Hierarchies,
    layout::{Layout, Place},
    runtime,
};
use crate::kubernetes::Programs;

/// What kubelet and others want of the machine, which is not theirs to change: they read that it is
/// so already.
const SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];
/// How long containerd may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// Becomes node `number` of a cluster; returns only what kept it from that.
///
/// # Errors
/// What cannot be mounted, written or started.
pub fn run(layout: &Layout, number: u8, programs: PathBuf) -> Result<()> {
    let node = Node { layout, number, programs: Programs::of_cluster(programs)? };
    // Those of this process lack what was below `/sys`.
    let hierarchies = Hierarchies::of(&fs::read_to_string(layout.mounts())?);
    node.mount(&hierarchies)?;
    node.configure(&hierarchies)?;
    let mut children = Children::default();
    children.start("containerd", node.containerd())?;
    node.import_images()?;
    children.start("kube-proxy", node.proxy())?;
    children.start("kubelet", node.kubelet())?;
    children.keep()
}

struct Node<'l> {
    layout: &'l Layout,
    number: u8,
    programs: Programs,
}

impl Node<'_> {
    fn name(&self) -> String {
        Place::Node(self.number).to_string()
    }

    fn own(&self, name: &str) -> PathBuf {
        self.layout.node_directory(self.number).join(name)
    }

    /// `ip netns exec` has left a fresh `/sys` of this network namespace, with nothing below it.
    fn mount(&self, hierarchies: &Hierarchies) -> Result<()> {
        fresh("proc", "/proc", None)?;
        fs::write("/proc/sys/kernel/hostname", self.name())?;
        hierarchies.mount(&self.layout.cgroup(), &self.name())?;
        fresh("bpf", "/sys/fs/bpf", None)?;
        for (own, place) in [("lib", "/var/lib"), ("log", "/var/log")] {
            fs::create_dir_all(self.own(own))?;
            bind(&self.own(own), Path::new(place))?;
        }
        fresh("tmpfs", "/run", Some("mode=755"))?;
        for directory in ["/run/containerd", "/run/netns", "/var/lib/kubelet", "/var/lib/cni/net.d"]
        {
            fs::create_dir_all(directory)?;
        }
        for (name, value) in SYSCTLS {
            let own = PathBuf::from("/run").join(format!("sysctl.{}", name.replace('/', ".")));
            fs::write(&own, value)?;
            bind(&own, &Path::new("/proc/sys").join(name))?;
        }
        // So that what is mounted for a pod is seen by the runtime, and the other way round.
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_SHARED | MsFlags::MS_REC, none)?;
        Ok(())
    }

    fn configure(&self, hierarchies: &Hierarchies) -> Result<()> {
        let json = |path: PathBuf, value: &Value| fs::write(path, value.to_string());
        fs::write(self.own("containerd.toml"), runtime::CONTAINERD)?;
        json("/var/lib/cni/net.d/10-penstock.conflist".into(), &runtime::cni(self.number))?;
        let kubelet = runtime::kubelet(self.layout, self.number, hierarchies);
        json(self.own("kubelet.json"), &kubelet)?;
        let kubeconfig = self.layout.credentials().join("proxy.kubeconfig");
        json(self.own("proxy.json"), &runtime::proxy(&self.name(), &kubeconfig))?;
        Ok(())
    }

    fn containerd(&self) -> Command {
        let mut command = Command::new("containerd");
        command.arg("--config").arg(self.own("containerd.toml"));
        command
    }

    fn proxy(&self) -> Command {
        let mut command = self.programs.command("kube-proxy");
        command.arg("--config").arg(self.own("proxy.json"));
        command
    }

    fn kubelet(&self) -> Command {
        let mut command = self.programs.command("kubelet");
        let kubeconfig = self.layout.credentials().join(format!("{}.kubeconfig", self.name()));
        command.arg("--config").arg(self.own("kubelet.json"));
        command.arg("--kubeconfig").arg(kubeconfig);
        command.arg(format!("--hostname-override={}", self.name()));
        command.arg(format!("--node-ip={}", Place::Node(self.number).address()));
        command.arg("--v=1");
        command
    }

    /// Every image in the cluster's directory: there is no registry.
    fn import_images(&self) -> Result<()> {
        let start = Instant::now();
        while !quiet(Command::new("ctr").arg("version")) {
            if start.elapsed() > PATIENCE {
                bail!("containerd does not answer: see its log");
            }
            thread::sleep(Duration::from_millis(50));
        }
        for entry in fs::read_dir(self.layout.directory().join("images"))?.flatten() {
            let mut command = Command::new("ctr");
            command.args(["-n", "k8s.io", "images", "import"]).arg(entry.path());
            if !quiet(&mut command) {
                bail!("the image {} cannot be imported", entry.path().display());
            }
        }
        Ok(())
    }
}

/// What runs on the node, started again when it ends: kubelet does when the API server is not there
/// yet.
#[derive(Default)]
struct Children(HashMap<Pid, (&'static str, Command)>);

impl Children {
    fn start(&mut self, name: &'static str, mut command: Command) -> Result<()> {
        let log = File::options().create(true).append(true).open(format!("/var/log/{name}.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        self.0.insert(Pid::from_raw(child.id().cast_signed()), (name, command));
        Ok(())
    }

    /// Waits for whatever ends: the first process inherits every orphan of the node.
    fn keep(mut self) -> Result<()> {
        loop {
            let ended = match waitpid(None, None)? {
                WaitStatus::Exited(process, _) | WaitStatus::Signaled(process, ..) => process,
                _ => continue,
            };
            if let Some((name, command)) = self.0.remove(&ended) {
                thread::sleep(Duration::from_secs(1));
                self.start(name, command)?;
            }
        }
    }
}

fn quiet(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn fresh(kind: &str, place: &str, data: Option<&str>) -> Result<()> {
    mount(Some(kind), place, Some(kind), MsFlags::empty(), data)
        .with_context(|| format!("cannot mount {kind} on {place}"))
}

fn bind(own: &Path, place: &Path) -> Result<()> {
    let none: Option<&str> = None;
    mount(Some(own), place, none, MsFlags::MS_BIND, none)
        .with_context(|| format!("cannot mount {} on {}", own.display(), place.display()))
}
