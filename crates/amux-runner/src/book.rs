//! The machine of a run and everything that follows from what it heard: the transcript, the facts for the log, the
//! lines to be written. Inputs are counted; the same inputs in the same order lead here again, and what was told
//! already is not told again.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use amux_agents::ledger::Ledger;
use amux_agents::{Machine, Order, Out, Refused};
use amux_proto::command::run::Fact;
use amux_proto::entity::Activity;
use amux_proto::transcript::{Entry, InputStage};
use amux_proto::{AgentId, RequestId, RunNo, Time};
use amux_sys::disk;
use serde::{Deserialize, Serialize};

use crate::journal::{self, Lines, Record};

pub(crate) struct Book {
    agent: AgentId,
    run: RunNo,
    dir: PathBuf,
    kept: Position,
    journal: Lines,
    transcript: Lines,
    /// The last entry that is in the transcript.
    told: (u64, u32),
    /// Facts up to this input are in the log.
    known: u64,
    facts: Vec<Fact>,
    reported: Activity,
    /// Lines on their way out, oldest first.
    pub(crate) writes: VecDeque<Writing>,
    /// Inputs that were ordered, newest last.
    ordered: VecDeque<String>,
    /// Set while the past is gone through: nothing is written into the journal then.
    replaying: bool,
}

/// Where a machine stands; with what follows on the tape and in the journal it is where the run stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Position {
    machine: Machine,
    ledger: Ledger,
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
}

#[derive(Debug)]
pub(crate) struct Writing {
    pub(crate) k: u64,
    pub(crate) line: Vec<u8>,
    pub(crate) sent: usize,
    pub(crate) input: Option<String>,
}

/// Enough to know again every message that may still be wished for.
const ORDERED_MAX: usize = 4096;

/// A frame larger than any CLI was ever seen to print; what is longer is skipped up to its end.
pub(crate) const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

const POSITION: &str = "position.json";

impl Book {
    pub(crate) fn new(agent: AgentId, run: RunNo, dir: &Path, machine: Machine, now: Time) -> io::Result<Self> {
        let ledger = Ledger::opening(now);
        let kept = Position { machine, ledger, n: 0, k: 0, heard: 0, skipping: false, journal: 0 };
        Self::at(agent, run, dir, kept, 0)
    }

    fn at(agent: AgentId, run: RunNo, dir: &Path, kept: Position, known: u64) -> io::Result<Self> {
        let newest = journal::newest(&journal::transcript(dir), 1)?;
        let told = newest.first().and_then(|line| serde_json::from_slice::<Entry>(line).ok());
        Ok(Self {
            agent,
            run,
            dir: dir.to_owned(),
            kept,
            journal: Lines::open(&journal::journal(dir))?,
            transcript: Lines::open(&journal::transcript(dir))?,
            told: told.map_or((0, 0), |entry| (entry.n, entry.i)),
            known,
            facts: Vec::new(),
            reported: Activity::default(),
            writes: VecDeque::new(),
            ordered: VecDeque::new(),
            replaying: false,
        })
    }

    /// The book of a run that an earlier server kept: the machine hears the past again, as it was. `machine` is a new
    /// one, for a run whose position was never written or is of another build; `known` is how far the log knows it.
    /// `output` reads the tape.
    pub(crate) fn again(
        agent: AgentId,
        run: RunNo,
        dir: &Path,
        machine: Machine,
        known: Activity,
        mut output: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
        now: Time,
    ) -> io::Result<Self> {
        let position = std::fs::read(dir.join(POSITION)).ok();
        let position = position.and_then(|text| serde_json::from_slice::<Position>(&text).ok());
        let start = || Position {
            machine,
            ledger: Ledger::opening(now),
            n: 0,
            k: 0,
            heard: 0,
            skipping: false,
            journal: 0,
        };
        let mut book = Self::at(agent, run, dir, position.unwrap_or_else(start), known.seen)?;
        book.reported = known;
        let records: Vec<Record> = journal::read(&journal::journal(dir), book.kept.journal)?;
        book.replaying = true;
        let (mut begun, mut parts) = (Vec::new(), Vec::new());
        for record in records {
            match record {
                Record::Order { n, at, order } => {
                    book.hear_up_to(n - 1, &mut output, at)?;
                    // Refused then, refused now.
                    let _ = book.order(&order, at);
                }
                Record::Written { n, at, k } => {
                    book.hear_up_to(n - 1, &mut output, at)?;
                    book.written(k, at);
                }
                Record::Unproven { n, at, k } => {
                    book.hear_up_to(n - 1, &mut output, at)?;
                    book.unproven(k, at);
                }
                Record::Mark { n, at } => {
                    book.hear_up_to(n - 1, &mut output, at)?;
                    book.mark(at);
                }
                Record::Write { k, .. } => begun.push(k),
                Record::Part { k, bytes } => parts.push((k, bytes)),
            }
        }
        book.hear_up_to(u64::MAX, &mut output, now)?;
        book.replaying = false;
        book.settle_writes(&begun, &parts, now);
        Ok(book)
    }

