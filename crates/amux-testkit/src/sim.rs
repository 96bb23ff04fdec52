//! The simulation: the real writer on a real store, scripted agents and several clients, in one thread. A seed
//! chooses what happens next; after every step the promises are checked, and at the end everything that was accepted
//! has been carried out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use amux_core::{State, invariant};
use amux_engine::store::{Keep, MIGRATIONS, Upcasters};
use amux_engine::{Answer, Cursor, Options, Page, Store, Submission, Writer, doctor};
use amux_proto::command::run::{self, Fact};
use amux_proto::entity::{Activity, Exit, ExitWhy, Message, Process, Recipient};
use amux_proto::event::Line;
use amux_proto::transcript::InputStage;
use amux_proto::view::Level;
use amux_proto::{AgentId, CmdId, Command, Effect, Event, MessageId, Principal, RequestId, RunNo, Seq, Time};
use uuid::Uuid;

use crate::commands::{Rng, random_command};

/// What happened last, shown when a promise breaks.
const TRACE_KEPT: usize = 20;

const CLIENTS: usize = 4;

/// After the last step everything left open has this many turns to come true.
const SETTLE_TURNS: usize = 500;

/// Runs one seed; the error says what broke and what led to it.
pub fn run(seed: u64, steps: usize) -> Result<Summary, String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut world = World::new(seed, dir.path())?;
    let outcome = (0..steps).try_for_each(|_| world.step()).and_then(|()| world.settle());
    outcome.map(|()| world.summary).map_err(|why| {
        let trace: Vec<_> = world.trace.iter().map(String::as_str).collect();
        format!("seed {seed}: {why}\nled to by:\n  {}", trace.join("\n  "))
    })
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Summary {
    pub commands: u64,
    pub events: u64,
    pub restarts: u64,
    pub crashes: u64,
}

struct World<'a> {
    rng: Rng,
    now: Time,
    dir: &'a Path,
    generation: u32,
    writer: Option<Writer>,
    clients: Vec<Follower>,
    /// Processes that run, by agent.
    processes: BTreeMap<AgentId, (RunNo, Process)>,
    /// Observations on their way; the network of this world delays and repeats them.
    observations: VecDeque<run::Command>,
    acknowledged: Vec<(Submission, Outcome)>,
    /// The words that agents were given, by message and edition.
    read: BTreeMap<(MessageId, u32), String>,
    next_pid: u32,
    trace: VecDeque<String>,
    summary: Summary,
}

/// An answer as a client keeps it: place and text, or the refusal.
type Outcome = Result<(Seq, String), String>;

/// An observation that an agent has a message.
struct Told {
    agent: AgentId,
    run: RunNo,
    message: MessageId,
    edition: u32,
}

impl Told {
    fn of(submission: &Submission) -> Option<Self> {
        let Command::Run(run::Command::Seen(run::Seen { agent, run, facts, .. })) = &submission.command else {
            return None;
        };
        match facts[..] {
            [Fact::Input { message, edition, .. }] => Some(Self { agent: *agent, run: *run, message, edition }),
            _ => None,
        }
    }

    fn to(&self) -> Recipient {
        Recipient::Agent { agent: self.agent }
    }

    fn is_given(&self, message: &Message) -> bool {
        message.deliveries.iter().any(|copy| copy.to == self.to() && copy.run == Some(self.run))
    }
}

/// A client that folds what it hears.
struct Follower {
    cursor: Option<Cursor>,
    state: State,
}

impl<'a> World<'a> {
    fn new(seed: u64, dir: &'a Path) -> Result<Self, String> {
        let mut world = Self {
            rng: Rng::new(seed),
            now: Time(1_700_000_000_000),
            dir,
            generation: 0,
            writer: None,
            clients: (0..CLIENTS).map(|_| Follower { cursor: None, state: State::default() }).collect(),
            processes: BTreeMap::new(),
            observations: VecDeque::new(),
            acknowledged: Vec::new(),
            read: BTreeMap::new(),
            next_pid: 1000,
            trace: VecDeque::new(),
            summary: Summary::default(),
        };
        world.open()?;
        Ok(world)
    }

