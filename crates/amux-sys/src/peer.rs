//! Who is at the other end of a local socket, by the kernel's word.

use std::io;
use std::os::fd::AsFd;

use crate::os;

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
    fn what_is_no_local_socket_has_no_peer() {
        assert!(identify(&std::fs::File::open("/dev/null").unwrap()).is_err());
    }
}
