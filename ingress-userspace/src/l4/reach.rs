//! How each peer can be reached, as it was last known.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ingress_common::Node;
use rtnetlink::Handle;

use super::{health, members::Members, neighbor};

/// How long the start waits until all peers can be reached. One that is down must not hold it up.
const ACQUAINTANCE: Duration = Duration::from_secs(1);

/// How each peer was reached when it last could be. An entry that the kernel has forgotten or is
/// asking about anew is a better guess than none.
pub(super) struct Reach {
    netlink: Handle,
    nodes: HashMap<IpAddr, Node>,
}

impl Reach {
    /// Begins with what an agent before this one knew.
    pub(super) fn new(netlink: Handle, known: impl IntoIterator<Item = Node>) -> Self {
        let nodes = known.into_iter().map(|node| (node.address.into(), node)).collect();
        Self { netlink, nodes }
    }

    /// By the peers' addresses.
    pub(super) fn nodes(&self) -> &HashMap<IpAddr, Node> {
        &self.nodes
    }

    /// Looks up how the peers can be reached now, and forgets who is none any more, and left long
    /// ago.
    pub(super) async fn refresh(&mut self, members: &Members) {
        let peers: Vec<IpAddr> = members.reached().map(|member| member.address).collect();
        self.nodes.retain(|address, _| peers.contains(address));
        if let Some(own) = members.own_address() {
            self.nodes.extend(neighbor::resolve(&self.netlink, own, peers).await);
        }
    }

    /// Gets to know the peers on the link before the first packet has to be sent to one: a probe
    /// makes the kernel ask for its address.
    pub(super) async fn acquaint(&mut self, members: &Members) {
        let mut probes: tokio::task::JoinSet<()> = members
            .peers()
            .map(|member| SocketAddr::new(member.address, members.health_port()))
            .map(|peer| async move {
                health::probe(peer).await;
            })
            .collect();
        let deadline = tokio::time::Instant::now() + ACQUAINTANCE;
        loop {
            self.refresh(members).await;
            if members.peers().all(|member| self.nodes.contains_key(&member.address)) {
                return;
            }
            // A probe that ended is the sign that its peer's address is known, or will not be.
            match tokio::time::timeout_at(deadline, probes.join_next()).await {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.refresh(members).await;
    }
}
