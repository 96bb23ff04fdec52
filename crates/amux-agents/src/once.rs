//! CLIs that are one process per turn. What lives through the run is a relay of ours: it is told a turn, starts the
//! CLI for it, prints every line of the CLI as it is, and says with lines of its own when the CLI began and ended.
//!
//! A turn ends when its process does: the line that decides how it ended comes late, and what a CLI calls an error
//! before it exits may be one that a fresh start repairs.

mod claude;
mod exec;
mod gemini;

use std::collections::{BTreeSet, VecDeque};

use amux_proto::Time;
use amux_proto::transcript::{FailureClass, InputStage, Item, Opened, SessionOpened, Tool, ToolKind, Trigger, TurnEnd};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::turns::Turns;
use crate::{Begin, Order, Out, Refused, Session, cut, failure};

/// Kinds are said once each; beyond this many they are not said.
const KINDS_MAX: usize = 64;
/// More than a person or a mailbox puts to one agent before its turn ends.
const WAITING_MAX: usize = 1024;
/// Dead conversations remembered, the newest; a run meets one of them, seldom two.
const POISONED_MAX: usize = 8;
const TITLE_CHARS_MAX: usize = 200;
const WHY_CHARS_MAX: usize = 300;

/// How a CLI says that there is no such conversation; it has done nothing then.
const NO_SUCH_SESSION: &[&str] = &[
    "no conversation found with session id",
    "no rollout found for thread id",
    "invalid session id",
    "no saved session found",
    "no previous sessions found",
    "error resuming session",
];

/// What the CLI prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `codex exec --json`.
    Codex,
    /// `claude -p --output-format stream-json`, and what prints the same.
    Claude,
    /// `gemini --output-format stream-json`.
    Gemini,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Once {
    format: Format,
    /// In both `{session}`, `{model}`, `{mode}` and `{prompt}` are filled in; an argument without its value is left
    /// out, with the flag in front of it. Without `{prompt}` the prompt is the standard input.
    fresh: Vec<String>,
    /// Without it the CLI knows no conversation but the one of its turn.
    resume: Option<Vec<String>>,
    is_begun: bool,
    /// The id a new conversation is to get, once.
    chosen: Option<String>,
    model: Option<String>,
    mode: Option<String>,
    session: Option<String>,
    /// What the transcript was told of it.
    told: Option<Claim>,
    poisoned: Vec<String>,
    /// The conversation that could not go on, and why, until a new one is told.
    lost: Option<(String, String)>,
    waiting: VecDeque<Waiting>,
    running: Option<Running>,
    /// Processes so far: ids that begin anew in each are made different by it.
    processes: u32,
    turns: Turns,
    kinds: BTreeSet<String>,
    unknown: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Waiting {
    input: String,
    text: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Running {
    input: String,
    text: String,
    /// The conversation it was told to go on with.
    resumes: Option<String>,
    /// The relay has started the process.
    is_started: bool,
    /// The input was begun by a process before this one.
    is_again: bool,
    is_interrupted: bool,
    /// What it said is of the conversation; an id it was given and repeats proves nothing.
    is_proven: bool,
    claim: Option<Claim>,
    verdict: Option<Verdict>,
    reading: Reading,
}

/// The conversation a CLI says it is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    id: String,
    model: Option<String>,
    mode: Option<String>,
    cwd: Option<String>,
}

/// How a CLI says its turn has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Verdict {
    Done,
    Error { class: FailureClass, text: String },
}

/// What a reader of frames remembers within one process.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Reading {
    process: u32,
    /// Tools that have started and are not done.
    tools: Vec<String>,
    /// The message that streams: its id, and its text where nothing repeats it whole.
    message: String,
    messages: u32,
    text: String,
    /// Told before the end, in case the end has no words.
    error: Option<String>,
}

/// What a frame means beside its items.
enum Fact {
    Session(Claim),
    /// The conversation is really open.
    Proof,
    End(Verdict),
    Unknown(String),
}

impl Once {
    pub fn new(format: Format, fresh: Vec<String>, resume: Option<Vec<String>>) -> Self {
        Self {
            format,
            fresh,
            resume,
            is_begun: false,
            chosen: None,
            model: None,
            mode: None,
            session: None,
            told: None,
            poisoned: Vec::new(),
            lost: None,
            waiting: VecDeque::new(),
            running: None,
            processes: 0,
            turns: Turns::default(),
            kinds: BTreeSet::new(),
            unknown: 0,
        }
    }

