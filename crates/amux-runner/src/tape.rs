//! The tape of a terminal: every byte it printed, in segments, bounded. Written before anything looks at the bytes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use amux_proto::{AgentId, RunNo};

/// A run keeps two segments: at most twice this, at least this much of the past.
const SEGMENT_BYTES: u64 = 32 * 1024 * 1024;

/// What is fed to a new screen after a restart: more than any screen and its scrollback usually hold.
const TAIL_BYTES: u64 = 256 * 1024;

const CURRENT: &str = "pty";
const PREVIOUS: &str = "pty.1";

pub(crate) fn dir(tapes: &Path, agent: AgentId, run: RunNo) -> PathBuf {
    tapes.join(agent.to_string()).join(run.to_string())
}

pub(crate) struct Tape {
    dir: PathBuf,
    file: File,
    bytes: u64,
    /// Bytes that could not be written, said once and again when writing works.
    lost: u64,
}

impl Tape {
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        let file = append(&dir)?;
        let bytes = file.metadata()?.len();
        Ok(Self { dir, file, bytes, lost: 0 })
    }

    /// A full disk must not stop the agent: what cannot be kept is counted and said.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.bytes >= SEGMENT_BYTES && self.turn().is_err() {
            self.lose(bytes.len());
            return;
        }
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.bytes += bytes.len() as u64;
                if std::mem::take(&mut self.lost) > 0 {
                    tracing::info!(tape = %self.dir.display(), "The tape is written again.");
                }
            }
            Err(_) => self.lose(bytes.len()),
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        std::fs::rename(self.dir.join(CURRENT), self.dir.join(PREVIOUS))?;
        self.file = append(&self.dir)?;
        self.bytes = 0;
        Ok(())
    }

    fn lose(&mut self, bytes: usize) {
        if self.lost == 0 {
            tracing::warn!(tape = %self.dir.display(), "The tape cannot be written; output is shown but not kept.");
        }
        self.lost += bytes as u64;
    }
}

/// The newest bytes of a run, across its segments.
pub(crate) fn tail(dir: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for segment in [CURRENT, PREVIOUS] {
        let missing = TAIL_BYTES - bytes.len() as u64;
        let mut file = match File::open(dir.join(segment)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let from = file.metadata()?.len().saturating_sub(missing);
        file.seek(SeekFrom::Start(from))?;
        let mut older = Vec::new();
        file.take(missing).read_to_end(&mut older)?;
        older.append(&mut bytes);
        bytes = older;
        if bytes.len() as u64 >= TAIL_BYTES {
            break;
        }
    }
    Ok(bytes)
}

fn append(dir: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join(CURRENT))
}
