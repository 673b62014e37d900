//! Members and their health → the rows of the steering table. Pure: every node computes the same
//! rows from the same inputs, so that nothing has to be synchronised.
//!
//! Weighted rendezvous hashing: each row asks every node for a score, and the best node owns the
//! row. A node that comes or goes moves only the rows that it gains or loses, and the second best
//! node of a row is the one that had it, or will have it: a connection's owner is among the
//! candidates without anybody remembering it.

use std::collections::BTreeMap;

use ingress_common::{
    HashKey, NodeId, Row,
    flow::hash_words,
    limits::{NODES, ROWS},
};

/// How a node is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Takes new connections.
    Ready,
    /// Finishes what it has.
    Draining,
    /// Missed its last probes: may still own connections, gets no new ones.
    Suspect,
    /// Gone. In no row: a packet sent to it would be lost until its client gave up.
    Dead,
}

/// A node as the plan sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name, from which everything stable is derived.
    pub name: String,
    /// Its share of new connections, relative to the others'. 0 takes none.
    pub weight: u32,
    /// How it is doing.
    pub state: State,
}

/// The nodes' numbers: derived from their names, equal on all nodes that know the same names, and
/// independent of the order in which they are listed. If two names want one number the later name
/// in the alphabet takes the next free one, so that only such a pair can ever be renumbered.
pub fn node_ids<'n>(names: impl IntoIterator<Item = &'n str>) -> BTreeMap<String, NodeId> {
    let mut sorted: Vec<&str> = names.into_iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut taken = std::collections::HashSet::new();
    let mut ids = BTreeMap::new();
    // All numbers but 0, which stands for no node.
    let room = u64::from(NODES - 1);
    for name in sorted.into_iter().take(NODES as usize - 1) {
        let wanted = name_hash(name) % room;
        let free =
            (0..room).map(|step| (wanted + step) % room).find(|number| taken.insert(*number));
        if let Some(number) = free {
            let id = u16::try_from(number + 1).expect("NODES fits in 16 bits");
            ids.insert(name.to_owned(), NodeId(id));
        }
    }
    ids
}

/// The rows for these candidates. A candidate without a number is left out.
///
/// The first of a row is its best ready node; only if there is none, its best draining or suspect
/// one. The others follow by score whatever their state, because the best of all is the one that
/// may have the row's connections: after up to three changes at once it is still in the row.
///
/// `width` is how many candidates a row has, at most [`Row::WIDTH`].
pub fn rows(candidates: &[Candidate], ids: &BTreeMap<String, NodeId>, width: usize) -> Vec<Row> {
    let mut rows = first_rows(ROWS, candidates, ids);
    if width < Row::WIDTH {
        for slot in rows.iter_mut().flat_map(|row| row.nodes.iter_mut().skip(width)) {
            *slot = NodeId::NONE;
        }
    }
    rows
}

/// The first `count` rows.
fn first_rows(count: u32, candidates: &[Candidate], ids: &BTreeMap<String, NodeId>) -> Vec<Row> {
    let mut contenders: Vec<Contender> = candidates
        .iter()
        .filter(|candidate| candidate.state != State::Dead)
        .filter_map(|candidate| {
            Some(Contender {
                id: *ids.get(&candidate.name)?,
                seed: name_hash(&candidate.name),
                weight: candidate.weight,
                takes_new: candidate.state == State::Ready && candidate.weight > 0,
                state: candidate.state,
            })
        })
        .collect();
    // Ties of scores are broken by number, hence not by the order of the list.
    contenders.sort_unstable_by_key(|contender| contender.id);
    contenders.dedup_by_key(|contender| contender.id);
    let equal = contenders.windows(2).all(|pair| pair[0].weight == pair[1].weight);
    (0..count).map(|row| fill(u64::from(row), &contenders, equal)).collect()
}

struct Contender {
    id: NodeId,
    seed: u64,
    weight: u32,
    takes_new: bool,
    state: State,
}

/// A score: smaller is better. A fraction, because dividing would round.
#[derive(Clone, Copy)]
struct Score {
    distance: u64,
    weight: u64,
}

impl Score {
    fn better_than(self, other: Self) -> bool {
        u128::from(self.distance) * u128::from(other.weight)
            < u128::from(other.distance) * u128::from(self.weight)
    }
}

