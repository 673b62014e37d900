mod access;
mod access_log;
mod compression;
mod connections;
mod external_auth;
mod fields;
mod firewall;
mod limits;
mod listen;
mod others;
mod snippets;
mod streams;
mod tracing;

pub(super) use fields::{OURS, is_ours, is_token};

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;

pub(super) use self::compression::types as media_types;
pub(super) use self::firewall::SharedFirewall;
pub(super) use self::limits::LimitKeys;
pub(super) use self::snippets::SharedSnippets;
use super::{
    annotations::{
        Invalid, Risk, Source, boolean, culprit, error_statuses, load_balance, read_proxying,
    },
    external_auth::ExternalRequest,
    report::Report,
    suite, ticket,
};
use crate::{
    firewall::Library,
    model::{
        AddressRange, Conditions, Denial, Group, LogLevel, Policies, Policy, Proxying,
        RedirectCode, Settings, Sources, TicketKey, TlsSettings,
    },
    stores::Store,
};

/// The controller's ConfigMap (reference section 9.1): what the agent obeys and what the
/// translation of Ingresses depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) settings: Settings,
    pub(super) ssl_redirect: bool,
    pub(super) force_ssl_redirect: bool,
    pub(super) preserve_trailing_slash: bool,
    pub(super) use_port_in_redirects: bool,
    pub(super) relative_redirects: bool,
    /// Ingress paths that begin with one of these are never redirected to HTTPS.
    pub(super) no_tls_redirect: Vec<String>,
    /// Ingress paths that begin with one of these ask for no authentication.
    pub(super) no_auth_locations: Vec<String>,
    /// How the requests of every Ingress are forwarded that says nothing else.
    pub(super) proxying: Arc<Proxying>,
    /// `retry-non-idempotent`: adds to what every Ingress says.
    pub(super) retry_non_idempotent: bool,
    /// `proxy-ssl-location-only`: TLS to endpoints is not shared by the Ingresses of a host.
    pub(super) upstream_tls_per_ingress: bool,
    /// `whitelist-source-range` and `denylist-source-range`, for Ingresses without their own.
    pub(super) sources: Sources,
    /// `custom-http-errors`, for Ingresses without their own.
    pub(super) error_statuses: Arc<[u16]>,
    /// `disable-proxy-intercept-errors`: of those, only answers of the proxy's own are replaced.
    pub(super) own_errors_only: bool,
    /// `global-allowed-response-headers`: what `custom-headers` may set.
    pub(super) allowed_response_headers: Vec<String>,
    /// What all limits of requests share.
    pub(super) limits: LimitKeys,
    /// `block-cidrs`: who may ask for nothing where no list says who may.
    pub(super) blocked: Box<[AddressRange]>,
    /// `allow-cross-namespace-resources`: annotations may name what is in other namespaces.
    pub(super) cross_namespace: bool,
    pub(super) risk_level: Risk,
    pub(super) blocked_words: Vec<String>,
    /// What snippets may do, and the operator's own.
    pub(super) snippets: SharedSnippets,
    /// The firewall, for all and for each.
    pub(super) firewall: SharedFirewall,
    /// `load-balance`, for backends whose Ingress has no annotation of that name.
    pub(super) load_balance: Policy,
    /// `service-upstream`, likewise.
    pub(super) service_upstream: bool,
    /// Everything answers 503.
    pub(super) denial: Option<Denial>,
    /// `global-auth-url` and what goes with it, for Ingresses without their own.
    pub(super) global_auth: Option<ExternalRequest>,
    /// What of it cannot be obeyed: every Ingress answers 503 that would be protected by it.
    pub(super) global_auth_denial: Option<Arc<str>>,
    /// `ssl-session-tickets`, if it is there.
    pub(super) tickets: Option<bool>,
    /// `ssl-session-ticket-key`.
    pub(super) ticket_keys: Vec<TicketKey>,
}

/// Where certificate authorities look for what proves that a host is somebody's.
const ACME: &str = "/.well-known/acme-challenge";

impl Default for Config {
    /// ingress-nginx's defaults.
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            ssl_redirect: true,
            force_ssl_redirect: false,
            preserve_trailing_slash: false,
            use_port_in_redirects: false,
            relative_redirects: false,
            no_tls_redirect: vec![ACME.to_owned()],
            no_auth_locations: vec![ACME.to_owned()],
            proxying: Arc::default(),
            retry_non_idempotent: false,
            upstream_tls_per_ingress: false,
            sources: Sources::default(),
            error_statuses: Arc::default(),
            own_errors_only: false,
            allowed_response_headers: Vec::new(),
            limits: LimitKeys::default(),
            blocked: Box::default(),
            cross_namespace: false,
            risk_level: Risk::High,
            blocked_words: Vec::new(),
            snippets: SharedSnippets::default(),
            firewall: SharedFirewall::default(),
            load_balance: Policy::RoundRobin,
            service_upstream: false,
            denial: None,
            global_auth: None,
            global_auth_denial: None,
            tickets: None,
            ticket_keys: Vec::new(),
        }
    }
}

