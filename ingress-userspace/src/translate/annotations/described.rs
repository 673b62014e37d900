//! What people are told about each annotation, for `docs/annotations.md` and `penstock check`. In the
//! order of [`KNOWN`](super::known::KNOWN); keys that current ingress-nginx ignores have no row.

use Scope::{Everything, Host, Ingress, Service};

/// Whom an annotation is for, whatever Ingress it stands in (reference section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All paths of its Ingress.
    Ingress,
    /// The virtual server: all Ingresses of the host.
    Host,
    /// The upstream: all paths that lead to the Service's port.
    Service,
    /// The whole controller.
    Everything,
}

/// One annotation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Described {
    pub(crate) key: &'static str,
    /// What its value is.
    pub(crate) kind: &'static str,
    /// What applies without it; `cm`: the ConfigMap's key of the same name. Empty: nothing.
    pub(crate) default: &'static str,
    pub(crate) scope: Scope,
    /// How it differs from ingress-nginx with every valid value; empty: it does not. What differs with
    /// some values alone is said where they are read, and in docs/migrating.md.
    pub(crate) differs: &'static str,
    /// Values with which it does not.
    pub(crate) harmless: &'static [&'static str],
}

/// Of the firewall.
const FIREWALL: &str = "answers are not inspected: docs/firewall.md";
/// Likewise.
const CORE_RULES: &str = "the rules are the operator's to bring: docs/firewall.md";

const fn row(
    key: &'static str,
    kind: &'static str,
    default: &'static str,
    scope: Scope,
    differs: &'static str,
) -> Described {
    Described { key, kind, default, scope, differs, harmless: &[] }
}

/// The same, except with these values.
const fn unless(harmless: &'static [&'static str], row: Described) -> Described {
    Described { harmless, ..row }
}

/// A boolean that is not.
const NO: &[&str] = &["false", "f", "0"];

/// What is told of a key.
pub(crate) fn described(key: &str) -> Option<&'static Described> {
    DESCRIBED.iter().find(|row| row.key == key)
}

