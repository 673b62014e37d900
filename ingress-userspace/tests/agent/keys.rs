//! Annotations whose effect a client sees at once, key by key: what a value does, and what becomes of
//! one that cannot be understood.

use std::{
    collections::BTreeSet,
    io::Read as _,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::support::{
    Backend, Ingress, Reply, Site, TlsOptions, documents, exchange, nobody, service, tls_with,
};

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// One Ingress for each set of annotations, with a host and a Service of its own.
fn site(all: &[Pairs<'_>], endpoints: &[SocketAddr]) -> Site {
    let hosts: Vec<_> = (0..all.len()).map(host).collect();
    let mut parts = Vec::new();
    for (annotations, host) in all.iter().zip(&hosts) {
        // What is said of a Service counts for all that lead to it: each has its own.
        let (name, _) = host.split_once('.').expect("a label");
        parts.push(service(name, endpoints));
        let paths = &[("Prefix", "/", name), ("Prefix", "/sub", name)];
        parts.push(Ingress { name, annotations, host, paths, tls: None }.yaml());
    }
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    Site::start(&[("all.yaml", &documents(&parts))])
}

fn host(number: usize) -> String {
    format!("h{number}.example.com")
}

fn ask(site: &Site, number: usize, target: &str, fields: &str) -> Reply {
    let host = host(number);
    let text =
        format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n{fields}connection: close\r\n\r\n");
    exchange(site.http, &text)
}

/// What is said about one of the Ingresses.
fn said(site: &Site, number: usize) -> String {
    let state = site.state();
    let all = state["diagnostics"].as_array().expect("a list").clone();
    let own = format!("Ingress web/h{number}");
    let own = all.iter().filter(|one| one["object"] == *own);
    own.map(|one| format!("{} {}\n", one["field"], one["message"])).collect()
}

#[test]
fn codes_of_redirects_are_obeyed_within_their_range() {
    let shop = Backend::echo("shop");
    let to = "https://example.com/new";
    let (permanent, temporal) = (("permanent-redirect", to), ("temporal-redirect", to));
    let cases: &[(Pairs<'_>, u16, &str)] = &[
        (&[permanent], 301, ""),
        (&[permanent, ("permanent-redirect-code", "308")], 308, ""),
        (&[permanent, ("permanent-redirect-code", "309")], 301, "is not between 300 and 308"),
        (&[permanent, ("permanent-redirect-code", "200")], 301, "is not between 300 and 308"),
        (&[permanent, ("permanent-redirect-code", "often")], 503, "is not a whole number"),
        (&[temporal], 302, ""),
        (&[temporal, ("temporal-redirect-code", "307")], 307, ""),
        (&[temporal, ("temporal-redirect-code", "308")], 302, "is not between 300 and 307"),
        (&[temporal, ("temporal-redirect-code", "")], 503, "is not a whole number"),
        (&[("temporal-redirect", "example.com")], 503, "is not a URL"),
        (&[("temporal-redirect", "https://a/\"b")], 503, "is not a URL"),
        // The temporal one goes first.
        (&[permanent, temporal], 302, ""),
    ];
    let all: Vec<_> = cases.iter().map(|(annotations, ..)| *annotations).collect();
    let site = site(&all, &[shop.address]);
    for (number, (annotations, status, why)) in cases.iter().enumerate() {
        let reply = ask(&site, number, "/x?y", "");
        assert_eq!(reply.status, *status, "{annotations:?}");
        let location = (*status != 503).then_some(to);
        assert_eq!(reply.header("location"), location, "{annotations:?}");
        let said = said(&site, number);
        assert!(
            said.contains(why) && (why.is_empty() == said.is_empty()),
            "{annotations:?} {said}"
        );
    }
    assert_eq!(shop.connections(), 0);
}

#[test]
fn cookies_of_sessions_are_as_they_are_described() {
    let shop = Backend::echo("shop");
    const ON: (&str, &str) = ("affinity", "cookie");
    // What stands in the cookie behind its value, after `Expires`, which is a time.
    let cases: &[(Pairs<'_>, &str, &str, &str)] = &[
        (&[ON], "INGRESSCOOKIE=", "Path=/sub; HttpOnly", ""),
        (&[ON, ("session-cookie-name", "stick")], "stick=", "Path=/sub; HttpOnly", ""),
        (
            &[ON, ("session-cookie-name", "a b")],
            "INGRESSCOOKIE=",
            "Path=/sub; HttpOnly",
            "a cookie's name",
        ),
        (&[ON, ("session-cookie-path", "/own")], "INGRESSCOOKIE=", "Path=/own; HttpOnly", ""),
        (
            &[ON, ("session-cookie-path", "/;Secure")],
            "INGRESSCOOKIE=",
            "Path=/sub; HttpOnly",
            "is not a path",
        ),
        (
            &[ON, ("session-cookie-domain", "example.com")],
            "INGRESSCOOKIE=",
            "Domain=example.com; Path=/sub; HttpOnly",
            "",
        ),
        (
            &[ON, ("session-cookie-domain", "a;b")],
            "INGRESSCOOKIE=",
            "Path=/sub; HttpOnly",
            "is not a domain",
        ),
        (
            &[ON, ("session-cookie-samesite", "Lax")],
            "INGRESSCOOKIE=",
            "Path=/sub; HttpOnly; SameSite=Lax",
            "",
        ),
        (
            &[ON, ("session-cookie-samesite", "Loose")],
            "INGRESSCOOKIE=",
            "Path=/sub; HttpOnly",
            "`None`, `Lax` or `Strict`",
        ),
        (
            &[ON, ("session-cookie-secure", "true")],
            "INGRESSCOOKIE=",
            "Path=/sub; Secure; HttpOnly",
            "",
        ),
        (
            &[ON, ("session-cookie-secure", "perhaps")],
            "INGRESSCOOKIE=",
            "Path=/sub; HttpOnly",
            "session-cookie-secure",
        ),
        (&[ON, ("session-cookie-expires", "60")], "INGRESSCOOKIE=", "Path=/sub; HttpOnly", ""),
        (
            &[ON, ("session-cookie-expires", "soon")],
            "INGRESSCOOKIE=",
            "Path=/sub; HttpOnly",
            "a whole number of seconds",
        ),
        (
            &[ON, ("session-cookie-max-age", "soon")],
            "INGRESSCOOKIE=",
            "Path=/sub; HttpOnly",
            "a whole number of seconds",
        ),
        (&[("affinity", "ip")], "", "", "is not `cookie`"),
    ];
    let all: Vec<_> = cases.iter().map(|(annotations, ..)| *annotations).collect();
    let site = site(&all, &[shop.address]);
    for (number, (annotations, begin, rest, why)) in cases.iter().enumerate() {
        let reply = ask(&site, number, "/sub", "");
        assert_eq!(reply.status, 200, "{annotations:?}");
        let cookie = reply.header("set-cookie").unwrap_or_default();
        assert!(cookie.starts_with(begin) && cookie.ends_with(rest), "{annotations:?} {cookie}");
        assert_eq!(cookie.is_empty(), begin.is_empty(), "{annotations:?} {cookie}");
        let expires = annotations.contains(&("session-cookie-expires", "60"));
        assert_eq!(cookie.contains("; Expires="), expires, "{annotations:?} {cookie}");
        assert!(!cookie.contains("Max-Age"), "{cookie}");
        let said = said(&site, number);
        assert!(
            said.contains(why) && (why.is_empty() == said.is_empty()),
            "{annotations:?} {said}"
        );
    }
}

#[test]
fn same_site_none_is_kept_from_browsers_that_take_it_for_strict() {
    let shop = Backend::echo("shop");
    const ON: (&str, &str) = ("affinity", "cookie");
    const NONE: (&str, &str) = ("session-cookie-samesite", "None");
    const KEY: &str = "session-cookie-conditional-samesite-none";
    let site = site(
        &[&[ON, NONE], &[ON, NONE, (KEY, "true")], &[ON, NONE, (KEY, "no idea")]],
        &[shop.address],
    );
    let old =
        "user-agent: Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/60.0\r\n";
    for (number, with_old) in [(0, true), (1, false), (2, true)] {
        for (agent, expected) in [("", true), (old, with_old)] {
            let reply = ask(&site, number, "/", agent);
            let cookie = reply.header("set-cookie").expect("a session begins");
            assert_eq!(cookie.ends_with("; SameSite=None"), expected, "{number} {agent} {cookie}");
        }
    }
    assert!(said(&site, 2).contains(KEY));
}

#[test]
fn those_who_are_allowed_to_are_not_limited() {
    let shop = Backend::echo("shop");
    const ONE: (&str, &str) = ("limit-rpm", "1");
    const NO_BURST: (&str, &str) = ("limit-burst-multiplier", "1");
    let site = site(
        &[
            &[ONE, NO_BURST, ("limit-allowlist", "10.0.0.0/8, 127.0.0.0/8")],
            &[ONE, NO_BURST, ("limit-allowlist", "10.0.0.0/8")],
            &[ONE, NO_BURST, ("limit-allowlist", "localhost")],
        ],
        &[shop.address],
    );
    let statuses = |number| (0..4).map(|_| ask(&site, number, "/", "").status).collect::<Vec<_>>();
    assert_eq!(statuses(0), [200; 4]);
    assert_eq!(statuses(1)[3], 503);
    // A limit without its exceptions is none that was asked for.
    assert_eq!(statuses(2), [503; 4]);
    assert!(said(&site, 2).contains("limit-allowlist"));
}

#[test]
fn a_subset_of_endpoints_is_chosen_by_the_hash() {
    let backends: Vec<_> = (0..9).map(|number: usize| Backend::echo(&number.to_string())).collect();
    let endpoints: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    const BY: (&str, &str) = ("upstream-hash-by", "$arg_x");
    const SUBSET: (&str, &str) = ("upstream-hash-by-subset", "true");
    let site = site(
        &[
            &[BY],
            &[BY, SUBSET],
            &[BY, SUBSET, ("upstream-hash-by-subset-size", "2")],
            &[BY, SUBSET, ("upstream-hash-by-subset-size", "0")],
            &[BY, ("upstream-hash-by-subset", "half")],
        ],
        &endpoints,
    );
    for number in [3, 4] {
        assert_eq!(ask(&site, number, "/?x=a", "").status, 503);
        assert!(said(&site, number).contains("upstream-hash-by-subset"));
    }
    for (number, most) in [(0, 1), (1, 3), (2, 2)] {
        let asked = |_| {
            let reply = ask(&site, number, "/?x=a", "");
            reply.line("backend: ").expect("an echo").to_owned()
        };
        let names: BTreeSet<_> = (0..60).map(asked).collect();
        assert!(names.len() <= most, "{number}: {names:?}");
        assert!(most == 1 || names.len() > 1, "{number}: {names:?}");
    }
}

#[test]
fn times_for_attempts_that_are_none_keep_their_default() {
    // Which of both is asked first takes turns: of two requests, one has to go on to the other.
    let shop = Backend::echo("shop");
    let site = site(
        &[
            &[("proxy-next-upstream-timeout", "10")],
            &[("proxy-next-upstream-timeout", "never")],
            &[("proxy-connect-timeout", "1")],
            &[("proxy-connect-timeout", "soon")],
        ],
        &[shop.address, nobody()],
    );
    for number in 0..4 {
        for _ in 0..2 {
            assert_eq!(ask(&site, number, "/", "").status, 200, "{number}");
        }
    }
    assert!(said(&site, 1).contains("proxy-next-upstream-timeout"));
    assert!(said(&site, 3).contains("proxy-connect-timeout"));
    assert_eq!((said(&site, 0), said(&site, 2)), (String::new(), String::new()));
}

#[test]
fn ciphers_of_a_host_are_those_that_it_names() {
    let shop = Backend::echo("shop");
    let site = site(
        &[
            &[("ssl-ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384")],
            &[("ssl-ciphers", "RC4-SHA:NULL")],
            &[("ssl-ciphers", "ECDHE-RSA-AES256-GCM-SHA384")],
            &[("ssl-prefer-server-ciphers", "perhaps")],
            &[
                ("ssl-prefer-server-ciphers", "true"),
                ("ssl-ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256"),
            ],
        ],
        &[shop.address],
    );
    let suite = |number: usize| {
        let options = TlsOptions { old: true, ..TlsOptions::default() };
        let config = crate::support::tls_config(options, None);
        let stream = crate::support::tls_over(site.https, &host(number), &config).ok()?;
        let suite = stream.conn.negotiated_cipher_suite().expect("a suite").suite();
        Some(format!("{suite:?}"))
    };
    assert_eq!(suite(0).as_deref(), Some("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"));
    assert!(suite(1).is_some(), "the ConfigMap's list applies");
    assert!(said(&site, 1).contains("ssl-ciphers"));
    // The certificate is of another kind.
    assert_eq!(suite(2), None);
    assert!(suite(3).is_some() && said(&site, 3).contains("ssl-prefer-server-ciphers"));
    assert_eq!(
        suite(4).as_deref(),
        Some("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
        "ours comes first"
    );
    let (_stream, _certificate) = tls_with(site.https, &host(0), TlsOptions::default());
}

#[test]
fn service_upstream_asks_the_service_itself() {
    let (pod, shop) = (Backend::echo("pod"), Backend::echo("shop"));
    // Its cluster address is where the other one listens.
    let of_service = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: front, namespace: web}}\n\
         spec: {{clusterIP: 127.0.0.1, ports: [{{name: http, port: {}}}]}}\n",
        shop.address.port()
    );
    let slice = service("front", &[pod.address]).split("---").last().map(str::to_owned);
    let rules = |name: &str, host: &str, value: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}, namespace: \
             web, annotations: {{nginx.ingress.kubernetes.io/service-upstream: '{value}'}}}}\n\
             spec: {{rules: [{{host: {host}, http: {{paths: [{{path: /, pathType: Prefix, backend: \
             {{service: {{name: front, port: {{number: {}}}}}}}}}]}}}}]}}\n",
            shop.address.port()
        )
    };
    let slice = slice.expect("an EndpointSlice");
    for (value, expected) in [("true", "shop"), ("false", "pod"), ("maybe", "pod")] {
        let all = documents(&[&rules("h0", &host(0), value), &of_service, &slice]);
        let site = Site::start(&[("all.yaml", &all)]);
        assert_eq!(ask(&site, 0, "/", "").line("backend: "), Some(expected), "{value}");
        assert_eq!(said(&site, 0).contains("service-upstream"), value == "maybe");
    }
}

