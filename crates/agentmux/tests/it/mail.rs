//! The mail of agents and of the person they work for: sent, held, put in order, answered, and what is said about it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Output, Stdio};

use amux_sys::process;
use amux_sys::signals::{self, Signal};
use amux_testkit::crash_agents;
use serde_json::{Value, json};

use crate::harness::{World, fake_agent, until};

/// A home with fakes in it.
struct Post {
    world: World,
}

impl Post {
    fn new() -> Self {
        let world = World::new();
        fs::create_dir_all(world.home.dir.join("config")).unwrap();
        fs::write(world.home.dir.join("config/agents.toml"), crash_agents::kinds(&fake_agent())).unwrap();
        Self { world }
    }

    fn json(&self, args: &[&str]) -> Value {
        self.world.json(args)
    }

    /// What a person reads.
    fn words(&self, args: &[&str]) -> String {
        let out = self.world.run(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    fn fake(&self, name: &str) {
        self.make(name, &[]);
        until("it runs", || self.world.agent(name)["pid"].as_u64());
    }

    fn make(&self, name: &str, more: &[&str]) {
        let oracle = self.world.home.dir.join(name).display().to_string();
        let args = ["new", name, "--agent", "fake-claude", "--cwd", "/"];
        self.json(&[&args, more, &["--", "--oracle", &oracle]].concat());
    }

    /// What the fake was given.
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.world.home.dir.join(format!("{name}.in"))).unwrap_or_default()
    }

    fn send(&self, to: &str, text: &str) -> String {
        text_of(&self.json(&["send", to, "-m", text])["id"])
    }

    fn delivery(&self, id: &str) -> Value {
        self.json(&["msg", "show", id])["deliveries"][0].clone()
    }

    fn reaches(&self, id: &str, stage: &str) {
        until(stage, || (self.delivery(id)["stage"] == stage).then_some(()));
    }

    fn queue(&self, agent: &str) -> Vec<String> {
        self.json(&["queue", agent]).as_array().unwrap().iter().map(|mail| text_of(&mail["body"])).collect()
    }

