//! Tapes at rest: packed, read back and compared, and only then removed from where they were; brought back, copied out
//! and read in place.
//!
//! A tape is a directory of plain files, `tapes/<agent>/<run>/`; this module does not know what is in them. Packed it is
//! one file, `archive/<agent>/<run>.tar.zst`: first `manifest.json`, then `tape/<name>` in the manifest's order. What
//! was removed for want of room leaves its manifest, `<run>.dropped.json`. Any `tar` can unpack an archive.
//!
//! At every moment a run has a complete tape or a complete archive. The names in between are `<run>.part` beside the
//! archive, and `<run>.gone` and `<run>.restoring` beside the tape. A plan removes them only where a verified
//! archive stands for them.
//!
//! Nothing here has a clock or a thread, and nothing locks: the caller does one thing at a time, where it may block.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek as _, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use amux_proto::view::{Finding, Level};
use amux_proto::{AgentId, RunNo};
use amux_sys::folder::{self, Entry, Folder, Kind};
use serde::{Deserialize, Serialize};

/// A tape has a handful of files. They are all open while it is packed.
pub const FILES_MAX: usize = 256;

/// What one [`Roots::read`] gives at most; the reader asks again.
pub const READ_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Room for as many files as there may be, with the longest names, escaped.
const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;

/// The levels we write stay within this window, so what we read needs no more memory than this: 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;
const LEVELS: std::ops::RangeInclusive<i32> = 1..=19;

/// Roots, agents, runs: what is deeper than a file of a run is not ours and not counted.
const DEPTH_MAX: u32 = 3;

const MANIFEST: &str = "manifest.json";
const FORMAT: u32 = 1;

/// The two directories this module works in. It touches nothing outside of them.
#[derive(Debug, Clone)]
pub struct Roots {
    pub tapes: PathBuf,
    pub archive: PathBuf,
}

#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// A run is packed when nothing of it was touched for so long.
    pub idle_ms: i64,
    /// All archives together; the oldest go first.
    pub cap_bytes: u64,
    /// Of zstd, 1 to 19.
    pub level: i32,
}

impl Default for Policy {
    /// The level is a low one: terminal output shrinks well at any, and packing shares the machine with the agents.
    fn default() -> Self {
        Self { idle_ms: 7 * 24 * 60 * 60 * 1000, cap_bytes: 2 * 1024 * 1024 * 1024, level: 3 }
    }
}

/// One run of one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    pub agent: AgentId,
    pub run: RunNo,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {} of {}", self.run, self.agent)
    }
}

/// What is to be done, in this order, and what cannot be judged and is left as it is.
#[derive(Debug, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub odd: Vec<Odd>,
}

/// One thing to do; its text says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Clean { key: Key, leftover: Leftover },
    Archive { key: Key, bytes: u64, touched_ms: i64, idle_ms: i64, level: i32 },
    Drop { key: Key, bytes: u64, total_bytes: u64, cap_bytes: u64 },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean { key, leftover } => {
                write!(f, "clean {key}: {} of work that was cut off", leftover.suffix())
            }
            Self::Archive { key, bytes, idle_ms, .. } => {
                write!(f, "archive {key}: {bytes} bytes, untouched for {} h", idle_ms / 3_600_000)
            }
            Self::Drop { key, bytes, total_bytes, cap_bytes } => {
                write!(f, "drop {key}: {bytes} bytes, the oldest of {total_bytes}, and {cap_bytes} may be kept")
            }
        }
    }
}

/// What work that was cut off leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftover {
    /// A tape that was packed and not wholly removed.
    Gone,
    /// A tape that was not wholly restored.
    Restoring,
    /// An archive that was not wholly written.
    Part,
}

impl Leftover {
    fn suffix(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Restoring => "restoring",
            Self::Part => "part",
        }
    }
}

/// Something that is not as it should be. It is never removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Odd {
    pub path: PathBuf,
    pub what: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    Cleaned,
    Archived { from_bytes: u64, to_bytes: u64 },
    Dropped { bytes: u64 },
}

/// How far a step is. The caller may end the work at any of them, as for a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    FilePacked,
    /// The whole archive is on the disk, under the name of a part.
    Packed,
    Verified,
    /// The archive has its name, durably.
    Placed,
    /// The tape has the name of what is gone.
    SetAside,
    FileRemoved,
    /// The fact that there was an archive is on the disk.
    Noted,
}

/// Is asked at every stage; an error ends the step there.
pub type Watch<'a> = &'a mut dyn FnMut(Stage) -> io::Result<()>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    #[serde(flatten)]
    pub key: Key,
    pub packed_ms: i64,
    pub files: Vec<PackedFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedFile {
    pub name: String,
    pub bytes: u64,
    pub blake3: String,
    pub mtime_ms: i64,
}

impl Manifest {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// When the run last said something: by this an archive is old.
    pub fn last_ms(&self) -> i64 {
        self.files.iter().map(|file| file.mtime_ms).max().unwrap_or(self.packed_ms)
    }
}

