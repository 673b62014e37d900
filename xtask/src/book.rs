//! `cargo xtask book`: the book of `docs/`, as pages for a browser. mdBook is among the tests' crates, which
//! build it too and look for broken links.

use std::process::Command;

use anyhow::Result;

use crate::{build, step, workspace};

pub(crate) fn main() -> Result<()> {
    let folder = workspace::target().join("book");
    let mut command = Command::new(workspace::cargo());
    command
        .args(["test", "--locked", "--package", "penstock-tests", "--test", "book"])
        .args(["the_book_builds_without_broken_links"])
        .env("PENSTOCK_BOOK", &folder)
        .current_dir(workspace::root());
    build::embed(&mut command, None);
    step::run("building the book", "book", &mut command)?;
    step::say(&format!("  {}", workspace::shown(&folder.join("index.html"))));
    Ok(())
}
