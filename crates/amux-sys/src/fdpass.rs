//! Descriptors over datagrams. What the bytes beside them say is not known here.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use crate::os;

/// What the kernel takes in one message (`SCM_MAX_FD`).
pub const FDS_PER_MESSAGE_MAX: usize = 253;

/// A datagram with what came along.
#[derive(Debug)]
pub struct Received {
    pub bytes: usize,
    /// In the order sent, closed on exec.
    pub fds: Vec<OwnedFd>,
    /// The sender by the kernel's word, where [`want_credentials`] was set; no pid for one outside our PID namespace.
    pub pid: Option<u32>,
    pub uid: Option<u32>,
}

/// Makes the kernel say who sent what arrives here.
pub fn want_credentials(socket: &impl AsFd) -> io::Result<()> {
    os::pass_credentials(socket.as_fd())
}

/// Takes one datagram; never waits for one. A datagram that is larger than the buffer, or whose descriptors we could
/// not all take, is an error, and what came of it is closed.
pub fn recv_with_fds(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = ControlBuffer::new();
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: msghdr is plain data for which zeroes are valid.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = size_of::<ControlBuffer>() as _;
    let bytes = loop {
        // SAFETY: header points at one buffer and one control area, both ours, of the lengths it says, and alive.
        let got = unsafe {
            libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut header, os::RECV_CLOEXEC | libc::MSG_DONTWAIT)
        };
        match usize::try_from(got) {
            Ok(bytes) => break bytes,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    };
    let mut received = Received { bytes, fds: Vec::new(), pid: None, uid: None };
    // SAFETY: the kernel has filled header and control area; the CMSG walk stays inside what it wrote, and every
    // descriptor in a SCM_RIGHTS message is new, open, and owned by nobody yet.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while !message.is_null() {
            if ((*message).cmsg_level, (*message).cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let length = (*message).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(message).cast::<RawFd>();
                for index in 0..length / size_of::<RawFd>() {
                    received.fds.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            } else if let Some(sender) = os::sender(message) {
                (received.pid, received.uid) = (sender.pid, Some(sender.uid));
            }
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
    }
    received.fds = received.fds.into_iter().map(os::close_on_exec).collect::<io::Result<_>>()?;
    if header.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors were cut off"));
    }
    if header.msg_flags & libc::MSG_TRUNC != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the datagram is larger than the buffer for it"));
    }
    Ok(received)
}

/// Sends one datagram to whom the socket is connected. The other side gets descriptors of its own.
pub fn send_with_fds(socket: &impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if fds.len() > FDS_PER_MESSAGE_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("more than {FDS_PER_MESSAGE_MAX} descriptors at once"),
        ));
    }
    let mut control = ControlBuffer::new();
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: msghdr is plain data for which zeroes are valid.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    if !fds.is_empty() {
        let length = size_of_val(fds) as libc::c_uint;
        header.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: the control area is large enough for FDS_PER_MESSAGE_MAX descriptors, which was checked above; a BorrowedFd
        // is one RawFd in memory, and the area is aligned for a header.
        unsafe {
            header.msg_controllen = libc::CMSG_SPACE(length) as _;
            let message = libc::CMSG_FIRSTHDR(&raw const header);
            (*message).cmsg_level = libc::SOL_SOCKET;
            (*message).cmsg_type = libc::SCM_RIGHTS;
            (*message).cmsg_len = libc::CMSG_LEN(length) as _;
            let data = libc::CMSG_DATA(message).cast::<RawFd>();
            for (index, fd) in fds.iter().enumerate() {
                data.add(index).write_unaligned(fd.as_raw_fd());
            }
        }
    }
    loop {
        // SAFETY: header points at buffers that live through the call; the kernel only reads them.
        let sent = unsafe { libc::sendmsg(socket.as_fd().as_raw_fd(), &raw const header, os::SEND_NOSIGNAL) };
        match usize::try_from(sent) {
            // A datagram goes whole or not at all.
            Ok(_) => return Ok(()),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

/// Room for `FDS_PER_MESSAGE_MAX` descriptors and the sender, aligned for control headers.
struct ControlBuffer([u64; 160]);

impl ControlBuffer {
    fn new() -> Self {
        Self([0; 160])
    }
}
