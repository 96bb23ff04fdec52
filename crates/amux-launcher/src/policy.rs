//! When the server is started again, as data: what kind of death it was, how often that kind is forgiven, and how
//! long to wait. Pure: exit statuses, evidence, time and randomness come in. `machine` asks; nobody else does.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use amux_proto::exit::SrvExit;

/// Every number the supervisor decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// From spawn to ready, counted anew from every sign of progress.
    pub start_ms: u64,
    /// Progress or not: the longest a start may take. A migration of a big store is minutes, never an hour.
    pub start_max_ms: u64,
    /// A server that pings and then is silent for so long is hung. Told to it as `WATCHDOG_USEC`.
    pub watchdog_ms: u64,
    /// From the request to stop to the kill. More than the server's own grace for its agents (5 s), so that it can
    /// finish what it promised to finish.
    pub stop_ms: u64,
    /// Progress or not: the longest a stop may take; more than the longest grace an agent can be given (60 s).
    pub stop_max_ms: u64,
    /// Between the signal that lets a hung or late server say its last words and the one that does not.
    pub last_words_ms: u64,
    /// What is left of the agents after the server ended gets so long between SIGTERM and SIGKILL.
    pub orphan_grace_ms: u64,
    pub crash: Rung,
    pub hung: Rung,
    pub out_of_memory: Rung,
    pub not_ready: Rung,
    pub not_started: Rung,
    pub restart_asked: Rung,
}

/// How one kind of death is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung {
    /// So many deaths of this kind within the window end the supervision. `None`: never.
    pub deaths_max: Option<u32>,
    pub window_ms: u64,
    /// The first deaths of a window are answered at once: a single crash must be a pause nobody notices.
    pub free: u32,
    /// The wait after those; it doubles with every further death up to the maximum.
    pub wait_ms: u64,
    pub wait_max_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        let crash = Rung { deaths_max: Some(5), window_ms: 60_000, free: 1, wait_ms: 250, wait_max_ms: 5_000 };
        Self {
            start_ms: 30_000,
            start_max_ms: 30 * 60_000,
            watchdog_ms: 15_000,
            stop_ms: 10_000,
            stop_max_ms: 90_000,
            last_words_ms: 2_000,
            orphan_grace_ms: 2_000,
            crash,
            // A hang takes the watchdog's time to notice, so the window is longer for the same patience.
            hung: Rung { window_ms: 300_000, ..crash },
            // Starting at once into a full memory only feeds the killer.
            out_of_memory: Rung {
                deaths_max: Some(5),
                window_ms: 600_000,
                free: 0,
                wait_ms: 1_000,
                wait_max_ms: 30_000,
            },
            // Three starts of thirty seconds each: who waits for this has long looked into the log.
            not_ready: Rung { deaths_max: Some(3), window_ms: 600_000, free: 1, wait_ms: 1_000, wait_max_ms: 10_000 },
            // A binary that is being replaced is absent for moments.
            not_started: Rung { deaths_max: Some(5), window_ms: 60_000, free: 0, wait_ms: 250, wait_max_ms: 2_000 },
            // Costs nothing, but a server that does nothing else must not spin.
            restart_asked: Rung { deaths_max: None, window_ms: 10_000, free: 10, wait_ms: 500, wait_max_ms: 5_000 },
        }
    }
}

/// Why a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Asked to stop, and did.
    Clean,
    /// Ended to be started again.
    RestartAsked,
    /// Said that starting it again cannot help.
    Refused(Refusal),
    /// Ended by itself, in no agreed way.
    Crash,
    /// Served, then fell silent; we killed it.
    Hung,
    /// The kernel took it for its memory.
    OutOfMemory,
    /// Asked to stop, did not, and was killed.
    KilledByUs,
    /// Did not become ready in time; we killed it.
    NotReady,
    /// Could not be run at all.
    NotStarted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    Fatal,
    Held,
    NewerSchema,
}

impl Refusal {
    pub fn exit(self) -> SrvExit {
        match self {
            Self::Fatal => SrvExit::Fatal,
            Self::Held => SrvExit::Held,
            Self::NewerSchema => SrvExit::NewerSchema,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fatal => "its store or configuration cannot be used",
            Self::Held => "another server holds the data directory",
            Self::NewerSchema => "the store was written by a newer agentmux",
        })
    }
}

