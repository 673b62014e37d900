//! Section 9.1 of the reference, key by key: each is known, says by default what the reference says,
//! does something when it says something else, and what is no value of it does what it should. The
//! table is copied from the reference by hand, not from the code.

use std::{collections::BTreeMap, sync::LazyLock};

use super::{Options, ingress, said, translate_with};
use crate::{
    firewall::Library,
    model::{Diagnostic, Severity},
    source::parse::tests::stores,
    translate::{Translator, config::Config},
};

/// What becomes of a value that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// It is told, and the default applies.
    Default,
    /// It is told, and everything that it would protect answers 503.
    Closed,
    /// Part of it is told and left out.
    Part,
    /// Any text is a value.
    None,
}

/// What the reference says of a key.
struct Row {
    key: &'static str,
    /// The default; `None`: it is the text that is empty, or one that the reference does not spell.
    default: Option<&'static str>,
    /// Another value.
    other: &'static str,
    wrong: Wrong,
    /// Keys without which this one says nothing.
    with: &'static [(&'static str, &'static str)],
}

const fn row(key: &'static str, default: &'static str, other: &'static str) -> Row {
    Row { key, default: Some(default), other, wrong: Wrong::Default, with: &[] }
}

/// One that is empty by default.
const fn text(key: &'static str, other: &'static str, wrong: Wrong) -> Row {
    Row { key, default: None, other, wrong, with: &[] }
}

const fn with(with: &'static [(&'static str, &'static str)], row: Row) -> Row {
    Row { with, ..row }
}

const fn wrongly(wrong: Wrong, row: Row) -> Row {
    Row { wrong, ..row }
}

const GZIP: &[(&str, &str)] = &[("use-gzip", "true")];
const BROTLI: &[(&str, &str)] = &[("enable-brotli", "true")];
const AUTH: &[(&str, &str)] = &[("global-auth-url", "http://auth.example.com/")];
const KEPT: &[(&str, &str)] =
    &[("global-auth-url", "http://auth.example.com/"), ("global-auth-cache-key", "$host")];
const COLLECTOR: &[(&str, &str)] = &[("otlp-collector-host", "collector")];
const REDIRECT: &[(&str, &str)] = &[("proxy-redirect-from", "/a")];
const SNIPPETS: &[(&str, &str)] = &[("allow-snippet-annotations", "true")];

