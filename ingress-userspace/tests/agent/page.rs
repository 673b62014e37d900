//! The page for browsers, seen without one: its files, who may ask for them, and the traffic of the
//! last minutes.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
};

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::support::{
    Connection, Ingress, Reply, Site, certificate, documents, exchange, ingress, nobody, saying,
    service, until,
};

fn site(file: &str) -> (Site, SocketAddr) {
    let site = Site::start_with(&[("all.yaml", file)], &["--page-address=127.0.0.1:0"], |_| {});
    let page = site.page.expect("the port is free");
    (site, page)
}

fn ask(page: SocketAddr, target: &str, fields: &str) -> Reply {
    exchange(page, &format!("GET {target} HTTP/1.1\r\n{fields}connection: close\r\n\r\n"))
}

fn api(page: SocketAddr, target: &str) -> Value {
    let reply = ask(page, &format!("/api/v1/{target}"), "host: localhost\r\n");
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).expect("it is JSON")
}

/// Every file that the page is made of, found as a browser finds them.
fn files(page: SocketAddr) -> Vec<(String, Reply)> {
    let mut names = vec!["/".to_owned()];
    let mut found: Vec<(String, Reply)> = Vec::new();
    while let Some(name) = names.pop() {
        if found.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let reply = ask(page, &name, "host: localhost\r\n");
        assert_eq!(reply.status, 200, "{name}");
        for (begin, end) in [("src=\"/", '"'), ("href=\"/", '"'), ("from \"./", '"')] {
            for rest in reply.text().split(begin).skip(1) {
                let (file, _) = rest.split_once(end).expect("it ends");
                names.push(format!("/{file}"));
            }
        }
        found.push((name, reply));
    }
    found
}

