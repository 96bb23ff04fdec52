//! Worktrees of agents, with the real git: nothing that somebody made is lost, whatever happens in between.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use amux_runner::worktree::{
    Branch, Error, Git, How, Prepared, Removed, Wanted, expire_trash, nested_git, prepare, remove, restore, state,
    trash_dir,
};

const AGENT: &str = "01890a5d-agent";
const BRANCH: &str = "agentmux/core-scout";
const NOW: i64 = 1_900_000_000_000;

/// A repository with one commit, and a place for worktrees.
struct House {
    dir: tempfile::TempDir,
    repo: PathBuf,
    root: PathBuf,
    git: Git,
}

impl House {
    fn new() -> Self {
        Self::named("project")
    }

    fn named(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let repo = base.join(name);
        std::fs::create_dir_all(repo.join("src")).unwrap();
        let git = Git::new(&env(&base, None));
        let house = Self { root: base.join("state/worktrees"), repo, git, dir };
        house.run(&house.repo, &["init", "-q", "-b", "main"]);
        house.write("src/lib.rs", b"one\n");
        house.write("kept.txt", b"kept\n");
        house.write(".gitignore", b"*.ignored\n/target\n");
        house.run(&house.repo, &["add", "-A"]);
        house.run(&house.repo, &["commit", "-q", "-m", "first"]);
        house
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.repo.join(name), bytes).unwrap();
    }

    /// Git as a person runs it.
    fn run(&self, dir: &Path, args: &[&str]) -> String {
        String::from_utf8(self.bytes(dir, args)).unwrap().trim_end().to_owned()
    }

    fn bytes(&self, dir: &Path, args: &[&str]) -> Vec<u8> {
        let args: Vec<_> = args.iter().map(OsStr::new).collect();
        self.bytes_of(dir, &args)
    }

    fn bytes_of(&self, dir: &Path, args: &[&OsStr]) -> Vec<u8> {
        let mut command = Command::new("git");
        command.env_clear().envs(env(&self.dir.path().canonicalize().unwrap(), None)).current_dir(dir);
        // What a commit leaves running in the background would be a process that lives in the worktree.
        command.args(["-c", "maintenance.auto=false", "-c", "gc.auto=0"]).args(args);
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "p").env(format!("GIT_{role}_EMAIL"), "p@example.org");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted { repo: &self.repo, root: &self.root, branch: BRANCH, agent: AGENT }
    }

    fn prepare(&self) -> Prepared {
        prepare(&self.git, &self.wanted()).unwrap()
    }

    fn remove(&self, path: &Path) -> Removed {
        remove(&self.git, path, NOW).unwrap()
    }

    /// A git in whose place something else runs, a script that finds the real one as `$GIT`.
    fn fake_git(&self, script: &str) -> Git {
        let bin = self.dir.path().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let program = bin.join("git");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Git::new(&env(&self.dir.path().canonicalize().unwrap(), Some(&bin)))
    }

    /// A git that fails from its `at`th run on, before or after the real one has done that run's work.
    fn failing_git(&self, at: usize, after: bool) -> Git {
        let count = self.dir.path().join("count");
        let _ = std::fs::remove_file(&count);
        let first = if after { "\"$GIT\" \"$@\"" } else { ":" };
        self.fake_git(&format!(
            "echo >> '{0}'; n=$(wc -l < '{0}'); [ $n -lt {at} ] && exec \"$GIT\" \"$@\"; [ $n -eq {at} ] && {{ {first}; }}; \
             echo died >&2; exit 1",
            count.display()
        ))
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(self.dir.path().join("count")).map_or(0, |text| text.lines().count())
    }

    fn has_ref(&self, name: &str) -> bool {
        !self.run(&self.repo, &["for-each-ref", "--format=x", name]).is_empty()
    }

    fn show(&self, commit: &str, name: &OsStr) -> Vec<u8> {
        let mut what = OsString::from(format!("{commit}:"));
        what.push(name);
        self.bytes_of(&self.repo, &["cat-file".as_ref(), "blob".as_ref(), &what])
    }
}

