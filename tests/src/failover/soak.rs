//! Minutes of changes, one after the other: tables, nodes that drain, agents that stop and that are
//! killed, while connections are open and new ones come all the time.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{KEPT, NODES, Stage, begin};
use crate::{Binaries, Cluster, Event, Named};

/// Of those changes, each so many-th is an agent that is killed.
const KILL: u64 = 5;
/// And so many-th one that is told to stop, and started again.
const STOP: u64 = 7;
/// For so long after a kill a connection of that agent's may be found broken: a client asks much more
/// often.
const FOUND: Duration = Duration::from_secs(10);

/// What it came to.
#[derive(Clone, Debug)]
pub struct Soak {
    /// For how long.
    pub time: Duration,
    /// Lists of members that all agents have steered by.
    pub lists: u64,
    /// Tables that the node that was never stopped has published.
    pub tables: u64,
    /// Agents that were killed.
    pub kills: usize,
    /// Agents that were told to stop.
    pub stops: usize,
    /// Requests that were answered.
    pub answered: usize,
    /// Connections that broke although their owner lived.
    pub broken: usize,
    /// Connections that broke with their owner.
    pub of_dead: usize,
    /// New connections that failed, but for those under way at a killed agent.
    pub failed: usize,
    /// What the first that counts as broken or failed said.
    pub said: Option<String>,
    /// What is held at the beginning and at the end.
    pub held: [Held; 2],
}

/// What could pile up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Pins of all nodes.
    pub pins: usize,
    /// Namespaces of the box.
    pub namespaces: usize,
    /// Open files of the agent that is never stopped: maps, programs and links among them.
    pub files: usize,
    /// Its resident memory in KiB.
    pub memory: u64,
}

/// Changes things for so long.
///
/// # Errors
/// If the box cannot be made, or something does not come about.
pub fn soak(time: Duration, binaries: &Binaries) -> Result<Soak> {
    let (mut cluster, load) = begin(usize::from(NODES), true, binaries)?;
    let client = cluster.client().clone();
    let mut kills: Vec<(usize, Instant)> = Vec::new();
    let (outcome, events) = load.run(&client, |progress| {
        let mut stage = Stage { cluster: &mut cluster, progress };
        // What is kept for connections is there.
        stage.rounds(3)?;
        let before = (held(stage.cluster)?, generation(stage.cluster)?);
        let (begun, mut lists, mut stops) = (Instant::now(), 0, 0);
        while begun.elapsed() < time {
            lists += 1;
            stage.name(&[0, 1, 2, 3, 4], &members(lists))?;
            // Never the first: it is what is looked at in the end.
            let victim = 1 + (lists as usize) % 4;
            if lists % KILL == 0 {
                kills.push((victim, Instant::now()));
                stage.cluster.agent(victim).crash()?;
                stage.rounds(1)?;
                stage.cluster.agent(victim).start()?;
                stage.cluster.await_ready(victim)?;
            } else if lists % STOP == 0 {
                stops += 1;
                stage.cluster.agent(victim).stop()?;
                stage.cluster.agent(victim).start()?;
                stage.cluster.await_ready(victim)?;
            }
        }
        let time = begun.elapsed();
        stage.name(&[0, 1, 2, 3, 4], &Named::all(0..usize::from(NODES)))?;
        stage.rounds(3)?;
        let after = (held(stage.cluster)?, generation(stage.cluster)?);
        anyhow::Ok((time, lists, stops, before, after))
    })?;
    let (time, lists, stops, before, after) = outcome.context("the changes")?;
    let mut soak = Soak {
        time,
        lists,
        tables: after.1.saturating_sub(before.1),
        kills: kills.len(),
        stops,
        answered: events.iter().filter(|event| event.outcome.is_ok()).count(),
        broken: 0,
        of_dead: 0,
        failed: 0,
        said: None,
        held: [before.0, after.0],
    };
    for event in &events {
        soak.add(event, &cluster, &kills);
    }
    Ok(soak)
}

