//! `l4`: what the kernel tier does: nodes and their shares, virtual services and what became of
//! their packets. Not paged: nodes and virtual services are few.

use std::collections::HashMap;

use ingress_common::reason::Verdict;
use serde_json::{Value, json};

use super::{Refusal, query::Query};
use crate::{
    admin::Board,
    l4::{self, L4Error, Reader},
};

pub(super) fn render(board: &Board, query: &Query) -> Result<Value, Refusal> {
    query.only(&[])?;
    let Some(status) = board.steering.status() else { return Ok(json!({ "on": false })) };
    let mut errors: Vec<String> = status.error.iter().cloned().collect();
    let reader = board.steering.reader();
    let services = known(reader.map(Reader::services), &mut errors);
    let counts = known(reader.map(Reader::nodes), &mut errors);
    let generations = known(reader.map(Reader::generations), &mut errors);
    let sent: HashMap<_, _> = counts.iter().map(|own| (own.id, own.forwards)).collect();
    let rows: u64 = status.rows.values().map(|rows| u64::from(*rows)).sum();
    Ok(json!({
        "on": true,
        "errors": errors,
        "interfaces": status.interfaces.iter().map(|(name, mode)| json!({
            "name": name,
            "mode": mode.name(),
        })).collect::<Vec<_>>(),
        "generations": generations.iter().map(|(group, generation)| json!({
            "group": group,
            "generation": generation,
        })).collect::<Vec<_>>(),
        "nodes": status.nodes.iter().map(|(name, node)| {
            let own = status.rows.get(name).copied().unwrap_or(0);
            let sent = sent.get(&node.id);
            json!({
                "name": name,
                "id": node.id.0,
                "address": node.address.to_string(),
                "state": format!("{:?}", node.state).to_lowercase(),
                "reachable": node.reachable,
                "weight": node.weight,
                "full_size": node.full_size,
                "rows": own,
                "share": if rows == 0 { 0.0 } else { f64::from(own) / rows as f64 },
                "first": sent.map_or(0, |own| own.first),
                "next": sent.map_or(0, |own| own.next),
                "relayed": sent.map_or(0, |own| own.relayed),
                "bytes": sent.map_or(0, |own| own.bytes),
            })
        }).collect::<Vec<_>>(),
        "services": services.iter().map(|service| {
            let of = |verdict: Verdict| -> u64 {
                let reasons = service.reasons.iter();
                reasons.filter(|own| own.0.verdict() == verdict).map(|own| own.1.packets).sum()
            };
            json!({
                "name": service.name,
                "pass": of(Verdict::Pass),
                "forward": of(Verdict::Forward),
                "drop": of(Verdict::Drop),
                "reasons": service.reasons.iter().map(|(reason, count)| json!({
                    "reason": reason.name(),
                    "verdict": reason.verdict().name(),
                    "packets": count.packets,
                    "bytes": count.bytes,
                })).collect::<Vec<_>>(),
            })
        }).collect::<Vec<_>>(),
        "events": board.steering.events().iter().map(l4::Event::to_json).collect::<Vec<_>>(),
    }))
}

/// What was read of the maps. What cannot be read is said, and takes nothing else away.
fn known<T: Default>(read: Option<Result<T, L4Error>>, errors: &mut Vec<String>) -> T {
    match read {
        Some(Ok(known)) => known,
        Some(Err(error)) => {
            errors.push(error.to_string());
            T::default()
        }
        None => T::default(),
    }
}
