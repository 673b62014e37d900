//! bpf-linker: turns the compiler's bitcode into an eBPF object. Bitcode of a newer LLVM cannot be
//! read, so it is linked against the very library that the compiler uses: rustup's toolchains and
//! distributions' compilers bring it as a shared object that exports all of LLVM's C interface. Only
//! a compiler that has LLVM inside itself needs the distribution's development files. Kept outside
//! the work tree, for the build takes a minute.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::Read,
    ops::RangeInclusive,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::packages;
use crate::{step, workspace};

/// The release that we build with: another one may produce code that a verifier refuses.
const VERSION: &str = "0.13.0";
/// The major versions of LLVM that it has a feature for.
pub(super) const LLVM: RangeInclusive<u32> = 21..=23;

/// Names a bpf-linker to use instead of one of our own making.
pub(super) const GIVEN: &str = "PENSTOCK_BPF_LINKER";

/// A bpf-linker that runs.
pub(crate) struct Linker {
    /// The program.
    pub(crate) path: PathBuf,
}

/// The LLVM of a compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Llvm {
    /// Its major version.
    pub(crate) major: u32,
    /// The shared library; `None` if the compiler has it inside.
    pub(crate) library: Option<PathBuf>,
}

impl Llvm {
    /// The LLVM of the compiler in `sysroot`.
    pub(super) fn of(sysroot: &Path, major: u32) -> Self {
        let mut directories = vec![sysroot.join("lib")];
        if sysroot.starts_with("/usr") {
            // Where Debian and Ubuntu keep the library that their compilers share.
            directories.push(format!("/usr/lib/llvm-{major}/lib").into());
            directories.push(format!("/usr/lib/{}-linux-gnu", env::consts::ARCH).into());
        }
        let library = directories.iter().find_map(|directory| library_in(directory, major));
        Self { major, library }
    }

    /// What makes one linker differ from another.
    fn key(&self) -> String {
        let name = self.library.as_deref().and_then(Path::file_name);
        let name = name.map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or_else(|| format!("llvm-{}", self.major))
    }
}