fn fill(row: u64, contenders: &[Contender], equal: bool) -> Row {
    let mut best: Vec<(Score, &Contender)> = Vec::with_capacity(Row::WIDTH + 1);
    let mut head: Option<(State, Score, &Contender)> = None;
    for contender in contenders {
        let hash = hash_words(HashKey([contender.seed, 0]), [row]);
        let score = if equal {
            // With one weight for all, the order of hashes is the order of scores.
            Score { distance: u64::MAX - hash, weight: 1 }
        } else {
            Score { distance: negative_log2(hash), weight: u64::from(contender.weight) }
        };
        let class =
            if contender.takes_new { State::Ready } else { contender.state.max(State::Draining) };
        if head.as_ref().is_none_or(|(state, other, _)| {
            class < *state || class == *state && score.better_than(*other)
        }) {
            head = Some((class, score, contender));
        }
        let position = best.partition_point(|(other, _)| !score.better_than(*other));
        best.insert(position, (score, contender));
        best.truncate(Row::WIDTH);
    }
    let mut result = Row::EMPTY;
    let Some((_, _, head)) = head else { return result };
    let others = best.iter().map(|(_, contender)| contender.id).filter(|id| *id != head.id);
    for (slot, id) in result.nodes.iter_mut().zip(std::iter::once(head.id).chain(others)) {
        *slot = id;
    }
    result
}

/// -log2((hash + 1) / 2^64) with 32 fractional bits, by repeated squaring. In integers, because
/// nodes of different architectures have to agree to the last bit.
fn negative_log2(hash: u64) -> u64 {
    let value = u128::from(hash) + 1;
    let whole = 127 - value.leading_zeros();
    let mut mantissa = value << (63 - whole.min(63)) >> whole.saturating_sub(63);
    let mut fraction = 0u64;
    for _ in 0..32 {
        mantissa = (mantissa * mantissa) >> 63;
        fraction <<= 1;
        if mantissa >= 1 << 64 {
            fraction |= 1;
            mantissa >>= 1;
        }
    }
    (64 << 32) - (u64::from(whole) << 32 | fraction)
}

