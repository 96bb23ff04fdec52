//! The git program, as it is run here: without hooks, questions, background work or a word of our own environment.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use amux_sys::output::{self, Limit, Output};
use amux_sys::spawn::{Session, SpawnSpec, Stdio};

use super::record::Record;
use super::{Error, State, is_there};

/// How git is run.
#[derive(Debug, Clone)]
pub struct Git {
    env: Vec<(OsString, OsString)>,
}

/// Where the person's settings are; every other word of git in an environment is about some other repository.
const SETTINGS: [&str; 3] = ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"];

/// Nothing runs that we did not ask for, and nothing stays behind.
const QUIET: [&str; 8] =
    ["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false"];

/// Whoever may write into a repository says in its settings what a fetch runs, and where objects are missing any question
/// begins one. The second is for a git that does not know the first.
const NO_FETCH: [(&str, &str); 2] = [("GIT_NO_LAZY_FETCH", "1"), ("GIT_ALLOW_PROTOCOL", "none")];

/// Somebody waits for it with a finger on a key.
const LIST_TIME: Duration = Duration::from_secs(2);

/// A question about a large tree on a slow disk.
const READ_TIME: Duration = Duration::from_secs(120);

/// A checkout of a large tree, or the first look at all its bytes.
const WRITE_TIME: Duration = Duration::from_secs(900);

/// Some hundred thousand paths.
const STDOUT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Lines of git's complaint that are passed on.
const SAID_LINES_MAX: usize = 4;

/// The changed files that are named.
const DIRTY_NAMED_MAX: usize = 20;

/// What git writes into the lock of a worktree that it is still making.
pub(super) const INITIALIZING: &str = "initializing";

impl Git {
    /// `base_env` says where programs and the person's settings are.
    pub fn new(base_env: &[(OsString, OsString)]) -> Self {
        let is_kept =
            |name: &OsStr| !name.as_bytes().starts_with(b"GIT_") || SETTINGS.iter().any(|known| name == *known);
        let mut env: Vec<_> = base_env.iter().filter(|(name, _)| is_kept(name) && name != "LC_ALL").cloned().collect();
        for (name, value) in [("GIT_TERMINAL_PROMPT", "0"), ("GIT_OPTIONAL_LOCKS", "0"), ("LC_ALL", "C")] {
            env.push((name.into(), value.into()));
        }
        Self { env }
    }

