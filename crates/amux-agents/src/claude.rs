//! Claude Code's stream-json, spoken by a process that lives through many turns. A turn begins with a frame of a pass,
//! also one that nobody asked for, and ends with a `result`; what that result means is said by `is_error` and
//! `api_error_status`, never by its subtype.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use amux_proto::Time;
use amux_proto::entity::{Answer, RequestKind, RequestOption, RequestOptionKind};
use amux_proto::transcript::{
    Ask, DiffChange, Failure, FailureClass, InputStage, Item, Opened, PlanEntry, PlanStatus, SessionOpened, Task,
    TaskStatus, Tool, ToolKind, Trigger, TurnEnd, Usage,
};
use amux_proto::view::SlashCommand;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::turns::Turns;
use crate::{Order, Out, Refused, Session, answered, cut, slash_commands};

const TITLE_CHARS: usize = 200;
const TEXT_CHARS: usize = 2000;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Claude {
    turns: Turns,
    resume: Resume,
    session: Option<String>,
    model: Option<String>,
    mode: Option<String>,
    /// Written, and not yet part of a pass.
    unread: VecDeque<String>,
    /// Read, while no turn was open: of the pass that comes.
    read: Vec<String>,
    asks: BTreeMap<String, Asked>,
    /// Running, by the CLI's id.
    tasks: BTreeMap<String, Task>,
    /// A task has ended since the last turn did: the reason of a pass that begins by itself.
    task_ended: bool,
    /// What it has set out to do, by the CLI's id of each step.
    plan: Vec<(String, PlanEntry)>,
    interrupting: bool,
    controls: u64,
    streams: BTreeMap<String, Stream>,
    /// The word of a failed model request, told before the result that counts.
    error_word: Option<String>,
    context: Option<u64>,
    unknown: u64,
    unknown_kinds: BTreeSet<String>,
    #[serde(default)]
    commands: Vec<SlashCommand>,
}

/// Whether the conversation that was to go on does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum Resume {
    #[default]
    New,
    /// The CLI repeats an id it does not know, so frames that carry it prove nothing.
    Awaited {
        id: String,
    },
    /// It has answered, which it does when it has read the conversation, and not when it cannot.
    Read {
        id: String,
    },
    Settled,
    Dead {
        id: String,
    },
}

/// The blocks of the message that is being written, to give each the same id in deltas and in the whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stream {
    message: String,
    blocks: u64,
    streaming: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum Asked {
    Tool {
        request: String,
        input: Value,
        suggestions: Value,
    },
    /// One of several questions in one request; it is answered when all of them are.
    Question {
        request: String,
        question: String,
        labels: Vec<String>,
        takes_several: bool,
        answer: Option<String>,
        input: Value,
    },
}

/// Unknown kinds that are told apart; a CLI that invents more is counted only.
const UNKNOWN_KINDS_MAX: usize = 32;

/// A plan that is longer is not read by anybody.
const PLAN_MAX: usize = 256;

impl Claude {
    /// The conversation that was to be resumed and cannot be.
    pub fn dead_session(&self) -> Option<&str> {
        match &self.resume {
            Resume::Dead { id } => Some(id),
            Resume::New | Resume::Awaited { .. } | Resume::Read { .. } | Resume::Settled => None,
        }
    }

    pub fn is_idle(&self) -> bool {
        !self.turns.is_open() && self.unread.is_empty()
    }

    pub fn commands(&self) -> &[SlashCommand] {
        &self.commands
    }

    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    pub fn order(&mut self, order: &Order, _now: Time, out: &mut Out) -> Result<(), Refused> {
        match order {
            Order::Begin(begin) => {
                match &begin.session {
                    Session::New { id } => {
                        self.session = Some(id.clone());
                        self.resume = Resume::New;
                    }
                    Session::Resume { id } => self.resume = Resume::Awaited { id: id.clone() },
                }
                self.control(json!({ "subtype": "initialize" }), out);
            }
            Order::Input { input, text, .. } => {
                out.say(Item::Input { input: input.clone(), text: text.clone() });
                self.unread.push_back(input.clone());
                let line = json!({
                    "type": "user",
                    "message": { "role": "user", "content": [{ "type": "text", "text": text }] },
                    "uuid": input,
                });
                out.write_input(input, &line);
            }
            Order::Answer { ask, answer } => self.answer(ask, answer, out)?,
            Order::Interrupt => {
                if self.is_idle() {
                    return Err(Refused::NotRunning);
                }
                self.interrupting = true;
                self.control(json!({ "subtype": "interrupt" }), out);
            }
            Order::Set { model, mode } => {
                if let Some(model) = model {
                    self.control(json!({ "subtype": "set_model", "model": model }), out);
                    self.model = Some(model.clone());
                }
                if let Some(mode) = mode {
                    self.control(json!({ "subtype": "set_permission_mode", "mode": mode }), out);
                    self.mode = Some(mode.clone());
                }
                out.say(Item::Mode { model: model.clone(), mode: mode.clone() });
            }
        }
        Ok(())
    }

