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

#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) stopped: usize,
    /// Ours, and in the kernel's hands.
    pub(crate) survivors: Vec<ProcessId>,
    /// Our descendants, but nothing an agent of this profile started: left alone.
    pub(crate) strangers: Vec<ProcessId>,
}

/// Ends every descendant that carries the socket of this profile in its environment, and what came of it. Only
/// descendants: an agent of another server on the same directory carries the same word and is none of our business.
pub(crate) fn sweep(socket: &OsStr, grace: Duration) -> Report {
    reap();
    let all: Vec<_> = process::descendants(std::process::id()).into_iter().filter(process::alive).collect();
    let is_agent = |child: &&ProcessId| process::env_var(child.pid, env::SOCKET).as_deref() == Some(socket);
    let agents: BTreeSet<u32> = all.iter().filter(is_agent).map(|child| child.pid).collect();
    // A child that was started without our word still belongs to the agent it came from.
    let (ours, strangers): (Vec<_>, Vec<_>) = all.into_iter().partition(|child| {
        agents.contains(&child.pid) || process::ancestry(child.pid).iter().any(|parent| agents.contains(parent))
    });
    let tags: BTreeSet<_> = ours.iter().filter_map(|child| process::env_var(child.pid, env::TAG)).collect();
    for child in &ours {
        for signal in [Signal::Term, Signal::Hup, Signal::Cont] {
            let _ = signals::send_to(child, signal);
        }
    }
    // All at once, so that many agents take the time of one.
    let deadline = Instant::now() + grace;
    while ours.iter().any(process::alive) && Instant::now() < deadline {
        std::thread::sleep(LOOK_AGAIN);
        reap();
    }
    let mut survivors = BTreeSet::new();
    let mut end = |leader: &ProcessId, tag: Option<&str>| {
        survivors.extend(stop::stop_tree(leader, tag.map(|tag| (env::TAG, tag)), Duration::ZERO).survivors);
        reap();
    };
    for child in ours.iter().filter(|child| process::alive(child)) {
        end(child, None);
    }
    // What was forked in the last moment by one that is gone carries its tag still.
    if let Some(anybody) = ours.first() {
        tags.iter().filter_map(|tag| tag.to_str()).for_each(|tag| end(anybody, Some(tag)));
    }
    Report {
        stopped: ours.len(),
        survivors: survivors.into_iter().collect(),
        strangers: strangers.into_iter().filter(process::alive).collect(),
    }
}

fn reap() {
    while process::reap_any().is_some() {}
}
