//! The box's links, addresses and routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use crate::{
    id::BoxId,
    namespace::{Namespace, run},
};

/// The virtual addresses that the client dials (RFC 5737 and RFC 3849 documentation ranges).
pub const VIP_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
/// See [`VIP_V4`].
pub const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x80, 0, 0, 0, 0, 0x80);

/// A node's number, from 1, and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeAddresses {
    number: u8,
}

impl NodeAddresses {
    /// The addresses of the node of this number.
    pub(crate) fn new(number: u8) -> Self {
        Self { number }
    }

    /// `n1`: the Node's name.
    pub fn name(self) -> String {
        format!("n{}", self.number)
    }

    /// Its address on the fabric: the Node's `InternalIP`.
    pub fn fabric(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, 10 + self.number)
    }

    fn fabric_v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0xfab, 0, 0, 0, 0, 0x10 + u16::from(self.number))
    }

    /// Its address towards its own pods.
    pub fn pod_gateway(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, self.number, 1)
    }

    /// Whether a pod of this address runs here.
    pub(crate) fn hosts(self, pod: Ipv4Addr) -> bool {
        pod.octets()[..3] == self.pod_gateway().octets()[..3]
    }

    /// Whether the agent of this node connects to pods from this address.
    pub fn speaks_from(self, peer: IpAddr) -> bool {
        peer == self.fabric() || peer == self.pod_gateway()
    }
}

/// All namespaces of a box.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(crate) client: Namespace,
    router: Namespace,
    pub(crate) fabric: Namespace,
    pub(crate) nodes: Vec<NodeNamespaces>,
}

/// A node and its pods.
#[derive(Debug)]
pub(crate) struct NodeNamespaces {
    pub(crate) addresses: NodeAddresses,
    pub(crate) node: Namespace,
    pub(crate) pods: Namespace,
}

/// The client's address.
pub(crate) const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// See [`CLIENT_V4`].
pub(crate) const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 0x10);

impl Topology {
    /// Makes namespaces and links, and waits for nothing: all addresses are static.
    pub(crate) fn build(id: &BoxId, nodes: u8) -> Result<Self> {
        let namespace = |role: &str| Namespace::create(id.namespace(role));
        let client = namespace("client")?;
        let router = namespace("router")?;
        let fabric = namespace("fabric")?;
        let nodes = (1..=nodes)
            .map(|number| {
                let addresses = NodeAddresses::new(number);
                let name = addresses.name();
                Ok(NodeNamespaces {
                    addresses,
                    node: namespace(&name)?,
                    pods: namespace(&format!("{name}-pods"))?,
                })
            })
            .collect::<Result<Vec<_>>>()?;

        fabric.ip("link add br0 type bridge stp_state 0 mcast_snooping 0\n\
                   link set br0 up")?;
        router_side(&client, &router, &fabric, &nodes)?;
        for node in &nodes {
            node_side(node, &fabric, &nodes)?;
        }
        Ok(Self { client, router, fabric, nodes })
    }

    /// Makes the router send everything for another address to all nodes.
    pub(crate) fn route_also(&self, address: Ipv4Addr) -> Result<()> {
        let hops =
            self.nodes.iter().map(|node| format!(" nexthop via {}", node.addresses.fabric()));
        self.router.ip(&format!("route replace {address}/32{}", hops.collect::<String>()))
    }

    /// Makes the router ask on the fabric who has the virtual addresses.
    pub(crate) fn route_on_link(&self) -> Result<()> {
        self.router.ip(&format!(
            "route replace {VIP_V4}/32 dev fabric\nroute replace {VIP_V6}/128 dev fabric"
        ))
    }

    /// The router.
    pub(crate) fn router(&self) -> &Namespace {
        &self.router
    }

    /// Makes the router send everything for the virtual addresses to these nodes.
    pub(crate) fn route_over(&self, nodes: &[NodeAddresses]) -> Result<()> {
        route_over(&self.router, nodes)
    }
}

