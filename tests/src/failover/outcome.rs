//! What a case came to.

use std::time::{Duration, Instant};

use super::Case;
use crate::{Cluster, Event};

/// Longer than this counts as hung.
const HUNG: Duration = Duration::from_secs(1);

/// What became of the connections of a case.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Connections that were open, and had answered last, when the change began.
    pub open: usize,
    /// Of those, that broke although their owner lived.
    pub broken: usize,
    /// Of those, that broke and whose owner died.
    pub of_dead: usize,
    /// Requests on open connections, owners that died left out, that took longer than a second.
    pub hung: usize,
    /// New connections after the change began.
    pub new: usize,
    /// Of those, that failed.
    pub failed: usize,
    /// Of those, that took longer than a second.
    pub slow: usize,
    /// 99 of 100 new connections were answered within this time.
    pub p99: Duration,
    /// Segments with RST that the nodes sent meanwhile.
    pub resets: u64,
    /// The longest time from the change to the end of a connection whose owner died.
    pub noticed: Option<Duration>,
    /// What the first connection that broke, or failed, said.
    pub said: Option<String>,
}

/// Clients that keep their connection and whose last request before `begun` was answered.
fn open(events: &[Event], begun: Instant) -> usize {
    let mut last = [false; super::KEPT];
    for event in events.iter().filter(|event| event.begun + event.took < begun) {
        if let Some(open) = last.get_mut(event.client) {
            *open = event.outcome.is_ok();
        }
    }
    last.into_iter().filter(|open| *open).count()
}

impl Outcome {
    pub(super) fn of(
        cluster: &Cluster,
        events: &[Event],
        case: &Case,
        begun: Instant,
        resets: u64,
    ) -> Self {
        let ended = |event: &&Event| event.begun + event.took >= begun;
        let of_dead = |event: &&Event| {
            let node = event.before.and_then(|peer| cluster.node_of(peer));
            node.is_some_and(|node| case.dies.contains(&node))
        };
        let later: Vec<&Event> = events.iter().filter(ended).collect();
        let on_open = || later.iter().copied().filter(|event| !event.new);
        let failed = |event: &&Event| event.outcome.is_err();
        let fresh: Vec<&Event> =
            later.iter().copied().filter(|event| event.new && event.begun >= begun).collect();
        let mut times: Vec<Duration> = fresh.iter().map(|event| event.took).collect();
        times.sort();
        let p99 = times.get(times.len().saturating_sub(1) * 99 / 100).copied();
        let alive = |event: &&Event| !of_dead(event);
        let noticed = on_open().filter(of_dead).filter(failed);
        let noticed = noticed.map(|event| (event.begun + event.took) - begun).max();
        let first = later.iter().find(|event| event.outcome.is_err() && !of_dead(event));
        Self {
            open: open(events, begun),
            broken: on_open().filter(alive).filter(failed).count(),
            of_dead: on_open().filter(of_dead).filter(failed).count(),
            hung: on_open().filter(alive).filter(|event| event.took > HUNG).count(),
            new: fresh.len(),
            failed: fresh.iter().filter(|event| event.outcome.is_err()).count(),
            slow: fresh.iter().filter(|event| event.took > HUNG).count(),
            p99: p99.unwrap_or_default(),
            resets,
            noticed,
            said: first.and_then(|event| event.outcome.clone().err()),
        }
    }

    /// The heads of the columns of [`row`](Self::row).
    pub const HEAD: &str = "| case | second chance | open | broken | broken with their owner | \
        noticed after | hung | new | failed | slower than 1 s | p99 | RST |\n\
        |---|---|---|---|---|---|---|---|---|---|---|---|";

    /// A row of a table in Markdown.
    pub fn row(&self, name: &str, second_chance: bool) -> String {
        let chance = if second_chance { "yes" } else { "no" };
        let noticed =
            self.noticed.map_or("–".to_owned(), |time| format!("{:.1} s", time.as_secs_f32()));
        format!(
            "| {name} | {chance} | {} | {} | {} | {noticed} | {} | {} | {} | {} | {} ms | {} |",
            self.open,
            self.broken,
            self.of_dead,
            self.hung,
            self.new,
            self.failed,
            self.slow,
            self.p99.as_millis(),
            self.resets,
        )
    }
}