#[test]
fn a_browser_gets_all_from_the_agent_and_runs_nothing_else() {
    let (_site, page) = site("");
    let files = files(page);
    assert!(files.len() >= 15, "{}", files.len());
    for (name, reply) in &files {
        let policy = reply.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"));
        assert!(
            !policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        for (field, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(reply.header(field), Some(value), "{name}");
        }
        let text = reply.text();
        for outside in [
            "src=\"http",
            "href=\"http",
            "src=\"//",
            "href=\"//",
            "from \"http",
            "import(",
            "@import",
            "url(",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "<style",
            " style=",
            " onclick=",
        ] {
            assert!(!text.contains(outside), "{name} has {outside}");
        }
        let fields = "host: localhost\r\naccept-encoding: br, gzip\r\n";
        let zipped = ask(page, name, fields);
        assert_eq!(zipped.header("content-encoding"), Some("gzip"), "{name}");
        let mut unzipped = Vec::new();
        GzDecoder::new(&zipped.body[..]).read_to_end(&mut unzipped).expect("it is gzip");
        assert!(unzipped == reply.body, "{name}");
        let tag = reply.header("etag").expect("a tag");
        let again = ask(page, name, &format!("host: localhost\r\nif-none-match: {tag}\r\n"));
        assert_eq!((again.status, again.body.len()), (304, 0), "{name}");
        let other = ask(page, name, "host: localhost\r\nif-none-match: \"0\"\r\n");
        assert_eq!(other.status, 200, "{name}");
    }
}

#[test]
fn pages_of_others_in_the_same_browser_are_refused() {
    let (_site, page) = site("");
    let port = page.port();
    for (target, fields, wanted) in [
        ("/", format!("host: localhost:{port}\r\n"), 200),
        ("/api/v1/status", format!("host: {page}\r\n"), 200),
        // As `kubectl port-forward` has it: another port.
        (
            "/api/v1/status",
            "host: localhost:8080\r\norigin: http://localhost:8080\r\n".to_owned(),
            200,
        ),
        ("/", "host: rebound.example\r\n".to_owned(), 403),
        ("/api/v1/status", format!("host: rebound.example:{port}\r\n"), 403),
        ("/api/v1/status", "host: localhost\r\norigin: http://evil.example\r\n".to_owned(), 403),
        ("/api/v1/status", "host: localhost\r\norigin: null\r\n".to_owned(), 403),
        ("/api/v1/status", "host: localhost\r\nsec-fetch-site: cross-site\r\n".to_owned(), 403),
        ("/page.js", "host: localhost\r\nsec-fetch-site: cross-site\r\n".to_owned(), 403),
    ] {
        let reply = ask(page, target, &fields);
        assert_eq!(reply.status, wanted, "{target} {fields}");
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}

#[test]
fn the_page_only_reads() {
    let (_site, page) = site("");
    for (target, method, wanted) in [
        ("/", "POST", 405),
        ("/page.js", "DELETE", 405),
        ("/api/v1/status", "PUT", 405),
        // What the health port and the socket have besides is not here.
        ("/log-level", "PUT", 405),
        ("/log-level", "GET", 404),
        ("/state", "GET", 404),
        ("/metrics", "GET", 404),
        ("/healthz", "GET", 404),
        ("/api/v1/tap", "GET", 404),
        ("/../page.js", "GET", 404),
    ] {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        );
        assert_eq!(exchange(page, &request).status, wanted, "{method} {target}");
    }
}

#[test]
fn without_an_address_there_is_no_page_and_a_taken_port_harms_nobody() {
    let shop = saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let file = documents(&[&ingress("a.example.com", "shop"), &service("shop", &[shop.address])]);
    let files = [("all.yaml", &*file)];
    let none = Site::start_with(&files, &["--page-address="], |_| {});
    assert_eq!(none.page, None);
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let flag = format!("--page-address={}", taken.local_addr().expect("bound"));
    let site = Site::start_with(&files, &[&flag], |_| {});
    assert_eq!(site.page, None);
    assert_eq!(site.get("a.example.com", "/").status, 200);
}

/// Requests of all seconds, of this class: rates times how long each second was.
fn requests(answer: &Value, column: &str) -> u64 {
    let columns = answer["columns"].as_array().expect("a list");
    let place = |name: &str| columns.iter().position(|own| own == name).expect("a column");
    let (value, lasted) = (place(column), place("lasted"));
    let rows = answer["rows"].as_array().expect("a list").iter();
    let sum: f64 = rows
        .map(|row| row[value].as_f64().expect("a number") * row[lasted].as_f64().expect("a number"))
        .sum();
    sum.round() as u64
}

#[test]
fn the_history_has_each_request_once_by_host_and_ingress() {
    let good = saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let bad = saying("HTTP/1.1 500 no\r\ncontent-length: 2\r\n\r\nno");
    let two = Ingress {
        name: "two",
        annotations: &[],
        host: "a.example.com",
        paths: &[("Prefix", "/bad", "bad")],
        tls: None,
    };
    let file = documents(&[
        &ingress("a.example.com", "good"),
        &two.yaml(),
        &ingress("b.example.com", "bad"),
        &service("good", &[good.address]),
        &service("bad", &[bad.address]),
    ]);
    let (site, page) = site(&file);
    for (host, target, times) in [
        ("a.example.com", "/", 5),
        ("a.example.com", "/bad", 3),
        ("b.example.com", "/", 2),
        ("unknown.example.com", "/", 4),
    ] {
        for _ in 0..times {
            site.get(host, target);
        }
    }
    let all = || api(page, "history");
    until("all are in the history", || requests(&all(), "requests") == 14);
    let answer = all();
    assert_eq!(requests(&answer, "2xx"), 5);
    assert_eq!(requests(&answer, "5xx"), 5);
    // Of a host that no Ingress has: in no series of the metrics, but told.
    assert_eq!(requests(&answer, "4xx"), 4);
    for (of, wanted) in [
        ("host=a.example.com", (5, 3)),
        ("host=b.example.com", (0, 2)),
        ("host=unknown.example.com", (0, 0)),
        ("ingress=web/good", (5, 0)),
        ("ingress=web/two", (0, 3)),
        ("ingress=other/two", (0, 0)),
    ] {
        let answer = api(page, &format!("history?{of}"));
        assert_eq!((requests(&answer, "2xx"), requests(&answer, "5xx")), wanted, "{of}");
    }
    // Only what is new is told again.
    let last = answer["last"].as_u64().expect("a number");
    let newer = api(page, &format!("history?after={last}"));
    let rows = newer["rows"].as_array().expect("a list");
    assert!(rows.iter().all(|row| row[0].as_u64() > Some(last)), "{rows:?}");
    assert_eq!(requests(&newer, "requests"), 0);
    until("there is a new second", || {
        let newer = api(page, &format!("history?after={last}"));
        newer["rows"][0][0].as_u64() == Some(last + 1)
    });

    let hosts = api(page, "history?by=host&window=600&sort=errors");
    let told = |answer: &Value, part: &str| -> Vec<String> {
        let items = answer["items"].as_array().expect("a list").iter();
        items.map(|item| item["name"][part].as_str().unwrap_or("-").to_owned()).collect()
    };
    assert_eq!(told(&hosts, "host"), ["a.example.com", "b.example.com"]);
    assert_eq!((hosts["total"].as_u64(), hosts["counted"].as_bool()), (Some(2), Some(true)));
    let line = hosts["items"][0]["line"].as_array().expect("a list");
    assert_eq!(line.iter().filter_map(Value::as_u64).sum::<u64>(), 8);
    let ingresses = api(page, "history?by=ingress&window=600&per=2&page=2&sort=name");
    assert_eq!(told(&ingresses, "ingress"), ["two"]);
    let found = api(page, "history?by=ingress&window=600&q=GOO");
    assert_eq!(told(&found, "ingress"), ["good"]);
}

#[test]
fn what_is_asked_wrongly_is_said() {
    let (_site, page) = site("");
    for target in [
        "history?by=pod",
        "history?by=host&window=601",
        "history?by=host&window=0",
        "history?by=host&sort=size",
        "history?after=x",
        "history?host=a&ingress=b/c",
        "history?ingress=b",
        "history?hots=a",
        "nothing",
    ] {
        let reply = ask(page, &format!("/api/v1/{target}"), "host: localhost\r\n");
        assert!(matches!(reply.status, 400 | 404), "{target}: {}", reply.status);
        let value: Value = serde_json::from_slice(&reply.body).expect("it is JSON");
        assert!(value["error"].as_str().is_some_and(|why| why.len() > 10), "{target}: {value}");
    }
}

#[test]
fn an_ingress_that_is_deleted_leaves_its_past() {
    let shop = saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let file = documents(&[&ingress("a.example.com", "shop"), &service("shop", &[shop.address])]);
    let (site, page) = site(&file);
    for _ in 0..3 {
        assert_eq!(site.get("a.example.com", "/").status, 200);
    }
    let of = "history?ingress=web/shop";
    until("they are in the history", || requests(&api(page, of), "requests") == 3);
    site.replace("all.yaml", &service("shop", &[nobody()]));
    // Not by requests, which would be counted.
    let hosts = |state: &Value| {
        let hosts = state["hosts"].as_array().expect("a list").iter();
        hosts.filter(|host| host["name"] == "a.example.com").count()
    };
    site.until("it is gone", |state| hosts(state) == 0);
    // Again, under the same name, whose series begins at nothing.
    site.replace("all.yaml", &file);
    site.until("it is back", |state| hosts(state) == 1);
    assert_eq!(site.get("a.example.com", "/").status, 200);
    until("the old and the new are counted", || requests(&api(page, of), "2xx") == 4);
}

#[test]
fn thousands_of_ingresses_come_in_pages() {
    let shop = saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let (_der, secret) = certificate("shop", &["h7.example.com"]);
    let mut parts = vec![service("shop", &[shop.address]), secret];
    for number in 0..2_000 {
        let host = format!("h{number}.example.com");
        let own = Ingress {
            name: &format!("i{number}"),
            annotations: &[],
            host: &host,
            paths: &[("Prefix", "/", "shop")],
            tls: None,
        };
        parts.push(own.yaml());
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (_site, page) = site(&documents(&parts));
    let reply = ask(page, "/api/v1/routes", "host: localhost\r\n");
    assert!(reply.body.len() < 100_000, "{} bytes", reply.body.len());
    let routes: Value = serde_json::from_slice(&reply.body).expect("it is JSON");
    // With the one for all other hosts.
    assert_eq!((routes["total"].as_u64(), routes["per"].as_u64()), (Some(2_001), Some(50)));
    assert_eq!(routes["items"].as_array().map(Vec::len), Some(50));
    let found = api(page, "routes?q=h1711.example");
    assert_eq!(found["total"], 1);
    assert_eq!(found["items"][0]["ingress"]["name"], "i1711");
    let last = api(page, "routes?page=40");
    assert_eq!(last["items"].as_array().map(Vec::len), Some(50));
}

#[test]
fn who_opens_many_connections_keeps_nobody_else_away_for_longer_than_they_are_open() {
    let (_site, page) = site("");
    let idle: Vec<_> = (0..64).map(|_| TcpStream::connect(page).expect("it listens")).collect();
    // Each of them is served.
    for mut stream in &idle {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("open");
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).expect("an answer");
        assert_eq!(&begin, b"HTTP/1.1 200");
    }
    let mut more = TcpStream::connect(page).expect("it listens");
    let mut rest = Vec::new();
    // Closed, with or without a reset, whatever it asks for.
    let _reset = more.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let _reset = more.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    drop(idle);
    until("there is a place again", || {
        let mut client = Connection::open(page);
        client
            .try_request("GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .is_ok_and(|reply| reply.status == 200)
    });
}