/// A number that stands for the name, the same on all nodes.
pub(super) fn name_hash(name: &str) -> u64 {
    let length = name.len() as u64;
    name.as_bytes().chunks(8).fold(length, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash_words(HashKey([hash, length]), [u64::from_le_bytes(word)])
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cluster(states: &[(u32, State)]) -> Vec<Candidate> {
        states
            .iter()
            .enumerate()
            .map(|(number, &(weight, state))| Candidate {
                name: format!("node-{number}"),
                weight,
                state,
            })
            .collect()
    }

    fn plan(candidates: &[Candidate]) -> Vec<Row> {
        rows(candidates, &node_ids(candidates.iter().map(|c| c.name.as_str())), Row::WIDTH)
    }

    fn heads(rows: &[Row], id: NodeId) -> usize {
        rows.iter().filter(|row| row.nodes[0] == id).count()
    }

    #[test]
    fn no_node_makes_empty_rows() {
        assert!(plan(&[]).iter().all(|row| *row == Row::EMPTY));
    }

    #[test]
    fn a_dead_node_is_in_no_row() {
        let candidates = cluster(&[(1, State::Ready), (1, State::Dead), (1, State::Ready)]);
        let dead = node_ids(candidates.iter().map(|c| c.name.as_str()))["node-1"];
        assert!(plan(&candidates).iter().all(|row| !row.nodes.contains(&dead)));
    }

    #[test]
    fn a_draining_node_becomes_the_second_of_the_rows_it_had() {
        let before = cluster(&[(1, State::Ready); 6]);
        let mut after = before.clone();
        after[2].state = State::Draining;
        let id = node_ids(before.iter().map(|c| c.name.as_str()))["node-2"];
        let mut had = 0;
        for (old, new) in plan(&before).iter().zip(plan(&after)) {
            if old.nodes[0] == id {
                had += 1;
                assert_eq!((new.nodes[0], new.nodes[1]), (old.nodes[1], id));
            } else {
                assert_eq!(new.nodes, old.nodes);
            }
        }
        assert!(had > 0);
    }

    #[test]
    fn without_a_ready_node_the_others_still_serve() {
        let rows = plan(&cluster(&[(1, State::Suspect), (1, State::Draining)]));
        let draining = node_ids(["node-0", "node-1"])["node-1"];
        assert_eq!(heads(&rows, draining), rows.len());
    }

    #[test]
    fn equal_weights_share_the_rows_evenly() {
        for count in [2, 3, 5, 10, 50] {
            let candidates = cluster(&vec![(1, State::Ready); count]);
            let ids = node_ids(candidates.iter().map(|c| c.name.as_str()));
            let rows = plan(&candidates);
            let fair = ROWS as f64 / count as f64;
            // Four standard deviations of a binomial share.
            let bound = 4.0 * fair.sqrt();
            for id in ids.values() {
                let off = (heads(&rows, *id) as f64 - fair).abs();
                assert!(off < bound, "{count} nodes: {off} rows off, {bound} allowed");
            }
        }
    }

    #[test]
    fn weights_set_the_shares() {
        let candidates =
            cluster(&[(1, State::Ready), (2, State::Ready), (5, State::Ready), (0, State::Ready)]);
        let ids = node_ids(candidates.iter().map(|c| c.name.as_str()));
        let rows = plan(&candidates);
        for (candidate, share) in candidates.iter().zip([0.125, 0.25, 0.625, 0.0]) {
            let got = heads(&rows, ids[&candidate.name]) as f64 / f64::from(ROWS);
            assert!((got - share).abs() < 0.01, "{}: {got} instead of {share}", candidate.name);
        }
    }

    #[test]
    fn the_shares_of_any_weights_are_within_bounds() {
        for weights in [vec![100, 100, 50], vec![1, 10, 100, 1000], vec![100, 99, 101, 100, 7, 300]]
        {
            let candidates =
                cluster(&weights.iter().map(|weight| (*weight, State::Ready)).collect::<Vec<_>>());
            let ids = node_ids(candidates.iter().map(|c| c.name.as_str()));
            let rows = plan(&candidates);
            let sum: u32 = weights.iter().sum();
            for candidate in &candidates {
                let fair = f64::from(ROWS) * f64::from(candidate.weight) / f64::from(sum);
                let off = (heads(&rows, ids[&candidate.name]) as f64 - fair).abs();
                // Four standard deviations of a binomial share, and one row.
                let bound = 4.0 * fair.sqrt() + 1.0;
                assert!(off < bound, "{weights:?}: {off} rows off, {bound} allowed");
            }
        }
    }

    /// The time is for people: `--nocapture` shows it.
    #[test]
    fn a_table_of_any_size_is_complete() {
        for count in [3, 10, 50] {
            for weights in [[100, 100], [100, 50]] {
                let states: Vec<_> =
                    (0..count).map(|number| (weights[number % 2], State::Ready)).collect();
                let candidates = cluster(&states);
                let begun = std::time::Instant::now();
                let rows = plan(&candidates);
                let took = begun.elapsed();
                let kind = if weights[0] == weights[1] { "equal" } else { "different" };
                println!("65536 rows of {count} nodes of {kind} weights: {took:.0?}");
                let full = count.min(Row::WIDTH);
                assert!(rows.iter().all(|row| {
                    row.nodes.iter().filter(|id| **id != NodeId::NONE).count() == full
                }));
            }
        }
    }

    #[test]
    fn a_row_of_one_candidate_has_no_other() {
        let candidates = cluster(&[(1, State::Ready); 4]);
        let ids = node_ids(candidates.iter().map(|c| c.name.as_str()));
        let (one, all) = (rows(&candidates, &ids, 1), rows(&candidates, &ids, Row::WIDTH));
        for (one, all) in one.iter().zip(&all) {
            assert_eq!(one.nodes[0], all.nodes[0]);
            assert_eq!(one.nodes[1..], [NodeId::NONE; 3]);
        }
    }

    #[test]
    fn the_logarithm_is_right() {
        for hash in [0, 1, 2, 3, 1 << 20, u64::MAX / 3, u64::MAX - 1, u64::MAX] {
            let exact = 64.0 - ((hash as f64) + 1.0).log2();
            let got = negative_log2(hash) as f64 / (1u64 << 32) as f64;
            assert!((got - exact).abs() < 1e-6, "{hash}: {got} instead of {exact}");
        }
    }

    #[test]
    fn numbers_are_stable_and_differ() {
        let names: Vec<String> = (0..2000).map(|number| format!("worker-{number}")).collect();
        let ids = node_ids(names.iter().map(String::as_str));
        let distinct: std::collections::HashSet<_> = ids.values().collect();
        assert_eq!((ids.len(), distinct.len()), (2000, 2000));
        assert!(ids.values().all(|id| *id != NodeId::NONE && u32::from(id.0) < NODES));
        assert_eq!(ids, node_ids(names.iter().rev().map(String::as_str)));
    }

    /// Enough rows for a property of each single row.
    const SOME: u32 = 2048;

    fn some(candidates: &[Candidate]) -> Vec<Row> {
        let ids = node_ids(candidates.iter().map(|c| c.name.as_str()));
        first_rows(SOME, candidates, &ids)
    }

    fn any_state() -> impl Strategy<Value = State> {
        prop::sample::select(vec![State::Ready, State::Draining, State::Suspect, State::Dead])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn the_order_of_the_list_does_not_matter(
            states in prop::collection::vec((0u32..4, any_state()), 1..8),
            rotation in 0usize..8,
        ) {
            let candidates = cluster(&states);
            let mut other = candidates.clone();
            let length = other.len();
            other.rotate_left(rotation % length);
            prop_assert_eq!(some(&candidates), some(&other));
        }

        #[test]
        fn a_node_that_leaves_moves_only_its_own_rows(
            weights in prop::collection::vec(1u32..4, 2..9),
            leaver in 0usize..9,
        ) {
            let before = cluster(&weights.iter().map(|w| (*w, State::Ready)).collect::<Vec<_>>());
            let leaver = leaver % before.len();
            let mut after = before.clone();
            after[leaver].state = State::Dead;
            // The numbers come from all names known, dead ones too.
            let ids = node_ids(before.iter().map(|c| c.name.as_str()));
            let left = ids[&before[leaver].name];
            for (old, new) in first_rows(SOME, &before, &ids).iter().zip(first_rows(SOME, &after, &ids)) {
                if old.nodes[0] == left {
                    prop_assert_eq!(new.nodes[0], old.nodes[1]);
                } else {
                    prop_assert_eq!(new.nodes[0], old.nodes[0]);
                }
            }
        }

        #[test]
        fn a_node_that_joins_moves_only_the_rows_that_it_gains(
            weights in prop::collection::vec(1u32..200, 1..9),
            joins in 1u32..200,
        ) {
            let before = cluster(&weights.iter().map(|w| (*w, State::Ready)).collect::<Vec<_>>());
            let mut after = before.clone();
            let name = "joins".to_owned();
            after.push(Candidate { name, weight: joins, state: State::Ready });
            let ids = node_ids(after.iter().map(|c| c.name.as_str()));
            let (old, new) = (first_rows(SOME, &before, &ids), first_rows(SOME, &after, &ids));
            for (old, new) in old.iter().zip(new) {
                if new.nodes[0] == ids["joins"] {
                    prop_assert_eq!(new.nodes[1], old.nodes[0]);
                } else {
                    prop_assert_eq!(new.nodes[0], old.nodes[0]);
                }
            }
        }

        /// Whatever happens to some nodes, a row moves only if its head was one of them, or is now.
        #[test]
        fn nothing_moves_between_nodes_that_did_not_change(
            before in prop::collection::vec((1u32..4, any_state()), 2..9),
            changes in prop::collection::vec((0usize..9, any_state()), 1..5),
        ) {
            let before = cluster(&before);
            let mut after = before.clone();
            let mut changed = std::collections::BTreeSet::new();
            for (position, state) in changes {
                let position = position % after.len();
                if after[position].state != state {
                    after[position].state = state;
                    changed.insert(position);
                }
            }
            let ids = node_ids(before.iter().map(|c| c.name.as_str()));
            let is_changed = |id: NodeId| {
                changed.iter().any(|position| ids[&before[*position].name] == id)
            };
            // Where nobody is ready the next best kind takes over, whoever changed.
            let some_ready = |all: &[Candidate]| all.iter().any(|one| one.state == State::Ready);
            prop_assume!(some_ready(&before) && some_ready(&after));
            let (old, new) = (first_rows(SOME, &before, &ids), first_rows(SOME, &after, &ids));
            for (old, new) in old.iter().zip(new) {
                let same = old.nodes[0] == new.nodes[0];
                prop_assert!(same || is_changed(old.nodes[0]) || is_changed(new.nodes[0]));
            }
        }

        #[test]
        fn after_three_changes_at_once_the_old_owner_is_still_asked(
            count in 5usize..9,
            changes in prop::collection::vec((0usize..9, prop::bool::ANY), 1..=3),
        ) {
            let before = cluster(&vec![(1, State::Ready); count]);
            let mut after = before.clone();
            let mut added = 0;
            for (position, add) in changes {
                if add {
                    added += 1;
                    after.push(Candidate {
                        name: format!("new-{added}"), weight: 1, state: State::Ready,
                    });
                } else {
                    after[position % count].state = State::Draining;
                }
            }
            let ids = node_ids(after.iter().map(|c| c.name.as_str()));
            for (old, new) in first_rows(SOME, &before, &ids).iter().zip(first_rows(SOME, &after, &ids)) {
                prop_assert!(new.nodes.contains(&old.nodes[0]));
            }
        }
    }
}
