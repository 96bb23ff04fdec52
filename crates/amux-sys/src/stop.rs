//! The stop ladder: ask a whole process tree to end, wait, then end it and prove that it is gone.
//!
//! A tree is its leader, the leader's session and process group, everybody in its control group, every process that
//! carries its tag in the environment, which a child that left the session still does, and all who come from one of
//! these. Without a control group two escape: who has left all of these on purpose, and who is replaced by its own
//! child faster than the process table can be read.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use crate::process::{self, ProcessId, Row};
use crate::signals::{self, Signal};
use crate::{cgroup, os, poll};

/// What is to end, and how patiently.
#[derive(Debug, Clone, Copy)]
pub struct Ladder<'a> {
    pub leader: ProcessId,
    /// Name and value of a variable.
    pub tag: Option<(&'a str, &'a str)>,
    pub leaf: Option<&'a cgroup::Leaf>,
    /// Between asking and killing.
    pub grace: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopReport {
    /// What could not be ended: processes in the kernel's hands, or of another user, or a leader we descend from.
    pub survivors: Vec<ProcessId>,
    /// Whether asking was not enough.
    pub escalated: bool,
}

/// Blocks until the tree is gone, or proven not to be. The leader is not reaped.
pub fn stop_tree(leader: &ProcessId, tag: Option<(&str, &str)>, grace: Duration) -> StopReport {
    Ladder { leader: *leader, tag, leaf: None, grace }.run()
}

/// A fork in flight escapes one walk over the tree; more rounds than this means that something forks faster than we
/// can look, or does not die.
const KILL_ROUNDS_MAX: usize = 20;

/// So often a tree that is being held still is looked at again for children that it had just then.
const HOLD_ROUNDS_MAX: usize = 10;

/// How long those who were told to stand still may take to do so. Who is in the kernel's hands never does.
const HOLD_PATIENCE: Duration = Duration::from_millis(100);

/// Between two looks at whether they do.
const HOLD_PAUSE: Duration = Duration::from_millis(1);

/// While nobody ends, the tree is looked at again so often for who has joined it since it was asked.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How long the kernel may take to carry out the kills of one round.
const KILL_PATIENCE: Duration = Duration::from_millis(100);

impl Ladder<'_> {
    /// Blocks until the tree is gone, or proven not to be. The leader is not reaped.
    pub fn run(&self) -> StopReport {
        let deadline = Instant::now() + self.grace;
        let mut tree = Tree::of(self);
        let mut asked = BTreeSet::new();
        loop {
            tree.look();
            if tree.is_gone() {
                return StopReport { survivors: tree.spared_leader().into_iter().collect(), escalated: false };
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            for member in tree.living.iter().filter(|member| asked.insert(**member)) {
                // A shell at its prompt ends by Hup only; one that is stopped hears nothing before it goes on.
                for signal in [Signal::Term, Signal::Hup, Signal::Cont] {
                    let _ = signals::send_to(member, signal);
                }
            }
            wait_for_any(&tree.living, left.min(LOOK_AGAIN));
        }
        StopReport { survivors: tree.kill(), escalated: true }
    }
}

/// A tree as it is seen again and again while it falls apart.
struct Tree<'a> {
    ladder: &'a Ladder<'a>,
    /// Everybody who was ever seen in it: a child whose parent has ended is still one of them.
    seen: BTreeSet<ProcessId>,
    living: BTreeSet<ProcessId>,
    /// Who did not come to stand still, and is not waited for again.
    restless: BTreeSet<ProcessId>,
    /// We, and those we come from, are never part of it: a server that was started from inside an agent's tree stops
    /// the agent and not itself.
    spared: BTreeSet<u32>,
}

impl<'a> Tree<'a> {
    fn of(ladder: &'a Ladder<'a>) -> Self {
        let me = std::process::id();
        let spared = process::ancestry(me).into_iter().chain([me]).collect();
        let [seen, living, restless] = [const { BTreeSet::new() }; 3];
        Self { ladder, seen, living, restless, spared }
    }

