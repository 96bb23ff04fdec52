//! The supervisor as a pure machine: what happened and the time come in, wishes come out. It knows one server at a
//! time and no descriptors, files or processes; `launch` carries its wishes out and tells it what became of them.

use crate::policy::{self, Class, Context, Hand, Memory, Policy, Record, Refusal, Status, Verdict};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Spawned {
        pid: u32,
    },
    NotSpawned {
        why: String,
    },
    /// It serves: said by the ready line or by `READY=1`, whichever comes first.
    Ready,
    /// It is alive and says what it does.
    Progress(Progress),
    /// `WATCHDOG=1`.
    Ping,
    /// `STOPPING=1`.
    Stopping(Goal),
    Exited {
        status: Status,
        memory: Memory,
    },
    /// Somebody wants all of this to end.
    Stop(Asker),
    /// Time passed.
    Timer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The same words twice are no progress.
    Status(String),
    Migrating {
        migrations: u32,
    },
    /// `EXTEND_TIMEOUT_USEC`: the server names its own next deadline.
    Extend {
        ms: u64,
    },
}

/// What a server that stops by itself wants to happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    End,
    Restart,
}

/// Who asked the launcher to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    Terminate,
    Interrupt,
    Hangup,
}

/// What shall be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answered with [`Input::Spawned`] or [`Input::NotSpawned`].
    Spawn,
    Signal(Signal),
    Journal(Death),
    Say(String),
    End(End),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Terminate,
    Abort,
    Kill,
}

/// One line of the exit journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    pub pid: Option<u32>,
    pub status: Option<Status>,
    pub class: Class,
    pub initiator: Initiator,
    pub reason: String,
    pub was_ready: bool,
    pub uptime_ms: u64,
    pub next: Next,
}

/// Whose act led to the end of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initiator {
    /// It ended by itself.
    Server,
    /// We ended it: a deadline passed.
    Launcher,
    /// We ended it because somebody told us to end.
    Operator,
    /// A signal that was not ours.
    Outside,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Restart { wait_ms: u64 },
    End,
    GiveUp,
}

/// How the supervision ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The server had done its work.
    Clean,
    Stopped(Asker),
    Refused(Refusal),
    GaveUp {
        words: String,
    },
}

#[derive(Debug, Clone)]
pub struct Machine {
    policy: Policy,
    state: State,
    server: Server,
    record: Record,
    served_before: bool,
    end_wanted: Option<Asker>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// The wish to spawn is out.
    Spawning,
    Starting {
        deadline: u64,
        /// Progress moves the deadline up to here and no further.
        limit: u64,
    },
    Serving {
        /// `None` until the server showed that it pings.
        watchdog: Option<u64>,
    },
    Stopping {
        goal: Goal,
        deadline: u64,
        limit: u64,
        killed: bool,
    },
    /// A deadline passed; the server has been told and has a moment for its last words.
    Killing {
        why: Overdue,
        deadline: u64,
        killed: bool,
    },
    Waiting {
        until: u64,
    },
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overdue {
    Ready,
    Ping,
}

/// What is known of the present server, or of the last one.
#[derive(Debug, Clone, Default)]
struct Server {
    pid: Option<u32>,
    since: u64,
    was_ready: bool,
    pings: bool,
    status: String,
}

/// If we ourselves come so much later than a deadline, the machine slept or was stopped, and so perhaps did the server:
/// its silence is then no evidence.
const LATE_MS: u64 = 2_000;
/// The longest status text that is kept for comparison.
const STATUS_CHARS_MAX: usize = 200;

impl Machine {
    /// The machine and its first wish.
    pub fn start(policy: Policy) -> (Self, Vec<Effect>) {
        let machine = Self {
            policy,
            state: State::Spawning,
            server: Server::default(),
            record: Record::default(),
            served_before: false,
            end_wanted: None,
        };
        (machine, vec![Effect::Spawn])
    }

