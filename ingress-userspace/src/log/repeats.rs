//! The same line again and again: of each place in the code, each message and each thing that it is
//! about, a few are written in a while, and then how many were not. What was asked for to look closely
//! (`debug` and below) is written whole, and so is what limits itself.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, DefaultHasher, Hasher as _, RandomState},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

/// How many alike are written within `WHILE`.
const FEW: u32 = 10;
const WHILE: Duration = Duration::from_secs(10);
/// How many messages are told apart; those beyond count as one per place in the code.
const MESSAGES: usize = 1024;
/// How much of a message a summary shows. Characters.
const SHOWN: usize = 200;
/// Fields that say what a line is about. The others often differ where the matter is the same: an
/// error's text, a number, a client's address, which is also the client's to make up.
const ABOUT: [&str; 15] = [
    "address",
    "agent",
    "backend",
    "file",
    "ingress",
    "interface",
    "kind",
    "lease",
    "node",
    "object",
    "path",
    "service",
    "state",
    "tunnel",
    "url",
];

/// Lines of these targets are all written: those who write them see to it that they are not too many.
const LIMITED: [&str; 2] = [super::AUDIT, super::DIAGNOSTICS];

/// What was written lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Repeats(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    hasher: RandomState,
    /// By place in the code, and what the message and [`ABOUT`] hash to: they may be long.
    counts: Mutex<HashMap<(Identifier, u64), Count>>,
}

#[derive(Debug)]
struct Count {
    /// As much of the message as a summary shows.
    message: Box<str>,
    level: Level,
    since: Instant,
    written: u32,
    /// How many were not, of which nobody was told yet, and since when.
    suppressed: u64,
    untold: Instant,
}

/// Messages that were not written.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    level: Level,
    message: String,
    suppressed: u64,
}

impl Repeats {
    /// The message may be written.
    fn admit(&self, place: Identifier, level: Level, said: Said, now: Instant) -> bool {
        let mut counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Said { message, about } = said;
        let mut key = (place, self.0.hasher.hash_one((&message, about.finish())));
        if counts.len() >= MESSAGES && !counts.contains_key(&key) {
            key.1 = 0;
        }
        let count = counts.entry(key).or_insert_with(|| {
            let message = message.chars().take(SHOWN).collect();
            Count { message, level, since: now, written: 0, suppressed: 0, untold: now }
        });
        if now.duration_since(count.since) >= WHILE {
            (count.since, count.written) = (now, 0);
        }
        if count.written < FEW {
            count.written += 1;
            return true;
        }
        if count.suppressed == 0 {
            count.untold = now;
        }
        count.suppressed += 1;
        false
    }

    /// What is to be told; what does not come any more is forgotten.
    fn due(&self, now: Instant) -> Vec<Summary> {
        let mut counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        counts.retain(|_, count| {
            if count.suppressed > 0 && now.duration_since(count.untold) >= WHILE {
                let message = count.message.to_string();
                let suppressed = std::mem::take(&mut count.suppressed);
                due.push(Summary { level: count.level, message, suppressed });
            }
            count.suppressed > 0 || now.duration_since(count.since) < WHILE
        });
        due
    }

    /// Writes how many were not written, a while after the first of them.
    pub(super) fn summarize(&self) {
        for Summary { level, message, suppressed } in self.due(Instant::now()) {
            match level {
                Level::ERROR => {
                    tracing::error!(suppressed, "suppressed {suppressed} of: {message}")
                }
                Level::WARN => tracing::warn!(suppressed, "suppressed {suppressed} of: {message}"),
                _ => tracing::info!(suppressed, "suppressed {suppressed} of: {message}"),
            }
        }
    }
}

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // The more talkative level is the greater one.
        if *metadata.level() > Level::INFO || LIMITED.contains(&metadata.target()) {
            return true;
        }
        let mut said = Said { message: String::new(), about: self.0.hasher.build_hasher() };
        event.record(&mut said);
        self.admit(metadata.callsite(), *metadata.level(), said, Instant::now())
    }
}

/// What tells an event from others of its place in the code.
struct Said {
    message: String,
    /// What it is about, by [`ABOUT`].
    about: DefaultHasher,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else if ABOUT.contains(&field.name()) {
            self.about.write(format!("{}={value:?}\n", field.name()).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panics").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn lines(&self) -> Vec<String> {
            let bytes = self.0.lock().expect("nobody panics");
            String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
        }
    }

    /// What `log` has written.
    fn written(repeats: &Repeats, log: impl FnOnce()) -> Vec<String> {
        let written = Written::default();
        let writer = written.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(repeats.clone()).with(lines);
        tracing::subscriber::with_default(subscriber, log);
        written.lines()
    }

    #[test]
    fn a_few_alike_are_written_and_all_that_differ() {
        let repeats = Repeats::default();
        let lines = written(&repeats, || {
            for number in 0..100 {
                tracing::warn!(number, "the collector is gone");
                tracing::error!("Ingress {number} is wrong");
                tracing::debug!("asked for");
            }
        });
        let count = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
        assert_eq!(count("the collector is gone"), 10);
        assert_eq!(count("is wrong"), 100);
        assert_eq!(count("asked for"), 100);
        let due = repeats.due(Instant::now() + WHILE);
        let message = "the collector is gone".to_owned();
        assert_eq!(due, [Summary { level: Level::WARN, message, suppressed: 90 }]);
        assert!(repeats.0.counts.lock().expect("nobody panics").is_empty());
    }

    #[test]
    fn what_lines_are_about_tells_them_apart() {
        let repeats = Repeats::default();
        let lines = written(&repeats, || {
            for number in 0..100 {
                let (node, up) = (format!("node-{}", number % 5), number % 2 == 0);
                tracing::info!(node, "a node's health changed");
                tracing::info!(address = ?number, "added");
                // Who sent it is no matter of the line's.
                tracing::warn!(client.address = number, up, "refused");
            }
        });
        let count = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
        assert_eq!(count("health changed"), 50);
        assert_eq!(count("added"), 100);
        assert_eq!(count("refused"), 10);
    }

    #[test]
    fn what_limits_itself_is_written_whole() {
        let repeats = Repeats::default();
        let lines = written(&repeats, || {
            for number in 0..100 {
                tracing::warn!(target: super::super::AUDIT, number, "matched");
                tracing::error!(target: super::super::DIAGNOSTICS, "Ingress web/shop is wrong");
            }
        });
        assert_eq!(lines.len(), 200);
    }

    #[test]
    fn memory_is_bounded_whatever_messages_say() {
        let repeats = Repeats::default();
        let lines = written(&repeats, || {
            for number in 0..10_000 {
                tracing::info!("peer {number}");
            }
        });
        // Those beyond count as one.
        assert_eq!(lines.len(), MESSAGES + 10);
        assert_eq!(repeats.0.counts.lock().expect("nobody panics").len(), MESSAGES + 1);
    }
}
