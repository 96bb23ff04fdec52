//! Where processes are born. A spec is plain data and complete: nothing is inherited that it does not name.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, PipeReader, Read as _};
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use rustix::process::WaitOptions;

use crate::process::{self, ProcessId};
use crate::signals::{self, Signal};
use crate::{cgroup, os, pty};

#[derive(Debug)]
pub struct SpawnSpec {
    /// A path, or a name that is looked for in the `PATH` of `env`.
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub cwd: PathBuf,
    /// Complete.
    pub env: Vec<(OsString, OsString)>,
    pub stdio: Stdio,
    pub session: Session,
    /// Become descriptors 3, 4, … in this order.
    pub pass_fds: Vec<OwnedFd>,
    /// The soft limit of open files in the child.
    pub nofile: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stdio {
    Null,
    Inherit,
    /// stdin, stdout and stderr as pipes.
    Pipes,
    /// stdin is one end of a socket whose other end we keep: the child reads EOF when we die. stdout and stderr are
    /// pipes.
    Lifeline,
    /// A terminal of this size; implies a session of its own.
    Pty {
        rows: u16,
        cols: u16,
    },
    /// Nothing in, everything out to the end of a file.
    LogFile(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    Inherit,
    /// A process group of its own.
    Group,
    /// A session of its own.
    Own,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("program not found: {0}")]
    NotFound(PathBuf),
    #[error("not executable: {0}")]
    NotExecutable(PathBuf),
    /// A script whose first line names a program that is not there.
    #[error("its interpreter is missing: {0}")]
    NoInterpreter(PathBuf),
    #[error("no such directory: {0}")]
    NoDirectory(PathBuf),
    #[error("a word of the command holds a zero byte, or the name of a variable is none")]
    BadWord,
    #[error("no room to start it: {program}")]
    Limit {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not be started: {program}")]
    Os {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Whether trying again cannot help.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Limit { source, .. } => source.raw_os_error() == Some(libc::E2BIG),
            Self::Os { source, .. } => source.raw_os_error() != Some(libc::EINTR),
            _ => true,
        }
    }

    fn of(step: Step, program: PathBuf, spec: &SpawnSpec, source: io::Error) -> Self {
        let limits = [libc::EAGAIN, libc::ENOMEM, libc::EMFILE, libc::ENFILE, libc::ENOSPC, libc::E2BIG];
        match (step, source.raw_os_error()) {
            (_, Some(errno)) if limits.contains(&errno) => Self::Limit { program, source },
            (Step::Directory, Some(libc::ENOENT | libc::ENOTDIR)) => Self::NoDirectory(spec.cwd.clone()),
            (Step::Exec, Some(libc::ENOENT)) if program.exists() => Self::NoInterpreter(program),
            (Step::Exec, Some(libc::ENOENT)) => Self::NotFound(program),
            (Step::Exec, Some(libc::EACCES | libc::ENOEXEC | libc::EPERM)) => Self::NotExecutable(program),
            _ => Self::Os { program, source },
        }
    }
}

/// A process we started. Dropping it neither kills nor reaps: whoever holds it says how it ends.
#[derive(Debug)]
pub struct Child {
    pub id: ProcessId,
    pub pidfd: Option<OwnedFd>,
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
    pub pty: Option<OwnedFd>,
    /// Kept once it is known: the kernel tells it once.
    status: Option<ExitStatus>,
}

impl Child {
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.reap(WaitOptions::NOHANG)
    }

