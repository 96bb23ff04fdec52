//! Locks that the kernel gives back when their holder dies, however it dies.
//!
//! A lock file may be deleted while it is held; whoever locks the new file of that name then holds another lock. So
//! the inode is compared after locking, and what must never be held twice is locked by its directory, which cannot
//! be replaced while there is anything in it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::{os, process};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not ours: {path} belongs to uid {owner}, we are uid {me}")]
    Foreign { path: PathBuf, owner: u32, me: u32 },
    #[error("cannot be locked: {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Waits until the file is locked by this descriptor alone; for sections as short as a few reads.
pub fn wait(file: &File) -> io::Result<()> {
    Ok(rustix::io::retry_on_intr(|| flock(file, FlockOperation::LockExclusive))?)
}

/// Held until dropped. The file itself is never deleted.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// A path may be replaced between opening and locking; more often than this is not a race.
const ATTEMPTS_MAX: usize = 100;

impl Lock {
    /// `None` when somebody else holds it.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>, Error> {
        let fail = |source| Error::Io { path: path.to_owned(), source };
        for _ in 0..ATTEMPTS_MAX {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW)
                .open(path)
                .map_err(fail)?;
            let meta = file.metadata().map_err(fail)?;
            let me = process::uid();
            if meta.uid() != me {
                return Err(Error::Foreign { path: path.to_owned(), owner: meta.uid(), me });
            }
            if !lock_now(&file).map_err(fail)? {
                return Ok(None);
            }
            let mut lock = Self { file, path: path.to_owned() };
            if lock.still_ours() {
                lock.note_holder().map_err(fail)?;
                return Ok(Some(lock));
            }
        }
        Err(fail(io::Error::other("it is being replaced all the time")))
    }

    /// Locks a directory itself.
    pub fn try_acquire_dir(dir: &Path) -> Result<Option<Self>, Error> {
        let fail = |source| Error::Io { path: dir.to_owned(), source };
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(dir).map_err(fail)?;
        let lock = Self { file, path: dir.to_owned() };
        Ok((lock_now(&lock.file).map_err(fail)? && lock.still_ours()).then_some(lock))
    }

    /// Whether the path still names what is locked.
    pub fn still_ours(&self) -> bool {
        match (self.file.metadata(), std::fs::symlink_metadata(&self.path)) {
            (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
            _ => false,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lock as a descriptor: a child that inherits it holds it too.
    pub fn into_fd(self) -> OwnedFd {
        self.file.into()
    }

    /// For people only: the lock is the flock, not the text.
    fn note_holder(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{}", std::process::id())
    }
}

/// The pid a holder left in the file. Says nothing about whether it is held.
pub fn holder(path: &Path) -> Option<u32> {
    let mut text = String::new();
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether anybody holds it, asked without ever holding it ourselves: a shared lock that is tried on a descriptor of
/// its own would for that moment keep a starter out, so the kernel's list of locks is read instead. `None` where
/// there is no such list.
pub fn is_held(path: &Path) -> Option<bool> {
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(_) => return Some(false),
    };
    // Some file systems (btrfs, overlayfs) are listed under another device than stat tells of; who signed the file
    // and holds a lock of that inode holds this one.
    let signed = holder(path);
    let here = |lock: &os::HeldLock| {
        lock.inode == meta.ino() && (lock.device == meta.dev() || (lock.pid.is_some() && lock.pid == signed))
    };
    // The kernel lists them a page at a time, and when others come and go between two pages one may be passed over:
    // that it is there is true at once, that it is not when several looks say so.
    for _ in 0..LOOKS {
        if os::held_locks()?.iter().any(here) {
            return Some(true);
        }
    }
    Some(false)
}

const LOOKS: usize = 4;

fn lock_now(file: &File) -> io::Result<bool> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert_eq!(is_held(&path), Some(false));
        let held = Lock::try_acquire(&path).unwrap().unwrap();
        assert_eq!(holder(&path), Some(std::process::id()));
        assert_ne!(is_held(&path), Some(false));
        assert!(Lock::try_acquire(&path).unwrap().is_none());
        drop(held);
        assert!(Lock::try_acquire(&path).unwrap().is_some());
    }

    #[test]
    fn a_deleted_lock_file_is_noticed_and_the_directory_stays_locked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::try_acquire(&path).unwrap().unwrap();
        let held_dir = Lock::try_acquire_dir(dir.path()).unwrap().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!held.still_ours());
        assert!(Lock::try_acquire(&path).unwrap().is_some(), "the new file is another lock");
        assert!(held_dir.still_ours());
        assert!(Lock::try_acquire_dir(dir.path()).unwrap().is_none());
    }

    #[test]
    fn a_link_in_place_of_the_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert!(Lock::try_acquire(&path).is_err());
        assert!(!dir.path().join("elsewhere").exists());
    }
}
