//! What the client of the agent client protocol promises, on conversations that real agents had and on random ones.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use amux_agents::{Begin, How, Machine, McpServer, Order, Out, Refused, Session};
use amux_proto::Time;
use amux_proto::entity::{Answer, RequestKind};
use amux_proto::transcript::{FailureClass, InputStage, Item, Opened, TurnEnd};
use proptest::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

const AGENTS: &[&str] = &["claude-agent-acp-", "gemini-", "opencode-", "qwen-"];

/// One input of a machine: a line of a sample.
#[derive(Debug, Clone)]
enum Step {
    Heard(String),
    Ordered(Order),
}

struct Sample {
    name: String,
    steps: Vec<Step>,
}

static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let mut samples = Vec::new();
    for agent in list(&root) {
        let version = agent.file_name().unwrap().to_str().unwrap();
        if !AGENTS.iter().any(|agent| version.starts_with(agent)) {
            continue;
        }
        // What its one-shot mode says is in a directory of its own and in another dialect.
        for case in list(&agent).into_iter().filter(|case| case.is_file()) {
            let name = format!("{version} {}", case.file_stem().unwrap().to_str().unwrap());
            let text = std::fs::read_to_string(&case).unwrap();
            samples.push(Sample { name, steps: text.lines().map(step).collect() });
        }
    }
    samples
});

