//! Taking a cluster away, however far it had come.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{cgroups, layout::Layout};
use crate::leftovers::processes;

/// How long processes may take to go after they are killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The namespaces that bear the cluster's name.
pub(super) fn namespaces(layout: &Layout) -> Vec<String> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&layout.prefix())).collect()
}

/// Kills its processes, then removes its namespaces, its control groups and its directory.
pub(super) fn destroy(layout: &Layout) -> Result<()> {
    let namespaces = namespaces(layout);
    let start = Instant::now();
    // The first process of a node takes all others of its process namespace along, those of pods
    // included, whose network namespaces have other names.
    loop {
        let alive: Vec<Pid> = namespaces.iter().flat_map(|name| processes(name)).collect();
        if alive.is_empty() {
            break;
        }
        if start.elapsed() > PATIENCE {
            bail!("these processes of the cluster cannot be killed: {alive:?}");
        }
        for process in alive {
            // It may have gone meanwhile.
            let _ = kill(process, Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(20));
    }
    for namespace in &namespaces {
        crate::namespace::run(Command::new("ip").args(["netns", "del", namespace]))?;
    }
    let groups = Path::new("/sys/fs/cgroup");
    let entries = fs::read_dir(groups).into_iter().flatten().flatten();
    for hierarchy in entries.map(|entry| entry.path()).chain([groups.to_owned()]) {
        let group = hierarchy.join(layout.cgroup());
        // A group is empty only once the last of its processes has been waited for.
        while group.is_dir() && start.elapsed() < PATIENCE {
            cgroups::sweep(&group);
            thread::sleep(Duration::from_millis(5));
        }
        if group.is_dir() {
            bail!("the control group {} is still in use", group.display());
        }
    }
    let directory = layout.directory();
    if directory.exists() {
        fs::remove_dir_all(&directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    if let Some(root) = directory.parent() {
        // Other clusters may be in it.
        let _ = fs::remove_dir(root);
    }
    Ok(())
}
