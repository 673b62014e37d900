//! Penstock installed in a real cluster: three nodes with kubelet and containerd, the image and the
//! manifests as they are shipped, and a client outside.
//!
//! `cargo xtask image` writes the image; `PENSTOCK_IMAGE=target/penstock-….oci.tar cargo test -p
//! penstock-tests --test cluster` runs the test, as root.
#![forbid(unsafe_code)]

mod traffic;

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use testbed::{
    kubernetes::cluster::{Cluster, Image, Layout, Place},
    requirement,
};

use crate::traffic::Traffic;

const NODES: u8 = 3;
const HOST: &str = "app.example.com";
/// The longest that a step may take: a pod ends when its connections have, or after as long.
const DEADLINE: Duration = Duration::from_secs(300);

/// Takes the cluster away however the test ends.
struct Guard(Layout);

impl Drop for Guard {
    fn drop(&mut self) {
        // What cannot be taken away is found by the test that looks for it.
        let _ = Cluster::down(&self.0);
    }
}

#[test]
fn a_cluster_is_served_through_updates_scaling_and_deleted_agents() {
    let test = "a_cluster_is_served_through_updates_scaling_and_deleted_agents";
    let Some((programs, image)) = requirement::nodes(test) else { return };
    let layout = Layout::new(&format!("t{}", process::id())).expect("a name");
    let guard = Guard(layout.clone());
    let images = ["pause", "echo"].map(|name| Image {
        name: format!("localhost/{name}:1"),
        program: programs.directory().join(name),
    });
    let cluster = {
        let testbed = env!("CARGO_BIN_EXE_testbed").into();
        Cluster::up(layout.clone(), NODES, programs, testbed, &images, |_| {})
    };
    let cluster = Arc::new(cluster.expect("a cluster"));
    cluster.import(&image).expect("an image that containerd accepts");
    apply(&cluster, &repository("deploy/kubernetes/penstock.yaml"));
    apply(&cluster, &repository("tests/cluster/app.yaml"));
    rolled_out(&cluster, "penstock", "daemonset/penstock-controller");
    for name in ["front", "api", "cart", "static"] {
        rolled_out(&cluster, "app", &format!("deployment/{name}"));
    }

    reaches_every_service_through_any_node_with_its_own_address(&cluster);

    let traffic = Traffic::start(&cluster, HOST, "/");
    let moved = |what: &str| {
        let before = traffic.answered();
        until(what, || traffic.answered() > before + 50);
        assert_eq!(traffic.errors(), Vec::<String>::new(), "{what}");
    };
    moved("requests are answered");

    kubectl(&cluster, &["scale", "-n", "app", "deployment/front", "--replicas=20"]);
    rolled_out(&cluster, "app", "deployment/front");
    moved("with twenty pods");
    kubectl(&cluster, &["scale", "-n", "app", "deployment/front", "--replicas=1"]);
    until("one pod is left", || pods(&cluster, "app", "app=front").len() == 1);
    moved("with one pod again");

    let agents = pods(&cluster, "penstock", "app.kubernetes.io/component=controller");
    kubectl(&cluster, &["delete", "pod", "-n", "penstock", "--wait=false", &agents[0]]);
    until("the agent's pod is gone", || {
        !pods(&cluster, "penstock", "app.kubernetes.io/component=controller").contains(&agents[0])
    });
    rolled_out(&cluster, "penstock", "daemonset/penstock-controller");
    moved("with another agent");

    kubectl(&cluster, &["rollout", "restart", "-n", "penstock", "daemonset/penstock-controller"]);
    rolled_out(&cluster, "penstock", "daemonset/penstock-controller");
    moved("with new agents");
    drop(traffic);

    drop(guard);
    assert!(!layout.directory().exists());
    let namespaces = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let own = layout.namespace(Place::Client);
    assert!(namespaces.into_iter().all(|entry| entry.file_name().to_string_lossy() != own));
}

fn reaches_every_service_through_any_node_with_its_own_address(cluster: &Cluster) {
    for node in (1..=NODES).map(Place::Node) {
        for (path, service) in
            [("/", "front"), ("/api/items", "api"), ("/cart", "cart"), ("/static", "static")]
        {
            let mut seen = None;
            until(&format!("{path} is answered through {node}"), || {
                let answer = traffic::get(cluster, node, HOST, path);
                seen = answer.filter(|answer| answer.status == 200);
                seen.is_some()
            });
            let body = seen.expect("just seen").body;
            let echo: Value = serde_json::from_slice(&body).expect("the pods speak JSON");
            let pod = echo["pod"].as_str().expect("a name");
            assert!(pod.starts_with(&format!("{service}-")), "{path}: {pod}");
            let client = Place::Client.address().to_string();
            assert_eq!(echo["headers"]["x-real-ip"], client.as_str(), "{path} through {node}");
        }
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("").join(path)
}

fn apply(cluster: &Cluster, file: &Path) {
    let file = file.to_str().expect("text");
    kubectl(cluster, &["apply", "--server-side", "-f", file]);
}

fn rolled_out(cluster: &Cluster, namespace: &str, what: &str) {
    let limit = format!("--timeout={}s", DEADLINE.as_secs());
    kubectl(cluster, &["rollout", "status", "-n", namespace, &limit, what]);
}

/// The names of pods, those that are ending included.
fn pods(cluster: &Cluster, namespace: &str, selector: &str) -> Vec<String> {
    let names = kubectl(cluster, &["get", "pods", "-n", namespace, "-l", selector, "-o", "name"]);
    names.lines().map(|name| name.trim_start_matches("pod/").to_owned()).collect()
}

fn kubectl(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = cluster.kubectl().args(arguments).output().expect("kubectl runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Looks until it is so.
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
