//! The published side: the committed state, and the order of events as readers follow it.
//!
//! Readers pull by (epoch, seq) from a ring of recent events or, further back, from the log; the only signal is that
//! the head moved. Nothing is ever dropped for a slow reader, and no reader can hold up the writer. A cursor the log
//! does not reach is answered with a reset.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};

use amux_core::board::Touch;
use amux_core::sight::Sight;
use amux_core::{State, resolve, view};
use amux_proto::entity::Message;
use amux_proto::event::{Line, Record};
use amux_proto::query::Query;
use amux_proto::{AgentId, Digest, Effect, Epoch, Event, Principal, Seq, effect};
use rusqlite::Connection;
use serde_json::value::RawValue;
use tokio::sync::{Notify, watch};

use crate::store::{self, Error, Store, Upcasters, filed};
use crate::writer::{Fold, Mode, Wish};

/// A reader's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub epoch: Epoch,
    pub seq: Seq,
}

/// One event, ready to be sent to any number of readers.
#[derive(Debug, Clone)]
pub struct Entry {
    pub seq: Seq,
    pub topic: &'static str,
    /// An event line, as JSON.
    pub json: Arc<str>,
}

/// An event as a transaction writes it, and the line that readers get once it is committed.
pub(crate) struct Written {
    pub(crate) record: Record,
    pub(crate) entry: Entry,
}

/// What lies after a cursor.
#[derive(Debug, Clone)]
pub enum Page {
    /// Consecutive; empty at the head.
    Events(Vec<Entry>),
    /// Only the log has them: ask [`Feed::from_log`], which blocks.
    InLog,
    /// This history does not continue that cursor.
    Reset,
}

/// The ring covers a restart of a client; older cursors read the log.
const RING_EVENTS_MAX: usize = 4096;
const RING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the writer shows. Written only after a commit.
pub struct Published {
    epoch: Epoch,
    fold: RwLock<Fold>,
    ring: RwLock<Ring>,
    floor: RwLock<Seq>,
    head: watch::Sender<Seq>,
    wishes_moved: watch::Sender<u64>,
    watched: Mutex<BTreeMap<AgentId, watch::Sender<u64>>>,
    touched: Mutex<Weak<Touched>>,
    mode: watch::Sender<Mode>,
    uncompacted: OnceLock<String>,
}

/// What was published and not told yet.
#[derive(Default)]
pub(crate) struct News {
    head: Option<Seq>,
    /// Who follows, and which rows.
    board: Option<(Arc<Touched>, BTreeSet<Touch>)>,
    wishes_moved: bool,
    /// Agents of which something is wished, or has come true.
    concerned: BTreeSet<AgentId>,
}

/// Rows of the board that may have changed since somebody last looked. One that is touched often is there once, so
/// this is never larger than the board.
#[derive(Default)]
pub struct Touched {
    rows: Mutex<BTreeSet<Touch>>,
    bell: Notify,
}

impl Touched {
    /// Waits until there is something.
    pub async fn moved(&self) {
        self.bell.notified().await;
    }

    pub fn take(&self) -> BTreeSet<Touch> {
        std::mem::take(&mut *self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, touched: BTreeSet<Touch>) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing more can be said than everything.
        if !rows.contains(&Touch::Everything) {
            rows.extend(touched);
        }
        drop(rows);
        self.bell.notify_one();
    }
}

#[derive(Default)]
struct Ring {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Published {
    pub(crate) fn new(epoch: Epoch, floor: Seq, fold: Fold, mode: Mode) -> Self {
        Self {
            epoch,
            head: watch::Sender::new(fold.head),
            wishes_moved: watch::Sender::new(0),
            watched: Mutex::default(),
            touched: Mutex::default(),
            mode: watch::Sender::new(mode),
            uncompacted: OnceLock::new(),
            fold: RwLock::new(fold),
            ring: RwLock::default(),
            floor: RwLock::new(floor),
        }
    }