    /// Closes our end of its stdin first, as one that reads to the end would otherwise never end.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        Ok(self.reap(WaitOptions::empty())?.expect("a wait that does not hurry comes back with a status"))
    }

    /// Its end, which stays to be reaped: until then whoever inherits it can learn it too.
    pub fn status(&self) -> io::Result<Option<ExitStatus>> {
        use rustix::process::{WaitId, WaitIdOptions};
        if self.status.is_some() {
            return Ok(self.status);
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let pid = process::to_pid(self.id.pid).ok_or(io::ErrorKind::NotFound)?;
        let ended = rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::Pid(pid), options))?;
        // As wait(2) would put it.
        let raw = |ended: rustix::process::WaitIdStatus| match (ended.exit_status(), ended.terminating_signal()) {
            (Some(code), _) => (code & 0xff) << 8,
            (None, signal) => signal.unwrap_or(0),
        };
        Ok(ended.map(|ended| ExitStatus::from_raw(raw(ended))))
    }

    /// Kills it alone, not what it started. Nothing happens if it has ended.
    pub fn kill(&mut self) -> io::Result<()> {
        if self.status.is_none() {
            signals::send(self.id.pid, Signal::Kill)?;
        }
        Ok(())
    }

    fn reap(&mut self, options: WaitOptions) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            let waited = rustix::io::retry_on_intr(|| rustix::process::waitpid(process::to_pid(self.id.pid), options))?;
            self.status = waited.map(|(_, status)| ExitStatus::from_raw(status.as_raw()));
        }
        Ok(self.status)
    }
}

/// Returns when the program has been executed; if it could not be, nothing of the attempt is left.
pub fn spawn(spec: &SpawnSpec) -> Result<Child, Error> {
    start(spec, Kin::Child, None)
}

/// Like [`spawn`], in a control group from its first instruction on.
pub fn spawn_in(spec: &SpawnSpec, leaf: &cgroup::Leaf) -> Result<Child, Error> {
    start(spec, Kin::Child, Some(leaf))
}

/// What the new process is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kin {
    Child,
    /// Started by a child that ends at once, so that it is somebody else's to reap.
    Stranger,
}

/// The standard library's `Command` is not used here: the pipe over which it learns of a failed exec has a number that
/// a passed descriptor may have to take, and a signal that arrives between its fork and its exec would run our
/// handlers in the child, which would tell us of a signal that we never got.
pub(crate) fn start(spec: &SpawnSpec, kin: Kin, leaf: Option<&cgroup::Leaf>) -> Result<Child, Error> {
    let words = words(spec)?;
    if !spec.cwd.is_dir() {
        return Err(Error::NoDirectory(spec.cwd.clone()));
    }
    let program = find(spec)?;
    let failed = |source: io::Error| Error::of(Step::Prepare, program.clone(), spec, source);

    let ends = Ends::open(&spec.stdio).map_err(failed)?;
    let entrance = leaf.map(cgroup::Leaf::entrance).transpose().map_err(failed)?;
    let (answers, report) = io::pipe().map_err(failed)?;
    let mut plan = Plan::new(spec, words, &program, kin, &ends, entrance.as_ref(), report.as_raw_fd())?;

    let forked = fork(&mut plan).map_err(failed)?;
    // Ours only now: as long as the child has not run, its ends are open here as well.
    drop((report, entrance));
    let Ends { ours, theirs } = ends;
    drop(theirs);
    // The identity is read while the child cannot have been reaped by anybody: it is ours, and it may still be
    // on its way to exec. A stranger names itself.
    let early = process::identity(forked).zip(Some(process::pidfd_open(forked)));
    let verdict = Verdict::read(answers);
    if kin == Kin::Stranger || verdict.failure.is_some() {
        // The child in between, or the one that failed: it is ending.
        let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(process::to_pid(forked), WaitOptions::empty()));
    }
    if let Some((step, errno)) = verdict.failure {
        return Err(Error::of(step, program, spec, io::Error::from_raw_os_error(errno)));
    }
    let (id, pidfd) = match (kin, early) {
        (Kin::Child, Some((id, pidfd))) => (id, pidfd),
        (Kin::Child, None) => (ProcessId { pid: forked, start_ticks: 0 }, None),
        (Kin::Stranger, _) => {
            let pid = verdict.stranger.unwrap_or(0);
            let id = process::identity(pid).unwrap_or(ProcessId { pid, start_ticks: 0 });
            (id, process::pidfd_open(pid).filter(|_| process::alive(&id)))
        }
    };
    let Ours { stdin, stdout, stderr, pty } = ours;
    Ok(Child { id, pidfd, stdin, stdout, stderr, pty, status: None })
}

const FIRST_PASSED: RawFd = 3;

