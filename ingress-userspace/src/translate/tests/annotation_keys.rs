//! Sections 1.2 to 1.10 of the reference, key by key: what is said by default is the reference's
//! default, another value changes something, and what is no value of it does what the reference says,
//! or is closed where `docs/migrating.md` says so. The table is copied from the reference by hand.

use std::{collections::BTreeSet, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};

use super::{BASE, Translation, get, ingress};
use crate::{
    model::Severity,
    source::parse::tests::stores,
    stores::Stores,
    translate::{Options, Translator, annotations::known_keys},
};

/// What becomes of a value that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Invalid {
    /// It is told, and the default applies: the reference's D.
    Default,
    /// It is told, and the paths answer 503: R and 503, and the G that would leave a path open.
    Closed,
    /// Likewise where the reference says D: `docs/migrating.md` names the key.
    Safer,
    /// It is told, and closes nothing: `docs/migrating.md` says what happens instead.
    Told,
    /// Any text is a value.
    None,
}

struct Row {
    key: &'static str,
    /// `None`: there is none to be said.
    default: Option<&'static str>,
    other: &'static str,
    invalid: Invalid,
    with: &'static [(&'static str, &'static str)],
}

const fn d(key: &'static str, default: &'static str, other: &'static str) -> Row {
    Row { key, default: Some(default), other, invalid: Invalid::Default, with: &[] }
}

const fn r(key: &'static str, default: &'static str, other: &'static str) -> Row {
    Row { key, default: Some(default), other, invalid: Closed, with: &[] }
}

const fn without(row: Row) -> Row {
    Row { default: None, ..row }
}

const fn with(with: &'static [(&'static str, &'static str)], row: Row) -> Row {
    Row { with, ..row }
}

const fn but(invalid: Invalid, row: Row) -> Row {
    Row { invalid, ..row }
}

type Pairs = &'static [(&'static str, &'static str)];

const PERMANENT: Pairs = &[("permanent-redirect", "/x")];
const TEMPORAL: Pairs = &[("temporal-redirect", "https://x.example.com/")];
const REWRITE: Pairs = &[("rewrite-target", "/x")];
const BASIC: Pairs = &[("auth-type", "basic"), ("auth-secret", "users")];
const SECRET: Pairs = &[("auth-secret", "users")];
const TYPE: Pairs = &[("auth-type", "basic")];
const SATISFY: Pairs =
    &[("auth-type", "basic"), ("auth-secret", "users"), ("denylist-source-range", "10.0.0.0/8")];
const ASKED: Pairs = &[("auth-url", "http://auth.example.com/")];
const SIGN_IN: Pairs =
    &[("auth-url", "http://auth.example.com/"), ("auth-signin", "http://auth.example.com/start")];
const KEPT: Pairs = &[("auth-url", "http://auth.example.com/"), ("auth-cache-key", "$host")];
const CLIENTS: Pairs = &[("auth-tls-secret", "default/authority")];
const LIMITED: Pairs = &[("limit-rps", "10")];
const CORS: Pairs = &[("enable-cors", "true")];
const REDIRECT: Pairs = &[("proxy-redirect-from", "/a")];
const FCGI: Pairs = &[("backend-protocol", "FCGI")];
const MIRROR: Pairs = &[("mirror-target", "http://mirror.example.com/")];
const TLS: Pairs = &[("backend-protocol", "HTTPS"), ("proxy-ssl-secret", "default/authority")];
const HASH: Pairs = &[("upstream-hash-by", "$host")];
const SUBSET: Pairs = &[("upstream-hash-by", "$host"), ("upstream-hash-by-subset", "true")];
const COOKIE: Pairs = &[("affinity", "cookie")];
const NONE: Pairs = &[("affinity", "cookie"), ("session-cookie-samesite", "None")];
const CANARY: Pairs = &[("canary", "true")];
const HEADER: Pairs = &[("canary", "true"), ("canary-by-header", "x-canary")];
const WEIGHT: Pairs = &[("canary", "true"), ("canary-weight", "50")];
const TRACED: Pairs = &[("enable-opentelemetry", "true")];
const FIREWALL: Pairs = &[("enable-modsecurity", "true")];