/// Keys that are obeyed: tier A, then B, then what sections 1, 1.11 and 4.3 name beside them.
const OBEYED: &[Row] = &[
    row("use-forwarded-headers", "false", "true"),
    row("compute-full-forwarded-for", "false", "true"),
    row("forwarded-for-header", "X-Forwarded-For", "X-Client"),
    row("enable-real-ip", "false", "true"),
    wrongly(Wrong::Part, row("proxy-real-ip-cidr", "0.0.0.0/0", "10.0.0.0/8")),
    row("use-proxy-protocol", "false", "true"),
    row("ssl-redirect", "true", "false"),
    row("force-ssl-redirect", "false", "true"),
    row("http-redirect-code", "308", "301"),
    row("hsts", "true", "false"),
    row("hsts-max-age", "31536000", "60"),
    row("hsts-include-subdomains", "true", "false"),
    row("hsts-preload", "false", "true"),
    row("ssl-protocols", "TLSv1.2 TLSv1.3", "TLSv1.3"),
    row(
        "ssl-ciphers",
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
         ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:\
         DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
    ),
    row("proxy-connect-timeout", "5", "7"),
    row("proxy-send-timeout", "60", "7"),
    row("proxy-read-timeout", "60", "7"),
    row("proxy-body-size", "1m", "2m"),
    row("client-body-buffer-size", "8k", "16k"),
    row("proxy-buffering", "off", "on"),
    row("proxy-request-buffering", "on", "off"),
    row("proxy-http-version", "1.1", "1.0"),
    row("proxy-next-upstream", "error timeout", "off"),
    row("proxy-next-upstream-timeout", "0", "7"),
    row("proxy-next-upstream-tries", "3", "2"),
    row("proxy-cookie-domain", "off", "a.com b.com"),
    row("proxy-cookie-path", "off", "/a /b"),
    row("proxy-redirect-from", "off", "default"),
    with(REDIRECT, row("proxy-redirect-to", "off", "/b")),
    row("use-http2", "true", "false"),
    text("add-headers", "default/fields", Wrong::Part),
    text("proxy-set-headers", "default/fields", Wrong::Part),
    text("hide-headers", "X-A", Wrong::None),
    text("global-allowed-response-headers", "X-A", Wrong::None),
    row("server-tokens", "false", "true"),
    row("generate-request-id", "true", "false"),
    row("enable-underscores-in-headers", "false", "true"),
    row("ignore-invalid-headers", "true", "false"),
    row("limit-req-status-code", "503", "429"),
    row("limit-conn-status-code", "503", "429"),
    wrongly(Wrong::None, row("no-tls-redirect-locations", "/.well-known/acme-challenge", "/x")),
    wrongly(Wrong::None, row("no-auth-locations", "/.well-known/acme-challenge", "/x")),
    text("log-format-upstream", "$status", Wrong::None),
    row("log-format-escape-json", "false", "true"),
    row("disable-access-log", "false", "true"),
    text("error-log-level", "debug", Wrong::Default),
    text("skip-access-log-urls", "/x", Wrong::None),
    row("use-gzip", "false", "true"),
    with(GZIP, row("gzip-level", "1", "5")),
    with(GZIP, row("gzip-min-length", "256", "7")),
    row("allow-snippet-annotations", "false", "true"),
    row("annotations-risk-level", "High", "Low"),
    row("allow-cross-namespace-resources", "false", "true"),
    text("annotation-value-word-blocklist", "word", Wrong::None),
    // Tier B.
    row("client-header-timeout", "60", "7"),
    row("client-body-timeout", "60", "7"),
    row("large-client-header-buffers", "4 8k", "2 4k"),
    row("keep-alive", "75", "7"),
    row("keep-alive-requests", "1000", "7"),
    row("upstream-keepalive-connections", "320", "7"),
    row("upstream-keepalive-timeout", "60", "7"),
    row("upstream-keepalive-requests", "10000", "7"),
    row("upstream-keepalive-time", "1h", "7m"),
    row("http2-max-concurrent-streams", "128", "7"),
    row("retry-non-idempotent", "false", "true"),
    text("custom-http-errors", "404", Wrong::Default),
    text("whitelist-source-range", "10.0.0.0/8", Wrong::Closed),
    text("denylist-source-range", "10.0.0.0/8", Wrong::Closed),
    text("block-cidrs", "10.0.0.0/8", Wrong::Closed),
    text("block-user-agents", "bot", Wrong::None),
    text("block-referers", "spam", Wrong::None),
    text("global-auth-url", "http://auth.example.com/", Wrong::Closed),
    with(AUTH, text("global-auth-method", "POST", Wrong::Default)),
    with(AUTH, text("global-auth-signin", "http://auth.example.com/start", Wrong::Default)),
    with(
        &[
            ("global-auth-url", "http://auth.example.com/"),
            ("global-auth-signin", "http://auth.example.com/start"),
        ],
        row("global-auth-signin-redirect-param", "rd", "back"),
    ),
    with(AUTH, text("global-auth-response-headers", "X-User", Wrong::Closed)),
    with(AUTH, text("global-auth-request-redirect", "/x", Wrong::Default)),
    with(AUTH, text("global-auth-cache-key", "$host", Wrong::None)),
    with(
        KEPT,
        wrongly(Wrong::Closed, row("global-auth-cache-duration", "200 202 401 5m", "200 1m")),
    ),
    with(AUTH, row("global-auth-always-set-cookie", "false", "true")),
    row("load-balance", "round_robin", "ewma"),
    row("service-upstream", "false", "true"),
    row("enable-brotli", "false", "true"),
    with(BROTLI, row("brotli-level", "4", "7")),
    with(BROTLI, row("brotli-min-length", "20", "7")),
    // Said, `false` counts against --tls-ticket-secret too.
    text("ssl-session-tickets", "true", Wrong::Default),
    row("ssl-reject-handshake", "false", "true"),
    row("proxy-add-original-uri-header", "false", "true"),
    text("worker-shutdown-timeout", "7s", Wrong::Default),
    text("bind-address", "127.0.0.1", Wrong::Closed),
    row("disable-ipv6", "false", "true"),
    row("disable-ipv6-dns", "false", "true"),
    row("max-worker-connections", "16384", "7"),
    row("proxy-stream-timeout", "600s", "7s"),
    row("proxy-stream-next-upstream", "true", "false"),
    row("proxy-stream-next-upstream-timeout", "600s", "7s"),
    row("proxy-stream-next-upstream-tries", "3", "7"),
    row("proxy-stream-responses", "1", "7"),
    with(COLLECTOR, row("enable-opentelemetry", "false", "true")),
    with(COLLECTOR, row("opentelemetry-trust-incoming-span", "true", "false")),
    text("otlp-collector-host", "collector", Wrong::Default),
    with(COLLECTOR, row("otlp-collector-port", "4317", "7")),
    with(COLLECTOR, wrongly(Wrong::None, row("otel-service-name", "nginx", "shop"))),
    with(COLLECTOR, row("otel-sampler", "AlwaysOn", "AlwaysOff")),
    // Sections 1, 1.11 and 4.3.
    row("limit-rate", "0", "7"),
    row("limit-rate-after", "0", "7"),
    row("limit-conn-zone-variable", "$binary_remote_addr", "$host"),
    row("preserve-trailing-slash", "false", "true"),
    row("use-port-in-redirects", "false", "true"),
    row("relative-redirects", "false", "true"),
    row("disable-proxy-intercept-errors", "false", "true"),
    row("proxy-ssl-location-only", "false", "true"),
    wrongly(Wrong::Closed, row("enable-modsecurity", "false", "true")),
    with(
        &[("enable-modsecurity", "true")],
        wrongly(Wrong::Closed, row("enable-owasp-modsecurity-crs", "false", "true")),
    ),
    with(SNIPPETS, text("http-snippet", "add_header X-A 1;", Wrong::Closed)),
    with(SNIPPETS, text("server-snippet", "add_header X-A 1;", Wrong::Closed)),
    with(SNIPPETS, text("location-snippet", "add_header X-A 1;", Wrong::Closed)),
    row("ssl-prefer-server-ciphers", "true", "false"),
    row("ssl-ecdh-curve", "auto", "X25519"),
    row("ssl-session-cache", "true", "false"),
    row("ssl-session-cache-size", "10m", "1m"),
    row("ssl-session-timeout", "10m", "1m"),
];