impl Class {
    /// The word in the exit journal.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::RestartAsked => "restart_asked",
            Self::Refused(_) => "refused",
            Self::Crash => "crash",
            Self::Hung => "hung",
            Self::OutOfMemory => "out_of_memory",
            Self::KilledByUs => "killed_by_us",
            Self::NotReady => "not_ready",
            Self::NotStarted => "not_started",
        }
    }
}

/// How a process ended, as the kernel says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Code(i32),
    Signal(i32),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// What we did to the server before it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand {
    /// Nothing: whatever happened, happened without us.
    Off,
    /// Asked it to stop; it had time.
    Asked,
    /// Killed it after it had not stopped in time.
    KilledInStop,
    /// Killed it because it fell silent.
    KilledHung,
    /// Killed it because it did not become ready.
    KilledNotReady,
}

/// What else is known at the moment of the death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    pub hand: Hand,
    pub was_ready: bool,
    pub memory: Memory,
}

/// Evidence about memory; `None` where the system does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    pub available_bytes: Option<u64>,
    /// Did the kernel's count of out-of-memory kills grow since we last looked, moments before?
    pub killer_was_here: Option<bool>,
}

/// With less than this left the killer is the likeliest author of a SIGKILL that was not ours.
const MEMORY_LOW_BYTES: u64 = 128 << 20;

const SIGKILL: i32 = 9;

pub fn classify(status: Status, context: Context) -> Class {
    match (context.hand, status) {
        // Whoever was being killed and still ended with a proper answer gave that answer.
        (Hand::KilledHung, _) => Class::Hung,
        (Hand::KilledNotReady, Status::Code(code)) => match refusal(code) {
            Some(refusal) => Class::Refused(refusal),
            None => Class::NotReady,
        },
        (Hand::KilledNotReady, Status::Signal(_)) => Class::NotReady,
        (Hand::KilledInStop | Hand::Asked, Status::Code(0)) => Class::Clean,
        // A program that leaves content before it ever served is not a server.
        (Hand::Off, Status::Code(0)) if context.was_ready => Class::Clean,
        (Hand::Off, Status::Code(0)) => Class::Crash,
        (Hand::KilledInStop, _) => Class::KilledByUs,
        (Hand::Asked | Hand::Off, Status::Code(code)) => match SrvExit::from_code(code) {
            // One that never served and asks again would ask for ever.
            Some(SrvExit::Restart) if context.was_ready => Class::RestartAsked,
            _ => refusal(code).map_or(Class::Crash, Class::Refused),
        },
        (Hand::Asked | Hand::Off, Status::Signal(SIGKILL)) if took_for_memory(context.memory) => Class::OutOfMemory,
        (Hand::Asked | Hand::Off, Status::Signal(_)) => Class::Crash,
    }
}

fn refusal(code: i32) -> Option<Refusal> {
    match SrvExit::from_code(code)? {
        SrvExit::Fatal => Some(Refusal::Fatal),
        SrvExit::Held => Some(Refusal::Held),
        SrvExit::NewerSchema => Some(Refusal::NewerSchema),
        SrvExit::Clean | SrvExit::Restart => None,
    }
}

/// No reading is no evidence: an unknown memory must never slow a restart down.
fn took_for_memory(memory: Memory) -> bool {
    memory.killer_was_here.unwrap_or(false) || memory.available_bytes.is_some_and(|bytes| bytes < MEMORY_LOW_BYTES)
}

/// What follows a death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The work is done; end well.
    End,
    /// Starting again cannot help; end and say so.
    Refuse(Refusal),
    RestartAfter {
        wait_ms: u64,
    },
    GiveUp,
}

/// The deaths that still count, and how many there were of each class in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Bounded: a class never keeps more than [`RECENT_MAX`] moments.
    recent: BTreeMap<Class, VecDeque<u64>>,
    total: BTreeMap<Class, u64>,
}

/// More moments than any budget compares with.
const RECENT_MAX: usize = 64;

