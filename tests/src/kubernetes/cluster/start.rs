use std::{
    fs,
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use http::Method;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    images::Image,
    layout::{Layout, NODES, Place},
    leftovers, network,
};
use crate::{
    Namespace,
    kubernetes::{
        Objects, Programs, control,
        credentials::{Credentials, User},
    },
};

/// How long the cluster may take until it is ready: ten seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// What lets kube-proxy read Services, which its own name does not.
const PROXY_BINDING: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: penstock-node-proxier}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:node-proxier}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: system:kube-proxy}]
";

/// A cluster that runs.
#[derive(Debug)]
pub struct Cluster {
    layout: Layout,
    programs: Programs,
    testbed: PathBuf,
    objects: Objects,
}

impl Cluster {
    /// Makes the cluster and returns when all its nodes are ready; what a cluster of this name left
    /// goes first. `testbed` is the program of that name, which becomes each node's first process;
    /// `say` is told of each step.
    ///
    /// # Errors
    /// When one is up already, and whatever fails; what was made is left to be looked at.
    pub fn up(
        layout: Layout,
        nodes: u8,
        programs: Programs,
        testbed: PathBuf,
        images: &[Image],
        say: impl Fn(&str),
    ) -> Result<Self> {
        if !(1..=NODES).contains(&nodes) {
            bail!("a cluster has 1 to {NODES} nodes");
        }
        if is_up(&layout) {
            bail!("the cluster {} is up already: take it down first", layout.name());
        }
        leftovers::destroy(&layout)?;
        let directory = layout.directory();
        for name in ["log", "images"] {
            fs::create_dir_all(directory.join(name))
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        fs::write(layout.mounts(), fs::read_to_string("/proc/mounts")?)?;
        for (number, image) in images.iter().enumerate() {
            image.write(&directory.join(format!("images/{number}.tar")))?;
        }
        let credentials = credentials(&layout, nodes)?;
        network::make(&layout, nodes)?;
        network::route_over(&layout, &(1..=nodes).collect::<Vec<_>>())?;
        say("network made");

        // Nodes first: containerd comes up while the API server starts.
        for number in 1..=nodes {
            start_node(&layout, &programs, &testbed, number)?;
        }
        let in_control =
            |name: &str, command: &Command| spawn(&layout, Place::ControlPlane, name, command);
        in_control("etcd", &control::etcd(&programs, &directory))?;
        in_control("apiserver", &control::api_server(&programs, &directory, &credentials))?;
        let own = Self::of(layout.clone(), programs, testbed)?;
        own.until("the API server is ready", || {
            Ok(own.objects(|objects| objects.request(Method::GET, "/readyz", None))?.is_ok())
        })?;
        say("API server ready");
        in_control(
            "controller-manager",
            &control::controller_manager(&own.programs, &credentials),
        )?;
        in_control("scheduler", &control::scheduler(&own.programs, &credentials))?;
        own.objects(|objects| objects.apply(PROXY_BINDING))??;
        own.await_nodes(nodes)?;
        fs::write(directory.join("up"), nodes.to_string())?;
        say("nodes ready");
        Ok(own)
    }

    /// The cluster of this name.
    ///
    /// # Errors
    /// When it is not up.
    pub fn find(layout: Layout, programs: Programs, testbed: PathBuf) -> Result<Self> {
        if !is_up(&layout) {
            bail!("there is no cluster {}: `cargo xtask cluster up` makes one", layout.name());
        }
        Self::of(layout, programs, testbed)
    }

    /// Takes it away, in whatever state it is; nothing of it is left.
    ///
    /// # Errors
    /// What could not be taken away.
    pub fn down(layout: &Layout) -> Result<()> {
        leftovers::destroy(layout)
    }

    fn of(layout: Layout, programs: Programs, testbed: PathBuf) -> Result<Self> {
        let control = Namespace::named(layout.namespace(Place::ControlPlane));
        let objects = control.run(|| Objects::of(&layout.kubeconfig()))??;
        Ok(Self { layout, programs, testbed, objects })
    }

    /// Its names and addresses.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Works with its objects as one who may do everything.
    pub fn objects<T: Send>(&self, work: impl FnOnce(&Objects) -> T + Send) -> Result<T> {
        // Connections belong to the namespace of the thread that opens them.
        Namespace::named(self.layout.namespace(Place::ControlPlane)).run(|| work(&self.objects))
    }

    /// Runs the future that `work` makes in the network namespace of one of its places.
    pub fn inside<T: Send, F: Future<Output = T>>(
        &self,
        place: Place,
        work: impl FnOnce() -> F + Send,
    ) -> Result<T> {
        Namespace::named(self.layout.namespace(place)).block_on(work)
    }

    /// A command in one of its places: on a node in all its namespaces, elsewhere in the network
    /// namespace.
    pub fn command(&self, place: Place, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let Place::Node(_) = place else {
            let namespace = Namespace::named(self.layout.namespace(place));
            return Ok(namespace.command(program));
        };
        let process = first_process(&self.layout, place)?;
        let mut command = Command::new("nsenter");
        command.args(["--target", &process.to_string(), "--all", "--"]).arg(program);
        Ok(command)
    }

    /// kubectl as one who may do everything.
    pub fn kubectl(&self) -> Command {
        let namespace = Namespace::named(self.layout.namespace(Place::ControlPlane));
        let mut command = namespace.command(self.programs.directory().join("kubectl"));
        command.arg("--kubeconfig").arg(self.layout.kubeconfig());
        command
    }

    /// Gives every node an image from an archive, as a registry would.
    pub fn import(&self, archive: &Path) -> Result<()> {
        for number in 1..=self.nodes()? {
            let mut command = self.command(Place::Node(number), "ctr")?;
            let file = File::open(archive).with_context(|| archive.display().to_string())?;
            command.args(["-n", "k8s.io", "images", "import", "-"]);
            let output = command.stdin(file).output()?;
            if !output.status.success() {
                let error = String::from_utf8_lossy(&output.stderr).into_owned();
                bail!("n{number} cannot import {}: {}", archive.display(), error.trim());
            }
        }
        Ok(())
    }

    /// A node's power is cut: it is silent at once, then whatever runs there goes, with all that its
    /// kernel knew.
    pub fn cut(&self, number: u8) -> Result<()> {
        let place = Place::Node(number);
        let first = Pid::from_raw(first_process(&self.layout, place)?);
        network::silence(&self.layout, number)?;
        kill(first, Signal::SIGKILL)?;
        let name = self.layout.namespace(place);
        self.until(&format!("{place} is gone"), || {
            Ok(crate::leftovers::processes(&name).is_empty())
        })?;
        network::remove_node(&self.layout, number)
    }

    /// Its power is back.
    pub fn boot(&self, number: u8) -> Result<()> {
        network::add_node(&self.layout, number, self.nodes()?)?;
        start_node(&self.layout, &self.programs, &self.testbed, number)
    }

    /// Tells a node's `kubelet` or `containerd` to end, as an update of its package does, and returns
    /// when it has been started again.
    pub fn restart(&self, number: u8, program: &str) -> Result<()> {
        let before = self.processes(number, program);
        let [process] = before[..] else {
            bail!("n{number} runs {} of {program}", before.len());
        };
        kill(process, Signal::SIGTERM)?;
        self.until(&format!("{program} runs again on n{number}"), || {
            let now = self.processes(number, program);
            Ok(!now.is_empty() && !now.contains(&process))
        })
    }

    /// The processes of this name in a node's network namespace: those of pods with a network of their
    /// own are not among them.
    pub fn processes(&self, number: u8, program: &str) -> Vec<Pid> {
        let mut all = crate::leftovers::processes(&self.layout.namespace(Place::Node(number)));
        all.retain(|process| {
            let name = fs::read_to_string(format!("/proc/{process}/comm"));
            name.is_ok_and(|name| name.trim_end() == program)
        });
        all
    }

    /// Makes the router send what is for virtual addresses to these nodes alone; all of them are
    /// where it begins.
    pub fn route_over(&self, nodes: &[u8]) -> Result<()> {
        network::route_over(&self.layout, nodes)
    }

    /// How many nodes it was made with.
    fn nodes(&self) -> Result<u8> {
        Ok(fs::read_to_string(self.layout.directory().join("up"))?.parse()?)
    }

    /// Waits until as many nodes are ready.
    pub fn await_nodes(&self, count: u8) -> Result<()> {
        self.until(&format!("{count} nodes are ready"), || {
            let mut kubectl = self.kubectl();
            kubectl.args(["get", "nodes", "--no-headers"]);
            let nodes = kubectl.output()?;
            let nodes = String::from_utf8_lossy(&nodes.stdout).into_owned();
            let ready = |line: &&str| line.split_whitespace().nth(1) == Some("Ready");
            Ok(nodes.lines().filter(ready).count() == usize::from(count))
        })
    }

    fn until(&self, what: &str, is: impl Fn() -> Result<bool>) -> Result<()> {
        let start = Instant::now();
        while !is()? {
            if start.elapsed() > PATIENCE {
                let logs = self.layout.directory();
                bail!("{what}: not within {PATIENCE:?}; logs are in {}", logs.display());
            }
            // Nobody tells of it; a poll is all there is.
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

/// Whether the cluster was once ready, and has not been killed since.
fn is_up(layout: &Layout) -> bool {
    let control = layout.namespace(Place::ControlPlane);
    layout.directory().join("up").is_file() && !crate::leftovers::processes(&control).is_empty()
}

fn credentials(layout: &Layout, nodes: u8) -> Result<Credentials> {
    let mut users = vec![
        User::admin(),
        User::new("controller-manager", "system:kube-controller-manager", None),
        User::new("scheduler", "system:kube-scheduler", None),
        User::new("proxy", "system:kube-proxy", None),
    ];
    users.extend((1..=nodes).map(|number| {
        let name = Place::Node(number).to_string();
        User::new(&name, &format!("system:node:{name}"), Some("system:nodes"))
    }));
    Credentials::make(&layout.credentials(), layout.server(), &users)
}

/// Starts a command that goes on when this process has ended.
fn spawn(layout: &Layout, place: Place, name: &str, program: &Command) -> Result<()> {
    let log = File::options().create(true).append(true).open(layout.log(name))?;
    // A session of its own: the terminal that is closed or interrupted is not its.
    let mut command = Command::new("setsid");
    // Unlike nsenter it mounts a `/sys` of the namespace, which a node then fills.
    command.args(["ip", "netns", "exec", &layout.namespace(place)]);
    command.arg(program.get_program()).args(program.get_args());
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("cannot start {name}"))?;
    Ok(())
}

fn start_node(layout: &Layout, programs: &Programs, testbed: &Path, number: u8) -> Result<()> {
    let name = Place::Node(number).to_string();
    fs::create_dir_all(layout.node_directory(number))?;
    let mut command = Command::new("unshare");
    // Killing unshare is a power cut: the first process goes, and with it its namespace.
    command.args(["--mount", "--pid", "--fork", "--uts", "--ipc", "--kill-child=KILL"]);
    command.args(["--propagation", "private"]);
    command.arg(testbed).args(["cluster", "--name", layout.name(), "--programs"]);
    command.arg(programs.directory()).args(["node", &number.to_string()]);
    spawn(layout, Place::Node(number), &name, &command)
}

/// The first process of a node, by its number outside: the child of unshare, which is alone in having
/// the number one in its own namespace.
fn first_process(layout: &Layout, place: Place) -> Result<i32> {
    let processes = crate::leftovers::processes(&layout.namespace(place));
    let first = processes.into_iter().map(Pid::as_raw).find(|process| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        // The namespaces from ours inwards: a container has one more.
        let mut numbers = numbers.into_iter().flat_map(str::split_whitespace);
        numbers.next() == Some(process.to_string().as_str())
            && numbers.next() == Some("1")
            && numbers.next().is_none()
    });
    first.with_context(|| format!("{place} does not run"))
}
