//! A fake agent: speaks one of the dialects, does what words in the prompt and flags tell it, and writes down every
//! byte it prints and every line it reads before anybody else can know of it. What a test compares the tape and the
//! log with.
//!
//! `fake-agent MODE [FLAG…]`, MODE one of `claude`, `codex`, `acp`, `pty`, `tui`.
//!
//! - `--oracle FILE`: `FILE.out` has what is printed, `FILE.in` what was read, `FILE.turns` a line for each turn.
//! - `--rate N`: lines of noise in a second, while it works and while it rests. `--bytes N`: so many bytes of output
//!   first. `--giant-line N`: a line of so many bytes first. `--stderr-flood N`, `--invalid-utf8`.
//! - `--die-after N`: ends after so many turns. `--close-stdout`: lives without one. `--deaf`: reads nothing.
//!   `--slow-read MS`: a pause after each 4 KiB it reads.
//! - `--ignore-term`, `--children bg|setsid|hold|storm`, `--swallow-enter`.
//!
//! In a prompt: `ask` (a permission, as often as it stands there), `say:N` (N bytes), `sleep:MS`, `die`, `hold` (works
//! until it is interrupted), `compact` (forgets most of what was said, where the dialect has a word for that).

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

/// What is printed at once where much is printed.
const BLOCK: usize = 64 * 1024;

/// A storm of forks that a test can afford.
const STORM: usize = 40;

pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let flags = Flags(args.get(1..).unwrap_or_default().to_vec());
    let changed = (flags.has("--ignore-term"), flags.has("--close-stdout"));
    if changed != (false, false) && std::env::var_os("FAKE_CHANGED").is_none() {
        return again(&args, changed);
    }
    let mode = args.first().map(String::as_str).unwrap_or_default();
    if matches!(mode, "pty" | "tui") {
        // Bytes are to be what they are, in both directions.
        let _ = Command::new("stty").args(["raw", "-echo"]).status();
    }
    let agent = Agent::new(flags);
    agent.begin();
    match mode {
        "claude" => claude(&agent),
        "codex" => codex(&agent),
        "acp" => acp(&agent),
        "pty" => pty(&agent),
        "tui" => tui(&agent),
        _ => {
            eprintln!("usage: fake-agent claude|codex|acp|pty|tui [FLAG…]");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// An ignored signal stays ignored, and what is closed stays closed, in the program that follows.
fn again(args: &[String], (ignores, closes): (bool, bool)) -> ExitCode {
    let me = std::env::current_exe().expect("a running program has a path");
    let trap = if ignores { "trap '' TERM INT HUP;" } else { "" };
    let close = if closes { ">&-" } else { "" };
    let script = format!("{trap} exec \"$0\" \"$@\" {close}");
    let error = Command::new("/bin/sh").args(["-c", &script]).arg(me).args(args).env("FAKE_CHANGED", "1").exec();
    eprintln!("{error}");
    ExitCode::FAILURE
}

struct Flags(Vec<String>);

impl Flags {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|flag| flag == name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|flag| flag == name)?;
        self.0.get(at + 1).map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }
}

struct Agent {
    flags: Flags,
    /// One at a time, so that the oracle and the pipe have the same order.
    out: Mutex<Out>,
    turns: Mutex<Option<File>>,
}

struct Out {
    oracle: Option<File>,
    stdout: File,
}

impl Agent {
    fn new(flags: Flags) -> Arc<Self> {
        let file = |name: &str| {
            let path = format!("{}.{name}", flags.text("--oracle")?);
            Some(OpenOptions::new().create(true).append(true).open(path).expect("an oracle can be written"))
        };
        let out = Out { oracle: file("out"), stdout: stdout() };
        Arc::new(Self { turns: Mutex::new(file("turns")), out: Mutex::new(out), flags })
    }

