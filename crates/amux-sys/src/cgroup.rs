//! Control groups of our own, where the kernel lets us make them: who is in one is found and ended without looking for
//! it, however it forked. Only version 2 and only below the group we are in; everywhere else there is none, and
//! [`crate::stop`] does without.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::os;

/// A group for one process tree. Dropping it leaves it as it is, as it must when the server is restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    dir: PathBuf,
}

/// The group a process is in, from the root of the hierarchy. `None` where there is none, or only the root.
pub fn of(pid: u32) -> Option<PathBuf> {
    os::cgroup_of(pid).filter(|path| path != Path::new("/"))
}

/// A directory name of the kernel's.
const NAME_BYTES_MAX: usize = 200;

impl Leaf {
    /// The leaf of that name, made if it is missing; `None` where we may not, or where the kernel could not end it at
    /// once. The same name gives the same leaf after a restart.
    pub fn create(name: &str) -> Option<Self> {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if !plain || name.is_empty() || name.starts_with('.') || name.len() > NAME_BYTES_MAX {
            return None;
        }
        let leaf = Self { dir: os::cgroup_dir()?.join(name) };
        let made = match std::fs::create_dir(&leaf.dir) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(_) => return None,
        };
        if leaf.entrance().is_ok() && leaf.open("cgroup.kill").is_ok() {
            return Some(leaf);
        }
        if made {
            let _ = leaf.remove();
        }
        None
    }

    /// Moves a process here; those it starts from now on follow it, those it has do not.
    pub fn join(&self, pid: u32) -> io::Result<()> {
        std::fs::write(self.dir.join("cgroup.procs"), pid.to_string())
    }

    /// Processes here; without those that have ended.
    pub fn pids(&self) -> Vec<u32> {
        let text = std::fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default();
        // 0 stands for one in a PID namespace that we do not see.
        text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()
    }

    /// Whether anybody is here or below, also one we do not see.
    pub fn is_populated(&self) -> bool {
        let events = std::fs::read_to_string(self.dir.join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    }

    /// Ends everybody here at once; nobody can fork away from it.
    pub fn kill(&self) -> io::Result<()> {
        std::fs::write(self.dir.join("cgroup.kill"), "1")
    }

    /// Fails while somebody is here.
    pub fn remove(&self) -> io::Result<()> {
        std::fs::remove_dir(&self.dir)
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// What a process writes `0` to, to come here itself.
    pub(crate) fn entrance(&self) -> io::Result<OwnedFd> {
        self.open("cgroup.procs")
    }

    fn open(&self, file: &str) -> io::Result<OwnedFd> {
        Ok(OpenOptions::new().write(true).open(self.dir.join(file))?.into())
    }
}
