//! Programs of others that work beside an ingress controller in a cluster, for the tests that show that
//! they do: built from their Go modules into the cache, under names with their versions.

use std::{
    fs,
    hash::{DefaultHasher, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::kubernetes::go;
use crate::{step, workspace};

/// Let's Encrypt's authority for tests, and the name server that goes with it.
const PEBBLE: (&str, &str) = ("github.com/letsencrypt/pebble/v2", "2.10.1");
/// What `tests/cluster/certmanager` asks for: a module of ours, for cert-manager's own programs are in
/// modules that cannot be asked for.
const CERT_MANAGER: &str = "1.21.2";
/// What its build depends on.
const SOURCES: [&str; 4] = ["go.mod", "go.sum", "acmesolver/main.go", "controller/main.go"];

/// The variable by which tests find each, and its directory.
pub(crate) type Companions = Vec<(&'static str, PathBuf)>;

/// Those that are there.
pub(crate) fn found() -> Companions {
    let mut all = places().unwrap_or_default();
    all.retain(|(_, directory)| directory.is_dir());
    all
}

/// All of them; builds what is not there.
pub(crate) fn companions() -> Result<Companions> {
    let all = places()?;
    for (variable, directory) in &all {
        if directory.is_dir() {
            continue;
        }
        let Some(go) = go() else {
            bail!("missing: Go 1.26 or newer, which builds {}", directory.display());
        };
        // It gets its name only when it is whole.
        let unfinished = directory.with_extension(format!("{}.new", std::process::id()));
        fs::create_dir_all(&unfinished)?;
        let outcome = build(variable, &go, &unfinished).and_then(|()| {
            match fs::rename(&unfinished, directory) {
                // Somebody else has built the same meanwhile.
                Err(_) if directory.is_dir() => Ok(()),
                outcome => Ok(outcome?),
            }
        });
        // Gone already where it got its name.
        let _ = fs::remove_dir_all(&unfinished);
        outcome.with_context(|| format!("cannot provide {}", directory.display()))?;
    }
    Ok(all)
}

fn places() -> Result<Companions> {
    let cache = workspace::cache()?;
    let hash = hash(&sources())?;
    Ok(vec![
        ("PENSTOCK_PEBBLE", cache.join(format!("pebble-{}", PEBBLE.1))),
        ("PENSTOCK_CERT_MANAGER", cache.join(format!("cert-manager-{CERT_MANAGER}-{hash:016x}"))),
    ])
}

fn build(variable: &str, go: &Path, directory: &Path) -> Result<()> {
    let install = |(module, version): (&str, &str), package: &str| {
        let name = package.rsplit('/').next().unwrap_or(package);
        let mut command = Command::new(go);
        command.args(["install", "-trimpath", "-ldflags=-s -w"]);
        command.arg(format!("{package}@v{version}")).env("GOBIN", directory);
        run(&format!("building {name} {version} of {module} (once)"), name, &mut command)
    };
    match variable {
        "PENSTOCK_PEBBLE" => ["pebble", "pebble-challtestsrv"]
            .iter()
            .try_for_each(|name| install(PEBBLE, &format!("{}/cmd/{name}", PEBBLE.0))),
        _ => {
            for name in ["acmesolver", "controller"] {
                let mut command = Command::new(go);
                command.args(["build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o"]);
                command.arg(directory.join(name)).arg(format!("./{name}")).current_dir(sources());
                let title = format!("building cert-manager {CERT_MANAGER}: {name} (once)");
                run(&title, &format!("cert-manager-{name}"), &mut command)?;
            }
            copy_definitions(go, &directory.join("crds"))
        }
    }
}

/// The definitions of cert-manager's own kinds of objects are in its module.
fn copy_definitions(go: &Path, directory: &Path) -> Result<()> {
    let mut command = Command::new(go);
    let module = "github.com/cert-manager/cert-manager";
    command.args(["list", "-m", "-f", "{{.Dir}}", module]).current_dir(sources());
    let place = step::output(&mut command).context("go does not say where cert-manager is")?;
    fs::create_dir_all(directory)?;
    for entry in fs::read_dir(Path::new(place.trim()).join("deploy/crds"))?.flatten() {
        if entry.path().extension().is_some_and(|end| end == "yaml") {
            // Not `fs::copy`: what Go keeps is read-only.
            fs::write(directory.join(entry.file_name()), fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

fn run(title: &str, log: &str, command: &mut Command) -> Result<()> {
    step::run(title, log, command.env("CGO_ENABLED", "0"))
}

fn sources() -> PathBuf {
    workspace::root().join("tests/cluster/certmanager")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cert_manager_is_of_the_release_that_the_module_asks_for() {
        let module = fs::read_to_string(sources().join("go.mod")).unwrap();
        assert!(module.contains(&format!("cert-manager/cert-manager v{CERT_MANAGER}\n")));
    }
}