/// The keys that `Config` has fields for.
const OBEYED: &[&str] = &[
    "enable-modsecurity",
    "enable-owasp-modsecurity-crs",
    "modsecurity-snippet",
    "allow-snippet-annotations",
    "serve-without-snippets",
    "http-snippet",
    "server-snippet",
    "location-snippet",
    "global-auth-snippet",
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
    "use-port-in-redirects",
    "relative-redirects",
    "disable-proxy-intercept-errors",
    "http-redirect-code",
    "hsts",
    "hsts-max-age",
    "hsts-include-subdomains",
    "hsts-preload",
    "ssl-protocols",
    "ssl-ciphers",
    "ssl-prefer-server-ciphers",
    "ssl-session-cache",
    "ssl-session-cache-size",
    "ssl-session-timeout",
    "ssl-session-tickets",
    "ssl-session-ticket-key",
    "ssl-reject-handshake",
    "ssl-ecdh-curve",
    "bind-address",
    "disable-ipv6",
    "disable-ipv6-dns",
    "worker-shutdown-timeout",
    // Paths are checked anyway, whatever it says.
    "strict-validate-path-type",
    "no-tls-redirect-locations",
    "no-auth-locations",
    "annotations-risk-level",
    "whitelist-source-range",
    "denylist-source-range",
    "block-cidrs",
    "block-user-agents",
    "block-referers",
    "allow-cross-namespace-resources",
    "annotation-value-word-blocklist",
    "global-auth-url",
    "global-auth-method",
    "global-auth-signin",
    "global-auth-signin-redirect-param",
    "global-auth-response-headers",
    "global-auth-request-redirect",
    "global-auth-cache-key",
    "global-auth-cache-duration",
    "global-auth-always-set-cookie",
    "load-balance",
    "service-upstream",
    "server-tokens",
    "use-http2",
    "generate-request-id",
    "forwarded-for-header",
    "enable-real-ip",
    "add-headers",
    "proxy-set-headers",
    "hide-headers",
    "use-gzip",
    "gzip-level",
    "gzip-min-length",
    "gzip-types",
    "enable-brotli",
    "brotli-level",
    "brotli-min-length",
    "brotli-types",
    "custom-http-errors",
    "global-allowed-response-headers",
    "enable-underscores-in-headers",
    "ignore-invalid-headers",
    "client-header-timeout",
    "client-body-timeout",
    "client-body-buffer-size",
    "large-client-header-buffers",
    "keep-alive",
    "keep-alive-requests",
    "upstream-keepalive-connections",
    "upstream-keepalive-timeout",
    "upstream-keepalive-requests",
    "upstream-keepalive-time",
    "http2-max-concurrent-streams",
    "retry-non-idempotent",
    "proxy-connect-timeout",
    "proxy-send-timeout",
    "proxy-read-timeout",
    "proxy-body-size",
    "proxy-buffering",
    "proxy-request-buffering",
    "limit-req-status-code",
    "limit-conn-status-code",
    "limit-conn-zone-variable",
    "limit-rate",
    "limit-rate-after",
    "proxy-http-version",
    "proxy-next-upstream",
    "proxy-next-upstream-timeout",
    "proxy-next-upstream-tries",
    "proxy-cookie-domain",
    "proxy-cookie-path",
    "proxy-redirect-from",
    "proxy-redirect-to",
    "proxy-ssl-location-only",
    "proxy-add-original-uri-header",
    "log-format-upstream",
    "log-format-stream",
    "stream-access-log-path",
    "disable-stream-access-log",
    "log-format-escape-json",
    "disable-access-log",
    "disable-http-access-log",
    "access-log-path",
    "http-access-log-path",
    "skip-access-log-urls",
    "enable-syslog",
    "syslog-host",
    "syslog-port",
    "error-log-level",
    "enable-opentelemetry",
    "opentelemetry-operation-name",
    "opentelemetry-location-operation-name",
    "opentelemetry-trust-incoming-span",
    "otlp-collector-host",
    "otlp-collector-port",
    "otlp-protocol",
    "otel-propagators",
    "otel-max-queuesize",
    "otel-schedule-delay-millis",
    "otel-max-export-batch-size",
    "otel-service-name",
    "otel-sampler",
    "otel-sampler-ratio",
    "otel-sampler-parent-based",
];

