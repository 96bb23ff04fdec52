//! A tape: every byte of one stream of a run, on disk before anything looks at it, addressed by its offset from the
//! beginning for ever. It is a row of segment files, each named after the offset it starts at; with a bound the oldest
//! segment goes first. Reading needs no writer: whoever knows the directory can follow it.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use amux_proto::{AgentId, RunNo};
use amux_sys::pour::{self, Channel};

pub const OUT: &str = "out";
pub const ERR: &str = "err";

/// With a bound a tape keeps between two thirds of it and the whole.
const SEGMENTS: u64 = 4;

/// Without a bound, so that no single file grows beyond what tools like.
const SEGMENT_BYTES: u64 = 256 * 1024 * 1024;

/// Taken at once from a pipe; also what one that never pauses can hold us for.
const POUR_BYTES: usize = 256 * 1024;

/// The same of a terminal, whose screen takes longer to follow.
const TERMINAL_BYTES: usize = 16 * 1024;

pub fn dir(tapes: &Path, agent: AgentId, run: RunNo) -> PathBuf {
    tapes.join(agent.to_string()).join(run.to_string())
}

pub struct Tape {
    dir: PathBuf,
    stream: &'static str,
    bytes_max: Option<u64>,
    file: File,
    /// Where the open segment begins.
    start: u64,
    end: u64,
    /// Bytes that could not be written, said once and again when writing works.
    lost: u64,
}

/// What became of what a stream had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poured {
    Bytes(usize),
    /// The disk took nothing; the bytes were read and are gone.
    Lost(usize),
    /// The disk took nothing; the bytes are where they were.
    Full,
    End,
}

impl Tape {
    pub fn open(dir: PathBuf, stream: &'static str, bytes_max: Option<u64>) -> io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        let start = segments(&dir, stream)?.last().copied().unwrap_or(0);
        let file = segment(&dir, stream, start)?;
        let end = start + file.metadata()?.len();
        Ok(Self { dir, stream, bytes_max, file, start, end, lost: 0 })
    }

    /// Goes on at an offset that is further than what is kept: what was between is gone, and offsets stay true.
    pub fn skip_to(&mut self, at: u64) -> io::Result<()> {
        if at > self.end {
            tracing::warn!(tape = %self.dir.display(), from = self.end, to = at, "A part of a tape is gone.");
            self.file = segment(&self.dir, self.stream, at)?;
            (self.start, self.end) = (at, at);
        }
        Ok(())
    }

    /// How much there was ever.
    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Takes what a pipe has. `WouldBlock` when it has nothing. What the disk does not take stays in the pipe, whose
    /// writer then waits: of a protocol not one byte may be missing.
    pub fn pour(&mut self, pipe: BorrowedFd<'_>) -> io::Result<Poured> {
        self.make_room();
        match pour::pipe_to_file(pipe, &self.file, self.end - self.start, POUR_BYTES) {
            Ok(0) => Ok(Poured::End),
            Ok(count) => Ok(self.took(count)),
            Err(error) if is_about_pipe(&error) => Err(error),
            Err(_) => Ok(Poured::Full),
        }
    }

    /// The same for what may rather be lost than waited for.
    pub fn pour_or_lose(&mut self, pipe: BorrowedFd<'_>) -> io::Result<Poured> {
        match self.pour(pipe)? {
            Poured::Full => self.lose(pipe),
            poured => Ok(poured),
        }
    }

    /// Takes what a terminal has, by way of its channel. `WouldBlock` when it has nothing.
    pub fn pour_terminal(&mut self, terminal: BorrowedFd<'_>, channel: &Channel) -> io::Result<Poured> {
        let mut taken = 0;
        let mut is_over = false;
        // A terminal gives a few kilobytes at a time; what it has is taken together and moved to the file once.
        while taken < TERMINAL_BYTES {
            match channel.fill(terminal, TERMINAL_BYTES - taken) {
                Ok(0) => {
                    is_over = true;
                    break;
                }
                Ok(count) => taken += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if taken == 0 => return Err(error),
                Err(_) => break,
            }
        }
        match self.drain(channel) {
            Ok(poured) => Ok(poured),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && is_over => Ok(Poured::End),
            Err(error) => Err(error),
        }
    }

