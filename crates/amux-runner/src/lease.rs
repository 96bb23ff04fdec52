//! One conversation has one driver on this machine, and so has one agent, whatever profile or installation drives it.
//! Two processes on one conversation fork its history and nobody would notice.
//!
//! A lease is a small file that names the process that drives. It holds as long as that process lives, which is asked
//! of the system and not of a clock; taking one over is an act of its own and ends that process.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use amux_sys::process::{self, ProcessId};
use amux_sys::{disk, lock};
use serde::{Deserialize, Serialize};

/// Who drives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub start_ticks: u64,
    /// `name@team`
    pub agent: String,
    pub uid: String,
    pub profile: String,
    /// Where its server listens: a copy of a profile has agents of the same ids.
    #[serde(default)]
    pub socket: PathBuf,
    /// The value of its tag, by which its whole tree is found.
    pub tag: String,
}

impl Holder {
    pub fn is_same(&self, uid: &str, socket: &Path) -> bool {
        self.uid == uid && self.socket == socket
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("its conversation is driven by {agent} of profile {profile}, process {pid}", agent = .0.agent, profile = .0.profile, pid = .0.pid)]
    Held(Box<Holder>),
    #[error("its lease cannot be taken: {0}")]
    Io(#[from] io::Error),
}

/// Takes the lease on `what`, or says who has it. The holder itself may take it again.
pub fn claim(dir: &Path, what: &str, holder: &Holder) -> Result<(), Error> {
    let path = path(dir, what)?;
    let _one_at_a_time = exclusive(dir)?;
    if let Some(known) = read(&path)
        && !known.is_same(holder.uid.as_str(), &holder.socket)
        && is_alive(&known)
    {
        return Err(Error::Held(Box::new(known)));
    }
    let text = serde_json::to_vec(holder).map_err(io::Error::other)?;
    disk::replace(&path, &text)?;
    Ok(())
}

/// Gives it back, if this agent of the server at this socket has it.
pub fn release(dir: &Path, what: &str, uid: &str, socket: &Path) {
    let released = path(dir, what).and_then(|path| {
        let _one_at_a_time = exclusive(dir)?;
        match read(&path) {
            Some(known) if known.is_same(uid, socket) => std::fs::remove_file(path),
            Some(_) | None => Ok(()),
        }
    });
    if let Err(error) = released {
        tracing::debug!(%error, "A lease could not be given back; it ends with its process.");
    }
}

/// Who has it now, if anybody who lives does.
pub fn holder(dir: &Path, what: &str) -> Option<Holder> {
    read(&path(dir, what).ok()?).filter(is_alive)
}

fn is_alive(holder: &Holder) -> bool {
    process::alive(&ProcessId { pid: holder.pid, start_ticks: holder.start_ticks })
}

/// What cannot be read says nothing about a living process; it is held by nobody.
fn read(path: &Path) -> Option<Holder> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn path(dir: &Path, what: &str) -> io::Result<PathBuf> {
    // Ids of CLIs are not ours: only what is harmless in a file name goes into one.
    let name: String =
        what.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }).collect();
    if name.is_empty() || name.len() > 200 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is not the id of a conversation"));
    }
    std::fs::create_dir_all(dir)?;
    Ok(dir.join(format!("{name}.lease")))
}

fn exclusive(dir: &Path) -> io::Result<std::fs::File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(dir.join("leases.lock"))?;
    lock::wait(&file)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder_of(pid: u32, uid: &str) -> Holder {
        let process = process::identity(pid).unwrap_or(ProcessId { pid, start_ticks: 1 });
        Holder {
            pid,
            start_ticks: process.start_ticks,
            agent: "a@b".into(),
            uid: uid.into(),
            profile: "default".into(),
            socket: "/run/one".into(),
            tag: "x:1".into(),
        }
    }

    #[test]
    fn a_conversation_has_one_driver_as_long_as_it_lives() {
        let dir = tempfile::tempdir().unwrap();
        let living = holder_of(std::process::id(), "one");
        claim(dir.path(), "s-1", &living).unwrap();
        claim(dir.path(), "s-1", &living).unwrap();
        let other = holder_of(std::process::id(), "two");
        assert!(matches!(claim(dir.path(), "s-1", &other), Err(Error::Held(by)) if by.uid == "one"));
        let copy = Holder { socket: "/run/copy".into(), ..living.clone() };
        assert!(matches!(claim(dir.path(), "s-1", &copy), Err(Error::Held(_))), "a copied profile is another driver");
        release(dir.path(), "s-1", "one", &copy.socket);
        release(dir.path(), "s-1", "two", &other.socket);
        assert!(holder(dir.path(), "s-1").is_some());
        release(dir.path(), "s-1", "one", &living.socket);
        claim(dir.path(), "s-1", &other).unwrap();
        // Of a process that is gone.
        let gone = Holder { start_ticks: 7, ..holder_of(std::process::id(), "three") };
        claim(dir.path(), "s-2", &gone).unwrap();
        claim(dir.path(), "s-2", &other).unwrap();
        assert!(claim(dir.path(), "../../x", &other).is_ok() && dir.path().join("------x.lease").exists());
    }
}
