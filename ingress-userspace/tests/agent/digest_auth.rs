//! `auth-type: digest`: proofs of passwords, each good for one request.

use std::collections::HashMap;

use data_encoding::HEXLOWER;
use md5::{Digest as _, Md5};

use crate::support::{
    Backend, Connection, Ingress, Reply, Site, config_map, documents, exchange, read_request,
    secret_of, service, until,
};

const HOST: &str = "shop.example.com";

fn md5(text: &str) -> String {
    HEXLOWER.encode(&Md5::digest(text.as_bytes()))
}

fn file(password: &str) -> String {
    let mine = md5(&format!("bob:The Shop:{password}"));
    let other = md5("eve:Elsewhere:secret");
    secret_of("users", &[("auth", &format!("bob:The Shop:{mine}\neve:Elsewhere:{other}"))])
}

fn site(shop: &Backend) -> Site {
    let annotations =
        [("auth-type", "digest"), ("auth-secret", "users"), ("auth-realm", "The Shop")];
    let paths = &[("Prefix", "/", "shop")];
    let ingress =
        Ingress { name: "shop", annotations: &annotations, host: HOST, paths, tls: None }.yaml();
    let all = documents(&[&ingress, &service("shop", &[shop.address])]);
    Site::start(&[("all.yaml", &*all), ("secret.yaml", &file("secret"))])
}

/// A client's side of it (RFC 7616, section 3.4).
struct Client {
    name: &'static str,
    password: &'static str,
    realm: String,
    nonce: String,
    count: u32,
}

impl Client {
    /// One that was asked by this answer.
    fn asked(reply: &Reply, name: &'static str, password: &'static str) -> Self {
        assert_eq!(reply.status, 401);
        let asked = challenge(reply);
        assert_eq!((&*asked["qop"], &*asked["algorithm"]), ("auth", "MD5"));
        let (realm, nonce) = (asked["realm"].clone(), asked["nonce"].clone());
        Self { name, password, realm, nonce, count: 0 }
    }

    /// The field of the next request.
    fn proof(&mut self, method: &str, uri: &str) -> String {
        self.count += 1;
        self.proof_of(self.count, method, uri)
    }

    fn proof_of(&self, count: u32, method: &str, uri: &str) -> String {
        let Self { name, password, realm, nonce, .. } = self;
        let known = md5(&format!("{name}:{realm}:{password}"));
        let asked = md5(&format!("{method}:{uri}"));
        let response = md5(&format!("{known}:{nonce}:{count:08x}:0a4f113b:auth:{asked}"));
        format!(
            "authorization: Digest username=\"{name}\", realm=\"{realm}\", nonce=\"{nonce}\", \
             uri=\"{uri}\", cnonce=\"0a4f113b\", nc={count:08x}, qop=auth, response=\"{response}\", \
             algorithm=MD5\r\n"
        )
    }
}

/// The parameters of `WWW-Authenticate`.
fn challenge(reply: &Reply) -> HashMap<String, String> {
    let value = reply.header("www-authenticate").expect("a challenge");
    let params = value.strip_prefix("Digest ").expect("the scheme");
    let pair = |param: &str| {
        let (name, value) = param.split_once('=').expect("a value");
        (name.to_owned(), value.trim_matches('"').to_owned())
    };
    params.split(", ").map(pair).collect()
}

fn stale(reply: &Reply) -> bool {
    assert_eq!(reply.status, 401);
    challenge(reply).get("stale").is_some_and(|value| value == "true")
}

fn get(site: &Site, target: &str, fields: &str) -> Reply {
    // A connection each: every worker gets some.
    let text =
        format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\n{fields}connection: close\r\n\r\n");
    exchange(site.http, &text)
}

