//! The board: every row as it was last told, for all who watch it. One task makes the rows that an event may have
//! changed and keeps those that differ; a watcher is a place in the order of what changed, so that it costs nothing
//! while nothing changes, and one that does not read holds up nobody. Without a watcher nothing is made or kept.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use amux_engine::Published;
use amux_engine::board::{self, Key, SETTLED_MESSAGES, Touch};
use amux_proto::board::{Row, Server};
use amux_proto::frame::FrameId;
use amux_proto::{AgentId, MessageId, Seq, Time};
use amux_runner::worktree;
use amux_sys::clock;
use tokio::sync::watch;

use crate::answers;
use crate::daemon::Daemon;

/// What comes closer together than this is one change to an eye.
const PAUSE: Duration = Duration::from_millis(50);

/// Making rows takes at most one part in this many of one processor.
const SHARE: u32 = 8;

/// Rows of one frame; what is typed meanwhile waits for no more than this.
const FRAME_BYTES: usize = 256 * 1024;

/// So many rows that are gone are remembered; who slept through more starts over.
const GONE_MAX: usize = 4096;

/// Messages are read a few at a time: why one waits takes a while to work out, and the writer waits for readers.
const MESSAGES_AT_ONCE: usize = 32;

/// The longest that a row with a time in it is not looked at, in case the clock was set.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

pub(crate) struct Board {
    kept: Mutex<Kept>,
    /// The newest change; 0 while nothing is kept.
    moved: watch::Sender<u64>,
    watchers: watch::Sender<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Server,
    Of(Key),
}

#[derive(Default)]
struct Kept {
    rows: BTreeMap<Place, Line>,
    /// The rows by when they changed last.
    order: BTreeMap<u64, Place>,
    gone: BTreeSet<u64>,
    changes: u64,
    /// Who knows less than this starts over.
    floor: u64,
    head: Seq,
}

struct Line {
    change: u64,
    json: Arc<str>,
}

impl Default for Board {
    fn default() -> Self {
        Self { kept: Mutex::default(), moved: watch::Sender::new(0), watchers: watch::Sender::new(0) }
    }
}

impl Board {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, head: Seq, made: Vec<Made>) {
        let mut kept = self.kept();
        for made in made {
            kept.put(made);
        }
        kept.head = head;
        while kept.gone.len() > GONE_MAX {
            let Some(oldest) = kept.gone.pop_first() else { break };
            kept.floor = oldest;
            if let Some(place) = kept.order.remove(&oldest) {
                kept.rows.remove(&place);
            }
        }
        let newest = kept.changes;
        drop(kept);
        self.moved.send_if_modified(|known| std::mem::replace(known, newest) != newest);
    }

    fn clear(&self) {
        self.moved.send_replace(0);
        let mut kept = self.kept();
        let changes = kept.changes + 1;
        *kept = Kept { changes, floor: changes, ..Kept::default() };
    }
}

struct Made {
    place: Place,
    json: String,
    is_gone: bool,
}

impl Kept {
    fn put(&mut self, made: Made) {
        let known = self.rows.get(&made.place);
        // Of what nobody was told, nobody needs to know that it is gone.
        if known.map_or(made.is_gone, |known| *known.json == *made.json) {
            return;
        }
        if let Some(known) = known {
            self.order.remove(&known.change);
            self.gone.remove(&known.change);
        }
        self.changes += 1;
        self.order.insert(self.changes, made.place.clone());
        if made.is_gone {
            self.gone.insert(self.changes);
        }
        self.rows.insert(made.place, Line { change: self.changes, json: made.json.into() });
    }
}

/// Makes rows as long as somebody watches.
pub(crate) async fn keep(daemon: Arc<Daemon>) {
    let published = Arc::clone(daemon.engine.published());
    let mut watchers = daemon.board.watchers.subscribe();
    let mut ending = daemon.ending.subscribe();
    loop {
        tokio::select! {
            waited = watchers.wait_for(|watchers| *watchers > 0) => if waited.is_err() { return },
            _ = ending.wait_for(Option::is_some) => return,
        }
        let touched = published.follow_board();
        let (mut mode, mut asked) = (published.watch_mode(), daemon.asked.subscribe());
        let mut maker = Maker::default();
        let mut touches = BTreeSet::from([Touch::Everything]);
        while *watchers.borrow_and_update() > 0 {
            let began = Instant::now();
            // With thousands of messages this takes a while; other tasks go on meanwhile.
            tokio::task::block_in_place(|| maker.make(&daemon, std::mem::take(&mut touches)));
            tokio::time::sleep(PAUSE.max(began.elapsed() * SHARE)).await;
            let due = maker.next_due();
            tokio::select! {
                () = touched.moved() => {}
                _ = mode.changed() => {}
                _ = asked.changed() => {}
                _ = watchers.changed() => {}
                () = tokio::time::sleep(due.unwrap_or(LOOK_AGAIN)), if due.is_some() => {}
                _ = ending.wait_for(Option::is_some) => return,
            }
            touches = touched.take();
        }
        daemon.board.clear();
    }
}

