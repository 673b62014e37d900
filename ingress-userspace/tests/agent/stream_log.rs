//! The access log of what is passed on below HTTP.

use std::{fs, io::Write as _, path::PathBuf};

use ingress_userspace::lifecycle::Stop;

use crate::{
    passthrough,
    support::{
        Backend, Connection, Site, config_map, documents, free_port, ingress, nobody, service,
        until,
    },
    tcp_services, udp_services,
};

/// A file of lines, and the settings that lead there.
struct Log {
    folder: tempfile::TempDir,
}

impl Log {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("stream.log")
    }

    fn map(&self, more: &[(&str, &str)]) -> String {
        let path = self.path().display().to_string();
        config_map(&[&[("stream-access-log-path", &*path)], more].concat())
    }

    /// So many lines, once they are there.
    fn lines(&self, count: usize) -> Vec<String> {
        let read = || fs::read_to_string(self.path()).unwrap_or_default();
        until("the lines are written", || read().lines().count() >= count);
        let lines: Vec<_> = read().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), count, "{lines:#?}");
        lines
    }
}

const CONTROLLER: &str = "--configmap=web/controller";
/// What does not change from run to run.
const FORMAT: &str = "$protocol $status $bytes_sent $bytes_received $upstream_bytes_sent \
                      $upstream_bytes_received $upstream_addr $proxy_upstream_name $server_port \
                      $ssl_preread_server_name";

fn tcp(log: &Log, settings: &[(&str, &str)], endpoints: &[std::net::SocketAddr]) -> (Site, u16) {
    let port = free_port();
    let files = [
        ("map.yaml", &*tcp_services::map(&[(port, "web/echo:80")])),
        ("service.yaml", &*service("echo", endpoints)),
        ("controller.yaml", &*log.map(settings)),
    ];
    let arguments = [tcp_services::FLAG, CONTROLLER];
    (Site::start_with(&files, &arguments, |config| config.workers = 1), port)
}

/// `hello` there, and `hellobye` back.
fn talk(port: u16) {
    let mut stream = tcp_services::open(port);
    assert_eq!(tcp_services::read(&mut stream, 3), "one");
    stream.write_all(b"hello").expect("it is open");
    stream.shutdown(std::net::Shutdown::Write).expect("it is open");
    assert_eq!(tcp_services::read(&mut stream, 8), "hellobye");
}

#[test]
fn a_line_is_that_of_ingress_nginx() {
    let (log, one) = (Log::new(), tcp_services::parrot("one"));
    let (_site, port) = tcp(&log, &[], &[one.address]);
    talk(port);
    let line = &log.lines(1)[0];
    let (address, rest) = line.split_once("] [").expect(line);
    assert_eq!(address, "[127.0.0.1");
    let (time, rest) = rest.split_once("] ").expect(line);
    assert_eq!((time.len(), &time[2..3], &time[11..12]), (26, "/", ":"), "{line}");
    let (counts, seconds) = rest.rsplit_once(' ').expect(line);
    assert_eq!(counts, "TCP 200 11 5");
    assert_eq!(seconds.split_once('.').expect(line).1.len(), 3, "{line}");
}

#[test]
fn lines_say_who_was_asked_and_how_much_went_where() {
    let (log, one) = (Log::new(), tcp_services::parrot("one"));
    let (_site, port) = tcp(&log, &[("log-format-stream", FORMAT)], &[one.address]);
    talk(port);
    let expected = format!("TCP 200 11 5 5 11 {} web-echo-80 {port} -", one.address);
    assert_eq!(log.lines(1), [expected]);
}

#[test]
fn whom_no_endpoint_took_has_a_line() {
    let log = Log::new();
    let (_site, port) = tcp(&log, &[("log-format-stream", FORMAT)], &[nobody()]);
    drop(tcp_services::open(port));
    until("there is a line", || log.path().exists());
    let line = &log.lines(1)[0];
    assert_eq!(*line, format!("TCP 502 0 0 0 0 - web-echo-80 {port} -"));
}

#[test]
fn connections_that_the_end_cuts_off_have_lines() {
    let (log, one) = (Log::new(), tcp_services::parrot("one"));
    let (site, port) = tcp(&log, &[("log-format-stream", FORMAT)], &[one.address]);
    let mut stream = tcp_services::open(port);
    assert_eq!(tcp_services::read(&mut stream, 3), "one");
    site.signal(Stop::Now);
    assert!(site.wait());
    let expected = format!("TCP 200 3 0 0 3 {} web-echo-80 {port} -", one.address);
    assert_eq!(log.lines(1), [expected]);
}

