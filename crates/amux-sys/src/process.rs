//! Processes as the system knows them: identity beyond pid reuse, ancestry, tags, and what they use.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::process::ExitStatus;

use rustix::process::{Pid, WaitOptions};

/// A process beyond pid reuse: the pid, and when the kernel started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    pub pid: u32,
    pub start_ticks: u64,
}

/// Deeper trees are not followed: a chain that long is a fork bomb, not an ancestry.
const ANCESTRY_MAX: usize = 64;

/// The kernel keeps one page per variable and far fewer of them than this allows.
const ENVIRON_BYTES_MAX: u64 = 2 * 1024 * 1024;

struct Stat {
    parent: u32,
    session: u32,
    is_zombie: bool,
    cpu_ticks: u64,
    start_ticks: u64,
    rss_pages: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything, also parentheses.
    let (_, rest) = text.rsplit_once(')')?;
    let words: Vec<_> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    Some(Stat {
        is_zombie: matches!(words.first(), Some(&"Z" | &"X")),
        parent: u32::try_from(number(1)?).ok()?,
        session: u32::try_from(number(3)?).ok()?,
        cpu_ticks: number(11)? + number(12)?,
        start_ticks: number(19)?,
        rss_pages: number(21)?,
    })
}

/// `None` when there is no such process.
pub fn identity(pid: u32) -> Option<ProcessId> {
    Some(ProcessId { pid, start_ticks: stat(pid)?.start_ticks })
}

/// Whether it still runs; a zombie does not.
pub fn alive(process: &ProcessId) -> bool {
    stat(process.pid).is_some_and(|stat| stat.start_ticks == process.start_ticks && !stat.is_zombie)
}

/// The parent, its parent, and so on.
pub fn ancestry(pid: u32) -> Vec<u32> {
    let mut chain = Vec::new();
    let mut at = pid;
    while let Some(stat) = stat(at) {
        if stat.parent == 0 || chain.len() >= ANCESTRY_MAX {
            break;
        }
        chain.push(stat.parent);
        at = stat.parent;
    }
    chain
}

/// A variable of the environment a process was started with.
pub fn env_var(pid: u32, name: &str) -> Option<OsString> {
    let file = std::fs::File::open(format!("/proc/{pid}/environ")).ok()?;
    let mut environ = Vec::new();
    file.take(ENVIRON_BYTES_MAX).read_to_end(&mut environ).ok()?;
    find_var(&environ, name).map(|value| OsString::from_vec(value.to_vec()))
}

fn find_var<'a>(environ: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut variables = environ.split(|byte| *byte == 0);
    variables.find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

fn pids() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Every living process that was started with this variable.
pub fn tagged(name: &str, value: &str) -> Vec<ProcessId> {
    let carries = |pid: &u32| env_var(*pid, name).is_some_and(|found| found.as_bytes() == value.as_bytes());
    pids().into_iter().filter(carries).filter_map(identity).filter(alive).collect()
}

/// Children, their children, and so on, of a process that lives.
pub fn descendants(pid: u32) -> Vec<ProcessId> {
    let mut children: HashMap<u32, Vec<ProcessId>> = HashMap::new();
    for pid in pids() {
        if let Some(stat) = stat(pid) {
            children.entry(stat.parent).or_default().push(ProcessId { pid, start_ticks: stat.start_ticks });
        }
    }
    let mut found = Vec::new();
    let mut seen = HashSet::from([pid]);
    let mut next = vec![pid];
    while let Some(at) = next.pop() {
        for child in children.remove(&at).unwrap_or_default() {
            if seen.insert(child.pid) {
                next.push(child.pid);
                found.push(child);
            }
        }
    }
    found
}

pub fn session_members(session: u32) -> Vec<ProcessId> {
    let member = |pid| {
        let stat = stat(pid)?;
        (stat.session == session && !stat.is_zombie).then_some(ProcessId { pid, start_ticks: stat.start_ticks })
    };
    pids().into_iter().filter_map(member).collect()
}

