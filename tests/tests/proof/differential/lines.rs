//! The access log: the same format, the same requests, and the lines side by side. Times, ports and
//! addresses of endpoints are left out, for they are of each run.

use std::fs;

use super::{Ask, Group, compare_and, ingress, pass};
use crate::process::until;

const FORMAT: &str = "$remote_addr - $remote_user \"$request\" $status $body_bytes_sent \
    \"$http_referer\" \"$http_user_agent\" $request_length [$args] [$host] $server_protocol \
    $request_method $scheme [$content_type] [$http_x_one] [$cookie_c] [$arg_q] [$upstream_status] \
    $upstream_response_length [$request_uri] [$uri] $request_completion";

/// Lines that differ, by what they begin with behind the address, and why.
const DIFFERENCES: &[(&str, &str)] = &[(
    "GET /many ",
    "nginx joins several lines of a field from 1.23 on, as ingress-nginx's 1.27 does",
)];

#[test]
fn lines() {
    for (name, escape, json) in [("lines", "default", "false"), ("lines-json", "json", "true")] {
        one(name, escape, json);
    }
}

fn one(name: &str, escape: &str, json: &str) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (theirs, ours) = (file("nginx.log"), file("penstock.log"));
    let location = pass("a");
    let basic = "Authorization: Basic YW5uOnNlY3JldA==\r\n";
    let get = |target: &str, fields: &str| Ask::with("log.test", target, fields);
    let body = |length: &str, body: &str| {
        let mut ask =
            get("/post", &format!("Content-Length: {length}\r\nContent-Type: text/plain\r\n"));
        ask.bytes.extend_from_slice(body.as_bytes());
        ask.method("POST")
    };
    let group = Group {
        name,
        manifests: ingress("log", "log.test", &[], &["Prefix / a"]),
        settings: &[
            ("log-format-upstream", FORMAT),
            ("log-format-escape-json", json),
            ("access-log-path", &ours),
        ],
        nginx: format!(
            "log_format compared escape={escape} '{FORMAT}';\n\
             server {{ listen HTTP; server_name log.test; access_log {theirs} compared; \
             location / {{ {location} }} }}\n"
        ),
        files: &[],
        asks: vec![
            get("/", ""),
            get("/a%20b/%C3%A9?q=1&x=%22", "User-Agent: Mozilla/5.0 (\"x\")\r\n"),
            get("/q?", "Referer: http://a.test/?b=\\c\r\n"),
            get("/user", basic),
            get("/user", "Authorization: Basic !!!\r\n").named("a bad password"),
            get("/user", "Authorization: Bearer YW5uOnNlY3JldA==\r\n").named("no password"),
            get("/fields", "X-One: a\tb\r\nCookie: b=1; c=\"two\"; d=3\r\nUser-Agent:\r\n"),
            get("/many", "X-One: a\r\nX-One: b\r\n"),
            get("/bytes", "X-One: \u{e9}\u{1f600}\r\n"),
            get("/head", "").method("HEAD"),
            body("5", "hello"),
            body("0", "").named("an empty body"),
            Ask::get("LOG.test:8080", "/host"),
        ],
        fields: &[],
        differences: &[],
    };
    let lines = |path: &str| fs::read_to_string(path).map_or(0, |text| text.lines().count());
    let all = group.asks.len();
    // Lines are handed over some time after their requests.
    compare_and(&group, || {
        until("every request has its line", || lines(&ours) >= all && lines(&theirs) >= all);
    });
    let (Ok(theirs), Ok(ours)) = (fs::read_to_string(theirs), fs::read_to_string(ours)) else {
        return;
    };
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (theirs, ours) = (sorted(&theirs), sorted(&ours));
    assert!(!theirs.is_empty(), "nginx wrote nothing");
    let is_meant = |line: &str| DIFFERENCES.iter().any(|(begin, _)| line.contains(begin));
    let alone = |these: &[String], others: &[String]| -> Vec<String> {
        these.iter().filter(|line| !others.contains(line) && !is_meant(line)).cloned().collect()
    };
    let (only_theirs, only_ours) = (alone(&theirs, &ours), alone(&ours, &theirs));
    assert!(
        only_theirs.is_empty() && only_ours.is_empty() && theirs.len() == ours.len(),
        "nginx alone: {only_theirs:#?}\nhere alone: {only_ours:#?}"
    );
}