    pub(super) fn at(&self, dir: &Path) -> Call<'_> {
        let args = QUIET.iter().map(Into::into).collect();
        let env = NO_FETCH.map(|(name, value)| (name.into(), value.into())).to_vec();
        Call { git: self, dir: dir.to_owned(), args, env, time: READ_TIME }
    }

    /// In a worktree, and never in a repository around it if its link is broken.
    pub(super) fn within(&self, worktree: &Path) -> Call<'_> {
        self.at(worktree).env("GIT_CEILING_DIRECTORIES", worktree.parent().unwrap_or(worktree))
    }

    #[cfg(test)]
    pub(crate) fn does(&self, dir: &Path, args: &[&str]) -> String {
        text(&self.at(dir).args(args).ok().expect("git does it"))
    }

    pub(super) fn check_branch(&self, name: &str) -> Result<(), Error> {
        let full = format!("refs/heads/{name}");
        let output = self.at(Path::new("/")).args(["check-ref-format", &full]).run()?;
        let good = output.status.success() && !name.starts_with('-') && name != "HEAD";
        if good { Ok(()) } else { Err(Error::BadBranch(name.to_owned())) }
    }

    /// The branch a worktree is on.
    pub(super) fn branch_of(&self, path: &Path) -> Result<Option<String>, Error> {
        let name = self.within(path).args(["symbolic-ref", "-q", "HEAD"]).answer()?;
        Ok(name.and_then(|name| Some(name.strip_prefix("refs/heads/")?.to_owned())))
    }

    pub(super) fn tip(&self, common: &Path, branch: &str) -> Result<Option<String>, Error> {
        self.resolve(common, &format!("refs/heads/{branch}"))
    }

    pub(super) fn resolve(&self, dir: &Path, name: &str) -> Result<Option<String>, Error> {
        let name = format!("{name}^{{commit}}");
        self.at(dir).args(["rev-parse", "-q", "--verify", "--end-of-options", &name]).answer()
    }

    /// Says in the branch's own log who it is for: a crash later that is what tells it from anybody else's.
    pub(super) fn make_branch(&self, common: &Path, name: &str, at: &str, agent: &str) -> Result<(), Error> {
        let full = format!("refs/heads/{name}");
        let made = self.at(common).args(["update-ref", "--create-reflog", "-m", &mark(agent), &full, at, ""]);
        made.ok().map(drop)
    }

    /// Whether we made this branch for this agent and nothing has happened to it since.
    pub(super) fn made_for(&self, common: &Path, branch: &str, agent: &str) -> Result<bool, Error> {
        let full = format!("refs/heads/{branch}");
        let output = self.at(common).args(["log", "-g", "-n", "2", "--format=%gs", &full, "--"]).run()?;
        Ok(output.status.success() && text(&output.stdout) == mark(agent))
    }

    pub(super) fn delete_branch(&self, common: &Path, name: &str, tip: &str) -> Result<(), Error> {
        self.at(common).args(["update-ref", "-d", &format!("refs/heads/{name}"), tip]).ok().map(drop)
    }

    pub(super) fn is_checked_out(&self, common: &Path, branch: &str) -> Result<bool, Error> {
        let full = format!("refs/heads/{branch}");
        Ok(!text(&self.at(common).args(["for-each-ref", "--format=%(worktreepath)", &full]).ok()?).is_empty())
    }

    /// Tracked files and those that are neither tracked nor ignored, from there, in git's order.
    pub(crate) fn files(&self, dir: &Path) -> Files {
        let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate", "--", "."];
        let mut call = self.at(dir).args(list);
        call.time = LIST_TIME;
        match call.ok() {
            Ok(names) => Files::Named(names),
            Err(Error::Run(output::Error::TooLong { .. })) => Files::TooSlow,
            Err(_) => Files::Unknown,
        }
    }

    /// Commits up to `tip` that only the agent's branch has, or that no branch has.
    pub(super) fn own_commits(&self, common: &Path, tip: &str, record: &Record) -> Result<u64, Error> {
        let but_ours = format!("--exclude={}", record.branch);
        let words =
            ["rev-list", "--count", tip, "--not", &record.base, &but_ours, "--branches", "--remotes", "--tags", "--"];
        let count = text(&self.at(common).args(words).ok()?);
        count.parse().map_err(|_| Error::Git { doing: "rev-list".to_owned(), said: format!("no number: {count:?}") })
    }

    /// For a warning only: who cannot tell does not warn.
    pub(super) fn has_changes(&self, toplevel: &Path) -> bool {
        let status = ["status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all", "--no-renames"];
        self.at(toplevel).args(status).ok().is_ok_and(|output| !output.is_empty())
    }

    /// Lets git forget a worktree whose directory is gone, this one and no other. A person's lock is kept, the one that
    /// git has on a worktree while it makes it is not.
    pub(super) fn unregister(&self, common: &Path, path: &Path) -> Result<(), Error> {
        let Some(admin) = admin_of(common, path)? else { return Ok(()) };
        match lock_of(&admin)? {
            None => {}
            Some(reason) if reason == INITIALIZING => {
                self.at(common).args(["worktree", "unlock"]).arg(path).ok()?;
            }
            Some(reason) => return Err(Error::Locked { path: path.to_owned(), reason }),
        }
        if is_there(path) {
            return Err(Error::Occupied(path.to_owned()));
        }
        self.at(common).args(["worktree", "remove"]).arg(path).ok().map(drop)
    }
}

/// What git says to the question which files there are.
pub(crate) enum Files {
    /// Each ends with a zero byte.
    Named(Vec<u8>),
    /// It is no directory of a repository, or one that git cannot read or has too much to say of.
    Unknown,
    TooSlow,
}

fn mark(agent: &str) -> String {
    format!("agentmux: made for {agent}")
}

/// One run of git in the making.
pub(super) struct Call<'a> {
    git: &'a Git,
    dir: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    time: Duration,
}

