//! From a pipe or a terminal into a file, so that a process that is killed in between loses nothing: on Linux the
//! kernel moves the bytes itself, and what it has taken from the one it has put into the other. A terminal is poured
//! by way of a pipe, whose ends can be kept by somebody else like the terminal itself.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use crate::os;

/// Moved at once to the input of a program.
const PASS_BYTES: usize = 1024 * 1024;

/// The pipe between a terminal and its file, or before the input of a program: what is in it was put and not taken
/// yet, whoever was killed meanwhile.
#[derive(Debug)]
pub struct Channel {
    pub out: OwnedFd,
    pub into: OwnedFd,
}

impl Channel {
    pub fn new() -> io::Result<Self> {
        let (out, into) = io::pipe()?;
        let this = Self { out: out.into(), into: into.into() };
        crate::pty::set_nonblocking(this.into.as_fd())?;
        Ok(this)
    }

    /// Takes what a terminal has, at most `max` bytes. `WouldBlock` when it has nothing or when this is full;
    /// `Ok(0)` when its last process has closed it.
    pub fn fill(&self, from: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
        retried(|| os::move_to_pipe(from, self.into.as_fd(), max))
    }

    /// Takes what fits of the bytes for another pipe; `WouldBlock` when it is full.
    pub fn put(&self, bytes: &[u8]) -> io::Result<usize> {
        crate::pty::write(self.into.as_fd(), bytes)
    }

    /// What is in it goes to the other pipe, as much as that takes; `WouldBlock` when it takes nothing or when there is
    /// nothing.
    pub fn pass(&self, to: BorrowedFd<'_>) -> io::Result<usize> {
        retried(|| os::move_to_pipe(self.out.as_fd(), to, PASS_BYTES))
    }

    /// How much is in it.
    pub fn held(&self) -> io::Result<u64> {
        Ok(rustix::io::ioctl_fionread(&self.out)?)
    }

    /// What is in it goes to the file; `WouldBlock` when there is nothing.
    pub fn drain(&self, file: &File, at: u64, max: usize) -> io::Result<usize> {
        pipe_to_file(self.out.as_fd(), file, at, max)
    }
}

/// At most `max` bytes of a pipe to a place in a file, which is not open for appending. `Ok(0)` is the end of the
/// pipe. When the file takes nothing, as on a full disk, the bytes are still in the pipe.
pub fn pipe_to_file(from: BorrowedFd<'_>, file: &File, at: u64, max: usize) -> io::Result<usize> {
    retried(|| os::move_to_file(from, file, at, max))
}

/// Room for whole lines, so that one write takes one line. As much as the system allows; nothing happens where it does
/// not.
pub fn enlarge(pipe: BorrowedFd<'_>, bytes: usize) {
    os::enlarge_pipe(pipe, bytes);
}

fn retried(mut step: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match step() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // EIO is how Linux says that nobody holds the other side of a terminal.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(0),
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::pty;

    #[test]
    fn what_was_put_is_in_the_channel_or_beyond_it() {
        let channel = Channel::new().unwrap();
        let (input, into) = io::pipe().unwrap();
        pty::set_nonblocking(into.as_fd()).unwrap();
        let line = vec![b'x'; 1_000_000];
        let put = channel.put(&line).unwrap() as u64;
        assert!(put > 0 && put < 1_000_000 && channel.held().unwrap() == put);
        let passed = channel.pass(into.as_fd()).unwrap() as u64;
        assert_eq!(channel.held().unwrap(), put - passed);
        while channel.pass(into.as_fd()).is_ok() {}
        let mut bytes = vec![0; 4096];
        let count = pty::read(input.as_fd(), &mut bytes).unwrap();
        assert!(count > 0 && bytes[..count].iter().all(|byte| *byte == b'x'));
    }

    #[test]
    fn what_a_terminal_says_is_in_the_file_and_nowhere_else() {
        let (master, slave) = pty::open(24, 80).unwrap();
        let mut slave = File::from(slave);
        let file = tempfile::tempfile().unwrap();
        let channel = Channel::new().unwrap();
        assert_eq!(channel.fill(master.as_fd(), 4096).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        slave.write_all(b"one\ntwo\n").unwrap();
        let taken = channel.fill(master.as_fd(), 4096).unwrap();
        assert_eq!(channel.drain(&file, 7, 4096).unwrap(), taken);
        let mut bytes = vec![0; taken];
        file.read_exact_at(&mut bytes, 7).unwrap();
        assert_eq!(bytes, b"one\r\ntwo\r\n");
        drop(slave);
        assert_eq!(channel.fill(master.as_fd(), 4096).unwrap(), 0);
    }
}
