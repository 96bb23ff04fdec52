//! What a run was told, in the order it was told: orders before they are looked at, lines before they are written.
//! Together with the tape of its output it is everything its machine ever heard, so that a server that was killed is
//! followed by one that knows as much.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use amux_agents::Order;
use amux_proto::Time;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// One thing that was done, numbered together with the lines that were heard where it counts as an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "r", rename_all = "snake_case")]
pub enum Record {
    Order {
        n: u64,
        at: Time,
        order: Box<Order>,
    },
    /// About to be written: the `k`th line for its standard input, behind so many inputs. Journals of builds that did
    /// not need to say when are read as well.
    Write {
        k: u64,
        line: String,
        #[serde(default)]
        after: Option<u64>,
        #[serde(default)]
        at: Option<Time>,
    },
    /// About to be put into the channel, as much of it as fits.
    Put {
        k: u64,
    },
    /// Up to here it is in the channel, or was.
    In {
        k: u64,
        to: usize,
    },
    /// So much of it was taken, and nothing is in the channel.
    Part {
        k: u64,
        bytes: usize,
    },
    /// All of it was taken.
    Written {
        n: u64,
        at: Time,
        k: u64,
    },
    /// Whether it was taken is not known, and it was not repeated.
    Unproven {
        n: u64,
        at: Time,
        k: u64,
    },
    /// Something was told to the log that no line and no order led to.
    Mark {
        n: u64,
        at: Time,
    },
}

/// A file of JSON lines that is only ever appended to. The last line of one whose writer was killed may be torn; it
/// is as if it had never been begun.
pub struct Lines {
    file: File,
    len: u64,
}

pub fn journal(dir: &Path) -> PathBuf {
    dir.join("in")
}

pub fn transcript(dir: &Path) -> PathBuf {
    dir.join("transcript")
}

impl Lines {
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?;
        let len = whole_lines(&mut file, u64::MAX)?;
        file.set_len(len)?;
        file.seek(SeekFrom::Start(len))?;
        Ok(Self { file, len })
    }

    pub fn append(&mut self, record: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(record).map_err(io::Error::other)?;
        line.push(b'\n');
        // Whole or not at all: what a full disk took half of would tear the next line as well.
        if let Err(error) = self.file.write_all(&line) {
            let _ = self.file.set_len(self.len).and_then(|()| self.file.seek(SeekFrom::Start(self.len)));
            return Err(error);
        }
        self.len += line.len() as u64;
        Ok(())
    }

    pub fn end(&self) -> u64 {
        self.len
    }
}

/// The end of the last whole line before a place.
fn whole_lines(file: &mut File, before: u64) -> io::Result<u64> {
    let len = file.metadata()?.len().min(before);
    let mut end = len;
    let mut block = vec![0; 64 * 1024];
    while end > 0 {
        let from = end.saturating_sub(block.len() as u64);
        let part = &mut block[..usize::try_from(end - from).expect("a block")];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(part)?;
        if let Some(newline) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(from + newline as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

/// The records from a place in the file on; what cannot be read is skipped and said.
pub fn read<T: DeserializeOwned>(path: &Path, from: u64) -> io::Result<Vec<T>> {
    let mut records = Vec::new();
    each(path, from, |_, line| {
        match serde_json::from_slice(line) {
            Ok(record) => records.push(record),
            Err(error) => tracing::warn!(file = %path.display(), %error, "A line cannot be read; it is skipped."),
        }
        true
    })?;
    Ok(records)
}

/// Every whole line from a place on, with where it ends, until `take` has enough.
pub fn each(path: &Path, from: u64, mut take: impl FnMut(u64, &[u8]) -> bool) -> io::Result<()> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    let (mut line, mut at) = (Vec::new(), from);
    loop {
        line.clear();
        let count = reader.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Ok(());
        }
        at += count as u64;
        if !take(at, &line) {
            return Ok(());
        }
    }
}

/// The end of a file of lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Newest {
    /// Oldest first.
    pub lines: Vec<Vec<u8>>,
    /// Where the first of them begins.
    pub from: u64,
    /// Where the last of them ends: whoever goes on from there misses nothing and reads nothing twice.
    pub end: u64,
}

/// The newest whole lines, so many and so large at most; but the last one however large it is.
pub fn newest(path: &Path, lines_max: usize, bytes_max: usize) -> io::Result<Newest> {
    newest_before(path, u64::MAX, lines_max, bytes_max)
}

/// The same of what lies before a place.
pub fn newest_before(path: &Path, before: u64, lines_max: usize, bytes_max: usize) -> io::Result<Newest> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Newest::default()),
        Err(error) => return Err(error),
    };
    let end = whole_lines(&mut file, before)?;
    let (mut from, mut step) = (end, 64 * 1024);
    loop {
        from = from.saturating_sub(step);
        step *= 2;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = vec![0; usize::try_from(end - from).map_err(io::Error::other)?];
        file.read_exact(&mut bytes)?;
        let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        lines.pop();
        // The first may be the end of a line that begins earlier.
        let whole = if from == 0 { &lines[..] } else { lines.get(1..).unwrap_or_default() };
        let has_enough = whole.len() >= lines_max || (bytes.len() > bytes_max && !whole.is_empty());
        if from == 0 || has_enough {
            let mut room = bytes_max;
            let fit = whole.iter().rev().take(lines_max).enumerate().take_while(|(i, line)| {
                let fits = *i == 0 || line.len() <= room;
                room = room.saturating_sub(line.len());
                fits
            });
            let fit = fit.count();
            let lines: Vec<Vec<u8>> = whole[whole.len() - fit..].iter().map(|line| line.to_vec()).collect();
            let from = end - lines.iter().map(|line| line.len() as u64 + 1).sum::<u64>();
            return Ok(Newest { lines, from, end });
        }
    }
}

