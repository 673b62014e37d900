//! Running our own programs with the rights that BPF and network namespaces need.

use std::{os::unix::process::CommandExt, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{setup, step};

/// `program`, to be run as root: as it is if we are root, else by sudo, which may ask for a
/// password.
pub(crate) fn as_root(program: &Path) -> Result<Command> {
    if step::is_root() {
        return Ok(Command::new(program));
    }
    if setup::which("sudo").is_none() {
        bail!(
            "missing: root's rights (CAP_BPF, CAP_NET_ADMIN) or sudo, to run {}",
            program.display()
        );
    }
    let mut command = Command::new("sudo");
    command.arg("-E").arg(program);
    Ok(command)
}

/// Becomes `command`, so that Ctrl-C and the exit code are its own.
pub(crate) fn become_it(mut command: Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    Err(command.exec()).with_context(|| format!("cannot run {program}"))
}
