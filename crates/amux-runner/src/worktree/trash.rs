//! Where worktrees wait after their end: each in a directory of its own, with a record of what it was.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::git::Git;
use super::record::{self, Record};
use super::{Error, State, is_there, make_dirs};

/// The record of an entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    agent: String,
    repo: PathBuf,
    /// Where it was.
    path: PathBuf,
    /// The agent's.
    branch: String,
    base: String,
    /// What was checked out; no branch when detached, no commit when it was never made to the end.
    checked_out: Option<String>,
    head: Option<String>,
    snapshot: Option<String>,
    when_ms: i64,
    /// Repositories in it, which are nowhere else.
    nested: Vec<String>,
}

impl Entry {
    pub(super) fn of(record: &Record, path: &Path, state: &State, snapshot: Option<String>, when_ms: i64) -> Self {
        Self {
            agent: record.agent.clone(),
            repo: record.repo.clone(),
            path: path.to_owned(),
            branch: record.branch.clone(),
            base: record.base.clone(),
            checked_out: state.branch.clone(),
            head: state.head.clone(),
            snapshot,
            when_ms,
            nested: state.nested.iter().map(|dir| dir.to_string_lossy().into_owned()).collect(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    pub entry: PathBuf,
    pub agent: String,
    pub repo: PathBuf,
    /// It stays in the repository.
    pub snapshot: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub path: PathBuf,
    /// `None` when detached: its branch has moved on, or is in use elsewhere.
    pub branch: Option<String>,
}

const RECORD: &str = "record.json";
const TREE: &str = "tree";

/// More worktrees of one agent in one millisecond are an accident.
const NAME_TRIES_MAX: i64 = 1_000;

/// The trash of the worktrees under `root`: beside it, so that a move there is a rename.
pub fn trash_dir(root: &Path) -> PathBuf {
    root.parent().unwrap_or(root).join("trash")
}

/// Moves the directory of a worktree into the trash.
pub(super) fn put(root: &Path, entry: &Entry) -> Result<PathBuf, Error> {
    let trash = trash_dir(root);
    make_dirs(&trash)?;
    let place = make_place(&trash, entry)?;
    let moved = record::write(&place.join(RECORD), entry).and_then(|()| {
        let moved = std::fs::rename(&entry.path, place.join(TREE));
        moved.and_then(|()| record::sync(&place)).and_then(|()| record::sync(root)).map_err(Error::io(&entry.path))
    });
    if moved.is_err() && !is_there(&place.join(TREE)) {
        let _ = std::fs::remove_file(place.join(RECORD));
        let _ = std::fs::remove_dir(&place);
    }
    moved.map(|()| place)
}

fn make_place(trash: &Path, entry: &Entry) -> Result<PathBuf, Error> {
    for ms in entry.when_ms..entry.when_ms.saturating_add(NAME_TRIES_MAX) {
        let place = trash.join(format!("{}-{ms}", entry.agent));
        match std::fs::DirBuilder::new().mode(0o700).create(&place) {
            Ok(()) => return Ok(place),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io(&place)(error)),
        }
    }
    Err(Error::Occupied(trash.join(format!("{}-{}", entry.agent, entry.when_ms))))
}

/// Gets a directory that was never made to the end out of the way. `None` if there was nothing in it.
pub(super) fn set_aside(root: &Path, record: &Record) -> Result<Option<PathBuf>, Error> {
    let path = root.join(&record.agent);
    if std::fs::remove_dir(&path).is_ok() {
        return Ok(None);
    }
    let now = amux_sys::clock::now_ms();
    put(root, &Entry::of(record, &path, &State::default(), None, now)).map(Some)
}

/// Deletes what has been in the trash for longer than `keep`: only what has our record, and nothing that holds a
/// repository of its own, which no snapshot has. What cannot be deleted is tried again the next time.
pub fn expire_trash(trash: &Path, keep: Duration, now_ms: i64) -> Vec<Expired> {
    let is_dir = |path: &Path| path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    if !is_dir(trash) {
        return Vec::new();
    }
    let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    let mut expired = Vec::new();
    for place in std::fs::read_dir(trash).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if !is_dir(&place) {
            continue;
        }
        let Ok(Some(entry)) = record::read::<Entry>(&place.join(RECORD)) else { continue };
        let is_named = place
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.strip_prefix(&entry.agent).and_then(|rest| rest.strip_prefix('-')).is_some());
        let is_due = entry.when_ms.saturating_add(keep_ms) <= now_ms;
        if !is_named || !is_due || !entry.nested.is_empty() {
            continue;
        }
        match delete(&place) {
            Ok(()) => {
                let Entry { agent, repo, snapshot, .. } = entry;
                expired.push(Expired { entry: place, agent, repo, snapshot });
            }
            Err(error) => {
                tracing::warn!(entry = %place.display(), %error, "An old worktree could not be deleted from the trash.");
            }
        }
    }
    expired.sort_by(|a, b| a.entry.cmp(&b.entry));
    expired
}

