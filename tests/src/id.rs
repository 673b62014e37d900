use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, bail};

/// Where every box keeps its directory.
const ROOT: &str = "/run/penstock-box";

/// Names one box, and through it everything that it makes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BoxId(String);

impl BoxId {
    /// An id that nobody else has; its directory says which process owns it.
    pub(crate) fn claim() -> Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        fs::create_dir_all(ROOT).with_context(|| format!("cannot create {ROOT}"))?;
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
        bail!("{ROOT} is full of boxes of an earlier process of our number: run `testbed clean`")
    }

    /// Every box that has a directory.
    pub(crate) fn all() -> Vec<Self> {
        let entries = fs::read_dir(ROOT).into_iter().flatten().flatten();
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
        Path::new(ROOT).join(&self.0)
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
