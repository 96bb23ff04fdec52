//! Signals as data, and sending them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::process::to_pid;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Hup,
    Int,
    Term,
    Kill,
    Abort,
    Stop,
    Cont,
    Child,
}

impl Signal {
    fn number(self) -> libc::c_int {
        match self {
            Self::Hup => libc::SIGHUP,
            Self::Int => libc::SIGINT,
            Self::Term => libc::SIGTERM,
            Self::Kill => libc::SIGKILL,
            Self::Abort => libc::SIGABRT,
            Self::Stop => libc::SIGSTOP,
            Self::Cont => libc::SIGCONT,
            Self::Child => libc::SIGCHLD,
        }
    }

    fn from_number(number: libc::c_int) -> Option<Self> {
        [Self::Hup, Self::Int, Self::Term, Self::Abort, Self::Cont, Self::Child]
            .into_iter()
            .find(|signal| signal.number() == number)
    }
}

/// `Ok(false)` when there is no such process.
pub fn send(pid: u32, signal: Signal) -> io::Result<bool> {
    kill(i32::try_from(pid).unwrap_or(i32::MAX), signal)
}

/// To every process of a group.
pub fn send_group(group: u32, signal: Signal) -> io::Result<bool> {
    kill(-i32::try_from(group).unwrap_or(i32::MAX), signal)
}

fn kill(target: i32, signal: Signal) -> io::Result<bool> {
    // 0 and -1 mean whole groups of strangers.
    if matches!(target, -1..=1) || to_pid(target.unsigned_abs()).is_none() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: kill takes two integers and touches no memory of ours.
    if unsafe { libc::kill(target, signal.number()) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if crate::process::no_such(&error) { Ok(false) } else { Err(error) }
}

/// Signals that arrive as bytes on a descriptor. One per process.
#[derive(Debug)]
pub struct Signals {
    reader: UnixStream,
    _writer: UnixStream,
}

static WRITER: AtomicI32 = AtomicI32::new(-1);

extern "C" fn note(number: libc::c_int) {
    let writer = WRITER.load(Ordering::Relaxed);
    let byte = number as u8;
    // SAFETY: write is async-signal-safe; the descriptor is non-blocking and lives as long as the process. errno is
    // put back because the interrupted code may be about to read it.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(writer, (&raw const byte).cast(), 1);
        *libc::__errno_location() = errno;
    }
}

impl Signals {
    pub fn new(signals: &[Signal]) -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        use std::os::fd::AsRawFd as _;
        WRITER.store(writer.as_raw_fd(), Ordering::Relaxed);
        for signal in signals {
            // SAFETY: the handler is async-signal-safe, and the action is fully initialised.
            let failed = unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = note as *const () as libc::sighandler_t;
                action.sa_flags = libc::SA_RESTART;
                libc::sigaction(signal.number(), &raw const action, std::ptr::null_mut())
            } != 0;
            if failed {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Self { reader, _writer: writer })
    }

    /// What arrived; never waits.
    pub fn read(&self) -> Vec<Signal> {
        let mut bytes = [0; 256];
        match io::Read::read(&mut &self.reader, &mut bytes) {
            Ok(count) => bytes[..count].iter().filter_map(|byte| Signal::from_number(i32::from(*byte))).collect(),
            Err(_) => Vec::new(),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

/// Lets a signal pass unnoticed, here and in nobody we start: spawning puts dispositions back.
pub fn ignore(signal: Signal) {
    // SAFETY: setting a disposition to ignore touches no memory.
    unsafe {
        libc::signal(signal.number(), libc::SIG_IGN);
    }
}

/// A write beyond the file size limit then fails as a write, instead of ending the process.
pub fn ignore_file_size_signal() {
    // SAFETY: setting a disposition to ignore touches no memory.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// Ends this very process as if struck from outside; for tests of what survives it.
pub fn kill_self() -> ! {
    // SAFETY: raising a signal touches no memory; SIGKILL does not return.
    unsafe {
        libc::kill(libc::getpid(), libc::SIGKILL);
    }
    std::process::abort()
}
