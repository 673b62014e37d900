//! Spans: what a collector, an endpoint and a client see of them.

use std::{fs, net::SocketAddr, sync::Arc};

use ingress_userspace::lifecycle::Stop;
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::support::{
    Backend, Collector, Ingress, Site, attribute, config_map, documents, exchange, nobody, saying,
    service, until,
};

const HOST: &str = "shop.example.com";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// What `SpanKind` and `StatusCode` are published as.
const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const UNSET: i32 = 0;
const ERROR: i32 = 2;

struct Traced {
    site: Site,
    collector: Collector,
}

fn quick(collector: SocketAddr) -> Vec<(String, String)> {
    let all = [
        ("enable-opentelemetry", "true".to_owned()),
        ("otlp-collector-host", collector.ip().to_string()),
        ("otlp-collector-port", collector.port().to_string()),
        ("otel-schedule-delay-millis", "10".to_owned()),
    ];
    all.map(|(key, value)| (key.to_owned(), value)).into()
}

fn manifests(
    collector: SocketAddr,
    settings: &[(&str, &str)],
    annotations: &[(&str, &str)],
    endpoints: &[SocketAddr],
) -> String {
    let mut data = quick(collector);
    for (key, value) in settings {
        data.retain(|(own, _)| own != key);
        data.push(((*key).to_owned(), (*value).to_owned()));
    }
    let data: Vec<_> = data.iter().map(|(key, value)| (&**key, &**value)).collect();
    let paths = &[("Prefix", "/api", "shop")];
    let shop = Ingress { name: "shop", annotations, host: HOST, paths, tls: None };
    documents(&[&shop.yaml(), &service("shop", endpoints), &config_map(&data)])
}

impl Traced {
    fn by(
        collector: Collector,
        settings: &[(&str, &str)],
        annotations: &[(&str, &str)],
        endpoints: &[SocketAddr],
    ) -> Self {
        let text = manifests(collector.address, settings, annotations, endpoints);
        let files = [("all.yaml", &*text)];
        let site = Site::start_with(&files, &["--configmap=web/controller"], |config| {
            config.workers = 1;
        });
        Self { site, collector }
    }

    fn start(settings: &[(&str, &str)], annotations: &[(&str, &str)], shop: &Backend) -> Self {
        Self::by(Collector::grpc(), settings, annotations, &[shop.address])
    }

    /// The answer to a GET with these fields.
    fn get(&self, target: &str, fields: &[(&str, &str)]) -> crate::support::Reply {
        let fields: String =
            fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request =
            format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n{fields}\r\n");
        exchange(self.site.http, &request)
    }

    fn spans(&self, count: usize) -> Vec<Span> {
        self.collector.received.wait(count)
    }
}

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{SPAN}-{flags}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_kind(spans: &[Span], kind: i32) -> Vec<&Span> {
    spans.iter().filter(|span| span.kind == kind).collect()
}

fn status(span: &Span) -> i32 {
    span.status.as_ref().map_or(UNSET, |status| status.code)
}

/// Attributes of a span in this order.
fn attributes<'n>(span: &Span, names: &[&'n str]) -> Vec<(&'n str, String)> {
    let value = |name| attribute(&span.attributes, name).unwrap_or_else(|| "-".to_owned());
    names.iter().map(|name| (*name, value(name))).collect()
}