    fn begin(&self, args: &[&str]) -> Child {
        let mut command = self.world.home.command();
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Somebody follows, beside whoever asks for this.
    fn is_followed(&self) {
        until("it follows", || (self.json(&["diag", "connections"])["now"].as_u64()? >= 2).then_some(()));
    }

    fn kill(&self) {
        let pid = self.world.pid("pid");
        let known = process::identity(pid);
        signals::send(pid, Signal::Kill).unwrap();
        until("the server is dead", || known.as_ref().is_none_or(|known| !process::alive(known)).then_some(()));
        drop(self.world.home.connect().unwrap());
    }

    /// A line in the shell of an agent, said by `agentmux`.
    fn as_agent(&self, shell: &str, line: &str) {
        self.world.as_agent(shell, line);
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text: {value}")).to_owned()
}

fn end_of(id: &str) -> &str {
    &id[id.len() - 8..]
}

fn answer_of(out: &Output) -> Value {
    serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{out:?}"))
}

#[test]
fn a_sender_is_told_the_truth_at_every_stage() {
    let post = Post::new();
    post.fake("api");
    let sent = post.json(&["send", "api", "-m", "say:5", "--wait", "acked", "--priority", "urgent", "--class", "info"]);
    assert_eq!(sent["deliveries"][0]["stage"], "acked");
    let shown = post.json(&["msg", "show", end_of(sent["id"].as_str().unwrap())]);
    assert_eq!((&shown["id"], &shown["priority"], &shown["class"]), (&sent["id"], &json!("urgent"), &json!("info")));
    let history = shown["deliveries"][0]["history"].as_array().unwrap();
    let stages: Vec<_> = history.iter().map(|passed| text_of(&passed["stage"])).collect();
    for pair in ["accepted", "routed", "handed", "begun", "acked"].windows(2) {
        let at =
            |stage: &str| stages.iter().position(|it| it == stage).unwrap_or_else(|| panic!("{stage}: {stages:?}"));
        assert!(at(pair[0]) < at(pair[1]), "{stages:?}");
    }
    assert!(
        history
            .iter()
            .filter(|it| it["stage"] == "handed" || it["stage"] == "begun")
            .all(|it| it["evidence"].is_string())
    );
    // Who waits for less than what became of it has what it waited for.
    post.json(&["send", "api", "-m", "say:5", "--wait", "begun"]);
    until("its turn is over", || (post.world.agent("api")["state"] == "idle").then_some(()));
    // It is being worked on, and then it is not: whoever waits hears of it.
    let waits = post.begin(&["--json", "send", "api", "-m", "hold", "--wait", "acked"]);
    until("it works", || (post.world.agent("api")["state"] == "working").then_some(()));
    post.json(&["stop", "api"]);
    let out = waits.wait_with_output().unwrap();
    let answer = answer_of(&out);
    assert_eq!((out.status.code(), &answer["ok"]), (Some(1), &json!(false)), "{answer}");
    assert_eq!(answer["error"]["details"]["deliveries"][0]["stage"], "failed", "{answer}");
    // One copy is taken and the other one never: that is a part.
    let waits = post.begin(&["--json", "send", "api", "operator", "-m", "x", "--wait", "acked"]);
    let id = until("it waits for the person too", || post.json(&["inbox"])[0]["id"].as_str().map(str::to_owned));
    post.json(&["ack", &id]);
    post.json(&["msg", "cancel", &id, "--to", "api"]);
    let out = waits.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(5), "{out:?}");
    assert_eq!(answer_of(&out)["data"]["deliveries"].as_array().unwrap().len(), 2);
}

#[test]
fn mail_for_an_agent_that_is_not_running_waits_and_is_given_when_it_starts() {
    let post = Post::new();
    post.make("api", &["--no-start-agent"]);
    let sent = post.json(&["send", "api", "-m", "say:1"]);
    assert_eq!(sent["deliveries"][0]["stage"], "held", "{sent}");
    assert!(sent["deliveries"][0]["reason"].as_str().unwrap().contains("not running"), "{sent}");
    let words = post.words(&["queue", "api"]);
    assert!(words.contains("not running") && words.contains("say:1"), "{words}");
    let words = post.words(&["queue"]);
    assert!(words.contains("api@default") && words.contains("say:1"), "of everybody: {words}");
    post.json(&["send", "api", "-m", "say:1", "--wait", "accepted"]);
    assert_eq!(post.world.code(&["send", "api", "-m", "late", "--wait", "handed", "--timeout", "300ms"]), 6);
    post.json(&["start", "api"]);
    post.reaches(sent["id"].as_str().unwrap(), "acked");
    until("nothing waits", || post.queue("api").is_empty().then_some(()));
}

#[test]
fn a_paused_agent_holds_its_mail_until_somebody_says_now() {
    let post = Post::new();
    post.fake("api");
    let rules =
        post.json(&["mail", "api", "--pause", "--while-working", "turn-end", "--boundary", "3s"])["mail"].clone();
    assert_eq!((&rules["paused"], &rules["while_working"]), (&json!(true), &json!("turn_end")));
    let first = post.send("api", "say:1");
    let second = post.send("api", "say:2");
    assert!(text_of(&post.delivery(&second)["reason"]).contains("paused"));
    assert!(post.words(&["msg", "release", end_of(&first)]).contains("released: api@default"));
    post.reaches(&first, "acked");
    assert_eq!(post.delivery(&second)["stage"], "held");
    assert_eq!(post.json(&["mail", "api"])["mail"]["boundary_ms"], 3000, "to look changes nothing");
    assert!(post.words(&["mail", "api"]).contains("paused"));
    post.json(&["mail", "api", "--resume"]);
    post.reaches(&second, "acked");
    assert_eq!(post.world.code(&["mail", "api", "--pause", "--resume"]), 2);
    assert_eq!(post.world.code(&["mail", "nobody", "--pause"]), 7);
}

#[test]
fn ask_gets_the_answer_through_a_server_that_is_killed_in_between() {
    let post = Post::new();
    post.world.shell("api");
    let json = post.begin(&["--json", "ask", "api", "-m", "true"]);
    let asked = || post.json(&["inbox", "--agent", "api", "--all"]).as_array().unwrap().clone();
    let id = until("it is asked", || asked().first().map(|mail| text_of(&mail["id"])));
    post.is_followed();
    // While it is typed a kill would leave unproven whether it was given, and nobody waits for an answer to that.
    until("it is given", || (post.delivery(&id)["stage"] == "acked").then_some(()));
    post.kill();
    post.as_agent("api", &format!("reply {} -m pong", end_of(&id)));
    let out = json.wait_with_output().unwrap();
    let answer = answer_of(&out)["data"].clone();
    assert_eq!(
        (out.status.code(), &answer["body"], &answer["reply_to"]),
        (Some(0), &json!("pong"), &json!(id)),
        "{out:?}"
    );
    until("it is taken", || post.json(&["inbox"]).as_array().unwrap().is_empty().then_some(()));
    assert_eq!(post.delivery(&id)["stage"], "answered");
    let words = post.words(&["msg", "trace", &id]);
    let traced = post.json(&["msg", "trace", &id]);
    assert_eq!(traced["replies"], json!([answer["id"]]));
    assert!(words.contains("api@default to operator") && words.contains("answered"), "{words}");
    // Nothing that is no answer is taken for one.
    let out = post.world.run(&["ask", "api", "-m", "true", "--timeout", "500ms"]);
    assert_eq!(out.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&out.stderr).contains("no answer in time: api@default "), "{out:?}");
    post.json(&["mail", "api", "--pause"]);
    let waits = post.begin(&["ask", "api", "-m", "true"]);
    let waiting = until("it waits", || post.json(&["queue", "api"])[0]["id"].as_str().map(str::to_owned));
    post.json(&["msg", "cancel", &waiting]);
    let out = waits.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("cancelled"), "{out:?}");
}

