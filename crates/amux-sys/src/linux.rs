//! The Linux side of the door: /proc, pidfds, close_range, SO_PEERCRED. `other.rs` answers the same questions
//! elsewhere; the rest of the crate asks and does not care.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::pipe::SpliceFlags;
use rustix::process::PidfdFlags;
use rustix::pty::OpenptFlags;

use crate::peer::Peer;
use crate::process::{ProcessId, Rest, Row, to_pid};

/// The kernel gives arguments and environment together at most 6 MiB, whatever the stack limit.
const ENVIRON_BYTES_MAX: u64 = 6 * 1024 * 1024;
/// Most are smaller, and are then had by one read.
const ENVIRON_BYTES_MOSTLY: usize = 8 * 1024;

/// Some fifty numbers and a short name.
const STAT_BYTES_MAX: usize = 2048;

pub(crate) fn peer(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `credentials`, which is that large and plain data.
    // rustix is not used: its `Pid` cannot be 0, which is what a peer outside our PID namespace has.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // A socket without a peer, such as an unconnected one, has these values.
    if credentials.pid == 0 && credentials.uid == u32::MAX {
        return Err(io::ErrorKind::NotConnected.into());
    }
    Ok(Peer { pid: u32::try_from(credentials.pid).ok().filter(|pid| *pid != 0), uid: credentials.uid })
}

pub(crate) const KNOWS_PEER_PIDS: bool = true;

/// `None` where the kernel is older than this question.
pub(crate) fn peer_pidfd(socket: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    /// Of <asm-generic/socket.h>; libc does not have it for every libc.
    const SO_PEERPIDFD: libc::c_int = 77;
    let mut fd: libc::c_int = -1;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `fd`, which is that large and plain data.
    let done = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_PEERPIDFD, (&raw mut fd).cast(), &raw mut length)
    };
    if done != 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ENOPROTOOPT) { Ok(None) } else { Err(error) };
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}

pub(crate) fn give_back() {
    // Other libcs give back by themselves.
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, may be called at any time, and locks what it touches.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Where a process stands in the hierarchy of control groups: the one of version 2, or systemd's own.
pub(crate) fn cgroup_of(pid: u32) -> Option<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let of = |prefix: &str| text.lines().find_map(|line| line.split_once(prefix).map(|(_, path)| PathBuf::from(path)));
    of("0::").filter(|path| path != Path::new("/")).or_else(|| of(":name=systemd:"))
}

pub(crate) fn pidfd_open(pid: u32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(to_pid(pid)?, PidfdFlags::empty()).ok()
}

pub(crate) fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: a plain system call on a descriptor we hold; no memory is passed.
    let sent = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

pub(crate) fn set_subreaper() -> bool {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).is_ok()
}

pub(crate) fn row(pid: u32) -> Option<Row> {
    seen(pid).ok().flatten()
}

/// An error where there may well be a process, and we have no descriptor to look with.
fn seen(pid: u32) -> io::Result<Option<Row>> {
    let mut text = [0; STAT_BYTES_MAX];
    let file = match File::open(format!("/proc/{pid}/stat")) {
        Ok(file) => file,
        Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => return Err(error),
        Err(_) => return Ok(None),
    };
    // One read gives all of it, and a dozen of these are looked at before a client is let in.
    let count = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut text));
    Ok(count.ok().and_then(|count| parse_stat(pid, &text[..count])))
}

/// Whether a signal or a debugger has stopped every thread of a process. One that is gone stands still, too.
pub(crate) fn stands_still(pid: u32) -> bool {
    let threads = match std::fs::read_dir(format!("/proc/{pid}/task")) {
        Ok(threads) => threads.flatten(),
        Err(error) => return error.kind() == io::ErrorKind::NotFound,
    };
    let mut stats = threads.filter_map(|thread| std::fs::read(thread.path().join("stat")).ok());
    stats.all(|stat| {
        let after_name = stat.iter().rposition(|byte| *byte == b')').map_or(0, |end| end + 1);
        stat[after_name..].iter().find(|byte| **byte != b' ').is_none_or(|state| b"TtZX".contains(state))
    })
}

