//! Debian's Prometheus scrapes an agent under mixed load: what people's dashboards ask it must have
//! the values that a count by hand has.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use testbed::requirement;

use crate::{
    process::{DEADLINE, Process, await_listener, free_port, until, which},
    report::Report,
    site::{Host, Site},
};

/// What is asked again and again: which host, and which status its endpoint answers with.
const MIX: [(&str, u16); 10] = [
    ("a.example.com", 200),
    ("a.example.com", 200),
    ("a.example.com", 503),
    ("b.example.com", 200),
    ("a.example.com", 200),
    ("a.example.com", 200),
    ("b.example.com", 404),
    ("a.example.com", 200),
    ("b.example.com", 200),
    ("a.example.com", 302),
];

/// An endpoint that answers `/status/503` with that.
fn endpoint() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let status = line.split(' ').nth(1)?.rsplit('/').next()?.to_owned();
        while line.trim_end() != "" {
            line.clear();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        }
        let answer = format!("HTTP/1.1 {status} Said\r\ncontent-length: 300\r\n\r\n");
        reader.get_mut().write_all((answer + &"x".repeat(300)).as_bytes()).ok()?;
    }
}

/// What was asked and answered, counted by hand.
#[derive(Debug, Default)]
struct Tally {
    /// By Ingress and status.
    requests: BTreeMap<(String, String), f64>,
    /// Bytes by Ingress: to the agent, and from it.
    bytes: BTreeMap<String, (f64, f64)>,
}

/// The Ingress of a host: [`Site`] names them by number.
fn ingress(host: &str) -> String {
    (if host.starts_with('a') { "i0" } else { "i1" }).to_owned()
}

/// Asks the mix until told to stop, whole rounds only.
fn load(http: SocketAddr, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        for (host, status) in MIX {
            let request = format!(
                "GET /status/{status} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
            );
            let mut stream = TcpStream::connect(http).expect("the agent listens");
            stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
            stream.write_all(request.as_bytes()).expect("it is open");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("an answer");
            let line = answer.get(9..12).expect("a status");
            assert_eq!(line, status.to_string().as_bytes());
            *tally.requests.entry((ingress(host), status.to_string())).or_default() += 1.0;
            let bytes = tally.bytes.entry(ingress(host)).or_default();
            bytes.0 += request.len() as f64;
            bytes.1 += answer.len() as f64;
        }
    }
    tally
}

/// Prometheus beside an agent.
struct Prometheus {
    _process: Process,
    api: SocketAddr,
}

/// A program of Debian's package; `None` after saying that `test` is skipped.
fn program(test: &str, name: &str) -> Option<PathBuf> {
    let found = which(name);
    if found.is_none() {
        requirement::interop(test, &format!("needs {name}: Debian's package prometheus"));
    }
    found
}

impl Prometheus {
    fn start(binary: &Path, target: SocketAddr, directory: &Path) -> Self {
        let api = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let config = directory.join("prometheus.yaml");
        let text = format!(
            "global: {{scrape_interval: 500ms}}\nscrape_configs:\n- job_name: penstock\n  \
             honor_labels: true\n  static_configs:\n  - targets: [\"{target}\"]\n"
        );
        fs::write(&config, text).expect("a file");
        let mut command = Command::new(binary);
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.join("tsdb").display()));
        command.arg(format!("--web.listen-address={api}"));
        let mut process = Process::start(&command);
        await_listener(&mut process, api, "Prometheus");
        Self { _process: process, api }
    }

    /// The values of an expression by their labels, one text for all; `Err`: it is not one.
    fn ask(&self, expression: &str) -> Result<BTreeMap<String, f64>, String> {
        let escaped: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/api/v1/query?query={escaped}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let answer = runtime
            .expect("a runtime")
            .block_on(testbed::get(self.api, "a", &path, Duration::from_secs(10)))
            .map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?;
        let results = answer["data"]["result"].as_array();
        let results = results.ok_or_else(|| answer.to_string())?;
        let value = |result: &Value| {
            let labels = result["metric"].as_object()?;
            let labels: Vec<_> =
                labels.values().filter_map(|value| value.as_str()).map(str::to_owned).collect();
            Some((labels.join(" "), result["value"][1].as_str()?.parse().ok()?))
        };
        Ok(results.iter().filter_map(value).collect())
    }
}

