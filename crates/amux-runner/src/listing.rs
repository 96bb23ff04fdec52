//! What lies in a directory where an agent works, for whoever names files to it: what git lists, else a walk with a
//! bound. Nothing is read but names, and no link is followed.

use std::io;
use std::path::Path;

use crate::worktree::Git;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// From the directory, in its order; names that are no text are left out.
    pub paths: Vec<String>,
    /// Nothing was left out for being too much.
    pub complete: bool,
}

/// Names of a large repository; a list of more costs memory and shows nobody anything.
const PATHS_MAX: usize = 200_000;

/// Where nothing says what is not worth a look, a home perhaps.
const WALKED_MAX: usize = 20_000;

const DEPTH_MAX: usize = 24;

/// Directories of what was made or fetched, which no repository would hold either.
const SKIPPED: [&str; 4] = ["node_modules", "target", "__pycache__", "venv"];

pub(crate) fn of(git: &Git, dir: &Path) -> io::Result<Listing> {
    match git.files(dir) {
        Some(listed) => {
            let names = listed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
            let mut texts = names.filter_map(|name| std::str::from_utf8(name).ok()).map(str::to_owned);
            let paths: Vec<String> = texts.by_ref().take(PATHS_MAX).collect();
            Ok(Listing { complete: texts.next().is_none(), paths })
        }
        None => walk(dir),
    }
}

/// Breadth first, so that the bound leaves out what is deep.
fn walk(dir: &Path) -> io::Result<Listing> {
    let mut listing = Listing { paths: Vec::new(), complete: true };
    let mut level = vec![(String::new(), std::fs::read_dir(dir)?)];
    for _ in 0..DEPTH_MAX {
        let mut below = Vec::new();
        for (prefix, entries) in level {
            let mut names: Vec<(String, bool)> = Vec::new();
            for entry in entries.flatten() {
                let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else { continue };
                let is_skipped = name.starts_with('.') || (kind.is_dir() && SKIPPED.contains(&name.as_str()));
                if !is_skipped {
                    names.push((name, kind.is_dir()));
                }
                if names.len() > WALKED_MAX {
                    break;
                }
            }
            names.sort();
            for (name, is_dir) in names {
                let path = format!("{prefix}{name}");
                if !is_dir {
                    if listing.paths.len() == WALKED_MAX {
                        return Ok(Listing { complete: false, ..listing });
                    }
                    listing.paths.push(path);
                } else if let Ok(entries) = std::fs::read_dir(dir.join(&path)) {
                    // Each is open until its turn comes.
                    if below.len() < OPEN_MAX {
                        below.push((format!("{path}/"), entries));
                    } else {
                        listing.complete = false;
                    }
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
        let listing = walk(dir.path()).unwrap();
        assert_eq!(listing.paths, ["a.txt", "link", "src/b.rs", "src/deep/c.rs"]);
        assert!(listing.complete);
        assert!(walk(&dir.path().join("gone")).is_err());
    }

    #[test]
    fn what_git_ignores_is_not_named_and_a_directory_of_a_repository_names_its_own() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["src/a.rs", "src/made.o", "docs/b.md", "top.txt"] {
            write(dir.path(), path);
        }
        std::fs::write(dir.path().join(".gitignore"), "*.o\n").unwrap();
        git().init(dir.path());
        let names = |at: &Path| of(&git(), at).unwrap().paths;
        assert_eq!(names(dir.path()), [".gitignore", "docs/b.md", "src/a.rs", "top.txt"]);
        assert_eq!(names(&dir.path().join("src")), ["a.rs"]);
    }
}