use Invalid::{Closed, Safer, Told};

const ROWS: &[Row] = &[
    // 1.2
    d("ssl-redirect", "true", "false"),
    d("force-ssl-redirect", "false", "true"),
    d("preserve-trailing-slash", "false", "true"),
    d("use-port-in-redirects", "false", "true"),
    without(r("permanent-redirect", "", "/x")),
    with(PERMANENT, r("permanent-redirect-code", "301", "308")),
    without(r("temporal-redirect", "", "https://x.example.com/")),
    with(TEMPORAL, r("temporal-redirect-code", "302", "307")),
    with(PERMANENT, r("relative-redirects", "false", "true")),
    r("from-to-www-redirect", "false", "true"),
    without(d("app-root", "", "/x")),
    without(d("rewrite-target", "", "/x")),
    d("use-regex", "false", "true"),
    with(REWRITE, without(r("x-forwarded-prefix", "", "/x"))),
    // 1.3
    without(r("whitelist-source-range", "", "10.0.0.0/8")),
    without(r("allowlist-source-range", "", "10.0.0.0/8")),
    without(r("denylist-source-range", "", "10.0.0.0/8")),
    with(SATISFY, d("satisfy", "all", "any")),
    with(SECRET, without(r("auth-type", "", "basic"))),
    with(TYPE, without(r("auth-secret", "", "users"))),
    with(BASIC, r("auth-secret-type", "auth-file", "auth-map")),
    with(BASIC, without(r("auth-realm", "", "shop"))),
    without(r("auth-url", "", "http://auth.example.com/")),
    with(ASKED, without(d("auth-signin", "", "http://auth.example.com/start"))),
    with(SIGN_IN, d("auth-signin-redirect-param", "rd", "back")),
    // Whoever says `GET` gets two fields more: section 8.1.
    with(ASKED, without(r("auth-method", "", "POST"))),
    with(ASKED, without(r("auth-response-headers", "", "X-User"))),
    with(ASKED, without(r("auth-proxy-set-headers", "", "default/fields"))),
    with(ASKED, without(r("auth-request-redirect", "", "/x"))),
    with(ASKED, without(but(Invalid::Default, r("auth-cache-key", "", "$host")))),
    with(KEPT, r("auth-cache-duration", "200 202 401 5m", "200 1m")),
    with(ASKED, r("auth-always-set-cookie", "false", "true")),
    // 1.4
    without(r("auth-tls-secret", "", "default/authority")),
    with(CLIENTS, d("auth-tls-verify-client", "on", "optional")),
    with(CLIENTS, d("auth-tls-verify-depth", "1", "3")),
    with(CLIENTS, without(r("auth-tls-error-page", "", "https://x.example.com/"))),
    with(CLIENTS, r("auth-tls-pass-certificate-to-upstream", "false", "true")),
    with(CLIENTS, without(r("auth-tls-match-cn", "", "CN=a"))),
    // 1.5
    without(r("limit-rps", "", "10")),
    without(r("limit-rpm", "", "10")),
    with(LIMITED, d("limit-burst-multiplier", "5", "2")),
    without(r("limit-connections", "", "10")),
    with(LIMITED, without(r("limit-allowlist", "", "10.0.0.0/8"))),
    with(LIMITED, without(r("limit-whitelist", "", "10.0.0.0/8"))),
    d("limit-rate", "0", "7"),
    d("limit-rate-after", "0", "7"),
    // 1.6
    d("enable-cors", "false", "true"),
    with(CORS, d("cors-allow-origin", "*", "https://x.example.com")),
    with(CORS, d("cors-allow-methods", "GET, PUT, POST, DELETE, PATCH, OPTIONS", "GET")),
    with(
        CORS,
        d(
            "cors-allow-headers",
            "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,\
             Content-Type,Range,Authorization",
            "X-A",
        ),
    ),
    with(CORS, without(d("cors-expose-headers", "", "X-A"))),
    with(CORS, d("cors-allow-credentials", "true", "false")),
    with(CORS, d("cors-max-age", "1728000", "7")),
    // 1.7
    d("proxy-connect-timeout", "5", "7"),
    d("proxy-send-timeout", "60", "7"),
    d("proxy-read-timeout", "60", "7"),
    d("proxy-body-size", "1m", "2m"),
    r("client-body-buffer-size", "8k", "16k"),
    d("proxy-buffering", "off", "on"),
    d("proxy-request-buffering", "on", "off"),
    d("proxy-http-version", "1.1", "1.0"),
    d("proxy-next-upstream", "error timeout", "off"),
    d("proxy-next-upstream-timeout", "0", "7"),
    d("proxy-next-upstream-tries", "3", "2"),
    d("proxy-cookie-domain", "off", "a.com b.com"),
    d("proxy-cookie-path", "off", "/a /b"),
    d("proxy-redirect-from", "off", "default"),
    with(REDIRECT, d("proxy-redirect-to", "off", "/b")),
    without(r("connection-proxy-header", "", "close")),
    without(r("upstream-vhost", "", "inner.example.com")),
    but(Safer, d("backend-protocol", "HTTP", "GRPC")),
    without(but(Invalid::Default, r("custom-headers", "", "default/fields"))),
    with(&[("default-backend", "fallback")], without(r("custom-http-errors", "", "404"))),
    without(r("default-backend", "", "fallback")),
    with(
        &[("custom-http-errors", "404"), ("default-backend", "fallback")],
        d("disable-proxy-intercept-errors", "false", "true"),
    ),
    with(FCGI, without(r("fastcgi-index", "", "index.php"))),
    with(FCGI, without(r("fastcgi-params-configmap", "", "default/parameters"))),
    without(d("mirror-target", "", "http://mirror.example.com/")),
    with(MIRROR, d("mirror-host", "mirror.example.com", "other.example.com")),
    with(MIRROR, d("mirror-request-body", "on", "off")),
    without(but(Told, r("server-alias", "", "alias.example.com"))),
    // 1.8
    with(&[("backend-protocol", "HTTPS")], without(r("proxy-ssl-secret", "", "default/authority"))),
    with(TLS, but(Safer, d("proxy-ssl-verify", "off", "on"))),
    with(
        &[
            ("backend-protocol", "HTTPS"),
            ("proxy-ssl-secret", "default/authority"),
            ("proxy-ssl-verify", "on"),
        ],
        d("proxy-ssl-verify-depth", "1", "3"),
    ),
    with(TLS, d("proxy-ssl-ciphers", "DEFAULT", "ECDHE-ECDSA-AES128-GCM-SHA256")),
    // Ours is both: `docs/migrating.md`.
    with(TLS, d("proxy-ssl-protocols", "TLSv1.2 TLSv1.3", "TLSv1.3")),
    with(TLS, without(but(Safer, d("proxy-ssl-name", "", "inner.example.com")))),
    with(TLS, d("proxy-ssl-server-name", "off", "on")),
    // 1.9
    r("load-balance", "round_robin", "ewma"),
    without(r("upstream-hash-by", "", "$host")),
    with(HASH, r("upstream-hash-by-subset", "false", "true")),
    with(SUBSET, r("upstream-hash-by-subset-size", "3", "2")),
    without(d("affinity", "", "cookie")),
    with(COOKIE, d("affinity-mode", "balanced", "persistent")),
    with(COOKIE, d("session-cookie-name", "INGRESSCOOKIE", "route")),
    with(COOKIE, without(d("session-cookie-expires", "", "7"))),
    with(COOKIE, without(d("session-cookie-max-age", "", "7"))),
    with(COOKIE, without(d("session-cookie-path", "", "/x"))),
    with(COOKIE, without(d("session-cookie-domain", "", "example.com"))),
    with(COOKIE, without(d("session-cookie-samesite", "", "Lax"))),
    with(NONE, d("session-cookie-conditional-samesite-none", "false", "true")),
    with(COOKIE, d("session-cookie-secure", "false", "true")),
    with(COOKIE, d("session-cookie-change-on-failure", "false", "true")),
    with(CANARY, without(but(Told, d("canary-by-header", "", "x-canary")))),
    with(HEADER, without(but(Invalid::None, d("canary-by-header-value", "", "yes")))),
    with(HEADER, without(but(Told, d("canary-by-header-pattern", "", "y.s")))),
    with(CANARY, without(but(Told, d("canary-by-cookie", "", "canary")))),
    with(CANARY, but(Told, d("canary-weight", "0", "50"))),
    with(WEIGHT, but(Told, d("canary-weight-total", "100", "200"))),
    // 1.10
    without(but(Told, r("ssl-ciphers", "", "ECDHE-ECDSA-AES128-GCM-SHA256"))),
    // By default it is the ConfigMap's, which says the same.
    without(d("ssl-prefer-server-ciphers", "true", "false")),
    d("enable-access-log", "true", "false"),
    d("enable-opentelemetry", "false", "true"),
    with(TRACED, d("opentelemetry-trust-incoming-span", "true", "false")),
    with(TRACED, without(r("opentelemetry-operation-name", "", "shop"))),
    but(Safer, d("enable-modsecurity", "false", "true")),
    with(FIREWALL, without(d("modsecurity-transaction-id", "", "$request_id"))),
];