    fn db(&self) -> std::path::PathBuf {
        self.dir.join(format!("{}.db", self.generation))
    }

    fn open(&mut self) -> Result<(), String> {
        let upcasters = Upcasters::current();
        let opened = Store::open(
            &self.db(),
            &Options {
                migrations: MIGRATIONS,
                upcasters: &upcasters,
                on_migrating: &|_| {},
                backups: self.dir.join("backups"),
                now_ms: self.now.0,
            },
        );
        self.writer = Some(Writer::new(opened.map_err(|error| format!("the store does not open: {error}"))?));
        Ok(())
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("the writer is open between steps")
    }

    fn note(&mut self, what: String) {
        if self.trace.len() == TRACE_KEPT {
            self.trace.pop_front();
        }
        self.trace.push_back(what);
    }

    fn step(&mut self) -> Result<(), String> {
        self.now = self.now.plus_ms(self.rng.below(2000) as i64);
        match self.rng.below(100) {
            0..=54 => self.submit_some()?,
            55..=69 => self.run_agents(),
            70..=77 => self.observe()?,
            78..=87 => self.follow()?,
            88..=90 => self.disconnect(),
            91..=93 => self.retry()?,
            94..=95 => self.restart()?,
            96 => self.crash()?,
            97 => self.move_clock(),
            98 => self.compact()?,
            _ => self.examine()?,
        }
        let broken = self.writer().published().read(|state, _| invariant::check(state));
        if broken.is_empty() { Ok(()) } else { Err(format!("invariants broken: {broken:?}")) }
    }

    fn submit_some(&mut self) -> Result<(), String> {
        let count = 1 + self.rng.below(6);
        let mut batch = Vec::new();
        for _ in 0..count {
            let published = std::sync::Arc::clone(self.writer().published());
            let rng = &mut self.rng;
            let (actor, command) = published.read(|state, _| random_command(state, rng));
            batch.push(self.submission(actor, command));
        }
        self.commit(batch).map(|_| ())
    }

    fn submission(&mut self, actor: Principal, command: Command) -> Submission {
        let bits = u128::from(self.rng.next()) << 64 | u128::from(self.rng.next());
        Submission { cmd_id: CmdId(Uuid::from_u128(bits)), actor, command, expect: None, cause: None }
    }

    fn commit(&mut self, batch: Vec<Submission>) -> Result<Vec<Answer>, String> {
        let now = self.now;
        let rng = &mut self.rng;
        let mut entropy = || u128::from(rng.next()) << 64 | u128::from(rng.next());
        let writer = self.writer.as_mut().expect("the writer is open between steps");
        let before = writer.published().read(|_, head| head);
        let answers = writer.step(&batch, now, &mut entropy).map_err(|error| format!("the writer broke: {error}"))?;
        writer.answered();
        let after = writer.published().read(|_, head| head);
        self.summary.commands += batch.len() as u64;
        self.summary.events += after.0 - before.0;
        if answers.iter().all(Result::is_err) && after != before {
            return Err(format!("only refusals, and yet the head moved from {before} to {after}"));
        }
        for (submission, answer) in batch.into_iter().zip(&answers) {
            let verb = submission.command.name();
            self.note(match answer {
                Ok(committed) => format!("{verb} by {} -> {}", submission.actor, committed.seq),
                Err(refusal) => format!("{verb} by {} refused: {}", submission.actor, refusal.message),
            });
            self.acknowledged.push((submission, summary(answer)));
        }
        Ok(answers)
    }

    /// The scripted agents: wishes come true, fail, or wait for another turn.
    fn run_agents(&mut self) {
        let wishes = self.writer().published().wishes();
        for wish in wishes {
            if self.rng.below(3) == 0 {
                continue;
            }
            match wish.effect {
                Effect::EnsureRunning { agent, run } => self.start_process(agent, run),
                Effect::EnsureStopped { agent, run, .. } => self.stop_process(agent, run),
                Effect::Deliver { agent, message } => self.deliver(agent, message),
                Effect::Answer { request } => self.answer(request),
            }
        }
        let ended: Vec<_> = self.processes.keys().copied().filter(|_| self.rng.below(20) == 0).collect();
        for agent in ended {
            if let Some((run, _)) = self.processes.remove(&agent) {
                self.say_exited(agent, run, ExitWhy::Itself);
            }
        }
    }