/// Each part of what a run was given, whichever way it is told things: a file of [`Record`]s or of the steps of a
/// terminal.
pub fn given(dir: &Path) -> io::Result<Vec<String>> {
    let mut given = Vec::new();
    each(&journal(dir), 0, |_, line| {
        match serde_json::from_slice(line) {
            Ok(Given::Order { order: Order::Input { input, parts, .. } }) if parts.is_empty() => given.push(input),
            Ok(Given::Order { order: Order::Input { parts, .. } } | Given::Paste { parts }) => given.extend(parts),
            Ok(Given::Order { .. } | Given::Other) | Err(_) => {}
        }
        true
    })?;
    Ok(given)
}

#[derive(Deserialize)]
#[serde(tag = "r", rename_all = "snake_case")]
enum Given {
    Order {
        order: Order,
    },
    Paste {
        parts: Vec<String>,
    },
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_was_never_begun() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in");
        let first = Record::Write { k: 1, line: "one".into(), after: Some(0), at: Some(Time(1)) };
        Lines::open(&path).unwrap().append(&first).unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"r\":\"wri").unwrap();
        let second = Record::Part { k: 2, bytes: 3 };
        Lines::open(&path).unwrap().append(&second).unwrap();
        assert_eq!(read::<Record>(&path, 0).unwrap(), [first, second]);
    }

    #[test]
    fn what_a_run_was_given_is_known_whichever_way_it_is_told_things() {
        let dir = tempfile::tempdir().unwrap();
        let input = |input: &str, parts: &[&str]| {
            let parts = parts.iter().map(|part| (*part).to_owned()).collect();
            let (input, text) = (input.to_owned(), String::new());
            let order = Box::new(Order::Input { input, parts, text, how: amux_agents::How::Next });
            Record::Order { n: 1, at: Time(0), order }
        };
        let mut lines = Lines::open(&journal(dir.path())).unwrap();
        lines.append(&input("a", &[])).unwrap();
        lines.append(&Record::Order { n: 2, at: Time(0), order: Box::new(Order::Interrupt) }).unwrap();
        lines.append(&Record::Written { n: 3, at: Time(0), k: 1 }).unwrap();
        lines.append(&input("several", &["b", "c.1"])).unwrap();
        // The steps of a terminal, and what no build knows.
        lines.append(&serde_json::json!({ "r": "paste", "parts": ["d"], "sign": "x" })).unwrap();
        lines.append(&serde_json::json!({ "r": "pasted", "parts": ["d"] })).unwrap();
        lines.append(&serde_json::json!(["?"])).unwrap();
        assert_eq!(given(dir.path()).unwrap(), ["a", "b", "c.1", "d"]);
        assert!(given(&dir.path().join("none")).unwrap().is_empty());
    }

    #[test]
    fn the_newest_lines_are_found_from_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let mut lines = Lines::open(&path).unwrap();
        for n in 0..50_000_u32 {
            lines.append(&n).unwrap();
        }
        let two = newest(&path, 2, 1000).unwrap();
        assert_eq!(
            two,
            Newest { lines: vec![b"49998".to_vec(), b"49999".to_vec()], from: lines.end() - 12, end: lines.end() }
        );
        let before = newest_before(&path, two.from, 2, 1000).unwrap();
        assert_eq!((before.lines, before.end), (vec![b"49996".to_vec(), b"49997".to_vec()], two.from));
        assert_eq!(newest_before(&path, 3, 2, 1000).unwrap().lines, [b"0"], "the second is cut there");
        assert_eq!(newest_before(&path, 0, 2, 1000).unwrap(), Newest::default());
        assert_eq!(newest(&path, 100_000, usize::MAX).unwrap().lines.len(), 50_000);
        assert_eq!(newest(&path, 100_000, 1000).unwrap().lines.len(), 200);
    }

    #[test]
    fn the_newest_lines_are_as_large_as_there_is_room_but_the_last_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let mut lines = Lines::open(&path).unwrap();
        let large = "x".repeat(300_000);
        (0..9).for_each(|_| lines.append(&large).unwrap());
        assert_eq!(newest(&path, 50, 700_000).unwrap().lines.len(), 2);
        assert_eq!(newest(&path, 50, 1000).unwrap().lines.len(), 1);
        assert_eq!(newest(&path, 0, 1000).unwrap(), Newest { lines: vec![], from: lines.end(), end: lines.end() });
    }

    #[test]
    fn the_newest_lines_end_before_one_that_is_being_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let mut lines = Lines::open(&path).unwrap();
        lines.append(&1).unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"2").unwrap();
        let found = newest(&path, 50, 1000).unwrap();
        assert_eq!(found, Newest { lines: vec![b"1".to_vec()], from: 0, end: lines.end() });
        // Once it is whole it is what follows.
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"\n").unwrap();
        assert_eq!(read::<u32>(&path, found.end).unwrap(), [2]);
    }
}