    /// What is still in the channel, as after a server that was killed between the two steps.
    pub fn drain(&mut self, channel: &Channel) -> io::Result<Poured> {
        self.make_room();
        let mut taken = 0;
        loop {
            let at = self.end - self.start;
            match channel.drain(&self.file, at, POUR_BYTES) {
                Ok(0) => break,
                Ok(count) => {
                    taken += count;
                    self.took(count);
                }
                Err(error) if is_about_pipe(&error) => break,
                Err(_) if taken == 0 => {
                    use std::os::fd::AsFd as _;
                    return self.lose(channel.out.as_fd());
                }
                Err(_) => break,
            }
        }
        if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(Poured::Bytes(taken)) }
    }

    /// For a stream that comes as messages and not through a descriptor.
    pub fn append(&mut self, bytes: &[u8]) -> Poured {
        self.make_room();
        match self.file.write_all_at(bytes, self.end - self.start) {
            Ok(()) => self.took(bytes.len()),
            Err(_) => self.note_lost(bytes.len()),
        }
    }

    fn took(&mut self, count: usize) -> Poured {
        self.end += count as u64;
        if std::mem::take(&mut self.lost) > 0 {
            tracing::info!(tape = %self.dir.display(), "The tape is written again.");
        }
        Poured::Bytes(count)
    }

    /// What cannot be kept is read, counted and said.
    fn lose(&mut self, pipe: BorrowedFd<'_>) -> io::Result<Poured> {
        let mut bytes = [0; 16 * 1024];
        match amux_sys::pty::read(pipe, &mut bytes)? {
            0 => Ok(Poured::End),
            count => Ok(self.note_lost(count)),
        }
    }

    fn note_lost(&mut self, count: usize) -> Poured {
        if self.lost == 0 {
            tracing::warn!(tape = %self.dir.display(), "The tape cannot be written; output is lost.");
        }
        self.lost += count as u64;
        Poured::Lost(count)
    }

    /// A new segment when this one is full, and the oldest goes when the bound is reached.
    fn make_room(&mut self) {
        let segment_bytes = self.bytes_max.map_or(SEGMENT_BYTES, |max| (max / SEGMENTS).max(1));
        if self.end - self.start < segment_bytes {
            return;
        }
        // Without a new file the old one grows on; nothing is lost by that.
        let Ok(file) = segment(&self.dir, self.stream, self.end) else { return };
        (self.file, self.start) = (file, self.end);
        let Some(max) = self.bytes_max else { return };
        let Ok(starts) = segments(&self.dir, self.stream) else { return };
        for (at, start) in starts.iter().enumerate() {
            // With the segment that begins now.
            let kept = self.end - start + segment_bytes;
            if kept <= max || at + 1 == starts.len() {
                break;
            }
            if let Err(error) = std::fs::remove_file(path(&self.dir, self.stream, *start)) {
                tracing::warn!(tape = %self.dir.display(), %error, "An old part of a tape could not be removed.");
                break;
            }
        }
    }

    /// Bytes from `at` on, as many as there are and fit; 0 at the end.
    pub fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        if at >= self.start {
            self.file.read_at(bytes, at - self.start)
        } else {
            read(&self.dir, self.stream, at, bytes)
        }
    }
}

/// Reads of a tape that somebody else may be writing. `NotFound` in a part that is gone; see [`after_gap`].
pub fn read(dir: &Path, stream: &str, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
    let starts = segments(dir, stream)?;
    let Some(place) = starts.iter().rposition(|start| *start <= at) else {
        return if starts.is_empty() { Ok(0) } else { Err(io::ErrorKind::NotFound.into()) };
    };
    let file = File::open(path(dir, stream, starts[place]))?;
    let count = file.read_at(bytes, at - starts[place])?;
    match (count, starts.get(place + 1)) {
        (0, Some(_)) => Err(io::ErrorKind::NotFound.into()),
        _ => Ok(count),
    }
}

/// Where a tape goes on behind a part that is gone.
pub fn after_gap(dir: &Path, stream: &str, at: u64) -> io::Result<Option<u64>> {
    Ok(segments(dir, stream)?.into_iter().find(|start| *start > at))
}

/// Where what is kept begins and ends.
pub fn extent(dir: &Path, stream: &str) -> io::Result<(u64, u64)> {
    let starts = segments(dir, stream)?;
    let (Some(first), Some(last)) = (starts.first(), starts.last()) else { return Ok((0, 0)) };
    Ok((*first, last + std::fs::metadata(path(dir, stream, *last))?.len()))
}

/// The parts of a tape that are kept, oldest first. Between two of them bytes are gone.
pub fn parts(dir: &Path, stream: &str) -> io::Result<Vec<Range<u64>>> {
    let mut parts: Vec<Range<u64>> = Vec::new();
    for start in segments(dir, stream)? {
        let end = start + std::fs::metadata(path(dir, stream, start))?.len();
        match parts.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => parts.push(start..end),
        }
    }
    Ok(parts)
}

