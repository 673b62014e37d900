//! Configuration changes while requests run: none of them is seen by a client.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use crate::support::{
    Backend, Connection, Ingress, Site, certificate, documents, ingress, service, tls, until,
};

const GET: &str = "GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n";
const GET_CLOSE: &str = "GET / HTTP/1.1\r\nhost: shop.example.com\r\nconnection: close\r\n\r\n";
const CHANGES: usize = 200;

fn shop(tls: bool) -> String {
    Ingress {
        name: "shop",
        annotations: &[("ssl-redirect", "false")],
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: tls.then_some("shop"),
    }
    .yaml()
}

#[test]
fn requests_during_200_changes_see_no_error() {
    let backends = ["one", "two", "three"].map(Backend::echo);
    let addresses = backends.clone().map(|backend| backend.address);
    let (_, secret) = certificate("shop", &["shop.example.com"]);
    let site = Site::start(&[
        ("shop.yaml", &shop(true)),
        ("service.yaml", &service("shop", &addresses)),
        ("secret.yaml", &secret),
    ]);
    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let (http, https) = (site.http, site.https);
    let client = |what: &'static str, run: Box<dyn Fn(usize) + Send>| {
        let (done, answered) = (Arc::clone(&done), Arc::clone(&answered));
        thread::Builder::new()
            .name(what.to_owned())
            .spawn(move || {
                let mut round = 0;
                while !done.load(Ordering::Relaxed) {
                    run(round);
                    round += 1;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                round
            })
            .expect("a thread")
    };
    // A connection is kept for as long as the server says so.
    let reused = |open: Box<dyn Fn() -> Connection + Send>| {
        let connection = std::sync::Mutex::new(open());
        Box::new(move |_| {
            let mut connection = connection.lock().expect("no panic");
            let reply = connection.request(GET);
            assert_eq!(reply.status, 200);
            if reply.header("connection") == Some("close") {
                *connection = open();
            }
        }) as Box<dyn Fn(usize) + Send>
    };
    let clients = [
        client("kept http", reused(Box::new(move || Connection::open(http)))),
        client("kept http again", reused(Box::new(move || Connection::open(http)))),
        client("kept https", reused(Box::new(move || tls(https, "shop.example.com").0))),
        client(
            "new http",
            Box::new(move |_| {
                assert_eq!(Connection::open(http).request(GET_CLOSE).status, 200);
            }),
        ),
        client(
            "new https",
            Box::new(move |_| {
                let (mut connection, _) = tls(https, "shop.example.com");
                assert_eq!(connection.request(GET_CLOSE).status, 200);
            }),
        ),
    ];

    let mut last = Vec::new();
    for change in 0..CHANGES {
        let generation = site.generation();
        match change % 4 {
            // Endpoints come and go; one always stays.
            0 => {
                let endpoints: Vec<_> = addresses
                    .iter()
                    .enumerate()
                    .filter(|(place, _)| *place == 1 || (change / 4 + place) % 3 != 0)
                    .map(|(_, address)| *address)
                    .collect();
                let turned: Vec<_> = endpoints
                    .iter()
                    .copied()
                    .cycle()
                    .skip(change % 5)
                    .take(endpoints.len())
                    .collect();
                // A label that changes nothing but the object, so that each write is a change.
                site.write("service.yaml", &marked(&service("shop", &turned), change));
            }
            1 => {
                let (der, secret) = certificate("shop", &["shop.example.com"]);
                last = der;
                site.write("secret.yaml", &secret);
            }
            // Hosts and routes of others.
            2 => {
                let other = ingress(&format!("other-{change}.example.com"), "shop2");
                site.write("other.yaml", &other);
            }
            // The Ingress itself, and its settings.
            _ => site.write("shop.yaml", &marked(&shop(change % 8 == 3), change)),
        }
        until("the change is served", || site.generation() > generation);
    }
    // TLS is on again for a last look at the certificate.
    site.write("shop.yaml", &shop(true));
    until("the last certificate", || tls(https, "shop.example.com").1 == last);
    let so_far = answered.load(Ordering::Relaxed);
    until("requests still flow", || answered.load(Ordering::Relaxed) > so_far + 10);
    done.store(true, Ordering::Relaxed);
    for client in clients {
        let name = client.thread().name().expect("it has one").to_owned();
        let rounds = client.join().unwrap_or_else(|_| panic!("{name} saw an error"));
        assert!(rounds > 10, "{name}: {rounds}");
    }
    assert_eq!(site.metric("penstock_lost_changes_total"), Some(0));
}

/// The same object with an annotation that nobody reads.
fn marked(text: &str, mark: usize) -> String {
    if text.contains("of-the-test") {
        text.replace("of-the-test: \"yes\"", &format!("of-the-test: \"{mark}\""))
    } else {
        text.replacen(
            "metadata: {",
            &format!("metadata: {{annotations: {{of-the-test: \"{mark}\"}}, "),
            1,
        )
    }
}

#[test]
fn endpoints_that_leave_get_no_new_request() {
    let (old, new) = (Backend::echo("old"), Backend::echo("new"));
    let rules = ingress("shop.example.com", "shop");
    let site =
        Site::start(&[("rules.yaml", &rules), ("service.yaml", &service("shop", &[old.address]))]);
    assert_eq!(site.get("shop.example.com", "/").line("backend: "), Some("old"));
    let generation = site.generation();
    site.write("service.yaml", &service("shop", &[new.address]));
    until("the change is served", || site.generation() > generation);
    for _ in 0..20 {
        assert_eq!(site.get("shop.example.com", "/").line("backend: "), Some("new"));
    }
}

#[test]
fn a_broken_file_costs_nothing_that_was_served() {
    let shop = Backend::echo("shop");
    let rules =
        documents(&[&ingress("shop.example.com", "shop"), &service("shop", &[shop.address])]);
    let site = Site::start(&[("all.yaml", &rules)]);
    site.write("all.yaml", &rules.replace("pathType: Prefix", "pathType: [Prefix"));
    site.until("a diagnostic", |state| {
        state["diagnostics"].as_array().is_some_and(|list| !list.is_empty())
    });
    assert_eq!(site.get("shop.example.com", "/").status, 200);
    site.write("all.yaml", &rules);
    site.until("no diagnostic", |state| state["diagnostics"].as_array().is_some_and(Vec::is_empty));
    assert_eq!(site.get("shop.example.com", "/").status, 200);
}
