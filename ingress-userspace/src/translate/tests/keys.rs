//! Every key of the reference is known, and what becomes of it is said: the lists are copied from
//! its section 1 by hand, not from the code.

use std::collections::BTreeSet;

use crate::translate::annotations::known_keys;

/// Sections 1.2 to 1.11.
const ANNOTATIONS: &[&str] = &[
    "ssl-redirect",
    "force-ssl-redirect",
    "preserve-trailing-slash",
    "use-port-in-redirects",
    "permanent-redirect",
    "permanent-redirect-code",
    "temporal-redirect",
    "temporal-redirect-code",
    "relative-redirects",
    "from-to-www-redirect",
    "app-root",
    "rewrite-target",
    "use-regex",
    "x-forwarded-prefix",
    "whitelist-source-range",
    "allowlist-source-range",
    "denylist-source-range",
    "satisfy",
    "auth-type",
    "auth-secret",
    "auth-secret-type",
    "auth-realm",
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
    "auth-keepalive-requests",
    "auth-keepalive-timeout",
    "auth-keepalive-share-vars",
    "auth-snippet",
    "enable-global-auth",
    "auth-tls-secret",
    "auth-tls-verify-client",
    "auth-tls-verify-depth",
    "auth-tls-error-page",
    "auth-tls-pass-certificate-to-upstream",
    "auth-tls-match-cn",
    "limit-rps",
    "limit-rpm",
    "limit-burst-multiplier",
    "limit-connections",
    "limit-allowlist",
    "limit-whitelist",
    "limit-rate",
    "limit-rate-after",
    "enable-cors",
    "cors-allow-origin",
    "cors-allow-methods",
    "cors-allow-headers",
    "cors-expose-headers",
    "cors-allow-credentials",
    "cors-max-age",
    "proxy-connect-timeout",
    "proxy-send-timeout",
    "proxy-read-timeout",
    "proxy-body-size",
    "client-body-buffer-size",
    "proxy-buffering",
    "proxy-buffer-size",
    "proxy-buffers-number",
    "proxy-busy-buffers-size",
    "proxy-max-temp-file-size",
    "proxy-request-buffering",
    "proxy-http-version",
    "proxy-next-upstream",
    "proxy-next-upstream-timeout",
    "proxy-next-upstream-tries",
    "proxy-cookie-domain",
    "proxy-cookie-path",
    "proxy-redirect-from",
    "proxy-redirect-to",
    "connection-proxy-header",
    "upstream-vhost",
    "backend-protocol",
    "service-upstream",
    "custom-headers",
    "custom-http-errors",
    "default-backend",
    "disable-proxy-intercept-errors",
    "fastcgi-index",
    "fastcgi-params-configmap",
    "mirror-target",
    "mirror-host",
    "mirror-request-body",
    "http2-push-preload",
    "server-alias",
    "proxy-ssl-secret",
    "proxy-ssl-verify",
    "proxy-ssl-verify-depth",
    "proxy-ssl-ciphers",
    "proxy-ssl-protocols",
    "proxy-ssl-name",
    "proxy-ssl-server-name",
    "load-balance",
    "upstream-hash-by",
    "upstream-hash-by-subset",
    "upstream-hash-by-subset-size",
    "affinity",
    "affinity-mode",
    "affinity-canary-behavior",
    "session-cookie-name",
    "session-cookie-expires",
    "session-cookie-max-age",
    "session-cookie-path",
    "session-cookie-domain",
    "session-cookie-samesite",
    "session-cookie-conditional-samesite-none",
    "session-cookie-secure",
    "session-cookie-change-on-failure",
    "canary",
    "canary-by-header",
    "canary-by-header-value",
    "canary-by-header-pattern",
    "canary-by-cookie",
    "canary-weight",
    "canary-weight-total",
    "ssl-passthrough",
    "ssl-ciphers",
    "ssl-prefer-server-ciphers",
    "enable-access-log",
    "enable-rewrite-log",
    "enable-opentelemetry",
    "opentelemetry-trust-incoming-span",
    "opentelemetry-operation-name",
    "enable-modsecurity",
    "enable-owasp-core-rules",
    "modsecurity-transaction-id",
    "configuration-snippet",
    "server-snippet",
    "stream-snippet",
    "modsecurity-snippet",
];

/// Section 1.12.
const LEGACY: &[&str] = &[
    "secure-backends",
    "grpc-backend",
    "add-base-url",
    "base-url-scheme",
    "session-cookie-hash",
    "enable-opentracing",
    "opentracing-trust-incoming-span",
    "global-rate-limit",
    "global-rate-limit-window",
    "global-rate-limit-key",
    "global-rate-limit-ignored-cidrs",
    "enable-influxdb",
    "influxdb-measurement",
    "influxdb-port",
    "influxdb-host",
    "influxdb-server-name",
    "secure-verify-ca-secret",
];

#[test]
fn every_annotation_of_the_reference_has_a_verdict() {
    let known: BTreeSet<_> = known_keys().map(|(key, _)| key).collect();
    let missing: Vec<_> =
        ANNOTATIONS.iter().chain(LEGACY).filter(|key| !known.contains(**key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // Ours alone.
    let own: Vec<_> = known
        .iter()
        .filter(|key| !ANNOTATIONS.contains(key) && !LEGACY.contains(key))
        .copied()
        .collect();
    assert_eq!(own, ["ssl-passthrough-proxy-protocol"]);
}

/// All of `tests/agent`, the helpers left out.
fn black_box() -> String {
    let mut text = String::new();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agent");
    let mut folders = vec![std::path::PathBuf::from(root)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the tests are there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.ends_with("support") {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                text += &std::fs::read_to_string(&path).expect("a test");
            }
        }
    }
    text
}

#[test]
fn every_annotation_is_named_by_a_test_of_the_running_agent() {
    let text = black_box();
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let named = |key: &str| {
        text.match_indices(key).any(|(at, _)| {
            let before = text.as_bytes()[..at].last();
            let after = text.as_bytes().get(at + key.len());
            !before.copied().is_some_and(is_part) && !after.copied().is_some_and(is_part)
        })
    };
    let missing: Vec<_> = known_keys().map(|(key, _)| key).filter(|key| !named(key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
