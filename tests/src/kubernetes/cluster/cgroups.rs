//! Control groups, of either version, for whoever is the first process of a node.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

/// What the machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hierarchies {
    /// Version 1: one hierarchy for each of these controllers.
    One(Vec<String>),
    /// Version 2: one for all.
    Two,
}

impl Hierarchies {
    /// From `/proc/mounts` of the machine, before a node has mounts of its own.
    pub(super) fn of(mounts: &str) -> Self {
        let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let controllers: Vec<String> = fields
            .filter(|fields| fields.get(2) == Some(&"cgroup"))
            .filter_map(|fields| fields[1].strip_prefix("/sys/fs/cgroup/").map(str::to_owned))
            .filter(|controller| controller != "systemd")
            .collect();
        if controllers.is_empty() { Self::Two } else { Self::One(controllers) }
    }

    /// Mounts them under `/sys/fs/cgroup` and makes the group `cluster/node`.
    pub(super) fn mount(&self, cluster: &str, node: &str) -> Result<()> {
        let root = Path::new("/sys/fs/cgroup");
        match self {
            Self::One(controllers) => {
                let flags = MsFlags::empty();
                mount(Some("cgroup"), root, Some("tmpfs"), flags, Some("mode=755"))?;
                for controller in controllers {
                    let hierarchy = root.join(controller);
                    fs::create_dir(&hierarchy)?;
                    let data = Some(controller.as_str());
                    mount(Some("cgroup"), &hierarchy, Some("cgroup"), flags, data)
                        .with_context(|| format!("cannot mount cgroup {controller}"))?;
                    for group in [cluster.to_owned(), format!("{cluster}/{node}")] {
                        let group = hierarchy.join(group);
                        fs::create_dir_all(&group)?;
                        copy_down(&group)?;
                    }
                    sweep(&hierarchy.join(cluster).join(node).join("kubepods"));
                }
            }
            Self::Two => {
                let none: Option<&str> = None;
                mount(Some("cgroup"), root, Some("cgroup2"), MsFlags::empty(), none)?;
                fs::create_dir_all(root.join(cluster).join(node))?;
                for group in [root.to_owned(), root.join(cluster)] {
                    let controllers = fs::read_to_string(group.join("cgroup.controllers"))?;
                    for controller in controllers.split_whitespace() {
                        // Some are not for groups (or still held by version 1): kubelet says which
                        // of those it misses.
                        let _ = fs::write(
                            group.join("cgroup.subtree_control"),
                            format!("+{controller}"),
                        );
                    }
                }
                sweep(&root.join(cluster).join(node).join("kubepods"));
            }
        }
        Ok(())
    }
}

/// A new group of version 1's cpuset has no processors and no memory until it is given some: those of
/// the group above.
fn copy_down(group: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if let Some(above) = group.parent()
            && let Ok(value) = fs::read_to_string(above.join(file))
        {
            fs::write(group.join(file), value)?;
        }
    }
    Ok(())
}

/// Removes a group and all below it, as far as they are empty: every group that an earlier life of a
/// node left costs its kubelet seconds at the start.
pub(super) fn sweep(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sweep(&entry.path());
        }
    }
    // Not there, or in use.
    let _ = fs::remove_dir(group);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_told_by_the_mounts() {
        let one = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                   cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0\n\
                   cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(Hierarchies::of(one), Hierarchies::One(vec!["cpu".to_owned()]));
        let two = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        assert_eq!(Hierarchies::of(two), Hierarchies::Two);
    }
}
