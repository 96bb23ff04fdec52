//! Processes as the system knows them: identity beyond pid reuse, ancestry, tags, and what they use.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::process::ExitStatus;

use rustix::process::{Pid, WaitOptions};

use crate::os;

/// A process beyond pid reuse: the pid, and when the kernel started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    pub pid: u32,
    pub start_ticks: u64,
}

/// Deeper trees are not followed: a chain that long is a fork bomb, not an ancestry.
const ANCESTRY_MAX: usize = 128;

/// So often a tree that changes while it is walked is walked again.
const WALKS_MAX: usize = 16;

/// `None` when there is no such process.
pub fn identity(pid: u32) -> Option<ProcessId> {
    Some(os::row(pid)?.id)
}

/// Whether it still runs; a zombie does not, nor does a later process of that pid.
pub fn alive(process: &ProcessId) -> bool {
    os::row(process.pid).is_some_and(|row| row.id == *process && !row.is_dead)
}

/// A process as one of a line of parents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kin {
    pub id: ProcessId,
    pub session: u32,
}

/// What a walk up the tree came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// Whoever has no parent: init, or what entered our part of the system from outside.
    Top,
    /// A living parent that the system does not show us, as it may with those of other users.
    Hidden,
    /// Nothing: the line is too long to be followed.
    Cut,
    /// Nothing: the process itself has ended, or the tree does not hold still.
    Lost,
}

/// A process, its parent, and so on, as they were all at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// Itself first; empty when it is lost.
    pub line: Vec<Kin>,
    pub root: Root,
}

/// Who a process comes from. Two walks that see the same are one moment; a process that has ended comes from nobody.
pub fn lineage(pid: u32) -> Lineage {
    let mut before = None;
    for _ in 0..WALKS_MAX {
        let Some(itself) = os::row(pid).filter(|row| !row.is_dead) else { break };
        let seen = walk(itself);
        match seen {
            Some(lineage) if before.as_ref() == Some(&lineage) => return lineage,
            seen => before = seen,
        }
    }
    Lineage { line: Vec::new(), root: Root::Lost }
}

/// `None` when somebody ended on the way.
fn walk(itself: Row) -> Option<Lineage> {
    let mut at = itself;
    let mut line = vec![Kin { id: at.id, session: at.session }];
    let root = loop {
        if at.parent == 0 {
            break Root::Top;
        }
        if line.len() > ANCESTRY_MAX {
            break Root::Cut;
        }
        match os::row(at.parent) {
            // A parent is older than its child, also one that adopted it.
            Some(parent) if parent.id.start_ticks <= at.id.start_ticks => {
                line.push(Kin { id: parent.id, session: parent.session });
                at = parent;
            }
            later => {
                // A process whose parent ended has another one; whose parent is still the same has a living one.
                let again = os::row(at.id.pid)?;
                if later.is_some() || (again.id, again.parent) != (at.id, at.parent) {
                    return None;
                }
                break Root::Hidden;
            }
        }
    };
    Some(Lineage { line, root })
}

/// The parent, its parent, and so on, as far as they can be seen.
pub fn ancestry(pid: u32) -> Vec<u32> {
    line(pid, |pid| os::row(pid).map(|row| row.parent))
}

/// The same, as of one look at all of them.
pub(crate) fn ancestry_in(table: &[Row], pid: u32) -> Vec<u32> {
    line(pid, |pid| table.iter().find(|row| row.id.pid == pid).map(|row| row.parent))
}

fn line(pid: u32, parent: impl Fn(u32) -> Option<u32>) -> Vec<u32> {
    let known = |pid: &u32| parent(*pid).filter(|parent| *parent != 0);
    std::iter::successors(known(&pid), known).take(ANCESTRY_MAX).collect()
}

/// A variable of the environment a process was started with.
pub fn env_var(pid: u32, name: &str) -> Option<OsString> {
    find_var(&os::environ(pid)?, name).map(|value| OsString::from_vec(value.to_vec()))
}

fn find_var<'a>(environ: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut variables = environ.split(|byte| *byte == 0);
    variables.find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// Variables, all of which somebody was started with; without any it is nobody.
pub type Tags<'a> = &'a [(&'a str, &'a OsStr)];

/// Every living process that was started with these.
pub fn tagged(tags: Tags<'_>) -> Vec<ProcessId> {
    tagged_in(&os::table(), tags).collect()
}

pub(crate) fn tagged_in(table: &[Row], tags: Tags<'_>) -> impl Iterator<Item = ProcessId> {
    let has_all = move |environ: Vec<u8>| {
        tags.iter().all(|(name, value)| find_var(&environ, name).is_some_and(|found| found == value.as_bytes()))
    };
    let carries = move |row: &&Row| !tags.is_empty() && os::environ(row.id.pid).is_some_and(has_all);
    // The environment was read by pid; that it was this process's is seen by its still being there.
    table.iter().filter(|row| !row.is_dead).filter(carries).map(|row| row.id).filter(alive)
}

/// Children that live, their children, and so on.
pub fn descendants(pid: u32) -> Vec<ProcessId> {
    let table = os::table();
    let family = with_descendants(&table, [pid].into());
    let below = table.iter().filter(|row| row.id.pid != pid && !row.is_dead && family.contains(&row.id.pid));
    below.map(|row| row.id).collect()
}

/// The pids in `roots` and of all who come from them.
pub(crate) fn with_descendants(table: &[Row], roots: BTreeSet<u32>) -> BTreeSet<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for row in table {
        children.entry(row.parent).or_default().push(row.id.pid);
    }
    let mut open: Vec<u32> = roots.iter().copied().collect();
    let mut family = roots;
    while let Some(pid) = open.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if family.insert(*child) {
                open.push(*child);
            }
        }
    }
    family
}