/// What a query's values are to be.
enum Wanted<'a> {
    /// Shares of their sum by labels, as a mix of so many parts has them.
    Shares(&'a [(&'a str, f64)]),
    /// These values by labels, to five percent.
    Values(&'a [(&'a str, f64)]),
    /// One value or more, all within these bounds.
    Within(f64, f64),
}

impl Wanted<'_> {
    fn is_met(&self, got: &BTreeMap<String, f64>) -> bool {
        let near = |wanted: &[(&str, f64)], all: f64| {
            wanted.len() == got.len()
                && wanted.iter().all(|(labels, value)| {
                    // Rounds of the mix are cut anywhere by two scrapes.
                    let own = got.get(*labels).map(|own| own / all);
                    own.is_some_and(|own| (own - value).abs() <= 0.05 * value.abs().max(0.4))
                })
        };
        match self {
            Self::Shares(wanted) => near(wanted, got.values().sum()),
            Self::Values(wanted) => near(wanted, 1.0),
            Self::Within(least, most) => {
                !got.is_empty() && got.values().all(|own| own >= least && own <= most)
            }
        }
    }
}

/// What ingress-nginx's two published dashboards ask, by their names and labels, and what is right
/// for the mix.
fn queries() -> Vec<(String, Wanted<'static>)> {
    use Wanted::{Shares, Values, Within};
    let of = "controller_pod=~\".*\",controller_class=~\"k8s.io/ingress-nginx\",\
              controller_namespace=~\".*\",ingress=~\".*\"";
    let own = "controller_pod=~\".*\",controller_class=~\"k8s.io/ingress-nginx\",\
               controller_namespace=~\".*\"";
    let p = "nginx_ingress_controller_";
    let quantiles = |family: &str, by: &str| {
        ["0.5", "0.9", "0.95", "0.99"].map(|quantile| {
            let buckets = format!("{p}{family}_bucket{{{of}}}[2m]");
            (
                format!("histogram_quantile({quantile}, sum by (le{by}) (rate({buckets})))"),
                Within(0.0, 10.0),
            )
        })
    };
    let mut all = vec![
        (format!("round(sum(irate({p}requests{{{of}}}[2m])), 0.001)"), Within(1.0, 1e5)),
        (
            format!(
                "sum(avg_over_time({p}nginx_process_connections{{{own},state=\"active\"}}[2m]))"
            ),
            Within(0.0, 10.0),
        ),
        (
            format!(
                "sum(rate({p}requests{{{of},status!~\"[4-5].*\"}}[2m])) / \
                 sum(rate({p}requests{{{of}}}[2m]))"
            ),
            Values(&[("", 0.8)]),
        ),
        (format!("avg(irate({p}success{{{own}}}[1m])) * 60"), Within(0.0, 1e3)),
        (format!("sum({p}success{{{own}}})"), Within(1.0, 100.0)),
        (format!("count({p}config_last_reload_successful{{{own}}} == 1)"), Values(&[("", 1.0)])),
        (format!("{p}config_hash{{{own}}} > 0"), Within(1.0, 1e19)),
        (
            format!("time() - {p}config_last_reload_successful_timestamp_seconds{{{own}}}"),
            Within(-1.0, 600.0),
        ),
        (
            format!("round(sum(irate({p}requests{{{of}}}[2m])) by (ingress), 0.001)"),
            Shares(&[("i0", 0.7), ("i1", 0.3)]),
        ),
        (
            format!("sum(rate({p}requests{{{of}}}[2m])) by (ingress, status)"),
            Shares(&[
                ("i0 200", 0.5),
                ("i0 302", 0.1),
                ("i0 503", 0.1),
                ("i1 200", 0.2),
                ("i1 404", 0.1),
            ]),
        ),
        (
            format!(
                "sum(rate({p}requests{{{of},status!~\"[4-5].*\"}}[2m])) by (ingress) / \
                 sum(rate({p}requests{{{of}}}[2m])) by (ingress)"
            ),
            Values(&[("i0", 6.0 / 7.0), ("i1", 2.0 / 3.0)]),
        ),
        (format!("sum(irate({p}request_size_sum{{{of}}}[2m]))"), Within(50.0, 1e9)),
        (format!("- sum(irate({p}response_size_sum{{{of}}}[2m]))"), Within(-1e9, -300.0)),
        (
            format!("sum(irate({p}request_size_sum{{ingress!=\"\",{of}}}[2m])) by (ingress)"),
            Shares(&[("i0", 0.7), ("i1", 0.3)]),
        ),
        (
            format!("sum(irate({p}response_size_sum{{ingress!=\"\",{of}}}[2m])) by (ingress)"),
            Shares(&[("i0", 0.7), ("i1", 0.3)]),
        ),
        (format!("avg({p}nginx_process_resident_memory_bytes{{{own}}})"), Within(1e6, 1e9)),
        (format!("avg(rate({p}nginx_process_cpu_seconds_total{{{own}}}[2m]))"), Within(1e-4, 10.0)),
        (
            format!("avg({p}ssl_expire_time_seconds{{{own}}}) by (host) - time()"),
            Within(60.0, 1e11),
        ),
        (
            format!("sum by (path) (rate({p}request_duration_seconds_count{{{of}}}[1m]))"),
            Shares(&[("/", 1.0)]),
        ),
        (
            format!(
                "sum by (path) (rate({p}request_duration_seconds_count{{{of},status=~\"[4-5].*\"}}[1m])) \
                 / sum by (path) (rate({p}request_duration_seconds_count{{{of}}}[1m]))"
            ),
            Values(&[("/", 0.2)]),
        ),
        (
            format!(
                "sum by (path, status) (rate({p}request_duration_seconds_count\
                 {{{of},status=~\"[4-5].*\"}}[1m]))"
            ),
            Shares(&[("/ 404", 0.5), ("/ 503", 0.5)]),
        ),
        (
            format!(
                "sum by (path) (rate({p}response_duration_seconds_sum{{{of}}}[1m])) \
                 / sum by (path) (rate({p}response_duration_seconds_count{{{of}}}[1m]))"
            ),
            Within(0.0, 10.0),
        ),
        (
            format!(
                "sum by (path) (rate({p}response_size_sum{{{of}}}[1m])) \
                 / sum by (path) (rate({p}response_size_count{{{of}}}[1m]))"
            ),
            Within(320.0, 1000.0),
        ),
        (
            format!("sum({p}bytes_sent_count{{{of}}}) / sum({p}requests{{{of}}})"),
            Values(&[("", 1.0)]),
        ),
    ];
    all.extend(quantiles("request_duration_seconds", ", ingress"));
    all.extend(quantiles("request_duration_seconds", ", path"));
    all.extend(quantiles("response_duration_seconds", ", path"));
    all.extend(quantiles("header_duration_seconds", ""));
    all.extend(quantiles("connect_duration_seconds", ""));
    all
}

