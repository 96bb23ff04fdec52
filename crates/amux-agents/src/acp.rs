//! The Agent Client Protocol, version 1, from the client's side: JSON-RPC over lines, one session a process.
//!
//! Frames are read field by field and not with the types of the protocol: agents are of many versions, and a kind of
//! update that this build does not know must cost that update only. What we write is checked in the tests by the
//! published schema.
//!
//! We offer no files and no terminals: an agent has its own. Every request we cannot serve is answered so.

use std::collections::VecDeque;

use amux_proto::Time;
use amux_proto::entity::{Answer, RequestKind, RequestOption, RequestOptionKind};
use amux_proto::transcript::{
    Ask, Failure, FailureClass, InputStage, Item, Opened, SessionOpened, Trigger, TurnEnd, Usage,
};
use amux_proto::view::SlashCommand;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::turns::Turns;
use crate::{Begin, How, Order, Out, Refused, Session, answered, slash_commands};

mod error;
mod text;
mod tool;

use text::Texts;
use tool::Tools;

const PROTOCOL: u64 = 1;

/// Of the protocol, and only for clients that declare it.
const NOT_OFFERED: &[&str] = &["fs/", "terminal/", "elicitation/"];

const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
const REQUEST_CANCELLED: i64 = -32800;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Acp {
    turns: Turns,
    unknown: u64,
    /// The id of our newest request.
    newest: u64,
    begin: Option<Begin>,
    agent: Agent,
    session: Option<String>,
    /// It could not be opened, and nothing but a new process helps.
    is_dead: bool,
    /// A session that had to be given up for the one that is being opened, and why.
    lost: Option<(String, String)>,
    /// Content of the conversation that was heard before our first prompt.
    replayed: u64,
    has_prompted: bool,
    offers: Offers,
    /// Our requests without a response, oldest first.
    calls: Vec<Call>,
    queue: VecDeque<Queued>,
    /// We have asked for the end of the running turn.
    is_cancelling: bool,
    asks: Vec<Asking>,
    logins: u32,
    texts: Texts,
    tools: Tools,
    #[serde(default)]
    commands: Vec<SlashCommand>,
}

/// What it says about itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Agent {
    loads: bool,
    /// It takes prompts while one is running.
    queues: bool,
    logins: Vec<RequestOption>,
}

