//! `auth-type: basic`: who gets in, who does not, and at what cost to others.

use std::{fmt::Write as _, net::SocketAddr};

use bytes::Bytes;
use data_encoding::BASE64;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::{
    Backend, Connection, Ingress, Reply, Site, config_map, documents, exchange, secret_of, service,
    until,
};

const HOST: &str = "shop.example.com";

/// What `htpasswd`, `openssl passwd` and `crypt(3)` make of `secret`.
const HASHES: &[(&str, &str)] = &[
    ("plain", "{PLAIN}secret"),
    ("sha", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="),
    ("ssha", "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0"),
    ("apr1", "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/"),
    ("md5", "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1"),
    ("sha256", "$5$saltstring$C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi."),
    (
        "sha512",
        "$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0\
         Ry5qulYz.",
    ),
    ("bcrypt-y", BCRYPT),
    ("bcrypt-a", "$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"),
    ("bcrypt-b", "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"),
];

const BCRYPT: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

const BASIC: &[(&str, &str)] =
    &[("auth-type", "basic"), ("auth-secret", "users"), ("auth-realm", "The Shop: 1")];

fn ingress(name: &str, annotations: &[(&str, &str)], path: &str) -> String {
    Ingress { name, annotations, host: HOST, paths: &[("Prefix", path, "shop")], tls: None }.yaml()
}

fn file(users: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, hash) in users {
        let _infallible = writeln!(text, "{name}:{hash}");
    }
    secret_of("users", &[("auth", &text)])
}

/// A protected Ingress at `/`, one that is not at `/open`, and the Secret in a file of its own.
fn site_of(annotations: &[(&str, &str)], secret: &str, endpoint: SocketAddr) -> Site {
    let all = documents(&[
        &ingress("shop", annotations, "/"),
        &ingress("open", &[], "/open"),
        &service("shop", &[endpoint]),
        &config_map(&[]),
    ]);
    let files = [("all.yaml", &*all), ("secret.yaml", secret)];
    // One worker, so that all requests meet.
    Site::start_with(&files, &["--configmap=web/controller"], |config| config.workers = 1)
}

fn site(users: &[(&str, &str)], endpoint: SocketAddr) -> Site {
    site_of(BASIC, &file(users), endpoint)
}

fn field(name: &str, password: &str) -> String {
    format!("authorization: Basic {}\r\n", BASE64.encode(format!("{name}:{password}").as_bytes()))
}

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n{fields}\r\n")
}

fn ask(site: &Site, fields: &str) -> Reply {
    exchange(site.http, &get("/", fields))
}

#[test]
fn every_kind_of_hash_lets_its_password_in_and_no_other() {
    let shop = Backend::echo("shop");
    let site = site(HASHES, shop.address);
    for (name, _) in HASHES {
        for (password, status) in
            [("secret", 200), ("Secret", 401), ("", 401), ("secret", 200), ("secret ", 401)]
        {
            let reply = ask(&site, &field(name, password));
            assert_eq!(reply.status, status, "{name}: {password}");
        }
    }
    assert_eq!(ask(&site, &field("nobody", "secret")).status, 401);
    assert_eq!(ask(&site, &field("PLAIN", "secret")).status, 401, "names have a case");
}

#[test]
fn names_and_passwords_may_be_of_any_letters() {
    let shop = Backend::echo("shop");
    let users = [("jäger", "{PLAIN}bür"), ("bob", "$apr1$abcdefgh$OqHcd/T.KlEenFnns9GwR1")];
    let site = site(&users, shop.address);
    assert_eq!(ask(&site, &field("jäger", "bür")).status, 200);
    assert_eq!(ask(&site, &field("jager", "bür")).status, 401);
    // The first colon ends the name; others belong to the password.
    assert_eq!(ask(&site, &field("bob", "jäger:ü")).status, 200);
    assert_eq!(ask(&site, &field("bob", "jäger")).status, 401);
}

