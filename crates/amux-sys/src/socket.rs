//! Local sockets: bound without a moment in which others could connect, found by identity and not by name.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketType, sockopt};

use crate::{os, process};

/// Fifty first commands at once must find room; the kernel lowers it to its own limit.
const BACKLOG: i32 = 4096;

/// Removes the socket when dropped, if the name still is that socket.
#[derive(Debug)]
pub struct SocketGuard {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketGuard {
    /// Whether the name still leads to us.
    pub fn still_bound(&self) -> bool {
        identity(&self.path) == Some(self.identity)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        if self.still_bound() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Binds and puts the socket in its place, replacing a stale one. The caller holds the lock that says it is stale.
pub fn bind_stream(path: &Path) -> io::Result<(UnixListener, SocketGuard)> {
    let (fd, guard) = bind(path, SocketType::STREAM)?;
    Ok((UnixListener::from(fd), guard))
}

pub fn bind_datagram(path: &Path) -> io::Result<(UnixDatagram, SocketGuard)> {
    let (fd, guard) = bind(path, SocketType::DGRAM)?;
    Ok((UnixDatagram::from(fd), guard))
}

fn bind(path: &Path, kind: SocketType) -> io::Result<(OwnedFd, SocketGuard)> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            let message = format!("{} is not a socket; it is left alone", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        Ok(meta) if meta.uid() != process::uid() => {
            let (owner, me) = (meta.uid(), process::uid());
            let message = format!("{} belongs to uid {owner}, we are uid {me}", path.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        _ => {}
    }
    let temporary = path.with_extension(format!("sock.{}", std::process::id()));
    let _ = std::fs::remove_file(&temporary);
    let fd = os::unix_socket(kind)?;
    rustix::net::bind(&fd, &SocketAddrUnix::new(&temporary)?)?;
    let place = || -> io::Result<(u64, u64)> {
        std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o600))?;
        if kind == SocketType::STREAM {
            rustix::net::listen(&fd, BACKLOG)?;
        }
        let found = identity(&temporary).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        std::fs::rename(&temporary, path)?;
        Ok(found)
    };
    match place() {
        Ok(identity) => Ok((fd, SocketGuard { path: path.to_owned(), identity })),
        Err(error) => {
            let _ = std::fs::remove_file(&temporary);
            Err(error)
        }
    }
}

/// Connects; a listener whose queue is full is waited for at most so long.
pub fn connect_stream(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let fd = os::unix_socket(SocketType::STREAM)?;
    let deadline = Instant::now() + timeout;
    loop {
        // Without time nothing is waited for, but zero would mean no limit at all to the kernel.
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Send, Some(left))?;
        match rustix::net::connect(&fd, &address) {
            Ok(()) => break,
            Err(Errno::AGAIN | Errno::INTR) if Instant::now() < deadline => {}
            Err(Errno::AGAIN | Errno::INTR) => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error.into()),
        }
    }
    sockopt::set_socket_timeout(&fd, sockopt::Timeout::Send, None)?;
    Ok(UnixStream::from(fd))
}

/// Two connected ends; closed on exec unless passed on.
pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
    UnixStream::pair()
}

/// Whether a descriptor is a pipe or a socket: something with an other end that can go away.
pub fn has_other_end(fd: std::os::fd::BorrowedFd<'_>) -> bool {
    use rustix::fs::FileType;
    let kind = rustix::fs::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
    matches!(kind, Ok(FileType::Fifo | FileType::Socket))
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    meta.file_type().is_socket().then(|| (meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let (first, first_guard) = bind_stream(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(first);
        let (_second, second_guard) = bind_stream(&path).unwrap();
        assert!(!first_guard.still_bound());
        drop(first_guard);
        assert!(second_guard.still_bound(), "only the own socket is removed");
        connect_stream(&path, Duration::from_secs(1)).unwrap();
        drop(second_guard);
        assert!(!path.exists());

        std::fs::write(&path, "mine").unwrap();
        assert!(bind_stream(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}
