//! Headless Chromium: a page over HTTP/2 and TLS with fetch, WebSocket and server-sent events.

use std::process::Command;

use serde_json::Value;

use crate::{
    process::{Process, until, which},
    report::Report,
    script,
};

/// What the page tells, and what it should.
const ROWS: &[(&str, &str)] = &[
    ("page", "h2"),
    ("fetch", "200 POST 300000"),
    ("many", "50"),
    ("bytes", "3000000"),
    ("websocket", "echo hello"),
    ("events", "first second"),
];

#[test]
fn a_browser_is_served() {
    let test = "a_browser_is_served";
    let Some(chromium) = which("chromium") else { return script::missing(test, "chromium") };
    let Some(app) = script::App::start(test) else { return };
    let Some(site) = app.site(test) else { return };
    let mut command = Command::new(chromium);
    command
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--no-first-run", "--disable-extensions", "--ignore-certificate-errors"])
        .args(["--host-resolver-rules=MAP a.test 127.0.0.1", "--no-proxy-server"])
        // Kept open: the page tells its backend when it has finished.
        .arg("--remote-debugging-port=0")
        .arg(format!("--user-data-dir={}", site.directory().join("browser").display()))
        .arg(format!("https://a.test:{}/", site.https.port()));
    let mut browser = Process::start(&command);
    let mut result = Value::Null;
    until("the page has told its results", || {
        assert!(browser.runs(), "the browser has ended");
        result = app.result();
        result.as_object().is_some_and(|rows| !rows.is_empty())
    });
    let mut report = Report::new("chromium");
    for (name, wanted) in ROWS {
        let told = match &result[*name] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        report
            .row(name, if told == *wanted { Ok(()) } else { Err(format!("{told}, not {wanted}")) });
    }
    drop(browser);
    report.end();
}