/// Takes connections and says nothing.
fn silent() -> Backend {
    Backend::scripted(|stream, _| {
        let mut stream = stream;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).is_ok_and(|length| length > 0) {}
    })
}

#[test]
fn an_endpoint_that_does_not_come_to_talk_has_its_time_and_no_more() {
    let silent = silent();
    const TLS: (&str, &str) = ("backend-protocol", "HTTPS");
    const ONCE: (&str, &str) = ("proxy-next-upstream-tries", "1");
    let site = site(&[&[TLS, ONCE, ("proxy-connect-timeout", "1")]], &[silent.address]);
    let begun = Instant::now();
    // The handshake is a part of it; what comes after it has an hour.
    assert_eq!(ask(&site, 0, "/", "").status, 504);
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    assert_eq!(silent.connections(), 1);
}

#[test]
fn the_time_for_all_attempts_ends_them() {
    let silent = silent();
    const LATE: (&str, &str) = ("proxy-read-timeout", "2");
    const TRIES: (&str, &str) = ("proxy-next-upstream-tries", "2");
    let site = site(
        &[&[LATE, TRIES], &[LATE, TRIES, ("proxy-next-upstream-timeout", "1")]],
        &[silent.address],
    );
    assert_eq!(ask(&site, 0, "/", "").status, 504);
    assert_eq!(silent.connections(), 2, "without it, as often as may be");
    assert_eq!(ask(&site, 1, "/", "").status, 504);
    assert_eq!(silent.connections(), 3, "the first attempt took longer than that");
}

