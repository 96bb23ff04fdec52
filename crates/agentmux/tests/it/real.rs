//! The real CLIs against a fake model: what their protocols do, and not what we believe they do. A CLI that is not
//! installed is skipped, aloud; `cargo xtask test --real-agents` installs them.

use std::path::PathBuf;
use std::time::Duration;

use amux_sys::process;
use amux_sys::signals::{self, Signal};
use amux_testkit::model::{Model, Request, cli};
use serde_json::Value;

use crate::harness::{World, until};

const KINDS: &str = include_str!("../../../amux-agents/src/kinds.toml");

/// For a fact that a CLI brings about, which starts in seconds on a busy machine.
const PATIENCE: &str = "60s";

/// Of a conversation that never was.
const UNKNOWN: &str = "99999999-0000-4000-8000-000000000000";

/// A world in which one kind of agent is a real program that talks to a model of ours.
struct Real {
    world: World,
    model: Model,
    kind: &'static str,
    env: cli::Env,
    args: Vec<String>,
    project: PathBuf,
}

impl Real {
    /// `None` where this CLI is not installed.
    fn new(kind: &'static str) -> Option<Self> {
        let (named, program) = match kind {
            "claude-acp" => ("claude-agent-acp", "claude-agent-acp"),
            kind => (kind, kind),
        };
        let Some(path) = cli::real_agents_dir().and_then(|dir| cli::program(&dir, program)) else {
            eprintln!("SKIPPED real {named}: not installed (cargo xtask test --real-agents)");
            return None;
        };
        let world = World::new();
        let model = Model::start().unwrap();
        let home = world.home.dir.clone();
        let (env, args) = match kind {
            "claude" => (cli::claude(&home, &model.url()), &[][..]),
            "claude-acp" => (cli::claude_agent_acp(&home, &model.url()), &[][..]),
            "codex" => (cli::codex(&home, &model.url()).unwrap(), &[][..]),
            "opencode" => (cli::opencode(&home, &model.url()).unwrap(), &[][..]),
            "gemini" => (cli::gemini(&home, &model.url()).unwrap(), cli::GEMINI_ARGS),
            "qwen" => (cli::qwen(&home, &model.url()).unwrap(), &[][..]),
            other => panic!("nothing is known of {other}"),
        };
        let kinds = KINDS.replace(&format!("program = \"{program}\""), &format!("program = \"{}\"", path.display()));
        std::fs::create_dir_all(home.join("config")).unwrap();
        std::fs::write(home.join("config/agents.toml"), kinds).unwrap();
        let project = home.join("project");
        std::fs::create_dir_all(&project).unwrap();
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Some(Self { world, model, kind, env, args, project })
    }

    /// Codex in the same world, if that is installed too: what it needs to run there.
    fn codex_beside(&self) -> Option<cli::Env> {
        let Some(path) = cli::real_agents_dir().and_then(|dir| cli::program(&dir, "codex")) else {
            eprintln!("SKIPPED real codex: not installed (cargo xtask test --real-agents)");
            return None;
        };
        let kinds = self.world.home.dir.join("config/agents.toml");
        let text = std::fs::read_to_string(&kinds).unwrap();
        let ours = format!("program = \"{}\"", path.display());
        std::fs::write(kinds, text.replace("program = \"codex\"", &ours)).unwrap();
        Some(cli::codex(&self.world.home.dir, &self.model.url()).unwrap())
    }

    fn create(&self, name: &str, more: &[&str]) -> Value {
        self.create_as(self.kind, &self.env, name, more)
    }

