//! The bytes that pinned maps and tunnel packets are made of. Pinned maps outlive the agent that
//! made them, and nodes of two versions share a tunnel: whoever has to change a line here has
//! changed the layout, and raises `ABI_VERSION` or `TunnelHeader::VERSION`.

use std::{
    mem::{align_of, offset_of, size_of},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use bytemuck::bytes_of;
use ingress_common::{
    Address, Config, Counters, Flow, FlowNode, Fragmented, Group, HashKey, Heart, Hops, Mac, Meta,
    Node, NodeId, Peer, Port, Reason, Row, Scratch, Service, TunnelHeader, VipAddress, VipKey,
    VipValue, limits, node,
    observe::{CaptureFilter, EVENT_SNAP, Forwards, NodeLabel, Observe, Record, Seen},
    reason::Verdict,
    table, vip,
};

const V4: Address = Address::v4([192, 0, 2, 80]);
const V4_BYTES: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 80];
const V6_BYTES: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80];
const V6: Address = Address::v6(&V6_BYTES);

/// Checks size, alignment and the offset of each field of a type.
macro_rules! layout {
    ($type:ty, $size:literal, $align:literal, { $($field:tt: $offset:literal),* $(,)? }) => {
        assert_eq!(size_of::<$type>(), $size, concat!("size of ", stringify!($type)));
        assert_eq!(align_of::<$type>(), $align, concat!("alignment of ", stringify!($type)));
        $(assert_eq!(
            offset_of!($type, $field),
            $offset,
            concat!("offset of ", stringify!($type), ".", stringify!($field)),
        );)*
    };
}

#[test]
fn sizes_and_offsets_are_pinned() {
    layout!(Address, 16, 4, {});
    layout!(Port, 2, 2, {});
    layout!(Mac, 6, 2, {});
    layout!(NodeId, 2, 2, { 0: 0 });
    layout!(HashKey, 16, 8, { 0: 0 });
    layout!(Config, 8, 4, { node: 0, tunnel_port: 2, flags: 4 });
    layout!(Meta, 8, 4, { abi_version: 0, reserved: 4 });
    layout!(Flow, 40, 4, {
        source: 0, destination: 16, source_port: 32, destination_port: 34, protocol: 36,
        reserved: 37,
    });
    layout!(Node, 56, 4, {
        address: 0, source: 16, next_hop: 32, source_mac: 38, ifindex: 44, mtu: 48, flags: 50,
        slot: 52,
    });
    layout!(Peer, 20, 4, { local: 0, node: 16, reserved: 18 });
    layout!(Counters, 16, 8, { packets: 0, bytes: 8 });
    layout!(Row, 8, 8, { nodes: 0 });
    layout!(Group, 32, 8, { generation: 0, ready: 4, key: 8, transition_until: 24 });
    layout!(Heart, 8, 8, { beat: 0 });
    layout!(FlowNode, 8, 8, { seen: 0, node: 4, reserved: 6 });
    layout!(Fragmented, 8, 8, {
        source: 0, destination: 2, protocol: 4, flags: 5, second: 6,
    });
    layout!(Scratch, 24, 8, { refilled: 0, answers: 8, limit: 12, second: 16, inserts: 20 });
    layout!(TunnelHeader, 12, 4, {
        version_hops: 0, tried: 1, flags: 2, inner_protocol: 3, generation: 4, hops: 6,
    });
    layout!(VipKey, 20, 4, { address: 0, port: 16, protocol: 18, reserved: 19 });
    layout!(VipAddress, 56, 4, { services: 0, more: 48, slot: 50, group: 52, reserved: 54 });
    layout!(Service, 12, 4, { key: 0, value: 4 });
    layout!(VipValue, 8, 4, { vip_id: 0, group: 2, flags: 4 });
    layout!(Forwards, 32, 8, { first: 0, next: 8, relayed: 16, bytes: 24 });
    layout!(NodeLabel, 64, 2, { id: 0, state: 2, length: 3, text: 4 });
    layout!(Observe, 24, 8, {
        flags: 0, flow_mask: 4, drop_budget: 8, reserved: 12, capture_until: 16,
    });
    layout!(CaptureFilter, 16, 8, { reasons: 0, slot: 8, events_only: 12 });
    layout!(Seen, 40, 8, {
        time: 0, reason: 8, action: 12, interface: 16, bytes: 20, left: 24, snap: 28, slot: 32,
        node_slot: 34, flags: 36,
    });
    layout!(Record<EVENT_SNAP>, 168, 8, { seen: 0, data: 40 });
}

