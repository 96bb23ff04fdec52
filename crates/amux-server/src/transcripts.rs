//! What agents said and did, read from where their runs are kept; and what their processes use.

use std::path::Path;

use amux_engine::archive::{self, Key, Roots};
use amux_proto::query;
use amux_proto::view::{ProcessUse, Processes, TranscriptPage};
use amux_proto::{Code, Rejection, RunNo, env};
use amux_runner::journal;
use amux_sys::clock;
use serde_json::value::RawValue;

use crate::daemon::Daemon;

const ENTRIES_DEFAULT: u32 = 50;
const ENTRIES_MAX: u32 = 2000;

/// One answer stays well below what a client takes.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(crate) async fn page(daemon: &Daemon, asked: &query::Transcript) -> Result<TranscriptPage, Rejection> {
    let published = daemon.engine.published();
    let agent = published.resolve_agent(&asked.agent)?;
    let label = published.label(agent);
    let newest = published.agent(&asked.agent)?.current_run.map(|run| run.no);
    let Some(run) = asked.run.map(RunNo).or(newest) else {
        return Ok(TranscriptPage { agent: label, run: RunNo(0), entries: Vec::new(), next: 0 });
    };
    let path = journal::transcript(&daemon.runner.dir(agent, run));
    let limit = asked.limit.unwrap_or(ENTRIES_DEFAULT).min(ENTRIES_MAX) as usize;
    let after = asked.after;
    let (roots, key) = (archived(daemon), Key { agent, run });
    let read = tokio::task::spawn_blocking(move || {
        // An archived run that somebody reads is brought back.
        if !path.exists() {
            match roots.restore(key, clock::now_ms()) {
                Ok(_) | Err(archive::Error::Missing(_)) => {}
                Err(error) => return Err(std::io::Error::other(error)),
            }
        }
        entries(&path, after, limit)
    })
    .await;
    let unreadable = |why: String| Rejection::new(Code::Unavailable, format!("the transcript cannot be read: {why}"));
    let (entries, next) =
        read.map_err(|error| unreadable(error.to_string()))?.map_err(|error| unreadable(error.to_string()))?;
    Ok(TranscriptPage { agent: label, run, entries, next })
}

fn archived(daemon: &Daemon) -> Roots {
    Roots { tapes: daemon.layout.tapes(), archive: daemon.layout.archived_tapes() }
}

/// After a place in the file, or the newest; and the place behind them.
fn entries(path: &Path, after: Option<u64>, limit: usize) -> std::io::Result<(Vec<Box<RawValue>>, u64)> {
    let raw = |line: &[u8]| RawValue::from_string(String::from_utf8_lossy(line).into_owned()).ok();
    let mut entries = Vec::new();
    let Some(after) = after else {
        let newest = journal::newest(path, limit, PAGE_BYTES_MAX)?;
        entries.extend(newest.lines.iter().filter_map(|line| raw(line)));
        return Ok((entries, newest.end));
    };
    let (mut next, mut bytes) = (after, 0);
    journal::each(path, after, |at, line| {
        next = at;
        bytes += line.len();
        entries.extend(raw(line));
        entries.len() < limit && bytes < PAGE_BYTES_MAX
    })?;
    Ok((entries, next))
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
    let tag = format!("{agent}:{}", run.no);
    let leader = run.process().map(|process| process.pid);
    let found = tokio::task::spawn_blocking(move || {
        let mut pids: std::collections::BTreeSet<u32> =
            amux_sys::process::tagged(env::TAG, &tag).iter().map(|process| process.pid).collect();
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
        let (newest, next) = entries(&path, None, 50).unwrap();
        assert!(newest.iter().map(|entry| entry.get().len()).sum::<usize>() <= PAGE_BYTES_MAX);
        assert_eq!(newest.len(), 3);
        torn(b"xt\"\n");
        let (after, _) = entries(&path, Some(next), 50).unwrap();
        assert_eq!(after.iter().map(|entry| entry.get()).collect::<Vec<_>>(), ["\"next\""]);
    }
}
