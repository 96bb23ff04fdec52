//! Terminals from the side that owns them.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::termios::Winsize;

pub fn resize(fd: BorrowedFd<'_>, rows: u16, cols: u16) -> io::Result<()> {
    Ok(rustix::termios::tcsetwinsize(fd, Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 })?)
}

pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(fd, flags | rustix::fs::OFlags::NONBLOCK)?)
}

/// `Ok(0)` is the end. Linux says `EIO` for it: the last process has closed the other side.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::io::read(fd, &mut *buffer) {
            Ok(count) => return Ok(count),
            Err(rustix::io::Errno::IO) => return Ok(0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

pub fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match rustix::io::write(fd, bytes) {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// The process group that has the keyboard.
pub fn foreground_group(fd: BorrowedFd<'_>) -> Option<u32> {
    let group = rustix::termios::tcgetpgrp(fd).ok()?;
    u32::try_from(group.as_raw_nonzero().get()).ok()
}