/// Keys that the table cannot hold, and where they are.
const ELSEWHERE: &[(&str, &str)] = &[
    ("auth-keepalive", "counts only without HTTP/2: `external_auth.rs`"),
    ("enable-global-auth", "is about the ConfigMap: `external_auth.rs`"),
    ("canary", "is what the others stand on: `canary.rs`"),
    ("affinity-canary-behavior", "needs a session of the main Ingress: `canary.rs`"),
    ("enable-owasp-core-rules", "its rules are not seen in a model: `access.rs`, `firewall.rs`"),
    ("service-upstream", "needs a cluster address: `backends.rs`"),
    ("ssl-passthrough", "needs a flag: `tls.rs`"),
    ("ssl-passthrough-proxy-protocol", "ours alone"),
];

/// Good as an authority and as a client.
fn authority(key: &KeyPair) -> String {
    let mut params = CertificateParams::new(vec!["a".to_owned()]).expect("a name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.self_signed(key).expect("signed").pem()
}

fn site_with(annotations: &[(&str, &str)], certificate: &str, key: &str) -> Stores {
    let canary = annotations.iter().any(|(key, _)| key.starts_with("canary"));
    let rule = if canary { "a.com / Prefix web" } else { "b.com /x Prefix web" };
    let secrets = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: users}}\n\
         stringData: {{auth: 'bob:{{PLAIN}}one'}}\n\
         ---\napiVersion: v1\nkind: Secret\nmetadata: {{name: authority}}\n\
         stringData: {{ca.crt: {certificate:?}, tls.crt: {certificate:?}, tls.key: {key:?}}}\n\
         ---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: fields}}\ndata: {{X-A: '1'}}\n\
         ---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: parameters}}\ndata: {{A: '1'}}\n\
         ---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: controller}}\n\
         data: {{global-allowed-response-headers: X-A, otlp-collector-host: collector}}\n"
    );
    let main = ingress("main", &[], "", &["a.com / Prefix api"]);
    let own = ingress("own", annotations, "", &[rule]);
    let (stores, diagnostics) = stores(&format!("{BASE}{secrets}{main}{own}"));
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    stores
}

