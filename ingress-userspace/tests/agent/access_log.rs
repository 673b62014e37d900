//! The access log: what is in a line, where lines go, and that nobody waits for them.

use std::{
    fs,
    io::Write as _,
    net::UdpSocket,
    path::{Path, PathBuf},
    time::Duration,
};

use data_encoding::BASE64;

use crate::support::{
    Backend, Connection, Ingress, Site, config_map, documents, exchange, nobody, read_request,
    saying, service, tls, until,
};

/// A site whose lines go to a file.
pub(crate) struct Logged {
    pub(crate) site: Site,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl Logged {
    pub(crate) fn start(
        settings: &[(&str, &str)],
        annotations: &[(&str, &str)],
        shop: &Backend,
    ) -> Self {
        Self::with(settings, annotations, &[shop.address])
    }

    fn with(
        settings: &[(&str, &str)],
        annotations: &[(&str, &str)],
        endpoints: &[std::net::SocketAddr],
    ) -> Self {
        Self::on(settings, annotations, &service("shop", endpoints))
    }

    /// With a Service for pages too.
    fn with_page(
        settings: &[(&str, &str)],
        annotations: &[(&str, &str)],
        shop: &Backend,
        page: &Backend,
    ) -> Self {
        let services = [service("shop", &[shop.address]), service("page", &[page.address])];
        Self::on(settings, annotations, &documents(&[&services[0], &services[1]]))
    }

    pub(crate) fn on(
        settings: &[(&str, &str)],
        annotations: &[(&str, &str)],
        services: &str,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("access.log");
        let named = path.display().to_string();
        let mut data = vec![("access-log-path", &*named)];
        data.extend(settings);
        let ingress = Ingress {
            name: "shop",
            annotations,
            host: "shop.example.com",
            paths: &[("Prefix", "/", "shop")],
            tls: None,
        };
        let parts = [ingress.yaml(), services.to_owned(), config_map(&data)];
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        let files = [("all.yaml", &*documents(&parts))];
        let arguments = ["--configmap=web/controller"];
        // Lines of one worker keep their order.
        let site = Site::start_with(&files, &arguments, |config| config.workers = 1);
        Self { site, folder, path }
    }

    /// So many lines, once they are there.
    pub(crate) fn lines(&self, count: usize) -> Vec<String> {
        let read = || fs::read_to_string(&self.path).unwrap_or_default();
        until("the lines are written", || read().lines().count() >= count);
        let lines: Vec<_> = read().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), count, "{lines:#?}");
        lines
    }

    pub(crate) fn ask(&self, text: &str) -> u16 {
        exchange(self.site.http, text).status
    }
}

pub(crate) const ANSWER: &str =
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-pod: a \"b\"\r\n\r\nhello";