    fn create_as(&self, kind: &str, env: &cli::Env, name: &str, more: &[&str]) -> Value {
        let cwd = self.project.to_string_lossy().into_owned();
        let mut words: Vec<String> = ["new", name, "--agent", kind, "--cwd", &cwd].map(str::to_owned).to_vec();
        words.extend(env.iter().flat_map(|(key, value)| ["--env".to_owned(), format!("{key}={value}")]));
        words.extend(more.iter().map(|word| (*word).to_owned()));
        if !self.args.is_empty() {
            words.push("--".to_owned());
            words.extend(self.args.iter().cloned());
        }
        self.world.answer(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// A running agent.
    fn begin(&self, name: &str, more: &[&str]) -> Agent<'_> {
        let answer = self.create(name, more);
        assert_eq!(answer["ok"], true, "{answer}");
        Agent { real: self, name: name.to_owned() }
    }

    /// How often the model was asked this in the conversation, the asking after a tool not counted.
    fn asked(&self, text: &str) -> usize {
        self.turns().iter().filter(|request| request.asked.user_text.contains(text)).count()
    }

    fn turns(&self) -> Vec<Request> {
        let turns = self.model.requests().into_iter();
        turns.filter(|request| request.is_conversation() && request.asked.tool_output.is_none()).collect()
    }

    fn newest(&self, text: &str) -> Request {
        self.turns().into_iter().rfind(|request| request.asked.user_text.contains(text)).expect("the model was asked")
    }
}

struct Agent<'a> {
    real: &'a Real,
    name: String,
}

impl Agent<'_> {
    fn json(&self, verb: &str, more: &[&str]) -> Value {
        self.real.world.json(&[&[verb, self.name.as_str()], more].concat())
    }

    fn show(&self) -> Value {
        self.real.world.agent(&self.name)
    }

    fn pid(&self) -> u32 {
        u32::try_from(self.show()["pid"].as_u64().expect("it runs")).unwrap()
    }

    fn state(&self) -> String {
        self.show()["state"].as_str().unwrap_or_default().to_owned()
    }

    fn wait(&self, state: &str) {
        let answer = self.real.world.answer(&["wait", &self.name, "--for", state, "--timeout", PATIENCE]);
        assert_eq!(answer["ok"], true, "{state}: {answer} {:#}", self.story());
    }

    /// Puts a text to it; a turn with it has begun.
    fn tell(&self, text: &str) {
        let answer = self.send(text, "begun");
        assert_eq!(answer["ok"], true, "{text}: {answer} {:#}", self.story());
    }

    fn send(&self, text: &str, stage: &str) -> Value {
        self.real.world.answer(&["send", &self.name, "-m", text, "--wait", stage, "--timeout", PATIENCE])
    }

    /// A whole turn.
    fn work(&self, text: &str) {
        self.tell(text);
        self.wait("idle");
    }

    /// Its turn is in the middle of an answer.
    fn begin_slowly(&self) {
        self.tell("SLOW:200 words");
        let is_slow = |request: &Request| request.asked.user_text.contains("SLOW");
        self.real.model.wait_for_request(is_slow, Duration::from_secs(60)).expect("the model is asked");
    }

    /// What its newest run said and did.
    fn items(&self) -> Vec<Value> {
        self.items_of(&[])
    }

    fn items_of(&self, run: &[&str]) -> Vec<Value> {
        let out = self.real.world.run(&[&["log", self.name.as_str(), "--raw"], run].concat());
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["item"].clone()).collect()
    }

    fn until_item(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        until(what, || self.items().into_iter().find(&is_it))
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&self.real.world.run(&["log", &self.name]).stdout).into_owned()
    }

    fn said(&self, text: &str) -> usize {
        let says = |item: &&Value| item["type"] == "message" && item["text"].as_str().unwrap_or("").contains(text);
        self.items().iter().filter(says).count()
    }

    /// Of each turn that has ended, how.
    fn ends(&self) -> Vec<String> {
        let ended =
            |item: &Value| (item["type"] == "turn_ended").then(|| item["end"]["type"].as_str().unwrap().to_owned());
        self.items().iter().filter_map(ended).collect()
    }

    /// For a failure: what is known.
    fn story(&self) -> Value {
        serde_json::json!({ "agent": self.show(), "log": self.log(), "said": self.complaints() })
    }

    fn complaints(&self) -> String {
        let mut found = Vec::new();
        let mut dirs = vec![self.real.world.home.state()];
        while let Some(dir) = dirs.pop() {
            for path in std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
                if path.is_dir() {
                    dirs.push(path);
                } else if path.to_string_lossy().contains("err") {
                    found.push(String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned());
                }
            }
        }
        found.concat().chars().take(4000).collect()
    }

    fn session(&self) -> String {
        self.show()["session_id"].as_str().expect("a conversation is open").to_owned()
    }

    /// What it asks now.
    fn asks(&self) -> Value {
        until("something is asked", || {
            let requests = self.real.world.json(&["requests"]);
            requests.as_array().unwrap().first().cloned()
        })
    }

    fn id_of_ask(&self) -> String {
        self.asks()["id"].as_str().unwrap().to_owned()
    }

    /// What it said is in the files of its CLI. Some write it down a tenth of a second after they have told it, and
    /// whoever is killed in between has never said it.
    fn has_kept(&self, said: &str) {
        let ours = self.real.world.home.state();
        until("what was said is kept", || {
            let mut dirs = vec![self.real.world.home.dir.clone()];
            while let Some(dir) = dirs.pop() {
                for path in std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
                    let kind = path.symlink_metadata().ok()?.file_type();
                    if kind.is_dir() && path != ours {
                        dirs.push(path);
                    } else if kind.is_file() && has(&std::fs::read(path).unwrap_or_default(), said) {
                        return Some(());
                    }
                }
            }
            None
        });
    }

    fn kill(&self) -> Vec<u32> {
        let tree = self.tree();
        signals::send(self.pid(), Signal::Kill).unwrap();
        tree
    }

    /// Everything that carries the tag of its run.
    fn tree(&self) -> Vec<u32> {
        let uid = self.show()["uid"].as_str().unwrap().to_owned();
        let pids = std::fs::read_dir("/proc").unwrap();
        let pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let is_of_it = |pid: &u32| {
            let tag = process::env_var(*pid, "AGENTMUX_TAG").unwrap_or_default();
            tag.to_string_lossy().starts_with(&uid)
        };
        let lives = |pid: &u32| process::identity(*pid).is_some_and(|found| process::alive(&found));
        pids.filter(is_of_it).filter(lives).collect()
    }

    fn is_gone(&self) {
        until("nothing of it is left", || self.tree().is_empty().then_some(()));
    }
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn is_session(how: &'static str) -> impl Fn(&Value) -> bool {
    move |item| item["type"] == "session" && item["session"]["how"]["type"] == how
}

