//! What is written down of a worktree, before it is made and until it is gone: whose it is, and of what.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::git::Repository;
use super::{Error, Wanted};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) agent: String,
    /// The directory all worktrees of the repository share.
    pub(super) repo: PathBuf,
    /// Settled only when it is `ready`.
    pub(super) branch: String,
    pub(super) base: String,
    /// Made to the end: the agent may have worked in it.
    pub(super) ready: bool,
}

impl Record {
    pub(super) fn of(wanted: &Wanted<'_>, repo: &Repository) -> Self {
        Self {
            agent: wanted.agent.to_owned(),
            repo: repo.common.clone(),
            branch: wanted.branch.to_owned(),
            base: repo.head.clone(),
            ready: false,
        }
    }

    pub(super) fn read(root: &Path, agent: &str) -> Result<Option<Self>, Error> {
        let path = place(root, agent);
        match read::<Self>(&path)? {
            Some(record) if record.agent != agent => {
                Err(Error::Record { path, why: "it is another agent's".to_owned() })
            }
            record => Ok(record),
        }
    }

    pub(super) fn write(&self, root: &Path) -> Result<(), Error> {
        write(&place(root, &self.agent), self)
    }

    pub(super) fn forget(&self, root: &Path) -> Result<(), Error> {
        let path = place(root, &self.agent);
        std::fs::remove_file(&path).and_then(|()| sync(root)).map_err(Error::io(&path))
    }
}

fn place(root: &Path, agent: &str) -> PathBuf {
    root.join(format!("{agent}.json"))
}

/// Our records have some hundred bytes, and paths.
const RECORD_BYTES_MAX: u64 = 1024 * 1024;

/// `None` when there is none. Not through a link.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Err(Error::Record { path: path.to_owned(), why: "it is not a file".to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path)(error)),
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(RECORD_BYTES_MAX).read_to_end(&mut bytes)).map_err(Error::io(path))?;
    let record = serde_json::from_slice(&bytes);
    record.map(Some).map_err(|error| Error::Record { path: path.to_owned(), why: error.to_string() })
}

/// Whole or not at all, and on the disk before this returns.
pub(super) fn write(path: &Path, record: &impl Serialize) -> Result<(), Error> {
    // A path that is not Unicode cannot be written down.
    let text = serde_json::to_vec_pretty(record);
    let text = text.map_err(|error| Error::Record { path: path.to_owned(), why: error.to_string() })?;
    let temporary = path.with_extension("tmp");
    let all = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        sync(path.parent().unwrap_or(path))
    };
    all().map_err(Error::io(path))
}

pub(super) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