/// All sites have one certificate: what differs is what the annotations make of it.
struct Bench {
    certificate: String,
    key: String,
}

impl Bench {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        Self { certificate: authority(&key), key: key.serialize_pem() }
    }

    fn translate(&self, annotations: &[(&str, &str)]) -> Translation {
        let stores = site_with(annotations, &self.certificate, &self.key);
        let options = Options {
            configmap: Some(("default".to_owned(), "controller".to_owned())),
            firewall: crate::firewall::Library::assuming_core_rules(),
            ..Options::default()
        };
        Translator::new(options).translate(&stores, &Arc::default())
    }
}

fn also<'r>(row: &Row, value: &'r str) -> Vec<(&'r str, &'r str)> {
    let with: &[(&str, &str)] = row.with;
    with.iter().copied().chain([(row.key, value)]).collect()
}

fn model(translation: &Translation) -> String {
    format!("{:?}", translation.model)
}

/// What is said of the key.
fn said(translation: &Translation, key: &str) -> Vec<(Severity, String)> {
    let field = format!("metadata.annotations[nginx.ingress.kubernetes.io/{key}]");
    let own = translation.diagnostics.iter().filter(|one| one.field == field);
    own.map(|one| (one.severity, one.message.clone())).collect()
}

#[test]
fn every_annotation_is_in_the_table() {
    let rows: BTreeSet<_> = ROWS.iter().map(|row| row.key).collect();
    let elsewhere: BTreeSet<_> = ELSEWHERE.iter().map(|(key, _)| *key).collect();
    assert!(rows.is_disjoint(&elsewhere));
    for (key, support) in known_keys() {
        let is_obeyed = support == crate::translate::annotations::Support::Obeyed;
        assert_eq!(is_obeyed, rows.contains(key) || elsewhere.contains(key), "{key}");
    }
}

