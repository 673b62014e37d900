//! ingress-nginx's flags that Penstock accepts so that people's arguments keep working, and what to
//! tell about each.

/// Whether a flag takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `--flag` or `--flag=true`.
    Bool,
    /// `--flag=value` or `--flag value`.
    Value,
}

use Shape::{Bool, Value};

/// Reference section 9.2, and the flags of its logging library.
pub(super) const FLAGS: &[(&str, Shape)] = &[
    ("alsologtostderr", Bool),
    ("deep-inspect", Bool),
    ("default-server-port", Value),
    ("disable-full-test", Bool),
    ("dynamic-configuration-retries", Value),
    ("enable-annotation-validation", Bool),
    ("enable-ssl-chain-completion", Bool),
    ("enable-topology-aware-routing", Bool),
    ("healthz-check-timeout", Value),
    ("internal-logger-address", Value),
    ("log_backtrace_at", Value),
    ("log_dir", Value),
    ("log_file", Value),
    ("logtostderr", Bool),
    ("maxmind-edition-ids", Value),
    ("maxmind-license-key", Value),
    ("maxmind-mirror", Value),
    ("maxmind-retries-count", Value),
    ("maxmind-retries-timeout", Value),
    ("monitor-max-batch-size", Value),
    ("post-shutdown-grace-period", Value),
    ("profiler-address", Value),
    ("profiler-port", Value),
    ("profiling", Bool),
    ("shutdown-grace-period-on-reload", Value),
    ("skip_headers", Bool),
    ("ssl-passthrough-proxy-port", Value),
    ("status-port", Value),
    ("stderrthreshold", Value),
    ("stream-port", Value),
    ("sync-period", Value),
    ("sync-rate-limit", Value),
    ("v", Value),
    ("vmodule", Value),
];

/// What to tell about a flag that was given.
pub(super) fn warning(name: &str) -> String {
    let why = match name {
        "ssl-passthrough-proxy-port" => {
            "connections that are not passed through are served where they came in"
        }
        "v" | "vmodule" | "alsologtostderr" | "logtostderr" | "log_dir" | "log_file"
        | "log_backtrace_at" | "skip_headers" | "stderrthreshold" => {
            "logging is set by the variable RUST_LOG and by --log-format"
        }
        "default-server-port" | "status-port" | "stream-port" | "internal-logger-address" => {
            "nothing inside the process is asked over a port"
        }
        "profiler-address" | "profiler-port" | "profiling" => "there is no profile to be had",
        "sync-period" | "sync-rate-limit" => "changes are applied when they come",
        "dynamic-configuration-retries" | "shutdown-grace-period-on-reload" => {
            "nothing is ever reloaded"
        }
        "post-shutdown-grace-period" => "the process ends when its last request has",
        "deep-inspect" | "enable-annotation-validation" | "disable-full-test" => {
            "values become typed values or are refused, always"
        }
        "enable-ssl-chain-completion" => "chains are presented as their Secrets have them",
        "enable-topology-aware-routing" => "all endpoints of a Service are asked alike",
        "monitor-max-batch-size" => "no request's metrics are ever dropped",
        "maxmind-edition-ids"
        | "maxmind-license-key"
        | "maxmind-mirror"
        | "maxmind-retries-count"
        | "maxmind-retries-timeout" => "there is no database of places",
        _ => "it has no meaning here",
    };
    format!("--{name} is accepted and does nothing: {why}")
}