#[test]
fn only_who_was_asked_answers_and_of_several_it_is_said_who_did() {
    let post = Post::new();
    for shell in ["api", "web", "spy"] {
        post.world.shell(shell);
    }
    let mut wire = post.world.home.connect().unwrap();
    for name in ["api", "web"] {
        wire.must("agent.describe", json!({ "agent": name, "groups": ["asked"] }));
    }
    let waits = post.begin(&["ask", "group:asked", "-m", "true"]);
    let asked = || post.json(&["inbox", "--agent", "web", "--all"]).as_array().unwrap().clone();
    let id = until("it is asked", || asked().first().map(|mail| text_of(&mail["id"])));
    post.as_agent("spy", &format!("send operator --reply-to {} -m forged", end_of(&id)));
    until("it is there", || post.json(&["inbox", "--peek"])[0]["body"].as_str().map(str::to_owned));
    post.as_agent("web", &format!("reply {} -m pong", end_of(&id)));
    let out = waits.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let words = String::from_utf8(out.stdout).unwrap();
    assert!(words.starts_with("web@default answers:\n") && words.contains("pong"), "{words}");
    assert!(!words.contains("forged"), "{words}");
}

#[test]
fn what_a_shell_was_just_told_to_run_is_not_given_its_mail() {
    let post = Post::new();
    post.world.shell("api");
    until("it is at its prompt", || (post.world.agent("api")["state"] == "idle").then_some(()));
    let got = post.world.home.dir.join("got");
    let mut wire = post.world.home.connect().unwrap();
    wire.must("agent.keys", json!({ "agent": "api", "keys": [format!("cat > {}", got.display()), "Enter"] }));
    let sent = wire.must("message.send", json!({ "to": ["api"], "body": "echo $((6*7))" }));
    until("it works", || (post.world.agent("api")["state"] == "working").then_some(()));
    assert!(["accepted", "held"].contains(&text_of(&post.delivery(&text_of(&sent["id"]))["stage"]).as_str()));
    wire.must("agent.keys", json!({ "agent": "api", "keys": ["C-d"] }));
    until("it is run", || post.json(&["look", "api"])["lines"].to_string().contains("42").then_some(()));
    assert_eq!(fs::read_to_string(got).unwrap(), "");
}