/// Client → Penstock → backend, whichever way spans go to the collector.
fn parented_right_through(traced: &Traced, shop: &Backend) {
    let agent = "curl/8";
    let fields =
        [("traceparent", &*parent("01")), ("tracestate", "vendor=1"), ("user-agent", agent)];
    let reply = traced.get("/api/a%20b?c=d&sig=secret", &fields);
    assert_eq!(reply.status, 200);
    let spans = traced.spans(2);
    let (of_server, of_client) = (of_kind(&spans, SERVER), of_kind(&spans, CLIENT));
    let (server, client) = (of_server[0], of_client[0]);
    assert_eq!((hex(&server.trace_id), hex(&client.trace_id)), (TRACE.into(), TRACE.into()));
    assert_eq!(hex(&server.parent_span_id), SPAN);
    assert_eq!(client.parent_span_id, server.span_id);
    // The endpoint was told of the attempt's span.
    let told = format!("00-{TRACE}-{}-01", hex(&client.span_id));
    assert_eq!(reply.line("traceparent: "), Some(&*told));
    assert_eq!(reply.line("tracestate: "), Some("vendor=1"));
    assert_eq!(reply.text().to_lowercase().matches("traceparent:").count(), 1);
    assert_eq!((&*server.trace_state, &*client.trace_state), ("vendor=1", "vendor=1"));
    // Sampled; the parent is of another process, and is not.
    assert_eq!((server.flags, client.flags), (0x301, 0x101));
    let times = [
        server.start_time_unix_nano,
        client.start_time_unix_nano,
        client.end_time_unix_nano,
        server.end_time_unix_nano,
    ];
    assert!(times.is_sorted() && times[0] > 1_600_000_000_000_000_000, "{times:?}");
    assert_eq!((&*server.name, &*client.name), ("GET /api", "GET"));
    assert_eq!((status(server), status(client)), (UNSET, UNSET));
    let expected = [
        ("http.request.method", "GET"),
        ("url.scheme", "http"),
        ("url.path", "/api/a%20b"),
        ("url.query", "c=d&sig=REDACTED"),
        ("http.route", "/api"),
        ("http.response.status_code", "200"),
        ("network.protocol.version", "1.1"),
        ("server.address", HOST),
        ("client.address", "127.0.0.1"),
        ("network.peer.address", "127.0.0.1"),
        ("user_agent.original", agent),
        ("ingress.namespace", "web"),
        ("ingress.name", "shop"),
        ("ingress.service_name", "shop"),
        ("ingress.upstream", "web-shop-80"),
        ("error.type", "-"),
    ];
    let expected = expected.map(|(name, value)| (name, value.to_owned()));
    assert_eq!(attributes(server, &expected.each_ref().map(|(name, _)| *name)), expected);
    let url = format!("http://{}/api/a%20b?c=d&sig=REDACTED", shop.address);
    let expected = [
        ("http.request.method", "GET".to_owned()),
        ("url.full", url),
        ("server.address", "127.0.0.1".to_owned()),
        ("server.port", shop.address.port().to_string()),
        ("http.response.status_code", "200".to_owned()),
        ("http.request.resend_count", "-".to_owned()),
    ];
    assert_eq!(attributes(client, &expected.each_ref().map(|(name, _)| *name)), expected);
    let requests = traced.collector.received.requests();
    let resource = requests[0].resource_spans[0].resource.as_ref().expect("one");
    assert_eq!(attribute(&resource.attributes, "service.name").as_deref(), Some("nginx"));
    let scope = requests[0].resource_spans[0].scope_spans[0].scope.as_ref().expect("one");
    assert_eq!(scope.name, "penstock");
}

#[test]
fn spans_go_by_grpc_parented_right_through() {
    let shop = Backend::echo("shop");
    let traced = Traced::start(&[], &[], &shop);
    parented_right_through(&traced, &shop);
}

#[test]
fn spans_go_by_http_parented_right_through() {
    let shop = Backend::echo("shop");
    let collector = Collector::http("/otlp/v1/traces");
    let host = format!("http://{}/otlp", collector.address.ip());
    let settings = [("otlp-protocol", "http/protobuf"), ("otlp-collector-host", &*host)];
    let traced = Traced::by(collector, &settings, &[], &[shop.address]);
    parented_right_through(&traced, &shop);
}

#[test]
fn every_attempt_is_a_span_of_its_own() {
    let shop = Backend::echo("shop");
    let dead = nobody();
    let traced = Traced::by(Collector::grpc(), &[], &[], &[dead, shop.address]);
    // Which of both is asked first is the balancer's choice; one of two requests has both.
    let replies = [traced.get("/api", &[]), traced.get("/api", &[])];
    assert!(replies.iter().all(|reply| reply.status == 200));
    let spans = traced.spans(5);
    let failed: Vec<_> = spans.iter().filter(|span| status(span) == ERROR).collect();
    assert_eq!(failed.len(), 1, "{spans:#?}");
    let failed = failed[0];
    let expected = [
        ("server.port", dead.port().to_string()),
        ("http.response.status_code", "-".to_owned()),
        ("error.type", "connection_error".to_owned()),
    ];
    assert_eq!(attributes(failed, &expected.each_ref().map(|(name, _)| *name)), expected);
    let again = spans
        .iter()
        .find(|span| span.parent_span_id == failed.parent_span_id && span.span_id != failed.span_id)
        .expect("the other attempt");
    assert_eq!(attribute(&again.attributes, "http.request.resend_count").as_deref(), Some("1"));
    let told = format!("-{}-01", hex(&again.span_id));
    assert!(
        replies
            .iter()
            .any(|reply| reply.line("traceparent: ").is_some_and(|own| own.ends_with(&told)))
    );
    let servers = of_kind(&spans, SERVER);
    assert_eq!(servers.len(), 2);
    assert!(servers.iter().all(|span| status(span) == UNSET && span.parent_span_id.is_empty()));
}

