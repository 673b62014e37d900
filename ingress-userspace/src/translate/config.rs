use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;

use super::{
    annotations::{Invalid, Risk, boolean},
    report::Report,
};
use crate::{
    model::{Denial, RedirectCode, Settings},
    suggestion,
};

/// The controller's ConfigMap (reference section 9.1): what the agent obeys and what the
/// translation of Ingresses depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) settings: Settings,
    pub(super) ssl_redirect: bool,
    pub(super) force_ssl_redirect: bool,
    pub(super) preserve_trailing_slash: bool,
    /// Ingress paths that begin with one of these are never redirected to HTTPS.
    pub(super) no_tls_redirect: Vec<String>,
    pub(super) risk_level: Risk,
    pub(super) blocked_words: Vec<String>,
    /// Everything answers 503.
    pub(super) denial: Option<Denial>,
    /// `global-auth-url` is set: every Ingress answers 503 that is not exempt from it.
    pub(super) global_auth: Option<Arc<str>>,
}

impl Default for Config {
    /// ingress-nginx's defaults.
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            ssl_redirect: true,
            force_ssl_redirect: false,
            preserve_trailing_slash: false,
            no_tls_redirect: vec!["/.well-known/acme-challenge".to_owned()],
            risk_level: Risk::High,
            blocked_words: Vec::new(),
            denial: None,
            global_auth: None,
        }
    }
}

/// What becomes of a key that `Config` has no field for.
enum Other {
    /// Nothing is lost: what it allows is never done, or what it says is done anyway.
    Met,
    NoEffect,
    /// It restricts access to everything: everything answers 503.
    Denies,
}

const OTHERS: &[(&str, Other)] = &[
    ("allow-snippet-annotations", Other::Met),
    ("allow-cross-namespace-resources", Other::Met),
    ("strict-validate-path-type", Other::Met),
    ("server-tokens", Other::Met),
    ("use-http2", Other::Met),
    ("generate-request-id", Other::Met),
    ("whitelist-source-range", Other::Denies),
    ("denylist-source-range", Other::Denies),
    ("block-cidrs", Other::Denies),
    ("block-user-agents", Other::Denies),
    ("block-referers", Other::Denies),
    ("enable-modsecurity", Other::Denies),
    ("enable-owasp-modsecurity-crs", Other::Denies),
    ("modsecurity-snippet", Other::Denies),
    ("http-snippet", Other::Denies),
    ("server-snippet", Other::Denies),
    ("location-snippet", Other::Denies),
    ("global-auth-snippet", Other::Denies),
    ("main-snippet", Other::NoEffect),
    ("stream-snippet", Other::NoEffect),
    ("global-auth-method", Other::NoEffect),
    ("global-auth-signin", Other::NoEffect),
    ("global-auth-signin-redirect-param", Other::NoEffect),
    ("global-auth-response-headers", Other::NoEffect),
    ("global-auth-request-redirect", Other::NoEffect),
    ("global-auth-cache-key", Other::NoEffect),
    ("global-auth-cache-duration", Other::NoEffect),
    ("global-auth-always-set-cookie", Other::NoEffect),
    ("no-auth-locations", Other::NoEffect),
    ("forwarded-for-header", Other::NoEffect),
    ("enable-real-ip", Other::NoEffect),
    ("ssl-protocols", Other::NoEffect),
    ("ssl-ciphers", Other::NoEffect),
    ("ssl-session-tickets", Other::NoEffect),
    ("ssl-reject-handshake", Other::NoEffect),
    ("enable-ocsp", Other::NoEffect),
    ("add-headers", Other::NoEffect),
    ("proxy-set-headers", Other::NoEffect),
    ("hide-headers", Other::NoEffect),
    ("global-allowed-response-headers", Other::NoEffect),
    ("enable-underscores-in-headers", Other::NoEffect),
    ("ignore-invalid-headers", Other::NoEffect),
    ("limit-req-status-code", Other::NoEffect),
    ("limit-conn-status-code", Other::NoEffect),
    ("limit-conn-zone-variable", Other::NoEffect),
    ("limit-rate", Other::NoEffect),
    ("limit-rate-after", Other::NoEffect),
    ("log-format-upstream", Other::NoEffect),
    ("log-format-escape-json", Other::NoEffect),
    ("disable-access-log", Other::NoEffect),
    ("error-log-level", Other::NoEffect),
    ("skip-access-log-urls", Other::NoEffect),
    ("use-gzip", Other::NoEffect),
    ("gzip-level", Other::NoEffect),
    ("gzip-min-length", Other::NoEffect),
    ("gzip-types", Other::NoEffect),
    ("enable-brotli", Other::NoEffect),
    ("brotli-level", Other::NoEffect),
    ("brotli-min-length", Other::NoEffect),
    ("brotli-types", Other::NoEffect),
    ("client-header-timeout", Other::NoEffect),
    ("client-body-timeout", Other::NoEffect),
    ("client-header-buffer-size", Other::NoEffect),
    ("client-body-buffer-size", Other::NoEffect),
    ("large-client-header-buffers", Other::NoEffect),
    ("keep-alive", Other::NoEffect),
    ("keep-alive-requests", Other::NoEffect),
    ("upstream-keepalive-connections", Other::NoEffect),
    ("upstream-keepalive-timeout", Other::NoEffect),
    ("upstream-keepalive-requests", Other::NoEffect),
    ("upstream-keepalive-time", Other::NoEffect),
    ("http2-max-concurrent-streams", Other::NoEffect),
    ("retry-non-idempotent", Other::NoEffect),
    ("custom-http-errors", Other::NoEffect),
    ("load-balance", Other::NoEffect),
    ("service-upstream", Other::NoEffect),
    ("proxy-connect-timeout", Other::NoEffect),
    ("proxy-send-timeout", Other::NoEffect),
    ("proxy-read-timeout", Other::NoEffect),
    ("proxy-body-size", Other::NoEffect),
    ("proxy-buffering", Other::NoEffect),
    ("proxy-buffer-size", Other::NoEffect),
    ("proxy-buffers-number", Other::NoEffect),
    ("proxy-busy-buffers-size", Other::NoEffect),
    ("proxy-max-temp-file-size", Other::NoEffect),
    ("proxy-request-buffering", Other::NoEffect),
    ("proxy-http-version", Other::NoEffect),
    ("proxy-next-upstream", Other::NoEffect),
    ("proxy-next-upstream-timeout", Other::NoEffect),
    ("proxy-next-upstream-tries", Other::NoEffect),
    ("proxy-cookie-domain", Other::NoEffect),
    ("proxy-cookie-path", Other::NoEffect),
    ("proxy-redirect-from", Other::NoEffect),
    ("proxy-redirect-to", Other::NoEffect),
    ("proxy-ssl-location-only", Other::NoEffect),
    ("proxy-add-original-uri-header", Other::NoEffect),
    ("enable-access-log-for-default-backend", Other::NoEffect),
    ("worker-processes", Other::NoEffect),
    ("worker-shutdown-timeout", Other::NoEffect),
    ("bind-address", Other::NoEffect),
    ("disable-ipv6", Other::NoEffect),
    ("enable-opentelemetry", Other::NoEffect),
    ("otlp-collector-host", Other::NoEffect),
    ("otlp-collector-port", Other::NoEffect),
    ("otel-service-name", Other::NoEffect),
    ("otel-sampler", Other::NoEffect),
];

