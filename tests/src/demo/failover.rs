//! An agent is killed while requests run.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use testbed::{Binaries, Cluster, Event, Load, VIP_V4, get};

use super::{
    counters,
    page::{self, Tone},
};

/// The index of the node whose agent is killed.
const VICTIM: usize = 1;

pub(crate) fn show(cluster: &mut Cluster, binaries: &Binaries) -> Result<()> {
    let load = Load {
        target: SocketAddr::from((VIP_V4, 80)),
        host: "red.example.com",
        kept: 24,
        anew: 4,
        pause: Duration::from_millis(10),
    };
    let victim = cluster.agent(VICTIM);
    let process = victim.process().unwrap_or_default();
    page::heading("Failover", &format!("n2's agent (process {process}) is killed under load"));

    let client = cluster.client().clone();
    let before = counters::read(cluster, binaries, VICTIM)?;
    let (killed, events) = load.run(&client, |_| -> Result<Instant> {
        thread::sleep(Duration::from_secs(2));
        let killed = Instant::now();
        cluster.agent(VICTIM).crash()?;
        thread::sleep(Duration::from_secs(4));
        Ok(killed)
    })?;
    let killed = killed?;
    let after = counters::read(cluster, binaries, VICTIM)?;
    summary(cluster, killed, &events);
    let forwarded = forwarded(&after).saturating_sub(forwarded(&before));
    page::say(&format!(
        "  n2 without an agent   its XDP program stays: it sent {forwarded} packets on to other nodes"
    ));
    restart(cluster)
}

fn summary(cluster: &Cluster, killed: Instant, events: &[Event]) {
    let (early, late): (Vec<&Event>, Vec<&Event>) =
        events.iter().partition(|event| event.begun + event.took < killed);
    page::say(&format!("  {:<20}  {}", "before", ok_of(early.iter().copied())));
    page::say(&format!("  {:<20}  {}", "after", ok_of(late.iter().copied())));

    let mut reasons: BTreeMap<String, u32> = BTreeMap::new();
    for event in events.iter().filter(|event| event.outcome.is_err()) {
        *reasons.entry(reason(cluster, killed, event)).or_default() += 1;
    }
    for (reason, count) in reasons {
        page::say(&page::tinted(
            &format!("  {:<20}  {count} {reason}", "failed because"),
            Tone::Bad,
        ));
    }

    let new: Vec<&Event> = late.into_iter().filter(|e| e.new && e.begun >= killed).collect();
    let good = || new.iter().filter(|event| event.outcome.is_ok());
    let soonest = good().map(|event| event.begun + event.took - killed).min().unwrap_or_default();
    let slowest = good().map(|event| event.took).max().unwrap_or_default();
    let line = format!(
        "{}, the first {} ms after the kill, the slowest took {} ms",
        ok_of(new.iter().copied()),
        soonest.as_millis(),
        slowest.as_millis()
    );
    page::say(&format!("  {:<20}  {line}", "new connections"));
    let share = |node: usize| {
        let here = good().filter(|event| node_of(cluster, event) == Some(node)).count();
        format!("n{} {:.0} %", node + 1, 100.0 * here as f64 / good().count().max(1) as f64)
    };
    let shares: Vec<String> = (0..cluster.nodes().count()).map(share).collect();
    page::say(&format!("  {:<20}  {}", "taken by", shares.join(", ")));
}

/// `812 of 812 requests ok`, in its colour.
fn ok_of<'e>(events: impl Iterator<Item = &'e Event> + Clone) -> String {
    let (all, good) = (events.clone().count(), events.filter(|e| e.outcome.is_ok()).count());
    let tone = if good == all { Tone::Good } else { Tone::Bad };
    page::tinted(&format!("{good} of {all} ok"), tone)
}

fn node_of(cluster: &Cluster, event: &Event) -> Option<usize> {
    event.outcome.as_ref().ok().and_then(|peer| cluster.node_of(*peer))
}

/// Why a request failed, in words.
fn reason(cluster: &Cluster, killed: Instant, event: &Event) -> String {
    let error = event.outcome.as_ref().err().map_or("", String::as_str);
    match event.before.map(|peer| cluster.node_of(peer)) {
        Some(Some(VICTIM)) => "on connections that were open on the killed agent".to_owned(),
        None if event.begun < killed => "were connecting at the moment of the kill".to_owned(),
        _ => format!("for no good reason: {error}"),
    }
}

fn forwarded(counters: &counters::Counters) -> u64 {
    counters.iter().filter(|((verdict, _), _)| verdict == "forward").map(|(_, count)| count).sum()
}

/// Starts the agent again and waits until it takes connections.
fn restart(cluster: &mut Cluster) -> Result<()> {
    let start = Instant::now();
    cluster.agent(VICTIM).start()?;
    cluster.await_ready(VICTIM)?;
    let ready = start.elapsed();
    let vip = SocketAddr::from((VIP_V4, 80));
    let client = cluster.client().clone();
    let nodes: Vec<_> = cluster.nodes().collect();
    let back = client.block_on(|| async move {
        while start.elapsed() < Duration::from_secs(10) {
            let answer = get(vip, "red.example.com", "/", Duration::from_secs(2)).await?;
            let peer = answer.echo().map(|echo| echo.peer.ip());
            if peer.is_some_and(|peer| nodes[VICTIM].speaks_from(peer)) {
                return Ok(start.elapsed());
            }
        }
        anyhow::bail!("n2 takes no connections 10 s after its restart")
    })??;
    page::say(&format!(
        "  {:<20}  ready after {} ms, takes connections after {} ms",
        "n2's agent restarted",
        ready.as_millis(),
        back.as_millis()
    ));
    Ok(())
}
