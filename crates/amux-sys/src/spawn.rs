//! Where processes are born. A spec is plain data and complete: nothing is inherited that it does not name.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::process::{self, ProcessId};
use crate::pty;

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
    #[error("no such directory: {0}")]
    NoDirectory(PathBuf),
    #[error("a word of the command holds a zero byte")]
    BadWord,
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
            Self::NotFound(_) | Self::NotExecutable(_) | Self::NoDirectory(_) | Self::BadWord => true,
            Self::Os { source, .. } => !matches!(
                source.raw_os_error(),
                Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ENOSPC | libc::EINTR)
            ),
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
    inner: std::process::Child,
}

impl Child {
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.inner.try_wait()
    }

    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.inner.wait()
    }

    pub fn kill(&mut self) -> io::Result<()> {
        self.inner.kill()
    }
}

pub fn spawn(spec: &SpawnSpec) -> Result<Child, Error> {
    let words = spec.args.iter().map(OsString::as_os_str).chain([spec.program.as_os_str(), spec.cwd.as_os_str()]);
    let mut variables = spec.env.iter().flat_map(|(key, value)| [key.as_os_str(), value.as_os_str()]);
    if words.into_iter().any(has_zero) || variables.any(has_zero) {
        return Err(Error::BadWord);
    }
    if !spec.cwd.is_dir() {
        return Err(Error::NoDirectory(spec.cwd.clone()));
    }
    let program = find(spec)?;
    let os = |source| Error::Os { program: program.clone(), source };

    let mut command = Command::new(&program);
    command.args(&spec.args).current_dir(&spec.cwd).env_clear().envs(spec.env.iter().map(|(key, value)| (key, value)));
    let mut terminal = None;
    let mut lifeline = None;
    match &spec.stdio {
        Stdio::Null => {
            command.stdin(null()).stdout(null()).stderr(null());
        }
        Stdio::Inherit => {}
        Stdio::Pipes => {
            command.stdin(piped()).stdout(piped()).stderr(piped());
        }
        Stdio::Lifeline => {
            let (ours, theirs) = UnixStream::pair().map_err(os)?;
            lifeline = Some(OwnedFd::from(ours));
            command.stdin(OwnedFd::from(theirs)).stdout(piped()).stderr(piped());
        }
        Stdio::Pty { rows, cols } => {
            let (master, slave) = open_terminal(*rows, *cols).map_err(os)?;
            let clone = || slave.try_clone().map_err(os);
            command.stdin(clone()?).stdout(clone()?).stderr(clone()?);
            terminal = Some(master);
        }
        Stdio::LogFile(path) => {
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(os)?;
            command.stdin(null()).stdout(file.try_clone().map_err(os)?).stderr(file);
        }
    }
    let own_session = spec.session == Session::Own || terminal.is_some();
    let own_group = spec.session == Session::Group;
    let controls = terminal.is_some();
    let nofile = spec.nofile;
    // Moved up first, so that putting them in their places cannot overwrite one that is still to be moved.
    let passed = move_up(spec).map_err(os)?;
    let sources: Vec<RawFd> = passed.iter().map(|fd| fd.as_raw_fd()).collect();
    // SAFETY: between fork and exec only async-signal-safe calls are made, on memory that was allocated before.
    unsafe {
        command.pre_exec(move || {
            if own_session && libc::setsid() < 0 {
                return Err(io::Error::last_os_error());
            }
            if own_group && libc::setpgid(0, 0) != 0 {
                return Err(io::Error::last_os_error());
            }
            if controls && libc::ioctl(0, libc::TIOCSCTTY as _, 0) != 0 {
                return Err(io::Error::last_os_error());
            }
            for (target, source) in (FIRST_PASSED..).zip(&sources) {
                if libc::dup2(*source, target) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            close_from(FIRST_PASSED + sources.len() as RawFd)?;
            reset_signals();
            if let Some(limit) = nofile {
                let mut now: libc::rlimit = std::mem::zeroed();
                if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut now) == 0 {
                    now.rlim_cur = (limit as libc::rlim_t).min(now.rlim_max);
                    libc::setrlimit(libc::RLIMIT_NOFILE, &raw const now);
                }
            }
            Ok(())
        });
    }
    // A failed exec has already been reaped by the standard library; no descriptor outlives this function.
    let mut inner = command.spawn().map_err(|source| match source.raw_os_error() {
        Some(libc::ENOENT) => Error::NotFound(program.clone()),
        Some(libc::EACCES | libc::ENOEXEC) => Error::NotExecutable(program.clone()),
        _ => Error::Os { program: program.clone(), source },
    })?;
    drop(passed);
    let pid = inner.id();
    // It is our child and not reaped, so the pid is its own whatever it does.
    let id = process::identity(pid).unwrap_or(ProcessId { pid, start_ticks: 0 });
    Ok(Child {
        id,
        pidfd: process::pidfd_open(pid),
        stdin: lifeline.or_else(|| inner.stdin.take().map(OwnedFd::from)),
        stdout: inner.stdout.take().map(OwnedFd::from),
        stderr: inner.stderr.take().map(OwnedFd::from),
        pty: terminal,
        inner,
    })
}

const FIRST_PASSED: RawFd = 3;

fn null() -> std::process::Stdio {
    std::process::Stdio::null()
}

fn piped() -> std::process::Stdio {
    std::process::Stdio::piped()
}

fn has_zero(word: &OsStr) -> bool {
    word.as_bytes().contains(&0)
}

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

fn open_terminal(rows: u16, cols: u16) -> io::Result<(OwnedFd, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let slave = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty())?;
    pty::resize(master.as_fd(), rows, cols)?;
    pty::set_nonblocking(master.as_fd())?;
    Ok((master, slave))
}

fn move_up(spec: &SpawnSpec) -> io::Result<Vec<OwnedFd>> {
    let above = FIRST_PASSED + spec.pass_fds.len() as RawFd;
    spec.pass_fds.iter().map(|fd| Ok(rustix::io::fcntl_dupfd_cloexec(fd, above)?)).collect()
}

/// Marks every descriptor from `first` on to be closed by exec. The pipe over which the standard library reports a
/// failed exec is among them and already so marked.
unsafe fn close_from(first: RawFd) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: the call takes integers and changes only descriptor flags of this, the forked, process.
        let failed = unsafe {
            libc::syscall(libc::SYS_close_range, first as libc::c_uint, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
        } != 0;
        if !failed {
            return Ok(());
        }
    }
    // SAFETY: fcntl on a descriptor that is not open fails and changes nothing.
    unsafe {
        let limit = libc::sysconf(libc::_SC_OPEN_MAX).clamp(0, 1 << 20) as RawFd;
        for fd in first..limit {
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
    Ok(())
}

/// Nothing blocked, nothing ignored: what a program finds when a shell starts it.
unsafe fn reset_signals() {
    // SAFETY: sigset and dispositions are set from fully initialised values; both calls are async-signal-safe.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        for signal in 1..32 {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
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
