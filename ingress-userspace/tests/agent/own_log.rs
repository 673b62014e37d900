//! Our own log and the admin socket: levels that change while the agent runs, repetitions, and that
//! no secret is ever in a line.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use data_encoding::BASE64;
use tempfile::TempDir;

use crate::support::{
    Backend, Connection, Ingress, certificate, config_map, documents, exchange, secret_of, service,
    tls, until,
};

/// An agent in a process of its own, killed on drop, and what it says.
struct Speaking {
    child: Child,
    folder: TempDir,
    lines: Arc<Mutex<Vec<String>>>,
    http: SocketAddr,
    https: SocketAddr,
    admin: SocketAddr,
}

impl Speaking {
    fn start(files: &[(&str, &str)], rust_log: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let manifests = folder.path().join("manifests");
        std::fs::create_dir(&manifests).expect("a directory");
        for (name, text) in files {
            std::fs::write(manifests.join(name), text).expect("a manifest");
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_penstock"))
            .arg("run")
            .arg(format!("--manifests={}", manifests.display()))
            .arg(format!("--admin-socket={}", folder.path().join("admin.sock").display()))
            .args(["--http-port=0", "--https-port=0", "--healthz-port=0", "--workers=1"])
            .arg("--page-address=")
            .args(["--bind-address=127.0.0.1", "--healthz-host=127.0.0.1", "--l4=off"])
            .args(["--watch-ingress-without-class", "--configmap=web/controller"])
            .arg("--log-format=json")
            .env("RUST_LOG", rust_log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&lines);
        let errors = BufReader::new(child.stderr.take().expect("it is piped"));
        thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                own.lock().expect("nobody panics").push(line);
            }
        });
        let none = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut speaking = Self { child, folder, lines, http: none, https: none, admin: none };
        let serving = || speaking.lines_with("\"serving ").first().cloned();
        until("it serves", || serving().is_some());
        let line: serde_json::Value =
            serde_json::from_str(&serving().expect("it serves")).expect("a line is JSON");
        let address = |name: &str| {
            let list = line["fields"][name].as_str().expect("a list");
            list.trim_matches(['[', ']']).parse().expect("one address")
        };
        (speaking.http, speaking.https) = (address("http"), address("https"));
        speaking.admin = address("admin");
        speaking
    }

    fn lines_with(&self, part: &str) -> Vec<String> {
        let lines = self.lines.lock().expect("nobody panics");
        lines.iter().filter(|line| line.contains(part)).cloned().collect()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    /// Status and body of an answer over the socket.
    fn ask(&self, method: &str, target: &str, body: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(self.socket()).expect("it is served");
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("it is read");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        let status = answer[9..12].parse().expect("a status");
        (status, answer.split_once("\r\n\r\n").expect("a head").1.to_owned())
    }

    fn get(&self, target: &str) -> u16 {
        let host = "shop.example.com";
        let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        exchange(self.http, &request).status
    }

    fn configure(&self, data: &[(&str, &str)]) {
        let outside = tempfile::NamedTempFile::new_in(self.folder.path()).expect("a file");
        std::fs::write(outside.path(), config_map(data)).expect("a file");
        let place = self.folder.path().join("manifests/controller.yaml");
        outside.persist(place).expect("the same file system");
    }
}