/// The promises every CLI is held to.
fn two_turns_in_one_process(real: &Real) {
    let agent = real.begin("scout", &[]);
    agent.work("hello one");
    let pid = agent.pid();
    agent.work("hello two");
    assert_eq!(agent.pid(), pid);
    assert_eq!((real.asked("hello one"), real.asked("hello two")), (1, 1));
    assert_eq!((agent.said("FAKE-REPLY: hello one"), agent.said("FAKE-REPLY: hello two")), (1, 1), "{}", agent.log());
    assert!(agent.ends().len() == 2 && agent.ends().iter().all(|end| end == "done"), "{:?}", agent.ends());
    assert!(agent.items().iter().any(is_session("new")));
    let messages = |text: &str| real.newest(text).asked.messages;
    assert!(messages("hello two") > messages("hello one"));
}

fn an_interrupt_ends_the_turn_and_no_more(real: &Real) {
    let agent = real.begin("scout", &[]);
    agent.begin_slowly();
    let pid = agent.pid();
    agent.json("interrupt", &[]);
    agent.wait("idle");
    assert_eq!(agent.ends(), ["interrupted"], "{}", agent.log());
    agent.work("hello after");
    assert_eq!((agent.said("FAKE-REPLY: hello after"), agent.pid()), (1, pid), "{}", agent.log());
}

fn a_killed_process_is_told_and_its_conversation_goes_on(real: &Real) {
    let (agent, session) = a_process_is_killed_in_a_turn_and_started_again(real);
    agent.work("hello again");
    assert_eq!(agent.session(), session);
    agent.until_item("the conversation goes on", is_session("resumed"));
    // It remembers: the model is shown what was said before.
    assert!(real.newest("hello again").asked.messages > real.newest("hello before").asked.messages);
    assert_eq!(agent.said("FAKE-REPLY: hello before"), 0, "the past is not told again: {}", agent.log());
    assert_eq!(agent.said("FAKE-REPLY: hello again"), 1);
}

