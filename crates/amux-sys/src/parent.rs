//! Noticing that whoever started us is gone.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::process;

/// A descriptor that can be read once the parent has died.
pub fn watch(parent: u32) -> io::Result<OwnedFd> {
    if let Some(pidfd) = process::pidfd_open(parent) {
        // Between being started and looking, the pid may have become somebody else's.
        if process::parent_pid() == Some(parent) {
            return Ok(pidfd);
        }
    } else if process::parent_pid() == Some(parent) {
        return polled(parent);
    }
    let (reader, writer) = io::pipe()?;
    drop(writer);
    Ok(reader.into())
}

/// Where the kernel cannot tell us, we look: the last resort.
fn polled(parent: u32) -> io::Result<OwnedFd> {
    const LOOK_EVERY: Duration = Duration::from_secs(1);
    let (reader, writer) = io::pipe()?;
    std::thread::Builder::new().name("parent-watch".into()).spawn(move || {
        while process::parent_pid() == Some(parent) {
            std::thread::sleep(LOOK_EVERY);
        }
        drop(writer);
    })?;
    Ok(reader.into())
}