/// Every process we can see; nobody, where descriptors are short: those left out would count as gone.
pub(crate) fn table() -> Vec<Row> {
    let rows: io::Result<Vec<_>> = pids().map(seen).collect();
    rows.unwrap_or_default().into_iter().flatten().collect()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parse_stat(pid: u32, text: &[u8]) -> Option<Row> {
    // The name stands in parentheses and may itself hold any byte, so the last one ends it.
    let after_name = text.iter().rposition(|byte| *byte == b')')? + 1;
    let rest = std::str::from_utf8(&text[after_name..]).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let zombie = matches!(*fields.first()?, "Z" | "X");
    Some(Row {
        id: ProcessId { pid, start_ticks: number(19)? },
        parent: number(1)? as u32,
        group: number(2)? as u32,
        session: number(3)? as u32,
        // A first thread that ended before the others looks like a zombie and is none.
        is_dead: zombie && number(17)? <= 1,
        cpu_ms: (number(11)? + number(12)?) * 1_000 / rustix::param::clock_ticks_per_second().max(1),
        rss_bytes: number(21)? * rustix::param::page_size() as u64,
    })
}

/// The environment a process was started with, as the kernel keeps it.
pub(crate) fn environ(pid: u32) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(ENVIRON_BYTES_MOSTLY);
    File::open(format!("/proc/{pid}/environ")).ok()?.take(ENVIRON_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The command line, its words separated by blanks.
pub(crate) fn command_line(pid: u32) -> Option<String> {
    Some(arguments(pid)?.join(" "))
}

pub(crate) fn arguments(pid: u32) -> Option<Vec<String>> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    Some(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

pub(crate) fn foreground_group(pid: u32) -> Option<u32> {
    parse_foreground(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// -1 of a process without a terminal.
fn parse_foreground(text: &[u8]) -> Option<u32> {
    let after_name = text.iter().rposition(|byte| *byte == b')')? + 1;
    let group = std::str::from_utf8(&text[after_name..]).ok()?.split_ascii_whitespace().nth(5)?;
    group.parse().ok().filter(|group| *group > 0)
}

pub(crate) fn rest(pid: u32) -> Option<Rest> {
    parse_rest(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn parse_rest(text: &str) -> Option<Rest> {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let count = |name| value(name)?.parse::<u64>().ok();
    let is_asleep = !value("State")?.starts_with(['R', 'D']);
    Some(Rest { is_asleep, turns: count("voluntary_ctxt_switches")? + count("nonvoluntary_ctxt_switches")? })
}

pub(crate) fn cwd(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

pub(crate) fn boot_id() -> Option<String> {
    Some(std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

/// What can be given out without swapping; inside a memory cgroup its own room, if that is less.
pub(crate) fn memory_available_bytes() -> Option<u64> {
    let whole = key_value_file("/proc/meminfo")?.get("MemAvailable:").map(|kib| kib * 1024)?;
    let room = cgroup_dir().and_then(|dir| {
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).ok()?.trim().parse::<u64>().ok();
        Some(read("memory.max")?.saturating_sub(read("memory.current")?))
    });
    Some(room.map_or(whole, |room| room.min(whole)))
}

pub(crate) fn oom_kills() -> Option<u64> {
    let own = cgroup_dir().and_then(|dir| key_value_file(dir.join("memory.events"))?.get("oom_kill").copied());
    own.or_else(|| key_value_file("/proc/vmstat")?.get("oom_kill").copied())
}

fn key_value_file(path: impl AsRef<Path>) -> Option<HashMap<String, u64>> {
    let text = std::fs::read_to_string(path).ok()?;
    let pairs = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    });
    Some(pairs.collect())
}

/// The cgroup v2 directory we are in, if the hierarchy is mounted.
pub(crate) fn cgroup_dir() -> Option<PathBuf> {
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mounts = std::fs::read("/proc/self/mountinfo").ok()?;
    let mounted = mounts.split(|byte| *byte == b'\n').find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let kind = fields.iter().position(|field| *field == b"-")? + 1;
        (*fields.get(kind)? == b"cgroup2").then(|| (unescape(fields[3]), unescape(fields[4])))
    })?;
    // A container may show only a part of the hierarchy; our path is then told from where that part begins.
    let (root, mount_point) = mounted;
    let own = PathBuf::from("/").join(own);
    Some(PathBuf::from(mount_point).join(own.strip_prefix(&root).or_else(|_| own.strip_prefix("/")).ok()?))
}

/// mountinfo writes blanks and backslashes as three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| std::str::from_utf8(after.get(..3)?).ok()).flatten();
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => (bytes.push(byte), rest = &after[3..]).1,
            None => (bytes.push(*first), rest = after).1,
        }
    }
    OsString::from_vec(bytes)
}

pub(crate) fn fd_count() -> Option<usize> {
    // The descriptor that reads the directory is in it.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1))
}

pub(crate) fn is_single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

/// The side that watches and the side for the program.
pub(crate) fn open_pty() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    // By descriptor and not by name: another mount of devpts would give another terminal of that name.
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    Ok((master, slave))
}

/// Marks every descriptor from `first` on to be closed at exec; `false` where the kernel cannot do it in one call.
/// Runs between fork and exec: no allocation, no lock.
pub(crate) fn close_from_at_exec(first: RawFd) -> bool {
    // SAFETY: a plain system call without memory arguments.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) == 0 }
}

/// Gives a signal its default, also the two that libc keeps for itself and does not let anybody set: what we were
/// started with may ignore them. Runs between fork and exec.
pub(crate) fn reset_signal(signal: libc::c_int) {
    /// The kernel's own structure, not libc's: at most four words, and zeroes in all of them are the default.
    const DEFAULT: [u64; 4] = [0; 4];
    // SAFETY: the kernel reads one structure, which is at most DEFAULT long; those that cannot be set fail.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), std::ptr::null_mut::<u64>(), 8) };
}

/// Lets a received datagram say who sent it.
pub(crate) fn pass_credentials(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_passcred(socket, true)?)
}

