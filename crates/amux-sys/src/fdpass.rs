//! Descriptors over datagrams.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// What one datagram may carry; the kernel's own limit is 253.
pub const FDS_PER_MESSAGE_MAX: usize = 16;

/// A datagram with what came along.
#[derive(Debug)]
pub struct Received {
    pub bytes: usize,
    pub fds: Vec<OwnedFd>,
    /// The sender, where [`want_credentials`] was set.
    pub pid: Option<u32>,
    pub uid: Option<u32>,
}

pub fn send_with_fds(socket: &impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_PER_MESSAGE_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
    }
    loop {
        match sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes the kernel say who sent what arrives here.
pub fn want_credentials(socket: &impl AsFd) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::net::sockopt::set_socket_passcred(socket, true)?;
    let _ = socket;
    Ok(())
}

/// Descriptors are closed on exec. A message whose descriptors did not all fit is an error, and what came of it is
/// closed.
pub fn recv_with_fds(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_PER_MESSAGE_MAX), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        match recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Ok(message) => break message,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    let (mut fds, mut pid, mut uid) = (Vec::new(), None, None);
    for part in control.drain() {
        match part {
            RecvAncillaryMessage::ScmRights(received) => fds.extend(received),
            #[cfg(target_os = "linux")]
            RecvAncillaryMessage::ScmCredentials(credentials) => {
                pid = u32::try_from(credentials.pid.as_raw_nonzero().get()).ok();
                uid = Some(credentials.uid.as_raw());
            }
            _ => {}
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors were cut off"));
    }
    Ok(Received { bytes: message.bytes, fds, pid, uid })
}
