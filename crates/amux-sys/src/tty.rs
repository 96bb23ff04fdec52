//! The terminal this program was started in, from the side of the program: taken raw, and given back as it was.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::{poll, pty};

/// Dropping it puts the terminal's modes back, however the program came to that.
pub struct Tty {
    input: OwnedFd,
    /// Opened anew: that it does not block is ours to decide, and not a change for the shell that shares our stdout.
    output: OwnedFd,
    before: Termios,
}

/// Whether a person sits at both ends.
pub fn is_ours() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

impl Tty {
    pub fn open() -> io::Result<Self> {
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&input)?;
        let open = |path: PathBuf| {
            let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits();
            let flags = i32::try_from(flags).unwrap_or(0);
            OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
        };
        // Its name may be of another root; the controlling terminal has a name everywhere.
        let output = name(io::stdout().as_fd()).map_or_else(|| Err(io::ErrorKind::NotFound.into()), open);
        let output = output.or_else(|_| open("/dev/tty".into()))?.into();
        Ok(Self { input, output, before })
    }

    /// Every key comes as it is pressed, and nothing is done to what is written.
    pub fn make_raw(&self) -> io::Result<()> {
        let mut modes = self.before.clone();
        modes.make_raw();
        Ok(tcsetattr(&self.input, OptionalActions::Now, &modes)?)
    }

    /// Rows and columns.
    pub fn size(&self) -> Option<(u16, u16)> {
        pty::size(self.output.as_fd())
    }

    pub fn input(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    pub fn output(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// Waits for a key unless [`poll`] has said that there is one; `Ok(0)` when the terminal is gone.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        pty::read(self.input.as_fd(), buffer)
    }

    /// As many as it takes; `WouldBlock` when it takes none.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        pty::write(self.output.as_fd(), bytes)
    }

    /// All of it, unless the terminal takes nothing for that long: whoever leaves does not wait for ever.
    pub fn write_within(&self, mut bytes: &[u8], patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        while !bytes.is_empty() {
            match self.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let wants = poll::Wants { fd: self.output.as_fd(), read: false, write: true };
                    if left.is_zero() || !poll::ready(&[wants], Some(left))?[0].write {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        // The terminal may be gone; then there is nothing to give back.
        let _ = tcsetattr(&self.input, OptionalActions::Now, &self.before);
    }
}

fn name(fd: BorrowedFd<'_>) -> Option<PathBuf> {
    use std::ffi::{CStr, OsStr};
    use std::os::unix::ffi::OsStrExt as _;
    let mut buffer = [0_u8; 256];
    // SAFETY: it writes at most that many bytes into the buffer, which outlives the call.
    let failed = unsafe { libc::ttyname_r(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    let name = CStr::from_bytes_until_nul(&buffer).ok().filter(|_| failed == 0)?;
    Some(OsStr::from_bytes(name.to_bytes()).into())
}