/// The standard descriptors of the child, and what stays with us of them.
struct Ends {
    ours: Ours,
    /// `None` leaves the child what we have.
    theirs: Option<[OwnedFd; 3]>,
}

#[derive(Default)]
struct Ours {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    pty: Option<OwnedFd>,
}

impl Ends {
    fn open(stdio: &Stdio) -> io::Result<Self> {
        let null = || OpenOptions::new().read(true).write(true).open("/dev/null").map(OwnedFd::from);
        let (mut ours, mut theirs) = (Ours::default(), None);
        let mut captured = |stdin: OwnedFd, ours: &mut Ours| -> io::Result<()> {
            let ((stdout, child_stdout), (stderr, child_stderr)) = (io::pipe()?, io::pipe()?);
            (ours.stdout, ours.stderr) = (Some(stdout.into()), Some(stderr.into()));
            theirs = Some([stdin, child_stdout.into(), child_stderr.into()]);
            Ok(())
        };
        match stdio {
            Stdio::Inherit => {}
            Stdio::Null => theirs = Some([null()?, null()?, null()?]),
            Stdio::Pipes => {
                let (child_stdin, stdin) = io::pipe()?;
                ours.stdin = Some(stdin.into());
                captured(child_stdin.into(), &mut ours)?;
            }
            Stdio::Lifeline => {
                let (stdin, child_stdin) = UnixStream::pair()?;
                ours.stdin = Some(stdin.into());
                captured(child_stdin.into(), &mut ours)?;
            }
            Stdio::Pty { rows, cols } => {
                let (master, slave) = pty::open(*rows, *cols)?;
                ours.pty = Some(master);
                theirs = Some([slave.try_clone()?, slave.try_clone()?, slave]);
            }
            Stdio::LogFile(path) => {
                let log = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
                // It is not the program that this is about.
                let log = log.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
                theirs = Some([null()?, log.try_clone()?.into(), log.into()]);
            }
        }
        Ok(Self { ours, theirs })
    }
}

/// What exec is given, as C has it: the program's name and arguments, then from `args` on the environment.
struct Words {
    words: Vec<CString>,
    args: usize,
    cwd: CString,
}

fn words(spec: &SpawnSpec) -> Result<Words, Error> {
    let mut words = vec![word(spec.program.as_os_str())?];
    for arg in &spec.args {
        words.push(word(arg)?);
    }
    let args = words.len();
    for (name, value) in &spec.env {
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            return Err(Error::BadWord);
        }
        words.push(word(OsStr::from_bytes(&[name.as_bytes(), b"=", value.as_bytes()].concat()))?);
    }
    Ok(Words { words, args, cwd: word(spec.cwd.as_os_str())? })
}

fn word(text: &OsStr) -> Result<CString, Error> {
    CString::new(text.as_bytes()).map_err(|_| Error::BadWord)
}

/// Everything the child needs between fork and exec, where it may not allocate: other threads of ours may have held
/// the allocator's lock at the moment of the fork.
struct Plan {
    program: CString,
    cwd: CString,
    /// Pointers into `_words`, with a null at the end, as exec wants them.
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    _words: Vec<CString>,
    /// By target: 0, 1, 2 (or -1 for what is to stay), then the passed ones.
    sources: Vec<RawFd>,
    report: RawFd,
    entrance: Option<RawFd>,
    session: Session,
    is_terminal: bool,
    nofile: Option<u64>,
    kin: Kin,
}

impl Plan {
    fn new(
        spec: &SpawnSpec,
        Words { words, args, cwd }: Words,
        program: &Path,
        kin: Kin,
        ends: &Ends,
        entrance: Option<&OwnedFd>,
        report: RawFd,
    ) -> Result<Self, Error> {
        let listed = |words: &[CString]| words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
        let (argv, envp) = (listed(&words[..args]), listed(&words[args..]));
        let standard = ends.theirs.as_ref().map_or([-1; 3], |theirs| theirs.each_ref().map(|fd| fd.as_raw_fd()));
        let is_terminal = matches!(spec.stdio, Stdio::Pty { .. });
        Ok(Self {
            program: word(program.as_os_str())?,
            cwd,
            argv,
            envp,
            _words: words,
            sources: standard.into_iter().chain(spec.pass_fds.iter().map(AsRawFd::as_raw_fd)).collect(),
            report,
            entrance: entrance.map(AsRawFd::as_raw_fd),
            session: if is_terminal || kin == Kin::Stranger { Session::Own } else { spec.session },
            is_terminal,
            nofile: spec.nofile,
            kin,
        })
    }

