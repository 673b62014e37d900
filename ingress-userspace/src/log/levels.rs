//! Which lines are written: what the process was started with, what the ConfigMap says, and what
//! somebody said through the admin socket; the last of these that says something counts.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tracing_subscriber::EnvFilter;

use super::repeats::Repeats;
use crate::model::LogLevel;

/// Without any other word.
const DEFAULT: &str = "info";
/// What a list of directives may have. Bytes.
const LONGEST: usize = 1024;
/// The targets of our own lines.
const OWN: [&str; 2] = ["ingress_userspace", "penstock"];

/// Changes which lines of this process's log are written.
#[derive(Clone)]
pub struct Levels(Arc<Inner>);

struct Inner {
    /// What the process was started with.
    base: String,
    said: Mutex<Said>,
    repeats: Repeats,
    set: Box<dyn Fn(EnvFilter) -> bool + Send + Sync>,
}

#[derive(Debug, Default)]
struct Said {
    /// By the ConfigMap's `error-log-level`.
    configured: Option<LogLevel>,
    /// By somebody on this machine.
    told: Option<String>,
}

/// Why levels were not set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// The text means nothing.
    #[error(
        "is {0:?}, which is no level (off, error, warn, info, debug, trace) and no list of target=level"
    )]
    Meaningless(String),
    /// The process has ended its log.
    #[error("cannot be set any more")]
    Ended,
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Levels").field(&self.current()).finish()
    }
}

impl Levels {
    pub(super) fn new(
        base: String,
        repeats: Repeats,
        set: Box<dyn Fn(EnvFilter) -> bool + Send + Sync>,
    ) -> Self {
        Self(Arc::new(Inner { base, said: Mutex::default(), repeats, set }))
    }

    /// What applies now, as it was said.
    #[must_use]
    pub fn current(&self) -> String {
        self.0.effective(&self.0.said.lock().unwrap_or_else(PoisonError::into_inner)).to_owned()
    }

    /// From now on this applies, whatever else says something else; `None`: no more.
    ///
    /// # Errors
    /// The text means nothing; what applied before still does.
    pub fn tell(&self, text: Option<&str>) -> Result<(), LevelError> {
        if let Some(text) = text {
            filter(text)?;
        }
        let before = self.current();
        self.change(|said| said.told = text.map(str::to_owned))?;
        tracing::warn!(level = self.current(), before, "log level changed by the admin socket");
        Ok(())
    }

    /// What the ConfigMap says now.
    pub(crate) fn configure(&self, level: Option<LogLevel>) {
        let same = |said: &Said| said.configured == level;
        if same(&self.0.said.lock().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        if let Err(error) = self.change(|said| said.configured = level) {
            tracing::warn!("error-log-level {error}");
        }
    }

    /// Tells how often what was not written again would have been. To be called once in a while.
    pub(crate) fn summarize(&self) {
        self.0.repeats.summarize();
    }

    fn change(&self, change: impl FnOnce(&mut Said)) -> Result<(), LevelError> {
        let mut said = self.0.said.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut said);
        let filter = filter(self.0.effective(&said))?;
        if (self.0.set)(filter) { Ok(()) } else { Err(LevelError::Ended) }
    }
}

impl Inner {
    fn effective<'s>(&'s self, said: &'s Said) -> &'s str {
        match (&said.told, said.configured) {
            (Some(told), _) => told,
            (None, Some(level)) => level.name(),
            (None, None) => &self.base,
        }
    }
}

/// The variable `RUST_LOG`, and what is wrong with it.
pub(super) fn of_environment() -> (String, Option<LevelError>) {
    match std::env::var("RUST_LOG") {
        Ok(text) if !text.trim().is_empty() => match filter(&text) {
            Ok(_) => (text, None),
            Err(error) => (DEFAULT.to_owned(), Some(error)),
        },
        _ => (DEFAULT.to_owned(), None),
    }
}

/// A level alone is for our own lines: those of libraries below `info` show what they send and get,
/// and with it secrets. Whoever wants them names them.
pub(super) fn filter(text: &str) -> Result<EnvFilter, LevelError> {
    let text = text.trim();
    let meaningless = || LevelError::Meaningless(text.chars().take(100).collect());
    if text.is_empty() || text.len() > LONGEST {
        return Err(meaningless());
    }
    let directives = match text.to_ascii_lowercase().as_str() {
        level @ ("off" | "error" | "warn" | "info") => level.to_owned(),
        level @ ("debug" | "trace") => {
            let own = OWN.map(|target| format!("{target}={level}"));
            format!("{DEFAULT},{}", own.join(","))
        }
        // EnvFilter takes any word for a target.
        word if !word.contains(['=', ',']) => return Err(meaningless()),
        _ => text.to_owned(),
    };
    EnvFilter::builder().parse(directives).map_err(|_why| meaningless())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn levels(base: &str) -> (Levels, Arc<AtomicUsize>) {
        let sets = Arc::<AtomicUsize>::default();
        let own = Arc::clone(&sets);
        let set = move |_filter| {
            own.fetch_add(1, Ordering::Relaxed);
            true
        };
        (Levels::new(base.to_owned(), Repeats::default(), Box::new(set)), sets)
    }

    #[test]
    fn the_last_word_counts() {
        let (levels, sets) = levels("info");
        assert_eq!(levels.current(), "info");
        levels.configure(Some(LogLevel::Error));
        levels.configure(Some(LogLevel::Error));
        assert_eq!((&*levels.current(), sets.load(Ordering::Relaxed)), ("error", 1));
        assert_eq!(levels.tell(Some("debug")), Ok(()));
        levels.configure(Some(LogLevel::Warn));
        assert_eq!(levels.current(), "debug");
        assert_eq!(levels.tell(None), Ok(()));
        assert_eq!(levels.current(), "warn");
        levels.configure(None);
        assert_eq!(levels.current(), "info");
    }

    #[test]
    fn what_means_nothing_changes_nothing() {
        let (levels, sets) = levels("warn");
        for wrong in ["", " ", "loud", "a=loud", "a=info,b=loud", &"a=info,".repeat(1000)] {
            assert!(matches!(levels.tell(Some(wrong)), Err(LevelError::Meaningless(_))), "{wrong}");
        }
        assert_eq!((&*levels.current(), sets.load(Ordering::Relaxed)), ("warn", 0));
    }

    #[test]
    fn a_level_alone_is_for_our_own_lines() {
        let shown = filter("trace").expect("a level").to_string();
        assert!(shown.contains("ingress_userspace=trace") && shown.contains("info"), "{shown}");
        assert!(!shown.split(',').any(|part| part == "trace"), "{shown}");
        assert_eq!(filter("WARN").expect("a level").to_string(), "warn");
        assert!(filter("h2=trace,ingress_userspace::l4=debug").is_ok());
    }
}
