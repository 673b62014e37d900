use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};

use crate::{
    agent::{Agent, Binaries},
    client::{self, Answer},
    fabric::PassingPorts,
    id::BoxId,
    leftovers::{self, Guard},
    manifests::Manifests,
    namespace::Namespace,
    pods::Pods,
    requirement,
    topology::{CLIENT_V4, CLIENT_V6, NodeAddresses, Topology, VIP_V4, VIP_V6},
};

/// What a box is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes; their Nodes must be in the manifests.
    pub nodes: u8,
    /// What they run.
    pub binaries: Binaries,
    /// The directory that the agents get a copy of.
    pub manifests: PathBuf,
    /// More files for the copy: name and text.
    pub more: Vec<(String, String)>,
}

/// A running cluster in a box. Everything goes on drop.
#[derive(Debug)]
pub struct Cluster {
    id: BoxId,
    topology: Topology,
    manifests: Manifests,
    agents: Vec<Agent>,
    _ports: PassingPorts,
    _pods: Vec<Pods>,
    _guard: Guard,
}

/// How long an agent may take until it serves. Generous: it is only ever waited for in full when
/// something is broken.
const READY: Duration = Duration::from_secs(20);
/// The same for one request.
const REQUEST: Duration = Duration::from_secs(5);

impl Cluster {
    /// Makes the box and returns when all agents are ready.
    pub fn start(options: Options) -> Result<Self> {
        leftovers::clean();
        let guard = Guard::claim()?;
        let id = guard.id().clone();
        let topology = Topology::build(&id, options.nodes)?;
        let manifests =
            Manifests::copy(&options.manifests, id.directory().join("manifests"), |text| text)?;
        for (name, text) in &options.more {
            manifests.write(name, text)?;
        }
        mount_bpffs(&id)?;
        let ports: Vec<String> = topology.nodes.iter().map(|node| node.addresses.name()).collect();
        let ports = PassingPorts::attach(&topology.fabric, &options.binaries.object, &ports)?;

        let all = manifests.pods()?;
        let mut pods = Vec::new();
        for node in &topology.nodes {
            let here = all.iter().filter(|pod| node.addresses.hosts(*pod.address.ip())).cloned();
            pods.push(Pods::start(Some(&node.pods), here.collect())?);
        }
        let agents = topology
            .nodes
            .iter()
            .map(|node| agent(&id, &options.binaries, &manifests, node.addresses, &node.node))
            .collect();
        let mut cluster =
            Self { id, topology, manifests, agents, _ports: ports, _pods: pods, _guard: guard };
        for agent in &mut cluster.agents {
            agent.start()?;
        }
        for agent in &mut cluster.agents {
            agent.await_ready(READY)?;
        }
        Ok(cluster)
    }

    /// The three nodes of `deploy/demo`, for the test of this name; `None` after saying that the
    /// test is skipped.
    ///
    /// # Panics
    /// When the box cannot be made.
    pub fn for_test(test: &str) -> Option<(Self, Binaries)> {
        let binaries = requirement::cluster(test)?;
        let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy").join("demo");
        let options = Options { nodes: 3, binaries: binaries.clone(), manifests, more: Vec::new() };
        let cluster = Self::start(options).expect("the machine lets root make a box");
        Some((cluster, binaries))
    }

    /// The box's name.
    pub fn id(&self) -> &BoxId {
        &self.id
    }

    /// The manifests that all agents watch.
    pub fn manifests(&self) -> &Manifests {
        &self.manifests
    }

    /// Where the client is.
    pub fn client(&self) -> &Namespace {
        &self.topology.client
    }

    /// The client's addresses: IPv4, IPv6.
    pub fn client_addresses(&self) -> [IpAddr; 2] {
        [CLIENT_V4.into(), CLIENT_V6.into()]
    }

    /// Makes the router send everything for the virtual addresses to the nodes of these indices.
    pub fn route_over(&self, nodes: &[usize]) -> Result<()> {
        let all: Vec<NodeAddresses> = self.nodes().collect();
        self.topology.route_over(&nodes.iter().map(|node| all[*node]).collect::<Vec<_>>())
    }

    /// The nodes' addresses, in the order of their numbers.
    pub fn nodes(&self) -> impl Iterator<Item = NodeAddresses> {
        self.topology.nodes.iter().map(|node| node.addresses)
    }

    /// Where the node of this index runs its agent.
    pub fn node(&self, index: usize) -> &Namespace {
        &self.topology.nodes[index].node
    }

    /// The agent of the node of this index.
    pub fn agent(&mut self, index: usize) -> &mut Agent {
        &mut self.agents[index]
    }

    /// Waits until the agent of the node of this index is ready, as at the start.
    pub fn await_ready(&mut self, index: usize) -> Result<()> {
        self.agents[index].await_ready(READY)
    }

    /// The index of the node whose agent connected to a pod from this address.
    pub fn node_of(&self, peer: SocketAddr) -> Option<usize> {
        self.nodes().position(|node| node.speaks_from(peer.ip()))
    }

    /// Packets by reason on the node of this index, as its maps count them: what
    /// `penstock l4 counters --json` prints.
    pub fn counters(&self, binaries: &Binaries, index: usize) -> Result<serde_json::Value> {
        let output = self
            .node(index)
            .command(&binaries.agent)
            .args(["l4", "counters", "--json", "--bpf-dir"])
            .arg(bpf_directory(&self.id, self.topology.nodes[index].addresses))
            .output()?;
        if !output.status.success() {
            bail!("penstock l4 counters: {}", String::from_utf8_lossy(&output.stderr));
        }
        serde_json::from_slice(&output.stdout).context("penstock l4 counters --json")
    }

    /// One request of the client's to the virtual address, on a connection of its own.
    pub fn get(&self, host: &str, path: &str) -> Result<Answer> {
        let vip = SocketAddr::from((VIP_V4, 80));
        self.client().block_on(|| client::get(vip, host, path, REQUEST))?
    }
}

fn mount_bpffs(id: &BoxId) -> Result<()> {
    let directory = id.bpf();
    std::fs::create_dir(&directory)?;
    mount(Some("bpf"), &directory, Some("bpf"), MsFlags::empty(), None::<&str>)
        .context("cannot mount a bpffs")
}

fn bpf_directory(id: &BoxId, node: NodeAddresses) -> PathBuf {
    id.bpf().join(node.name())
}

fn agent(
    id: &BoxId,
    binaries: &Binaries,
    manifests: &Manifests,
    node: NodeAddresses,
    namespace: &Namespace,
) -> Agent {
    let arguments = [
        "run",
        "--manifests",
        &manifests.directory().to_string_lossy(),
        "--controller-class",
        "k8s.io/ingress-nginx",
        "--ingress-class",
        "nginx",
        "--configmap",
        "ingress-nginx/ingress-nginx-controller",
        "--node-name",
        &node.name(),
        "--vip",
        &VIP_V4.to_string(),
        "--vip",
        &VIP_V6.to_string(),
        "--interface",
        "eth0",
        "--bpf-dir",
        &bpf_directory(id, node).to_string_lossy(),
        "--workers",
        "1",
    ]
    .map(std::ffi::OsString::from);
    Agent::new(
        binaries.agent.clone(),
        arguments.into(),
        Some(namespace.clone()),
        Agent::ADMIN_PORT,
        id.directory().join(format!("{}.log", node.name())),
    )
}
