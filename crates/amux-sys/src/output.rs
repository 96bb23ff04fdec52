//! Programs that are run for their answer: what they wrote, how they ended, and never longer or more than allowed.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::spawn::{self, Child, SpawnSpec};
use crate::{poll, stop};

#[derive(Debug, Clone, Copy)]
pub struct Limit {
    pub time: Duration,
    /// What is beyond is read, counted and thrown away, so that the program can end.
    pub stdout_bytes: usize,
}

#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    /// So many bytes more than the limit.
    pub stdout_lost: u64,
    /// The end of it: the last words are the reason.
    pub stderr_tail: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Start(#[from] spawn::Error),
    #[error("not done within {seconds} s and stopped: {program}")]
    TooLong { program: PathBuf, seconds: u64 },
    #[error("its output could not be read: {program}")]
    Io {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Enough for a page of complaints.
pub const STDERR_BYTES_MAX: usize = 8 * 1024;

/// Between asking a program that is late to end and ending it: time to remove its own lock files.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// What a program left behind may keep writing; nobody listens for longer than this.
const DRAIN_MAX: Duration = Duration::from_millis(200);

/// How often a system without pidfds is asked whether the program has ended.
const TICK: Duration = Duration::from_millis(10);

/// Blocks. Gives no input; what `stdio` does not capture is empty. Returns when the program itself has ended: a
/// process that it left behind may hold its pipes open for as long as it likes.
pub fn output(spec: &SpawnSpec, limit: Limit) -> Result<Output, Error> {
    let deadline = Instant::now() + limit.time;
    let mut child = spawn::spawn(spec)?;
    drop(child.stdin.take());
    let mut stdout = Stream::new(child.stdout.take(), limit.stdout_bytes, Keep::Start);
    let mut stderr = Stream::new(child.stderr.take(), STDERR_BYTES_MAX, Keep::End);
    let late = match listen(&mut child, &mut stdout, &mut stderr, deadline) {
        Ok(Some(status)) => {
            return Ok(Output { status, stdout: stdout.kept, stdout_lost: stdout.lost, stderr_tail: stderr.kept });
        }
        Ok(None) => Error::TooLong { program: spec.program.clone(), seconds: limit.time.as_secs() },
        Err(source) => Error::Io { program: spec.program.clone(), source },
    };
    stop::stop_tree(&child.id, &[], STOP_GRACE);
    // Not a wait: who is in the kernel's hands does not end, and we are not to hang with him.
    let _ = child.try_wait();
    Err(late)
}

/// `None` at the deadline.
fn listen(
    child: &mut Child,
    stdout: &mut Stream,
    stderr: &mut Stream,
    deadline: Instant,
) -> io::Result<Option<ExitStatus>> {
    let mut drain_until = None;
    loop {
        let ended = child.try_wait()?;
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let patience = match (ended, &child.pidfd) {
            // What it wrote before it ended is in the pipes already.
            (Some(_), _) => Duration::ZERO,
            (None, Some(_)) => left,
            (None, None) => left.min(TICK),
        };
        let mut fds: Vec<_> = [&*stdout, &*stderr].into_iter().filter_map(|s| Some(s.from.as_ref()?.as_fd())).collect();
        fds.extend(child.pidfd.as_ref().filter(|_| ended.is_none()).map(|pidfd| pidfd.as_fd()));
        let mut ready = poll::wait(&fds, Some(patience))?.into_iter();
        let mut has_read = false;
        for stream in [&mut *stdout, &mut *stderr] {
            if stream.from.is_some() && ready.next() == Some(true) {
                stream.read()?;
                has_read = true;
            }
        }
        match ended {
            Some(status) if !has_read || now >= *drain_until.get_or_insert(now + DRAIN_MAX) => return Ok(Some(status)),
            None if left.is_zero() => return Ok(None),
            _ => {}
        }
    }
}

struct Stream {
    from: Option<File>,
    kept: Vec<u8>,
    lost: u64,
    max: usize,
    keep: Keep,
}

#[derive(Clone, Copy)]
enum Keep {
    Start,
    End,
}

impl Stream {
    fn new(from: Option<OwnedFd>, max: usize, keep: Keep) -> Self {
        Self { from: from.map(File::from), kept: Vec::new(), lost: 0, max, keep }
    }

    /// Once, after it was said to be readable.
    fn read(&mut self) -> io::Result<()> {
        let Some(from) = &mut self.from else { return Ok(()) };
        let mut bytes = [0; 16 * 1024];
        let count = match from.read(&mut bytes) {
            Ok(0) => {
                self.from = None;
                return Ok(());
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        };
        self.kept.extend_from_slice(&bytes[..count]);
        let over = self.kept.len().saturating_sub(self.max);
        self.lost += over as u64;
        match self.keep {
            Keep::Start => self.kept.truncate(self.max),
            Keep::End => drop(self.kept.drain(..over)),
        }
        Ok(())
    }
}