/// Where this thread's `errno` is.
pub(crate) fn errno_location() -> *mut libc::c_int {
    // SAFETY: it only gives an address.
    unsafe { libc::__errno_location() }
}

pub(crate) const SEND_NOSIGNAL: libc::c_int = libc::MSG_NOSIGNAL;

pub(crate) const RECV_CLOEXEC: libc::c_int = libc::MSG_CMSG_CLOEXEC;

/// A descriptor just received; the flag above has done it already.
pub(crate) fn close_on_exec(fd: OwnedFd) -> io::Result<OwnedFd> {
    Ok(fd)
}

pub(crate) fn unix_socket(kind: SocketType) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

pub(crate) fn abstract_address(name: &[u8]) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new_abstract_name(name)?)
}

/// Readable whenever something in a directory was removed or renamed.
pub(crate) fn watch_dir(path: &Path) -> Option<OwnedFd> {
    use rustix::fs::inotify;
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok()?;
    let what = inotify::WatchFlags::DELETE
        | inotify::WatchFlags::MOVED_FROM
        | inotify::WatchFlags::DELETE_SELF
        | inotify::WatchFlags::MOVE_SELF;
    inotify::add_watch(&fd, path, what).ok()?;
    Some(fd)
}

/// Locks of whole files that are held now. `None` where there is no such list.
pub(crate) fn held_locks() -> Option<Vec<HeldLock>> {
    let text = std::fs::read_to_string("/proc/locks").ok()?;
    // A waiter has an arrow where a holder has the kind of lock.
    let held = text.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let held = held.filter(|words| words.get(1) == Some(&"FLOCK"));
    Some(held.filter_map(|words| HeldLock::parse(words.get(4)?, words.get(5)?)).collect())
}

