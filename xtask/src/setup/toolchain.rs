//! The compiler of the eBPF programs: any rustc that has the sources of `core` beside it, for the
//! target has no compiled one, and an LLVM that some bpf-linker fits.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{linker, packages, which};
use crate::step;

/// The oldest compiler that the workspace builds with: `rust-version` in `Cargo.toml`.
const OLDEST: (u32, u32) = (1, 95);

/// A compiler that can build for `bpfel-unknown-none`.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// For people: `nightly-x86_64-unknown-linux-gnu`, `/usr/bin/rustc`.
    pub(crate) name: String,
    /// For people: `1.96.0, LLVM 22`.
    pub(crate) version: String,
    /// The compiler.
    pub(crate) rustc: PathBuf,
    /// Its cargo.
    pub(crate) cargo: PathBuf,
    /// The major version of its LLVM.
    pub(crate) llvm: u32,
}

/// The best compiler of this machine; installs one if there is none.
pub(super) fn find_or_install() -> Result<Toolchain> {
    if let Some(toolchain) = find() {
        return Ok(toolchain);
    }
    if candidates().is_empty() {
        add_sources()?;
    }
    find().with_context(missing)
}

/// Gets a compiler with sources: those of the toolchain that the workspace is built with, a few
/// megabytes, or else the distribution's compiler.
fn add_sources() -> Result<()> {
    let rustup = which("rustup").map(|rustup| {
        step::run(
            "adding the standard library's sources to the Rust toolchain",
            "rust-src",
            Command::new(rustup).args(["component", "add", "rust-src"]),
        )
    });
    // The names of Debian's packages of a recent Rust; other distributions put a version in them.
    let distribution = ["rustc-web", "cargo-web", "rust-web-src"];
    match rustup {
        Some(Ok(())) => Ok(()),
        _ if distribution.iter().all(|package| packages::offered(package, recent)) => {
            packages::install(&distribution)
        }
        Some(Err(error)) => Err(error),
        None => Ok(()),
    }
}

/// Says in one line why there is no compiler to use.
fn missing() -> String {
    match candidates().first() {
        None => "missing: a Rust compiler with the sources of core for the eBPF programs; get one \
                 with: rustup component add rust-src"
            .to_owned(),
        Some(Toolchain { llvm, .. }) => format!(
            "missing: LLVM {llvm}'s development files, to build bpf-linker with; install \
             llvm-{llvm}-dev libpolly-{llvm}-dev libzstd-dev zlib1g-dev, or set LLVM_PREFIX to \
             where they are, or {} to a bpf-linker that was built with them",
            linker::GIVEN
        ),
    }
}

/// The first of the machine's compilers that has a linker, or at least could get one.
fn find() -> Option<Toolchain> {
    let mut candidates = candidates();
    let ready = candidates.iter().position(|t| linker::exists(t.llvm));
    let found = ready.or_else(|| candidates.iter().position(|t| linker::can_build(t.llvm)));
    found.map(|index| candidates.swap_remove(index))
}

fn candidates() -> Vec<Toolchain> {
    sysroots().iter().filter_map(|(name, sysroot)| probe(name, sysroot)).collect()
}

/// Where compilers may be, best first: rustup's nightlies, the distribution's, rustup's others.
fn sysroots() -> Vec<(String, PathBuf)> {
    let rustup = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".rustup")));
    let mut toolchains: Vec<(String, PathBuf)> = rustup
        .and_then(|rustup| fs::read_dir(rustup.join("toolchains")).ok())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect();
    toolchains.sort();
    let (mut all, others): (Vec<_>, Vec<_>) =
        toolchains.into_iter().partition(|(name, _)| name.starts_with("nightly"));
    all.push(("the distribution's".to_owned(), PathBuf::from("/usr")));
    // Ubuntu keeps newer compilers beside its default one.
    let versioned = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    all.extend(versioned.filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with("rust-1.").then(|| (name, entry.path()))
    }));
    all.extend(others);
    all
}

/// The compiler of a sysroot, if it has the sources and is recent enough.
fn probe(name: &str, sysroot: &Path) -> Option<Toolchain> {
    let rustc = sysroot.join("bin/rustc");
    let cargo = sysroot.join("bin/cargo");
    let sources = ["lib/rustlib/src/rust/library/core/src/lib.rs"];
    if !rustc.is_file() || !cargo.is_file() || !sources.iter().all(|s| sysroot.join(s).is_file()) {
        return None;
    }
    let verbose = step::output(Command::new(&rustc).arg("-vV").env_remove("LD_LIBRARY_PATH"))?;
    let field = |key: &str| verbose.lines().find_map(|line| line.strip_prefix(key));
    let release = field("release: ")?;
    let llvm = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
    let version = format!("{release}, LLVM {llvm}");
    let fits = recent(release) && linker::LLVM.contains(&llvm);
    fits.then(|| Toolchain { name: name.to_owned(), version, rustc, cargo, llvm })
}

/// Whether `1.96.0` or `1.96.0+dfsg1-1~deb12u2` is new enough.
fn recent(version: &str) -> bool {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        for (version, expected) in [
            ("1.95.0", true),
            ("1.96.0+dfsg1-1~deb12u2", true),
            ("1.97.0-nightly", true),
            ("2.0.0", true),
            ("1.94.9", false),
            ("1.9.0", false),
            ("", false),
        ] {
            assert_eq!(recent(version), expected, "{version}");
        }
    }
}