#[test]
fn a_shell_that_is_to_be_something_else_is_a_shell_until_it_is_begun_anew() {
    let post = Post::new();
    post.world.shell("api");
    until("it is at its prompt", || (post.world.agent("api")["state"] == "idle").then_some(()));
    let mut wire = post.world.home.connect().unwrap();
    wire.must("agent.define", json!({ "agent": "api", "kind": "cmd", "argv": ["cat"], "cwd": "/" }));
    let ran = post.world.home.dir.join("ran");
    let sent = wire.must("message.send", json!({ "to": ["all"], "body": format!("touch {}", ran.display()) }));
    let is_held = || {
        let held = post.delivery(&text_of(&sent["id"]));
        assert_eq!(held["stage"], "held", "{held}");
        assert!(held.to_string().contains("this is said to agents"), "{held}");
    };
    is_held();
    post.kill();
    is_held();
    let mut wire = post.world.home.connect().unwrap();
    wire.must("agent.keys", json!({ "agent": "api", "keys": ["sleep 1000", "Enter"] }));
    until("it is watched as a shell is", || (post.world.agent("api")["state"] == "working").then_some(()));
    post.json(&["restart", "api"]);
    until("cat is given it", || post.json(&["look", "api"])["lines"].to_string().contains("touch").then_some(()));
    assert!(!ran.exists(), "and no shell was");
}

#[test]
fn a_program_that_was_to_be_a_shell_for_a_while_is_none() {
    let post = Post::new();
    post.json(&["new", "api", "--agent", "cmd", "--cwd", "/", "--", "cat"]);
    until("it runs", || post.world.agent("api")["pid"].as_u64());
    let define = |kind: &str, argv: &[&str]| {
        let definition = json!({ "agent": "api", "kind": kind, "argv": argv, "cwd": "/" });
        post.world.home.connect().unwrap().must("agent.define", definition);
    };
    define("shell", &[]);
    post.kill();
    post.send("api", "the first");
    until("it is given it", || post.json(&["look", "api"])["lines"].to_string().contains("the first").then_some(()));
    define("cmd", &["cat"]);
    post.send("all", "the second");
    until("it is no shell", || post.json(&["look", "api"])["lines"].to_string().contains("the second").then_some(()));
}

#[test]
fn a_timeout_without_something_to_wait_for_is_refused() {
    let post = Post::new();
    let out = post.world.run(&["send", "operator", "-m", "x", "--timeout", "1s"]);
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("--wait STAGE"), "{out:?}");
    assert_eq!(post.json(&["inbox", "--peek"]), json!([]), "nothing was sent");
}

#[test]
fn a_trace_goes_down_to_what_a_message_led_to_in_other_threads() {
    let post = Post::new();
    post.make("api", &["--no-start-agent"]);
    let (first, other) = (post.send("api", "one"), post.send("api", "another thing"));
    let answers = |id: &str, text: &str| {
        let sent = post.json(&["send", "api", "-m", text, "--reply-to", id, "--thread", &other]);
        text_of(&sent["id"])
    };
    let answer = answers(&first, "what came of it");
    let next = answers(&answer, "and of that");
    let traced = post.json(&["msg", "trace", &first]);
    let ids: Vec<_> = traced["led_to"].as_array().unwrap().iter().map(|message| text_of(&message["id"])).collect();
    assert_eq!(ids, [answer, next]);
    let words = post.words(&["msg", "trace", &first]);
    assert!(words.contains("and of that") && !words.contains("another thing"), "{words}");
}

