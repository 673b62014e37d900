//! The end: what is there is finished, nothing new is taken, nobody sees an error.

use std::{
    io::{BufReader, Write as _},
    net::TcpStream,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use ingress_userspace::lifecycle::Stop;

use crate::support::{
    Backend, Connection, DEADLINE, Site, documents, ingress, read_request, service, until,
};

const GET: &str = "GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n";

/// A backend that answers when it is told to.
struct Gate {
    backend: Backend,
    open: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    fn new() -> Self {
        let open: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        let wait = Arc::clone(&open);
        let backend = Backend::scripted(move |mut stream, _| {
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            while read_request(&mut reader).is_some() {
                let guard = wait.0.lock().expect("no panic");
                drop(wait.1.wait_while(guard, |open| !*open).expect("no panic"));
                if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
                    return;
                }
            }
        });
        Self { backend, open }
    }

    fn open(&self) {
        *self.open.0.lock().expect("no panic") = true;
        self.open.1.notify_all();
    }
}

fn site(backend: &Backend, arguments: &[&str]) -> Site {
    let rules =
        documents(&[&ingress("shop.example.com", "shop"), &service("shop", &[backend.address])]);
    Site::start_with(&[("all.yaml", &rules)], arguments, |_| {})
}

fn refused(site: &Site) -> bool {
    TcpStream::connect(site.http).is_err() && TcpStream::connect(site.https).is_err()
}

#[test]
fn a_request_in_flight_is_answered_and_its_connection_closed() {
    let gate = Gate::new();
    let site = site(&gate.backend, &[]);
    let mut connection = Connection::open(site.http);
    connection.send(GET);
    until("the upstream is asked", || gate.backend.connections() == 1);
    site.signal(Stop::Gracefully);
    until("nobody listens", || refused(&site));
    assert_eq!(site.admin("/readyz").status, 503);
    assert_eq!(site.admin("/healthz").status, 500);
    gate.open();
    let reply = connection.reply(false).expect("an answer");
    assert_eq!((reply.status, reply.text()), (200, "ok"));
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(connection.rest().expect("an orderly end"), b"");
    assert!(site.wait());
}

#[test]
fn an_idle_connection_is_closed_soon() {
    let shop = Backend::echo("shop");
    let site = site(&shop, &[]);
    let mut connection = Connection::open(site.http);
    assert_eq!(connection.request(GET).status, 200);
    let start = Instant::now();
    site.signal(Stop::Gracefully);
    assert!(site.wait());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn the_deadline_ends_what_does_not_end() {
    let gate = Gate::new();
    let site = site(&gate.backend, &["--drain-timeout=1"]);
    let mut connection = Connection::open(site.http);
    connection.send(GET);
    until("the upstream is asked", || gate.backend.connections() == 1);
    let start = Instant::now();
    site.signal(Stop::Gracefully);
    assert!(site.wait());
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert!(start.elapsed() < DEADLINE);
}

#[test]
fn a_second_signal_ends_at_once() {
    let gate = Gate::new();
    let site = site(&gate.backend, &[]);
    let mut connection = Connection::open(site.http);
    connection.send(GET);
    until("the upstream is asked", || gate.backend.connections() == 1);
    site.signal(Stop::Gracefully);
    until("nobody listens", || refused(&site));
    site.signal(Stop::Now);
    assert!(site.wait());
}

#[test]
fn the_grace_period_is_unready_but_serves() {
    let shop = Backend::echo("shop");
    let site = site(&shop, &["--shutdown-grace-period=300"]);
    site.signal(Stop::Gracefully);
    until("it is unready", || site.admin("/readyz").status == 503);
    assert_eq!(site.get("shop.example.com", "/").status, 200);
    site.signal(Stop::Now);
    assert!(site.wait());
}

#[test]
fn clients_that_keep_asking_see_no_error_until_nobody_listens() {
    let shop = Backend::echo("shop");
    let site = site(&shop, &[]);
    let http = site.http;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(move || {
                let mut answered = 0;
                // Connections that the kernel took are served; then there are no more.
                while let Ok(stream) = TcpStream::connect(http) {
                    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
                    let mut connection = Connection::over(stream);
                    loop {
                        let reply = match connection.try_request(GET) {
                            Ok(reply) => reply,
                            Err(error) if answered == 0 => panic!("{error}"),
                            // Refused by the closing listener after the connection was made: the
                            // one gap that a single node cannot close alone.
                            Err(_) => return answered,
                        };
                        assert_eq!(reply.status, 200);
                        answered += 1;
                        if reply.header("connection") == Some("close") {
                            break;
                        }
                    }
                }
                answered
            })
        })
        .collect();
    until("requests flow", || {
        site.metric("nginx_ingress_controller_nginx_process_requests_total") > Some(200)
    });
    site.signal(Stop::Gracefully);
    for client in clients {
        assert!(client.join().expect("no panic") > 0);
    }
    assert!(site.wait());
}
