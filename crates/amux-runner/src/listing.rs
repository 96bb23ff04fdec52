//! What lies in a directory where an agent works, for whoever names files to it: what git lists, else a walk with a
//! bound. Nothing is read but names, and no link is followed. Who types asks after every letter, so a directory is looked
//! at once for all who ask, and only a few are at a time.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::Semaphore;

use crate::worktree::{Files, Git};

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// From the directory, in its order; names that are no text are left out.
    pub paths: Vec<String>,
    /// Nothing was left out for being too much.
    pub complete: bool,
}

/// Names of a large repository; a list of more costs memory and shows nobody anything.
const PATHS_MAX: usize = 200_000;

/// Where nothing says what is not worth a look, a home perhaps. Files and directories.
const WALKED_MAX: usize = 20_000;

const DEPTH_MAX: usize = 24;

/// Somebody waits for it with a finger on a key.
const WALK_TIME: Duration = Duration::from_secs(2);

/// Directories of what was made or fetched, which no repository would hold either.
const SKIPPED: [&str; 4] = ["node_modules", "target", "__pycache__", "venv"];

/// Directories that are looked at at a time: each may be a git at work and hundred thousands of names.
const LOOKS_MAX: usize = 2;

/// For the rest of the word that somebody types; what is made meanwhile is named after it.
const KEPT: Duration = Duration::from_secs(2);

/// One look at a directory, for all who wait for it.
pub(crate) type Look = Shared<BoxFuture<'static, Result<Arc<Listing>, Arc<io::Error>>>>;

/// The looks that are under way or were a moment ago.
#[derive(Clone)]
pub(crate) struct Looks {
    all: Arc<Mutex<HashMap<PathBuf, Look>>>,
    turns: Arc<Semaphore>,
}

impl Default for Looks {
    fn default() -> Self {
        Self { all: Arc::default(), turns: Arc::new(Semaphore::new(LOOKS_MAX)) }
    }
}

impl Looks {
    /// A look at this directory, which goes on if nobody waits for it any more: the next who asks has it.
    pub(crate) fn at(&self, git: Git, dir: PathBuf) -> Look {
        let look = {
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(look) = all.get(&dir) {
                return look.clone();
            }
            let look = look(Arc::clone(&self.turns), git, dir.clone()).boxed().shared();
            all.insert(dir.clone(), look.clone());
            look
        };
        let (all, driven) = (Arc::clone(&self.all), look.clone());
        tokio::spawn(async move {
            let _ = driven.await;
            tokio::time::sleep(KEPT).await;
            all.lock().unwrap_or_else(PoisonError::into_inner).remove(&dir);
        });
        look
    }
}

async fn look(turns: Arc<Semaphore>, git: Git, dir: PathBuf) -> Result<Arc<Listing>, Arc<io::Error>> {
    let _turn = turns.acquire().await.map_err(|error| Arc::new(io::Error::other(error)))?;
    let listed = tokio::task::spawn_blocking(move || of(&git, &dir)).await;
    listed.map_err(io::Error::other).and_then(|listed| listed).map(Arc::new).map_err(Arc::new)
}

fn of(git: &Git, dir: &Path) -> io::Result<Listing> {
    match git.files(dir) {
        // A repository around it may ignore the whole directory, and whoever works there sees its files all the same.
        Files::Named(listed) if listed.is_empty() => walk(dir, WALKED_MAX, Instant::now() + WALK_TIME),
        Files::Named(listed) => {
            let names = listed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
            let mut texts = names.filter_map(|name| std::str::from_utf8(name).ok()).map(str::to_owned);
            let paths: Vec<String> = texts.by_ref().take(PATHS_MAX).collect();
            Ok(Listing { complete: texts.next().is_none(), paths })
        }
        Files::Unknown => walk(dir, WALKED_MAX, Instant::now() + WALK_TIME),
        // A walk would be as slow, and would name what the repository ignores.
        Files::TooSlow => Ok(Listing::default()),
    }
}

/// Breadth first, so that the bound leaves out what is deep.
fn walk(dir: &Path, mut left: usize, until: Instant) -> io::Result<Listing> {
    let mut listing = Listing { paths: Vec::new(), complete: true };
    let mut level = vec![(String::new(), std::fs::read_dir(dir)?)];
    for _ in 0..DEPTH_MAX {
        let mut below = Vec::new();
        for (prefix, entries) in level {
            let mut names: Vec<(String, bool)> = Vec::new();
            for entry in entries.flatten() {
                if left == 0 || Instant::now() > until {
                    listing.complete = false;
                    break;
                }
                let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else { continue };
                let is_skipped = name.starts_with('.') || (kind.is_dir() && SKIPPED.contains(&name.as_str()));
                if !is_skipped {
                    left -= 1;
                    names.push((name, kind.is_dir()));
                }
            }
            names.sort();
            for (name, is_dir) in names {
                let path = format!("{prefix}{name}");
                if !is_dir {
                    listing.paths.push(path);
                } else if below.len() == OPEN_MAX {
                    listing.complete = false;
                } else if let Ok(entries) = std::fs::read_dir(dir.join(&path)) {
                    // Open until its turn comes.
                    below.push((format!("{path}/"), entries));
                }
            }
        }
        if below.is_empty() {
            return Ok(listing);
        }
        level = below;
    }
    Ok(Listing { complete: false, ..listing })
}

