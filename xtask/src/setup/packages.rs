//! Debian and Ubuntu packages.

use std::{process::Command, sync::Once};

use anyhow::{Result, bail};

use super::which;
use crate::step;

/// A program and the package that brings it.
pub(super) struct Tool {
    pub(super) program: &'static str,
    pub(super) package: &'static str,
}

/// Installs the packages of the programs that are missing.
pub(super) fn ensure(tools: &[Tool]) -> Result<()> {
    let mut packages: Vec<&str> =
        tools.iter().filter(|t| which(t.program).is_none()).map(|t| t.package).collect();
    packages.dedup();
    if packages.is_empty() { Ok(()) } else { install(&packages) }
}

/// Installs the packages of these that are missing: for what is no program.
pub(super) fn ensure_packages(packages: &[&'static str]) -> Result<()> {
    let installed = |package: &&&str| {
        let status =
            step::output(Command::new("dpkg-query").args(["-W", "-f", "${Status}", package]));
        status.is_some_and(|status| status.ends_with(" installed"))
    };
    let missing: Vec<&str> =
        packages.iter().filter(|package| !installed(package)).copied().collect();
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

/// Whether `apt` offers the package, in a version that `accept` likes. Fetches the package lists
/// where those at hand do not: in a fresh container there are none, elsewhere they may be old.
pub(super) fn offered(package: &str, accept: impl Fn(&str) -> bool) -> bool {
    if which("apt-cache").is_none() {
        return false;
    }
    let acceptable = || candidate(package).is_some_and(|version| accept(&version));
    static FRESH: Once = Once::new();
    if !acceptable()
        && let Some(rights) = Rights::held()
    {
        FRESH.call_once(|| refresh(rights));
    }
    acceptable()
}

/// The version that `apt` would install.
fn candidate(package: &str) -> Option<String> {
    let policy = step::output(Command::new("apt-cache").args(["policy", package]))?;
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

/// Installs packages, without the services that some of them would start.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    let by_hand = format!("apt-get install {}", packages.join(" "));
    if which("apt-get").is_none() {
        bail!("missing: {}; install them with your distribution's tool", packages.join(", "));
    }
    let Some(rights) = Rights::held() else {
        bail!("missing: {}; install with: sudo {by_hand}", packages.join(", "));
    };
    refresh(rights);
    // invoke-rc.d asks policy-rc.d whether it may start a service; 101 means no.
    let script = r#"
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            trap 'rm -f "$policy"' EXIT
            printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
        fi
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
            -o DPkg::Lock::Timeout=300 "$@"
    "#;
    let title = format!("installing {}", packages.join(" "));
    step::run(
        &title,
        "apt-install",
        rights.command("sh").args(["-c", script, "apt-get"]).args(packages),
    )
}

/// Fetches the package lists, once. A source that cannot be reached is no reason to stop: what is to be
/// installed may come from another.
fn refresh(rights: Rights) {
    static FRESH: Once = Once::new();
    FRESH.call_once(|| {
        let _ = step::run(
            "fetching the package lists",
            "apt-update",
            rights.command("apt-get").args(["-o", "DPkg::Lock::Timeout=300", "update"]),
        );
    });
}

/// How to run something as root without asking anyone.
#[derive(Clone, Copy)]
enum Rights {
    Root,
    Sudo,
}

impl Rights {
    fn held() -> Option<Self> {
        if step::is_root() {
            return Some(Self::Root);
        }
        step::output(Command::new("sudo").args(["-n", "true"])).map(|_| Self::Sudo)
    }

    fn command(self, program: &str) -> Command {
        match self {
            Self::Root => Command::new(program),
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.args(["-n", program]);
                command
            }
        }
    }
}
