//! Taking a box away, whoever made it.

use std::{fs, process::Command};

use anyhow::Result;
use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{id::BoxId, interrupt};

/// Owns a box's id, and takes the box away when it is dropped, however far it has come.
#[derive(Debug)]
pub(crate) struct Guard(BoxId);

impl Guard {
    pub(crate) fn claim() -> Result<Self> {
        let id = BoxId::claim()?;
        interrupt::guard(&id);
        Ok(Self(id))
    }

    pub(crate) fn id(&self) -> &BoxId {
        &self.0
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        destroy(&self.0);
        interrupt::release(&self.0);
    }
}

/// Takes away the boxes whose process has ended without doing so. Returns their number.
pub fn clean() -> usize {
    let dead: Vec<BoxId> = BoxId::all().into_iter().filter(|id| !id.is_owned()).collect();
    dead.iter().for_each(destroy);
    dead.len()
}

/// Takes away everything that carries the id: processes, pins, namespaces, files. Goes on where
/// something is gone already, because it also ends a box that was never finished.
pub(crate) fn destroy(id: &BoxId) {
    let prefix = id.prefix();
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let namespaces: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(&prefix))
        .collect();
    for namespace in &namespaces {
        for process in processes(namespace) {
            let _ = kill(process, Signal::SIGKILL);
        }
    }
    // The pins are the last holders of the links and the maps.
    let _ = umount2(&id.bpf(), MntFlags::MNT_DETACH);
    for namespace in &namespaces {
        let _ = Command::new("ip").args(["netns", "del", namespace]).output();
    }
    let _ = fs::remove_dir_all(id.directory());
}

/// The processes in a namespace, but never this one: a thread of ours may be there.
pub(crate) fn processes(namespace: &str) -> Vec<Pid> {
    let Ok(output) = Command::new("ip").args(["netns", "pids", namespace]).output() else {
        return Vec::new();
    };
    let numbers = String::from_utf8_lossy(&output.stdout);
    let processes = numbers.lines().filter_map(|line| line.trim().parse().ok().map(Pid::from_raw));
    processes.filter(|process| *process != Pid::this()).collect()
}