#[test]
fn a_line_is_that_of_ingress_nginx() {
    let shop = saying(ANSWER);
    let logged = Logged::start(&[], &[], &shop);
    let password = BASE64.encode(b"ann:secret");
    let request = format!(
        "GET /a%20b?c=\"d\" HTTP/1.1\r\nhost: shop.example.com\r\nauthorization: Basic {password}\r\n\
         user-agent: Mozilla\\5\r\nreferer: http://a/\r\nx-request-id: abc\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(logged.ask(&request), 200);
    let line = &logged.lines(1)[0];
    let (address, rest) = line.split_once(" - ann [").expect(line);
    assert_eq!(address, "127.0.0.1");
    let (time, rest) = rest.split_once("] ").expect(line);
    assert_eq!((time.len(), &time[2..3], &time[11..12]), (26, "/", ":"), "{line}");
    let (middle, rest) = rest.split_once(" [web-shop-80] [] ").expect(line);
    let (middle, duration) = middle.rsplit_once(' ').expect(line);
    let expected = format!(
        r#""GET /a%20b?c=\x22d\x22 HTTP/1.1" 200 5 "http://a/" "Mozilla\x5C5" {}"#,
        request.len()
    );
    assert_eq!(middle, expected);
    is_duration(duration);
    let rest: Vec<_> = rest.split(' ').collect();
    assert_eq!(rest[..2], [&*shop.address.to_string(), "5"], "{line}");
    is_duration(rest[2]);
    assert_eq!(rest[3..], ["200", "abc"]);
}

fn is_duration(text: &str) {
    let (seconds, rest) = text.split_once('.').expect(text);
    assert!(seconds.parse::<u64>().expect(text) < 20 && rest.len() == 3, "{text}");
}

#[test]
fn json_can_be_read_whatever_the_client_sends() {
    let shop = saying(ANSWER);
    let format = r#"{"path":"$uri","agent":"$http_user_agent","host":"$host","query":"$args","none":"$http_none","status":$status,"ns":"$namespace/$ingress_name/$service_name","pod":"$sent_http_x_pod$upstream_http_x_pod","proto":"$server_protocol","done":"$request_completion","ssl":"$ssl_protocol"}"#;
    let settings = [("log-format-upstream", format), ("log-format-escape-json", "true")];
    let logged = Logged::start(&settings, &[], &shop);
    let request =
        "GET /x?q=1 HTTP/1.1\r\nhost: SHOP.example.com:80\r\nuser-agent: \"\\\t\u{e9}\r\n\r\n";
    assert_eq!(logged.ask(&request.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")), 200);
    let line = &logged.lines(1)[0];
    let read: serde_json::Value = serde_json::from_str(line).expect(line);
    let expected = serde_json::json!({
        "path": "/x", "agent": "\"\\\t\u{e9}", "host": "shop.example.com", "query": "q=1",
        "none": "", "status": 200, "ns": "web/shop/shop", "pod": "a \"b\"a \"b\"",
        "proto": "HTTP/1.1", "done": "OK", "ssl": "",
    });
    assert_eq!(read, expected);
}

#[test]
fn every_attempt_is_in_the_line() {
    let shop = saying(ANSWER);
    let dead = nobody();
    let settings = [(
        "log-format-upstream",
        "$upstream_addr|$upstream_status|$upstream_response_length|$upstream_response_time|$upstream_connect_time|$status",
    )];
    let logged = Logged::with(&settings, &[], &[dead, shop.address]);
    let ask =
        || logged.ask("GET / HTTP/1.1\r\nhost: shop.example.com\r\nconnection: close\r\n\r\n");
    // Which of both is asked first is the balancer's choice; the second request has the other one.
    assert_eq!((ask(), ask()), (200, 200));
    let lines = logged.lines(2);
    let both = lines.iter().find(|line| line.contains(", ")).expect("one had two attempts");
    let parts: Vec<_> = both.split('|').collect();
    assert_eq!(parts[0], format!("{dead}, {}", shop.address));
    assert_eq!((parts[1], parts[2], parts[5]), ("502, 200", "0, 5", "200"));
    parts[3].split(", ").for_each(is_duration);
    let (first, second) = parts[4].split_once(", ").expect(both);
    assert_eq!(first, "-");
    is_duration(second);
}

#[test]
fn what_no_endpoint_answered_is_written_too() {
    let shop = saying(ANSWER);
    let settings = [(
        "log-format-upstream",
        "$status $body_bytes_sent [$proxy_upstream_name] $upstream_addr \"$request\"",
    )];
    let logged = Logged::start(&settings, &[], &shop);
    let get = |host: &str| logged.site.get(host, "/");
    let missing = get("other.example.com");
    assert_eq!(missing.status, 404);
    let mut bad = Connection::open(logged.site.http);
    bad.send("GET / HTTP/1.1\r\nhost : a\r\n\r\n");
    let reply = bad.reply(false).expect("an answer");
    assert_eq!(reply.status, 400);
    let mut lines = logged.lines(2);
    lines.sort();
    assert_eq!(lines[0], format!("400 {} [-] - \"-\"", reply.body.len()));
    assert_eq!(lines[1], format!("404 {} [-] - \"GET / HTTP/1.1\"", missing.body.len()));
}

#[test]
fn tls_and_its_version_are_in_the_line() {
    let shop = saying(ANSWER);
    let settings = [(
        "log-format-upstream",
        "$scheme $ssl_protocol $ssl_cipher $ssl_server_name $ssl_session_reused",
    )];
    let logged = Logged::start(&settings, &[], &shop);
    let (mut connection, _) = tls(logged.site.https, "shop.example.com");
    let reply =
        connection.request("GET / HTTP/1.1\r\nhost: shop.example.com\r\nconnection: close\r\n\r\n");
    assert_eq!(reply.status, 200);
    let line = &logged.lines(1)[0];
    let parts: Vec<_> = line.split(' ').collect();
    assert_eq!(
        (parts[0], parts[1], parts[3], parts[4]),
        ("https", "TLSv1.3", "shop.example.com", ".")
    );
    assert!(parts[2].starts_with("TLS_AES_"), "{line}");
}

#[test]
fn what_is_to_be_skipped_is() {
    let shop = saying(ANSWER);
    let settings = [
        ("skip-access-log-urls", "/health,~^/quiet/,~*\\.PNG$"),
        ("log-format-upstream", "$request_uri"),
    ];
    let logged = Logged::start(&settings, &[], &shop);
    for target in ["/HEALTH", "/health?x", "/quiet/a", "/Quiet/a", "/a.png", "/last"] {
        assert_eq!(logged.site.get("shop.example.com", target).status, 200);
    }
    assert_eq!(logged.lines(3), ["/health?x", "/Quiet/a", "/last"]);
}

#[test]
fn an_ingress_can_be_left_out() {
    let shop = saying(ANSWER);
    let settings = [("log-format-upstream", "$host")];
    let logged = Logged::start(&settings, &[("enable-access-log", "false")], &shop);
    assert_eq!(logged.site.get("shop.example.com", "/").status, 200);
    assert_eq!(logged.site.get("other.example.com", "/").status, 404);
    assert_eq!(logged.lines(1), ["other.example.com"]);
}

#[test]
fn what_cannot_be_understood_is_told_and_the_usual_line_is_written() {
    let shop = saying(ANSWER);
    let logged = Logged::start(&[("log-format-upstream", "$status $nonsense")], &[], &shop);
    let said = logged.site.state()["diagnostics"].to_string();
    assert!(said.contains("data.log-format-upstream") && said.contains("$nonsense"), "{said}");
    assert_eq!(logged.site.get("shop.example.com", "/").status, 200);
    assert!(logged.lines(1)[0].contains("[web-shop-80]"));
}

#[test]
fn a_file_that_is_moved_away_is_begun_again() {
    let shop = saying(ANSWER);
    let logged = Logged::start(&[("log-format-upstream", "$uri")], &[], &shop);
    let get = |target: &str| assert_eq!(logged.site.get("shop.example.com", target).status, 200);
    get("/before");
    assert_eq!(logged.lines(1), ["/before"]);
    let old = logged.path.with_extension("old");
    fs::rename(&logged.path, &old).expect("it is there");
    until("there is a new file", || {
        get("/after");
        logged.path.exists()
    });
    until("a line is in it", || {
        fs::read_to_string(&logged.path).is_ok_and(|text| text.starts_with("/after\n"))
    });
    assert!(fs::read_to_string(&old).expect("it is there").starts_with("/before\n"));
}

#[test]
fn lines_go_to_a_syslog_server() {
    let server = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    server.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let port = server.local_addr().expect("bound").port().to_string();
    let shop = saying(ANSWER);
    let settings = [
        ("enable-syslog", "true"),
        ("syslog-host", "127.0.0.1"),
        ("syslog-port", &port),
        ("log-format-upstream", "$status $uri"),
    ];
    let logged = Logged::start(&settings, &[], &shop);
    assert_eq!(logged.site.get("shop.example.com", "/a").status, 200);
    let mut message = [0; 1024];
    let length = server.recv(&mut message).expect("a message");
    let text = String::from_utf8_lossy(&message[..length]);
    assert!(text.starts_with("<190>") && text.ends_with(" nginx: 200 /a"), "{text}");
}

#[test]
fn nobody_waits_for_lines_that_are_not_taken() {
    // A pipe that nobody reads is full after 64 KiB.
    let folder = tempfile::tempdir().expect("a temporary directory");
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    // Somebody has it open, so that opening it does not wait.
    let _reader = open_both(&pipe);
    let shop = saying(ANSWER);
    let long = "x".repeat(4000);
    let path = pipe.display().to_string();
    let settings = [("http-access-log-path", &*path), ("log-format-upstream", &*long)];
    let logged = Logged::start(&settings, &[], &shop);
    let mut connection = Connection::open(logged.site.http);
    // More than the pipe and all buffers on the way hold.
    for _ in 0..6000 {
        let reply = connection.request("GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n");
        if reply.status != 200 {
            unreachable!("{reply:?}");
        }
        if reply.header("connection") == Some("close") {
            connection = Connection::open(logged.site.http);
        }
    }
    until("the lost lines are counted", || {
        logged.site.metric("penstock_access_log_lines_total{outcome=\"lost\"}").unwrap_or(0) > 0
    });
}

fn open_both(path: &Path) -> fs::File {
    let mut file = fs::OpenOptions::new().read(true).write(true).open(path).expect("the pipe");
    file.flush().expect("it is open");
    file
}

#[test]
fn the_last_lines_are_written_at_the_end() {
    let shop = saying(ANSWER);
    let Logged { site, folder: _folder, path } =
        Logged::start(&[("log-format-upstream", "$uri")], &[], &shop);
    assert_eq!(site.get("shop.example.com", "/last").status, 200);
    site.signal(ingress_userspace::lifecycle::Stop::Gracefully);
    assert!(site.wait());
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "/last\n");
}

#[test]
fn bodies_count_in_both_directions() {
    let shop = Backend::scripted(|mut stream, _| {
        let mut reader = std::io::BufReader::new(stream.try_clone().expect("a second handle"));
        while let Some((_, body)) = read_request(&mut reader) {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len() * 2);
            let answer = [head.as_bytes(), &body, &body].concat();
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    });
    let format = "$request_length $body_bytes_sent $bytes_sent $upstream_response_length";
    let logged = Logged::start(&[("log-format-upstream", format)], &[], &shop);
    let body = "b".repeat(100_000);
    let head = format!(
        "POST / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let reply = exchange(logged.site.http, &[&*head, &body].concat());
    assert_eq!(reply.body.len(), 200_000);
    let line = &logged.lines(1)[0];
    let numbers: Vec<usize> = line.split(' ').map(|word| word.parse().expect(line)).collect();
    assert_eq!(numbers[0], head.len() + 100_000);
    assert_eq!((numbers[1], numbers[3]), (200_000, 200_000));
    assert!((200_050..201_000).contains(&numbers[2]), "{line}");
}

#[test]
fn what_a_default_backend_answered_is_in_the_line() {
    let shop = saying("HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\noops");
    let page = saying("HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-type: text/x\r\n\r\npage");
    let settings = [
        ("custom-http-errors", "404"),
        (
            "log-format-upstream",
            "$status|$upstream_status|$upstream_addr|$sent_http_content_type|$request_completion",
        ),
    ];
    let logged = Logged::with_page(&settings, &[("default-backend", "page")], &shop, &page);
    let reply = logged.site.get("shop.example.com", "/");
    assert_eq!(reply.text(), "page");
    let expected =
        format!("{}|404, 200|{}, {}|text/x|OK", reply.status, shop.address, page.address);
    assert_eq!(logged.lines(1), [expected]);
}
