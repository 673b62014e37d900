//! A machine that boots one kernel, runs what is in its initial file system and ends.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::{step, workspace};

/// A kernel that has not come to its end by then hangs. Emulated, on a busy machine, the packet tests
/// take ten minutes.
const SECONDS: &str = "1200";

/// Boots the kernel; what its first process printed.
pub(super) fn boot(series: &str, kernel: &Path, image: &Path) -> Result<String> {
    let log = format!("kernel-{series}");
    step::run(
        &format!("running on Linux {}", kernel.file_name().unwrap_or_default().to_string_lossy()),
        &log,
        Command::new("timeout")
            .args([SECONDS, "nice", "qemu-system-x86_64"])
            // Emulated, though some machines offer KVM: a nested one refuses CPUs of this kind.
            // Without cx16: the emulated cmpxchg16b of qemu 7.2 spoils the flags, and 6.12's slab
            // allocator with them.
            .args(["-machine", "pc,accel=tcg", "-cpu", "max,-cx16", "-smp", "2", "-m", "2048"])
            .args(["-display", "none", "-monitor", "none", "-serial", "stdio", "-nic", "none"])
            .args(["-no-reboot", "-append", "console=ttyS0 quiet panic=-1"])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(image),
    )?;
    let path = workspace::logs()?.join(format!("{log}.log"));
    let printed = fs::read(&path).with_context(|| path.display().to_string())?;
    Ok(String::from_utf8_lossy(&printed).into_owned())
}