impl Config {
    /// What the ConfigMap says. Values of a wrong type keep their default.
    pub(super) fn parse(
        map: &ConfigMap,
        maps: &Store<ConfigMap>,
        library: &Library,
        report: &mut Report<'_>,
    ) -> Self {
        let mut reader = Reader { map, maps, report };
        let mut config = Self::default();
        reader.boolean("ssl-redirect", &mut config.ssl_redirect);
        reader.boolean("force-ssl-redirect", &mut config.force_ssl_redirect);
        reader.boolean("preserve-trailing-slash", &mut config.preserve_trailing_slash);
        reader.boolean("use-port-in-redirects", &mut config.use_port_in_redirects);
        reader.boolean("relative-redirects", &mut config.relative_redirects);
        reader.boolean("disable-proxy-intercept-errors", &mut config.own_errors_only);
        reader.boolean("allow-cross-namespace-resources", &mut config.cross_namespace);
        reader.value("load-balance", &mut config.load_balance, load_balance);
        reader.boolean("service-upstream", &mut config.service_upstream);
        if let Some(value) = reader.get("no-tls-redirect-locations") {
            config.no_tls_redirect = list(value);
        }
        if reader.get("custom-http-errors").is_some_and(|value| !value.is_empty()) {
            reader.value("custom-http-errors", &mut config.error_statuses, error_statuses);
        }
        if let Some(value) = reader.get("global-allowed-response-headers") {
            config.allowed_response_headers = list(value);
        }
        if let Some(value) = reader.get("no-auth-locations") {
            config.no_auth_locations = list(value);
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
        config.limits = reader.limits();
        config.settings = reader.settings();
        reader.external_auth(&mut config);
        let mut proxying = Proxying::default();
        read_proxying(&mut reader, &mut proxying);
        reader.boolean("retry-non-idempotent", &mut config.retry_non_idempotent);
        if config.retry_non_idempotent {
            let conditions = &mut proxying.retry.conditions;
            *conditions = conditions.with(Conditions::NON_IDEMPOTENT);
        }
        config.proxying = Arc::new(proxying);
        reader.boolean("proxy-ssl-location-only", &mut config.upstream_tls_per_ingress);
        config.tickets = reader.get("ssl-session-tickets").and_then(|value| boolean(value).ok());
        reader.value("ssl-session-ticket-key", &mut config.ticket_keys, |value| {
            ticket::of_text(value).ok_or(Invalid("48 or 80 bytes in Base64"))
        });
        reader.others();
        reader.listen(&mut config);
        reader.sources(&mut config);
        reader.blocked(&mut config);
        reader.snippets(&mut config);
        reader.firewall(library, &mut config);
        config
    }

    /// What requests that belong to no Ingress go through.
    pub(super) fn blocked_policies(&self) -> Option<Arc<Policies>> {
        let denied = self.blocked.clone();
        let sources = (!denied.is_empty()).then(|| Sources { denied, ..Sources::default() });
        let firewall = self.firewall.own.clone();
        let policies = Policies { sources, firewall, ..Policies::default() };
        (policies != Policies::default()).then(|| Arc::new(policies))
    }
}

/// A ConfigMap while it is read.
struct Reader<'a, 'd> {
    map: &'a ConfigMap,
    /// All there are, for those that it names.
    maps: &'a Store<ConfigMap>,
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
                let wrong = culprit(self.get(key).unwrap_or_default(), expected, parse);
                let message = format!("is not {expected}{wrong}; the default applies");
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
        self.value("http-redirect-code", &mut settings.redirect_code, |value| match value {
            "301" => Ok(RedirectCode::MovedPermanently),
            "302" => Ok(RedirectCode::Found),
            "307" => Ok(RedirectCode::TemporaryRedirect),
            "308" => Ok(RedirectCode::PermanentRedirect),
            _ => Err(Invalid("301, 302, 307 or 308")),
        });
        settings.hsts = self.hsts();
        self.arrivals(&mut settings);
        settings.stream = self.streams();
        settings.client = self.client();
        settings.pool = self.pool();
        settings.fields = self.fields();
        settings.compression = self.compression();
        settings.address = self.address();
        settings.tls = self.tls();
        (settings.access_log, settings.stream_log) = self.access_logs();
        settings.tracing = self.tracing();
        self.value("error-log-level", &mut settings.log_level, |value| {
            let levels = "`debug`, `info`, `notice`, `warn`, `error`, `crit`, `alert` or `emerg`";
            LogLevel::named(value).map(Some).ok_or(Invalid(levels))
        });
        settings
    }

