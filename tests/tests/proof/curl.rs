//! curl, as people type it.

use std::process::Command;

use crate::{process::which, report::Report, script, site::Site};

/// Name, URL's path, arguments, and what the output must hold: curl's `-w` adds status and version.
type Row = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const ROWS: &[Row] = &[
    ("GET", "/echo?a=b", &[], &["\"target\": \"/echo?a=b\"", " 200 "]),
    ("HEAD", "/echo", &["-I"], &[" 200"]),
    ("POST", "/echo", &["-d", "hello=there"], &["\"length\": 11", " 200 "]),
    (
        "an upload that waits for 100",
        "/echo",
        &["-T", "BIG", "-H", "Expect: 100-continue"],
        &["\"length\": 3000000", " 200 "],
    ),
    (
        "an upload without a length",
        "/echo",
        &["-T", "-", "-H", "Transfer-Encoding: chunked"],
        &["\"length\": 3000000", " 200 "],
    ),
    ("a form", "/echo", &["-F", "file=@BIG"], &["\"method\": \"POST\"", " 200 "]),
    ("a download", "/bytes/3000000", &["-o", "/dev/null"], &[" 200 ", " 3000000 "]),
    (
        "a download with a length",
        "/bytes/3000000?length",
        &["-o", "/dev/null"],
        &[" 200 ", " 3000000 "],
    ),
    ("an empty answer", "/status/204", &[], &[" 204 "]),
    ("a redirect", "/status/301", &["-i"], &["301", "/elsewhere"]),
    ("not modified", "/status/304", &[], &[" 304 "]),
    (
        "DELETE with a body",
        "/echo",
        &["-X", "DELETE", "-d", "x"],
        &["\"method\": \"DELETE\"", "\"length\": 1"],
    ),
    ("a target as it is", "/echo?x=%2e%2e/%2F", &["--path-as-is"], &["/echo?x=%2e%2e/%2F"]),
    ("a range", "/echo", &["-r", "0-10"], &[" 200 "]),
    ("both ways at once", "/duplex", &["-T", "BIG", "-o", "/dev/null"], &[" 200 ", " 3000000 "]),
    ("te: trailers", "/echo", &["-H", "TE: trailers"], &[" 200 "]),
];

fn run(
    site: &Site,
    tls: bool,
    arguments: &[&str],
    path: &str,
    own: &[&str],
) -> Result<String, String> {
    let big = site.directory().join("big");
    let (scheme, port) =
        if tls { ("https", site.https.port()) } else { ("http", site.http.port()) };
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--max-time", "20", "--resolve", &format!("a.test:{port}:127.0.0.1")])
        .arg("--cacert")
        .arg(site.authority())
        .args(arguments)
        .args(own.iter().map(|word| word.replace("BIG", &big.to_string_lossy())))
        .args(["-w", "\n %{http_code} %{http_version} %{size_download} %{num_connects}\n"])
        .arg(format!("{scheme}://a.test:{port}{path}"))
        .stdin(std::fs::File::open(&big).expect("a file"));
    let output = command.output().expect("curl is there");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(text) } else { Err(format!("{errors}{text}")) }
}

#[test]
fn curl_is_served() {
    let test = "curl_is_served";
    if which("curl").is_none() {
        return script::missing(test, "curl");
    }
    let Some(app) = script::App::start(test) else { return };
    let Some(site) = app.site(test) else { return };
    std::fs::write(site.directory().join("big"), vec![b'x'; 3_000_000]).expect("a file");
    let mut report = Report::new("curl");
    for (kind, tls, arguments, version) in [
        ("http1", false, &["--http1.1"][..], " 1.1 "),
        ("http1.0", false, &["--http1.0"], " 1"),
        ("http1 TLS", true, &["--http1.1"], " 1.1 "),
        ("h2 TLS", true, &["--http2"], " 2 "),
        ("h2c", false, &["--http2-prior-knowledge"], " 2 "),
        // curl asks for an upgrade that is not taken: it goes on in HTTP/1.1.
        ("h2c by upgrade", false, &["--http2"], " 1.1 "),
    ] {
        for (name, path, own, wanted) in ROWS {
            // HTTP/1.0 has no chunks, and no 100.
            if kind == "http1.0" && (name.contains("without a length") || name.contains("100")) {
                continue;
            }
            let result = run(&site, tls, arguments, path, own).and_then(|text| {
                let missing = wanted.iter().chain([&version]).find(|word| !text.contains(**word));
                missing.map_or(Ok(()), |word| Err(format!("{word:?} is not in {text}")))
            });
            report.row(&format!("{kind}: {name}"), result);
        }
    }
    // One connection for all: `num_connects` is 1 for the first and 0 for each other.
    let again = ["http://a.test:PORT/echo"; 5]
        .map(|url| url.replace("PORT", &site.http.port().to_string()));
    let more: Vec<&str> = again.iter().map(String::as_str).collect();
    let result = run(&site, false, &["--http1.1"], "/echo", &more).and_then(|text| {
        let connects = |word| text.lines().filter(|line| line.ends_with(word)).count();
        if (connects(" 1"), connects(" 0")) == (1, 5) { Ok(()) } else { Err(text.clone()) }
    });
    report.row("http1: a connection is used again", result);
    report.end();
}
