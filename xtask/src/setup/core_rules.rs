//! The OWASP Core Rule Set, for the tests of the firewall: as a Go module brings it, through Go's
//! own client, which checks what it gets against the public log of sums.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::packages;
use crate::{step, workspace};

/// The release that is tested with; the tests of the agent name it too.
const VERSION: &str = "4.25.0";
const MODULE: &str = "github.com/corazawaf/coraza-coreruleset/v4";

/// The directory for `--modsecurity-rules`; makes it if it is not in the cache.
pub(super) fn core_rules() -> Result<PathBuf> {
    let root = workspace::cache()?.join(format!("crs-{VERSION}"));
    if !root.join("crs-setup.conf").is_file() {
        make(&root).with_context(|| format!("cannot provide the Core Rule Set {VERSION}"))?;
    }
    Ok(root)
}

fn make(root: &Path) -> Result<()> {
    packages::ensure(&[packages::Tool { program: "go", package: "golang-go" }])?;
    let mut go = Command::new("go");
    go.args(["mod", "download", "-json", &format!("{MODULE}@v{VERSION}")]);
    go.current_dir(workspace::cache()?);
    let told = step::output(&mut go).context("`go mod download` does not bring it")?;
    let told: serde_json::Value = serde_json::from_str(&told)?;
    let module = told["Dir"].as_str().context("`go mod download` does not say where it is")?;
    let from = Path::new(module).join("rules");
    let rules = root.join("rules");
    fs::create_dir_all(&rules)?;
    for entry in fs::read_dir(from.join("@owasp_crs"))? {
        let entry = entry?;
        fs::write(rules.join(entry.file_name()), fs::read(entry.path())?)?;
    }
    // Last, for by it the whole is known to be there.
    fs::write(root.join("crs-setup.conf"), fs::read(from.join("@crs-setup.conf.example"))?)?;
    Ok(())
}
