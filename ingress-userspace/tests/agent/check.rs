//! `penstock check` as people and pipelines call it.

use std::{
    fs,
    io::{BufReader, Write as _},
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::support::{Backend, read_request};

fn check(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .arg("check")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the agent can be run");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    // One that does not read its input has closed it.
    let _closed = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

fn ingress(name: &str, annotation: &str, value: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {
            "name": name, "namespace": "shop",
            "annotations": { format!("nginx.ingress.kubernetes.io/{annotation}"): value },
        },
        "spec": {
            "ingressClassName": "nginx",
            "rules": [{ "host": format!("{name}.example.com"), "http": { "paths": [{
                "path": "/", "pathType": "Prefix",
                "backend": { "service": { "name": "web", "port": { "number": 80 } } },
            }] } }],
        },
    })
}

#[test]
fn the_exit_code_tells_the_verdict() {
    let good = ingress("good", "proxy-read-timeout", "30").to_string();
    let bad = ingress("bad", "denylist-source-range", "nowhere").to_string();
    let differing = ingress("differing", "proxy-buffer-size", "8k").to_string();
    let cases: [(&str, &[&str], i32); 7] = [
        (&good, &["-"], 0),
        (&bad, &["-"], 1),
        (&differing, &["-"], 0),
        (&differing, &["-", "--fail-on=differs"], 1),
        (&bad, &["-", "--fail-on=never"], 0),
        ("kind: [", &["-"], 1),
        (&good, &["/nowhere/at/all"], 2),
    ];
    for (input, arguments, code) in cases {
        let output = check(arguments, input);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    }
    let neither = check(&[], "");
    assert_eq!(neither.status.code(), Some(2), "{}", text(&neither.stderr));
}

#[test]
fn directories_are_read_with_their_files() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::create_dir(directory.path().join("deep")).expect("a directory");
    let write = |name: &str, value: &Value| {
        fs::write(directory.path().join(name), value.to_string()).expect("a file");
    };
    write("one.yaml", &ingress("one", "proxy-read-timeout", "30"));
    write("deep/two.json", &ingress("two", "denylist-source-range", "nowhere"));
    write("deep/none.txt", &json!("no manifest"));
    let path = directory.path().to_str().expect("it is text");
    let output = check(&[path], "");
    let said = text(&output.stdout);
    assert!(said.contains("same     Ingress shop/one"), "{said}");
    assert!(said.contains("deep/two.json:1)"), "{said}");
    assert!(said.contains("2 Ingresses: 1 refused, 0 differs, 1 same"), "{said}");
    let json = check(&[path, "--format", "json"], "");
    let json: Value = serde_json::from_slice(&json.stdout).expect("it is JSON");
    assert_eq!(json["counts"]["refused"], 1);
}

/// An API server that has one Ingress on each of two pages, and forbids Secrets.
fn api_server() -> Backend {
    Backend::scripted(|mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        while let Some((head, _)) = read_request(&mut reader) {
            let target = head.split(' ').nth(1).unwrap_or_default();
            let list = |kind: &str, items: Vec<Value>, more: &str| json!({ "kind": kind, "apiVersion": "v1", "metadata": { "continue": more }, "items": items });
            let (status, body) = if target.contains("/ingresses?") && target.contains("continue=") {
                let two = ingress("two", "denylist-source-range", "nowhere");
                ("200 OK", list("IngressList", vec![two], ""))
            } else if target.contains("/ingresses?") {
                let one = ingress("one", "proxy-read-timeout", "30");
                ("200 OK", list("IngressList", vec![one], "next"))
            } else if target.contains("/services?") {
                let web = json!({
                    "metadata": { "name": "web", "namespace": "shop" },
                    "spec": { "ports": [{ "port": 80 }] },
                });
                ("200 OK", list("ServiceList", vec![web], ""))
            } else if target.contains("/secrets?") {
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
                    "reason": "Forbidden", "message": "secrets is forbidden",
                });
                ("403 Forbidden", status)
            } else {
                ("200 OK", list("List", vec![], ""))
            };
            let body = body.to_string();
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\n\r\n{body}"
            );
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