fn env(base: &Path, bin: Option<&Path>) -> Vec<(OsString, OsString)> {
    let path = std::env::var_os("PATH").unwrap();
    let real = std::env::split_paths(&path).map(|dir| dir.join("git")).find(|git| git.is_file()).unwrap();
    let all: Vec<PathBuf> = bin.into_iter().map(Path::to_owned).chain(std::env::split_paths(&path)).collect();
    vec![
        ("PATH".into(), std::env::join_paths(all).unwrap()),
        ("HOME".into(), base.join("home").into()),
        ("GIT".into(), real.into()),
        ("GIT_CONFIG_NOSYSTEM".into(), "1".into()),
    ]
}

fn trashed(removed: &Removed) -> (&Path, Option<&str>) {
    match &removed.how {
        How::Trashed { entry, snapshot } => (entry, snapshot.as_deref()),
        how => panic!("not in the trash: {how:?}"),
    }
}

#[test]
fn an_agent_gets_a_worktree_and_a_branch_where_the_project_stands() {
    let house = House::new();
    let prepared = house.prepare();
    assert_eq!((prepared.path.clone(), prepared.branch.as_str()), (house.root.join(AGENT), BRANCH));
    assert_eq!(prepared.base_commit, house.run(&house.repo, &["rev-parse", "HEAD"]));
    assert!(prepared.created && prepared.warnings.is_empty(), "{prepared:?}");
    assert_eq!(house.run(&prepared.path, &["symbolic-ref", "--short", "HEAD"]), BRANCH);
    assert_eq!(std::fs::read(prepared.path.join("src/lib.rs")).unwrap(), b"one\n");
    assert!(state(&house.git, &prepared.path).unwrap().is_clean());
    assert_eq!(house.run(&house.repo, &["status", "--porcelain"]), "");
    assert_eq!(house.prepare(), Prepared { created: false, ..prepared });
}

#[test]
fn a_path_with_blanks_and_unicode_is_a_path() {
    let house = House::named("my pr\u{f6}ject \u{2603}");
    let wanted = Wanted { repo: &house.repo.join("src"), ..house.wanted() };
    let prepared = prepare(&house.git, &wanted).unwrap();
    assert_eq!(prepared.dir, prepared.path.join("src"));
    std::fs::write(prepared.path.join("a b \u{fc}"), "x").unwrap();
    assert_eq!(state(&house.git, &prepared.path).unwrap().dirty, ["?? a b \u{fc}"]);
    let removed = house.remove(&prepared.path);
    let (entry, _) = trashed(&removed);
    assert_eq!(restore(&house.git, entry).unwrap().path, prepared.path);
    assert!(prepared.path.join("a b \u{fc}").exists());
}

#[test]
fn a_branch_of_somebody_else_is_not_touched() {
    let house = House::new();
    house.run(&house.repo, &["branch", BRANCH]);
    let prepared = house.prepare();
    assert_eq!(prepared.branch, format!("{BRANCH}-2"));
    assert_eq!(house.remove(&prepared.path), Removed { how: How::Deleted, branch: Branch::Deleted });
    assert!(house.has_ref(&format!("refs/heads/{BRANCH}")));
}

#[test]
fn a_directory_of_somebody_else_is_not_touched() {
    let house = House::new();
    let path = house.root.join(AGENT);
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("theirs"), "x").unwrap();
    assert!(matches!(prepare(&house.git, &house.wanted()), Err(Error::NotOurs(at)) if at == path));
    assert!(matches!(remove(&house.git, &path, NOW), Err(Error::NotOurs(_))));
    assert!(path.join("theirs").exists() && !house.has_ref("refs/heads/agentmux"));
}