#[test]
fn a_proof_is_good_once_at_any_worker() {
    let shop = Backend::echo("shop");
    let site = site(&shop);
    let mut bob = Client::asked(&get(&site, "/a?b=c", ""), "bob", "secret");
    for _ in 0..20 {
        let proof = bob.proof("GET", "/a?b=c");
        let reply = get(&site, "/a?b=c", &proof);
        assert_eq!(reply.status, 200);
        assert_eq!(reply.line("authorization: "), None, "it is for us");
        assert!(stale(&get(&site, "/a?b=c", &proof)), "whoever saw it comes too late");
    }
    // After so many another nonce is needed, which the client gets at once.
    let reply = get(&site, "/a?b=c", &bob.proof("GET", "/a?b=c"));
    assert!(stale(&reply));
    let mut bob = Client::asked(&reply, "bob", "secret");
    assert_eq!(get(&site, "/a?b=c", &bob.proof("GET", "/a?b=c")).status, 200);
}

#[test]
fn counts_may_overtake_each_other() {
    let shop = Backend::echo("shop");
    let site = site(&shop);
    let bob = Client::asked(&get(&site, "/", ""), "bob", "secret");
    for count in [3, 1, 2] {
        assert_eq!(get(&site, "/", &bob.proof_of(count, "GET", "/")).status, 200, "{count}");
    }
    for count in [0, 21, u32::MAX] {
        assert!(stale(&get(&site, "/", &bob.proof_of(count, "GET", "/"))), "{count}");
    }
}

#[test]
fn a_proof_of_something_else_proves_nothing() {
    let shop = Backend::echo("shop");
    let site = site(&shop);
    let first = get(&site, "/a", "");
    assert!(!stale(&first));
    assert!(first.text().contains("<title>401 Authorization Required</title>"));
    let mut bob = Client::asked(&first, "bob", "secret");
    for fields in [
        bob.proof("POST", "/a"),
        bob.proof("GET", "/b"),
        bob.proof("GET", "/a").replace("uri=\"/a\"", "uri=\"/b\""),
        bob.proof("GET", "/a").replace("cnonce=\"0", "cnonce=\"1"),
        bob.proof("GET", "/a").replace("qop=auth, ", ""),
        bob.proof("GET", "/a").replace("nc=", "nc=0"),
        bob.proof("GET", "/a").replace("MD5", "SHA-256"),
        bob.proof("GET", "/a").replace("Digest ", "Basic "),
        bob.proof("GET", "/a").repeat(2),
        Client::asked(&first, "bob", "wrong").proof("GET", "/a"),
        Client::asked(&first, "nobody", "secret").proof("GET", "/a"),
        // Known, but not here.
        Client::asked(&first, "eve", "secret").proof("GET", "/a"),
        Client { realm: "Elsewhere".to_owned(), ..Client::asked(&first, "eve", "secret") }
            .proof("GET", "/a"),
        "authorization: Digest\r\n".to_owned(),
        bob.proof("GET", "/a").replace("\"bob\"", "\"bob\0\""),
        bob.proof("GET", "/a").replace("\"bob\"", &format!("\"{}\"", "b".repeat(5000))),
        bob.proof("GET", "/a").replace("nc=0", "nc=-"),
        bob.proof("GET", "/a").replace("username=", "username=\"eve\", username="),
        format!("authorization: Digest {}\r\n", "a=b,".repeat(1500)),
        format!("authorization: Digest username=\"{}\r\n", "\\".repeat(5000)),
        "authorization: Digest \"\r\n".to_owned(),
    ] {
        let reply = get(&site, "/a", &fields);
        // A zero is in no head.
        assert!(reply.status == 400 && fields.contains('\0') || !stale(&reply), "{fields}");
    }
    assert_eq!(shop.connections(), 0);
    assert_eq!(get(&site, "/a", &bob.proof("GET", "/a")).status, 200);
}

#[test]
fn a_nonce_of_somebody_else_is_replaced() {
    let shop = Backend::echo("shop");
    let (site, other) = (site(&shop), site(&shop));
    let mut bob = Client::asked(&get(&other, "/", ""), "bob", "secret");
    let reply = get(&site, "/", &bob.proof("GET", "/"));
    assert!(stale(&reply), "that of another replica");
    let mut bob = Client { nonce: "0".repeat(64), ..Client::asked(&reply, "bob", "secret") };
    assert!(stale(&get(&site, "/", &bob.proof("GET", "/"))), "one of the client's making");
    assert_eq!(shop.connections(), 0);
}