impl Drop for Speaking {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A site without endpoints: each request is a line at `debug`.
fn closed() -> String {
    let paths = &[("Prefix", "/", "shop")];
    let host = "shop.example.com";
    let shop = Ingress { name: "shop", annotations: &[], host, paths, tls: None };
    documents(&[&shop.yaml(), &service("shop", &[])])
}

const DEBUG: &str = "not answered by an upstream";

#[test]
fn the_level_changes_while_the_agent_runs() {
    let agent = Speaking::start(&[("all.yaml", &closed())], "info");
    assert_eq!(agent.ask("GET", "/log-level", ""), (200, "info\n".to_owned()));
    assert_eq!(agent.get("/"), 503);
    assert_eq!(agent.ask("PUT", "/log-level", "debug\n"), (200, "debug\n".to_owned()));
    assert_eq!(agent.get("/"), 503);
    until("the line is there", || !agent.lines_with(DEBUG).is_empty());
    assert_eq!(agent.lines_with(DEBUG).len(), 1);
    assert_eq!(agent.ask("DELETE", "/log-level", ""), (200, "info\n".to_owned()));
    assert_eq!(agent.get("/"), 503);
    // A level that means nothing changes nothing.
    let (status, text) = agent.ask("PUT", "/log-level", "loud");
    assert_eq!(status, 400);
    assert!(text.contains("loud") && text.contains("off, error, warn"), "{text}");
    assert_eq!(agent.ask("PUT", "/log-level", &"a=info,".repeat(1000)).0, 413);
    assert_eq!(agent.ask("POST", "/log-level", "debug").0, 405);
    assert_eq!(agent.ask("GET", "/log-level", "").1, "info\n");
    // What was said before this line is there when it is.
    assert_eq!(agent.ask("PUT", "/log-level", "warn").0, 200);
    until("it is told", || !agent.lines_with("\"level\":\"warn\"").is_empty());
    assert_eq!(agent.lines_with(DEBUG).len(), 1);
}

#[test]
fn the_port_changes_nothing() {
    let agent = Speaking::start(&[("all.yaml", &closed())], "info");
    for method in ["PUT", "DELETE", "POST"] {
        let request = format!(
            "{method} /log-level HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5\r\n\r\ndebug"
        );
        assert_eq!(exchange(agent.admin, &request).status, 405, "{method}");
    }
    assert_eq!(agent.ask("GET", "/log-level", "").1, "info\n");
    // The socket shows what the port shows.
    let (status, state) = agent.ask("GET", "/state", "");
    let state: serde_json::Value = serde_json::from_str(&state).expect("JSON");
    assert_eq!((status, &state["log-level"]), (200, &"info".into()));
    assert_eq!(agent.ask("GET", "/readyz", "").0, 200);
    assert_eq!(agent.ask("PUT", "/state", "").0, 405);
}

#[test]
fn the_configmap_sets_the_level() {
    let files = [("all.yaml", &*closed()), ("controller.yaml", &*config_map(&[]))];
    let agent = Speaking::start(&files, "info");
    let level = || agent.ask("GET", "/log-level", "").1;
    for (says, is) in [("debug", "debug\n"), ("crit", "error\n"), ("notice", "info\n")] {
        agent.configure(&[("error-log-level", says)]);
        until("the level is as the ConfigMap says", || level() == is);
    }
    agent.configure(&[("error-log-level", "warn")]);
    until("the level is as the ConfigMap says", || level() == "warn\n");
    // What is wrong counts as nothing, and is told.
    agent.configure(&[("error-log-level", "loud")]);
    until("the default applies", || level() == "info\n");
    let state = || agent.ask("GET", "/state", "").1;
    until("it is told", || state().contains("data.error-log-level"));
}

#[test]
fn what_repeats_is_counted_instead() {
    let agent = Speaking::start(&[("all.yaml", &closed())], "info");
    for _ in 0..40 {
        assert_eq!(agent.ask("PUT", "/log-level", "info").0, 200);
    }
    let changed = "log level changed by the admin socket";
    let summary =
        || agent.lines_with("suppressed").into_iter().filter(|line| line.contains(changed)).count();
    until("it is summed up", || summary() > 0);
    let lines = agent.lines_with(changed);
    let written = lines.iter().filter(|line| !line.contains("suppressed")).count();
    let left_out = |line: &String| -> u64 {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        line["fields"]["suppressed"].as_u64().unwrap_or_default()
    };
    let suppressed: u64 = lines.iter().map(left_out).sum();
    // A slow machine may take longer than the while that counts as one.
    assert!((10..40).contains(&written), "{written}: {lines:#?}");
    assert_eq!(written as u64 + suppressed, 40, "{lines:#?}");
}

#[test]
fn the_firewall_tells_of_many_requests_alike() {
    let rule = "SecRuleEngine On\nSecRule ARGS:evil \"@streq 1\" \"id:1,phase:1,deny,status:403\"";
    let paths = &[("Prefix", "/", "shop")];
    let host = "shop.example.com";
    let annotations = [("enable-modsecurity", "true"), ("modsecurity-snippet", rule)];
    let shop = Ingress { name: "shop", annotations: &annotations, host, paths, tls: None };
    let allowed = [("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")];
    let backend = Backend::echo("shop");
    let parts = [shop.yaml(), service("shop", &[backend.address]), config_map(&allowed)];
    let file = documents(&parts.each_ref().map(|part| &**part));
    let agent = Speaking::start(&[("all.yaml", &file)], "info");
    until("its rules are compiled", || agent.get("/?evil=1") == 403);
    for _ in 0..30 {
        assert_eq!(agent.get("/?evil=1"), 403);
    }
    // There are no fewer than the firewall writes in one second.
    let told = || agent.lines_with("the firewall's rules matched");
    until("they are told of", || told().len() >= 20);
    for line in told() {
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line["target"], "penstock::audit", "{line}");
        assert_eq!(line["fields"]["ingress"], "Ingress web/shop", "{line}");
    }
}