fn list(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn step(line: &str) -> Step {
    match line.split_at(2) {
        ("< ", line) => Step::Heard(line.to_owned()),
        ("> ", order) => Step::Ordered(serde_json::from_str(order).unwrap()),
        _ => panic!("a line is heard or ordered: {line}"),
    }
}

fn take(machine: &mut Machine, step: &Step, out: &mut Out) -> Result<(), Refused> {
    match step {
        Step::Heard(line) => {
            machine.hear(line, Time(0), out);
            Ok(())
        }
        Step::Ordered(order) => machine.order(order, Time(0), out),
    }
}

fn acp() -> Machine {
    Machine::Acp(Box::default())
}

#[test]
fn what_real_agents_say_becomes_these_items_and_writes() {
    assert!(SAMPLES.len() > 20, "{} samples", SAMPLES.len());
    for Sample { name, steps } in SAMPLES.iter() {
        let mut machine = acp();
        let mut told = String::new();
        for step in steps {
            let mut out = Out::default();
            let done = take(&mut machine, step, &mut out);
            match step {
                Step::Heard(line) => writeln!(told, "< {}", headline(line)).unwrap(),
                Step::Ordered(order) => writeln!(told, "> {}", json_of(order)).unwrap(),
            }
            for item in &out.items {
                writeln!(told, "    {}", cut(&json_of(item))).unwrap();
            }
            for write in &out.writes {
                assert_valid(&write.line);
                writeln!(told, "    => {}", cut(&write.line)).unwrap();
            }
            if let Err(refused) = done {
                writeln!(told, "    refused: {refused}").unwrap();
            }
        }
        writeln!(told, "idle {}, unknown {}", machine.is_idle(), machine.unknown()).unwrap();
        insta::assert_snapshot!(name.replace([' ', '.'], "-"), told);
    }
}

#[test]
fn a_turn_of_a_real_agent_is_closed_and_leaves_nothing_open() {
    for Sample { name, steps } in SAMPLES.iter() {
        let mut watch = Watch::default();
        let mut machine = acp();
        for step in steps {
            watch.step(&mut machine, step).0.unwrap();
        }
        watch.finish(&mut machine);
        assert!(machine.is_idle(), "{name}");
        assert!(watch.open_turn.is_none(), "{name}");
        assert!(watch.tools.is_empty(), "{name}: {:?}", watch.tools);
    }
}

#[test]
fn a_machine_that_was_put_away_after_any_line_goes_on_as_if_it_had_not_been() {
    for Sample { name, steps } in SAMPLES.iter() {
        let mut kept = acp();
        let mut stored = acp();
        for step in steps {
            let (mut one, mut other) = (Out::default(), Out::default());
            assert_eq!(take(&mut kept, step, &mut one), take(&mut stored, step, &mut other), "{name}");
            assert_eq!((one.items, one.writes), (other.items, other.writes), "{name}");
            stored = serde_json::from_str(&json_of(&stored)).unwrap();
        }
    }
}

/// A frame in a few words.
fn headline(line: &str) -> String {
    let Ok(frame) = serde_json::from_str::<Value>(line) else { return cut(line) };
    let id = frame.get("id").map(|id| format!("{id} ")).unwrap_or_default();
    match frame["method"].as_str() {
        Some(method) => {
            format!("{id}{method} {}", frame["params"]["update"]["sessionUpdate"].as_str().unwrap_or_default())
        }
        None => format!("{id}response"),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() > 400 {
        format!("{}…", text.chars().take(400).collect::<String>())
    } else {
        text.to_owned()
    }
}

fn json_of(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

/// By the schema of the protocol, and more strictly: a word the schema does not have is a mistake of ours.
fn assert_valid(line: &str) {
    assert!(!line.contains('\n'));
    let frame: Value = serde_json::from_str(line).unwrap();
    assert_eq!(frame["jsonrpc"], "2.0");
    let (kind, part) = match frame.get("method").map(|method| method.as_str().unwrap()) {
        // Neither is in the schema. The first is ours, the second what agents that offer models want.
        Some("_agentmux/settle") => return assert!(frame["params"]["sessionId"].is_string() && frame["id"].is_u64()),
        Some("session/set_model") => return assert!(frame["params"]["modelId"].is_string() && frame["id"].is_u64()),
        Some(method) => (method, &frame["params"]),
        None if frame.get("error").is_some() => ("error", &frame["error"]),
        None => ("permission", &frame["result"]),
    };
    assert_eq!(frame["id"].is_null(), kind == "session/cancel", "{line}");
    let schema = SCHEMA.get(kind).unwrap_or_else(|| panic!("we never say {kind}"));
    if let Err(why) = fits(schema, part) {
        panic!("{why}: {line}");
    }
}

/// Of the published types for what a client writes, by method; the responses it gives are `permission` and `error`.
/// It was printed from the types once: their crate orders the keys of all JSON in a build that has it, and ours must
/// not be another one in tests.
static SCHEMA: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(include_str!("acp-v1.schema.json")).unwrap());

/// As much of JSON schema as that file uses.
fn fits(schema: &Value, value: &Value) -> Result<(), String> {
    let known = words(schema, value)?;
    match value.as_object().and_then(|object| object.keys().find(|key| !known.contains(*key))) {
        Some(key) if !known.is_empty() => Err(format!("there is no {key:?}")),
        _ => Ok(()),
    }
}

/// The words of an object that this schema has.
fn words(schema: &Value, value: &Value) -> Result<BTreeSet<String>, String> {
    let mut known = BTreeSet::new();
    if let Some(name) = schema["$ref"].as_str() {
        known.extend(words(SCHEMA.pointer(&name[1..]).unwrap(), value)?);
    }
    let is_of = |kind: &Value| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        kind => panic!("no type {kind}"),
    };
    let is_typed = match &schema["type"] {
        Value::Null => true,
        Value::Array(kinds) => kinds.iter().any(is_of),
        kind => is_of(kind),
    };
    if !is_typed || schema.get("const").is_some_and(|only| only != value) {
        return Err(format!("{value} is not {schema}"));
    }
    for word in schema["required"].as_array().into_iter().flatten() {
        value.get(word.as_str().unwrap()).ok_or_else(|| format!("{word} is missing"))?;
    }
    for (word, schema) in schema["properties"].as_object().into_iter().flatten() {
        known.insert(word.clone());
        value.get(word).map_or(Ok(()), |value| fits(schema, value))?;
    }
    for value in value.as_array().into_iter().flatten().filter(|_| schema.get("items").is_some()) {
        fits(&schema["items"], value)?;
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[choice].as_array() {
            let chosen = choices.iter().find_map(|schema| words(schema, value).ok());
            known.extend(chosen.ok_or_else(|| format!("{value} is none of {schema}"))?);
        }
    }
    Ok(known)
}

#[test]
fn the_schema_is_strict_enough_to_tell() {
    let says = |method: &str, params: Value| fits(&SCHEMA[method], &params);
    assert_eq!(says("session/cancel", json!({"sessionId": "s"})), Ok(()));
    for (method, params) in [
        ("session/cancel", json!({})),
        ("session/cancel", json!({"sessionId": 7})),
        ("session/cancel", json!({"sessionId": "s", "session": "s"})),
        ("session/new", json!({"cwd": "/"})),
        ("session/new", json!({"cwd": "/", "mcpServers": [{"name": "a", "command": "b", "args": [], "env": {}}]})),
        ("session/prompt", json!({"sessionId": "s", "prompt": "hi"})),
        ("session/prompt", json!({"sessionId": "s", "prompt": [{"type": "text"}]})),
        ("permission", json!({"outcome": "cancelled"})),
        ("permission", json!({"outcome": {"outcome": "selected"}})),
        ("initialize", json!({"protocolVersion": "1"})),
    ] {
        assert!(says(method, params.clone()).is_err(), "{method} {params}");
    }
}

/// Looks on and fails where a promise is broken.
#[derive(Default)]
struct Watch {
    /// Ids of requests the agent waits for.
    requests: BTreeSet<String>,
    asks: Vec<(String, Vec<String>)>,
    open_turn: Option<u32>,
    newest_turn: u32,
    begun: BTreeSet<String>,
    tools: BTreeSet<String>,
    /// Inputs that are written, and those that have come to an end.
    written: BTreeSet<String>,
    settled: BTreeSet<String>,
}

impl Watch {
    fn step(&mut self, machine: &mut Machine, step: &Step) -> (Result<(), Refused>, Out) {
        if let Step::Heard(line) = step
            && let Ok(frame) = serde_json::from_str::<Value>(line)
            && frame.get("method").is_some()
            && !frame["id"].is_null()
        {
            self.requests.insert(frame["id"].to_string());
        }
        if let Step::Ordered(Order::Begin(_)) = step {
            self.requests.clear();
        }
        let before = json_of(machine);
        let mut out = Out::default();
        let done = take(machine, step, &mut out);
        if done.is_err() {
            assert_eq!(json_of(machine), before, "a refused order leaves the machine as it was");
            assert!(out.items.is_empty() && out.writes.is_empty());
        }
        for write in &out.writes {
            assert_valid(&write.line);
            self.written.extend(write.input.clone());
            let frame: Value = serde_json::from_str(&write.line).unwrap();
            if frame.get("method").is_none() {
                let id = frame["id"].to_string();
                assert!(self.requests.remove(&id), "an answer to what is not waited for: {}", write.line);
            }
        }
        for item in &out.items {
            self.item(item);
        }
        (done, out)
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Asked { ask } => {
                assert!(self.asks.iter().all(|(open, _)| *open != ask.id), "asked twice: {}", ask.id);
                self.asks.push((ask.id.clone(), ask.options.iter().map(|option| option.id.clone()).collect()));
            }
            Item::AskClosed { ask, .. } => {
                let at = self.asks.iter().position(|(open, _)| open == ask).expect("what is closed was open");
                self.asks.remove(at);
            }
            Item::TurnStarted { turn, .. } => {
                assert!(self.open_turn.is_none() && *turn > self.newest_turn);
                self.open_turn = Some(*turn);
                self.newest_turn = *turn;
            }
            Item::TurnEnded { turn, .. } => {
                assert_eq!(self.open_turn.take(), Some(*turn));
                assert!(self.begun.is_empty(), "every input of a turn ends with it");
                assert!(self.tools.is_empty(), "every tool of a turn ends with it");
            }
            Item::InputStage { input, stage, .. } => match stage {
                InputStage::Handed | InputStage::Shown => {}
                InputStage::Begun => assert!(self.begun.insert(input.clone())),
                InputStage::Ended | InputStage::Failed => {
                    assert!(self.begun.remove(input));
                    self.settled.insert(input.clone());
                }
                InputStage::Refused | InputStage::Unproven => {
                    assert!(!self.begun.contains(input));
                    self.settled.insert(input.clone());
                }
            },
            Item::ToolStarted { tool } => assert!(self.tools.insert(tool.id.clone())),
            Item::ToolDone { id, .. } => assert!(self.tools.remove(id), "{id} is done and was not started"),
            _ => {}
        }
    }

    /// People answer, sooner or later; then nobody waits.
    fn finish(&mut self, machine: &mut Machine) {
        while let Some((ask, options)) = self.asks.first().cloned() {
            let answer = Answer::Option { option: options[0].clone(), text: None };
            self.step(machine, &Step::Ordered(Order::Answer { ask, answer })).0.expect("what is asked can be answered");
        }
        assert!(self.requests.is_empty(), "never answered: {:?}", self.requests);
    }
}

