//! How to reach each peer on the link: the route, the interface, and the next hop's link-layer
//! address. The kernel's neighbour table is the source; the health probes' own traffic keeps it
//! filled, so that nothing here has to send.

use std::{collections::HashMap, net::IpAddr};

use futures_util::TryStreamExt as _;
use ingress_common::{Mac, Node, node::NODE_USABLE};
use rtnetlink::{
    Handle, RouteMessageBuilder,
    packet_route::{
        AddressFamily,
        link::LinkAttribute,
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
        route::{RouteAddress, RouteAttribute},
    },
};

/// How to reach these peers. One that is not resolved, or not on an Ethernet link, is absent.
/// `own` is the source of tunnel packets: peers know this node by it.
pub(super) async fn resolve(
    netlink: &Handle,
    own: IpAddr,
    peers: impl IntoIterator<Item = IpAddr>,
) -> HashMap<IpAddr, Node> {
    let mut neighbours = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let found = netlink.neighbours().get().set_address_family(family).execute();
        neighbours.extend(found.try_collect::<Vec<_>>().await.unwrap_or_default());
    }
    let mut links = HashMap::new();
    let mut nodes = HashMap::new();
    for peer in peers {
        let Some(route) = route(netlink, peer).await else { continue };
        let link = match links.get(&route.interface) {
            Some(link) => *link,
            None => {
                let link = link(netlink, route.interface).await;
                links.insert(route.interface, link);
                link
            }
        };
        let next_hop = neighbours.iter().find_map(|neighbour| {
            link_layer(neighbour, route.interface, route.gateway.unwrap_or(peer))
        });
        if let (Some(link), Some(next_hop)) = (link, next_hop) {
            let node = Node {
                address: peer.into(),
                source: own.into(),
                next_hop,
                source_mac: link.address,
                ifindex: route.interface,
                mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
                flags: NODE_USABLE,
                slot: 0,
            };
            nodes.insert(peer, node);
        }
    }
    nodes
}

struct Route {
    interface: u32,
    gateway: Option<IpAddr>,
}

async fn route(netlink: &Handle, peer: IpAddr) -> Option<Route> {
    let length = if peer.is_ipv4() { 32 } else { 128 };
    let question =
        RouteMessageBuilder::<IpAddr>::new().destination_prefix(peer, length).ok()?.build();
    let mut answers = Box::pin(netlink.route().get(question).execute());
    let answer = answers.try_next().await.ok()??;
    let mut interface = None;
    let mut gateway = None;
    for attribute in &answer.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(v4)) => gateway = Some(IpAddr::V4(*v4)),
            RouteAttribute::Gateway(RouteAddress::Inet6(v6)) => gateway = Some(IpAddr::V6(*v6)),
            _ => {}
        }
    }
    Some(Route { interface: interface?, gateway })
}

#[derive(Clone, Copy)]
struct Link {
    address: Mac,
    mtu: u32,
}

async fn link(netlink: &Handle, index: u32) -> Option<Link> {
    let mut answers = Box::pin(netlink.link().get().match_index(index).execute());
    let answer = answers.try_next().await.ok()??;
    let mut address = None;
    let mut mtu = None;
    for attribute in &answer.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => address = mac(bytes),
            LinkAttribute::Mtu(bytes) => mtu = Some(*bytes),
            _ => {}
        }
    }
    Some(Link { address: address?, mtu: mtu? })
}

fn link_layer(neighbour: &NeighbourMessage, interface: u32, wanted: IpAddr) -> Option<Mac> {
    // An entry that is stale or being checked is what the stack itself would send to.
    let usable = !matches!(
        neighbour.header.state,
        NeighbourState::Incomplete | NeighbourState::Failed | NeighbourState::None
    );
    if neighbour.header.ifindex != interface || !usable {
        return None;
    }
    let mut address = None;
    let mut matches = false;
    for attribute in &neighbour.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                matches = wanted == IpAddr::V4(*v4);
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                matches = wanted == IpAddr::V6(*v6);
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => address = mac(bytes),
            _ => {}
        }
    }
    if matches { address } else { None }
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    <[u8; 6]>::try_from(bytes).ok().filter(|mac| *mac != [0; 6]).map(Mac::new)
}