/// What is needed to know which rows there are to be.
#[derive(Default)]
struct Maker {
    /// The newest messages.
    newest: BTreeSet<(Time, MessageId)>,
    /// Rows that will be others by then.
    due: BTreeSet<(Time, MessageId)>,
    due_at: BTreeMap<MessageId, Time>,
    /// Read once: the branch of a worktree stays what it is as long as the agent is there.
    branches: BTreeMap<AgentId, String>,
}

impl Maker {
    fn next_due(&self) -> Option<Duration> {
        let (at, _) = self.due.first()?;
        // What waits until a moment waits no more just after it.
        let ms = u64::try_from(at.0.saturating_sub(clock::now_ms()).saturating_add(1)).unwrap_or(0);
        Some(Duration::from_millis(ms).min(LOOK_AGAIN))
    }

    fn make(&mut self, daemon: &Daemon, touches: BTreeSet<Touch>) {
        let published = daemon.engine.published();
        let now = Time(clock::now_ms());
        let (mut keys, mut messages) = (BTreeSet::new(), BTreeSet::new());
        let due = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id);
        messages.extend(due);
        if touches.contains(&Touch::Everything) {
            let kept = daemon.board.kept();
            for place in kept.rows.keys() {
                match place {
                    Place::Of(Key::Message(id)) => drop(messages.insert(*id)),
                    Place::Of(key) => drop(keys.insert(key.clone())),
                    Place::Server => {}
                }
            }
            drop(kept);
            self.find_all(published, &mut keys, &mut messages);
        } else {
            self.find(published, touches, &mut keys, &mut messages);
        }
        let server = serde_json::to_string(&server_row(daemon));
        let mut made = vec![Made { place: Place::Server, json: server.unwrap_or_default(), is_gone: false }];
        // Everything but messages shows one moment: trees and the panes in them belong together.
        let (head, mut rows) = published.read(|state, head| {
            let rows = keys.iter().map(|key| board::row(state, key, now).0).collect::<Vec<_>>();
            (head, rows)
        });
        rows.iter_mut().for_each(|row| self.name_branch(daemon, row));
        made.extend(keys.into_iter().zip(rows).map(|(key, row)| of_row(key, &row)));
        let messages: Vec<MessageId> = messages.into_iter().collect();
        for some in messages.chunks(MESSAGES_AT_ONCE) {
            let rows = published.read(|state, _| {
                let one = |id: &MessageId| {
                    let found = state.messages.get(id);
                    let is_shown =
                        found.is_some_and(|found| board::is_open(found) || self.newest.contains(&(found.created, *id)));
                    let key = Key::Message(*id);
                    let (row, until) = if is_shown { board::row(state, &key, now) } else { (board::gone(&key), None) };
                    (key, row, until)
                };
                some.iter().map(one).collect::<Vec<_>>()
            });
            for (key, row, until) in rows {
                if let Key::Message(id) = key {
                    self.set_due(id, until);
                }
                made.push(of_row(key, &row));
            }
        }
        daemon.board.put(head, made);
    }

    fn find_all(&mut self, published: &Published, keys: &mut BTreeSet<Key>, messages: &mut BTreeSet<MessageId>) {
        published.read(|state, _| {
            keys.extend(board::keys(state));
            self.newest.clear();
            for message in state.messages.values() {
                if board::is_open(message) {
                    messages.insert(message.id);
                }
                self.newest.insert((message.created, message.id));
                if self.newest.len() > SETTLED_MESSAGES {
                    self.newest.pop_first();
                }
            }
        });
        messages.extend(self.newest.iter().map(|(_, id)| *id));
    }

    fn find(
        &mut self,
        published: &Published,
        touches: BTreeSet<Touch>,
        keys: &mut BTreeSet<Key>,
        messages: &mut BTreeSet<MessageId>,
    ) {
        published.read(|state, _| {
            for touch in touches {
                match touch {
                    Touch::Row(Key::Message(id)) => {
                        messages.insert(id);
                        if let Some(message) = state.messages.get(&id)
                            && self.newest.insert((message.created, id))
                            && self.newest.len() > SETTLED_MESSAGES
                            && let Some((_, oldest)) = self.newest.pop_first()
                        {
                            messages.insert(oldest);
                        }
                    }
                    Touch::Row(key) => drop(keys.insert(key)),
                    Touch::MailOf(agent) => messages.extend(state.waiting_for(agent).map(|message| message.id)),
                    Touch::Everything => {}
                }
            }
        });
    }

    fn name_branch(&mut self, daemon: &Daemon, row: &mut Row) {
        let Row::Agent { key, row } = row else { return };
        let Some(agent) = row.as_mut().filter(|agent| agent.worktree) else {
            self.branches.remove(key);
            return;
        };
        if let Entry::Vacant(unread) = self.branches.entry(*key)
            && let Some(branch) = worktree::branch(&daemon.layout.worktrees(), &key.to_string())
        {
            unread.insert(branch);
        }
        agent.branch = self.branches.get(key).cloned();
    }

    fn set_due(&mut self, id: MessageId, until: Option<Time>) {
        if let Some(known) = self.due_at.remove(&id) {
            self.due.remove(&(known, id));
        }
        if let Some(until) = until {
            self.due.insert((until, id));
            self.due_at.insert(id, until);
        }
    }
}