/// A run that is, or was, in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub manifest: Manifest,
    pub state: State,
    /// Of the archive file.
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Packed,
    Dropped { at_ms: i64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// The tape is back.
    Now,
    /// It was there, with all that the archive has.
    Already,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    pub bytes: Vec<u8>,
    /// The file has so many.
    pub total_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Tar,
    TarZst { level: i32 },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub tapes_bytes: u64,
    pub archive_bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path} cannot be used: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{0} is not there")]
    Missing(Key),
    #[error("{key} has no file {file:?}")]
    NoFile { key: Key, file: String },
    #[error("the archive of {key} is damaged: {what}")]
    Damaged { key: Key, what: String },
    #[error("the archive of {key} and its tape are both there, and the tape does not go on from the archive: {file:?}")]
    Differs { key: Key, file: String },
    #[error("{key} was touched meanwhile")]
    Touched { key: Key },
    #[error("{path} is left as it is: {what}")]
    Odd { path: PathBuf, what: String },
}

impl Roots {
    /// What the policy asks for. Reads directories and the manifests of archives, and changes nothing.
    pub fn plan(&self, live: &dyn Fn(AgentId, RunNo) -> bool, policy: &Policy, now_ms: i64) -> Result<Plan, Error> {
        Ok(decide(self.survey()?, live, policy, now_ms))
    }

    /// Does one step of a plan. Ends with everything done, or with nothing lost.
    pub fn carry_out(&self, step: &Step, now_ms: i64, watch: Watch<'_>) -> Result<Done, Error> {
        match step {
            Step::Clean { key, leftover } => self.clean(*key, *leftover, watch),
            Step::Archive { key, touched_ms, level, .. } => self.pack(*key, *touched_ms, *level, now_ms, watch),
            Step::Drop { key, .. } => self.drop(*key, now_ms, watch),
        }
    }

    /// Brings a tape back, byte for byte. The archive stays; a later plan finds both and settles it.
    pub fn restore(&self, key: Key, now_ms: i64) -> Result<Restored, Error> {
        let shelf = self.shelf(key)?.ok_or(Error::Missing(key))?;
        let manifest = manifest(&shelf, key)?.ok_or(Error::Missing(key))?;
        let at = self.tape_path(key);
        let tapes = Folder::open(&self.tapes).map_err(fail(&self.tapes))?;
        let agent = sub_or_make(&tapes, &key.agent.to_string()).map_err(fail(&at))?;
        if agent.find(tape_name(key)).map_err(fail(&at))?.is_some() {
            let tape = agent.sub(tape_name(key)).map_err(fail(&at))?;
            Tape::open(key, &at, &tape, &manifest.files)?.goes_on()?;
            return Ok(Restored::Already);
        }
        let temporary = leftover_name(key, Leftover::Restoring);
        clear(&agent, &temporary, &at, &mut |_| Ok(()))?;
        let restored = (|| {
            let tape = agent.make(&temporary).map_err(fail(&at))?;
            unpack(&shelf, key, &mut |file, from| {
                let mut out = tape.create(&file.name).map_err(fail(&at))?;
                copy(from, &mut out, key, &at)?;
                out.set_modified(folder::time(file.mtime_ms)).and_then(|()| out.sync_all()).map_err(fail(&at))?;
                Ok(ControlFlow::Continue(()))
            })?;
            // Idle time counts from here: what somebody wanted back is not packed again at once.
            tape.set_mtime_ms(now_ms).and_then(|()| tape.sync()).map_err(fail(&at))?;
            agent.rename(&temporary, tape_name(key)).and_then(|()| agent.sync()).map_err(fail(&at))
        })();
        if restored.is_err() {
            let _ = clear(&agent, &temporary, &at, &mut |_| Ok(()));
        }
        restored.map(|()| Restored::Now)
    }

    /// Copies a run out, from its tape where there is one and else from the archive. Of a tape that is still written it
    /// is what was there at the beginning.
    pub fn export(&self, key: Key, form: Form, now_ms: i64, to: &mut dyn Write) -> Result<Manifest, Error> {
        let at = self.tape_path(key);
        if let Some(tape) = self.tape(key)? {
            let mut tape = Tape::open(key, &at, &tape, &[])?;
            let manifest = tape.manifest(now_ms);
            return match form {
                Form::Tar => tape.write(&manifest, to, &at, &mut |_| Ok(())).map(|_| manifest),
                Form::TarZst { level } => {
                    let out = encoder(to, level).map_err(fail(&at))?;
                    let out = tape.write(&manifest, out, &at, &mut |_| Ok(()))?;
                    out.finish().map_err(fail(&at)).map(|_| manifest)
                }
            };
        }
        let at = self.packed_path(key);
        let shelf = self.shelf(key)?.ok_or(Error::Missing(key))?;
        let manifest = manifest(&shelf, key)?.ok_or(Error::Missing(key))?;
        let (mut file, _) = shelf.read(packed_name(key)).map_err(fail(&at))?;
        match form {
            Form::Tar => decoder(file).and_then(|mut from| io::copy(&mut from, to)),
            Form::TarZst { .. } => io::copy(&mut file, to),
        }
        .map_err(fail(&at))?;
        Ok(manifest)
    }

