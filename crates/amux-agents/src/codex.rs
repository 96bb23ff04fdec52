//! Codex's app-server: JSON-RPC over lines, without the `jsonrpc` member. One process holds one thread of ours, and
//! lives through many turns.
//!
//! Answers and notifications overtake each other: a turn may be started, even completed, before the request that
//! started it is answered. So a turn on its way is a state of its own, and a turn that has ended stays ended.

mod ask;
mod item;

use std::collections::{BTreeSet, VecDeque};

use amux_proto::Time;
use amux_proto::entity::Answer;
use amux_proto::transcript::{
    FailureClass, InputStage, Item, Opened, PlanEntry, PlanStatus, SessionOpened, Trigger, TurnEnd, Usage,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::turns::Turns;
use crate::{Begin, How, McpServer, Order, Out, Refused, Session, answered, failure};
use ask::Asking;
use item::OpenTool;

/// Kinds and notices are said once each; beyond this many they are not said.
const SAID_MAX: usize = 64;
/// More than a person or a mailbox puts to one agent before its turn ends.
const WAITING_MAX: usize = 1024;
/// Sub-agents whose tool is remembered, the newest.
const CHILDREN_MAX: usize = 64;

const METHOD_NOT_FOUND: i64 = -32601;

const APPROVALS: [&str; 3] = ["untrusted", "on-request", "never"];
/// As `thread/start` and as `turn/start` call them.
const SANDBOXES: [(&str, &str); 3] =
    [("read-only", "readOnly"), ("workspace-write", "workspaceWrite"), ("danger-full-access", "dangerFullAccess")];

/// Told, and of no interest to a transcript.
const QUIET: &[&str] = &[
    "thread/started",
    "thread/readState/changed",
    "thread/name/updated",
    "thread/section/changed",
    "thread/goal/updated",
    "thread/goal/cleared",
    "thread/queue/changed",
    "thread/settings/updated",
    "thread/project/updated",
    "thread/prediction/updated",
    "thread/compacted",
    "skills/changed",
    "hook/started",
    "hook/completed",
    "turn/diff/updated",
    "turn/moderationMetadata",
    "rawResponseItem/completed",
    "rawResponse/completed",
    "item/commandExecution/terminalInteraction",
    "item/fileChange/outputDelta",
    "item/fileChange/patchUpdated",
    "item/mcpToolCall/progress",
    "item/autoApprovalReview/started",
    "item/autoApprovalReview/completed",
    "mcpServer/startupStatus/updated",
    "account/updated",
    "account/rateLimits/updated",
    "app/list/updated",
    "remoteControl/status/changed",
    "model/verification",
    "model/safetyBuffering/updated",
    "modelProvider/authRecoveryStarted",
    "modelProvider/authRecoveryCompleted",
    "deprecationNotice",
    "fs/changed",
];

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Codex {
    phase: Phase,
    begin: Option<Begin>,
    policy: Policy,
    thread: Option<String>,
    calls: Vec<Call>,
    newest_call: u64,
    waiting: VecDeque<Waiting>,
    sent: Vec<Sent>,
    running: Running,
    /// The last turn that ended, by the server's id.
    finished: Option<String>,
    /// An error of the running turn is told already.
    is_error_told: bool,
    set: Set,
    turns: Turns,
    asks: Vec<Asking>,
    asked: u64,
    tools: Vec<OpenTool>,
    /// Texts that stream and are not told whole yet.
    streams: Vec<Stream>,
    /// Threads of sub-agents, with the tool that started each.
    children: Vec<(String, String)>,
    notices: BTreeSet<String>,
    kinds: BTreeSet<String>,
    unknown: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Phase {
    #[default]
    Unborn,
    Initializing,
    /// `lost` is the thread that could not be resumed, and why.
    Opening {
        lost: Option<(String, String)>,
    },
    Open,
    /// The process may live on, but there is no thread in it.
    Dead,
}

/// What the thread may do, in the server's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Policy {
    approval: String,
    sandbox: String,
}

impl Default for Policy {
    fn default() -> Self {
        Self { approval: "on-request".to_owned(), sandbox: "workspace-write".to_owned() }
    }
}

impl Policy {
    fn word(&self) -> String {
        format!("{}/{}", self.approval, self.sandbox)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Call {
    id: u64,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum What {
    Initialize,
    Start,
    Resume { id: String },
    Turn { input: String, set: Set },
    Steer { input: String },
    Interrupt,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    input: String,
    text: String,
    how: How,
    /// It was put to the agent before, and given back.
    is_told: bool,
}

/// An input that was written and whose turn has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sent {
    input: String,
    text: String,
    turn: Option<String>,
    is_shown: bool,
    is_begun: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stream {
    id: String,
    text: String,
    is_thinking: bool,
    parent: Option<String>,
    turn: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Running {
    #[default]
    Nothing,
    /// A turn is asked for; who begins first is this input.
    Starting {
        input: String,
        interrupt: bool,
    },
    Turn {
        id: String,
    },
    /// A turn whose id was not told.
    Unnamed,
}

/// What the next turn changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Set {
    model: Option<String>,
    approval: Option<String>,
    sandbox: Option<String>,
}

impl Codex {
    pub fn hear(&mut self, line: &str, _now: Time, out: &mut Out) {
        let Ok(Value::Object(frame)) = serde_json::from_str::<Value>(line) else {
            self.unknown += 1;
            return;
        };
        let member = |key: &str| frame.get(key).unwrap_or(&Value::Null);
        match (member("id"), member("method").as_str()) {
            (Value::Null, Some(method)) => self.notified(method, member("params"), out),
            (id, Some(method)) => self.requested(id, method, member("params"), out),
            (Value::Null, None) => self.unknown += 1,
            (id, None) => {
                let call = self.calls.iter().position(|call| id.as_u64() == Some(call.id));
                let Some(call) = call.map(|at| self.calls.remove(at)) else { return };
                match frame.get("error") {
                    Some(error) => {
                        let error = error["message"].as_str().map_or_else(|| error.to_string(), str::to_owned);
                        self.failed(call.what, &error, out);
                    }
                    None => self.answered(call.what, member("result"), out),
                }
            }
        }
    }

    pub fn order(&mut self, order: &Order, _now: Time, out: &mut Out) -> Result<(), Refused> {
        match order {
            Order::Begin(begin) => self.begin(begin, out),
            Order::Input { input, text, how, .. } => {
                if self.phase == Phase::Dead {
                    return Err(Refused::NotReady);
                }
                if self.waiting.len() >= WAITING_MAX {
                    return Err(Refused::Unsupported("hold so many inputs"));
                }
                let waiting = Waiting { input: input.clone(), text: text.clone(), how: *how, is_told: false };
                self.waiting.push_back(waiting);
                self.pump(out);
                Ok(())
            }
            Order::Answer { ask, answer } => self.answer(ask, answer, out),
            Order::Interrupt => self.interrupt(out),
            Order::Set { model, mode } => {
                if let Some(mode) = mode {
                    let (approval, sandbox) = mode_words(mode)?;
                    self.set.approval = approval.or(self.set.approval.take());
                    self.set.sandbox = sandbox.or(self.set.sandbox.take());
                }
                self.set.model = model.clone().or(self.set.model.take());
                Ok(())
            }
        }
    }

    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Open
            && self.running == Running::Nothing
            && self.waiting.is_empty()
            && !self.turns.is_open()
    }

    /// See [`crate::Machine::takes_input`].
    pub fn takes_input(&self, how: How) -> bool {
        let may_be_written = match self.running {
            Running::Nothing => true,
            Running::Turn { .. } => how == How::Steer,
            Running::Starting { .. } | Running::Unnamed => false,
        };
        self.phase == Phase::Dead || (self.phase == Phase::Open && self.waiting.is_empty() && may_be_written)
    }

    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    fn begin(&mut self, begin: &Begin, out: &mut Out) -> Result<(), Refused> {
        if self.phase != Phase::Unborn {
            return Err(Refused::Unsupported("begin a second time"));
        }
        if let Some(mode) = &begin.mode {
            let (approval, sandbox) = mode_words(mode)?;
            self.policy.approval = approval.unwrap_or_else(|| self.policy.approval.clone());
            self.policy.sandbox = sandbox.unwrap_or_else(|| self.policy.sandbox.clone());
        }
        self.begin = Some(begin.clone());
        self.phase = Phase::Initializing;
        let client = json!({ "name": "agentmux", "title": "agentmux", "version": env!("CARGO_PKG_VERSION") });
        self.call(What::Initialize, "initialize", &json!({ "clientInfo": client }), out);
        Ok(())
    }

    fn answer(&mut self, ask: &str, answer: &Answer, out: &mut Out) -> Result<(), Refused> {
        let Some(at) = self.asks.iter().position(|asking| asking.ask == ask) else {
            return Err(Refused::NotAsked(ask.to_owned()));
        };
        let result = self.asks[at].result(answer)?;
        let asking = self.asks.remove(at);
        out.write(&json!({ "id": asking.request, "result": result }));
        out.say(Item::AskClosed { ask: asking.ask, how: answered(answer) });
        Ok(())
    }

    fn interrupt(&mut self, out: &mut Out) -> Result<(), Refused> {
        match &mut self.running {
            Running::Nothing | Running::Unnamed => Err(Refused::NotRunning),
            // It has no id yet that could be named.
            Running::Starting { interrupt, .. } => {
                *interrupt = true;
                Ok(())
            }
            Running::Turn { id } => {
                let params = json!({ "threadId": self.thread, "turnId": id });
                self.call(What::Interrupt, "turn/interrupt", &params, out);
                Ok(())
            }
        }
    }

    fn call(&mut self, what: What, method: &str, params: &Value, out: &mut Out) {
        let frame = self.request(what, method, params);
        out.write(&frame);
    }

    fn request(&mut self, what: What, method: &str, params: &Value) -> Value {
        self.newest_call += 1;
        self.calls.push(Call { id: self.newest_call, what });
        json!({ "id": self.newest_call, "method": method, "params": params })
    }

    fn answered(&mut self, what: What, result: &Value, out: &mut Out) {
        match what {
            What::Initialize => {
                out.write(&json!({ "method": "initialized" }));
                self.open(out);
            }
            What::Start => self.opened(None, result, out),
            What::Resume { id } => self.opened(Some(id), result, out),
            What::Turn { input, set } => {
                self.changed(set, out);
                self.accepted(&input, result["turn"]["id"].as_str(), "turn/start was answered", out);
            }
            What::Steer { input } => self.accepted(&input, result["turnId"].as_str(), "turn/steer was answered", out),
            What::Interrupt => {}
        }
    }

    fn failed(&mut self, what: What, error: &str, out: &mut Out) {
        match what {
            What::Initialize | What::Start => self.die(error, out),
            What::Resume { id } => {
                self.phase = Phase::Opening { lost: Some((id, error.to_owned())) };
                self.start_thread(out);
            }
            What::Turn { input, .. } => {
                let is_reserved = matches!(&self.running, Running::Starting { input: first, .. } if *first == input);
                if error.to_lowercase().contains("active") {
                    if is_reserved {
                        self.running = Running::Unnamed;
                    }
                    self.give_back(&input);
                    return;
                }
                if is_reserved {
                    self.running = Running::Nothing;
                }
                self.sent.retain(|sent| sent.input != input);
                failure::say(failure::of_text(error), error, out);
                out.say(Item::InputStage { input, stage: InputStage::Refused, evidence: error.to_owned() });
                self.pump(out);
            }
            What::Steer { input } => {
                self.give_back(&input);
                self.pump(out);
            }
            // Its turn has ended by itself.
            What::Interrupt => {}
        }
    }

    /// What the server did not take is the first of the next turn.
    fn give_back(&mut self, input: &str) {
        let Some(at) = self.sent.iter().position(|sent| sent.input == input && !sent.is_begun) else { return };
        let Sent { input, text, .. } = self.sent.remove(at);
        self.waiting.push_front(Waiting { input, text, how: How::Next, is_told: true });
    }

    fn die(&mut self, why: &str, out: &mut Out) {
        self.phase = Phase::Dead;
        failure::say(FailureClass::Protocol, why, out);
        for waiting in self.waiting.drain(..) {
            let evidence = format!("no conversation could be opened: {why}");
            out.say(Item::InputStage { input: waiting.input, stage: InputStage::Refused, evidence });
        }
    }

    fn open(&mut self, out: &mut Out) {
        self.phase = Phase::Opening { lost: None };
        match self.begin.as_ref().map(|begin| begin.session.clone()) {
            Some(Session::Resume { id }) => {
                let mut params = self.thread_params();
                params.insert("threadId".to_owned(), json!(id));
                // The transcript has them; a long thread would come as one very long line.
                params.insert("excludeTurns".to_owned(), json!(true));
                self.call(What::Resume { id }, "thread/resume", &Value::Object(params), out);
            }
            _ => self.start_thread(out),
        }
    }

    fn start_thread(&mut self, out: &mut Out) {
        let params = Value::Object(self.thread_params());
        self.call(What::Start, "thread/start", &params, out);
    }

    fn thread_params(&self) -> Map<String, Value> {
        let mut params = Map::new();
        let mut put = |key: &str, value: Value| params.insert(key.to_owned(), value);
        if let Some(begin) = &self.begin {
            put("cwd", json!(begin.cwd));
            if let Some(model) = &begin.model {
                put("model", json!(model));
            }
            if let Some(server) = &begin.mcp {
                put("config", json!({ format!("mcp_servers.{}", server.name): mcp_config(server) }));
            }
        }
        put("approvalPolicy", json!(self.policy.approval));
        put("sandbox", json!(self.policy.sandbox));
        params
    }

    fn opened(&mut self, resumed: Option<String>, result: &Value, out: &mut Out) {
        let thread = &result["thread"];
        let Some(id) = thread["id"].as_str() else {
            self.die("the thread that was opened has no id", out);
            return;
        };
        let lost = match std::mem::replace(&mut self.phase, Phase::Open) {
            Phase::Opening { lost } => lost,
            _ => None,
        };
        let how = match (resumed, lost) {
            (Some(attempted), _) if attempted == id => Opened::Resumed,
            (Some(attempted), _) => Opened::Fresh { attempted, why: "another thread was opened".to_owned() },
            (None, Some((attempted, why))) => Opened::Fresh { attempted, why },
            (None, None) => Opened::New,
        };
        if self.thread.as_deref().is_some_and(|old| old != id) {
            self.close_asks(|_| true, "another thread was opened", out);
        }
        self.thread = Some(id.to_owned());
        if let Some(approval) = result["approvalPolicy"].as_str() {
            approval.clone_into(&mut self.policy.approval);
        }
        let sandbox = result["sandbox"]["type"].as_str();
        if let Some((word, _)) = SANDBOXES.iter().find(|(_, name)| Some(*name) == sandbox) {
            (*word).clone_into(&mut self.policy.sandbox);
        }
        let text = |key: &str| result[key].as_str().map(str::to_owned);
        out.say(Item::Session {
            session: SessionOpened {
                id: id.to_owned(),
                how,
                model: text("model"),
                mode: Some(self.policy.word()),
                cwd: text("cwd"),
            },
        });
        let mut turns = thread["turns"].as_array().into_iter().flatten();
        if let Some(running) = turns.find(|turn| turn["status"] == "inProgress").and_then(|turn| turn["id"].as_str()) {
            self.turn_started(running, out);
        } else if thread["status"]["type"] == "active" {
            self.running = Running::Unnamed;
        }
        self.pump(out);
    }

    /// Inputs that can be written are.
    fn pump(&mut self, out: &mut Out) {
        if self.phase != Phase::Open {
            return;
        }
        match self.running.clone() {
            Running::Starting { .. } | Running::Unnamed => {}
            Running::Nothing => {
                let Some(next) = self.waiting.pop_front() else { return };
                let mut params = Map::new();
                params.insert("threadId".to_owned(), json!(self.thread));
                let set = std::mem::take(&mut self.set);
                if let Some(model) = &set.model {
                    params.insert("model".to_owned(), json!(model));
                }
                if let Some(approval) = &set.approval {
                    params.insert("approvalPolicy".to_owned(), json!(approval));
                }
                if let Some((_, name)) = SANDBOXES.iter().find(|(word, _)| set.sandbox.as_deref() == Some(*word)) {
                    params.insert("sandboxPolicy".to_owned(), json!({ "type": name }));
                }
                self.running = Running::Starting { input: next.input.clone(), interrupt: false };
                let what = What::Turn { input: next.input.clone(), set };
                self.put(next, None, what, "turn/start", params, out);
            }
            Running::Turn { id } => {
                while let Some(at) = self.waiting.iter().position(|waiting| waiting.how == How::Steer) {
                    let Some(next) = self.waiting.remove(at) else { return };
                    let mut params = Map::new();
                    params.insert("threadId".to_owned(), json!(self.thread));
                    params.insert("expectedTurnId".to_owned(), json!(id));
                    let what = What::Steer { input: next.input.clone() };
                    self.put(next, Some(id.clone()), what, "turn/steer", params, out);
                }
            }
        }
    }

    fn put(
        &mut self,
        next: Waiting,
        turn: Option<String>,
        what: What,
        method: &str,
        mut params: Map<String, Value>,
        out: &mut Out,
    ) {
        let Waiting { input, text, is_told, .. } = next;
        if !is_told {
            out.say(Item::Input { input: input.clone(), text: text.clone() });
        }
        // Comes back in the user's message, which proves that it has arrived.
        params.insert("clientUserMessageId".to_owned(), json!(input));
        params.insert("input".to_owned(), json!([{ "type": "text", "text": text }]));
        let frame = self.request(what, method, &Value::Object(params));
        out.write_input(&input, &frame);
        self.sent.push(Sent { input, text, turn, is_shown: false, is_begun: false });
    }

    /// The answer to `turn/start` carried what was set.
    fn changed(&mut self, set: Set, out: &mut Out) {
        if set == Set::default() {
            return;
        }
        let mode = (set.approval.is_some() || set.sandbox.is_some()).then(|| {
            self.policy.approval = set.approval.unwrap_or_else(|| self.policy.approval.clone());
            self.policy.sandbox = set.sandbox.unwrap_or_else(|| self.policy.sandbox.clone());
            self.policy.word()
        });
        out.say(Item::Mode { model: set.model, mode });
    }

    /// It is proven that the server has this input, and in which turn.
    fn shown(&mut self, input: &str, turn: Option<&str>, evidence: &str, out: &mut Out) {
        let Some(sent) = self.sent.iter_mut().find(|sent| sent.input == input) else { return };
        if turn.is_some() {
            sent.turn = turn.map(str::to_owned);
        }
        if !sent.is_shown {
            sent.is_shown = true;
            let stage = InputStage::Shown;
            out.say(Item::InputStage { input: input.to_owned(), stage, evidence: evidence.to_owned() });
        }
    }

    /// The server has taken it into a turn, which may be one that runs for another reason, and may have ended.
    fn accepted(&mut self, input: &str, turn: Option<&str>, evidence: &str, out: &mut Out) {
        let is_steered = self.sent.iter().any(|sent| sent.input == input && sent.turn.is_some());
        self.shown(input, turn, evidence, out);
        if turn.is_some() && turn == self.finished.as_deref() {
            self.unproven(out);
        } else if matches!(&self.running, Running::Turn { id } if !is_steered && turn == Some(id)) {
            self.begun(input, "the running turn has taken it", out);
        }
    }

    fn begun(&mut self, input: &str, evidence: &str, out: &mut Out) {
        self.shown(input, None, evidence, out);
        let Some(sent) = self.sent.iter_mut().find(|sent| sent.input == input && !sent.is_begun) else { return };
        sent.is_begun = true;
        self.turns.contains(input, evidence, out);
    }

    /// Steering was accepted, and its turn has ended without reading it.
    fn unproven(&mut self, out: &mut Out) {
        let finished = self.finished.clone();
        let is_lost = |sent: &Sent| sent.is_shown && !sent.is_begun && sent.turn == finished;
        for sent in self.sent.iter().filter(|sent| is_lost(sent)) {
            let evidence = "it was accepted, and its turn ended without showing it".to_owned();
            out.say(Item::InputStage { input: sent.input.clone(), stage: InputStage::Unproven, evidence });
        }
        self.sent.retain(|sent| !is_lost(sent));
    }

    fn turn_started(&mut self, id: &str, out: &mut Out) {
        if self.finished.as_deref() == Some(id) || matches!(&self.running, Running::Turn { id: known } if known == id) {
            return;
        }
        let before = std::mem::replace(&mut self.running, Running::Turn { id: id.to_owned() });
        self.is_error_told = false;
        let mut wants_interrupt = false;
        if let Running::Starting { input, interrupt } = before {
            wants_interrupt = interrupt;
            if let Some(sent) = self.sent.iter_mut().find(|sent| sent.input == input) {
                sent.turn.get_or_insert_with(|| id.to_owned());
            }
        }
        let is_in_it = |sent: &&Sent| sent.turn.as_deref() == Some(id) && !sent.is_begun;
        let ours: Vec<String> = self.sent.iter().filter(is_in_it).map(|sent| sent.input.clone()).collect();
        let trigger = if ours.is_empty() { Trigger::Itself } else { Trigger::Input };
        self.turns.begin(trigger, out);
        for input in ours {
            self.begun(&input, "its turn has started", out);
        }
        if wants_interrupt {
            let params = json!({ "threadId": self.thread, "turnId": id });
            self.call(What::Interrupt, "turn/interrupt", &params, out);
        }
        self.pump(out);
    }

    fn turn_completed(&mut self, turn: &Value, out: &mut Out) {
        let Some(id) = turn["id"].as_str() else { return };
        if self.finished.as_deref() == Some(id) {
            return;
        }
        self.turn_started(id, out);
        self.finished = Some(id.to_owned());
        self.flush(id, out);
        self.close_asks(|asking| asking.turn.as_deref() == Some(id), "its turn has ended", out);
        let status = turn["status"].as_str().unwrap_or_default();
        if status != "completed" {
            // Commands in the background outlive a turn that completes, and nothing else outlives one that does not.
            self.close_tools(id, out);
        }
        let end = match status {
            "interrupted" => TurnEnd::Interrupted,
            "failed" => {
                let class = class(&turn["error"]);
                if !self.is_error_told {
                    failure::say(class, &error_text(&turn["error"]), out);
                }
                TurnEnd::Error { class }
            }
            _ => TurnEnd::Done,
        };
        self.sent.retain(|sent| !sent.is_begun);
        self.unproven(out);
        self.turns.end(end, out);
        // An input whose turn the server has named and not begun is the next.
        let next = self.sent.iter().find(|sent| sent.is_shown && sent.turn.is_some());
        self.running = match next {
            Some(sent) => Running::Starting { input: sent.input.clone(), interrupt: false },
            None => Running::Nothing,
        };
        self.pump(out);
    }

    fn close_asks(&mut self, which: impl Fn(&Asking) -> bool, how: &str, out: &mut Out) {
        for asking in self.asks.extract_if(.., |asking| which(asking)) {
            out.say(Item::AskClosed { ask: asking.ask, how: how.to_owned() });
        }
    }

    fn close_tools(&mut self, turn: &str, out: &mut Out) {
        for tool in self.tools.extract_if(.., |tool| tool.turn == turn) {
            let output = "its turn has ended".to_owned();
            out.say(Item::ToolDone { id: tool.id, output, is_error: true, exit_code: None });
        }
    }

    fn requested(&mut self, id: &Value, method: &str, params: &Value, out: &mut Out) {
        let ask = format!("{}:{}", self.asked + 1, id.as_str().map_or_else(|| id.to_string(), str::to_owned));
        match ask::asked(ask, id, method, params, &self.tools) {
            Some((told, asking)) => {
                self.asked += 1;
                self.close_asks(|open| open.request == *id, "it is asked again", out);
                self.asks.push(asking);
                out.say(Item::Asked { ask: told });
            }
            None => {
                // Whoever asks and hears nothing waits for ever.
                let message = format!("{method} is not supported by this client");
                out.write(&json!({ "id": id, "error": { "code": METHOD_NOT_FOUND, "message": message } }));
                self.say_unknown(method, out);
            }
        }
    }

    fn notified(&mut self, method: &str, params: &Value, out: &mut Out) {
        let text = |key: &str| params[key].as_str().unwrap_or_default();
        let thread = params["threadId"].as_str();
        let is_ours = thread.is_none() || thread == self.thread.as_deref();
        let parent = thread.filter(|_| !is_ours).map(|thread| {
            let tool = self.children.iter().find(|(child, _)| child == thread);
            tool.map_or_else(|| thread.to_owned(), |(_, tool)| tool.clone())
        });
        match method {
            "turn/started" if is_ours => {
                if let Some(id) = params["turn"]["id"].as_str() {
                    self.turn_started(id, out);
                }
            }
            "turn/completed" if is_ours => self.turn_completed(&params["turn"], out),
            "turn/completed" => {
                if let Some(id) = params["turn"]["id"].as_str() {
                    self.close_asks(|asking| asking.turn.as_deref() == Some(id), "its turn has ended", out);
                    self.flush(id, out);
                    self.close_tools(id, out);
                }
            }
            "item/started" | "item/completed" => {
                self.item(method == "item/completed", params, parent.as_deref(), out);
            }
            "item/agentMessage/delta" | "item/plan/delta" => self.stream(params, text("delta"), false, parent, out),
            "item/reasoning/summaryTextDelta" | "item/reasoning/textDelta" => {
                self.stream(params, text("delta"), true, parent, out);
            }
            "item/reasoning/summaryPartAdded" => {
                if params["summaryIndex"].as_u64().is_some_and(|index| index > 0) {
                    self.stream(params, "\n\n", true, parent, out);
                }
            }
            "item/commandExecution/outputDelta" => {
                out.say(Item::ToolOutput { id: text("itemId").to_owned(), text: text("delta").to_owned() });
            }
            "turn/plan/updated" if is_ours => out.say(Item::Plan { entries: plan(&params["plan"]) }),
            "thread/tokenUsage/updated" if is_ours => {
                let usage = &params["tokenUsage"];
                let last = |key: &str| usage["last"][key].as_u64();
                out.say(Item::Usage {
                    usage: Usage {
                        input_tokens: last("inputTokens"),
                        cached_tokens: last("cachedInputTokens"),
                        output_tokens: last("outputTokens"),
                        cost_micro_usd: None,
                        context_used: last("totalTokens"),
                        context_size: usage["modelContextWindow"].as_u64(),
                    },
                });
            }
            "error" if is_ours => self.erred(params, out),
            "thread/status/changed" if is_ours => {
                if params["status"]["type"] == "idle" && self.running == Running::Unnamed {
                    self.running = Running::Nothing;
                    self.turns.end(TurnEnd::Done, out);
                    self.pump(out);
                }
            }
            "thread/closed" if is_ours && thread.is_some() => {
                self.close_asks(|_| true, "the thread was closed", out);
                self.running = Running::Nothing;
                self.sent.clear();
                self.turns.end(TurnEnd::Error { class: FailureClass::Protocol }, out);
                self.die("the thread was closed", out);
            }
            "serverRequest/resolved" => {
                let request = &params["requestId"];
                self.close_asks(|asking| asking.request == *request, "the agent withdrew it", out);
            }
            "model/rerouted" if is_ours => {
                out.say(Item::Mode { model: params["toModel"].as_str().map(str::to_owned), mode: None });
            }
            "warning" | "guardianWarning" => self.notice(text("message"), out),
            "configWarning" => self.notice(text("summary"), out),
            // What goes on in the thread of a sub-agent, beside its items.
            "turn/started"
            | "turn/plan/updated"
            | "thread/tokenUsage/updated"
            | "error"
            | "thread/status/changed"
            | "thread/closed"
            | "model/rerouted" => {}
            method if QUIET.contains(&method) => {}
            method => self.say_unknown(method, out),
        }
    }

    fn stream(&mut self, params: &Value, delta: &str, is_thinking: bool, parent: Option<String>, out: &mut Out) {
        let owned = |key: &str| params[key].as_str().unwrap_or_default().to_owned();
        let (id, text) = (owned("itemId"), delta.to_owned());
        match self.streams.iter_mut().find(|stream| stream.id == id) {
            Some(stream) => stream.text.push_str(delta),
            None => {
                let (id, text, parent, turn) = (id.clone(), text.clone(), parent.clone(), owned("turnId"));
                self.streams.push(Stream { id, text, is_thinking, parent, turn });
            }
        }
        out.say(match is_thinking {
            true => Item::ThinkingDelta { id, text, parent },
            false => Item::MessageDelta { id, text, parent },
        });
    }

    /// What was cut off, by steering or by the end of its turn, was said nevertheless.
    fn flush(&mut self, turn: &str, out: &mut Out) {
        for Stream { id, text, is_thinking, parent, .. } in self.streams.extract_if(.., |stream| stream.turn == turn) {
            out.say(match is_thinking {
                true => Item::Thinking { id, text, parent },
                false => Item::Message { id, text, parent },
            });
        }
    }

    fn item(&mut self, is_completed: bool, params: &Value, parent: Option<&str>, out: &mut Out) {
        let item = &params["item"];
        let turn = params["turnId"].as_str().unwrap_or_default();
        if item::kind(item) == "userMessage" && parent.is_none() {
            let Some(input) = item["clientId"].as_str() else { return };
            self.flush(turn, out);
            self.shown(input, Some(turn), "its message is in the thread", out);
            if matches!(&self.running, Running::Turn { id } if id == turn) {
                self.begun(input, "its message is in the turn", out);
            }
            return;
        }
        for child in item["receiverThreadIds"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let tool = item["id"].as_str().unwrap_or_default();
            if item["tool"] == "spawnAgent" && !self.children.iter().any(|(known, _)| known == child) {
                self.children.push((child.to_owned(), tool.to_owned()));
                if self.children.len() > CHILDREN_MAX {
                    self.children.remove(0);
                }
            }
        }
        if is_completed {
            self.streams.retain(|stream| item["id"] != stream.id);
        }
        let step = if is_completed { item::completed } else { item::started };
        if step(item, parent, turn, &mut self.tools, out).is_none() {
            self.say_unknown(&format!("item/{}", item::kind(item)), out);
        }
    }

    fn erred(&mut self, params: &Value, out: &mut Out) {
        let error = &params["error"];
        let message = error["message"].as_str().unwrap_or_default();
        if params["willRetry"] == true || message.starts_with("Reconnecting") {
            let (attempt, max) = attempts(message);
            let reason = error["additionalDetails"].as_str().unwrap_or(message).to_owned();
            out.say(Item::Retry { attempt, max, until: None, reason });
            return;
        }
        self.is_error_told = true;
        failure::say(class(error), &error_text(error), out);
    }

    fn notice(&mut self, text: &str, out: &mut Out) {
        if self.notices.len() < SAID_MAX && self.notices.insert(text.to_owned()) {
            out.say(Item::Notice { text: text.to_owned() });
        }
    }

    fn say_unknown(&mut self, kind: &str, out: &mut Out) {
        self.unknown += 1;
        if self.kinds.len() < SAID_MAX && self.kinds.insert(kind.to_owned()) {
            out.say(Item::Unknown { kind: kind.to_owned() });
        }
    }
}

fn mcp_config(server: &McpServer) -> Value {
    let env: Map<String, Value> = server.env.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    json!({
        "command": server.command,
        "args": server.args,
        "env": env,
        // What the agent may do with us is decided by us, for every call.
        "default_tools_approval_mode": "approve",
    })
}

/// An approval policy, a sandbox, or both with a stroke between.
fn mode_words(mode: &str) -> Result<(Option<String>, Option<String>), Refused> {
    let (mut approval, mut sandbox) = (None, None);
    for word in mode.split('/').map(str::trim) {
        if APPROVALS.contains(&word) {
            approval = Some(word.to_owned());
        } else if SANDBOXES.iter().any(|(known, _)| *known == word) {
            sandbox = Some(word.to_owned());
        } else {
            return Err(Refused::Unsupported("a mode is an approval policy, a sandbox, or both: on-request/read-only"));
        }
    }
    Ok((approval, sandbox))
}

fn plan(steps: &Value) -> Vec<PlanEntry> {
    let entry = |step: &Value| PlanEntry {
        text: step["step"].as_str().unwrap_or_default().to_owned(),
        status: match step["status"].as_str() {
            Some("completed") => PlanStatus::Completed,
            Some("inProgress") => PlanStatus::InProgress,
            _ => PlanStatus::Pending,
        },
    };
    steps.as_array().into_iter().flatten().map(entry).collect()
}

/// `Reconnecting... 2/5`.
pub(crate) fn attempts(message: &str) -> (u32, Option<u32>) {
    let counted = message.split_whitespace().find_map(|word| {
        let (attempt, max) = word.split_once('/')?;
        Some((attempt.parse().ok()?, max.parse().ok()?))
    });
    counted.map_or((1, None), |(attempt, max)| (attempt, Some(max)))
}

fn error_text(error: &Value) -> String {
    let message = error["message"].as_str().unwrap_or("the turn failed");
    match error["additionalDetails"].as_str() {
        Some(details) => format!("{message}\n{details}"),
        None => message.to_owned(),
    }
}

/// By the code it is given first, by the status next, by its words last.
fn class(error: &Value) -> FailureClass {
    let info = &error["codexErrorInfo"];
    let (code, inner) = match info.as_object().and_then(|object| object.iter().next()) {
        Some((code, inner)) => (code.as_str(), inner),
        None => (info.as_str().unwrap_or_default(), &Value::Null),
    };
    let by_words = || failure::of_text(&error_text(error));
    match code {
        "contextWindowExceeded" => FailureClass::ContextExceeded,
        "sessionBudgetExceeded" | "usageLimitExceeded" => FailureClass::UsageLimit,
        "rateLimitExceeded" => FailureClass::RateLimited,
        "serverOverloaded" | "internalServerError" | "flexUnavailable" | "policyCapacityUnavailable" => {
            FailureClass::Overloaded
        }
        "unauthorized" => FailureClass::Auth,
        "cyberPolicy" | "misalignmentPolicyViolation" | "inferenceHookDenied" | "tooManyDenials" => {
            FailureClass::Refused
        }
        "httpConnectionFailed"
        | "responseStreamConnectionFailed"
        | "responseStreamDisconnected"
        | "responseTooManyFailedAttempts" => match inner["httpStatusCode"].as_u64() {
            None => FailureClass::Network,
            Some(status) => match FailureClass::of_http(status) {
                FailureClass::Unknown => by_words(),
                class => class,
            },
        },
        _ => by_words(),
    }
}
