//! Transcripts that one client follows. A follow is a place in a file: nothing is queued for it, and what came while
//! the client did not read is a larger page afterwards. What streams is told between the entries it came between, to
//! those who read it in time; for the others there is a hole until the next entry.

use std::sync::Arc;

use amux_proto::board::Entries;
use amux_proto::entity::Right;
use amux_proto::frame::{Follow, FrameId, ServerFrame};
use amux_proto::{AgentId, Code, Principal, Rejection, RunNo};
use amux_runner::{Listener, journal};
use futures_util::future::select_all;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::daemon::Daemon;
use crate::transcripts::{self, Part};

/// As many documents as terminals may be on one page.
const FOLLOWS_MAX: usize = 64;

const TAIL_DEFAULT: u32 = 200;
const TAIL_MAX: u32 = 2000;

/// Entries of one frame; what is typed meanwhile waits for no more than this.
const ENTRIES_AT_ONCE: usize = 500;
const BYTES_AT_ONCE: usize = 512 * 1024;

#[derive(Default)]
pub(crate) struct Follows {
    all: Vec<Following>,
    /// Who is asked first, so that one that never pauses does not keep the others from being heard.
    first: usize,
}

struct Following {
    id: FrameId,
    agent: AgentId,
    run: RunNo,
    /// Goes on to the runs behind this one.
    goes_on: bool,
    /// What is to be read first; `None` once it was.
    first: Option<Part>,
    /// There is more in the file than was told.
    has_more: bool,
    /// Told up to here.
    at: u64,
    told: Listener,
    /// Some of what streamed was not told: nothing is, before the next entry, so that no text has a hole.
    is_torn: bool,
    moved: watch::Receiver<u64>,
    /// Something about the agent is different since its newest run was looked at.
    has_moved: bool,
}

impl Follows {
    pub(crate) fn open(
        &mut self,
        daemon: &Daemon,
        principal: &Principal,
        id: FrameId,
        wanted: &Follow,
    ) -> Result<(), Rejection> {
        let published = daemon.engine.published();
        published.is_current(principal)?;
        if self.all.len() >= FOLLOWS_MAX {
            return Err(Rejection::new(Code::Limit, format!("at most {FOLLOWS_MAX} transcripts on one connection")));
        }
        if self.all.iter().any(|known| known.id == id) {
            return Err(Rejection::new(Code::Exists, format!("a transcript is followed with this id: {id}")));
        }
        let agent = published.resolve_agent(&wanted.agent)?;
        published.may(principal, Right::Look, agent)?;
        let (told, moved) = (daemon.runner.follow_transcript(agent), published.watch_agent(agent));
        let newest = newest_run(daemon, agent).unwrap_or_default();
        let tail = wanted.tail.unwrap_or(TAIL_DEFAULT).min(TAIL_MAX) as usize;
        self.all.push(Following {
            id,
            agent,
            run: wanted.run.map_or(newest, RunNo),
            goes_on: wanted.run.is_none() || wanted.after.is_some(),
            first: Some(wanted.after.map_or(Part::Newest { limit: tail }, |after| Part::After { after })),
            has_more: true,
            at: 0,
            told,
            is_torn: false,
            moved,
            has_moved: true,
        });
        Ok(())
    }

    pub(crate) fn close(&mut self, id: FrameId) -> bool {
        let before = self.all.len();
        self.all.retain(|following| following.id != id);
        self.all.len() < before
    }

    /// One that has something to say.
    pub(crate) fn ready(&mut self, daemon: &Daemon) -> Option<usize> {
        let count = self.all.len();
        let turn = self.first;
        (0..count).map(|at| (turn + at) % count).find(|at| self.all[*at].is_ready(daemon))
    }

    pub(crate) async fn changed(&mut self) {
        if self.all.is_empty() {
            return std::future::pending().await;
        }
        select_all(self.all.iter_mut().map(|following| Box::pin(following.changed()))).await;
    }

    /// What there is to say, if it is anything.
    pub(crate) async fn step(&mut self, daemon: &Arc<Daemon>, principal: &Principal, at: usize) -> Option<ServerFrame> {
        self.first = at + 1;
        let following = &mut self.all[at];
        // Whoever may not look any more is told nothing more.
        let said = match daemon.engine.published().may(principal, Right::Look, following.agent) {
            Ok(()) => following.next(daemon).await,
            Err(refusal) => Err(refusal),
        };
        match said {
            Ok(None) => None,
            Ok(Some(entries)) => {
                Some(ServerFrame { id: Some(following.id), entries: Some(entries), ..ServerFrame::default() })
            }
            Err(refusal) => {
                let following = self.all.swap_remove(at);
                Some(ServerFrame::error(Some(following.id), refusal))
            }
        }
    }
}