#[test]
fn requests_of_every_kind_are_proved() {
    let shop = Backend::echo("shop");
    let site = site(&shop);
    let mut connection = Connection::open(site.http);
    let first = connection.request(&format!("HEAD /x HTTP/1.1\r\nhost: {HOST}\r\n\r\n"));
    let mut bob = Client::asked(&first, "bob", "secret");
    let proof = bob.proof("HEAD", "/x");
    let reply = connection.request(&format!("HEAD /x HTTP/1.1\r\nhost: {HOST}\r\n{proof}\r\n"));
    assert_eq!(reply.status, 200);
    let proof = bob.proof("POST", "/x");
    let text = format!("POST /x HTTP/1.1\r\nhost: {HOST}\r\n{proof}content-length: 2\r\n\r\nhi");
    let reply = connection.request(&text);
    assert_eq!((reply.status, reply.line("body-length: ")), (200, Some("2")));
}

#[test]
fn a_password_that_changes_is_obeyed() {
    let shop = Backend::echo("shop");
    let site = site(&shop);
    let ask = |password: &'static str| {
        let mut bob = Client::asked(&get(&site, "/", ""), "bob", password);
        get(&site, "/", &bob.proof("GET", "/")).status
    };
    assert_eq!([ask("secret"), ask("other")], [200, 401]);
    site.replace("secret.yaml", &file("other"));
    until("the new one is obeyed", || ask("other") == 200);
    assert_eq!(ask("secret"), 401);
}

#[test]
fn a_page_of_an_error_needs_no_proof_of_its_own() {
    let shop = Backend::echo("shop");
    let snippet = "if ($arg_x) { return 404; }\nerror_page 404 /missing;\n\
                   proxy_intercept_errors on;";
    let annotations = [
        ("auth-type", "digest"),
        ("auth-secret", "users"),
        ("auth-realm", "The Shop"),
        ("configuration-snippet", snippet),
    ];
    let allowed = config_map(&[
        ("allow-snippet-annotations", "true"),
        ("annotations-risk-level", "Critical"),
    ]);
    let failing = Backend::scripted(|mut stream, _| {
        let mut reader = std::io::BufReader::new(stream.try_clone().expect("a second handle"));
        while let Some((head, _)) = read_request(&mut reader) {
            let status = if head.contains("/missing") { "200 OK" } else { "404 Not Found" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\n\r\npage");
            if std::io::Write::write_all(&mut stream, answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    for backend in [&shop, &failing] {
        let paths = &[("Prefix", "/", "shop")];
        let ingress =
            Ingress { name: "shop", annotations: &annotations, host: HOST, paths, tls: None };
        let parts = [ingress.yaml(), service("shop", &[backend.address]), allowed.clone()];
        let all = documents(&[&parts[0], &parts[1], &parts[2]]);
        let site = Site::start_with(
            &[("all.yaml", &*all), ("secret.yaml", &file("secret"))],
            &["--configmap=web/controller"],
            |_| {},
        );
        // The step of the snippet comes before the proof is looked at, the endpoint's answer after.
        let target = if std::ptr::eq(backend, &failing) { "/a" } else { "/a?x=1" };
        let mut bob = Client::asked(&get(&site, "/b", ""), "bob", "secret");
        for method in ["GET", "POST"] {
            let proof = bob.proof(method, target);
            let ask = || {
                let text = format!(
                    "{method} {target} HTTP/1.1\r\nhost: {HOST}\r\n{proof}connection: close\r\n\r\n"
                );
                exchange(site.http, &text)
            };
            let reply = ask();
            let once = std::ptr::eq(backend, &failing) || method == "GET";
            assert_eq!(reply.status, if once { 404 } else { 401 }, "{method} {target}");
            if once {
                assert!(stale(&ask()), "{method} {target}: it is good once");
            }
        }
    }
}
