//! UDP: a flow stays with its node while that is a candidate.

use std::net::IpAddr;

use ingress_common::{NodeId, Reason, node::NODE_USABLE};
use testbed::wire::Packet;

use crate::bed::{
    CLIENT, CLIENT6, DNS, OVER_V4, OVER_V6, OWN, OWN_V4, PEER_V4, VIP, VIP6, bed, node,
};

fn queries() -> [Packet; 2] {
    let of = |client: IpAddr, vip: IpAddr| Packet::udp((client, 5), (vip, DNS), b"query");
    [of(CLIENT.into(), VIP.into()), of(CLIENT6.into(), VIP6.into())]
}

#[test]
fn a_flow_stays_with_its_node_when_the_row_changes() {
    bed(|bed| {
        for query in queries() {
            bed.row(&query, &[OVER_V4, OVER_V6, OWN]);
            bed.forwards(&query, OVER_V4, &[]);
            for row in [&[OVER_V6, OVER_V4][..], &[OWN, OVER_V6, OVER_V4], &[OWN, OVER_V4]] {
                bed.row(&query, row);
                bed.forwards(&query, OVER_V4, &[]);
            }
        }
    });
}

#[test]
fn a_flow_of_this_node_stays_here() {
    bed(|bed| {
        for query in queries() {
            bed.row(&query, &[OWN, OVER_V6]);
            bed.passes(&query.frame(), Reason::Local);
            bed.row(&query, &[OVER_V6, OWN]);
            bed.passes(&query.frame(), Reason::Local);
        }
    });
}

/// A node that is dead leaves the rows.
#[test]
fn a_flow_leaves_a_node_that_left_its_row_and_does_not_return() {
    bed(|bed| {
        for query in queries() {
            bed.row(&query, &[OVER_V4, OVER_V6]);
            bed.forwards(&query, OVER_V4, &[]);
            bed.row(&query, &[OVER_V6, OWN]);
            bed.forwards(&query, OVER_V6, &[]);
            bed.row(&query, &[OVER_V4, OVER_V6]);
            bed.forwards(&query, OVER_V6, &[]);
        }
    });
}

#[test]
fn a_flow_leaves_a_node_that_cannot_be_reached() {
    bed(|bed| {
        for query in queries() {
            let mut away = node(9, OWN_V4.into(), PEER_V4.into(), 1);
            bed.programs.set_node(NodeId(9), away).unwrap();
            bed.row(&query, &[9, OVER_V6]);
            let run = bed.run(&query.frame());
            assert_eq!(run.reason, Reason::Forwarded);
            away.flags &= !NODE_USABLE;
            bed.programs.set_node(NodeId(9), away).unwrap();
            let run = bed.run(&query.frame());
            assert_eq!(run.reason, Reason::ForwardedNext);
            // It is remembered there.
            bed.row(&query, &[OWN, OVER_V6]);
            bed.forwards(&query, OVER_V6, &[]);
        }
    });
}

#[test]
fn a_row_of_one_node_leaves_nothing_to_remember() {
    bed(|bed| {
        for query in queries() {
            bed.row(&query, &[OVER_V4]);
            bed.forwards(&query, OVER_V4, &[]);
            bed.row(&query, &[OVER_V6, OVER_V4]);
            bed.forwards(&query, OVER_V6, &[]);
        }
    });
}
