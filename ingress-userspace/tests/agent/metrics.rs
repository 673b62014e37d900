//! What is counted, against what happened.

use std::{
    io::{BufReader, Read as _, Write as _},
    sync::{Mutex, mpsc},
    time::Instant,
};

use flate2::read::GzDecoder;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::{
    http2::run,
    support::{
        Backend, Connection, Ingress, Site, config_map, documents, exchange, ingress, nobody,
        read_request, saying, service, until,
    },
};

const PREFIX: &str = "nginx_ingress_controller_";
const SHOP: &[(&str, &str)] = &[("ingress", "shop"), ("host", "shop.example.com")];

fn named(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn site(shop: &Backend, arguments: &[&str]) -> Site {
    let rules = ingress("shop.example.com", "shop");
    let file = documents(&[&rules, &service("shop", &[shop.address])]);
    Site::start_with(&[("all.yaml", &file)], arguments, |_| {})
}

/// All bytes of an answer over a connection of its own.
fn answer(site: &Site, request: &str) -> usize {
    let mut client = Connection::open(site.http);
    client.send(request);
    client.rest().expect("an answer").len()
}

#[test]
fn sizes_and_durations_are_those_of_what_went_over_the_connection() {
    let shop = saying("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    let site = site(&shop, &[]);
    let body = "x".repeat(777);
    let head = "host: shop.example.com\r\nconnection: close\r\n";
    let requests = [
        format!("GET /a HTTP/1.1\r\n{head}\r\n"),
        format!("POST /b HTTP/1.1\r\n{head}content-length: 777\r\n\r\n{body}"),
        format!("GET /{} HTTP/1.1\r\n{head}\r\n", "c".repeat(500)),
    ];
    let asked: usize = requests.iter().map(String::len).sum();
    let answered: usize = requests.iter().map(|request| answer(&site, request)).sum();
    let sum = |name: &str| site.series(&named(&format!("{name}_sum")), SHOP);
    until("all three are counted", || site.series(&named("requests"), SHOP) == Some(3.0));
    assert_eq!(sum("request_size"), Some(asked as f64));
    assert_eq!(sum("response_size"), Some(answered as f64));
    assert_eq!(sum("bytes_sent"), Some(answered as f64));
    for name in [
        "request_duration_seconds",
        "response_duration_seconds",
        "header_duration_seconds",
        "connect_duration_seconds",
        "request_size",
        "response_size",
        "bytes_sent",
    ] {
        assert_eq!(site.series(&named(&format!("{name}_count")), SHOP), Some(3.0), "{name}");
        let all = [SHOP, &[("le", "+Inf")]].concat();
        assert_eq!(site.series(&named(&format!("{name}_bucket")), &all), Some(3.0), "{name}");
    }
    // What is a part of another takes no longer.
    let (request, response) = (sum("request_duration_seconds"), sum("response_duration_seconds"));
    let (header, connect) = (sum("header_duration_seconds"), sum("connect_duration_seconds"));
    assert!(request >= response && response >= header && header >= connect);
    assert!(request > Some(0.0));
    let post = [SHOP, &[("method", "POST"), ("path", "/"), ("status", "200")]].concat();
    assert_eq!(site.series(&named("requests"), &post), Some(1.0));
    let buckets = |le| site.series(&named("request_size_bucket"), &[SHOP, &[("le", le)]].concat());
    assert_eq!((buckets("10"), buckets("100")), (Some(0.0), Some(1.0)));
}

#[test]
fn the_size_of_a_request_over_http2_is_what_http1_would_have_sent() {
    let shop = saying("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    let site = site(&shop, &[]);
    let host = "shop.example.com";
    run(async {
        let stream = tokio::net::TcpStream::connect(site.http).await.expect("it listens");
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        for _ in 0..2 {
            let request = http::Request::post(format!("http://{host}/b"))
                .header("x-kind", "v".repeat(300))
                .body(http_body_util::Full::<bytes::Bytes>::from("x".repeat(777)));
            let answer = sender.send_request(request.expect("a request")).await.expect("an answer");
            assert_eq!(answer.status(), 200);
        }
    });
    until("both are counted", || site.series(&named("requests"), SHOP) == Some(2.0));
    let kind = "v".repeat(300);
    let head = format!(
        "POST /b HTTP/1.1\r\nhost: {host}\r\nx-kind: {kind}\r\ncontent-length: 777\r\n\r\n"
    );
    let asked = 2 * (head.len() + 777);
    assert_eq!(site.series(&named("request_size_sum"), SHOP), Some(asked as f64));
}

#[test]
fn a_slow_answer_is_as_slow_in_the_metrics() {
    let (told, tell) = mpsc::channel();
    let (go, gone) = mpsc::channel();
    let (told, gone) = (Mutex::new(told), Mutex::new(gone));
    // It goes on when it is told to, and says when it has come so far.
    let shop = Backend::scripted(move |stream, _| {
        let mut stream = BufReader::new(stream);
        while read_request(&mut stream).is_some() {
            for part in ["HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab", "cd"] {
                told.lock().expect("no panic").send(()).expect("the test listens");
                gone.lock().expect("no panic").recv().expect("the test goes on");
                if stream.get_mut().write_all(part.as_bytes()).is_err() {
                    return;
                }
            }
        }
    });
    let site = site(&shop, &[]);
    let begun = Instant::now();
    let mut client = Connection::open(site.http);
    client.send("GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n");
    // What passes here passes while the agent waits for the endpoint.
    let wait = || {
        tell.recv().expect("the endpoint is asked");
        let begun = Instant::now();
        (0..20).for_each(|_| drop(site.admin("/metrics")));
        let passed = begun.elapsed().as_secs_f64();
        go.send(()).expect("the endpoint listens");
        passed
    };
    let first = wait();
    assert!(client.head().expect("a head").starts_with("HTTP/1.1 200"));
    let second = wait();
    assert_eq!(client.read_exact(4).expect("a body"), b"abcd");
    until("it is counted", || site.series(&named("requests"), SHOP) == Some(1.0));
    let most = begun.elapsed().as_secs_f64();
    let of = |name: &str| {
        let sum = site.series(&named(&format!("{name}_duration_seconds_sum")), SHOP);
        sum.expect("it was measured")
    };
    // To a microsecond.
    let (header, response, request) =
        (of("header") + 1e-6, of("response") + 1e-6, of("request") + 1e-6);
    assert!(header >= first && header <= response, "{header} of {first}");
    assert!(response >= first + second && request >= response, "{response} of {first}, {second}");
    assert!(request <= most, "{request} of {most}");
}

#[test]
fn a_page_in_the_place_of_a_slow_answer_is_as_slow() {
    let (told, tell) = mpsc::channel();
    let (go, gone) = mpsc::channel();
    let (told, gone) = (Mutex::new(told), Mutex::new(gone));
    let shop = Backend::scripted(move |stream, _| {
        let mut stream = BufReader::new(stream);
        while read_request(&mut stream).is_some() {
            told.lock().expect("no panic").send(()).expect("the test listens");
            gone.lock().expect("no panic").recv().expect("the test goes on");
            let answer = b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n";
            if stream.get_mut().write_all(answer).is_err() {
                return;
            }
        }
    });
    let rules = Ingress {
        name: "shop",
        annotations: &[
            ("server-snippet", "location = /gone { return 410; }"),
            ("configuration-snippet", "proxy_intercept_errors on;\nerror_page 500 = /gone;"),
        ],
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let allowed = [("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")];
    let file =
        documents(&[&rules.yaml(), &service("shop", &[shop.address]), &config_map(&allowed)]);
    let arguments = ["--configmap=web/controller"];
    let site = Site::start_with(&[("all.yaml", &file)], &arguments, |_| {});
    let mut client = Connection::open(site.http);
    client.send("GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n");
    tell.recv().expect("the endpoint is asked");
    // What passes here passes while the agent waits for the endpoint.
    let begun = Instant::now();
    (0..20).for_each(|_| drop(site.admin("/metrics")));
    let passed = begun.elapsed().as_secs_f64();
    go.send(()).expect("the endpoint listens");
    assert_eq!(client.reply(false).expect("an answer").status, 410);
    let only = [("host", "shop.example.com")];
    until("it is counted", || site.series(&named("requests"), &only) == Some(1.0));
    let sum = site.series(&named("request_duration_seconds_sum"), &only);
    assert!(sum.expect("it was measured") + 1e-6 >= passed, "{sum:?} of {passed}");
}

#[test]
fn who_could_not_be_asked_has_no_times_of_an_answer() {
    let rules = ingress("shop.example.com", "shop");
    let file = documents(&[&rules, &service("shop", &[nobody()])]);
    let site = Site::start(&[("all.yaml", &file)]);
    assert_eq!(site.get("shop.example.com", "/").status, 502);
    let failed = [SHOP, &[("status", "502")]].concat();
    until("it is counted", || site.series(&named("requests"), &failed) == Some(1.0));
    assert_eq!(site.series(&named("request_duration_seconds_count"), &failed), Some(1.0));
    assert_eq!(site.series(&named("response_duration_seconds_count"), &failed), Some(1.0));
    assert_eq!(site.series(&named("header_duration_seconds_count"), &failed), None);
    assert_eq!(site.series(&named("connect_duration_seconds_count"), &failed), None);
    let failures = site.series("penstock_upstream_connects_total", &[("outcome", "failed")]);
    assert!(failures >= Some(1.0), "{failures:?}");
}

#[test]
fn hosts_and_statuses_are_told_apart_as_flags_say() {
    let shop = Backend::echo("shop");
    let arguments = ["--metrics-per-undefined-host", "--report-status-classes=true"];
    let wild = Ingress {
        name: "wild",
        annotations: &[],
        host: "*.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let file = documents(&[
        &ingress("shop.example.com", "shop"),
        &wild.yaml(),
        &service("shop", &[shop.address]),
    ]);
    let start = |arguments: &[&str]| Site::start_with(&[("all.yaml", &file)], arguments, |_| {});
    let ask = |site: &Site| {
        for host in ["shop.example.com", "a.example.com", "b.example.com", "elsewhere"] {
            site.get(host, "/");
        }
        until("all are counted", || {
            site.series(&named("nginx_process_requests_total"), &[]) == Some(4.0)
        });
    };
    let (site, plain) = (start(&arguments), start(&["--metrics-per-host=false"]));
    ask(&site);
    let requests = |labels: &[(&str, &str)]| site.series(&named("requests"), labels);
    // Workers add up what they counted one after the other.
    for (host, status, count) in
        [("_", "4xx", 1.0), ("*.example.com", "2xx", 2.0), ("shop.example.com", "2xx", 1.0)]
    {
        let labels = [("host", host), ("status", status)];
        until("it is counted", || requests(&labels) == Some(count));
    }
    ask(&plain);
    until("the last one is counted", || plain.series(&named("requests"), &[]) == Some(4.0));
    let text = plain.admin("/metrics").text().to_owned();
    let of_requests = text.lines().filter(|line| line.starts_with(&named("requests{")));
    assert!(of_requests.clone().count() == 3 && !of_requests.clone().any(|l| l.contains("host=")));
    assert_eq!(plain.series(&named("requests"), &[("ingress", "wild")]), Some(2.0));
}

#[test]
fn what_flags_leave_out_is_not_there() {
    let shop = Backend::echo("shop");
    let none = site(&shop, &["--enable-metrics=false"]);
    let some = site(
        &shop,
        &[
            "--exclude-socket-metrics=nginx_ingress_controller_header_duration_seconds,bytes_sent",
            "--time-buckets=0.5,30",
            "--length-buckets=1000000",
        ],
    );
    for site in [&none, &some] {
        assert_eq!(site.get("shop.example.com", "/").status, 200);
    }
    until("it is counted", || some.series(&named("requests"), SHOP) == Some(1.0));
    let text = some.admin("/metrics").text().to_owned();
    assert!(!text.contains(&named("header_duration_seconds")) && !text.contains("bytes_sent"));
    let buckets =
        text.lines().filter(|line| line.starts_with(&named("request_duration_seconds_b")));
    assert_eq!(buckets.count(), 3);
    let large = [SHOP, &[("le", "1e+06")]].concat();
    assert_eq!(some.series(&named("request_size_bucket"), &large), Some(1.0));
    until("it is counted", || {
        none.series(&named("nginx_process_requests_total"), &[]) == Some(1.0)
    });
    assert!(!none.admin("/metrics").text().contains(&named("request")));
}

#[test]
fn the_series_of_a_deleted_ingress_vanish() {
    let shop = Backend::echo("shop");
    let site = site(&shop, &[]);
    site.write(
        "other.yaml",
        &ingress("other.example.com", "shop").replacen("name: shop", "name: other", 1),
    );
    until("it is served", || site.get("other.example.com", "/").status == 200);
    let other = [("host", "other.example.com")];
    until("it is counted", || site.series(&named("requests"), &other) >= Some(1.0));
    std::fs::remove_file(site.dir.path().join("other.yaml")).expect("it is there");
    until("it is forgotten", || site.series(&named("requests"), &other).is_none());
    assert_eq!(site.series(&named("request_duration_seconds_count"), &other), None);
    assert_eq!(site.get("shop.example.com", "/").status, 200);
    until("the other goes on", || site.series(&named("requests"), SHOP) >= Some(1.0));
}

#[test]
fn the_page_is_in_the_format_and_coding_that_are_asked_for() {
    let shop = Backend::echo("shop");
    let site = site(&shop, &[]);
    assert_eq!(site.get("shop.example.com", "/").status, 200);
    until("it is counted", || site.series(&named("requests"), SHOP) == Some(1.0));
    let ask = |fields: &str| {
        let head = format!("GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{fields}\r\n");
        exchange(site.admin, &head)
    };
    let plain = ask("");
    let kind = plain.header("content-type").expect("it has a type");
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    assert!(plain.text().contains(&format!("# TYPE {} counter\n", named("requests"))));
    assert!(plain.text().contains("le=\"1\"") && !plain.text().contains("# EOF"));
    let open = ask("accept: application/openmetrics-text; version=1.0.0, text/plain;q=0.5\r\n");
    let kind = open.header("content-type").expect("it has a type");
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    assert!(open.text().contains(&format!("# TYPE {} unknown\n", named("requests"))));
    assert!(open.text().contains(&format!("\n{}{{status=\"200\"", named("requests"))));
    assert!(open.text().ends_with("# EOF\n") && open.text().contains("le=\"1.0\""));
    let zipped = ask("accept-encoding: gzip\r\n");
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    GzDecoder::new(&*zipped.body).read_to_string(&mut text).expect("gzip");
    assert!(text.contains(&format!("\n{}{{status=\"200\"", named("requests"))));
}

#[test]
fn changes_and_what_is_wrong_with_them_are_counted() {
    let shop = Backend::echo("shop");
    let site = site(&shop, &[]);
    let whole = |name: &str| site.series(&named(name), &[]);
    assert_eq!(whole("config_last_reload_successful"), Some(1.0));
    assert_eq!(whole("errors"), Some(0.0));
    let (success, hash) = (whole("success").expect("one"), whole("config_hash"));
    assert!(success >= 1.0 && hash.is_some());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("it is later than 1970").as_secs_f64();
    let at = whole("config_last_reload_successful_timestamp_seconds").expect("a time");
    assert!((now - 600.0..=now + 1.0).contains(&at), "{at}");
    // One Service is missing, the other has nobody behind it.
    let rules = documents(&[
        &ingress("a.example.com", "nothing").replace("name: shop", "name: a"),
        &ingress("b.example.com", "empty").replace("name: shop", "name: b"),
        &service("empty", &[]),
    ]);
    site.write("more.yaml", &rules);
    let orphan = |kind| site.series(&named("orphan_ingress"), &[("type", kind)]);
    until("the change is served", || orphan("no-service").is_some());
    assert_eq!((orphan("no-service"), orphan("no-endpoint")), (Some(1.0), Some(1.0)));
    assert!(whole("success") > Some(success));
    assert_ne!(whole("config_hash"), hash);
    assert!(site.series("penstock_event_to_live_seconds_count", &[]) >= Some(1.0));
    let translated = site.series("penstock_translate_duration_seconds_count", &[]);
    assert_eq!(translated, whole("success"));
    let endpoints = |name| site.series("penstock_backend_endpoints", &[("service", name)]);
    assert_eq!((endpoints("shop"), endpoints("empty")), (Some(1.0), Some(0.0)));
    std::fs::remove_file(site.dir.path().join("more.yaml")).expect("it is there");
    until("the hash is as before", || whole("config_hash") == hash);
}

#[test]
fn connections_requests_and_the_process_are_told() {
    let shop = Backend::echo("shop");
    let site = site(&shop, &[]);
    let process = |name: &str, labels: &[(&str, &str)]| {
        site.series(&named(&format!("nginx_process_{name}")), labels)
    };
    let mut client = Connection::open(site.http);
    for _ in 0..3 {
        client.request("GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n");
    }
    let active = [("state", "active")];
    until("it is seen", || process("connections", &active) == Some(1.0));
    until("nothing is asked", || process("connections", &[("state", "waiting")]) == Some(1.0));
    assert_eq!(process("connections_total", &[("state", "accepted")]), Some(1.0));
    assert_eq!(process("connections_total", &[("state", "handled")]), Some(1.0));
    assert_eq!(process("requests_total", &[]), Some(3.0));
    assert_eq!(site.series("penstock_upstream_reused_total", &[]), Some(2.0));
    assert_eq!(site.series("penstock_requests_in_progress", &[]), Some(0.0));
    until("the endpoint's connection idles", || {
        site.series("penstock_upstream_idle_connections", &[]) == Some(1.0)
    });
    assert!(process("resident_memory_bytes", &[]) > Some(1e6));
    assert!(process("oldest_start_time_seconds", &[]) > Some(1.6e9));
    assert_eq!(process("num_procs", &[]), Some(1.0));
    let mut stuck = Connection::open(site.http);
    stuck.send("POST / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: 5\r\n\r\n");
    let in_progress = || site.series("penstock_requests_in_progress", &[]);
    until("it is being answered", || in_progress() == Some(1.0));
    drop(stuck);
    until("it broke off", || in_progress() == Some(0.0));
}

#[test]
fn clients_that_do_not_read_their_pages_lose_their_places() {
    // A path and a status for each request: a page is larger than what the kernel keeps of it.
    let shop = Backend::scripted(|stream, _| {
        let mut stream = BufReader::new(stream);
        while let Some((head, _)) = read_request(&mut stream) {
            let target = head.split(' ').nth(1).expect("a target");
            let status = target.rsplit('/').next().expect("a status");
            let answer = format!("HTTP/1.1 {status} Own\r\ncontent-length: 0\r\n\r\n");
            if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    let paths: Vec<_> = (0..12).map(|own| format!("/p{own}")).collect();
    let of_shop: Vec<_> = paths.iter().map(|path| ("Prefix", &**path, "shop")).collect();
    let host = "shop.example.com";
    let rules = Ingress { name: "shop", annotations: &[], host, paths: &of_shop, tls: None };
    let file = documents(&[&rules.yaml(), &service("shop", &[shop.address])]);
    let site = Site::start_with(&[("all.yaml", &file)], &[], |config| config.workers = 1);
    let mut client = Connection::open(site.http);
    for path in &paths {
        for status in 400..460 {
            let request = format!("GET {path}/{status} HTTP/1.1\r\nhost: {host}\r\n\r\n");
            assert_eq!(client.request(&request).status, status);
        }
    }
    let last = [("path", "/p11"), ("status", "459")];
    until("all are counted", || site.series(&named("requests"), &last) == Some(1.0));
    let idle: Vec<_> = (0..4)
        .map(|_| {
            let mut client = Connection::open(site.admin);
            client.send("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n");
            assert!(client.head().expect("a head").starts_with("HTTP/1.1 200"));
            client
        })
        .collect();
    until("they have all places", || site.admin("/metrics").status == 503);
    assert_eq!(site.admin("/healthz").status, 200);
    until("they have lost one", || site.admin("/metrics").status == 200);
    drop(idle);
}