/// The keys that `Config` has fields for.
const OBEYED: &[&str] = &[
    "use-forwarded-headers",
    "compute-full-forwarded-for",
    "proxy-real-ip-cidr",
    "use-proxy-protocol",
    "proxy-protocol-header-timeout",
    "max-worker-connections",
    "proxy-stream-timeout",
    "proxy-stream-next-upstream",
    "proxy-stream-next-upstream-timeout",
    "proxy-stream-next-upstream-tries",
    "proxy-stream-responses",
    "ssl-redirect",
    "force-ssl-redirect",
    "preserve-trailing-slash",
    "http-redirect-code",
    "hsts",
    "hsts-max-age",
    "hsts-include-subdomains",
    "hsts-preload",
    "no-tls-redirect-locations",
    "annotations-risk-level",
    "annotation-value-word-blocklist",
    "global-auth-url",
];

impl Config {
    /// What the ConfigMap says. Values of a wrong type keep their default.
    pub(super) fn parse(map: &ConfigMap, report: &mut Report<'_>) -> Self {
        let mut reader = Reader { map, report };
        let mut config = Self::default();
        reader.boolean("ssl-redirect", &mut config.ssl_redirect);
        reader.boolean("force-ssl-redirect", &mut config.force_ssl_redirect);
        reader.boolean("preserve-trailing-slash", &mut config.preserve_trailing_slash);
        if let Some(value) = reader.get("no-tls-redirect-locations") {
            config.no_tls_redirect = list(value);
        }
        if let Some(value) = reader.get("annotation-value-word-blocklist") {
            config.blocked_words = list(value);
        }
        reader.value("annotations-risk-level", &mut config.risk_level, |value| match value {
            "Low" => Ok(Risk::Low),
            "Medium" => Ok(Risk::Medium),
            "High" => Ok(Risk::High),
            "Critical" => Ok(Risk::Critical),
            _ => Err(Invalid("`Low`, `Medium`, `High` or `Critical`")),
        });
        config.settings = reader.settings();
        if reader.get("global-auth-url").is_some_and(|value| !value.is_empty()) {
            let message = "is not supported yet; every Ingress answers 503 that has not \
                           `enable-global-auth: \"false\"`";
            reader.report.error("data.global-auth-url", message);
            config.global_auth = Some("global-auth-url".into());
        }
        config.denial = reader.others();
        config
    }
}

/// A ConfigMap while it is read.
struct Reader<'a, 'd> {
    map: &'a ConfigMap,
    report: &'a mut Report<'d>,
}