#[test]
fn a_client_that_does_not_say_who_it_is_is_asked() {
    let shop = Backend::echo("shop");
    let site = site(HASHES, shop.address);
    let mut connection = Connection::open(site.http);
    let reply = connection.request(&get("/", ""));
    assert_eq!(reply.status, 401);
    assert_eq!(reply.header("www-authenticate"), Some("Basic realm=\"The Shop: 1\""));
    assert!(reply.text().contains("<title>401 Authorization Required</title>"));
    let head = connection.request(&get("/", "").replace("GET", "HEAD"));
    assert_eq!((head.status, head.header("content-length")), (401, reply.header("content-length")));
    // The connection stays, and so does the way of others.
    assert_eq!(connection.request(&get("/open", "")).status, 200);
    assert_eq!(connection.request(&get("/", &field("sha", "secret"))).status, 200);
    assert_eq!(shop.connections(), 1);
}

#[test]
fn what_is_garbled_lets_nobody_in() {
    let shop = Backend::echo("shop");
    let site = site(HASHES, shop.address);
    let huge = "x".repeat(6000);
    let (right, long) = (field("sha", "secret"), field("sha", &huge));
    let (long_md5, zero) = (field("apr1", &huge), field("apr1", "secret\0"));
    for fields in [
        "authorization:\r\n",
        "authorization: Basic\r\n",
        "authorization: Basic \r\n",
        "authorization: Basic c2hhOnNlY3JldA\u{e4}\r\n",
        "authorization: Basic c2hhOnNlY3J*dA==\r\n",
        "authorization: Basic c2hh\r\n",
        "authorization: Basic OnNlY3JldA==\r\n",
        "authorization: c2hhOnNlY3JldA==\r\n",
        "authorization: Bearer c2hhOnNlY3JldA==\r\n",
        "authorization: Digest username=\"sha\"\r\n",
        "proxy-authorization: Basic c2hhOnNlY3JldA==\r\n",
        &format!("{right}{right}"),
        &long,
        &long_md5,
        &zero,
    ] {
        assert_eq!(ask(&site, fields).status, 401, "{fields}");
    }
    assert_eq!(ask(&site, &format!("authorization: Basic {}\r\n", "A".repeat(9000))).status, 400);
    assert_eq!(ask(&site, "authorization: bAsIc   c2hhOnNlY3JldA\r\n").status, 200);
    assert_eq!(shop.connections(), 1);
}

#[test]
fn names_of_odd_bytes_let_nobody_in() {
    let shop = Backend::echo("shop");
    let site = site(HASHES, shop.address);
    for pair in [
        &b"sha\0:secret"[..],
        b"\0sha:secret",
        b"\0:\0",
        b"\xFF\xFEsha:secret",
        b"sha:secret\0",
        b"apr1:secret\xFF",
        b"sha\n:secret",
        b"sha :secret",
        b"SHA:secret",
        b"sha:SECRET",
        &[&b"x".repeat(5000)[..], b":secret"].concat(),
        &b":".repeat(5000),
    ] {
        let fields = format!("authorization: Basic {}\r\n", BASE64.encode(pair));
        assert_eq!(ask(&site, &fields).status, 401, "{}", String::from_utf8_lossy(pair));
    }
    assert_eq!(shop.connections(), 0);
    assert_eq!(ask(&site, &field("sha", "secret")).status, 200);
}

#[test]
fn the_password_stays_here() {
    let shop = Backend::echo("shop");
    let site = site(HASHES, shop.address);
    let fields = field("sha", "secret");
    let reply = ask(&site, &fields);
    assert_eq!((reply.status, reply.line("authorization: ")), (200, None));
    // What is for somebody else goes there.
    let reply = exchange(site.http, &get("/open", &fields));
    assert_eq!(reply.line("authorization: "), Some("Basic c2hhOnNlY3JldA=="));
}

#[test]
fn users_can_be_entries_of_a_secret() {
    let shop = Backend::echo("shop");
    let secret = secret_of("users", &[("bob", "{PLAIN}one"), ("eve", BCRYPT)]);
    let annotations = [BASIC, &[("auth-secret-type", "auth-map")]].concat();
    let site = site_of(&annotations, &secret, shop.address);
    assert_eq!(ask(&site, &field("bob", "one")).status, 200);
    assert_eq!(ask(&site, &field("eve", "secret")).status, 200);
    assert_eq!(ask(&site, &field("eve", "one")).status, 401);
}