    pub fn hear(&mut self, line: &str, now: Time, out: &mut Out) {
        let Ok(frame) = serde_json::from_str::<Value>(line) else {
            self.unknown += 1;
            return;
        };
        match text(&frame["type"]) {
            "system" => self.system(&frame, now, out),
            "stream_event" => self.stream_event(&frame, out),
            "assistant" => self.assistant(&frame, out),
            "user" => self.user(&frame, out),
            "result" => self.result(&frame, out),
            "control_request" => self.asked(&frame, out),
            "control_response" => self.controlled(&frame, out),
            "control_cancel_request" => {
                let request = text(&frame["request_id"]);
                self.close_asks(|asked| asked.request() == request, "the agent withdrew it", out);
            }
            "rate_limit_event" => self.rate_limit(&frame, out),
            "keep_alive" | "tool_progress" => {}
            kind => self.not_known(kind, out),
        }
    }

    fn control(&mut self, request: Value, out: &mut Out) {
        self.controls += 1;
        out.write(&json!({
            "type": "control_request", "request_id": format!("agentmux-{}", self.controls), "request": request,
        }));
    }

    fn controlled(&mut self, frame: &Value, out: &mut Out) {
        let response = &frame["response"];
        if text(&response["subtype"]) == "error" {
            out.say(Item::Notice { text: cut(&format!("refused: {}", text(&response["error"])), TITLE_CHARS) });
        }
        // The first answer is to `initialize`: there is a process that speaks the protocol.
        if text(&response["request_id"]) != "agentmux-1" || text(&response["subtype"]) == "error" {
            return;
        }
        self.commands = slash_commands(&response["response"]["commands"], |command| &command["argumentHint"]);
        match self.resume.clone() {
            Resume::New => {
                self.resume = Resume::Settled;
                if let Some(id) = self.session.clone() {
                    self.say_session(id, Opened::New, out);
                }
            }
            Resume::Awaited { id } => {
                self.resume = Resume::Read { id: id.clone() };
                self.session = Some(id.clone());
                self.say_session(id, Opened::Resumed, out);
            }
            Resume::Read { .. } | Resume::Settled | Resume::Dead { .. } => {}
        }
    }

    fn say_session(&self, id: String, how: Opened, out: &mut Out) {
        let (model, mode) = (self.model.clone(), self.mode.clone());
        out.say(Item::Session { session: SessionOpened { id, how, model, mode, cwd: None } });
    }

    fn system(&mut self, frame: &Value, now: Time, out: &mut Out) {
        match text(&frame["subtype"]) {
            "init" => self.init(frame, out),
            "status" => self.status(frame, out),
            "compact_boundary" => {
                let trigger = frame["compact_metadata"]["trigger"].as_str().map(str::to_owned);
                out.say(Item::Compaction { done: true, trigger });
            }
            "api_retry" => {
                let count = |name: &str| frame[name].as_u64().and_then(|count| u32::try_from(count).ok());
                let delay = frame["retry_delay_ms"].as_f64().map(|ms| ms as i64);
                out.say(Item::Retry {
                    attempt: count("attempt").unwrap_or(0),
                    max: count("max_retries"),
                    until: delay.map(|delay| Time(now.0 + delay)),
                    reason: retry_reason(frame),
                });
            }
            "task_started" | "task_progress" | "task_updated" | "task_notification" => self.task(frame, out),
            "hook_started"
            | "hook_progress"
            | "hook_response"
            | "files_persisted"
            | "session_state_changed"
            | "thinking_tokens" => {}
            kind => self.not_known(&format!("system/{kind}"), out),
        }
    }