    /// The committed state and its place. Short work only: the writer waits for it.
    pub fn read<R>(&self, look: impl FnOnce(&State, Seq) -> R) -> R {
        let fold = self.fold.read().unwrap_or_else(PoisonError::into_inner);
        look(&fold.state, fold.head)
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub fn floor(&self) -> Seq {
        *self.floor.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Open wishes, oldest first.
    pub fn wishes(&self) -> Vec<Wish> {
        let fold = self.fold.read().unwrap_or_else(PoisonError::into_inner);
        let mut wishes: Vec<_> = fold.wishes.values().cloned().collect();
        wishes.sort_by_key(|wish| wish.seq);
        wishes
    }

    pub fn watch_head(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }

    /// Runs that are to begin or to end, oldest first.
    pub fn run_wishes(&self) -> Vec<Wish> {
        let fold = self.fold.read().unwrap_or_else(PoisonError::into_inner);
        // Of the kinds in their order these are the first.
        let of_runs = fold.wishes.iter().take_while(|(key, _)| key.kind < effect::Kind::Answer);
        let mut wishes: Vec<_> = of_runs.map(|(_, wish)| wish.clone()).collect();
        wishes.sort_by_key(|wish| wish.seq);
        wishes
    }

    /// What is wished of the runs of one agent, and the decisions on their way to it; oldest first.
    pub fn wishes_of(&self, agent: AgentId) -> Vec<Wish> {
        let fold = self.fold.read().unwrap_or_else(PoisonError::into_inner);
        let near = fold.wishes.iter().take_while(|(key, _)| key.kind < effect::Kind::Deliver);
        let is_of = |wish: &&Wish| match &wish.effect {
            Effect::EnsureRunning { agent: of, .. } | Effect::EnsureStopped { agent: of, .. } => *of == agent,
            Effect::Answer { request } => fold.state.requests.get(request).is_some_and(|asked| asked.agent == agent),
            Effect::Deliver { .. } => false,
        };
        let mut wishes: Vec<_> = near.map(|(_, wish)| wish).filter(is_of).cloned().collect();
        wishes.sort_by_key(|wish| wish.seq);
        wishes
    }

    /// Changes whenever something about an agent is different.
    pub fn watch_agent(&self, agent: AgentId) -> watch::Receiver<u64> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|_, moved| moved.receiver_count() > 0);
        watched.entry(agent).or_default().subscribe()
    }

    /// What changes on the board, from now on; for the newest who asks, and as long as it is held.
    pub fn follow_board(&self) -> Arc<Touched> {
        let touched = Arc::<Touched>::default();
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&touched);
        touched
    }

    /// Changes whenever a wish was opened or settled.
    pub fn watch_wishes(&self) -> watch::Receiver<u64> {
        self.wishes_moved.subscribe()
    }

    pub fn watch_mode(&self) -> watch::Receiver<Mode> {
        self.mode.subscribe()
    }

    /// Why no old history is forgotten, if that is so.
    pub fn uncompacted(&self) -> Option<&str> {
        self.uncompacted.get().map(String::as_str)
    }

