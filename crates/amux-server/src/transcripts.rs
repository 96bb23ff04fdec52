//! What agents said and did, read from where their runs are kept; and what their processes use.

use std::path::Path;

use amux_engine::archive::{self, Key, Roots};
use amux_proto::entity::RunState;
use amux_proto::query;
use amux_proto::view::{FramesPage, ProcessUse, Processes, TranscriptPage};
use amux_proto::{AgentId, Code, Rejection, RunNo};
use amux_runner::frames::{Files, Page, Place, Room};
use amux_runner::{Ask, journal};
use amux_sys::clock;
use serde_json::value::RawValue;

use crate::acts::ask_live;
use crate::daemon::Daemon;

const ENTRIES_DEFAULT: u32 = 50;
const ENTRIES_MAX: u32 = 2000;

/// One answer stays well below what a client takes.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Frames are JSON in JSON, which may double them.
const FRAMES_BYTES_MAX: usize = 1024 * 1024;

pub(crate) async fn page(daemon: &Daemon, asked: &query::Transcript) -> Result<TranscriptPage, Rejection> {
    let published = daemon.engine.published();
    let agent = published.resolve_agent(&asked.agent)?;
    let label = published.label(agent);
    let newest = published.agent(&asked.agent)?.current_run.map(|run| run.no);
    let Some(run) = asked.run.map(RunNo).or(newest) else {
        return Ok(TranscriptPage { agent: label, run: RunNo(0), entries: Vec::new(), from: 0, next: 0 });
    };
    let limit = asked.limit.unwrap_or(ENTRIES_DEFAULT).min(ENTRIES_MAX) as usize;
    let part = match (asked.after, asked.before) {
        (Some(_), Some(_)) => {
            return Err(Rejection::new(Code::BadArgs, "entries are asked for after a place or before one, not both"));
        }
        (Some(after), None) => Part::After { after },
        (None, Some(before)) => Part::Before { before, limit },
        (None, None) => Part::Newest { limit },
    };
    let Read { entries, from, next } = read(daemon, agent, run, part, limit, PAGE_BYTES_MAX).await?;
    Ok(TranscriptPage { agent: label, run, entries, from, next })
}

/// The lines that crossed its pipes.
pub(crate) async fn frames(daemon: &Daemon, asked: &query::Frames) -> Result<FramesPage, Rejection> {
    let published = daemon.engine.published();
    let agent = published.resolve_agent(&asked.agent)?;
    let label = published.label(agent);
    if !published.has_no_terminal(agent) {
        let message = format!("a terminal has bytes and no frames: {label}");
        return Err(Rejection::new(Code::Unsupported, message).hint(format!("agentmux look {label}")));
    }
    let place = |text: &Option<String>| {
        let read = text.as_deref().map(str::parse::<Place>).transpose();
        read.map_err(|error| Rejection::new(Code::BadArgs, error.to_string()))
    };
    let (before, after) = (place(&asked.before)?, place(&asked.after)?);
    if before.is_some() && after.is_some() {
        return Err(Rejection::new(Code::BadArgs, "frames are asked for after a place or before one, not both"));
    }
    let newest = published.agent(&asked.agent)?.current_run;
    let Some(run) = asked.run.map(RunNo).or(newest.as_ref().map(|run| run.no)) else {
        let next = Place::default().to_string();
        return Ok(FramesPage { agent: label, run: RunNo(0), frames: Vec::new(), from: None, next });
    };
    let is_live = newest.as_ref().is_some_and(|newest| newest.no == run && newest.is_live());
    // Whoever ends a run is asked nothing until it has ended.
    let is_running = newest.is_some_and(|newest| matches!(newest.state, RunState::Running { .. }));
    let end = match is_live && is_running {
        true => ask_live(daemon, agent, |reply| Ask::Place { reply }).await.ok().flatten(),
        false => None,
    };
    let frames = asked.limit.unwrap_or(ENTRIES_DEFAULT).min(ENTRIES_MAX) as usize;
    let room = Room { frames, bytes: FRAMES_BYTES_MAX };
    let files = Files::of(daemon.runner.dir(agent, run), end, is_live);
    let page = reading(daemon, agent, run, move || match (before, after) {
        (Some(before), _) => files.before(before, room),
        (None, Some(after)) => files.after(after, room),
        (None, None) => files.newest(room),
    });
    let Page { frames, from, next } = page.await?;
    let (from, next) = (from.map(|from| from.to_string()), next.to_string());
    Ok(FramesPage { agent: label, run, frames, from, next })
}

/// Which part of a transcript.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    Newest { limit: usize },
    After { after: u64 },
    Between { after: u64, to: u64 },
    Before { before: u64, limit: usize },
}

pub(crate) struct Read {
    pub(crate) entries: Vec<Box<RawValue>>,
    pub(crate) from: u64,
    pub(crate) next: u64,
}

/// So many entries and bytes at most of what follows a place.
pub(crate) async fn read(
    daemon: &Daemon,
    agent: AgentId,
    run: RunNo,
    part: Part,
    limit: usize,
    bytes_max: usize,
) -> Result<Read, Rejection> {
    if let Part::Between { after, to } = part
        && to <= after
    {
        return Ok(Read { entries: Vec::new(), from: after, next: after });
    }
    let path = journal::transcript(&daemon.runner.dir(agent, run));
    reading(daemon, agent, run, move || entries(&path, part, limit, bytes_max)).await
}