    fn start_process(&mut self, agent: AgentId, run: RunNo) {
        match self.processes.get(&agent) {
            // Idempotent by (agent, run): it runs already, and says so again.
            Some((live, process)) if *live == run => {
                let process = *process;
                self.observations.push_back(run::Command::Started(run::Started { agent, run, process }));
            }
            // The run before must end first.
            Some(_) => {}
            None if self.rng.below(8) == 0 => {
                let error = "program not found: sim".to_owned();
                self.observations.push_back(run::Command::Failed(run::Failed { agent, run, error }));
            }
            None => {
                self.next_pid += 1;
                let process = Process { pid: self.next_pid, start_ticks: 1 };
                self.processes.insert(agent, (run, process));
                self.observations.push_back(run::Command::Started(run::Started { agent, run, process }));
            }
        }
    }

    /// A scripted agent reads whatever it is given, and goes as far with it as it likes.
    fn deliver(&mut self, agent: AgentId, message: MessageId) {
        let stages = [InputStage::Handed, InputStage::Shown, InputStage::Begun, InputStage::Ended];
        let stage = self.rng.pick(stages).unwrap_or(InputStage::Handed);
        // It is read now, and that is heard of later: whatever is made of it meanwhile, these words were read.
        let Some(read) = self.writer().published().message(message) else { return };
        let edition = read.edition;
        self.read.insert((message, edition), read.body);
        self.see(agent, Fact::Input { message, stage, evidence: "the script says so".into(), edition });
    }

    fn answer(&mut self, request: RequestId) {
        let Some(asked) = self.writer().published().request(request) else { return };
        self.see(asked.agent, Fact::AskClosed { request, how: "answered".into() });
    }

    fn see(&mut self, agent: AgentId, fact: Fact) {
        let Some((run, _)) = self.processes.get(&agent).copied() else { return };
        let Some(known) = self.writer().published().activity(agent, run) else { return };
        let activity = Box::new(Activity { seen: known.seen + 1, ..known });
        self.observations.push_back(run::Command::Seen(run::Seen { agent, run, activity, facts: vec![fact] }));
    }

    fn stop_process(&mut self, agent: AgentId, run: RunNo) {
        if self.processes.get(&agent).is_some_and(|(live, _)| *live == run) {
            self.processes.remove(&agent);
        }
        // Also when nothing runs: the stop overtook the start, or the end was not heard.
        self.say_exited(agent, run, ExitWhy::Stopped);
    }

    fn say_exited(&mut self, agent: AgentId, run: RunNo, why: ExitWhy) {
        let exit = Exit { code: Some(0), signal: None, why, survivors: Vec::new() };
        self.observations.push_back(run::Command::Exited(run::Exited { agent, run, exit }));
    }

    fn observe(&mut self) -> Result<(), String> {
        let mut batch = Vec::new();
        for _ in 0..=self.rng.below(4) {
            let Some(observation) = self.observations.pop_front() else { break };
            if self.rng.below(10) == 0 {
                // Said twice: an older run, or an end already known, must change nothing.
                self.observations.push_back(observation.clone());
            }
            batch.push(self.submission(Principal::System, Command::Run(observation)));
        }
        if batch.is_empty() {
            return Ok(());
        }
        let told: Vec<Told> = batch.iter().filter_map(Told::of).collect();
        let given = |world: &mut Self, told: &Told| world.writer().published().message(told.message);
        let before: Vec<_> = told.iter().map(|told| given(self, told)).collect();
        self.commit(batch)?;
        for (one, before) in told.iter().zip(before) {
            let Some(after) = given(self, one) else { continue };
            let news = |message: &Message| one.is_given(message);
            if before.as_ref().is_some_and(news) || !news(&after) {
                continue;
            }
            let Some(copy) = after.deliveries.iter().find(|copy| copy.to == one.to()) else { continue };
            let is_of = |other: &&Told| (other.agent, other.run, other.message) == (one.agent, one.run, one.message);
            let mut read = told.iter().filter(is_of).filter_map(|told| self.read.get(&(told.message, told.edition)));
            if !read.any(|words| words == after.words_of(copy)) {
                return Err(format!("{} was given other words of {} than its receipt says", one.agent, one.message));
            }
        }
        Ok(())
    }

