//! An agent that speaks in lines: a machine behind three pipes. Output goes to the tape before the machine hears it,
//! orders go to the journal before the machine is told, and a line for its input is written down before it is written.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use amux_agents::{How, Order};
use amux_proto::Time;
use amux_proto::command::run::Fact;
use amux_proto::entity::Activity;
use amux_sys::pour::{self, Channel};
use amux_sys::{clock, pty};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use crate::book::{Book, Untaken};
use crate::polled;
use crate::tape::{self, Poured, Tape};

/// Room for most lines in the channel before the input of an agent, so that they are put there at once.
const CHANNEL_BYTES: usize = 256 * 1024;

/// What an agent complains about; the newest of it.
pub(crate) const STDERR_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How long an agent waits before a disk that took nothing is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(500);

/// Heard in one step, so that an agent that never pauses does not keep us from what it is told.
const HEAR_BYTES: usize = 1024 * 1024;

pub(crate) struct Lines {
    pub(crate) book: Book,
    out: Tape,
    err: Tape,
    stdin: Option<AsyncFd<OwnedFd>>,
    /// What is on its way to the input is here or there and nowhere else, whenever we are killed.
    channel: Option<Channel>,
    stdout: Option<AsyncFd<OwnedFd>>,
    stderr: Option<AsyncFd<OwnedFd>>,
    /// The disk takes nothing: until then the output stays in its pipe.
    full_until: Option<Instant>,
    /// The tape was read up to here; `carry` is what was read of a line without its end.
    read_to: u64,
    carry: Vec<u8>,
    block: Box<[u8]>,
}

pub(crate) struct Pipes {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) channel: Option<Channel>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

impl Lines {
    pub(crate) fn new(book: Book, dir: &Path, pipes: Pipes) -> io::Result<Self> {
        let mut out = Tape::open(dir.to_owned(), tape::OUT, None)?;
        let err = Tape::open(dir.to_owned(), tape::ERR, Some(STDERR_BYTES_MAX))?;
        let watched = |fd: OwnedFd, both: bool| {
            pty::set_nonblocking(fd.as_fd())?;
            if both { polled::writable(fd) } else { polled::readable(fd) }
        };
        let channel = match pipes.channel {
            None => Channel::new()?,
            Some(channel) => channel,
        };
        pour::enlarge(channel.into.as_fd(), CHANNEL_BYTES);
        let read_to = book.heard();
        out.skip_to(read_to)?;
        Ok(Self {
            book,
            out,
            err,
            stdin: pipes.stdin.map(|fd| watched(fd, true)).transpose()?,
            channel: Some(channel),
            stdout: Some(watched(pipes.stdout, false)?),
            stderr: Some(watched(pipes.stderr, false)?),
            full_until: None,
            read_to,
            carry: Vec::new(),
            block: vec![0; 64 * 1024].into_boxed_slice(),
        })
    }

    /// One piece of output, or of input that is taken. For ever when there is nothing more to come.
    pub(crate) async fn step(&mut self) {
        // Taken in while the tape could not be heard to its end at once.
        if self.read_to < self.out.end() {
            self.hear();
            tokio::task::yield_now().await;
            return;
        }
        let writes = self.stdin.is_some() && !self.book.writes.is_empty();
        tokio::select! {
            biased;
            () = until(self.full_until), if self.full_until.is_some() => {
                self.full_until = None;
                self.tell();
            }
            taken = poured(self.stdout.as_ref(), |fd| self.out.pour(fd)), if self.stdout.is_some() && self.full_until.is_none() => match taken {
                Ok(Poured::Bytes(_) | Poured::Lost(_)) => self.hear(),
                Ok(Poured::Full) => {
                    tracing::warn!(tape = %self.out.dir().display(), "The tape cannot be written; the agent waits.");
                    self.full_until = Some(Instant::now() + FULL_PAUSE);
                }
                Ok(Poured::End) | Err(_) => self.stdout = None,
            },
            taken = poured(self.stderr.as_ref(), |fd| self.err.pour_or_lose(fd)), if self.stderr.is_some() => match taken {
                Ok(Poured::Bytes(_) | Poured::Lost(_) | Poured::Full) => {}
                Ok(Poured::End) | Err(_) => self.stderr = None,
            },
            () = writable(self.stdin.as_ref()), if writes => self.write(),
            () = std::future::pending() => {}
        }
    }

    fn hear(&mut self) {
        let at = now();
        let mut heard = 0;
        while heard < HEAR_BYTES {
            let count = match self.out.read(self.read_to, &mut self.block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => {
                    let next = tape::after_gap(self.out.dir(), tape::OUT, self.read_to).ok().flatten();
                    let next = next.unwrap_or(self.out.end());
                    tracing::error!(tape = %self.out.dir().display(), from = self.read_to, to = next, %error, "A part of a tape cannot be read.");
                    self.carry.clear();
                    self.book.skip_to(next);
                    self.read_to = next;
                    continue;
                }
            };
            self.read_to += count as u64;
            heard += count;
            self.book.hear_bytes(&self.block[..count], &mut self.carry, u64::MAX, at);
        }
        self.tell();
        self.write();
    }

