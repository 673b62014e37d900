//! What is written into the cluster and by whom, as the flags say it.

use std::time::Duration;

use k8s_openapi::api::networking::v1::IngressLoadBalancerIngress;

use super::vips::VipPool;

/// What is written, and how a writer is chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Writes {
    /// Which pod this is.
    pub identity: Identity,
    /// `None`: `--disable-leader-election`, every replica writes.
    pub election: Option<Election>,
    /// `--update-status`.
    pub status: bool,
    /// `--update-status-on-shutdown`.
    pub clear_status: bool,
    /// `--status-update-interval`: between two looks at the addresses to publish.
    pub interval: Duration,
    /// Where the addresses come from.
    pub publish: Publish,
    /// An Event when an Ingress changed: not `--disable-sync-events`.
    pub sync_events: bool,
    /// `--vip-pool`.
    pub vip_pool: VipPool,
}

/// Which pod this is; both are known within a pod that is told them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `POD_NAME`.
    pub name: Option<String>,
    /// `POD_NAMESPACE`.
    pub namespace: Option<String>,
}

/// How the replica that writes is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// `--election-id`: the Lease's name.
    pub id: String,
    /// `--election-ttl`.
    pub ttl: Duration,
}

/// Where the addresses come from that Ingresses are said to be reached at (reference section 9.2).
#[derive(Clone, Debug, PartialEq)]
pub enum Publish {
    /// `--publish-status-address`, or the VIPs.
    Addresses(Vec<IngressLoadBalancerIngress>),
    /// `--publish-service`.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The nodes that ready pods of the controller run on.
    Nodes {
        /// `--report-node-internal-ip-address`.
        internal: bool,
    },
}
