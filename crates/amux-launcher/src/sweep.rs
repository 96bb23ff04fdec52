//! What is left of the agents when the supervision is over. A server that stops ends its agents itself; this is for
//! the ones it could not end any more.

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
    /// Our descendants, but not agents of this profile: left alone.
    pub(crate) strangers: Vec<ProcessId>,
}

/// Ends every descendant that carries the socket of this profile in its environment. Only descendants: an agent of
/// another server on the same directory carries the same word and is none of our business.
pub(crate) fn sweep(socket: &OsStr, grace: Duration) -> Report {
    reap();
    let me = std::process::id();
    let (ours, strangers): (Vec<_>, Vec<_>) = process::descendants(me)
        .into_iter()
        .filter(process::alive)
        .partition(|child| process::env_var(child.pid, env::SOCKET).as_deref() == Some(socket));
    let tags: Vec<_> = ours.iter().map(|child| process::env_var(child.pid, env::TAG)).collect();
    for child in &ours {
        for signal in [Signal::Hup, Signal::Term, Signal::Cont] {
            let _ = signals::send(child.pid, signal);
        }
    }
    let deadline = Instant::now() + grace;
    while ours.iter().any(process::alive) && Instant::now() < deadline {
        std::thread::sleep(LOOK_AGAIN);
        reap();
    }
    let mut survivors = Vec::new();
    for (child, tag) in ours.iter().zip(&tags) {
        // Also for those that are gone: what they forked meanwhile carries the same tag.
        let tag = tag.as_deref().and_then(OsStr::to_str).map(|tag| (env::TAG, tag));
        survivors.extend(stop::stop_tree(child, tag, Duration::ZERO).survivors);
        reap();
    }
    survivors.sort_unstable();
    survivors.dedup();
    Report { stopped: ours.len(), survivors, strangers: strangers.into_iter().filter(process::alive).collect() }
}

fn reap() {
    while process::reap_any().is_some() {}
}
