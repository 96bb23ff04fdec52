//! The write path, whole and synchronous: receipts, decision, one transaction, publication, answers.
//!
//! The writer folds a batch into its own pending state while the transaction is open. Readers see the published
//! state, which is folded again after the commit; a commit that fails leaves it as it was, and the pending state is
//! taken from it anew.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use amux_core::{Ctx, State, decide, mail, row, view, wish};
use amux_proto::command;
use amux_proto::entity::Message;
use amux_proto::event::{Record, message};
use amux_proto::{CmdId, Code, Command, Effect, Epoch, Event, Principal, Rejection, Rev, Seq, Time, effect};
use rusqlite::{Connection, TransactionBehavior};
use serde_json::value::RawValue;

pub use crate::feed::Published;
use crate::feed::{Entry, Feed, News, Written};
use crate::store::{self, Digest, Error, Keep, Opened, Store, Stored, filed};

/// An order with everything it needs to be decided.
#[derive(Debug, Clone)]
pub struct Submission {
    pub cmd_id: CmdId,
    pub actor: Principal,
    pub command: Command,
    pub expect: Option<Rev>,
    /// The event whose effect led to this command.
    pub cause: Option<Seq>,
}

/// What a command came to. The same for every retry of it.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The place of its last event, or of the head when it changed nothing.
    pub seq: Seq,
    pub answer: Box<RawValue>,
}

pub type Answer = Result<Committed, Rejection>;

/// A wish that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub effect: Effect,
    /// The event that opened it.
    pub seq: Seq,
    pub attempts: u32,
    /// A failed attempt is not repeated before this.
    pub not_before_ms: i64,
}

/// Whether the store takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    ReadWrite,
    ReadOnly,
}

/// The moments around a commit at which a crash must be survivable; tests are told of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    Received,
    Decided,
    Committed,
    Published,
    Answered,
}

/// Refusals remembered for retries. They change nothing, so losing them to a crash is harmless: the command is then
/// decided anew. Bounded, because refusing must cost a hostile client more than it costs us.
const REJECTIONS_REMEMBERED: usize = 4096;

pub struct Writer {
    store: Store,
    epoch: Epoch,
    pending: Fold,
    published: Arc<Published>,
    /// Whoever waits for an answer has it before those who follow are woken.
    news: News,
    rejections: Rejections,
    observe: Option<Box<dyn FnMut(Boundary) + Send>>,
    /// Messages that have left memory since [`Self::is_lighter`] said so.
    left: usize,
}

/// So many messages are some megabytes, in two folds.
const LIGHTER: usize = 8_192;

/// What a sequence of events amounts to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fold {
    pub(crate) state: State,
    pub(crate) head: Seq,
    pub(crate) wishes: BTreeMap<effect::Key, Wish>,
}

impl Writer {
    pub fn new(opened: Opened) -> Self {
        let Opened { store, state, epoch, head, floor, wishes, migrated: _, is_full } = opened;
        let wishes = wishes.into_iter().map(|wish| (wish.effect.key(), wish)).collect();
        let pending = Fold { state, head, wishes };
        let mode = if is_full { Mode::ReadOnly } else { Mode::ReadWrite };
        let published = Arc::new(Published::new(epoch, floor, pending.clone(), mode));
        let (news, rejections) = (News::default(), Rejections::default());
        Self { store, epoch, pending, published, news, rejections, observe: None, left: 0 }
    }

