//! What the process does, beside what is counted by Ingress.

use std::{fmt, sync::atomic::Ordering};

use super::{super::Board, family, page::Page, process::Process};
use crate::{
    model::Severity,
    proxy::{
        HandshakeFailure,
        counters::{Judged, TLS_VERSIONS, Totals},
    },
};

/// With ingress-nginx's names.
pub(super) fn process(page: &mut Page<'_>, totals: &Totals) -> fmt::Result {
    let waiting = totals.connections.saturating_sub(totals.in_progress);
    let states = [("active", totals.connections), ("waiting", waiting)];
    page.by(&family::CONNECTIONS, states)?;
    let handled = totals.accepted.saturating_sub(totals.refused);
    page.by(&family::CONNECTIONS_TOTAL, [("accepted", totals.accepted), ("handled", handled)])?;
    page.whole(&family::REQUESTS_TOTAL, totals.requests)?;
    let process = Process::now();
    page.single(&family::CPU, process.cpu)?;
    page.whole(&family::RESIDENT, process.resident)?;
    page.whole(&family::VIRTUAL, process.virtual_memory)?;
    page.whole(&family::PROCESSES, 1)?;
    page.whole(&family::READ_BYTES, process.read)?;
    page.whole(&family::WRITE_BYTES, process.written)?;
    page.single(&family::STARTED, process.started)
}

/// Connections and requests.
pub(super) fn proxy(page: &mut Page<'_>, totals: &Totals) -> fmt::Result {
    let mut lines = page.family(&family::HANDSHAKES)?;
    for (version, counts) in TLS_VERSIONS.into_iter().zip(totals.handshakes) {
        for (kind, count) in ["full", "resumed"].into_iter().zip(counts) {
            lines.whole(&[version, kind], count)?;
        }
    }
    let failures = HandshakeFailure::ALL.iter().map(|reason| reason.name());
    page.by(&family::HANDSHAKE_FAILURES, failures.zip(totals.handshakes_failed))?;
    page.whole(&family::REFUSED, totals.refused)?;
    page.whole(&family::PROXY_HEADERS, totals.proxy_headers_failed)?;
    page.whole(&family::PASSED, totals.passed)?;
    page.by(
        &family::DATAGRAMS,
        [
            ("to_endpoint", totals.datagrams_in),
            ("to_client", totals.datagrams_out),
            ("dropped", totals.datagrams_dropped),
        ],
    )?;
    page.whole(&family::IN_PROGRESS, totals.in_progress)?;
    let outcomes = [("connected", totals.upstream_connected), ("failed", totals.upstream_failed)];
    page.by(&family::UPSTREAM, outcomes)?;
    page.whole(&family::UPSTREAM_REUSED, totals.upstream_reused)?;
    page.whole(&family::UPSTREAM_IDLE, totals.upstream_idle)?;
    let outcomes =
        [("compared", totals.passwords_compared), ("turned_away", totals.passwords_turned_away)];
    page.by(&family::PASSWORDS, outcomes)?;
    page.by(&family::FIREWALL, Judged::ALL.iter().map(|own| own.name()).zip(totals.judged))?;
    page.by(&family::LIMITED, ["requests", "connections"].into_iter().zip(totals.limited))?;
    page.by(&family::MIRRORED, ["sent", "failed", "dropped"].into_iter().zip(totals.mirrored))
}

/// Objects, and what is served of them.
pub(super) fn state(page: &mut Page<'_>, board: &Board) -> fmt::Result {
    let lines = [("written", &board.log_lines.written), ("lost", &board.log_lines.lost)];
    let lines = lines.map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed)));
    page.by(&family::LOG_LINES, lines)?;
    let spans = [("exported", &board.spans.exported), ("lost", &board.spans.lost)];
    let spans = spans.map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed)));
    page.by(&family::SPANS, spans)?;
    page.whole(&family::SPANS_WAITING, board.spans.waiting.load(Ordering::Relaxed) as u64)?;
    let snapshot = board.reader.current();
    page.whole(&family::GENERATION, snapshot.generation)?;
    let mut lines = page.family(&family::BACKEND_ENDPOINTS)?;
    for backend in snapshot.model.backends.iter().filter(|own| !own.key.is_nobody()) {
        let key = &backend.key;
        let port = key.port.to_string();
        let values = [&*key.namespace, &*key.service, &*port];
        lines.whole(&values, backend.endpoints.len() as u64)?;
    }
    let diagnostics = board.diagnostics();
    let count = |severity| diagnostics.iter().filter(|one| one.severity == severity).count() as u64;
    let severities = [("warning", count(Severity::Warning)), ("error", count(Severity::Error))];
    page.by(&family::DIAGNOSTICS, severities)?;
    page.whole(&family::LOST_CHANGES, board.ledger.failures())?;
    let troubles = board.source.troubles();
    page.whole(&family::SOURCE_CONNECTED, u64::from(troubles.is_empty()))?;
    let outage = troubles.first().map_or(0, |trouble| trouble.lasting.as_secs());
    page.whole(&family::SOURCE_OUTAGE, outage)
}