/// A lock of a whole file, as the kernel lists it.
pub(crate) struct HeldLock {
    pub(crate) pid: Option<u32>,
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl HeldLock {
    fn parse(pid: &str, place: &str) -> Option<Self> {
        let mut parts = place.split(':');
        let mut hex = || u32::from_str_radix(parts.next()?, 16).ok();
        let device = libc::makedev(hex()?, hex()?);
        Some(Self { pid: pid.parse().ok(), device, inode: parts.next()?.parse().ok()? })
    }
}

/// The sender in a control message, if it is one that says it.
///
/// # Safety
/// `message` points at a complete control message that the kernel has written.
pub(crate) unsafe fn sender(message: *const libc::cmsghdr) -> Option<Peer> {
    // SAFETY: the caller gives a valid header; the data after a SCM_CREDENTIALS header is one `ucred`, maybe
    // unaligned.
    let credentials: libc::ucred = unsafe {
        if ((*message).cmsg_level, (*message).cmsg_type) != (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) {
            return None;
        }
        libc::CMSG_DATA(message).cast::<libc::ucred>().read_unaligned()
    };
    Some(Peer { pid: u32::try_from(credentials.pid).ok().filter(|pid| *pid != 0), uid: credentials.uid })
}

pub(crate) fn move_to_pipe(from: BorrowedFd<'_>, pipe: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
    Ok(rustix::pipe::splice(from, None, pipe, None, max, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?)
}

pub(crate) fn move_to_file(pipe: BorrowedFd<'_>, file: &File, at: u64, max: usize) -> io::Result<usize> {
    let mut at = at;
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    Ok(rustix::pipe::splice(pipe, None, file, Some(&mut at), max, flags)?)
}

pub(crate) fn enlarge_pipe(pipe: BorrowedFd<'_>, bytes: usize) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_process_name_does_not_shift_the_fields() {
        let line = b"42 (a) Z 1 (b) S 7 8 9 0 -1 0 0 0 0 0 30 12 0 0 20 0 1 0 5555 0 77 0";
        let row = parse_stat(42, line).unwrap();
        assert_eq!((row.id.start_ticks, row.parent, row.group, row.session), (5555, 7, 8, 9));
        assert_eq!(row.cpu_ms, 42 * 1_000 / rustix::param::clock_ticks_per_second());
        assert_eq!((row.rss_bytes, row.is_dead), (77 * rustix::param::page_size() as u64, false));
        // Sixteen bytes cut through a character.
        assert!(parse_stat(42, &line.map(|byte| if byte == b'a' { 0xc3 } else { byte })).is_some());
    }

    #[test]
    fn who_has_the_keyboard_is_read_behind_any_name() {
        assert_eq!(parse_foreground(b"42 (a) b) (c) S 1 42 42 34816 77 4194304 1"), Some(77));
        assert_eq!(parse_foreground(b"42 (a) S 1 42 42 0 -1 4194304 1"), None, "it has no terminal");
        assert_eq!(parse_foreground(b"42 (a) S 1"), None);
    }

    #[test]
    fn a_first_thread_that_ended_is_no_death_while_others_run() {
        let of = |threads: u32| format!("42 (x) Z 7 8 9 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 5555 0 77 0");
        assert!(parse_stat(42, of(1).as_bytes()).unwrap().is_dead);
        assert!(!parse_stat(42, of(3).as_bytes()).unwrap().is_dead);
    }

    #[test]
    fn blanks_in_a_mount_point_are_read() {
        assert_eq!(unescape(br"/a\040b\134c"), r"/a b\c");
        assert_eq!(unescape(br"/odd\9"), r"/odd\9");
    }
}
