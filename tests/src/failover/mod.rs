//! What happens to open and new connections while nodes come, go and fail: five nodes, hundreds of
//! connections that carry requests all the time, one change, and a count of what broke.

mod cases;
mod outcome;
mod soak;

pub use cases::{CASES, Case};
pub use outcome::Outcome;
pub use soak::{Held, Soak, soak};

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{Binaries, Cluster, Load, Named, Options, Progress, VIP_V4};

/// Nodes of each box.
pub const NODES: u8 = 5;
/// Connections that stay open.
const KEPT: usize = 120;
/// Clients that connect anew for each request.
const ANEW: usize = 16;
/// Between two requests of one client.
const PAUSE: Duration = Duration::from_millis(400);
/// For whatever must happen; only ever waited for in full when something is broken.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A box while something is changed in it.
pub struct Stage<'s> {
    /// The box.
    pub cluster: &'s mut Cluster,
    /// The requests so far.
    pub progress: &'s Progress,
}

impl Stage<'_> {
    /// Names these nodes to the agents of those, and waits until they steer so.
    pub(crate) fn name(&mut self, to: &[usize], members: &[Named]) -> Result<()> {
        to.iter().try_for_each(|node| self.cluster.name(*node, members))?;
        let names: Vec<String> = self.cluster.nodes().map(|node| node.name()).collect();
        let mut wanted: Vec<(String, u64, &str)> = members
            .iter()
            .map(|one| {
                let state = if one.draining { "draining" } else { "ready" };
                (names[one.node].clone(), u64::from(one.weight), state)
            })
            .collect();
        wanted.sort();
        for node in to {
            self.cluster.agent(*node).await_steering("steering as named", LIMIT, |steering| {
                let nodes = steering["nodes"].as_array().map_or(&[][..], Vec::as_slice);
                let found = nodes.iter().map(|node| {
                    let text = |key: &str| node[key].as_str().unwrap_or_default();
                    (text("name").to_owned(), node["weight"].as_u64().unwrap_or(0), text("state"))
                });
                found.eq(wanted.iter().cloned())
            })?;
        }
        Ok(())
    }

    /// Waits until all nodes have the virtual address 203.0.113.99, or none.
    pub(crate) fn addressed(&self, wanted: bool) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        for index in 0..usize::from(NODES) {
            loop {
                let mut command = self.cluster.node(index).command("ip");
                let output = command.args(["-o", "addr", "show", "dev", "lo"]).output()?;
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                if text.contains("203.0.113.99/32") == wanted {
                    break;
                }
                anyhow::ensure!(Instant::now() < deadline, "node {index} has {text}");
            }
        }
        Ok(())
    }

    /// Waits until each client has had an answer so many times: a sum would not show one whose
    /// connection hangs.
    pub(crate) fn rounds(&self, count: usize) -> Result<()> {
        self.progress.await_rounds(KEPT + ANEW, count, LIMIT)
    }
}

/// Runs a case. Without `second_chance` a row has one candidate, as in a balancer that remembers
/// nothing.
///
/// # Errors
/// If the box cannot be made, or the change does not come about.
pub fn measure(case: &Case, second_chance: bool, binaries: &Binaries) -> Result<Outcome> {
    let (mut cluster, load) = begin(case.nodes, second_chance, binaries)?;
    let client = cluster.client().clone();
    let (changed, events) = load.run(&client, |progress| {
        let mut stage = Stage { cluster: &mut cluster, progress };
        stage.rounds(3)?;
        let resets = resets(stage.cluster)?;
        let begun = Instant::now();
        (case.change)(&mut stage)?;
        stage.rounds(5)?;
        let after = self::resets(stage.cluster)?;
        anyhow::Ok((begun, after.saturating_sub(resets)))
    })?;
    let (begun, resets) = changed.with_context(|| format!("{}: the change", case.name))?;
    Ok(Outcome::of(&cluster, &events, case, begun, resets))
}

/// A box of which these first nodes are named, and the load on it.
fn begin(named: usize, second_chance: bool, binaries: &Binaries) -> Result<(Cluster, Load)> {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy").join("demo");
    let mut flags = vec!["--publish-service=edge/front".to_owned()];
    if !second_chance {
        flags.push("--l4-candidates=1".to_owned());
    }
    let cluster = Cluster::start(Options {
        nodes: NODES,
        binaries: binaries.clone(),
        manifests,
        flags,
        members: Some(Named::all(0..named)),
        ..Options::default()
    })?;
    // What comes in at a node that nobody has named reaches no other.
    cluster.route_over(&(0..named).collect::<Vec<_>>())?;
    let target = SocketAddr::from((VIP_V4, 80));
    let load = Load { target, host: "blue.example.com", kept: KEPT, anew: ANEW, pause: PAUSE };
    Ok((cluster, load))
}

/// Segments with RST that the nodes' stacks have sent.
fn resets(cluster: &Cluster) -> Result<u64> {
    let mut sum = 0;
    for index in 0..usize::from(NODES) {
        let text =
            cluster.node(index).run(|| std::fs::read_to_string("/proc/thread-self/net/snmp"))??;
        let mut rows = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let names = rows.next().context("no names of TCP's counters")?;
        let values = rows.next().context("no values of TCP's counters")?;
        let pairs = names.split(' ').zip(values.split(' '));
        let sent = pairs.into_iter().find(|(name, _)| *name == "OutRsts");
        sum += sent.context("no OutRsts")?.1.parse::<u64>()?;
    }
    Ok(sum)
}
