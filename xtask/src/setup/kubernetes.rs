//! Kubernetes' own programs: one Go module in `tests/cluster/server`, built once into the cache under
//! a name that changes with its sources, with a link for each program's name beside it.

use std::{
    fs,
    hash::{DefaultHasher, Hasher},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::which;
use crate::{step, workspace};

/// The release that `go.mod` asks for, which the programs say that they are.
const VERSION: &str = "1.36.1";
/// What the build depends on.
const SOURCES: [&str; 5] = ["go.mod", "go.sum", "main.go", "echo/main.go", "pause/main.go"];
/// By these names the binary is another program each.
const PROGRAMS: [&str; 7] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
];

/// The directory with the programs; builds them if they are not in the cache.
pub(crate) fn kubernetes() -> Result<PathBuf> {
    let sources = workspace::root().join("tests/cluster/server");
    let name = format!("kubernetes-{VERSION}-{:016x}", hash(&sources)?);
    let directory = workspace::cache()?.join(name);
    if !directory.is_dir() {
        build(&sources, &directory)
            .with_context(|| format!("cannot provide Kubernetes {VERSION}"))?;
    }
    Ok(directory)
}

/// Where std changes its algorithm, the programs are built once more.
fn hash(sources: &Path) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    for name in SOURCES {
        let path = sources.join(name);
        hasher.write(&fs::read(&path).with_context(|| path.display().to_string())?);
    }
    Ok(hasher.finish())
}

fn build(sources: &Path, directory: &Path) -> Result<()> {
    let Some(go) = go() else {
        bail!(
            "missing: Go 1.26 or newer (an older one from 1.21 on fetches it); or set \
             KUBEBUILDER_ASSETS to a directory with etcd, kube-apiserver and kubectl for the tests"
        );
    };
    // It gets its name only when it is whole.
    let unfinished = directory.with_extension(format!("{}.new", std::process::id()));
    fs::create_dir_all(&unfinished)?;
    let outcome = compile(&go, sources, &unfinished).and_then(|()| {
        for program in PROGRAMS {
            symlink("kubernetes", unfinished.join(program))?;
        }
        match fs::rename(&unfinished, directory) {
            // Somebody else has built the same meanwhile.
            Err(_) if directory.is_dir() => Ok(()),
            outcome => Ok(outcome?),
        }
    });
    // Gone already where it got its name.
    let _ = fs::remove_dir_all(&unfinished);
    outcome
}

fn compile(go: &Path, sources: &Path, directory: &Path) -> Result<()> {
    // Kubernetes' programs learn their version from the linker; kubectl refuses to do without.
    let info = "k8s.io/component-base/version";
    let (major, minor) = VERSION.split_once('.').unwrap_or((VERSION, ""));
    let minor = minor.split('.').next().unwrap_or_default();
    let variables = [
        format!("{info}.gitVersion=v{VERSION}"),
        format!("{info}.gitMajor={major}"),
        format!("{info}.gitMinor={minor}"),
        format!("{info}.gitTreeState=clean"),
        format!("{info}.gitCommit=0000000"),
        format!("{info}.buildDate=1970-01-01T00:00:00Z"),
        format!("k8s.io/client-go/pkg/version.gitVersion=v{VERSION}"),
    ];
    let flags: String = variables.iter().map(|variable| format!(" -X {variable}")).collect();
    let build = |title: &str, name: &str, package: &str| {
        step::run(
            title,
            name,
            Command::new(go)
                .args(["build", "-trimpath", "-buildvcs=false"])
                .arg(format!("-ldflags=-s -w{flags}"))
                .arg("-o")
                .arg(directory.join(name))
                .arg(package)
                .current_dir(sources)
                .env("CGO_ENABLED", "0"),
        )
    };
    build("building what a pod is held by", "pause", "./pause")?;
    build("building an application for pods", "echo", "./echo")?;
    build(&format!("building Kubernetes {VERSION} (once, some minutes)"), "kubernetes", ".")
}

/// Go in `PATH`, else where its own instructions put it.
pub(super) fn go() -> Option<PathBuf> {
    let usual = PathBuf::from("/usr/local/go/bin/go");
    which("go").or_else(|| usual.is_file().then_some(usual))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_are_of_the_release_that_the_module_asks_for() {
        let module = workspace::root().join("tests/cluster/server/go.mod");
        let module = fs::read_to_string(module).unwrap();
        assert!(module.contains(&format!("\tk8s.io/kubernetes v{VERSION}\n")));
    }
}