    /// Part of a file of an archived run: at most `len` and [`READ_BYTES_MAX`] bytes from `from`. All that comes before
    /// is unpacked on the way, and forgotten.
    pub fn read(&self, key: Key, file: &str, from: u64, len: u64) -> Result<Slice, Error> {
        let shelf = self.shelf(key)?.ok_or(Error::Missing(key))?;
        let manifest = manifest(&shelf, key)?.ok_or(Error::Missing(key))?;
        let total_bytes = match manifest.files.iter().find(|packed| packed.name == file) {
            Some(packed) => packed.bytes,
            None => return Err(Error::NoFile { key, file: file.to_owned() }),
        };
        let mut bytes = Vec::new();
        unpack(&shelf, key, &mut |packed, reader| {
            if packed.name != file {
                return Ok(ControlFlow::Continue(()));
            }
            let damaged = |error: io::Error| Error::Damaged { key, what: error.to_string() };
            io::copy(&mut (&mut *reader).take(from), &mut io::sink()).map_err(damaged)?;
            reader.take(len.min(READ_BYTES_MAX)).read_to_end(&mut bytes).map_err(damaged)?;
            Ok(ControlFlow::Break(()))
        })?;
        Ok(Slice { bytes, total_bytes })
    }

    /// Every run that is or was in the archive, by agent and run, and what cannot be read.
    pub fn list(&self) -> Result<(Vec<Kept>, Vec<Odd>), Error> {
        let mut found = walk(&self.archive, ARCHIVE_NAMES)?;
        let mut kept = BTreeMap::new();
        // An archive beside the note of its end: the end was cut off, and the archive holds.
        found.names.sort_by_key(|(key, name, _)| (*key, *name == Name::Packed));
        for (key, name, entry) in found.names {
            let one = match name {
                Name::Packed => {
                    self.packed(key).map(|manifest| Kept { manifest, state: State::Packed, bytes: entry.bytes })
                }
                Name::Dropped => self.note(key),
                _ => continue,
            };
            match one {
                Ok(one) => drop(kept.insert(key, one)),
                Err(error) => found.odd.push(Odd { path: self.packed_path(key), what: error.to_string() }),
            }
        }
        Ok((kept.into_values().collect(), found.odd))
    }