fn a_process_is_killed_in_a_turn_and_started_again(real: &Real) -> (Agent<'_>, String) {
    let agent = real.begin("scout", &[]);
    agent.work("hello before");
    agent.has_kept("FAKE-REPLY: hello before");
    let session = agent.session();
    agent.begin_slowly();
    agent.kill();
    agent.wait("offline,failed");
    assert_eq!(agent.ends().last().map(String::as_str), Some("exited"), "{}", agent.log());
    agent.is_gone();
    agent.json("start", &[]);
    (agent, session)
}

/// One fresh conversation, which says which one was lost, and which the next run goes on with.
fn a_conversation_that_is_gone_is_said(real: &Real, id: &str) {
    let agent = real.begin("scout", &["--resume", id]);
    let sent = agent.send("hello anyway", "begun");
    assert_eq!(sent["ok"], true, "{sent} {:#}", agent.story());
    agent.wait("idle");
    assert_eq!((real.asked("hello anyway"), agent.said("FAKE-REPLY: hello anyway")), (1, 1), "{}", agent.log());
    let fresh = agent.until_item("a fresh conversation", is_session("fresh"));
    assert_eq!(fresh["session"]["how"]["attempted"], id);
    assert!(agent.log().contains(&format!("{id} is lost")), "{}", agent.log());
    // Some open it under the id they were asked for.
    assert_eq!(fresh["session"]["id"], agent.session());
}

fn permissions_are_asked_and_obeyed(real: &Real, more: &[&str]) {
    let agent = real.begin("scout", more);
    let file = real.project.join("fake-risky-file");
    agent.tell("RISKY one");
    agent.wait("needs_permission");
    real.world.json(&["deny", &agent.id_of_ask(), "-m", "Use another file."]);
    agent.wait("idle");
    assert!(!file.exists(), "what is denied does not happen");
    agent.tell("RISKY two");
    agent.wait("needs_permission");
    real.world.json(&["approve", &agent.id_of_ask()]);
    agent.wait("idle");
    assert!(file.exists(), "{}", agent.log());
    assert!(real.world.json(&["requests"]).as_array().unwrap().is_empty());
}

macro_rules! real {
    ($kind:literal) => {
        match Real::new($kind) {
            Some(real) => real,
            None => return,
        }
    };
}

mod claude {
    use super::*;

    #[test]
    fn two_turns_are_one_process_and_what_they_used_is_known() {
        let real = real!("claude");
        two_turns_in_one_process(&real);
        let agent = Agent { real: &real, name: "scout".to_owned() };
        let shown = agent.show();
        assert!(shown["cost_micro_usd"].as_u64() > Some(0) && shown["context_used"].as_u64() > Some(0), "{shown}");
    }

    #[test]
    fn an_interrupted_stream_is_one_interrupted_turn() {
        an_interrupt_ends_the_turn_and_no_more(&real!("claude"));
    }

    #[test]
    fn a_killed_process_is_resumed_and_remembers() {
        a_killed_process_is_told_and_its_conversation_goes_on(&real!("claude"));
    }

    #[test]
    fn a_conversation_it_does_not_know_becomes_a_fresh_one_once() {
        a_conversation_that_is_gone_is_said(&real!("claude"), UNKNOWN);
    }

    #[test]
    fn permissions_are_approved_and_denied_with_a_word() {
        let real = real!("claude");
        permissions_are_asked_and_obeyed(&real, &[]);
        let told = |request: &Request| request.asked.tool_output.as_deref() == Some("Use another file.");
        assert!(real.model.requests().iter().any(told), "the word reaches the model");
    }

    #[test]
    fn a_question_is_answered_and_one_that_dies_with_its_process_is_withdrawn() {
        let real = real!("claude");
        let agent = real.begin("scout", &[]);
        agent.tell("ASKQ please");
        agent.wait("needs_answer");
        real.world.json(&["answer", &agent.id_of_ask(), "Blue"]);
        agent.wait("idle");
        assert_eq!(agent.said("\"Which colour?\"=\"Blue\""), 1, "{}", agent.log());
        agent.tell("ASKQ again");
        agent.wait("needs_answer");
        let ask = agent.id_of_ask();
        agent.kill();
        agent.wait("offline,failed");
        assert!(real.world.json(&["requests"]).as_array().unwrap().is_empty());
        assert_eq!(real.world.code(&["answer", &ask, "Blue"]), 7, "nobody asks any more");
    }

