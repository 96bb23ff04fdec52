//! The door for Unixes that are not Linux, macOS foremost: what POSIX has, `ps` for the process table, and an honest
//! "none" for the rest. `linux.rs` answers the same questions there.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::pty::OpenptFlags;

use crate::peer::Peer;
use crate::process::{ProcessId, Rest, Row, to_pid};

pub(crate) fn peer(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let (mut uid, mut gid) = (0, 0);
    // SAFETY: the descriptor is open for the length of the call and both pointers are to live integers.
    let failed = unsafe { libc::getpeereid(socket.as_raw_fd(), &raw mut uid, &raw mut gid) } != 0;
    if failed { Err(io::Error::last_os_error()) } else { Ok(Peer { pid: None, uid }) }
}

pub(crate) fn give_back() {}

pub(crate) const KNOWS_PEER_PIDS: bool = false;

pub(crate) fn peer_pidfd(_socket: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    Ok(None)
}

pub(crate) fn cgroup_of(_pid: u32) -> Option<PathBuf> {
    None
}

pub(crate) fn pidfd_open(_pid: u32) -> Option<OwnedFd> {
    None
}

pub(crate) fn pidfd_signal(_pidfd: BorrowedFd<'_>, _signal: libc::c_int) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn set_subreaper() -> bool {
    false
}

pub(crate) fn row(pid: u32) -> Option<Row> {
    // A process that is not there costs no fork.
    let exists = match rustix::process::test_kill_process(to_pid(pid)?) {
        Ok(()) | Err(rustix::io::Errno::PERM) => true,
        Err(_) => false,
    };
    if exists { ps(&["-p", &pid.to_string()]).pop() } else { None }
}

pub(crate) fn stands_still(pid: u32) -> bool {
    let output = Command::new("ps").args(["-p", &pid.to_string(), "-o", "stat="]).output();
    output.is_ok_and(|output| output.stdout.trim_ascii_start().first().is_none_or(|state| b"TZ".contains(state)))
}

pub(crate) fn table() -> Vec<Row> {
    ps(&["-ax"])
}

fn ps(which: &[&str]) -> Vec<Row> {
    let mut command = Command::new("ps");
    command.args(which);
    for column in ["pid=", "ppid=", "pgid=", "stat=", "rss=", "time=", "lstart="] {
        // One at a time: what follows a `=` is the title of the column, commas and all.
        command.args(["-o", column]);
    }
    // Start times are compared as numbers: one language and one time zone for all of them.
    command.env("LC_ALL", "C").env("TZ", "UTC0");
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().filter_map(parse_ps).collect()
}

fn parse_ps(line: &str) -> Option<Row> {
    let mut words = line.split_ascii_whitespace();
    let mut next = || words.next();
    let (pid, parent, group) = (next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?);
    let is_dead = next()?.starts_with('Z');
    let rss_bytes = next()?.parse::<u64>().ok()? * 1024;
    let cpu_ms = parse_cpu_ms(next()?)?;
    let (_weekday, month, day, time, year) = (next()?, next()?, next()?, next()?, next()?);
    Some(Row {
        id: ProcessId { pid, start_ticks: sortable(year, month, day, time)? },
        parent,
        group,
        session: session_of(pid),
        is_dead,
        cpu_ms,
        rss_bytes,
    })
}

/// `[[days-]hours:]minutes:seconds[.hundredths]`
fn parse_cpu_ms(text: &str) -> Option<u64> {
    let (days, rest) = text.split_once('-').unwrap_or(("0", text));
    let whole = rest.split('.').next()?;
    let in_day = whole.split(':').try_fold(0, |sum: u64, part| Some(sum * 60 + part.parse::<u64>().ok()?))?;
    Some((days.parse::<u64>().ok()? * 86_400 + in_day) * 1_000)
}

/// A number that grows with time, which is all that is asked of it.
fn sortable(year: &str, month: &str, day: &str, time: &str) -> Option<u64> {
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month)? as u64 + 1;
    let time: u64 = time.replace(':', "").parse().ok()?;
    Some(((year.parse::<u64>().ok()? * 100 + month) * 100 + day.parse::<u64>().ok()?) * 1_000_000 + time)
}

/// 0 for a process that has none, or is gone.
fn session_of(pid: u32) -> u32 {
    // SAFETY: a plain system call. rustix is not used: the kernel's own processes have session 0, which its `Pid` cannot
    // be.
    let session = to_pid(pid).map(|pid| unsafe { libc::getsid(pid.as_raw_nonzero().get()) });
    session.and_then(|session| u32::try_from(session).ok()).unwrap_or(0)
}