    /// How much there is, work that was cut off included.
    pub fn usage(&self) -> Result<Usage, Error> {
        let weigh = |root: &Path| match Folder::open(root) {
            Ok(folder) => weigh(&folder, DEPTH_MAX).map_err(fail(root)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(fail(root)(error)),
        };
        Ok(Usage { tapes_bytes: weigh(&self.tapes)?, archive_bytes: weigh(&self.archive)? })
    }

    /// Unpacks every archive, to nowhere, and compares it with its manifest.
    pub fn check(&self) -> Vec<Finding> {
        let finding = |level, message: String, hint: Option<&str>| Finding {
            check: "archive".into(),
            level,
            message,
            hint: hint.map(Into::into),
            details: None,
        };
        let found = match walk(&self.archive, ARCHIVE_NAMES) {
            Ok(found) => found,
            Err(error) => return vec![finding(Level::Unknown, error.to_string(), None)],
        };
        let mut findings = Vec::new();
        let mut whole = 0;
        for (key, name, _) in found.names {
            let checked = match name {
                Name::Packed => {
                    self.shelf(key).and_then(|shelf| verify(&shelf.ok_or(Error::Missing(key))?, key)).map(drop)
                }
                Name::Dropped => self.note(key).map(drop),
                _ => Ok(()),
            };
            match checked {
                Ok(()) => whole += usize::from(name == Name::Packed),
                Err(error) => findings.push(finding(
                    Level::Failure,
                    format!("{}: {error}", self.packed_path(key).display()),
                    Some("it is kept as it is; bring it back from a backup"),
                )),
            }
        }
        findings.extend(found.odd.into_iter().map(|odd| {
            finding(Level::Warning, format!("{}: {}", odd.path.display(), odd.what), Some("it is left alone"))
        }));
        findings.insert(0, finding(Level::Ok, format!("{whole} archived runs are as they were packed"), None));
        findings
    }

    fn pack(&self, key: Key, touched_ms: i64, level: i32, now_ms: i64, watch: Watch<'_>) -> Result<Done, Error> {
        let at = self.tape_path(key);
        let to = self.packed_path(key);
        let agent = Folder::open(&self.tapes).and_then(|tapes| tapes.sub(key.agent.to_string())).map_err(fail(&at))?;
        let folder = agent.sub(tape_name(key)).map_err(fail(&at))?;
        let archive = Folder::open(&self.archive).map_err(fail(&self.archive))?;
        let shelf = sub_or_make(&archive, &key.agent.to_string()).map_err(fail(&to))?;

        let older = manifest(&shelf, key)?;
        let mut tape = Tape::open(key, &at, &folder, older.as_ref().map_or(&[], |older| &older.files))?;
        // Somebody may have written to `<run>` after it was packed. What is in the archive and not in the tape must
        // not be replaced by the tape.
        tape.goes_on()?;
        if touched(&folder, &tape.entries()).map_err(fail(&at))? > touched_ms {
            return Err(Error::Touched { key });
        }
        let manifest = tape.manifest(now_ms);
        let is_packed = older.is_some_and(|older| older.files == manifest.files) && verify(&shelf, key).is_ok();
        if !is_packed {
            let part = leftover_name(key, Leftover::Part);
            let placed = (|| {
                shelf.remove(&part).map_err(fail(&to))?;
                let out = encoder(shelf.create(&part).map_err(fail(&to))?, level).map_err(fail(&to))?;
                let out = tape.write(&manifest, out, &to, watch)?.finish().map_err(fail(&to))?;
                out.sync_all().and_then(|()| watch(Stage::Packed)).map_err(fail(&to))?;
                let read_back = verify_as(&shelf, &part, key)?;
                if read_back != manifest {
                    return Err(Error::Damaged { key, what: "what was read back is another manifest".into() });
                }
                watch(Stage::Verified).map_err(fail(&to))?;
                tape.untouched(&folder)?;
                shelf.rename(&part, packed_name(key)).map_err(fail(&to))
            })();
            if let Err(error) = placed {
                let _ = shelf.remove(&part);
                return Err(error);
            }
        }
        // The folder too: it may have been made in a life that ended before this.
        shelf.remove(dropped_name(key)).and_then(|()| shelf.sync()).and_then(|()| archive.sync()).map_err(fail(&to))?;
        watch(Stage::Placed).map_err(fail(&to))?;

        let gone = leftover_name(key, Leftover::Gone);
        agent.rename(tape_name(key), &gone).and_then(|()| agent.sync()).map_err(fail(&at))?;
        watch(Stage::SetAside).map_err(fail(&at))?;
        if let Err(error) = tape.untouched(&folder) {
            agent.rename(&gone, tape_name(key)).and_then(|()| agent.sync()).map_err(fail(&at))?;
            return Err(error);
        }
        clear(&agent, &gone, &at, watch)?;
        let to_bytes = shelf.find(packed_name(key)).map_err(fail(&to))?.map_or(0, |entry| entry.bytes);
        Ok(Done::Archived { from_bytes: manifest.bytes(), to_bytes })
    }

    fn drop(&self, key: Key, now_ms: i64, watch: Watch<'_>) -> Result<Done, Error> {
        let at = self.packed_path(key);
        let shelf = self.shelf(key)?.ok_or(Error::Missing(key))?;
        // A tape that came back since the plan has all that the archive has; then nothing is lost, and nothing is noted.
        if self.tape(key)?.is_some() {
            return Err(Error::Touched { key });
        }
        let manifest = manifest(&shelf, key)?.ok_or(Error::Missing(key))?;
        let bytes = shelf.find(packed_name(key)).map_err(fail(&at))?.map_or(0, |entry| entry.bytes);
        let note = Note { dropped_ms: now_ms, bytes, manifest };
        let part = leftover_name(key, Leftover::Part);
        let noted = (|| {
            shelf.remove(&part)?;
            let mut file = shelf.create(&part)?;
            file.write_all(&serde_json::to_vec(&note)?)?;
            file.sync_all()?;
            shelf.rename(&part, dropped_name(key))?;
            shelf.sync()
        })();
        if let Err(error) = noted {
            let _ = shelf.remove(&part);
            return Err(fail(&at)(error));
        }
        watch(Stage::Noted).map_err(fail(&at))?;
        shelf.remove(packed_name(key)).and_then(|()| shelf.sync()).map_err(fail(&at))?;
        Ok(Done::Dropped { bytes })
    }

    fn clean(&self, key: Key, leftover: Leftover, watch: Watch<'_>) -> Result<Done, Error> {
        let shelf = self.shelf(key)?.ok_or(Error::Missing(key))?;
        let name = leftover_name(key, leftover);
        let manifest = verify(&shelf, key)?;
        let at = self.leftover_path(key, leftover);
        if leftover == Leftover::Part {
            shelf.remove(&name).and_then(|()| shelf.sync()).map_err(fail(&at))?;
            return Ok(Done::Cleaned);
        }
        let agent = Folder::open(&self.tapes).and_then(|tapes| tapes.sub(key.agent.to_string())).map_err(fail(&at))?;
        if leftover == Leftover::Gone {
            let rest = Tape::open(key, &at, &agent.sub(&name).map_err(fail(&at))?, &[])?;
            if let Some(file) = rest.files.iter().find(|file| !manifest.files.contains(&file.packed)) {
                return Err(Error::Differs { key, file: file.packed.name.clone() });
            }
        }
        clear(&agent, &name, &at, watch)?;
        Ok(Done::Cleaned)
    }

    fn survey(&self) -> Result<Survey, Error> {
        let mut survey = Survey::default();
        let tapes = walk(&self.tapes, TAPE_NAMES)?;
        let archive = walk(&self.archive, ARCHIVE_NAMES)?;
        survey.odd_agents.extend(tapes.odd_agents.iter().chain(&archive.odd_agents));
        survey.odd_runs.extend(tapes.odd_runs.iter().chain(&archive.odd_runs));
        survey.odd.extend(tapes.odd.into_iter().chain(archive.odd));
        for (key, name, entry) in tapes.names.into_iter().chain(archive.names) {
            let found = survey.runs.entry(key).or_default();
            let (path, read) = match name {
                Name::Tape => (self.tape_path(key), self.rest(key).map(|rest| found.tape = Some(rest))),
                Name::Packed => {
                    let last = self.packed(key).map(|manifest| manifest.last_ms());
                    (self.packed_path(key), last.map(|last_ms| found.packed = Some((entry.bytes, last_ms))))
                }
                Name::Leftover(leftover) => {
                    found.leftovers.push((leftover, self.leftover_path(key, leftover)));
                    continue;
                }
                Name::Dropped => continue,
            };
            if let Err(error) = read {
                survey.odd_runs.insert(key);
                survey.odd.push(Odd { path, what: error.to_string() });
            }
        }
        Ok(survey)
    }

    fn rest(&self, key: Key) -> Result<Rest, Error> {
        let path = self.tape_path(key);
        let tape = self.tape(key)?.ok_or(Error::Missing(key))?;
        let entries = tape.entries().map_err(fail(&path))?;
        plain(&path, &entries)?;
        let touched_ms = touched(&tape, &entries).map_err(fail(&path))?;
        Ok(Rest { bytes: entries.iter().map(|entry| entry.bytes).sum(), touched_ms })
    }

    fn packed(&self, key: Key) -> Result<Manifest, Error> {
        manifest(&self.shelf(key)?.ok_or(Error::Missing(key))?, key)?.ok_or(Error::Missing(key))
    }

    fn note(&self, key: Key) -> Result<Kept, Error> {
        let at = self.packed_path(key).with_file_name(dropped_name(key));
        let shelf = self.shelf(key)?.ok_or(Error::Missing(key))?;
        let (file, _) = shelf.read(dropped_name(key)).map_err(fail(&at))?;
        let note: Note =
            serde_json::from_reader(file.take(MANIFEST_BYTES_MAX)).map_err(|error| fail(&at)(error.into()))?;
        Ok(Kept { manifest: note.manifest, state: State::Dropped { at_ms: note.dropped_ms }, bytes: note.bytes })
    }

    fn tape(&self, key: Key) -> Result<Option<Folder>, Error> {
        let found = Folder::open(&self.tapes)
            .and_then(|tapes| tapes.sub(key.agent.to_string()))
            .and_then(|agent| agent.sub(tape_name(key)));
        found_or_none(found).map_err(fail(&self.tape_path(key)))
    }

    /// Where the archives of the run's agent are.
    fn shelf(&self, key: Key) -> Result<Option<Folder>, Error> {
        let found = Folder::open(&self.archive).and_then(|archive| archive.sub(key.agent.to_string()));
        found_or_none(found).map_err(fail(&self.packed_path(key)))
    }

    // The paths are for people; the work goes by open folders.

    fn tape_path(&self, key: Key) -> PathBuf {
        self.tapes.join(key.agent.to_string()).join(tape_name(key))
    }

    fn packed_path(&self, key: Key) -> PathBuf {
        self.archive.join(key.agent.to_string()).join(packed_name(key))
    }

    fn leftover_path(&self, key: Key, leftover: Leftover) -> PathBuf {
        let beside = match leftover {
            Leftover::Gone | Leftover::Restoring => self.tape_path(key),
            Leftover::Part => self.packed_path(key),
        };
        beside.with_file_name(leftover_name(key, leftover))
    }
}

#[derive(Serialize, Deserialize)]
struct Note {
    dropped_ms: i64,
    bytes: u64,
    manifest: Manifest,
}

/// What there is of each run.
#[derive(Default)]
struct Survey {
    runs: BTreeMap<Key, Found>,
    odd_agents: BTreeSet<AgentId>,
    odd_runs: BTreeSet<Key>,
    odd: Vec<Odd>,
}

#[derive(Default)]
struct Found {
    tape: Option<Rest>,
    /// Bytes, and when the run last said something.
    packed: Option<(u64, i64)>,
    leftovers: Vec<(Leftover, PathBuf)>,
}

struct Rest {
    bytes: u64,
    touched_ms: i64,
}

fn decide(survey: Survey, live: &dyn Fn(AgentId, RunNo) -> bool, policy: &Policy, now_ms: i64) -> Plan {
    let Survey { mut runs, odd_agents, odd_runs, odd } = survey;
    let mut plan = Plan { steps: Vec::new(), odd };
    runs.retain(|key, _| !odd_agents.contains(&key.agent) && !odd_runs.contains(key) && !live(key.agent, key.run));
    for (key, found) in &runs {
        for (leftover, path) in &found.leftovers {
            match (found.packed, &found.tape) {
                (Some(_), _) => plan.steps.push(Step::Clean { key: *key, leftover: *leftover }),
                // Packing it again replaces the part.
                (None, Some(_)) if *leftover == Leftover::Part => {}
                (None, _) => plan
                    .odd
                    .push(Odd { path: path.clone(), what: format!("no archive stands for what is left of {key}") }),
            }
        }
    }
    for (key, found) in &runs {
        let Some(Rest { bytes, touched_ms }) = found.tape else { continue };
        let idle_ms = now_ms.saturating_sub(touched_ms);
        if idle_ms >= policy.idle_ms {
            plan.steps.push(Step::Archive { key: *key, bytes, touched_ms, idle_ms, level: policy.level });
        }
    }
    // An archive beside its tape is a second copy and counts for nothing: it goes when the tape is packed again.
    let alone = |found: &Found| found.tape.is_none() && found.leftovers.iter().all(|(of, _)| *of != Leftover::Gone);
    let mut packed: Vec<_> = runs
        .iter()
        .filter(|(_, found)| alone(found))
        .filter_map(|(key, found)| found.packed.map(|(bytes, last_ms)| (last_ms, *key, bytes)))
        .collect();
    packed.sort_unstable();
    let mut total_bytes: u64 = packed.iter().map(|(_, _, bytes)| bytes).sum();
    for (_, key, bytes) in packed {
        if total_bytes <= policy.cap_bytes {
            break;
        }
        plan.steps.push(Step::Drop { key, bytes, total_bytes, cap_bytes: policy.cap_bytes });
        total_bytes -= bytes;
    }
    plan
}

/// What a name in an agent's folder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Tape,
    Packed,
    Dropped,
    Leftover(Leftover),
}