#[test]
fn answers_have_the_status_that_the_conventions_give_them() {
    let broken = saying("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    let traced = Traced::start(&[], &[], &broken);
    assert_eq!(traced.get("/api", &[]).status, 404);
    let spans = traced.spans(2);
    // Of a server, 4xx is no error; of who asks, it is.
    assert_eq!(status(of_kind(&spans, SERVER)[0]), UNSET);
    let client = of_kind(&spans, CLIENT)[0];
    assert_eq!(status(client), ERROR);
    assert_eq!(attribute(&client.attributes, "error.type").as_deref(), Some("404"));
}

#[test]
fn what_no_endpoint_answers_has_a_span_too() {
    let traced = Traced::by(Collector::grpc(), &[], &[], &[nobody()]);
    assert_eq!(traced.site.get("other.example.com", "/elsewhere").status, 404);
    assert_eq!(traced.get("/api", &[]).status, 502);
    // What cannot be read is no request, and what balancers ask is nobody's.
    assert_eq!(exchange(traced.site.http, "GET / HTTP/1.1\r\nhost : a\r\n\r\n").status, 400);
    let health = "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert_eq!(exchange(traced.site.http, health).status, 200);
    let odd = "BREW /tea HTTP/1.1\r\nhost: other.example.com\r\nconnection: close\r\n\r\n";
    assert_eq!(exchange(traced.site.http, odd).status, 404);
    until("they are there", || of_kind(&traced.collector.received.spans(), SERVER).len() >= 3);
    let spans = traced.collector.received.spans();
    let servers = of_kind(&spans, SERVER);
    let mut names: Vec<_> = servers.iter().map(|span| &*span.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["GET", "GET /api", "HTTP"]);
    let failed = servers.iter().find(|span| span.name == "GET /api").expect("it is there");
    assert_eq!(status(failed), ERROR);
    assert_eq!(attribute(&failed.attributes, "error.type").as_deref(), Some("502"));
    let brewed = servers.iter().find(|span| span.name == "HTTP").expect("it is there");
    let expected = [("http.request.method", "_OTHER"), ("http.request.method_original", "BREW")];
    let expected = expected.map(|(name, value)| (name, value.to_owned()));
    assert_eq!(attributes(brewed, &expected.each_ref().map(|(name, _)| *name)), expected);
}

#[test]
fn an_ingress_says_otherwise_than_the_configmap() {
    let shop = Backend::echo("shop");
    let incoming = parent("01");
    let fields = [("traceparent", &*incoming)];
    // Off for all, on for one, with a name of its own.
    let annotations = [
        ("enable-opentelemetry", "true"),
        ("opentelemetry-operation-name", "$request_method of $service_name"),
    ];
    let traced = Traced::start(&[("enable-opentelemetry", "false")], &annotations, &shop);
    assert_eq!(traced.site.get("other.example.com", "/").status, 404);
    assert_eq!(traced.get("/api", &fields).status, 200);
    let spans = traced.spans(2);
    assert_eq!(of_kind(&spans, SERVER)[0].name, "GET of shop");
    drop(traced);
    // On for all, off for one: what the client says passes as it is.
    let traced = Traced::start(&[], &[("enable-opentelemetry", "false")], &shop);
    assert_eq!(traced.get("/api", &fields).line("traceparent: "), Some(&*incoming));
    assert_eq!(traced.site.get("other.example.com", "/").status, 404);
    assert_eq!(traced.spans(1)[0].name, "GET");
}

#[test]
fn nobody_is_told_of_spans_where_there_are_none() {
    let shop = Backend::echo("shop");
    let traced = Traced::start(&[("enable-opentelemetry", "false")], &[], &shop);
    let reply = traced.get("/api", &[]);
    assert_eq!((reply.status, reply.line("traceparent: ")), (200, None));
    // At its end an agent hands over what it has.
    let Traced { site, collector } = traced;
    drop(site);
    assert!(collector.received.spans().is_empty());
}

#[test]
fn a_client_is_trusted_or_not() {
    let shop = Backend::echo("shop");
    let incoming = parent("00");
    let fields = [("traceparent", &*incoming), ("tracestate", "a=1"), ("b3", "0")];
    let traced = Traced::start(&[("opentelemetry-trust-incoming-span", "false")], &[], &shop);
    let reply = traced.get("/api", &fields);
    assert!(!reply.text().contains(TRACE) && reply.line("tracestate: ").is_none(), "{reply:?}");
    let spans = traced.spans(2);
    assert!(of_kind(&spans, SERVER)[0].parent_span_id.is_empty());
    drop(traced);
    let settings = [("opentelemetry-trust-incoming-span", "false")];
    let trusting = [("opentelemetry-trust-incoming-span", "true")];
    let traced = Traced::start(&settings, &trusting, &shop);
    let reply = traced.get("/api", &[("traceparent", &*parent("01"))]);
    assert!(reply.text().contains(TRACE));
    assert_eq!(hex(&of_kind(&traced.spans(2), SERVER)[0].parent_span_id), SPAN);
}

#[test]
fn samplers_decide_and_identifiers_are_passed_on_all_the_same() {
    let shop = Backend::echo("shop");
    let off =
        [("otel-sampler", "AlwaysOff"), ("opentelemetry-location-operation-name", "ask $host")];
    let traced = Traced::start(&off, &[], &shop);
    let reply = traced.get("/api", &[]);
    let told = reply.line("traceparent: ").expect("it is told").to_owned();
    assert!(told.ends_with("-00") && !told.contains(&"0".repeat(16)), "{told}");
    // Whom the client's service samples, ours does.
    assert_eq!(traced.get("/api", &[("traceparent", &*parent("01"))]).status, 200);
    let spans = traced.spans(2);
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE));
    assert_eq!(of_kind(&spans, CLIENT)[0].name, format!("ask {HOST}"));
    drop(traced);
    let settings = [
        ("otel-sampler", "TraceIdRatioBased"),
        ("otel-sampler-ratio", "0.5"),
        ("otel-sampler-parent-based", "false"),
    ];
    let traced = Traced::start(&settings, &[], &shop);
    for trace in ["7fffffffffffffff", "8000000000000000"] {
        let incoming = format!("00-00000000000000ff{trace}-{SPAN}-00");
        assert_eq!(traced.get("/api", &[("traceparent", &*incoming)]).status, 200);
    }
    let spans = traced.spans(2);
    assert!(spans.iter().all(|span| hex(&span.trace_id).ends_with("7fffffffffffffff")));
}