    fn tls(&mut self) -> TlsSettings {
        let mut tls = TlsSettings::default();
        self.protocols(&mut tls);
        if let Some(list) = self.get("ssl-ciphers").filter(|list| !list.is_empty()) {
            let list = suite::parse(list);
            let field = "data.ssl-ciphers".to_owned();
            if let Some(suites) = suite::report(list, field, "the default applies", self.report) {
                tls.suites = suites;
            }
        }
        self.groups(&mut tls);
        self.boolean("ssl-prefer-server-ciphers", &mut tls.prefer_own_suites);
        self.value("ssl-session-cache-size", &mut tls.sessions, |value| {
            // nginx keeps about 4000 sessions in a megabyte.
            const BYTES_EACH: u64 = 256;
            let (number, unit) = with_unit(value).ok_or(SIZE)?;
            let factor = match unit {
                "" => 1,
                "k" | "K" => 1 << 10,
                "m" | "M" => 1 << 20,
                _ => return Err(SIZE),
            };
            let bytes = number.checked_mul(factor).ok_or(SIZE)?;
            usize::try_from(bytes / BYTES_EACH).map_err(|_too_large| SIZE)
        });
        let mut cache = true;
        self.boolean("ssl-session-cache", &mut cache);
        if !cache {
            tls.sessions = 0;
        }
        self.value("ssl-session-timeout", &mut tls.session_timeout, |value| {
            let (number, unit) = with_unit(value).ok_or(TIME)?;
            let factor = match unit {
                "" | "s" => 1,
                "m" => 60,
                "h" => 3600,
                "d" => 86_400,
                _ => return Err(TIME),
            };
            let seconds = number.checked_mul(factor).ok_or(TIME)?;
            // RFC 8446, section 4.6.1: no ticket lives longer than a week.
            if (1..=604_800).contains(&seconds) {
                Ok(Duration::from_secs(seconds))
            } else {
                Err(TIME)
            }
        });
        self.boolean("ssl-session-tickets", &mut tls.tickets);
        self.boolean("ssl-reject-handshake", &mut tls.reject_unknown_names);
        tls
    }

    fn protocols(&mut self, tls: &mut TlsSettings) {
        let Some(list) = self.get("ssl-protocols").filter(|list| !list.is_empty()) else { return };
        let lists = |version: &str| list.split_ascii_whitespace().any(|own| own == version);
        let (tls12, tls13) = (lists("TLSv1.2"), lists("TLSv1.3"));
        let others: Vec<_> = list
            .split_ascii_whitespace()
            .filter(|own| !["TLSv1.2", "TLSv1.3"].contains(own))
            .collect();
        if !others.is_empty() {
            let message =
                format!("{} are not offered: only TLSv1.2 and TLSv1.3 are", others.join(", "));
            self.report.warning("data.ssl-protocols", message);
        }
        if tls12 || tls13 {
            (tls.tls12, tls.tls13) = (tls12, tls13);
        } else {
            let message = "has neither TLSv1.2 nor TLSv1.3; the default applies, which is both";
            self.report.error("data.ssl-protocols", message);
        }
    }

    /// `ssl-ecdh-curve`, by OpenSSL's names.
    fn groups(&mut self, tls: &mut TlsSettings) {
        let Some(list) = self.get("ssl-ecdh-curve") else { return };
        if matches!(list, "" | "auto") {
            return;
        }
        let (mut groups, mut others) = (Vec::new(), Vec::new());
        for name in list.split(':').map(str::trim).filter(|name| !name.is_empty()) {
            match Group::named(name) {
                Some(group) if groups.contains(&group) => {}
                Some(group) => groups.push(group),
                None => others.push(name),
            }
        }
        const OFFERED: &str = "`X25519MLKEM768`, `X25519`, `prime256v1` and `secp384r1` are";
        if groups.is_empty() {
            let message = format!("has none that is offered ({OFFERED}); the default applies");
            self.report.error("data.ssl-ecdh-curve", message);
        } else {
            if !others.is_empty() {
                let message = format!("{} are not offered ({OFFERED})", others.join(", "));
                self.report.warning("data.ssl-ecdh-curve", message);
            }
            tls.groups = groups;
        }
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
}

impl Source for Reader<'_, '_> {
    fn take<T>(&mut self, key: &str, place: &mut T, parse: fn(&str) -> Result<T, Invalid>) {
        self.value(key, place, parse);
    }

    fn insist<T>(&mut self, key: &str, place: &mut T, parse: fn(&str) -> Result<T, Invalid>) {
        self.value(key, place, parse);
    }

    fn complain(&mut self, key: &str, message: &str) {
        self.report.error(format!("data.{key}"), message);
    }
}

const SIZE: Invalid = Invalid("a size such as 10m or 512k");
const TIME: Invalid = Invalid("a time between 1s and 7d, such as 10m");

/// `10m` as 10 and `m`.
fn with_unit(value: &str) -> Option<(u64, &str)> {
    let end = value.find(|character: char| !character.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at_checked(end)?;
    Some((number.parse().ok()?, unit))
}

/// A comma list without its empty items.
fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}
