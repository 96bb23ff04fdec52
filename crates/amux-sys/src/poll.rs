//! Waiting for several descriptors, for programs without a runtime. Readability only.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// One answer per descriptor: it can be read without blocking, or it has hung up or failed, which a read will tell.
/// All `false` means that the timeout passed; `None` waits for ever. Signals do not end the wait.
pub fn wait(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ });
        match poll(&mut polled, left.as_ref()) {
            Ok(_) => return Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
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
}