#[test]
fn tls_that_is_passed_through_has_lines_with_its_name() {
    let (log, raw) = (Log::new(), passthrough::raw());
    let rules = documents(&[
        &passthrough::passed(&[("ssl-passthrough", "true")]),
        &service("raw", &[raw.address]),
        &log.map(&[("log-format-stream", FORMAT), ("log-format-escape-json", "true")]),
    ]);
    let arguments = [passthrough::FLAG, CONTROLLER];
    let site = Site::start_with(&[("all.yaml", &rules)], &arguments, |_| {});
    let hello = passthrough::hello("passed.example.com", 16_000);
    assert_eq!(passthrough::exchange(&site, &[&hello]), hello);
    let size = hello.len();
    let port = site.https.port();
    let expected = format!(
        "TCP 200 {size} {size} {size} {size} {} web-raw-80 {port} passed.example.com",
        raw.address
    );
    assert_eq!(log.lines(1), [expected]);
}

#[test]
fn sessions_of_datagrams_have_lines() {
    let (log, port) = (Log::new(), free_port());
    let dns = udp_services::parrot("<");
    let files = [
        ("map.yaml", &*udp_services::map(&[(port, "web/dns:53")])),
        ("dns.yaml", &*udp_services::service(&[dns])),
        ("controller.yaml", &*log.map(&[("log-format-stream", FORMAT)])),
    ];
    let site = Site::start_with(&files, &[udp_services::FLAG, CONTROLLER], |_| {});
    // One answer ends a session.
    assert_eq!(udp_services::ask(&udp_services::client(port), b"hello"), b"<hello");
    let expected = format!("UDP 200 6 5 5 6 {dns} web-dns-53 {port} -");
    // One that was asked before the port was open may have been asked twice.
    until("there is a line", || fs::read_to_string(log.path()).is_ok_and(|text| !text.is_empty()));
    let lines = fs::read_to_string(log.path()).expect("it is there");
    assert!(lines.lines().any(|line| line == expected), "{lines}");
    drop(site);
}

#[test]
fn sessions_of_datagrams_that_the_end_cuts_off_have_lines() {
    let (log, port, tcp_port) = (Log::new(), free_port(), free_port());
    let (dns, one) = (udp_services::parrot("<"), tcp_services::parrot("one"));
    let settings = [("log-format-stream", FORMAT), ("proxy-stream-responses", "9")];
    let files = [
        ("map.yaml", &*udp_services::map(&[(port, "web/dns:53")])),
        ("dns.yaml", &*udp_services::service(&[dns])),
        ("tcp.yaml", &*tcp_services::map(&[(tcp_port, "web/echo:80")])),
        ("echo.yaml", &*service("echo", &[one.address])),
        ("controller.yaml", &*log.map(&settings)),
    ];
    let flags = [udp_services::FLAG, tcp_services::FLAG, CONTROLLER];
    let site = Site::start_with(&files, &flags, |config| config.workers = 1);
    assert_eq!(udp_services::ask(&udp_services::client(port), b"hello"), b"<hello");
    // Whatever ended before this connection has its line when this one has.
    talk(tcp_port);
    assert!(log.lines(1)[0].starts_with("TCP 200 "), "the session goes on");
    site.signal(Stop::Now);
    assert!(site.wait());
    let lines = log.lines(2);
    assert!(lines[1].starts_with("UDP 200 "), "{lines:?}");
}

#[test]
fn keys_switch_it_off_and_wrong_formats_are_told() {
    let one = tcp_services::parrot("one");
    for off in ["disable-stream-access-log", "disable-access-log"] {
        let log = Log::new();
        let (site, port) = tcp(&log, &[(off, "true")], &[one.address]);
        talk(port);
        site.signal(Stop::Gracefully);
        assert!(site.wait());
        assert!(!log.path().exists(), "{off}");
    }
    let log = Log::new();
    let (site, port) = tcp(&log, &[("log-format-stream", "$protocol $request")], &[one.address]);
    let said = site.state()["diagnostics"].to_string();
    assert!(said.contains("data.log-format-stream") && said.contains("`$request`"), "{said}");
    talk(port);
    assert!(log.lines(1)[0].contains(" TCP 200 11 5 "));
}

#[test]
fn lines_of_requests_and_of_connections_may_share_a_file() {
    let (one, shop) = (tcp_services::parrot("one"), Backend::echo("shop"));
    let (log, port) = (Log::new(), free_port());
    let path = log.path().display().to_string();
    let settings = [
        ("access-log-path", &*path),
        ("log-format-upstream", "HTTP $status"),
        ("log-format-stream", "$protocol $status"),
    ];
    let rules = documents(&[
        &ingress("shop.example.com", "shop"),
        &service("shop", &[shop.address]),
        &service("echo", &[one.address]),
        &config_map(&settings),
        &tcp_services::map(&[(port, "web/echo:80")]),
    ]);
    let arguments = [tcp_services::FLAG, CONTROLLER];
    let site = Site::start_with(&[("all.yaml", &rules)], &arguments, |_| {});
    for _ in 0..3 {
        talk(port);
        let mut connection = Connection::open(site.http);
        let request = "GET / HTTP/1.1\r\nhost: shop.example.com\r\nconnection: close\r\n\r\n";
        assert_eq!(connection.request(request).status, 200);
    }
    let mut lines = log.lines(6);
    lines.sort();
    assert_eq!(lines, [["HTTP 200"; 3], ["TCP 200"; 3]].concat());
}
