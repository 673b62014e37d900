//! `auth-url`: every row of the reference's table, with a scripted server.

mod fields;
mod kept;
mod servers;
mod signin;
mod snippet;
mod verdicts;

use std::{
    io::{BufReader, Write as _},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use crate::support::{
    Backend, Ingress, Reply, Site, config_map, documents, exchange, read_request, service,
};

const HOST: &str = "shop.example.com";
const GET: &str = "GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n";
/// The scripted server, as a Service.
const URL: (&str, &str) = ("auth-url", "http://auth.web.svc.cluster.local/verify");

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const REFUSED: &str =
    "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer\r\ncontent-length: 2\r\n\r\nno";

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// A server that is asked whether requests may pass, and what it was asked.
#[derive(Clone)]
struct Judge {
    backend: Backend,
    questions: Arc<Mutex<Vec<String>>>,
}

impl Judge {
    /// Answers a question's head with these bytes. Keeps connections, unless the answer is empty or
    /// says that it does not.
    fn new(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let questions = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&questions);
        let backend = Backend::scripted(move |mut stream, _| {
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            while let Some((head, body)) = read_request(&mut reader) {
                let bytes = answer(&head);
                let question = format!("{head}body-length: {}\n", body.len());
                asked.lock().expect("no panic").push(question);
                let closes = bytes.is_empty() || bytes.contains("connection: close");
                if stream.write_all(bytes.as_bytes()).is_err() || closes {
                    return;
                }
            }
        });
        Self { backend, questions }
    }

    fn saying(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::new(move |_| answer.clone())
    }

    fn questions(&self) -> Vec<String> {
        self.questions.lock().expect("no panic").clone()
    }

    /// The last question.
    fn last(&self) -> String {
        self.questions().pop().expect("a question")
    }

    fn asked(&self) -> usize {
        self.questions().len()
    }
}

/// A line of a question that begins with this, in any case.
fn line<'q>(question: &'q str, begin: &str) -> Option<&'q str> {
    question.lines().find_map(|line| {
        let (own, rest) = line.split_at_checked(begin.len())?;
        own.eq_ignore_ascii_case(begin).then_some(rest)
    })
}

/// A site whose Ingress has these annotations, the server's Service beside the shop's.
fn site_with(
    annotations: Pairs<'_>,
    map: Pairs<'_>,
    more: &[&str],
    (shop, judge): (&Backend, SocketAddr),
) -> Site {
    let ingress = Ingress {
        name: "shop",
        annotations,
        host: HOST,
        paths: &[
            ("Prefix", "/", "shop"),
            ("Prefix", "/other", "shop"),
            ("Prefix", "/.well-known/acme-challenge", "shop"),
        ],
        tls: None,
    };
    let services = [service("shop", &[shop.address]), service("auth", &[judge])];
    let (ingress, map) = (ingress.yaml(), config_map(map));
    let mut parts = vec![&*ingress, &services[0], &services[1], &map];
    parts.extend(more);
    let files = [("all.yaml", &*documents(&parts))];
    Site::start_with(&files, &["--configmap=web/controller"], |_| {})
}

fn site(annotations: Pairs<'_>, shop: &Backend, judge: &Judge) -> Site {
    site_with(annotations, &[], &[], (shop, judge.backend.address))
}

/// The answer to a request with these lines.
fn ask(site: &Site, target: &str, lines: &[&str]) -> Reply {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    exchange(
        site.http,
        &format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\n{lines}connection: close\r\n\r\n"),
    )
}

/// All values of a field of an answer.
fn all<'r>(reply: &'r Reply, name: &str) -> Vec<&'r str> {
    let value = |line: &'r str| {
        let (own, value) = line.split_once(':')?;
        own.eq_ignore_ascii_case(name).then(|| value.trim())
    };
    reply.head.lines().skip(1).filter_map(value).collect()
}
