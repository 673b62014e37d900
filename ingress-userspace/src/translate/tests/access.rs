//! What restricts access is obeyed or denies; nothing fails open.

use super::{Translation, get, host, ingress, says, says_nothing, translate, translate_with};
use crate::{model::HttpsRedirect, translate::Options};

const PREFIX: &str = "nginx.ingress.kubernetes.io";

/// The keys of reference sections 1.2 to 1.11 that restrict access, with a value that asks for it.
/// Written out again instead of taken from the table: the table is what is tested.
const RESTRICTING: &[(&str, &str)] = &[
    ("whitelist-source-range", "10.0.0.0/33"),
    ("whitelist-source-range", ""),
    ("allowlist-source-range", "10.0.0.0/8, office"),
    ("allowlist-source-range", ""),
    ("allowlist-source-range", ","),
    ("denylist-source-range", "10.0.0"),
    ("denylist-source-range", ""),
    ("auth-type", "nonsense"),
    ("auth-secret", "users"),
    ("auth-url", "auth.example.com"),
    ("auth-url", ""),
    ("auth-snippet", "x"),
    ("limit-rps", "ten"),
    ("limit-rps", "10r/s"),
    ("limit-rps", ""),
    ("limit-rpm", "1.5"),
    ("limit-connections", "$limit"),
    ("limit-allowlist", "10.0.0.0/33"),
    ("limit-whitelist", "everyone"),
    ("backend-protocol", "FASTCGI"),
    ("backend-protocol", "nonsense"),
    ("upstream-vhost", "$nonsense.svc"),
    ("connection-proxy-header", "upgrade"),
    ("client-body-buffer-size", "8kb"),
    ("proxy-ssl-secret", "default/missing"),
    ("proxy-ssl-secret", "missing"),
    ("proxy-ssl-secret", "other/secret"),
    ("enable-modsecurity", "perhaps"),
    ("enable-owasp-core-rules", "perhaps"),
    ("modsecurity-snippet", "x"),
    ("configuration-snippet", "deny all;"),
    // Off by default, so that it protects nobody else either.
    ("server-snippet", "deny all;"),
    ("stream-snippet", "x"),
];

/// Likewise, for the whole virtual server.
const RESTRICTING_HOSTS: &[(&str, &str)] = &[("auth-tls-secret", "default/ca")];

fn with(annotations: &[(&str, &str)]) -> Translation {
    translate(
        &(ingress(
            "guarded",
            annotations,
            "",
            &["a.com /guarded Prefix web", "b.com / Prefix web"],
        ) + &ingress("open", &[], "", &["a.com /open Prefix api", "c.com / Prefix api"])),
    )
}

#[test]
fn what_restricts_paths_denies_those_of_its_ingress_alone() {
    for (key, value) in RESTRICTING {
        let translation = with(&[(key, value)]);
        let denied = format!("503 {PREFIX}/{key}");
        assert_eq!(get(&translation, "a.com/guarded"), denied, "{key}: {value}");
        assert_eq!(get(&translation, "b.com/"), denied, "{key}: {value}");
        assert_eq!(get(&translation, "a.com/open"), "api", "{key}: {value}");
        assert_eq!(get(&translation, "c.com/"), "api", "{key}: {value}");
        let field =
            format!("error Ingress default/guarded: metadata.annotations[{PREFIX}/{key}]: ");
        says(&translation, &field);
    }
}

#[test]
fn what_restricts_hosts_denies_all_their_paths() {
    for (key, value) in RESTRICTING_HOSTS {
        let translation = with(&[(key, value)]);
        let denied = format!("503 {PREFIX}/{key}");
        for url in ["a.com/guarded", "b.com/", "a.com/open", "a.com/unknown"] {
            assert_eq!(get(&translation, url), denied, "{key}: {value}: {url}");
        }
        assert_eq!(get(&translation, "c.com/"), "api", "{key}: {value}");
        says(
            &translation,
            &format!("error Ingress default/guarded: metadata.annotations[{PREFIX}/{key}]: "),
        );
    }
}

#[test]
fn values_that_ask_for_what_is_done_anyway_deny_nothing() {
    for (key, value) in [
        ("satisfy", "all"),
        ("backend-protocol", "http"),
        ("enable-modsecurity", "false"),
        ("enable-owasp-core-rules", "0"),
        ("ssl-passthrough", "False"),
        ("canary", "f"),
        ("enable-cors", "false"),
        ("enable-global-auth", "true"),
        ("proxy-buffering", "off"),
        ("load-balance", "round_robin"),
    ] {
        let translation = with(&[(key, value)]);
        assert_eq!(get(&translation, "a.com/guarded"), "web", "{key}: {value}");
        says_nothing(&translation);
    }
}

#[test]
fn every_key_that_restricts_by_its_name_denies() {
    use crate::translate::annotations::{Support, known_keys};

    // What of external authentication cannot be obeyed is in `external_auth`.
    const EXTERNAL: [&str; 11] = [
        "auth-url",
        "auth-signin",
        "auth-signin-redirect-param",
        "auth-method",
        "auth-response-headers",
        "auth-proxy-set-headers",
        "auth-request-redirect",
        "auth-cache-key",
        "auth-cache-duration",
        "auth-always-set-cookie",
        "auth-keepalive",
    ];
    for (key, support) in known_keys().filter(|(key, _)| !EXTERNAL.contains(key)) {
        // Client certificates, passwords and lists of addresses are obeyed; what of them cannot be
        // is in `client_auth`, in `login` and above.
        let obeyed = ["auth-type", "auth-secret", "auth-secret-type", "auth-realm"];
        // The firewall's own are in `firewall`.
        let restricts =
            key.starts_with("auth-") && !key.starts_with("auth-tls-") && !obeyed.contains(&key)
                || key.ends_with("-snippet");
        let passes = matches!(support, Support::Obeyed | Support::Legacy);
        assert!(!(restricts && passes), "{key}");
    }
}