fn of_row(key: Key, row: &Row) -> Made {
    let is_gone = is_gone(row);
    let json = serde_json::to_string(row).expect("rows have string keys and no fallible serializer");
    Made { place: Place::Of(key), json, is_gone }
}

fn is_gone(row: &Row) -> bool {
    match row {
        Row::Agent { row, .. } => row.is_none(),
        Row::Team { row, .. } => row.is_none(),
        Row::Request { row, .. } => row.is_none(),
        Row::Message { row, .. } => row.is_none(),
        Row::Workspace { row, .. } => row.is_none(),
        Row::Tab { row, .. } => row.is_none(),
        Row::Pane { row, .. } => row.is_none(),
        Row::Closed { row, .. } => row.is_none(),
        Row::Kind { row, .. } => row.is_none(),
        Row::Setting { row, .. } => row.is_none(),
        Row::Server { row, .. } => row.is_none(),
    }
}

fn server_row(daemon: &Daemon) -> Row {
    let status = answers::status(daemon);
    let hostname = daemon.engine.published().read(|state, _| state.host.as_ref().map(|host| host.hostname.clone()));
    let row = Server {
        profile: status.profile.clone(),
        version: status.version,
        mode: status.mode,
        started: status.started,
        epoch: status.epoch,
        hostname,
        web_url: status.web_url,
    };
    Row::Server { key: status.profile, row: Some(row) }
}

/// One client's place on the board.
pub(crate) struct Watching {
    pub(crate) id: FrameId,
    /// Told up to this change; 0: nothing yet.
    at: u64,
    seq: Option<Seq>,
    moved: watch::Receiver<u64>,
    daemon: Arc<Daemon>,
}

impl Watching {
    pub(crate) fn new(daemon: &Arc<Daemon>, id: FrameId) -> Self {
        daemon.board.watchers.send_modify(|watchers| *watchers += 1);
        Self { id, at: 0, seq: None, moved: daemon.board.moved.subscribe(), daemon: Arc::clone(daemon) }
    }

    pub(crate) fn is_ready(&mut self) -> bool {
        *self.moved.borrow_and_update() > self.at
    }

    pub(crate) async fn changed(&mut self) {
        if self.moved.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// The next frame as a line: a part of what changed, the oldest first.
    pub(crate) fn frame(&mut self) -> String {
        let kept = self.daemon.board.kept();
        let reset = self.at == 0 || self.at < kept.floor;
        if reset {
            self.at = kept.floor;
        }
        let mut rows = String::new();
        for (change, place) in kept.order.range(self.at + 1..) {
            if !rows.is_empty() && rows.len() > FRAME_BYTES {
                break;
            }
            self.at = *change;
            if (reset && kept.gone.contains(change)) || !kept.rows.contains_key(place) {
                continue;
            }
            if !rows.is_empty() {
                rows.push(',');
            }
            rows.push_str(&kept.rows[place].json);
        }
        let (seq, after) = (kept.head, self.seq.filter(|_| !reset));
        drop(kept);
        self.seq = Some(seq);
        let after = after.map_or_else(|| "null".to_owned(), |after| after.to_string());
        format!(
            "{{\"id\":{},\"rows\":{{\"seq\":{seq},\"after\":{after},\"reset\":{reset},\"rows\":[{rows}]}}}}\n",
            self.id
        )
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.daemon.board.watchers.send_modify(|watchers| *watchers -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_look_is_for_the_row_that_changes_first() {
        let mut maker = Maker::default();
        let [first, second] = [1, 2].map(|n| MessageId(uuid::Uuid::from_u128(n)));
        let at = |ms: i64| Some(Time(clock::now_ms() + ms));
        assert_eq!(maker.next_due(), None);
        maker.set_due(first, at(20_000));
        maker.set_due(second, at(40_000));
        let soon = maker.next_due().unwrap();
        assert!(soon > Duration::from_secs(10) && soon <= Duration::from_millis(20_001), "{soon:?}");
        // It waits for something else, then for nothing that a clock says.
        maker.set_due(first, at(3_600_000));
        assert!(maker.next_due().unwrap() > Duration::from_secs(30));
        maker.set_due(second, None);
        assert_eq!(maker.next_due(), Some(LOOK_AGAIN), "the clock may be set meanwhile");
        maker.set_due(first, at(-1_000));
        assert_eq!(maker.next_due(), Some(Duration::ZERO));
        maker.set_due(first, None);
        assert_eq!((maker.next_due(), maker.due.len(), maker.due_at.len()), (None, 0, 0));
    }
}
