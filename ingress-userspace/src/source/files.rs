//! The files of a directory and the last good state of their objects.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Update,
    object::{self, Object},
    parse::{self, Documents, Parsed},
};
use crate::{
    model::{Diagnostic, ObjectRef, Severity},
    stores::Stores,
};

/// How long after a write a file's times may fail to tell another one: the resolution of time
/// stamps, a tick of the slowest kernel, and some to spare.
const TIMES_ARE_COARSE: Duration = Duration::from_millis(100);

/// Larger files are no manifests that anyone wrote. Bytes.
const LARGEST_FILE: u64 = 64 << 20;

/// What is known of all files.
pub(super) struct Files {
    root: PathBuf,
    files: BTreeMap<PathBuf, File>,
    /// Why the directory could not be read the last time.
    unreadable: Vec<Diagnostic>,
    /// The directories that must be watched to notice every change.
    pub(super) watched: BTreeSet<PathBuf>,
    stores: Arc<Stores>,
    noted: HashSet<String>,
}

/// What is known of one file.
#[derive(Default)]
struct File {
    stamp: Option<Stamp>,
    read: Option<SystemTime>,
    text: String,
    documents: Documents,
    /// It was read while someone was still writing it.
    unfinished: bool,
    objects: BTreeMap<ObjectRef, Kept>,
    diagnostics: Vec<Diagnostic>,
}

/// An object's last good state.
struct Kept {
    object: Object,
    /// It is not what the file says now.
    stale: bool,
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What is being done to a file by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    No,
    /// Its writer has been silent for long enough: what is there is read, what is not there stays.
    Paused,
    /// Not looked at now.
    Busy,
}

impl Files {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            files: BTreeMap::new(),
            unreadable: Vec::new(),
            watched: BTreeSet::new(),
            stores: Arc::default(),
            noted: HashSet::new(),
        }
    }

    /// Looks for changes and reads what changed; `None`: nothing did. Writers are known by the
    /// canonical path of their file.
    pub(super) fn scan(&mut self, writers: &HashMap<PathBuf, Writing>) -> Option<Update> {
        let mut found = Found::default();
        found.visit_root(&self.root);
        let mut changed = found.faults != self.unreadable;
        self.watched = found.directories;
        for (path, seen) in &found.files {
            let writing = writers.get(&seen.canonical).copied().unwrap_or(Writing::No);
            if writing != Writing::Busy {
                let file = self.files.entry(path.clone()).or_default();
                changed |= file.refresh(path, &seen.metadata, writing, &mut self.noted);
            }
        }
        // Of a directory that cannot be read it cannot be said which files it has lost.
        let gone = |path: &PathBuf| {
            !found.files.contains_key(path)
                && !found.unreadable.iter().any(|directory| path.starts_with(directory))
        };
        let before = self.files.len();
        self.files.retain(|path, _| !gone(path));
        changed |= before != self.files.len();
        self.unreadable = found.faults;
        changed.then(|| self.update())
    }

    /// The state as it is.
    pub(super) fn update(&mut self) -> Update {
        let mut diagnostics = self.unreadable.clone();
        let mut winners: BTreeMap<&ObjectRef, (&Path, &Kept)> = BTreeMap::new();
        for (path, file) in &self.files {
            diagnostics.extend_from_slice(&file.diagnostics);
            for (id, kept) in &file.objects {
                let Some(&(other, winner)) = winners.get(id) else {
                    winners.insert(id, (path, kept));
                    continue;
                };
                // The first file wins, unless it is only remembered to have had the object.
                let (loser, winner) = match winner.stale && !kept.stale {
                    true => (other, &**path),
                    false => (&**path, other),
                };
                if winner == path {
                    winners.insert(id, (path, kept));
                }
                diagnostics.push(Diagnostic {
                    severity: Severity::Error,
                    object: id.clone(),
                    field: "metadata.name".to_owned(),
                    message: format!(
                        "is in {} and in {}; the former is used",
                        winner.display(),
                        loser.display()
                    ),
                });
            }
        }
        let objects = winners.into_iter().map(|(id, (_, kept))| (id, &kept.object));
        self.stores = Arc::new(object::stores(objects, &self.stores));
        Update { stores: Arc::clone(&self.stores), diagnostics }
    }
}

impl File {
    /// Reads the file if it changed; returns whether what is known of it did.
    fn refresh(
        &mut self,
        path: &Path,
        metadata: &fs::Metadata,
        writing: Writing,
        noted: &mut HashSet<String>,
    ) -> bool {
        let stamp = Stamp::of(metadata);
        let unfinished = writing == Writing::Paused;
        let settled = self.read.is_some_and(|read| {
            metadata.modified().is_ok_and(|modified| modified + TIMES_ARE_COARSE < read)
        });
        if self.stamp == Some(stamp) && settled && unfinished == self.unfinished {
            return false;
        }
        let failed = self.stamp.is_none();
        self.read = Some(SystemTime::now());
        let text = match metadata.len() {
            ..=LARGEST_FILE => read(path),
            _ => Err("is larger than 64 MiB".to_owned()),
        };
        let text = text.and_then(|text| match text.trim().is_empty() && !self.objects.is_empty() {
            true => Err("is empty (delete it to remove its objects)".to_owned()),
            false => Ok(text),
        });
        let text = match text {
            Ok(text) => text,
            Err(why) => {
                // So that it is read again, and whatever it has then is taken over.
                self.stamp = None;
                self.text = String::new();
                self.objects.values_mut().for_each(|kept| kept.stale = true);
                let message = format!("{why}; the last good state of its objects stays");
                let diagnostics = vec![fault(path, message)];
                return std::mem::replace(&mut self.diagnostics, diagnostics) != self.diagnostics;
            }
        };
        self.stamp = Some(stamp);
        if self.text == text && unfinished == self.unfinished && !failed {
            return false;
        }
        self.unfinished = unfinished;
        let mut parsed = parse::parse(path, &text, &mut self.documents);
        self.documents = std::mem::take(&mut parsed.documents);
        self.take(parsed, noted);
        self.text = text;
        true
    }

