//! The header between the outer UDP header and the packet of the client.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------+-------+---------------+---------------+---------------+
//! |version| hops  |     tried     |     flags     | inner protocol|
//! +-------+-------+---------------+---------------+---------------+
//! |          generation           |            hop 0              |
//! +-------------------------------+-------------------------------+
//! |            hop 1              |            hop 2              |
//! +-------------------------------+-------------------------------+
//! |                the client's packet from its IP header ...
//! ```
//!
//! The list has room for [`TunnelHeader::HOPS`] nodes, so that the header has one length and the
//! verifier one bound. Every node that hands a packet on takes at least one node off the front of
//! the list and adds as many to `tried`: the list only shrinks, hence no packet can loop.
//!
//! The outer UDP checksum is zero over IPv4 and over IPv6. RFC 6935 allows that over IPv6 to tunnel
//! protocols; of the conditions of RFC 6936 section 4 those that matter here hold: the inner TCP or
//! UDP checksum covers the client's addresses and data, the receiver accepts tunnel packets from
//! its peers' addresses only, and a wrong hop list leads to a node that either has the socket or
//! hands on.

use bytemuck::{Pod, Zeroable};

use crate::{NodeId, Row};

/// The tunnel header, in network order.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct TunnelHeader {
    /// [`TunnelHeader::VERSION`] in the upper four bits, the number of hops in the lower four.
    pub version_hops: u8,
    /// How many candidates of the row the packet has passed, the receiver included.
    pub tried: u8,
    /// [`TunnelHeader::SKIPPED`] and friends. Others are zero when sent and ignored when received.
    pub flags: u8,
    /// IP protocol number of the inner packet: 4 (IPv4) or 41 (IPv6).
    pub inner_protocol: u8,
    /// The lowest 16 bits of the first sender's table generation, for diagnosis only.
    pub generation: [u8; 2],
    /// The candidates after the receiver, in order.
    pub hops: [[u8; 2]; TunnelHeader::HOPS],
}
const _: () = assert!(size_of::<TunnelHeader>() == TunnelHeader::LEN);

impl TunnelHeader {
    /// Version of this layout. A receiver drops others, with a reason.
    pub const VERSION: u8 = 1;
    /// Hops that fit: a row's candidates but the first.
    pub const HOPS: usize = Row::WIDTH - 1;
    /// Length in bytes.
    pub const LEN: usize = 12;
    /// The default UDP port of the tunnel.
    pub const PORT: u16 = 6082;
    /// Hop limit of the outer header: enough for the fabric between nodes, and an end to a packet
    /// that a routing loop catches.
    pub const TTL: u8 = 8;
    /// Flag: a candidate was left out because it could not be reached. It may own the connection,
    /// so that the last hop must not answer for it with a reset.
    pub const SKIPPED: u8 = 1;
    /// Flag: the receiver held the row before the table changed. It takes the SYN only if it has a
    /// socket for the connection already, not because it listens.
    pub const SYN_PROBE: u8 = 2;
    /// Flag: the receiver is where all fragments of this packet meet. Set once: who receives it
    /// decides by its own table.
    pub const FRAGMENT_HOME: u8 = 4;
    /// Flag: not a client's packet but the question of a peer's agent whether this node would take
    /// it, which the program answers: the inner packet is a SYN to a virtual service, and what
    /// follows its TCP header is there for its length.
    pub const PROBE: u8 = 0x20;
    /// Flag of an answer to [`PROBE`](Self::PROBE).
    pub const ANSWER: u8 = 0x40;
    /// Flag of an answer: a new connection would be taken.
    pub const TAKES_NEW: u8 = 0x80;
    /// IP protocol number of an inner IPv4 packet.
    pub const INNER_V4: u8 = 4;
    /// IP protocol number of an inner IPv6 packet.
    pub const INNER_V6: u8 = 41;

    /// The header for a packet that is sent to a candidate with these to try after it.
    #[inline(always)]
    pub fn new(rest: Hops, tried: u8, flags: u8, inner_protocol: u8, generation: u16) -> Self {
        let hops = [rest.at(0), rest.at(1), rest.at(2)];
        Self {
            version_hops: Self::VERSION << 4 | rest.len(),
            tried,
            flags,
            inner_protocol,
            generation: generation.to_be_bytes(),
            hops: [hops[0].0.to_be_bytes(), hops[1].0.to_be_bytes(), hops[2].0.to_be_bytes()],
        }
    }

