//! The window beside the server, as a pure machine: opened when the server can be reached, opened again when it
//! crashed or when the server moved, left closed when somebody closed it. It never ends the server.

use crate::policy::{Class, Policy, Record, Status, Verdict};

/// Where the server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backend {
    pub(crate) ws: String,
    pub(crate) web: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Open(Backend),
    Terminate,
    Kill,
    Say(String),
}

#[derive(Debug)]
pub(crate) struct Machine {
    policy: Policy,
    state: State,
    record: Record,
    backend: Option<Backend>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Nothing to show yet, or somebody closed it, or it crashed too often.
    Closed {
        for_good: bool,
    },
    Open {
        with: Backend,
    },
    /// It shows a server that is not there any more.
    Closing {
        deadline: u64,
    },
    Waiting {
        until: u64,
    },
}

impl Machine {
    pub(crate) fn new(policy: Policy) -> Self {
        Self { policy, state: State::Closed { for_good: false }, record: Record::default(), backend: None }
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        match self.state {
            State::Closing { deadline: at } | State::Waiting { until: at } => Some(at),
            State::Closed { .. } | State::Open { .. } => None,
        }
    }

    pub(crate) fn server_ready(&mut self, backend: Backend, now: u64) -> Vec<Effect> {
        self.backend = Some(backend.clone());
        match &self.state {
            State::Closed { for_good: false } => self.open(backend),
            State::Open { with } if *with != backend => {
                self.state = State::Closing { deadline: now + self.policy.last_words_ms };
                vec![Effect::Terminate]
            }
            State::Closed { for_good: true } | State::Open { .. } | State::Closing { .. } | State::Waiting { .. } => {
                Vec::new()
            }
        }
    }

    /// `None`: it could not be started at all.
    pub(crate) fn ended(&mut self, status: Option<Status>, now: u64, random: u64) -> Vec<Effect> {
        let class = match (&self.state, status) {
            (State::Closing { .. }, _) => Class::RestartAsked,
            (_, None) => Class::NotStarted,
            (_, Some(Status::Code(0))) => Class::Clean,
            (_, Some(_)) => Class::Crash,
        };
        match self.record.judge(class, true, &self.policy, now, random) {
            Verdict::RestartAfter { wait_ms: 0 } => self.backend.clone().map_or_else(Vec::new, |to| self.open(to)),
            Verdict::RestartAfter { wait_ms } => {
                self.state = State::Waiting { until: now + wait_ms };
                Vec::new()
            }
            Verdict::End | Verdict::Refuse(_) => {
                self.state = State::Closed { for_good: true };
                Vec::new()
            }
            Verdict::GiveUp => {
                self.state = State::Closed { for_good: true };
                vec![Effect::Say(format!("gave up on the window ({})", self.record.counts()))]
            }
        }
    }

    pub(crate) fn timer(&mut self, now: u64) -> Vec<Effect> {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return Vec::new();
        }
        match &mut self.state {
            State::Closing { deadline } => {
                *deadline = now + self.policy.last_words_ms;
                vec![Effect::Kill]
            }
            State::Waiting { .. } => self.backend.clone().map_or_else(Vec::new, |backend| self.open(backend)),
            State::Closed { .. } | State::Open { .. } => Vec::new(),
        }
    }

    fn open(&mut self, backend: Backend) -> Vec<Effect> {
        self.state = State::Open { with: backend.clone() };
        vec![Effect::Open(backend)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Backend {
        Backend { ws: format!("ws://127.0.0.1:{port}"), web: format!("http://127.0.0.1:{port}") }
    }

    #[test]
    fn a_window_opens_with_the_server_and_again_after_a_crash() {
        let mut window = Machine::new(Policy::default());
        assert_eq!(window.server_ready(at(1), 0), [Effect::Open(at(1))]);
        assert_eq!(window.server_ready(at(1), 5), [], "the server was restarted and is where it was");
        assert_eq!(window.ended(Some(Status::Signal(11)), 10, 0), [Effect::Open(at(1))]);
        assert_eq!(window.ended(Some(Status::Code(1)), 20, 0), []);
        let due = window.deadline().unwrap();
        assert_eq!(window.timer(due - 1), []);
        assert_eq!(window.timer(due), [Effect::Open(at(1))]);
    }

    #[test]
    fn a_closed_window_stays_closed() {
        let mut window = Machine::new(Policy::default());
        window.server_ready(at(1), 0);
        assert_eq!(window.ended(Some(Status::Code(0)), 10, 0), []);
        assert_eq!(window.server_ready(at(2), 20), []);
        assert_eq!(window.deadline(), None);
    }

    #[test]
    fn a_window_follows_a_server_that_moved() {
        let mut window = Machine::new(Policy::default());
        window.server_ready(at(1), 0);
        assert_eq!(window.server_ready(at(2), 10), [Effect::Terminate]);
        assert_eq!(window.timer(10 + 2_000), [Effect::Kill]);
        assert_eq!(window.ended(Some(Status::Signal(9)), 2_020, 0), [Effect::Open(at(2))]);
    }

    #[test]
    fn a_window_that_crashes_all_the_time_is_left_alone() {
        let mut window = Machine::new(Policy::default());
        window.server_ready(at(1), 0);
        let mut words = Vec::new();
        for n in 0..5 {
            words = window.ended(Some(Status::Signal(11)), n * 6_000, 0);
            window.timer(n * 6_000 + 5_999);
        }
        assert_eq!(words, [Effect::Say("gave up on the window (5 crash)".into())]);
        assert_eq!(window.deadline(), None);
    }
}
