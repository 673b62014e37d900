//! `backend-protocol: FCGI`: applications that speak FastCGI, and those that speak it badly.

use std::{
    io::{BufReader, Read, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use crate::support::{
    Backend, Connection, DEADLINE, Ingress, Site, certificate, config_map, documents, exchange,
    secret_of, service, tls, until,
};

const HOST: &str = "shop.example.com";

/// Types of records (specification 1.0, section 8).
const BEGIN: u8 = 1;
const END: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;

/// The application's end of a connection.
struct Application {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Application {
    fn on(stream: TcpStream) -> Self {
        let reader = BufReader::new(stream.try_clone().expect("a second handle"));
        Self { reader, writer: stream }
    }

    fn record(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 8];
        self.reader.read_exact(&mut header).ok()?;
        let [version, kind, id @ .., high, low, padding, reserved] = header;
        assert_eq!((version, id, reserved), (1, [0, 1], 0));
        let mut content = vec![0; usize::from(high) << 8 | usize::from(low)];
        self.reader.read_exact(&mut content).ok()?;
        self.reader.read_exact(&mut vec![0; usize::from(padding)]).ok()?;
        Some((kind, content))
    }

    /// What it is told: a line each, in their order.
    fn parameters(&mut self) -> Option<String> {
        let (kind, content) = self.record()?;
        assert_eq!((kind, &*content), (BEGIN, &[0, 1, 0, 0, 0, 0, 0, 0][..]));
        let mut pairs = Vec::new();
        loop {
            let (kind, content) = self.record()?;
            assert_eq!(kind, PARAMS);
            if content.is_empty() {
                break;
            }
            pairs.extend(content);
        }
        let mut rest = &*pairs;
        let mut take = |length: usize| {
            let (taken, after) = rest.split_at(length);
            rest = after;
            taken.to_vec()
        };
        let mut text = String::new();
        let mut left = pairs.len();
        while left > 0 {
            let mut lengths = [0; 2];
            for length in &mut lengths {
                let first = take(1)[0];
                left -= 1;
                *length = usize::from(first);
                if first >= 0x80 {
                    let more = take(3);
                    left -= 3;
                    *length = usize::from(first & 0x7F) << 24
                        | usize::from(more[0]) << 16
                        | usize::from(more[1]) << 8
                        | usize::from(more[2]);
                }
            }
            let [name, value] =
                lengths.map(|length| String::from_utf8(take(length)).expect("text"));
            left -= lengths.iter().sum::<usize>();
            text.push_str(&format!("{name}={}\n", value.escape_debug()));
        }
        Some(text)
    }

    /// The whole body.
    fn body(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let (kind, content) = self.record()?;
            assert_eq!(kind, STDIN);
            if content.is_empty() {
                return Some(body);
            }
            body.extend(content);
        }
    }

    /// Whoever asked may have left.
    fn say(&mut self, kind: u8, content: &[u8]) {
        self.try_say(kind, content);
    }

    fn try_say(&mut self, kind: u8, content: &[u8]) -> bool {
        let length = u16::try_from(content.len()).expect("one record");
        let [high, low] = length.to_be_bytes();
        // Padding of any length is to be skipped.
        let padding = u8::try_from(content.len() % 8).expect("small");
        let mut bytes = vec![1, kind, 0, 1, high, low, padding, 0];
        bytes.extend(content);
        bytes.extend(vec![0xAA; usize::from(padding)]);
        self.writer.write_all(&bytes).is_ok()
    }

    fn end(&mut self, protocol: u8) {
        self.say(END, &[0, 0, 0, 0, protocol, 0, 0, 0]);
    }

    /// All of an answer.
    fn answer(&mut self, text: &str) {
        for piece in text.as_bytes().chunks(60_000) {
            self.say(STDOUT, piece);
        }
        self.say(STDOUT, b"");
        self.end(0);
    }
}

/// Answers every request with what it was told and how long its body was.
fn echo() -> Backend {
    Backend::scripted(|stream, _| {
        let mut own = Application::on(stream);
        let Some(parameters) = own.parameters() else { return };
        let Some(body) = own.body() else { return };
        own.answer(&format!("Content-Type: text/plain\r\n\r\n{parameters}BODY={}\n", body.len()));
    })
}

/// What an application does wrong.
type Fault = fn(&mut Application);

/// Reads the whole request, then does this.
fn scripted(serve: impl Fn(&mut Application) + Send + Sync + 'static) -> Backend {
    Backend::scripted(move |stream, _| {
        let mut own = Application::on(stream);
        if own.parameters().is_some() && own.body().is_some() {
            serve(&mut own);
        }
    })
}

/// Answers every request with this text.
fn saying(text: &'static str) -> Backend {
    scripted(move |own| own.answer(text))
}

fn map(name: &str, data: &[(&str, &str)]) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: web}}\ndata:\n"
    );
    for (key, value) in data {
        text.push_str(&format!("  {key}: {value:?}\n"));
    }
    text
}

