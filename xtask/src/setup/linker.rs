//! bpf-linker: turns the compiler's bitcode into an eBPF object. Built against the same major
//! version of LLVM as the compiler's, for bitcode of a newer LLVM cannot be read; kept outside the
//! work tree, for the build takes a minute.

use std::{
    env,
    ffi::OsString,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{packages, which};
use crate::{step, workspace};

/// The release that we build with: another one may produce code that a verifier refuses.
const VERSION: &str = "0.13.0";
/// The major versions of LLVM that it has a feature for.
pub(super) const LLVM: RangeInclusive<u32> = 21..=23;

/// Names a bpf-linker to use instead of one of our own making, on a machine without LLVM.
pub(super) const GIVEN: &str = "PENSTOCK_BPF_LINKER";

/// A bpf-linker that runs.
pub(crate) struct Linker {
    /// The program.
    pub(crate) path: PathBuf,
}

/// The linker for this LLVM; builds it if it is not in the cache.
pub(super) fn find_or_build(llvm: u32) -> Result<Linker> {
    let path = path(llvm)?;
    if !runs(&path) {
        if env::var_os(GIVEN).is_some() {
            bail!("{} ({GIVEN}) does not run", path.display());
        }
        build(llvm).with_context(|| format!("cannot provide bpf-linker {VERSION}"))?;
    }
    Ok(Linker { path })
}

/// Whether the cache holds a linker for this LLVM.
pub(super) fn exists(llvm: u32) -> bool {
    path(llvm).is_ok_and(|path| runs(&path))
}

/// Whether this LLVM is here or can be installed.
pub(super) fn can_build(llvm: u32) -> bool {
    prefix(llvm).is_some() || packages::offered(&format!("llvm-{llvm}-dev"), |_| true)
}

fn root(llvm: u32) -> Result<PathBuf> {
    Ok(workspace::cache()?.join(format!("bpf-linker-{VERSION}-llvm-{llvm}")))
}

fn path(llvm: u32) -> Result<PathBuf> {
    if let Some(given) = env::var_os(GIVEN) {
        return Ok(given.into());
    }
    Ok(root(llvm)?.join("bin/bpf-linker"))
}

/// It does not when the LLVM that it is linked to has gone.
fn runs(linker: &Path) -> bool {
    linker.is_file()
        && step::output(Command::new(linker).arg("--version").env_remove("LD_LIBRARY_PATH"))
            .is_some()
}

fn build(llvm: u32) -> Result<()> {
    let found = prefix(llvm);
    let mut missing: Vec<String> = Vec::new();
    if found.is_none() {
        missing.push(format!("llvm-{llvm}-dev"));
        missing.push(format!("libpolly-{llvm}-dev"));
        missing.extend(["libzstd-dev", "zlib1g-dev"].map(String::from));
    }
    if which("g++").is_none() {
        missing.push("g++".to_owned());
    }
    if !missing.is_empty() {
        packages::install(&missing.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    let prefix = prefix(llvm).with_context(|| format!("LLVM {llvm} has no llvm-config"))?;

    let mut path = OsString::from(prefix.join("bin"));
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    step::run(
        &format!("building bpf-linker {VERSION} for LLVM {llvm} (once)"),
        "bpf-linker",
        Command::new(workspace::cargo())
            .args(["install", "--locked", "--force", "bpf-linker", "--version", VERSION])
            .args(["--no-default-features", "--features", &format!("llvm-{llvm}")])
            .arg("--root")
            .arg(root(llvm)?)
            .env("LLVM_PREFIX", prefix)
            .env("PATH", path)
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("LD_LIBRARY_PATH")
            // Away from the work tree, whose configuration is not meant for it.
            .current_dir(workspace::cache()?),
    )
}

/// Where this LLVM is installed: `$LLVM_PREFIX`, or where Debian puts it.
fn prefix(llvm: u32) -> Option<PathBuf> {
    let debian = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    let given = env::var_os("LLVM_PREFIX").map(PathBuf::from);
    given.into_iter().chain([debian]).find(|prefix| {
        let version = step::output(Command::new(prefix.join("bin/llvm-config")).arg("--version"));
        let major = version.as_deref().and_then(|version| version.split('.').next()?.parse().ok());
        // The headers come with the -dev package, llvm-config may come without them.
        major == Some(llvm) && prefix.join("include/llvm-c/Core.h").is_file()
    })
}
