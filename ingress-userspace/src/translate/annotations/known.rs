//! What becomes of every annotation that ingress-nginx knows. In the order of the reference,
//! sections 1.2 to 1.12.

use Risk::{Critical, High, Low, Medium};
use Support::{Canary, Denies, DeniesUnless, Legacy, Needless, NoEffect, Obeyed, Snippet};

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
    /// It does nothing yet, and no one gets to where they should not because of that. A warning,
    /// except for this value, which asks for what is done anyway.
    NoEffect(&'static str),
    /// It does nothing because there is nothing for it to do; says why.
    Needless(&'static str),
    /// It restricts who may reach a path, or what reaches the path's Service: the Ingress' paths
    /// answer 503 until it is obeyed.
    Denies,
    /// Likewise, except for this value, which asks for what is done anyway.
    DeniesUnless(&'static str),
    /// Configuration of nginx: obeyed where snippets are allowed and every word of it is understood.
    Snippet,
    /// It makes the Ingress a canary, which must never be served as an ordinary one.
    Canary,
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

/// Every known key without the prefix, its declared risk and what becomes of it.
pub(super) const KNOWN: &[(&str, Risk, Support)] = &[
    // 1.2 Redirects and rewriting.
    ("ssl-redirect", Low, Obeyed),
    ("force-ssl-redirect", Medium, Obeyed),
    ("preserve-trailing-slash", Medium, Obeyed),
    ("use-port-in-redirects", Low, NoEffect("false")),
    ("permanent-redirect", Medium, Obeyed),
    ("permanent-redirect-code", Low, Obeyed),
    ("temporal-redirect", Medium, Obeyed),
    ("temporal-redirect-code", Low, Obeyed),
    ("relative-redirects", Low, NoEffect("false")),
    ("from-to-www-redirect", Low, NoEffect("false")),
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
    ("auth-url", High, Denies),
    ("auth-signin", High, Denies),
    ("auth-signin-redirect-param", Medium, Denies),
    ("auth-method", Low, Denies),
    ("auth-response-headers", Medium, Denies),
    ("auth-proxy-set-headers", Medium, Denies),
    ("auth-request-redirect", Medium, Denies),
    ("auth-cache-key", Medium, Denies),
    ("auth-cache-duration", Medium, Denies),
    ("auth-always-set-cookie", Low, Denies),
    ("auth-keepalive", Low, Denies),
    ("auth-keepalive-requests", Low, Denies),
    ("auth-keepalive-timeout", Low, Denies),
    ("auth-keepalive-share-vars", Low, Denies),
    ("auth-snippet", Critical, Snippet),
    // Exempts the Ingress from the ConfigMap's `global-auth-url`, which denies everything else.
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
    // 1.6 CORS. Without the headers a browser allows less, not more.
    ("enable-cors", Low, NoEffect("false")),
    ("cors-allow-origin", Medium, NoEffect("")),
    ("cors-allow-methods", Medium, NoEffect("")),
    ("cors-allow-headers", Medium, NoEffect("")),
    ("cors-expose-headers", Medium, NoEffect("")),
    ("cors-allow-credentials", Low, NoEffect("")),
    ("cors-max-age", Low, NoEffect("")),
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
    // FCGI alone denies.
    ("backend-protocol", Low, Obeyed),
    ("service-upstream", Low, Obeyed),
    ("custom-headers", Medium, NoEffect("")),
    ("custom-http-errors", Low, NoEffect("")),
    ("default-backend", Low, NoEffect("")),
    ("disable-proxy-intercept-errors", Low, NoEffect("")),
    ("fastcgi-index", Medium, NoEffect("")),
    ("fastcgi-params-configmap", Medium, NoEffect("")),
    ("mirror-target", High, Obeyed),
    ("mirror-host", High, Obeyed),
    ("mirror-request-body", Low, Obeyed),
    ("http2-push-preload", Low, Legacy),
    ("server-alias", High, NoEffect("")),
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
    ("affinity-canary-behavior", Low, NoEffect("")),
    ("session-cookie-name", Medium, Obeyed),
    ("session-cookie-expires", Medium, Obeyed),
    ("session-cookie-max-age", Medium, Obeyed),
    ("session-cookie-path", Medium, Obeyed),
    ("session-cookie-domain", Medium, Obeyed),
    ("session-cookie-samesite", Low, Obeyed),
    ("session-cookie-conditional-samesite-none", Low, Obeyed),
    ("session-cookie-secure", Low, Obeyed),
    ("session-cookie-change-on-failure", Low, Obeyed),
    ("canary", Low, Canary),
    ("canary-by-header", Medium, NoEffect("")),
    ("canary-by-header-value", Medium, NoEffect("")),
    ("canary-by-header-pattern", Medium, NoEffect("")),
    ("canary-by-cookie", Medium, NoEffect("")),
    ("canary-weight", Low, NoEffect("")),
    ("canary-weight-total", Low, NoEffect("")),
    // 1.10 Server TLS, logs, tracing, firewall.
    ("ssl-passthrough", Low, Obeyed),
    // Ours: the PROXY protocol towards the endpoints of such a host.
    ("ssl-passthrough-proxy-protocol", Low, Obeyed),
    ("ssl-ciphers", Low, Obeyed),
    ("ssl-prefer-server-ciphers", Low, Obeyed),
    ("enable-access-log", Low, NoEffect("")),
    ("enable-rewrite-log", Low, NoEffect("false")),
    ("enable-opentelemetry", Low, NoEffect("false")),
    ("opentelemetry-trust-incoming-span", Low, NoEffect("")),
    ("opentelemetry-operation-name", Medium, NoEffect("")),
    ("enable-modsecurity", Low, DeniesUnless("false")),
    ("enable-owasp-core-rules", Low, DeniesUnless("false")),
    ("modsecurity-transaction-id", High, Denies),
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