#[test]
fn the_published_dashboards_show_what_happened() {
    const TEST: &str = "the_published_dashboards_show_what_happened";
    let Some(binary) = program(TEST, "prometheus") else { return };
    let backend = endpoint();
    let hosts = [Host::new("a.example.com", backend), Host::new("b.example.com", backend)];
    let Some(site) = Site::start(TEST, &hosts) else { return };
    let prometheus = Prometheus::start(&binary, site.admin, site.directory());
    let stop = Arc::new(AtomicBool::new(false));
    let loading = {
        let (stop, http) = (Arc::clone(&stop), site.http);
        thread::spawn(move || load(http, &stop))
    };
    let mut report = Report::new("prometheus");
    for (query, wanted) in queries() {
        // Some rounds of the mix have to lie between two scrapes.
        let start = Instant::now();
        let result = loop {
            let got = prometheus.ask(&query);
            match &got {
                Ok(values) if wanted.is_met(values) => break Ok(()),
                _ if start.elapsed() > DEADLINE => break Err(format!("{got:?}")),
                _ => thread::sleep(Duration::from_millis(50)),
            }
        };
        report.row(&query, result);
    }
    stop.store(true, Ordering::Relaxed);
    let tally = loading.join().expect("all was answered");

    // When all is quiet, the counts are exactly those by hand.
    let counted = |query: &str| prometheus.ask(query).unwrap_or_default();
    let requests: BTreeMap<String, f64> = tally
        .requests
        .iter()
        .map(|((ingress, status), count)| (format!("{ingress} {status}"), *count))
        .collect();
    for family in ["requests", "request_duration_seconds_count", "header_duration_seconds_count"] {
        let query = format!("sum by (ingress, status) (nginx_ingress_controller_{family})");
        until(&format!("{family} by hand"), || counted(&query) == requests);
    }
    for (family, of) in [
        ("request_size_sum", (|bytes| bytes.0) as fn(&(f64, f64)) -> f64),
        ("response_size_sum", |bytes| bytes.1),
        ("bytes_sent_sum", |bytes| bytes.1),
    ] {
        let query = format!("sum by (ingress) (nginx_ingress_controller_{family})");
        let wanted: BTreeMap<String, f64> =
            tally.bytes.iter().map(|(ingress, bytes)| (ingress.clone(), of(bytes))).collect();
        until(&format!("{family} by hand"), || counted(&query) == wanted);
    }
    for expression in expressions(&dashboard()) {
        let result = prometheus.ask(&expression).map(drop);
        report.row(&expression, result);
    }
    report.end();
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn dashboard() -> Value {
    let text = fs::read_to_string(root().join("deploy/grafana/penstock.json"));
    serde_json::from_str(&text.expect("the dashboard is there")).expect("it is JSON")
}

/// All that a dashboard asks, its variables being anything.
fn expressions(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match (name.as_str(), field.as_str()) {
                    ("expr", Some(text)) => {
                        let mut text = text.replace("$__rate_interval", "2m");
                        for name in ["exported_namespace", "namespace", "class", "pod", "ingress"] {
                            text = text.replace(&format!("${name}"), ".*");
                        }
                        assert!(!text.contains('$'), "{text}");
                        found.push(text);
                    }
                    _ => found.extend(expressions(field)),
                }
            }
        }
        Value::Array(values) => found.extend(values.iter().flat_map(expressions)),
        _ => {}
    }
    found
}

