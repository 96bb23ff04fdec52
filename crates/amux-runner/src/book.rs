//! The machine of a run and everything that follows from what it heard: the transcript, the facts for the log, the
//! lines to be written. Inputs are counted; the same inputs in the same order lead here again, and what was told
//! already is not told again.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use amux_agents::ledger::Ledger;
use amux_agents::streams::Streams;
use amux_agents::{Machine, Order, Out, Refused, part};
use amux_proto::command::run::Fact;
use amux_proto::entity::Activity;
use amux_proto::transcript::{Entry, InputStage, Item, Opened, TurnEnd};
use amux_proto::{AgentId, RequestId, RunNo, Time};
use amux_sys::disk;
use serde::{Deserialize, Serialize};

use crate::bells::Bells;
use crate::frames::Place;
use crate::journal::{self, Lines, Record};

pub(crate) struct Book {
    agent: AgentId,
    run: RunNo,
    dir: PathBuf,
    kept: Position,
    journal: Lines,
    transcript: Lines,
    bells: Bells,
    /// The last entry that is in the transcript, or in `late`.
    told: (u64, u32),
    /// Entries the disk has not taken yet, oldest first.
    late: VecDeque<Entry>,
    /// Facts up to this input are in the log.
    known: u64,
    facts: Vec<Fact>,
    reported: Activity,
    /// Lines on their way out, oldest first.
    pub(crate) writes: VecDeque<Writing>,
    /// Names of the parts of inputs that were ordered.
    ordered: Ordered,
    /// Set while the past is gone through: nothing is written into the journal then.
    replaying: bool,
    /// A part of the past was not there: where this stands cannot be worked out again, so it is noted at once.
    gap: bool,
    /// When lines of the past were heard, as far as they led to an entry of the transcript.
    heard_at: BTreeMap<u64, Time>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Untaken {
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Carried out without being noted, it would be carried out again by the next server.
    #[error("it cannot be written down: {0}")]
    NotNoted(#[source] io::Error),
}

/// What of a run is there for the server that takes it over.
pub(crate) struct Past<'a> {
    /// Reads the tape; `NotFound` in a part that is gone.
    pub(crate) output: &'a mut dyn FnMut(u64, &mut [u8]) -> io::Result<usize>,
    /// Where the tape goes on behind an offset.
    pub(crate) after_gap: &'a dyn Fn(u64) -> Option<u64>,
    /// What the channel before its input holds; `None` where there is no channel.
    pub(crate) held: Option<u64>,
}

/// Where a machine stands; with what follows on the tape and in the journal it is where the run stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Position {
    machine: Machine,
    ledger: Ledger,
    #[serde(default)]
    streams: Streams,
    /// Inputs so far.
    n: u64,
    /// Lines for the standard input so far.
    k: u64,
    /// The output up to here was heard.
    heard: u64,
    /// Inside a line that is too long to be heard.
    skipping: bool,
    /// The journal up to here is in it.
    journal: u64,
    /// The transcript up to here came of it.
    #[serde(default)]
    transcript: u64,
    /// What was on its way, and the inputs that are known.
    #[serde(default)]
    writes: VecDeque<Writing>,
    #[serde(default)]
    ordered: VecDeque<String>,
    /// A conversation that is gone; the one that is opened says so.
    #[serde(default)]
    lost: Option<String>,
}

/// Each of hundreds that wait is looked up here whenever anything happens.
struct Ordered {
    oldest_first: VecDeque<String>,
    all: HashSet<String>,
}

impl Ordered {
    fn of(oldest_first: VecDeque<String>) -> Self {
        Self { all: oldest_first.iter().cloned().collect(), oldest_first }
    }

    fn put(&mut self, part: &str) {
        let name = part::name_of(part);
        if !self.all.insert(name.to_owned()) {
            return;
        }
        self.oldest_first.push_back(name.to_owned());
        if self.oldest_first.len() > ORDERED_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.all.remove(&oldest);
        }
    }
}

impl Position {
    fn start(machine: Machine, cwd: Option<String>, now: Time) -> Self {
        Self {
            machine,
            ledger: Ledger::opening(now, cwd),
            streams: Streams::default(),
            n: 0,
            k: 0,
            heard: 0,
            skipping: false,
            journal: 0,
            transcript: 0,
            writes: VecDeque::new(),
            ordered: VecDeque::new(),
            lost: None,
        }
    }
}

