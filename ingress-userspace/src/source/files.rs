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
    claims::{Claims, Touched},
    parse::{self, Documents, Parsed},
};
use crate::{
    model::{Diagnostic, ObjectRef, Severity},
    stores::{Object, Stores},
};

/// How long after a write a file's times may fail to tell another one: the resolution of time
/// stamps, a tick of the slowest kernel, and some to spare.
const TIMES_ARE_COARSE: Duration = Duration::from_millis(100);

/// Larger files are no manifests that anyone wrote. Bytes.
const LARGEST_FILE: u64 = 64 << 20;

/// What is known of all files.
pub(super) struct Files {
    root: PathBuf,
    files: BTreeMap<Arc<Path>, File>,
    claims: Claims,
    /// Why the directory could not be read the last time.
    unreadable: Vec<Diagnostic>,
    /// The directories that must be watched to notice every change.
    pub(super) watched: BTreeSet<PathBuf>,
    stores: Arc<Stores>,
    noted: HashSet<String>,
}

/// What is known of one file.
#[derive(Default)]
pub(super) struct File {
    stamp: Option<Stamp>,
    read: Option<SystemTime>,
    text: String,
    documents: Documents,
    /// It was read while someone was still writing it.
    unfinished: bool,
    pub(super) objects: BTreeMap<ObjectRef, Kept>,
    diagnostics: Vec<Diagnostic>,
}

/// An object's last good state.
pub(super) struct Kept {
    pub(super) object: Object,
    /// It is not what the file says now.
    pub(super) stale: bool,
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
            claims: Claims::default(),
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
        let mut touched = Touched::default();
        self.watched = found.directories;
        for (path, seen) in &found.files {
            let writing = writers.get(&seen.canonical).copied().unwrap_or(Writing::No);
            if writing == Writing::Busy {
                continue;
            }
            let file = self.files.entry(Arc::clone(path)).or_default();
            let changes = Refreshed { path, touched: &mut touched, noted: &mut self.noted };
            changed |= file.refresh(changes, &seen.metadata, writing);
        }
        // Of a directory that cannot be read it cannot be said which files it has lost.
        let gone = |path: &Path| {
            !found.files.contains_key(path)
                && !found.unreadable.iter().any(|directory| path.starts_with(directory))
        };
        self.files.retain(|path, file| {
            let gone = gone(path);
            if gone {
                changed = true;
                file.objects.iter().for_each(|(id, kept)| touched.add(path, id, &kept.object));
            }
            !gone
        });
        self.unreadable = found.faults;
        if changed {
            let mut stores = (*self.stores).clone();
            stores.apply(self.claims.settle(touched, &self.files));
            self.stores = Arc::new(stores);
        }
        changed.then(|| self.update())
    }

    /// The state as it is.
    pub(super) fn update(&self) -> Update {
        let files = self.files.values().flat_map(|file| &file.diagnostics);
        let diagnostics = self.unreadable.iter().chain(files).chain(self.claims.diagnostics());
        let diagnostics = diagnostics.cloned().collect();
        Update { stores: Arc::clone(&self.stores), diagnostics, since: None }
    }
}

/// Where the changes of a file are noted.
struct Refreshed<'f> {
    path: &'f Arc<Path>,
    touched: &'f mut Touched,
    /// The kinds of which it was said that they are not used.
    noted: &'f mut HashSet<String>,
}

impl Refreshed<'_> {
    fn touch(&mut self, id: &ObjectRef, object: &Object) {
        self.touched.add(self.path, id, object);
    }
}

impl File {
    /// Reads the file if it changed; returns whether what is known of it did.
    fn refresh(
        &mut self,
        mut changes: Refreshed<'_>,
        metadata: &fs::Metadata,
        writing: Writing,
    ) -> bool {
        let path = &**changes.path;
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
                for (id, kept) in self.objects.iter_mut().filter(|(_, kept)| !kept.stale) {
                    kept.stale = true;
                    changes.touch(id, &kept.object);
                }
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
        self.take(parsed, changes);
        self.text = text;
        true
    }

    /// Takes over what the file says now, and keeps what it fails to say.
    fn take(&mut self, parsed: Parsed, mut changes: Refreshed<'_>) {
        self.diagnostics = parsed.diagnostics;
        for kind in parsed.ignored {
            if !changes.noted.contains(&kind) {
                tracing::info!(kind, "manifests of this kind are not used");
                changes.noted.insert(kind);
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
            let (kept, changed) = match (object, previous.remove(&id)) {
                // The same allocation, so that later stages can tell.
                (Some(object), Some(kept)) if object == kept.object => {
                    (Kept { object: kept.object, stale: false }, kept.stale)
                }
                (Some(object), _) => (Kept { object, stale: false }, true),
                (None, Some(kept)) => (Kept { object: kept.object, stale: true }, !kept.stale),
                (None, None) => continue,
            };
            if changed {
                changes.touch(&id, &kept.object);
            }
            self.objects.insert(id, kept);
        }
        let stays = parsed.unattributed || self.unfinished;
        for (id, kept) in previous {
            if !(stays && kept.stale) {
                changes.touch(&id, &kept.object);
            }
            if stays {
                self.objects.insert(id, Kept { stale: true, ..kept });
            }
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
    files: BTreeMap<Arc<Path>, Seen>,
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
            self.files.insert(path.into(), Seen { canonical, metadata });
        }
    }

    fn visit_directory(&mut self, path: &Path, canonical: PathBuf, metadata: &fs::Metadata) {
        if !self.visited.insert((metadata.dev(), metadata.ino())) {
            return;
        }
        self.directories.insert(canonical.clone());
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.fault(path, &error),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // Most are ordinary files: where they are is known without asking, and what they are
            // without following anything.
            let path = entry.path();
            match entry.file_type().is_ok_and(|kind| kind.is_file()) {
                true if !is_manifest(&path) => {}
                true => match entry.metadata() {
                    Ok(metadata) if metadata.is_file() => {
                        let canonical = canonical.join(name);
                        self.files.insert(path.into(), Seen { canonical, metadata });
                    }
                    // Just replaced by something else.
                    _ => self.visit(&path, false),
                },
                false => self.visit(&path, false),
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