pub(super) const DESCRIBED: &[Described] = &[
    row("ssl-redirect", "boolean", "cm, `true`", Ingress, ""),
    row("force-ssl-redirect", "boolean", "cm, `false`", Ingress, ""),
    row("preserve-trailing-slash", "boolean", "cm, `false`", Ingress, ""),
    row("use-port-in-redirects", "boolean", "cm, `false`", Ingress, ""),
    row("permanent-redirect", "URL or path", "", Ingress, ""),
    row("permanent-redirect-code", "300 to 308", "`301`", Ingress, ""),
    row("temporal-redirect", "URL", "", Ingress, ""),
    row("temporal-redirect-code", "300 to 307", "`302`", Ingress, ""),
    row("relative-redirects", "boolean", "cm, `false`", Ingress, ""),
    row("from-to-www-redirect", "boolean", "`false`", Host, ""),
    row("app-root", "path", "", Host, ""),
    row("rewrite-target", "path with `$1` to `$9`", "", Ingress, ""),
    row("use-regex", "boolean", "`false`", Host, ""),
    row("x-forwarded-prefix", "text", "", Ingress, ""),
    row("whitelist-source-range", "comma list of addresses and ranges", "cm", Ingress, ""),
    row("allowlist-source-range", "comma list of addresses and ranges", "cm", Ingress, ""),
    row("denylist-source-range", "comma list of addresses and ranges", "cm", Ingress, ""),
    row("satisfy", "`any` or `all`", "`all`", Ingress, ""),
    row("auth-type", "`basic` or `digest`", "", Ingress, ""),
    row("auth-secret", "name or namespace/name of a Secret", "", Ingress, ""),
    row("auth-secret-type", "`auth-file` or `auth-map`", "`auth-file`", Ingress, ""),
    row("auth-realm", "text", "", Ingress, ""),
    row("auth-url", "URL with variables", "cm `global-auth-url`", Ingress, ""),
    row("auth-signin", "URL with variables", "", Ingress, ""),
    row("auth-signin-redirect-param", "name", "`rd`", Ingress, ""),
    row("auth-method", "HTTP method", "`GET`", Ingress, ""),
    row("auth-response-headers", "comma list of headers", "", Ingress, ""),
    row("auth-proxy-set-headers", "namespace/name of a ConfigMap", "", Ingress, ""),
    row("auth-request-redirect", "text with variables", "", Ingress, ""),
    row("auth-cache-key", "text with variables", "", Ingress, ""),
    row("auth-cache-duration", "codes and a time, comma list", "`200 202 401 5m`", Ingress, ""),
    row("auth-always-set-cookie", "boolean", "`false`", Ingress, ""),
    row("auth-keepalive", "number", "`0`", Ingress, ""),
    row("auth-keepalive-requests", "number", "`1000`", Ingress, ""),
    row("auth-keepalive-timeout", "seconds", "`60`", Ingress, ""),
    row("auth-keepalive-share-vars", "boolean", "`false`", Ingress, ""),
    row("auth-snippet", "nginx configuration", "", Ingress, ""),
    row("enable-global-auth", "boolean", "`true`", Ingress, ""),
    row("auth-tls-secret", "namespace/name of a Secret", "", Host, ""),
    row("auth-tls-verify-client", "`on`, `off`, `optional` or `optional_no_ca`", "`on`", Host, ""),
    row("auth-tls-verify-depth", "number", "`1`", Host, ""),
    row("auth-tls-error-page", "URL", "", Host, ""),
    row("auth-tls-pass-certificate-to-upstream", "boolean", "`false`", Host, ""),
    row("auth-tls-match-cn", "`CN=` and a regular expression", "", Host, ""),
    row("limit-rps", "number", "", Ingress, ""),
    row("limit-rpm", "number", "", Ingress, ""),
    row("limit-burst-multiplier", "number", "`5`", Ingress, ""),
    row("limit-connections", "number", "", Ingress, ""),
    row("limit-allowlist", "comma list of addresses and ranges", "", Ingress, ""),
    row("limit-whitelist", "comma list of addresses and ranges", "", Ingress, ""),
    row(
        "limit-rate",
        "KiB per second",
        "cm, `0`",
        Ingress,
        "paced from the first byte, whatever `proxy-buffering` says",
    ),
    row("limit-rate-after", "KiB", "cm, `0`", Ingress, ""),
    row("enable-cors", "boolean", "`false`", Ingress, ""),
    row("cors-allow-origin", "comma list of origins", "`*`", Ingress, ""),
    row(
        "cors-allow-methods",
        "comma list",
        "`GET, PUT, POST, DELETE, PATCH, OPTIONS`",
        Ingress,
        "",
    ),
    row(
        "cors-allow-headers",
        "comma list",
        "`DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization`",
        Ingress,
        "",
    ),
    row("cors-expose-headers", "comma list", "", Ingress, ""),
    row("cors-allow-credentials", "boolean", "`true`", Ingress, ""),
    row("cors-max-age", "seconds", "`1728000`", Ingress, ""),
    row("proxy-connect-timeout", "seconds", "cm, `5`", Ingress, ""),
    row("proxy-send-timeout", "seconds", "cm, `60`", Ingress, ""),
    row("proxy-read-timeout", "seconds", "cm, `60`", Ingress, ""),
    row("proxy-body-size", "size", "cm, `1m`", Ingress, ""),
    row("client-body-buffer-size", "size", "cm, `8k`", Ingress, ""),
    row("proxy-buffering", "`on` or `off`", "cm, `off`", Ingress, ""),
    row("proxy-buffer-size", "size", "cm, `4k`", Ingress, ""),
    row("proxy-buffers-number", "number", "cm, `4`", Ingress, ""),
    row("proxy-busy-buffers-size", "size", "cm", Ingress, ""),
    row("proxy-max-temp-file-size", "size", "cm, `1024m`", Ingress, ""),
    row("proxy-request-buffering", "`on` or `off`", "cm, `on`", Ingress, ""),
    row("proxy-http-version", "`1.0` or `1.1`", "cm, `1.1`", Ingress, ""),
    row("proxy-next-upstream", "conditions", "cm, `error timeout`", Ingress, ""),
    row("proxy-next-upstream-timeout", "seconds", "cm, `0`", Ingress, ""),
    row("proxy-next-upstream-tries", "number", "cm, `3`", Ingress, ""),
    row("proxy-cookie-domain", "`off`, or two texts", "cm, `off`", Ingress, ""),
    row("proxy-cookie-path", "`off`, or two texts", "cm, `off`", Ingress, ""),
    row("proxy-redirect-from", "`off`, `default` or a text", "cm, `off`", Ingress, ""),
    row("proxy-redirect-to", "`off` or a text", "cm, `off`", Ingress, ""),
    row("connection-proxy-header", "`close` or `keep-alive`", "", Ingress, ""),
    row("upstream-vhost", "host with variables", "", Ingress, ""),
    row(
        "backend-protocol",
        "`HTTP`, `HTTPS`, `AUTO_HTTP`, `GRPC`, `GRPCS` or `FCGI`",
        "`HTTP`",
        Ingress,
        "",
    ),
    row("service-upstream", "boolean", "cm, `false`", Service, ""),
    row("custom-headers", "namespace/name of a ConfigMap", "", Ingress, ""),
    row("custom-http-errors", "comma list of codes, 400 to 599", "cm", Ingress, ""),
    row("default-backend", "name of a Service", "", Ingress, ""),
    row("disable-proxy-intercept-errors", "boolean", "cm, `false`", Ingress, ""),
    row("fastcgi-index", "file", "", Ingress, ""),
    row("fastcgi-params-configmap", "namespace/name of a ConfigMap", "", Ingress, ""),
    row(
        "mirror-target",
        "URL",
        "",
        Ingress,
        "never delays the client; bodies that are not kept are not mirrored; the node's own addresses are refused",
    ),
    row("mirror-host", "host", "that of `mirror-target`", Ingress, ""),
    row("mirror-request-body", "`on` or `off`", "`on`", Ingress, ""),
    row("http2-push-preload", "boolean", "`false`", Ingress, ""),
    row("server-alias", "comma list of names", "", Host, ""),
    row("proxy-ssl-secret", "namespace/name of a Secret", "", Host, ""),
    row("proxy-ssl-verify", "`on` or `off`", "`off`", Host, ""),
    row("proxy-ssl-verify-depth", "number", "`1`", Host, ""),
    row("proxy-ssl-ciphers", "OpenSSL list", "`DEFAULT`", Host, ""),
    row("proxy-ssl-protocols", "`TLSv1.2`, `TLSv1.3`", "`TLSv1.2 TLSv1.3`", Host, ""),
    row("proxy-ssl-name", "name", "", Host, ""),
    row("proxy-ssl-server-name", "`on` or `off`", "`off`", Host, ""),
    row("load-balance", "`round_robin` or `ewma`", "cm, `round_robin`", Service, ""),
    row("upstream-hash-by", "text with variables", "", Service, ""),
    row("upstream-hash-by-subset", "boolean", "`false`", Service, ""),
    row("upstream-hash-by-subset-size", "number", "`3`", Service, ""),
    row("affinity", "`cookie`", "", Service, ""),
    row("affinity-mode", "`balanced` or `persistent`", "`balanced`", Service, ""),
    row("affinity-canary-behavior", "`sticky` or `legacy`", "`sticky`", Service, ""),
    row("session-cookie-name", "name", "`INGRESSCOOKIE`", Service, ""),
    row("session-cookie-expires", "seconds", "", Service, ""),
    row("session-cookie-max-age", "seconds", "", Service, ""),
    row("session-cookie-path", "path", "that of the Ingress", Service, ""),
    row("session-cookie-domain", "domain", "", Service, ""),
    row("session-cookie-samesite", "`None`, `Lax` or `Strict`", "", Service, ""),
    row("session-cookie-conditional-samesite-none", "boolean", "`false`", Service, ""),
    row("session-cookie-secure", "boolean", "`false`", Service, ""),
    row("session-cookie-change-on-failure", "boolean", "`false`", Service, ""),
    row("canary", "boolean", "`false`", Service, ""),
    row("canary-by-header", "name of a header", "", Service, ""),
    row("canary-by-header-value", "text", "", Service, ""),
    row("canary-by-header-pattern", "regular expression", "", Service, ""),
    row("canary-by-cookie", "name of a cookie", "", Service, ""),
    row("canary-weight", "number", "`0`", Service, ""),
    row("canary-weight-total", "number", "`100`", Service, ""),
    row("ssl-passthrough", "boolean", "`false`", Host, ""),
    row("ssl-passthrough-proxy-protocol", "`off`, `v1` or `v2`", "", Host, ""),
    row("ssl-ciphers", "OpenSSL list", "cm", Host, ""),
    row("ssl-prefer-server-ciphers", "boolean", "cm, `true`", Host, ""),
    row("enable-access-log", "boolean", "`true`", Ingress, ""),
    row("enable-rewrite-log", "boolean", "`false`", Ingress, ""),
    row("enable-opentelemetry", "boolean", "cm, `false`", Ingress, ""),
    row("opentelemetry-trust-incoming-span", "boolean", "cm, `true`", Ingress, ""),
    row("opentelemetry-operation-name", "text with variables", "cm", Ingress, ""),
    unless(NO, row("enable-modsecurity", "boolean", "cm, `false`", Ingress, FIREWALL)),
    unless(NO, row("enable-owasp-core-rules", "boolean", "cm, `false`", Ingress, CORE_RULES)),
    row("modsecurity-transaction-id", "text with variables", "", Ingress, ""),
    row("modsecurity-snippet", "ModSecurity rules", "", Ingress, ""),
    row("configuration-snippet", "nginx configuration", "", Ingress, ""),
    row("server-snippet", "nginx configuration", "", Host, ""),
    row("stream-snippet", "nginx configuration", "", Everything, ""),
];