/// What can be set in this session, and how it stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Offers {
    mode: Offer,
    model: Offer,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Offer {
    current: Option<String>,
    by: Setter,
    values: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
enum Setter {
    #[default]
    None,
    Method,
    Config(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Queued {
    input: String,
    text: String,
    how: How,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Call {
    id: u64,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum What {
    Initialize,
    Authenticate,
    Load {
        session: String,
    },
    /// Nothing is wanted but the answer: what was on its way before it has been heard then.
    Settle {
        session: String,
        replayed: u64,
    },
    New,
    Set {
        model: Option<String>,
        mode: Option<String>,
    },
    Prompt {
        input: String,
        is_begun: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Asking {
    ask: String,
    options: Vec<String>,
    whom: Whom,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Whom {
    /// The agent waits for the response to its request of this id, as it wrote it.
    Request(Value),
    /// We ask by ourselves how to log in.
    Login,
}

impl Acp {
    pub fn hear(&mut self, line: &str, _now: Time, out: &mut Out) {
        // Some agents print for people between the frames.
        let Ok(Value::Object(mut frame)) = serde_json::from_str(line) else {
            self.unknown += 1;
            return;
        };
        let id = frame.remove("id").filter(|id| !id.is_null());
        let params = frame.remove("params").unwrap_or_default();
        match (frame.get("method"), id) {
            (Some(method), Some(id)) => self.hear_request(id, method, &params, out),
            (Some(Value::String(method)), None) => self.hear_notification(method, &params, out),
            (None, Some(id)) => {
                let error = frame.get("error").filter(|error| !error.is_null());
                self.hear_response(&id, error, frame.get("result"), out);
            }
            (Some(_) | None, None) => self.miss("frame", out),
        }
    }

    pub fn order(&mut self, order: &Order, _now: Time, out: &mut Out) -> Result<(), Refused> {
        match order {
            Order::Begin(begin) => {
                self.start(begin, out);
                Ok(())
            }
            Order::Input { .. } if self.is_dead => Err(Refused::NotReady),
            Order::Input { input, text, how, .. } => {
                self.queue.push_back(Queued { input: input.clone(), text: text.clone(), how: *how });
                self.pump(out);
                Ok(())
            }
            Order::Answer { ask, answer } => self.answer(ask, answer, out),
            Order::Interrupt => self.interrupt(out),
            Order::Set { model, mode } => self.set(model.as_deref(), mode.as_deref(), out),
        }
    }

    pub fn is_idle(&self) -> bool {
        self.session.is_some() && self.calls.is_empty() && self.queue.is_empty()
    }

    /// See [`crate::Machine::takes_input`].
    pub fn takes_input(&self, how: How) -> bool {
        if self.is_dead {
            return true;
        }
        let may_be_written = !self.is_running() || (how == How::Steer && self.agent.queues && !self.is_cancelling);
        self.session.is_some() && !self.is_settling() && self.queue.is_empty() && may_be_written
    }

    pub fn commands(&self) -> &[SlashCommand] {
        &self.commands
    }

    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// A process of its own: nothing that was said to an earlier one will be answered.
    fn start(&mut self, begin: &Begin, out: &mut Out) {
        self.leave_turn(&TurnEnd::Exited, out);
        self.turns.end(TurnEnd::Exited, out);
        for call in std::mem::take(&mut self.calls) {
            if let What::Prompt { input, is_begun: false } = call.what {
                let evidence = "the process it was written to has ended".to_owned();
                out.say(Item::InputStage { input, stage: InputStage::Unproven, evidence });
            }
        }
        for asking in std::mem::take(&mut self.asks) {
            out.say(Item::AskClosed { ask: asking.ask, how: "the process that asked has ended".to_owned() });
        }
        *self = Self {
            turns: std::mem::take(&mut self.turns),
            unknown: self.unknown,
            newest: self.newest,
            begin: Some(begin.clone()),
            queue: std::mem::take(&mut self.queue),
            logins: self.logins,
            texts: std::mem::take(&mut self.texts),
            ..Self::default()
        };
        let params = json!({
            "protocolVersion": PROTOCOL,
            "clientCapabilities": { "fs": { "readTextFile": false, "writeTextFile": false }, "terminal": false },
            "clientInfo": { "name": "agentmux", "title": "AgentMux", "version": env!("CARGO_PKG_VERSION") },
        });
        self.call(What::Initialize, "initialize", &params, out);
    }

    fn open(&mut self, out: &mut Out) {
        match self.begin.as_ref().map(|begin| begin.session.clone()) {
            Some(Session::Resume { id }) if self.agent.loads && self.lost.is_none() => {
                let mut params = self.session_params();
                params["sessionId"] = json!(id);
                self.call(What::Load { session: id }, "session/load", &params, out);
            }
            Some(Session::Resume { id }) => {
                self.lost.get_or_insert_with(|| (id, "this agent cannot load a session".to_owned()));
                self.open_new(out);
            }
            Some(Session::New { .. }) | None => self.open_new(out),
        }
    }

    /// Some agents go on telling history behind the answer to `session/load`, and a prompt would make it look like
    /// their reply. So one more answer is waited for, until nothing comes before it.
    fn settle(&mut self, session: String, out: &mut Out) {
        let params = json!({ "sessionId": session });
        self.call(What::Settle { session, replayed: self.replayed }, "_agentmux/settle", &params, out);
    }

    fn open_new(&mut self, out: &mut Out) {
        let params = self.session_params();
        self.call(What::New, "session/new", &params, out);
    }

    fn session_params(&self) -> Value {
        let begin = self.begin.as_ref();
        let mcp = begin.and_then(|begin| begin.mcp.as_ref()).map(|server| {
            let env: Vec<_> = server.env.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
            json!({ "name": server.name, "command": server.command, "args": server.args, "env": env })
        });
        json!({ "cwd": begin.map_or("", |begin| &begin.cwd), "mcpServers": mcp.as_slice() })
    }

    fn opened(&mut self, id: &str, how: Opened, out: &mut Out) {
        self.session = Some(id.to_owned());
        let (cwd, model, mode) = match &self.begin {
            Some(begin) => (Some(begin.cwd.clone()), begin.model.clone(), begin.mode.clone()),
            None => (None, None, None),
        };
        out.say(Item::Session {
            session: SessionOpened {
                id: id.to_owned(),
                how,
                model: self.offers.model.current.clone(),
                mode: self.offers.mode.current.clone(),
                cwd,
            },
        });
        let model = model.filter(|model| self.offers.model.current.as_ref() != Some(model));
        let mode = mode.filter(|mode| self.offers.mode.current.as_ref() != Some(mode));
        for (model, mode) in [(model, None), (None, mode)] {
            if let Err(refused) = self.set(model.as_deref(), mode.as_deref(), out) {
                let wanted = model.or(mode).unwrap_or_default();
                out.say(Item::Notice { text: format!("{wanted} was not set: {refused}") });
            }
        }
        self.pump(out);
    }

    /// It will not be opened. What waits is told so.
    fn give_up(&mut self, why: &str, out: &mut Out) {
        self.is_dead = true;
        for queued in self.queue.drain(..) {
            let evidence = format!("no conversation could be opened: {why}");
            out.say(Item::InputStage { input: queued.input, stage: InputStage::Refused, evidence });
        }
    }

    /// Prompts that can be written are.
    fn pump(&mut self, out: &mut Out) {
        let Some(session) = self.session.clone().filter(|_| !self.is_settling()) else { return };
        loop {
            let next = if !self.is_running() {
                self.queue.pop_front()
            } else if self.agent.queues && !self.is_cancelling {
                let at = self.queue.iter().position(|queued| queued.how == How::Steer);
                at.and_then(|at| self.queue.remove(at))
            } else {
                None
            };
            let Some(Queued { input, text, .. }) = next else { return };
            if !self.is_running() {
                self.texts.flush(out);
            }
            self.has_prompted = true;
            out.say(Item::Input { input: input.clone(), text: text.clone() });
            self.newest += 1;
            let params = json!({ "sessionId": session, "prompt": [{ "type": "text", "text": text }] });
            out.write_input(&input, &request(self.newest, "session/prompt", &params));
            self.calls.push(Call { id: self.newest, what: What::Prompt { input, is_begun: false } });
        }
    }

    /// What is being set must hold for the prompt that follows.
    fn is_settling(&self) -> bool {
        self.calls.iter().any(|call| matches!(call.what, What::Set { .. }))
    }

    fn is_running(&self) -> bool {
        self.calls.iter().any(|call| matches!(call.what, What::Prompt { .. }))
    }

    fn interrupt(&mut self, out: &mut Out) -> Result<(), Refused> {
        let Some(session) = self.session.as_ref().filter(|_| self.is_running()) else {
            return Err(Refused::NotRunning);
        };
        let params = json!({ "sessionId": session });
        out.write(&json!({ "jsonrpc": "2.0", "method": "session/cancel", "params": params }));
        self.is_cancelling = true;
        self.withdraw("its turn was interrupted", out);
        Ok(())
    }

    /// Nobody's answer is waited for any more; the agent is told.
    fn withdraw(&mut self, how: &str, out: &mut Out) {
        for asking in std::mem::take(&mut self.asks) {
            match &asking.whom {
                Whom::Login => self.asks.push(asking),
                Whom::Request(id) => {
                    respond(id, &json!({ "outcome": { "outcome": "cancelled" } }), out);
                    out.say(Item::AskClosed { ask: asking.ask, how: how.to_owned() });
                }
            }
        }
    }

    fn answer(&mut self, ask: &str, answer: &Answer, out: &mut Out) -> Result<(), Refused> {
        let Some(at) = self.asks.iter().position(|asking| asking.ask == ask) else {
            return Err(Refused::NotAsked(ask.to_owned()));
        };
        let option = match answer {
            Answer::Option { option, .. } if self.asks[at].options.contains(option) => option,
            Answer::Option { option, .. } => return Err(Refused::BadAnswer(format!("there is no option {option:?}"))),
            Answer::Text { .. } => return Err(Refused::BadAnswer("one of its options is wanted".to_owned())),
        };
        match self.asks.remove(at).whom {
            Whom::Request(id) => {
                respond(&id, &json!({ "outcome": { "outcome": "selected", "optionId": option } }), out);
            }
            Whom::Login => self.call(What::Authenticate, "authenticate", &json!({ "methodId": option }), out),
        }
        out.say(Item::AskClosed { ask: ask.to_owned(), how: answered(answer) });
        Ok(())
    }

    fn set(&mut self, model: Option<&str>, mode: Option<&str>, out: &mut Out) -> Result<(), Refused> {
        let session = self.session.clone().ok_or(Refused::NotReady)?;
        if model.is_some_and(|model| !self.offers.model.has(model)) {
            return Err(Refused::Unsupported("this model is not offered"));
        }
        if mode.is_some_and(|mode| !self.offers.mode.has(mode)) {
            return Err(Refused::Unsupported("this mode is not offered"));
        }
        if let Some(value) = model {
            let what = What::Set { model: Some(value.to_owned()), mode: None };
            let setter = self.offers.model.by.clone();
            self.call_set(what, &setter, ("session/set_model", "modelId"), (&session, value), out);
        }
        if let Some(value) = mode {
            let what = What::Set { model: None, mode: Some(value.to_owned()) };
            let setter = self.offers.mode.by.clone();
            self.call_set(what, &setter, ("session/set_mode", "modeId"), (&session, value), out);
        }
        Ok(())
    }

    fn call_set(
        &mut self,
        what: What,
        setter: &Setter,
        (method, field): (&str, &str),
        (session, value): (&str, &str),
        out: &mut Out,
    ) {
        match setter {
            Setter::Config(config) => {
                let params = json!({ "sessionId": session, "configId": config, "value": value });
                self.call(what, "session/set_config_option", &params, out);
            }
            Setter::Method | Setter::None => {
                self.call(what, method, &json!({ "sessionId": session, field: value }), out);
            }
        }
    }

    fn call(&mut self, what: What, method: &str, params: &Value, out: &mut Out) {
        self.newest += 1;
        out.write(&request(self.newest, method, params));
        self.calls.push(Call { id: self.newest, what });
    }

    fn miss(&mut self, kind: &str, out: &mut Out) {
        self.unknown += 1;
        out.say(Item::Unknown { kind: crate::cut(kind, 80) });
    }
}

/// What is heard.
impl Acp {
    fn hear_request(&mut self, id: Value, method: &Value, params: &Value, out: &mut Out) {
        // An id names one request until that is answered; a second one could not be told from the first.
        let is_open = |asking: &Asking| matches!(&asking.whom, Whom::Request(open) if *open == id);
        if self.asks.iter().any(is_open) {
            self.miss("request with the id of one that is open", out);
            return;
        }
        match method.as_str() {
            Some("session/request_permission") => self.hear_permission(id, params, out),
            Some(method) => {
                // Some agents offer a file to the editor whatever we declare; that is nothing new to us.
                if !NOT_OFFERED.iter().any(|part| method.starts_with(part)) {
                    self.miss(method, out);
                }
                refuse(&id, METHOD_NOT_FOUND, &format!("this client does not offer {}", crate::cut(method, 80)), out);
            }
            None => {
                self.miss("request", out);
                refuse(&id, INVALID_REQUEST, "a method is a string", out);
            }
        }
    }

    fn hear_permission(&mut self, id: Value, params: &Value, out: &mut Out) {
        let options: Vec<_> = items(&params["options"]).filter_map(permission_option).collect();
        if options.is_empty() {
            self.unknown += 1;
            refuse(&id, INVALID_PARAMS, "a permission without options cannot be given", out);
            return;
        }
        if self.is_cancelling {
            respond(&id, &json!({ "outcome": { "outcome": "cancelled" } }), out);
            return;
        }
        self.prove("it asks for a permission", out);
        self.texts.flush(out);
        let tool = self.tools.asked(&params["toolCall"], out);
        let ask = Ask {
            id: id.to_string(),
            kind: RequestKind::Permission,
            title: tool.title,
            detail: tool.detail,
            options,
            tool: Some(tool.name),
            subject: tool.subject,
        };
        self.asks.push(Asking {
            ask: ask.id.clone(),
            options: ask.options.iter().map(|option| option.id.clone()).collect(),
            whom: Whom::Request(id),
        });
        out.say(Item::Asked { ask });
    }

    fn hear_notification(&mut self, method: &str, params: &Value, out: &mut Out) {
        match method {
            "session/update" if self.is_ours(params) => self.hear_update(&params["update"], out),
            "session/update" => self.unknown += 1,
            "$/cancel_request" => {
                let id = &params["requestId"];
                let is_meant = |asking: &Asking| matches!(&asking.whom, Whom::Request(open) if open == id);
                if let Some(at) = self.asks.iter().position(is_meant) {
                    let asking = self.asks.remove(at);
                    refuse(id, REQUEST_CANCELLED, "withdrawn", out);
                    out.say(Item::AskClosed { ask: asking.ask, how: "withdrawn by the agent".to_owned() });
                }
            }
            _ => self.miss(method, out),
        }
    }

    /// Of the session we have or are opening; what opens has no id yet.
    fn is_ours(&self, params: &Value) -> bool {
        let Some(theirs) = params["sessionId"].as_str() else { return true };
        let loading = self.calls.iter().find_map(|call| match &call.what {
            What::Load { session } | What::Settle { session, .. } => Some(session),
            _ => None,
        });
        self.session.as_ref().or(loading).is_none_or(|ours| ours == theirs)
    }

    fn hear_update(&mut self, update: &Value, out: &mut Out) {
        let kind = update["sessionUpdate"].as_str().unwrap_or_default();
        match kind {
            "user_message_chunk"
            | "agent_message_chunk"
            | "agent_thought_chunk"
            | "tool_call"
            | "tool_call_update"
            | "plan"
                if !self.has_prompted =>
            {
                // History, which whoever reads the transcript has.
                self.replayed += 1;
            }
            "user_message_chunk" => {
                self.prove("it repeats the prompt", out);
                self.texts.flush(out);
            }
            "agent_message_chunk" | "agent_thought_chunk" => {
                if text::of_block(&update["content"]).is_some_and(|text| !text.is_empty()) {
                    self.prove("the agent speaks", out);
                }
                self.texts.chunk(update, kind == "agent_thought_chunk", out);
                say_usage(usage_of_tokens(&update["_meta"]["usage"]), out);
            }
            "tool_call" | "tool_call_update" => {
                self.prove("a tool is called", out);
                self.texts.flush(out);
                let is_live = kind == "tool_call" || self.is_running();
                self.tools.update(update, is_live, out);
            }
            "plan" => {
                self.prove("it makes a plan", out);
                self.texts.flush(out);
                out.say(Item::Plan { entries: items(&update["entries"]).map(tool::plan_entry).collect() });
            }
            "usage_update" => say_usage(usage_of_context(update), out),
            "current_mode_update" => {
                if let Some(mode) = update["currentModeId"].as_str() {
                    self.now_set(None, Some(mode), out);
                }
            }
            "config_option_update" => {
                let (model, mode) = config_values(update);
                self.now_set(model, mode, out);
            }
            "available_commands_update" => {
                self.commands = slash_commands(&update["availableCommands"], |command| &command["input"]["hint"]);
            }
            "session_info_update" => {}
            _ => self.miss(&format!("session/update {kind}"), out),
        }
    }

    /// The conversation moves: the oldest prompt is being worked on.
    fn prove(&mut self, evidence: &str, out: &mut Out) {
        let oldest = self.calls.iter_mut().find_map(|call| match &mut call.what {
            What::Prompt { input, is_begun } => Some((input, is_begun)),
            _ => None,
        });
        let Some((input, is_begun)) = oldest else { return };
        if *is_begun {
            return;
        }
        *is_begun = true;
        if !self.turns.is_open() {
            self.tools.clear(out);
        }
        let stage = InputStage::Shown;
        out.say(Item::InputStage { input: input.clone(), stage, evidence: evidence.to_owned() });
        self.turns.begin(Trigger::Input, out);
        self.turns.contains(input, evidence, out);
    }

    fn now_set(&mut self, model: Option<&str>, mode: Option<&str>, out: &mut Out) {
        let model = self.offers.model.become_(model);
        let mode = self.offers.mode.become_(mode);
        if model.is_some() || mode.is_some() {
            out.say(Item::Mode { model, mode });
        }
    }

    fn hear_response(&mut self, id: &Value, error: Option<&Value>, result: Option<&Value>, out: &mut Out) {
        let Some(at) = self.calls.iter().position(|call| id.as_u64() == Some(call.id)) else {
            self.miss("response to nothing", out);
            return;
        };
        if let (Some(error), What::Prompt { .. }) = (error, &self.calls[at].what) {
            self.end_prompt_badly(at, error, out);
            return;
        }
        let result = result.unwrap_or(&Value::Null);
        if let What::Prompt { .. } = self.calls[at].what {
            self.end_prompt(at, result, out);
            return;
        }
        match (self.calls.remove(at).what, error) {
            (What::Initialize, None) => self.initialized(result, out),
            (What::Authenticate, None) => self.open(out),
            (What::Authenticate, Some(error)) => {
                say_error(error::failure(error), out);
                self.ask_login(error, out);
            }
            (What::Load { session }, None) => {
                self.offers.learn(result);
                self.settle(session, out);
            }
            // Most agents do not know the method, and their word for that is an answer too.
            (What::Settle { session, replayed }, _) if replayed < self.replayed => self.settle(session, out),
            (What::Settle { session, .. }, _) if self.replayed > 0 => self.opened(&session, Opened::Resumed, out),
            (What::Settle { session, .. }, _) => {
                let why = "it was loaded without any history".to_owned();
                self.opened(&session, Opened::Fresh { attempted: session.clone(), why }, out);
            }
            (What::New, None) => match result["sessionId"].as_str() {
                Some(session) => {
                    let how = match self.lost.take() {
                        Some((attempted, why)) => Opened::Fresh { attempted, why },
                        None => Opened::New,
                    };
                    self.offers.learn(result);
                    self.opened(session, how, out);
                }
                None => {
                    let text = "the agent opened a session and did not say which".to_owned();
                    say_error(
                        Failure { class: FailureClass::Protocol, text: text.clone(), retryable: false, until: None },
                        out,
                    );
                    self.give_up(&text, out);
                }
            },
            (What::Load { .. } | What::New, Some(error)) if error::is_auth_required(error) => {
                self.ask_login(error, out);
            }
            (What::Load { session }, Some(error)) => {
                self.replayed = 0;
                let why = error::text(error);
                self.lost = Some((session, why.lines().next().unwrap_or_default().to_owned()));
                self.open_new(out);
            }
            (What::Initialize | What::New, Some(error)) => {
                let failure = error::failure(error);
                say_error(failure.clone(), out);
                self.give_up(&failure.text, out);
            }
            (What::Set { model, mode }, None) => {
                self.now_set(model.as_deref(), mode.as_deref(), out);
                self.pump(out);
            }
            (What::Set { model, mode }, Some(error)) => {
                let wanted = model.or(mode).unwrap_or_default();
                out.say(Item::Notice { text: format!("{wanted} was not set: {}", error::text(error)) });
                self.pump(out);
            }
            (What::Prompt { .. }, _) => unreachable!("a prompt's response is taken above"),
        }
    }

    fn initialized(&mut self, result: &Value, out: &mut Out) {
        let version = &result["protocolVersion"];
        if version.as_u64().is_some_and(|version| version != PROTOCOL) {
            let text = format!("the agent speaks version {version} of its protocol, and we speak {PROTOCOL}");
            say_error(
                Failure { class: FailureClass::Protocol, text: text.clone(), retryable: false, until: None },
                out,
            );
            self.give_up(&text, out);
            return;
        }
        let capabilities = &result["agentCapabilities"];
        // It is not of the protocol, so each agent that has it says so under a name of its own.
        let meta = capabilities["_meta"].as_object();
        let queues = |value: &Value| value["promptQueueing"] == true;
        self.agent = Agent {
            loads: capabilities["loadSession"] == true,
            queues: queues(capabilities)
                || queues(&capabilities["_meta"])
                || meta.is_some_and(|meta| meta.values().any(queues)),
            logins: items(&result["authMethods"]).filter_map(login_option).collect(),
        };
        self.open(out);
    }

    fn ask_login(&mut self, error: &Value, out: &mut Out) {
        let text = error::text(error);
        if self.agent.logins.is_empty() {
            say_error(Failure { class: FailureClass::Auth, text: text.clone(), retryable: false, until: None }, out);
            self.give_up(&text, out);
            return;
        }
        self.logins += 1;
        let ask = Ask {
            id: format!("login-{}", self.logins),
            kind: RequestKind::Login,
            title: "The agent wants a login".to_owned(),
            detail: text,
            options: self.agent.logins.clone(),
            tool: None,
            subject: None,
        };
        let options = ask.options.iter().map(|option| option.id.clone()).collect();
        self.asks.push(Asking { ask: ask.id.clone(), options, whom: Whom::Login });
        out.say(Item::Asked { ask });
    }

    fn end_prompt(&mut self, at: usize, result: &Value, out: &mut Out) {
        self.texts.flush(out);
        say_usage(usage_of_tokens(&result["usage"]), out);
        say_usage(usage_of_quota(&result["_meta"]["quota"]["token_count"]), out);
        if result["stopReason"] == "cancelled" {
            self.end_prompt_cancelled(at, out);
            return;
        }
        self.prove_call(at, "its prompt is answered", out);
        self.calls.remove(at);
        let failed = |class, text: &str| (class, text.to_owned());
        let end = match result["stopReason"].as_str() {
            Some("end_turn") => Ok(TurnEnd::Done),
            Some("max_tokens") => Err(failed(FailureClass::ContextExceeded, "the model has reached its last token")),
            Some("max_turn_requests") => Err(failed(FailureClass::MaxTurns, "the turn has had all its requests")),
            Some("refusal") => Err(failed(FailureClass::Refused, "the model refuses to go on")),
            other => {
                self.miss(&format!("stop reason {}", other.unwrap_or("none")), out);
                Ok(TurnEnd::Done)
            }
        };
        let end = end.unwrap_or_else(|(class, text)| {
            say_error(Failure { class, text, retryable: false, until: None }, out);
            TurnEnd::Error { class }
        });
        self.maybe_end_turn(end, out);
    }

    fn end_prompt_cancelled(&mut self, at: usize, out: &mut Out) {
        // A prompt that waited behind the running one goes with it, and nothing tells whether the model has seen it.
        if let What::Prompt { input, is_begun: false } = &self.calls[at].what
            && self.turns.is_open()
        {
            let evidence = "it was cancelled before anything was heard of it".to_owned();
            out.say(Item::InputStage { input: input.clone(), stage: InputStage::Unproven, evidence });
        } else {
            self.prove_call(at, "its prompt is answered", out);
        }
        self.calls.remove(at);
        self.maybe_end_turn(TurnEnd::Interrupted, out);
    }

    fn end_prompt_badly(&mut self, at: usize, error: &Value, out: &mut Out) {
        self.texts.flush(out);
        // Cancelled work comes back as an error from some agents.
        if self.is_cancelling {
            self.end_prompt_cancelled(at, out);
            return;
        }
        let mut failure = error::failure(error);
        if failure.class == FailureClass::Auth && !self.agent.logins.is_empty() {
            let logins: Vec<_> = self.agent.logins.iter().map(|option| option.label.as_str()).collect();
            failure.text = format!("{} (it offers: {})", failure.text, logins.join(", "));
        }
        let class = failure.class;
        let What::Prompt { input, is_begun } = self.calls[at].what.clone() else { return };
        if !is_begun && error::is_refusal(error) {
            let evidence = failure.text.clone();
            out.say(Item::InputStage { input, stage: InputStage::Refused, evidence });
        } else {
            self.prove_call(at, "its prompt is answered with an error", out);
        }
        say_error(failure, out);
        self.calls.remove(at);
        self.maybe_end_turn(TurnEnd::Error { class }, out);
    }

    /// A response belongs to its prompt, whichever is the oldest.
    fn prove_call(&mut self, at: usize, evidence: &str, out: &mut Out) {
        let call = self.calls.remove(at);
        self.calls.insert(0, call);
        self.prove(evidence, out);
        let call = self.calls.remove(0);
        self.calls.insert(at, call);
    }

    fn maybe_end_turn(&mut self, end: TurnEnd, out: &mut Out) {
        if self.is_running() {
            return;
        }
        self.leave_turn(&end, out);
        self.withdraw("its turn has ended", out);
        self.is_cancelling = false;
        self.turns.end(end, out);
        self.pump(out);
    }

    /// Nothing of a turn stays open behind it.
    fn leave_turn(&mut self, end: &TurnEnd, out: &mut Out) {
        self.texts.flush(out);
        self.texts.forget();
        self.tools.leave(*end != TurnEnd::Done, out);
    }
}

impl Offers {
    /// From the answer to `session/new` or `session/load`.
    fn learn(&mut self, result: &Value) {
        *self = Self::default();
        for (offer, category) in [(&mut self.mode, "mode"), (&mut self.model, "model")] {
            if let Some(config) = items(&result["configOptions"]).find(|config| config["category"] == category)
                && let Some(id) = config["id"].as_str()
            {
                *offer = Offer {
                    current: config["currentValue"].as_str().map(str::to_owned),
                    by: Setter::Config(id.to_owned()),
                    values: config_option_values(config),
                };
            }
        }
        let lists = [
            (&mut self.mode, &result["modes"], "availableModes", "id", "currentModeId"),
            (&mut self.model, &result["models"], "availableModels", "modelId", "currentModelId"),
        ];
        for (offer, part, list, id, current) in lists {
            if part[list].is_array() {
                *offer = Offer {
                    current: part[current].as_str().map(str::to_owned),
                    by: Setter::Method,
                    values: items(&part[list]).filter_map(|one| one[id].as_str()).map(str::to_owned).collect(),
                };
            }
        }
    }
}

impl Offer {
    fn has(&self, value: &str) -> bool {
        self.by != Setter::None && self.values.iter().any(|known| known == value)
    }

    /// The value, where it is another one than before.
    fn become_(&mut self, value: Option<&str>) -> Option<String> {
        let value = value.filter(|value| self.current.as_deref() != Some(*value))?;
        self.current = Some(value.to_owned());
        self.current.clone()
    }
}

/// Options come in a list or in named groups of lists.
fn config_option_values(config: &Value) -> Vec<String> {
    let flat = items(&config["options"]);
    let grouped = items(&config["options"]).flat_map(|group| items(&group["options"]));
    flat.chain(grouped).filter_map(|option| option["value"].as_str()).map(str::to_owned).collect()
}

fn config_values(update: &Value) -> (Option<&str>, Option<&str>) {
    let value = |category: &str| {
        items(&update["configOptions"])
            .find(|config| config["category"] == category)
            .and_then(|config| config["currentValue"].as_str())
    };
    (value("model"), value("mode"))
}

fn permission_option(option: &Value) -> Option<RequestOption> {
    let id = option["optionId"].as_str()?;
    let kind = match option["kind"].as_str() {
        Some("allow_once") => RequestOptionKind::AllowOnce,
        Some("allow_always") => RequestOptionKind::AllowAlways,
        Some("reject_once") => RequestOptionKind::RejectOnce,
        Some("reject_always") => RequestOptionKind::RejectAlways,
        _ => RequestOptionKind::Choice,
    };
    let label = option["name"].as_str().unwrap_or(id).to_owned();
    Some(RequestOption { id: id.to_owned(), label, kind })
}

fn login_option(method: &Value) -> Option<RequestOption> {
    let id = method["id"].as_str()?;
    let name = method["name"].as_str().unwrap_or(id);
    let label = match method["description"].as_str() {
        Some(description) => format!("{name}: {description}"),
        None => name.to_owned(),
    };
    Some(RequestOption { id: id.to_owned(), label, kind: RequestOptionKind::Choice })
}

fn usage_of_context(update: &Value) -> Usage {
    let cost = update["cost"]["amount"].as_f64().filter(|_| update["cost"]["currency"] == "USD");
    Usage {
        context_used: update["used"].as_u64(),
        context_size: update["size"].as_u64(),
        // A cast of a float ends at the ends of the integer.
        cost_micro_usd: cost.map(|usd| (usd * 1e6).round() as u64),
        ..Usage::default()
    }
}

fn usage_of_tokens(usage: &Value) -> Usage {
    Usage {
        input_tokens: usage["inputTokens"].as_u64(),
        cached_tokens: usage["cachedReadTokens"].as_u64(),
        output_tokens: usage["outputTokens"].as_u64(),
        ..Usage::default()
    }
}

fn usage_of_quota(count: &Value) -> Usage {
    Usage {
        input_tokens: count["input_tokens"].as_u64(),
        output_tokens: count["output_tokens"].as_u64(),
        ..Usage::default()
    }
}

fn say_usage(usage: Usage, out: &mut Out) {
    if usage != Usage::default() {
        out.say(Item::Usage { usage });
    }
}

fn say_error(error: Failure, out: &mut Out) {
    out.say(Item::Error { error });
}

fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn respond(id: &Value, result: &Value, out: &mut Out) {
    out.write(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
}

fn refuse(id: &Value, code: i64, message: &str, out: &mut Out) {
    out.write(&json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }));
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}
