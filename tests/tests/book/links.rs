//! Links between documents, in the Markdown.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use crate::page::{BESIDE, Page, pages, repository};

/// The path without `.` and `..`; `None` if it leads out of the repository.
fn resolved(path: &Path) -> Option<PathBuf> {
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => resolved.push(name),
            Component::CurDir => {}
            Component::ParentDir if resolved.pop() => {}
            _ => return None,
        }
    }
    Some(resolved)
}

/// What is wrong with a link of a page.
fn fault(page: &Page, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let anchors = if file.is_empty() {
        page.anchors()
    } else {
        let folder = page.path.parent().unwrap_or(Path::new(""));
        let Some(path) = resolved(&folder.join(file)) else {
            return Some("it leads out of the repository".to_owned());
        };
        if !repository().join(&path).exists() {
            return Some(format!("there is no {}", path.display()));
        }
        if path.extension().is_none_or(|end| end != "md") {
            return None;
        }
        Page::read(path).anchors()
    };
    if !anchor.is_empty() && !anchors.contains(anchor) {
        return Some(format!("there are {anchors:?}"));
    }
    None
}

#[test]
fn every_link_leads_somewhere() {
    let (mut faults, mut links) = (Vec::new(), 0);
    for page in pages() {
        for link in page.links() {
            links += 1;
            if let Some(fault) = fault(&page, &link.target) {
                faults.push(format!("{}:{}: {}: {fault}", page.name(), link.line, link.target));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(links > 100, "only {links} links were found");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = Page { path: PathBuf::from("docs/x.md"), text: "# A title\n".to_owned() };
    for broken in ["absent.md", "#no-title", "../../x", "flags.md#absent"] {
        assert!(fault(&page, broken).is_some(), "{broken}");
    }
    for sound in ["flags.md", "#a-title", "../README.md", "../xtask/src", "https://kubernetes.io/x"]
    {
        assert_eq!(fault(&page, sound), None, "{sound}");
    }
}

/// Every page is in the book, once.
#[test]
fn the_summary_has_every_page() {
    let summary = Page::read("docs/SUMMARY.md");
    let links = summary.links();
    let chapters: BTreeSet<PathBuf> =
        links.iter().map(|link| Path::new("docs").join(&link.target)).collect();
    assert_eq!(chapters.len(), links.len(), "a page is there twice");
    // Those beside are included by pages of the book, or are what a forge shows first.
    let beside: Vec<&Path> = BESIDE.iter().map(Path::new).collect();
    let pages = pages().into_iter().map(|page| page.path);
    let missing: Vec<PathBuf> = pages
        .filter(|path| path != &summary.path && !beside.contains(&path.as_path()))
        .filter(|path| !chapters.contains(path))
        .collect();
    assert!(missing.is_empty(), "{} does not have {missing:?}", summary.name());
}