/// The linker for this LLVM; builds it if it is not in the cache.
pub(super) fn find_or_build(llvm: &Llvm) -> Result<Linker> {
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
pub(super) fn exists(llvm: &Llvm) -> bool {
    path(llvm).is_ok_and(|path| runs(&path))
}

/// Whether this LLVM is here or can be installed.
pub(super) fn can_build(llvm: &Llvm) -> bool {
    llvm.library.is_some()
        || prefix(llvm.major).is_some()
        || packages::offered(&format!("llvm-{}-dev", llvm.major), |_| true)
}

fn root(llvm: &Llvm) -> Result<PathBuf> {
    Ok(workspace::cache()?.join(format!("bpf-linker-{VERSION}-{}", llvm.key())))
}

fn path(llvm: &Llvm) -> Result<PathBuf> {
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

fn build(llvm: &Llvm) -> Result<()> {
    let root = root(llvm)?;
    let prefix = match &llvm.library {
        Some(library) => shared(library, &root.join("llvm"))?,
        None => installed(llvm.major)?,
    };
    let mut path = OsString::from(prefix.join("bin"));
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    step::run(
        &format!("building bpf-linker {VERSION} for {} (once)", llvm.key()),
        "bpf-linker",
        Command::new(workspace::cargo())
            .args(["install", "--locked", "--force", "bpf-linker", "--version", VERSION])
            .args(["--no-default-features", "--features", &format!("llvm-{}", llvm.major)])
            .arg("--root")
            .arg(root)
            .env("LLVM_PREFIX", prefix)
            .env("PATH", path)
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("LD_LIBRARY_PATH")
            // Away from the work tree, whose configuration is not meant for it.
            .current_dir(workspace::cache()?),
    )
}

/// Makes an LLVM prefix of a shared library. bpf-linker's build script links `lib/libLLVM.so` and
/// has `lib` searched when the program starts, where the library must have its own name.
fn shared(library: &Path, prefix: &Path) -> Result<PathBuf> {
    let directory = prefix.join("lib");
    let made = || -> std::io::Result<()> {
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        symlink(library, directory.join("libLLVM.so"))?;
        match library.file_name() {
            Some(name) if name != "libLLVM.so" => symlink(library, directory.join(name)),
            _ => Ok(()),
        }
    };
    made().with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(prefix.to_owned())
}

/// Installs the distribution's LLVM unless it is there.
fn installed(major: u32) -> Result<PathBuf> {
    if prefix(major).is_none() {
        let (llvm, polly) = (format!("llvm-{major}-dev"), format!("libpolly-{major}-dev"));
        packages::install(&[&llvm, &polly, "libzstd-dev", "zlib1g-dev"])?;
    }
    prefix(major).with_context(|| format!("LLVM {major} has no llvm-config"))
}

/// Where this LLVM is installed: `$LLVM_PREFIX`, or where Debian puts it.
fn prefix(major: u32) -> Option<PathBuf> {
    let debian = PathBuf::from(format!("/usr/lib/llvm-{major}"));
    let given = env::var_os("LLVM_PREFIX").map(PathBuf::from);
    given.into_iter().chain([debian]).find(|prefix| {
        let version = step::output(Command::new(prefix.join("bin/llvm-config")).arg("--version"));
        let found = version.as_deref().and_then(|version| version.split('.').next()?.parse().ok());
        // The headers come with the -dev package, llvm-config may come without them.
        found == Some(major) && prefix.join("include/llvm-c/Core.h").is_file()
    })
}

/// The shared library of this LLVM in a directory.
fn library_in(directory: &Path, major: u32) -> Option<PathBuf> {
    let mut libraries: Vec<PathBuf> = fs::read_dir(directory)
        .ok()?
        .flatten()
        .filter(|entry| version_in(&entry.file_name().to_string_lossy()) == Some(major))
        .map(|entry| entry.path())
        .filter(|path| is_elf(path))
        .collect();
    libraries.sort();
    libraries.pop()
}

/// The version in the name of a shared library of LLVM: of `libLLVM.so.22.1-rust-1.95.0-stable`
/// (rustup), `libLLVM.so.22.1` (Debian) or `libLLVM-19.so.1`.
fn version_in(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("libLLVM").filter(|rest| rest.contains(".so"))?;
    let rest = rest.strip_prefix(".so.").or_else(|| rest.strip_prefix('-'))?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Beside the library lies a text that tells linkers its other name.
fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok())
        && magic == *b"\x7fELF"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_by_their_names() {
        for (name, expected) in [
            ("libLLVM.so.22.1-rust-1.95.0-stable", Some(22)),
            ("libLLVM-22-rust-1.95.0-stable.so", Some(22)),
            ("libLLVM.so.21.1", Some(21)),
            ("libLLVM-19.so.1", Some(19)),
            ("libLLVM.so", None),
            ("libLLVMCore.a", None),
            ("libLTO.so.22.1", None),
        ] {
            assert_eq!(version_in(name), expected, "{name}");
        }
    }

    #[test]
    fn a_compiler_is_linked_with_its_own_library_and_not_with_the_text_beside_it() {
        let sysroot = Scratch::new("linker-library");
        let lib = sysroot.0.join("lib");
        fs::create_dir_all(&lib).unwrap();
        fs::write(lib.join("libLLVM-22-rust-1.95.0-stable.so"), "INPUT(libLLVM.so.22.1)").unwrap();
        assert_eq!(Llvm::of(&sysroot.0, 22).library, None);

        let library = lib.join("libLLVM.so.22.1-rust-1.95.0-stable");
        fs::write(&library, b"\x7fELF\x02").unwrap();
        let llvm = Llvm::of(&sysroot.0, 22);
        assert_eq!(llvm.library.as_ref(), Some(&library));
        assert_eq!(llvm.key(), "libLLVM.so.22.1-rust-1.95.0-stable");
        assert!(can_build(&llvm));
        // One of another major version reads other bitcode.
        assert_eq!(Llvm::of(&sysroot.0, 23).library, None);

        let prefix = shared(&library, &sysroot.0.join("prefix")).unwrap();
        for name in ["libLLVM.so", "libLLVM.so.22.1-rust-1.95.0-stable"] {
            assert_eq!(fs::read_link(prefix.join("lib").join(name)).unwrap(), library);
        }
    }

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("penstock-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