    fn print(&self, bytes: &[u8]) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let Out { oracle, stdout } = &mut *out;
        if let Some(oracle) = oracle {
            oracle.write_all(bytes).expect("an oracle can be written");
        }
        if stdout.write_all(bytes).is_err() {
            // Nobody listens; what a CLI does then.
            die(13);
        }
    }

    fn say(&self, frame: &Value) {
        self.print(format!("{frame}\n").as_bytes());
    }

    fn turn(&self, what: &str) {
        if let Some(turns) = &mut *self.turns.lock().unwrap_or_else(PoisonError::into_inner) {
            writeln!(turns, "{what}").expect("an oracle can be written");
        }
    }

    fn begin(self: &Arc<Self>) {
        let flags = &self.flags;
        match flags.text("--children") {
            Some("bg") => child("exec sleep 1000"),
            Some("setsid") => child("exec setsid sleep 1000"),
            Some("hold") => {
                let _ = Command::new("sleep").arg("1000").stdin(Stdio::null()).stderr(Stdio::null()).spawn();
            }
            Some("storm") => (0..STORM).for_each(|_| child("trap '' TERM; sleep 1000 & wait")),
            _ => {}
        }
        if let Some(count) = flags.number("--stderr-flood") {
            let block = vec![b'e'; BLOCK];
            for _ in 0..count / BLOCK as u64 + 1 {
                let _ = io::stderr().write_all(&block);
            }
        }
        if flags.has("--invalid-utf8") {
            self.print(b"\xff\xfe{\"type\":\"\xc3\x28\"}\n{\"type\":\"system\",\"subtype\":\"\xf0\x28\x8c\xbc\"}\n");
        }
        if let Some(count) = flags.number("--giant-line") {
            self.pour(count);
            self.print(b"\n");
        }
        if let Some(count) = flags.number("--bytes") {
            self.pour(count);
        }
    }

    fn pour(&self, count: u64) {
        let block = vec![b'x'; BLOCK];
        let mut left = count;
        while left > 0 {
            let part = left.min(BLOCK as u64) as usize;
            self.print(&block[..part]);
            left -= part as u64;
        }
    }

    /// Lines that mean nothing, for ever.
    fn noise(self: &Arc<Self>, line: impl Fn(u64) -> String + Send + 'static) {
        let Some(rate) = self.flags.number("--rate").filter(|rate| *rate > 0) else { return };
        let agent = Arc::clone(self);
        std::thread::spawn(move || {
            for n in 0.. {
                agent.print(line(n).as_bytes());
                std::thread::sleep(Duration::from_micros(1_000_000 / rate));
            }
        });
    }

    /// What is read, piece by piece as it comes; each piece is in the oracle first.
    fn read(&self, mut take: impl FnMut(&[u8])) {
        let mut oracle = self.flags.text("--oracle").map(|path| {
            OpenOptions::new().create(true).append(true).open(format!("{path}.in")).expect("an oracle can be written")
        });
        if self.flags.has("--deaf") {
            loop {
                std::thread::park();
            }
        }
        let pause = self.flags.number("--slow-read").map(Duration::from_millis);
        let mut block = vec![0; if pause.is_some() { 4096 } else { BLOCK }];
        let mut stdin = io::stdin();
        loop {
            match stdin.read(&mut block) {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    if let Some(oracle) = &mut oracle {
                        oracle.write_all(&block[..count]).expect("an oracle can be written");
                    }
                    take(&block[..count]);
                    if let Some(pause) = pause {
                        std::thread::sleep(pause);
                    }
                }
            }
        }
    }

    fn lines(self: &Arc<Self>) -> Lines {
        let (say, heard): (SyncSender<Value>, _) = sync_channel(10_000);
        let agent = Arc::clone(self);
        std::thread::spawn(move || {
            let mut carry = Vec::new();
            agent.read(|bytes| {
                for byte in bytes {
                    if *byte != b'\n' {
                        carry.push(*byte);
                        continue;
                    }
                    match serde_json::from_slice(&carry) {
                        Ok(frame) => drop(say.send(frame)),
                        Err(error) => agent.turn(&format!("garbage {error}: {}", String::from_utf8_lossy(&carry))),
                    }
                    carry.clear();
                }
            });
        });
        Lines { heard, later: Vec::new() }
    }

    fn ends_after(&self, turns: u64) -> bool {
        self.flags.number("--die-after").is_some_and(|max| turns >= max)
    }
}

/// In the middle of everything, as a CLI does.
#[expect(clippy::disallowed_methods, reason = "an end without any cleaning up is what is played")]
fn die(code: i32) -> ! {
    std::process::exit(code)
}

/// Through the descriptor and not through a buffer of the standard library.
fn stdout() -> File {
    use std::os::fd::AsFd as _;
    File::from(io::stdout().as_fd().try_clone_to_owned().expect("there is a stdout"))
}

fn child(script: &str) {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = command.spawn();
}

struct Lines {
    heard: Receiver<Value>,
    /// Heard while something else was waited for.
    later: Vec<Value>,
}