#[test]
fn no_secret_is_in_a_line() {
    let shop = Backend::echo("shop");
    let (_, secret) = certificate("shop-tls", &["shop.example.com"]);
    let hash = "ann:$apr1$abcdefgh$9zKPRsLqGVMDv5JtGMnkH1";
    let annotations =
        [("auth-type", "basic"), ("auth-secret", "users"), ("auth-realm", "the shop")];
    let paths = &[("Prefix", "/", "shop")];
    let host = "shop.example.com";
    let ingress =
        Ingress { name: "shop", annotations: &annotations, host, paths, tls: Some("shop-tls") };
    let parts = [
        ingress.yaml(),
        service("shop", &[shop.address]),
        secret.clone(),
        secret_of("users", &[("auth", hash)]),
        // Wrong on purpose: what is told of a Secret must not show it.
        secret_of("broken", &[("tls.crt", "topsecretcert"), ("tls.key", "topsecretkey")]),
    ];
    let other = Ingress {
        name: "broken",
        annotations: &[("auth-tls-secret", "web/broken")],
        host: "broken.example.com",
        paths,
        tls: Some("broken"),
    };
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    let text = documents(&[&documents(&parts), &other.yaml()]);
    let trace = "info,ingress_userspace=trace,penstock=trace,rustls=trace";
    let agent = Speaking::start(&[("all.yaml", &text)], trace);
    let password = BASE64.encode(b"ann:opensesame");
    let request = format!(
        "GET /?token=querysecret HTTP/1.1\r\nhost: {host}\r\nauthorization: Basic {password}\r\n\
         cookie: session=cookiesecret\r\nx-api-key: apikeysecret\r\nconnection: close\r\n\r\n"
    );
    let (mut connection, _) = tls(agent.https, host);
    assert_eq!(connection.request(&request).status, 401);
    assert_eq!(exchange(agent.http, &request).status, 308);
    let mut broken = Connection::open(agent.http);
    broken.send("GET / HTTP/1.1\r\nhost : bad\r\nx-api-key: apikeysecret\r\n\r\n");
    assert_eq!(broken.reply(false).expect("an answer").status, 400);
    assert_eq!(agent.ask("PUT", "/log-level", "trace").0, 200);
    // The last word: all that was to be said has been.
    until("it has said all", || !agent.lines_with("log level changed").is_empty());
    assert!(!agent.lines_with("TRACE").is_empty() || !agent.lines_with("DEBUG").is_empty());
    let key = secret
        .lines()
        .skip_while(|line| !line.contains("PRIVATE KEY"))
        .nth(1)
        .expect("a key")
        .trim()
        .to_owned();
    let secrets = [
        "opensesame",
        "querysecret",
        "cookiesecret",
        "apikeysecret",
        "topsecretcert",
        "topsecretkey",
        "9zKPRsLqGVMDv5JtGMnkH1",
        &password,
        &key,
    ];
    for secret in secrets {
        let shown = agent.lines_with(secret);
        assert!(shown.is_empty(), "{secret}: {shown:#?}");
    }
}