fn begin(session: Session) -> Order {
    Order::Begin(Begin { cwd: "/home/u/proj".to_owned(), session, lost: None, model: None, mode: None, mcp: None })
}

fn new() -> Session {
    Session::New { id: "chosen".to_owned() }
}

fn resume() -> Session {
    Session::Resume { id: "s1".to_owned() }
}

fn input(input: &str, how: How) -> Order {
    Order::Input { parts: Vec::new(), input: input.to_owned(), text: format!("text of {input}"), how }
}

fn pick(ask: &str, option: &str) -> Order {
    Order::Answer { ask: ask.to_owned(), answer: Answer::Option { option: option.to_owned(), text: None } }
}

/// A conversation with an agent that is played by the test.
struct Talk {
    machine: Machine,
    watch: Watch,
    items: Vec<Item>,
    writes: Vec<Value>,
}

impl Talk {
    fn silent() -> Self {
        Self { machine: acp(), watch: Watch::default(), items: Vec::new(), writes: Vec::new() }
    }

    /// Begun, with an agent that can do this, and its answer to opening a session.
    fn with(session: Session, capabilities: Value, opened: Value) -> Self {
        let mut talk = Self::silent();
        talk.order(&begin(session)).unwrap();
        talk.result(1, json!({"protocolVersion": 1, "agentCapabilities": capabilities}));
        talk.result(2, opened);
        talk
    }

    fn open() -> Self {
        Self::with(new(), json!({"loadSession": true}), json!({"sessionId": "s1"}))
    }

    fn step(&mut self, step: &Step) -> Result<(), Refused> {
        let (done, out) = self.watch.step(&mut self.machine, step);
        self.items = out.items;
        self.writes = out.writes.iter().map(|write| serde_json::from_str(&write.line).unwrap()).collect();
        done
    }

    fn order(&mut self, order: &Order) -> Result<(), Refused> {
        self.step(&Step::Ordered(order.clone()))
    }

    fn hear(&mut self, frame: &Value) {
        self.step(&Step::Heard(frame.to_string())).unwrap();
    }

