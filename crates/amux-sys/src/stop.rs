//! The stop ladder: ask a whole process tree to end, wait, then end it and prove that it is gone.
//!
//! A tree is its leader, the leader's session and process group, everybody in its control group, every process that
//! carries its tags in the environment, which a child that left the session still does, and all who come from one of
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
    pub tags: process::Tags<'a>,
    pub leaf: Option<&'a cgroup::Leaf>,
    /// Between asking and killing.
    pub grace: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopReport {
    /// What could not be ended: processes in the kernel's hands, or of another user, or a leader we descend from. Who
    /// cannot be seen to have ended is among them.
    pub survivors: Vec<ProcessId>,
    /// Whether asking was not enough.
    pub escalated: bool,
}

/// Blocks until the tree is gone, or proven not to be. The leader is not reaped.
pub fn stop_tree(leader: &ProcessId, tags: process::Tags<'_>, grace: Duration) -> StopReport {
    Ladder { leader: *leader, tags, leaf: None, grace }.run()
}

/// A fork in flight escapes one walk over the tree; more rounds than this, which are two seconds, means that something
/// forks faster than we can look, or does not die.
const KILL_ROUNDS_MAX: usize = 20;

/// So often a tree that is being held still is looked at again for children that it had just then.
const HOLD_ROUNDS_MAX: usize = 10;

/// How long those who were told to stand still may take to do so. Who is in the kernel's hands never does.
const HOLD_PATIENCE: Duration = Duration::from_millis(100);

/// And all of a tree together, where others come again and again.
const STILLNESS_PATIENCE: Duration = Duration::from_secs(1);

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
            // Whom we cannot see we cannot reach either, and is asked when that is over.
            let told = tree.living.iter().filter(|_| tree.is_in_sight);
            for member in told.filter(|member| asked.insert(**member)) {
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
    /// Whether the newest look showed anything: for want of descriptors or of processes it may not.
    is_in_sight: bool,
    /// Who did not come to stand still, and is not waited for again.
    restless: BTreeSet<ProcessId>,
    /// For how long it is still waited that they do.
    patience: Duration,
    /// We, and those we come from, are never part of it: a server that was started from inside an agent's tree stops
    /// the agent and not itself. Nobody before the first look.
    spared: BTreeSet<u32>,
}

impl<'a> Tree<'a> {
    fn of(ladder: &'a Ladder<'a>) -> Self {
        let [seen, restless] = [const { BTreeSet::new() }; 2];
        let spared = BTreeSet::new();
        let living = BTreeSet::from([ladder.leader]);
        Self { ladder, seen, living, is_in_sight: false, restless, patience: STILLNESS_PATIENCE, spared }
    }

    fn look(&mut self) {
        let (me, table) = (std::process::id(), os::table());
        // Who does not see itself sees nothing, and that nobody is there is no news then.
        self.is_in_sight = table.iter().any(|row| row.id.pid == me);
        if !self.is_in_sight {
            return;
        }
        if self.spared.is_empty() {
            self.spared = process::ancestry_in(&table, me).into_iter().chain([me]).collect();
        }
        // Not by way of us either: what we started is not the leader's because somebody of its tree started us.
        let table: Vec<Row> = table.into_iter().filter(|row| !self.spared.contains(&row.id.pid)).collect();
        let tagged: BTreeSet<u32> = process::tagged_in(&table, self.ladder.tags).map(|process| process.pid).collect();
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
        self.is_in_sight && self.living.is_empty() && !self.ladder.leaf.is_some_and(cgroup::Leaf::is_populated)
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
            if !self.is_in_sight {
                std::thread::sleep(KILL_PATIENCE);
                self.look();
                continue;
            }
            if self.is_gone() {
                break;
            }
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
            // Who must not be told, as another user's, is not waited for.
            let told = |member: &&ProcessId| matches!(signals::send_to(member, Signal::Stop), Ok(true));
            let told: Vec<ProcessId> = moving.iter().filter(told).copied().collect();
            self.wait_for_stillness(&told);
            held.extend(moving);
            self.look();
        }
    }

    fn wait_for_stillness(&mut self, told: &[ProcessId]) {
        let began = Instant::now();
        let patience = HOLD_PATIENCE.min(self.patience);
        let mut left: Vec<ProcessId> = told.iter().filter(|member| !self.restless.contains(member)).copied().collect();
        loop {
            left.retain(|member| began.elapsed() >= patience || !os::stands_still(member.pid));
            if left.is_empty() || began.elapsed() >= patience {
                break;
            }
            std::thread::sleep(HOLD_PAUSE);
        }
        self.restless.extend(left);
        self.patience = self.patience.saturating_sub(began.elapsed());
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