    pub fn hear(&mut self, line: &str, _now: Time, out: &mut Out) {
        let Ok(frame @ Value::Object(_)) = serde_json::from_str::<Value>(line) else {
            self.unknown += 1;
            return;
        };
        match &frame["agentmux"] {
            Value::Null => self.heard(&frame, out),
            relay => self.relayed(relay, out),
        }
    }

    pub fn order(&mut self, order: &Order, _now: Time, out: &mut Out) -> Result<(), Refused> {
        match order {
            Order::Begin(begin) => self.begin(begin, out),
            Order::Input { input, text, .. } => {
                if self.waiting.len() >= WAITING_MAX {
                    return Err(Refused::Unsupported("hold so many inputs"));
                }
                self.waiting.push_back(Waiting { input: input.clone(), text: text.clone() });
                self.pump(out);
                Ok(())
            }
            Order::Answer { ask, .. } => Err(Refused::NotAsked(ask.clone())),
            Order::Interrupt => {
                let running = self.running.as_mut().ok_or(Refused::NotRunning)?;
                running.is_interrupted = true;
                out.write(&json!({ "interrupt": running.input }));
                Ok(())
            }
            Order::Set { model, mode } => {
                if mode.is_some() && !self.takes_mode() {
                    return Err(Refused::Unsupported("change its mode, its arguments have no place for one"));
                }
                self.model = model.clone().or(self.model.take());
                self.mode = mode.clone().or(self.mode.take());
                Ok(())
            }
        }
    }

    pub fn is_idle(&self) -> bool {
        self.is_begun && self.running.is_none() && self.waiting.is_empty()
    }

    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    fn takes_mode(&self) -> bool {
        self.fresh.iter().chain(self.resume.iter().flatten()).any(|arg| arg.contains("{mode}"))
    }

    fn begin(&mut self, begin: &Begin, out: &mut Out) -> Result<(), Refused> {
        if self.is_begun {
            return Err(Refused::Unsupported("begin a second time"));
        }
        self.is_begun = true;
        self.model.clone_from(&begin.model);
        self.mode.clone_from(&begin.mode);
        match &begin.session {
            Session::New { id } => self.chosen = Some(id.clone()),
            Session::Resume { id } => self.session = Some(id.clone()),
        }
        self.pump(out);
        Ok(())
    }

    fn pump(&mut self, out: &mut Out) {
        if !self.is_begun || self.running.is_some() {
            return;
        }
        let Some(Waiting { input, text }) = self.waiting.pop_front() else { return };
        out.say(Item::Input { input: input.clone(), text: text.clone() });
        self.start(input, text, false, out);
    }

    fn start(&mut self, input: String, text: String, is_again: bool, out: &mut Out) {
        if self.resume.is_none()
            && let Some(session) = self.session.take()
        {
            self.lost = Some((session, "this CLI cannot resume a conversation".to_owned()));
        }
        let resumes = self.session.clone();
        let template = resumes.as_ref().and(self.resume.as_ref()).unwrap_or(&self.fresh);
        let session = resumes.as_deref().or(self.chosen.as_deref());
        let values = [
            ("{session}", session),
            ("{model}", self.model.as_deref()),
            ("{mode}", self.mode.as_deref()),
            ("{prompt}", Some(text.as_str())),
        ];
        let argv = fill(template, &values);
        let stdin = if template.iter().any(|arg| arg.contains("{prompt}")) { "" } else { text.as_str() };
        let turn = json!({ "turn": { "id": input, "argv": argv, "stdin": stdin } });
        if is_again {
            out.write(&turn);
        } else {
            out.write_input(&input, &turn);
        }
        if resumes.is_none() {
            self.chosen = None;
        }
        self.processes += 1;
        self.running = Some(Running {
            is_proven: resumes.is_none(),
            input,
            text,
            resumes,
            is_started: false,
            is_again,
            is_interrupted: false,
            claim: None,
            verdict: None,
            reading: Reading { process: self.processes, ..Reading::default() },
        });
    }

    fn relayed(&mut self, relay: &Value, out: &mut Out) {
        let turn = relay["turn"].as_str();
        let Some(running) = self.running.as_mut().filter(|running| turn == Some(&running.input)) else { return };
        if relay.get("pid").is_some() {
            if std::mem::replace(&mut running.is_started, true) {
                return;
            }
            self.turns.begin(Trigger::Input, out);
            if !running.is_again {
                let (stage, evidence) = (InputStage::Shown, "its process was started with it");
                out.say(Item::InputStage { input: running.input.clone(), stage, evidence: evidence.to_owned() });
                self.turns.contains(&running.input, "its process has started", out);
            }
        } else if let Some(running) = self.running.take() {
            self.ended(running, relay, out);
        }
    }

