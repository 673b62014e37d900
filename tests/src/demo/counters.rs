//! What the programs in the kernel have counted.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use testbed::{Binaries, Cluster};

use super::page::{self, Cell, Tone};

/// Packets by verdict and reason.
pub(crate) type Counters = BTreeMap<(String, String), u64>;

/// The counters of one node.
pub(crate) fn read(cluster: &Cluster, binaries: &Binaries, node: usize) -> Result<Counters> {
    let value = cluster.counters(binaries, node)?;
    let rows = value.as_array().context("the counters are not a list")?;
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or("?").to_owned();
    Ok(rows
        .iter()
        .map(|row| {
            let packets = row["packets"].as_u64().unwrap_or_default();
            ((text(row, "verdict"), text(row, "reason")), packets)
        })
        .collect())
}

pub(crate) fn show(cluster: &Cluster, binaries: &Binaries) -> Result<()> {
    page::heading("Packets", "by verdict and reason, from the BPF maps of each node");
    let nodes: Vec<Counters> =
        (0..cluster.nodes().count()).map(|n| read(cluster, binaries, n)).collect::<Result<_>>()?;
    let mut names: Vec<_> = nodes.iter().flat_map(|node| node.keys().cloned()).collect();
    names.sort();
    names.dedup();
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for name in &names {
        let counts: Vec<u64> =
            nodes.iter().map(|node| node.get(name).copied().unwrap_or_default()).collect();
        if counts.iter().all(|count| *count == 0) {
            continue;
        }
        let (verdict, reason) = name;
        let tone = if verdict == "drop" { Tone::Bad } else { Tone::Plain };
        let mut row = vec![(verdict.clone(), tone), (reason.clone(), tone)];
        row.extend(counts.iter().map(|count| (format!("{count:>7}"), tone)));
        rows.push(row);
    }
    let nodes: Vec<String> = cluster.nodes().map(|node| format!("{:>7}", node.name())).collect();
    let mut heads = vec!["verdict", "reason"];
    heads.extend(nodes.iter().map(String::as_str));
    page::table(&heads, &rows);
    Ok(())
}