#[test]
fn what_cannot_have_a_worktree_is_said_in_a_sentence() {
    let house = House::new();
    let base = house.repo.parent().unwrap();
    let of = |repo: &Path| prepare(&house.git, &Wanted { repo, ..house.wanted() }).unwrap_err();
    assert!(matches!(of(base), Error::NoRepository { .. }));
    house.run(base, &["init", "-q", "--bare", "bare"]);
    assert!(matches!(of(&base.join("bare")), Error::Bare(_)));
    house.run(base, &["init", "-q", "empty"]);
    assert!(matches!(of(&base.join("empty")), Error::NoCommit(_)));
    for branch in ["", "a..b", "-x", "a b", "HEAD"] {
        let error = prepare(&house.git, &Wanted { branch, ..house.wanted() }).unwrap_err();
        assert!(matches!(error, Error::BadBranch(_)), "{branch:?}: {error}");
    }
    assert!(matches!(prepare(&house.git, &Wanted { agent: "../x", ..house.wanted() }), Err(Error::BadAgent(_))));
    assert!(!house.root.join(format!("{AGENT}.json")).exists());
}

#[test]
fn a_crash_at_each_step_of_making_is_finished_by_the_next_call() {
    let house = House::new();
    prepare(&house.failing_git(1_000, false), &house.wanted()).unwrap();
    let steps = house.runs();
    assert!(steps > 5, "{steps}");
    for at in 1..=steps {
        for after in [false, true] {
            let house = House::new();
            // Who only asks for a warning may fail without harm.
            let _ = prepare(&house.failing_git(at, after), &house.wanted());
            let prepared = house.prepare();
            let all = (at, after, &prepared);
            assert_eq!(prepared.branch, BRANCH, "{all:?}");
            assert!(state(&house.git, &prepared.path).unwrap().is_clean(), "{all:?}");
            assert_eq!(house.run(&house.repo, &["branch", "--list", "agentmux/*"]).lines().count(), 1, "{all:?}");
            assert_eq!(house.remove(&prepared.path), Removed { how: How::Deleted, branch: Branch::Deleted }, "{all:?}");
        }
    }
}

#[test]
fn a_checkout_that_died_in_the_middle_is_made_again() {
    let house = House::new();
    let died = "case \"$*\" in *'worktree add'*) \"$GIT\" \"$@\" || exit; rm \"$W/kept.txt\"; \
                printf initializing > \"$R/.git/worktrees/$(basename \"$W\")/locked\"; exit 1;; esac; exec \"$GIT\" \"$@\"";
    let path = house.root.join(AGENT);
    let script = format!("W='{}'; R='{}'; {died}", path.display(), house.repo.display());
    assert!(matches!(prepare(&house.fake_git(&script), &house.wanted()), Err(Error::Git { .. })));
    assert!(path.exists() && !path.join("kept.txt").exists());
    let prepared = house.prepare();
    assert!(prepared.created && path.join("kept.txt").exists());
    assert_eq!((prepared.branch.as_str(), state(&house.git, &path).unwrap().locked), (BRANCH, None));
}

#[test]
fn a_crash_at_each_step_of_removing_loses_nothing() {
    let full = |git: &dyn Fn(&House) -> Git| {
        let house = House::new();
        let path = house.prepare().path;
        std::fs::write(path.join("new"), "precious").unwrap();
        let removed = remove(&git(&house), &path, NOW);
        (house, path, removed)
    };
    let (house, ..) = full(&|house| house.failing_git(1_000, false));
    let steps = house.runs();
    assert!(steps > 8, "{steps}");
    for at in 1..=steps {
        for after in [false, true] {
            let (house, path, first) = full(&|house| house.failing_git(at, after));
            assert!(after || first.is_err() || house.runs() < at, "{at} {first:?}");
            if first.is_err() {
                remove(&house.git, &path, NOW + 1).unwrap();
            }
            assert!(!path.exists() && !house.root.join(format!("{AGENT}.json")).exists(), "{at} {after}");
            let entries: Vec<_> =
                std::fs::read_dir(trash_dir(&house.root)).unwrap().map(|e| e.unwrap().path()).collect();
            assert_eq!(entries.len(), 1, "{at} {after}");
            assert_eq!(std::fs::read(entries[0].join("tree/new")).unwrap(), b"precious");
            assert_eq!(house.run(&house.repo, &["worktree", "list"]).lines().count(), 1, "{at} {after}");
            assert!(house.has_ref("refs/agentmux/snapshots"), "{at} {after}");
            assert!(!house.has_ref("refs/heads/agentmux"), "{at} {after}");
        }
    }
}

