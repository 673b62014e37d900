//! Which endpoint gets a request: sessions, hashing, refusals, names, and how fast endpoints leave.

use std::{
    collections::BTreeSet,
    io::{BufReader, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    Backend, Connection, Ingress, Reply, Site, documents, exchange, ingress, nobody, read_request,
    service, skip, until,
};

const HOST: &str = "shop.example.com";

/// A site whose host leads to these endpoints, with these annotations.
fn site(annotations: &[(&str, &str)], endpoints: &[SocketAddr]) -> Site {
    let rules = Ingress {
        name: "shop",
        annotations,
        host: HOST,
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    Site::start(&[("all.yaml", &documents(&[&rules.yaml(), &service("shop", endpoints)]))])
}

fn echoes(names: &[&str]) -> (Vec<Backend>, Vec<SocketAddr>) {
    let backends: Vec<_> = names.iter().map(|name| Backend::echo(name)).collect();
    let addresses = backends.iter().map(|backend| backend.address).collect();
    (backends, addresses)
}

fn get(site: &Site, target: &str, headers: &str) -> Reply {
    let text =
        format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\n{headers}connection: close\r\n\r\n");
    exchange(site.http, &text)
}

fn backend(reply: &Reply) -> String {
    assert_eq!(reply.status, 200);
    reply.line("backend: ").expect("an echo").to_owned()
}

#[test]
fn a_session_keeps_its_endpoint_on_every_worker() {
    for mode in ["balanced", "persistent"] {
        let (_running, endpoints) = echoes(&["one", "two", "three", "four"]);
        let annotations =
            [("affinity", "cookie"), ("affinity-mode", mode), ("session-cookie-max-age", "60")];
        let site = site(&annotations, &endpoints);
        for _ in 0..8 {
            let first = get(&site, "/", "");
            let cookie = first.header("set-cookie").expect("a session begins").to_owned();
            let (pair, attributes) = cookie.split_once("; ").expect("attributes");
            assert_eq!(attributes, "Max-Age=60; Path=/; HttpOnly");
            // md5(md5(b) + b), b being `web-shop-80`.
            assert!(pair.ends_with("|44cba271c9fc215f1fb84b7ff9a62d25"), "{pair}");
            for _ in 0..4 {
                let next = get(&site, "/", &format!("cookie: a=b; {pair}\r\n"));
                assert_eq!(backend(&next), backend(&first), "{mode}");
                assert_eq!(next.header("set-cookie"), None, "it is told once");
            }
        }
    }
}

#[test]
fn a_session_moves_off_a_dead_endpoint_if_it_may() {
    let (_running, mut endpoints) = echoes(&["alive"]);
    endpoints.push(nobody());
    let annotations = |change| {
        [
            ("affinity", "cookie"),
            ("affinity-mode", "persistent"),
            ("session-cookie-change-on-failure", change),
        ]
    };
    // The key of a session with the dead endpoint.
    let alive = site(&annotations("true"), &endpoints);
    let dead = md5(&format!("web-shop-80{}", endpoints[1]));
    let cookie = format!("cookie: INGRESSCOOKIE={dead}|x\r\n");
    let moved = get(&alive, "/", &cookie);
    assert_eq!(backend(&moved), "alive");
    assert!(moved.header("set-cookie").is_some(), "the client is told");
    let stuck = site(&annotations("false"), &endpoints);
    assert_eq!(get(&stuck, "/", &cookie).status, 502);
}

/// By the system's own program.
fn md5(text: &str) -> String {
    let mut child = std::process::Command::new("md5sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("coreutils");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout)[..32].to_owned()
}

#[test]
fn a_hash_of_the_target_keeps_it_at_one_endpoint() {
    let (_running, endpoints) = echoes(&["one", "two", "three", "four"]);
    let site = site(&[("upstream-hash-by", "$request_uri$http_x_user")], &endpoints);
    let mut used = BTreeSet::new();
    for path in 0..24 {
        let target = format!("/{path}?q");
        let first = backend(&get(&site, &target, ""));
        for _ in 0..3 {
            assert_eq!(backend(&get(&site, &target, "")), first);
        }
        used.insert(first);
    }
    assert_eq!(used.len(), 4);
    let users: BTreeSet<_> =
        (0..24).map(|user| backend(&get(&site, "/", &format!("x-user: {user}\r\n")))).collect();
    assert_eq!(users.len(), 4);
}

#[test]
fn an_endpoint_that_refuses_is_not_asked_each_time() {
    let (_running, mut endpoints) = echoes(&["alive"]);
    endpoints.push(nobody());
    let site = site(&[], &endpoints);
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(get(&site, "/", "").status, 200);
    }
    let failed = site.metric("penstock_upstream_connects_total{outcome=\"failed\"}").unwrap();
    // Each of the two workers asks it once and again after pauses of 1, 2, 4 seconds: however slow
    // the machine is, as often as that and one.
    let seconds = begun.elapsed().as_secs();
    let most = 2 * (1 + u64::from((seconds + 2).ilog2()));
    assert!((1..=most).contains(&failed), "{failed} in {seconds} s");
}

#[test]
fn ewma_serves() {
    let (_running, endpoints) = echoes(&["one", "two"]);
    let site = site(&[("load-balance", "ewma")], &endpoints);
    for _ in 0..20 {
        assert_eq!(get(&site, "/", "").status, 200);
    }
}

#[test]
fn a_request_in_flight_finishes_on_the_endpoint_that_leaves() {
    let (started, start) = mpsc::channel();
    let (finish, finished) = mpsc::channel::<()>();
    let finished = Mutex::new(finished);
    let old = Backend::scripted(move |stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        if read_request(&mut reader).is_some() {
            let _test_ended = started.send(());
            let _test_ended = finished.lock().expect("no panic").recv();
            let mut stream = stream;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nold");
        }
    });
    let new = Backend::echo("new");
    let rules = ingress(HOST, "shop");
    let site =
        Site::start(&[("rules.yaml", &rules), ("service.yaml", &service("shop", &[old.address]))]);
    let http = site.http;
    let request = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    let in_flight = thread::spawn(move || Connection::open(http).request(&request));
    start.recv().expect("it began");
    let generation = site.generation();
    site.write("service.yaml", &service("shop", &[new.address]));
    until("the change is served", || site.generation() > generation);
    for _ in 0..4 {
        assert_eq!(backend(&get(&site, "/", "")), "new");
    }
    finish.send(()).expect("it waits");
    let reply = in_flight.join().expect("no panic");
    assert_eq!((reply.status, &*reply.body), (200, &b"old"[..]));
}

fn backend_or(reply: &Reply) -> String {
    reply.line("backend: ").unwrap_or_default().to_owned()
}

/// An address of this machine that is no loopback one: those are refused as external names.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing; asks the routing table.
    socket.connect("198.51.100.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
}

#[test]
fn a_name_leads_to_its_addresses_and_follows_them() {
    let Some(own) = own_address() else {
        let test = "a_name_leads_to_its_addresses_and_follows_them";
        return skip(test, "address", "needs an address that is no loopback one");
    };
    let listener = TcpListener::bind((own, 0)).expect("an own address");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let mut stream = stream;
            if read_request(&mut reader).is_some() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
            }
        }
    });
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let server = socket.local_addr().expect("bound");
    let moved = Arc::new(AtomicBool::new(false));
    let is_moved = Arc::clone(&moved);
    thread::spawn(move || {
        let mut query = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut query) {
            let address = match (is_moved.load(Ordering::SeqCst), own) {
                (false, IpAddr::V4(own)) => own.octets(),
                _ => [192, 0, 2, 77],
            };
            // The question ends before the EDNS record: after the name, its type and class.
            let end =
                12 + query[12..length].iter().position(|byte| *byte == 0).expect("a name") + 5;
            let head = [&query[..2], &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0], &query[12..end]];
            let record = [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4], &address[..]];
            let _client_left = socket.send_to(&[head.concat(), record.concat()].concat(), client);
        }
    });
    let outside = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: shop, namespace: web}}\n\
         spec: {{type: ExternalName, externalName: out.example.org., \
         ports: [{{port: 80, targetPort: {port}}}]}}\n"
    );
    let rules = documents(&[&ingress(HOST, "shop"), &outside]);
    let site = Site::start_with(&[("all.yaml", &rules)], &[], |config| {
        config.names.servers = vec![server];
    });
    until("the name is resolved", || get(&site, "/", "").status == 200);
    moved.store(true, Ordering::SeqCst);
    site.until("the name has moved", |state| {
        state["backends"][0]["endpoints"][0]["address"] == format!("192.0.2.77:{port}")
    });
    let site = Site::start_with(&[("all.yaml", &rules)], &["--disable-svc-external-name"], |_| {});
    assert_eq!(get(&site, "/", "").status, 503);
}

