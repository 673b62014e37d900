//! The directory of the pins: one for each ABI version, on a BPF file system.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStringExt as _, fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use ingress_common::limits::ABI_VERSION;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::L4Error;

/// The source of a mount that was made for us, by which it is told from an operator's own.
const OWN_MOUNT: &str = "penstock";

/// The directory of this ABI version.
pub(super) fn directory(bpf_dir: &Path) -> PathBuf {
    bpf_dir.join(format!("v{ABI_VERSION}"))
}

/// Names the path in an error.
pub(super) fn directory_error(path: &Path, action: &'static str) -> impl Fn(io::Error) -> L4Error {
    let path = path.to_owned();
    move |source| L4Error::Directory { path: path.clone(), action, source }
}

/// Makes the directory, on a BPF file system: an existing one, the usual one at `/sys/fs/bpf`, or
/// one mounted for it.
pub(super) fn prepare(bpf_dir: &Path, directory: &Path) -> Result<(), L4Error> {
    let existing = bpf_dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    if !is_bpffs(existing) {
        let usual = Path::new("/sys/fs/bpf");
        let target = if bpf_dir.starts_with(usual) { usual } else { bpf_dir };
        fs::create_dir_all(target).map_err(directory_error(target, "created"))?;
        // Under the usual directory it is everybody's, whoever came first.
        let source = if target == usual { "bpf" } else { OWN_MOUNT };
        mount(Some(source), target, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
            .map_err(io::Error::from)
            .map_err(directory_error(target, "mounted"))?;
        tracing::info!(directory = %target.display(), "mounted a BPF file system");
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(directory_error(directory, "created"))
}

fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC)
}

/// The ABI version that a directory is named for.
pub(super) fn version(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix('v')?.parse().ok()
}

/// The directories of all ABI versions.
pub(super) fn versions(bpf_dir: &Path) -> Vec<PathBuf> {
    entries(bpf_dir).into_iter().filter(|path| version(path).is_some()).collect()
}

/// What is in a directory; nothing if it is missing.
pub(super) fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Removes the directory above those of the versions, and its mount if that was made for us.
///
/// # Errors
/// [`L4Error::Directory`].
pub(super) fn remove_root(bpf_dir: &Path) -> Result<(), L4Error> {
    // One that was mounted for us goes too; the usual one and an operator's own stay.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let own_mount = mount_source(&mounts, bpf_dir) == Some(OWN_MOUNT);
    if own_mount {
        // Nothing is left in it, so that nobody who has it open, such as a search of all files,
        // may keep it here.
        umount2(bpf_dir, MntFlags::MNT_DETACH)
            .map_err(io::Error::from)
            .map_err(directory_error(bpf_dir, "unmounted"))?;
    }
    let mounted = mount_source(&mounts, bpf_dir).is_some() && !own_mount;
    if !mounted && entries(bpf_dir).is_empty() {
        fs::remove_dir(bpf_dir).map_err(directory_error(bpf_dir, "removed"))?;
    }
    Ok(())
}

/// The source of the uppermost mount on `path`, if there is one; `mountinfo` is as `proc(5)` has it:
/// the path is the fifth field, the source the second after a dash.
fn mount_source<'m>(mountinfo: &'m str, path: &Path) -> Option<&'m str> {
    let on_it = |line: &&str| line.split(' ').nth(4).is_some_and(|field| unescaped(field) == path);
    let line = mountinfo.lines().rfind(on_it)?;
    line.split_once(" - ")?.1.split(' ').nth(1)
}

/// A path of `mountinfo`: blanks and the like are a backslash and three octal digits.
fn unescaped(field: &str) -> PathBuf {
    let mut parts = field.split('\\');
    let mut path = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.split_at_checked(3).map(|(octal, rest)| (u8::from_str_radix(octal, 8), rest)) {
            Some((Ok(byte), rest)) => {
                path.push(byte);
                path.extend_from_slice(rest.as_bytes());
            }
            _ => {
                path.push(b'\\');
                path.extend_from_slice(part.as_bytes());
            }
        }
    }
    PathBuf::from(OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uppermost_mount_tells_its_source() {
        let mountinfo = "25 1 0:22 / /sys/fs/bpf rw shared:9 - bpf bpf rw,mode=700\n\
                         90 1 0:50 / /tmp/a\\040b rw - bpf bpf rw\n\
                         91 1 0:51 / /tmp/a\\040b rw - bpf penstock rw\n";
        assert_eq!(mount_source(mountinfo, Path::new("/sys/fs/bpf")), Some("bpf"));
        assert_eq!(mount_source(mountinfo, Path::new("/tmp/a b")), Some("penstock"));
        assert_eq!(mount_source(mountinfo, Path::new("/tmp")), None);
    }
}