impl Record {
    /// Counts the death and says what follows. `random` spreads the waits of many launchers on one machine.
    pub fn judge(&mut self, class: Class, served_before: bool, policy: &Policy, now_ms: u64, random: u64) -> Verdict {
        *self.total.entry(class).or_default() += 1;
        let rung = match class {
            Class::Clean | Class::KilledByUs => return Verdict::End,
            Class::Refused(refusal) => return Verdict::Refuse(refusal),
            // The first start of all: somebody waits for it, and a program that is not there will not come.
            Class::NotStarted if !served_before => return Verdict::GiveUp,
            Class::RestartAsked => policy.restart_asked,
            Class::Crash => policy.crash,
            Class::Hung => policy.hung,
            Class::OutOfMemory => policy.out_of_memory,
            Class::NotReady => policy.not_ready,
            Class::NotStarted => policy.not_started,
        };
        let recent = self.recent.entry(class).or_default();
        recent.retain(|at| now_ms.saturating_sub(*at) < rung.window_ms);
        recent.push_back(now_ms);
        if recent.len() > RECENT_MAX {
            recent.pop_front();
        }
        let deaths = u32::try_from(recent.len()).unwrap_or(u32::MAX);
        if rung.deaths_max.is_some_and(|most| deaths >= most) {
            return Verdict::GiveUp;
        }
        Verdict::RestartAfter { wait_ms: wait(rung, deaths, random) }
    }

    /// `3 crash, 1 hung`: for the last word.
    pub fn counts(&self) -> String {
        let counts: Vec<String> = self.total.iter().map(|(class, count)| format!("{count} {}", class.word())).collect();
        counts.join(", ")
    }
}

