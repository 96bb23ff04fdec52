//! The state of a worktree as a commit under a hidden ref, made beside the index of the person and not in it.
//!
//! Files go in as `git add` would store them: bytes for bytes, except where the repository's attributes say otherwise.
//! What was staged and is different from both the commit and the files is a second parent, as in a stash.

use std::ffi::OsString;
use std::fs::{File, FileTimes};
use std::path::{Path, PathBuf};

use super::git::{Call, Git, Linked, said, text, unwatched};
use super::{Error, State};

/// The name of the ref that holds it.
pub(super) fn take(git: &Git, linked: &Linked, agent: &str, state: &State, now_ms: i64) -> Result<String, Error> {
    let index = Index::copy(linked, now_ms)?;
    let head = state.head.as_deref();
    let staged = staged(git, linked, &index, head, now_ms)?;

    let hidden = unwatched(git, linked)?;
    for some in hidden.chunks(PATHS_AT_ONCE) {
        index.git(git, linked).args(["update-index", "--no-assume-unchanged", "--"]).args(some).ok()?;
    }
    let left_out = state.nested.iter().map(|dir| {
        let mut spec = OsString::from(":(top,exclude,literal)");
        spec.push(dir);
        spec
    });
    let left_out: Vec<OsString> = left_out.collect();
    let plain = ["-c", "core.autocrlf=false", "-c", "core.safecrlf=false", "-c", "advice.addEmbeddedRepo=false"];
    index.git(git, linked).args(plain).args(["add", "-A", "--", "."]).args(&left_out).slow().ok()?;
    prove(git, linked, &index, &left_out)?;

    let tree = text(&index.git(git, linked).arg("write-tree").ok()?);
    let parents: Vec<&str> = head.into_iter().chain(staged.as_deref().filter(|_| head.is_some())).collect();
    let commit = commit(git, linked, &tree, &parents, &format!("agentmux: what {agent} had in its worktree"), now_ms)?;
    keep(git, linked, agent, &commit, now_ms)
}

/// So many paths fit into one command line.
const PATHS_AT_ONCE: usize = 200;

/// Two snapshots in one millisecond are a repeated call, not a rush.
const NAME_TRIES_MAX: i64 = 100;

fn keep(git: &Git, linked: &Linked, agent: &str, commit: &str, now_ms: i64) -> Result<String, Error> {
    let mut tried = Ok(String::new());
    for ms in now_ms..now_ms.saturating_add(NAME_TRIES_MAX) {
        let name = format!("refs/agentmux/snapshots/{agent}/{ms}");
        tried = git.at(&linked.common).args(["update-ref", &name, commit, ""]).ok().map(|_| name.clone());
        if tried.is_ok() || git.resolve(&linked.common, &name)?.is_none() {
            break;
        }
    }
    tried
}

/// Nothing may be missing, also nothing that came while the others were saved.
fn prove(git: &Git, linked: &Linked, index: &Index, left_out: &[OsString]) -> Result<(), Error> {
    let words = ["ls-files", "--others", "--modified", "--deleted", "--exclude-standard", "-z", "--", "."];
    let output = index.git(git, linked).args(words).args(left_out).slow().run()?;
    if !output.status.success() || !output.stderr_tail.is_empty() {
        return Err(Error::unreadable(&linked.path, said(&output)));
    }
    if output.stdout.is_empty() { Ok(()) } else { Err(Error::Moving(linked.path.clone())) }
}

/// What was prepared for a commit, if it is nowhere else.
fn staged(git: &Git, linked: &Linked, index: &Index, head: Option<&str>, now_ms: i64) -> Result<Option<String>, Error> {
    let Some(head) = head else { return Ok(None) };
    // An index in the middle of a merge is no tree; its files with the marks of the conflict are saved anyhow.
    let Ok(tree) = index.git(git, linked).arg("write-tree").ok() else { return Ok(None) };
    let tree = text(&tree);
    if tree == text(&git.within(&linked.path).args(["rev-parse", &format!("{head}^{{tree}}")]).ok()?) {
        return Ok(None);
    }
    commit(git, linked, &tree, &[head], "agentmux: what was staged", now_ms).map(Some)
}

fn commit(
    git: &Git,
    linked: &Linked,
    tree: &str,
    parents: &[&str],
    message: &str,
    now_ms: i64,
) -> Result<String, Error> {
    let mut call = git.within(&linked.path).args(["commit-tree", "-m", message]);
    for parent in parents {
        call = call.args(["-p", parent]);
    }
    // The person may have no name for git, and it is not the person who commits.
    for role in ["AUTHOR", "COMMITTER"] {
        call =
            call.env(&format!("GIT_{role}_NAME"), "agentmux").env(&format!("GIT_{role}_EMAIL"), "agentmux@localhost");
        call = call.env(&format!("GIT_{role}_DATE"), format!("@{} +0000", now_ms.div_euclid(1_000).max(0)));
    }
    Ok(text(&call.arg(tree).ok()?))
}

/// A copy of the index, gone with this value.
struct Index {
    path: PathBuf,
}

impl Index {
    /// Beside the original, which may refer to its neighbours.
    fn copy(linked: &Linked, now_ms: i64) -> Result<Self, Error> {
        let from = linked.admin.join("index");
        let copy = Self { path: linked.admin.join(format!("agentmux-index-{now_ms}")) };
        let copied = || {
            if !from.exists() {
                return Ok(());
            }
            let modified = from.metadata()?.modified()?;
            std::fs::copy(&from, &copy.path)?;
            // Git tells by the time of the index which files may have changed within the tick it was written in.
            File::options().write(true).open(&copy.path)?.set_times(FileTimes::new().set_modified(modified))
        };
        copied().map_err(Error::io(&from))?;
        Ok(copy)
    }

    fn git<'a>(&self, git: &'a Git, linked: &Linked) -> Call<'a> {
        git.within(&linked.path).env("GIT_INDEX_FILE", &self.path)
    }

    fn lock(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".lock");
        path.into()
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        for path in [self.path.as_path(), Path::new(&self.lock())] {
            let _ = std::fs::remove_file(path);
        }
    }
}
