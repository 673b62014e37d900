//! When to look: events of the file system, gathered until the writers are done.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind},
};

use super::files::Writing;

/// Changes come in groups (an editor's temporary file, its renaming); this long a silence ends one.
const SILENCE: Duration = Duration::from_millis(15);

/// A writer that keeps its file open and silent is waited for no longer: together with the time to
/// read it, within 100 ms of its last write.
const PATIENCE: Duration = Duration::from_millis(60);

/// Changes are applied after this long even if more keep coming.
const LATEST: Duration = Duration::from_millis(60);

/// A file that is written to without a pause is read unfinished after this long.
const LATEST_OF_FILE: Duration = Duration::from_secs(1);

/// How often to look without being told: network file systems tell nothing.
const UNTOLD: Duration = Duration::from_secs(10);

/// What ends a wait.
pub(super) enum Signal {
    /// The file system says something.
    Event(notify::Result<Event>),
    Stop,
}

/// Watches directories and says when to scan them.
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    signals: Receiver<Signal>,
    writers: HashMap<PathBuf, Writer>,
    /// The first event since the scan before.
    began: Option<Instant>,
}

/// Someone has a file open and has written to it.
#[derive(Clone, Copy)]
struct Writer {
    /// First write since the file was last read.
    first: Instant,
    last: Instant,
    /// The file was read after the last write.
    read: bool,
}

impl Writer {
    fn writing(self, now: Instant) -> Writing {
        let silent = now.duration_since(self.last) >= PATIENCE;
        let long = now.duration_since(self.first) >= LATEST_OF_FILE;
        if silent || long { Writing::Paused } else { Writing::Busy }
    }
}

impl Watch {
    pub(super) fn new(
        sender: Sender<Signal>,
        signals: Receiver<Signal>,
    ) -> Result<Self, notify::Error> {
        let watcher = notify::recommended_watcher(move |event| {
            // Nobody listens any more: the run has ended.
            let _gone = sender.send(Signal::Event(event));
        })?;
        Ok(Self {
            watcher,
            watched: BTreeSet::new(),
            signals,
            writers: HashMap::new(),
            began: None,
        })
    }

    /// Watches these directories and no others. Returns whether one is new: it may have changed
    /// since it was scanned.
    pub(super) fn set(&mut self, directories: &BTreeSet<PathBuf>) -> Result<bool, notify::Error> {
        for gone in self.watched.difference(directories) {
            // It may be gone from the file system too, and its watch with it.
            let _ended = self.watcher.unwatch(gone);
        }
        let mut is_new = false;
        let mut failed = None;
        let mut watched: BTreeSet<_> = self.watched.intersection(directories).cloned().collect();
        for new in directories.difference(&self.watched) {
            match self.watcher.watch(new, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    is_new = true;
                    watched.insert(new.clone());
                }
                Err(error) => failed = Some(error),
            }
        }
        self.watched = watched;
        failed.map_or(Ok(is_new), Err)
    }

    /// A directory was moved or deleted: its watch tells nothing any more, though one by its name
    /// may be there again.
    fn forget(&mut self, paths: &[PathBuf]) {
        for path in paths {
            if self.watched.remove(path) {
                let _ended = self.watcher.unwatch(path);
            }
        }
    }

    /// When the first word came of what is to be scanned; `None`: there was none.
    pub(super) fn began(&self) -> Option<Instant> {
        self.began
    }

    /// Waits until it is time to scan; false: until told to stop.
    pub(super) fn wait(&mut self) -> bool {
        let start = Instant::now();
        let mut first = None;
        let mut last = start;
        // Files left out of the last scan, for they were being written, are due without an event.
        let pending = self.unread().map(|writer| writer.last + PATIENCE).min();
        let deadline = pending.unwrap_or(start + UNTOLD);
        loop {
            let now = Instant::now();
            let due = match first {
                None => deadline,
                Some(first) => {
                    let silence = if self.unread().next().is_none() { SILENCE } else { PATIENCE };
                    (last + silence).min(first + LATEST)
                }
            };
            if now >= due {
                self.began = first;
                return true;
            }
            match self.signals.recv_timeout(due - now) {
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                Ok(Signal::Event(event)) => {
                    if self.is_news(event) {
                        last = Instant::now();
                        first.get_or_insert(last);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// The event is a change, not our own reading.
    fn is_news(&mut self, event: notify::Result<Event>) -> bool {
        // An error or an overflow: anything may have changed.
        let Ok(event) = event else { return true };
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                for path in &event.paths {
                    self.writers.remove(path);
                }
            }
            EventKind::Access(_) => return false,
            EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => {
                let now = Instant::now();
                let is_hidden = |path: &Path| {
                    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
                };
                let mut is_news = event.paths.is_empty();
                for path in event.paths.into_iter().filter(|path| !is_hidden(path)) {
                    is_news = true;
                    let new = Writer { first: now, last: now, read: false };
                    let writer = self.writers.entry(path).or_insert(new);
                    let first = if writer.read { now } else { writer.first };
                    *writer = Writer { first, ..new };
                }
                return is_news;
            }
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
                for path in &event.paths {
                    self.writers.remove(path);
                }
                self.forget(&event.paths);
            }
            _ => {}
        }
        true
    }

    fn unread(&self) -> impl Iterator<Item = &Writer> {
        self.writers.values().filter(|writer| !writer.read)
    }

    /// What others are doing to their files now, by canonical path. Those that are not busy count
    /// as read from now on.
    pub(super) fn writers(&mut self) -> HashMap<PathBuf, Writing> {
        let now = Instant::now();
        let writing = |(path, writer): (&PathBuf, &mut Writer)| {
            let writing = writer.writing(now);
            writer.read |= writing == Writing::Paused;
            (path.clone(), writing)
        };
        self.writers.iter_mut().map(writing).collect()
    }
}