    #[test]
    fn a_task_in_the_background_begins_a_turn_when_it_ends() {
        let real = real!("claude");
        let agent = real.begin("scout", &[]);
        agent.tell("BGBASH 3");
        agent.until_item("a turn that began by itself is over", |item| {
            item["type"] == "turn_ended" && item["turn"] == 2
        });
        let items = agent.items();
        let started = items.iter().find(|item| item["type"] == "turn_started" && item["turn"] == 2).unwrap();
        assert_eq!(started["trigger"], "task");
        agent.wait("idle");
        assert_eq!(agent.said("FAKE-NOTED"), 1);
    }

    #[test]
    fn what_a_sub_agent_does_is_below_its_call() {
        let real = real!("claude");
        let agent = real.begin("scout", &[]);
        agent.work("SPAWNSUB please");
        let items = agent.items();
        let tool = |name: &str| {
            let is_it = |item: &&Value| item["type"] == "tool_started" && item["tool"]["name"] == name;
            items.iter().find(is_it).unwrap_or_else(|| panic!("{name}: {}", agent.log()))["tool"].clone()
        };
        assert_eq!(tool("Bash")["parent"], tool("Agent")["id"]);
        assert!(agent.ends() == ["done"]);
    }

    #[test]
    fn a_model_that_fails_ends_the_turn_and_not_the_process() {
        let real = real!("claude");
        let agent = real.begin("scout", &["--env", "CLAUDE_CODE_MAX_RETRIES=0"]);
        let mut pids = std::collections::BTreeSet::new();
        for (status, state, class) in [
            (401, "needs_login", "auth"),
            (429, "rate_limited", "rate_limited"),
            (500, "idle", "overloaded"),
            (529, "idle", "overloaded"),
        ] {
            agent.tell(&format!("ERR{status} now"));
            agent.wait(state);
            let errors: Vec<Value> = agent.items().into_iter().filter(|item| item["type"] == "error").collect();
            assert_eq!(errors.last().unwrap()["error"]["class"], class, "{status}");
            agent.work(&format!("hello after {status}"));
            assert_eq!(agent.said(&format!("FAKE-REPLY: hello after {status}")), 1);
            pids.insert(agent.pid());
        }
        assert_eq!(pids.len(), 1, "one process went through all of it");
        assert_eq!(agent.ends().len(), 8);
    }

    #[test]
    fn a_stop_takes_the_tool_that_runs_with_it() {
        let real = real!("claude");
        let agent = real.begin("scout", &[]);
        agent.tell("LONGFG 300");
        agent.until_item("the tool runs", |item| item["type"] == "tool_started");
        until("its command runs", || (agent.tree().len() > 1).then_some(()));
        let tree = agent.tree();
        agent.json("stop", &["--grace", "6s"]);
        assert_eq!(agent.state(), "offline");
        agent.is_gone();
        let lives = |pid: &&u32| process::identity(**pid).is_some_and(|id| process::alive(&id));
        assert_eq!(tree.iter().filter(lives).count(), 0);
    }

    #[test]
    fn a_conversation_has_one_driver_until_that_one_is_gone() {
        let real = real!("claude");
        let scout = real.begin("scout", &[]);
        scout.work("hello one");
        scout.has_kept("FAKE-REPLY: hello one");
        let session = scout.session();
        let refused = real.create("other", &["--resume", &session]);
        assert_eq!(refused["ok"], false, "{refused}");
        let words = refused["error"]["message"].as_str().unwrap();
        assert!(words.contains("scout") && words.contains("driven by"), "{words}");
        scout.kill();
        scout.wait("offline,failed");
        let other = Agent { real: &real, name: "other".to_owned() };
        other.json("start", &[]);
        other.work("hello from the other");
        assert_eq!(other.session(), session);
        assert!(real.newest("hello from the other").asked.messages > real.newest("hello one").asked.messages);
    }

