//! The flags about metrics. Names and meaning are ingress-nginx's (reference sections 9.2 and 10).

use clap::Args;

use super::validate::Faults;

/// The prefix of ingress-nginx's series, which `--exclude-socket-metrics` may leave out.
const PREFIX: &str = "nginx_ingress_controller_";
/// More buckets than anybody needs; each is memory for each series.
const MOST_BUCKETS: usize = 64;

/// The flags as text.
#[derive(Args, Clone, Debug)]
pub struct MetricsFlags {
    /// Count the requests of each Ingress.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub enable_metrics: String,
    /// The metrics of requests have the label `host`.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub metrics_per_host: String,
    /// With --metrics-per-host: count also requests for hosts that no Ingress defines literally, as
    /// `*.example.com` where a wildcard matched and as `_` elsewhere.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    pub metrics_per_undefined_host: String,
    /// The label `status` is `2xx`, `3xx` and so on.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    pub report_status_classes: String,
    /// Upper bounds of the buckets of durations, in seconds.
    #[arg(
        long,
        value_name = "SECONDS,…",
        default_value = "0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,2.5,5,10"
    )]
    pub time_buckets: String,
    /// Upper bounds of the buckets of request_size and response_size, in bytes.
    #[arg(long, value_name = "BYTES,…", default_value = "10,20,30,40,50,60,70,80,90,100")]
    pub length_buckets: String,
    /// Upper bounds of the buckets of bytes_sent, in bytes.
    #[arg(
        long,
        value_name = "BYTES,…",
        default_value = "10,100,1000,10000,100000,1000000,10000000"
    )]
    pub size_buckets: String,
    /// Metrics of requests, comma-separated, that are neither gathered nor shown, as
    /// `nginx_ingress_controller_header_duration_seconds`.
    #[arg(long, value_name = "NAME,…")]
    pub exclude_socket_metrics: Option<String>,
}

/// What is counted of requests; checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// `--enable-metrics`.
    pub enabled: bool,
    /// `--metrics-per-host`.
    pub per_host: bool,
    /// `--metrics-per-undefined-host`.
    pub per_undefined_host: bool,
    /// `--report-status-classes`.
    pub status_classes: bool,
    /// `--time-buckets`: seconds, ascending.
    pub time_buckets: Box<[f64]>,
    /// `--length-buckets`: bytes, ascending.
    pub length_buckets: Box<[f64]>,
    /// `--size-buckets`: bytes, ascending.
    pub size_buckets: Box<[f64]>,
    /// `--exclude-socket-metrics`, without ingress-nginx's prefix.
    pub excluded: Box<[String]>,
}

/// What `--exclude-socket-metrics` can name.
pub(crate) const OF_REQUESTS: [&str; 8] = [
    "requests",
    "request_duration_seconds",
    "response_duration_seconds",
    "header_duration_seconds",
    "connect_duration_seconds",
    "request_size",
    "response_size",
    "bytes_sent",
];

impl Default for Metrics {
    /// What the flags say by default.
    fn default() -> Self {
        Self {
            enabled: true,
            per_host: true,
            per_undefined_host: false,
            status_classes: false,
            time_buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0].into(),
            length_buckets: (1..=10).map(|tens| f64::from(tens * 10)).collect(),
            size_buckets: (1..=7).map(|power| 10_f64.powi(power)).collect(),
            excluded: Box::default(),
        }
    }
}

impl MetricsFlags {
    pub(super) fn metrics(&self, faults: &mut Faults) -> Metrics {
        Metrics {
            enabled: faults.boolean("--enable-metrics", &self.enable_metrics),
            per_host: faults.boolean("--metrics-per-host", &self.metrics_per_host),
            per_undefined_host: faults
                .boolean("--metrics-per-undefined-host", &self.metrics_per_undefined_host),
            status_classes: faults.boolean("--report-status-classes", &self.report_status_classes),
            time_buckets: buckets(faults, "--time-buckets", &self.time_buckets),
            length_buckets: buckets(faults, "--length-buckets", &self.length_buckets),
            size_buckets: buckets(faults, "--size-buckets", &self.size_buckets),
            excluded: self.excluded(faults),
        }
    }

    fn excluded(&self, faults: &mut Faults) -> Box<[String]> {
        let given = self.exclude_socket_metrics.as_deref().unwrap_or_default();
        let names = given.split(',').map(str::trim).filter(|name| !name.is_empty());
        let mut excluded = Vec::new();
        for name in names {
            let own = name.strip_prefix(PREFIX).unwrap_or(name);
            if OF_REQUESTS.contains(&own) {
                excluded.push(own.to_owned());
            } else {
                let allowed = format!("a list of {}", OF_REQUESTS.join(", "));
                faults.add("--exclude-socket-metrics", name, &allowed);
            }
        }
        excluded.into()
    }
}

fn buckets(faults: &mut Faults, flag: &str, text: &str) -> Box<[f64]> {
    let bounds: Result<Vec<f64>, _> = text.split(',').map(|bound| bound.trim().parse()).collect();
    let ascend = |bounds: &[f64]| bounds.is_sorted_by(|one, next| one < next);
    match bounds {
        Ok(bounds)
            if bounds.len() <= MOST_BUCKETS
                && bounds.iter().all(|bound| bound.is_finite() && *bound > 0.0)
                && ascend(&bounds) =>
        {
            bounds.into()
        }
        _ => {
            faults.add(flag, text, "ascending numbers above 0, comma-separated, 64 at most");
            Box::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_ascend_or_are_a_fault() {
        let mut faults = Faults::default();
        assert_eq!(*buckets(&mut faults, "--time-buckets", "0.1, 1,10"), [0.1, 1.0, 10.0]);
        assert!(faults.is_empty());
        for text in ["", "1,1", "2,1", "0,1", "-1", "NaN", "inf", "1,,2", "a"] {
            let mut faults = Faults::default();
            buckets(&mut faults, "--time-buckets", text);
            assert!(!faults.is_empty(), "{text:?}");
        }
    }
}