    /// In the child. Only calls that are allowed after a fork in a process with threads, and no allocation.
    fn carry_out(&mut self) -> ! {
        if self.kin == Kin::Stranger {
            // SAFETY: this process has one thread, whatever its parent has.
            match unsafe { libc::fork() } {
                -1 => self.fail(Step::Fork),
                0 => self.tell(Report { step: Step::Stranger, value: own_pid() }),
                // SAFETY: it ends without running what the parent has registered to be run at exit.
                _ => unsafe { libc::_exit(0) },
            }
        }
        let Err(step) = self.prepare_and_exec();
        self.fail(step)
    }

    fn prepare_and_exec(&mut self) -> Result<Infallible, Step> {
        let done = |result: libc::c_int, step: Step| if result < 0 { Err(step) } else { Ok(()) };
        let end_of_ours = FIRST_PASSED + self.sources.len() as RawFd - 3;
        // SAFETY: plain system calls on numbers and on memory that was prepared before the fork; all pointers are to
        // NUL-terminated words or null-terminated lists that `self` holds.
        unsafe {
            for signal in 1..=SIGNAL_MAX {
                os::reset_signal(signal);
            }
            match self.session {
                Session::Own => done(libc::setsid(), Step::Prepare)?,
                Session::Group => done(libc::setpgid(0, 0), Step::Prepare)?,
                Session::Inherit => {}
            }
            if let Some(entrance) = self.entrance {
                done(libc::write(entrance, c"0".as_ptr().cast(), 1) as libc::c_int, Step::Group)?;
            }
            done(libc::chdir(self.cwd.as_ptr()), Step::Directory)?;
            // What lies where another is to go moves up first, so that nothing is overwritten that is still needed.
            for source in self.sources.iter_mut().chain([&mut self.report]) {
                if (0..end_of_ours).contains(source) {
                    let moved = libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, end_of_ours);
                    done(moved, Step::Prepare)?;
                    *source = moved;
                }
            }
            for (target, source) in (0..).zip(&self.sources) {
                if *source >= 0 {
                    done(libc::dup2(*source, target), Step::Prepare)?;
                }
            }
            if self.is_terminal {
                done(libc::ioctl(0, libc::TIOCSCTTY as _, 0), Step::Prepare)?;
            }
            close_from_at_exec(end_of_ours);
            if let Some(limit) = self.nofile {
                let mut now: libc::rlimit = std::mem::zeroed();
                done(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut now), Step::Prepare)?;
                now.rlim_cur = (limit as libc::rlim_t).min(now.rlim_max);
                done(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const now), Step::Prepare)?;
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            libc::execve(self.program.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr());
        }
        Err(Step::Exec)
    }

    fn fail(&self, step: Step) -> ! {
        // SAFETY: reads this thread's errno.
        let errno = unsafe { *os::errno_location() };
        self.tell(Report { step, value: errno });
        // SAFETY: ends the child without running what the parent has registered to be run at exit.
        unsafe { libc::_exit(127) }
    }

    fn tell(&self, report: Report) {
        let bytes = report.to_bytes();
        // SAFETY: write from a buffer that lives through the call; so few bytes go into a pipe whole.
        unsafe { libc::write(self.report, bytes.as_ptr().cast(), bytes.len()) };
    }
}

const SIGNAL_MAX: libc::c_int = 64;

fn own_pid() -> i32 {
    // SAFETY: a plain system call.
    unsafe { libc::getpid() }
}

