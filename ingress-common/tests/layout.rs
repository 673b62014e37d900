//! Sizes, offsets and golden bytes of everything that crosses the kernel boundary. A change here is
//! a change of the ABI version.

use core::mem::offset_of;

use bytemuck::bytes_of;
use ingress_common::{
    Address, Config, Counters, Flow, Group, HashKey, Hops, Mac, Meta, Node, NodeId, Peer, Port,
    Row, TunnelHeader, VipAddress, VipKey, VipValue, limits, table::row_index,
};

#[test]
fn this_is_version_1() {
    assert_eq!(limits::ABI_VERSION, 1);
    assert_eq!(bytes_of(&Meta::CURRENT), [1, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn sizes_and_offsets() {
    assert_eq!((size_of::<VipKey>(), offset_of!(VipKey, port)), (20, 16));
    assert_eq!((offset_of!(VipKey, protocol), offset_of!(VipKey, reserved)), (18, 19));
    assert_eq!((size_of::<VipValue>(), offset_of!(VipValue, flags)), (8, 4));
    assert_eq!(size_of::<VipAddress>(), 4);
    assert_eq!((size_of::<Flow>(), offset_of!(Flow, source_port)), (40, 32));
    assert_eq!((size_of::<Node>(), offset_of!(Node, next_hop)), (56, 32));
    assert_eq!((offset_of!(Node, ifindex), offset_of!(Node, mtu)), (44, 48));
    assert_eq!((size_of::<Peer>(), offset_of!(Peer, node)), (20, 16));
    assert_eq!((size_of::<Group>(), offset_of!(Group, key)), (24, 8));
    assert_eq!((size_of::<Row>(), align_of::<Row>()), (8, 8));
    assert_eq!((size_of::<Counters>(), size_of::<Config>()), (16, 8));
}

#[test]
fn a_virtual_services_key() {
    let key = VipKey::new(Address::v4([203, 0, 113, 1]), Port::new(443), 6);
    assert_eq!(
        bytes_of(&key),
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 1, 0x01, 0xbb, 6, 0]
    );
}

#[test]
fn a_row_and_where_it_lies() {
    let row = Row { nodes: [NodeId(1), NodeId(0x0203), NodeId::NONE, NodeId::NONE] };
    assert_eq!(bytes_of(&row), [1, 0, 3, 2, 0, 0, 0, 0]);
    assert_eq!(row_index(0, 0, 5), 5);
    assert_eq!(row_index(0, 3, 5), 65_536 + 5);
    assert_eq!(row_index(1, 2, 0xdead_0007), 2 * 65_536 + 7);
    let last = row_index((limits::GROUPS - 1) as u16, 1, u64::MAX);
    assert_eq!(last, limits::TABLE - 1);
}

#[test]
fn a_node() {
    let node = Node {
        address: Address::v4([10, 0, 0, 2]),
        source: Address::v4([10, 0, 0, 1]),
        next_hop: Mac::new([2, 0, 0, 0, 0, 9]),
        source_mac: Mac::new([2, 0, 0, 0, 0, 8]),
        ifindex: 3,
        mtu: 1500,
        flags: 1,
        reserved: 0,
    };
    let bytes = bytes_of(&node);
    assert_eq!(bytes[12..16], [10, 0, 0, 2]);
    assert_eq!(bytes[28..32], [10, 0, 0, 1]);
    assert_eq!(bytes[32..44], [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8]);
    assert_eq!(bytes[44..], [3, 0, 0, 0, 0xdc, 5, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn a_tunnel_header() {
    let row = Row { nodes: [NodeId(0x0102), NodeId(0x0304), NodeId::NONE, NodeId::NONE] };
    let header = TunnelHeader::new(Hops::of_row(&row), 1, 0, TunnelHeader::INNER_V6, 0xabcd);
    assert_eq!(bytes_of(&header), [0x12, 1, 0, 41, 0xab, 0xcd, 1, 2, 3, 4, 0, 0]);
}

#[test]
fn the_hash_of_a_flow_is_the_same_for_ever() {
    let flow = Flow {
        source: Address::v4([198, 51, 100, 7]),
        destination: Address::v4([203, 0, 113, 1]),
        source_port: Port::new(40_000),
        destination_port: Port::new(443),
        protocol: 6,
        reserved: [0; 3],
    };
    assert_eq!(flow.hash(HashKey([1, 2]), false), HASH);
    assert_eq!(flow.hash(HashKey([1, 2]), true), HASH_BY_SOURCE);
}

/// Computed by another implementation, in another language.
const HASH: u64 = 0xd06c_93e5_3251_8f93;
const HASH_BY_SOURCE: u64 = 0x83b2_0c97_8429_9c3c;