fn kubeconfig(directory: &Path, server: &str) -> String {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{ "name": "c", "cluster": { "server": server } }],
        "contexts": [{ "name": "here", "context": { "cluster": "c", "user": "u" } }],
        "users": [{ "name": "u", "user": {} }],
    });
    let path = directory.join("kubeconfig");
    fs::write(&path, config.to_string()).expect("a file");
    path.to_str().expect("it is text").to_owned()
}

#[test]
fn a_cluster_is_listed_page_by_page_and_forbidden_kinds_are_told() {
    let server = api_server();
    let directory = tempfile::tempdir().expect("a directory");
    let config = kubeconfig(directory.path(), &format!("http://{}", server.address));
    let output = check(&["--cluster", "--kubeconfig", &config], "");
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("same     Ingress shop/one"), "{said}");
    assert!(said.contains("refused  Ingress shop/two"), "{said}");
    assert!(said.contains("Secret *: ") && said.contains("may not be listed"), "{said}");
}

#[test]
fn a_cluster_that_does_not_answer_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let nobody = format!("http://{}", crate::support::nobody());
    let config = kubeconfig(directory.path(), &nobody);
    let output = check(&["--cluster", "--kubeconfig", &config], "");
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("cannot list Ingress of the cluster"), "{said}");
}

#[test]
fn without_a_kubeconfig_the_cluster_is_not_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("none").display().to_string();
    let output = check(&["--cluster", "--kubeconfig", &missing], "");
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{said}");
    assert!(said.contains(&missing), "{said}");
    let broken = directory.path().join("broken");
    fs::write(&broken, "clusters: [").expect("a file");
    let broken = broken.display().to_string();
    let output = check(&["--cluster", "--kubeconfig", &broken], "");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let output = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(["check", "--cluster"])
        .env_clear()
        .env("HOME", directory.path())
        .output()
        .expect("the agent can be run");
    assert_eq!(output.status.code(), Some(2));
    assert!(!output.stderr.is_empty());
}

/// What section 3 of SARIF 2.1.0 says must be there, and the values that it allows.
#[test]
fn sarif_has_what_its_schema_requires() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, value: &str| {
        fs::write(directory.path().join(name), value).expect("a file");
    };
    let rewrites = ingress("two", "rewrite-target", "/x").to_string();
    write("one two.yaml", &ingress("one", "denylist-source-range", "nowhere").to_string());
    write("two.yaml", &rewrites.replace("\"/\"", "\"/app\""));
    write("three.yaml", "kind: [");
    let output = check(&[directory.path().to_str().expect("it is text"), "--format=sarif"], "");
    assert_eq!(output.status.code(), Some(1));
    let all: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(all["version"], "2.1.0");
    assert!(all["$schema"].as_str().is_some_and(|schema| schema.contains("sarif")));
    let runs = all["runs"].as_array().expect("a list");
    assert_eq!(runs.len(), 1);
    let driver = &runs[0]["tool"]["driver"];
    assert!(driver["name"].is_string());
    let rules = driver["rules"].as_array().expect("a list");
    let levels = ["none", "note", "warning", "error"];
    let is_level = |level: &Value| level.as_str().is_some_and(|level| levels.contains(&level));
    for rule in rules {
        assert!(rule["id"].is_string() && rule["shortDescription"]["text"].is_string(), "{rule}");
    }
    let results = runs[0]["results"].as_array().expect("a list");
    assert!(results.len() >= 3, "{results:#?}");
    for result in results {
        assert!(result["message"]["text"].as_str().is_some_and(|text| !text.is_empty()));
        assert!(is_level(&result["level"]), "{result}");
        assert!(rules.iter().any(|rule| rule["id"] == result["ruleId"]), "{result}");
        for location in result["locations"].as_array().into_iter().flatten() {
            let place = &location["physicalLocation"];
            let uri = place["artifactLocation"]["uri"].as_str().expect("text");
            assert!(!uri.contains(' '), "{uri}");
            assert!(place["region"]["startLine"].as_u64().is_some_and(|line| line >= 1));
        }
    }
    let text = results.iter().map(|own| own["message"]["text"].to_string()).collect::<String>();
    assert!(text.contains("`nowhere` is none") && text.contains("it is not checked"), "{text}");
}
