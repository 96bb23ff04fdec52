//! The names under which the launcher keeps an agent's descriptors, and what they say. A name carries everything
//! needed to adopt a process whose start was never committed.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use amux_proto::{AgentId, RunNo};
use amux_sys::process::ProcessId;
use uuid::Uuid;

/// The descriptors of one run: its PTY and, where the system has them, the pidfd.
#[derive(Debug)]
pub struct Kept {
    pub name: String,
    pub process: ProcessId,
    pub pty: OwnedFd,
    pub pidfd: Option<OwnedFd>,
}

/// `a.<uid>.<run>.<pid>.<start ticks>`: short, because two thousand of them travel in one environment variable.
pub(crate) fn name(agent: AgentId, run: RunNo, process: &ProcessId) -> String {
    format!("a.{}.{}.{}.{}", agent.0.simple(), run, process.pid, process.start_ticks)
}

pub(crate) fn sort(fds: Vec<(String, OwnedFd)>) -> HashMap<(AgentId, RunNo), Kept> {
    let mut runs: HashMap<(AgentId, RunNo), Kept> = HashMap::new();
    for (name, fd) in fds {
        let Some((agent, run, process)) = parse(&name) else {
            tracing::warn!(name, "A kept descriptor has a name that is not ours; it is closed.");
            continue;
        };
        // The PTY was sent first, the pidfd second; they come back in that order.
        match runs.get_mut(&(agent, run)) {
            Some(kept) => kept.pidfd = Some(fd),
            None => {
                runs.insert((agent, run), Kept { name, process, pty: fd, pidfd: None });
            }
        }
    }
    runs
}

fn parse(name: &str) -> Option<(AgentId, RunNo, ProcessId)> {
    let mut parts = name.strip_prefix("a.")?.split('.');
    let agent = AgentId(Uuid::parse_str(parts.next()?).ok()?);
    let run = RunNo(parts.next()?.parse().ok()?);
    let process = ProcessId { pid: parts.next()?.parse().ok()?, start_ticks: parts.next()?.parse().ok()? };
    parts.next().is_none().then_some((agent, run, process))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_it_was_made_of_and_is_short() {
        let (agent, run) = (AgentId(Uuid::from_u128(7)), RunNo(u32::MAX));
        let process = ProcessId { pid: 4_194_304, start_ticks: u64::MAX };
        let name = name(agent, run, &process);
        assert_eq!(parse(&name), Some((agent, run, process)));
        // Two thousand of them fit the 128 KiB the kernel gives one environment variable.
        let typical = super::name(agent, RunNo(1), &ProcessId { pid: 4_194_304, start_ticks: 1_000_000_000 });
        assert!(typical.len() * 2 * 1000 < 128 * 1024, "{typical}");
        assert_eq!(parse("listen"), None);
    }
}