impl Soak {
    fn add(&mut self, event: &Event, cluster: &Cluster, kills: &[(usize, Instant)]) {
        let Err(error) = &event.outcome else { return };
        let ended = event.begun + event.took;
        let owner = event.before.and_then(|peer| cluster.node_of(peer));
        let excused = kills.iter().any(|(node, at)| match owner {
            Some(owner) => owner == *node && *at <= ended && event.begun <= *at + FOUND,
            // Nobody knows whose it would have become.
            None => event.begun <= *at && *at <= ended,
        });
        match (excused, event.client < KEPT && !event.new) {
            (true, _) => self.of_dead += 1,
            (false, true) => self.broken += 1,
            (false, false) => self.failed += 1,
        }
        if !excused && self.said.is_none() {
            self.said = Some(format!("client {} after {:?}: {error}", event.client, event.took));
        }
    }

    /// The result as lines of Markdown.
    pub fn lines(&self) -> String {
        let [before, after] = self.held;
        let mut text = "| | |\n|---|---|\n".to_owned();
        for (what, value) in [
            ("seconds", self.time.as_secs().to_string()),
            ("lists of members that all agents took", self.lists.to_string()),
            ("tables of the agent that is never stopped", self.tables.to_string()),
            ("agents killed", self.kills.to_string()),
            ("agents stopped and started", self.stops.to_string()),
            ("requests answered", self.answered.to_string()),
            ("connections broken", self.broken.to_string()),
            ("connections broken with their killed owner", self.of_dead.to_string()),
            ("new connections failed", self.failed.to_string()),
            ("pins", format!("{} → {}", before.pins, after.pins)),
            ("namespaces", format!("{} → {}", before.namespaces, after.namespaces)),
            ("open files of that agent", format!("{} → {}", before.files, after.files)),
            ("memory of that agent, KiB", format!("{} → {}", before.memory, after.memory)),
        ] {
            text += &format!("| {what} | {value} |\n");
        }
        text
    }

    /// What should not have happened.
    pub fn wrong(&self) -> Vec<String> {
        let [before, after] = self.held;
        let mut wrong = Vec::new();
        if self.broken + self.failed > 0 {
            let said = self.said.as_deref().unwrap_or_default();
            wrong.push(format!("{} broken, {} failed: {said}", self.broken, self.failed));
        }
        if (before.pins, before.namespaces) != (after.pins, after.namespaces) {
            wrong.push(format!("what is left over: {before:?}, then {after:?}"));
        }
        // Connections to peers come and go; a leak goes on.
        if after.files > before.files + 100 {
            wrong.push(format!("files pile up: {before:?}, then {after:?}"));
        }
        if after.memory > before.memory * 3 / 2 + 16 * 1024 {
            wrong.push(format!("memory piles up: {before:?}, then {after:?}"));
        }
        wrong
    }
}

/// Weights and a node that drains, others each time.
fn members(turn: u64) -> Vec<Named> {
    let mut members = Named::all(0..usize::from(NODES));
    let at = (turn as usize) % members.len();
    members[at].weight = 50;
    if turn.is_multiple_of(3) {
        let other = (at + 2) % members.len();
        members[other].draining = true;
    }
    members
}

fn held(cluster: &mut Cluster) -> Result<Held> {
    let process = cluster.agent(0).process().context("the agent runs")?;
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory = memory.and_then(|rest| rest.split_whitespace().next()).context("VmRSS")?;
    let prefix = cluster.id().prefix();
    let namespaces = fs::read_dir("/run/netns")?.flatten();
    let ours = namespaces.filter(|one| one.file_name().to_string_lossy().starts_with(&prefix));
    Ok(Held {
        pins: files(&cluster.id().bpf())?,
        namespaces: ours.count(),
        files: fs::read_dir(format!("/proc/{process}/fd"))?.count(),
        memory: memory.parse()?,
    })
}

/// All files and directories below one.
fn files(directory: &Path) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        count += 1;
        if entry.file_type()?.is_dir() {
            count += files(&entry.path())?;
        }
    }
    Ok(count)
}

/// How many tables the first agent has published.
fn generation(cluster: &mut Cluster) -> Result<u64> {
    let (_, page) = cluster.agent(0).admin("/metrics")?;
    let line = page.lines().find(|line| line.starts_with("penstock_l4_table_generation{"));
    let value = line.and_then(|line| line.split_whitespace().last()).context("no generation")?;
    Ok(value.parse::<f64>()? as u64)
}