/// A line on its way: up to `sent` it was taken, from there up to `inside` it is in the channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Writing {
    pub(crate) k: u64,
    pub(crate) line: Vec<u8>,
    pub(crate) sent: usize,
    pub(crate) inside: Option<usize>,
    pub(crate) begun: bool,
    pub(crate) input: Option<String>,
}

/// Enough to know again every message that may still be wished for.
const ORDERED_MAX: usize = 4096;

/// A frame larger than any CLI was ever seen to print; what is longer is skipped up to its end.
pub(crate) const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Entries that wait for room on the disk. There are few: without room no output is taken either.
const LATE_MAX: usize = 10_000;

const POSITION: &str = "position.json";

/// So many entries at the end of a transcript may be unreadable before it is taken for a new one.
const TORN_MAX: usize = 16;

impl Book {
    pub(crate) fn new(
        agent: AgentId,
        run: RunNo,
        dir: &Path,
        machine: Machine,
        cwd: Option<String>,
        now: Time,
    ) -> io::Result<Self> {
        Self::at(agent, run, dir, Position::start(machine, cwd, now), 0)
    }

    fn at(agent: AgentId, run: RunNo, dir: &Path, mut kept: Position, known: u64) -> io::Result<Self> {
        let newest = journal::newest(&journal::transcript(dir), TORN_MAX, LINE_BYTES_MAX)?;
        let told = newest.lines.iter().rev().find_map(|line| serde_json::from_slice::<Entry>(line).ok());
        Ok(Self {
            agent,
            run,
            dir: dir.to_owned(),
            journal: Lines::open(&journal::journal(dir))?,
            transcript: Lines::open(&journal::transcript(dir))?,
            bells: Bells::default(),
            told: told.map_or((0, 0), |entry| (entry.n, entry.i)),
            late: VecDeque::new(),
            known,
            facts: Vec::new(),
            reported: Activity::default(),
            writes: std::mem::take(&mut kept.writes),
            ordered: Ordered::of(std::mem::take(&mut kept.ordered)),
            kept,
            replaying: false,
            gap: false,
            heard_at: BTreeMap::new(),
        })
    }

    /// The book of a run that an earlier server kept: the machine hears the past again, as it was. `machine` is a new
    /// one, for a run whose position was never written or is of another build; `known` is how far the log knows it.
    /// Of what is not there it is said that it is lost, and the run goes on.
    pub(crate) fn again(
        agent: AgentId,
        run: RunNo,
        dir: &Path,
        machine: Machine,
        known: Activity,
        mut past: Past<'_>,
        now: Time,
    ) -> io::Result<Self> {
        let position = std::fs::read(dir.join(POSITION)).ok();
        let position = position.and_then(|text| {
            let of_another_build = |error: &serde_json::Error| {
                tracing::warn!(%agent, %error, "Where a run stood is of another build; its tape is heard again.");
            };
            serde_json::from_slice::<Position>(&text).inspect_err(of_another_build).ok()
        });
        let mut losses = Vec::new();
        let position = position.unwrap_or_else(|| Position::start(machine, known.cwd.clone(), now));
        let mut book = Self::at(agent, run, dir, position, known.seen)?;
        book.reported = known;
        if book.kept.journal > book.journal.end() {
            losses.push("a part of what it was told is not in the journal any more".to_owned());
            book.kept.journal = book.journal.end();
        }
        if book.told == (0, 0) && book.kept.n > 0 {
            losses.push("its transcript up to here is gone".to_owned());
        }
        let records: Vec<Record> = journal::read(&journal::journal(dir), book.kept.journal)?;
        book.replaying = true;
        // One that was begun anew is shorter.
        let from = Some(book.kept.transcript).filter(|from| *from <= book.transcript.end()).unwrap_or(0);
        book.heard_at = times(dir, from, book.kept.n)?;
        // The newest of them is the one that was on its way.
        let mut put = None;
        for record in records {
            match record {
                Record::Order { n, at, order } => {
                    book.come_to(n, &mut past, at, &mut losses)?;
                    // Refused then, refused now.
                    let _ = book.order(&order, at);
                }
                Record::Written { n, at, k } => {
                    book.come_to(n, &mut past, at, &mut losses)?;
                    book.written(k, at);
                }
                Record::Unproven { n, at, k } => {
                    book.come_to(n, &mut past, at, &mut losses)?;
                    book.unproven(k, at);
                }
                Record::Mark { n, at } => {
                    book.come_to(n, &mut past, at, &mut losses)?;
                    book.mark(at);
                }
                Record::Write { k, .. } => book.writing(k, |writing| writing.begun = true),
                Record::Put { k } => put = Some(k),
                Record::In { k, to } => {
                    put = None;
                    book.writing(k, |writing| writing.inside = Some(to));
                }
                Record::Part { k, bytes } => {
                    book.writing(k, |writing| (writing.sent, writing.inside) = (bytes, None));
                }
            }
        }
        book.hear_up_to(u64::MAX, &mut past, now, &mut losses)?;
        book.replaying = false;
        book.heard_at.clear();
        let newest = book.known.max(book.told.0);
        if book.kept.n < newest {
            losses.push("the log knows more of it than its tape and its journal".to_owned());
            book.kept.n = newest;
        }
        book.settle_writes(put, past.held, now);
        for loss in losses {
            book.say_lost(loss, now);
        }
        Ok(book)
    }

