//! A worktree and a branch of its own for an agent, and their end: nothing that somebody made is destroyed by it.
//!
//! A worktree lies at `<root>/<agent>`, its record beside it at `<root>/<agent>.json`: a directory without a record is
//! not ours, and is left alone. What git cannot give back goes to the trash beside the root, with a commit under
//! `refs/agentmux/snapshots/` where there was something to commit. What cannot be read counts as precious.
//!
//! Everything here blocks, and one agent's calls come one after the other. The project's own files, index and
//! checkout are never written; submodules are left alone, hooks do not run.

mod git;
mod record;
mod snapshot;
mod trash;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use amux_sys::{output, process};

pub(crate) use git::Files;
pub use git::Git;
use git::{Linked, Repository};
use record::Record;
pub use trash::{Expired, Restored, expire_trash, restore, trash_dir};

#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Any directory inside the repository.
    pub repo: &'a Path,
    /// Where worktrees live.
    pub root: &'a Path,
    /// As wished: what is taken gets a number.
    pub branch: &'a str,
    /// Letters, digits, `-` and `_`: it is the name of a directory.
    pub agent: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    pub path: PathBuf,
    /// Where `repo` lay in its checkout, in the new one; `path` if the commit has no such directory.
    pub dir: PathBuf,
    pub branch: String,
    pub base_commit: String,
    /// Whether it was made by this call.
    pub created: bool,
    /// Sentences for the person.
    pub warnings: Vec<String>,
}

/// What a worktree holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The first changed and untracked files, as git's letters and a path.
    pub dirty: Vec<String>,
    pub changed: usize,
    pub untracked: usize,
    /// Files and directories that git was told not to look at.
    pub ignored: usize,
    /// Tracked files that git was told not to check for changes: they may have some.
    pub unwatched: usize,
    /// Repositories of their own in it, which no commit of the outer one can hold.
    pub nested: Vec<PathBuf>,
    /// Commits that are on no other branch, tag or remote.
    pub ahead: u64,
    /// `None` when detached.
    pub branch: Option<String>,
    /// `None` when there is no commit.
    pub head: Option<String>,
    /// The reason somebody gave for keeping it.
    pub locked: Option<String>,
}

impl State {
    /// Nothing to commit, nothing committed here alone.
    pub fn is_clean(&self) -> bool {
        self.changed + self.untracked + self.unwatched == 0 && self.nested.is_empty() && self.ahead == 0
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    pub how: How,
    pub branch: Branch,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// It held nothing that git does not have.
    Deleted,
    /// With the hidden ref that holds its state, unless only ignored files were left.
    Trashed { entry: PathBuf, snapshot: Option<String> },
    /// The directory was not there any more.
    Gone,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Branch {
    /// It had no commit of its own.
    Deleted,
    /// It has commits of its own, or is in use elsewhere.
    Kept(String),
    /// Somebody has deleted it before.
    Gone,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not in a git repository: {path}{}", and(.said))]
    NoRepository { path: PathBuf, said: String },
    #[error("the repository has no checkout to start from: {0}")]
    Bare(PathBuf),
    #[error("the repository has no commit yet: {0}")]
    NoCommit(PathBuf),
    #[error("not a name for a branch: {0:?}")]
    BadBranch(String),
    #[error("not a name for an agent's directory: {0:?}")]
    BadAgent(String),
    #[error("the branch {0} and its numbered successors are all taken")]
    NoFreeBranch(String),
    #[error("it is there and not ours, it is left as it is: {0}")]
    NotOurs(PathBuf),
    #[error("the worktree {path} belongs to another repository: {repo}")]
    OtherRepository { path: PathBuf, repo: PathBuf },
    #[error("the record cannot be read: {path}: {why}")]
    Record { path: PathBuf, why: String },
    #[error("what is in the worktree cannot be told, it is kept: {path}: {why}")]
    Unreadable { path: PathBuf, why: String },
    #[error("a process works in {path}: {}", list(.pids))]
    InUse { path: PathBuf, pids: Vec<u32> },
    #[error("the worktree is locked: {path}{}", and(.reason))]
    Locked { path: PathBuf, reason: String },
    #[error("submodules with repositories of their own are checked out in {0}")]
    Submodules(PathBuf),
    #[error("files change while they are saved: {0}")]
    Moving(PathBuf),
    #[error("something is in its place: {0}")]
    Occupied(PathBuf),
    #[error("nothing is left to restore: {0}")]
    NothingLeft(PathBuf),
    #[error("git {doing} failed{}", and(.said))]
    Git { doing: String, said: String },
    #[error(transparent)]
    Run(#[from] output::Error),
    #[error("cannot be used: {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// What may help, for the person.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoRepository { .. } => "start the agent inside a repository, or without --worktree",
            Self::Bare(_) => "start from a directory with a checkout",
            Self::NoCommit(_) => "make a first commit",
            Self::NotOurs(_) | Self::Occupied(_) => "move it away",
            Self::Unreadable { .. } => "see what `git status` says in it; `git worktree repair` mends lost links",
            Self::InUse { .. } => "stop the process, or let it change its directory",
            Self::Locked { .. } => "git worktree unlock",
            Self::Submodules(_) => "push what is in them, then `git submodule deinit --all` in it",
            Self::Moving(_) => "try again when nobody writes in it",
            Self::Run(output::Error::Start(_)) => "install git",
            _ => return None,
        })
    }

    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    fn unreadable(path: &Path, why: impl ToString) -> Self {
        Self::Unreadable { path: path.to_owned(), why: why.to_string() }
    }
}

