//! Where objects come from: a directory of ordinary Kubernetes YAML. Owns the last good state of
//! every object; does not know what any of them means.
//!
//! Read are the files `*.yaml`, `*.yml` and `*.json` in the directory and below it, symbolic links
//! followed; names that begin with a dot are not, for they are editors' and what ConfigMap mounts
//! link to. A file's order is that of its path, which decides between two files with one object.
//!
//! An object goes when its document or file goes, and only then: a document that cannot be read, a
//! file that cannot, is empty, or is still being written, keep what was.
#![forbid(unsafe_code)]

mod claims;
mod directory;
mod files;
mod object;
mod once;
pub(crate) mod parse;
mod tree;
mod typed;
mod watch;

#[cfg(test)]
mod tests;

pub use directory::{Directory, Stopper};
pub use once::{Input, Place, Reading, read_once};

use std::{io, path::PathBuf, sync::Arc};

use crate::{model::Diagnostic, stores::Stores};

/// The objects of one moment and what is wrong with the files that they come from.
#[derive(Clone, Debug)]
pub struct Update {
    /// The objects.
    pub stores: Arc<Stores>,
    /// What people should look at, in the order of the files, then what several files have; the
    /// whole list, not only what is new.
    pub diagnostics: Vec<Diagnostic>,
}

/// Why a directory cannot be a source.
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
}