#[test]
fn a_clean_worktree_goes_with_its_branch() {
    let house = House::new();
    let path = house.prepare().path;
    assert_eq!(house.remove(&path), Removed { how: How::Deleted, branch: Branch::Deleted });
    assert!(!path.exists() && !trash_dir(&house.root).exists() && !house.has_ref("refs/agentmux"));
    assert!(!house.has_ref("refs/heads/agentmux"));
}

#[test]
fn merged_commits_are_nobodys_own() {
    let house = House::new();
    let path = house.prepare().path;
    house.run(&path, &["commit", "-q", "--allow-empty", "-m", "work"]);
    assert_eq!(state(&house.git, &path).unwrap().ahead, 1);
    house.run(&house.repo, &["merge", "-q", BRANCH]);
    assert!(state(&house.git, &path).unwrap().is_clean());
    assert_eq!(house.remove(&path).branch, Branch::Deleted);
}

#[test]
fn a_branch_with_commits_of_its_own_is_kept() {
    let house = House::new();
    let path = house.prepare().path;
    house.run(&path, &["commit", "-q", "--allow-empty", "-m", "work"]);
    let removed = house.remove(&path);
    assert_eq!(removed.branch, Branch::Kept(BRANCH.to_owned()));
    let (entry, snapshot) = trashed(&removed);
    assert!(snapshot.is_some() && !path.exists());
    let restored = restore(&house.git, entry).unwrap();
    assert_eq!((restored.branch.as_deref(), state(&house.git, &path).unwrap().ahead), (Some(BRANCH), 1));
}

#[test]
fn commits_on_no_branch_are_kept_by_the_snapshot() {
    let house = House::new();
    let path = house.prepare().path;
    house.run(&path, &["checkout", "-q", "--detach"]);
    house.run(&path, &["commit", "-q", "--allow-empty", "-m", "lost?"]);
    let commit = house.run(&path, &["rev-parse", "HEAD"]);
    let removed = house.remove(&path);
    let snapshot = trashed(&removed).1.unwrap();
    assert_eq!(house.run(&house.repo, &["rev-parse", &format!("{snapshot}^")]), commit);
}