pub(crate) fn environ(_pid: u32) -> Option<Vec<u8>> {
    None
}

pub(crate) fn command_line(pid: u32) -> Option<String> {
    let output = Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|line| !line.is_empty())
}

pub(crate) fn arguments(pid: u32) -> Option<Vec<String>> {
    Some(command_line(pid)?.split_whitespace().map(str::to_owned).collect())
}

pub(crate) fn foreground_group(pid: u32) -> Option<u32> {
    let output = Command::new("ps").args(["-o", "tpgid=", "-p", &pid.to_string()]).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok().filter(|group| *group > 0)
}

pub(crate) fn rest(_pid: u32) -> Option<Rest> {
    None
}

pub(crate) fn cwd(_pid: u32) -> Option<PathBuf> {
    None
}

pub(crate) fn boot_id() -> Option<String> {
    None
}

pub(crate) fn memory_available_bytes() -> Option<u64> {
    None
}

pub(crate) fn oom_kills() -> Option<u64> {
    None
}

pub(crate) fn cgroup_dir() -> Option<PathBuf> {
    None
}

pub(crate) fn fd_count() -> Option<usize> {
    // The descriptor that reads the directory is in it.
    Some(std::fs::read_dir("/dev/fd").ok()?.count().saturating_sub(1))
}

/// Nobody says, so the caller's word is taken.
pub(crate) fn is_single_threaded() -> bool {
    true
}

/// The side that watches and the side for the program.
pub(crate) fn open_pty() -> io::Result<(OwnedFd, OwnedFd)> {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    fcntl_setfd(&master, FdFlags::CLOEXEC)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let name = rustix::pty::ptsname(&master, Vec::new())?;
    let slave = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    Ok((master, slave))
}

/// Not in one call.
pub(crate) fn close_from_at_exec(_first: RawFd) -> bool {
    false
}

/// Gives a signal its default. Runs between fork and exec.
pub(crate) fn reset_signal(signal: libc::c_int) {
    // SAFETY: async-signal-safe; it fails for those that cannot be set.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Received datagrams then say nothing of their sender.
pub(crate) fn pass_credentials(_socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(())
}

/// Where this thread's `errno` is.
pub(crate) fn errno_location() -> *mut libc::c_int {
    // SAFETY: it only gives an address.
    unsafe { libc::__error() }
}

/// Programs of ours ignore SIGPIPE anyhow, as std makes them.
pub(crate) const SEND_NOSIGNAL: libc::c_int = 0;

pub(crate) const RECV_CLOEXEC: libc::c_int = 0;

/// A descriptor just received.
pub(crate) fn close_on_exec(fd: OwnedFd) -> io::Result<OwnedFd> {
    fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
    Ok(fd)
}

pub(crate) fn unix_socket(kind: SocketType) -> io::Result<OwnedFd> {
    close_on_exec(rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::empty(), None)?)
}

pub(crate) fn abstract_address(_name: &[u8]) -> io::Result<SocketAddrUnix> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn watch_dir(_path: &Path) -> Option<OwnedFd> {
    None
}

/// A lock of a whole file, as a kernel may list it; none of these does.
pub(crate) struct HeldLock {
    pub(crate) pid: Option<u32>,
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

pub(crate) fn held_locks() -> Option<Vec<HeldLock>> {
    None
}

/// # Safety
/// None needed; the same face as on Linux.
pub(crate) unsafe fn sender(_message: *const libc::cmsghdr) -> Option<Peer> {
    None
}

/// Between the two calls a kill loses what was read: this system cannot move bytes by itself.
const MOVED_BYTES: usize = 4096;

pub(crate) fn move_to_pipe(from: BorrowedFd<'_>, pipe: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
    let mut bytes = [0; MOVED_BYTES];
    let taken = rustix::io::read(from, &mut bytes[..max.min(MOVED_BYTES)])?;
    let mut rest = &bytes[..taken];
    while !rest.is_empty() {
        let written = rustix::io::write(pipe, rest)?;
        rest = &rest[written..];
    }
    Ok(taken)
}

pub(crate) fn move_to_file(pipe: BorrowedFd<'_>, file: &File, at: u64, max: usize) -> io::Result<usize> {
    use std::os::unix::fs::FileExt as _;
    let mut bytes = [0; MOVED_BYTES];
    let taken = rustix::io::read(pipe, &mut bytes[..max.min(MOVED_BYTES)])?;
    file.write_all_at(&bytes[..taken], at)?;
    Ok(taken)
}

pub(crate) fn enlarge_pipe(_pipe: BorrowedFd<'_>, _bytes: usize) {}
