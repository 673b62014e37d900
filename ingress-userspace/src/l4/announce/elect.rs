//! Who announces an address.

use std::{cmp::Reverse, net::IpAddr};

use ingress_common::{HashKey, flow::hash_words};

use crate::l4::plan::{Candidate, State, name_hash};

/// The node that announces the address: by rendezvous hashing among those that take new connections,
/// or else among those that are doing best. All nodes that see the same come to the same, several
/// addresses are spread over the nodes, and an address moves only with its own announcer. Whether it
/// can announce on its link nobody else knows: a node whose link fails, and nothing else, is chosen
/// all the same. `None` where nobody is left.
pub(in crate::l4) fn announcer(address: IpAddr, candidates: &[Candidate]) -> Option<&str> {
    let bits = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let words = [(bits >> 64) as u64, bits as u64];
    candidates
        .iter()
        .filter(|candidate| candidate.state != State::Dead)
        .min_by_key(|candidate| {
            let spare = candidate.state == State::Ready && candidate.weight == 0;
            let score = hash_words(HashKey([name_hash(&candidate.name), 1]), words);
            (candidate.state, spare, Reverse(score), &candidate.name)
        })
        .map(|candidate| candidate.name.as_str())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::Ipv4Addr};

    use super::*;

    fn cluster(states: &[State]) -> Vec<Candidate> {
        let one = |(number, state): (usize, &State)| Candidate {
            name: format!("n{number}"),
            weight: 100,
            state: *state,
        };
        states.iter().enumerate().map(one).collect()
    }

    fn addresses() -> impl Iterator<Item = IpAddr> {
        (0..=255).map(|last| Ipv4Addr::new(203, 0, 113, last).into())
    }

    #[test]
    fn addresses_are_spread_over_the_nodes_whatever_their_order() {
        let nodes = cluster(&[State::Ready; 4]);
        let mut backwards = nodes.clone();
        backwards.reverse();
        let mut shares = BTreeMap::new();
        for address in addresses() {
            let name = announcer(address, &nodes).expect("one of four");
            assert_eq!(announcer(address, &backwards), Some(name));
            *shares.entry(name).or_insert(0) += 1;
        }
        // Four standard deviations of a binomial share of 256 addresses.
        assert!(shares.len() == 4 && shares.values().all(|share| (36..=92).contains(share)));
    }

    #[test]
    fn only_addresses_of_the_node_that_fails_move() {
        let before = cluster(&[State::Ready; 4]);
        for state in [State::Draining, State::Suspect, State::Dead] {
            let mut after = before.clone();
            after[2].state = state;
            for address in addresses() {
                let (was, is) = (announcer(address, &before), announcer(address, &after));
                assert_ne!(is, Some("n2"));
                assert!(was == is || was == Some("n2"), "{address} moved from {was:?} to {is:?}");
            }
        }
    }

    #[test]
    fn who_takes_new_connections_goes_first() {
        let address = IpAddr::from([203, 0, 113, 9]);
        let mut nodes = cluster(&[State::Suspect, State::Draining, State::Ready, State::Ready]);
        nodes[2].weight = 0;
        assert_eq!(announcer(address, &nodes), Some("n3"));
        assert_eq!(announcer(address, &nodes[..3]), Some("n2"));
        assert_eq!(announcer(address, &nodes[..2]), Some("n1"));
        assert_eq!(announcer(address, &nodes[..1]), Some("n0"));
        assert_eq!(announcer(address, &cluster(&[State::Dead])), None);
    }
}