    fn status(&mut self, frame: &Value, out: &mut Out) {
        match text(&frame["status"]) {
            "compacting" => out.say(Item::Compaction { done: false, trigger: None }),
            "requesting" => self.begun_by_itself(out),
            // A mode that was changed while nothing goes on.
            _ => {
                if let Some(mode) = frame["permissionMode"].as_str()
                    && self.mode.as_deref() != Some(mode)
                {
                    self.mode = Some(mode.to_owned());
                    out.say(Item::Mode { model: None, mode: self.mode.clone() });
                }
            }
        }
    }

    /// Every pass begins with it.
    fn init(&mut self, frame: &Value, out: &mut Out) {
        let told = |name: &str| frame[name].as_str().map(str::to_owned);
        let (model, mode) = (told("model"), told("permissionMode"));
        if model != self.model || mode != self.mode {
            (self.model, self.mode) = (model.clone(), mode.clone());
            out.say(Item::Mode { model, mode });
        }
        // Told with more words when it began; what only this names came since.
        for command in slash_commands(&frame["slash_commands"], |_| &Value::Null) {
            if self.commands.len() < crate::COMMANDS_MAX && self.commands.iter().all(|known| known.name != command.name)
            {
                self.commands.push(command);
            }
        }
        if let Some(id) = told("session_id") {
            match &self.resume {
                // A late frame of a conversation that is known to be dead says nothing.
                Resume::Dead { id: dead } if *dead == id => {}
                _ => self.session = Some(id),
            }
        }
        self.begin_pass(out);
    }

    /// The CLI repeats what it puts to the model, but not its own commands: the oldest unread input is what a pass is
    /// about, unless it can be about a task.
    fn begin_pass(&mut self, out: &mut Out) {
        let is_of_task = std::mem::take(&mut self.task_ended);
        let trigger = match self.unread.is_empty() && self.read.is_empty() {
            false => Trigger::Input,
            true if is_of_task => Trigger::Task,
            true => Trigger::Itself,
        };
        self.turns.begin(trigger, out);
        for input in std::mem::take(&mut self.read) {
            self.turns.contains(&input, "a pass began", out);
        }
        if !is_of_task && let Some(input) = self.unread.pop_front() {
            self.turns.contains(&input, "a pass began", out);
        }
    }

    fn begun_by_itself(&mut self, out: &mut Out) {
        if !self.turns.is_open() {
            self.begin_pass(out);
        }
    }

