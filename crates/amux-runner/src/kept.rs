//! The names under which the launcher keeps an agent's descriptors, and what they say. A name carries everything
//! needed to adopt a process whose start was never committed, and which descriptor is which.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use amux_proto::{AgentId, RunNo};
use amux_sys::process::ProcessId;
use uuid::Uuid;

/// What a kept descriptor is to its run; a letter of the name each, in the order they were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Terminal,
    ChannelOut,
    ChannelInto,
    Stdin,
    Stdout,
    Stderr,
    Pidfd,
}

const LETTERS: [(Role, char); 7] = [
    (Role::Terminal, 't'),
    (Role::ChannelOut, 'r'),
    (Role::ChannelInto, 'w'),
    (Role::Stdin, 'i'),
    (Role::Stdout, 'o'),
    (Role::Stderr, 'e'),
    (Role::Pidfd, 'p'),
];

/// The descriptors of one run that came back.
#[derive(Debug)]
pub struct Kept {
    pub(crate) name: String,
    pub(crate) process: ProcessId,
    pub(crate) fds: Vec<(Role, OwnedFd)>,
}

impl Kept {
    pub(crate) fn take(&mut self, role: Role) -> Option<OwnedFd> {
        let at = self.fds.iter().position(|(of, _)| *of == role)?;
        Some(self.fds.swap_remove(at).1)
    }
}

/// What is to be kept for a run, and the name that says so:
/// `a.<uid>.<run>.<pid>.<start ticks>.<roles>`, short, because two thousand of them travel in one environment variable.
pub(crate) fn name(agent: AgentId, run: RunNo, process: &ProcessId, roles: &[(Role, BorrowedFd<'_>)]) -> String {
    let letter = |role: Role| LETTERS.iter().find(|(of, _)| *of == role).map_or('?', |(_, letter)| *letter);
    let roles: String = roles.iter().map(|(role, _)| letter(*role)).collect();
    format!("a.{}.{}.{}.{}.{roles}", agent.0.simple(), run, process.pid, process.start_ticks)
}

/// By run; where two names speak of one run, the one that keeps less is the newer: a run only ever lets go.
pub(crate) fn sort(fds: Vec<(String, OwnedFd)>) -> (HashMap<(AgentId, RunNo), Kept>, Vec<String>) {
    let mut by_name: HashMap<String, (AgentId, RunNo, Kept, Vec<Role>)> = HashMap::new();
    for (name, fd) in fds {
        let Some((agent, run, process, roles)) = parse(&name) else {
            tracing::warn!(name, "A kept descriptor has a name that is not ours; it is closed.");
            continue;
        };
        let fresh = || (agent, run, Kept { name: name.clone(), process, fds: Vec::new() }, roles);
        let (_, _, kept, roles) = by_name.entry(name.clone()).or_insert_with(fresh);
        match roles.get(kept.fds.len()) {
            Some(role) => kept.fds.push((*role, fd)),
            None => tracing::warn!(name, "More descriptors came back than were kept; the surplus is closed."),
        }
    }
    let mut runs: HashMap<(AgentId, RunNo), Kept> = HashMap::new();
    let mut surplus = Vec::new();
    for (agent, run, kept, _) in by_name.into_values() {
        match runs.remove(&(agent, run)) {
            Some(other) => {
                let (keep, drop) = if other.fds.len() < kept.fds.len() { (other, kept) } else { (kept, other) };
                surplus.push(drop.name);
                runs.insert((agent, run), keep);
            }
            None => {
                runs.insert((agent, run), kept);
            }
        }
    }
    (runs, surplus)
}

fn parse(name: &str) -> Option<(AgentId, RunNo, ProcessId, Vec<Role>)> {
    let mut parts = name.strip_prefix("a.")?.split('.');
    let agent = AgentId(Uuid::parse_str(parts.next()?).ok()?);
    let run = RunNo(parts.next()?.parse().ok()?);
    let process = ProcessId { pid: parts.next()?.parse().ok()?, start_ticks: parts.next()?.parse().ok()? };
    let role = |letter: char| LETTERS.iter().find(|(_, of)| *of == letter).map(|(role, _)| *role);
    let roles = parts.next()?.chars().map(role).collect::<Option<Vec<_>>>()?;
    parts.next().is_none().then_some((agent, run, process, roles))
}

/// The descriptors of a pair list, as the notifier wants them.
pub(crate) fn fds<'a>(roles: &'a [(Role, BorrowedFd<'a>)]) -> Vec<BorrowedFd<'a>> {
    roles.iter().map(|(_, fd)| fd.as_fd()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_fd() -> OwnedFd {
        tempfile::tempfile().unwrap().into()
    }

    #[test]
    fn a_name_says_what_it_was_made_of_and_is_short() {
        let (agent, run) = (AgentId(Uuid::from_u128(7)), RunNo(u32::MAX));
        let process = ProcessId { pid: 4_194_304, start_ticks: u64::MAX };
        let fd = some_fd();
        let roles = [(Role::Terminal, fd.as_fd()), (Role::Pidfd, fd.as_fd())];
        let long = name(agent, run, &process, &roles);
        assert_eq!(parse(&long), Some((agent, run, process, vec![Role::Terminal, Role::Pidfd])));
        // Six of them for each of three hundred agents fit the 128 KiB the kernel gives one environment variable.
        let all = LETTERS.iter().skip(1).map(|(role, _)| (*role, fd.as_fd())).collect::<Vec<_>>();
        let typical = name(agent, RunNo(1), &ProcessId { pid: 4_194_304, start_ticks: 1_000_000_000 }, &all);
        assert!((typical.len() + 1) * all.len() * 300 < 128 * 1024, "{typical}");
        assert_eq!(parse("listen"), None);
    }

    #[test]
    fn a_run_that_let_go_of_its_input_does_not_get_it_back() {
        let (agent, run) = (AgentId(Uuid::from_u128(7)), RunNo(1));
        let process = ProcessId { pid: 1, start_ticks: 2 };
        let (a, b) = (some_fd(), some_fd());
        let both = name(agent, run, &process, &[(Role::Stdin, a.as_fd()), (Role::Stdout, b.as_fd())]);
        let less = name(agent, run, &process, &[(Role::Stdout, b.as_fd())]);
        let back = vec![(both.clone(), some_fd()), (both.clone(), some_fd()), (less, some_fd())];
        let (mut runs, surplus) = sort(back);
        let kept = runs.get_mut(&(agent, run)).unwrap();
        assert!(kept.take(Role::Stdin).is_none() && kept.take(Role::Stdout).is_some());
        assert_eq!(surplus, [both]);
    }
}
