//! Our own log: how lines look, which are written, and that the same one is not written again and
//! again. Which levels apply can be changed while the agent runs.

mod levels;
mod repeats;

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{
    Layer as _, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

pub use self::levels::{LevelError, Levels};
use self::{levels::filter, repeats::Repeats};
use crate::config::LogFormat;

/// The target of what the firewall tells of requests. Each line counts, so whoever writes them bounds
/// how many there are.
pub(crate) const AUDIT: &str = "penstock::audit";
/// The target of what is told about objects, which is told once of each.
pub(crate) const DIAGNOSTICS: &str = "penstock::diagnostics";

/// Writes the log of this process to standard error from now on. Call it once.
#[must_use]
pub fn start(format: LogFormat) -> Levels {
    let (base, wrong) = levels::of_environment();
    let (layer, handle) = reload::Layer::new(filter(&base).unwrap_or_default());
    let repeats = Repeats::default();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let lines = match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(layer).with(repeats.clone()).with(lines).init();
    if let Some(wrong) = wrong {
        tracing::warn!("RUST_LOG {wrong}; it is taken for `info`");
    }
    let set = move |filter| handle.reload(filter).is_ok();
    Levels::new(base, repeats, Box::new(set))
}