#[test]
fn addresses_and_ports_are_as_in_a_packet() {
    assert_eq!(bytes_of(&V4), V4_BYTES);
    assert_eq!(bytes_of(&V6), V6_BYTES);
    assert_eq!(bytes_of(&Port::new(0x1234)), [0x12, 0x34]);
    assert_eq!(bytes_of(&Mac::new([1, 2, 3, 4, 5, 6])), [1, 2, 3, 4, 5, 6]);
    assert_eq!(Port::from_wire([0x12, 0x34]).number(), 0x1234);
    assert_eq!((V4.as_v4(), V6.as_v4()), (Some([192, 0, 2, 80]), None));
}

#[test]
fn addresses_return_from_the_standard_librarys() {
    for ip in [IpAddr::from(Ipv4Addr::new(192, 0, 2, 80)), Ipv6Addr::from(V6_BYTES).into()] {
        assert_eq!(IpAddr::from(Address::from(ip)), ip);
    }
}

/// Numbers that are not the packet's are in the machine's order; all machines that we run on have
/// the lowest byte first.
#[cfg(target_endian = "little")]
#[test]
fn values_of_maps_have_their_golden_bytes() {
    let config = Config { node: NodeId(0x0102), tunnel_port: Port::new(6082), flags: 0 };
    assert_eq!(bytes_of(&config), [2, 1, 0x17, 0xc2, 0, 0, 0, 0]);
    assert_eq!(bytes_of(&Meta::CURRENT), [2, 0, 0, 0, 0, 0, 0, 0]);

    let key = VipKey::new(V4, Port::new(443), 6);
    assert_eq!(bytes_of(&key), [&V4_BYTES[..], &[0x01, 0xbb, 6, 0]].concat());
    let value = VipValue { vip_id: 0x0102, group: 3, flags: vip::VIP_AFFINITY_SOURCE };
    assert_eq!(bytes_of(&value), [2, 1, 3, 0, 1, 0, 0, 0]);
    let others = [5, 6, 7, 8].map(|port| VipKey::new(V4, Port::new(port), 17));
    let services = [&key].into_iter().chain(&others).map(|key| (key, &value));
    let address = VipAddress::new(services);
    assert_eq!(
        bytes_of(&address)[..24],
        [0x01, 0xbb, 6, 0, 2, 1, 3, 0, 1, 0, 0, 0, 0, 5, 17, 0, 2, 1, 3, 0, 1, 0, 0, 0,]
    );
    assert_eq!(bytes_of(&address)[48..], [1, 0, 0, 0, 3, 0, 0, 0]);
    assert_eq!(address.service(key.service()), Some(value));
    assert_eq!(address.service(others[3].service()), None, "the fifth of four");

    let node = Node {
        address: V4,
        source: V6,
        next_hop: Mac::new([1, 2, 3, 4, 5, 6]),
        source_mac: Mac::new([7, 8, 9, 10, 11, 12]),
        ifindex: 0x0102,
        mtu: 1500,
        flags: node::NODE_USABLE,
        slot: 0,
    };
    let rest = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 2, 1, 0, 0, 0xdc, 5, 1, 0, 0, 0, 0, 0];
    assert_eq!(bytes_of(&node), [&V4_BYTES[..], &V6_BYTES, &rest].concat());
    let peer = Peer { local: V6, node: NodeId(0x0102), reserved: [0; 2] };
    assert_eq!(bytes_of(&peer), [&V6_BYTES[..], &[2, 1, 0, 0]].concat());

    let row = Row { nodes: [NodeId(1), NodeId(0x0203), NodeId(4), NodeId::NONE] };
    assert_eq!(bytes_of(&row), [1, 0, 3, 2, 4, 0, 0, 0]);
    let key = HashKey([3, 4 << 56]);
    let group = Group { generation: 0x0102, ready: 1, key, transition_until: 5 };
    let key = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 5, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(bytes_of(&group), [&[2, 1, 0, 0, 1, 0, 0, 0][..], &key].concat());
    let counters = Counters { packets: 1, bytes: 0x0203 };
    assert_eq!(bytes_of(&counters), [1, 0, 0, 0, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 0, 0]);
}