    fn look(&mut self) {
        // Not by way of us either: what we started is not the leader's because somebody of its tree started us.
        let table: Vec<Row> = os::table().into_iter().filter(|row| !self.spared.contains(&row.id.pid)).collect();
        let by_tag = self.ladder.tag.into_iter().flat_map(|(name, value)| process::tagged_in(&table, name, value));
        let tagged: BTreeSet<u32> = by_tag.map(|process| process.pid).collect();
        let grouped: BTreeSet<u32> = self.ladder.leaf.map(cgroup::Leaf::pids).unwrap_or_default().into_iter().collect();
        let led = self.leads(&table);
        let belongs = |row: &&Row| {
            let pid = row.id.pid;
            let is_led = led && (row.session == self.ladder.leader.pid || row.group == self.ladder.leader.pid);
            row.id == self.ladder.leader
                || (is_led && row.id.start_ticks >= self.ladder.leader.start_ticks)
                || tagged.contains(&pid)
                || grouped.contains(&pid)
                || self.seen.contains(&row.id)
        };
        let roots = table.iter().filter(belongs).map(|row| row.id.pid);
        let family = process::with_descendants(&table, roots.collect());
        let members = table.iter().filter(|row| !row.is_dead && family.contains(&row.id.pid));
        self.living = members.map(|row| row.id).collect();
        self.seen.extend(&self.living);
    }

    /// A walk over the table misses a process that is replaced by its child faster than we walk; the group does not.
    fn is_gone(&self) -> bool {
        self.living.is_empty() && !self.ladder.leaf.is_some_and(cgroup::Leaf::is_populated)
    }

    /// Whether a session or group of the leader's number is the leader's. The number is not given to another process
    /// while it names a session or a group, so only a process that has it and is another speaks against.
    fn leads(&self, table: &[Row]) -> bool {
        let leader = self.ladder.leader;
        table.iter().all(|row| row.id.pid != leader.pid || row.id == leader)
    }

    fn spared_leader(&self) -> Option<ProcessId> {
        let leader = self.ladder.leader;
        (self.spared.contains(&leader.pid) && process::alive(&leader)).then_some(leader)
    }

    /// Ends who is left, and names who does not end.
    fn kill(mut self) -> Vec<ProcessId> {
        for _ in 0..KILL_ROUNDS_MAX {
            if let Some(leaf) = self.ladder.leaf {
                let _ = leaf.kill();
            }
            self.hold_still();
            // The youngest first: who loses what leads its group or its terminal is told to go on.
            let mut dying: Vec<ProcessId> = self.living.iter().copied().collect();
            dying.sort_unstable_by_key(|member| Reverse((member.start_ticks, member.pid)));
            for member in &dying {
                let _ = signals::send_to(member, Signal::Kill);
            }
            wait_for_all(&self.living, KILL_PATIENCE);
            self.look();
            if self.is_gone() {
                break;
            }
        }
        self.spared_leader().into_iter().chain(self.living).collect()
    }

    /// What stands still cannot fork away from the walk. Being told to is not enough: a fork that has begun goes on, and
    /// its child may come after the walk.
    fn hold_still(&mut self) {
        let mut held = BTreeSet::new();
        for _ in 0..HOLD_ROUNDS_MAX {
            let moving: Vec<ProcessId> = self.living.difference(&held).copied().collect();
            if moving.is_empty() {
                return;
            }
            for member in &moving {
                let _ = signals::send_to(member, Signal::Stop);
            }
            self.wait_for_stillness(&moving);
            held.extend(moving);
            self.look();
        }
    }

    fn wait_for_stillness(&mut self, moving: &[ProcessId]) {
        let deadline = Instant::now() + HOLD_PATIENCE;
        let mut left: Vec<ProcessId> =
            moving.iter().filter(|member| !self.restless.contains(member)).copied().collect();
        loop {
            left.retain(|member| !os::stands_still(member.pid));
            if left.is_empty() {
                return;
            }
            if Instant::now() >= deadline {
                self.restless.extend(left);
                return;
            }
            std::thread::sleep(HOLD_PAUSE);
        }
    }
}

/// More are not watched at once; they are looked for in the table anyhow.
const WATCHED_MAX: usize = 256;

fn wait_for_any(members: &BTreeSet<ProcessId>, at_most: Duration) {
    let watched: Vec<OwnedFd> =
        members.iter().take(WATCHED_MAX).filter_map(|member| process::pidfd_open(member.pid)).collect();
    let ends: Vec<_> = watched.iter().map(|pidfd| pidfd.as_fd()).collect();
    // With nobody to watch, for want of descriptors or of pidfds, this is a short sleep.
    let at_most = if ends.is_empty() { at_most.min(Duration::from_millis(10)) } else { at_most };
    let _ = poll::wait(&ends, Some(at_most));
}

fn wait_for_all(members: &BTreeSet<ProcessId>, at_most: Duration) {
    let deadline = Instant::now() + at_most;
    let mut left = members.clone();
    loop {
        left.retain(process::alive);
        let time = deadline.saturating_duration_since(Instant::now());
        if left.is_empty() || time.is_zero() {
            return;
        }
        wait_for_any(&left, time);
    }
}