/// Signals wait while there are two of us: a handler of ours that ran in the child would write into our own pipes.
fn fork(plan: &mut Plan) -> io::Result<u32> {
    // SAFETY: the sets are filled by the calls; the child only runs `carry_out`, which keeps to what is allowed there.
    unsafe {
        let mut every: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut every);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const every, &raw mut before);
        let forked = libc::fork();
        if forked == 0 {
            plan.carry_out();
        }
        let error = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        u32::try_from(forked).map_err(|_| error)
    }
}

/// Where the child was when it failed, or what it has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Step {
    Prepare = 1,
    Fork = 2,
    Group = 3,
    Directory = 4,
    Exec = 5,
    /// No failure: the pid of a process that is nobody's child.
    Stranger = 6,
}

#[derive(Debug, Clone, Copy)]
struct Report {
    step: Step,
    value: i32,
}

impl Report {
    const BYTES: usize = 5;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let [a, b, c, d] = self.value.to_ne_bytes();
        [self.step as u8, a, b, c, d]
    }

    fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let [step, value @ ..] = bytes;
        let steps = [Step::Prepare, Step::Fork, Step::Group, Step::Directory, Step::Exec, Step::Stranger];
        let step = steps.into_iter().find(|known| *known as u8 == step)?;
        Some(Self { step, value: i32::from_ne_bytes(value) })
    }
}

/// What the child reported until exec, or its end, closed the pipe.
#[derive(Debug, Default)]
struct Verdict {
    stranger: Option<u32>,
    failure: Option<(Step, i32)>,
}

impl Verdict {
    fn read(mut answers: PipeReader) -> Self {
        let mut verdict = Self::default();
        let mut bytes = [0; Report::BYTES];
        while answers.read_exact(&mut bytes).is_ok() {
            match Report::from_bytes(bytes) {
                Some(Report { step: Step::Stranger, value }) => verdict.stranger = u32::try_from(value).ok(),
                Some(Report { step, value }) => verdict.failure = Some((step, value)),
                None => {}
            }
        }
        verdict
    }
}

/// Marks every descriptor from `first` on to be closed by exec; the pipe of the report is among them.
fn close_from_at_exec(first: RawFd) {
    if os::close_from_at_exec(first) {
        return;
    }
    // SAFETY: fcntl on a number that is not open fails and changes nothing.
    unsafe {
        let limit = libc::sysconf(libc::_SC_OPEN_MAX).clamp(0, FDS_WALKED_MAX) as RawFd;
        for fd in first..limit {
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
}

/// Without close_range every possible number is tried; a second of that is enough.
const FDS_WALKED_MAX: libc::c_long = 1 << 20;

/// The program as a path. A name without a slash is looked for where the child would look.
fn find(spec: &SpawnSpec) -> Result<PathBuf, Error> {
    if spec.program.as_os_str().as_bytes().contains(&b'/') {
        let path = spec.cwd.join(&spec.program);
        return match executable(&path) {
            Some(true) => Ok(path),
            Some(false) => Err(Error::NotExecutable(path)),
            None => Err(Error::NotFound(path)),
        };
    }
    let search = spec.env.iter().rev().find(|(key, _)| key == "PATH").map(|(_, value)| value.clone());
    let search = search.unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let mut unusable = None;
    for dir in std::env::split_paths(&search) {
        let path = spec.cwd.join(dir).join(&spec.program);
        match executable(&path) {
            Some(true) => return Ok(path),
            Some(false) => unusable = Some(path),
            None => {}
        }
    }
    Err(unusable.map_or_else(|| Error::NotFound(spec.program.clone()), Error::NotExecutable))
}

/// `None` when there is nothing.
fn executable(path: &Path) -> Option<bool> {
    let meta = std::fs::metadata(path).ok()?;
    let may = rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    Some(meta.is_file() && may)
}

/// Takes a descriptor that was put in its place before we were started.
///
/// # Safety
/// Nothing else in this process may own it.
pub(crate) unsafe fn inherited(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: fcntl on a number that is not open fails; ownership is the caller's promise.
    unsafe {
        if libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) != 0 {
            return None;
        }
        Some(OwnedFd::from_raw_fd(fd))
    }
}
