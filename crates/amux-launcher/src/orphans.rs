//! How the children that are not ours ended. When a server dies its agents become our children; their statuses are
//! kept here until a server says that it has taken note, and are told again to every server that starts before.

use std::collections::VecDeque;

use amux_sys::process::ProcessId;
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) process: ProcessId,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) at_ms: i64,
}

/// The exits nobody took note of, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    exits: VecDeque<Exit>,
    /// How many of the oldest the present server has been told.
    told: usize,
}

/// More than agents can run here. Beyond it the oldest are forgotten: a storm of short-lived orphans is likelier
/// than so many agents that ended while no server listened.
const EXITS_MAX: usize = 4_096;

impl Ledger {
    /// The one that had to be forgotten, if any.
    pub(crate) fn add(&mut self, exit: Exit) -> Option<Exit> {
        let forgotten = if self.exits.len() >= EXITS_MAX { self.exits.pop_front() } else { None };
        if forgotten.is_some() {
            self.told = self.told.saturating_sub(1);
        }
        self.exits.push_back(exit);
        forgotten
    }

    pub(crate) fn acknowledge(&mut self, process: ProcessId) {
        if let Some(at) = self.exits.iter().position(|exit| exit.process == process) {
            self.exits.remove(at);
            if at < self.told {
                self.told -= 1;
            }
        }
    }

    /// A new server knows nothing.
    pub(crate) fn begin_again(&mut self) {
        self.told = 0;
    }

    /// The next line for the server, once.
    pub(crate) fn tell(&mut self) -> Option<String> {
        let exit = self.exits.get(self.told)?;
        self.told += 1;
        Some(line(exit))
    }
}

fn line(exit: &Exit) -> String {
    #[derive(Serialize)]
    struct Line {
        exited: Body,
    }
    #[derive(Serialize)]
    struct Body {
        pid: u32,
        start_ticks: u64,
        code: Option<i32>,
        signal: Option<i32>,
        at_ms: i64,
    }
    let ProcessId { pid, start_ticks } = exit.process;
    let body = Body { pid, start_ticks, code: exit.code, signal: exit.signal, at_ms: exit.at_ms };
    serde_json::to_string(&Line { exited: body }).expect("numbers can be written as JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(pid: u32) -> Exit {
        Exit { process: ProcessId { pid, start_ticks: 5 }, code: Some(3), signal: None, at_ms: 9 }
    }

    fn told(ledger: &mut Ledger) -> Vec<u32> {
        let mut pids = Vec::new();
        while let Some(line) = ledger.tell() {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            pids.push(u32::try_from(line["exited"]["pid"].as_u64().unwrap()).unwrap());
        }
        pids
    }

    #[test]
    fn an_exit_is_told_once_to_a_server_and_again_to_the_next_until_it_is_acknowledged() {
        let mut ledger = Ledger::default();
        for pid in 1..=3 {
            ledger.add(exit(pid));
        }
        assert_eq!(told(&mut ledger), [1, 2, 3]);
        ledger.add(exit(4));
        assert_eq!(told(&mut ledger), [4]);
        ledger.acknowledge(ProcessId { pid: 2, start_ticks: 5 });
        ledger.acknowledge(ProcessId { pid: 3, start_ticks: 6 });
        assert!(told(&mut ledger).is_empty());
        ledger.begin_again();
        assert_eq!(told(&mut ledger), [1, 3, 4]);
        for pid in [1, 3, 4] {
            ledger.acknowledge(ProcessId { pid, start_ticks: 5 });
        }
        assert_eq!(ledger.exits.len(), 0);
    }

    #[test]
    fn a_line_is_what_the_server_reads() {
        let mut ledger = Ledger::default();
        ledger.add(Exit { code: None, signal: Some(9), ..exit(7) });
        assert_eq!(ledger.tell().unwrap(), r#"{"exited":{"pid":7,"start_ticks":5,"code":null,"signal":9,"at_ms":9}}"#);
    }

    #[test]
    fn a_storm_of_orphans_is_bounded_and_the_newest_are_kept() {
        let mut ledger = Ledger::default();
        let most = u32::try_from(EXITS_MAX).unwrap();
        for pid in 0..most + 10 {
            let forgotten = ledger.add(exit(pid));
            assert_eq!(forgotten.map(|exit| exit.process.pid), pid.checked_sub(most));
            if pid == 5 {
                assert_eq!(told(&mut ledger), [0, 1, 2, 3, 4, 5]);
            }
        }
        assert_eq!(ledger.exits.len(), EXITS_MAX);
        assert_eq!(told(&mut ledger).first(), Some(&10));
    }
}
