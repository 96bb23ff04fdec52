//! What an agent does, read off its items: the phase it is in and on what evidence, the facts that go into the log.
//! The same for every dialect.

use std::collections::{BTreeMap, BTreeSet};

use amux_proto::command::run::Fact;
use amux_proto::entity::{Activity, Phase};
use amux_proto::transcript::{Failure, FailureClass, InputStage, Item, Opened, TaskStatus, Trigger, TurnEnd, Usage};
use amux_proto::{RequestId, Time};
use serde::{Deserialize, Serialize};

use crate::cut;
use crate::part::{self, Part};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    activity: Activity,
    /// Running, by the CLI's id.
    tasks: BTreeSet<String>,
    /// The reason of a turn that is about to end badly.
    failure: Option<Failure>,
    /// Inputs of several messages, until nothing more is said of them.
    #[serde(default)]
    several: BTreeMap<String, Vec<String>>,
    /// Its conversation was shortened, and it was given nothing since.
    #[serde(default)]
    was_shortened: bool,
}

/// Turns the CLI's id of a question into ours, the same one every time.
pub type RequestIdOf<'a> = &'a dyn Fn(&str) -> RequestId;

const DOING_CHARS: usize = 120;

/// A line of a list.
const SAID_CHARS: usize = 160;

impl Ledger {
    /// Of a process that has just been started.
    pub fn opening(now: Time, cwd: Option<String>) -> Self {
        let evidence = "the process has started".to_owned();
        let activity = Activity { phase: Phase::Opening, since: now, evidence, cwd, ..Activity::default() };
        Self { activity, ..Self::default() }
    }

    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Whether it may have forgotten what it was told, and nobody has reminded it.
    pub fn was_shortened(&self) -> bool {
        self.was_shortened
    }

    /// It was given something, with whatever it had to be reminded of.
    pub fn was_told(&mut self) {
        self.was_shortened = false;
    }

    /// Takes one item of input `n`.
    pub fn note(&mut self, n: u64, now: Time, item: &Item, request_id: RequestIdOf<'_>, facts: &mut Vec<Fact>) {
        self.activity.seen = n;
        match item {
            Item::Session { session } => {
                if session.model.is_some() {
                    self.activity.model.clone_from(&session.model);
                }
                if session.mode.is_some() {
                    self.activity.mode.clone_from(&session.mode);
                }
                if !self.activity.turn_open {
                    let how = match &session.how {
                        Opened::New => "a new conversation is open".to_owned(),
                        Opened::Resumed => "the conversation goes on".to_owned(),
                        Opened::Fresh { why, .. } => format!("a fresh conversation, the one before is lost: {why}"),
                    };
                    self.enter(Phase::Idle, how, now);
                }
                facts.push(Fact::Session { session: session.clone() });
            }
            Item::TurnStarted { turn, trigger } => {
                (self.activity.turn, self.activity.turn_open) = (*turn, true);
                let evidence = match trigger {
                    Trigger::Input => "it began to work on an input",
                    Trigger::Task => "it began by itself: a background task has ended",
                    Trigger::Itself => "it began by itself",
                };
                self.enter(Phase::Working { doing: None }, evidence.to_owned(), now);
                facts.push(Fact::TurnStarted { turn: *turn, trigger: *trigger });
            }
            Item::TurnEnded { turn, end } => self.turn_ended(*turn, end, now, facts),
            Item::Message { text, parent: None, .. } => {
                if let Some(line) = text.lines().rev().map(str::trim).find(|line| line.contains(char::is_alphanumeric))
                {
                    self.activity.said = Some(cut(line, SAID_CHARS));
                }
                self.goes_on(now);
            }
            Item::PassStarted { .. } | Item::Message { .. } | Item::Thinking { .. } => self.goes_on(now),
            Item::MessageDelta { .. } | Item::ThinkingDelta { .. } => self.goes_on(now),
            Item::ToolStarted { tool } if tool.parent.is_none() && self.activity.turn_open => {
                let doing = Some(cut(&format!("{}: {}", tool.name, tool.title), DOING_CHARS));
                self.enter(Phase::Working { doing }, "a tool runs".to_owned(), now);
            }
            Item::ToolDone { .. } if self.activity.turn_open => {
                self.enter(Phase::Working { doing: None }, "a tool has ended".to_owned(), now);
            }
            Item::Retry { attempt, max, until, reason } => {
                let (attempt, max, until, reason) = (*attempt, *max, *until, cut(reason, DOING_CHARS));
                let phase = Phase::Retrying { attempt, max, until, reason };
                self.enter(phase, "the CLI waits and tries again".to_owned(), now);
            }
            Item::Compaction { done: false, .. } => {
                self.enter(Phase::Compacting, "the CLI said so".to_owned(), now);
            }
            Item::Compaction { done: true, .. } => {
                self.was_shortened = true;
                let phase = if self.activity.turn_open { Phase::Working { doing: None } } else { Phase::Idle };
                self.enter(phase, "the conversation was shortened".to_owned(), now);
            }
            Item::Error { error } => {
                if self.activity.turn_open {
                    // The frame that says when a limit ends comes before the one that ends the turn.
                    let until = error.until.or(self.failure.as_ref().and_then(|failure| failure.until));
                    self.failure = Some(Failure { until, ..error.clone() });
                } else if let Some(phase) = stuck(error) {
                    self.enter(phase, "the CLI said so".to_owned(), now);
                }
            }
            Item::Usage { usage } => merge(&mut self.activity.usage, usage),
            Item::Task { task } => {
                match task.status {
                    TaskStatus::Running => self.tasks.insert(task.id.clone()),
                    TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Stopped => self.tasks.remove(&task.id),
                };
                self.activity.tasks = u32::try_from(self.tasks.len()).unwrap_or(u32::MAX);
            }
            Item::Mode { model, mode } => {
                if model.is_some() {
                    self.activity.model.clone_from(model);
                }
                if mode.is_some() {
                    self.activity.mode.clone_from(mode);
                }
            }
            Item::Asked { ask } => {
                facts.push(Fact::Asked { request: request_id(&ask.id), ask: Box::new(ask.clone()) });
            }
            Item::AskClosed { ask, how } => {
                facts.push(Fact::AskClosed { request: request_id(ask), how: how.clone() });
            }
            Item::InputStage { input, stage, evidence } => self.input(input, *stage, evidence, facts),
            Item::Input { .. }
            | Item::ToolStarted { .. }
            | Item::ToolDone { .. }
            | Item::ToolOutput { .. }
            | Item::Diff { .. }
            | Item::Plan { .. }
            | Item::Notice { .. }
            | Item::Unknown { .. } => {}
        }
    }

