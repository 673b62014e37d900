//! A site with enough on it to look at: some Ingresses, one of them with errors, one slow, one without
//! endpoints; certificates of which one ends soon; mistakes; and clients that never stop asking.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use jiff::{ToSpan as _, Zoned};
use rcgen::{CertificateParams, KeyPair};

use crate::site::Site;

/// What an endpoint answers to the n-th request: its status, and after which time.
type Answers = fn(u32) -> (u16, Duration);

/// Namespace, Ingress and Service, host, and how it answers; `None`: nobody does.
const SHOPS: [(&str, &str, &str, Option<Answers>); 6] = [
    ("shop", "storefront", "shop.example.com", Some(|n| (200, millis(3 + n % 7)))),
    (
        "shop",
        "checkout",
        "pay.example.com",
        Some(|n| (if n.is_multiple_of(6) { 502 } else { 200 }, millis(12 + n % 60))),
    ),
    ("shop", "search", "search.example.com", Some(|n| (200, millis(40 + n * 13 % 400)))),
    (
        "media",
        "images",
        "img.example.com",
        Some(|n| (if n.is_multiple_of(3) { 304 } else { 200 }, millis(2 + n % 4))),
    ),
    (
        "media",
        "uploads",
        "up.example.com",
        Some(|n| (if n.is_multiple_of(4) { 413 } else { 201 }, millis(25 + n % 30))),
    ),
    ("office", "wiki", "wiki.example.com", None),
];

const fn millis(number: u32) -> Duration {
    Duration::from_millis(number as u64)
}

/// A site and its clients, which stop when it is dropped.
pub(crate) struct Town {
    pub(crate) site: Site,
    is_over: Arc<AtomicBool>,
}

impl Town {
    /// Starts it; `None` after saying that `test` is skipped.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let site = Site::of(test, &documents())?;
        let is_over = Arc::new(AtomicBool::new(false));
        for (place, (_, _, host, _)) in SHOPS.iter().enumerate() {
            // Twice as many ask for what comes first.
            for _ in 0..=usize::from(place < 2) {
                let (is_over, http) = (Arc::clone(&is_over), site.http);
                thread::spawn(move || ask(http, host, &is_over));
            }
        }
        Some(Self { site, is_over })
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Asks again as soon as there is an answer.
fn ask(http: SocketAddr, host: &str, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(http) else { return };
        let _limit = stream.set_read_timeout(Some(Duration::from_secs(20)));
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
        while !is_over.load(Ordering::Relaxed) && stream.write_all(request.as_bytes()).is_ok() {
            // As often as the slowest of the others: nobody answers, so nothing is waited for.
            if host.starts_with("wiki") {
                thread::sleep(Duration::from_millis(300));
            }
            if !skip_answer(&mut stream) {
                break;
            }
        }
    }
}

/// Reads an answer with a content-length, or none; false: the connection is over.
fn skip_answer(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_exact(&mut byte).is_err() {
            return false;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).is_ok()
}

/// Somebody who answers like this.
fn endpoint(answers: Answers) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            thread::spawn(move || answer(stream, answers));
        }
    });
    address
}

fn answer(mut stream: TcpStream, answers: Answers) {
    let body = "x".repeat(600);
    for number in 0.. {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_exact(&mut byte).is_err() {
                return;
            }
            head.push(byte[0]);
        }
        let (status, time) = answers(number);
        thread::sleep(time);
        let body = if status == 304 { "" } else { &body };
        let length = if status == 304 {
            String::new()
        } else {
            format!("content-length: {}\r\n", body.len())
        };
        let answer = format!("HTTP/1.1 {status} told\r\n{length}\r\n{body}");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn documents() -> String {
    let mut text =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: web}\ndata:\n  \
                    ssl-redirect: \"false\"\n"
            .to_owned();
    for (namespace, name, host, answers) in SHOPS {
        let _infallible = write!(
            text,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
             spec:\n  ports:\n  - {{name: http, port: 80, targetPort: 8080}}\n"
        );
        for pod in 0..2 {
            let Some(answers) = answers else { continue };
            let address = endpoint(answers);
            let _infallible = write!(
                text,
                "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
                 metadata:\n  name: {name}-{pod}\n  namespace: {namespace}\n  \
                 labels: {{kubernetes.io/service-name: {name}}}\n\
                 addressType: IPv4\nports:\n- {{name: http, port: {}, protocol: TCP}}\n\
                 endpoints:\n- addresses: [\"{}\"]\n  conditions: {{ready: true}}\n  \
                 targetRef: {{kind: Pod, name: {name}-{pod}, namespace: {namespace}}}\n",
                address.port(),
                address.ip(),
            );
        }
        text += &secret(namespace, name, host, if name == "checkout" { 5 } else { 80 });
        let _infallible = write!(
            text,
            "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  \
             namespace: {namespace}\n  creationTimestamp: 2026-01-01T00:00:00Z\n\
             spec:\n  tls:\n  - hosts: [{host}]\n    secretName: {name}\n  rules:\n  \
             - host: {host}\n    http:\n      paths:\n      - path: /\n        pathType: Prefix\n        \
             backend:\n          service: {{name: {name}, port: {{number: 80}}}}\n"
        );
    }
    // Mistakes.
    for (name, annotation, value) in
        [("typo", "proxy-body-size", "lots"), ("old", "rewrite-targt", "/$1")]
    {
        let _infallible = write!(
            text,
            "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  \
             namespace: office\n  creationTimestamp: 2026-01-01T00:00:00Z\n  annotations:\n    \
             nginx.ingress.kubernetes.io/{annotation}: {value:?}\n\
             spec:\n  rules:\n  - host: {name}.example.com\n    http:\n      paths:\n      \
             - path: /\n        pathType: Prefix\n        backend:\n          \
             service: {{name: wiki, port: {{number: 80}}}}\n"
        );
    }
    text
}

/// A certificate for a host that ends in so many days, and half a day.
fn secret(namespace: &str, name: &str, host: &str, days: i64) -> String {
    let key = KeyPair::generate().expect("randomness");
    let mut parameters = CertificateParams::new(vec![host.to_owned()]).expect("a plain name");
    let end = Zoned::now().checked_add((days + 1).days()).expect("a year that is known").date();
    let month = u8::try_from(end.month()).expect("1 to 12");
    let day = u8::try_from(end.day()).expect("1 to 31");
    parameters.not_after = rcgen::date_time_ymd(end.year().into(), month, day);
    let certificate = parameters.self_signed(&key).expect("a key of its own");
    let entry = |pem: String| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         type: kubernetes.io/tls\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
        entry(certificate.pem()),
        entry(key.serialize_pem()),
    )
}