type Names = &'static [(&'static str, Kind, Name)];

const TAPE_NAMES: Names = &[
    ("", Kind::Folder, Name::Tape),
    ("gone", Kind::Folder, Name::Leftover(Leftover::Gone)),
    ("restoring", Kind::Folder, Name::Leftover(Leftover::Restoring)),
];

const ARCHIVE_NAMES: Names = &[
    ("tar.zst", Kind::File, Name::Packed),
    ("dropped.json", Kind::File, Name::Dropped),
    ("part", Kind::File, Name::Leftover(Leftover::Part)),
];

#[derive(Default)]
struct Walked {
    names: Vec<(Key, Name, Entry)>,
    odd_agents: BTreeSet<AgentId>,
    odd_runs: BTreeSet<Key>,
    odd: Vec<Odd>,
}

/// One bad name does not hide the others.
fn walk(root: &Path, names: Names) -> Result<Walked, Error> {
    let mut walked = Walked::default();
    let Some(folder) = found_or_none(Folder::open(root)).map_err(fail(root))? else { return Ok(walked) };
    for entry in folder.entries().map_err(fail(root))? {
        let path = root.join(&entry.name);
        let Some(agent) = canonical::<AgentId>(entry.name.to_str()) else {
            walked.odd.push(Odd { path, what: "not the name of an agent".into() });
            continue;
        };
        let entries = match folder.sub(&entry.name).and_then(|folder| folder.entries()) {
            Ok(entries) => entries,
            Err(error) => {
                walked.odd_agents.insert(agent);
                walked.odd.push(Odd { path, what: format!("not a folder that can be read: {error}") });
                continue;
            }
        };
        for entry in entries {
            let path = path.join(&entry.name);
            let name = entry.name.to_str().map(|name| name.split_once('.').unwrap_or((name, "")));
            let run = name.and_then(|(run, _)| canonical(Some(run))).map(RunNo);
            let known = names.iter().find(|(suffix, _, _)| name.is_some_and(|(_, rest)| rest == *suffix));
            match (run, known) {
                (Some(run), Some((_, kind, name))) if entry.kind == *kind => {
                    walked.names.push((Key { agent, run }, *name, entry));
                }
                (Some(run), Some(_)) => {
                    walked.odd_runs.insert(Key { agent, run });
                    walked.odd.push(Odd { path, what: "not the kind of file this name is for".into() });
                }
                _ => walked.odd.push(Odd { path, what: "not the name of a run".into() }),
            }
        }
    }
    Ok(walked)
}