impl Lines {
    fn next(&mut self) -> Option<Value> {
        if self.later.is_empty() { self.heard.recv().ok() } else { Some(self.later.remove(0)) }
    }

    /// The first that is meant; what comes before it is kept.
    fn wait(&mut self, is_meant: impl Fn(&Value) -> bool) -> Option<Value> {
        if let Some(at) = self.later.iter().position(&is_meant) {
            return Some(self.later.remove(at));
        }
        loop {
            let frame = self.heard.recv().ok()?;
            if is_meant(&frame) {
                return Some(frame);
            }
            self.later.push(frame);
        }
    }

    /// The same within a time.
    fn wait_for(&mut self, time: Duration, is_meant: impl Fn(&Value) -> bool) -> Option<Value> {
        if let Some(at) = self.later.iter().position(&is_meant) {
            return Some(self.later.remove(at));
        }
        let until = std::time::Instant::now() + time;
        loop {
            match self.heard.recv_timeout(until.saturating_duration_since(std::time::Instant::now())) {
                Ok(frame) if is_meant(&frame) => return Some(frame),
                Ok(frame) => self.later.push(frame),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

/// What the words of a prompt want, in their order.
enum Act {
    Ask,
    /// To change a file.
    Edit,
    /// Two questions in one request.
    Quiz,
    Say(usize),
    Sleep(Duration),
    Hold,
    Compact,
    Die,
}

fn acts(prompt: &str) -> Vec<Act> {
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let act = |word: &str| match word.split_once(':') {
        Some(("say", count)) => Some(Act::Say(number(count) as usize)),
        Some(("sleep", ms)) => Some(Act::Sleep(Duration::from_millis(number(ms)))),
        None if word == "ask" => Some(Act::Ask),
        None if word == "edit" => Some(Act::Edit),
        None if word == "quiz" => Some(Act::Quiz),
        None if word == "hold" => Some(Act::Hold),
        None if word == "compact" => Some(Act::Compact),
        None if word == "die" => Some(Act::Die),
        _ => None,
    };
    prompt.split_whitespace().filter_map(act).collect()
}

/// The tool it asks to use, and with what.
fn wanted(act: &Act, asks: u64) -> (&'static str, Value) {
    match act {
        Act::Edit => {
            let (old, new) = ("let a = 1;\nlet b = 2;\n", "let a = 1;\nlet b = 3;\n");
            ("Edit", json!({ "file_path": "src/main.rs", "old_string": old, "new_string": new }))
        }
        Act::Quiz => {
            let choice = |label: &str| json!({ "label": label, "description": format!("what {label} means") });
            let colour = json!({ "question": "Which colour?", "options": [choice("red"), choice("blue")] });
            let size = json!({ "question": "Which size?", "options": [choice("small"), choice("large")] });
            ("AskUserQuestion", json!({ "questions": [colour, size] }))
        }
        _ => ("Bash", json!({ "command": format!("touch {asks}") })),
    }
}

fn claude(agent: &Arc<Agent>) {
    let mut lines = agent.lines();
    let resumed = agent.flags.text("--resume").map(str::to_owned);
    let session = resumed.clone().or(agent.flags.text("--session-id").map(str::to_owned)).unwrap_or("fake".into());
    if session.contains("unknown") {
        let errors = [format!("No conversation found with session ID: {session}")];
        agent
            .say(&json!({ "type": "result", "subtype": "error_during_execution", "is_error": true, "errors": errors }));
        die(1);
    }
    agent.noise(|n| format!("{{\"type\":\"system\",\"subtype\":\"hook_progress\",\"n\":{n}}}\n"));
    let (mut turns, mut asks) = (0, 0);
    let is = |frame: &Value, kind: &str, subtype: &str| frame["type"] == kind && frame["request"]["subtype"] == subtype;
    while let Some(frame) = lines.next() {
        let acknowledge = |frame: &Value| {
            let commands = match frame["request"]["subtype"] == "initialize" {
                true => json!({ "commands": [
                    { "name": "review", "description": "Look through what was changed", "argumentHint": "[path]" },
                    { "name": "compact", "description": "Shorten the conversation", "argumentHint": "" },
                ] }),
                false => json!({}),
            };
            let response = json!({ "subtype": "success", "request_id": frame["request_id"], "response": commands });
            agent.say(&json!({ "type": "control_response", "response": response }));
        };
        if frame["type"] == "control_request" {
            acknowledge(&frame);
            continue;
        }
        if frame["type"] != "user" {
            continue;
        }
        turns += 1;
        let prompt = frame["message"]["content"][0]["text"].as_str().unwrap_or_default().to_owned();
        let init = json!({ "type": "system", "subtype": "init", "session_id": session, "model": "fake", "permissionMode": "default" });
        agent.say(&init);
        agent.say(&json!({ "type": "user", "isReplay": true, "uuid": frame["uuid"], "message": frame["message"] }));
        let id = format!("msg-{turns}");
        agent.say(&json!({ "type": "stream_event", "event": { "type": "message_start", "message": { "id": id } } }));
        agent.say(&json!({ "type": "stream_event", "event": { "type": "content_block_start", "index": 0 } }));
        let mut interrupted = false;
        for act in acts(&prompt) {
            match act {
                Act::Say(count) => {
                    let delta = json!({ "type": "text_delta", "text": "s".repeat(count) });
                    let event = json!({ "type": "content_block_delta", "index": 0, "delta": delta });
                    agent.say(&json!({ "type": "stream_event", "event": event }));
                }
                Act::Ask | Act::Edit | Act::Quiz => {
                    asks += 1;
                    let request_id = format!("perm-{asks}");
                    let (name, input) = wanted(&act, asks);
                    let request = json!({
                        "subtype": "can_use_tool", "tool_name": name, "input": input,
                        "tool_use_id": format!("toolu-{asks}"), "permission_suggestions": [],
                    });
                    let tool = json!({ "type": "tool_use", "id": format!("toolu-{asks}"), "name": name, "input": request["input"] });
                    let message = json!({ "id": id, "model": "fake", "content": [tool] });
                    agent.say(&json!({ "type": "assistant", "message": message }));
                    agent.say(&json!({ "type": "control_request", "request_id": request_id, "request": request }));
                    let answered = lines.wait(|frame| {
                        frame["response"]["request_id"] == request_id.as_str()
                            || is(frame, "control_request", "interrupt")
                    });
                    let Some(answered) = answered else { return };
                    if answered["type"] == "control_request" {
                        acknowledge(&answered);
                        interrupted = true;
                        break;
                    }
                    let behavior = answered["response"]["response"]["behavior"].clone();
                    agent.turn(&format!("answered {request_id} {behavior}"));
                    let result =
                        json!({ "type": "tool_result", "tool_use_id": format!("toolu-{asks}"), "content": "ok" });
                    agent.say(&json!({ "type": "user", "message": { "role": "user", "content": [result] } }));
                }
                Act::Sleep(time) => std::thread::sleep(time),
                Act::Hold => {
                    if let Some(frame) = lines.wait(|frame| is(frame, "control_request", "interrupt")) {
                        acknowledge(&frame);
                        interrupted = true;
                        break;
                    }
                    return;
                }
                Act::Compact => {
                    agent.say(&json!({ "type": "system", "subtype": "status", "status": "compacting" }));
                    let metadata = json!({ "trigger": "auto", "pre_tokens": 100_000 });
                    agent
                        .say(&json!({ "type": "system", "subtype": "compact_boundary", "compact_metadata": metadata }));
                }
                Act::Die => die(3),
            }
        }
        let content = [json!({ "type": "text", "text": format!("done {turns}") })];
        let usage = json!({ "input_tokens": 3, "output_tokens": 5 });
        agent.say(&json!({ "type": "assistant", "message": { "id": id, "model": "fake", "content": content, "usage": usage } }));
        let subtype = if interrupted { "error_during_execution" } else { "success" };
        agent.say(&json!({ "type": "result", "subtype": subtype, "is_error": interrupted, "session_id": session, "usage": usage }));
        agent.turn(&format!("turn {}", frame["uuid"].as_str().unwrap_or_default()));
        if agent.ends_after(turns) {
            return;
        }
    }
}

fn codex(agent: &Arc<Agent>) {
    let mut lines = agent.lines();
    agent.noise(|n| format!("{{\"method\":\"account/updated\",\"params\":{{\"n\":{n}}}}}\n"));
    let (mut turns, mut asks) = (0, 0);
    let thread = "thread-1";
    while let Some(frame) = lines.next() {
        let answer = |result: Value| agent.say(&json!({ "id": frame["id"], "result": result }));
        let tell = |method: &str, params: Value| agent.say(&json!({ "method": method, "params": params }));
        match frame["method"].as_str().unwrap_or_default() {
            "initialize" => answer(json!({ "userAgent": "fake" })),
            "thread/resume" if frame["params"]["threadId"].as_str().is_some_and(|id| id.contains("unknown")) => {
                agent.say(&json!({ "id": frame["id"], "error": { "code": -32600, "message": "no rollout found" } }));
            }
            "thread/resume" => {
                answer(json!({ "thread": { "id": frame["params"]["threadId"], "turns": [] }, "model": "fake" }))
            }
            "thread/start" => answer(json!({ "thread": { "id": thread, "turns": [] }, "model": "fake" })),
            "turn/start" => {
                turns += 1;
                let turn = format!("turn-{turns}");
                let on = json!({ "id": turn, "items": [], "status": "inProgress" });
                let prompt = frame["params"]["input"][0]["text"].as_str().unwrap_or_default().to_owned();
                answer(json!({ "turn": on }));
                tell("turn/started", json!({ "threadId": thread, "turn": on }));
                let mut status = "completed";
                for act in acts(&prompt) {
                    match act {
                        Act::Say(count) => {
                            let delta = "s".repeat(count);
                            let params = json!({ "threadId": thread, "turnId": turn, "itemId": format!("item-{turns}"), "delta": delta });
                            tell("item/agentMessage/delta", params);
                        }
                        Act::Ask | Act::Edit | Act::Quiz => {
                            asks += 1;
                            // The first is 0, which is an id like any other.
                            let id = asks - 1;
                            let params = json!({
                                "threadId": thread, "turnId": turn, "itemId": format!("exec-{asks}"), "startedAtMs": 0,
                                "command": format!("touch {asks}"), "cwd": "/", "reason": null,
                                "availableDecisions": ["accept", "cancel"],
                            });
                            agent.say(&json!({ "id": id, "method": "item/commandExecution/requestApproval", "params": params }));
                            let Some(answered) = lines.wait(|frame| frame["id"] == id && frame.get("method").is_none())
                            else {
                                return;
                            };
                            agent.turn(&format!("answered {id} {}", answered["result"]["decision"]));
                        }
                        Act::Sleep(time) => std::thread::sleep(time),
                        Act::Hold => {
                            let Some(stop) = lines.wait(|frame| frame["method"] == "turn/interrupt") else { return };
                            agent.say(&json!({ "id": stop["id"], "result": {} }));
                            status = "interrupted";
                            break;
                        }
                        Act::Compact => {}
                        Act::Die => die(3),
                    }
                }
                let over = json!({ "id": turn, "items": [], "status": status });
                tell("turn/completed", json!({ "threadId": thread, "turn": over }));
                agent.turn(&format!("turn {}", frame["params"]["clientUserMessageId"].as_str().unwrap_or_default()));
                if agent.ends_after(turns) {
                    return;
                }
            }
            _ => {}
        }
    }
}

fn acp(agent: &Arc<Agent>) {
    let mut lines = agent.lines();
    let update = |session: &str, update: Value| json!({ "jsonrpc": "2.0", "method": "session/update", "params": { "sessionId": session, "update": update } });
    let noise = json!({ "sessionUpdate": "available_commands_update", "availableCommands": [] });
    let noise = format!("{}\n", update("session-1", noise));
    agent.noise(move |_| noise.clone());
    let (mut turns, mut asks) = (0, 0);
    while let Some(frame) = lines.next() {
        let answer = |result: Value| agent.say(&json!({ "jsonrpc": "2.0", "id": frame["id"], "result": result }));
        let refuse = |code: i64, message: &str| {
            agent.say(&json!({ "jsonrpc": "2.0", "id": frame["id"], "error": { "code": code, "message": message } }));
        };
        match frame["method"].as_str().unwrap_or_default() {
            "initialize" => {
                answer(
                    json!({ "protocolVersion": 1, "agentCapabilities": { "loadSession": true }, "authMethods": [] }),
                );
            }
            "session/new" => answer(json!({ "sessionId": "session-1" })),
            "session/load" => {
                let session = frame["params"]["sessionId"].as_str().unwrap_or_default();
                if session.contains("unknown") {
                    refuse(-32002, "no such session");
                    continue;
                }
                let text = json!({ "type": "text", "text": "told before" });
                agent.say(&update(session, json!({ "sessionUpdate": "user_message_chunk", "content": text })));
                agent.say(&update(session, json!({ "sessionUpdate": "agent_message_chunk", "content": text })));
                answer(json!({}));
            }
            "session/prompt" => {
                turns += 1;
                let session = frame["params"]["sessionId"].as_str().unwrap_or_default().to_owned();
                let prompt = frame["params"]["prompt"][0]["text"].as_str().unwrap_or_default().to_owned();
                let say = |text: &str| {
                    let content = json!({ "type": "text", "text": text });
                    agent.say(&update(&session, json!({ "sessionUpdate": "agent_message_chunk", "content": content })));
                };
                say("begun ");
                let mut reason = "end_turn";
                for act in acts(&prompt) {
                    match act {
                        Act::Say(count) => say(&"s".repeat(count)),
                        Act::Ask | Act::Edit | Act::Quiz => {
                            asks += 1;
                            let id = asks - 1;
                            let tool = json!({ "toolCallId": format!("call-{asks}"), "title": format!("touch {asks}"), "kind": "execute" });
                            let options = json!([
                                { "optionId": "allow", "name": "Allow", "kind": "allow_once" },
                                { "optionId": "deny", "name": "Deny", "kind": "reject_once" },
                            ]);
                            let params = json!({ "sessionId": session, "toolCall": tool, "options": options });
                            agent.say(&json!({ "jsonrpc": "2.0", "id": id, "method": "session/request_permission", "params": params }));
                            let Some(answered) = lines.wait(|frame| frame["id"] == id && frame.get("method").is_none())
                            else {
                                return;
                            };
                            agent.turn(&format!("answered {id} {}", answered["result"]["outcome"]));
                        }
                        Act::Sleep(time) => {
                            if lines.wait_for(time, |frame| frame["method"] == "session/cancel").is_some() {
                                reason = "cancelled";
                                break;
                            }
                        }
                        Act::Hold => {
                            let Some(_) = lines.wait(|frame| frame["method"] == "session/cancel") else { return };
                            reason = "cancelled";
                            break;
                        }
                        Act::Compact => {}
                        Act::Die => die(3),
                    }
                }
                answer(json!({ "stopReason": reason }));
                agent.turn(&format!("turn {}", word(&prompt)));
                if agent.ends_after(turns) {
                    return;
                }
            }
            _ if frame.get("id").is_some() && frame.get("method").is_some() => refuse(-32601, "not known"),
            _ => {}
        }
    }
}

fn word(prompt: &str) -> &str {
    prompt.split_whitespace().find(|word| word.starts_with("m-")).unwrap_or_default()
}

fn pty(agent: &Arc<Agent>) {
    agent.noise(|n| format!("line {n:08} \u{1b}[3{}mcolour\u{1b}[0m\r\n", n % 8));
    // What is typed is shown, as by any program that somebody types into.
    agent.read(|bytes| agent.print(String::from_utf8_lossy(bytes).replace('\r', "\r\n").as_bytes()));
}

/// A composer that takes pastes in brackets, shows them, and submits on Enter.
fn tui(agent: &Arc<Agent>) {
    agent.print(b"\x1b[?2004h\x1b[2J\x1b[Hready\r\n> ");
    agent.noise(|n| format!("\x1b7\x1b[1;1H{n:08}\x1b8"));
    let (mut held, mut composer, mut pasting) = (Vec::new(), String::new(), false);
    let mut swallows = agent.flags.has("--swallow-enter");
    agent.read(|bytes| {
        held.extend_from_slice(bytes);
        loop {
            let rest = String::from_utf8_lossy(&held).into_owned();
            let (taken, shown) = if let Some(after) = rest.strip_prefix("\x1b[200~") {
                pasting = true;
                (rest.len() - after.len(), String::new())
            } else if let Some(after) = rest.strip_prefix("\x1b[201~") {
                pasting = false;
                (rest.len() - after.len(), String::new())
            } else if rest.starts_with('\x1b') && rest.len() < 6 {
                return;
            } else if rest.starts_with('\r') && !pasting {
                if std::mem::take(&mut swallows) {
                    agent.turn("swallowed");
                    (1, String::new())
                } else {
                    agent.turn(&format!("submitted {composer}"));
                    composer.clear();
                    (1, "\r\n> ".to_owned())
                }
            } else if let Some(c) = rest.chars().next() {
                if !pasting {
                    agent.turn("typed outside of a paste");
                }
                composer.push(c);
                (c.len_utf8(), if c == '\n' { "\r\n".to_owned() } else { c.to_string() })
            } else {
                return;
            };
            held.drain(..taken);
            if !shown.is_empty() {
                agent.print(shown.as_bytes());
            }
        }
    });
}
