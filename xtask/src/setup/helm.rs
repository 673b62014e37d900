//! Helm, which the chart is rendered and tested with: the person's own, or built from its Go module
//! into the cache.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use super::which;
use crate::{step, workspace};

/// The release that is built, and that the manifests are rendered by.
pub(crate) const VERSION: &str = "3.22.0";

/// Its Go module.
const MODULE: &str = "helm.sh/helm/v3";
/// The minor version of Kubernetes that it takes a cluster to have where it asks none.
const KUBERNETES: u32 = 36;

/// Helm, if it is there: `PENSTOCK_HELM`, or the cache's.
pub(crate) fn found() -> Option<PathBuf> {
    let named = env::var_os("PENSTOCK_HELM").map(PathBuf::from);
    let cached = workspace::cache().ok().map(|cache| directory(cache).join("helm"));
    [named, cached].into_iter().flatten().find(|path| path.is_file())
}

/// Helm; builds it if it is not there.
pub(crate) fn helm() -> Result<PathBuf> {
    if let Some(found) = found() {
        return Ok(found);
    }
    let Some(go) = which("go") else {
        bail!(
            "helm {VERSION} is built by Go, which is not there: install Go, or name a helm 3 by PENSTOCK_HELM"
        );
    };
    let directory = directory(workspace::cache()?);
    std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    step::run(
        &format!("building helm {VERSION} (once)"),
        "helm",
        Command::new(go)
            .args(["install", "-trimpath", "-ldflags"])
            .arg(format!(
                "-s -w -X {MODULE}/internal/version.version=v{VERSION} \
                 -X {MODULE}/pkg/chartutil.k8sVersionMajor=1 \
                 -X {MODULE}/pkg/chartutil.k8sVersionMinor={KUBERNETES}"
            ))
            .arg(format!("{MODULE}/cmd/helm@v{VERSION}"))
            .env("GOBIN", &directory)
            .env("CGO_ENABLED", "0"),
    )?;
    Ok(directory.join("helm"))
}

fn directory(cache: PathBuf) -> PathBuf {
    cache.join(format!("helm-{VERSION}"))
}