    pub fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    pub(crate) fn fold(&self) -> Fold {
        self.fold.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Readers see it from here on; those who wait for something new hear of it when they are told.
    pub(crate) fn append(&self, written: Vec<Written>) -> News {
        let Some(last) = written.last() else { return News::default() };
        let head = Some(last.record.seq);
        let mut concerned = BTreeSet::new();
        let follower = self.touched.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        let mut touched = BTreeSet::new();
        let wishes_moved = {
            let mut fold = self.fold.write().unwrap_or_else(PoisonError::into_inner);
            written.iter().fold(false, |moved, Written { record, .. }| {
                concerned.extend(amux_core::wish::concerns(&fold.state, &record.event));
                if follower.is_some() {
                    amux_core::board::touched(&fold.state, &record.event, &mut |touch| {
                        touched.insert(touch);
                    });
                }
                fold.fold(record);
                moved
                    || !amux_core::wish::opened(&record.event).is_empty()
                    || !amux_core::wish::settled(&record.event).is_empty()
            })
        };
        {
            let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
            written.into_iter().for_each(|Written { entry, .. }| ring.push(entry));
        }
        let board = follower.filter(|_| !touched.is_empty()).map(|follower| (follower, touched));
        News { head, board, wishes_moved, concerned }
    }

    pub(crate) fn tell(&self, news: News) {
        let Some(head) = news.head else { return };
        self.head.send_replace(head);
        if let Some((follower, touched)) = news.board {
            follower.add(touched);
        }
        if news.wishes_moved {
            self.wishes_moved.send_modify(|count| *count += 1);
        }
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        for moved in news.concerned.iter().filter_map(|agent| watched.get(agent)) {
            moved.send_modify(|count| *count += 1);
        }
    }

    pub(crate) fn note_attempt(&self, key: &effect::Key, note: impl FnOnce(&mut Wish)) {
        let mut fold = self.fold.write().unwrap_or_else(PoisonError::into_inner);
        fold.wishes.get_mut(key).map(note);
    }

    /// What this principal sees of these events.
    pub fn seen(&self, actor: &Principal, entries: Vec<Entry>) -> Vec<Entry> {
        if *actor == Principal::Operator {
            return entries;
        }
        // The writer waits for whoever reads the state; so it is read between the parsing and the writing.
        let read: Vec<(Entry, Line, Event)> = entries.into_iter().filter_map(parsed).collect();
        let seen: Vec<_> = self.read(|state, _| {
            let sight = Sight::of(state, actor);
            let each = read.into_iter().filter_map(|(entry, line, event)| {
                let seen = sight.event(event.clone())?;
                let is_whole = seen == event;
                Some((entry, line, (!is_whole).then_some(seen)))
            });
            each.collect()
        });
        let written = seen.into_iter().filter_map(|(entry, line, narrowed)| match narrowed {
            None => Some(entry),
            Some(event) => {
                let json = serde_json::to_string(&Line { data: event.encode().ok()?, ..line }).ok()?;
                Some(Entry { json: json.into(), ..entry })
            }
        });
        written.collect()
    }

    pub(crate) fn set_floor(&self, floor: Seq) {
        *self.floor.write().unwrap_or_else(PoisonError::into_inner) = floor;
    }

    pub(crate) fn set_uncompacted(&self, why: String) {
        // The first reason is the reason.
        let _ = self.uncompacted.set(why);
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.mode.send_if_modified(|now| std::mem::replace(now, mode) != mode);
    }
}

impl Ring {
    fn push(&mut self, entry: Entry) {
        self.bytes += entry.json.len();
        self.entries.push_back(entry);
        while self.entries.len() > RING_EVENTS_MAX || self.bytes > RING_BYTES_MAX {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.json.len();
        }
    }
}

/// Follows the order. Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    published: Arc<Published>,
    log: Arc<Log>,
}

/// Connections that read the log; opened on first use and kept.
struct Log {
    path: PathBuf,
    upcasters: Upcasters,
    idle: Mutex<Vec<Connection>>,
}

/// More readers of old history than this at once open and close their own connection.
const IDLE_CONNECTIONS_MAX: usize = 2;

impl Feed {
    pub(crate) fn new(published: Arc<Published>, path: &Path, upcasters: Upcasters) -> Self {
        Self { published, log: Arc::new(Log { path: path.to_owned(), upcasters, idle: Mutex::default() }) }
    }

    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// Up to `limit` events after the cursor, without waiting for anything.
    pub fn after(&self, cursor: Cursor, limit: usize) -> Page {
        if !self.reaches(cursor) {
            return Page::Reset;
        }
        let ring = self.published.ring.read().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = ring.entries.front() else {
            let at_head = cursor.seq == self.published.read(|_, head| head);
            return if at_head { Page::Events(Vec::new()) } else { Page::InLog };
        };
        if cursor.seq.next() < first.seq {
            return Page::InLog;
        }
        let skip = usize::try_from(cursor.seq.0 + 1 - first.seq.0).unwrap_or(usize::MAX);
        Page::Events(ring.entries.iter().skip(skip).take(limit).cloned().collect())
    }