    fn stream_event(&mut self, frame: &Value, out: &mut Out) {
        self.begun_by_itself(out);
        let parent = frame["parent_tool_use_id"].as_str();
        let stream = self.streams.entry(parent.unwrap_or_default().to_owned()).or_default();
        let event = &frame["event"];
        match text(&event["type"]) {
            "message_start" => {
                *stream = Stream { message: text(&event["message"]["id"]).to_owned(), ..Stream::default() };
            }
            "content_block_start" => stream.streaming = event["index"].as_u64(),
            "content_block_delta" => {
                let id = format!("{}:{}", stream.message, event["index"].as_u64().unwrap_or(0));
                let parent = parent.map(str::to_owned);
                let delta = &event["delta"];
                match text(&delta["type"]) {
                    "text_delta" => {
                        out.say(Item::MessageDelta { id, text: text(&delta["text"]).to_owned(), parent });
                    }
                    "thinking_delta" => {
                        out.say(Item::ThinkingDelta { id, text: text(&delta["thinking"]).to_owned(), parent });
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn assistant(&mut self, frame: &Value, out: &mut Out) {
        let parent = frame["parent_tool_use_id"].as_str().map(str::to_owned);
        let message = &frame["message"];
        if parent.is_none() {
            self.begun_by_itself(out);
            let failed = frame["error"].as_str();
            self.error_word = failed.map(str::to_owned).or(self.error_word.take());
            // A synthetic message is the CLI speaking, which proves nothing about the conversation.
            if failed.is_none() && text(&message["model"]) != "<synthetic>" {
                self.proven(out);
            }
            self.context = context(&message["usage"]).or(self.context);
        }
        let blocks = message["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        for block in blocks {
            let stream = self.streams.entry(parent.clone().unwrap_or_default()).or_default();
            let of = text(&message["id"]);
            if stream.message != of {
                *stream = Stream { message: of.to_owned(), ..Stream::default() };
            }
            let id = format!("{of}:{}", stream.blocks);
            stream.blocks += 1;
            let parent = parent.clone();
            match text(&block["type"]) {
                "text" => out.say(Item::Message { id, text: text(&block["text"]).to_owned(), parent }),
                "thinking" => out.say(Item::Thinking { id, text: text(&block["thinking"]).to_owned(), parent }),
                "redacted_thinking" => {}
                "tool_use" | "server_tool_use" => tool_started(block, parent, out),
                kind => self.not_known(&format!("block/{kind}"), out),
            }
        }
    }

    /// The model has answered in the conversation that was asked for.
    fn proven(&mut self, out: &mut Out) {
        let (attempted, is_said) = match &self.resume {
            Resume::Awaited { id } => (id.clone(), false),
            Resume::Read { id } => (id.clone(), true),
            Resume::New | Resume::Settled | Resume::Dead { .. } => return,
        };
        self.resume = Resume::Settled;
        match self.session.clone() {
            Some(actual) if actual != attempted => {
                let why = "the CLI opened another conversation".to_owned();
                self.say_session(actual, Opened::Fresh { attempted, why }, out);
            }
            _ if is_said => {}
            _ => {
                self.session = Some(attempted.clone());
                self.say_session(attempted, Opened::Resumed, out);
            }
        }
    }

    fn user(&mut self, frame: &Value, out: &mut Out) {
        if frame["isReplay"] == true {
            self.echo(text(&frame["uuid"]), out);
            return;
        }
        let content = &frame["message"]["content"];
        for block in content.as_array().map(Vec::as_slice).unwrap_or_default() {
            if text(&block["type"]) != "tool_result" {
                continue;
            }
            let id = text(&block["tool_use_id"]).to_owned();
            let result = &frame["tool_use_result"];
            if let (Some(path), Some(patch)) = (result["filePath"].as_str(), result["structuredPatch"].as_array()) {
                out.say(Item::Diff { tool: Some(id.clone()), path: path.to_owned(), change: change(result, patch) });
            }
            self.came_back(&id, out);
            self.planned(result, out);
            let is_error = block["is_error"] == true;
            out.say(Item::ToolDone { id, output: plain(&block["content"]), is_error, exit_code: None });
        }
    }

    /// A call is over whose task goes on: the task is in the background.
    fn came_back(&mut self, tool: &str, out: &mut Out) {
        for task in self.tasks.values_mut().filter(|task| !task.background && task.tool.as_deref() == Some(tool)) {
            task.background = true;
            out.say(Item::Task { task: task.clone() });
        }
    }

    /// A step of its plan was made or has come further, as the result of the call tells.
    fn planned(&mut self, result: &Value, out: &mut Out) {
        let task = &result["task"];
        if let (Some(id), Some(subject)) = (task["id"].as_str(), task["subject"].as_str()) {
            let status = plan_status(text(&task["status"]));
            let entry = PlanEntry { text: cut(subject, TITLE_CHARS), status };
            match self.plan.iter().position(|(known, _)| known == id) {
                Some(at) if self.plan[at].1 == entry => return,
                Some(at) => self.plan[at].1 = entry,
                None if self.plan.len() < PLAN_MAX => self.plan.push((id.to_owned(), entry)),
                None => return,
            }
        } else if let (Some(id), Some(to)) = (result["taskId"].as_str(), result["statusChange"]["to"].as_str()) {
            let Some(at) = self.plan.iter().position(|(known, _)| known == id) else { return };
            if to == "deleted" {
                self.plan.remove(at);
            } else {
                self.plan[at].1.status = plan_status(to);
            }
        } else {
            return;
        }
        out.say(Item::Plan { entries: self.plan.iter().map(|(_, entry)| entry.clone()).collect() });
    }

    /// The CLI repeats an input when it puts it to the model. Several that waited are repeated before the pass they
    /// share, and one that the conversation has already is repeated and that is all.
    fn echo(&mut self, input: &str, out: &mut Out) {
        let Some(at) = self.unread.iter().position(|unread| unread == input) else { return };
        self.unread.remove(at);
        let evidence = "the CLI repeated it".to_owned();
        out.say(Item::InputStage { input: input.to_owned(), stage: InputStage::Shown, evidence });
        if self.turns.is_open() {
            self.turns.contains(input, "the CLI took it into the conversation", out);
        } else {
            self.read.push(input.to_owned());
        }
    }

    fn result(&mut self, frame: &Value, out: &mut Out) {
        self.streams.clear();
        let is_error = frame["is_error"] == true;
        if let Resume::Awaited { id } | Resume::Read { id } = &self.resume {
            let never_began = is_error && !self.turns.is_open();
            // A refusal of another kind, as of a missing login, says nothing about the conversation.
            if never_began && failure(frame, None).class == FailureClass::Unknown {
                // Held back: the run ends, and the one after it says that this conversation was lost.
                self.resume = Resume::Dead { id: id.clone() };
                return;
            }
            if !is_error {
                self.proven(out);
            }
        }
        self.say_usage(frame, out);
        self.close_asks(|_| true, "the turn has ended", out);
        let interrupted = std::mem::take(&mut self.interrupting) && text(&frame["subtype"]) != "success";
        let word = self.error_word.take();
        let end = if interrupted {
            TurnEnd::Interrupted
        } else if is_error {
            let failure = failure(frame, word.as_deref());
            let class = failure.class;
            out.say(Item::Error { error: failure });
            TurnEnd::Error { class }
        } else {
            TurnEnd::Done
        };
        // Every pass has its init; a result without one belongs to an input that failed before it began.
        if !self.turns.is_open() {
            self.begin_pass(out);
        }
        if end == TurnEnd::Done && !self.unread.is_empty() {
            return;
        }
        self.turns.end(end, out);
        for task in self.tasks.values_mut().filter(|task| !task.background) {
            task.background = true;
            out.say(Item::Task { task: task.clone() });
        }
    }

    fn say_usage(&mut self, frame: &Value, out: &mut Out) {
        let usage = &frame["usage"];
        let count = |name: &str| usage[name].as_u64();
        let windows = frame["modelUsage"].as_object().into_iter().flat_map(|models| models.values());
        let context_size = windows.filter_map(|model| model["contextWindow"].as_u64()).max();
        out.say(Item::Usage {
            usage: Usage {
                input_tokens: count("input_tokens"),
                cached_tokens: count("cache_read_input_tokens"),
                output_tokens: count("output_tokens"),
                cost_micro_usd: frame["total_cost_usd"].as_f64().map(|usd| (usd * 1e6).round().max(0.0) as u64),
                context_used: self.context,
                context_size,
            },
        });
    }

    fn task(&mut self, frame: &Value, out: &mut Out) {
        let id = text(&frame["task_id"]).to_owned();
        if text(&frame["subtype"]) == "task_started" {
            let task = Task {
                id: id.clone(),
                tool: frame["tool_use_id"].as_str().map(str::to_owned),
                title: cut(text(&frame["description"]), TITLE_CHARS),
                status: TaskStatus::Running,
                // Its call comes back at once when it does, and when it is over otherwise.
                background: !self.turns.is_open(),
            };
            self.tasks.insert(id, task.clone());
            out.say(Item::Task { task });
            return;
        }
        let told = frame["status"].as_str().or(frame["patch"]["status"].as_str());
        let status = match told {
            Some("completed") => TaskStatus::Completed,
            Some("failed") => TaskStatus::Failed,
            Some("killed" | "stopped" | "cancelled") => TaskStatus::Stopped,
            Some(_) | None => return,
        };
        if let Some(task) = self.tasks.remove(&id) {
            self.task_ended |= task.background;
            out.say(Item::Task { task: Task { status, ..task } });
        }
    }

    fn rate_limit(&mut self, frame: &Value, out: &mut Out) {
        let info = &frame["rate_limit_info"];
        if text(&info["status"]) == "rejected" {
            let until = info["resetsAt"].as_i64().map(|seconds| Time(seconds.saturating_mul(1000)));
            let text = match until {
                Some(until) => format!("the usage limit is reached; it ends at {until}"),
                None => "the usage limit is reached".to_owned(),
            };
            let (class, retryable) = (FailureClass::UsageLimit, false);
            out.say(Item::Error { error: Failure { class, text, retryable, until } });
        }
    }

    fn asked(&mut self, frame: &Value, out: &mut Out) {
        let (id, request) = (text(&frame["request_id"]), &frame["request"]);
        match text(&request["subtype"]) {
            "can_use_tool" if text(&request["tool_name"]) == "AskUserQuestion" => self.questions(id, request, out),
            "can_use_tool" => self.permission(id, request, out),
            other => {
                let error = format!("not supported here: {other}");
                out.write(&json!({
                    "type": "control_response",
                    "response": { "subtype": "error", "request_id": id, "error": error },
                }));
            }
        }
    }

    fn permission(&mut self, id: &str, request: &Value, out: &mut Out) {
        let (name, input) = (text(&request["tool_name"]), &request["input"]);
        let subject = subject(input);
        let suggestions = request["permission_suggestions"].clone();
        let mut options = vec![option("allow", "Allow once", RequestOptionKind::AllowOnce)];
        if suggestions.as_array().is_some_and(|all| !all.is_empty()) {
            options.push(option("always", "Allow, and do not ask again", RequestOptionKind::AllowAlways));
        }
        options.push(option("deny", "Deny", RequestOptionKind::RejectOnce));
        let ask = Ask {
            id: id.to_owned(),
            kind: RequestKind::Permission,
            title: cut(&format!("{name}: {}", subject.as_deref().unwrap_or_default()), TITLE_CHARS),
            detail: detail(request["description"].as_str(), input),
            options,
            tool: Some(name.to_owned()),
            subject,
        };
        let asked = Asked::Tool { request: id.to_owned(), input: input.clone(), suggestions };
        self.asks.insert(id.to_owned(), asked);
        out.say(Item::Asked { ask });
    }

    fn questions(&mut self, id: &str, request: &Value, out: &mut Out) {
        let input = &request["input"];
        let questions = input["questions"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (at, question) in questions.iter().enumerate() {
            let choices = question["options"].as_array().map(Vec::as_slice).unwrap_or_default();
            let labels: Vec<String> = choices.iter().map(|choice| text(&choice["label"]).to_owned()).collect();
            let options = labels.iter().enumerate();
            let takes_several = question["multiSelect"] == true;
            let told = choices.iter().filter(|choice| !text(&choice["description"]).is_empty());
            let mut detail: Vec<_> =
                told.map(|choice| format!("{}: {}", text(&choice["label"]), text(&choice["description"]))).collect();
            if takes_several {
                detail.push("Several may be chosen; as a text, by their numbers: 1,2".to_owned());
            }
            let ask = Ask {
                id: format!("{id}/{at}"),
                kind: RequestKind::Question,
                title: cut(text(&question["question"]), TITLE_CHARS),
                detail: detail.join("\n"),
                options: options
                    .map(|(n, label)| option(&(n + 1).to_string(), label, RequestOptionKind::Choice))
                    .collect(),
                tool: Some("AskUserQuestion".to_owned()),
                subject: None,
            };
            let asked = Asked::Question {
                request: id.to_owned(),
                question: text(&question["question"]).to_owned(),
                labels,
                takes_several,
                answer: None,
                input: input.clone(),
            };
            self.asks.insert(ask.id.clone(), asked);
            out.say(Item::Asked { ask });
        }
        if questions.is_empty() {
            respond(id, &json!({ "behavior": "deny", "message": "there is no question" }), out);
        }
    }

    fn answer(&mut self, ask: &str, answer: &Answer, out: &mut Out) -> Result<(), Refused> {
        let Some(asked) = self.asks.get_mut(ask) else { return Err(Refused::NotAsked(ask.to_owned())) };
        match asked {
            Asked::Tool { request, input, suggestions } => {
                let payload = match answer {
                    Answer::Option { option, .. } if option == "allow" => {
                        json!({ "behavior": "allow", "updatedInput": input })
                    }
                    Answer::Option { option, .. } if option == "always" => {
                        json!({ "behavior": "allow", "updatedInput": input, "updatedPermissions": suggestions })
                    }
                    Answer::Option { option, text } if option == "deny" => {
                        let why = text.as_deref().unwrap_or("The user does not allow this.");
                        json!({ "behavior": "deny", "message": why })
                    }
                    Answer::Option { option, .. } => return Err(Refused::BadAnswer(option.clone())),
                    Answer::Text { text } => json!({ "behavior": "deny", "message": text }),
                };
                respond(request, &payload, out);
                self.asks.remove(ask);
                out.say(Item::AskClosed { ask: ask.to_owned(), how: answered(answer) });
            }
            Asked::Question { answer: Some(_), .. } => return Err(Refused::NotAsked(ask.to_owned())),
            Asked::Question { request, labels, takes_several, answer: given, .. } => {
                let chosen = match answer {
                    Answer::Text { text } if *takes_several => several(text, labels),
                    Answer::Text { text } => text.clone(),
                    Answer::Option { option, .. } => {
                        let at = option.parse::<usize>().ok().and_then(|n| labels.get(n.checked_sub(1)?));
                        at.cloned().ok_or_else(|| Refused::BadAnswer(option.clone()))?
                    }
                };
                *given = Some(chosen);
                let request = request.clone();
                out.say(Item::AskClosed { ask: ask.to_owned(), how: answered(answer) });
                self.answer_questions(&request, out);
            }
        }
        Ok(())
    }

    /// Sends the answers to all questions of a request once there is one to each.
    fn answer_questions(&mut self, request: &str, out: &mut Out) {
        let mut answers = serde_json::Map::new();
        let mut questions = Value::Null;
        for asked in self.asks.values() {
            let Asked::Question { request: of, question, answer, input, .. } = asked else { continue };
            if of != request {
                continue;
            }
            let Some(answer) = answer else { return };
            answers.insert(question.clone(), answer.clone().into());
            questions = input["questions"].clone();
        }
        let updated = json!({ "questions": questions, "answers": answers });
        respond(request, &json!({ "behavior": "allow", "updatedInput": updated }), out);
        self.asks.retain(|_, asked| asked.request() != request);
    }

    fn close_asks(&mut self, which: impl Fn(&Asked) -> bool, how: &str, out: &mut Out) {
        self.asks.retain(|ask, asked| {
            let closes = which(asked);
            let is_open = !matches!(asked, Asked::Question { answer: Some(_), .. });
            if closes && is_open {
                out.say(Item::AskClosed { ask: ask.clone(), how: how.to_owned() });
            }
            !closes
        });
    }

    fn not_known(&mut self, kind: &str, out: &mut Out) {
        self.unknown += 1;
        let kind = cut(kind, 64);
        if self.unknown_kinds.len() < UNKNOWN_KINDS_MAX && self.unknown_kinds.insert(kind.clone()) {
            out.say(Item::Unknown { kind });
        }
    }
}

impl Asked {
    fn request(&self) -> &str {
        match self {
            Self::Tool { request, .. } | Self::Question { request, .. } => request,
        }
    }
}

fn respond(request: &str, payload: &Value, out: &mut Out) {
    out.write(&json!({
        "type": "control_response",
        "response": { "subtype": "success", "request_id": request, "response": payload },
    }));
}

/// `1,3` as the labels it means; any other text is the person's own.
fn several(text: &str, labels: &[String]) -> String {
    let chosen = text.split([',', ' ']).filter(|word| !word.is_empty());
    let chosen: Option<Vec<&str>> =
        chosen.map(|word| Some(labels.get(word.parse::<usize>().ok()?.checked_sub(1)?)?.as_str())).collect();
    chosen.filter(|chosen| !chosen.is_empty()).map_or_else(|| text.to_owned(), |chosen| chosen.join(", "))
}

fn option(id: &str, label: &str, kind: RequestOptionKind) -> RequestOption {
    RequestOption { id: id.to_owned(), label: cut(label, TITLE_CHARS), kind }
}

fn tool_started(block: &Value, parent: Option<String>, out: &mut Out) {
    let (id, name, input) = (text(&block["id"]).to_owned(), text(&block["name"]), &block["input"]);
    if name == "TodoWrite"
        && let Some(todos) = input["todos"].as_array()
    {
        out.say(Item::Plan { entries: todos.iter().map(plan_entry).collect() });
    }
    let title = subject(input).unwrap_or_else(|| text(&input["description"]).to_owned());
    let title = cut(&title, TITLE_CHARS);
    out.say(Item::ToolStarted {
        tool: Tool { id, name: name.to_owned(), kind: kind(name), title, input: input.clone(), parent },
    });
}

fn kind(tool: &str) -> ToolKind {
    match tool {
        "Bash" | "BashOutput" | "KillShell" => ToolKind::Execute,
        "Read" | "NotebookRead" => ToolKind::Read,
        "Edit" | "MultiEdit" | "Write" | "NotebookEdit" => ToolKind::Edit,
        "Grep" | "Glob" | "LS" | "ToolSearch" => ToolKind::Search,
        "WebFetch" | "WebSearch" => ToolKind::Fetch,
        "Task" | "Agent" => ToolKind::Delegate,
        "TodoWrite" | "TaskCreate" | "TaskUpdate" | "TaskList" | "TaskGet" | "ExitPlanMode" | "EnterPlanMode" => {
            ToolKind::Think
        }
        name if name.starts_with("mcp__") => ToolKind::Mcp,
        _ => ToolKind::Other,
    }
}

fn plan_entry(todo: &Value) -> PlanEntry {
    PlanEntry { text: text(&todo["content"]).to_owned(), status: plan_status(text(&todo["status"])) }
}

fn plan_status(word: &str) -> PlanStatus {
    match word {
        "completed" => PlanStatus::Completed,
        "in_progress" => PlanStatus::InProgress,
        _ => PlanStatus::Pending,
    }
}

/// What a tool is used on, in one line: what a rule is matched with and a person reads first.
fn subject(input: &Value) -> Option<String> {
    let of = ["command", "file_path", "notebook_path", "path", "url", "query", "pattern", "prompt"];
    of.iter().find_map(|name| input[*name].as_str()).map(str::to_owned)
}

fn detail(description: Option<&str>, input: &Value) -> String {
    let input = serde_json::to_string_pretty(input).unwrap_or_default();
    match description.filter(|text| !text.is_empty()) {
        Some(description) => format!("{}\n{}", cut(description, TEXT_CHARS), cut(&input, TEXT_CHARS * 8)),
        None => cut(&input, TEXT_CHARS * 8),
    }
}

fn change(result: &Value, patch: &[Value]) -> DiffChange {
    let lines = |hunk: &Value| {
        let n = |name: &str| hunk[name].as_u64().unwrap_or(0);
        let head = format!("@@ -{},{} +{},{} @@\n", n("oldStart"), n("oldLines"), n("newStart"), n("newLines"));
        let lines = hunk["lines"].as_array().into_iter().flatten().map(text);
        lines.fold(head, |all, line| all + line + "\n")
    };
    if patch.is_empty() {
        DiffChange::Texts { old: None, new: text(&result["content"]).to_owned() }
    } else {
        DiffChange::Unified { diff: patch.iter().map(lines).collect() }
    }
}

fn retry_reason(frame: &Value) -> String {
    let status = frame["error_status"].as_u64();
    let word = frame["error"].as_str().unwrap_or_default();
    match status {
        Some(status) => format!("{word} ({status})").trim().to_owned(),
        None => word.to_owned(),
    }
}

fn failure(frame: &Value, word: Option<&str>) -> Failure {
    let said = frame["result"].as_str().or_else(|| frame["errors"][0].as_str()).unwrap_or_default();
    let class = match (frame["api_error_status"].as_u64(), word) {
        (Some(status), _) => FailureClass::of_http(status),
        (None, Some("authentication_failed")) => FailureClass::Auth,
        (None, Some("billing_error")) => FailureClass::UsageLimit,
        (None, Some("rate_limit")) => FailureClass::RateLimited,
        (None, Some("overloaded" | "server_error")) => FailureClass::Overloaded,
        (None, _) => match text(&frame["subtype"]) {
            "error_max_turns" => FailureClass::MaxTurns,
            _ => by_text(said),
        },
    };
    // A context that is full comes as a bad request; only its text says so.
    let class = if class == FailureClass::Unknown { by_text(said) } else { class };
    let text = if said.is_empty() { text(&frame["subtype"]) } else { said };
    Failure { class, text: cut(text, TEXT_CHARS), retryable: class.is_retryable(), until: None }
}

fn by_text(said: &str) -> FailureClass {
    let said = said.to_ascii_lowercase();
    if said.contains("prompt is too long") || said.contains("context window") {
        FailureClass::ContextExceeded
    } else if said.contains("usage limit") || said.contains("credit balance") {
        FailureClass::UsageLimit
    } else if said.contains("please run /login") || said.contains("invalid api key") {
        FailureClass::Auth
    } else if said.contains("unable to connect") || said.contains("connection error") {
        FailureClass::Network
    } else {
        FailureClass::Unknown
    }
}

fn context(usage: &Value) -> Option<u64> {
    let count = |name: &str| usage[name].as_u64();
    let input = count("input_tokens")?;
    let cached = count("cache_read_input_tokens").unwrap_or(0) + count("cache_creation_input_tokens").unwrap_or(0);
    Some(input + cached + count("output_tokens").unwrap_or(0))
}

/// The text of a tool's result, which is a string or a list of blocks.
fn plain(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<_> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