/// Names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = |word: &&str| {
        word.starts_with("nginx_ingress_controller_") || word.starts_with("penstock_")
    };
    let family = |word: &str| {
        let ends = ["_bucket", "_sum", "_count"];
        ends.iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
    };
    words.filter(ours).map(family).collect()
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_what_there_is() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect("it is there");
    let known = names(&read("docs/metrics.md"));
    let expressions = expressions(&dashboard()).join("\n");
    for text in [expressions, read("deploy/prometheus/alerts.yaml")] {
        let asked = names(&text);
        assert!(asked.len() > 5, "{asked:?}");
        let unknown: Vec<_> = asked.difference(&known).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}

#[test]
fn alerts_fire_when_they_should() {
    let Some(promtool) = program("alerts_fire_when_they_should", "promtool") else { return };
    let mut command = Command::new(promtool);
    command.args(["test", "rules", "alerts-test.yaml"]);
    command.current_dir(root().join("deploy/prometheus"));
    let output = command.output().expect("promtool runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    // Each has a test.
    let read = |name: &str| fs::read_to_string(root().join("deploy/prometheus").join(name));
    let tests = read("alerts-test.yaml").expect("the tests are there");
    for line in read("alerts.yaml").expect("the alerts are there").lines() {
        if let Some(name) = line.trim().strip_prefix("- alert: ") {
            assert!(tests.contains(&format!("alertname: {name}\n    exp_alerts:\n")), "{name}");
        }
    }
}

#[test]
fn an_independent_checker_finds_nothing_but_ingress_nginx_s_own_names() {
    const TEST: &str = "an_independent_checker_finds_nothing_but_ingress_nginx_s_own_names";
    let Some(promtool) = program(TEST, "promtool") else { return };
    let host = Host::new("a.example.com", endpoint());
    let Some(site) = Site::start(TEST, &[host]) else { return };
    let page = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let limit = Duration::from_secs(10);
        let got = runtime
            .expect("a runtime")
            .block_on(testbed::get(site.admin, "a", "/metrics", limit))
            .expect("a page");
        String::from_utf8(got.body.to_vec()).expect("text")
    };
    let request = "GET /status/200 HTTP/1.1\r\nhost: a.example.com\r\nconnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(site.http).expect("the agent listens");
    stream.write_all(request.as_bytes()).expect("it is open");
    let _answer = stream.read_to_end(&mut Vec::new()).expect("an answer");
    until("the request is counted", || page().contains("nginx_ingress_controller_requests{"));
    let file = site.directory().join("page");
    fs::write(&file, page()).expect("a file");
    let input = fs::File::open(&file).expect("it is there");
    let output = Command::new(promtool).args(["check", "metrics"]).stdin(input).output();
    let output = output.expect("promtool runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    // What is fixed by people's dashboards, and promtool would call otherwise.
    let fixed = ["requests", "success", "errors", "check_success", "check_errors"];
    let others: Vec<_> = said
        .lines()
        .filter(|line| {
            !fixed.iter().any(|name| {
                *line
                    == format!(
                        "nginx_ingress_controller_{name} counter metrics should have \"_total\" suffix"
                    )
            })
        })
        .collect();
    assert!(others.is_empty(), "{others:#?}");
}