#[test]
fn b3_is_understood_and_spoken() {
    let shop = Backend::echo("shop");
    let traced = Traced::start(&[], &[], &shop);
    let one = format!("{TRACE}-{SPAN}-1");
    let reply = traced.get("/api", &[("b3", &*one)]);
    let spans = traced.spans(2);
    let client = hex(&of_kind(&spans, CLIENT)[0].span_id);
    assert_eq!(hex(&of_kind(&spans, SERVER)[0].parent_span_id), SPAN);
    assert_eq!(reply.line("b3: "), Some(&*format!("{TRACE}-{client}-1")));
    assert_eq!(reply.line("traceparent: "), Some(&*format!("00-{TRACE}-{client}-01")));
    let many = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-sampled", "0")];
    let reply = traced.get("/api", &many);
    assert_eq!(reply.line("x-b3-traceid: "), Some(TRACE));
    assert_ne!(reply.line("x-b3-spanid: "), Some(SPAN));
    assert_eq!(reply.line("x-b3-sampled: "), Some("0"));
    drop(traced);
    let traced = Traced::start(&[("otel-propagators", "b3multi")], &[], &shop);
    let reply = traced.get("/api", &[]);
    assert!(reply.line("x-b3-traceid: ").is_some() && reply.line("traceparent: ").is_none());
}

#[test]
fn what_a_client_makes_up_begins_a_trace_of_ours() {
    let shop = Backend::echo("shop");
    let traced = Traced::start(&[], &[], &shop);
    let (good, long) = (parent("01"), "a".repeat(7000));
    let zero = format!("00-{}-{SPAN}-01", "0".repeat(32));
    let wrong: [&[(&str, &str)]; 5] = [
        &[("traceparent", &long)],
        &[("traceparent", &zero)],
        &[("traceparent", &good), ("traceparent", &good)],
        &[("b3", &long)],
        &[("x-b3-traceid", &long), ("x-b3-spanid", "")],
    ];
    for (index, fields) in wrong.iter().enumerate() {
        let reply = traced.get("/api", fields);
        let told = reply.line("traceparent: ").expect("it is told");
        assert!(told.len() == 55 && !told.contains(TRACE) && told.ends_with("-01"), "{told}");
        assert_eq!(reply.text().to_lowercase().matches("traceparent:").count(), 1);
        let spans = traced.spans(2 * (index + 1));
        assert!(of_kind(&spans, SERVER).iter().all(|span| span.parent_span_id.is_empty()));
    }
}