/// One spelling only: `07` and `7` must not be two names of one run.
fn canonical<T: std::str::FromStr + fmt::Display>(name: Option<&str>) -> Option<T> {
    name.and_then(|name| name.parse().ok().filter(|parsed: &T| parsed.to_string() == name))
}

fn tape_name(key: Key) -> String {
    key.run.to_string()
}

fn packed_name(key: Key) -> String {
    format!("{}.tar.zst", key.run)
}

fn dropped_name(key: Key) -> String {
    format!("{}.dropped.json", key.run)
}

fn leftover_name(key: Key, leftover: Leftover) -> String {
    format!("{}.{}", key.run, leftover.suffix())
}

/// The files of a run, held open from when they are hashed until they are packed: a segment that is renamed meanwhile
/// is still the one that was hashed.
struct Tape<'a> {
    key: Key,
    path: &'a Path,
    files: Vec<TapeFile>,
    /// The first name of the older archive that is not, or not with the same beginning, in the tape.
    departs: Option<String>,
}

struct TapeFile {
    file: File,
    entry: Entry,
    packed: PackedFile,
}

impl<'a> Tape<'a> {
    fn open(key: Key, path: &'a Path, folder: &Folder, older: &[PackedFile]) -> Result<Self, Error> {
        let entries = folder.entries().map_err(fail(path))?;
        let names = plain(path, &entries)?;
        let mut continued = BTreeSet::new();
        let mut files = Vec::with_capacity(names.len());
        for name in names {
            let (mut file, entry) = folder.read(&name).map_err(fail(&path.join(&name)))?;
            let older = older.iter().find(|older| older.name == name);
            let begin = older.map_or(0, |older| older.bytes.min(entry.bytes));
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader((&mut file).take(begin)).map_err(fail(path))?;
            if older.is_some_and(|older| older.bytes == begin && older.blake3 == hex(&hasher)) {
                continued.insert(name.clone());
            }
            hasher.update_reader((&mut file).take(entry.bytes - begin)).map_err(fail(path))?;
            if hasher.count() != entry.bytes {
                return Err(Error::Touched { key });
            }
            let packed = PackedFile { name, bytes: entry.bytes, blake3: hex(&hasher), mtime_ms: entry.mtime_ms() };
            files.push(TapeFile { file, entry, packed });
        }
        let departs = older.iter().find(|older| !continued.contains(&older.name)).map(|older| older.name.clone());
        Ok(Self { key, path, files, departs })
    }