fn and(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

fn list(pids: &[u32]) -> String {
    pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Makes the worktree of an agent, finishes what a crash left half made, or finds what is there.
pub fn prepare(git: &Git, wanted: &Wanted<'_>) -> Result<Prepared, Error> {
    check_agent(wanted.agent)?;
    git.check_branch(wanted.branch)?;
    let repo = Repository::find(git, wanted.repo)?;
    make_dirs(wanted.root)?;
    let root = wanted.root.canonicalize().map_err(Error::io(wanted.root))?;
    let path = root.join(wanted.agent);
    let mut record = match Record::read(&root, wanted.agent)? {
        Some(record) if record.repo != repo.common => {
            return Err(Error::OtherRepository { path, repo: record.repo });
        }
        Some(record) => record,
        None if is_there(&path) => return Err(Error::NotOurs(path)),
        None => {
            let record = Record::of(wanted, &repo);
            record.write(&root)?;
            record
        }
    };
    let mut created = false;
    if !record.ready && is_there(&path) && is_half_made(&repo.common, &path)? {
        trash::set_aside(&root, &record)?;
        git.unregister(&repo.common, &path)?;
    }
    if is_there(&path) {
        if Linked::open(&path)?.common != repo.common {
            return Err(Error::NotOurs(path));
        }
    } else {
        git.unregister(&repo.common, &path)?;
        ensure_branch(git, &repo, wanted.branch, &mut record)?;
        let add = git.at(&repo.toplevel).args(["worktree", "add", "-q"]).arg(&path).arg(&record.branch);
        add.fetching().slow().ok()?;
        created = true;
    }
    if !record.ready {
        // A crash between the end of `add` and here left the record with the name that was wished for.
        if let Some(branch) = git.branch_of(&path)? {
            record.branch = branch;
        }
        record.ready = true;
        record.write(&root)?;
    }
    let inner = path.join(&repo.prefix);
    Ok(Prepared {
        dir: if inner.is_dir() { inner } else { path.clone() },
        path,
        branch: record.branch,
        base_commit: record.base,
        created,
        warnings: warnings(git, &repo),
    })
}

/// The branch that was made for an agent's worktree, once both are there. It may have gone to another since.
pub fn branch(root: &Path, agent: &str) -> Option<String> {
    Record::read(root, agent).ok().flatten().filter(|record| record.ready).map(|record| record.branch)
}

/// What is in a worktree. An error means that it is not known, and so that it is not clean.
pub fn state(git: &Git, path: &Path) -> Result<State, Error> {
    let place = Place::of(path)?;
    let record = Record::read(&place.root, &place.agent)?.ok_or_else(|| Error::NotOurs(place.path.clone()))?;
    git::inventory(git, &Linked::open(&place.path)?, &record)
}

/// Ends a worktree. Called again after a crash it finishes what was begun.
pub fn remove(git: &Git, path: &Path, now_ms: i64) -> Result<Removed, Error> {
    let Place { root, agent, path } = Place::of(path)?;
    let record = Record::read(&root, &agent)?.ok_or_else(|| Error::NotOurs(path.clone()))?;
    let how = if !is_there(&path) {
        How::Gone
    } else if !record.ready && is_half_made(&record.repo, &path)? {
        match trash::set_aside(&root, &record)? {
            Some(entry) => How::Trashed { entry, snapshot: None },
            None => How::Deleted,
        }
    } else {
        clear(git, &root, &record, &path, now_ms)?
    };
    git.unregister(&record.repo, &path)?;
    let branch = drop_branch(git, &record)?;
    record.forget(&root)?;
    Ok(Removed { how, branch })
}

/// Whether `dir` lies in a repository that is itself below `managed_root`: git sees that one then, and not the outer.
pub fn nested_git(dir: &Path, managed_root: &Path) -> bool {
    let below = dir.ancestors().take_while(|at| at.starts_with(managed_root) && *at != managed_root);
    below.into_iter().any(|at| is_there(&at.join(".git")))
}

/// Moves or deletes the directory, saved first if need be.
fn clear(git: &Git, root: &Path, record: &Record, path: &Path, now_ms: i64) -> Result<How, Error> {
    let linked = Linked::open(path)?;
    if linked.common != record.repo {
        return Err(Error::OtherRepository { path: path.to_owned(), repo: linked.common });
    }
    let pids: Vec<u32> = process::working_in(path).map_err(Error::io(path))?.iter().map(|id| id.pid).collect();
    if !pids.is_empty() {
        return Err(Error::InUse { path: path.to_owned(), pids });
    }
    // Their repositories lie in git's directory of this worktree and would go with it.
    if linked.has_submodules() {
        return Err(Error::Submodules(path.to_owned()));
    }
    let state = git::inventory(git, &linked, record)?;
    if let Some(reason) = state.locked {
        return Err(Error::Locked { path: path.to_owned(), reason });
    }
    if state.is_clean() && state.ignored == 0 {
        // Without --force: git looks once more, and refuses what has changed since.
        git.at(&record.repo).args(["worktree", "remove"]).arg(path).slow().ok()?;
        return Ok(How::Deleted);
    }
    let snapshot = match state.is_clean() {
        true => None,
        false => Some(snapshot::take(git, &linked, &record.agent, &state, now_ms)?),
    };
    let entry = trash::put(root, &trash::Entry::of(record, path, &state, snapshot.clone(), now_ms))?;
    Ok(How::Trashed { entry, snapshot })
}

/// Whether `git worktree add` did not come to its end. Nobody has worked there then but git.
fn is_half_made(common: &Path, path: &Path) -> Result<bool, Error> {
    Ok(match git::admin_of(common, path)? {
        Some(admin) => git::lock_of(&admin)?.as_deref() == Some(git::INITIALIZING) || Linked::open(path).is_err(),
        None => true,
    })
}

/// More agents of one name in one repository are an accident.
const BRANCH_TRIES_MAX: usize = 100;

/// Settles name and base of the branch, and makes it if it is not there.
fn ensure_branch(git: &Git, repo: &Repository, wanted: &str, record: &mut Record) -> Result<(), Error> {
    let common = &repo.common;
    if record.ready {
        // Its directory was lost, not its commits.
        if git.tip(common, &record.branch)?.is_none() {
            git.make_branch(common, &record.branch, &record.base, &record.agent)?;
        }
        return Ok(());
    }
    record.base.clone_from(&repo.head);
    for number in 1..=BRANCH_TRIES_MAX {
        let name = if number == 1 { wanted.to_owned() } else { format!("{wanted}-{number}") };
        record.branch.clone_from(&name);
        match git.tip(common, &name)? {
            Some(tip) if git.made_for(common, &name, &record.agent)? => record.base = tip,
            Some(_) => continue,
            None => match git.make_branch(common, &name, &record.base, &record.agent) {
                Ok(()) => {}
                // Somebody was faster.
                Err(_) if git.tip(common, &name)?.is_some() => continue,
                Err(error) => return Err(error),
            },
        }
        return Ok(());
    }
    Err(Error::NoFreeBranch(wanted.to_owned()))
}

/// Deletes the branch if nothing is on it that is not elsewhere as well.
fn drop_branch(git: &Git, record: &Record) -> Result<Branch, Error> {
    let name = &record.branch;
    let Some(tip) = git.tip(&record.repo, name)? else { return Ok(Branch::Gone) };
    let is_ours = record.ready || git.made_for(&record.repo, name, &record.agent)?;
    let is_needed = || -> Result<bool, Error> {
        Ok(git.is_checked_out(&record.repo, name)? || git.own_commits(&record.repo, &tip, record)? > 0)
    };
    if !is_ours || is_needed()? {
        return Ok(Branch::Kept(name.clone()));
    }
    git.delete_branch(&record.repo, name, &tip)?;
    Ok(Branch::Deleted)
}

fn warnings(git: &Git, repo: &Repository) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(outer) = repo.toplevel.ancestors().skip(1).find(|at| is_there(&at.join(".git"))) {
        let (inner, outer) = (repo.toplevel.display(), outer.display());
        warnings
            .push(format!("the repository {inner} lies inside another one, {outer}; the worktree is of the inner one"));
    }
    if is_there(&repo.toplevel.join(".gitmodules")) {
        warnings.push("submodules are not checked out in the worktree".to_owned());
    }
    if git.has_changes(&repo.toplevel) {
        warnings.push("changes that are not committed are not in the worktree".to_owned());
    }
    warnings
}

/// A worktree by its path.
struct Place {
    root: PathBuf,
    agent: String,
    path: PathBuf,
}

impl Place {
    fn of(path: &Path) -> Result<Self, Error> {
        let agent = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        check_agent(&agent)?;
        let parent = path.parent().unwrap_or(path);
        let root = parent.canonicalize().map_err(Error::io(parent))?;
        let path = root.join(&agent);
        Ok(Self { root, agent, path })
    }
}

fn check_agent(agent: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let good = (1..=AGENT_BYTES_MAX).contains(&agent.len()) && agent.bytes().all(plain) && !agent.starts_with('-');
    if good { Ok(()) } else { Err(Error::BadAgent(agent.to_owned())) }
}

/// A directory's name with room for the time in the trash.
const AGENT_BYTES_MAX: usize = 128;

/// Also what is a link to nowhere.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn make_dirs(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io(path))
}
