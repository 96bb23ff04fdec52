//! Waiting for several descriptors, for programs without a runtime.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What is waited for on one descriptor.
#[derive(Debug, Clone, Copy)]
pub struct Wants<'a> {
    pub fd: BorrowedFd<'a>,
    pub read: bool,
    pub write: bool,
}

/// What can be done without blocking, of what was wanted. A descriptor that has hung up or failed can be read and
/// written: that tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ready {
    pub read: bool,
    pub write: bool,
}

/// One answer per descriptor. All `false` means that the timeout passed; `None` waits for ever. Signals do not end
/// the wait.
pub fn ready(wanted: &[Wants<'_>], timeout: Option<Duration>) -> io::Result<Vec<Ready>> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let flags = |wants: &Wants<'_>| {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, wants.read);
        flags.set(PollFlags::OUT, wants.write);
        flags
    };
    // Whoever wants nothing is not asked: a hang-up would end every wait at once.
    let asked: Vec<_> = (0..wanted.len()).filter(|at| wanted[*at].read || wanted[*at].write).collect();
    let mut polled: Vec<_> =
        asked.iter().map(|at| PollFd::from_borrowed_fd(wanted[*at].fd, flags(&wanted[*at]))).collect();
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ });
        match poll(&mut polled, left.as_ref()) {
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut answers = vec![Ready::default(); wanted.len()];
    for (at, fd) in asked.into_iter().zip(&polled) {
        let over = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        let can = |flag: PollFlags| fd.revents().intersects(flag | over);
        answers[at] =
            Ready { read: wanted[at].read && can(PollFlags::IN), write: wanted[at].write && can(PollFlags::OUT) };
    }
    Ok(answers)
}

/// The same for those who only read.
pub fn wait(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let wanted: Vec<_> = fds.iter().map(|fd| Wants { fd: *fd, read: true, write: false }).collect();
    Ok(ready(&wanted, timeout)?.iter().map(|ready| ready.read).collect())
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Write as _, pipe};
    use std::os::fd::AsFd as _;

    use super::*;

    fn silent() -> (PipeReader, std::io::PipeWriter) {
        pipe().unwrap()
    }

    #[test]
    fn only_what_has_something_to_read_is_named() {
        let ((a, _keep), (b, mut write)) = (silent(), silent());
        write.write_all(b"x").unwrap();
        assert_eq!(wait(&[a.as_fd(), b.as_fd()], None).unwrap(), [false, true]);
    }

    #[test]
    fn a_hang_up_counts_as_readable_and_a_timeout_names_nobody() {
        let (a, write) = silent();
        assert_eq!(wait(&[a.as_fd()], Some(Duration::from_millis(1))).unwrap(), [false]);
        drop(write);
        assert_eq!(wait(&[a.as_fd()], None).unwrap(), [true]);
    }

    #[test]
    fn whoever_wants_nothing_is_told_nothing() {
        let (gone, write) = silent();
        drop(write);
        let (_keep, into) = silent();
        let wanted = [
            Wants { fd: gone.as_fd(), read: false, write: false },
            Wants { fd: into.as_fd(), read: false, write: true },
        ];
        assert_eq!(ready(&wanted, None).unwrap(), [Ready::default(), Ready { read: false, write: true }]);
    }
}
