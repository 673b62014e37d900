//! Debian's nginx, configured by hand as ingress-nginx would configure it, and the agent, given the
//! Ingresses that ask for it: the same requests to both, and what came of them side by side. Every
//! difference that is meant stands in a table with its reason; one that is not there fails, and so
//! does one that is there and not found.

mod access;
mod cors;
mod fastcgi;
mod limits;
mod lines;
mod locations;
mod redirects;
mod snippets;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;
use testbed::requirement;

use crate::{
    process::{Process, await_listener, free_port, which},
    recorder::Recorder,
    site::Site,
};

/// The names of the Services; each has one endpoint.
pub(super) const SERVICES: [&str; 3] = ["a", "b", "c"];

/// What both are asked, and how they are configured for it.
pub(super) struct Group<'g> {
    pub(super) name: &'g str,
    /// Ingresses and whatever else they need, besides the Services.
    pub(super) manifests: String,
    /// Values of the controller's ConfigMap.
    pub(super) settings: &'g [(&'g str, &'g str)],
    /// What stands in `http { … }`: `listen HTTP` is given its address, `upstream a`, `b` and `c`
    /// are there, `DIRECTORY` is one of its own. `OTHER` is a second address, in the manifests too,
    /// where `OTHER-PORT` is its port.
    pub(super) nginx: String,
    /// Files in that directory.
    pub(super) files: &'g [(&'g str, &'g str)],
    pub(super) asks: Vec<Ask>,
    /// Fields of answers that are compared besides `Location`; `body` is what follows them, and `> x`
    /// the field `x` of what a Service is asked.
    pub(super) fields: &'g [&'g str],
    /// Which asks, by a part of their name, end differently, and why.
    pub(super) differences: &'g [(&'g str, &'g str)],
}

/// A request.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) name: String,
    /// Every byte of it; ends the connection.
    pub(super) bytes: Vec<u8>,
}

impl Ask {
    /// The same with another name, for one that is asked several times.
    pub(super) fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// With another method.
    pub(super) fn method(mut self, method: &str) -> Self {
        let rest = self.bytes.split_off(3);
        self.bytes = [method.as_bytes(), &rest].concat();
        self.name = format!("{method} {}", self.name);
        self
    }

    /// A GET without a body.
    pub(super) fn get(host: &str, target: &str) -> Self {
        Self::with(host, target, "")
    }

    /// A GET with more fields, each with its line end.
    pub(super) fn with(host: &str, target: &str, fields: &str) -> Self {
        let text =
            format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n");
        let fields = fields.replace("\r\n", " ");
        let name = format!("{host}{target} {fields}").trim_end().to_owned();
        Self { name, bytes: text.into_bytes() }
    }
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) status: u16,
    /// The fields that are compared, in the order of their names.
    pub(super) fields: Vec<String>,
    /// What reached which Service.
    pub(super) seen: Vec<String>,
}

/// Asks both and compares. Skipped, loudly, where one is not there.
pub(super) fn compare(group: &Group<'_>) {
    compare_and(group, || {});
}

/// The same; `then` is done while both still run.
pub(super) fn compare_and(group: &Group<'_>, then: impl FnOnce()) {
    let test = format!("differential::{}", group.name);
    let Some(program) = which("nginx") else { return requirement::interop(&test, "nginx") };
    let recorders = SERVICES.map(|_| Recorder::start());
    let other = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let manifests = documents(group, &recorders)
        .replace("OTHER-PORT", &other.port().to_string())
        .replace("OTHER", &other.to_string());
    let Some(site) = Site::of(&test, &manifests) else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (_nginx, nginx) = nginx(&program, &directory, group, &recorders, other);
    let mut wrong = Vec::new();
    let mut met = BTreeSet::new();
    for ask in &group.asks {
        let theirs = answer(nginx, ask, group, &recorders);
        let ours = answer(site.http, ask, group, &recorders);
        let meant = group.differences.iter().find(|(part, _)| ask.name.contains(part));
        match (theirs == ours, meant) {
            (true, _) => {}
            (false, Some((part, _))) => {
                met.insert(*part);
            }
            (false, None) => {
                wrong.push(format!("{}\n    nginx {theirs:?}\n    here  {ours:?}", ask.name));
            }
        }
    }
    for (part, why) in group.differences {
        if !met.contains(part) {
            wrong.push(format!("{part:?} is said to differ ({why}), and does not"));
        }
    }
    assert!(!group.asks.is_empty(), "{test} asks nothing");
    let (some, all) = (wrong.len(), group.asks.len());
    assert!(wrong.is_empty(), "{test}: {some} of {all} differ:\n  {}", wrong.join("\n  "));
    then();
}