/// Directories of one level: far below what a process may have open.
const OPEN_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn git() -> Git {
        Git::new(&std::env::vars_os().collect::<Vec<_>>())
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    fn write(dir: &Path, path: &str) {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }

    #[test]
    fn outside_of_a_repository_what_is_made_or_hidden_is_not_named_and_no_link_is_followed() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for path in ["a.txt", "src/b.rs", "src/deep/c.rs", "node_modules/x/index.js", ".secret"] {
            write(dir.path(), path);
        }
        write(elsewhere.path(), "passwd");
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("link")).unwrap();
        let listing = walk(dir.path(), WALKED_MAX, soon()).unwrap();
        assert_eq!(listing.paths, ["a.txt", "link", "src/b.rs", "src/deep/c.rs"]);
        assert!(listing.complete);
        assert!(walk(&dir.path().join("gone"), WALKED_MAX, soon()).is_err());
    }

    #[test]
    fn what_git_ignores_is_not_named_and_a_directory_of_a_repository_names_its_own() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["src/a.rs", "src/made.o", "docs/b.md", "top.txt"] {
            write(dir.path(), path);
        }
        std::fs::write(dir.path().join(".gitignore"), "*.o\n").unwrap();
        git().does(dir.path(), &["init", "-q"]);
        let names = |at: &Path| of(&git(), at).unwrap().paths;
        assert_eq!(names(dir.path()), [".gitignore", "docs/b.md", "src/a.rs", "top.txt"]);
        assert_eq!(names(&dir.path().join("src")), ["a.rs"]);
    }

    #[test]
    fn a_directory_that_the_repository_around_it_ignores_is_walked() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "made/a.rs");
        std::fs::write(dir.path().join(".gitignore"), "made\n").unwrap();
        git().does(dir.path(), &["init", "-q"]);
        assert_eq!(of(&git(), &dir.path().join("made")).unwrap().paths, ["a.rs"]);
    }

    #[test]
    fn what_is_left_out_is_told() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a", "b", "c/d"] {
            write(dir.path(), path);
        }
        let told = |left| walk(dir.path(), left, soon()).map(|found| (found.paths.len(), found.complete)).unwrap();
        assert_eq!((told(4), told(3), told(0)), ((3, true), (2, false), (0, false)), "a directory counts");
        assert_eq!(walk(dir.path(), 4, Instant::now()).unwrap(), Listing::default(), "its time is over");
    }

    /// Whoever can write to `.git/config` must not have a program of his run by a server that only asks for names.
    #[test]
    fn what_is_missing_in_a_repository_is_not_fetched_for_a_list_of_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let (repo, ran) = (dir.path().join("repo"), dir.path().join("ran"));
        for path in ["in/a.rs", "out/b.rs"] {
            write(&repo, path);
        }
        let does = |args: &[&str]| git().does(&repo, args);
        does(&["init", "-q"]);
        does(&["add", "-A"]);
        does(&["-c", "user.name=p", "-c", "user.email=p@example.org", "commit", "-q", "-m", "first"]);
        does(&["sparse-checkout", "set", "--cone", "--sparse-index", "in"]);
        let tree = does(&["rev-parse", "HEAD:out"]);
        let command = format!("touch '{}'; false", ran.display());
        for (key, value) in [
            ("core.repositoryformatversion", "1"),
            ("extensions.partialClone", "origin"),
            ("remote.origin.promisor", "true"),
            ("remote.origin.url", "ssh://example.org/x"),
            ("core.sshCommand", command.as_str()),
        ] {
            does(&["config", key, value]);
        }
        std::fs::remove_file(repo.join(".git/objects").join(&tree[..2]).join(&tree[2..])).unwrap();
        assert_eq!(of(&git(), &repo).unwrap().paths, ["in/a.rs"], "git cannot say, so it is walked");
        assert!(!ran.exists());
    }

    #[tokio::test]
    async fn all_who_ask_at_once_have_the_same_look() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.txt");
        let looks = Looks::default();
        // Nothing is looked at before somebody's turn comes.
        let turns = looks.turns.acquire_many(LOOKS_MAX as u32).await.unwrap();
        let all: Vec<_> = (0..3).map(|_| looks.at(git(), dir.path().to_owned())).collect();
        assert_eq!(looks.all.lock().unwrap().len(), 1);
        drop(turns);
        let found = futures_util::future::join_all(all).await;
        let first = found[0].as_ref().unwrap();
        assert_eq!(first.paths, ["a.txt"]);
        assert!(found.iter().all(|listing| Arc::ptr_eq(listing.as_ref().unwrap(), first)));
    }
}
