//! One agent at a time: two would write one another's maps. The lock is on the BPF directory itself,
//! so that agents of different containers meet there too, and ends with its process.

use std::{
    fs::File,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::{L4Error, directory::directory_error};

/// How long the one before may take to end, which was told to already.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks. There is no event to wait for together with a deadline.
const PAUSE: Duration = Duration::from_millis(20);

/// The lock, until it is dropped.
pub(super) type Lock = Flock<File>;

/// Takes the lock of a BPF directory, which is there.
///
/// # Errors
/// [`L4Error::AnotherAgent`], or [`L4Error::Directory`].
pub(super) fn take(bpf_dir: &Path) -> Result<Lock, L4Error> {
    take_within(bpf_dir, PATIENCE)
}

fn take_within(bpf_dir: &Path, patience: Duration) -> Result<Lock, L4Error> {
    let failed = directory_error(bpf_dir, "locked");
    let mut file = File::open(bpf_dir).map_err(&failed)?;
    let deadline = Instant::now() + patience;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, Errno::EWOULDBLOCK)) if Instant::now() >= deadline => {
                return Err(L4Error::AnotherAgent { path: bpf_dir.to_owned() });
            }
            Err((same, Errno::EWOULDBLOCK | Errno::EINTR)) => file = same,
            Err((_, errno)) => return Err(failed(errno.into())),
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_at_a_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = take(directory.path()).expect("nobody has it");
        match take_within(directory.path(), Duration::ZERO) {
            Err(L4Error::AnotherAgent { path }) => assert_eq!(path, directory.path()),
            other => panic!("{other:?}"),
        }
        drop(first);
        drop(take(directory.path()).expect("it was given back"));
    }

    #[test]
    fn one_that_is_about_to_end_is_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = take(directory.path()).expect("nobody has it");
        thread::scope(|scope| {
            let second =
                scope.spawn(|| take_within(directory.path(), Duration::from_secs(30)).is_ok());
            drop(first);
            assert!(second.join().expect("no panic"));
        });
    }
}
