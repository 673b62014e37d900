//! What becomes of every annotation that ingress-nginx knows. In the order of the reference,
//! sections 1.2 to 1.12.

use Risk::{Critical, High, Low, Medium};
use Support::{Legacy, Needless, Obeyed, Snippet};

/// What an annotation can do to others, as ingress-nginx declares it; above the ConfigMap's
/// `annotations-risk-level` the Ingress is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::translate) enum Risk {
    Low,
    Medium,
    High,
    Critical,
}

/// What becomes of an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::translate) enum Support {
    /// It is obeyed.
    Obeyed,
    /// It does nothing because there is nothing for it to do; says why.
    Needless(&'static str),
    /// Configuration of nginx: obeyed where snippets are allowed and every word of it is understood.
    Snippet,
    /// ingress-nginx itself ignores it by now.
    Legacy,
}

/// Why `proxy-buffer-size` does nothing, in the ConfigMap too.
pub(in crate::translate) const BUFFER_SIZE: &str =
    "heads of answers may have 32 KiB, whatever it says";
/// Likewise, of the number and use of buffers.
pub(in crate::translate) const BUFFERS: &str =
    "one buffer of 32 KiB per direction is filled and emptied in turn";
/// Likewise, of files.
pub(in crate::translate) const NO_FILES: &str =
    "answers are never written to disk; an endpoint waits for a slow client";

/// Why `auth-keepalive-requests` and `-timeout` do nothing.
const AUTH_POOL: &str = "connections to the server are kept as the ConfigMap's \
                         upstream-keepalive-requests and upstream-keepalive-timeout say";
/// Why `enable-rewrite-log` does nothing.
const REWRITES: &str = "rewrites are not logged; `penstock explain` says what becomes of a request";
/// Why `auth-keepalive-share-vars` does nothing.
const AUTH_VARIABLES: &str = "the server is asked by a request of its own, which sees all there is";