/// The client, its router, and the route to the virtual addresses over all nodes.
fn router_side(
    client: &Namespace,
    router: &Namespace,
    fabric: &Namespace,
    nodes: &[NodeNamespaces],
) -> Result<()> {
    router.sysctl(&[
        ("ipv4/ip_forward", "1"),
        ("ipv6/conf/all/forwarding", "1"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
        // Addresses, protocol and ports. Policy 1 follows the sender's socket hash, which changes
        // with each retransmission: one connection's packets would visit several nodes.
        ("ipv4/fib_multipath_hash_policy", "3"),
        ("ipv4/fib_multipath_hash_fields", "0x37"),
        ("ipv6/fib_multipath_hash_policy", "3"),
        ("ipv6/fib_multipath_hash_fields", "0x37"),
    ])?;
    client.ip(&format!(
        "link add eth0 type veth peer name client netns {}\n\
         addr add {CLIENT_V4}/24 dev eth0\n\
         addr add {CLIENT_V6}/64 dev eth0 nodad\n\
         link set eth0 up",
        router.name()
    ))?;
    router.ip(&format!(
        "addr add 192.0.2.1/24 dev client\n\
         addr add 2001:db8:c::1/64 dev client nodad\n\
         link set client up\n\
         link add fabric type veth peer name router netns {}\n\
         addr add 198.51.100.1/24 dev fabric\n\
         addr add 2001:db8:fab::1/64 dev fabric nodad\n\
         link set fabric up",
        fabric.name()
    ))?;
    fabric.ip("link set router master br0\nlink set router up")?;
    client.ip("route add default via 192.0.2.1\nroute add default via 2001:db8:c::1")?;
    route_over(router, &nodes.iter().map(|node| node.addresses).collect::<Vec<_>>())?;
    checksums_in_software(client, &["eth0"])?;
    checksums_in_software(router, &["client", "fabric"])?;
    checksums_in_software(fabric, &["router"])
}

/// The ECMP routes.
fn route_over(router: &Namespace, nodes: &[NodeAddresses]) -> Result<()> {
    let (mut v4, mut v6) = (String::new(), String::new());
    for node in nodes {
        v4 += &format!(" nexthop via {}", node.fabric());
        v6 += &format!(" nexthop via {}", node.fabric_v6());
    }
    router.ip(&format!("route replace {VIP_V4}/32{v4}\nroute replace {VIP_V6}/128{v6}"))
}

/// A node, its link to the fabric, and its pods behind it.
fn node_side(
    NodeNamespaces { addresses, node, pods }: &NodeNamespaces,
    fabric: &Namespace,
    all: &[NodeNamespaces],
) -> Result<()> {
    let (name, gateway) = (addresses.name(), addresses.pod_gateway());
    node.sysctl(&[
        ("ipv4/ip_forward", "1"),
        ("ipv6/conf/all/forwarding", "1"),
        ("ipv4/conf/all/rp_filter", "0"),
        // Strict on interfaces, as distributions have it: the agent sees to what it needs, and that
        // nobody answers ARP for a virtual address.
        ("ipv4/conf/default/rp_filter", "1"),
    ])?;
    let mut commands = format!(
        "link add eth0 type veth peer name {name} netns {}\n\
         addr add {}/24 dev eth0\n\
         addr add {}/64 dev eth0 nodad\n\
         link set eth0 up\n\
         route add default via 198.51.100.1\n\
         route add default via 2001:db8:fab::1\n\
         link add pods type veth peer name eth0 netns {}\n\
         addr add {gateway}/24 dev pods\n\
         link set pods up\n",
        fabric.name(),
        addresses.fabric(),
        addresses.fabric_v6(),
        pods.name(),
    );
    for other in all.iter().map(|other| other.addresses).filter(|other| other != addresses) {
        let [a, b, c, _] = other.pod_gateway().octets();
        commands += &format!("route add {a}.{b}.{c}.0/24 via {}\n", other.fabric());
    }
    node.ip(&commands)?;
    fabric.ip(&format!("link set {name} master br0\nlink set {name} up"))?;
    pods.ip("link set eth0 up")?;
    checksums_in_software(node, &["eth0", "pods"])?;
    checksums_in_software(pods, &["eth0"])?;
    checksums_in_software(fabric, &[&name])
}

/// A veth leaves a packet's checksum to the receiver, which would be a network card that fills it
/// in. Inside a tunnel nobody does, and the far side drops the packet.
fn checksums_in_software(namespace: &Namespace, interfaces: &[&str]) -> Result<()> {
    for interface in interfaces {
        run(namespace.command("ethtool").args(["-K", interface, "tx", "off"]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddrV4, time::Duration};

    use super::*;
    use crate::{Pod, Pods, client, leftovers::Guard, requirement};

    #[test]
    fn every_node_reaches_every_pod_and_the_box_leaves_nothing() {
        if !requirement::namespaces("every_node_reaches_every_pod_and_the_box_leaves_nothing") {
            return;
        }
        let guard = Guard::claim().unwrap();
        let id = guard.id().clone();
        let topology = Topology::build(&id, 2).unwrap();
        let pod = |node: u8| Pod {
            address: SocketAddrV4::new(Ipv4Addr::new(10, 244, node, 10), 8080),
            name: format!("pod-{node}"),
        };
        let pods: Vec<Pods> = topology
            .nodes
            .iter()
            .map(|node| Pods::start(Some(&node.pods), vec![pod(node.addresses.number)]).unwrap())
            .collect();

        for node in &topology.nodes {
            for target in [pod(1), pod(2)] {
                let limit = Duration::from_secs(5);
                let answer = node
                    .node
                    .block_on(|| client::get(target.address.into(), "host", "/a/b?c", limit))
                    .unwrap()
                    .unwrap();
                let echo = answer.echo().unwrap();
                assert_eq!((echo.pod, &*echo.path), (target.name, "/a/b"));
                assert!(node.addresses.speaks_from(echo.peer.ip()), "{}", echo.peer);
            }
        }

        drop(pods);
        drop(guard);
        assert!(!id.directory().exists());
        let left = std::fs::read_dir("/run/netns").unwrap().flatten();
        let left = left.filter(|entry| entry.file_name().to_string_lossy().contains(&id.prefix()));
        assert_eq!(left.count(), 0);
    }
}
