//! `status`: how the agent is, in a few words.

use serde_json::{Value, json};

use super::{Refusal, query::Query};
use crate::{admin::Board, log::Levels, model::Severity};

pub(super) fn render(board: &Board, query: &Query) -> Result<Value, Refusal> {
    query.only(&[])?;
    let snapshot = board.reader.current();
    let model = &snapshot.model;
    let diagnostics = board.diagnostics();
    let of = |severity| diagnostics.iter().filter(|own| own.severity == severity).count();
    let troubles = board.source.troubles();
    let addresses = |list: &[std::net::SocketAddr]| -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    };
    let backends = || model.backends.iter().filter(|own| !own.key.is_nobody());
    let totals = board.registry.totals();
    let steering = board.steering.status();
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pod": board.controller_pod,
        "namespace": board.controller_namespace,
        "uptime_seconds": board.started.elapsed().as_secs(),
        "ready": board.readiness.missing().is_none(),
        "missing": board.readiness.missing(),
        "generation": snapshot.generation,
        "source": {
            "name": board.source_name,
            "waiting": board.source.waiting(),
            "troubles": troubles.iter().map(ToString::to_string).collect::<Vec<_>>(),
        },
        "leads": board.ledger.leads(),
        "listeners": {
            "http": addresses(&board.addresses.http),
            "https": addresses(&board.addresses.https),
            "admin": addresses(&board.addresses.admin),
            "page": addresses(board.addresses.page.as_slice()),
        },
        "serves": {
            "hosts": model.hosts.len(),
            "routes": model.hosts.iter().map(|host| host.routes.len()).sum::<usize>(),
            "services": backends().count(),
            "endpoints": backends().map(|own| own.endpoints.len()).sum::<usize>(),
            "certificates": model.certificates.iter().filter(|own| !own.chain.is_empty()).count(),
        },
        "diagnostics": { "error": of(Severity::Error), "warning": of(Severity::Warning) },
        "traffic": {
            "connections": totals.connections,
            "requests": totals.requests,
            "in_progress": totals.in_progress,
        },
        "l4": steering.map(|status| json!({
            "nodes": status.nodes.len(),
            "error": status.error,
        })),
        "log_level": board.levels.as_ref().map(Levels::current),
    }))
}