impl Call<'_> {
    pub(super) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(super) fn args<T: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(super) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// What is missing may be fetched: a checkout that a person asked for, and nothing that is only a question.
    pub(super) fn fetching(mut self) -> Self {
        self.env.retain(|(name, _)| NO_FETCH.iter().all(|(known, _)| name != known));
        self
    }

    pub(super) fn slow(mut self) -> Self {
        self.time = WRITE_TIME;
        self
    }

    /// However it ends.
    pub(super) fn run(self) -> Result<Output, Error> {
        let spec = SpawnSpec {
            program: "git".into(),
            args: self.args,
            cwd: self.dir,
            env: self.git.env.iter().cloned().chain(self.env).collect(),
            stdio: Stdio::Pipes,
            session: Session::Own,
            pass_fds: Vec::new(),
            nofile: None,
        };
        Ok(output::output(&spec, Limit { time: self.time, stdout_bytes: STDOUT_BYTES_MAX })?)
    }

    /// `None` for the "no" of a quiet question, which is a 1 without a word; everything else is a failure and no answer.
    fn answer(self) -> Result<Option<String>, Error> {
        let doing = self.doing();
        let output = self.run()?;
        match output.status.code() {
            Some(0) => Ok(Some(text(&output.stdout))),
            Some(1) if output.stderr_tail.is_empty() => Ok(None),
            _ => Err(Error::Git { doing, said: said(&output) }),
        }
    }

    /// What it wrote, all of it, if it ended well.
    pub(super) fn ok(self) -> Result<Vec<u8>, Error> {
        let doing = self.doing();
        let output = self.run()?;
        if !output.status.success() {
            return Err(Error::Git { doing, said: said(&output) });
        }
        if output.stdout_lost > 0 {
            return Err(Error::Git { doing, said: "it has more to say than we can hear".to_owned() });
        }
        Ok(output.stdout)
    }

    /// The command's name, for a sentence about it; `worktree add` and the like are two words.
    fn doing(&self) -> String {
        let mut words = self.args.iter().map(|word| word.to_string_lossy());
        let mut name = words.next().unwrap_or_default();
        while name == "-c" {
            name = words.nth(1).unwrap_or_default();
        }
        match words.next() {
            Some(second) if name == "worktree" => format!("{name} {second}"),
            _ => name.into_owned(),
        }
    }
}

/// The last lines of its complaint in one.
pub(super) fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr_tail);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(SAID_LINES_MAX)..].join("; ")
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\n').to_owned()
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.strip_suffix(b"\n").unwrap_or(bytes).to_vec()))
}

/// A repository as seen from a directory in one of its checkouts.
pub(super) struct Repository {
    /// What all its worktrees share.
    pub(super) common: PathBuf,
    pub(super) toplevel: PathBuf,
    /// From there to the directory.
    pub(super) prefix: PathBuf,
    pub(super) head: String,
}

impl Repository {
    pub(super) fn find(git: &Git, dir: &Path) -> Result<Self, Error> {
        let dir = dir.canonicalize().map_err(Error::io(dir))?;
        let inside = git.at(&dir).args(["rev-parse", "--is-inside-work-tree"]).run()?;
        if !inside.status.success() {
            return Err(Error::NoRepository { path: dir, said: said(&inside) });
        }
        if text(&inside.stdout) != "true" {
            return Err(Error::Bare(dir));
        }
        let ask = |what: &str| Ok::<_, Error>(path_of(&git.at(&dir).args(["rev-parse", what]).ok()?));
        let common = dir.join(ask("--git-common-dir")?);
        let Some(head) = git.resolve(&dir, "HEAD")? else { return Err(Error::NoCommit(dir)) };
        Ok(Self {
            common: common.canonicalize().map_err(Error::io(&common))?,
            toplevel: ask("--show-toplevel")?,
            prefix: ask("--show-prefix")?,
            head,
        })
    }
}

/// A worktree whose two links, from the directory to git and back, agree.
pub(super) struct Linked {
    pub(super) path: PathBuf,
    /// Git's own directory for it.
    pub(super) admin: PathBuf,
    pub(super) common: PathBuf,
}

impl Linked {
    /// By the files alone: asked in a directory whose link is lost, git would answer for a repository around it.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |why: &str| Error::unreadable(path, why);
        let link = path.join(".git");
        if !link.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
            return Err(failed("it has no link to its repository"));
        }
        let bytes = std::fs::read(&link).map_err(|error| Error::unreadable(path, error))?;
        let admin = bytes.strip_prefix(b"gitdir: ").map(path_of).ok_or_else(|| failed("its link says nothing"))?;
        let admin = path.join(admin).canonicalize().map_err(|_| failed("its repository is not there"))?;
        if !leads_back(&admin, path).map_err(|error| Error::unreadable(path, error))? {
            return Err(failed("its repository does not know it"));
        }
        let common = std::fs::read(admin.join("commondir")).map_err(|error| Error::unreadable(path, error))?;
        let common = admin.join(path_of(&common)).canonicalize().map_err(|error| Error::unreadable(path, error))?;
        Ok(Self { path: path.to_owned(), admin, common })
    }

    pub(super) fn has_submodules(&self) -> bool {
        is_there(&self.admin.join("modules"))
    }
}

