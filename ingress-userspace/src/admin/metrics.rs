//! The metrics, as Prometheus reads them. Names and labels that people's dashboards know from
//! ingress-nginx keep them (reference section 10); ours begin with `penstock_`.

use std::{fmt::Write as _, sync::atomic::Ordering};

use super::{Board, packets};
use crate::{
    model::Severity,
    proxy::{HandshakeFailure, counters::Judged},
};

const REQUESTS: &str = "nginx_ingress_controller_requests";
const CONNECTIONS: &str = "nginx_ingress_controller_nginx_process_connections";
const CONNECTIONS_TOTAL: &str = "nginx_ingress_controller_nginx_process_connections_total";
const REQUESTS_TOTAL: &str = "nginx_ingress_controller_nginx_process_requests_total";
const GENERATION: &str = "penstock_snapshot_generation";
const DIAGNOSTICS: &str = "penstock_diagnostics";
const LOST_CHANGES: &str = "penstock_lost_changes_total";
const SOURCE_CONNECTED: &str = "penstock_source_connected";
const SOURCE_OUTAGE: &str = "penstock_source_outage_seconds";
const HANDSHAKES: &str = "penstock_tls_handshakes_total";
const HANDSHAKE_FAILURES: &str = "penstock_tls_handshake_failures_total";
const REFUSED: &str = "penstock_connections_refused_total";
const PROXY_HEADERS: &str = "penstock_proxy_header_failures_total";
const PASSED: &str = "penstock_stream_connections_total";
const DATAGRAMS: &str = "penstock_udp_datagrams_total";
const UPSTREAM: &str = "penstock_upstream_connects_total";
const LOG_LINES: &str = "penstock_access_log_lines_total";
const LIMITED: &str = "penstock_limited_requests_total";
const MIRRORED: &str = "penstock_mirrored_requests_total";
const PASSWORDS: &str = "penstock_password_comparisons_total";
const FIREWALL: &str = "penstock_firewall_requests_total";
const XDP_PACKETS: &str = "penstock_xdp_packets_total";
const XDP_BYTES: &str = "penstock_xdp_bytes_total";

pub(super) fn render(board: &Board) -> String {
    let mut out = Exposition(String::with_capacity(8192));
    requests(&mut out, board);
    let totals = board.registry.totals();
    out.head(CONNECTIONS, "gauge", "client connections now open");
    out.line(CONNECTIONS, &[("state", "active")], totals.connections);
    out.head(CONNECTIONS_TOTAL, "counter", "client connections so far");
    out.line(CONNECTIONS_TOTAL, &[("state", "accepted")], totals.accepted);
    out.head(REQUESTS_TOTAL, "counter", "client requests so far");
    out.line(REQUESTS_TOTAL, &[], totals.requests);
    out.head(HANDSHAKES, "counter", "TLS handshakes, in full or resumed");
    for (kind, count) in ["full", "resumed"].into_iter().zip(totals.handshakes) {
        out.line(HANDSHAKES, &[("kind", kind)], count);
    }
    out.head(HANDSHAKE_FAILURES, "counter", "TLS handshakes that failed, by reason");
    for (reason, count) in HandshakeFailure::ALL.iter().zip(totals.handshakes_failed) {
        out.line(HANDSHAKE_FAILURES, &[("reason", reason.name())], count);
    }
    out.head(REFUSED, "counter", "connections closed at once: max-worker-connections");
    out.line(REFUSED, &[], totals.refused);
    out.head(PROXY_HEADERS, "counter", "connections without the PROXY header they need");
    out.line(PROXY_HEADERS, &[], totals.proxy_headers_failed);
    out.head(PASSED, "counter", "connections of TCP services and of TLS passthrough");
    out.line(PASSED, &[], totals.passed);
    out.head(DATAGRAMS, "counter", "datagrams of UDP services, by what became of them");
    out.line(DATAGRAMS, &[("way", "to_endpoint")], totals.datagrams_in);
    out.line(DATAGRAMS, &[("way", "to_client")], totals.datagrams_out);
    out.line(DATAGRAMS, &[("way", "dropped")], totals.datagrams_dropped);
    out.head(UPSTREAM, "counter", "connections to endpoints, by outcome");
    out.line(UPSTREAM, &[("outcome", "connected")], totals.upstream_connected);
    out.line(UPSTREAM, &[("outcome", "failed")], totals.upstream_failed);
    out.head(PASSWORDS, "counter", "passwords with an expensive hash, by what became of them");
    out.line(PASSWORDS, &[("outcome", "compared")], totals.passwords_compared);
    out.line(PASSWORDS, &[("outcome", "turned_away")], totals.passwords_turned_away);

    out.head(FIREWALL, "counter", "requests that the firewall was to judge, by verdict");
    for (judged, count) in Judged::ALL.iter().zip(totals.judged) {
        out.line(FIREWALL, &[("verdict", judged.name())], count);
    }

    out.head(LIMITED, "counter", "requests turned away, by limit");
    for (limit, count) in ["requests", "connections"].into_iter().zip(totals.limited) {
        out.line(LIMITED, &[("limit", limit)], count);
    }
    out.head(MIRRORED, "counter", "copies of requests, by what became of them");
    for (outcome, count) in ["sent", "failed", "dropped"].into_iter().zip(totals.mirrored) {
        out.line(MIRRORED, &[("outcome", outcome)], count);
    }
    out.head(LOG_LINES, "counter", "lines of the access log, by what became of them");
    let lines = [("written", &board.log_lines.written), ("lost", &board.log_lines.lost)];
    for (outcome, count) in lines {
        out.line(LOG_LINES, &[("outcome", outcome)], count.load(Ordering::Relaxed));
    }
    out.head(GENERATION, "gauge", "number of the snapshot that is served");
    out.line(GENERATION, &[], board.reader.current().generation);
    let diagnostics = board.diagnostics();
    out.head(DIAGNOSTICS, "gauge", "what in the objects is not served as written");
    for (severity, name) in [(Severity::Warning, "warning"), (Severity::Error, "error")] {
        let count = diagnostics.iter().filter(|one| one.severity == severity).count();
        out.line(DIAGNOSTICS, &[("severity", name)], count as u64);
    }
    out.head(LOST_CHANGES, "counter", "changes that were not applied, by a bug");
    out.line(LOST_CHANGES, &[], board.failures.load(Ordering::Relaxed));
    let troubles = board.source.troubles();
    out.head(
        SOURCE_CONNECTED,
        "gauge",
        "1: all objects are as new as they can be; 0: some are not",
    );
    out.line(SOURCE_CONNECTED, &[], u64::from(troubles.is_empty()));
    out.head(SOURCE_OUTAGE, "gauge", "for how long some objects may have been out of date");
    out.line(SOURCE_OUTAGE, &[], troubles.first().map_or(0, |trouble| trouble.lasting.as_secs()));
    steering(&mut out, board);
    out.0
}

