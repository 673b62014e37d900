//! Manifests read once, with the place of every object: what `penstock check` looks at.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    SourceError,
    parse::{self, Documents},
};
use crate::{
    model::{Diagnostic, ObjectRef, Severity},
    stores::{Object, Stores},
};

/// Where manifests are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file, whatever its name, or a directory as `--manifests` takes one.
    Path(PathBuf),
    /// This text, under a name for people.
    Text(PathBuf, String),
}

/// What was read.
#[derive(Debug, Default)]
pub struct Reading {
    /// The objects.
    pub stores: Stores,
    /// What is wrong with the text itself, in the order of the inputs.
    pub diagnostics: Vec<Diagnostic>,
    /// Where each object is.
    pub places: HashMap<ObjectRef, Place>,
}

/// Where an object is.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The first line of its document, from 1.
    pub line: u64,
    document: Arc<str>,
}

impl Place {
    /// The line of the document that has this text in it, else its first one.
    #[must_use]
    pub fn line_of(&self, text: &str) -> u64 {
        let found = (self.line..).zip(self.document.lines()).find(|(_, line)| line.contains(text));
        found.map_or(self.line, |(number, _)| number)
    }
}

/// Reads all inputs. Of an object that is there twice the first one counts.
///
/// # Errors
///
/// A path that cannot be read; a file that is no UTF-8.
pub fn read_once(inputs: &[Input]) -> Result<Reading, SourceError> {
    let mut collected = Collected::default();
    for input in inputs {
        match input {
            Input::Text(name, text) => collected.take(name, text),
            Input::Path(path) => collected.visit(path, true)?,
        }
    }
    let Collected { objects, diagnostics, places } = collected;
    let stores = objects.iter().map(|(id, object)| (id, object)).collect();
    Ok(Reading { stores, diagnostics, places })
}

#[derive(Default)]
struct Collected {
    objects: Vec<(ObjectRef, Object)>,
    diagnostics: Vec<Diagnostic>,
    places: HashMap<ObjectRef, Place>,
}

impl Collected {
    fn visit(&mut self, path: &Path, named: bool) -> Result<(), SourceError> {
        let unreadable = |source| SourceError::Unreadable { path: path.to_owned(), source };
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if metadata.is_dir() {
            let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
            let mut entries = entries.map_err(unreadable)?;
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                let kind = entry.file_type().map_err(unreadable)?;
                // A link to a directory could lead in a circle.
                let circle = kind.is_symlink() && entry.path().is_dir();
                if !hidden && !circle {
                    self.visit(&entry.path(), false)?;
                }
            }
        } else if named || super::files::is_manifest(path) {
            self.take(path, &fs::read_to_string(path).map_err(unreadable)?);
        }
        Ok(())
    }

    fn take(&mut self, path: &Path, text: &str) {
        let file: Arc<Path> = path.into();
        for (line, document) in parse::documents(text) {
            // By itself, with the lines before it as empty ones: so lines are counted right.
            let before = "\n".repeat(usize::try_from(line - 1).unwrap_or(0));
            let parsed = parse::parse(path, &(before + document), &mut Documents::new());
            self.diagnostics.extend(parsed.diagnostics);
            let document: Arc<str> = document.into();
            for (id, object) in parsed.objects {
                if let Some(other) = self.places.get(&id) {
                    let message = format!(
                        "is in {}:{} and in {}:{line}; the former is used",
                        other.file.display(),
                        other.line,
                        file.display()
                    );
                    let field = "metadata.name".to_owned();
                    let severity = Severity::Error;
                    self.diagnostics.push(Diagnostic { severity, object: id, field, message });
                    continue;
                }
                let place =
                    Place { file: Arc::clone(&file), line, document: Arc::clone(&document) };
                self.places.insert(id.clone(), place);
                self.objects.extend(object.map(|object| (id, object)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Reading {
        read_once(&[Input::Text("in.yaml".into(), text.to_owned())]).expect("text can be read")
    }

    const TWO: &str = "# first\napiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\n\
                       apiVersion: v1\nkind: Service\nmetadata:\n  name: b\n";

    #[test]
    fn every_object_has_its_place() {
        let reading = text(TWO);
        let place = |name: &str| &reading.places[&ObjectRef::new("Service", "default", name)];
        assert_eq!(place("a").line, 1);
        assert_eq!(place("b").line, 5);
        assert_eq!(place("b").line_of("name: b"), 9);
        assert_eq!(place("b").line_of("nowhere"), 5);
        assert_eq!(reading.stores.services.len(), 2);
    }

    #[test]
    fn faults_have_the_line_of_the_file() {
        let reading = text(&format!("{TWO}---\nkind: [\n"));
        let fault = reading.diagnostics.first().expect("a fault");
        assert!(fault.field.starts_with("line 1"), "{fault}");
        assert_eq!(reading.stores.services.len(), 2);
    }

    #[test]
    fn the_first_of_two_counts() {
        let reading = text(&format!("{TWO}---\n{TWO}"));
        assert_eq!(reading.stores.services.len(), 2);
        let fault = reading.diagnostics.first().expect("a fault").to_string();
        assert!(fault.contains("is in in.yaml:1 and in in.yaml:10"), "{fault}");
    }

    #[test]
    fn what_is_not_there_is_told() {
        let gone = read_once(&[Input::Path("/nowhere/at/all".into())]).unwrap_err();
        assert!(gone.to_string().contains("/nowhere/at/all"));
    }
}