fn manifests(annotations: &[(&str, &str)], endpoints: &[SocketAddr], more: &[String]) -> String {
    let mut all = vec![("backend-protocol", "FCGI")];
    all.extend(annotations);
    let ingress = Ingress {
        name: "shop",
        annotations: &all,
        host: HOST,
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let mut parts = vec![ingress.yaml(), service("shop", endpoints)];
    parts.extend(more.iter().cloned());
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    documents(&parts)
}

fn site(annotations: &[(&str, &str)], endpoints: &[SocketAddr], more: &[String]) -> Site {
    let files = [("all.yaml", &*manifests(annotations, endpoints, more))];
    Site::start_with(&files, &["--configmap=web/controller"], |_| {})
}

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: {HOST}:81\r\n{fields}connection: close\r\n\r\n")
}

#[test]
fn an_application_is_told_what_nginx_tells() {
    let shop = echo();
    let more = [map(
        "own",
        &[
            ("SCRIPT_FILENAME", "/srv$fastcgi_script_name"),
            ("DOCUMENT_ROOT", "/srv"),
            ("APP", "a ${host}:$arg_x $http_user_agent."),
            ("CONTENT_LENGTH", "$content_length"),
            ("HTTP_X_SAID", "ours"),
            ("PHP_VALUE", "a=1\nb=2"),
            ("PATH_INFO", "$fastcgi_path_info"),
        ],
    )];
    let annotations = [("fastcgi-index", "index.php"), ("fastcgi-params-configmap", "web/own")];
    let site = site(&annotations, &[shop.address], &more);
    let fields = "user-agent: me\r\nx-said: client\r\nProxy: evil:1\r\nx-real-ip: 6.6.6.6\r\n\
                  X_Real_Ip: 6.6.6.6\r\ncontent-type: text/x\r\nx-two: 1\r\nX-TWO: 2\r\n";
    let reply = exchange(site.http, &get("/a%20b//c/../d/?x=1&y=%32", fields));
    assert_eq!(reply.status, 200, "{}", reply.head);
    assert_eq!(reply.header("content-type"), Some("text/plain"));
    for (name, value) in [
        ("QUERY_STRING", "x=1&y=%32"),
        ("REQUEST_METHOD", "GET"),
        ("SERVER_ADDR", "127.0.0.1"),
        ("CONTENT_TYPE", "text/x"),
        ("CONTENT_LENGTH", ""),
        ("SCRIPT_NAME", "/a b/d/index.php"),
        ("SCRIPT_FILENAME", "/srv/a b/d/index.php"),
        ("REQUEST_URI", "/a%20b//c/../d/?x=1&y=%32"),
        ("DOCUMENT_URI", "/a b/d/"),
        ("DOCUMENT_ROOT", "/srv"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_SCHEME", "http"),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("SERVER_SOFTWARE", "nginx/penstock"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("SERVER_NAME", HOST),
        ("REDIRECT_STATUS", "200"),
        ("APP", "a shop.example.com:1 me."),
        ("PHP_VALUE", "a=1\\nb=2"),
        ("PATH_INFO", ""),
        ("HTTP_HOST", "shop.example.com:81"),
        ("HTTP_X_SAID", "ours"),
        ("HTTP_X_REAL_IP", "127.0.0.1"),
        ("HTTP_X_FORWARDED_FOR", "127.0.0.1"),
        ("HTTP_X_TWO", "1, 2"),
        ("BODY", "0"),
    ] {
        assert_eq!(reply.line(&format!("{name}=")), Some(value), "{name}\n{}", reply.text());
        let lines = reply.text().lines().filter(|line| line.split('=').next() == Some(name));
        assert_eq!(lines.count(), 1, "{name}");
    }
    for name in ["HTTPS", "HTTP_PROXY"] {
        assert_eq!(reply.line(&format!("{name}=")), None, "{name}");
    }
    // No index, where there is no slash.
    let reply = site.get(HOST, "/a.php");
    assert_eq!(reply.line("SCRIPT_NAME="), Some("/a.php"));
}

#[test]
fn paths_lead_nowhere_else() {
    let shop = echo();
    let more = [map("own", &[("SCRIPT_FILENAME", "/srv$fastcgi_script_name")])];
    let annotations =
        [("fastcgi-params-configmap", "own"), ("use-regex", "true"), ("rewrite-target", "/x/$1")];
    let mut all = manifests(&annotations, &[shop.address], &more);
    all = all.replace("path: \"/\"", "path: \"/app/(.*)\"");
    all = all.replace("pathType: Prefix", "pathType: ImplementationSpecific");
    let site = Site::start(&[("all.yaml", &all)]);
    for (target, script) in [
        ("/app/a.php?x", "/srv/x/a.php"),
        ("/app/b/%2e%2E/a.php", "/srv/x/a.php"),
        ("/app/%252e%252e/a.php", "/srv/x/%2e%2e/a.php"),
    ] {
        let reply = site.get(HOST, target);
        assert_eq!(reply.line("SCRIPT_FILENAME="), Some(script), "{target}");
        assert_eq!(reply.line("REQUEST_URI="), Some(target));
    }
    for target in ["/app/a.php%00.jpg", "/app/../../a.php"] {
        assert_eq!(site.get(HOST, target).status, 400, "{target}");
    }
}

#[test]
fn https_and_http2_are_told() {
    let shop = echo();
    let (_, secret) = certificate("cert", &[HOST]);
    let mut all = manifests(&[("ssl-redirect", "false")], &[shop.address], &[secret]);
    all = all.replace(
        "spec:\n  rules",
        &format!("spec:\n  tls: [{{hosts: [{HOST}], secretName: cert}}]\n  rules"),
    );
    let site = Site::start(&[("all.yaml", &all)]);
    let (mut connection, _) = tls(site.https, HOST);
    let reply = connection.request(&get("/", ""));
    assert_eq!((reply.line("HTTPS="), reply.line("SERVER_PORT=")), (Some("on"), Some("443")));
    assert_eq!(reply.line("REQUEST_SCHEME="), Some("https"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let told = runtime.expect("a runtime").block_on(async {
        let stream = tokio::net::TcpStream::connect(site.http).await.expect("it listens");
        let (mut sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        let request = http::Request::get(format!("http://{HOST}/")).body(()).expect("a request");
        let (response, _) = sender.send_request(request, true).expect("open");
        let mut body = response.await.expect("an answer").into_body();
        let mut text = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.expect("open");
            body.flow_control().release_capacity(data.len()).expect("open");
            text.extend_from_slice(&data);
        }
        String::from_utf8(text).expect("text")
    });
    assert!(told.contains("SERVER_PROTOCOL=HTTP/2.0\n"), "{told}");
    assert!(told.contains(&format!("HTTP_HOST={HOST}\n")), "{told}");
}

#[test]
fn bodies_go_both_ways() {
    let shop = scripted(|own| own.answer(&format!("X: 1\r\n\r\n{}", "x".repeat(300_000))));
    let site = site(&[("proxy-body-size", "0")], &[shop.address], &[]);
    let body = "y".repeat(300_000);
    let mut connection = Connection::open(site.http);
    for _ in 0..3 {
        let head = format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 300000\r\n\r\n");
        let reply = connection.request(&format!("{head}{body}"));
        assert_eq!((reply.status, reply.body.len()), (200, 300_000));
    }
    // One for each request.
    assert_eq!(shop.connections(), 3);
}

#[test]
fn the_length_of_a_body_is_always_told() {
    let shop = echo();
    let site = site(&[("client-body-buffer-size", "8k")], &[shop.address], &[]);
    let post = |size: usize| {
        let body = "y".repeat(size);
        let head = "transfer-encoding: chunked\r\nconnection: close\r\n\r\n";
        exchange(
            site.http,
            &format!("POST / HTTP/1.1\r\nhost: {HOST}\r\n{head}{size:x}\r\n{body}\r\n0\r\n\r\n"),
        )
    };
    let reply = post(5000);
    assert_eq!((reply.line("CONTENT_LENGTH="), reply.line("BODY=")), (Some("5000"), Some("5000")));
    assert_eq!(reply.line("HTTP_TRANSFER_ENCODING="), None);
    // More than a buffer, as nginx would write it to a file.
    let reply = post(900_000);
    assert_eq!(
        (reply.line("CONTENT_LENGTH="), reply.line("BODY=")),
        (Some("900000"), Some("900000"))
    );
    // `proxy-body-size`, of which 1m is the default.
    assert_eq!(post(1_100_000).status, 413);
    let head = format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 9000\r\n\r\n");
    let reply = exchange(site.http, &format!("{head}{}", "y".repeat(9000)));
    assert_eq!((reply.line("CONTENT_LENGTH="), reply.line("BODY=")), (Some("9000"), Some("9000")));
}

#[test]
fn a_body_of_unknown_length_that_trickles_is_not_held_for_ever() {
    let shop = echo();
    let settings = config_map(&[("client-body-timeout", "1")]);
    let site = site(&[], &[shop.address], &[settings]);
    let mut stream = TcpStream::connect(site.http).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let head = format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("it is open");
    let mut slow = stream.try_clone().expect("a second handle");
    // Each chunk is in time for itself; that it is slow is what the client is like.
    let client = thread::spawn(move || {
        while slow.write_all(b"1\r\nx\r\n").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    let mut connection = Connection::over(stream);
    assert_eq!(connection.reply(false).expect("an answer").status, 408);
    assert_eq!(shop.connections(), 0);
    drop(connection);
    drop(site);
    client.join().expect("no panic");
}

#[test]
fn an_application_streams_while_it_is_asked() {
    let shop = Backend::scripted(|stream, _| {
        let mut own = Application::on(stream);
        own.parameters().expect("a request");
        own.say(STDOUT, b"X-Early: 1\r\n\r\n");
        while let Some((STDIN, content @ [_, ..])) = own.record().as_ref().map(|(k, c)| (*k, &**c))
        {
            let content = content.to_vec();
            own.say(STDOUT, &content);
        }
        own.say(STDOUT, b"");
        own.end(0);
    });
    let annotations = [("proxy-request-buffering", "off"), ("proxy-body-size", "0")];
    let site = site(&annotations, &[shop.address], &[]);
    let mut connection = Connection::open(site.http);
    connection.send(format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 8\r\n\r\n"));
    let head = connection.head().expect("a head before the body");
    assert!(head.contains("X-Early: 1"), "{head}");
    for word in [&b"ping"[..], b"pong"] {
        connection.send(word);
        assert_eq!(connection.chunk().expect("a chunk").as_deref(), Some(word));
    }
    assert_eq!(connection.chunk().expect("the end"), None);
}

#[test]
fn answers_are_read_as_by_nginx() {
    for (text, status, body) in [
        ("Status: 404 Gone Away\r\nX: 1\r\n\r\nnone", 404, "none"),
        ("X: 1\n\nbare", 200, "bare"),
        ("Location: /there\r\n\r\n", 302, ""),
        ("Content-Length: 3\r\n\r\nabcdef", 200, "abc"),
        (
            "Transfer-Encoding: chunked\r\nConnection: x-a\r\nX-A: 1\r\n\r\n3\r\nabc",
            200,
            "3\r\nabc",
        ),
    ] {
        let shop = saying(text);
        let site = site(&[], &[shop.address], &[]);
        let mut connection = Connection::open(site.http);
        for _ in 0..2 {
            let reply = connection.request(&format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n"));
            assert_eq!((reply.status, reply.text()), (status, body), "{text}");
            assert_eq!(reply.header("status"), None);
            assert_eq!(reply.header("x-a"), None);
            let expected = text.contains("Location").then_some("/there");
            assert_eq!(reply.header("location"), expected);
        }
        let reply = connection.request(&format!("HEAD / HTTP/1.1\r\nhost: {HOST}\r\n\r\n"));
        assert_eq!((reply.status, reply.text()), (status, ""), "{text}");
        assert_eq!(
            connection.request(&format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).status,
            status
        );
    }
}

#[test]
fn what_is_no_answer_is_502() {
    let faults: [(&str, Fault); 10] = [
        ("closes", |_| ()),
        ("ends without an answer", |own| own.end(0)),
        ("ends its output at once", |own| own.say(STDOUT, b"")),
        ("knows no responders", |own| own.end(3)),
        ("speaks HTTP", |own| {
            let _left = own.writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }),
        ("asks back", |own| own.say(PARAMS, b"x")),
        ("half a head", |own| own.answer("X: 1\r\nY: ")),
        ("no head", |own| own.answer("<html>\n\nbody")),
        ("an endless head", |own| while own.try_say(STDOUT, b"x-field: with a value\r\n") {}),
        ("switches protocols", |own| own.answer("Status: 101 Switching\r\n\r\n")),
    ];
    for (name, fault) in faults {
        let shop = scripted(fault);
        let site = site(&[], &[shop.address], &[]);
        let fields = "connection: upgrade\r\nupgrade: websocket\r\n";
        let request = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n{fields}\r\n");
        assert_eq!(exchange(site.http, &request).status, 502, "{name}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_not_taken_for_whole() {
    let faults: [(&str, Fault); 3] = [
        ("closes", |own| own.say(STDOUT, b"X: 1\r\n\r\nsome")),
        ("garbage", |own| {
            own.say(STDOUT, b"X: 1\r\n\r\nsome");
            own.say(9, b"");
        }),
        ("less than announced", |own| own.answer("Content-Length: 10\r\n\r\nsome")),
    ];
    for (name, fault) in faults {
        let shop = scripted(fault);
        let site = site(&[], &[shop.address], &[]);
        let reply = Connection::open(site.http).try_request(&get("/", ""));
        // It may all come at once, before anything was passed on.
        let is_502 = reply.as_ref().is_ok_and(|reply| reply.status == 502);
        assert!(reply.is_err() || is_502, "{name}: {reply:?}");
    }
}

#[test]
fn another_application_is_asked() {
    let refusing = scripted(|own| own.end(2));
    let closing = scripted(|_| ());
    for (bad, method, expected) in [
        (&refusing, "GET", 200),
        (&closing, "GET", 200),
        // It may have done something already.
        (&refusing, "POST", 200),
        (&closing, "POST", 502),
    ] {
        let good = saying("X: 1\r\n\r\ngood");
        let site = site(&[], &[bad.address, good.address], &[]);
        let before = bad.connections();
        let mut statuses = Vec::new();
        until("both were asked", || {
            let request = format!(
                "{method} / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            exchange(site.http, &request).status != 200 || bad.connections() > before
        });
        for _ in 0..4 {
            let request = format!(
                "{method} / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            statuses.push(exchange(site.http, &request).status);
        }
        if expected == 200 {
            assert_eq!(statuses, [200; 4], "{method}");
        } else {
            assert!(statuses.contains(&expected), "{method}: {statuses:?}");
        }
    }
}

#[test]
fn an_application_that_is_late_is_504() {
    let shop = scripted(|own| {
        let mut byte = [0];
        let _until_it_is_given_up = own.reader.read(&mut byte);
    });
    let annotations = [("proxy-read-timeout", "1"), ("proxy-next-upstream-tries", "1")];
    let site = site(&annotations, &[shop.address], &[]);
    assert_eq!(site.get(HOST, "/").status, 504);
}

#[test]
fn complaints_do_no_harm() {
    let shop = scripted(|own| {
        for _ in 0..200 {
            own.say(STDERR, &[b'x'; 1000]);
        }
        own.say(STDERR, b"");
        own.say(STDOUT, b"X: 1\r\n\r\n");
        own.say(STDERR, b"PHP Notice:\n \x1b[2J forged line");
        own.answer("fine");
    });
    let site = site(&[], &[shop.address], &[]);
    let reply = site.get(HOST, "/");
    assert_eq!((reply.status, reply.text()), (200, "fine"));
}

#[test]
fn a_client_that_leaves_takes_its_request_along() {
    let (left, leaves) = mpsc::channel();
    let left = Mutex::new(left);
    let (began, begins) = mpsc::channel();
    let began = Mutex::new(began);
    let shop = scripted(move |own| {
        let _test_over = began.lock().expect("no panic").send(());
        let mut byte = [0];
        let end = own.reader.read(&mut byte).unwrap_or(0);
        let _test_over = left.lock().expect("no panic").send(end);
    });
    let site = site(&[], &[shop.address], &[]);
    let mut connection = Connection::open(site.http);
    connection.send(get("/", ""));
    begins.recv_timeout(DEADLINE).expect("it is asked");
    drop(connection);
    assert_eq!(leaves.recv_timeout(DEADLINE), Ok(0));
}

#[test]
fn nothing_is_served_without_the_parameters_that_were_asked_for() {
    let shop = echo();
    let annotations = [("fastcgi-params-configmap", "web/own")];
    let site = site(&annotations, &[shop.address], &[]);
    assert_eq!(site.get(HOST, "/").status, 503);
    let with = |name: &str, value: &str| {
        site.replace(
            "all.yaml",
            &manifests(&annotations, &[shop.address], &[map("own", &[(name, value)])]),
        );
    };
    with("SCRIPT_FILENAME", "/a.php");
    until("the ConfigMap is there", || site.get(HOST, "/").status == 200);
    assert_eq!(site.get(HOST, "/").line("SCRIPT_FILENAME="), Some("/a.php"));
    with("SCRIPT_FILENAME", "/b.php");
    until("it changes", || site.get(HOST, "/").line("SCRIPT_FILENAME=") == Some("/b.php"));
    for (name, value) in [("SCRIPT_FILENAME", "$nonsense"), ("SCRIPT-FILENAME", "/a.php")] {
        with("SCRIPT_FILENAME", "/a.php");
        until("it is good again", || site.get(HOST, "/").status == 200);
        with(name, value);
        until("it is bad", || site.get(HOST, "/").status == 503);
    }
}

#[test]
fn only_who_was_asked_is_somebody() {
    let shop = echo();
    let basic = "authorization: Basic Ym9iOnNlY3JldA==\r\n";
    let open = site(&[], &[shop.address], &[]);
    let reply = exchange(open.http, &get("/", basic));
    assert_eq!((reply.status, reply.line("REMOTE_USER=")), (200, Some("")));
    let users = secret_of("users", &[("auth", "bob:{PLAIN}secret")]);
    let login = [("auth-type", "basic"), ("auth-secret", "users"), ("auth-realm", "here")];
    let closed = site(&login, &[shop.address], std::slice::from_ref(&users));
    assert_eq!(closed.get(HOST, "/").status, 401);
    let reply = exchange(closed.http, &get("/", basic));
    assert_eq!((reply.status, reply.line("REMOTE_USER=")), (200, Some("bob")));
    assert_eq!(reply.line("HTTP_AUTHORIZATION="), None);
    // Let in by its address: what it says about itself nobody has looked at.
    let mut any = login.to_vec();
    any.extend([("satisfy", "any"), ("whitelist-source-range", "127.0.0.0/8")]);
    let either = site(&any, &[shop.address], &[users]);
    let reply = exchange(either.http, &get("/", "authorization: Basic Ym9iOndyb25n\r\n"));
    assert_eq!((reply.status, reply.line("REMOTE_USER=")), (200, Some("")));
}