    /// When [`Input::Timer`] is due.
    pub fn deadline(&self) -> Option<u64> {
        match self.state {
            State::Starting { deadline, .. } | State::Stopping { deadline, .. } | State::Killing { deadline, .. } => {
                Some(deadline)
            }
            State::Serving { watchdog } => watchdog,
            State::Waiting { until } => Some(until),
            State::Spawning | State::Done => None,
        }
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// `random` spreads the waits; any number will do.
    pub fn handle(&mut self, input: Input, now: u64, random: u64) -> Vec<Effect> {
        if self.is_done() {
            return Vec::new();
        }
        match input {
            Input::Spawned { pid } => self.spawned(pid, now),
            Input::NotSpawned { why } => self.not_spawned(why, now, random),
            Input::Ready => self.ready(now),
            Input::Progress(progress) => self.progress(progress, now),
            Input::Ping => self.ping(now),
            Input::Stopping(goal) => self.stopping(goal, now),
            Input::Exited { status, memory } => self.exited(status, memory, now, random),
            Input::Stop(asker) => self.stop(asker, now),
            Input::Timer => self.timer(now),
        }
    }

    fn spawned(&mut self, pid: u32, now: u64) -> Vec<Effect> {
        self.server = Server { pid: Some(pid), since: now, ..Server::default() };
        self.state = State::Starting { deadline: now + self.policy.start_ms, limit: now + self.policy.start_max_ms };
        let mut effects = vec![say(format!("srv {pid} started"))];
        if let Some(asker) = self.end_wanted {
            effects.extend(self.stop(asker, now));
        }
        effects
    }

    fn not_spawned(&mut self, why: String, now: u64, random: u64) -> Vec<Effect> {
        self.server = Server { since: now, ..Server::default() };
        self.after(Class::NotStarted, None, Initiator::Launcher, why, now, random)
    }

    fn ready(&mut self, now: u64) -> Vec<Effect> {
        if !matches!(self.state, State::Starting { .. }) {
            return Vec::new();
        }
        self.server.was_ready = true;
        self.served_before = true;
        self.state = State::Serving { watchdog: self.server.pings.then(|| now + self.policy.watchdog_ms) };
        vec![say(format!("{} is ready after {} ms", self.name(), now.saturating_sub(self.server.since)))]
    }

    fn progress(&mut self, progress: Progress, now: u64) -> Vec<Effect> {
        if self.server.pid.is_none() {
            return Vec::new();
        }
        let (more_ms, said) = match progress {
            Progress::Status(text) => {
                let text: String = text.chars().take(STATUS_CHARS_MAX).collect();
                if text == self.server.status {
                    return Vec::new();
                }
                self.server.status = text.clone();
                (self.policy.start_ms, Some(text))
            }
            Progress::Migrating { migrations } => {
                (self.policy.start_ms, Some(format!("carries out {migrations} migrations")))
            }
            Progress::Extend { ms } => (ms, None),
        };
        // Words alone move a start; a stop is moved only by a server that names its own deadline.
        match &mut self.state {
            State::Starting { deadline, limit } => *deadline = (*deadline).max(now.saturating_add(more_ms)).min(*limit),
            State::Stopping { deadline, limit, killed: false, .. } if said.is_none() => {
                *deadline = (*deadline).max(now.saturating_add(more_ms)).min(*limit);
            }
            _ => {}
        }
        said.map(|text| say(format!("{}: {text}", self.name()))).into_iter().collect()
    }

    fn ping(&mut self, now: u64) -> Vec<Effect> {
        self.server.pings = true;
        if let State::Serving { watchdog } = &mut self.state {
            *watchdog = Some(now + self.policy.watchdog_ms);
        }
        Vec::new()
    }

    fn stopping(&mut self, goal: Goal, now: u64) -> Vec<Effect> {
        match self.state {
            State::Starting { .. } | State::Serving { .. } => {
                self.begin_stop(goal, now);
                vec![say(match goal {
                    Goal::End => format!("{} stops", self.name()),
                    Goal::Restart => format!("{} stops to be started again", self.name()),
                })]
            }
            State::Spawning | State::Stopping { .. } | State::Killing { .. } | State::Waiting { .. } | State::Done => {
                Vec::new()
            }
        }
    }

    fn begin_stop(&mut self, goal: Goal, now: u64) {
        self.state = State::Stopping {
            goal,
            deadline: now + self.policy.stop_ms,
            limit: now + self.policy.stop_max_ms,
            killed: false,
        };
    }

    fn stop(&mut self, asker: Asker, now: u64) -> Vec<Effect> {
        let again = self.end_wanted.replace(asker).is_some();
        match &mut self.state {
            State::Starting { .. } | State::Serving { .. } => {
                self.begin_stop(Goal::End, now);
                vec![say(format!("{}: stopping {}", asker.sentence(), self.name())), Effect::Signal(Signal::Terminate)]
            }
            // It stops by itself already, perhaps to be started again; that is not wanted any more.
            State::Stopping { goal, killed: false, .. } if !again => {
                *goal = Goal::End;
                vec![Effect::Signal(Signal::Terminate)]
            }
            State::Stopping { killed: killed @ false, deadline, .. } if asker == Asker::Interrupt => {
                *killed = true;
                *deadline = now + self.policy.last_words_ms;
                vec![say(format!("interrupted again: killing {}", self.name())), Effect::Signal(Signal::Kill)]
            }
            State::Waiting { .. } => self.end(End::Stopped(asker)),
            State::Spawning | State::Stopping { .. } | State::Killing { .. } | State::Done => Vec::new(),
        }
    }

    fn timer(&mut self, now: u64) -> Vec<Effect> {
        let Some(due) = self.deadline().filter(|deadline| *deadline <= now) else { return Vec::new() };
        let late = now - due > LATE_MS;
        match &mut self.state {
            State::Starting { deadline, .. } if late => {
                *deadline = now + self.policy.start_ms;
                Vec::new()
            }
            State::Serving { watchdog } if late => {
                *watchdog = Some(now + self.policy.watchdog_ms);
                Vec::new()
            }
            State::Starting { .. } => self.kill(Overdue::Ready, Signal::Terminate, now),
            State::Serving { .. } => self.kill(Overdue::Ping, Signal::Abort, now),
            State::Stopping { killed, deadline, .. } => {
                *killed = true;
                // A killed process can be held by the kernel for a while; asking again costs nothing.
                *deadline = now + self.policy.last_words_ms;
                vec![say(format!("{} did not stop in time: killing it", self.name())), Effect::Signal(Signal::Kill)]
            }
            State::Killing { killed, deadline, .. } => {
                *killed = true;
                *deadline = now + self.policy.last_words_ms;
                vec![Effect::Signal(Signal::Kill)]
            }
            State::Waiting { .. } => {
                self.state = State::Spawning;
                vec![Effect::Spawn]
            }
            State::Spawning | State::Done => Vec::new(),
        }
    }

    fn kill(&mut self, why: Overdue, signal: Signal, now: u64) -> Vec<Effect> {
        self.state = State::Killing { why, deadline: now + self.policy.last_words_ms, killed: false };
        vec![say(format!("{} {}: killing it", self.name(), self.overdue(why))), Effect::Signal(signal)]
    }

    fn overdue(&self, why: Overdue) -> String {
        match why {
            Overdue::Ready if self.server.status.is_empty() => "did not become ready in time".to_owned(),
            Overdue::Ready => format!("did not become ready in time; it was at: {}", self.server.status),
            Overdue::Ping => format!("was silent for {} ms", self.policy.watchdog_ms),
        }
    }

    fn exited(&mut self, status: Status, memory: Memory, now: u64, random: u64) -> Vec<Effect> {
        let (hand, mut initiator) = match &self.state {
            State::Starting { .. } | State::Serving { .. } => (Hand::Off, Initiator::Server),
            State::Stopping { killed: false, .. } => (Hand::Asked, Initiator::Server),
            State::Stopping { killed: true, .. } => (Hand::KilledInStop, Initiator::Launcher),
            State::Killing { why: Overdue::Ready, .. } => (Hand::KilledNotReady, Initiator::Launcher),
            State::Killing { why: Overdue::Ping, .. } => (Hand::KilledHung, Initiator::Launcher),
            // There is no server to have ended.
            State::Spawning | State::Waiting { .. } | State::Done => return Vec::new(),
        };
        let class = policy::classify(status, Context { hand, was_ready: self.server.was_ready, memory });
        match (hand, status) {
            _ if self.end_wanted.is_some() => initiator = Initiator::Operator,
            (Hand::Off | Hand::Asked, Status::Signal(_)) => initiator = Initiator::Outside,
            _ => {}
        }
        let reason = self.reason(class, status);
        self.after(class, Some(status), initiator, reason, now, random)
    }

    fn reason(&self, class: Class, status: Status) -> String {
        match class {
            Class::Clean => "it was done".to_owned(),
            Class::RestartAsked => "asked to be started again".to_owned(),
            Class::Refused(refusal) => refusal.to_string(),
            Class::Crash if self.server.was_ready => status.to_string(),
            Class::Crash => format!("{status} before it served"),
            Class::Hung => self.overdue(Overdue::Ping),
            Class::OutOfMemory => format!("{status}, and memory had run out"),
            Class::KilledByUs => "did not stop in time".to_owned(),
            Class::NotReady => self.overdue(Overdue::Ready),
            Class::NotStarted => "could not be run".to_owned(),
        }
    }

    /// The server is gone, or never was: journal it, and decide.
    fn after(
        &mut self,
        class: Class,
        status: Option<Status>,
        initiator: Initiator,
        reason: String,
        now: u64,
        random: u64,
    ) -> Vec<Effect> {
        let wanted_back = matches!(self.state, State::Stopping { goal: Goal::Restart, .. });
        let verdict = match self.end_wanted {
            Some(_) => Verdict::End,
            // It was killed on the way to its restart: the restart is still wanted.
            None if class == Class::KilledByUs && wanted_back => {
                self.record.judge(Class::RestartAsked, self.served_before, &self.policy, now, random)
            }
            None => self.record.judge(class, self.served_before, &self.policy, now, random),
        };
        let name = self.name();
        let pid = self.server.pid.take();
        let uptime_ms = now.saturating_sub(self.server.since);
        let next = match verdict {
            Verdict::RestartAfter { wait_ms } => Next::Restart { wait_ms },
            Verdict::End | Verdict::Refuse(_) => Next::End,
            Verdict::GiveUp => Next::GiveUp,
        };
        let how = if pid.is_some() { format!("{name} ended after {uptime_ms} ms") } else { "srv did not start".into() };
        let what = match next {
            Next::Restart { wait_ms: 0 } => "; starting it again".to_owned(),
            Next::Restart { wait_ms } => format!("; starting it again in {wait_ms} ms"),
            Next::End | Next::GiveUp => String::new(),
        };
        let mut effects = vec![
            say(format!("{how} ({}): {reason}{what}", class.word())),
            Effect::Journal(Death {
                pid,
                status,
                class,
                initiator,
                reason: reason.clone(),
                was_ready: self.server.was_ready,
                uptime_ms,
                next,
            }),
        ];
        match verdict {
            Verdict::End => effects.extend(self.end(self.end_wanted.map_or(End::Clean, End::Stopped))),
            Verdict::Refuse(refusal) => effects.extend(self.end(End::Refused(refusal))),
            Verdict::GiveUp => {
                let words = format!("gave up on the server ({}); the last time: {reason}", self.record.counts());
                effects.extend(self.end(End::GaveUp { words }));
            }
            Verdict::RestartAfter { wait_ms: 0 } => {
                self.state = State::Spawning;
                effects.push(Effect::Spawn);
            }
            Verdict::RestartAfter { wait_ms } => self.state = State::Waiting { until: now + wait_ms },
        }
        effects
    }

    fn end(&mut self, end: End) -> Vec<Effect> {
        self.state = State::Done;
        vec![Effect::End(end)]
    }

    fn name(&self) -> String {
        self.server.pid.map_or_else(|| "srv".to_owned(), |pid| format!("srv {pid}"))
    }
}

impl Asker {
    fn sentence(self) -> &'static str {
        match self {
            Self::Terminate => "asked to end",
            Self::Interrupt => "interrupted",
            Self::Hangup => "the terminal is gone",
        }
    }
}

fn say(text: String) -> Effect {
    Effect::Say(text)
}

#[cfg(test)]
mod tests;