    fn goes_on(&self) -> Result<(), Error> {
        match &self.departs {
            None => Ok(()),
            Some(file) => Err(Error::Differs { key: self.key, file: file.clone() }),
        }
    }

    fn entries(&self) -> Vec<Entry> {
        self.files.iter().map(|file| file.entry.clone()).collect()
    }

    fn untouched(&self, folder: &Folder) -> Result<(), Error> {
        let entries = folder.entries().map_err(fail(self.path))?;
        if entries == self.entries() { Ok(()) } else { Err(Error::Touched { key: self.key }) }
    }

    fn manifest(&self, packed_ms: i64) -> Manifest {
        let files = self.files.iter().map(|file| file.packed.clone()).collect();
        Manifest { format: FORMAT, key: self.key, packed_ms, files }
    }

    fn write<W: Write>(&mut self, manifest: &Manifest, out: W, to: &Path, watch: Watch<'_>) -> Result<W, Error> {
        let mut out = tar::Builder::new(out);
        let about = serde_json::to_vec_pretty(manifest).map_err(|error| fail(self.path)(error.into()))?;
        let mut about_header = header(about.len() as u64, manifest.packed_ms);
        out.append_data(&mut about_header, MANIFEST, about.as_slice()).map_err(fail(to))?;
        for TapeFile { file, packed, .. } in &mut self.files {
            file.rewind().map_err(fail(self.path))?;
            let mut hashing = Hashing::new(file.take(packed.bytes));
            let mut file_header = header(packed.bytes, packed.mtime_ms);
            let copied = out.append_data(&mut file_header, entry_name(&packed.name), &mut hashing);
            copied.map_err(|error| fail(if hashing.did_fail { self.path } else { to })(error))?;
            if !hashing.is(packed) {
                return Err(Error::Touched { key: self.key });
            }
            watch(Stage::FilePacked).map_err(fail(self.path))?;
        }
        out.into_inner().map_err(fail(to))
    }
}

fn header(bytes: u64, mtime_ms: i64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_mtime(u64::try_from(mtime_ms / 1000).unwrap_or(0));
    header
}

fn entry_name(name: &str) -> String {
    format!("tape/{name}")
}

/// The names of the files of a tape, if it has nothing but files.
fn plain(path: &Path, entries: &[Entry]) -> Result<Vec<String>, Error> {
    let odd = |path: PathBuf, what: &str| Error::Odd { path, what: what.into() };
    if entries.len() > FILES_MAX {
        return Err(odd(path.to_owned(), &format!("{} files, more than a tape has", entries.len())));
    }
    let name = |entry: &Entry| match entry.name.to_str() {
        _ if entry.kind != Kind::File => Err(odd(path.join(&entry.name), "not a regular file")),
        None => Err(odd(path.join(&entry.name), "not a name in UTF-8")),
        Some(name) => Ok(name.to_owned()),
    };
    entries.iter().map(name).collect()
}

fn touched(folder: &Folder, entries: &[Entry]) -> io::Result<i64> {
    let own = folder.itself()?.mtime_ms();
    Ok(entries.iter().map(Entry::mtime_ms).fold(own, i64::max))
}

/// Reads one archive from its beginning to its end, or until `each` has enough, and compares what it reads with the
/// manifest.
fn unpack(shelf: &Folder, key: Key, each: Each<'_>) -> Result<Manifest, Error> {
    unpack_as(shelf, &packed_name(key), key, each)
}

type Each<'a> = &'a mut dyn FnMut(&PackedFile, &mut dyn Read) -> Result<ControlFlow<()>, Error>;