    /// What is in the transcript once: each text and each input.
    fn has_each_once(agent: &Agent<'_>, inputs: &[&str]) {
        let items = agent.items();
        for text in inputs {
            let is_it = |item: &&Value| item["type"] == "input" && item["text"] == *text;
            assert_eq!(items.iter().filter(is_it).count(), 1, "{text}: {}", agent.log());
            assert_eq!(agent.real.asked(text), 1, "{text}");
        }
        let of = |kind: &str| {
            let all = items.iter().filter(|item| item["type"] == kind);
            all.map(|item| item["turn"].as_u64().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(of("turn_started"), of("turn_ended"), "{}", agent.log());
    }

    #[test]
    fn a_turn_outlives_a_killed_server_and_a_restarted_one() {
        let real = real!("claude");
        let agent = real.begin("scout", &[]);
        agent.work("hello one");
        let (pid, run) = (agent.pid(), agent.show()["run"].clone());
        for (at, text) in ["SLOW:100 first", "SLOW:100 second"].into_iter().enumerate() {
            agent.tell(text);
            let srv = real.world.pid("pid");
            match at {
                0 => assert!(signals::send(srv, Signal::Kill).unwrap()),
                _ => drop(real.world.json(&["server", "restart"])),
            }
            until("another server serves", || {
                let status = real.world.answer(&["server", "status"]);
                (status["ok"] == true && status["data"]["pid"] != srv).then_some(())
            });
            agent.wait("idle");
            assert_eq!((agent.pid(), &agent.show()["run"]), (pid, &run));
            assert_eq!(agent.said("chunk-19"), at + 1, "{}", agent.log());
        }
        agent.work("hello two");
        has_each_once(&agent, &["hello one", "SLOW:100 first", "SLOW:100 second", "hello two"]);
        assert_eq!(agent.said("FAKE-REPLY: hello two"), 1);
        assert_eq!(agent.ends(), ["done"; 4]);
    }

    #[test]
    fn a_permission_outlives_a_killed_server_and_is_obeyed() {
        let real = real!("claude");
        let agent = real.begin("scout", &[]);
        agent.tell("RISKY please");
        agent.wait("needs_permission");
        let (ask, pid) = (agent.id_of_ask(), agent.pid());
        let srv = real.world.pid("pid");
        signals::send(srv, Signal::Kill).unwrap();
        until("another server serves", || {
            let status = real.world.answer(&["server", "status"]);
            (status["ok"] == true && status["data"]["pid"] != srv).then_some(())
        });
        assert_eq!((agent.id_of_ask(), agent.pid()), (ask.clone(), pid));
        real.world.json(&["approve", &ask]);
        agent.wait("idle");
        assert!(real.project.join("fake-risky-file").exists());
        has_each_once(&agent, &["RISKY please"]);
    }
}

/// Agents talk to each other by the tools they were handed.
mod talk {
    use super::*;

    /// One asks another, who answers; `meanwhile` happens while the other works on it.
    fn asks_and_is_answered(kind: &'static str, meanwhile: impl FnOnce(&World)) {
        let Some(real) = Real::new(kind) else { return };
        // One after the other: two of one kind that start at once may fight for the database of their CLI.
        let lead = real.begin("lead", &[]);
        lead.work("hello");
        let scout = real.begin("scout", &[]);
        scout.work("hello");
        let said = r#"MCP reply {"id": "@message", "text": "it is four"}"#;
        let question = serde_json::json!({ "to": "scout", "text": said, "timeout_ms": 60_000 });
        lead.tell(&format!("MCP ask {question}"));
        meanwhile(&real.world);
        lead.wait("idle");
        let heard = |request: &Request| request.asked.tool_output.as_ref().is_some_and(|it| it.contains("it is four"));
        assert!(real.model.requests().iter().any(heard), "{:#}", lead.story());
        let inbox = real.world.answer(&["inbox", "--agent", "scout", "--all"]);
        assert_eq!(inbox["data"][1]["stage"], "answered", "{inbox}");
        assert_eq!(inbox["data"][1]["from"], "lead@default", "under its own name");
        let asked = real.world.answer(&["requests"]);
        assert_eq!(asked["data"], serde_json::json!([]), "nobody had to allow it");
    }

    #[test]
    fn two_claudes_ask_and_answer() {
        asks_and_is_answered("claude", |_| ());
    }

    #[test]
    fn two_claudes_ask_and_answer_through_a_killed_server() {
        asks_and_is_answered("claude", |world| {
            signals::send(world.pid("pid"), Signal::Kill).unwrap();
        });
    }

    /// What is asked, answered and acknowledged among them, with the server killed while the answer is worked on.
    #[test]
    fn two_claudes_and_a_codex_talk_through_a_killed_server() {
        let real = real!("claude");
        let Some(env) = real.codex_beside() else { return };
        let (lead, scout) = (real.begin("lead", &[]), real.begin("scout", &[]));
        let made = real.create_as("codex", &env, "coder", &[]);
        assert_eq!(made["ok"], true, "{made}");
        let coder = Agent { real: &real, name: "coder".to_owned() };
        [&lead, &scout, &coder].iter().for_each(|agent| agent.work("hello"));
        let said = r#"MCP reply {"id": "@message", "text": "it is four"}"#;
        let question = serde_json::json!({ "to": "coder", "text": said, "timeout_ms": 60_000 });
        lead.tell(&format!("MCP ask {question}"));
        signals::send(real.world.pid("pid"), Signal::Kill).unwrap();
        lead.wait("idle");
        let heard = |request: &Request| request.asked.tool_output.as_ref().is_some_and(|it| it.contains("it is four"));
        assert!(real.model.requests().iter().any(heard), "{:#}", lead.story());
        let acknowledges = r#"MCP ack {"ids": ["@message"]}"#;
        coder.work(&format!("MCP send {}", serde_json::json!({ "to": ["scout"], "text": acknowledges })));
        let acked = until("scout has said that it has it", || {
            let inbox = real.world.json(&["inbox", "--agent", "scout", "--all"]);
            let mail = inbox.as_array().unwrap().iter().find(|mail| mail["from"] == "coder@default").cloned()?;
            let shown = real.world.json(&["msg", "show", mail["id"].as_str().unwrap()]);
            let ladder = shown["deliveries"][0]["history"].as_array().unwrap().clone();
            ladder.into_iter().find(|passed| passed["stage"] == "acked")
        });
        assert_eq!(acked["evidence"], "the recipient said so");
        let inbox = real.world.answer(&["inbox", "--agent", "coder", "--all"]);
        assert!(inbox["data"].as_array().unwrap().iter().any(|mail| mail["stage"] == "answered"), "{inbox}");
    }

    #[test]
    fn two_codexes_ask_and_answer() {
        asks_and_is_answered("codex", |_| ());
    }

    #[test]
    fn two_agents_of_acp_ask_and_answer() {
        asks_and_is_answered("opencode", |_| ());
    }
}

mod codex {
    use super::*;

    // No sandbox, so that nothing but the answer decides. Within one, codex tries there what was approved, and outside
    // only if the complaint of the command came before its end was looked at.
    const ASKING: &[&str] = &["--mode", "untrusted/danger-full-access"];

    #[test]
    fn two_turns_are_one_process() {
        two_turns_in_one_process(&real!("codex"));
    }

    #[test]
    fn an_interrupted_stream_is_one_interrupted_turn() {
        an_interrupt_ends_the_turn_and_no_more(&real!("codex"));
    }

    #[test]
    fn a_killed_process_is_resumed_and_remembers() {
        a_killed_process_is_told_and_its_conversation_goes_on(&real!("codex"));
    }

    #[test]
    fn a_conversation_it_does_not_know_becomes_a_fresh_one_once() {
        a_conversation_that_is_gone_is_said(&real!("codex"), "019a0000-0000-7000-8000-000000000000");
    }

    #[test]
    fn approvals_are_asked_and_obeyed() {
        permissions_are_asked_and_obeyed(&real!("codex"), ASKING);
    }

    #[test]
    fn a_model_that_fails_ends_the_turn_and_not_the_process() {
        let real = real!("codex");
        let agent = real.begin("scout", &[]);
        let pid = {
            agent.work("hello one");
            agent.pid()
        };
        for (status, state) in [(401, "needs_login"), (500, "idle"), (529, "idle")] {
            agent.tell(&format!("ERR{status} now"));
            agent.wait(state);
            agent.work(&format!("hello after {status}"));
            assert_eq!(agent.said(&format!("FAKE-REPLY: hello after {status}")), 1, "{}", agent.log());
        }
        assert_eq!(agent.pid(), pid);
        let ends = agent.ends();
        assert_eq!(ends.iter().filter(|end| *end == "error").count(), 3, "{ends:?}");
    }

    #[test]
    fn a_turn_outlives_a_killed_server() {
        let real = real!("codex");
        let agent = real.begin("scout", &[]);
        agent.tell("SLOW:100 words");
        let (pid, srv) = (agent.pid(), real.world.pid("pid"));
        signals::send(srv, Signal::Kill).unwrap();
        until("another server serves", || {
            let status = real.world.answer(&["server", "status"]);
            (status["ok"] == true && status["data"]["pid"] != srv).then_some(())
        });
        agent.wait("idle");
        assert_eq!((agent.pid(), agent.said("chunk-19"), agent.ends().len()), (pid, 1, 1), "{}", agent.log());
        agent.work("hello after");
        assert_eq!(agent.said("FAKE-REPLY: hello after"), 1);
    }
}

/// The same for each agent of the Agent Client Protocol.
macro_rules! acp {
    ($module:ident, $kind:literal, $unknown:expr, $killed:expr) => {
        mod $module {
            use super::*;

            #[test]
            fn turns_permissions_and_interrupts_are_those_of_the_protocol() {
                let real = real!($kind);
                let agent = real.begin("scout", &[]);
                agent.work("hello one");
                agent.work("hello two");
                assert_eq!((agent.said("FAKE-REPLY: hello one"), agent.said("FAKE-REPLY: hello two")), (1, 1));
                let file = real.project.join("fake-risky-file");
                agent.tell("RISKY one");
                agent.wait("needs_permission");
                real.world.json(&["deny", &agent.id_of_ask()]);
                agent.wait("idle");
                assert!(!file.exists(), "what is denied does not happen");
                agent.tell("RISKY two");
                agent.wait("needs_permission");
                real.world.json(&["approve", &agent.id_of_ask()]);
                agent.wait("idle");
                assert!(file.exists(), "{}", agent.log());
                agent.begin_slowly();
                agent.json("interrupt", &[]);
                agent.wait("idle");
                assert_eq!(agent.ends().last().map(String::as_str), Some("interrupted"), "{}", agent.log());
                agent.work("hello after");
                assert_eq!(agent.said("FAKE-REPLY: hello after"), 1);
            }

            #[test]
            fn a_killed_process_is_loaded_again_and_remembers() {
                ($killed)(&real!($kind));
            }

            #[test]
            fn a_conversation_it_does_not_know_becomes_a_fresh_one_once() {
                a_conversation_that_is_gone_is_said(&real!($kind), $unknown);
            }
        }
    };
}

acp!(opencode, "opencode", "ses_0000000000000000000000000", a_killed_process_is_told_and_its_conversation_goes_on);
acp!(claude_acp, "claude-acp", UNKNOWN, a_killed_process_is_told_and_its_conversation_goes_on);
// It loads no conversation of the minute it is in, and a test does not wait for the next one.
acp!(gemini, "gemini", UNKNOWN, |real: &Real| {
    let (agent, session) = a_process_is_killed_in_a_turn_and_started_again(real);
    agent.work("hello again");
    assert_eq!(agent.said("FAKE-REPLY: hello again"), 1, "{}", agent.log());
    if agent.session() != session {
        let fresh = agent.until_item("what was lost is said", is_session("fresh"));
        assert_eq!(fresh["session"]["how"]["attempted"], session);
    }
});
acp!(qwen, "qwen", UNKNOWN, a_killed_process_is_told_and_its_conversation_goes_on);
