//! Kernels out of Debian's archive, kept in the cache. The package lists are fetched into a place of
//! our own, for a machine's sources name the kernels of its own release only.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{step, workspace};

/// The releases whose kernels are booted.
const SUITES: [&str; 3] = ["bullseye", "bookworm", "trixie"];
/// The small variant for virtual machines: it has what the tests need built in.
const VARIANT: &str = "-cloud-amd64";
/// Modules that tc's filters need where there are no links for tc (before Linux 6.6): newer releases
/// have them compressed, and need them not.
const MODULES: [&str; 2] = ["sch_ingress", "cls_bpf"];
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A kernel, and what it has in pieces.
pub(super) struct Kernel {
    /// What boots.
    pub(super) image: PathBuf,
    /// Modules, in the order in which they can be loaded.
    pub(super) modules: Vec<PathBuf>,
}

impl Kernel {
    /// As the cache has it; `None` if it has only some of it.
    fn cached(cache: &Path, name: &str) -> Option<Self> {
        let folder = cache.join(format!("{name}.modules"));
        let modules = MODULES.map(|module| folder.join(format!("{module}.ko")));
        let modules = modules.into_iter().filter(|path| path.is_file()).collect();
        folder.is_dir().then(|| Self { image: cache.join(name), modules })
    }
}

/// The newest kernel of a series in the cache, or else in the archive.
pub(super) fn kernel(series: &str) -> Result<Kernel> {
    let cache = workspace::cache()?.join("kernels");
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let entries = fs::read_dir(&cache).with_context(|| cache.display().to_string())?;
    let cached = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    if let Some(kernel) = newest(cached, series).and_then(|name| Kernel::cached(&cache, &name)) {
        return Ok(kernel);
    }
    download(&cache, series)
}

fn download(cache: &Path, series: &str) -> Result<Kernel> {
    let apt = Apt::new(&cache.join("apt"))?;
    let names = apt.output("apt-cache", &["pkgnames", &format!("linux-image-{series}.")])?;
    let names = names.lines().filter_map(|name| name.strip_prefix("linux-image-"));
    let name = newest(names.map(str::to_owned), series)
        .with_context(|| format!("Debian's archive has no kernel {series}"))?;

    let scratch = cache.join("apt/unpacked");
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
    let package = format!("linux-image-{name}");
    let mut command = apt.command("apt-get");
    command.args(["download", &package]).current_dir(&scratch);
    step::run(&format!("fetching Linux {name}"), "kernel", &mut command)?;
    let archive = fs::read_dir(&scratch)?.flatten().next().context("apt-get left no file")?.path();
    step::run(
        &format!("unpacking Linux {name}"),
        "kernel",
        Command::new("dpkg-deb").arg("--extract").arg(archive).arg(&scratch),
    )?;
    let folder = cache.join(format!("{name}.modules"));
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for module in MODULES.map(|module| format!("{module}.ko")) {
        let from = scratch.join("lib/modules").join(&name).join("kernel/net/sched").join(&module);
        if from.is_file() {
            fs::copy(&from, folder.join(&module)).with_context(|| from.display().to_string())?;
        }
    }
    // Last, and in one step: what is in the cache is whole.
    fs::rename(scratch.join("boot").join(format!("vmlinuz-{name}")), cache.join(&name))
        .with_context(|| format!("{package} holds no kernel"))?;
    let _ = fs::remove_dir_all(&scratch);
    Kernel::cached(cache, &name).context("the cache was changed meanwhile")
}

/// The newest of the names that are of this series: `6.1.0-50-cloud-amd64`.
fn newest(names: impl Iterator<Item = String>, series: &str) -> Option<String> {
    names.filter(|name| is_of(name, series)).max_by_key(|name| numbers(name))
}

fn is_of(name: &str, series: &str) -> bool {
    name.strip_prefix(series).is_some_and(|rest| rest.starts_with('.')) && name.ends_with(VARIANT)
}

fn numbers(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect()
}

/// apt with lists and sources of our own.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(folder: &Path) -> Result<Self> {
        let apt = Self { folder: folder.to_owned() };
        for folder in ["lists/partial", "archives/partial"] {
            let folder = apt.folder.join(folder);
            fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        let mirror = mirror()?;
        let lines = SUITES.map(|suite| format!("deb [signed-by={KEYS}] {mirror} {suite} main\n"));
        let sources = apt.folder.join("sources.list");
        fs::write(&sources, lines.concat()).with_context(|| sources.display().to_string())?;
        step::run(
            "fetching the lists of Debian's kernels",
            "kernel-lists",
            apt.command("apt-get").arg("update"),
        )?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (option, path) in [
            ("Dir::Etc::SourceList", "sources.list"),
            ("Dir::State::Lists", "lists"),
            ("Dir::Cache", "."),
        ] {
            command.arg(format!("-o={option}={}", self.folder.join(path).display()));
        }
        // The folder belongs to whoever runs this, and apt's own user may not write there.
        let user =
            if step::is_root() { "-o=APT::Sandbox::User=root" } else { "-o=Debug::NoLocking=1" };
        command.args(["-o=Dir::Etc::SourceParts=-", "-o=Acquire::Languages=none", user]);
        command
    }

    fn output(&self, program: &str, arguments: &[&str]) -> Result<String> {
        step::output(self.command(program).args(arguments))
            .with_context(|| format!("{program} {} failed", arguments.join(" ")))
    }
}

/// The mirror of Debian that this machine uses.
fn mirror() -> Result<String> {
    let targets = step::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Label: Debian",
    ]));
    let targets = targets.unwrap_or_default();
    match targets.lines().next() {
        Some(mirror) if Path::new(KEYS).is_file() => Ok(mirror.to_owned()),
        _ => bail!("the kernels come out of Debian's archive, and this machine's sources lack it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_of_a_series_is_the_one_with_the_highest_numbers() {
        let names = [
            "6.1.0-9-cloud-amd64",
            "6.1.0-50-cloud-amd64",
            "6.1.0-51-amd64",
            "6.12.94+deb13-cloud-amd64",
            "6.12.107+deb13-cloud-amd64",
            "6.12.107+deb13-cloud-amd64-unsigned",
        ];
        let newest = |series| newest(names.iter().map(|&name| name.to_owned()), series);
        assert_eq!(newest("6.1").as_deref(), Some("6.1.0-50-cloud-amd64"));
        assert_eq!(newest("6.12").as_deref(), Some("6.12.107+deb13-cloud-amd64"));
        assert_eq!(newest("6"), newest("6.12"));
        assert_eq!(newest("5.10"), None);
    }
}