/// Keys that are known and change nothing, each with its reason, and its default.
const IDLE: &[(&str, &str)] = &[
    ("strict-validate-path-type", "true"),
    ("proxy-buffer-size", "4k"),
    ("proxy-buffers-number", "4"),
    ("proxy-busy-buffers-size", "8k"),
    ("proxy-max-temp-file-size", "1024m"),
    ("client-header-buffer-size", "1k"),
    ("enable-ocsp", "false"),
    ("enable-access-log-for-default-backend", "false"),
    ("ssl-early-data", "false"),
    ("ssl-buffer-size", "4k"),
    ("ssl-dh-param", "default/dh"),
    ("main-snippet", "x;"),
    ("stream-snippet", "x;"),
    ("worker-processes", "auto"),
    ("worker-cpu-affinity", "auto"),
];

/// Two keys that the table cannot hold: they mean something in the company of others alone.
const ELSEWHERE: &[&str] = &["modsecurity-snippet", "global-auth-snippet"];

fn config(data: &[(&str, &str)]) -> (Config, Vec<Diagnostic>) {
    let mut map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fields}\ndata: {X-A: '1'}\n\
                   ---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: controller}\ndata:\n"
        .to_owned();
    let data: BTreeMap<_, _> = data.iter().copied().collect();
    for (key, value) in data {
        map.push_str(&format!("  {key}: {value:?}\n"));
    }
    let (stores, diagnostics) = stores(&map);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let mut diagnostics = Vec::new();
    let config = Translator::config(&options(), &stores, &mut diagnostics);
    (config, diagnostics)
}