    /// The same from the disk. Blocks.
    pub fn from_log(&self, cursor: Cursor, limit: usize) -> Result<Page, Error> {
        if !self.reaches(cursor) {
            return Ok(Page::Reset);
        }
        let conn = self.log.take()?;
        let mut records = store::log_after(&conn, &self.log.upcasters, cursor.seq, limit)?;
        // A commit is on the disk before it is published, and nobody learns of it before that.
        let head = self.published.read(|_, head| head);
        records.retain(|record| record.seq <= head);
        self.log.give_back(conn);
        // Compaction may have passed the cursor while we read.
        let follows = records.first().is_none_or(|record| record.seq == cursor.seq.next());
        if !follows {
            return Ok(Page::Reset);
        }
        let entry = |record: &Record| {
            let body = record.event.encode().map_err(|error| Error::Corrupt { what: error.to_string() })?;
            Ok(Entry::of(self.published.epoch, record, body))
        };
        Ok(Page::Events(records.iter().map(entry).collect::<Result<_, Error>>()?))
    }

    /// Whether a question may be about old mail.
    pub fn asks_for_old_mail(&self, actor: &Principal, query: &Query) -> bool {
        match query {
            Query::Message(query) => !self.published.read(|state, _| is_of_today(state, actor, &query.message)),
            Query::Attachment(query) => !self.published.read(|state, _| is_of_today(state, actor, &query.message)),
            Query::Inbox(query) => query.all,
            Query::Thread(_) => true,
            _ => false,
        }
    }

    /// The old mail a question may be about. Blocks.
    pub fn old_mail(&self, actor: &Principal, query: &Query) -> Result<Vec<Message>, Error> {
        let conn = self.log.take()?;
        let old = match query {
            Query::Message(query) => filed::named(&conn, &query.message)?,
            Query::Attachment(query) => filed::named(&conn, &query.message)?,
            Query::Inbox(query) => match self.published.read(|state, _| view::whose(state, actor, query)) {
                Ok(of) => filed::mail_of(&conn, of, view::inbox_limit(query))?,
                Err(_) => Vec::new(),
            },
            Query::Thread(query) => {
                let named = filed::named(&conn, &query.thread)?;
                let of_today =
                    self.published.read(|state, _| resolve::message(state, actor, &query.thread).map(|of| of.thread));
                match of_today.ok().or(named.first().map(|message| message.thread)) {
                    Some(thread) => [named, filed::thread(&conn, thread, view::THREAD_MAX)?].concat(),
                    None => named,
                }
            }
            _ => Vec::new(),
        };
        self.log.give_back(conn);
        Ok(old)
    }

    /// The newest old mail that holds on to a file. Blocks, and reads all of it.
    pub fn old_mail_with(&self, digest: &Digest) -> Result<Vec<Message>, Error> {
        let conn = self.log.take()?;
        let old = filed::holding(&conn, digest)?;
        self.log.give_back(conn);
        Ok(old)
    }

    fn reaches(&self, cursor: Cursor) -> bool {
        cursor.epoch == self.published.epoch
            && cursor.seq >= self.published.floor()
            && cursor.seq <= self.published.read(|_, head| head)
    }
}

fn is_of_today(state: &State, actor: &Principal, reference: &str) -> bool {
    resolve::message(state, actor, reference).is_ok()
}

impl Entry {
    /// `body` is the event's, encoded.
    pub(crate) fn of(epoch: Epoch, record: &Record, body: Box<RawValue>) -> Self {
        let topic = record.event.topic();
        let line = Line {
            epoch,
            seq: record.seq,
            at: record.at,
            actor: record.actor_name.clone(),
            cause: record.cause,
            cmd_id: record.cmd_id,
            topic: topic.to_owned(),
            kind: record.event.name().to_owned(),
            data: body,
        };
        let json = serde_json::to_string(&line).expect("a line has string keys and no fallible serializer");
        Self { seq: record.seq, topic, json: json.into() }
    }
}

impl Log {
    fn take(&self) -> Result<Connection, Error> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| Store::reader(&self.path), Ok)
    }

    fn give_back(&self, conn: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(conn);
        }
    }
}

/// What cannot be read again is shown to nobody who may not see everything.
fn parsed(entry: Entry) -> Option<(Entry, Line, Event)> {
    let line: Line = serde_json::from_str(&entry.json).ok()?;
    let event = Event::decode(&line.kind, line.data.get())?.ok()?;
    Some((entry, line, event))
}
