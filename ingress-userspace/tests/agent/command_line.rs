//! The commands that ask a running agent, and the admin API that they ask.

use std::{
    io::{BufReader, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Backend, Ingress, Site, certificate, config_map, documents, exchange, ingress, nobody,
    read_head, read_request, service, tls, until,
};

/// A site with a socket, and the commands that ask over it.
struct Asked {
    site: Site,
    _folder: TempDir,
    socket: PathBuf,
}

impl Asked {
    fn start(files: &[(&str, &str)], arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let socket = folder.path().join("admin.sock");
        let own = socket.clone();
        let site = Site::start_with(files, arguments, |config| config.admin.socket = Some(own));
        Self { site, _folder: folder, socket }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = penstock(arguments);
        // However busy the machine.
        command.arg("--timeout=60").arg("--admin-socket").arg(&self.socket);
        command
    }

    /// Exit code and standard output.
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let (code, out, error) = said(self.command(arguments).output().expect("it starts"));
        assert!(code < 2, "{arguments:?}: {code}: {error}");
        (code, out)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let (_, text) = self.run(&[arguments, &["--output=json"]].concat());
        serde_json::from_str(&text).expect("it is JSON")
    }
}

fn penstock(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Exit code, standard output and standard error.
fn said(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

const HOST: &str = "shop.example.com";

fn shop(endpoints: &[std::net::SocketAddr], annotations: &[(&str, &str)]) -> String {
    let paths = [("Prefix", "/cart", "shop"), ("Exact", "/gone", "nothing")];
    let shop = Ingress { name: "shop", annotations, host: HOST, paths: &paths, tls: Some("cert") };
    documents(&[&shop.yaml(), &service("shop", endpoints), &certificate("cert", &[HOST]).1])
}

#[test]
fn each_command_has_tables_for_people_and_json_for_scripts() {
    let backend = Backend::echo("shop");
    let file = shop(&[backend.address], &[("ssl-redirect", "false"), ("bogus", "x")]);
    let asked = Asked::start(&[("all.yaml", &file)], &[]);

    let (code, text) = asked.run(&["status"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("ready        yes\n"), "{text}");
    assert_eq!(asked.json(&["status"])["serves"]["services"], 2);

    let (code, text) = asked.run(&["routes", "SHOP.example.com."]);
    assert_eq!(code, 0);
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["HOST", "PATH", "TLS", "INGRESS", "LEADS", "TO", "POLICIES"]);
    assert_eq!(lines[1], [HOST, "/cart", "tls", "web/shop", "web/shop:80", "(1)"]);
    assert_eq!(lines[2], [HOST, "=", "/gone", "tls", "web/shop", "web/nothing:80", "(0)"]);
    let routes = asked.json(&["routes", "-q", "SHOP /cart"]);
    assert_eq!(routes["total"], 1);
    assert_eq!(routes["items"][0]["target"]["service"]["name"], "shop");
    assert_eq!(asked.run(&["routes", "-q", "nowhere"]).0, 1, "there is none");

    assert_eq!(asked.site.get(HOST, "/cart").status, 200);
    let (code, text) = asked.run(&["endpoints"]);
    assert_eq!(code, 1, "one has none: {text}");
    assert!(text.contains("none is ready"), "{text}");
    let (code, text) = asked.run(&["endpoints", "web/shop"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(&backend.address.to_string()) && text.contains("ready"), "{text}");
    let shown = asked.json(&["endpoints", "shop"]);
    assert_eq!(shown["items"][0]["endpoints"][0]["pod"], "shop-pod-0");
    assert_eq!(shown["items"][0]["endpoints"][0]["state"], "ready");

    let (code, text) = asked.run(&["certs"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("web/cert") && text.contains(HOST), "{text}");
    let left = asked.json(&["certs"])["items"][0]["days_left"].as_i64().expect("a number");
    let days = |days: i64| asked.run(&["certs", &format!("--days={days}")]).0;
    assert_eq!((days(left), days(left + 1)), (0, 1), "one that ends within as many days");

    let (code, text) = asked.run(&["diagnostics"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("warning Ingress web/shop: metadata.annotations"), "{text}");
    let (code, text) = asked.run(&["diagnostics", "--severity=warning"]);
    assert!(code == 0 && !text.contains("error "), "{text}");

    // The same over the port, by an address.
    let port = format!("http://{}", asked.site.admin);
    let (code, text, error) =
        said(penstock(&["routes", "--address", &port]).output().expect("it starts"));
    assert!(code == 0 && text.contains("/cart"), "{text}{error}");
    let told = penstock(&["log-level", "debug", "--address", &port]).output().expect("it starts");
    assert_eq!(said(told).0, 3, "the port changes nothing");
}

#[test]
fn traffic_is_what_was_counted() {
    let backend = Backend::echo("shop");
    let file = shop(&[backend.address], &[("ssl-redirect", "false")]);
    let asked = Asked::start(&[("all.yaml", &file)], &[]);
    for path in ["/cart", "/cart", "/gone"] {
        let _answered = asked.site.get(HOST, path);
    }
    let counted = || asked.site.api("traffic?by=service&sort=requests&q=web");
    until("all are counted", || counted()["all"]["requests"] == 3);
    let counted = counted();
    let items = counted["items"].as_array().expect("a list");
    let (first, second) = (&items[0], &items[1]);
    assert_eq!((&first["name"]["service"], &first["requests"]), (&"shop".into(), &2.into()));
    assert_eq!((&first["statuses"]["2xx"], &first["errors"]), (&2.into(), &0.into()));
    assert!(first["latency_seconds"]["p99"].as_f64().is_some_and(|p99| p99 > 0.0));
    assert_eq!((&second["name"]["service"], &second["errors"]), (&"nothing".into(), &1.into()));
}

/// What is explained is what happens: the same requests, first thought through and then sent.
#[test]
fn what_is_explained_is_what_happens() {
    let backend = Backend::echo("shop");
    let auth = Backend::echo("auth");
    let one = |name, host, path, service, annotations| {
        let paths: &[_] = &[("ImplementationSpecific", path, service)];
        Ingress { name, annotations, host, paths, tls: None }.yaml()
    };
    let auth_url = "http://auth.web.svc.cluster.local/ask";
    let file = documents(&[
        &one("plain", "a.example.com", "/", "shop", &[]),
        &one("nobody", "b.example.com", "/", "nobody", &[]),
        &one(
            "rewritten",
            "c.example.com",
            "/v1/(.*)",
            "shop",
            &[("use-regex", "true"), ("rewrite-target", "/api/$1")],
        ),
        &one(
            "sent",
            "d.example.com",
            "/",
            "shop",
            &[("permanent-redirect", "https://x.example/y")],
        ),
        &one("kept", "e.example.com", "/", "shop", &[("whitelist-source-range", "10.0.0.0/8")]),
        &one("safe", "f.example.com", "/", "shop", &[("force-ssl-redirect", "true")]),
        &one("asked", "g.example.com", "/", "shop", &[("auth-url", auth_url)]),
        &one(
            "copied",
            "h.example.com",
            "/",
            "shop",
            &[("mirror-target", "http://192.0.2.77:9/copy")],
        ),
        &one("small", "i.example.com", "/", "shop", &[("proxy-body-size", "5")]),
        &one("broken", "j.example.com", "/", "shop", &[("auth-type", "basic")]),
        &service("shop", &[backend.address]),
        &service("auth", &[auth.address]),
    ]);
    let settings = config_map(&[("block-user-agents", "evil")]);
    let files = [("all.yaml", &*file), ("settings.yaml", &*settings)];
    let asked = Asked::start(&files, &["--configmap=web/controller"]);
    let cases = [
        ("GET", "a.example.com", "/x/../y?z=1", ""),
        ("GET", "a.example.com", "/../..", ""),
        ("GET", "a.example.com", "/", "User-Agent: evil"),
        ("TRACE", "a.example.com", "/", ""),
        ("get", "a.example.com", "/", ""),
        ("GET", "a.example.com", "/", "Bad Name: x"),
        ("GET", "b.example.com", "/", ""),
        ("GET", "c.example.com", "/v1/cart", ""),
        ("GET", "c.example.com", "/v2/cart", ""),
        ("GET", "d.example.com", "/", ""),
        ("GET", "e.example.com", "/", ""),
        ("GET", "f.example.com", "/a", ""),
        ("POST", "i.example.com", "/", "Content-Length: 6"),
        ("GET", "j.example.com", "/", ""),
        ("GET", "nobody.example.org", "/", ""),
        ("GET", "nobody.example.org", "/healthz", ""),
    ];
    for (method, host, target, header) in cases {
        let url = format!("http://{host}{target}");
        let mut arguments = vec!["explain", method, &url];
        if !header.is_empty() {
            arguments.extend(["-H", header]);
        }
        let explained = asked.json(&arguments);
        let lines = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        let body = if header.starts_with("Content-Length") { "abcdef" } else { "" };
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}Connection: close\r\n\r\n{body}"
        );
        let reply = exchange(asked.site.http, &request);
        let outcome = &explained["outcome"];
        let case = format!("{method} {url} {header}: {explained:#}");
        match outcome["kind"].as_str() {
            Some("answer") => {
                assert_eq!(outcome["status"], reply.status, "{case}");
                assert_eq!(reply.line("backend: "), None, "{case}");
                let mut fields = outcome["fields"].as_array().expect("a list").iter();
                let location = fields.find(|own| own["name"] == "Location");
                let location = location.and_then(|own| own["value"].as_str());
                assert_eq!(location, reply.header("location"), "{case}");
                let last = explained["stages"].as_array().and_then(|all| all.last());
                assert_eq!(last.expect("some")["verdict"], "answer", "{case}");
            }
            Some("forward") => {
                let target = outcome["target"].as_str().expect("text");
                assert_eq!(reply.status, 200, "{case}");
                assert!(reply.text().contains(&format!("GET {target} HTTP/1.1")), "{case}");
            }
            other => panic!("{other:?}: {case}"),
        }
    }
    let before = backend.connections();
    let stage = |explained: &Value, name: &str| {
        let stages = explained["stages"].as_array().expect("a list").iter();
        stages.clone().find(|own| own["stage"] == name).cloned().unwrap_or_default()
    };
    // Others decide, who are not asked.
    let explained = asked.json(&["explain", "http://g.example.com/"]);
    let external = stage(&explained, "external-auth");
    assert_eq!(
        (&external["verdict"], &explained["outcome"]["kind"]),
        (&"ask".into(), &"forward".into())
    );
    assert_eq!(external["detail"], format!("GET {auth_url}"));
    assert_eq!(external["causes"][0]["key"], "nginx.ingress.kubernetes.io/auth-url");
    let explained = asked.json(&["explain", "http://h.example.com/"]);
    let mirror = stage(&explained, "mirror");
    assert_eq!(
        (&mirror["verdict"], &mirror["detail"]),
        (&"ask".into(), &"a copy for 192.0.2.77:9".into())
    );
    let copies = asked.site.series("penstock_mirrored_requests_total", &[]);
    assert_eq!((auth.connections(), copies.unwrap_or(0.0) as u64), (0, 0));
    assert_eq!(backend.connections(), before);
    // Somebody else's address.
    let explained = asked.json(&["explain", "http://e.example.com/", "--from=10.1.2.3"]);
    assert_eq!(explained["outcome"]["kind"], "forward");
}

#[test]
fn who_explains_uses_up_no_limit_and_is_no_traffic() {
    let backend = Backend::echo("shop");
    let limits = [("limit-rps", "1"), ("limit-burst-multiplier", "1"), ("ssl-redirect", "false")];
    let file = shop(&[backend.address], &limits);
    let asked = Asked::start(&[("all.yaml", &file)], &[]);
    let limited = |explained: Value| {
        let stages = explained["stages"].as_array().expect("a list").clone();
        stages.into_iter().find(|own| own["stage"] == "limits").expect("it is limited")
    };
    let explain = || asked.site.explain(&format!("url=http://{HOST}/cart"));
    for _ in 0..20 {
        assert_eq!(limited(explain())["verdict"], "pass");
    }
    assert_eq!(asked.site.get(HOST, "/cart").status, 200);
    // From here on it is over the limit, for a second; whoever explains does not make it last.
    until("that alone is counted", || asked.site.api("status")["traffic"]["requests"] == 1);
    assert_eq!(backend.connections(), 1);
    until("the limit lets another one in", || asked.site.get(HOST, "/cart").status == 200);
}

#[test]
fn what_is_written_for_endpoints_alone_is_not_told() {
    let own = Ingress {
        name: "shop",
        annotations: &[(
            "configuration-snippet",
            "proxy_set_header X-Key \"of-the-endpoint\"; proxy_set_header X-Real-IP 192.0.2.7;",
        )],
        host: HOST,
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let map = config_map(&[
        ("allow-snippet-annotations", "true"),
        ("annotations-risk-level", "Critical"),
    ]);
    let shop = nobody();
    let files = documents(&[&own.yaml(), &service("shop", &[shop]), &map]);
    let asked = Asked::start(&[("all.yaml", &files)], &["--configmap=web/controller"]);
    let url = format!("http://{HOST}/");
    let explained = asked.json(&["explain", &url, "-H", "X-Mine: one"]);
    let told = explained.to_string();
    assert!(!told.contains("of-the-endpoint"), "{explained:#}");
    let fields = explained["outcome"]["fields"].to_string();
    for part in ["X-Key", "(not shown)", "192.0.2.7", "X-Mine"] {
        assert!(fields.contains(part), "{part}: {explained:#}");
    }
}

#[test]
fn handshakes_are_explained() {
    let backend = Backend::echo("shop");
    let file = shop(&[backend.address], &[]);
    let settings = config_map(&[("ssl-reject-handshake", "true")]);
    let files = [("all.yaml", &*file), ("settings.yaml", &*settings)];
    let asked = Asked::start(&files, &["--configmap=web/controller"]);
    let explained = asked.json(&["explain", &format!("https://{HOST}/cart")]);
    assert_eq!(explained["stages"][0]["stage"], "handshake");
    let detail = explained["stages"][0]["detail"].as_str().expect("text");
    assert!(detail.contains("Secret web/cert"), "{detail}");
    let explained =
        asked.json(&["explain", &format!("https://{HOST}/cart"), "--sni=other.example"]);
    assert_eq!(explained["outcome"]["kind"], "no-handshake");
    assert_eq!(explained["stages"][0]["causes"][0]["key"], "ssl-reject-handshake", "{explained:#}");
    let (code, text) = asked.run(&["explain", &format!("http://{HOST}/cart"), "--all-stages"]);
    assert_eq!(code, 0);
    assert!(text.contains("is answered 308:\n") && text.contains("not reached"), "{text}");
}

#[test]
fn requests_are_shown_as_they_are_answered_without_secrets() {
    let backend = Backend::echo("shop");
    let file = shop(&[backend.address], &[("ssl-redirect", "false")]);
    let asked = Asked::start(&[("all.yaml", &file)], &[]);
    let tap = |arguments: &[&str]| {
        let mut command = asked.command(&[&["tap", "--count=2"], arguments].concat());
        command.stdout(Stdio::piped()).spawn().expect("it starts")
    };
    let mut all = tap(&["--output=json", "--host", HOST, "--status=2xx"]);
    let mut people = tap(&["--path=/cart"]);
    let request = format!(
        "GET /cart/a?token=hushquery HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer hushbearer\r\n\
         Cookie: session=hushcookie\r\nConnection: close\r\n\r\n"
    );
    // Nobody is told when a tap is open.
    until("both have seen enough", || {
        assert_eq!(exchange(asked.site.http, &request).status, 200);
        assert_eq!(asked.site.get(HOST, "/gone").status, 503);
        let ended = |child: &mut std::process::Child| child.try_wait().expect("a child").is_some();
        let (one, two) = (ended(&mut all), ended(&mut people));
        one && two
    });
    let (code, text, _) = said(all.wait_with_output().expect("it has ended"));
    assert_eq!(code, 0);
    let requests: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let requests: Vec<_> = requests.iter().filter(|own| own["lost"].is_null()).collect();
    assert_eq!(requests.len(), 2, "{text}");
    for own in requests {
        assert_eq!((&own["status"], &own["path"]), (&200.into(), &"/cart/a".into()), "{own}");
        assert_eq!((&own["has_query"], &own["host"]), (&true.into(), &HOST.into()));
        assert_eq!(own["ingress"]["name"], "shop");
        assert_eq!(own["endpoint"], backend.address.to_string());
        let seconds = |name: &str| own["seconds"][name].as_f64().expect("it is measured");
        let parts = ["before", "connect", "wait", "answer"].map(seconds);
        let sum: f64 = parts.iter().sum();
        assert!((sum - seconds("total")).abs() < 1e-5, "{own}");
    }
    let (_, lines, _) = said(people.wait_with_output().expect("it has ended"));
    assert_eq!(lines.lines().count(), 2, "{lines}");
    for secret in ["hushquery", "hushbearer", "hushcookie"] {
        assert!(!text.contains(secret) && !lines.contains(secret), "{secret}: {text}{lines}");
    }
    assert_eq!(said(asked.command(&["tap", "--status=abc"]).output().expect("it starts")).0, 2);
}

#[test]
fn no_more_than_eight_watch_and_their_places_are_free_again() {
    let asked = Asked::start(&[("all.yaml", &ingress(HOST, "shop"))], &[]);
    let open = || {
        let mut stream = std::net::TcpStream::connect(asked.site.admin).expect("it listens");
        let request = "GET /api/v1/tap HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it is read");
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).expect("an answer");
        (begin, stream)
    };
    let mut all: Vec<_> = (0..8).map(|_| open()).collect();
    assert!(all.iter().all(|(begin, _)| begin == b"HTTP/1.1 200"));
    assert_eq!(&open().0, b"HTTP/1.1 503");
    drop(all.pop());
    until("its place is free", || &open().0 == b"HTTP/1.1 200");
}

#[test]
fn what_others_wrote_is_not_obeyed_by_a_terminal() {
    let escape = "\u{1b}]0;owned\u{7}\u{1b}[2J";
    let odd = Ingress {
        name: "odd",
        annotations: &[("rewrite-target", escape), ("canary-weight", escape), ("canary", escape)],
        host: HOST,
        paths: &[("Prefix", "/\u{202e}evil", "shop")],
        tls: None,
    };
    let asked = Asked::start(&[("all.yaml", &odd.yaml())], &[]);
    let url = format!("http://{HOST}/%1b[2J");
    for arguments in [
        &["routes"][..],
        &["diagnostics"],
        &["explain", &url, "-H", "X: \u{9b}2J"],
        &["endpoints"],
        &["status"],
        &["explain", "http://\u{1b}/"],
        &["routes", "--bogus\u{1b}[2J"],
    ] {
        let (_, out, error) = said(asked.command(arguments).output().expect("it starts"));
        for own in [&out, &error] {
            let odd = |own: char| own.is_control() && own != '\n' || own == '\u{202e}';
            assert!(!own.contains(odd), "{arguments:?}: {own:?}");
        }
    }
    let (_, colored) = asked.run(&["status", "--color=always"]);
    assert!(colored.contains("\u{1b}[32myes\u{1b}[0m"), "{colored:?}");
}

#[test]
fn an_agent_that_is_not_there_or_hangs_is_told_from_one_that_refuses() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("hangs.sock");
    let socket = path.display().to_string();
    let listener = UnixListener::bind(&path).expect("a socket");
    let run = |arguments: &[&str]| said(penstock(arguments).output().expect("it starts"));
    // It takes connections, and says nothing.
    let (code, out, error) = run(&["status", "--timeout=1", "--admin-socket", &socket]);
    assert_eq!((code, &*out), (3, ""));
    assert!(error.contains("does not answer") && error.contains("1 s"), "{error}");
    // It begins to answer, and stops.
    let held = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&held);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let mut stream = stream;
            // No answer comes before its question.
            let _asked = read_head(&mut reader);
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{";
            let _gone = stream.write_all(head);
            kept.lock().expect("nobody panics").push(stream);
        }
    });
    for command in ["status", "routes", "tap"] {
        let (code, _, error) = run(&[command, "--timeout=1", "--admin-socket", &socket]);
        assert_eq!(code, 3, "{command}: {error}");
        assert!(error.contains("does not answer"), "{command}: {error}");
    }
    let (code, _, error) = run(&["routes", "--admin-socket=/no/such/place"]);
    assert_eq!(code, 3);
    assert!(error.contains("/no/such/place") && error.contains("--admin-socket"), "{error}");
    // Nobody.
    let address = format!("http://{}", nobody());
    assert_eq!(run(&["routes", "--address", &address]).0, 3);
    for wrong in ["localhost:1", "https://localhost:1", "http://localhost", "http://:x"] {
        assert_eq!(run(&["routes", "--address", wrong]).0, 2, "{wrong}");
    }
    assert_eq!(run(&["explain", "--bogus"]).0, 2);
}