    /// Calls `observe` at every boundary of every batch.
    #[must_use]
    pub fn observed(mut self, observe: Box<dyn FnMut(Boundary) + Send>) -> Self {
        self.observe = Some(observe);
        self
    }

    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    pub fn feed(&self) -> Feed {
        Feed::new(Arc::clone(&self.published), &self.store.path, self.store.upcasters.clone())
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Decides and commits a batch in one transaction. `Err` means that this process must not go on writing.
    pub fn step(
        &mut self,
        batch: &[Submission],
        now: Time,
        entropy: &mut dyn FnMut() -> u128,
    ) -> Result<Vec<Answer>, Error> {
        self.reach(Boundary::Received);
        match self.transact(batch, now, entropy).map_err(|error| self.store.why(error)) {
            Ok(done) => {
                self.reach(Boundary::Committed);
                self.publish(done.written);
                if done.has_written {
                    self.published.set_mode(Mode::ReadWrite);
                }
                self.reach(Boundary::Published);
                for (submission, digest, rejection) in done.rejected {
                    self.rejections.remember(submission, digest, rejection);
                }
                Ok(done.answers)
            }
            Err(Error::Full) => {
                self.pending = self.published.fold();
                self.published.set_mode(Mode::ReadOnly);
                batch.iter().map(|submission| self.answer_read_only(submission)).collect()
            }
            Err(fatal) => Err(fatal),
        }
    }

    /// Puts away what is settled and old of the mail; whether there may be more. `anyway`: what is old goes even where
    /// there is room for it.
    pub fn file_mail(&mut self, anyway: bool, now: Time, entropy: &mut dyn FnMut() -> u128) -> Result<bool, Error> {
        if self.published.mode() == Mode::ReadOnly || !(anyway || mail::is_crowded(&self.pending.state)) {
            return Ok(false);
        }
        let order = Submission {
            cmd_id: CmdId::new(now, *entropy().to_le_bytes().first_chunk().expect("ten of sixteen bytes")),
            actor: Principal::System,
            command: command::message::Command::File(command::message::File {}).into(),
            expect: None,
            cause: None,
        };
        let before = self.pending.state.messages.len();
        let answers = self.step(&[order], now, entropy)?;
        self.tell();
        self.left += before.saturating_sub(self.pending.state.messages.len());
        Ok(answers.iter().flatten().any(|done| done.answer.get().contains("\"more\":true")))
    }

    /// Whether so much has left memory that the system should have it back. Said once.
    pub fn is_lighter(&mut self) -> bool {
        let is_lighter = self.left >= LIGHTER;
        if is_lighter {
            self.left = 0;
        }
        is_lighter
    }

    /// Whether there is room again. Only asked while the store is read-only: it writes.
    pub fn probe(&mut self) -> Result<bool, Error> {
        if self.published.mode() == Mode::ReadWrite {
            return Ok(true);
        }
        match self.store.touch() {
            Ok(()) => {
                self.published.set_mode(Mode::ReadWrite);
                Ok(true)
            }
            Err(Error::Full) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// To be called when the answers of a step are on their way: those who follow hear of it then.
    pub fn answered(&mut self) {
        self.tell();
        self.reach(Boundary::Answered);
    }

    /// A wish was tried and did not come true; the next try is not before `not_before_ms`.
    pub fn attempted(&mut self, key: &effect::Key, not_before_ms: i64) -> Result<(), Error> {
        if !self.pending.wishes.contains_key(key) {
            return Ok(());
        }
        match store::attempted(&self.store.conn, key, not_before_ms).map_err(|error| self.store.why(error)) {
            // The count is for people; a disk without room must not stop the trying.
            Ok(()) | Err(Error::Full) => {}
            Err(error) => return Err(error),
        }
        let note = |wish: &mut Wish| {
            wish.attempts += 1;
            wish.not_before_ms = not_before_ms;
        };
        self.pending.wishes.get_mut(key).map(note);
        self.published.note_attempt(key, note);
        Ok(())
    }

    /// Forgets one slice of old history; whether there may be more.
    ///
    /// History that cannot be understood stays where it is, and with it all that came after: nothing that is served
    /// needs it, so it must not end the server.
    pub fn compact(&mut self, keep: Keep, now: Time) -> Result<bool, Error> {
        if self.published.uncompacted().is_some() || self.published.mode() == Mode::ReadOnly {
            return Ok(false);
        }
        match store::compact(&mut self.store, keep, self.pending.head, now).map_err(|error| self.store.why(error)) {
            Ok(slice) => {
                slice.floor.into_iter().for_each(|floor| self.published.set_floor(floor));
                Ok(slice.may_be_more)
            }
            Err(Error::Full) => Ok(false),
            Err(Error::Corrupt { what }) => {
                tracing::error!(what, "Old history cannot be understood; none is forgotten until the next start.");
                self.published.set_uncompacted(what);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn transact(
        &mut self,
        batch: &[Submission],
        now: Time,
        entropy: &mut dyn FnMut() -> u128,
    ) -> Result<Transacted, Error> {
        let mut done = Transacted {
            answers: Vec::with_capacity(batch.len()),
            has_written: false,
            written: Vec::new(),
            rejected: Vec::new(),
        };
        let owner = self.store.owner().to_owned();
        let upcasters = self.store.upcasters.clone();
        let tx = self.store.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        Store::own(&tx, &owner, self.store.claim.as_ref())?;
        done.has_written |= self.store.claim.is_some();
        for submission in batch {
            let digest = Digest::of(&submission.command, submission.expect);
            if let Some(stored) = store::receipt_find(&tx, submission.cmd_id)? {
                done.answers.push(replay(submission, digest, stored));
                continue;
            }
            if let Some(answer) = self.rejections.recall(submission, digest) {
                done.answers.push(Err(answer));
                continue;
            }
            let recalled = recall(&tx, &self.pending.state, submission)?;
            let (actor, expect) = (submission.actor.clone(), submission.expect);
            let ctx = Ctx { now, actor, expect, seed: entropy(), recalled };
            let decided = match decide(&self.pending.state, &submission.command, &ctx) {
                Ok(decided) => decided,
                Err(rejection) => {
                    done.rejected.push((submission.clone(), digest, rejection.clone()));
                    done.answers.push(Err(rejection));
                    continue;
                }
            };
            let actor_name = name_of(&self.pending.state, &submission.actor);
            let first = done.written.len();
            for event in decided.events {
                let seq = self.pending.head.next();
                let record = Record {
                    seq,
                    at: now,
                    actor: submission.actor.clone(),
                    actor_name: actor_name.clone(),
                    cause: submission.cause,
                    cmd_id: submission.cmd_id,
                    event,
                };
                let body = record.event.encode().map_err(|error| Error::Corrupt { what: error.to_string() })?;
                store::log_insert(&tx, &upcasters, &record, &body)?;
                for wish in wish::opened(&record.event) {
                    store::outbox_insert(&tx, &wish, seq)?;
                }
                for key in wish::settled(&record.event) {
                    store::outbox_settle(&tx, &key)?;
                }
                file(&tx, &self.pending.state, &record.event)?;
                self.pending.fold(&record);
                let entry = Entry::of(self.epoch, &record, body);
                done.written.push(Written { record, entry });
            }
            let events = done.written[first..].iter().map(|written| &written.record.event);
            let rows = row::touched(&self.pending.state, events);
            store::projection_write(&tx, store::Source::Tables, &rows, self.pending.head)?;
            let answer = serde_json::value::to_raw_value(&decided.answer)
                .map_err(|error| Error::Corrupt { what: error.to_string() })?;
            let seq = self.pending.head;
            store::receipt_insert(&tx, submission.cmd_id, &submission.actor, digest, answer.get(), seq, now)?;
            done.has_written = true;
            done.answers.push(Ok(Committed { seq, answer }));
        }
        if let Some(observe) = &mut self.observe {
            observe(Boundary::Decided);
        }
        tx.commit()?;
        self.store.claim = None;
        Ok(done)
    }

    fn publish(&mut self, written: Vec<Written>) {
        self.tell();
        self.news = self.published.append(written);
    }

    fn tell(&mut self) {
        self.published.tell(std::mem::take(&mut self.news));
    }

    /// Without room nothing new is taken, but what was acknowledged stays acknowledged.
    fn answer_read_only(&mut self, submission: &Submission) -> Result<Answer, Error> {
        let digest = Digest::of(&submission.command, submission.expect);
        Ok(match store::receipt_find(&self.store.conn, submission.cmd_id)? {
            Some(stored) => replay(submission, digest, stored),
            None => Err(Rejection::new(Code::ReadOnly, "the disk is full, nothing was changed: agentmux reads only")
                .hint("free some space; agentmux goes on by itself")),
        })
    }

    fn reach(&mut self, boundary: Boundary) {
        if let Some(observe) = &mut self.observe {
            observe(boundary);
        }
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

/// The old mail a command speaks of.
fn recall(conn: &Connection, state: &State, submission: &Submission) -> Result<Vec<Message>, Error> {
    let absent = mail::absent(state, &submission.actor, &submission.command);
    let mut recalled = Vec::new();
    for reference in &absent.references {
        recalled.extend(filed::named(conn, reference)?);
    }
    if let Some((sender, key)) = &absent.key {
        recalled.extend(filed::keyed(conn, sender, key)?);
    }
    Ok(recalled)
}

/// Mail that leaves the state is kept, and mail that comes back is not kept twice.
fn file(conn: &Connection, before: &State, event: &Event) -> Result<(), Error> {
    match event {
        Event::Message(message::Event::Filed(message::Filed { messages })) => {
            messages.iter().filter_map(|id| before.messages.get(id)).try_for_each(|message| filed::put(conn, message))
        }
        Event::Message(message::Event::Recalled(message::Recalled { message })) => filed::take(conn, message),
        _ => Ok(()),
    }
}

impl Fold {
    pub(crate) fn fold(&mut self, record: &Record) {
        amux_core::apply(&mut self.state, record.at, &record.event);
        self.head = record.seq;
        for effect in wish::opened(&record.event) {
            let wish = Wish { effect, seq: record.seq, attempts: 0, not_before_ms: 0 };
            self.wishes.insert(wish.effect.key(), wish);
        }
        for key in wish::settled(&record.event) {
            self.wishes.remove(&key);
        }
    }
}

struct Transacted {
    answers: Vec<Answer>,
    /// A transaction in which nothing was written needs no room and proves none.
    has_written: bool,
    written: Vec<Written>,
    rejected: Vec<(Submission, Digest, Rejection)>,
}

fn replay(submission: &Submission, digest: Digest, stored: Stored) -> Answer {
    if stored.actor != submission.actor.to_string() || stored.digest != digest {
        return Err(reused(submission.cmd_id));
    }
    match RawValue::from_string(stored.outcome) {
        Ok(answer) => Ok(Committed { seq: stored.seq, answer }),
        Err(error) => Err(Rejection::new(Code::Internal, format!("the receipt cannot be read: {error}"))),
    }
}

fn reused(cmd_id: CmdId) -> Rejection {
    Rejection::new(Code::CmdIdReused, format!("this command id belongs to another command: {cmd_id}"))
}

fn name_of(state: &State, actor: &Principal) -> String {
    match actor {
        Principal::Agent { agent, .. } => format!("agent:{}", view::label(state, *agent)),
        Principal::Operator | Principal::Peer(_) | Principal::System => actor.to_string(),
    }
}

#[derive(Default)]
struct Rejections {
    by_id: HashMap<CmdId, (Principal, Digest, Rejection)>,
    oldest_first: VecDeque<CmdId>,
}

impl Rejections {
    fn recall(&self, submission: &Submission, digest: Digest) -> Option<Rejection> {
        let (actor, known, rejection) = self.by_id.get(&submission.cmd_id)?;
        let same = *actor == submission.actor && *known == digest;
        Some(if same { rejection.clone() } else { reused(submission.cmd_id) })
    }

    fn remember(&mut self, submission: Submission, digest: Digest, rejection: Rejection) {
        if self.by_id.insert(submission.cmd_id, (submission.actor, digest, rejection)).is_none() {
            self.oldest_first.push_back(submission.cmd_id);
        }
        while self.oldest_first.len() > REJECTIONS_REMEMBERED {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
    }
}