pub fn session_members(session: u32) -> Vec<ProcessId> {
    os::table().iter().filter(|row| row.session == session && !row.is_dead).map(|row| row.id).collect()
}

/// Processes that live and have their working directory in this one or below. What the system does not show, which is
/// other users' processes on most and all of them on some, is not among them.
pub fn working_in(dir: &Path) -> io::Result<Vec<ProcessId>> {
    let dir = dir.canonicalize()?;
    let table = os::table();
    let there = table.iter().filter(|row| !row.is_dead && os::cwd(row.id.pid).is_some_and(|cwd| cwd.starts_with(&dir)));
    // Read by pid; that it was this process's is seen by its still being there.
    Ok(there.map(|row| row.id).filter(alive).collect())
}

/// Resident memory.
pub fn rss_bytes(pid: u32) -> Option<u64> {
    Some(os::row(pid)?.rss_bytes)
}

/// Processor time used so far, that of ended children not counted.
pub fn cpu_ms(pid: u32) -> Option<u64> {
    Some(os::row(pid)?.cpu_ms)
}

/// Memory that could be had without swapping, on the machine or in our control group, whichever has less. `None`
/// where the system does not say: then nothing may be refused.
pub fn memory_available_bytes() -> Option<u64> {
    os::memory_available_bytes()
}

/// How often the kernel has ended a process for want of memory, in our control group or, where that does not say, on
/// the machine. A difference is evidence; no difference proves nothing.
pub fn oom_kills() -> Option<u64> {
    os::oom_kills()
}

/// Readable when the process ends; works for processes that are not our children. That it is the right one is only
/// sure if it is [`alive`] after this.
pub fn pidfd_open(pid: u32) -> Option<OwnedFd> {
    os::pidfd_open(pid)
}

/// Orphans of our descendants become our children. `false` where the system has no such thing.
pub fn set_subreaper() -> bool {
    os::set_subreaper()
}

#[derive(Debug, Clone, Copy)]
pub struct Reaped {
    pub process: ProcessId,
    pub status: ExitStatus,
}

/// Takes the status of one child that has ended, if there is one. Any child: a process that reaps like this must not
/// also wait for one by its [`crate::spawn::Child`].
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

/// Descriptors this process has open; 0 where the system does not say.
pub fn fd_count() -> usize {
    os::fd_count().unwrap_or(0)
}

pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Changes with every start of the machine. Empty where it is not known.
pub fn boot_id() -> String {
    os::boot_id().unwrap_or_default()
}

pub fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

pub fn parent_pid() -> Option<u32> {
    u32::try_from(rustix::process::getppid()?.as_raw_nonzero().get()).ok()
}

/// The command line of a process, for people.
pub fn command_line(pid: u32) -> Option<String> {
    os::command_line(pid)
}

/// The words of a command line.
pub fn arguments(pid: u32) -> Option<Vec<String>> {
    os::arguments(pid).filter(|words| !words.is_empty())
}

/// The process group that has the keyboard of the terminal this process belongs to, whoever that is of.
pub fn foreground_group(pid: u32) -> Option<u32> {
    os::foreground_group(pid)
}

/// Whether a process does anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// It waits for something.
    pub is_asleep: bool,
    /// How often it has given up a processor: with the same number later it has done nothing between.
    pub turns: u64,
}

/// `None` where the system does not tell.
pub fn rest(pid: u32) -> Option<Rest> {
    os::rest(pid)
}

/// One line of the process table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) id: ProcessId,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) session: u32,
    /// Ended; only its status is left.
    pub(crate) is_dead: bool,
    pub(crate) cpu_ms: u64,
    pub(crate) rss_bytes: u64,
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
    fn a_line_of_parents_ends_somewhere_and_the_ended_have_none() {
        let me = lineage(std::process::id());
        assert_eq!(me.line[0].id, identity(std::process::id()).unwrap());
        assert_eq!(me.line.get(1).map(|kin| kin.id.pid), parent_pid());
        assert!(matches!(me.root, Root::Top | Root::Hidden), "{me:?}");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let zombie = child.id();
        while alive(&ProcessId { pid: zombie, start_ticks: identity(zombie).unwrap().start_ticks }) {
            std::thread::yield_now();
        }
        assert_eq!(lineage(zombie).root, Root::Lost, "a status that nobody took is not a process");
        child.wait().unwrap();
        assert_eq!(lineage(zombie), Lineage { line: Vec::new(), root: Root::Lost });
    }

    #[test]
    fn who_sleeps_is_told_from_who_runs() {
        let mut sleeps = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let mut runs = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        while !rest(sleeps.id()).unwrap().is_asleep || rest(runs.id()).unwrap().is_asleep {
            std::thread::yield_now();
        }
        let (asleep, awake) = (rest(sleeps.id()), rest(runs.id()));
        while rest(runs.id()) == awake {
            std::thread::yield_now();
        }
        assert_eq!(rest(sleeps.id()), asleep);
        for child in [&mut sleeps, &mut runs] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(rest(sleeps.id()), None);
    }

    #[test]
    fn variables_are_found_whole() {
        let environ = b"A=1\0AGENT=x=y\0B=\0";
        assert_eq!(find_var(environ, "AGENT"), Some(&b"x=y"[..]));
        assert_eq!(find_var(environ, "B"), Some(&b""[..]));
        assert_eq!(find_var(environ, "AGEN"), None);
    }
}