#[test]
fn a_secret_that_changes_is_obeyed_on_open_connections() {
    let shop = Backend::echo("shop");
    let site = site(&[("bob", BCRYPT), ("eve", BCRYPT)], shop.address);
    let mut connection = Connection::open(site.http);
    let mut status =
        |name: &str, password: &str| connection.request(&get("/", &field(name, password))).status;
    assert_eq!([status("bob", "secret"), status("eve", "secret")], [200, 200]);
    let mut becomes = |name: &str, password: &str, expected: u16| {
        until("the Secret is obeyed", || ask(&site, &field(name, password)).status == expected);
        // The same goes for a connection that was there before.
        assert_eq!(status(name, password), expected, "{name}: {password}");
    };
    // What was right a moment ago is not remembered beyond that.
    site.replace("secret.yaml", &file(&[("bob", "{PLAIN}other"), ("eve", BCRYPT)]));
    becomes("bob", "secret", 401);
    becomes("bob", "other", 200);
    becomes("eve", "secret", 200);
    site.replace("secret.yaml", &file(&[("bob", "{PLAIN}other")]));
    becomes("eve", "secret", 401);
    // A list that cannot be read lets nobody in, one that is not there is somebody's mistake.
    site.replace("secret.yaml", &file(&[("bob", "nonsense")]));
    becomes("bob", "other", 401);
    site.replace("secret.yaml", &secret_of("others", &[("auth", "bob:{PLAIN}other")]));
    becomes("bob", "other", 503);
    site.replace("secret.yaml", &secret_of("users", &[("passwords", "bob:{PLAIN}other")]));
    becomes("bob", "other", 503);
    site.replace("secret.yaml", &file(&[("bob", "{PLAIN}other")]));
    becomes("bob", "other", 200);
}

#[test]
fn what_is_asked_for_can_be_looked_up() {
    let shop = Backend::echo("shop");
    let annotations = [BASIC, &[("satisfy", "any"), ("denylist-source-range", "9.9.9.9")]].concat();
    let site = site_of(&annotations, &file(HASHES), shop.address);
    let asks = |path: &str| {
        let shown = site.explain(&format!("url=http://{HOST}{path}"));
        let told = shown.to_string().replace("auth-secret", "");
        assert!(!told.contains("secret"), "no password is shown: {told}");
        let stages = shown["stages"].as_array().expect("a list").iter();
        let stages = stages.filter_map(|own| own["stage"].as_str().map(ToOwned::to_owned));
        stages.filter(|own| matches!(&**own, "sources" | "login")).collect::<Vec<_>>()
    };
    assert_eq!(asks("/"), ["sources", "login"]);
    assert_eq!(asks("/open"), [""; 0]);
}

#[test]
fn certificates_can_be_issued_without_password() {
    let shop = Backend::echo("shop");
    let paths = [("Prefix", "/", "shop"), ("Prefix", "/.well-known/acme-challenge", "shop")];
    let all = documents(&[
        &Ingress { name: "shop", annotations: BASIC, host: HOST, paths: &paths, tls: None }.yaml(),
        &service("shop", &[shop.address]),
        &file(HASHES),
    ]);
    let site = Site::start(&[("all.yaml", &*all)]);
    assert_eq!(site.get(HOST, "/.well-known/acme-challenge/x").status, 200);
    assert_eq!(site.get(HOST, "/").status, 401);
}

/// A hash of `secret` that takes a while to compare.
fn slow() -> String {
    bcrypt::hash_with_salt("secret", 9, [7; 16])
        .expect("a cost that there is")
        .format_for_version(bcrypt::Version::TwoY)
}

/// How many passwords with an expensive hash became this.
fn passwords(site: &Site, outcome: &str) -> u64 {
    let name = format!("penstock_password_comparisons_total{{outcome=\"{outcome}\"}}");
    site.metric(&name).expect("it is counted")
}

