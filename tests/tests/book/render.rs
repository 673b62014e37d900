//! The book as readers get it, made by mdBook, and the links in its pages.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use mdbook_driver::MDBook;
use mdbook_preprocessor::{
    Preprocessor, PreprocessorContext,
    book::{Book, BookItem, Chapter},
    errors::Result,
};
use regex::Regex;

use crate::page::{BESIDE, Page, repository};

/// Where files that are no pages are put in the book.
const FILES: &str = "repository";

/// Makes links to files outside of `docs/` work: pages that the book includes are found in it, of all
/// others it gets a copy.
struct Outside(Arc<Mutex<BTreeSet<PathBuf>>>);

impl Preprocessor for Outside {
    fn name(&self) -> &str {
        "outside"
    }

    fn run(&self, _: &PreprocessorContext, mut book: Book) -> Result<Book> {
        book.for_each_mut(|item| {
            if let BookItem::Chapter(chapter) = item {
                self.relink(chapter);
            }
        });
        Ok(book)
    }
}

impl Outside {
    fn relink(&self, chapter: &mut Chapter) {
        let Some(path) = &chapter.path else { return };
        let folder = Path::new("docs").join(path).parent().expect("docs at least").to_owned();
        let depth = path.components().count() - 1;
        let page = Page { path: path.clone(), text: chapter.content.clone() };
        for link in page.links() {
            let (file, anchor) =
                link.target.split_at(link.target.find('#').unwrap_or(link.target.len()));
            if file.is_empty() || file.contains("://") {
                continue;
            }
            // What is included from the root has links that begin there.
            let found = [folder.join(file), PathBuf::from(file)].into_iter().find_map(|path| {
                let path = repository().join(path).canonicalize().ok()?;
                let root = repository().canonicalize().ok()?;
                Some(path.strip_prefix(root).ok()?.to_owned())
            });
            let Some(found) = found else { continue };
            let name = found.display().to_string();
            let inside = if let Ok(page) = found.strip_prefix("docs") {
                page.display().to_string()
            } else if BESIDE.contains(&name.as_str()) {
                name.to_lowercase().replace("readme", "introduction")
            } else {
                let mut files = self.0.lock().expect("nobody panics with it");
                files.insert(found.clone());
                let end = if repository().join(&found).is_dir() { ".txt" } else { "" };
                format!("{FILES}/{name}{end}")
            };
            let target = format!("]({}{inside}{anchor})", "../".repeat(depth));
            chapter.content = chapter.content.replace(&format!("]({})", link.target), &target);
        }
    }
}

/// Builds the book into a folder.
fn build(into: &Path) {
    let mut book = MDBook::load(repository()).expect("the book can be read");
    book.config.build.build_dir = into.to_owned();
    let files = Arc::new(Mutex::new(BTreeSet::new()));
    book.with_preprocessor(Outside(Arc::clone(&files)));
    book.build().expect("the book can be built");
    for file in files.lock().expect("nobody panics with it").iter() {
        let (from, to) = (repository().join(file), into.join(FILES).join(file));
        fs::create_dir_all(to.parent().expect("the folder")).expect("writable");
        if from.is_dir() {
            let mut names: Vec<String> = fs::read_dir(&from)
                .expect("readable")
                .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            fs::write(to.with_added_extension("txt"), names.join("\n") + "\n").expect("writable");
        } else {
            fs::copy(&from, &to).expect("writable");
        }
    }
}

/// The pages of HTML below a folder, by their paths in it.
fn html(folder: &Path) -> BTreeMap<PathBuf, String> {
    let (mut pages, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "html") {
                let text = fs::read_to_string(&path).expect("text");
                pages.insert(path.strip_prefix(folder).expect("below it").to_owned(), text);
            }
        }
    }
    pages
}

/// What is wrong with a link of a page.
fn fault(
    folder: &Path,
    pages: &BTreeMap<PathBuf, String>,
    page: &Path,
    target: &str,
) -> Option<String> {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = match file {
        "" => folder.join(page),
        file => folder.join(page).parent().expect("the folder").join(file),
    };
    let Ok(path) = path.canonicalize() else {
        return Some(format!("there is no {}", path.display()));
    };
    let own = path.strip_prefix(folder).ok()?;
    let html = pages.get(own)?;
    let named = anchor.is_empty() || html.contains(&format!("id=\"{anchor}\""));
    (!named).then(|| format!("{} has no such place", own.display()))
}

#[test]
fn the_book_builds_without_broken_links() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let given = env::var_os("PENSTOCK_BOOK").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| scratch.path().join("book"));
    build(&folder);
    let folder = folder.canonicalize().expect("it was made");
    let pages = html(&folder);
    let link = Regex::new(r#"(?:href|src)="([^"]*)""#).expect("an expression");
    let (mut faults, mut links) = (Vec::new(), 0);
    for (path, text) in &pages {
        for found in link.captures_iter(text) {
            let target = found[1].replace("&amp;", "&");
            // Who reads the book elsewhere, follows these; nothing is loaded from there.
            if target.starts_with("https://") && found[0].starts_with("href") {
                continue;
            }
            links += 1;
            if let Some(fault) = fault(&folder, &pages, path, &target) {
                faults.push(format!("{}: {target}: {fault}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // A page for each chapter, and index.html.
    let chapters = Page::read("docs/SUMMARY.md").links().len();
    assert!(pages.len() > chapters && links > 1000, "{} pages, {links} links", pages.len());
}
