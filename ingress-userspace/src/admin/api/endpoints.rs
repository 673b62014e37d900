//! `endpoints`: the Services that routes lead to, who is behind them, and what workers know of those.

use std::{collections::HashMap, net::SocketAddr};

use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{
    Refusal,
    objects::{canary, policy, service},
    query::{Query, Words},
};
use crate::{
    admin::Board,
    model::{Backend, BackendId, Endpoint, Model},
    proxy::{
        balance::PeerState,
        inquiry::{Known, Wanted},
    },
};

/// Backends that workers are asked about at once: they have requests to answer.
const AT_ONCE: usize = 20;

/// `service`: only those of Services of this name, or `namespace/name`.
pub(super) fn render(board: &Board, query: &Query) -> Result<Value, Refusal> {
    query.only(&["q", "page", "per", "service"])?;
    let mut page = query.page()?;
    let wanted = query.one("service")?;
    let snapshot = board.reader.current();
    let model = &snapshot.model;
    let mut shown: Vec<(BackendId, &Backend)> = Vec::new();
    for (backend, id) in model.backends.iter().zip(0..) {
        let is_wanted = !backend.key.is_nobody()
            && wanted.is_none_or(|name| is_called(backend, name))
            && (page.words().is_empty() || is_found(page.words(), backend));
        if is_wanted && page.has_next() {
            shown.push((BackendId(id), backend));
        }
    }
    for shown in shown.chunks(AT_ONCE) {
        let asked: Wanted = shown.iter().map(|(id, own)| (*id, own.key.clone())).collect();
        let known = Handle::current().block_on(board.workers.endpoints(&asked));
        let items = shown.iter().enumerate();
        page.fill(items.map(|(place, (_, own))| item(model, own, place, &known)));
    }
    Ok(page.finish(snapshot.generation))
}

fn is_called(backend: &Backend, name: &str) -> bool {
    match name.split_once('/') {
        None => *backend.key.service == *name,
        Some((namespace, name)) => {
            *backend.key.namespace == *namespace && *backend.key.service == *name
        }
    }
}

fn is_found(words: &Words, backend: &Backend) -> bool {
    let addresses: Vec<_> =
        backend.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
    let pods = backend.endpoints.iter().filter_map(|endpoint| endpoint.pod.as_deref());
    let about: Vec<&str> = [&*backend.key.namespace, &*backend.key.service]
        .into_iter()
        .chain(addresses.iter().map(String::as_str))
        .chain(pods)
        .collect();
    words.are_in(&about)
}

/// `place`: where it is in what each worker knows.
fn item(model: &Model, backend: &Backend, place: usize, known: &[Known]) -> Value {
    let mut states: HashMap<SocketAddr, Vec<PeerState>> = HashMap::new();
    for own in known.iter().filter_map(|known| known.get(place)).flatten() {
        states.entry(own.address).or_default().push(*own);
    }
    let endpoints = backend
        .endpoints
        .iter()
        .map(|own| endpoint(own, states.get(&own.address).map(Vec::as_slice).unwrap_or_default()));
    json!({
        "service": service(&backend.key),
        "policy": policy(backend),
        "affinity": backend.balancing.affinity.as_ref().map(|own| &*own.cookie.name),
        "is_name": backend.is_name,
        "canary": backend.balancing.canary.as_ref().map(|own| canary(model, own)),
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

/// The worst that a worker says of it, for that is what its clients see.
fn endpoint(own: &Endpoint, states: &[PeerState]) -> Value {
    let rank = |own: &&PeerState| (own.is_avoided, own.refusals);
    let worst = states.iter().max_by_key(rank);
    let measured: Vec<f64> = states.iter().filter_map(|own| own.latency).collect();
    let mean = measured.iter().sum::<f64>() / measured.len() as f64;
    json!({
        "address": own.address.to_string(),
        "pod": own.pod.as_deref(),
        "weight": own.weight,
        "state": worst.map_or("unknown", state),
        "refusals": worst.map_or(0, |own| own.refusals),
        "latency_seconds": (!measured.is_empty()).then_some(mean),
    })
}

/// `ready`; `refusing`: it did not take the last connection; `avoided`: and is passed over for it.
pub(super) fn state(own: &PeerState) -> &'static str {
    match (own.is_avoided, own.refusals) {
        (true, _) => "avoided",
        (false, 0) => "ready",
        (false, _) => "refusing",
    }
}
