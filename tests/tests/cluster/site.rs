//! A cluster with the application in it, and what is asked of it.

use std::{
    fmt,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use testbed::{
    kubernetes::cluster::{Cluster, Image, Layout},
    requirement,
};

/// How many nodes.
pub(crate) const NODES: u8 = 3;
/// The host of the application.
pub(crate) const HOST: &str = "app.example.com";
/// The namespace that Penstock is installed in, and its DaemonSet.
pub(crate) const NAMESPACE: &str = "penstock";
/// See [`NAMESPACE`].
pub(crate) const DAEMON_SET: &str = "daemonset/penstock-controller";
/// The longest that a step may take. One that goes wrong is found by this alone; a machine that has much
/// else to do takes minutes for a rolling update.
const DEADLINE: Duration = Duration::from_secs(900);

/// One cluster at a time: two would share the machine.
static TURN: Mutex<()> = Mutex::new(());

/// A cluster of this test's own. It goes on drop, however the test ends.
pub(crate) struct Site {
    pub(crate) cluster: Arc<Cluster>,
    layout: Layout,
    start: Instant,
    _turn: MutexGuard<'static, ()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        if thread::panicking() {
            self.tell_what_there_is();
        }
        // What cannot be taken away is found by the test that looks for it.
        let _ = Cluster::down(&self.layout);
    }
}

impl Site {
    /// A cluster of so many nodes, which have Penstock's image, and these programs as images; `None`
    /// after saying that `test` is skipped.
    pub(crate) fn new(test: &str, name: &str, nodes: u8, more: &[(&str, PathBuf)]) -> Option<Self> {
        let needs = requirement::nodes(test)?;
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let start = Instant::now();
        let layout = Layout::new(&format!("{name}{}", std::process::id())).expect("a name");
        let own = ["pause", "echo"].map(|name| (name, needs.programs.directory().join(name)));
        let images: Vec<Image> = own
            .into_iter()
            .chain(more.iter().cloned())
            .map(|(name, program)| Image { name: format!("localhost/{name}:1"), program })
            .collect();
        let testbed = env!("CARGO_BIN_EXE_testbed").into();
        let cluster = Cluster::up(layout.clone(), nodes, needs.programs, testbed, &images, |_| {});
        let cluster = cluster.inspect_err(|_| {
            // Whatever there is of it: the error says more than what keeps it from going.
            let _ = Cluster::down(&layout);
        });
        let cluster = Arc::new(cluster.expect("a cluster"));
        let own = Self { cluster, layout, start, _turn: turn };
        own.say("the nodes are ready");
        own.cluster.import(&needs.image).expect("an image that containerd accepts");
        own.say("the nodes have the image");
        Some(own)
    }

    /// Says when something was done. It takes minutes in all.
    pub(crate) fn say(&self, what: impl fmt::Display) {
        say(&format!("{:6.1} s  {what}", self.start.elapsed().as_secs_f32()));
    }

    /// Gives the cluster the four Services behind one host.
    pub(crate) fn deploy_application(&self) {
        self.apply(&repository("tests/cluster/app.yaml"));
        for name in ["front", "api", "cart", "static"] {
            self.rolled_out("app", &format!("deployment/{name}"));
        }
    }

    /// Creates or changes what a file has.
    pub(crate) fn apply(&self, file: &Path) {
        let file = file.to_str().expect("text");
        self.kubectl(&["apply", "--server-side", "-f", file]);
    }

    /// Waits until a rollout is complete.
    pub(crate) fn rolled_out(&self, namespace: &str, what: &str) {
        until(&format!("{what} is rolled out"), || {
            let mut kubectl = self.cluster.kubectl();
            kubectl.args(["rollout", "status", "-n", namespace, "--timeout=60s", what]);
            kubectl.output().is_ok_and(|output| output.status.success())
        });
    }

    /// The names of pods, those that are ending included.
    pub(crate) fn pods(&self, namespace: &str, selector: &str) -> Vec<String> {
        let pods = self.objects(&["pods", "-n", namespace, "-l", selector]);
        let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        pods.iter().map(name).collect()
    }

    /// What `kubectl get` says, as objects.
    pub(crate) fn objects(&self, arguments: &[&str]) -> Vec<Value> {
        let all = [&["get", "-o", "json"], arguments].concat();
        let said: Value = serde_json::from_str(&self.kubectl(&all)).expect("JSON");
        match said["items"].as_array() {
            Some(items) => items.clone(),
            None => vec![said],
        }
    }

    /// What kubectl says. What only asks is asked again: a busy API server may be late.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let mut said = None;
        if arguments.first() == Some(&"get") {
            until(&format!("kubectl {arguments:?}"), || {
                let output = self.cluster.kubectl().args(arguments).output();
                let output = output.ok().filter(|output| output.status.success());
                said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
                said.is_some()
            });
        }
        said.unwrap_or_else(|| succeed(self.cluster.kubectl().args(arguments)))
    }

    /// On a failure: what its reader would look at.
    fn tell_what_there_is(&self) {
        for arguments in [
            &["get", "pods,nodes", "-A", "-o", "wide"][..],
            &["logs", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=controller", "--tail=30"],
            &["get", "events", "-A", "--sort-by=.lastTimestamp"],
        ] {
            if let Ok(output) = self.cluster.kubectl().args(arguments).output() {
                let said = String::from_utf8_lossy(&output.stdout);
                say(&format!("$ kubectl {arguments:?}\n{said}"));
            }
        }
    }
}

/// Shows a line also where the test passes: libtest hides what is printed.
pub(crate) fn say(line: &str) {
    // Nobody listens: no reason to fail.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// A path in the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("").join(path)
}

/// Runs a command that has to succeed; what it says.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("the program is there");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Looks until it is so.
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