    pub(crate) fn order(&mut self, order: &Order) -> Result<(), Untaken> {
        let answer = self.book.order(order, now());
        self.tell();
        self.write();
        answer
    }

    fn tell(&mut self) {
        if !self.book.write_entries() {
            self.full_until = Some(Instant::now() + FULL_PAUSE);
        }
    }

    /// Passes on what is on its way, as far as it is taken.
    fn write(&mut self) {
        if let Err(error) = self.pass_on()
            && error.kind() != io::ErrorKind::WouldBlock
        {
            tracing::warn!(tape = %self.out.dir().display(), %error, "An agent takes no input any more.");
            self.stdin = None;
        }
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let (Some(stdin), Some(channel)) = (&self.stdin, &self.channel) else { return Ok(()) };
        loop {
            while channel.held()? > 0 {
                channel.pass(stdin.get_ref().as_fd())?;
            }
            self.book.was_taken(now());
            let Some(writing) = self.book.writes.front() else { return Ok(()) };
            let (k, sent) = (writing.k, writing.sent);
            self.book.will_put(now());
            let rest = self.book.writes.front().filter(|writing| writing.k == k).map(|writing| &writing.line[sent..]);
            let count = channel.put(rest.unwrap_or_default())?;
            self.book.was_put(count);
        }
    }

    /// Whether one more input is written now: the machine would not keep it, and nothing is in front of it.
    pub(crate) fn takes_input(&self, how: How) -> bool {
        self.book.machine().takes_input(how) && self.book.writes.iter().all(|writing| writing.input.is_none())
    }

    pub(crate) fn report(&mut self) -> Option<(Activity, Vec<Fact>)> {
        self.book.report(now())
    }

    /// No input any more: its end is what most CLIs end by.
    pub(crate) fn close_input(&mut self) {
        (self.stdin, self.channel) = (None, None);
    }

    pub(crate) fn out_fd(&self) -> Option<BorrowedFd<'_>> {
        self.stdout.as_ref().map(|fd| fd.get_ref().as_fd())
    }

    pub(crate) fn err_fd(&self) -> Option<BorrowedFd<'_>> {
        self.stderr.as_ref().map(|fd| fd.get_ref().as_fd())
    }

    /// What the pipes still hold when the process has ended. The bounds keep a background child that holds them open
    /// from holding us.
    pub(crate) fn drain(&mut self, bytes_max: usize) {
        let mut lost = 0;
        for (pipe, tape) in [(&self.stdout, &mut self.out), (&self.stderr, &mut self.err)] {
            let Some(pipe) = pipe else { continue };
            let mut taken = 0;
            while taken < bytes_max {
                // Nobody is there any more who could wait.
                match tape.pour_or_lose(pipe.get_ref().as_fd()) {
                    Ok(Poured::Bytes(count)) => taken += count,
                    Ok(Poured::Lost(count)) => (taken, lost) = (taken + count, lost + count),
                    Ok(Poured::Full | Poured::End) | Err(_) => break,
                }
            }
        }
        if lost > 0 {
            self.book.say_lost(format!("{lost} bytes of its last words could not be kept"), now());
        }
        while self.read_to < self.out.end() {
            let before = self.read_to;
            self.hear();
            if self.read_to == before {
                break;
            }
        }
        // A last line without its end is still a line.
        if !self.carry.is_empty() {
            let mut carry = std::mem::take(&mut self.carry);
            self.book.hear_bytes(b"\n", &mut carry, u64::MAX, now());
        }
        self.book.ended(now());
        self.tell();
    }

    /// The end of what it complained about.
    pub(crate) fn complaint(&self, bytes_max: u64) -> String {
        let tail = tape::tail(self.err.dir(), tape::ERR, bytes_max).map(|(_, bytes)| bytes).unwrap_or_default();
        String::from_utf8_lossy(&tail).trim().to_owned()
    }

    pub(crate) fn printed(&self) -> u64 {
        self.out.end() + self.err.end()
    }
}

/// What a pipe has, as soon as it has something.
pub(crate) async fn poured(
    pipe: Option<&AsyncFd<OwnedFd>>,
    mut pour: impl FnMut(BorrowedFd<'_>) -> io::Result<Poured>,
) -> io::Result<Poured> {
    let Some(pipe) = pipe else { return std::future::pending().await };
    loop {
        let mut ready = pipe.readable().await?;
        match ready.try_io(|fd| pour(fd.get_ref().as_fd())) {
            Ok(poured) => return poured,
            Err(_would_block) => {}
        }
    }
}

pub(crate) async fn until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

pub(crate) async fn writable(pipe: Option<&AsyncFd<OwnedFd>>) {
    let Some(pipe) = pipe else { return std::future::pending().await };
    // An error shows at the write.
    if let Ok(mut ready) = pipe.writable().await {
        ready.clear_ready();
    }
}

pub(crate) fn now() -> Time {
    Time(clock::now_ms())
}