/// Every known key without the prefix, its declared risk and what becomes of it.
pub(super) const KNOWN: &[(&str, Risk, Support)] = &[
    // 1.2 Redirects and rewriting.
    ("ssl-redirect", Low, Obeyed),
    ("force-ssl-redirect", Medium, Obeyed),
    ("preserve-trailing-slash", Medium, Obeyed),
    ("use-port-in-redirects", Low, Obeyed),
    ("permanent-redirect", Medium, Obeyed),
    ("permanent-redirect-code", Low, Obeyed),
    ("temporal-redirect", Medium, Obeyed),
    ("temporal-redirect-code", Low, Obeyed),
    ("relative-redirects", Low, Obeyed),
    ("from-to-www-redirect", Low, Obeyed),
    ("app-root", Medium, Obeyed),
    ("rewrite-target", Medium, Obeyed),
    ("use-regex", Low, Obeyed),
    ("x-forwarded-prefix", Medium, Obeyed),
    // 1.3 Access control, authentication.
    ("whitelist-source-range", Medium, Obeyed),
    ("allowlist-source-range", Medium, Obeyed),
    ("denylist-source-range", Medium, Obeyed),
    ("satisfy", Low, Obeyed),
    ("auth-type", Low, Obeyed),
    ("auth-secret", Medium, Obeyed),
    ("auth-secret-type", Low, Obeyed),
    ("auth-realm", Medium, Obeyed),
    ("auth-url", High, Obeyed),
    ("auth-signin", High, Obeyed),
    ("auth-signin-redirect-param", Medium, Obeyed),
    ("auth-method", Low, Obeyed),
    ("auth-response-headers", Medium, Obeyed),
    ("auth-proxy-set-headers", Medium, Obeyed),
    ("auth-request-redirect", Medium, Obeyed),
    ("auth-cache-key", Medium, Obeyed),
    ("auth-cache-duration", Medium, Obeyed),
    ("auth-always-set-cookie", Low, Obeyed),
    ("auth-keepalive", Low, Obeyed),
    ("auth-keepalive-requests", Low, Needless(AUTH_POOL)),
    ("auth-keepalive-timeout", Low, Needless(AUTH_POOL)),
    ("auth-keepalive-share-vars", Low, Needless(AUTH_VARIABLES)),
    ("auth-snippet", Critical, Snippet),
    // Exempts the Ingress from the ConfigMap's `global-auth-url`.
    ("enable-global-auth", Low, Obeyed),
    // 1.4 Client certificates. They protect the whole virtual server, whoever asks for them.
    ("auth-tls-secret", Medium, Obeyed),
    ("auth-tls-verify-client", Medium, Obeyed),
    ("auth-tls-verify-depth", Low, Obeyed),
    ("auth-tls-error-page", High, Obeyed),
    ("auth-tls-pass-certificate-to-upstream", Low, Obeyed),
    ("auth-tls-match-cn", High, Obeyed),
    // 1.5 Rate limits.
    ("limit-rps", Low, Obeyed),
    ("limit-rpm", Low, Obeyed),
    ("limit-burst-multiplier", Low, Obeyed),
    ("limit-connections", Low, Obeyed),
    ("limit-allowlist", Low, Obeyed),
    ("limit-whitelist", Low, Obeyed),
    ("limit-rate", Low, Obeyed),
    ("limit-rate-after", Low, Obeyed),
    // 1.6 CORS.
    ("enable-cors", Low, Obeyed),
    ("cors-allow-origin", Medium, Obeyed),
    ("cors-allow-methods", Medium, Obeyed),
    ("cors-allow-headers", Medium, Obeyed),
    ("cors-expose-headers", Medium, Obeyed),
    ("cors-allow-credentials", Low, Obeyed),
    ("cors-max-age", Low, Obeyed),
    // 1.7 Proxying.
    ("proxy-connect-timeout", Low, Obeyed),
    ("proxy-send-timeout", Low, Obeyed),
    ("proxy-read-timeout", Low, Obeyed),
    ("proxy-body-size", Medium, Obeyed),
    ("client-body-buffer-size", Low, Obeyed),
    ("proxy-buffering", Low, Obeyed),
    ("proxy-buffer-size", Low, Needless(BUFFER_SIZE)),
    ("proxy-buffers-number", Low, Needless(BUFFERS)),
    ("proxy-busy-buffers-size", Low, Needless(BUFFERS)),
    ("proxy-max-temp-file-size", Low, Needless(NO_FILES)),
    ("proxy-request-buffering", Low, Obeyed),
    ("proxy-http-version", Low, Obeyed),
    ("proxy-next-upstream", Medium, Obeyed),
    ("proxy-next-upstream-timeout", Low, Obeyed),
    ("proxy-next-upstream-tries", Low, Obeyed),
    ("proxy-cookie-domain", Medium, Obeyed),
    ("proxy-cookie-path", Medium, Obeyed),
    ("proxy-redirect-from", Medium, Obeyed),
    ("proxy-redirect-to", Medium, Obeyed),
    ("connection-proxy-header", Low, Obeyed),
    ("upstream-vhost", Low, Obeyed),
    ("backend-protocol", Low, Obeyed),
    ("service-upstream", Low, Obeyed),
    ("custom-headers", Medium, Obeyed),
    ("custom-http-errors", Low, Obeyed),
    ("default-backend", Low, Obeyed),
    ("disable-proxy-intercept-errors", Low, Obeyed),
    ("fastcgi-index", Medium, Obeyed),
    ("fastcgi-params-configmap", Medium, Obeyed),
    ("mirror-target", High, Obeyed),
    ("mirror-host", High, Obeyed),
    ("mirror-request-body", Low, Obeyed),
    ("http2-push-preload", Low, Legacy),
    ("server-alias", High, Obeyed),
    // 1.8 Upstream TLS; a Secret that cannot be used denies.
    ("proxy-ssl-secret", Medium, Obeyed),
    ("proxy-ssl-verify", Low, Obeyed),
    ("proxy-ssl-verify-depth", Low, Obeyed),
    ("proxy-ssl-ciphers", Medium, Obeyed),
    ("proxy-ssl-protocols", Low, Obeyed),
    ("proxy-ssl-name", High, Obeyed),
    ("proxy-ssl-server-name", Low, Obeyed),
    // 1.9 Balancing, affinity, canary.
    ("load-balance", Low, Obeyed),
    ("upstream-hash-by", High, Obeyed),
    ("upstream-hash-by-subset", Low, Obeyed),
    ("upstream-hash-by-subset-size", Low, Obeyed),
    ("affinity", Low, Obeyed),
    ("affinity-mode", Medium, Obeyed),
    ("affinity-canary-behavior", Low, Obeyed),
    ("session-cookie-name", Medium, Obeyed),
    ("session-cookie-expires", Medium, Obeyed),
    ("session-cookie-max-age", Medium, Obeyed),
    ("session-cookie-path", Medium, Obeyed),
    ("session-cookie-domain", Medium, Obeyed),
    ("session-cookie-samesite", Low, Obeyed),
    ("session-cookie-conditional-samesite-none", Low, Obeyed),
    ("session-cookie-secure", Low, Obeyed),
    ("session-cookie-change-on-failure", Low, Obeyed),
    ("canary", Low, Obeyed),
    ("canary-by-header", Medium, Obeyed),
    ("canary-by-header-value", Medium, Obeyed),
    ("canary-by-header-pattern", Medium, Obeyed),
    ("canary-by-cookie", Medium, Obeyed),
    ("canary-weight", Low, Obeyed),
    ("canary-weight-total", Low, Obeyed),
    // 1.10 Server TLS, logs, tracing, firewall.
    ("ssl-passthrough", Low, Obeyed),
    // Ours: the PROXY protocol towards the endpoints of such a host.
    ("ssl-passthrough-proxy-protocol", Low, Obeyed),
    ("ssl-ciphers", Low, Obeyed),
    ("ssl-prefer-server-ciphers", Low, Obeyed),
    ("enable-access-log", Low, Obeyed),
    ("enable-rewrite-log", Low, Needless(REWRITES)),
    ("enable-opentelemetry", Low, Obeyed),
    ("opentelemetry-trust-incoming-span", Low, Obeyed),
    ("opentelemetry-operation-name", Medium, Obeyed),
    ("enable-modsecurity", Low, Obeyed),
    ("enable-owasp-core-rules", Low, Obeyed),
    ("modsecurity-transaction-id", High, Obeyed),
    // 1.11 Raw configuration: it often holds access rules.
    ("modsecurity-snippet", Critical, Snippet),
    ("configuration-snippet", Critical, Snippet),
    ("server-snippet", Critical, Snippet),
    ("stream-snippet", Critical, Snippet),
    // 1.12 Legacy.
    ("secure-backends", Low, Legacy),
    ("grpc-backend", Low, Legacy),
    ("add-base-url", Low, Legacy),
    ("base-url-scheme", Low, Legacy),
    ("session-cookie-hash", Low, Legacy),
    ("enable-opentracing", Low, Legacy),
    ("opentracing-trust-incoming-span", Low, Legacy),
    ("global-rate-limit", Low, Legacy),
    ("global-rate-limit-window", Low, Legacy),
    ("global-rate-limit-key", Low, Legacy),
    ("global-rate-limit-ignored-cidrs", Low, Legacy),
    ("enable-influxdb", Low, Legacy),
    ("influxdb-measurement", Low, Legacy),
    ("influxdb-port", Low, Legacy),
    ("influxdb-host", Low, Legacy),
    ("influxdb-server-name", Low, Legacy),
    ("secure-verify-ca-secret", Low, Legacy),
];

/// What is known of a key.
pub(super) fn known(key: &str) -> Option<(Risk, Support)> {
    let row = KNOWN.iter().find(|(known, ..)| *known == key)?;
    Some((row.1, row.2))
}
