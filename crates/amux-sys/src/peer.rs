//! Who is at the other end of a local socket, by the kernel's word.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::{os, poll};

/// Whether [`Peer::pid`] is known to every local socket; where it is not, `None` says nothing.
pub const KNOWS_PIDS: bool = os::KNOWS_PEER_PIDS;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The process that connected; `None` where the system does not say, or where it is in a PID namespace that we
    /// do not see. It may be gone by now, and the socket in other hands.
    pub pid: Option<u32>,
    pub uid: u32,
}

pub fn identify(socket: &impl AsFd) -> io::Result<Peer> {
    os::peer(socket.as_fd())
}

/// Whether the process that connected has not ended, beyond pid reuse. `None` where the kernel does not say.
pub fn is_there(socket: &impl AsFd) -> Option<bool> {
    match os::peer_pidfd(socket.as_fd()) {
        Ok(Some(pidfd)) => {
            let ended = poll::wait(&[pidfd.as_fd()], Some(Duration::ZERO)).ok()?;
            Some(!ended.contains(&true))
        }
        Ok(None) => None,
        Err(_) => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_peer_of_a_socket_pair_is_ourselves() {
        let (a, _b) = UnixStream::pair().unwrap();
        let me = Peer { pid: Some(std::process::id()), uid: crate::process::uid() };
        assert_eq!(identify(&a).unwrap(), me);
    }

    #[test]
    fn who_connected_and_ended_is_not_there_though_the_socket_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let (listener, _guard) = crate::socket::bind_stream(&path).unwrap();
        let socket = rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None);
        let socket = socket.unwrap();
        let address = rustix::net::SocketAddrUnix::new(&path).unwrap();
        // SAFETY: the child makes two system calls, without memory of its own, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let _ = rustix::net::connect(&socket, &address);
            // SAFETY: ends this process and nothing else.
            unsafe { libc::_exit(0) };
        }
        let (accepted, _) = listener.accept().unwrap();
        // SAFETY: waits for our own child; no memory is passed.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        let peer = identify(&accepted).unwrap();
        assert_eq!(peer.pid, u32::try_from(child).ok());
        assert_eq!(crate::process::lineage(child.cast_unsigned()).root, crate::process::Root::Lost);
        assert_ne!(is_there(&accepted), Some(true));
        let (a, _b) = UnixStream::pair().unwrap();
        assert_ne!(is_there(&a), Some(false), "we are");
    }

    #[test]
    fn what_is_no_local_socket_has_no_peer() {
        assert!(identify(&std::fs::File::open("/dev/null").unwrap()).is_err());
    }
}
