//! The exit journal, `exits.jsonl`: one line for every process of ours that ended, and one for every end of a
//! launcher. It answers the question "who ended it, and why" after the fact.

use std::path::Path;

use amux_proto::Time;
use serde::Serialize;

use crate::log::Log;
use crate::machine::{Death, Initiator, Next};
use crate::policy::Status;

#[derive(Debug)]
pub(crate) struct Journal {
    log: Log,
}

/// Some thousand deaths: more than anybody reads, less than anybody misses.
const JOURNAL_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Who {
    Srv,
    Window,
}

#[derive(Serialize)]
struct Line<'a> {
    at: Time,
    who: &'static str,
    pid: Option<u32>,
    /// Which start it was.
    instance: &'a str,
    code: Option<i32>,
    signal: Option<i32>,
    class: &'static str,
    initiator: &'static str,
    reason: &'a str,
    was_ready: bool,
    uptime_ms: u64,
    next: &'static str,
    wait_ms: Option<u64>,
}

#[derive(Serialize)]
struct Last<'a> {
    at: Time,
    who: &'static str,
    pid: u32,
    class: &'static str,
    reason: &'a str,
    uptime_ms: u64,
    next: &'static str,
}

impl Journal {
    pub(crate) fn new(logs: &Path) -> Self {
        Self { log: Log::new(logs.join("exits.jsonl"), JOURNAL_BYTES_MAX) }
    }

    pub(crate) fn death(&mut self, at: Time, who: Who, instance: &str, death: &Death) {
        let (next, wait_ms) = match death.next {
            Next::Restart { wait_ms } => ("restart", Some(wait_ms)),
            Next::End => ("end", None),
            Next::GiveUp => ("give_up", None),
        };
        self.write(&Line {
            at,
            who: match who {
                Who::Srv => "srv",
                Who::Window => "window",
            },
            pid: death.pid,
            instance,
            code: match death.status {
                Some(Status::Code(code)) => Some(code),
                _ => None,
            },
            signal: match death.status {
                Some(Status::Signal(signal)) => Some(signal),
                _ => None,
            },
            class: death.class.word(),
            initiator: match death.initiator {
                Initiator::Server => "itself",
                Initiator::Launcher => "launcher",
                Initiator::Operator => "operator",
                Initiator::Outside => "outside",
            },
            reason: &death.reason,
            was_ready: death.was_ready,
            uptime_ms: death.uptime_ms,
            next,
            wait_ms,
        });
    }

    /// The last word of a launcher.
    pub(crate) fn last(&mut self, at: Time, class: &'static str, reason: &str, uptime_ms: u64) {
        self.write(&Last { at, who: "launcher", pid: std::process::id(), class, reason, uptime_ms, next: "end" });
    }

    fn write(&mut self, line: &impl Serialize) {
        self.log.write(&serde_json::to_string(line).expect("words and numbers can be written as JSON"));
    }
}