fn documents(group: &Group<'_>, recorders: &[Recorder]) -> String {
    let mut text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: web}\n\
                    data:\n  proxy-request-buffering: \"off\"\n"
        .to_owned();
    for (key, value) in group.settings {
        let _infallible = writeln!(text, "  {key}: {value:?}");
    }
    for (name, recorder) in SERVICES.iter().zip(recorders) {
        let _infallible = write!(
            text,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: web}}\n\
             spec: {{ports: [{{name: http, port: 80, targetPort: 8080}}]}}\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: {name}-0, namespace: web, labels: {{kubernetes.io/service-name: {name}}}}}\n\
             addressType: IPv4\nports: [{{name: http, port: {port}}}]\n\
             endpoints: [{{addresses: [\"{ip}\"], conditions: {{ready: true}}}}]\n",
            port = recorder.address.port(),
            ip = recorder.address.ip(),
        );
    }
    text + &group.manifests
}

/// An Ingress of host `host`: its annotations without prefix, and paths as `kind path service`.
pub(super) fn ingress(
    name: &str,
    host: &str,
    annotations: &[(&str, &str)],
    paths: &[&str],
) -> String {
    let mut text = format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  \
         namespace: web\n  annotations:\n    example.com/of-the-test: \"yes\"\n"
    );
    for (key, value) in annotations {
        let _infallible = writeln!(text, "    nginx.ingress.kubernetes.io/{key}: {value:?}");
    }
    let _infallible =
        writeln!(text, "spec:\n  rules:\n  - host: {host:?}\n    http:\n      paths:");
    for path in paths {
        let mut words = path.splitn(3, ' ');
        let mut word = || words.next().expect("three words");
        let (kind, path, service) = (word(), word(), word());
        let _infallible = writeln!(
            text,
            "      - {{path: {path:?}, pathType: {kind}, backend: {{service: {{name: {service}, \
             port: {{number: 80}}}}}}}}"
        );
    }
    text
}

/// What ingress-nginx puts into every location before it passes a request on.
pub(super) fn pass(service: &str) -> String {
    format!(
        "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $http_host; \
         proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $remote_addr; \
         proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto $scheme; \
         proxy_buffering off; proxy_redirect off; proxy_pass http://{service};"
    )
}

fn nginx(
    program: &std::path::Path,
    directory: &TempDir,
    group: &Group<'_>,
    recorders: &[Recorder],
    other: SocketAddr,
) -> (Process, SocketAddr) {
    for (name, text) in group.files {
        fs::write(directory.path().join(name), text).expect("a file");
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let mut text =
        "daemon off; master_process off; pid nginx.pid; error_log error.log;\n".to_owned();
    for module in ["ngx_http_headers_more_filter_module", "ndk_http_module", "ngx_http_lua_module"]
    {
        let path = format!("/usr/lib/nginx/modules/{module}.so");
        if fs::exists(&path).is_ok_and(|there| there) {
            let _infallible = writeln!(text, "load_module {path};");
        }
    }
    text += "events { worker_connections 1000; }\nhttp {\naccess_log off; server_tokens off; \
             client_header_buffer_size 1k; large_client_header_buffers 4 8k; \
             underscores_in_headers off; ignore_invalid_headers on; \
             port_in_redirect off; reset_timedout_connection on; default_type text/html;\n";
    for (name, recorder) in SERVICES.iter().zip(recorders) {
        let _infallible = writeln!(text, "upstream {name} {{ server {}; }}", recorder.address);
    }
    let _infallible = writeln!(text, "server {{ listen {address} default_server; return 404; }}");
    let path = directory.path().to_str().expect("a temporary directory is text");
    text += &group
        .nginx
        .replace("listen HTTP", &format!("listen {address}"))
        .replace("OTHER", &other.to_string())
        .replace("DIRECTORY", path);
    text += "}\n";
    fs::write(directory.path().join("nginx.conf"), text).expect("a file");
    let mut command = Command::new(program);
    command.arg("-p").arg(directory.path()).args(["-c", "nginx.conf"]);
    let mut process = Process::start(&command);
    await_listener(&mut process, address, "nginx");
    (process, address)
}

fn answer(to: SocketAddr, ask: &Ask, group: &Group<'_>, recorders: &[Recorder]) -> Outcome {
    let mut stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    // A server that has answered already may have closed it.
    let _closed = stream.write_all(&ask.bytes);
    let mut bytes = Vec::new();
    let _reset = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let mut fields: Vec<String> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| name == "location" || group.fields.contains(&&**name))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    if group.fields.contains(&"body") {
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        fields.push(format!("body: {body}"));
    }
    fields.sort();
    let mut seen = Vec::new();
    for (service, recorder) in SERVICES.iter().zip(recorders) {
        for own in recorder.take() {
            seen.push(format!("{service}: {}", own.summary()));
            let asked = group.fields.iter().filter_map(|name| name.strip_prefix("> "));
            seen.extend(asked.flat_map(|name| own.values(name)).map(str::to_owned));
        }
    }
    Outcome { status, fields, seen }
}