fn options() -> Options {
    let configmap = Some(("default".to_owned(), "controller".to_owned()));
    // Two libraries are never equal.
    static LIBRARY: LazyLock<Library> = LazyLock::new(Library::assuming_core_rules);
    Options { configmap, firewall: LIBRARY.clone(), ..Options::default() }
}

fn also<'r>(row: &Row, value: &'r str) -> Vec<(&'r str, &'r str)>
where
    'static: 'r,
{
    row.with.iter().copied().chain([(row.key, value)]).collect()
}

/// What is said of the key itself.
fn of<'d>(key: &str, diagnostics: &'d [Diagnostic]) -> Vec<&'d Diagnostic> {
    let field = format!("data.{key}");
    diagnostics.iter().filter(|one| one.field == field).collect()
}

#[test]
fn every_default_is_the_reference_s() {
    let mut differing = Vec::new();
    for row in OBEYED {
        let Some(default) = row.default else { continue };
        let (without, _) = config(row.with);
        let (said, diagnostics) = config(&also(row, default));
        if said != without {
            differing.push(format!("{}: {default}", row.key));
        }
        let own = of(row.key, &diagnostics);
        if own.iter().any(|one| one.severity == Severity::Error) {
            differing.push(format!("{}: {default}: {own:?}", row.key));
        }
    }
    assert!(differing.is_empty(), "{differing:#?}");
}

#[test]
fn every_key_that_is_obeyed_changes_something() {
    let mut idle = Vec::new();
    for row in OBEYED {
        let (without, _) = config(row.with);
        let (said, diagnostics) = config(&also(row, row.other));
        let own = of(row.key, &diagnostics);
        if said == without || !own.is_empty() {
            idle.push(format!("{}: {}: {own:?}", row.key, row.other));
        }
    }
    assert!(idle.is_empty(), "{idle:#?}");
}

#[test]
fn a_value_that_is_none_is_told_and_opens_nothing() {
    const NONSENSE: &str = "no such: value {";
    let mut other = Vec::new();
    for row in OBEYED {
        let (without, _) = config(row.with);
        let (said, diagnostics) = config(&also(row, NONSENSE));
        let own = of(row.key, &diagnostics);
        let is_closed = said.denial.is_some() || said.global_auth_denial.is_some();
        let holds = match row.wrong {
            Wrong::Default => !own.is_empty() && said == without,
            Wrong::Closed => !own.is_empty() && is_closed,
            Wrong::Part => !own.is_empty() && !is_closed,
            Wrong::None => !is_closed,
        };
        if !holds {
            let changed = said != without;
            other.push(format!("{}: {:?}, changed {changed}: {own:?}", row.key, row.wrong));
        }
    }
    assert!(other.is_empty(), "{other:#?}");
}

#[test]
fn keys_without_effect_say_why() {
    for (key, default) in IDLE {
        for value in [*default, "another"] {
            let (said, diagnostics) = config(&[(key, value)]);
            assert!(said == config(&[]).0, "{key}: {value}");
            let own = of(key, &diagnostics);
            assert!(own.iter().all(|one| one.message.starts_with("has no effect: ")), "{own:?}");
            let asks = value != *default && *key != "strict-validate-path-type";
            assert!(!asks || !own.is_empty(), "{key}: {value}");
        }
    }
}

#[test]
fn every_key_of_the_config_map_has_a_verdict() {
    let keys = OBEYED.iter().map(|row| row.key).chain(IDLE.iter().map(|(key, _)| *key));
    for key in keys.chain(ELSEWHERE.iter().copied()) {
        let map = format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: controller}}\n\
             data: {{{key}: \"no such value\"}}\n"
        );
        let rules = ingress("x", &[], "", &["a.com / Prefix web"]);
        let said = said(&translate_with(options(), &(map + &rules)));
        assert!(!said.contains("is not known"), "{key}: {said}");
        // Nothing is put off without a word about what it waits for.
        let waits = said.contains("has no effect yet\n") || said.contains("has no effect\n");
        assert!(!waits, "{key}: {said}");
    }
}
