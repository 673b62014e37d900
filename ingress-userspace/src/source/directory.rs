use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::{self, Sender},
};

use super::{
    SourceError, Stopper, Update,
    files::Files,
    watch::{Signal, Watch},
};

/// A directory (or one file) of manifests, read and watched.
pub struct Directory {
    path: PathBuf,
    files: Files,
    watch: Watch,
    stop: Sender<Signal>,
}

impl Directory {
    /// Reads the directory or file and starts watching it.
    ///
    /// # Errors
    /// [`SourceError`]. What is wrong with single files becomes diagnostics.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let unreadable = |source| SourceError::Unreadable { path: path.to_owned(), source };
        let unwatchable = |source| SourceError::Unwatchable { path: path.to_owned(), source };
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if metadata.is_dir() {
            drop(fs::read_dir(path).map_err(unreadable)?);
        } else if metadata.is_file() {
            drop(fs::File::open(path).map_err(unreadable)?);
        } else {
            return Err(unreadable(io::Error::other("it is neither a directory nor a file")));
        }
        let (stop, signals) = mpsc::channel();
        let mut files = Files::new(path.to_owned());
        let mut watch = Watch::new(stop.clone(), signals).map_err(unwatchable)?;
        files.scan(&HashMap::new());
        while watch.set(&files.watched).map_err(unwatchable)? {
            files.scan(&HashMap::new());
        }
        Ok(Self { path: path.to_owned(), files, watch, stop })
    }

    /// What ends [`run`](Self::run), from any thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        let stop = self.stop.clone();
        Stopper::new(move || {
            // It is only gone if the run has ended.
            let _ended = stop.send(Signal::Stop);
        })
    }

    /// Calls `sink` with the first complete state at once, then after every change, within 100 ms
    /// of the last write. Returns when stopped; blocks its thread.
    pub fn run(mut self, mut sink: impl FnMut(Update) + Send + 'static) {
        sink(self.files.update());
        while self.watch.wait() {
            if let Some(update) = self.scan() {
                sink(Update { since: self.watch.began(), ..update });
            }
        }
    }

    fn scan(&mut self) -> Option<Update> {
        let writers = self.watch.writers();
        let mut update = self.files.scan(&writers);
        loop {
            match self.watch.set(&self.files.watched) {
                Ok(false) => return update,
                // What happened in it before it was watched.
                Ok(true) => update = self.files.scan(&writers).or(update),
                Err(error) => {
                    let path = self.path.display();
                    tracing::warn!(%path, %error, "cannot watch all of the directory; looking every ten seconds");
                    return update;
                }
            }
        }
    }
}