    fn result(&mut self, id: u64, result: Value) {
        self.hear(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
    }

    fn error(&mut self, id: u64, code: i64, message: &str) {
        self.hear(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}));
    }

    fn update(&mut self, update: Value) {
        self.hear(&json!({"jsonrpc": "2.0", "method": "session/update",
            "params": {"sessionId": "s1", "update": update}}));
    }

    fn says(&mut self, text: &str) {
        self.update(json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}));
    }

    fn asks(&mut self, id: Value) {
        self.hear(&json!({"jsonrpc": "2.0", "id": id, "method": "session/request_permission", "params": {
        "sessionId": "s1",
        "toolCall": {"toolCallId": "t1", "title": "touch a", "kind": "execute", "rawInput": {"command": "touch a"}},
        "options": [
            {"optionId": "project", "name": "Always here", "kind": "allow_always"},
            {"optionId": "user", "name": "Always", "kind": "allow_always"},
            {"optionId": "once", "name": "Once", "kind": "allow_once"},
        ]}}));
    }

    fn methods(&self) -> Vec<&str> {
        self.writes.iter().map(|write| write["method"].as_str().unwrap_or("response")).collect()
    }

    fn opened(&self) -> Opened {
        self.items
            .iter()
            .find_map(|item| match item {
                Item::Session { session } => Some(session.how.clone()),
                _ => None,
            })
            .expect("a session is opened")
    }

    fn turn_end(&self) -> Option<&TurnEnd> {
        self.items.iter().find_map(|item| match item {
            Item::TurnEnded { end, .. } => Some(end),
            _ => None,
        })
    }

    fn stages(&self, of: &str) -> Vec<InputStage> {
        self.items
            .iter()
            .filter_map(|item| match item {
                Item::InputStage { input, stage, .. } if input == of => Some(*stage),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn a_session_is_opened_with_our_tools_and_what_waits_is_then_said() {
    let mut talk = Talk::silent();
    let mcp = McpServer {
        name: "agentmux".to_owned(),
        command: "/usr/bin/agentmux".to_owned(),
        args: vec!["mcp".to_owned()],
        env: vec![("A".to_owned(), "b".to_owned())],
    };
    let Order::Begin(start) = begin(new()) else { unreachable!() };
    talk.order(&Order::Begin(Begin { mcp: Some(mcp), ..start })).unwrap();
    assert_eq!(talk.methods(), ["initialize"]);
    talk.order(&input("a", How::Next)).unwrap();
    assert!(talk.writes.is_empty());
    talk.result(1, json!({"protocolVersion": 1}));
    assert_eq!(talk.methods(), ["session/new"]);
    let server = json!([{"name": "agentmux", "command": "/usr/bin/agentmux", "args": ["mcp"],
        "env": [{"name": "A", "value": "b"}]}]);
    assert_eq!(talk.writes[0]["params"]["mcpServers"], server);
    talk.result(2, json!({"sessionId": "s1"}));
    assert_eq!(talk.opened(), Opened::New);
    assert_eq!(talk.methods(), ["session/prompt"]);
    assert!(!talk.machine.is_idle());
}

#[test]
fn a_prompt_is_begun_with_the_first_word_and_ended_by_its_response() {
    let mut talk = Talk::open();
    assert!(talk.machine.is_idle());
    talk.order(&input("a", How::Next)).unwrap();
    assert_eq!(talk.stages("a"), []);
    talk.update(json!({"sessionUpdate": "available_commands_update", "availableCommands": []}));
    talk.update(json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": ""}}));
    assert_eq!(talk.items, []);
    talk.says("one ");
    assert_eq!(talk.stages("a"), [InputStage::Shown, InputStage::Begun]);
    talk.says("two");
    talk.result(3, json!({"stopReason": "end_turn"}));
    assert!(talk.items.contains(&Item::Message { id: "m1".to_owned(), text: "one two".to_owned(), parent: None }));
    assert_eq!(talk.stages("a"), [InputStage::Ended]);
    assert_eq!(talk.turn_end(), Some(&TurnEnd::Done));
    assert!(talk.machine.is_idle());
}

#[test]
fn a_message_goes_on_behind_a_tool_under_a_name_of_its_own() {
    let mut talk = Talk::open();
    talk.order(&input("a", How::Next)).unwrap();
    let chunk = |text: &str| json!({"sessionUpdate": "agent_message_chunk", "messageId": "x", "content": {"type": "text", "text": text}});
    talk.update(chunk("one"));
    talk.update(json!({"sessionUpdate": "tool_call", "toolCallId": "t", "title": "ls", "status": "in_progress"}));
    assert!(talk.items.contains(&Item::Message { id: "x".to_owned(), text: "one".to_owned(), parent: None }));
    talk.update(chunk("two"));
    assert!(talk.items.contains(&Item::MessageDelta { id: "x#2".to_owned(), text: "two".to_owned(), parent: None }));
    talk.result(3, json!({"stopReason": "end_turn"}));
    assert!(talk.items.contains(&Item::Message { id: "x#2".to_owned(), text: "two".to_owned(), parent: None }));
}

#[test]
fn one_prompt_runs_at_a_time_unless_the_agent_takes_more() {
    let mut talk = Talk::open();
    for name in ["a", "b"] {
        talk.order(&input(name, How::Steer)).unwrap();
    }
    assert!(talk.writes.is_empty());
    talk.result(3, json!({"stopReason": "end_turn"}));
    assert_eq!(talk.methods(), ["session/prompt"]);

    let meta = json!({"_meta": {"claudeCode": {"promptQueueing": true}}});
    let mut talk = Talk::with(new(), meta, json!({"sessionId": "s1"}));
    talk.order(&input("a", How::Next)).unwrap();
    talk.order(&input("later", How::Next)).unwrap();
    assert!(talk.writes.is_empty());
    talk.order(&input("b", How::Steer)).unwrap();
    assert_eq!(talk.methods(), ["session/prompt"]);
    talk.says("hm");
    talk.result(3, json!({"stopReason": "end_turn"}));
    assert_eq!(talk.turn_end(), None, "a prompt of the turn is still out");
    talk.result(4, json!({"stopReason": "end_turn"}));
    assert_eq!(talk.turn_end(), Some(&TurnEnd::Done));
    assert_eq!(talk.stages("a"), [InputStage::Ended]);
    assert_eq!(talk.stages("b").last(), Some(&InputStage::Ended));
    assert_eq!(talk.methods(), ["session/prompt"], "what could wait is said as the next turn");
}

#[test]
fn a_resumed_session_repeats_nothing() {
    let mut talk = Talk::silent();
    talk.order(&begin(resume())).unwrap();
    talk.result(1, json!({"protocolVersion": 1, "agentCapabilities": {"loadSession": true}}));
    assert_eq!(talk.methods(), ["session/load"]);
    talk.update(json!({"sessionUpdate": "user_message_chunk", "content": {"type": "text", "text": "old"}}));
    assert_eq!(talk.items, []);
    talk.order(&input("a", How::Next)).unwrap();
    talk.result(2, Value::Null);
    assert_eq!(talk.methods(), ["_agentmux/settle"]);
    talk.says("old too, and late");
    assert_eq!(talk.items, []);
    talk.error(3, -32601, "Method not found");
    assert_eq!(talk.methods(), ["_agentmux/settle"], "as long as something comes, more may come");
    talk.error(4, -32601, "Method not found");
    assert_eq!(talk.opened(), Opened::Resumed);
    assert_eq!(talk.methods(), ["session/prompt"]);
}

#[test]
fn a_session_that_is_not_what_it_was_is_disclosed() {
    let fresh = |why: &str| Opened::Fresh { attempted: "s1".to_owned(), why: why.to_owned() };

    let mut talk = Talk::with(resume(), json!({"loadSession": true}), json!({}));
    talk.error(3, -32601, "Method not found");
    assert_eq!(talk.opened(), fresh("it was loaded without any history"));

    let talk = Talk::with(resume(), json!({}), json!({"sessionId": "s2"}));
    assert_eq!(talk.opened(), fresh("this agent cannot load a session"));

    let mut talk = Talk::silent();
    talk.order(&begin(resume())).unwrap();
    talk.result(1, json!({"protocolVersion": 1, "agentCapabilities": {"loadSession": true}}));
    talk.error(2, -32002, "Resource not found");
    assert_eq!(talk.methods(), ["session/new"]);
    talk.result(3, json!({"sessionId": "s2"}));
    assert_eq!(talk.opened(), fresh("Resource not found"));
}

#[test]
fn a_wrong_option_leaves_the_question_open_and_a_right_one_closes_it_once() {
    let mut talk = Talk::open();
    talk.order(&input("a", How::Next)).unwrap();
    talk.asks(json!(0));
    assert!(talk.items.iter().any(|item| matches!(item, Item::Asked { ask } if ask.options.len() == 3
        && ask.subject.as_deref() == Some("touch a"))));
    talk.asks(json!("0"));
    assert!(matches!(talk.order(&pick("0", "never")), Err(Refused::BadAnswer(_))));
    let text = Answer::Text { text: "yes".to_owned() };
    assert!(matches!(talk.order(&Order::Answer { ask: "0".to_owned(), answer: text }), Err(Refused::BadAnswer(_))));
    talk.order(&pick("0", "user")).unwrap();
    assert_eq!(talk.writes[0]["id"], 0);
    assert_eq!(talk.writes[0]["result"], json!({"outcome": {"outcome": "selected", "optionId": "user"}}));
    assert_eq!(talk.order(&pick("0", "user")), Err(Refused::NotAsked("0".to_owned())));
    talk.order(&pick("\"0\"", "once")).unwrap();
    assert_eq!(talk.writes[0]["id"], "0");
}

#[test]
fn an_interrupt_cancels_the_turn_and_what_it_asks_and_will_ask() {
    let mut talk = Talk::open();
    assert_eq!(talk.order(&Order::Interrupt), Err(Refused::NotRunning));
    talk.order(&input("a", How::Next)).unwrap();
    talk.asks(json!(0));
    talk.order(&Order::Interrupt).unwrap();
    assert_eq!(talk.methods(), ["session/cancel", "response"]);
    assert_eq!(talk.writes[1]["result"]["outcome"]["outcome"], "cancelled");
    talk.asks(json!(1));
    assert_eq!(talk.writes[0]["result"]["outcome"]["outcome"], "cancelled");
    talk.result(3, json!({"stopReason": "cancelled"}));
    assert_eq!(talk.turn_end(), Some(&TurnEnd::Interrupted));
    assert_eq!(talk.order(&Order::Interrupt), Err(Refused::NotRunning));
}

#[test]
fn an_interrupt_takes_along_what_waits_inside_the_agent_and_says_that_nobody_knows() {
    let meta = json!({"_meta": {"claudeCode": {"promptQueueing": true}}});
    let mut talk = Talk::with(new(), meta, json!({"sessionId": "s1"}));
    talk.order(&input("a", How::Next)).unwrap();
    talk.says("hm");
    talk.order(&input("b", How::Steer)).unwrap();
    talk.order(&Order::Interrupt).unwrap();
    talk.result(3, json!({"stopReason": "cancelled"}));
    assert_eq!(talk.turn_end(), None);
    talk.result(4, json!({"stopReason": "cancelled"}));
    assert_eq!(talk.stages("b"), [InputStage::Unproven]);
    assert_eq!(talk.turn_end(), Some(&TurnEnd::Interrupted));
}

#[test]
fn a_question_does_not_outlive_its_turn_and_can_be_withdrawn() {
    let mut talk = Talk::open();
    talk.order(&input("a", How::Next)).unwrap();
    talk.asks(json!("x"));
    talk.hear(&json!({"jsonrpc": "2.0", "method": "$/cancel_request", "params": {"requestId": "x"}}));
    assert_eq!(talk.writes[0]["error"]["code"], -32800);
    talk.asks(json!(7));
    talk.result(3, json!({"stopReason": "end_turn"}));
    assert_eq!(talk.writes[0]["result"]["outcome"]["outcome"], "cancelled");
    talk.watch.finish(&mut talk.machine);
}

#[test]
fn a_request_for_what_we_do_not_offer_is_refused_and_never_left() {
    let mut talk = Talk::open();
    for (id, method) in [(json!(0), "fs/read_text_file"), (json!("a"), "terminal/create"), (json!(1.5), "_x/y")] {
        talk.hear(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {}}));
        assert_eq!(talk.writes[0]["error"]["code"], -32601);
        assert_eq!(talk.writes[0]["id"], id);
    }
}

#[test]
fn noise_between_the_frames_is_counted_and_passed_over() {
    let mut talk = Talk::open();
    for noise in ["", "Ripgrep is not available.", "[1,2]", "{\"id\":", "\u{1b}[2K"] {
        talk.step(&Step::Heard(noise.to_owned())).unwrap();
        assert!(talk.items.is_empty() && talk.writes.is_empty());
    }
    talk.update(json!({"sessionUpdate": "brand_new"}));
    assert_eq!(talk.items, [Item::Unknown { kind: "session/update brand_new".to_owned() }]);
    assert_eq!(talk.machine.unknown(), 6);
}

#[test]
fn an_error_before_the_turn_refuses_the_input_and_one_inside_it_ends_the_turn() {
    let mut talk = Talk::open();
    talk.order(&input("a", How::Next)).unwrap();
    talk.error(3, -32602, "Invalid params");
    assert_eq!(talk.stages("a"), [InputStage::Refused]);
    assert_eq!(talk.turn_end(), None);
    talk.order(&input("b", How::Next)).unwrap();
    talk.says("so");
    talk.error(4, -32603, "Internal error: API Error: 529 overloaded");
    assert_eq!(talk.turn_end(), Some(&TurnEnd::Error { class: FailureClass::Overloaded }));
    talk.order(&input("c", How::Next)).unwrap();
    talk.error(5, 429, "too fast");
    assert!(talk.items.iter().any(|item| matches!(item, Item::Error { error } if error.retryable)));
    assert_eq!(talk.turn_end(), Some(&TurnEnd::Error { class: FailureClass::RateLimited }));
    for (id, (reason, class)) in (6..).zip([
        ("max_tokens", FailureClass::ContextExceeded),
        ("max_turn_requests", FailureClass::MaxTurns),
        ("refusal", FailureClass::Refused),
    ]) {
        talk.order(&input(reason, How::Next)).unwrap();
        talk.result(id, json!({"stopReason": reason}));
        assert_eq!(talk.turn_end(), Some(&TurnEnd::Error { class }));
    }
}

#[test]
fn an_error_that_is_null_is_none() {
    let mut talk = Talk::open();
    talk.order(&input("a", How::Next)).unwrap();
    talk.hear(&json!({"jsonrpc": "2.0", "id": 3, "error": null, "result": {"stopReason": "end_turn"}}));
    assert_eq!(talk.turn_end(), Some(&TurnEnd::Done));
}

#[test]
fn a_login_is_asked_for_and_then_the_session_is_opened() {
    let mut talk = Talk::silent();
    talk.order(&begin(new())).unwrap();
    talk.order(&input("a", How::Next)).unwrap();
    talk.result(
        1,
        json!({"protocolVersion": 1, "authMethods": [{"id": "key", "name": "Key", "description": "by env"}]}),
    );
    talk.error(2, -32000, "Authentication required");
    let ask = talk.items.iter().find_map(|item| match item {
        Item::Asked { ask } => Some(ask.clone()),
        _ => None,
    });
    let ask = ask.unwrap();
    assert_eq!((ask.kind, ask.options[0].label.as_str()), (RequestKind::Login, "Key: by env"));
    talk.order(&pick(&ask.id, "key")).unwrap();
    assert_eq!(talk.methods(), ["authenticate"]);
    talk.result(3, json!({}));
    assert_eq!(talk.methods(), ["session/new"]);
    talk.result(4, json!({"sessionId": "s1"}));
    assert_eq!(talk.methods(), ["session/prompt"]);
}

#[test]
fn where_no_session_can_be_opened_what_waits_is_refused() {
    let mut talk = Talk::silent();
    talk.order(&begin(new())).unwrap();
    talk.order(&input("a", How::Next)).unwrap();
    talk.result(1, json!({"protocolVersion": 2}));
    assert_eq!(talk.stages("a"), [InputStage::Refused]);
    assert_eq!(talk.order(&input("b", How::Next)), Err(Refused::NotReady));
    assert!(!talk.machine.is_idle());
}

#[test]
fn models_and_modes_are_set_where_they_are_offered_and_before_the_next_prompt() {
    let set = |model: Option<&str>, mode: Option<&str>| Order::Set {
        model: model.map(str::to_owned),
        mode: mode.map(str::to_owned),
    };
    let mut talk = Talk::with(
        new(),
        json!({}),
        json!({"sessionId": "s1",
            "modes": {"currentModeId": "default", "availableModes": [{"id": "default"}, {"id": "plan"}]},
            "configOptions": [{"id": "m", "category": "model", "type": "select", "currentValue": "big",
                "options": [{"name": "all", "options": [{"value": "big"}, {"value": "small"}]}]}]}),
    );
    assert!(matches!(talk.order(&set(Some("huge"), Some("plan"))), Err(Refused::Unsupported(_))));
    talk.order(&set(Some("small"), Some("plan"))).unwrap();
    assert_eq!(talk.methods(), ["session/set_config_option", "session/set_mode"]);
    talk.order(&input("a", How::Next)).unwrap();
    assert!(talk.writes.is_empty());
    talk.result(3, json!({}));
    assert_eq!(talk.items, [Item::Mode { model: Some("small".to_owned()), mode: None }]);
    talk.error(4, -32603, "no");
    assert!(matches!(&talk.items[0], Item::Notice { text } if text.contains("plan")));
    assert_eq!(talk.methods(), ["session/prompt"]);
    talk.update(json!({"sessionUpdate": "current_mode_update", "currentModeId": "plan"}));
    assert_eq!(talk.items, [Item::Mode { model: None, mode: Some("plan".to_owned()) }]);
    assert_eq!(Talk::silent().order(&set(None, Some("plan"))), Err(Refused::NotReady));
}

#[test]
fn a_new_process_begins_with_what_was_not_said_yet() {
    let mut talk = Talk::open();
    for name in ["a", "b"] {
        talk.order(&input(name, How::Next)).unwrap();
    }
    talk.order(&begin(resume())).unwrap();
    assert_eq!(talk.stages("a"), [InputStage::Unproven]);
    assert_eq!(talk.methods(), ["initialize"]);
    talk.result(4, json!({"protocolVersion": 1, "agentCapabilities": {"loadSession": true}}));
    talk.says("a word of yesterday");
    talk.result(5, json!({}));
    talk.error(6, -32601, "Method not found");
    assert_eq!(talk.opened(), Opened::Resumed);
    assert_eq!(talk.writes[0]["params"]["prompt"][0]["text"], "text of b");
}

/// Frames of the protocol, right and wrong, with ids from a small space so that they meet.
fn frame() -> impl Strategy<Value = Value> {
    let id = prop_oneof![(0..4).prop_map(|id| json!(id)), Just(json!("0")), Just(json!("x")), Just(json!({}))];
    let response = prop_oneof![
        Just(json!({"protocolVersion": 1, "agentCapabilities": {"loadSession": true},
            "authMethods": [{"id": "k"}]})),
        Just(json!({"protocolVersion": 1, "agentCapabilities": {"_meta": {"a": {"promptQueueing": true}}}})),
        Just(json!({"sessionId": "s1", "modes": {"currentModeId": "a", "availableModes": [{"id": "a"}, {"id": "b"}]}})),
        Just(json!({"stopReason": "end_turn"})),
        Just(json!({"stopReason": "cancelled"})),
        Just(json!({"stopReason": 7})),
        Just(Value::Null),
    ];
    let text = prop_oneof![Just(""), Just("one"), Just("two")];
    let update = prop_oneof![
        (text, prop::option::of(0..2), any::<bool>()).prop_map(|(text, message, is_thought)| {
            let kind = if is_thought { "agent_thought_chunk" } else { "agent_message_chunk" };
            json!({"sessionUpdate": kind, "messageId": message.map(|id: i32| id.to_string()),
                "content": {"type": "text", "text": text}})
        }),
        ("tool_call|tool_call_update", 0..3, "pending|in_progress|completed|failed|odd").prop_map(
            |(kind, id, status): (String, i32, String)| {
                json!({"sessionUpdate": kind, "toolCallId": id.to_string(), "status": status,
                    "content": [{"type": "content", "content": {"type": "text", "text": "out"}},
                        {"type": "diff", "path": "/a", "newText": "b"}]})
            }
        ),
        Just(json!({"sessionUpdate": "plan", "entries": [{"content": "x"}, 7]})),
        Just(json!({"sessionUpdate": "usage_update", "used": 1, "cost": {"amount": -1e300, "currency": "USD"}})),
        Just(json!({"sessionUpdate": "current_mode_update", "currentModeId": "b"})),
        Just(json!({"sessionUpdate": "user_message_chunk"})),
        Just(json!({"sessionUpdate": "new_kind"})),
        Just(json!([])),
    ];
    let error = prop::sample::select(vec![-32000, -32002, -32602, -32603, 429]);
    prop_oneof![
        6 => (1..14_u64, response).prop_map(|(id, result)| json!({"id": id, "result": result})),
        2 => (1..14_u64, error).prop_map(|(id, code)| json!({"id": id, "error": {"code": code, "message": "no"}})),
        6 => update.prop_map(|update| json!({"method": "session/update", "params": {"update": update}})),
        4 => (id.clone(), 0..3).prop_map(|(id, tool): (Value, i32)| json!({"id": id, "method": "session/request_permission",
            "params": {"toolCall": {"toolCallId": tool.to_string()}, "options": [{"optionId": "a", "kind": "allow_once"},
                {"optionId": "b", "kind": "odd"}, {"no": "id"}]}})),
        1 => id.clone().prop_map(|id| json!({"id": id, "method": "session/request_permission", "params": 7})),
        1 => id.clone().prop_map(|id| json!({"id": id, "method": "fs/read_text_file"})),
        1 => id.clone().prop_map(|id| json!({"id": id, "method": 7})),
        1 => id.clone().prop_map(|id| json!({"method": "$/cancel_request", "params": {"requestId": id}})),
        1 => id.prop_map(|id| json!({"id": id})),
    ]
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        2 => any::<bool>().prop_map(|is_new| begin(if is_new { new() } else { resume() })),
        6 => any::<bool>().prop_map(|steers| input("?", if steers { How::Steer } else { How::Next })),
        3 => ("0|1|2|3|\"0\"|\"x\"|login-1", "a|b|k|z").prop_map(|(ask, option)| pick(&ask, &option)),
        2 => Just(Order::Interrupt),
        1 => prop::option::of("a|b|c").prop_map(|mode| Order::Set { model: None, mode }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let lines = SAMPLES.iter().flat_map(|sample| &sample.steps).filter_map(|step| match step {
        Step::Heard(line) => Some(line.clone()),
        Step::Ordered(_) => None,
    });
    let line = prop::sample::select(lines.collect::<Vec<_>>());
    prop_oneof![
        8 => frame().prop_map(|frame| Step::Heard(frame.to_string())),
        4 => order().prop_map(Step::Ordered),
        2 => line.clone().prop_map(Step::Heard),
        1 => (line, any::<prop::sample::Index>()).prop_map(|(line, at)| {
            let chars: Vec<_> = line.chars().collect();
            Step::Heard(chars[..at.index(chars.len().max(1)).min(chars.len())].iter().collect())
        }),
        1 => "\\PC{0,30}".prop_map(Step::Heard),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_heard_and_ordered_the_promises_hold(
        opens in prop::bool::weighted(0.8),
        mut steps in prop::collection::vec(any_step(), 0..80),
        put_away in any::<prop::sample::Index>(),
    ) {
        if opens {
            let opening = [
                Step::Ordered(begin(new())),
                Step::Heard(json!({"id": 1, "result": {"protocolVersion": 1, "agentCapabilities":
                    {"_meta": {"a": {"promptQueueing": true}}}}}).to_string()),
                Step::Heard(json!({"id": 2, "result": {"sessionId": "s1"}}).to_string()),
            ];
            steps.splice(0..0, opening);
        }
        // Every input is one of its own.
        for (n, step) in steps.iter_mut().enumerate() {
            if let Step::Ordered(Order::Input { input, .. }) = step {
                *input = format!("in-{n}");
            }
        }
        let (mut machine, mut again) = (acp(), acp());
        let mut watch = Watch::default();
        let put_away = put_away.index(steps.len().max(1));
        for (n, step) in steps.iter().enumerate() {
            if n == put_away {
                again = serde_json::from_str(&json_of(&again)).unwrap();
            }
            let (done, out) = watch.step(&mut machine, step);
            let mut other = Out::default();
            prop_assert_eq!(done, take(&mut again, step, &mut other));
            prop_assert_eq!((out.items, out.writes), (other.items, other.writes));
        }
        // A new process: whatever was written to this one has come to an end.
        watch.finish(&mut machine);
        watch.step(&mut machine, &Step::Ordered(begin(new()))).0.unwrap();
        prop_assert!(watch.open_turn.is_none() && watch.asks.is_empty());
        prop_assert_eq!(&watch.written - &watch.settled, BTreeSet::new());
    }
}