/// The newest bytes, at most so many, and where they begin.
pub fn tail(dir: &Path, stream: &str, bytes_max: u64) -> io::Result<(u64, Vec<u8>)> {
    let (first, end) = extent(dir, stream)?;
    let from = end.saturating_sub(bytes_max).max(first);
    let mut bytes = vec![0; usize::try_from(end - from).unwrap_or(usize::MAX)];
    let mut have = 0;
    while have < bytes.len() {
        match read(dir, stream, from + have as u64, &mut bytes[have..]) {
            Ok(0) => break,
            Ok(count) => have += count,
            // What is before a gap is not next to what is behind it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let Some(next) = after_gap(dir, stream, from + have as u64)? else { break };
                return tail(dir, stream, end - next);
            }
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(have);
    Ok((from, bytes))
}

fn segments(dir: &Path, stream: &str) -> io::Result<Vec<u64>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut starts = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let start: Option<u64> =
            name.to_str().and_then(|name| name.strip_prefix(stream)?.strip_prefix('.')?.parse().ok());
        starts.extend(start);
    }
    starts.sort_unstable();
    Ok(starts)
}

fn path(dir: &Path, stream: &str, start: u64) -> PathBuf {
    // As wide as any offset is, so that names sort like what they name.
    dir.join(format!("{stream}.{start:015}"))
}

fn segment(dir: &Path, stream: &str, start: u64) -> io::Result<File> {
    let path = path(dir, stream, start);
    OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)
}

/// Errors of the side we read from, as opposed to the file.
fn is_about_pipe(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::InvalidInput)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tape(dir: &Path, max: Option<u64>) -> Tape {
        Tape::open(dir.to_owned(), OUT, max).unwrap()
    }

    #[test]
    fn offsets_stay_true_when_the_oldest_part_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut tape = tape(dir.path(), Some(40));
        for n in 0..10_u8 {
            tape.append(&[b'0' + n; 10]);
        }
        assert_eq!(tape.end(), 100);
        let (first, end) = extent(dir.path(), OUT).unwrap();
        assert_eq!(end, 100);
        assert!((60..=70).contains(&first), "{first}");
        let mut bytes = [0; 10];
        assert_eq!(tape.read(80, &mut bytes).unwrap(), 10);
        assert_eq!(bytes, [b'8'; 10]);
        assert_eq!(read(dir.path(), OUT, 0, &mut bytes).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(tail(dir.path(), OUT, 15).unwrap(), (85, b"888889999999999".to_vec()));
    }

    #[test]
    fn a_tape_is_taken_up_where_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        tape(dir.path(), None).append(b"one");
        let mut again = tape(dir.path(), None);
        assert_eq!(again.end(), 3);
        again.append(b"two");
        assert_eq!(tail(dir.path(), OUT, 100).unwrap(), (0, b"onetwo".to_vec()));
    }

    #[test]
    fn a_part_that_is_gone_is_not_read_as_another() {
        let dir = tempfile::tempdir().unwrap();
        let mut tape = tape(dir.path(), Some(40));
        for n in 0..4_u8 {
            tape.append(&[b'0' + n; 10]);
        }
        std::fs::remove_file(path(dir.path(), OUT, 10)).unwrap();
        let mut bytes = [0; 10];
        assert_eq!(read(dir.path(), OUT, 10, &mut bytes).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(after_gap(dir.path(), OUT, 10).unwrap(), Some(20));
        assert_eq!(parts(dir.path(), OUT).unwrap(), [0..10, 20..40]);
        tape.skip_to(100).unwrap();
        tape.append(b"more");
        assert_eq!((tape.end(), extent(dir.path(), OUT).unwrap().1), (104, 104));
    }

    #[test]
    fn a_pipe_is_poured_to_its_end() {
        use std::io::Write as _;
        use std::os::fd::AsFd as _;
        let dir = tempfile::tempdir().unwrap();
        let mut tape = tape(dir.path(), None);
        let (out, mut into) = io::pipe().unwrap();
        assert_eq!(tape.pour(out.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        into.write_all(b"hello").unwrap();
        assert_eq!(tape.pour(out.as_fd()).unwrap(), Poured::Bytes(5));
        drop(into);
        assert_eq!(tape.pour(out.as_fd()).unwrap(), Poured::End);
        assert_eq!(tail(dir.path(), OUT, 100).unwrap().1, b"hello");
    }
}