#[test]
fn only_this_user_and_this_machine_by_its_own_name_may_ask() {
    let asked = Asked::start(&[("all.yaml", &ingress(HOST, "shop"))], &[]);
    let mode = std::fs::metadata(&asked.socket).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let status = |method: &str, host: &str, target: &str| {
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        exchange(asked.site.admin, &request).status
    };
    for host in ["localhost", "127.0.0.1:1", "[::1]"] {
        assert_eq!(status("GET", host, "/api/v1/status"), 200, "{host}");
    }
    // A page in a browser that was led here by its own name.
    let targets = ["/api/v1/status", "/api/v1/tap", "/api/v1", "/api/v1/explain?url=http://a/"];
    for target in targets.into_iter().chain(["/state", "/log-level"]) {
        assert_eq!(status("GET", "rebound.example", target), 403, "{target}");
        // Or one that asks for something of ours.
        for field in ["Origin: http://a.example", "Sec-Fetch-Site: cross-site"] {
            let host = format!("localhost\r\n{field}");
            assert_eq!(status("GET", &host, target), 403, "{target} {field}");
        }
    }
    // Guessing is for nobody who could not read the passwords' file.
    let guess = "/api/v1/explain?url=http://a/&header=authorization%3A%20Basic%20YTpi";
    assert_eq!(status("GET", "localhost", guess), 403);
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(status(method, "localhost", "/api/v1/status"), 405, "{method}");
    }
    for (target, wanted) in [
        ("/api/v1", 200),
        ("/api/v1/", 200),
        ("/api/v1/nothing", 404),
        ("/api/v10", 404),
        ("/api/v1/routes?per=0", 400),
        ("/api/v1/routes?per=1001", 400),
        ("/api/v1/routes?hots=a", 400),
        ("/api/v1/routes?page=1&page=2", 400),
        ("/api/v1/diagnostics?severity=loud", 400),
        ("/api/v1/traffic?by=nothing", 400),
        ("/api/v1/explain", 400),
        ("/api/v1/explain?url=/a", 400),
        ("/api/v1/explain?url=http://a/&from=x", 400),
        ("/api/v1/explain?url=http://a/&header=a%0d%0ab:c", 400),
        ("/api/v1/explain?url=http://a/&method=A%20B", 400),
        ("/api/v1/tap?status=700-600", 400),
    ] {
        assert_eq!(status("GET", "localhost", target), wanted, "{target}");
    }
}