#[test]
fn identifiers_are_in_lines_and_fields() {
    let shop = Backend::echo("shop");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("access.log");
    let collector = Collector::grpc();
    let settings = [
        ("log-format-upstream", "$opentelemetry_trace_id $opentelemetry_span_id $status"),
        ("access-log-path", &*path.display().to_string()),
        ("proxy-set-headers", "web/to-endpoints"),
        ("add-headers", "web/to-clients"),
    ];
    let mut text = manifests(collector.address, &settings, &[], &[shop.address]);
    for (name, field, value) in [
        ("to-endpoints", "X-Parent", "$opentelemetry_context_traceparent"),
        ("to-clients", "X-Trace", "$opentelemetry_trace_id"),
    ] {
        let map = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: web}}\n\
             data: {{{field}: {value}}}\n"
        );
        text = documents(&[&text, &map]);
    }
    let site = Site::start_with(&[("all.yaml", &text)], &["--configmap=web/controller"], |_| {});
    let traced = Traced { site, collector };
    let reply = traced.get("/api", &[("traceparent", &*parent("01"))]);
    assert_eq!(reply.header("x-trace"), Some(TRACE));
    let spans = traced.spans(2);
    let server = hex(&of_kind(&spans, SERVER)[0].span_id);
    assert_eq!(reply.line("x-parent: "), Some(&*format!("00-{TRACE}-{server}-01")));
    let line = || fs::read_to_string(&path).unwrap_or_default();
    until("the line is written", || !line().is_empty());
    assert_eq!(line(), format!("{TRACE} {server} 200\n"));
}

#[test]
fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let shop = Backend::echo("shop");
    let collector = Collector::grpc();
    collector.received.refuse(true);
    let settings = [("otel-max-queuesize", "10"), ("otel-max-export-batch-size", "4")];
    let traced = Traced::by(collector, &settings, &[], &[shop.address]);
    for _ in 0..50 {
        assert_eq!(traced.get("/api", &[]).status, 200);
    }
    let metric = |line: &str| traced.site.metric(line).expect("it is there");
    let lost = || metric("penstock_spans_total{outcome=\"lost\"}");
    until("what the queue has no room for is lost", || lost() >= 80);
    assert!(metric("penstock_spans_waiting") <= 10);
    until("it was asked", || traced.collector.received.refused() > 0);
    traced.collector.received.refuse(false);
    until("it is asked again", || metric("penstock_spans_waiting") == 0);
    let (kept, exported) = (100 - lost(), metric("penstock_spans_total{outcome=\"exported\"}"));
    assert!(exported > 0 && exported == kept, "{exported} of {kept}");
    assert_eq!(traced.collector.received.spans().len() as u64, exported);
    let requests = traced.collector.received.requests();
    let sizes = requests.iter().map(|own| own.resource_spans[0].scope_spans[0].spans.len());
    assert!(sizes.max().is_some_and(|most| most <= 4));
}

#[test]
fn the_last_spans_come_before_the_end() {
    let shop = Backend::echo("shop");
    let settings = [("otel-schedule-delay-millis", "3600000")];
    let traced = Traced::start(&settings, &[], &shop);
    assert_eq!(traced.get("/api", &[]).status, 200);
    assert!(traced.collector.received.spans().is_empty());
    traced.site.signal(Stop::Gracefully);
    assert!(traced.site.wait());
    assert_eq!(traced.collector.received.spans().len(), 2);
}

#[test]
fn a_collector_that_changes_gets_the_next_spans() {
    let shop = Backend::echo("shop");
    let traced = Traced::start(&[], &[], &shop);
    assert_eq!(traced.get("/api", &[]).status, 200);
    traced.spans(2);
    let next = Collector::http("/v1/traces");
    let http = [("otlp-protocol", "http/protobuf"), ("otel-service-name", "edge")];
    let generation = traced.site.generation();
    let text = manifests(next.address, &http, &[], &[shop.address]);
    traced.site.replace("all.yaml", &text);
    until("it is applied", || traced.site.generation() > generation);
    assert_eq!(traced.get("/api", &[]).status, 200);
    next.received.wait(2);
    let requests = next.received.requests();
    let resource = requests[0].resource_spans[0].resource.as_ref().expect("one");
    assert_eq!(attribute(&resource.attributes, "service.name").as_deref(), Some("edge"));
    assert_eq!(traced.collector.received.spans().len(), 2);
}