fn unpack_as(shelf: &Folder, name: &str, key: Key, each: Each<'_>) -> Result<Manifest, Error> {
    let damaged = |what: String| Error::Damaged { key, what };
    let unreadable = |error: io::Error| Error::Damaged { key, what: error.to_string() };
    let (file, _) = match found_or_none(shelf.read(name)).map_err(unreadable)? {
        Some(opened) => opened,
        None => return Err(Error::Missing(key)),
    };
    let mut archive = tar::Archive::new(decoder(file).map_err(unreadable)?);
    let mut entries = archive.entries().map_err(unreadable)?;
    let mut next = |name: &str| match entries.next() {
        Some(Ok(entry)) if entry.path_bytes() == name.as_bytes() && entry.header().entry_type().is_file() => Ok(entry),
        Some(Ok(entry)) => Err(damaged(format!("{:?} is in the place of {name:?}", entry.path().unwrap_or_default()))),
        Some(Err(error)) => Err(damaged(error.to_string())),
        None => Err(damaged(format!("it ends before {name:?}"))),
    };
    let about = next(MANIFEST)?;
    let manifest: Manifest =
        serde_json::from_reader(about.take(MANIFEST_BYTES_MAX)).map_err(|error| damaged(error.to_string()))?;
    if manifest.format != FORMAT || manifest.key != key || manifest.files.len() > FILES_MAX {
        return Err(damaged("the manifest is of something else".into()));
    }
    for packed in &manifest.files {
        let mut hashing = Hashing::new(next(&entry_name(&packed.name))?);
        if each(packed, &mut hashing)?.is_break() {
            return Ok(manifest);
        }
        io::copy(&mut hashing, &mut io::sink()).map_err(unreadable)?;
        if !hashing.is(packed) {
            return Err(damaged(format!("{:?} is not what was packed", packed.name)));
        }
    }
    if entries.next().is_some() {
        return Err(damaged("there is more in it than in its manifest".into()));
    }
    // The checksum of the whole comes after the last byte.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(unreadable)?;
    Ok(manifest)
}

/// What the archive says of itself, without reading further; `None` if there is none.
fn manifest(shelf: &Folder, key: Key) -> Result<Option<Manifest>, Error> {
    match unpack(shelf, key, &mut |_, _| Ok(ControlFlow::Break(()))) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(Error::Missing(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn verify(shelf: &Folder, key: Key) -> Result<Manifest, Error> {
    verify_as(shelf, &packed_name(key), key)
}

fn verify_as(shelf: &Folder, name: &str, key: Key) -> Result<Manifest, Error> {
    unpack_as(shelf, name, key, &mut |_, _| Ok(ControlFlow::Continue(())))
}

struct Hashing<R> {
    inner: R,
    hasher: blake3::Hasher,
    /// Of a copy that fails it is good to know which side did.
    did_fail: bool,
}

impl<R: Read> Hashing<R> {
    fn new(inner: R) -> Self {
        Self { inner, hasher: blake3::Hasher::new(), did_fail: false }
    }

    /// Whether all that was read is that file.
    fn is(&self, packed: &PackedFile) -> bool {
        self.hasher.count() == packed.bytes && hex(&self.hasher) == packed.blake3
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer).inspect_err(|_| self.did_fail = true)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

fn hex(hasher: &blake3::Hasher) -> String {
    hasher.finalize().to_hex().to_string()
}

fn encoder<W: Write>(out: W, level: i32) -> io::Result<zstd::Encoder<'static, W>> {
    let mut encoder = zstd::Encoder::new(out, level.clamp(*LEVELS.start(), *LEVELS.end()))?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}

fn decoder(file: File) -> io::Result<zstd::Decoder<'static, io::BufReader<File>>> {
    let mut decoder = zstd::Decoder::new(file)?;
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(decoder)
}

/// Reading fails when the archive is damaged, writing when the disk is full; people must know which.
fn copy(from: &mut dyn Read, to: &mut File, key: Key, path: &Path) -> Result<(), Error> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).map_err(|error| Error::Damaged { key, what: error.to_string() })?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count]).map_err(fail(path))?;
    }
}

/// Removes a folder of files. One that holds a folder is not ours and stays.
fn clear(parent: &Folder, name: &str, path: &Path, watch: Watch<'_>) -> Result<(), Error> {
    let Some(folder) = found_or_none(parent.sub(name)).map_err(fail(path))? else { return Ok(()) };
    let entries = folder.entries().map_err(fail(path))?;
    if let Some(entry) = entries.iter().find(|entry| entry.kind == Kind::Folder) {
        return Err(Error::Odd { path: path.join(&entry.name), what: "a folder where only files are".into() });
    }
    for entry in &entries {
        folder.remove(&entry.name).and_then(|()| watch(Stage::FileRemoved)).map_err(fail(path))?;
    }
    parent.remove_folder(name).and_then(|()| parent.sync()).map_err(fail(path))
}

fn sub_or_make(parent: &Folder, name: &str) -> io::Result<Folder> {
    if let Some(folder) = found_or_none(parent.sub(name))? {
        return Ok(folder);
    }
    let folder = parent.make(name)?;
    parent.sync()?;
    Ok(folder)
}

fn weigh(folder: &Folder, depth: u32) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in folder.entries()? {
        bytes += match entry.kind {
            Kind::File => entry.bytes,
            Kind::Folder if depth > 1 => {
                found_or_none(folder.sub(&entry.name))?.map_or(Ok(0), |sub| weigh(&sub, depth - 1))?
            }
            Kind::Folder | Kind::Other => 0,
        };
    }
    Ok(bytes)
}

fn found_or_none<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn fail(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |source| Error::Io { path: path.to_owned(), source }
}
