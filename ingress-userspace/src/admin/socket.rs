//! The Unix socket (`--admin-socket`): who may write to its file is this user, or root, and may
//! change the agent too. The port cannot tell who asks.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

/// An open socket; its file is removed on drop, unless another agent has put its own there.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Socket {
    /// Opens it. `None`, with a word about it, where that cannot be: the agent serves without.
    pub(crate) fn open(path: &Path) -> Option<Self> {
        match Self::try_open(path) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(
                    "--admin-socket {}: {error}; what changes the agent cannot be asked for",
                    path.display()
                );
                None
            }
        }
    }

    /// What another agent left there, or still serves, is replaced in one step: the newest answers.
    fn try_open(path: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::Error::other("is there already, and is no socket"));
            }
            _ => {}
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        // Nobody else can get at the socket before its mode is set.
        let hidden =
            parent.unwrap_or(Path::new(".")).join(format!(".penstock-{:08x}", fastrand::u32(..)));
        DirBuilder::new().mode(0o700).create(&hidden)?;
        let opened = Self::place(&hidden.join("socket"), path);
        let _left_behind = fs::remove_file(hidden.join("socket"));
        let _left_behind = fs::remove_dir(&hidden);
        opened
    }

    fn place(hidden: &Path, path: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(hidden)?;
        listener.set_nonblocking(true)?;
        fs::set_permissions(hidden, Permissions::from_mode(0o600))?;
        let own = fs::symlink_metadata(hidden)?;
        fs::rename(hidden, path)?;
        Ok(Self { listener, path: path.to_owned(), device: own.dev(), inode: own.ino() })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let is_ours = |found: fs::Metadata| (found.dev(), found.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            let _gone_already = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn only_this_user_may_use_it_and_the_newest_answers() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("admin.sock");
        let first = Socket::try_open(&path).expect("the directory is there");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = Socket::try_open(&path).expect("a socket is replaced");
        drop(first);
        let _client = UnixStream::connect(&path).expect("it is served");
        assert!(second.listener.accept().is_ok());
        drop(second);
        assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0);
    }

    #[test]
    fn what_is_no_socket_stays() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("admin.sock");
        fs::write(&path, "mine").expect("it is writable");
        assert!(Socket::try_open(&path).is_err());
        assert_eq!(fs::read(&path).expect("it is there"), b"mine");
        assert!(Socket::try_open(Path::new("/no/such/place/admin.sock")).is_err());
    }
}