/// Resident memory.
pub fn rss_bytes(pid: u32) -> Option<u64> {
    Some(stat(pid)?.rss_pages * rustix::param::page_size() as u64)
}

/// Processor time used so far.
pub fn cpu_ms(pid: u32) -> Option<u64> {
    Some(stat(pid)?.cpu_ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// Memory that could be had without swapping. `None` where the system does not say: then nothing may be refused.
pub fn memory_available_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// How often the kernel has ended a process of our control group for want of memory.
pub fn oom_kills() -> Option<u64> {
    let cgroup = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let events = std::fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.events")).ok()?;
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
}

/// Readable when the process ends; works for processes that are not our children.
pub fn pidfd_open(pid: u32) -> Option<OwnedFd> {
    #[cfg(target_os = "linux")]
    {
        let pid = to_pid(pid)?;
        rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = pid;
        None
    }
}

/// Orphans of our descendants become our children. `false` where the system has no such thing.
pub fn set_subreaper() -> bool {
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_child_subreaper(rustix::process::getpid().into()).is_ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        false
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Reaped {
    pub process: ProcessId,
    pub status: ExitStatus,
}

/// Takes the status of one child that has ended, if there is one.
pub fn reap_any() -> Option<Reaped> {
    use std::os::unix::process::ExitStatusExt as _;
    // First a look that leaves the zombie: its start time is gone with it.
    let options = rustix::process::WaitIdOptions::EXITED
        | rustix::process::WaitIdOptions::NOHANG
        | rustix::process::WaitIdOptions::NOWAIT;
    // SAFETY: an all-zero siginfo_t is a valid one, and waitid only writes into it.
    let pid = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::c_int::try_from(options.bits()).unwrap_or(0);
        if libc::waitid(libc::P_ALL, 0, &raw mut info, flags) != 0 {
            return None;
        }
        info.si_pid()
    };
    let pid = u32::try_from(pid).ok().filter(|pid| *pid != 0)?;
    let process = identity(pid).unwrap_or(ProcessId { pid, start_ticks: 0 });
    let (_, status) = rustix::process::waitpid(to_pid(pid), WaitOptions::NOHANG).ok()??;
    Some(Reaped { process, status: ExitStatus::from_raw(status.as_raw()) })
}

/// Raises the soft limit of open files towards `want`; what it is then.
pub fn raise_nofile_limit(want: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let current = now.current.unwrap_or(u64::MAX);
    let target = want.min(now.maximum.unwrap_or(u64::MAX));
    if target <= current {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(target), maximum: now.maximum }) {
        Ok(()) => target,
        Err(_) => current,
    }
}

/// Descriptors this process has open.
pub fn fd_count() -> usize {
    // The directory being read is one of them.
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1))
}

pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Changes with every start of the machine. Empty where it is not known.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

pub fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

pub fn parent_pid() -> Option<u32> {
    u32::try_from(rustix::process::getppid()?.as_raw_nonzero().get()).ok()
}

/// The command line of a process, for people.
pub fn command_line(pid: u32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<_> = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty()).collect();
    Some(words.iter().map(|word| OsStr::from_bytes(word).to_string_lossy()).collect::<Vec<_>>().join(" "))
}

pub(crate) fn to_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

pub(crate) fn no_such(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_know_ourselves() {
        let me = identity(std::process::id()).unwrap();
        assert!(alive(&me));
        assert!(!alive(&ProcessId { start_ticks: me.start_ticks + 1, ..me }));
        assert!(rss_bytes(me.pid).unwrap() > 100_000);
        assert_eq!(ancestry(me.pid).first().copied(), parent_pid());
        assert!(memory_available_bytes().is_some());
    }

    #[test]
    fn variables_are_found_whole() {
        let environ = b"A=1\0AGENT=x=y\0B=\0";
        assert_eq!(find_var(environ, "AGENT"), Some(&b"x=y"[..]));
        assert_eq!(find_var(environ, "B"), Some(&b""[..]));
        assert_eq!(find_var(environ, "AGEN"), None);
    }
}