    /// The candidates after the receiver; `None` if the header's version, number of hops or `tried`
    /// cannot be ours.
    #[inline(always)]
    pub fn rest(&self) -> Option<Hops> {
        let [a, b, c] = self.hops.map(|hop| u64::from(u16::from_be_bytes(hop)));
        let rest = Hops(a | b << 16 | c << 32);
        let fits = self.version_hops == Self::VERSION << 4 | rest.len()
            && self.tried >= 1
            && usize::from(self.tried) + usize::from(rest.len()) <= Row::WIDTH;
        if fits { Some(rest) } else { None }
    }
}

/// Candidates in the order in which they are asked, 16 bits each, the first one lowest. A list in a
/// register: neither the verifier nor the processor has to follow an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hops(u64);

impl Hops {
    /// The candidates of a row.
    #[inline(always)]
    pub const fn of_row(row: &Row) -> Self {
        let [a, b, c, d] = row.nodes;
        Self(a.0 as u64 | (b.0 as u64) << 16 | (c.0 as u64) << 32 | (d.0 as u64) << 48)
    }

    /// The first candidate, [`NodeId::NONE`] if the list is empty.
    #[inline(always)]
    pub const fn first(self) -> NodeId {
        NodeId(self.0 as u16)
    }

    /// The list without its first candidate.
    #[inline(always)]
    #[must_use]
    pub const fn rest(self) -> Self {
        Self(self.0 >> 16)
    }

    /// The empty list.
    #[inline(always)]
    #[must_use]
    pub const fn none(self) -> Self {
        Self(0)
    }

    /// The list with one more candidate in front; the last of four falls off.
    #[inline(always)]
    #[must_use]
    pub const fn prepend(self, node: NodeId) -> Self {
        Self(self.0 << 16 | node.0 as u64)
    }

    /// The list names this node.
    #[inline(always)]
    pub const fn contains(self, node: NodeId) -> bool {
        self.at(0).0 == node.0
            || self.at(1).0 == node.0
            || self.at(2).0 == node.0
            || self.at(3).0 == node.0
    }

    /// No candidate is left.
    #[inline(always)]
    pub const fn is_empty(self) -> bool {
        self.first().0 == NodeId::NONE.0
    }

    /// How many candidates the list has: those before the first [`NodeId::NONE`].
    #[inline(always)]
    pub const fn len(self) -> u8 {
        let mut len = 0;
        if self.at(0).0 != 0 {
            len += 1;
            if self.at(1).0 != 0 {
                len += 1;
                if self.at(2).0 != 0 {
                    len += 1;
                    if self.at(3).0 != 0 {
                        len += 1;
                    }
                }
            }
        }
        len
    }

    #[inline(always)]
    const fn at(self, index: u32) -> NodeId {
        NodeId((self.0 >> (16 * index)) as u16)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(ids: &[u16]) -> Hops {
        ids.iter().rev().fold(Hops(0), |list, &id| list.prepend(NodeId(id)))
    }

    #[test]
    fn a_list_is_taken_from_its_front() {
        let hops = list(&[7, 8, 9]);
        assert_eq!((hops.len(), hops.first()), (3, NodeId(7)));
        assert_eq!(hops.rest(), list(&[8, 9]));
        assert!(hops.rest().rest().rest().is_empty());
    }

    #[test]
    fn a_row_is_asked_in_its_order() {
        let row = Row { nodes: [NodeId(3), NodeId(1), NodeId(2), NodeId::NONE] };
        assert_eq!(Hops::of_row(&row), list(&[3, 1, 2]));
    }

    proptest! {
        #[test]
        fn a_header_returns_its_list(ids in prop::collection::vec(1..u16::MAX, 0..=3)) {
            let rest = list(&ids);
            let header = TunnelHeader::new(rest, 1, 0, TunnelHeader::INNER_V4, 9);
            prop_assert_eq!(header.rest(), Some(rest));
        }

        #[test]
        fn a_header_that_claims_more_than_a_row_is_refused(
            tried in 0u8..,
            ids in prop::collection::vec(1..u16::MAX, 0..=3),
        ) {
            let header = TunnelHeader::new(list(&ids), tried, 0, TunnelHeader::INNER_V6, 0);
            let fits = tried >= 1 && usize::from(tried) + ids.len() <= Row::WIDTH;
            prop_assert_eq!(header.rest().is_some(), fits);
        }
    }

    #[test]
    fn another_version_is_refused() {
        let mut header = TunnelHeader::new(list(&[5]), 1, 0, TunnelHeader::INNER_V4, 0);
        header.version_hops = 2 << 4 | 1;
        assert_eq!(header.rest(), None);
    }
}