#[test]
fn a_snapshot_holds_every_file_byte_for_byte_and_the_index_is_untouched() {
    let house = House::new();
    let path = house.prepare().path;
    let odd = OsStr::from_bytes(b"odd \xff\xfe\nname");
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    std::fs::write(path.join(odd), &bytes).unwrap();
    std::fs::write(path.join("crlf.txt"), b"a\r\nb\nc\r\n").unwrap();
    std::fs::write(path.join("src/lib.rs"), b"two\n").unwrap();
    std::fs::write(path.join("run.sh"), b"#!/bin/sh\n").unwrap();
    std::fs::set_permissions(path.join("run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    symlink("no/where", path.join("link")).unwrap();
    std::fs::remove_file(path.join(".gitignore")).unwrap();
    std::fs::write(path.join(".gitignore"), "*.ignored\n/target\n/secret\n").unwrap();
    std::fs::write(path.join("secret"), "ignored").unwrap();
    std::fs::create_dir(path.join("target")).unwrap();
    std::fs::write(path.join("target/built"), "ignored").unwrap();
    // Staged, and changed again; changed behind git's back; deleted.
    std::fs::write(path.join("staged"), "staged").unwrap();
    house.run(&path, &["add", "staged"]);
    std::fs::write(path.join("staged"), "later").unwrap();
    house.run(&path, &["update-index", "--assume-unchanged", "kept.txt"]);
    std::fs::write(path.join("kept.txt"), "changed in secret").unwrap();

    let admin = house.repo.join(".git/worktrees").join(AGENT);
    let index = std::fs::read(admin.join("index")).unwrap();
    let before = state(&house.git, &path).unwrap();
    assert_eq!((before.untracked, before.unwatched, before.ignored), (4, 1, 2), "{before:?}");
    // Stopped after the snapshot: the name of the ref is in place, the directory as well.
    let fake = house.fake_git("\"$GIT\" \"$@\" || exit; case \"$*\" in *snapshots/*) exit 1;; esac");
    assert!(remove(&fake, &path, NOW).is_err());
    assert_eq!(std::fs::read(admin.join("index")).unwrap(), index);
    assert_eq!(state(&house.git, &path).unwrap(), before);

    let removed = remove(&house.git, &path, NOW + 1).unwrap();
    let (entry, snapshot) = trashed(&removed);
    let snapshot = snapshot.unwrap();
    let files: [(&OsStr, &[u8]); 7] = [
        (odd, &bytes),
        ("crlf.txt".as_ref(), b"a\r\nb\nc\r\n"),
        ("src/lib.rs".as_ref(), b"two\n"),
        ("link".as_ref(), b"no/where"),
        ("staged".as_ref(), b"later"),
        ("kept.txt".as_ref(), b"changed in secret"),
        ("run.sh".as_ref(), b"#!/bin/sh\n"),
    ];
    for (name, bytes) in files {
        assert!(house.show(snapshot, name) == bytes, "{name:?}");
    }
    assert_eq!(house.show(&format!("{snapshot}^2"), "staged".as_ref()), b"staged");
    let modes = house.run(&house.repo, &["ls-tree", snapshot, "run.sh", "link"]);
    assert!(modes.contains("120000") && modes.contains("100755"), "{modes}");
    let names = house.run(&house.repo, &["ls-tree", "-r", "--name-only", snapshot]);
    assert!(!names.contains("secret") && !names.contains("target"), "{names}");
    assert_eq!(std::fs::read(entry.join("tree/secret")).unwrap(), b"ignored");
    assert_eq!(std::fs::read(entry.join("tree/target/built")).unwrap(), b"ignored");
    assert_eq!(std::fs::read(entry.join("tree").join(odd)).unwrap(), bytes);
    assert_eq!(removed.branch, Branch::Deleted);

    let restored = restore(&house.git, entry).unwrap();
    assert_eq!(restored.branch.as_deref(), Some(BRANCH));
    assert_eq!(std::fs::read(path.join(odd)).unwrap(), bytes);
    assert_eq!(std::fs::read(path.join("secret")).unwrap(), b"ignored");
    assert!(!entry.exists() && !house.prepare().created);
    let after = state(&house.git, &path).unwrap();
    // The staged file is untracked again, and the one changed in secret is seen.
    assert_eq!((after.untracked, after.unwatched, after.changed), (5, 0, 3), "{after:?}");
}

#[test]
fn ignored_files_alone_go_to_the_trash_without_a_snapshot() {
    let house = House::new();
    let path = house.prepare().path;
    std::fs::write(path.join("env.ignored"), "secret").unwrap();
    let removed = house.remove(&path);
    let (entry, snapshot) = trashed(&removed);
    assert_eq!((snapshot, removed.branch.clone()), (None, Branch::Deleted));
    assert_eq!(std::fs::read(entry.join("tree/env.ignored")).unwrap(), b"secret");
}

#[test]
fn a_snapshot_is_restored_when_the_directory_is_gone_from_the_trash() {
    let house = House::new();
    let path = house.prepare().path;
    std::fs::write(path.join("new"), "x").unwrap();
    std::fs::remove_file(path.join("kept.txt")).unwrap();
    let removed = house.remove(&path);
    let (entry, _) = trashed(&removed);
    std::fs::remove_dir_all(entry.join("tree")).unwrap();
    restore(&house.git, entry).unwrap();
    assert!(path.join("new").exists() && !path.join("kept.txt").exists());
    assert_eq!(state(&house.git, &path).unwrap().dirty.len(), 2);
}

#[test]
fn a_restore_overwrites_nothing() {
    let house = House::new();
    let path = house.prepare().path;
    std::fs::write(path.join("new"), "x").unwrap();
    let removed = house.remove(&path);
    let (entry, _) = trashed(&removed);
    house.prepare();
    assert!(matches!(restore(&house.git, entry), Err(Error::Occupied(_))));
    assert!(entry.join("tree/new").exists() && !path.join("new").exists());
}

#[test]
fn an_unreadable_inventory_is_not_clean() {
    type Break<'a> = (&'a str, &'a dyn Fn(&House, &Path));
    let breaks: [Break<'_>; 4] = [
        ("the index", &|house, _| {
            std::fs::write(house.repo.join(".git/worktrees").join(AGENT).join("index"), "rubbish").unwrap();
        }),
        ("the link", &|_, path| std::fs::remove_file(path.join(".git")).unwrap()),
        ("the way back", &|house, _| {
            std::fs::remove_dir_all(house.repo.join(".git/worktrees").join(AGENT)).unwrap();
        }),
        ("the repository", &|house, _| std::fs::rename(&house.repo, house.repo.with_extension("moved")).unwrap()),
    ];
    for (what, break_it) in breaks {
        let house = House::new();
        // Without its own link, git would find this one.
        let outer = house.root.parent().unwrap().parent().unwrap().to_owned();
        house.run(&outer, &["init", "-q"]);
        let path = house.prepare().path;
        break_it(&house, &path);
        assert!(matches!(state(&house.git, &path), Err(Error::Unreadable { .. })), "{what}");
        let error = remove(&house.git, &path, NOW).unwrap_err();
        assert!(matches!(error, Error::Unreadable { .. }) && error.hint().is_some(), "{what}: {error}");
        assert!(path.join("kept.txt").exists(), "{what}");
    }
}

#[test]
fn a_directory_git_could_only_warn_about_makes_the_inventory_unreadable() {
    let house = House::new();
    let path = house.prepare().path;
    let fake = house.fake_git(
        "case \"$*\" in *status*) echo \"warning: could not open directory 'x/': Permission denied\" >&2;; esac; \
         exec \"$GIT\" \"$@\"",
    );
    let error = remove(&fake, &path, NOW).unwrap_err();
    assert!(matches!(&error, Error::Unreadable { why, .. } if why.contains("Permission denied")), "{error}");
    assert!(path.exists());
}

#[test]
fn a_worktree_in_which_a_process_lives_is_kept_and_the_process_named() {
    let house = House::new();
    let path = house.prepare().path;
    let mut child =
        Command::new("sleep").arg("300").current_dir(path.join("src")).stdin(Stdio::null()).spawn().unwrap();
    let refused = remove(&house.git, &path, NOW);
    child.kill().unwrap();
    child.wait().unwrap();
    let error = refused.unwrap_err();
    assert!(matches!(&error, Error::InUse { pids, .. } if *pids == [child.id()]), "{error}");
    assert!(error.to_string().contains(&child.id().to_string()) && path.join("kept.txt").exists());
    assert_eq!(house.remove(&path).how, How::Deleted);
}

#[test]
fn a_locked_worktree_is_kept() {
    let house = House::new();
    let path = house.prepare().path;
    house.run(&house.repo, &["worktree", "lock", "--reason", "mine", path.to_str().unwrap()]);
    let error = remove(&house.git, &path, NOW).unwrap_err();
    assert!(matches!(&error, Error::Locked { reason, .. } if reason == "mine"), "{error}");
    assert!(path.exists());
}

#[test]
fn a_repository_inside_is_in_no_snapshot_and_does_not_expire() {
    let house = House::new();
    let path = house.prepare().path;
    // One with a commit and one without, which git refuses to add.
    for name in ["inner", "fresh"] {
        std::fs::create_dir(path.join(name)).unwrap();
        house.run(&path.join(name), &["init", "-q"]);
        std::fs::write(path.join(name).join("file"), "x").unwrap();
    }
    house.run(&path.join("inner"), &["commit", "-q", "--allow-empty", "-m", "x"]);
    std::fs::write(path.join("beside"), "x").unwrap();
    let removed = house.remove(&path);
    let (entry, snapshot) = trashed(&removed);
    assert_eq!(house.show(snapshot.unwrap(), "beside".as_ref()), b"x");
    assert_eq!(expire_trash(&trash_dir(&house.root), Duration::ZERO, i64::MAX), []);
    assert!(entry.join("tree/fresh/file").exists() && entry.join("tree/inner/.git").exists());
}

#[test]
fn the_trash_keeps_for_as_long_as_it_is_told_and_deletes_only_its_own() {
    let house = House::new();
    let path = house.prepare().path;
    std::fs::create_dir(path.join("target")).unwrap();
    let outside = house.repo.parent().unwrap().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "x").unwrap();
    symlink(&outside, path.join("target/link")).unwrap();
    std::fs::write(path.join("new"), "x").unwrap();
    std::fs::set_permissions(path.join("target"), std::fs::Permissions::from_mode(0o500)).unwrap();
    let removed = house.remove(&path);
    let (entry, snapshot) = trashed(&removed);
    let trash = trash_dir(&house.root);
    // Not ours: no record, a link to a place that has one, and a record that is a link.
    std::fs::create_dir(trash.join("theirs")).unwrap();
    std::fs::create_dir(outside.join("tree")).unwrap();
    std::fs::copy(entry.join("record.json"), outside.join("record.json")).unwrap();
    symlink(&outside, trash.join(format!("{AGENT}-7"))).unwrap();
    std::fs::create_dir(trash.join(format!("{AGENT}-8"))).unwrap();
    symlink(outside.join("record.json"), trash.join(format!("{AGENT}-8/record.json"))).unwrap();

    let keep = Duration::from_secs(60);
    assert_eq!(expire_trash(&trash, keep, NOW + 59_999), []);
    assert!(entry.join("tree/new").exists());
    let expired = expire_trash(&trash, keep, NOW + 60_000);
    assert_eq!(expired.iter().map(|gone| gone.entry.as_path()).collect::<Vec<_>>(), [entry]);
    assert!(!entry.exists() && outside.join("file").exists() && outside.join("tree").exists());
    assert_eq!(std::fs::read_dir(&trash).unwrap().count(), 3);
    assert!(house.has_ref(snapshot.unwrap()), "the snapshot outlives the directory");
    let link = house.repo.parent().unwrap().join("link");
    symlink(&trash, &link).unwrap();
    assert_eq!(expire_trash(&link, Duration::ZERO, i64::MAX), []);
}

#[test]
fn a_repository_inside_another_and_uncommitted_changes_are_warned_about() {
    let house = House::new();
    house.run(house.repo.parent().unwrap(), &["init", "-q"]);
    house.write("kept.txt", b"changed");
    let warnings = house.prepare().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("inside another") && warnings[1].contains("not committed"), "{warnings:?}");
    assert_eq!(std::fs::read(house.repo.join("kept.txt")).unwrap(), b"changed");
    let outer = house.repo.parent().unwrap();
    assert!(nested_git(&house.repo.join("src"), outer) && nested_git(&house.repo, outer));
    assert!(!nested_git(&house.repo.join("src"), &house.repo) && !nested_git(outer, &house.repo));
}

#[test]
fn no_hook_runs_and_no_word_of_a_foreign_git_is_heard() {
    let house = House::new();
    let hook = house.repo.join(".git/hooks/post-checkout");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    let ran = house.dir.path().join("ran");
    std::fs::write(&hook, format!("#!/bin/sh\ntouch '{}'\n", ran.display())).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut env = env(house.dir.path(), None);
    env.push(("GIT_DIR".into(), "/nowhere".into()));
    env.push(("GIT_INDEX_FILE".into(), "/nowhere/index".into()));
    prepare(&Git::new(&env), &house.wanted()).unwrap();
    assert!(!ran.exists());
}