    /// Takes over what the file says now, and keeps what it fails to say.
    fn take(&mut self, parsed: Parsed, noted: &mut HashSet<String>) {
        self.diagnostics = parsed.diagnostics;
        for kind in parsed.ignored {
            if !noted.contains(&kind) {
                tracing::info!(kind, "manifests of this kind are not used");
                noted.insert(kind);
            }
        }
        let mut previous = std::mem::take(&mut self.objects);
        for (id, object) in parsed.objects {
            if self.objects.contains_key(&id) {
                let message = "is in this file twice; the first one is used".to_owned();
                self.diagnostics.push(Diagnostic {
                    severity: Severity::Error,
                    object: id,
                    field: "metadata.name".to_owned(),
                    message,
                });
                continue;
            }
            let kept = match (object, previous.remove(&id)) {
                // The same allocation, so that later stages can tell.
                (Some(object), Some(kept)) if object == kept.object => {
                    Some(Kept { object: kept.object, stale: false })
                }
                (Some(object), _) => Some(Kept { object, stale: false }),
                (None, Some(kept)) => Some(Kept { object: kept.object, stale: true }),
                (None, None) => None,
            };
            if let Some(kept) = kept {
                self.objects.insert(id, kept);
            }
        }
        if parsed.unattributed || self.unfinished {
            let missing = previous.into_iter().map(|(id, kept)| (id, Kept { stale: true, ..kept }));
            self.objects.extend(missing);
        }
    }
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What a walk through the directory finds.
#[derive(Default)]
struct Found {
    files: BTreeMap<PathBuf, Seen>,
    /// The canonical paths of those walked through and of those that links lead into: one path per
    /// directory, for the system has one watch per directory.
    directories: BTreeSet<PathBuf>,
    /// Where it could not be told what is there.
    unreadable: Vec<PathBuf>,
    faults: Vec<Diagnostic>,
    /// Device and inode of the directories walked through: links can make circles.
    visited: HashSet<(u64, u64)>,
}

struct Seen {
    canonical: PathBuf,
    metadata: fs::Metadata,
}

impl Found {
    fn visit_root(&mut self, root: &Path) {
        let faults = self.faults.len();
        self.visit(root, true);
        // That the root comes back, or that a link to it leads elsewhere, shows in its parent.
        if root.is_symlink() || self.faults.len() > faults {
            let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty());
            self.directories.extend(fs::canonicalize(parent.unwrap_or(Path::new("."))));
        }
    }

    fn visit(&mut self, path: &Path, is_root: bool) {
        let found = fs::metadata(path).and_then(|metadata| Ok((metadata, fs::canonicalize(path)?)));
        let (metadata, canonical) = match found {
            Ok(found) => found,
            // Gone since it was listed, or a link to nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_root => return,
            Err(error) => return self.fault(path, &error),
        };
        if metadata.is_dir() {
            self.visit_directory(path, canonical, &metadata);
        } else if metadata.is_file() && (is_root || is_manifest(path)) {
            // Nothing else: to open a pipe would wait for its writer.
            self.directories.extend(canonical.parent().map(Path::to_owned));
            if is_root {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                self.directories.extend(fs::canonicalize(parent.unwrap_or(Path::new("."))));
            }
            self.files.insert(path.to_owned(), Seen { canonical, metadata });
        }
    }

    fn visit_directory(&mut self, path: &Path, canonical: PathBuf, metadata: &fs::Metadata) {
        if !self.visited.insert((metadata.dev(), metadata.ino())) {
            return;
        }
        self.directories.insert(canonical);
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.fault(path, &error),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                self.visit(&entry.path(), false);
            }
        }
    }

    fn fault(&mut self, path: &Path, error: &io::Error) {
        let message = format!("cannot be read ({error}); the last good state of its objects stays");
        self.faults.push(fault(path, message));
        self.unreadable.push(path.to_owned());
    }
}

/// The text of a file, or what is the matter with it.
fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    // It may grow while it is read.
    let read =
        fs::File::open(path).and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot be read ({error})"))?;
    String::from_utf8(bytes).map_err(|_not_text| "is no UTF-8".to_owned())
}

pub(super) fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

fn fault(path: &Path, message: String) -> Diagnostic {
    let object = ObjectRef::new("File", "", &*path.to_string_lossy());
    Diagnostic { severity: Severity::Error, object, field: "content".to_owned(), message }
}