/// What the hash reads, so that it is the same on every node.
#[test]
fn a_flow_has_its_golden_bytes_and_hash() {
    let flow = Flow {
        source: V6,
        destination: V4,
        source_port: Port::new(0x1234),
        destination_port: Port::new(80),
        protocol: 6,
        reserved: [0; 3],
    };
    let rest = [0x12, 0x34, 0, 80, 6, 0, 0, 0];
    assert_eq!(bytes_of(&flow), [&V6_BYTES[..], &V4_BYTES, &rest].concat());
    let key = HashKey([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
    assert_eq!([flow.hash(key, false), flow.hash(key, true)], [GOLDEN, GOLDEN_BY_SOURCE]);
}

/// Computed by another implementation, which was checked with the vectors of the SipHash paper.
const GOLDEN: u64 = 0x0502_6a5e_c354_5f88;
const GOLDEN_BY_SOURCE: u64 = 0xd847_5782_9938_0b2c;

#[test]
fn a_tunnel_header_has_its_golden_bytes() {
    let row = Row { nodes: [NodeId(9), NodeId(0x0102), NodeId(0x0304), NodeId::NONE] };
    let rest = Hops::of_row(&row).rest();
    let flags = TunnelHeader::SKIPPED;
    let header = TunnelHeader::new(rest, 2, flags, TunnelHeader::INNER_V6, 0xabcd);
    assert_eq!(bytes_of(&header), [0x12, 2, 1, 41, 0xab, 0xcd, 1, 2, 3, 4, 0, 0]);
    let empty = TunnelHeader::new(rest.none(), 1, 0, TunnelHeader::INNER_V4, 0);
    assert_eq!(bytes_of(&empty), [0x10, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!((TunnelHeader::PORT, TunnelHeader::TTL), (6082, 8));
}

/// Group by group, and within a group generation by generation.
#[test]
fn rows_lie_where_they_always_lay() {
    assert_eq!(table::row_index(0, 0, 0), 0);
    assert_eq!(table::row_index(0, 1, 0), 65_536);
    assert_eq!(table::row_index(1, 0, 0), 131_072);
    assert_eq!(table::row_index(3, 7, 0xffff_ffff_ffff_ffff), limits::TABLE - 1);
    // Only the lowest bits count.
    assert_eq!(table::row_index(0, 2, 0x7_0005), 5);
}

/// The numbers are indices of a pinned map, and the names are label values of a metric.
#[test]
fn reasons_keep_their_numbers_names_and_verdicts() {
    use Verdict::{Drop, Forward, Pass};
    let expected = [
        ("not_ip", Pass),
        ("not_vip", Pass),
        ("other_protocol", Pass),
        ("other_port", Pass),
        ("fragment", Pass),
        ("malformed", Pass),
        ("no_table", Pass),
        ("empty_row", Pass),
        ("local", Pass),
        ("last_resort", Pass),
        ("decapsulated", Pass),
        ("decapsulated_last", Pass),
        ("forwarded", Forward),
        ("forwarded_next", Forward),
        ("relayed", Forward),
        ("node_unusable", Pass),
        ("owner_unreachable", Drop),
        ("too_long", Pass),
        ("foreign_tunnel", Pass),
        ("no_decap", Pass),
        ("bad_tunnel", Drop),
        ("tunnel_not_vip", Drop),
        ("no_headroom", Pass),
        ("rewrite_failed", Drop),
        ("relay_failed", Drop),
        ("probe", Forward),
        ("icmp", Pass),
        ("too_big", Drop),
        ("too_big_without_df", Drop),
        ("too_big_quiet", Drop),
        ("fragment_home", Forward),
        ("fragment_unknown", Drop),
        ("fragment_short", Drop),
    ];
    let found: Vec<_> =
        Reason::ALL.iter().map(|reason| (reason.name(), reason.verdict())).collect();
    assert_eq!(found, expected);
    assert_eq!(Reason::COUNT, 33);
}

#[test]
fn capacities_and_slots_are_pinned() {
    use limits::tail;
    assert_eq!(limits::ABI_VERSION, 2);
    assert_eq!((limits::ROWS, limits::GROUPS, limits::TABLE), (65_536, 4, 524_288));
    assert_eq!((limits::VIPS, limits::VIP_ADDRESSES), (4096, 4096));
    assert_eq!((limits::NODES, limits::PEERS, limits::TAILS), (16_384, 4096, 16));
    let slots = [tail::DECAP, tail::ICMP, tail::FRAGMENT, tail::SYN_COOKIE, tail::CAPTURE];
    assert_eq!(slots, [0, 1, 2, 3, 4]);
    assert_eq!([tail::DECAP_ICMP, tail::DECAP_FRAGMENT, tail::TOO_BIG], [6, 7, 8]);
}
