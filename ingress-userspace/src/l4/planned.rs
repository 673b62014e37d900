//! The table as it was planned last, and when another has to take its place.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use ingress_common::{NodeId, Row};

use super::{
    apply::TRANSITION,
    plan::{Candidate, rows},
};

/// The rows, and what they were computed from.
pub(super) struct Planned {
    candidates: Vec<Candidate>,
    /// The candidates' numbers.
    ids: Vec<Option<NodeId>>,
    rows: Arc<Vec<Row>>,
    /// Nobody had said who is there.
    alone: bool,
    /// When they were computed, which is about when they are published.
    since: Instant,
}

impl Planned {
    /// Computes the rows. `width` is how many candidates each has; `alone`: nobody has said yet who is
    /// there.
    pub(super) fn new(
        candidates: Vec<Candidate>,
        ids: &BTreeMap<String, NodeId>,
        width: usize,
        alone: bool,
    ) -> Self {
        let rows = Arc::new(rows(&candidates, ids, width));
        let ids = numbers(&candidates, ids);
        Self { candidates, ids, rows, alone, since: Instant::now() }
    }

    /// The rows.
    pub(super) fn rows(&self) -> &Arc<Vec<Row>> {
        &self.rows
    }

    /// Whether these candidates would get the same rows, or others that can wait.
    pub(super) fn serves(&self, candidates: &[Candidate], ids: &BTreeMap<String, NodeId>) -> bool {
        self.candidates == candidates && self.ids == numbers(candidates, ids)
            || self.suffices_for(candidates, ids)
    }

    /// Whether the other rows can wait that these candidates would get: for as long as a table is
    /// new, SYNs are offered first to whom the one before it had. A change within that time would
    /// make that one forgotten. Only nodes that join or get more can wait: whoever drains or is gone
    /// cannot.
    fn suffices_for(&self, candidates: &[Candidate], ids: &BTreeMap<String, NodeId>) -> bool {
        let mut numbered = self.candidates.iter().zip(&self.ids);
        let stays = |(before, id): (&Candidate, &Option<NodeId>)| {
            ids.get(&before.name).copied() == *id
                && candidates.iter().any(|now| {
                    now.name == before.name
                        && now.state <= before.state
                        && now.weight >= before.weight
                })
        };
        !self.alone && self.since.elapsed() < TRANSITION && numbered.all(stays)
    }

    /// As if it had been planned long ago.
    #[cfg(test)]
    pub(super) fn settle(&mut self) {
        self.since = self.since.checked_sub(TRANSITION).expect("the machine runs for longer");
    }
}

fn numbers(candidates: &[Candidate], ids: &BTreeMap<String, NodeId>) -> Vec<Option<NodeId>> {
    candidates.iter().map(|one| ids.get(&one.name).copied()).collect()
}