#[test]
fn long_lists_are_whole() {
    let mut file = String::new();
    for number in 0..2300 {
        let host = format!("h{number}.example.com");
        file.push_str(&documents(&[&Ingress {
            name: &format!("i{number}"),
            annotations: &[],
            host: &host,
            paths: &[("Prefix", "/", "shop")],
            tls: None,
        }
        .yaml()]));
        file.push_str("---\n");
    }
    let asked = Asked::start(&[("all.yaml", &file)], &[]);
    let routes = asked.json(&["routes", "-q", "example.com"]);
    assert_eq!(routes["total"], 2300);
    let (_, text) = asked.run(&["routes", "-q", "h2299.example.com"]);
    assert_eq!(text.lines().count(), 2);
    let page = asked.site.api("routes?q=example.com&per=7&page=329");
    assert_eq!((&page["total"], &page["page"]), (&2300.into(), &329.into()));
    assert_eq!(page["items"].as_array().map(Vec::len), Some(4), "7 * 328 = 2296");
    // Who reads enough of it is no fault: `| head -1`.
    let mut child = asked.command(&["routes"]).stdout(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn completions_and_manual_pages_are_made_of_the_arguments() {
    for (shell, part) in
        [("bash", "complete -F"), ("zsh", "#compdef penstock"), ("fish", "-l status")]
    {
        let (code, text, _) = said(penstock(&["completions", shell]).output().expect("it starts"));
        assert_eq!(code, 0);
        assert!(text.contains(part) && text.contains("diagnostics"), "{shell}");
    }
    assert_eq!(said(penstock(&["completions", "dos"]).output().expect("it starts")).0, 2);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let place = folder.path().join("man1");
    let path = place.display().to_string();
    assert_eq!(said(penstock(&["man", &path]).output().expect("it starts")).0, 0);
    for name in ["penstock", "penstock-explain", "penstock-run", "kubectl-penstock-routes"] {
        let page = std::fs::read_to_string(place.join(format!("{name}.1"))).expect("a page");
        assert!(page.contains(".SH NAME") && page.contains(".TH"), "{name}: {page}");
    }
    let page = std::fs::read_to_string(place.join("penstock-tap.1")).expect("a page");
    assert!(page.contains("Exit code 0"), "{page}");
}

#[test]
fn kubectl_finds_the_binary_by_its_name() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let plugin = folder.path().join("kubectl-penstock");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_penstock"), &plugin).expect("a link");
    let run = |arguments: &[&str]| {
        said(Command::new(&plugin).args(arguments).output().expect("it starts"))
    };
    let (code, text, _) = run(&["--help"]);
    assert_eq!(code, 0);
    assert!(text.contains("Usage: kubectl penstock") && text.contains("routes"), "{text}");
    assert_eq!(run(&["bogus"]).0, 2);
    let (code, _, error) = run(&["status", "--kubeconfig=/no/such/file"]);
    assert_eq!(code, 3);
    assert!(error.contains("/no/such/file"), "{error}");
    let (code, _, error) = run(&["tap", "--all"]);
    assert_eq!(code, 2, "{error}");
}

/// A request that an endpoint never answers is neither shown nor lost.
#[test]
fn a_request_is_shown_when_it_has_ended() {
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let backend = Backend::scripted(move |stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let mut writer = stream;
        if read_request(&mut reader).is_some() {
            let _told = ended.lock().expect("nobody panics").recv();
            let _gone = writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let file = shop(&[backend.address], &[]);
    let asked = Asked::start(&[("all.yaml", &file)], &[]);
    let mut stream = std::net::TcpStream::connect(asked.site.admin).expect("it listens");
    let request = "GET /api/v1/tap?host=SHOP.example.com HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it is read");
    let mut told = Vec::new();
    let mut byte = [0];
    // The first, empty line: the tap is open.
    while !told.ends_with(b"\r\n1\r\n\n") {
        stream.read_exact(&mut byte).expect("the head and an empty line");
        told.extend(byte);
    }
    let https = asked.site.https;
    let client = thread::spawn(move || {
        let (mut connection, _) = tls(https, HOST);
        connection.request(&format!("GET /cart HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).status
    });
    until("it is under way", || asked.site.api("status")["traffic"]["in_progress"] == 1);
    end.send(()).expect("it waits");
    assert_eq!(client.join().expect("no panic"), 200);
    let mut line = Vec::new();
    while !line.ends_with(b"}\n") {
        stream.read_exact(&mut byte).expect("the request");
        line.extend(byte);
    }
    let text = String::from_utf8(line).expect("text");
    let json = text.split_once('{').map(|(_, rest)| format!("{{{rest}")).expect("an object");
    let own: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&own["scheme"], &own["status"]), (&"https".into(), &200.into()), "{own}");
}
