//! A process the launcher started: its life-line, and what it says on stdout and stderr.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;

use amux_sys::process::ProcessId;
use amux_sys::pty;
use amux_sys::spawn::{self, Session, SpawnSpec, Stdio};

use crate::environment::Environment;
use crate::lines::Lines;
use crate::policy::Status;

#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) process: ProcessId,
    pub(crate) instance: String,
    /// Closed when we die: that is how the child knows.
    lifeline: UnixStream,
    /// What could not be written to it yet.
    unwritten: Vec<u8>,
    outputs: Vec<Output>,
}

#[derive(Debug)]
struct Output {
    fd: OwnedFd,
    stream: Stream,
    lines: Lines,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

pub(crate) struct Birth {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) cwd: PathBuf,
    pub(crate) env: Environment,
    pub(crate) instance: String,
}

/// What is read of one stream before the others have their turn.
const READ_BYTES_MAX: usize = 64 * 1024;

/// What is written to the life-line at once.
const WRITE_BYTES: usize = 16 * 1024;

impl Child {
    /// The descriptors are lent and come back whatever happens.
    pub(crate) fn start(birth: Birth, fds: Vec<OwnedFd>) -> (Result<Self, spawn::Error>, Vec<OwnedFd>) {
        let instance = birth.instance;
        let spec = SpawnSpec {
            program: birth.program,
            args: birth.args,
            cwd: birth.cwd,
            env: birth.env,
            stdio: Stdio::Lifeline,
            // A Ctrl-C at the terminal is for us; we pass on what we make of it.
            session: Session::Own,
            pass_fds: fds,
            nofile: None,
        };
        let started = spawn::spawn(&spec).and_then(|mut child| {
            let ends = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            let (Some(stdin), Some(stdout), Some(stderr)) = ends else {
                unreachable!("a child with Stdio::Lifeline has its three ends")
            };
            match Self::hold(child.id, instance, stdin, stdout, stderr) {
                Ok(held) => Ok(held),
                Err(source) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    Err(spawn::Error::Os { program: spec.program.clone(), source })
                }
            }
        });
        (started, spec.pass_fds)
    }

    fn hold(
        process: ProcessId,
        instance: String,
        stdin: OwnedFd,
        stdout: OwnedFd,
        stderr: OwnedFd,
    ) -> io::Result<Self> {
        let lifeline = UnixStream::from(stdin);
        lifeline.set_nonblocking(true)?;
        let mut outputs = Vec::new();
        for (fd, stream) in [(stdout, Stream::Out), (stderr, Stream::Err)] {
            pty::set_nonblocking(fd.as_fd())?;
            outputs.push(Output { fd, stream, lines: Lines::default() });
        }
        Ok(Self { process, instance, lifeline, unwritten: Vec::new(), outputs })
    }

    /// What is to be polled.
    pub(crate) fn ends(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.outputs.iter().map(|output| output.fd.as_fd())
    }

    /// What it said, as far as it is there; never waits.
    pub(crate) fn listen(&mut self) -> Vec<(Stream, String)> {
        self.read(READ_BYTES_MAX)
    }

    /// What it said last, after it ended. Bounded: somebody else may hold the pipe and go on talking.
    pub(crate) fn last_words(&mut self) -> Vec<(Stream, String)> {
        let mut said = self.read(16 * READ_BYTES_MAX);
        for output in &mut self.outputs {
            said.extend(output.lines.finish().map(|line| (output.stream, line)));
        }
        said
    }

    fn read(&mut self, bytes_max: usize) -> Vec<(Stream, String)> {
        let mut said = Vec::new();
        let mut buffer = [0; 16 * 1024];
        self.outputs.retain_mut(|output| {
            let mut left = bytes_max;
            while left > 0 {
                match pty::read(output.fd.as_fd(), &mut buffer) {
                    Ok(0) => {
                        said.extend(output.lines.finish().map(|line| (output.stream, line)));
                        return false;
                    }
                    Ok(count) => {
                        said.extend(output.lines.feed(&buffer[..count]).into_iter().map(|line| (output.stream, line)));
                        left = left.saturating_sub(count);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
                }
            }
            true
        });
        said
    }

    /// Tells it one line after the other down the life-line; `false` when it does not read and has to be asked again.
    pub(crate) fn tell(&mut self, mut next: impl FnMut() -> Option<String>) -> bool {
        loop {
            // In few writes: to the socket every one of them is as dear as a big one.
            while self.unwritten.len() < WRITE_BYTES {
                let Some(line) = next() else { break };
                self.unwritten.extend_from_slice(line.as_bytes());
                self.unwritten.push(b'\n');
            }
            if self.unwritten.is_empty() {
                return true;
            }
            match self.lifeline.write(&self.unwritten) {
                Ok(count) => {
                    self.unwritten.drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It closed its end. Whatever it was not told, the next one will be.
                Err(_) => return true,
            }
        }
    }
}

pub(crate) fn status(status: ExitStatus) -> Status {
    match (status.code(), status.signal()) {
        (Some(code), _) => Status::Code(code),
        (None, Some(signal)) => Status::Signal(signal),
        (None, None) => unreachable!("a reaped process exited or was killed"),
    }
}
