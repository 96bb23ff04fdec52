//! The stop ladder: ask a whole process tree to end, wait, then end it and prove that it is gone.
//!
//! A tree is its leader's session, the leader's descendants, and every process that carries the leader's tag in its
//! environment, which a child that left the session still does.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use crate::process::{self, ProcessId};
use crate::signals::{self, Signal};
use crate::poll;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopReport {
    /// What could not be ended: processes in the kernel's hands, or of another user.
    pub survivors: Vec<ProcessId>,
    /// Whether asking was not enough.
    pub escalated: bool,
}

/// A fork in flight escapes one walk over the tree; more rounds than this means that something forks faster than we
/// can look.
const KILL_ROUNDS_MAX: usize = 20;

/// Between two looks at a tree that has no leader to wait on any more.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// After SIGKILL the kernel needs a moment to take a process down.
const KILL_PATIENCE: Duration = Duration::from_millis(500);

/// Blocks until the tree is gone, or proven not to be.
pub fn stop_tree(leader: &ProcessId, tag: Option<(&str, &str)>, grace: Duration) -> StopReport {
    let deadline = Instant::now() + grace;
    // Who belongs is looked up while the leader lives: its descendants are anybody's children afterwards.
    let mut known: BTreeSet<ProcessId> = members(leader, tag);
    for member in &known {
        for signal in [Signal::Hup, Signal::Term, Signal::Cont] {
            let _ = signals::send(member.pid, signal);
        }
    }
    loop {
        known.extend(members(leader, tag));
        known.retain(process::alive);
        if known.is_empty() {
            return StopReport { survivors: Vec::new(), escalated: false };
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        wait_for_one(&known, left);
    }
    StopReport { survivors: kill_all(leader, tag, known), escalated: true }
}

fn kill_all(leader: &ProcessId, tag: Option<(&str, &str)>, mut known: BTreeSet<ProcessId>) -> Vec<ProcessId> {
    let patience = Instant::now() + KILL_PATIENCE;
    for round in 0.. {
        // Stopped first: a tree that stands still cannot fork away from the walk.
        for signal in [Signal::Stop, Signal::Kill] {
            known.extend(members(leader, tag));
            for member in known.iter().filter(|member| process::alive(member)) {
                let _ = signals::send(member.pid, signal);
            }
        }
        known.extend(members(leader, tag));
        known.retain(process::alive);
        if known.is_empty() || (round >= KILL_ROUNDS_MAX && Instant::now() >= patience) {
            break;
        }
        wait_for_one(&known, LOOK_AGAIN);
    }
    known.into_iter().collect()
}

fn members(leader: &ProcessId, tag: Option<(&str, &str)>) -> BTreeSet<ProcessId> {
    let mut found = BTreeSet::new();
    // The pid may be somebody else's by now; then only the tag still says who belongs.
    if process::identity(leader.pid) == Some(*leader) {
        found.insert(*leader);
        found.extend(process::descendants(leader.pid));
        found.extend(process::session_members(leader.pid));
    }
    if let Some((name, value)) = tag {
        found.extend(process::tagged(name, value));
    }
    found.remove(&ProcessId { pid: std::process::id(), ..*leader });
    found.retain(|member| member.pid != std::process::id());
    found
}

fn wait_for_one(known: &BTreeSet<ProcessId>, at_most: Duration) {
    let first = known.iter().next().and_then(|member| process::pidfd_open(member.pid));
    match first {
        Some(pidfd) => {
            // A member that was reaped meanwhile makes this return at once, which is as good.
            let _ = poll::wait(&[pidfd.as_fd()], Some(at_most.min(LOOK_AGAIN * 10)));
        }
        None => std::thread::sleep(LOOK_AGAIN.min(at_most)),
    }
}