#[test]
fn every_default_of_an_annotation_is_the_reference_s() {
    let bench = Bench::new();
    let mut differing = Vec::new();
    for row in ROWS {
        let Some(default) = row.default else { continue };
        let without = bench.translate(row.with);
        let with = bench.translate(&also(row, default));
        let said = said(&with, row.key);
        if model(&with) != model(&without) || !said.is_empty() {
            differing.push(format!("{}: {default}: {said:?}", row.key));
        }
    }
    assert!(differing.is_empty(), "{differing:#?}");
}

#[test]
fn every_annotation_that_is_obeyed_changes_something() {
    let bench = Bench::new();
    let mut idle = Vec::new();
    for row in ROWS {
        let without = bench.translate(row.with);
        let with = bench.translate(&also(row, row.other));
        let said = said(&with, row.key);
        let refused = said.iter().any(|(severity, _)| *severity == Severity::Error);
        if model(&with) == model(&without) || refused {
            idle.push(format!("{}: {}: {said:?}", row.key, row.other));
        }
    }
    assert!(idle.is_empty(), "{idle:#?}");
}

#[test]
fn a_value_that_is_none_of_the_annotation_does_what_the_reference_says() {
    const NONSENSE: &str = "no such: value {$nonsense";
    let (bench, documented) = (Bench::new(), include_str!("../../../../docs/migrating.md"));
    let mut other = Vec::new();
    for row in ROWS {
        let without = bench.translate(row.with);
        // Almost all else is an expression.
        let nonsense = if row.key == "canary-by-header-pattern" { "(" } else { NONSENSE };
        let with = bench.translate(&also(row, nonsense));
        let said = said(&with, row.key);
        let url =
            if row.with.iter().any(|(key, _)| *key == "canary") { "a.com/" } else { "b.com/x" };
        let closed = get(&with, url).starts_with("503 ")
            || with.model.hosts.iter().any(|host| {
                host.handshake.as_ref().is_some_and(|own| {
                    own.client_auth.as_ref().is_some_and(|own| format!("{own:?}").contains("Den"))
                })
            });
        let told = !said.is_empty();
        let holds = match row.invalid {
            Invalid::Default => told && !closed && model(&with) == model(&without),
            Closed => told && closed,
            Safer => told && closed && documented.contains(&format!("`{}`", row.key)),
            Told => {
                let family = if row.key.starts_with("canary-") { "canary-*" } else { row.key };
                told && !closed && documented.contains(&format!("`{family}`"))
            }
            Invalid::None => !closed,
        };
        if !holds {
            other.push(format!("{}: {:?}, closed {closed}: {said:?}", row.key, row.invalid));
        }
    }
    assert!(other.is_empty(), "{other:#?}");
}