/// The record last: without it nobody would come back for the rest.
fn delete(place: &Path) -> io::Result<()> {
    let tree = place.join(TREE);
    match tree.symlink_metadata() {
        Ok(meta) if meta.is_dir() => {
            if std::fs::remove_dir_all(&tree).is_err() {
                open_up(&tree)?;
                std::fs::remove_dir_all(&tree)?;
            }
        }
        Ok(_) => std::fs::remove_file(&tree)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let others = std::fs::read_dir(place)?.flatten().filter(|entry| entry.file_name() != RECORD).count();
    if others > 0 {
        return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, "somebody has put something into it"));
    }
    std::fs::remove_file(place.join(RECORD))?;
    std::fs::remove_dir(place)
}

/// Caches of packages have directories in which nothing may be deleted. Links are not followed.
fn open_up(dir: &Path) -> io::Result<()> {
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700))?;
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    Ok(())
}

/// Puts a worktree back where it was, with every file it had, and takes it out of the trash. What was staged is in
/// the snapshot alone. Called again after a crash it goes on.
pub fn restore(git: &Git, entry: &Path) -> Result<Restored, Error> {
    let record: Entry = record::read(&entry.join(RECORD))?.ok_or_else(|| Error::NothingLeft(entry.to_owned()))?;
    let Some(head) = &record.head else { return Err(Error::NothingLeft(entry.to_owned())) };
    let root = record.path.parent().unwrap_or(&record.path);
    let (path, tree) = (&record.path, entry.join(TREE));
    let has_tree = is_there(&tree);
    let is_back = !has_tree && is_ours_again(root, &record)? && names_in(path)?.len() > 1;
    if !has_tree && !is_back && record.snapshot.is_none() {
        return Err(Error::NothingLeft(entry.to_owned()));
    }
    if !is_back {
        make_way(git, &record)?;
        claim(root, &record)?;
        add(git, &record, head)?;
        if has_tree {
            let link = path.join(".git");
            std::fs::rename(&link, tree.join(".git")).map_err(Error::io(&link))?;
            std::fs::remove_dir(path).map_err(Error::io(path))?;
            std::fs::rename(&tree, path).map_err(Error::io(&tree))?;
        } else if let Some(snapshot) = &record.snapshot {
            git.within(path).args(["read-tree", "-m", "-u", snapshot]).slow().ok()?;
        }
    }
    // The index is of the commit again, whatever is in the files.
    git.within(path).args(["read-tree", "--reset", "HEAD"]).slow().ok()?;
    let branch = git.branch_of(path)?;
    let ours = Record { ready: true, ..claimed(&record) };
    ours.write(root)?;
    delete(entry).map_err(Error::io(entry))?;
    Ok(Restored { path: path.clone(), branch })
}

/// Whether the directory is in its place again and only the last steps are missing.
fn is_ours_again(root: &Path, record: &Entry) -> Result<bool, Error> {
    let claim = Record::read(root, &record.agent)?;
    Ok(claim.is_some_and(|claim| claim.repo == record.repo) && is_there(&record.path.join(".git")))
}

/// What an interrupted restore left is no more than a link to git in an otherwise empty directory.
fn make_way(git: &Git, record: &Entry) -> Result<(), Error> {
    let path = &record.path;
    if is_there(path) {
        let is_claimed = is_ours_again(path.parent().unwrap_or(path), record)?;
        let names: Vec<_> =
            std::fs::read_dir(path).map_err(Error::io(path))?.flatten().map(|e| e.file_name()).collect();
        let only_link = is_claimed && names.iter().all(|name| name == ".git");
        if !names.is_empty() && !only_link {
            return Err(Error::Occupied(path.clone()));
        }
        if only_link {
            let link = path.join(".git");
            std::fs::remove_file(&link).map_err(Error::io(&link))?;
        }
        std::fs::remove_dir(path).map_err(Error::io(path))?;
    }
    git.unregister(&record.repo, path)
}

fn names_in(dir: &Path) -> Result<Vec<OsString>, Error> {
    let names = std::fs::read_dir(dir).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    names.map_err(Error::io(dir))
}

fn claimed(record: &Entry) -> Record {
    Record {
        agent: record.agent.clone(),
        repo: record.repo.clone(),
        branch: record.branch.clone(),
        base: record.base.clone(),
        ready: false,
    }
}

fn claim(root: &Path, record: &Entry) -> Result<(), Error> {
    match Record::read(root, &record.agent)? {
        Some(other) if other.ready || other.repo != record.repo => Err(Error::Occupied(record.path.clone())),
        _ => {
            make_dirs(root)?;
            claimed(record).write(root)
        }
    }
}

/// The worktree as git has it, on the branch it was on if that is still where it was.
fn add(git: &Git, record: &Entry, head: &str) -> Result<(), Error> {
    let add = || git.at(&record.repo).args(["worktree", "add", "-q", "--no-checkout"]).slow();
    let branch = match &record.checked_out {
        None => None,
        Some(branch) => match git.tip(&record.repo, branch)? {
            None => {
                git.make_branch(&record.repo, branch, head, &record.agent)?;
                Some(branch)
            }
            Some(tip) if tip == head && !git.is_checked_out(&record.repo, branch)? => Some(branch),
            Some(_) => None,
        },
    };
    match branch {
        Some(branch) => add().arg(&record.path).arg(branch).ok(),
        None => add().arg("--detach").arg(&record.path).arg(head).ok(),
    }
    .map(drop)
}
