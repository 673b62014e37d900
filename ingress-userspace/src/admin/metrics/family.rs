//! Every family of series: name, type, labels, meaning. `docs/metrics.md` is made from this list, and
//! nothing can be shown that is not in it.

#[cfg(test)]
use std::fmt::Write as _;

use Kind::{Counter, Gauge, Histogram};

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Series of one name.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    /// One line, without a full stop.
    pub(super) help: &'static str,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Counter => "counter",
            Gauge => "gauge",
            Histogram => "histogram",
        }
    }
}

/// What tells this replica's series from others', on all that ingress-nginx has too.
pub(super) const CONTROLLER: [&str; 3] =
    ["controller_class", "controller_namespace", "controller_pod"];

/// Of what requests are counted by.
const REQUEST: &[&str] =
    &["status", "method", "path", "namespace", "ingress", "service", "canary", "host"];

macro_rules! families {
    ($($id:ident = $kind:ident $name:literal $labels:expr, $help:literal;)*) => {
        $(pub(super) const $id: Family =
            Family { name: $name, kind: $kind, labels: $labels, help: $help };)*
        /// All of them, in the order in which they are shown.
        pub(super) const ALL: &[&Family] = &[$(&$id),*];
    };
}

families! {
    REQUESTS = Counter "nginx_ingress_controller_requests" REQUEST,
        "client requests";
    REQUEST_DURATION = Histogram "nginx_ingress_controller_request_duration_seconds" REQUEST,
        "from a request's head to the end of its answer";
    RESPONSE_DURATION = Histogram "nginx_ingress_controller_response_duration_seconds" REQUEST,
        "from the last attempt at an endpoint to the end of its answer";
    HEADER_DURATION = Histogram "nginx_ingress_controller_header_duration_seconds" REQUEST,
        "from the last attempt at an endpoint to the head of its answer";
    CONNECT_DURATION = Histogram "nginx_ingress_controller_connect_duration_seconds" REQUEST,
        "how long it took to connect to the endpoint asked last, 0 where a connection was open";
    REQUEST_SIZE = Histogram "nginx_ingress_controller_request_size" REQUEST,
        "bytes of requests, head and body";
    RESPONSE_SIZE = Histogram "nginx_ingress_controller_response_size" REQUEST,
        "bytes of answers, head and body";
    BYTES_SENT = Histogram "nginx_ingress_controller_bytes_sent" REQUEST,
        "the same in other buckets, as ingress-nginx has it too";
    SUCCESS = Counter "nginx_ingress_controller_success" &[],
        "states of the cluster's objects that were translated and published";
    ERRORS = Counter "nginx_ingress_controller_errors" &[],
        "states of the cluster's objects that were not, by a bug";
    CONFIG_HASH = Gauge "nginx_ingress_controller_config_hash" &[],
        "another number when hosts, routes or settings are others; one number for all replicas that serve the same";
    CONFIG_SUCCESSFUL = Gauge "nginx_ingress_controller_config_last_reload_successful" &[],
        "1: the last state is served; 0: it could not be applied, and the one before is";
    CONFIG_TIME = Gauge "nginx_ingress_controller_config_last_reload_successful_timestamp_seconds" &[],
        "when a state was published last, in seconds since 1970";
    CHECK_SUCCESS = Counter "nginx_ingress_controller_check_success" &["namespace", "ingress"],
        "Ingresses that the admission webhook let pass";
    CHECK_ERRORS = Counter "nginx_ingress_controller_check_errors" &["namespace", "ingress"],
        "Ingresses that the admission webhook refused";
    ADMISSION_ROUNDTRIP = Gauge "nginx_ingress_controller_admission_roundtrip_duration" &[],
        "seconds that the last verdict of the admission webhook took";
    ADMISSION_TESTED = Gauge "nginx_ingress_controller_admission_tested_duration" &[],
        "the same without reading the question";
    ADMISSION_INGRESSES = Gauge "nginx_ingress_controller_admission_tested_ingresses" &[],
        "Ingresses known when the last verdict was made";
    SSL_EXPIRE = Gauge "nginx_ingress_controller_ssl_expire_time_seconds"
        &["namespace", "class", "host", "secret_name", "identifier"],
        "when the certificate of a host ends, in seconds since 1970; shown by the leader";
    SSL_INFO = Gauge "nginx_ingress_controller_ssl_certificate_info"
        &["namespace", "class", "host", "secret_name", "identifier", "issuer_organization",
          "issuer_common_name", "serial_number", "public_key_algorithm"],
        "1 for each certificate that a host presents";
    LEADER = Gauge "nginx_ingress_controller_leader_election_status" &["name"],
        "1: this replica leads; 0: another does";
    ORPHAN = Gauge "nginx_ingress_controller_orphan_ingress" &["namespace", "ingress", "type"],
        "1 for each Ingress with a Service that is missing (no-service) or without ready endpoints (no-endpoint)";
    BUILD = Gauge "nginx_ingress_controller_build_info" &["repository", "release", "build"],
        "1, and which version this is";
    CONNECTIONS = Gauge "nginx_ingress_controller_nginx_process_connections" &["state"],
        "client connections: active are all, waiting those of which no request is answered";
    CONNECTIONS_TOTAL = Counter "nginx_ingress_controller_nginx_process_connections_total" &["state"],
        "client connections: accepted are all, handled those that were not closed at once";
    REQUESTS_TOTAL = Counter "nginx_ingress_controller_nginx_process_requests_total" &[],
        "client requests, whatever was asked";
    CPU = Counter "nginx_ingress_controller_nginx_process_cpu_seconds_total" &[],
        "time on the processor, user and system";
    RESIDENT = Gauge "nginx_ingress_controller_nginx_process_resident_memory_bytes" &[],
        "memory in use";
    VIRTUAL = Gauge "nginx_ingress_controller_nginx_process_virtual_memory_bytes" &[],
        "address space in use";
    PROCESSES = Gauge "nginx_ingress_controller_nginx_process_num_procs" &[],
        "1: there is one process";
    READ_BYTES = Counter "nginx_ingress_controller_nginx_process_read_bytes_total" &[],
        "bytes read by system calls, where /proc tells";
    WRITE_BYTES = Counter "nginx_ingress_controller_nginx_process_write_bytes_total" &[],
        "bytes written by system calls, where /proc tells";
    STARTED = Gauge "nginx_ingress_controller_nginx_process_oldest_start_time_seconds" &[],
        "when the process began, in seconds since 1970";

    HANDSHAKES = Counter "penstock_tls_handshakes_total" &["version", "kind"],
        "TLS handshakes with clients, in full or resumed";
    HANDSHAKE_FAILURES = Counter "penstock_tls_handshake_failures_total" &["reason"],
        "TLS handshakes with clients that failed";
    REFUSED = Counter "penstock_connections_refused_total" &[],
        "connections closed at once: max-worker-connections";
    PROXY_HEADERS = Counter "penstock_proxy_header_failures_total" &[],
        "connections without the PROXY header they need";
    PASSED = Counter "penstock_stream_connections_total" &[],
        "connections of TCP services and of TLS passthrough";
    DATAGRAMS = Counter "penstock_udp_datagrams_total" &["way"],
        "datagrams of UDP services, by what became of them";
    IN_PROGRESS = Gauge "penstock_requests_in_progress" &[],
        "client requests that are being answered";
    UPSTREAM = Counter "penstock_upstream_connects_total" &["outcome"],
        "connections to endpoints";
    UPSTREAM_REUSED = Counter "penstock_upstream_reused_total" &[],
        "attempts at endpoints over connections that were open";
    UPSTREAM_IDLE = Gauge "penstock_upstream_idle_connections" &[],
        "connections to endpoints, of HTTP/1, that no request uses";
    BACKEND_ENDPOINTS = Gauge "penstock_backend_endpoints" &["namespace", "service", "port"],
        "ready endpoints of what Ingresses lead to";
    PASSWORDS = Counter "penstock_password_comparisons_total" &["outcome"],
        "passwords with an expensive hash: compared, or turned away because too many waited";
    FIREWALL = Counter "penstock_firewall_requests_total" &["verdict"],
        "requests that the firewall was to judge";
    LIMITED = Counter "penstock_limited_requests_total" &["limit"],
        "requests turned away by a limit";
    MIRRORED = Counter "penstock_mirrored_requests_total" &["outcome"],
        "copies of requests, by what became of them";
    LOG_LINES = Counter "penstock_access_log_lines_total" &["outcome"],
        "lines of the access log, by what became of them";
    SPANS = Counter "penstock_spans_total" &["outcome"],
        "spans of requests, by what became of them";
    SPANS_WAITING = Gauge "penstock_spans_waiting" &[],
        "spans that wait for the collector";
    GENERATION = Gauge "penstock_snapshot_generation" &[],
        "number of the snapshot that is served";
    TRANSLATE_DURATION = Histogram "penstock_translate_duration_seconds" &[],
        "from objects to what is to be served";
    APPLY_DURATION = Histogram "penstock_apply_duration_seconds" &[],
        "from there to its being served";
    LIVE_DURATION = Histogram "penstock_event_to_live_seconds" &[],
        "from the first word of a change to its being served";
    DIAGNOSTICS = Gauge "penstock_diagnostics" &["severity"],
        "what in the objects is not served as written";
    LOST_CHANGES = Counter "penstock_lost_changes_total" &[],
        "changes that were not applied, by a bug";
    SOURCE_CONNECTED = Gauge "penstock_source_connected" &[],
        "1: all objects are as new as they can be; 0: some are not";
    SOURCE_OUTAGE = Gauge "penstock_source_outage_seconds" &[],
        "for how long some objects may have been out of date";
    METRICS_MEMORY = Gauge "penstock_metrics_memory_bytes" &[],
        "memory of what is counted by Ingress";
    METRICS_LOST = Counter "penstock_metrics_requests_lost_total" &[],
        "requests that are in no series by Ingress: these were in use for too long";
    MEMBERS = Gauge "penstock_l4_members" &["state"],
        "nodes that packets are steered to, by what they are planned as";
    L4_PACKETS = Counter "penstock_l4_packets_total" &["vip", "verdict", "reason"],
        "packets by virtual service";
    L4_BYTES = Counter "penstock_l4_bytes_total" &["vip", "verdict", "reason"],
        "bytes of the packets by virtual service, as they arrived";
    L4_FORWARDED = Counter "penstock_l4_forwarded_total" &["node", "hop"],
        "packets sent to a node through the tunnel, by the way that they took";
    L4_GENERATION = Gauge "penstock_l4_table_generation" &["group"],
        "number of the steering table in force";
    XDP_PACKETS = Counter "penstock_xdp_packets_total" &["verdict", "reason"],
        "packets that the programs of the kernel tier saw";
    XDP_BYTES = Counter "penstock_xdp_bytes_total" &["verdict", "reason"],
        "bytes of the packets that the programs of the kernel tier saw";
}

impl Family {
    /// It is ingress-nginx's too.
    pub(super) fn is_of_ingress_nginx(&self) -> bool {
        self.name.starts_with("nginx_ingress_controller_")
    }

    /// The name of a counter without `_total`, by which OpenMetrics knows it; `None`: it is no
    /// counter, has no such name, or the rest of it is another family's.
    pub(super) fn counter(&self) -> Option<&'static str> {
        let name = self.name.strip_suffix("_total").filter(|_| self.kind == Counter)?;
        ALL.iter().all(|other| other.name != name).then_some(name)
    }
}

/// `docs/metrics.md`'s tables.
#[cfg(test)]
pub(super) fn tables() -> String {
    let mut text = String::new();
    for (title, own) in [("ingress-nginx's", true), ("Penstock's own", false)] {
        let _infallible =
            writeln!(text, "## {title}\n\n| series | type | labels | meaning |\n|---|---|---|---|");
        for family in ALL.iter().filter(|family| family.is_of_ingress_nginx() == own) {
            let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            let _infallible = writeln!(
                text,
                "| `{}` | {} | {} | {} |",
                family.name,
                family.kind.name(),
                labels.join(" "),
                family.help
            );
        }
        text.push('\n');
    }
    text
}