#[test]
fn what_a_lost_run_was_given_is_not_given_to_the_next_one() {
    let post = Post::new();
    post.fake("api");
    post.reaches(&post.send("api", "say:1"), "acked");
    post.json(&["mail", "api", "--pause"]);
    let (given, waits) = (post.send("api", "m-given"), post.send("api", "m-waits"));
    let uid = text_of(&post.world.agent("api")["uid"]);
    let journal = amux_runner::journal::journal(&post.world.home.state().join("tapes").join(uid).join("1"));
    let (launcher, server) = (post.world.pid("launcher_pid"), post.world.pid("pid"));
    // Or it would stop its agents when the launcher is gone.
    signals::send(server, Signal::Stop).unwrap();
    for pid in [launcher, server] {
        let known = process::identity(pid);
        signals::send(pid, Signal::Kill).unwrap();
        until("it is dead", || known.as_ref().is_none_or(|known| !process::alive(known)).then_some(()));
    }
    // As one leaves it that was killed between the agent and the log.
    let order = json!({ "type": "input", "input": given, "parts": [given], "text": "m-given", "how": "next" });
    let line = format!("{}\n", json!({ "r": "order", "n": 999, "at": 0, "order": order }));
    fs::OpenOptions::new().append(true).open(journal).unwrap().write_all(line.as_bytes()).unwrap();
    post.json(&["ls"]);
    post.reaches(&given, "unproven");
    assert!(post.delivery(&given)["reason"].as_str().unwrap().contains("the server ended while it was given"));
    post.json(&["start", "api"]);
    post.json(&["mail", "api", "--resume"]);
    post.reaches(&waits, "acked");
    assert!(!post.read("api").contains("m-given"), "{}", post.read("api"));
}

