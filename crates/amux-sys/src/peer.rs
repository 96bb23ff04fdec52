//! Who is at the other end of a local socket, by the kernel's word.

use std::io;
use std::os::fd::AsFd;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The process that connected; `None` where the system does not say.
    pub pid: Option<u32>,
    pub uid: u32,
}

pub fn identify(socket: &impl AsFd) -> io::Result<Peer> {
    #[cfg(target_os = "linux")]
    {
        let credentials = rustix::net::sockopt::socket_peercred(socket)?;
        let pid = u32::try_from(credentials.pid.as_raw_nonzero().get()).ok();
        Ok(Peer { pid, uid: credentials.uid.as_raw() })
    }
    #[cfg(not(target_os = "linux"))]
    {
        use std::os::fd::AsRawFd as _;
        let (mut uid, mut gid) = (0, 0);
        // SAFETY: the descriptor is open for the length of the call and both pointers are to live integers.
        let failed = unsafe { libc::getpeereid(socket.as_fd().as_raw_fd(), &mut uid, &mut gid) } != 0;
        if failed { Err(io::Error::last_os_error()) } else { Ok(Peer { pid: None, uid }) }
    }
}
