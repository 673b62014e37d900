//! What the kernel tier counted.

use std::fmt;

use ingress_common::Counters;

use super::{
    super::Board,
    family::{self, Family},
    page::Page,
};
use crate::l4::{self, L4Error};

pub(super) fn write(page: &mut Page<'_>, board: &Board) -> fmt::Result {
    if let Some(status) = board.steering.status() {
        members(page, &status)?;
    }
    if let Some(reader) = board.steering.reader() {
        by_service(page, reader)?;
        by_node(page, reader)?;
        generations(page, reader)?;
    }
    let counters = match board.steering.counters() {
        Some(Ok(counters)) => counters,
        Some(Err(error)) => return unread(&error),
        None => return Ok(()),
    };
    let mut lines = page.family(&family::XDP_PACKETS)?;
    for (reason, counters) in &counters {
        lines.whole(&[reason.verdict().name(), reason.name()], counters.packets)?;
    }
    let mut lines = page.family(&family::XDP_BYTES)?;
    for (reason, counters) in &counters {
        lines.whole(&[reason.verdict().name(), reason.name()], counters.bytes)?;
    }
    Ok(())
}

/// The rest of the page is true without it.
fn unread(error: &L4Error) -> fmt::Result {
    tracing::warn!(error = error as &dyn std::error::Error, "no counters of the kernel tier");
    Ok(())
}

fn members(page: &mut Page<'_>, status: &l4::Status) -> fmt::Result {
    let states = ["ready", "draining", "suspect", "dead"];
    let of = |state| {
        let nodes = status.nodes.values().map(|node| format!("{:?}", node.state).to_lowercase());
        nodes.filter(|own| own == state).count() as u64
    };
    page.by(&family::MEMBERS, states.map(|state| (state, of(state))))
}

fn by_service(page: &mut Page<'_>, reader: &l4::Reader) -> fmt::Result {
    type Count = fn(&Counters) -> u64;
    let families: [(&'static Family, Count); 2] = [
        (&family::L4_PACKETS, |counters| counters.packets),
        (&family::L4_BYTES, |counters| counters.bytes),
    ];
    let services = match reader.services() {
        Ok(services) => services,
        Err(error) => return unread(&error),
    };
    for (family, count) in families {
        let mut lines = page.family(family)?;
        for service in &services {
            for (reason, counters) in &service.reasons {
                let values = [&*service.name, reason.verdict().name(), reason.name()];
                lines.whole(&values, count(counters))?;
            }
        }
    }
    Ok(())
}

fn by_node(page: &mut Page<'_>, reader: &l4::Reader) -> fmt::Result {
    let nodes = match reader.nodes() {
        Ok(nodes) => nodes,
        Err(error) => return unread(&error),
    };
    let mut lines = page.family(&family::L4_FORWARDED)?;
    for l4::NodeCounts { name, forwards, .. } in &nodes {
        lines.whole(&[name, "first"], forwards.first)?;
        lines.whole(&[name, "next"], forwards.next)?;
        lines.whole(&[name, "relayed"], forwards.relayed)?;
    }
    Ok(())
}

fn generations(page: &mut Page<'_>, reader: &l4::Reader) -> fmt::Result {
    let generations = match reader.generations() {
        Ok(generations) => generations,
        Err(error) => return unread(&error),
    };
    let mut lines = page.family(&family::L4_GENERATION)?;
    for (group, generation) in generations {
        lines.whole(&[&group.to_string()], generation.into())?;
    }
    Ok(())
}
