//! The figures as a table, on the terminal and as a page.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use anyhow::{Context, Result};

/// What was measured with so many Ingresses.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) ingresses: usize,
    /// From the start of the process to the last route, and its processor time until then.
    pub(super) live: Duration,
    pub(super) live_processor: Duration,
    /// Megabytes: then, a fifth into the churn, and at its end.
    pub(super) resident: [u64; 3],
    /// From the API server's answer to the first request: idle and in churn; sorted.
    pub(super) idle: Vec<Duration>,
    pub(super) busy: Vec<Duration>,
    /// Dry runs without and with the webhook; sorted.
    pub(super) dry_runs: [Vec<Duration>; 2],
    pub(super) churn: Duration,
    pub(super) changes: usize,
    /// Of the process in the churn, all it did included.
    pub(super) churn_processor: Duration,
    pub(super) requests: usize,
    pub(super) errors: usize,
}

/// What is said about a figure: its name, how it is read, the highest that will do at 10 000
/// Ingresses.
type Row = (&'static str, fn(&Figures) -> f64, Option<f64>);

const ROWS: &[Row] = &[
    ("start to last route live, s", |one| one.live.as_secs_f64(), Some(3.0)),
    ("processor time of it, s", |one| one.live_processor.as_secs_f64(), None),
    ("memory then, MB", |one| one.resident[0] as f64, Some(150.0)),
    ("memory a fifth into the churn, MB", |one| one.resident[1] as f64, None),
    ("memory at the end of the churn, MB", |one| one.resident[2] as f64, Some(150.0)),
    ("event to request, idle, median, ms", |one| percentile(&one.idle, 50), None),
    ("event to request, idle, p99, ms", |one| percentile(&one.idle, 99), Some(20.0)),
    ("event to request, in churn, median, ms", |one| percentile(&one.busy, 50), None),
    ("event to request, in churn, p99, ms", |one| percentile(&one.busy, 99), Some(100.0)),
    ("churn, s", |one| one.churn.as_secs_f64(), None),
    ("changes a second in it", |one| one.changes as f64 / one.churn.as_secs_f64(), None),
    (
        "processor time per change, ms",
        |one| one.churn_processor.as_secs_f64() * 1e3 / one.changes as f64,
        None,
    ),
    ("dry run without webhook, median, ms", |one| percentile(&one.dry_runs[0], 50), None),
    ("dry run with webhook, median, ms", |one| percentile(&one.dry_runs[1], 50), None),
    ("dry run with webhook, p99, ms", |one| percentile(&one.dry_runs[1], 99), Some(100.0)),
    ("requests all the while", |one| one.requests as f64, None),
    ("not answered with 200", |one| one.errors as f64, Some(0.0)),
];

/// Milliseconds.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default().as_secs_f64() * 1e3
}

/// The bars are for this many.
const JUDGED: usize = 10_000;

/// A table in Markdown.
pub(super) fn table(all: &[Figures]) -> String {
    let mut text = String::from("| Ingresses |");
    for one in all {
        let _infallible = write!(text, " {} |", one.ingresses);
    }
    text.push_str(" bar | |\n|---|");
    text.push_str(&"---|".repeat(all.len() + 2));
    text.push('\n');
    for (name, figure, bar) in ROWS {
        let _infallible = write!(text, "| {name} |");
        for one in all {
            let value = figure(one);
            let digits = if value < 10.0 && value.fract() != 0.0 { 2 } else { 0 };
            let _infallible = write!(text, " {value:.digits$} |");
        }
        let judged = all.iter().find(|one| one.ingresses == JUDGED);
        let (bar, verdict) = match (bar, judged) {
            (None, _) => (String::new(), ""),
            (Some(bar), None) => (bar.to_string(), ""),
            (Some(bar), Some(one)) if figure(one) <= *bar => (bar.to_string(), "reached"),
            (Some(bar), Some(_)) => (bar.to_string(), "missed"),
        };
        let _infallible = writeln!(text, " {bar} | {verdict} |");
    }
    text
}

/// The page of these figures.
pub(super) fn write(page: &Path, all: &[Figures], machine: &str) -> Result<()> {
    let text = format!(
        "# Benchmarks of the control path\n\n\
         Written by `cargo xtask bench control --write`: the agent (profile `count`, one worker) beside \
         Kubernetes' own API server on one machine. Each Ingress has five paths, a Service and an \
         EndpointSlice of two endpoints, every tenth a certificate of its own. An event is an Ingress \
         that is new: its time is from the API server's answer to the first request that it serves. In \
         the churn a tenth of the changes are of Ingresses, the others of EndpointSlices. A dry run is \
         a `PUT` of a changed Ingress with `dryRun=All`, from the request to the API server's answer. \
         The bars are for 10 000.\n\n{machine}\n\n{}",
        table(all)
    );
    fs::write(page, text).with_context(|| format!("writing {}", page.display()))
}
