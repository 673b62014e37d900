//! The command line: arguments in, one [`Config`] out that cannot be wrong, or every fault of it at
//! once. Reads no file and touches no process state.

mod arguments;
#[cfg(test)]
mod documented;
mod flags;
mod ignored;
mod metrics;
#[cfg(test)]
mod reference;
mod validate;
mod writes;

pub use arguments::{Invocation, Parsed, parse};
pub use flags::RunFlags;
pub(crate) use metrics::OF_REQUESTS;
pub use metrics::{Metrics, MetricsFlags};
pub use writes::WriteFlags;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use crate::{
    kubernetes::{Access, WebhookOptions, Writes},
    log::Levels,
    translate,
};

/// What `penstock run` is to do; checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the objects come from.
    pub source: Source,
    /// What decides which objects are served.
    pub translate: translate::Options,
    /// `--modsecurity-rules`: the directory of the Core Rule Set.
    pub modsecurity_rules: PathBuf,
    /// Where requests come in.
    pub listen: Listen,
    /// Where probes and scrapes come in.
    pub admin: Admin,
    /// `--workers`: how many threads serve requests. At least one.
    pub workers: usize,
    /// How the agent stops.
    pub shutdown: Shutdown,
    /// The kernel tier.
    pub l4: L4,
    /// What is written into the cluster; nothing where the objects come from a directory.
    pub writes: Writes,
    /// `--validating-webhook`; `None`: there is none.
    pub webhook: Option<WebhookOptions>,
    /// What is counted of requests.
    pub metrics: Metrics,
    /// How long peers may take; no flag sets it.
    pub timeouts: Timeouts,
    /// Who is asked what names outside the cluster stand for.
    pub names: NameServers,
    /// `--log-format`.
    pub log_format: LogFormat,
    /// Changes which lines of our own log are written. No flag sets it: an agent that runs inside of
    /// another program leaves that program's log alone.
    pub levels: Option<Levels>,
    /// Lines of the access log that are for standard output go there. No flag sets it: an agent that
    /// runs inside of another program leaves that program's output alone.
    pub standard_output: bool,
    /// One line for each flag that was accepted and does nothing here.
    pub warnings: Vec<String>,
}

/// Where the objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `--manifests`: a directory (or file) of Kubernetes YAML.
    Manifests(PathBuf),
    /// The API server of a cluster.
    Cluster(Access),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifests(path) => path.display().fmt(f),
            Self::Cluster(_) => f.write_str("the objects of the cluster"),
        }
    }
}

/// The proxy's listeners. Port 0 stands for one that the kernel picks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// `--bind-address`; empty: every address of both families that the machine has.
    pub addresses: Vec<IpAddr>,
    /// `--http-port`.
    pub http_port: u16,
    /// `--https-port`.
    pub https_port: u16,
}

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// `--healthz-host`; `None`: every address.
    pub address: Option<IpAddr>,
    /// `--healthz-port`. Port 0 stands for one that the kernel picks.
    pub port: u16,
    /// `--health-check-path`.
    pub health_path: String,
    /// `--admin-socket`; `None`: there is none.
    pub socket: Option<PathBuf>,
    /// `--page-address`; `None`: there is no page. Port 0 stands for one that the kernel picks.
    pub page: Option<SocketAddr>,
}

/// How the agent stops after the first signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// `--shutdown-grace-period`: unready but still accepting, so that balancers in front notice.
    pub grace: Duration,
    /// `--drain-timeout`: how long requests in flight may take after that.
    pub drain: Duration,
}

/// The kernel tier's flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L4 {
    /// `--l4`.
    pub mode: L4Mode,
    /// `--interface`.
    pub interfaces: Vec<String>,
    /// `--vip`.
    pub vips: Vec<IpAddr>,
    /// `--node-name`, or the variable `NODE_NAME`; empty where neither is given.
    pub node_name: String,
    /// `--bpf-dir`: where maps and links are pinned.
    pub bpf_dir: PathBuf,
    /// `--tunnel-port`: UDP, between nodes.
    pub tunnel_port: u16,
    /// `--l4-key-secret`: namespace and name of the Secret with the flow hash's key, in its field
    /// `key`.
    pub key_secret: Option<(String, String)>,
    /// `--members`: the nodes, instead of Node objects.
    pub members: Option<PathBuf>,
    /// `--l4-candidates`, 1 to 4.
    pub candidates: usize,
    /// `--l4-affinity`: all connections of a client go to one node.
    pub by_client: bool,
    /// `--l4-sysctl`.
    pub settings: bool,
    /// `--announce=l2`: one node answers ARP and neighbour solicitations for each address.
    pub announce: bool,
    /// `--l4-remove-vips-on-exit`.
    pub leaves: bool,
}

/// Whether packets are steered in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L4Mode {
    /// No: plain listeners, no right needed but to the ports.
    Off,
    /// Yes, where there is an interface to do it on: as [`Xdp`](Self::Xdp).
    Auto,
    /// Yes, by XDP, whatever it costs.
    Xdp,
    /// Yes, by tc, which is an experiment.
    Tc,
}

/// How long peers may take where neither the ConfigMap nor an annotation says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Between two writes to a client: how long it may not read.
    pub send: Duration,
}

impl Default for Timeouts {
    /// nginx's `send_timeout`, which ingress-nginx leaves alone.
    fn default() -> Self {
        Self { send: Duration::from_secs(60) }
    }
}

/// Who resolves the names of Services of type ExternalName. No flag sets it: the file of the machine
/// (or of the pod, whose `dnsPolicy` decides) says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServers {
    /// Name servers, search domains and `ndots`, as resolv.conf(5) has them.
    pub file: PathBuf,
    /// Asked over UDP instead of the file's name servers, unless empty.
    pub servers: Vec<SocketAddr>,
}

impl Default for NameServers {
    fn default() -> Self {
        Self { file: "/etc/resolv.conf".into(), servers: Vec::new() }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}
