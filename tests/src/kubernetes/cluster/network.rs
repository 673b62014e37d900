//! The namespaces and what connects them.

use std::fmt::Write as _;

use anyhow::Result;

use super::layout::{Layout, Place};
use crate::{Namespace, kubernetes::control::SERVICES};

/// Makes every namespace, and routes from each node to the pods of the others.
pub(super) fn make(layout: &Layout, nodes: u8) -> Result<()> {
    let switch = Namespace::create(layout.namespace(Place::Switch))?;
    switch.ip("link add br0 type bridge\nlink set br0 up")?;
    let places = [Place::ControlPlane, Place::Client];
    for place in places.into_iter().chain((1..=nodes).map(Place::Node)) {
        let name = layout.namespace(place);
        let namespace = Namespace::create(name.clone())?;
        switch.ip(&format!(
            "link add {place} type veth peer name eth0 netns {name}\n\
             link set {place} master br0 up"
        ))?;
        let mut lines = format!("addr add {}/24 dev eth0\nlink set eth0 up\n", place.address());
        let others = (1..=nodes).map(Place::Node).filter(|other| *other != place);
        // The client is outside: it reaches nodes, and no pods.
        for other in others.filter(|_| place != Place::Client) {
            let Place::Node(number) = other else { continue };
            writeln!(lines, "route add 10.244.{number}.0/24 via {}", other.address())?;
        }
        if matches!(place, Place::Node(_)) {
            // kube-proxy rewrites what goes to a ClusterIP only once it has been routed somewhere.
            writeln!(lines, "route add {SERVICES} dev eth0")?;
            namespace.sysctl(&[("ipv4/ip_forward", "1")])?;
        }
        namespace.ip(&lines)?;
    }
    Ok(())
}