#[test]
fn what_is_wrong_is_told() {
    let shop = Backend::echo("shop");
    let wrong = [
        ("otel-sampler", "Sometimes"),
        ("otel-sampler-ratio", "7"),
        ("otel-max-queuesize", "0"),
        ("otel-schedule-delay-millis", "soon"),
        ("otel-max-export-batch-size", "-1"),
        ("otel-propagators", "jaeger"),
        ("opentelemetry-operation-name", "$nonsense"),
    ];
    let traced = Traced::start(&wrong, &[], &shop);
    let said = traced.site.state()["diagnostics"].to_string();
    for (key, _) in wrong {
        assert!(said.contains(&format!("data.{key}")), "{key}: {said}");
    }
    // The defaults apply: spans come, later.
    assert_eq!(traced.get("/api", &[]).status, 200);
    drop(traced);
    // Nobody to take them: nothing is traced, and everything served.
    for host in ["", "ftp://a", "a b"] {
        let traced = Traced::start(&[("otlp-collector-host", host)], &[], &shop);
        let said = traced.site.state()["diagnostics"].to_string();
        assert!(said.contains("data.enable-opentelemetry"), "{host}: {said}");
        assert_eq!(said.contains("data.otlp-collector-host"), !host.is_empty(), "{host}: {said}");
        let reply = traced.get("/api", &[]);
        assert_eq!((reply.status, reply.line("traceparent: ")), (200, None));
    }
    // As ingress-nginx, an Ingress with a wrong name is refused, and no other.
    let traced = Traced::start(&[], &[("opentelemetry-operation-name", "$nonsense")], &shop);
    assert_eq!(traced.get("/api", &[]).status, 503);
    assert_eq!(traced.site.get("other.example.com", "/").status, 404);
    let said = traced.site.state()["diagnostics"].to_string();
    assert!(said.contains("opentelemetry-operation-name"), "{said}");
    drop(traced);
    let wrong = [("enable-opentelemetry", "perhaps"), ("opentelemetry-trust-incoming-span", "x")];
    let traced = Traced::start(&[], &wrong, &shop);
    assert_eq!(traced.get("/api", &[]).status, 200);
    let said = traced.site.state()["diagnostics"].to_string();
    assert!(wrong.iter().all(|(key, _)| said.contains(key)), "{said}");
    traced.spans(2);
}

#[test]
fn a_collector_is_known_by_its_certificate() {
    let shop = Backend::echo("shop");
    let key = rcgen::KeyPair::generate().expect("randomness");
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .and_then(|parameters| parameters.self_signed(&key))
        .expect("plain names");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("they are known")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .expect("they belong together");
    let collector = Collector::https("/v1/traces", Arc::new(config));
    let settings =
        [("otlp-protocol", "http/protobuf"), ("otlp-collector-host", "https://localhost")];
    let text = manifests(collector.address, &settings, &[], &[shop.address]);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let trusted = folder.path().join("ca.pem");
    fs::write(&trusted, certificate.pem()).expect("a file");
    let other = folder.path().join("other.pem");
    let (_, secret) = crate::support::certificate("other", &["localhost"]);
    let pem: Vec<_> = secret.lines().map(str::trim).collect();
    let end = pem.iter().position(|line| line.contains("END CERT")).expect("one");
    let begin = pem.iter().position(|line| line.contains("BEGIN CERT")).expect("one");
    fs::write(&other, pem[begin..=end].join("\n")).expect("a file");
    for (authorities, outcome) in [(&other, "lost"), (&trusted, "exported")] {
        let agent = crate::process::Process::start_with(
            &[("all.yaml", &text)],
            &["--configmap=web/controller", "--workers=1"],
            &[("SSL_CERT_FILE", &*authorities.display().to_string())],
        );
        let request = format!("GET /api HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
        assert_eq!(exchange(agent.http(), &request).status, 200);
        match outcome {
            "exported" => drop(collector.received.wait(2)),
            _ => {
                until("it was tried", || collector.received.refused() > 0);
                assert!(collector.received.spans().is_empty());
                assert_eq!(agent.metric("penstock_spans_waiting"), Some(2));
            }
        }
    }
}