impl Following {
    fn is_ready(&mut self, daemon: &Daemon) -> bool {
        let told = self.told.told();
        self.has_more |= told.run == self.run && (told.end > self.at || self.told.is_behind(&told));
        // A run that begins, and an agent that goes.
        if std::mem::take(&mut self.has_moved) || self.moved.has_changed().unwrap_or(false) {
            self.moved.borrow_and_update();
            let newest = newest_run(daemon, self.agent);
            self.has_more |= newest.is_none_or(|newest| self.goes_on && newest > self.run);
        }
        self.has_more
    }

    async fn changed(&mut self) {
        tokio::select! {
            () = self.told.changed() => {}
            changed = self.moved.changed() => match changed {
                // Waiting takes note of it; what it means is looked at by whoever asks next.
                Ok(()) => self.has_moved = true,
                Err(_) => std::future::pending().await,
            },
        }
    }

    async fn next(&mut self, daemon: &Arc<Daemon>) -> Result<Option<Entries>, Rejection> {
        // Before the file is read: what is appended then is heard of again.
        let newest =
            newest_run(daemon, self.agent).ok_or_else(|| Rejection::new(Code::NotFound, "the agent was removed"))?;
        let is_first = self.first.is_some();
        let (mut part, mut reset) = match self.first.take() {
            Some(Part::After { after }) if self.end(daemon) < after => (Part::After { after: 0 }, true),
            Some(Part::After { after }) => (Part::After { after }, false),
            Some(part) => (part, true),
            None => {
                // In this order: all that streamed before the transcript went as far as told is among what is fetched.
                let told = self.told.told();
                let streamed = self.told.fetch(self.run, self.at);
                self.is_torn |= streamed.is_torn;
                if !streamed.entries.is_empty() && !self.is_torn {
                    return Ok(Some(self.live(streamed.entries)));
                }
                match streamed.after.or((told.run == self.run).then_some(told.end)) {
                    Some(to) => (Part::Between { after: self.at, to }, false),
                    None => (Part::After { after: self.at }, false),
                }
            }
        };
        let mut read = transcripts::read(daemon, self.agent, self.run, part, ENTRIES_AT_ONCE, BYTES_AT_ONCE).await?;
        if read.entries.is_empty() && self.goes_on && newest > self.run {
            // All of that run was told; its end is an entry like any other.
            (self.run, reset) = (newest, true);
            part = Part::After { after: 0 };
            read = transcripts::read(daemon, self.agent, self.run, part, ENTRIES_AT_ONCE, BYTES_AT_ONCE).await?;
        }
        self.is_torn &= read.next == self.at && !reset;
        self.at = match part {
            // It was written, so what cannot be read of it now is not waited for.
            Part::Between { to, .. } if read.entries.is_empty() => read.next.max(to),
            _ => read.next,
        };
        // Until a page is empty; who asked for the newest has them all at once.
        self.has_more = !read.entries.is_empty();
        if read.entries.is_empty() && !reset && !is_first {
            return Ok(None);
        }
        let (agent, run) = (self.agent, self.run);
        let (from, next) = (read.from, self.at);
        Ok(Some(Entries { agent, run, from, next, reset, live: false, entries: read.entries }))
    }

    fn live(&self, entries: Vec<Box<RawValue>>) -> Entries {
        let (agent, run, at) = (self.agent, self.run, self.at);
        Entries { agent, run, from: at, next: at, reset: false, live: true, entries }
    }

    fn end(&self, daemon: &Daemon) -> u64 {
        let path = journal::transcript(&daemon.runner.dir(self.agent, self.run));
        // One that was packed away is as long as it was.
        std::fs::metadata(path).map_or(u64::MAX, |meta| meta.len())
    }
}

/// `None` when there is no such agent any more.
fn newest_run(daemon: &Daemon, agent: AgentId) -> Option<RunNo> {
    daemon.engine.published().read(|state, _| {
        let found = state.agents.get(&agent)?;
        Some(found.run.as_ref().map(|run| run.no).unwrap_or_default())
    })
}
