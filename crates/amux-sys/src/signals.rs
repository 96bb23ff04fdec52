//! Signals as data: sent as words, received as something to read in a loop instead of code that interrupts.
//!
//! A handler writes one byte into a pipe, whichever thread it runs on. Nothing is blocked, so no child inherits a mask,
//! and exec gives every caught signal its default again.

use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use crate::process::{self, ProcessId, to_pid};
use crate::{os, pty};

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
    /// The window has another size.
    Winch,
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
            Self::Winch => libc::SIGWINCH,
        }
    }

    fn from_number(number: libc::c_int) -> Option<Self> {
        [Self::Hup, Self::Int, Self::Term, Self::Abort, Self::Cont, Self::Child, Self::Winch]
            .into_iter()
            .find(|signal| signal.number() == number)
    }
}

/// Goes to whatever has that pid now; a process that is known by identity is better reached by [`send_to`].
/// `Ok(false)` when there is no such process.
pub fn send(pid: u32, signal: Signal) -> io::Result<bool> {
    kill(i32::try_from(pid).unwrap_or(i32::MAX), signal)
}

/// To that process and to none that got its pid later. `Ok(false)` when it is gone.
pub fn send_to(process: &ProcessId, signal: Signal) -> io::Result<bool> {
    // A pidfd holds one process; that it is the right one is seen while it cannot change any more.
    let pidfd = process::pidfd_open(process.pid);
    if !process::alive(process) {
        return Ok(false);
    }
    let Some(pidfd) = pidfd else { return send(process.pid, signal) };
    match os::pidfd_signal(pidfd.as_fd(), signal.number()) {
        Err(error) if process::no_such(&error) => Ok(false),
        sent => sent.map(|()| true),
    }
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

/// Signals that arrive as bytes on a descriptor. Dropping it gives them back to whoever had them before.
pub struct Signals {
    reader: PipeReader,
    /// Held open for the handler, which knows it by number.
    _writer: PipeWriter,
    taken: Vec<(Signal, libc::sigaction)>,
}

impl Signals {
    /// Each signal can be read in one place only; a second taker is refused.
    pub fn new(signals: &[Signal]) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        pty::set_nonblocking(reader.as_fd())?;
        // Who finds it full need not wait: it says already that something came.
        pty::set_nonblocking(writer.as_fd())?;
        let number = writer.as_raw_fd();
        let mut taken = Self { reader, _writer: writer, taken: Vec::new() };
        for signal in signals {
            taken.take(*signal, number)?;
        }
        Ok(taken)
    }

    /// What arrived since the last time, each once; never waits.
    pub fn read(&self) -> Vec<Signal> {
        let mut arrived = Vec::new();
        let mut bytes = [0; 256];
        while let Ok(count @ 1..) = (&self.reader).read(&mut bytes) {
            for signal in bytes[..count].iter().filter_map(|byte| Signal::from_number(i32::from(*byte))) {
                if !arrived.contains(&signal) {
                    arrived.push(signal);
                }
            }
        }
        arrived
    }

    fn take(&mut self, signal: Signal, writer: RawFd) -> io::Result<()> {
        let slot = &WRITERS[signal.number() as usize];
        if slot.compare_exchange(NOBODY, writer, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{signal:?} is read elsewhere already")));
        }
        let before = install(signal.number()).inspect_err(|_| slot.store(NOBODY, Ordering::SeqCst))?;
        self.taken.push((signal, before));
        Ok(())
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for (signal, before) in &self.taken {
            // SAFETY: `before` is what sigaction itself gave us for this signal.
            unsafe { libc::sigaction(signal.number(), before, std::ptr::null_mut()) };
            WRITERS[signal.number() as usize].store(NOBODY, Ordering::SeqCst);
        }
    }
}

const NOBODY: RawFd = -1;

/// The pipe to write to, by number of the signal. A table of its own because a handler is given nothing else.
static WRITERS: [AtomicI32; 65] = [const { AtomicI32::new(NOBODY) }; 65];

fn install(number: libc::c_int) -> io::Result<libc::sigaction> {
    // SAFETY: both structures are plain data for which zeroes are valid, and `note` makes only calls that are allowed
    // in a handler.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = note as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        if libc::sigaction(number, &raw const action, &raw mut before) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(before)
    }
}

extern "C" fn note(number: libc::c_int) {
    let writer = WRITERS.get(number as usize).map_or(NOBODY, |slot| slot.load(Ordering::SeqCst));
    if writer == NOBODY {
        return;
    }
    let byte = number as u8;
    // SAFETY: write is async-signal-safe, the byte outlives it, and the code that was interrupted sees its own errno.
    unsafe {
        let errno = os::errno_location();
        let kept = *errno;
        libc::write(writer, (&raw const byte).cast(), 1);
        *errno = kept;
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