    /// A line that was begun and not known to be written: the part that was taken is known, and of the rest the kernel
    /// took all or nothing. An answer is repeated, which its reader understands; an input is not, since it would be
    /// worked on twice. If nothing on the tape shows it, it stays unproven.
    fn settle_writes(&mut self, begun: &[u64], parts: &[(u64, usize)], now: Time) {
        let mut lost = Vec::new();
        for writing in &mut self.writes {
            if let Some((_, bytes)) = parts.iter().rfind(|(k, _)| *k == writing.k) {
                writing.sent = *bytes;
            } else if begun.contains(&writing.k) && !is_response(&writing.line) {
                lost.push(writing.k);
            }
        }
        for k in lost {
            self.unproven(k, now);
        }
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
        if self.replaying {
            return;
        }
        if let Err(error) = self.journal.append(record) {
            tracing::warn!(agent = %self.agent, %error, "The journal cannot be written.");
        }
    }

    fn hear_up_to(
        &mut self,
        n: u64,
        output: &mut impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
        at: Time,
    ) -> io::Result<()> {
        let mut carry = Vec::new();
        let mut block = vec![0; 64 * 1024];
        let mut from = self.kept.heard;
        while self.kept.n < n {
            let count = output(from, &mut block)?;
            if count == 0 {
                return Ok(());
            }
            from += count as u64;
            self.hear_bytes(&block[..count], &mut carry, n, at);
        }
        Ok(())
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
            if std::mem::take(&mut self.kept.skipping) {
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
        self.kept.machine.hear(line, at, &mut out);
        self.take(out, at);
    }

    /// Tells the machine something, after the journal has it.
    pub(crate) fn order(&mut self, order: &Order, at: Time) -> Result<(), Refused> {
        self.kept.n += 1;
        self.note(&Record::Order { n: self.kept.n, at, order: order.clone() });
        if let Order::Input { input, .. } = order {
            self.ordered.push_back(input.clone());
            if self.ordered.len() > ORDERED_MAX {
                self.ordered.pop_front();
            }
        }
        let mut out = Out::default();
        let answer = self.kept.machine.order(order, at, &mut out);
        if let (Err(refused), Order::Input { input, .. }) = (&answer, order) {
            self.kept.ledger.input(input, InputStage::Refused, &refused.to_string(), &mut self.facts);
        }
        self.take(out, at);
        answer
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
        for (i, item) in (0..).zip(out.items) {
            self.kept.ledger.note(n, at, &item, &request_id, &mut fresh);
            if item.is_passing() || (n, i) <= self.told {
                continue;
            }
            let entry = Entry { n, i, offset: self.kept.heard, at, item };
            match self.transcript.append(&entry) {
                Ok(()) => self.told = (n, i),
                Err(error) => tracing::warn!(%agent, %error, "The transcript cannot be written."),
            }
        }
        // What the log knows already, it is not told again.
        if n > self.known {
            self.facts.append(&mut fresh);
        }
        for write in out.writes {
            self.kept.k += 1;
            let mut line = write.line.into_bytes();
            line.push(b'\n');
            self.writes.push_back(Writing { k: self.kept.k, line, sent: 0, input: write.input });
        }
    }

    /// Before the first byte of a line is written.
    pub(crate) fn will_write(&mut self, k: u64, line: &[u8]) {
        let line = String::from_utf8_lossy(line).trim_end().to_owned();
        self.note(&Record::Write { k, line });
    }

    pub(crate) fn wrote_part(&mut self, k: u64, bytes: usize) {
        self.note(&Record::Part { k, bytes });
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
        let at_rest = self.facts.is_empty() && self.writes.is_empty() && self.kept.machine.is_idle();
        if !at_rest || self.kept.journal == self.journal.len() {
            return;
        }
        self.kept.journal = self.journal.len();
        let kept = serde_json::to_vec(&self.kept).map_err(io::Error::other);
        if let Err(error) = kept.and_then(|text| disk::replace(&self.dir.join(POSITION), &text)) {
            tracing::warn!(agent = %self.agent, %error, "Where a conversation stands cannot be noted.");
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

    pub(crate) fn was_ordered(&self, input: &str) -> bool {
        self.ordered.iter().any(|ordered| ordered == input)
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

    pub(crate) fn transcript_len(&self) -> u64 {
        self.transcript.len()
    }

    /// The run's conversation is gone: said as the last fact of it.
    pub(crate) fn lost_session(&mut self, at: Time) {
        let Some(session) = self.kept.machine.dead_session().map(str::to_owned) else { return };
        self.mark(at);
        let why = "the CLI does not know it any more".to_owned();
        self.facts.push(Fact::SessionLost { session, why });
    }
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
