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
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How many nodes; their Nodes must be in the manifests.
    pub nodes: u8,
    /// What they run.
    pub binaries: Binaries,
    /// The directory that the agents get a copy of.
    pub manifests: PathBuf,
    /// More files for the copy: name and text.
    pub more: Vec<(String, String)>,
    /// More flags for every agent.
    pub flags: Vec<String>,
    /// The nodes that all agents begin with, by index, in a file of their own for each
    /// ([`Cluster::name`]); `None`: the Nodes of the manifests.
    pub members: Option<Vec<Named>>,
}

/// A node as a file of `--members` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its index.
    pub node: usize,
    /// Its weight.
    pub weight: u32,
    /// It takes no new connections.
    pub draining: bool,
}

impl Named {
    /// The nodes of these indices, all alike.
    pub fn all(nodes: impl IntoIterator<Item = usize>) -> Vec<Self> {
        nodes.into_iter().map(|node| Self { node, weight: 100, draining: false }).collect()
    }
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
const READY: Duration = Duration::from_secs(90);
/// The same for one request.
const REQUEST: Duration = Duration::from_secs(5);

impl Cluster {
    /// Makes the box and returns when all agents are ready and steer to
    /// each other.
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
        let agents = topology.nodes.iter().map(|node| {
            let mut more: Vec<std::ffi::OsString> =
                options.flags.iter().map(std::ffi::OsString::from).collect();
            if options.members.is_some() {
                more.extend(["--members".into(), members_file(&id, node.addresses).into()]);
            }
            agent(&id, &options.binaries, &manifests, node.addresses, &node.node, more)
        });
        let agents = agents.collect();
        let mut cluster =
            Self { id, topology, manifests, agents, _ports: ports, _pods: pods, _guard: guard };
        if let Some(members) = &options.members {
            (0..cluster.agents.len()).try_for_each(|node| cluster.name(node, members))?;
        }
        for agent in &mut cluster.agents {
            agent.start()?;
        }
        cluster.agents.iter_mut().try_for_each(|agent| agent.await_ready(READY))?;
        // One that is not named steers to nobody.
        let members = options.members.unwrap_or_else(|| Named::all(0..cluster.agents.len()));
        for member in &members {
            cluster.agents[member.node].await_peers(members.len(), READY)?;
        }
        Ok(cluster)
    }

    /// Tells the agent of the node of this index who is there, if it was started with `members`.
    pub fn name(&self, index: usize, members: &[Named]) -> Result<()> {
        let all: Vec<NodeAddresses> = self.nodes().collect();
        let lines = members.iter().map(|Named { node, weight, draining }| {
            let (name, address) = (all[*node].name(), all[*node].fabric());
            format!(
                "- {{name: {name}, address: {address}, weight: {weight}, draining: {draining}}}\n"
            )
        });
        let path = members_file(&self.id, all[index]);
        let hidden = path.with_extension("new");
        std::fs::write(&hidden, lines.collect::<String>())?;
        Ok(std::fs::rename(hidden, path)?)
    }

    /// The file that tells the agent of the node of this index who is there.
    pub fn members_file(&self, index: usize) -> PathBuf {
        members_file(&self.id, self.topology.nodes[index].addresses)
    }

    /// Makes the fabric's port to the node of this index take packets of so many bytes at most.
    pub fn fabric_mtu(&self, index: usize, mtu: u16) -> Result<()> {
        let port = self.topology.nodes[index].addresses.name();
        self.topology.fabric.ip(&format!("link set {port} mtu {mtu}"))
    }

    /// Takes the link of the node of this index down, or up again.
    pub fn link(&self, index: usize, up: bool) -> Result<()> {
        // At the fabric's end: the node itself is not told, as with a cable.
        let port = self.topology.nodes[index].addresses.name();
        let state = if up { "up" } else { "down" };
        self.topology.fabric.ip(&format!("link set {port} {state}"))
    }

    /// Makes the router send everything for one more virtual address to all nodes.
    pub fn route_also(&self, address: std::net::Ipv4Addr) -> Result<()> {
        self.topology.route_also(address)
    }

    /// The three nodes of `deploy/demo`, for the test of this name; `None` after saying that the
    /// test is skipped.
    ///
    /// # Panics
    /// When the box cannot be made.
    pub fn for_test(test: &str) -> Option<(Self, Binaries)> {
        let binaries = requirement::cluster(test)?;
        let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy").join("demo");
        let binaries_too = binaries.clone();
        let options = Options { nodes: 3, binaries: binaries_too, manifests, ..Options::default() };
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

    /// Makes the router ask on the fabric who has the virtual addresses.
    pub fn route_on_link(&self) -> Result<()> {
        self.topology.route_on_link()
    }

    /// The index of the node that the router takes for the holder of a virtual address; `None` while
    /// it knows none.
    pub fn holder(&self, address: IpAddr) -> Result<Option<usize>> {
        let mut command = self.topology.router().command("ip");
        let shown = command.args(["neigh", "show", "dev", "fabric", &address.to_string()]);
        let shown = String::from_utf8_lossy(&shown.output()?.stdout).into_owned();
        let mut words = shown.split_whitespace();
        let Some(found) = words.find(|word| *word == "lladdr").and_then(|_| words.next()) else {
            return Ok(None);
        };
        for index in 0..self.agents.len() {
            let output = self.node(index).command("ip").args(["link", "show", "eth0"]).output()?;
            if String::from_utf8_lossy(&output.stdout).contains(found) {
                return Ok(Some(index));
            }
        }
        bail!("{found} is no node's");
    }

    /// Makes the router forget who has the virtual addresses.
    pub fn forget_holders(&self) -> Result<()> {
        self.topology
            .router()
            .ip(&format!("neigh flush to {VIP_V4} dev fabric\nneigh flush to {VIP_V6} dev fabric"))
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

    /// Waits until all agents are ready and steer to each other.
    pub fn await_whole(&mut self) -> Result<()> {
        let count = self.agents.len();
        self.agents.iter_mut().try_for_each(|agent| agent.await_ready(READY))?;
        self.agents.iter_mut().try_for_each(|agent| agent.await_peers(count, READY))
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

fn members_file(id: &BoxId, node: NodeAddresses) -> PathBuf {
    id.directory().join(format!("{}.members.yaml", node.name()))
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
    more: Vec<std::ffi::OsString>,
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
        arguments.into_iter().chain(more).collect(),
        Some(namespace.clone()),
        Agent::ADMIN_PORT,
        id.directory().join(format!("{}.log", node.name())),
    )
}
