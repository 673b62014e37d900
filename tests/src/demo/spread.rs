//! How evenly connections spread over the nodes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use testbed::{Cluster, VIP_V4, get};
use tokio::{sync::Semaphore, task::JoinSet};

use super::page;

const CONNECTIONS: usize = 1000;
/// At a time: few enough that none waits long.
const AT_ONCE: usize = 32;

pub(crate) fn show(cluster: &Cluster) -> Result<()> {
    page::heading("Spread", &format!("{CONNECTIONS} connections, one request each"));
    let answers = cluster.client().block_on(|| async {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut requests = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let turns = turns.clone();
            requests.spawn(async move {
                let _turn = turns.acquire().await.context("the semaphore is never closed")?;
                let vip = SocketAddr::from((VIP_V4, 80));
                get(vip, "blue.example.com", "/", Duration::from_secs(10)).await
            });
        }
        requests.join_all().await
    })?;
    let mut taken = vec![0_u32; cluster.nodes().count()];
    let mut failed = 0_u32;
    for answer in answers {
        let node = answer.ok().and_then(|answer| cluster.node_of(answer.echo()?.peer));
        match node {
            Some(node) => taken[node] += 1,
            None => failed += 1,
        }
    }
    for (node, taken) in cluster.nodes().zip(&taken) {
        let share = f64::from(*taken) / CONNECTIONS as f64;
        page::say(&format!("  {}  {taken:>4}  {}", node.name(), page::bar(share)));
    }
    if failed > 0 {
        page::say(&page::tinted(&format!("  failed  {failed}"), page::Tone::Bad));
    }
    Ok(())
}
