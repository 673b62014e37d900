//! The namespaces and what connects them. The switch is also the router between virtual addresses and
//! those who ask for them: it sends each connection to one of the nodes that it was given.

use std::{fmt::Write as _, process::Command};

use anyhow::Result;

use super::layout::{Layout, Place, VIRTUAL};
use crate::{Namespace, kubernetes::control::SERVICES, namespace::run};

/// Makes every namespace, and routes from each node to the pods of the others.
pub(super) fn make(layout: &Layout, nodes: u8) -> Result<()> {
    let switch = Namespace::create(layout.namespace(Place::Switch))?;
    switch.ip(&format!(
        "link add br0 type bridge stp_state 0 mcast_snooping 0\n\
         addr add {}/24 dev br0\n\
         link set br0 up",
        Place::Switch.address()
    ))?;
    switch.sysctl(&[
        ("ipv4/ip_forward", "1"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/br0/rp_filter", "0"),
        // It is asked by neighbours of the nodes, and would tell them to go there themselves.
        ("ipv4/conf/all/send_redirects", "0"),
        ("ipv4/conf/br0/send_redirects", "0"),
        // By addresses, protocol and ports of the packet. Policy 1 would take the hash of the sender's
        // socket, which changes with each retransmission.
        ("ipv4/fib_multipath_hash_policy", "3"),
        ("ipv4/fib_multipath_hash_fields", "0x37"),
    ])?;
    for place in [Place::ControlPlane, Place::Client] {
        add(layout, &switch, place, nodes)?;
        let namespace = Namespace::named(layout.namespace(place));
        namespace.ip(&format!("route add {VIRTUAL} via {}", Place::Switch.address()))?;
    }
    (1..=nodes).try_for_each(|number| add_node(layout, number, nodes))
}

/// Makes the namespace of a node of so many, as it is when the node is switched on.
pub(super) fn add_node(layout: &Layout, number: u8, nodes: u8) -> Result<()> {
    let place = Place::Node(number);
    let switch = Namespace::named(layout.namespace(Place::Switch));
    add(layout, &switch, place, nodes)?;
    let namespace = Namespace::named(layout.namespace(place));
    namespace.sysctl(&[
        ("ipv4/ip_forward", "1"),
        // What the kernel tier needs (docs/kernel-tier.md): packets for virtual addresses come out of
        // the tunnel without a route back that way, and all nodes have those addresses, on one link.
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
        ("ipv4/conf/eth0/rp_filter", "0"),
        ("ipv4/conf/all/arp_ignore", "1"),
        ("ipv4/conf/all/arp_announce", "2"),
    ])?;
    // kube-proxy rewrites what goes to a ClusterIP only once it has been routed somewhere.
    namespace.ip(&format!("route add {SERVICES} dev eth0"))?;
    // What an XDP program sends arrives only at a peer that takes frames in batches.
    run(switch.command("ethtool").args(["-K", &place.to_string(), "gro", "on"]))
}

/// Nothing of a node is heard any more.
pub(super) fn silence(layout: &Layout, number: u8) -> Result<()> {
    let switch = Namespace::named(layout.namespace(Place::Switch));
    switch.ip(&format!("link set {} down", Place::Node(number)))
}

/// Takes a node's namespace away, in which nothing runs any more.
pub(super) fn remove_node(layout: &Layout, number: u8) -> Result<()> {
    let place = Place::Node(number);
    let switch = Namespace::named(layout.namespace(Place::Switch));
    // The kernel would do so itself, but some time after the namespace is gone.
    switch.ip(&format!("link del {place}"))?;
    run(Command::new("ip").args(["netns", "del", &layout.namespace(place)]))
}

/// Makes the router send what is for virtual addresses to these nodes.
pub(super) fn route_over(layout: &Layout, nodes: &[u8]) -> Result<()> {
    let switch = Namespace::named(layout.namespace(Place::Switch));
    if nodes.is_empty() {
        // There may be none.
        let _ = switch.ip(&format!("route del {VIRTUAL}"));
        return Ok(());
    }
    let hops = nodes.iter().fold(String::new(), |hops, number| {
        hops + " nexthop via " + &Place::Node(*number).address().to_string()
    });
    switch.ip(&format!("route replace {VIRTUAL}{hops}"))
}

fn add(layout: &Layout, switch: &Namespace, place: Place, nodes: u8) -> Result<()> {
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
    namespace.ip(&lines)?;
    // A veth leaves a packet's checksum to the receiver. Inside a tunnel nobody would fill it in.
    run(namespace.command("ethtool").args(["-K", "eth0", "tx", "off"]))
}