    /// Says how far an input has come; inputs that are no messages are nobody's to wait for.
    pub fn input(&mut self, input: &str, stage: InputStage, evidence: &str, facts: &mut Vec<Fact>) {
        let say = |Part { message, edition, .. }| {
            facts.push(Fact::Input { message, stage, evidence: evidence.to_owned(), edition });
        };
        let is_over = match stage {
            InputStage::Handed | InputStage::Shown | InputStage::Begun => false,
            InputStage::Ended | InputStage::Failed | InputStage::Refused | InputStage::Unproven => true,
        };
        match self.several.get(input) {
            Some(parts) => parts.iter().filter_map(|part| part::parse(part)).for_each(say),
            None => part::parse(input).into_iter().for_each(say),
        }
        if is_over {
            self.several.remove(input);
        }
    }

    /// What is said of an input is said of these.
    pub fn consists_of(&mut self, input: &str, parts: &[String]) {
        if !parts.is_empty() {
            self.several.insert(input.to_owned(), parts.to_vec());
        }
    }

    /// The process has ended, and this is what it said last.
    pub fn complained(&mut self, complaint: &str) {
        self.activity.phase = Phase::Untold;
        self.activity.evidence = cut(complaint, DOING_CHARS * 4);
    }

    /// Something was seen although no item came of it.
    pub fn seen(&mut self, n: u64) {
        self.activity.seen = n;
    }

    fn turn_ended(&mut self, turn: u32, end: &TurnEnd, now: Time, facts: &mut Vec<Fact>) {
        self.activity.turn_open = false;
        let failure = self.failure.take();
        let (phase, evidence) = match (end, failure) {
            (TurnEnd::Error { .. }, Some(failure)) => {
                let text = cut(&failure.text, DOING_CHARS * 2);
                match stuck(&failure) {
                    Some(phase) => (phase, format!("turn {turn} failed")),
                    None => (Phase::Idle, format!("turn {turn} failed: {text}")),
                }
            }
            (TurnEnd::Error { .. }, None) => (Phase::Idle, format!("turn {turn} failed")),
            (TurnEnd::Interrupted, _) => (Phase::Idle, format!("turn {turn} was interrupted")),
            (TurnEnd::Done, _) => (Phase::Idle, format!("turn {turn} is done")),
            (TurnEnd::Exited, _) => (Phase::Untold, format!("turn {turn} ended with its process")),
        };
        self.enter(phase, evidence, now);
        facts.push(Fact::TurnEnded { turn, end: end.clone() });
    }

    /// The model speaks: whatever it waited for is over.
    fn goes_on(&mut self, now: Time) {
        if matches!(self.activity.phase, Phase::Retrying { .. } | Phase::Compacting) && self.activity.turn_open {
            self.enter(Phase::Working { doing: None }, "the model answers".to_owned(), now);
        }
    }

    fn enter(&mut self, phase: Phase, evidence: String, now: Time) {
        if std::mem::discriminant(&self.activity.phase) != std::mem::discriminant(&phase) {
            self.activity.since = now;
        }
        self.activity.phase = phase;
        self.activity.evidence = evidence;
    }
}

/// Where a failure leaves the agent unable to go on by itself.
fn stuck(failure: &Failure) -> Option<Phase> {
    let reason = cut(&failure.text, DOING_CHARS * 2);
    match failure.class {
        FailureClass::UsageLimit | FailureClass::RateLimited => Some(Phase::Limited { reason, until: failure.until }),
        FailureClass::Auth => Some(Phase::LoggedOut { reason }),
        FailureClass::Overloaded
        | FailureClass::Network
        | FailureClass::ContextExceeded
        | FailureClass::MaxTurns
        | FailureClass::Refused
        | FailureClass::Protocol
        | FailureClass::Unknown => None,
    }
}

fn merge(known: &mut Usage, told: &Usage) {
    let Usage { input_tokens, cached_tokens, output_tokens, cost_micro_usd, context_used, context_size } = told;
    let take = |known: &mut Option<u64>, told: &Option<u64>| *known = told.or(*known);
    take(&mut known.input_tokens, input_tokens);
    take(&mut known.cached_tokens, cached_tokens);
    take(&mut known.output_tokens, output_tokens);
    take(&mut known.cost_micro_usd, cost_micro_usd);
    take(&mut known.context_used, context_used);
    take(&mut known.context_size, context_size);
}