#[test]
fn commands_ask_over_the_socket() {
    let agent = Speaking::start(&[("all.yaml", &closed())], "info");
    let socket = agent.socket().display().to_string();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
        let output = command.args(arguments).output().expect("it starts");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
    };
    let asking = |arguments: &[&str]| run(&[arguments, &["--admin-socket", &socket]].concat());
    assert_eq!(asking(&["log-level"]), (0, "info\n".to_owned(), String::new()));
    assert_eq!(asking(&["log-level", "warn"]).1, "warn\n");
    let json = "{\n  \"log_level\": \"warn\"\n}\n";
    assert_eq!(asking(&["log-level", "--output=json"]).1, json);
    let (code, out, error) = asking(&["log-level", "loud"]);
    assert_eq!((code, &*out), (2, ""));
    assert!(error.contains("loud"), "{error}");
    assert_eq!(asking(&["log-level", "--reset"]).1, "info\n");
    let (code, text, _) = asking(&["status"]);
    assert_eq!(code, 0);
    for part in ["ready        yes\n", "diagnostics  1 errors, 1 warnings\n", "log level    info\n"]
    {
        assert!(text.contains(part), "{text}");
    }
    let (_, text, _) = asking(&["status", "--output", "json"]);
    let status: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&status["ready"], &status["diagnostics"]["error"]), (&true.into(), &1.into()));
    // Nobody there.
    let (code, out, error) = run(&["status", "--admin-socket=/no/such/place"]);
    assert_eq!((code, &*out), (3, ""));
    assert!(error.contains("/no/such/place") && error.contains("--admin-socket"), "{error}");
    assert_eq!(run(&["log-level", "info", "--reset"]).0, 2);
}

#[test]
fn what_the_firewall_stopped_is_called_as_its_ingress_says() {
    const RULE: &str =
        "SecRuleEngine On\nSecRule ARGS:a \"@streq 1\" \"id:1,phase:1,deny,status:403\"";
    let map = config_map(&[
        ("allow-snippet-annotations", "true"),
        ("annotations-risk-level", "Critical"),
    ]);
    let backend = Backend::echo("shop");
    for (id, called) in [("$request_method-$arg_a-x", "GET-1-x"), ("$nonsense", ""), ("", "")] {
        let annotations = [
            ("enable-modsecurity", "true"),
            ("modsecurity-snippet", RULE),
            ("modsecurity-transaction-id", id),
        ];
        let (paths, host) = (&[("Prefix", "/", "shop")], "shop.example.com");
        let shop = Ingress { name: "shop", annotations: &annotations, host, paths, tls: None };
        let all = documents(&[&shop.yaml(), &service("shop", &[backend.address]), &map]);
        let agent = Speaking::start(&[("all.yaml", &all)], "info");
        assert_eq!(agent.get("/?a=1"), 403, "{id}");
        let lines = || agent.lines_with("the firewall's rules matched");
        until("it is told", || !lines().is_empty());
        let line: serde_json::Value = serde_json::from_str(&lines()[0]).expect("a line is JSON");
        assert_eq!(line["fields"]["firewall.transaction"], called, "{line}");
        assert_eq!(
            agent.lines_with("modsecurity-transaction-id").len(),
            usize::from(id == "$nonsense")
        );
    }
}