    fn writing(&mut self, k: u64, change: impl FnOnce(&mut Writing)) {
        if let Some(writing) = self.writes.iter_mut().find(|writing| writing.k == k) {
            change(writing);
        }
    }

    /// What was put into the channel is there or was taken, so nothing of it is put twice. `put` is a line that was
    /// about to be put and of which it is not noted that it was.
    fn settle_writes(&mut self, put: Option<u64>, held: Option<u64>, now: Time) {
        let Some(held) = held else { return self.settle_without_channel(now) };
        let held = usize::try_from(held).unwrap_or(usize::MAX);
        if let Some(k) = put
            && held > 0
        {
            self.writing(k, |writing| writing.inside = Some(writing.sent.saturating_add(held).min(writing.line.len())));
        }
    }

    /// Of what was begun nothing tells how much was taken. An answer is repeated, which its reader understands; an
    /// input is not, since it would be worked on twice. If nothing on the tape shows it, it stays unproven.
    fn settle_without_channel(&mut self, now: Time) {
        let is_lost = |writing: &&Writing| writing.begun && !is_response(&writing.line);
        let lost: Vec<u64> = self.writes.iter().filter(is_lost).map(|writing| writing.k).collect();
        for writing in &mut self.writes {
            (writing.sent, writing.inside) = (0, None);
        }
        for k in lost {
            self.unproven(k, now);
        }
    }

    /// Something of the past is not there. It is in the transcript, where people look.
    pub(crate) fn say_lost(&mut self, text: String, at: Time) {
        tracing::warn!(agent = %self.agent, run = %self.run, loss = text, "A part of a conversation is lost.");
        self.gap = true;
        self.mark(at);
        let mut out = Out::default();
        out.say(Item::Notice { text });
        self.take(out, at);
    }

    fn unproven(&mut self, k: u64, at: Time) {
        self.kept.n += 1;
        let n = self.kept.n;
        self.note(&Record::Unproven { n, at, k });
        let Some(place) = self.writes.iter().position(|writing| writing.k == k) else { return };
        let writing = self.writes.remove(place).expect("it was found there");
        if let Some(input) = writing.input.filter(|_| n > self.known) {
            let why = "the server was killed while this was being written; nothing shows whether it arrived";
            self.kept.ledger.input(&input, InputStage::Unproven, why, &mut self.facts);
        }
        self.kept.ledger.seen(n);
    }

    fn mark(&mut self, at: Time) {
        self.kept.n += 1;
        self.note(&Record::Mark { n: self.kept.n, at });
        self.kept.ledger.seen(self.kept.n);
    }

    fn note(&mut self, record: &Record) {
        if let Err(error) = self.try_to_note(record)
            && !std::mem::replace(&mut self.gap, true)
        {
            tracing::warn!(agent = %self.agent, %error, "The journal cannot be written.");
        }
    }