#[test]
fn a_comparison_that_takes_long_holds_nobody_else_up() {
    let shop = Backend::echo("shop");
    let site = site(&[("bob", &slow())], shop.address);
    let mut other = Connection::open(site.http);
    let wrong = get("/", &field("bob", "wrong"));
    let mut waiting: Vec<_> = (0..8).map(|_| Connection::open(site.http)).collect();
    for connection in &mut waiting {
        connection.send(&wrong);
    }
    until("one is being compared", || passwords(&site, "compared") > 0);
    assert_eq!(other.request(&get("/open", "")).status, 200);
    assert!(passwords(&site, "compared") < 8, "the worker went on");
    for connection in &mut waiting {
        assert_eq!(connection.reply(false).expect("an answer").status, 401);
    }
    assert_eq!(passwords(&site, "compared"), 8, "each costs what it costs");
}

#[test]
fn a_password_that_was_right_is_not_compared_again() {
    let shop = Backend::echo("shop");
    let site = site(&[("bob", &slow()), ("eve", &slow())], shop.address);
    let right = get("/", &field("bob", "secret"));
    // As a browser does: all at once.
    let mut connections: Vec<_> = (0..6).map(|_| Connection::open(site.http)).collect();
    for _ in 0..3 {
        for connection in &mut connections {
            connection.send(&right);
        }
        for connection in &mut connections {
            assert_eq!(connection.reply(false).expect("an answer").status, 200);
        }
    }
    assert_eq!(passwords(&site, "compared"), 1);
    // What is wrong is compared each time, and for a name that is none as for one that is.
    for (name, password) in [
        ("bob", "wrong"),
        ("bob", "wrong"),
        ("eve", "wrong"),
        ("nobody", "secret"),
        ("nobody", "secret"),
    ] {
        assert_eq!(ask(&site, &field(name, password)).status, 401);
    }
    assert_eq!(passwords(&site, "compared"), 6);
    // A change of something else forgets nothing.
    site.write("more.yaml", &ingress("more", &[], "/more"));
    until("it is served", || exchange(site.http, &get("/more", "")).status == 200);
    assert_eq!(ask(&site, &field("bob", "secret")).status, 200);
    assert_eq!(passwords(&site, "compared"), 6);
}

#[test]
fn those_who_try_many_passwords_are_turned_away_and_others_are_not() {
    let shop = Backend::echo("shop");
    let site = site(&[("bob", BCRYPT)], shop.address);
    assert_eq!(ask(&site, &field("bob", "secret")).status, 200);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let statuses = runtime.expect("a runtime").block_on(async {
        let stream = tokio::net::TcpStream::connect(site.http).await.expect("it listens");
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("a handshake");
        tokio::spawn(connection);
        let ask = |password: String| {
            let mut sender = sender.clone();
            async move {
                let value = BASE64.encode(format!("bob:{password}").as_bytes());
                let request = http::Request::get(format!("http://{HOST}/"))
                    .header("authorization", format!("Basic {value}"))
                    .body(Full::new(Bytes::new()))
                    .expect("a request");
                let response = sender.send_request(request).await.expect("an answer");
                let challenge = response.headers().get("www-authenticate").cloned();
                let status = response.status().as_u16();
                assert_eq!(challenge.is_some(), status == 401);
                response.into_body().collect().await.expect("a body");
                status
            }
        };
        let tries: Vec<_> =
            (0..110).map(|number| tokio::spawn(ask(format!("wrong{number}")))).collect();
        // Meanwhile, whoever is known already is let in.
        assert_eq!(ask("secret".to_owned()).await, 200);
        let mut statuses = Vec::new();
        for one in tries {
            statuses.push(one.await.expect("no panic"));
        }
        statuses
    });
    let of = |status: u16| statuses.iter().filter(|own| **own == status).count();
    assert_eq!(of(401) + of(503), 110, "{statuses:?}");
    assert!(of(401) >= 64 && of(503) > 0, "{statuses:?}");
    assert_eq!(passwords(&site, "turned_away"), of(503) as u64);
    until("all is as before", || ask(&site, &field("bob", "wrong")).status == 401);
}