/// Reads the files of a run, which is brought back if it was archived.
async fn reading<T: Send + 'static>(
    daemon: &Daemon,
    agent: AgentId,
    run: RunNo,
    read: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Rejection> {
    let path = journal::transcript(&daemon.runner.dir(agent, run));
    let (roots, key) = (archived(daemon), Key { agent, run });
    let read = tokio::task::spawn_blocking(move || {
        if !path.exists() {
            match roots.restore(key, clock::now_ms()) {
                Ok(_) | Err(archive::Error::Missing(_)) => {}
                Err(error) => return Err(std::io::Error::other(error)),
            }
        }
        read()
    })
    .await;
    let unreadable =
        |why: String| Rejection::new(Code::Unavailable, format!("what is kept of this run cannot be read: {why}"));
    read.map_err(|error| unreadable(error.to_string()))?.map_err(|error| unreadable(error.to_string()))
}

fn archived(daemon: &Daemon) -> Roots {
    Roots { tapes: daemon.layout.tapes(), archive: daemon.layout.archived_tapes() }
}

/// Entries of the file, the place before them and the place behind them.
fn entries(path: &Path, part: Part, limit: usize, bytes_max: usize) -> std::io::Result<Read> {
    let raw = |line: &[u8]| RawValue::from_string(String::from_utf8_lossy(line).into_owned()).ok();
    let (after, to) = match part {
        Part::After { after } => (after, u64::MAX),
        Part::Between { after, to } => (after, to),
        Part::Newest { limit } | Part::Before { limit, .. } => {
            let before = if let Part::Before { before, .. } = part { before } else { u64::MAX };
            let newest = journal::newest_before(path, before, limit, bytes_max)?;
            let entries = newest.lines.iter().filter_map(|line| raw(line)).collect();
            return Ok(Read { entries, from: newest.from, next: newest.end });
        }
    };
    let (mut entries, mut next, mut bytes) = (Vec::new(), after, 0);
    journal::each(path, after, |at, line| {
        if at > to {
            return false;
        }
        next = at;
        bytes += line.len();
        entries.extend(raw(line));
        entries.len() < limit && bytes < bytes_max
    })?;
    Ok(Read { entries, from: after, next })
}

/// The newest of what a run without a terminal said, as lines to be read.
pub(crate) fn as_lines(page: &TranscriptPage) -> Vec<String> {
    page.entries.iter().filter_map(|entry| amux_runner::plain::line(entry.get())).collect()
}

/// Everybody in the tree of an agent. Asked for by a person, and looked up then.
pub(crate) async fn processes(daemon: &Daemon, reference: &str) -> Result<Processes, Rejection> {
    let published = daemon.engine.published();
    let detail = published.agent(reference)?;
    let (agent, label) = (detail.agent.uid, published.label(detail.agent.uid));
    let Some(run) = detail.current_run.filter(|run| run.is_live()) else {
        return Ok(Processes { agent: label, processes: Vec::new(), rss_bytes: 0, cpu_ms: 0 });
    };
    let carried = daemon.runner.carried(agent, run.no);
    let leader = run.process().map(|process| process.pid);
    let found = tokio::task::spawn_blocking(move || {
        let mut pids: std::collections::BTreeSet<u32> =
            amux_sys::process::tagged(&carried.tags()).iter().map(|process| process.pid).collect();
        if let Some(leader) = leader {
            pids.insert(leader);
            pids.extend(amux_sys::process::descendants(leader).iter().map(|process| process.pid));
        }
        let each = pids.into_iter().map(|pid| ProcessUse {
            pid,
            command: amux_sys::process::command_line(pid).unwrap_or_default(),
            rss_bytes: amux_sys::process::rss_bytes(pid).unwrap_or(0),
            cpu_ms: amux_sys::process::cpu_ms(pid).unwrap_or(0),
        });
        each.collect::<Vec<_>>()
    });
    let processes = found.await.map_err(|error| Rejection::new(Code::Internal, format!("the look broke: {error}")))?;
    let rss_bytes = processes.iter().map(|process| process.rss_bytes).sum();
    let cpu_ms = processes.iter().map(|process| process.cpu_ms).sum();
    Ok(Processes { agent: label, processes, rss_bytes, cpu_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_entries_are_a_page_and_what_follows_them_is_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("transcript");
        let mut lines = journal::Lines::open(&path).unwrap();
        let large = "x".repeat(PAGE_BYTES_MAX / 4);
        (0..12).for_each(|_| lines.append(&large).unwrap());
        // One is half written.
        let torn = |bytes: &[u8]| {
            use std::io::Write as _;
            std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(bytes).unwrap();
        };
        torn(b"\"ne");
        let read = |part| entries(&path, part, 50, PAGE_BYTES_MAX).unwrap();
        let Read { entries: newest, from, next } = read(Part::Newest { limit: 50 });
        assert!(newest.iter().map(|entry| entry.get().len()).sum::<usize>() <= PAGE_BYTES_MAX);
        assert_eq!(newest.len(), 3);
        let before = read(Part::Before { before: from, limit: 2 });
        assert_eq!((before.entries.len(), before.next), (2, from));
        torn(b"xt\"\n");
        let after = read(Part::After { after: next });
        assert_eq!(after.entries.iter().map(|entry| entry.get()).collect::<Vec<_>>(), ["\"next\""]);
        // Up to a place, which is where an entry ends.
        let between = |to| read(Part::Between { after: from, to });
        assert_eq!((between(next).entries.len(), between(next).next), (3, next));
        assert_eq!((between(next - 1).entries.len(), between(from).next), (2, from));
    }
}