/// Git's own directory for the worktree at `path`, whether that exists or not.
pub(super) fn admin_of(common: &Path, path: &Path) -> Result<Option<PathBuf>, Error> {
    let all = common.join("worktrees");
    let entries = match std::fs::read_dir(&all) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(&all)(error)),
    };
    for entry in entries {
        let admin = entry.map_err(Error::io(&all))?.path();
        // One that cannot be read is somebody else's trouble, or is found missing when git is asked.
        if leads_back(&admin, path).unwrap_or(false) {
            return Ok(Some(admin));
        }
    }
    Ok(None)
}

fn leads_back(admin: &Path, path: &Path) -> io::Result<bool> {
    let link = admin.join(path_of(&std::fs::read(admin.join("gitdir"))?));
    if link == path.join(".git") {
        return Ok(true);
    }
    // Written relative, or through another spelling of the same directories; the last one may be gone.
    let Some(there) = link.parent() else { return Ok(false) };
    let parent = there.parent().and_then(|parent| parent.canonicalize().ok());
    Ok(parent.as_deref() == path.parent() && there.file_name() == path.file_name())
}

/// Why somebody keeps a worktree from being removed; empty if he did not say.
pub(super) fn lock_of(admin: &Path) -> Result<Option<String>, Error> {
    let path = admin.join("locked");
    match std::fs::read(&path) {
        Ok(reason) => Ok(Some(text(&reason))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(&path)(error)),
    }
}

/// Everything that is in a worktree, or an error.
pub(super) fn inventory(git: &Git, linked: &Linked, record: &Record) -> Result<State, Error> {
    let path = &linked.path;
    let told = |error| match error {
        Error::Git { said, .. } => Error::unreadable(path, said),
        error => error,
    };
    let status = ["status", "--porcelain=v2", "--branch", "--no-ahead-behind", "-z", "--no-renames"];
    let all = ["--untracked-files=all", "--ignored=matching", "--ignore-submodules=none"];
    let output = git.within(path).args(status).args(all).slow().run()?;
    // A directory that git may not open is a warning to git, and its files are then not in the list.
    if !output.status.success() || !output.stderr_tail.is_empty() {
        return Err(Error::unreadable(path, said(&output)));
    }
    if output.stdout_lost > 0 {
        return Err(Error::unreadable(path, "there are too many changes to be listed"));
    }
    let mut state = State { locked: lock_of(&linked.admin)?, ..State::default() };
    for line in output.stdout.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        note(&mut state, line).ok_or_else(|| Error::unreadable(path, "git status says something unknown"))?;
    }
    state.unwatched = unwatched(git, linked).map_err(told)?.len();
    if let Some(head) = &state.head {
        state.ahead = git.own_commits(&linked.common, head, record).map_err(told)?;
    }
    Ok(state)
}

/// One entry of `status --porcelain=v2`; `None` for what that does not say.
fn note(state: &mut State, line: &[u8]) -> Option<()> {
    // The path is the last of so many fields.
    let field = |fields: usize| line.splitn(fields, |byte| *byte == b' ').nth(fields - 1);
    let letters = || String::from_utf8_lossy(line.get(2..4).unwrap_or_default()).into_owned();
    let (letters, path) = match *line.first()? {
        b'#' => {
            let words = String::from_utf8_lossy(line);
            if let Some(oid) = words.strip_prefix("# branch.oid ") {
                state.head = Some(oid.to_owned()).filter(|oid| oid != "(initial)");
            } else if let Some(name) = words.strip_prefix("# branch.head ") {
                state.branch = Some(name.to_owned()).filter(|name| name != "(detached)");
            }
            return Some(());
        }
        b'!' => {
            state.ignored += 1;
            return Some(());
        }
        b'1' => (letters(), field(9)?),
        b'u' => (letters(), field(11)?),
        b'?' => ("??".to_owned(), field(2)?),
        _ => return None,
    };
    match (letters.as_str(), path.strip_suffix(b"/")) {
        // With every untracked file named, a directory is one that git does not enter.
        ("??", Some(dir)) => state.nested.push(path_of(dir)),
        ("??", None) => state.untracked += 1,
        _ => state.changed += 1,
    }
    if state.dirty.len() < DIRTY_NAMED_MAX {
        state.dirty.push(format!("{letters} {}", String::from_utf8_lossy(path)));
    }
    Some(())
}

/// Files that git was told to take for unchanged.
pub(super) fn unwatched(git: &Git, linked: &Linked) -> Result<Vec<OsString>, Error> {
    let listed = git.within(&linked.path).args(["ls-files", "-v", "-z"]).ok()?;
    let files = listed.split(|byte| *byte == 0).filter(|line| line.first().is_some_and(u8::is_ascii_lowercase));
    Ok(files.filter_map(|line| Some(OsString::from_vec(line.get(2..)?.to_vec()))).collect())
}