#[test]
fn listing_marks_as_seen_and_peeking_does_not() {
    let post = Post::new();
    let id = post.send("operator", "one\n\ttwo\u{1b}]0;evil\u{7}\u{202e}");
    let is_unread = |args: &[&str]| post.json(args)[0]["unread"].as_bool();
    for _ in 0..2 {
        assert_eq!(is_unread(&["inbox", "--peek"]), Some(true));
    }
    assert_eq!(is_unread(&["inbox", "-q", "--peek"]), Some(true));
    post.words(&["inbox", "-q"]);
    assert_eq!(is_unread(&["inbox", "--peek"]), Some(true), "what was not printed was not seen");
    let words = post.words(&["inbox"]);
    assert!(words.contains(end_of(&id)) && words.contains("\n    one\n        two"), "{words}");
    assert!(!words.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{words:?}");
    assert_eq!(is_unread(&["inbox"]), Some(false));
    assert_eq!(post.json(&["inbox", "--unread"]), json!([]));
    assert_eq!(post.world.code(&["ack", end_of(&id), "00000000"]), 5);
    assert_eq!(post.json(&["inbox"]), json!([]));
    assert_eq!(post.json(&["inbox", "--all"])[0]["stage"], "acked");
    assert_eq!(post.words(&["inbox"]), "nothing waits for you\n");
    // To read the mail of another is no sign that it has read it.
    post.make("api", &["--no-start-agent"]);
    let its = post.send("api", "say:1");
    post.words(&["inbox", "--agent", "api"]);
    assert_eq!(post.delivery(&its)["stage"], "held");
}

#[test]
fn an_agent_reads_its_own_mail_and_answers() {
    let post = Post::new();
    post.world.shell("api");
    post.json(&["mail", "api", "--pause"]);
    let id = post.send("api", "how far are you?");
    post.as_agent("api", "inbox > /dev/null");
    post.reaches(&id, "shown");
    post.as_agent("api", &format!("reply {} -m 'nearly there'", end_of(&id)));
    post.reaches(&id, "answered");
    let mail = post.json(&["inbox"])[0].clone();
    assert_eq!((&mail["from"], &mail["body"]), (&json!("api@default"), &json!("nearly there")));
    post.json(&["reply", &text_of(&mail["id"]), "-m", "good"]);
    assert_eq!(post.json(&["inbox"]), json!([]), "who answers has taken it");
    assert_eq!(post.queue("api"), ["good"]);
    let more = post.json(&["reply", &text_of(&post.json(&["queue", "api"])[0]["id"]), "-m", "and more"]);
    assert_eq!(more["deliveries"][0]["to"], "api@default", "not to oneself");
}

#[test]
fn an_edited_message_is_given_with_the_new_words() {
    let post = Post::new();
    post.fake("api");
    post.json(&["mail", "api", "--pause"]);
    let id = post.send("api", "the old words");
    post.json(&["msg", "edit", end_of(&id), "-m", "the new words"]);
    assert_eq!(post.json(&["msg", "show", &id])["body"], "the new words");
    post.json(&["msg", "release", &id]);
    post.reaches(&id, "acked");
    let read = post.read("api");
    assert!(read.contains("the new words") && !read.contains("the old words"), "{read}");
    let receipt = post.json(&["msg", "show", &id]);
    assert_eq!((&receipt["body"], &receipt["too_late"]), (&json!("the new words"), &Value::Null));
    assert_eq!(post.world.code(&["msg", "edit", &id, "-m", "too late"]), 1);
}

#[test]
fn order_can_be_changed_while_it_waits() {
    let post = Post::new();
    post.fake("api");
    post.json(&["mail", "api", "--pause"]);
    let ids: Vec<_> = ["m-one", "m-two", "m-three"].iter().map(|text| post.send("api", text)).collect();
    post.json(&["msg", "move", end_of(&ids[2]), "--to", "api", "--before", end_of(&ids[0])]);
    assert_eq!(post.queue("api"), ["m-three", "m-one", "m-two"]);
    post.json(&["msg", "move", &ids[0], "--to", "api"]);
    assert_eq!(post.queue("api"), ["m-three", "m-two", "m-one"]);
    post.json(&["mail", "api", "--resume"]);
    for id in &ids {
        post.reaches(id, "acked");
    }
    let read = post.read("api");
    let at = |text: &str| read.find(text).unwrap();
    assert!(at("m-three") < at("m-two") && at("m-two") < at("m-one"), "{read}");
}

#[test]
fn what_was_taken_back_is_not_given_until_it_is_wanted_again() {
    let post = Post::new();
    post.make("api", &["--no-start-agent"]);
    let id = post.send("api", "m-back");
    let after = post.send("api", "m-after");
    assert!(post.words(&["msg", "cancel", end_of(&id)]).contains("cancelled: api@default"));
    assert!(post.words(&["msg", "cancel", end_of(&id)]).contains("already"));
    post.json(&["start", "api"]);
    post.reaches(&after, "acked");
    assert!(!post.read("api").contains("m-back"));
    post.json(&["msg", "retry", &id, "--to", "api"]);
    post.reaches(&id, "acked");
    assert!(post.read("api").contains("m-back"));
    assert_eq!(post.world.code(&["msg", "cancel", &id]), 1);
    assert_eq!(post.world.code(&["msg", "show", "00000000"]), 7);
}

#[test]
fn what_an_agent_cannot_take_before_its_turn_ends_can_be_taken_back_and_changed_until_then() {
    let post = Post::new();
    for mode in ["codex", "acp"] {
        let oracle = post.world.home.dir.join(mode).display().to_string();
        post.json(&["new", mode, "--agent", &format!("fake-{mode}"), "--cwd", "/", "--", "--oracle", &oracle]);
        post.json(&["mail", mode, "--while-working", "now"]);
        let works = post.send(mode, "hold");
        post.reaches(&works, "begun");
        let back = post.send(mode, "m-back");
        let changed = post.send(mode, "m-old");
        let late = text_of(&post.json(&["send", mode, "-m", "m-late", "--ttl", "200ms"])["id"]);
        // That one is over shows that everything before it was looked at.
        post.reaches(&late, "expired");
        post.json(&["msg", "cancel", &back]);
        post.json(&["msg", "edit", &changed, "-m", "m-new"]);
        post.json(&["interrupt", mode]);
        post.reaches(&changed, "acked");
        let read = post.read(mode);
        let is_read = ["m-back", "m-old", "m-late", "m-new"].map(|text| read.contains(text));
        assert_eq!(is_read, [false, false, false, true], "{mode}: {read}");
        assert_eq!(post.delivery(&back)["stage"], "cancelled");
    }
}

#[test]
fn what_was_not_given_in_its_time_is_not_given() {
    let post = Post::new();
    post.make("api", &["--no-start-agent"]);
    let out = post.begin(&["--json", "send", "api", "-m", "m-old", "--ttl", "300ms", "--wait", "handed"]);
    let out = out.wait_with_output().unwrap();
    let delivery = answer_of(&out)["error"]["details"]["deliveries"][0].clone();
    assert_eq!((out.status.code(), &delivery["stage"]), (Some(1), &json!("expired")), "{out:?}");
    let late = post.send("api", "m-late");
    post.json(&["start", "api"]);
    post.reaches(&late, "acked");
    assert!(!post.read("api").contains("m-old"));
    assert_eq!(post.world.code(&["msg", "retry", &text_of(&delivery["id"])]), 1);
}

#[test]
fn many_are_reached_by_one_name() {
    let post = Post::new();
    for name in ["one", "two", "three"] {
        post.make(name, &["--no-start-agent"]);
    }
    let mut wire = post.world.home.connect().unwrap();
    for name in ["one", "two"] {
        wire.must("agent.describe", json!({ "agent": name, "groups": ["back"], "role": "writes the store" }));
    }
    for target in ["group:back", "role:writes the store"] {
        let sent = post.json(&["send", target, "-m", "hello", "--class", "state"]);
        assert_eq!(sent["deliveries"].as_array().unwrap().len(), 2, "{sent}");
    }
    // One bad name stops no other, and is not passed over in silence.
    let before = post.json(&["queue", "one"]).as_array().unwrap().len();
    let out = post.world.run(&["send", "one", "thre", "-m", "hello"]);
    assert_eq!(out.status.code(), Some(5), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("three@default"), "{out:?}");
    assert_eq!(post.json(&["queue", "one"]).as_array().unwrap().len(), before + 1);
    let wrong = post.world.answer(&["send", "one", "thre", "-m", "hello"]);
    assert_eq!((&wrong["data"]["refused"][0]["to"], &wrong["data"]["deliveries"][1]), (&json!("thre"), &Value::Null));
    assert_eq!(post.world.code(&["send", "thre", "-m", "hello"]), 7);
    assert_eq!(post.world.code(&["send", "one"]), 2);
    assert_eq!(post.world.code(&["send", "one", "-m", "x", "--priority", "high"]), 2);
    assert_eq!(post.world.code(&["send", "one", "-m", "x", "--wait", "done"]), 2);
}

#[test]
fn standard_input_is_read_only_when_it_is_named() {
    let post = Post::new();
    for args in [&["send", "operator", "-f", "-"][..], &["send", "operator", "-"]] {
        let mut command = post.world.home.command();
        let mut sender = command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        sender.stdin.take().unwrap().write_all(args.join(" ").as_bytes()).unwrap();
        assert!(sender.wait().unwrap().success(), "{args:?}");
        let mail = post.json(&["inbox", "-n", "1"]);
        assert_eq!(mail[0]["body"], args.join(" "));
    }
    // Nobody writes into it, and it is not waited for.
    let mut command = post.world.home.command();
    let mut sender =
        command.args(["send", "operator", "-m", "x"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let input = sender.stdin.take();
    assert!(sender.wait().unwrap().success());
    drop(input);
}

#[test]
fn a_person_sees_what_waits_for_a_person_first() {
    let post = Post::new();
    post.fake("api");
    post.json(&["new", "bad", "--agent", "cmd", "--cwd", "/", "--", "/bin/sh", "-c", "exit 3"]);
    post.json(&["wait", "bad", "--for", "failed", "--timeout", "20s"]);
    post.send("operator", "just mail");
    post.send("api", "ask");
    until("it asks", || post.json(&["requests"])[0]["id"].as_str().map(str::to_owned));
    let words = post.words(&["inbox"]);
    let at = |text: &str| words.find(text).unwrap_or_else(|| panic!("{text}: {words}"));
    assert!(at("api@default asks: ") < at("bad@default failed") && at("exit 3") < at("just mail"), "{words}");
    assert_eq!(post.json(&["inbox"]).as_array().unwrap().len(), 1, "for programs it is the mail");
}

#[test]
fn what_comes_for_a_person_is_told_once_also_by_a_new_server() {
    let post = Post::new();
    post.fake("api");
    post.send("operator", "was there");
    let (dir, shown) = (post.world.home.dir.join("bin"), post.world.home.dir.join("shown"));
    fs::create_dir_all(&dir).unwrap();
    let program = dir.join("notify-send");
    fs::write(&program, format!("#!/bin/sh\nprintf '%s|' \"$@\" >> '{0}'\necho >> '{0}'\n", shown.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let follower = |path: &str| {
        let mut command = post.world.home.command();
        command.args(["--json", "inbox", "--follow", "--bell", "--notify"]).env("PATH", path);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    let mut followers = [follower(&path), follower("/nowhere")];
    let mut lines = followers.each_mut().map(|follower| BufReader::new(follower.stdout.take().unwrap()).lines());
    let mut next = |what: &str| {
        let heard = lines.each_mut().map(|lines| lines.next().unwrap().unwrap());
        assert_eq!(heard[0], heard[1]);
        let data = serde_json::from_str::<Value>(&heard[0]).unwrap()["data"].clone();
        assert!(data[what].is_object(), "{what}: {data}");
        data[what].clone()
    };
    assert_eq!(next("mail")["body"], "was there");
    until("they follow", || (post.json(&["diag", "connections"])["now"].as_u64()? >= 3).then_some(()));
    post.send("operator", "came <later>");
    assert_eq!(next("mail")["body"], "came <later>");
    post.send("api", "ask");
    assert_eq!(next("request")["agent"], "api@default");
    post.kill();
    post.send("operator", "after it");
    assert_eq!(next("mail")["body"], "after it");
    post.json(&["new", "bad", "--agent", "cmd", "--cwd", "/", "--", "/bin/sh", "-c", "exit 3"]);
    assert_eq!(next("failed")["name"], "bad");
    let desktop = until("all is shown", || fs::read_to_string(&shown).ok().filter(|shown| shown.lines().count() == 4));
    assert!(desktop.contains("came &lt;later&gt;") && !desktop.contains("was there"), "{desktop}");
    for follower in &followers {
        signals::send(follower.id(), Signal::Kill).unwrap();
    }
    let [with, without] = followers.map(|follower| follower.wait_with_output().unwrap().stderr);
    assert_eq!(with, b"\x07\x07\x07\x07");
    let words = String::from_utf8(without).unwrap();
    assert_eq!(words.matches("notify-send: it is not installed").count(), 1, "{words}");
    assert_eq!(
        post.json(&["inbox", "--unread", "--peek"]).as_array().unwrap().len(),
        3,
        "to be told is not to have seen"
    );
}
