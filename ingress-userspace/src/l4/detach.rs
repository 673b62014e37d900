//! Takes the programs away from interfaces, and the pins from their directory.

use std::{fs, io, path::Path, time::Duration};

use aya::programs::links::{FdLink, PinnedLink};
use tokio::time::Instant;

use super::{
    L4Error,
    directory::{directory, directory_error, entries, remove_root, versions},
    link, netlink,
};

/// How long the kernel may take to detach a program from its interface.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at the interfaces: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Programs whose links were removed. The kernel detaches them soon after: in a thread of its own
/// (`bpf_link_put`) and, before Linux 6.18, only when an RCU grace period has passed
/// (`bpf_free_inode`).
#[derive(Debug, Default)]
#[must_use = "they still run"]
pub(super) struct Detached {
    programs: Vec<u32>,
}

impl Detached {
    /// Removes the pin of a link.
    pub(super) fn remove(&mut self, pin: &Path) -> io::Result<()> {
        if pin.is_dir() {
            return link::remove_filter(pin);
        }
        // Without a number there is nothing to wait for, and the link goes all the same.
        let info = PinnedLink::from_pin(pin).ok().and_then(|link| FdLink::from(link).info().ok());
        fs::remove_file(pin)?;
        self.programs.extend(info.map(|info| info.program_id()));
        Ok(())
    }

    /// Removes all pins of one ABI version, links first, and their directory.
    ///
    /// # Errors
    /// [`L4Error::Directory`].
    pub(super) fn remove_directory(&mut self, directory: &Path) -> Result<(), L4Error> {
        remove_pins(directory, self)
    }

    /// Waits until no interface of this network namespace has any of the programs.
    ///
    /// # Errors
    /// [`L4Error::StillAttached`].
    pub(super) async fn settled(self, netlink: &rtnetlink::Handle) -> Result<(), L4Error> {
        if self.programs.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        let (mut pause, longest) = PAUSES;
        while let Some(interface) = netlink::interface_with(netlink, &self.programs).await {
            if Instant::now() > deadline {
                return Err(L4Error::StillAttached { interface });
            }
            // There is no event to wait for.
            tokio::time::sleep(pause).await;
            pause = longest.min(pause * 2);
        }
        Ok(())
    }
}

/// Whether this is the pin of a link.
pub(super) fn is_link(pin: &Path) -> bool {
    pin.file_name().is_some_and(|name| name.to_string_lossy().starts_with("link-"))
}

/// Detaches everything and removes all pins, of any ABI version: links first, so that no program
/// runs on maps that are going away.
///
/// # Errors
/// [`L4Error::NotLoaded`] or [`L4Error::Directory`].
pub(super) fn unload(bpf_dir: &Path) -> Result<Detached, L4Error> {
    let versions = versions(bpf_dir);
    if versions.is_empty() {
        return Err(L4Error::NotLoaded { path: bpf_dir.to_owned() });
    }
    let mut detached = Detached::default();
    for directory in &versions {
        remove_pins(directory, &mut detached)?;
    }
    remove_root(bpf_dir)?;
    Ok(detached)
}

/// Detaches and removes what this version has pinned, and leaves other versions alone.
///
/// # Errors
/// [`L4Error::Directory`].
pub(super) fn discard(bpf_dir: &Path) -> Result<Detached, L4Error> {
    let directory = directory(bpf_dir);
    let mut detached = Detached::default();
    if directory.exists() {
        remove_pins(&directory, &mut detached)?;
    }
    if versions(bpf_dir).is_empty() {
        remove_root(bpf_dir)?;
    }
    Ok(detached)
}

fn remove_pins(directory: &Path, detached: &mut Detached) -> Result<(), L4Error> {
    let mut pins = entries(directory);
    pins.sort_by_key(|path| !is_link(path));
    for pin in pins {
        let removed = if is_link(&pin) {
            detached.remove(&pin)
        } else if pin.is_dir() {
            fs::remove_dir(&pin)
        } else {
            fs::remove_file(&pin)
        };
        removed.map_err(directory_error(&pin, "removed"))?;
    }
    fs::remove_dir(directory).map_err(directory_error(directory, "removed"))
}