/// From the write of an EndpointSlice to the first answer by the new endpoint, for people:
/// `cargo test -p ingress-userspace --release --test agent live -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement: prints, asserts nothing about time"]
fn how_soon_an_endpoint_is_live() {
    for ingresses in [1, 10_000] {
        let (_running, endpoints) = echoes(&["one", "two"]);
        let mut rules = ingress(HOST, "shop");
        for index in 1..ingresses {
            rules.push_str("---\n");
            let name = format!("other-{index}");
            rules.push_str(&ingress(&format!("{name}.example.com"), &name));
            rules.push_str("---\n");
            rules.push_str(&service(&name, &[nobody_cheap(index)]));
        }
        let of = |turn: usize| service("shop", &[endpoints[turn % 2]]);
        let site = Site::start(&[("rules.yaml", &rules), ("service.yaml", &of(0))]);
        let mut times: Vec<Duration> = Vec::new();
        for turn in 1..=21 {
            let wanted = ["one", "two"][turn % 2];
            let start = Instant::now();
            site.write("service.yaml", &of(turn));
            until("the endpoint is live", || backend_or(&get(&site, "/", "")) == wanted);
            times.push(start.elapsed());
        }
        times.sort();
        println!(
            "{ingresses} Ingresses: median {:.1} ms, max {:.1} ms",
            times[10].as_secs_f64() * 1000.0,
            times[20].as_secs_f64() * 1000.0
        );
    }
}

fn nobody_cheap(index: usize) -> SocketAddr {
    let [.., high, low] = index.to_be_bytes();
    ([10, 9, high, low], 80).into()
}