impl<'a> Reader<'a, '_> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.map.data.as_ref()?.get(key).map(|value| value.trim())
    }

    fn value<T>(&mut self, key: &str, place: &mut T, parse: fn(&str) -> Result<T, Invalid>) {
        match self.get(key).map(parse) {
            Some(Ok(value)) => *place = value,
            Some(Err(Invalid(expected))) => {
                let message = format!("is not {expected}; the default applies");
                self.report.error(format!("data.{key}"), message);
            }
            None => {}
        }
    }

    fn boolean(&mut self, key: &str, place: &mut bool) {
        self.value(key, place, boolean);
    }

    fn settings(&mut self) -> Settings {
        let mut settings = Settings::default();
        self.boolean("use-forwarded-headers", &mut settings.use_forwarded_headers);
        self.boolean("compute-full-forwarded-for", &mut settings.compute_full_forwarded_for);
        // To trust everyone where the operator trusts a few would let clients forge addresses.
        let trusted = self.get("proxy-real-ip-cidr").unwrap_or("0.0.0.0/0");
        let everyone = trusted.split(',').any(|range| matches!(range.trim(), "0.0.0.0/0" | "::/0"));
        if settings.use_forwarded_headers && !everyone {
            let message = "is not supported yet; X-Forwarded-* headers are trusted from no one";
            self.report.error("data.proxy-real-ip-cidr", message);
            settings.use_forwarded_headers = false;
        }
        self.value("http-redirect-code", &mut settings.redirect_code, |value| match value {
            "301" => Ok(RedirectCode::MovedPermanently),
            "302" => Ok(RedirectCode::Found),
            "307" => Ok(RedirectCode::TemporaryRedirect),
            "308" => Ok(RedirectCode::PermanentRedirect),
            _ => Err(Invalid("301, 302, 307 or 308")),
        });
        settings.hsts = self.hsts();
        self.boolean("use-proxy-protocol", &mut settings.proxy_protocol);
        let place = &mut settings.proxy_protocol_timeout;
        self.value("proxy-protocol-header-timeout", place, period);
        self.value("max-worker-connections", &mut settings.max_connections, number);
        let stream = &mut settings.stream;
        self.value("proxy-stream-timeout", &mut stream.timeout, period);
        self.boolean("proxy-stream-next-upstream", &mut stream.next_upstream);
        let place = &mut stream.next_upstream_timeout;
        self.value("proxy-stream-next-upstream-timeout", place, duration);
        let place = &mut stream.next_upstream_tries;
        self.value("proxy-stream-next-upstream-tries", place, number);
        self.value("proxy-stream-responses", &mut stream.responses, number);
        settings
    }

    fn hsts(&mut self) -> Option<String> {
        let (mut on, mut subdomains, mut preload) = (true, true, false);
        let mut max_age = 31_536_000_u64;
        self.boolean("hsts", &mut on);
        self.boolean("hsts-include-subdomains", &mut subdomains);
        self.boolean("hsts-preload", &mut preload);
        self.value("hsts-max-age", &mut max_age, |value| {
            value.parse().map_err(|_not_a_number| Invalid("a number of seconds"))
        });
        let mut value = format!("max-age={max_age}");
        if subdomains {
            value.push_str("; includeSubDomains");
        }
        if preload {
            value.push_str("; preload");
        }
        on.then_some(value)
    }

    /// Judges the keys that are not obeyed. Returns why everything answers 503.
    fn others(&mut self) -> Option<Denial> {
        let mut denial = None;
        for (key, value) in self.map.data.iter().flatten() {
            if OBEYED.contains(&&**key) {
                continue;
            }
            let field = format!("data.{key}");
            match OTHERS.iter().find(|(known, _)| known == key).map(|(_, other)| other) {
                Some(Other::Met) => {}
                Some(Other::NoEffect) => self.report.warning(field, "has no effect yet"),
                Some(Other::Denies) if matches!(value.trim(), "" | "false") => {}
                Some(Other::Denies) => {
                    self.report.error(field, "is not supported yet; everything answers 503");
                    denial.get_or_insert_with(|| Denial { key: Arc::from(&**key) });
                }
                None => {
                    let known =
                        OTHERS.iter().map(|(known, _)| *known).chain(OBEYED.iter().copied());
                    let question = suggestion::question(key, known);
                    self.report.warning(field, format!("is not known and has no effect{question}"));
                }
            }
        }
        denial
    }
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, Invalid> {
    value.parse().map_err(|_not_a_number| Invalid("a number, 0 or more"))
}

/// A duration that is not zero: nothing waits without end or not at all.
fn period(value: &str) -> Result<Duration, Invalid> {
    duration(value)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or(Invalid("a time above zero like `600s`, `10m` or `500ms`"))
}

/// As nginx writes times: a number and `ms`, `s`, `m`, `h` or `d`; seconds without.
fn duration(value: &str) -> Result<Duration, Invalid> {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = value.split_at(digits);
    let millis = match unit {
        "ms" => Some(1),
        "" | "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let number = digits.parse::<u32>().ok();
    number
        .zip(millis)
        .map(|(number, millis)| Duration::from_millis(u64::from(number) * millis))
        .ok_or(Invalid("a time like `600s`, `10m` or `500ms`"))
}

/// A comma list without its empty items.
fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}