#[test]
fn a_canary_is_never_served_as_an_ordinary_ingress() {
    for value in ["true", "1", "T"] {
        let main = ingress("main", &[], "", &["a.com / Prefix web"]);
        // By its name it would come before the main one.
        let canary = ingress(
            "zz",
            &[("canary", value), ("canary-weight", "50")],
            "",
            &["a.com / Prefix api", "a.com /new Prefix api", "b.com / Prefix api"],
        );
        let translation = translate(&(main + &canary));
        assert_eq!(get(&translation, "a.com/"), "web", "{value}");
        assert_eq!(get(&translation, "a.com/new"), "web", "{value}");
        assert_eq!(get(&translation, "b.com/"), "404", "{value}");
        says(&translation, "no ordinary Ingress has Prefix `/new` of this host");
        says(&translation, "no ordinary Ingress has Prefix `/` of this host");
    }
}

#[test]
fn a_denied_default_path_is_denied_too() {
    let spec = "defaultBackend: {service: {name: fallback, port: {number: 80}}}";
    let auth = [("auth-snippet", "x")];
    let translation = translate(
        &(ingress("guarded", &auth, spec, &["a.com /x Prefix web"])
            + &ingress("any", &auth, spec, &[])),
    );
    for url in ["a.com/x", "a.com/y", "unknown.com/"] {
        assert_eq!(get(&translation, url), format!("503 {PREFIX}/auth-snippet"), "{url}");
    }
}

#[test]
fn a_denied_path_is_not_redirected_first() {
    let translation = with(&[
        ("auth-snippet", "x"),
        ("force-ssl-redirect", "true"),
        ("permanent-redirect", "https://elsewhere.example.com"),
    ]);
    assert_eq!(get(&translation, "a.com/guarded"), format!("503 {PREFIX}/auth-snippet"));
    let host = host(&translation.model, "a.com");
    let guarded = host.routes.iter().find(|route| &*route.path == "/guarded").unwrap();
    assert_eq!(guarded.https_redirect, HttpsRedirect::Never);
}

#[test]
fn a_backend_that_is_not_understood_keeps_its_path_closed() {
    let bad = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: bad}\n\
        spec:\n  ingressClassName: penstock\n  rules:\n  - host: a.com\n    http:\n      paths:\n";
    for (backend, why) in [
        (
            "{service: {name: web, port: {number: 0}}}",
            "backend.service.port.number: 0 is not between 1 and 65535",
        ),
        (
            "{service: {name: web, port: {number: 65536}}}",
            "backend.service.port.number: 65536 is not",
        ),
        ("{service: {name: web, port: {number: -1}}}", "backend.service.port.number: -1 is not"),
        ("{service: {name: web}}", "backend.service.port: has neither a name nor a number"),
        (
            "{service: {name: web, port: {number: 80, name: http}}}",
            "backend.service.port: has both",
        ),
        ("{service: {name: '', port: {number: 80}}}", "backend.service.name: is empty"),
        ("{}", "backend: names neither a Service nor a resource"),
    ] {
        let text = format!(
            "---\n{bad}      - {{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}\n\
             \x20     - {{path: /admin, pathType: Prefix, backend: {backend}}}\n"
        );
        let translation = translate(&text);
        assert!(
            get(&translation, "a.com/admin").starts_with("503 spec.rules[0].http.paths[1].backend"),
            "{backend}"
        );
        assert_eq!(get(&translation, "a.com/"), "web");
        says(
            &translation,
            &format!("error Ingress default/bad: spec.rules[0].http.paths[1].{why}"),
        );
    }
}

#[test]
fn unknown_keys_are_said_with_what_was_meant() {
    let translation = with(&[("whitelist-source-rnage", "10.0.0.0/8"), ("nonsense", "x")]);
    says(
        &translation,
        "warning Ingress default/guarded: metadata.annotations[nginx.ingress.kubernetes.io/whitelist-source-rnage]: \
        is not known and has no effect; did you mean `whitelist-source-range`?",
    );
    says(&translation, "nonsense]: is not known and has no effect\n");
}

#[test]
fn keys_without_effect_are_said_once_each() {
    let translation = with(&[("enable-rewrite-log", "true"), ("secure-backends", "true")]);
    says(
        &translation,
        "warning Ingress default/guarded: metadata.annotations[nginx.ingress.kubernetes.io/enable-rewrite-log]: has no effect: rewrites are not logged; `penstock explain` says what becomes of a request",
    );
    says(&translation, "secure-backends]: has no effect, as in current ingress-nginx");
    assert_eq!(translation.diagnostics.len(), 2);
}

#[test]
fn another_prefix_has_its_own_annotations() {
    let options = Options { annotations_prefix: "example.org".to_owned(), ..Options::default() };
    let text = ingress("x", &[("auth-snippet", "x")], "", &["a.com / Prefix web"]);
    assert_eq!(get(&translate_with(options.clone(), &text), "a.com/"), "web");
    let text = text.replace(PREFIX, "example.org");
    assert_eq!(get(&translate_with(options, &text), "a.com/"), "503 example.org/auth-snippet");
}