    fn heard(&mut self, frame: &Value, out: &mut Out) {
        let Some(running) = self.running.as_mut().filter(|running| running.is_started) else {
            self.unknown += 1;
            return;
        };
        let (mut said, mut facts) = (Out::default(), Vec::new());
        let read = match self.format {
            Format::Codex => exec::read,
            Format::Claude => claude::read,
            Format::Gemini => gemini::read,
        };
        read(frame, &mut running.reading, &mut said, &mut facts);
        for fact in facts {
            match fact {
                Fact::Session(claim) => running.claim = Some(claim),
                Fact::Proof => running.is_proven = true,
                Fact::End(verdict) => {
                    running.is_proven |= verdict == Verdict::Done;
                    running.verdict = Some(verdict);
                }
                Fact::Unknown(kind) => {
                    self.unknown += 1;
                    if self.kinds.len() < KINDS_MAX && self.kinds.insert(kind.clone()) {
                        said.say(Item::Unknown { kind });
                    }
                }
            }
        }
        self.settle(out);
        out.items.append(&mut said.items);
    }

    /// A conversation that is proven is told, and gone on with by the next turn.
    fn settle(&mut self, out: &mut Out) {
        let Some(running) = self.running.as_mut().filter(|running| running.is_proven) else { return };
        let Some(claim) = running.claim.take().filter(|claim| !self.poisoned.contains(&claim.id)) else { return };
        let id = claim.id.clone();
        let known = self.told.replace(claim.clone());
        self.session = Some(id.clone());
        if let Some(known) = known.filter(|known| known.id == id) {
            if known.model != claim.model || known.mode != claim.mode {
                out.say(Item::Mode { model: claim.model, mode: claim.mode });
            }
            return;
        }
        let how = match (running.resumes.clone(), self.lost.take()) {
            (Some(attempted), _) if attempted == id => Opened::Resumed,
            (Some(attempted), _) => Opened::Fresh { attempted, why: "another conversation was opened".to_owned() },
            (None, Some((attempted, why))) => Opened::Fresh { attempted, why },
            (None, None) => Opened::New,
        };
        let Claim { id, model, mode, cwd } = claim;
        out.say(Item::Session { session: SessionOpened { id, how, model, mode, cwd } });
    }

    fn ended(&mut self, mut running: Running, relay: &Value, out: &mut Out) {
        let stderr = relay["stderr"].as_str().unwrap_or_default();
        running.reading.flush(out);
        if let Some((session, why)) = is_doomed(&running, stderr) {
            self.poisoned.push(session.clone());
            if self.poisoned.len() > POISONED_MAX {
                self.poisoned.remove(0);
            }
            self.session = None;
            self.lost = Some((session, why));
            self.start(running.input, running.text, running.is_started || running.is_again, out);
            return;
        }
        for id in running.reading.tools.drain(..) {
            let output = "its turn has ended".to_owned();
            out.say(Item::ToolDone { id, output, is_error: true, exit_code: None });
        }
        let (code, signal) = (relay["code"].as_i64(), relay["signal"].as_i64());
        let end = match running.verdict.take() {
            Some(Verdict::Done) => TurnEnd::Done,
            _ if running.is_interrupted => TurnEnd::Interrupted,
            Some(Verdict::Error { class, text }) => {
                let class = if class == FailureClass::Unknown { failure::of_text(stderr) } else { class };
                failure::say(class, &text, out);
                TurnEnd::Error { class }
            }
            None => {
                let class = match (code, failure::of_text(stderr)) {
                    (Some(0), _) => FailureClass::Protocol,
                    (_, class) => class,
                };
                let how = match (code, signal) {
                    (_, Some(signal)) => format!("the process was ended by signal {signal}"),
                    (Some(0), _) => "the process ended without a result".to_owned(),
                    (Some(code), _) => format!("the process ended with code {code}"),
                    (None, None) => "the process could not be started".to_owned(),
                };
                failure::say(class, &format!("{how}\n{}", last(stderr)), out);
                if signal.is_some() { TurnEnd::Exited } else { TurnEnd::Error { class } }
            }
        };
        if self.turns.is_open() {
            self.turns.end(end, out);
        } else {
            let (stage, evidence) = (InputStage::Refused, "its process could not be started".to_owned());
            out.say(Item::InputStage { input: running.input, stage, evidence });
        }
        self.pump(out);
    }
}