#[test]
fn keys_without_effect_say_so_and_change_nothing() {
    let shop = Backend::echo("shop");
    const BECAUSE: &str = "has no effect: ";
    const LEGACY: &str = "has no effect, as in current ingress-nginx";
    let keys: &[(&str, &str, &str)] = &[
        ("auth-keepalive-requests", "10", BECAUSE),
        ("auth-keepalive-timeout", "10", BECAUSE),
        ("auth-keepalive-share-vars", "true", BECAUSE),
        ("proxy-buffer-size", "16k", BECAUSE),
        ("proxy-buffers-number", "8", BECAUSE),
        ("proxy-busy-buffers-size", "16k", BECAUSE),
        ("proxy-max-temp-file-size", "0", BECAUSE),
        ("enable-rewrite-log", "true", BECAUSE),
        ("http2-push-preload", "true", LEGACY),
        ("secure-backends", "true", LEGACY),
        ("grpc-backend", "true", LEGACY),
        ("add-base-url", "true", LEGACY),
        ("base-url-scheme", "http", LEGACY),
        ("session-cookie-hash", "md5", LEGACY),
        ("enable-opentracing", "true", LEGACY),
        ("opentracing-trust-incoming-span", "true", LEGACY),
        ("global-rate-limit", "1", LEGACY),
        ("global-rate-limit-window", "1m", LEGACY),
        ("global-rate-limit-key", "$host", LEGACY),
        ("global-rate-limit-ignored-cidrs", "10.0.0.0/8", LEGACY),
        ("enable-influxdb", "true", LEGACY),
        ("influxdb-measurement", "x", LEGACY),
        ("influxdb-port", "1", LEGACY),
        ("influxdb-host", "x", LEGACY),
        ("influxdb-server-name", "x", LEGACY),
        ("secure-verify-ca-secret", "ca", LEGACY),
    ];
    let all: Vec<_> = keys.iter().map(|(key, value, _)| (*key, *value)).collect();
    let site = site(&[&all, &[], &[("stream-snippet", "x;")]], &[shop.address]);
    let head = |number| {
        let reply = ask(&site, number, "/x", "x-request-id: same\r\n");
        let text = reply.text().replace(&host(number), "host");
        (reply.status, text)
    };
    assert_eq!(head(0), head(1));
    assert_eq!(head(1).0, 200);
    let lines = said(&site, 0);
    for (key, _, why) in keys {
        let is_it = |line: &&str| line.contains(&format!("/{key}]\" \"{why}"));
        assert_eq!(lines.lines().filter(is_it).count(), 1, "{key}: {lines}");
    }
    assert_eq!(lines.lines().count(), keys.len(), "{lines}");
    // It may hold access rules.
    assert_eq!(head(2).0, 503);
    assert!(said(&site, 2).contains("/stream-snippet]\" \"is not supported"));
}