    fn try_to_note(&mut self, record: &Record) -> io::Result<()> {
        if self.replaying { Ok(()) } else { self.journal.append(record) }
    }

    /// Hears what was heard before input `n`.
    fn come_to(&mut self, n: u64, past: &mut Past<'_>, at: Time, losses: &mut Vec<String>) -> io::Result<()> {
        self.hear_up_to(n - 1, past, at, losses)?;
        if self.kept.n + 1 < n {
            if losses.is_empty() {
                losses.push("a part of what it printed is gone".to_owned());
            }
            self.kept.n = n - 1;
        }
        Ok(())
    }

    fn hear_up_to(&mut self, n: u64, past: &mut Past<'_>, at: Time, losses: &mut Vec<String>) -> io::Result<()> {
        let mut carry = Vec::new();
        let mut block = vec![0; 64 * 1024];
        let mut from = self.kept.heard;
        while self.kept.n < n {
            match (past.output)(from, &mut block) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    from += count as u64;
                    self.hear_bytes(&block[..count], &mut carry, n, at);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let Some(next) = (past.after_gap)(from) else { return Ok(()) };
                    losses.push(format!("{} bytes of what it printed are gone", next - from));
                    carry.clear();
                    self.skip_to(next);
                    from = next;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What is before this offset cannot be heard, and what follows may begin inside a line.
    pub(crate) fn skip_to(&mut self, offset: u64) {
        (self.kept.heard, self.kept.skipping, self.gap) = (offset, true, true);
    }

    /// Hears the lines that end in these bytes, which follow what is in `carry`, until input `n` was reached.
    pub(crate) fn hear_bytes(&mut self, bytes: &[u8], carry: &mut Vec<u8>, n: u64, at: Time) {
        let mut rest = bytes;
        while self.kept.n < n {
            let Some(newline) = rest.iter().position(|byte| *byte == b'\n') else {
                if carry.len() + rest.len() > LINE_BYTES_MAX {
                    self.kept.heard += (carry.len() + rest.len()) as u64;
                    self.kept.skipping = true;
                    carry.clear();
                } else {
                    carry.extend_from_slice(rest);
                }
                return;
            };
            let (line, after) = rest.split_at(newline);
            rest = &after[1..];
            self.kept.heard += (carry.len() + newline + 1) as u64;
            // By its length alone, and not by the pieces it came in: it must be skipped the next time too.
            let is_too_long = carry.len() + newline > LINE_BYTES_MAX;
            if std::mem::take(&mut self.kept.skipping) || is_too_long {
                carry.clear();
                continue;
            }
            if carry.is_empty() {
                self.hear(&String::from_utf8_lossy(line), at);
            } else {
                carry.extend_from_slice(line);
                let line = std::mem::take(carry);
                self.hear(&String::from_utf8_lossy(&line), at);
            }
        }
    }

    fn hear(&mut self, line: &str, at: Time) {
        let mut out = Out::default();
        self.kept.n += 1;
        let at = self.heard_at.get(&self.kept.n).copied().unwrap_or(at);
        self.kept.machine.hear(line, at, &mut out);
        self.take(out, at);
    }

    /// Tells the machine something, after the journal has it. What can wait is not told without.
    pub(crate) fn order(&mut self, order: &Order, at: Time) -> Result<(), Untaken> {
        let record = Record::Order { n: self.kept.n + 1, at, order: Box::new(order.clone()) };
        match order {
            Order::Input { .. } | Order::Answer { .. } => self.try_to_note(&record).map_err(Untaken::NotNoted)?,
            Order::Begin(_) | Order::Interrupt | Order::Set { .. } => self.note(&record),
        }
        self.kept.n += 1;
        if let Order::Begin(begin) = order {
            self.kept.lost.clone_from(&begin.lost);
        }
        if let Order::Input { input, parts, .. } = order {
            self.kept.ledger.consists_of(input, parts);
            let parts = if parts.is_empty() { std::slice::from_ref(input) } else { parts.as_slice() };
            parts.iter().for_each(|part| self.ordered.put(part));
        }
        let mut out = Out::default();
        let answer = self.kept.machine.order(order, at, &mut out);
        if let (Err(refused), Order::Input { input, .. }) = (&answer, order)
            && self.kept.n > self.known
        {
            self.kept.ledger.input(input, InputStage::Refused, &refused.to_string(), &mut self.facts);
        }
        if let (Ok(()), Order::Input { .. }) = (&answer, order) {
            self.kept.ledger.was_told();
        }
        self.take(out, at);
        Ok(answer?)
    }

    /// Every byte of the `k`th line was taken.
    pub(crate) fn written(&mut self, k: u64, at: Time) {
        self.kept.n += 1;
        self.note(&Record::Written { n: self.kept.n, at, k });
        if let Some(place) = self.writes.iter().position(|writing| writing.k == k) {
            let writing = self.writes.remove(place).expect("it was found there");
            if let Some(input) = writing.input
                && self.kept.n > self.known
            {
                let evidence = "every byte of it was taken";
                self.kept.ledger.input(&input, InputStage::Handed, evidence, &mut self.facts);
            }
        }
        self.kept.ledger.seen(self.kept.n);
    }

    fn take(&mut self, out: Out, at: Time) {
        let (agent, run, n) = (self.agent, self.run, self.kept.n);
        let request_id = |ask: &str| request_id(agent, run, ask);
        let mut fresh = Vec::new();
        self.kept.ledger.seen(n);
        for (i, mut item) in (0..).zip(self.kept.streams.pass(out.items)) {
            if let Item::Session { session } = &mut item
                && let Some(attempted) = self.kept.lost.take()
                && session.how == Opened::New
            {
                let why = "the CLI does not know it any more".to_owned();
                session.how = Opened::Fresh { attempted, why };
            }
            self.kept.ledger.note(n, at, &item, &request_id, &mut fresh);
            if item.is_passing() {
                // Behind what came before it, also for those who read along.
                self.write_entries();
                let (offset, end) = (self.kept.heard, self.transcript.end());
                self.bells.stream(agent, run, end, || Entry { n, i, offset, at, item });
                continue;
            }
            if (n, i) <= self.told {
                continue;
            }
            self.late.push_back(Entry { n, i, offset: self.kept.heard, at, item });
            self.told = (n, i);
        }
        self.write_entries();
        // What the log knows already, it is not told again.
        if n > self.known {
            self.facts.append(&mut fresh);
        }
        for write in out.writes {
            self.kept.k += 1;
            let mut line = write.line.into_bytes();
            line.push(b'\n');
            self.writes.push_back(Writing {
                k: self.kept.k,
                line,
                sent: 0,
                inside: None,
                begun: false,
                input: write.input,
            });
        }
    }

    /// From here on those who read along hear of what is written.
    pub(crate) fn rings(&mut self, bells: &Bells) {
        self.bells = bells.clone();
        self.ring();
    }

    fn ring(&self) {
        self.bells.ring(self.agent, self.run, self.transcript.end());
    }

    /// Whether all of the transcript is on the disk now.
    pub(crate) fn write_entries(&mut self) -> bool {
        if self.late.is_empty() {
            return true;
        }
        let is_written = self.append_entries();
        self.ring();
        is_written
    }

    fn append_entries(&mut self) -> bool {
        while let Some(entry) = self.late.front() {
            if let Err(error) = self.transcript.append(entry) {
                if self.late.len() == 1 {
                    tracing::warn!(agent = %self.agent, %error, "The transcript cannot be written.");
                }
                if self.late.len() > LATE_MAX {
                    self.late.pop_front();
                }
                return false;
            }
            self.late.pop_front();
        }
        true
    }

    /// Before bytes of the oldest line are put into the channel.
    pub(crate) fn will_put(&mut self, at: Time) {
        let Some(writing) = self.writes.front_mut() else { return };
        let k = writing.k;
        if !std::mem::replace(&mut writing.begun, true) {
            let line = String::from_utf8_lossy(&writing.line).trim_end().to_owned();
            self.note(&Record::Write { k, line, after: Some(self.kept.n), at: Some(at) });
        }
        self.note(&Record::Put { k });
    }

    /// So many bytes of the oldest line are in the channel.
    pub(crate) fn was_put(&mut self, bytes: usize) {
        let Some(writing) = self.writes.front_mut() else { return };
        let (k, to) = (writing.k, writing.sent + bytes);
        writing.inside = Some(to);
        self.note(&Record::In { k, to });
    }

    /// The channel is empty: what was in it was taken.
    pub(crate) fn was_taken(&mut self, at: Time) {
        let Some(writing) = self.writes.front_mut() else { return };
        let (k, Some(to)) = (writing.k, writing.inside.take()) else { return };
        if to == writing.line.len() {
            return self.written(k, at);
        }
        writing.sent = to;
        self.note(&Record::Part { k, bytes: to });
    }

    /// What is to be told to the log, if anything is.
    pub(crate) fn report(&mut self, at: Time) -> Option<(Activity, Vec<Fact>)> {
        let activity = self.kept.ledger.activity();
        let same = Activity { seen: self.reported.seen, ..activity.clone() } == self.reported;
        if self.facts.is_empty() && same {
            return None;
        }
        // The log refuses what goes no further than it knows.
        if self.kept.n <= self.known {
            self.mark(at);
        }
        self.known = self.kept.n;
        self.reported = Activity { seen: self.known, ..self.kept.ledger.activity().clone() };
        Some((self.reported.clone(), std::mem::take(&mut self.facts)))
    }

    /// Notes where the machine stands, so that the next server need not hear everything again. Only between turns, and
    /// only when nothing is on its way.
    pub(crate) fn keep(&mut self) {
        let at_rest = self.writes.is_empty() && self.kept.machine.is_idle() && self.kept.journal != self.journal.end();
        if !self.facts.is_empty() || !self.late.is_empty() || !(at_rest || self.gap) {
            return;
        }
        self.kept.journal = self.journal.end();
        self.kept.transcript = self.transcript.end();
        let kept =
            Position { writes: self.writes.clone(), ordered: self.ordered.oldest_first.clone(), ..self.kept.clone() };
        let kept = serde_json::to_vec(&kept).map_err(io::Error::other);
        match kept.and_then(|text| disk::replace(&self.dir.join(POSITION), &text)) {
            Ok(()) => self.gap = false,
            // Of a disk that takes nothing it was said already.
            Err(_) if self.gap => {}
            Err(error) => {
                tracing::warn!(agent = %self.agent, %error, "Where a conversation stands cannot be noted.");
            }
        }
    }

    /// A question whose answer the machine cannot take: it is closed, so that nobody waits for it.
    pub(crate) fn close(&mut self, request: RequestId, how: String, at: Time) {
        self.mark(at);
        self.facts.push(Fact::AskClosed { request, how });
    }

    /// What it last complained about, where that is all there is to say.
    pub(crate) fn complained(&mut self, complaint: &str, at: Time) {
        self.mark(at);
        self.kept.ledger.complained(complaint);
    }

    /// Its conversation was shortened, and it was given nothing since.
    pub(crate) fn was_shortened(&self) -> bool {
        self.kept.ledger.was_shortened()
    }

    pub(crate) fn was_ordered(&self, part: &str) -> bool {
        self.ordered.all.contains(part)
    }

    /// Nothing was said yet, not even the first order.
    pub(crate) fn is_new(&self) -> bool {
        self.kept.n == 0
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.kept.machine
    }

    pub(crate) fn heard(&self) -> u64 {
        self.kept.heard
    }

    /// Where its files stand together.
    pub(crate) fn place(&self) -> Place {
        let (n, heard) = (self.kept.n, self.kept.heard);
        Place { n, heard, journal: self.journal.end(), transcript: self.transcript.end() }
    }

    /// The process has ended: what it was saying and an open turn ended with it, and a conversation that was never there is said to be lost.
    pub(crate) fn ended(&mut self, at: Time) {
        let activity = self.kept.ledger.activity();
        let open_turn = activity.turn_open.then_some(activity.turn);
        let mut out = Out::default();
        // Sub-agents and what runs in the background go on between turns.
        self.kept.streams.rest().into_iter().for_each(|item| out.say(item));
        if let Some(turn) = open_turn {
            out.say(Item::TurnEnded { turn, end: TurnEnd::Exited });
        }
        if !out.items.is_empty() {
            self.mark(at);
            self.take(out, at);
        }
        let Some(session) = self.kept.machine.dead_session().map(str::to_owned) else { return };
        self.mark(at);
        let why = "the CLI does not know it any more".to_owned();
        self.facts.push(Fact::SessionLost { session, why });
    }
}

/// When the inputs after `n` were taken, by the transcript from a place on.
fn times(dir: &Path, from: u64, n: u64) -> io::Result<BTreeMap<u64, Time>> {
    let mut times = BTreeMap::new();
    journal::each(&journal::transcript(dir), from, |_, line| {
        if let Ok(entry) = serde_json::from_slice::<EntryTime>(line)
            && entry.n > n
        {
            times.insert(entry.n, entry.at);
        }
        true
    })?;
    Ok(times)
}

#[derive(Deserialize)]
struct EntryTime {
    n: u64,
    at: Time,
}

/// The id of a question: the same for the same question of the same run, whoever works it out.
fn request_id(agent: AgentId, run: RunNo, ask: &str) -> RequestId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(agent.0.as_bytes()).update(&run.0.to_le_bytes()).update(ask.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    RequestId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

fn is_response(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line).trim_end().to_owned();
    amux_agents::Write { line, input: None }.is_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_run_is_heard_again_its_transcript_is_read_from_where_it_stood() {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::Claude(amux_agents::claude::Claude::default());
        let agent = AgentId(uuid::Uuid::nil());
        let mut book = Book::new(agent, RunNo(1), dir.path(), machine, None, Time(1)).unwrap();
        book.say_lost("one thing".into(), Time(1));
        book.keep();
        book.say_lost("another".into(), Time(2));
        let position: Position = serde_json::from_slice(&std::fs::read(dir.path().join(POSITION)).unwrap()).unwrap();
        let heard_at = |from| times(dir.path(), from, 0).unwrap().into_values().collect::<Vec<_>>();
        assert_eq!(heard_at(0), [Time(1), Time(2)]);
        assert_eq!(heard_at(position.transcript), [Time(2)]);
    }

    #[test]
    fn what_was_being_said_when_the_process_ended_is_in_the_transcript() {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::Claude(amux_agents::claude::Claude::default());
        let agent = AgentId(uuid::Uuid::nil());
        let mut book = Book::new(agent, RunNo(1), dir.path(), machine, None, Time(1)).unwrap();
        book.mark(Time(1));
        let mut out = Out::default();
        out.say(Item::TurnStarted { turn: 1, trigger: amux_proto::transcript::Trigger::Input });
        out.say(Item::MessageDelta { id: "m".into(), text: "half a sen".into(), parent: None });
        book.take(out, Time(1));
        book.ended(Time(2));
        let entries: Vec<Entry> = journal::read(&journal::transcript(dir.path()), 0).unwrap();
        let items: Vec<_> = entries.into_iter().map(|entry| entry.item).collect();
        let said = Item::Message { id: "m".into(), text: "half a sen".into(), parent: None };
        assert_eq!(items[1..], [said, Item::TurnEnded { turn: 1, end: TurnEnd::Exited }]);
    }

    #[test]
    fn what_was_printed_in_the_background_when_the_process_ended_is_in_the_transcript() {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::Claude(amux_agents::claude::Claude::default());
        let agent = AgentId(uuid::Uuid::nil());
        let mut book = Book::new(agent, RunNo(1), dir.path(), machine, None, Time(1)).unwrap();
        book.mark(Time(1));
        let mut out = Out::default();
        out.say(Item::TurnStarted { turn: 1, trigger: amux_proto::transcript::Trigger::Input });
        out.say(Item::TurnEnded { turn: 1, end: TurnEnd::Done });
        out.say(Item::ToolOutput { id: "t".into(), text: "half a li".into() });
        book.take(out, Time(1));
        book.ended(Time(2));
        let entries: Vec<Entry> = journal::read(&journal::transcript(dir.path()), 0).unwrap();
        let last = entries.into_iter().next_back().map(|entry| entry.item);
        let printed = Item::ToolDone { id: "t".into(), output: "half a li".into(), is_error: true, exit_code: None };
        assert_eq!(last, Some(printed));
    }
}