impl Reading {
    /// The id of the next message, where the CLI gives it none.
    fn next_message(&mut self) -> String {
        self.messages += 1;
        format!("{}:{}", self.process, self.messages)
    }

    /// Ids that begin anew in every process.
    fn id(&self, id: &Value) -> String {
        format!("{}:{}", self.process, id.as_str().unwrap_or_default())
    }

    fn flush(&mut self, out: &mut Out) {
        if !self.text.is_empty() {
            let text = std::mem::take(&mut self.text);
            out.say(Item::Message { id: std::mem::take(&mut self.message), text, parent: None });
        }
    }

    fn tool_started(&mut self, tool: Tool, out: &mut Out) {
        if !self.tools.contains(&tool.id) {
            self.tools.push(tool.id.clone());
            out.say(Item::ToolStarted { tool });
        }
    }

    fn tool_done(&mut self, id: &str, output: String, is_error: bool, exit_code: Option<i32>, out: &mut Out) {
        self.tools.retain(|open| open != id);
        out.say(Item::ToolDone { id: id.to_owned(), output, is_error, exit_code });
    }
}

/// The conversation that was to be resumed is proven dead: which, and in whose words.
fn is_doomed(running: &Running, stderr: &str) -> Option<(String, String)> {
    let session = running.resumes.clone().filter(|_| !running.is_proven && !running.is_interrupted)?;
    let told = match &running.verdict {
        Some(Verdict::Error { text, .. }) => text.as_str(),
        _ => "",
    };
    let says_so = |line: &&str| NO_SUCH_SESSION.iter().any(|words| line.to_lowercase().contains(words));
    let why = stderr.lines().chain(told.lines()).find(says_so)?;
    Some((session, cut(why.trim(), WHY_CHARS_MAX)))
}

/// The end of what a process had to say.
fn last(stderr: &str) -> &str {
    let lines = stderr.trim_end().rmatch_indices('\n').nth(9);
    lines.map_or(stderr.trim(), |(at, _)| stderr[at..].trim())
}

/// A value is never searched for placeholders: it may be a prompt that speaks of them.
fn fill(template: &[String], values: &[(&str, Option<&str>)]) -> Vec<String> {
    let mut argv: Vec<String> = Vec::new();
    let mut is_after_flag = false;
    for arg in template {
        let mut filled = String::new();
        let mut rest = arg.as_str();
        let mut is_whole = true;
        while let Some((at, name, value)) =
            values.iter().filter_map(|(name, value)| Some((rest.find(name)?, *name, *value))).min_by_key(|(at, ..)| *at)
        {
            filled.push_str(&rest[..at]);
            filled.push_str(value.unwrap_or_default());
            is_whole &= value.is_some();
            rest = &rest[at + name.len()..];
        }
        filled.push_str(rest);
        if is_whole {
            is_after_flag = arg.starts_with('-');
            argv.push(filled);
        } else {
            if is_after_flag && !arg.starts_with('-') {
                argv.pop();
            }
            is_after_flag = false;
        }
    }
    argv
}

/// By the names Claude, Qwen and Gemini give their tools.
fn tool_kind(name: &str) -> ToolKind {
    match name {
        "Bash" | "BashOutput" | "KillShell" | "run_shell_command" => ToolKind::Execute,
        "Read" | "NotebookRead" | "read_file" | "read_many_files" => ToolKind::Read,
        "Edit" | "MultiEdit" | "Write" | "NotebookEdit" | "edit" | "replace" | "write_file" => ToolKind::Edit,
        "Grep" | "Glob" | "LS" | "ToolSearch" | "grep_search" | "search_file_content" | "glob" | "list_directory" => {
            ToolKind::Search
        }
        "WebFetch" | "WebSearch" | "web_fetch" | "web_search" | "google_web_search" => ToolKind::Fetch,
        "Task" | "Agent" | "task" | "agent" => ToolKind::Delegate,
        "TodoWrite" | "todo_write" | "write_todos" | "ExitPlanMode" | "exit_plan_mode" => ToolKind::Think,
        name if name.starts_with("mcp__") => ToolKind::Mcp,
        _ => ToolKind::Other,
    }
}

fn tool(id: String, name: &str, input: &Value, parent: Option<String>) -> Tool {
    let keys = ["command", "file_path", "absolute_path", "path", "pattern", "query", "url", "description", "prompt"];
    let title = keys.iter().find_map(|key| input[key].as_str()).unwrap_or(name);
    let title = cut(title, TITLE_CHARS_MAX);
    Tool { id, name: name.to_owned(), kind: tool_kind(name), title, input: input.clone(), parent }
}
