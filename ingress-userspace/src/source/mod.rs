//! Where objects come from: a directory of ordinary Kubernetes YAML, or the API server of a cluster
//! (`api`). Owns the last good state of every object; does not know what any of them means.
//!
//! Of a directory are read the files `*.yaml`, `*.yml` and `*.json` in the directory and below it, symbolic links
//! followed; names that begin with a dot are not, for they are editors' and what ConfigMap mounts
//! link to. A file's order is that of its path, which decides between two files with one object.
//!
//! An object goes when its document or file goes, and only then: a document that cannot be read, a
//! file that cannot, is empty, or is still being written, keep what was.
#![forbid(unsafe_code)]

mod api;
mod claims;
mod directory;
mod files;
mod object;
mod once;
pub(crate) mod parse;
mod state;
mod tree;
mod typed;
mod watch;

#[cfg(test)]
mod tests;

pub use api::{Api, Watched};
pub use directory::Directory;
pub use once::{Input, Place, Reading, read_once};
pub use state::{SourceState, Trouble};

use std::{io, path::PathBuf, sync::Arc, time::Instant};

use crate::{config, kubernetes::ClientError, model::Diagnostic, stores::Stores};

/// Where objects come from.
pub enum Source {
    /// A directory (or one file) of manifests.
    Directory(Box<Directory>),
    /// The API server.
    Api(Box<Api>),
}

impl Source {
    /// Reads the directory, or learns which API server is meant; that one is not asked yet.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn open(from: &config::Source, watched: Watched) -> Result<Self, SourceError> {
        Ok(match from {
            config::Source::Manifests(path) => Self::Directory(Box::new(Directory::open(path)?)),
            config::Source::Cluster(access) => {
                Self::Api(Box::new(Api::open(access.clone(), watched)?))
            }
        })
    }

    /// What ends [`run`](Self::run), from any thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        match self {
            Self::Directory(directory) => directory.stopper(),
            Self::Api(api) => api.stopper(),
        }
    }

    /// How the source itself is.
    #[must_use]
    pub fn state(&self) -> Arc<SourceState> {
        match self {
            Self::Directory(_) => Arc::default(),
            Self::Api(api) => api.state(),
        }
    }

    /// Calls `sink` with the first complete state as soon as there is one, then after every change.
    /// Returns when stopped; blocks its thread.
    pub fn run(self, sink: impl FnMut(Update) + Send + 'static) {
        match self {
            Self::Directory(directory) => directory.run(sink),
            Self::Api(api) => api.run(sink),
        }
    }
}

/// Ends the run of a source.
#[derive(Clone)]
pub struct Stopper(Arc<dyn Fn() + Send + Sync>);

impl Stopper {
    fn new(stop: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(stop))
    }

    /// Ends the run soon; does not wait for it. Later calls do nothing.
    pub fn stop(&self) {
        (self.0)();
    }
}

/// The objects of one moment and what is wrong with the files that they come from.
#[derive(Clone, Debug)]
pub struct Update {
    /// The objects.
    pub stores: Arc<Stores>,
    /// What people should look at, in the order of the files, then what several files have; the
    /// whole list, not only what is new.
    pub diagnostics: Vec<Diagnostic>,
    /// When the first word of a change came; `None` of the first state.
    pub since: Option<Instant>,
}

/// Why there is no source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It is not there, is no directory or file, or may not be read.
    #[error("cannot read the manifests in {}", path.display())]
    Unreadable {
        /// The directory or file as given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refuses to watch it, for want of inotify instances or watches.
    #[error("cannot watch {} for changes", path.display())]
    Unwatchable {
        /// The directory or file as given.
        path: PathBuf,
        /// What the system said.
        source: notify::Error,
    },
    /// Which API server is meant, or as whom it is to be asked, cannot be told.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No task can be run.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
}