    fn follow(&mut self) -> Result<(), String> {
        let who = self.rng.below(CLIENTS as u64) as usize;
        let limit = 1 + self.rng.below(200) as usize;
        self.pull(who, limit).map(|_| ())
    }

    /// Whether the client is at the head.
    fn pull(&mut self, who: usize, limit: usize) -> Result<bool, String> {
        let feed = self.writer().feed();
        let published = std::sync::Arc::clone(feed.published());
        let client = &mut self.clients[who];
        let Some(cursor) = client.cursor else {
            let (state, seq) = published.read(|state, seq| (state.clone(), seq));
            *client = Follower { cursor: Some(Cursor { epoch: published.epoch(), seq }), state };
            return Ok(true);
        };
        let page = match feed.after(cursor, limit) {
            Page::InLog => feed.from_log(cursor, limit).map_err(|error| error.to_string())?,
            page => page,
        };
        match page {
            Page::Reset => {
                client.cursor = None;
                Ok(false)
            }
            Page::InLog => Err("the log sent its reader to the log".into()),
            Page::Events(entries) => {
                let at_head = entries.len() < limit;
                for entry in entries {
                    let at = client.cursor.as_mut().map(|cursor| &mut cursor.seq).expect("it has a cursor");
                    if entry.seq != at.next() {
                        return Err(format!("client {who} heard {} after {at}", entry.seq));
                    }
                    *at = entry.seq;
                    let line: Line = serde_json::from_str(&entry.json).map_err(|error| error.to_string())?;
                    let event = Event::decode(&line.kind, line.data.get());
                    let event = event.ok_or("an unknown event")?.map_err(|error| error.to_string())?;
                    amux_core::apply(&mut client.state, line.at, &event);
                }
                if at_head && published.read(|state, _| *state != client.state) {
                    return Err(format!("what client {who} folded is not the state"));
                }
                Ok(at_head)
            }
        }
    }

    fn disconnect(&mut self) {
        let who = self.rng.below(CLIENTS as u64) as usize;
        self.clients[who] = Follower { cursor: None, state: State::default() };
        self.note(format!("client {who} lost everything"));
    }

    /// A retry of anything ever acknowledged gives the same answer and changes nothing.
    fn retry(&mut self) -> Result<(), String> {
        if self.acknowledged.is_empty() {
            return Ok(());
        }
        let at = self.rng.below(self.acknowledged.len() as u64) as usize;
        let (submission, first) = self.acknowledged[at].clone();
        let head = self.writer().published().read(|_, head| head);
        // A refusal is remembered by the process only; a committed answer for as long as its receipt is kept.
        if first.is_err() {
            return Ok(());
        }
        let verb = submission.command.name();
        let mut entropy = || 0;
        let now = self.now;
        let answers = self.writer().step(&[submission], now, &mut entropy).map_err(|error| error.to_string())?;
        let again = summary(&answers[0]);
        let after = self.writer().published().read(|_, head| head);
        if again != first || head != after {
            return Err(format!("{verb} came to {first:?} first and to {again:?} again (head {head} -> {after})"));
        }
        Ok(())
    }

    /// The server ends in good order and comes back; half of the observations under way are lost and said again.
    fn restart(&mut self) -> Result<(), String> {
        self.note("restart".into());
        self.summary.restarts += 1;
        let before = self.writer().published().read(|state, head| (state.clone(), head));
        let wishes = self.writer().published().wishes().len();
        self.writer = None;
        self.open()?;
        let after = self.writer().published().read(|state, head| (state.clone(), head));
        if before != after {
            return Err("the state after a restart is another one".into());
        }
        if wishes != self.writer().published().wishes().len() {
            return Err("the wishes after a restart are others".into());
        }
        self.say_again();
        Ok(())
    }

