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
    /// Its LLVM.
    pub(crate) llvm: linker::Llvm,
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
    // The names of Debian's packages of a recent Rust; Ubuntu puts a version in them, and its users
    // of an old one have rustup.
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
        Some(Toolchain { llvm: linker::Llvm { major: llvm, .. }, .. }) => format!(
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
    let ready = candidates.iter().position(|t| linker::exists(&t.llvm));
    let found = ready.or_else(|| candidates.iter().position(|t| linker::can_build(&t.llvm)));
    found.map(|index| candidates.swap_remove(index))
}

fn candidates() -> Vec<Toolchain> {
    sysroots().iter().filter_map(|(name, sysroot)| probe(name, sysroot)).collect()
}

/// Where compilers may be, best first: rustup's nightlies, which are made for this; rustup's others,
/// which let nightly's options be used when `RUSTC_BOOTSTRAP` is set; the distribution's, likewise.
fn sysroots() -> Vec<(String, PathBuf)> {
    let rustup = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".rustup")));
    let mut all =
        rustup.map(|rustup| in_folder(&rustup.join("toolchains"), "")).unwrap_or_default();
    all.sort_by(|(a, _), (b, _)| preference(a).cmp(&preference(b)).then_with(|| b.cmp(a)));
    all.push(("the distribution's".to_owned(), PathBuf::from("/usr")));
    // Ubuntu keeps newer compilers beside its default one.
    let mut versioned = in_folder(Path::new("/usr/lib"), "rust-1.");
    versioned.sort_by(|(a, _), (b, _)| b.cmp(a));
    all.extend(versioned);
    all
}

/// The folders in `folder` whose names begin so.
fn in_folder(folder: &Path, prefix: &str) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .filter(|(name, _)| name.starts_with(prefix))
        .collect()
}

/// The place of a rustup toolchain, by its name: lower is better.
fn preference(name: &str) -> u8 {
    match name {
        _ if name.starts_with("nightly") => 0,
        _ if name.starts_with("stable") => 1,
        _ => 2,
    }
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
    let (version, major) = usable(&verbose)?;
    let llvm = linker::Llvm::of(sysroot, major);
    Some(Toolchain { name: name.to_owned(), version, rustc, cargo, llvm })
}

/// What `rustc -vV` says, for people, and the major version of LLVM; `None` if the compiler is too
/// old or there is no bpf-linker for its LLVM.
fn usable(verbose: &str) -> Option<(String, u32)> {
    let field = |key: &str| verbose.lines().find_map(|line| line.strip_prefix(key));
    let release = field("release: ")?;
    let llvm = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
    (recent(release) && linker::LLVM.contains(&llvm))
        .then(|| (format!("{release}, LLVM {llvm}"), llvm))
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
    fn nightlies_come_first_and_then_the_stable_one() {
        let mut names = ["1.95.0-x86_64", "stable-x86_64", "beta-x86_64", "nightly-x86_64"];
        names.sort_by_key(|name| preference(name));
        assert_eq!(names[..2], ["nightly-x86_64", "stable-x86_64"]);
    }

    #[test]
    fn a_compiler_that_is_too_old_or_has_an_unknown_llvm_is_not_used() {
        for (release, llvm, expected) in [
            ("1.95.0", "22.1.2", Some(("1.95.0, LLVM 22", 22))),
            ("1.96.1", "21.1", Some(("1.96.1, LLVM 21", 21))),
            ("1.94.0", "22.1.2", None),
            ("1.99.0", "30.1.0", None),
            ("1.99.0", "20.1.8", None),
        ] {
            let verbose = format!(
                "rustc {release}\nbinary: rustc\nrelease: {release}\nLLVM version: {llvm}\n"
            );
            let expected = expected.map(|(version, llvm)| (version.to_owned(), llvm));
            assert_eq!(usable(&verbose), expected, "{release}, {llvm}");
        }
        assert_eq!(usable("release: 1.95.0\n"), None);
    }

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
