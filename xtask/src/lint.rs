//! `cargo xtask lint`: what a change must pass before it is looked at.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{build::OBJECT_VARIABLE, setup, step, workspace};

pub(crate) fn main() -> Result<()> {
    lint(None)
}

/// Formatting, lints, and the rules about crates. `object`, if there is one, keeps clippy from
/// throwing away what the build before it made.
pub(crate) fn lint(object: Option<&Path>) -> Result<()> {
    step::run("checking the format", "fmt", cargo().args(["fmt", "--all", "--check"]))?;
    every_member_opts_in()?;
    let mut clippy = cargo();
    clippy.args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-Dwarnings"]);
    if let Some(object) = object {
        clippy.env(OBJECT_VARIABLE, object);
    }
    step::run("linting", "clippy", &mut clippy)?;
    if setup::which("cargo-deny").is_some() {
        let mut deny = cargo();
        deny.args(["deny", "--workspace", "check", "bans", "licenses", "sources"]);
        step::run("checking the dependencies", "deny", &mut deny)?;
    } else {
        step::say("  cargo-deny is not installed: licences and sources are not checked");
    }
    Ok(())
}

fn cargo() -> Command {
    let mut command = Command::new(workspace::cargo());
    command.current_dir(workspace::root());
    command
}

/// A lint table that a member does not opt into checks nothing, silently.
fn every_member_opts_in() -> Result<()> {
    let metadata = step::output(cargo().args(["metadata", "--no-deps", "--format-version=1"]))
        .context("cargo metadata failed")?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no package")?;
    for package in packages {
        let path = package["manifest_path"].as_str().context("a package without a manifest")?;
        let manifest = std::fs::read_to_string(path).with_context(|| path.to_owned())?;
        if !opts_in(&manifest) {
            bail!("{path}: add `[lints]` with `workspace = true`");
        }
    }
    Ok(())
}

fn opts_in(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    lines.find(|line| !line.is_empty() && !line.starts_with('#')) == Some("workspace = true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_without_the_lint_table_is_found() {
        assert!(opts_in("[package]\n\n[lints]\n# Why.\nworkspace = true\n"));
        assert!(!opts_in("[package]\nworkspace = true\n"));
        assert!(!opts_in("[lints]\n[dependencies]\nworkspace = true\n"));
        assert!(!opts_in("[lints.clippy]\nworkspace = true\n"));
    }
}
