use std::{
    env, fs, io,
    path::PathBuf,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

/// Where every box keeps its directory: one place for root, who alone makes namespaces, and one for
/// each other user.
fn root() -> PathBuf {
    match geteuid() {
        user if user.is_root() => PathBuf::from("/run/penstock-box"),
        user => env::temp_dir().join(format!("penstock-box-{user}")),
    }
}

/// Names one box, and through it everything that it makes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BoxId(String);

impl BoxId {
    /// An id that nobody else has; its directory says which process owns it.
    pub(crate) fn claim() -> Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let root = root();
        fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
        for _ in 0..1000 {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let id = Self(format!("{:x}-{number}", process::id()));
            match fs::create_dir(id.directory()) {
                Ok(()) => {
                    let owner = format!("{} {}", process::id(), started_at(process::id())?);
                    fs::write(id.directory().join("owner"), owner)?;
                    return Ok(id);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).context("cannot create the box's directory"),
            }
        }
        bail!("{} is full of boxes of dead processes: run `testbed clean`", root.display())
    }

    /// Every box that has a directory.
    pub(crate) fn all() -> Vec<Self> {
        let entries = fs::read_dir(root()).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok().map(Self)).collect()
    }

    /// Whether the process that made the box still runs.
    pub(crate) fn is_owned(&self) -> bool {
        let Ok(owner) = fs::read_to_string(self.directory().join("owner")) else { return false };
        let Some((process, start)) = owner.split_once(' ') else { return false };
        // Process numbers are reused; a number and its start time are not.
        process.parse().is_ok_and(|process| started_at(process).is_ok_and(|at| at == start))
    }

    /// What the box keeps in files: logs, manifests, pinned maps.
    pub fn directory(&self) -> PathBuf {
        root().join(&self.0)
    }

    /// The mount point of the box's own bpffs.
    pub(crate) fn bpf(&self) -> PathBuf {
        self.directory().join("bpf")
    }

    /// The name of the namespace of this role.
    pub(crate) fn namespace(&self, role: &str) -> String {
        format!("{}{role}", self.prefix())
    }

    /// What the names of all its namespaces begin with.
    pub(crate) fn prefix(&self) -> String {
        format!("penstock-{}-", self.0)
    }
}

/// When the process started, in clock ticks since boot: field 22 of `/proc/PID/stat`
/// (proc_pid_stat(5)).
fn started_at(process: u32) -> Result<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the program's name, which may hold spaces and brackets.
    let (_, after_name) = stat.rsplit_once(") ").context("/proc/PID/stat without a name")?;
    let start = after_name.split(' ').nth(19).context("/proc/PID/stat is too short")?;
    Ok(start.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_number_that_was_reused_is_not_the_owner() {
        let own = started_at(process::id()).unwrap();
        assert!(own.parse::<u64>().unwrap() > 0);
        assert_ne!(own, started_at(1).unwrap());
    }
}
