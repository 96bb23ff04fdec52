//! What is left of the agents when the supervision is over. A server that stops ends its agents itself; this is for
//! the ones it could not end any more.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::time::{Duration, Instant};

use amux_proto::env;
use amux_sys::process::{self, ProcessId};
use amux_sys::signals::{self, Signal};
use amux_sys::stop;

/// Nothing to wait on: they may be anybody's grandchildren.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What is forked while it is being ended is found in the next round. More rounds mean that something does not die.
const ROUNDS_MAX: usize = 5;

#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) stopped: usize,
    /// Ours, and in the kernel's hands.
    pub(crate) survivors: Vec<ProcessId>,
    /// Our descendants, but nothing an agent of this profile started: left alone.
    pub(crate) strangers: Vec<ProcessId>,
}

/// Ends every descendant that carries the socket of this profile in its environment, and what came of it. Only
/// descendants: an agent of another server on the same directory, or on a copy of it, carries the same words and is
/// none of our business. Whoever loses its parent becomes our child, so nobody gets out of sight.
pub(crate) fn sweep(socket: &OsStr, grace: Duration) -> Report {
    let (ours, mut strangers) = look(socket);
    let mut seen = BTreeSet::from_iter(ours);
    // All are asked at once: many agents take as long as one.
    ask(&seen, grace);
    for _ in 0..ROUNDS_MAX {
        for process in seen.iter().filter(|process| process::alive(process)) {
            stop::stop_tree(process, &[], Duration::ZERO);
        }
        let ours;
        (ours, strangers) = look(socket);
        seen.extend(ours);
        if !seen.iter().any(process::alive) {
            break;
        }
    }
    let survivors: Vec<_> = seen.iter().filter(|process| process::alive(process)).copied().collect();
    strangers.retain(|stranger| !seen.contains(stranger));
    Report { stopped: seen.len() - survivors.len(), survivors, strangers }
}

fn look(socket: &OsStr) -> (Vec<ProcessId>, Vec<ProcessId>) {
    reap();
    let all: Vec<_> = process::descendants(std::process::id()).into_iter().filter(process::alive).collect();
    let is_agent = |child: &&ProcessId| process::env_var(child.pid, env::SOCKET).as_deref() == Some(socket);
    let agents: BTreeSet<u32> = all.iter().filter(is_agent).map(|child| child.pid).collect();
    // A child that was started without our word still belongs to the agent it came from.
    all.into_iter().partition(|child| {
        agents.contains(&child.pid) || process::ancestry(child.pid).iter().any(|parent| agents.contains(parent))
    })
}

fn ask(processes: &BTreeSet<ProcessId>, grace: Duration) {
    for process in processes {
        for signal in [Signal::Term, Signal::Hup, Signal::Cont] {
            let _ = signals::send_to(process, signal);
        }
    }
    let deadline = Instant::now() + grace;
    while processes.iter().any(process::alive) && Instant::now() < deadline {
        std::thread::sleep(LOOK_AGAIN);
        reap();
    }
}

fn reap() {
    while process::reap_any().is_some() {}
}