    /// The server is struck down: what is in the files at this moment is all there is.
    fn crash(&mut self) -> Result<(), String> {
        self.note("crash".into());
        self.summary.crashes += 1;
        let before = self.writer().published().read(|state, head| (state.clone(), head));
        let (from, epoch) = (self.db(), self.writer().epoch());
        self.generation += 1;
        let to = self.db();
        for suffix in ["db", "db-wal"] {
            let source = from.with_extension(suffix);
            if source.exists() {
                std::fs::copy(&source, to.with_extension(suffix)).map_err(|error| error.to_string())?;
            }
        }
        self.writer = None;
        self.open()?;
        let after = self.writer().published().read(|state, head| (state.clone(), head));
        if before != after {
            return Err("something acknowledged was lost in a crash".into());
        }
        // The file is a copy, so its history must not be continued by old cursors.
        if epoch == self.writer().epoch() {
            return Err("a copied store kept its epoch".into());
        }
        self.say_again();
        Ok(())
    }

    /// A new runner looks at what lives and says what it sees.
    fn say_again(&mut self) {
        let keep = self.rng.below(2) == 0;
        if !keep {
            self.observations.clear();
        }
        let processes: Vec<_> = self.processes.iter().map(|(agent, (run, process))| (*agent, *run, *process)).collect();
        for (agent, run, process) in processes {
            self.observations.push_back(run::Command::Started(run::Started { agent, run, process }));
        }
        let live: Vec<_> = self.writer().published().live_runs();
        for (agent, run, state) in live {
            let process_gone = self.processes.get(&agent).is_none_or(|(of, _)| *of != run);
            let was_seen = amux_proto::entity::Run {
                no: run,
                state,
                since: Time(0),
                activity: Activity::default(),
                lost_session: false,
            }
            .process()
            .is_some();
            if process_gone && was_seen {
                let why = "nobody saw it end".to_owned();
                self.observations.push_back(run::Command::Lost(run::Lost { agent, run, why }));
            }
        }
    }

    fn move_clock(&mut self) {
        let days = self.rng.below(20) as i64 - 4;
        self.now = self.now.plus_ms(days * 24 * 60 * 60 * 1000);
        self.note(format!("the clock moved {days} days"));
    }

    fn compact(&mut self) -> Result<(), String> {
        let keep = Keep { rows: self.rng.below(300), age_ms: 0, receipts_age_ms: i64::MAX / 2 };
        let now = self.now.plus_ms(1);
        while self.writer().compact(keep, now).map_err(|error| format!("compaction broke: {error}"))? {}
        let floor = self.writer().published().floor();
        self.note(format!("compacted to {floor}"));
        self.examine()
    }

    fn examine(&mut self) -> Result<(), String> {
        let findings = doctor::check(&self.db());
        match findings.iter().find(|finding| finding.check == "store" && finding.level == Level::Failure) {
            Some(finding) => Err(format!("doctor: {} {:?}", finding.message, finding.details)),
            None => Ok(()),
        }
    }

    /// The wishes that can come true: mail for an agent at rest waits until somebody starts it.
    fn due(&mut self) -> Vec<Effect> {
        let published = self.writer().published();
        let live: BTreeSet<_> = published.live_runs().into_iter().map(|(agent, ..)| agent).collect();
        let wishes = published.wishes().into_iter().map(|wish| wish.effect);
        wishes.filter(|wish| !matches!(wish, Effect::Deliver { agent, .. } if !live.contains(agent))).collect()
    }

    /// Nothing new is asked; what is open comes true, and everybody hears of it.
    fn settle(&mut self) -> Result<(), String> {
        self.say_again();
        for _ in 0..SETTLE_TURNS {
            self.run_agents();
            while !self.observations.is_empty() {
                self.observe()?;
            }
            if self.due().is_empty() {
                break;
            }
        }
        let wishes = self.due();
        if !wishes.is_empty() {
            return Err(format!("wishes that never came true: {wishes:?}"));
        }
        for who in 0..CLIENTS {
            while !self.pull(who, 1000)? {}
        }
        self.examine()
    }
}

fn summary(answer: &Answer) -> Outcome {
    match answer {
        Ok(committed) => Ok((committed.seq, committed.answer.get().to_owned())),
        Err(refusal) => Err(refusal.message.clone()),
    }
}
