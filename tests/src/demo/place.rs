//! Where the demo happens.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;
use testbed::{Answer, Cluster, Connection, Loopback, VIP_V4};

/// A cluster in a box, or one agent on the loopback.
pub(crate) enum Place {
    /// Three nodes behind one virtual address.
    Cluster(Cluster),
    /// One agent.
    Loopback(Loopback),
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Url {
    pub(crate) tls: bool,
    pub(crate) host: &'static str,
    pub(crate) path: &'static str,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}{}", if self.tls { "s" } else { "" }, self.host, self.path)
    }
}

const LIMIT: Duration = Duration::from_secs(5);

impl Place {
    /// Where requests go.
    pub(crate) fn target(&self, tls: bool) -> SocketAddr {
        match self {
            Self::Cluster(_) => (VIP_V4, if tls { 443 } else { 80 }).into(),
            Self::Loopback(loopback) if tls => loopback.https(),
            Self::Loopback(loopback) => loopback.http(),
        }
    }

    /// Sends a request of the client's.
    pub(crate) fn send(&self, url: Url, tls: &Arc<rustls::ClientConfig>) -> Result<Answer> {
        let target = self.target(url.tls);
        let tls = url.tls.then(|| (tls.clone(), url.host));
        let exchange = || async move {
            let mut connection = Connection::open(target, tls, LIMIT).await?;
            connection.get(url.host, url.path, LIMIT).await
        };
        let answer = match self {
            Self::Cluster(cluster) => cluster.client().block_on(exchange)?,
            Self::Loopback(_) => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(exchange())
            }
        };
        answer.with_context(|| format!("{url}"))
    }

    /// The index of the node whose agent connected to a pod from this address.
    pub(crate) fn node_of(&self, peer: SocketAddr) -> Option<usize> {
        match self {
            Self::Cluster(cluster) => cluster.node_of(peer),
            Self::Loopback(_) => {
                (peer.ip() == Ipv4Addr::LOCALHOST || peer.ip().is_loopback()).then_some(0)
            }
        }
    }

    /// What the agent of this node says that it does with a URL.
    pub(crate) fn explain(&mut self, node: usize, url: &str) -> Result<Value> {
        match self {
            Self::Cluster(cluster) => cluster.agent(node).explain(url),
            Self::Loopback(loopback) => loopback.agent().explain(url),
        }
    }
}