fn wait(rung: Rung, deaths: u32, random: u64) -> u64 {
    let Some(doublings) = deaths.checked_sub(rung.free + 1) else { return 0 };
    let full = rung.wait_ms.saturating_mul(1 << doublings.min(20)).min(rung.wait_max_ms);
    // Three quarters to the whole of it.
    full - full / 4 * (random % 1024) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Memory = Memory { available_bytes: Some(8 << 30), killer_was_here: Some(false) };

    #[test]
    fn every_death_has_its_class() {
        let low = Memory { available_bytes: Some(1 << 20), killer_was_here: None };
        let killer = Memory { available_bytes: Some(8 << 30), killer_was_here: Some(true) };
        let unknown = Memory::default();
        use Hand::*;
        let cases: &[(Status, Hand, bool, Memory, Class)] = &[
            (Status::Code(0), Off, true, CALM, Class::Clean),
            (Status::Code(0), Off, false, CALM, Class::Crash),
            (Status::Code(0), Asked, false, CALM, Class::Clean),
            (Status::Code(0), KilledInStop, true, CALM, Class::Clean),
            (Status::Code(64), Off, true, CALM, Class::RestartAsked),
            (Status::Code(64), Asked, true, CALM, Class::RestartAsked),
            (Status::Code(64), Off, false, CALM, Class::Crash),
            (Status::Code(70), Off, false, CALM, Class::Refused(Refusal::Fatal)),
            (Status::Code(71), Off, false, CALM, Class::Refused(Refusal::Held)),
            (Status::Code(72), Off, true, CALM, Class::Refused(Refusal::NewerSchema)),
            (Status::Code(72), KilledNotReady, false, CALM, Class::Refused(Refusal::NewerSchema)),
            (Status::Code(1), Off, true, CALM, Class::Crash),
            (Status::Code(101), Asked, true, CALM, Class::Crash),
            (Status::Signal(11), Off, true, low, Class::Crash),
            (Status::Signal(15), Off, true, CALM, Class::Crash),
            (Status::Signal(9), Off, true, CALM, Class::Crash),
            (Status::Signal(9), Off, true, unknown, Class::Crash),
            (Status::Signal(9), Off, true, low, Class::OutOfMemory),
            (Status::Signal(9), Off, true, killer, Class::OutOfMemory),
            (Status::Signal(9), KilledInStop, true, low, Class::KilledByUs),
            (Status::Signal(9), KilledHung, true, killer, Class::Hung),
            (Status::Signal(6), KilledHung, true, CALM, Class::Hung),
            (Status::Code(0), KilledHung, true, CALM, Class::Hung),
            (Status::Signal(9), KilledNotReady, false, CALM, Class::NotReady),
            (Status::Code(0), KilledNotReady, false, CALM, Class::NotReady),
            (Status::Code(1), KilledNotReady, false, CALM, Class::NotReady),
        ];
        for (status, hand, was_ready, memory, class) in cases {
            let context = Context { hand: *hand, was_ready: *was_ready, memory: *memory };
            assert_eq!(classify(*status, context), *class, "{status} {context:?}");
        }
    }

    #[test]
    fn the_first_crash_is_answered_at_once_and_the_fifth_within_a_minute_ends_it() {
        let (policy, mut record) = (Policy::default(), Record::default());
        let verdicts: Vec<Verdict> = (0..5).map(|n| record.judge(Class::Crash, true, &policy, n * 1_000, 0)).collect();
        assert_eq!(
            verdicts,
            [0, 250, 500, 1_000]
                .map(|wait_ms| Verdict::RestartAfter { wait_ms })
                .into_iter()
                .chain([Verdict::GiveUp])
                .collect::<Vec<_>>()
        );
        assert_eq!(record.counts(), "5 crash");
    }

    #[test]
    fn crashes_that_are_far_apart_are_forgiven() {
        let (policy, mut record) = (Policy::default(), Record::default());
        for n in 0..1_000 {
            let verdict = record.judge(Class::Crash, true, &policy, n * 60_000, 7);
            assert_eq!(verdict, Verdict::RestartAfter { wait_ms: 0 }, "crash {n}");
        }
    }

    #[test]
    fn a_restart_that_was_asked_for_costs_nothing_but_does_not_spin() {
        let (policy, mut record) = (Policy::default(), Record::default());
        for n in 0..500 {
            let Verdict::RestartAfter { wait_ms } = record.judge(Class::RestartAsked, true, &policy, n, 0) else {
                panic!("restart {n} was refused")
            };
            assert_eq!(wait_ms == 0, n < 10, "restart {n} waits {wait_ms} ms");
        }
        assert_eq!(record.judge(Class::Crash, true, &policy, 500, 0), Verdict::RestartAfter { wait_ms: 0 });
    }

    #[test]
    fn memory_deaths_have_their_own_budget_and_never_restart_at_once() {
        let (policy, mut record) = (Policy::default(), Record::default());
        for n in 0..4 {
            let verdict = record.judge(Class::OutOfMemory, true, &policy, n * 60_000, 0);
            let Verdict::RestartAfter { wait_ms } = verdict else { panic!("{verdict:?}") };
            assert!(wait_ms >= 1_000);
        }
        assert_eq!(record.judge(Class::Crash, true, &policy, 240_000, 0), Verdict::RestartAfter { wait_ms: 0 });
        assert_eq!(record.judge(Class::OutOfMemory, true, &policy, 240_000, 0), Verdict::GiveUp);
    }

    #[test]
    fn a_program_that_never_ran_is_not_tried_again_and_one_that_vanished_is() {
        let policy = Policy::default();
        assert_eq!(Record::default().judge(Class::NotStarted, false, &policy, 0, 0), Verdict::GiveUp);
        assert!(matches!(
            Record::default().judge(Class::NotStarted, true, &policy, 0, 0),
            Verdict::RestartAfter { wait_ms: 1.. }
        ));
    }

    proptest::proptest! {
        #[test]
        fn waits_are_bounded_and_budgets_hold(
            deaths in proptest::collection::vec((0_usize..6, 0_u64..40_000, proptest::num::u64::ANY), 1..200)
        ) {
            let (policy, mut record, mut now) = (Policy::default(), Record::default(), 0);
            let mut moments: BTreeMap<Class, Vec<u64>> = BTreeMap::new();
            for (which, later, random) in deaths {
                now += later;
                let (class, rung) = [
                    (Class::Crash, policy.crash),
                    (Class::Hung, policy.hung),
                    (Class::OutOfMemory, policy.out_of_memory),
                    (Class::NotReady, policy.not_ready),
                    (Class::NotStarted, policy.not_started),
                    (Class::RestartAsked, policy.restart_asked),
                ][which];
                let of_class = moments.entry(class).or_default();
                of_class.push(now);
                let in_window = of_class.iter().filter(|at| now - **at < rung.window_ms).count();
                match record.judge(class, true, &policy, now, random) {
                    Verdict::RestartAfter { wait_ms } => {
                        assert!(rung.deaths_max.is_none_or(|most| in_window < most as usize));
                        assert!(wait_ms <= rung.wait_max_ms);
                        assert_eq!(wait_ms == 0, in_window <= rung.free as usize);
                    }
                    Verdict::GiveUp => assert!(rung.deaths_max.is_some_and(|most| in_window >= most as usize)),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}