fn requests(out: &mut Exposition, board: &Board) {
    out.head(REQUESTS, "counter", "client requests by Ingress and status");
    for (labels, count) in board.registry.requests() {
        let status = labels.status.to_string();
        let pairs = [
            ("status", status.as_str()),
            ("method", labels.method),
            ("path", &labels.path),
            ("namespace", &labels.namespace),
            ("ingress", &labels.ingress),
            ("service", &labels.service),
            ("canary", &labels.canary),
            ("host", &labels.host),
            ("controller_class", &board.controller_class),
        ];
        out.line(REQUESTS, &pairs, count);
    }
}

fn steering(out: &mut Exposition, board: &Board) {
    xdp_packets(out, board);
    let (Some(reader), Some(status)) = (board.steering.reader(), board.steering.status()) else {
        return;
    };
    match packets::families(reader, &status) {
        Ok(families) => {
            for packets::Family { name, kind, help, samples } in families {
                out.head(name, kind, help);
                for packets::Sample { labels, value } in samples {
                    let labels: Vec<(&str, &str)> =
                        labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    out.line(name, &labels, value);
                }
            }
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "no counters by service");
        }
    }
}

fn xdp_packets(out: &mut Exposition, board: &Board) {
    let counters = match board.steering.counters() {
        Some(Ok(counters)) => counters,
        Some(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "no packet counters");
            return;
        }
        None => return,
    };
    out.head(XDP_PACKETS, "counter", "packets that the XDP program saw");
    for (reason, counters) in &counters {
        let labels = [("verdict", reason.verdict().name()), ("reason", reason.name())];
        out.line(XDP_PACKETS, &labels, counters.packets);
    }
    out.head(XDP_BYTES, "counter", "bytes of the packets that the XDP program saw");
    for (reason, counters) in &counters {
        let labels = [("verdict", reason.verdict().name()), ("reason", reason.name())];
        out.line(XDP_BYTES, &labels, counters.bytes);
    }
}

/// Text in Prometheus's exposition format, version 0.0.4.
struct Exposition(String);

impl Exposition {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _infallible = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.0.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            let _infallible = write!(self.0, "{label}=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _infallible = writeln!(self.0, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        let mut out = Exposition(String::new());
        out.line("m", &[("path", "/a\"b\\c\nd"), ("x", "")], 7);
        out.line("n", &[], 1);
        assert_eq!(out.0, "m{path=\"/a\\\"b\\\\c\\nd\",x=\"\"} 7\nn 1\n");
    }
}
