//! Panes of a real tmux as agents: used like any terminal, and left as they were.

use std::process::{Command, Stdio};

use amux_proto::entity::Size;
use amux_sys::process;
use amux_sys::signals::{self, Signal};
use serde_json::{Value, json};

use crate::attach::Person;
use crate::harness::{World, until};

/// A tmux server of its own, which ends with the test.
pub(crate) struct Tmux {
    dir: tempfile::TempDir,
}

impl Tmux {
    /// With a session `work` of two panes; `None` where there is no tmux to test against.
    pub(crate) fn new() -> Option<Self> {
        let tmux = Self { dir: tempfile::tempdir().unwrap() };
        if Command::new("tmux").arg("-V").stdout(Stdio::null()).status().is_err() {
            eprintln!("There is no tmux here, so nothing is tested.");
            return None;
        }
        tmux.run(&["new-session", "-d", "-s", "work", "-x", "60", "-y", "20", "PS1='% ' exec /bin/sh"]);
        tmux.run(&["split-window", "-d", "-t", "work:", "PS1='% ' exec /bin/sh"]);
        Some(tmux)
    }

    fn socket(&self) -> String {
        self.dir.path().join("s").to_str().unwrap().to_owned()
    }

    pub(crate) fn run(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.dir.path());
        command.env("LC_ALL", "C.UTF-8").env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
        let out = command.args(["-S", &self.socket(), "-f", "/dev/null"]).args(args).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
    }

    fn pid(&self, target: &str) -> u32 {
        self.run(&["display-message", "-p", "-t", target, "#{pane_pid}"]).parse().unwrap()
    }

    fn clients(&self) -> usize {
        self.run(&["list-clients"]).lines().count()
    }

    /// An agent in this pane, which is shown.
    pub(crate) fn adopted(&self, world: &World, name: &str, pane: &str) -> Value {
        let target = format!("tmux:{pane}");
        world.json(&["new", name, "--agent", &target, "--cwd", "/", "--", "-S", &self.socket()]);
        until("its screen is there", || screen(world, name).contains('%').then(|| world.agent(name)))
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-S", &self.socket(), "kill-server"]).stderr(Stdio::null()).status();
    }
}

fn screen(world: &World, name: &str) -> String {
    world.json(&["look", name])["lines"].to_string()
}

fn has_ended(world: &World, name: &str) -> String {
    until("it ends", || {
        let agent = world.agent(name);
        let has_ended = ["offline", "failed"].contains(&agent["state"].as_str()?);
        has_ended.then(|| agent["reason"].as_str().map(str::to_owned))?
    })
}

#[test]
fn a_pane_is_looked_at_typed_into_given_work_and_left_alive() {
    let Some(tmux) = Tmux::new() else { return };
    let world = World::new();
    let agent = tmux.adopted(&world, "api", "work:0.0");
    assert_eq!(agent["state"], "unknown", "nothing tells what it does: {agent}");
    let server = world.pid("pid");
    world.says("api", "echo 4$((1+1)) 日本", "42 日本");
    world.says("api", "stty size", &tmux.run(&["display", "-p", "-t", "work:0.0", "#{pane_height} #{pane_width}"]));
    assert_eq!(tmux.run(&["capture-pane", "-p", "-t", "work:0.0"]).lines().nth(1), Some("42 日本"));
    world.json(&["send", "api", "-m", "echo given$((2*2))", "--wait", "handed"]);
    until("it was entered", || screen(&world, "api").contains("given4").then_some(()));
    let refused = {
        let mut wire = world.home.connect().unwrap();
        let args = serde_json::json!({ "agent": "api", "rows": 30, "cols": 100 });
        wire.call(serde_json::json!({ "cmd": "agent.resize", "args": args })).unwrap()["error"].clone()
    };
    assert!(refused["message"].as_str().unwrap().contains("user's"), "{refused}");
    let mut person = Person::attach(&world, Size { rows: 24, cols: 80 }, &["api"]);
    person.sees("given4");
    person.types("echo typed$((1+2))\r");
    person.sees("typed3");
    person
        .until("it is told whose size it is", |screen| screen.title().is_some_and(|title| title.contains("shown as")));
    person.resize(Size { rows: 6, cols: 20 });
    person.types("echo cut$((1+2))\r");
    person.sees("cut3");
    person.types("\x1cd");
    assert_eq!(person.ends(), 0);
    // One client for all of it, and no process of a moment for any of it.
    let client = u32::try_from(world.agent("api")["pid"].as_u64().unwrap()).unwrap();
    assert_eq!((tmux.clients(), process::descendants(client).len()), (1, 0));
    assert_eq!(process::descendants(server).iter().filter(|it| it.pid != client).count(), 0);
    let program = tmux.pid("work:0.0");
    world.json(&["stop", "api"]);
    assert_eq!(world.agent("api")["state"], "offline");
    until("the client is gone", || (tmux.clients() == 0).then_some(()));
    assert_eq!(tmux.pid("work:0.0"), program, "the pane is its user's");
    let environment = std::fs::read(format!("/proc/{program}/environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("AGENTMUX"));
    // And can be had again.
    world.json(&["start", "api"]);
    until("it is shown again", || screen(&world, "api").contains("given4").then_some(()));
}

#[test]
fn a_pane_that_goes_takes_its_agent_along_and_says_why() {
    let Some(tmux) = Tmux::new() else { return };
    let world = World::new();
    tmux.adopted(&world, "api", "work:0.1");
    tmux.run(&["kill-pane", "-t", "work:0.1"]);
    let why = has_ended(&world, "api");
    assert!(why.contains("the pane was closed"), "{why}");
    // A pane that stays open when its program has ended is no pane to work in.
    tmux.run(&["set-option", "-g", "remain-on-exit", "on"]);
    tmux.adopted(&world, "web", "work:0.0");
    world.json(&["keys", "web", "exit", "Enter"]);
    let why = has_ended(&world, "web");
    assert!(why.contains("its program has ended"), "{why}");
    let socket = tmux.socket();
    let refused = |name: &str, pane: &str| {
        let answer = world.answer(&["new", name, "--agent", pane, "--cwd", "/", "--", "-S", &socket]);
        assert_eq!(answer["ok"], false, "a pane that is not there is not said to run: {answer}");
        let why = has_ended(&world, name);
        assert!(answer["error"]["message"].as_str().unwrap().contains(&why), "{answer}");
        why
    };
    let why = refused("none", "tmux:work:7.3");
    assert!(why.contains("no such pane"), "{why}");
    tmux.run(&["kill-server"]);
    let why = refused("nowhere", "tmux:work:");
    assert!(why.contains("no server running") || why.contains("error connecting"), "{why}");
}

#[test]
fn a_pane_is_looked_for_where_tmux_is_looked_for_by_whoever_asks() {
    let Some(tmux) = Tmux::new() else { return };
    let world = World::new();
    let within = format!("{},1,0", tmux.socket());
    let beside = tmux.dir.path().join(format!("tmux-{}", process::uid()));
    std::fs::create_dir(&beside).unwrap();
    std::os::unix::fs::symlink(tmux.socket(), beside.join("default")).unwrap();
    for (name, variable, value) in
        [("in", "TMUX", within.as_str()), ("by", "TMUX_TMPDIR", tmux.dir.path().to_str().unwrap())]
    {
        let mut command = world.home.command();
        command.env_remove("TMUX").env_remove("TMUX_TMPDIR").env(variable, value);
        let made = command.args(["new", name, "--agent", "tmux:work:0.0", "--cwd", "/"]).output().unwrap();
        assert!(made.status.success(), "{variable}: {made:?}");
        until("its screen is there", || screen(&world, name).contains('%').then_some(()));
    }
}

#[test]
fn who_speaks_from_an_adopted_pane_is_its_agent_also_before_the_next_server_has_found_the_pane() {
    let Some(tmux) = Tmux::new() else { return };
    let world = World::new();
    tmux.adopted(&world, "api", "work:0.0");
    let go = world.home.dir.join("go");
    let send = |words: &str| world.spoken(&format!("send operator -m {words}"));
    let from = |words: &str| {
        until("it has come", || {
            let mail = world.json(&["inbox", "--all"]);
            let is_it = |one: &&Value| one["body"] == words;
            Some(mail.as_array()?.iter().find(is_it)?["from"].as_str()?.to_owned())
        })
    };
    tmux.run(&["send-keys", "-t", "work:0.0", &send("mine"), "Enter"]);
    assert_eq!(from("mine"), "api@default");
    tmux.run(&["send-keys", "-t", "work:0.1", &send("beside"), "Enter"]);
    assert_eq!(from("beside"), "operator", "a pane that nobody adopted is a person's");
    let wait = format!("mkfifo {0}; read x < {0}; {1}", go.display(), send("later"));
    tmux.run(&["send-keys", "-t", "work:0.0", &wait, "Enter"]);
    until("it waits", || go.exists().then_some(()));
    let _stopped = Stopped::new(tmux.run(&["display-message", "-p", "#{pid}"]).parse().unwrap());
    kill_server(&world);
    std::fs::write(&go, "\n").unwrap();
    assert_eq!(from("later"), "api@default");
}

#[test]
fn who_is_in_an_adopted_pane_becomes_no_person_by_ending_the_run_and_a_person_has_it_back_by_removing_the_agent() {
    let Some(tmux) = Tmux::new() else { return };
    let world = World::new();
    let says = |line: &str| tmux.run(&["send-keys", "-t", "work:0.0", &world.spoken(line), "Enter"]);
    let shown = |what: &str| {
        until("it is answered", || {
            tmux.run(&["capture-pane", "-J", "-p", "-t", "work:0.0"]).contains(what).then_some(())
        })
    };
    // Who follows something since before the pane was taken is another one from then on.
    says(&format!("events -f --json > {}", world.home.dir.join("heard").display()));
    let heard = || std::fs::read_to_string(world.home.dir.join("heard")).unwrap_or_default();
    // It hears what comes after it has begun.
    until("it follows", || {
        world.json(&["send", "operator", "-m", "first"]);
        heard().contains("first").then_some(())
    });
    tmux.adopted(&world, "api", "work:0.0");
    world.json(&["team", "create", "far"]);
    world.json(&["new", "other", "--agent", "shell", "--team", "far", "--no-start-agent"]);
    world.json(&["send", "other@far", "-m", "not for api"]);
    world.json(&["send", "api", "-m", "for api"]);
    until("it goes on", || heard().contains("for api").then_some(()));
    assert!(!heard().contains("not for api"), "an agent sees no conversation of others: {}", heard());
    tmux.run(&["send-keys", "-t", "work:0.0", "C-c", ""]);
    tmux.run(&["detach-client", "-s", "work"]);
    has_ended(&world, "api");
    says("send operator -m again");
    shown("an agent that does not run");
    world.json(&["rm", "api"]);
    says("send operator -m mine");
    shown("operator accepted");
}

#[test]
fn a_server_that_dies_finds_its_panes_again() {
    let Some(tmux) = Tmux::new() else { return };
    let world = World::new();
    let before = tmux.adopted(&world, "api", "work:0.0");
    world.says("api", "echo first$((1+1))", "first2");
    let server = world.pid("pid");
    // It goes on printing while nobody hears it.
    world.json(&["keys", "api", "i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo n=$i; sleep 0.01; done", "Enter"]);
    until("it prints", || screen(&world, "api").contains("n=5").then_some(()));
    signals::send(server, Signal::Kill).unwrap();
    until("it is heard again", || screen(&world, "api").contains("n=200").then_some(()));
    let after = world.agent("api");
    assert_eq!((&before["pid"], &before["run"]), (&after["pid"], &after["run"]), "the same client in the same run");
    world.says("api", "echo second$((1+1))", "second2");
    world.json(&["server", "restart"]);
    world.says("api", "echo third$((1+1))", "third2");
    assert_eq!(tmux.clients(), 1);
    tmux.run(&["kill-pane", "-t", "work:0.0"]);
    let why = has_ended(&world, "api");
    assert!(why.contains("the pane was closed"), "{why}");
}

#[test]
fn a_pane_stays_the_one_it_was_whatever_its_agent_is_to_be() {
    let Some(tmux) = Tmux::new() else { return };
    let world = World::new();
    tmux.adopted(&world, "api", "work:0.0");
    let to_be = ["work:0.1", "-S", &tmux.socket()].map(str::to_owned);
    let definition = json!({ "agent": "api", "kind": "tmux", "argv": to_be, "cwd": "/" });
    world.home.connect().unwrap().must("agent.define", definition);
    kill_server(&world);
    world.says("api", "echo still$((1+1))", "still2");
    let other = tmux.run(&["capture-pane", "-p", "-t", "work:0.1"]);
    assert!(!other.contains("still2"), "{other}");
}

#[test]
fn what_is_typed_while_a_pane_is_looked_for_again_goes_there_when_it_is_found() {
    let Some(tmux) = Tmux::new() else { return };
    let world = World::new();
    tmux.adopted(&world, "api", "work:0.0");
    let stopped = Stopped::new(tmux.run(&["display-message", "-p", "#{pid}"]).parse().unwrap());
    kill_server(&world);
    let mut wire = world.home.connect().unwrap();
    let keys = |keys: &str| json!({ "cmd": "agent.keys", "args": { "agent": "api", "keys": [keys, "Enter"] } });
    let refused = wire.call(keys("echo never$((1+1))")).unwrap();
    assert_eq!(refused["error"]["code"], "timed_out", "nobody waits for a tmux that is stopped: {refused}");
    let first = wire.start(keys("echo first$((1+1))")).unwrap();
    let second = wire.start(keys("echo second$((1+1))")).unwrap();
    drop(stopped);
    for id in [first, second] {
        let answer = wire.answer(id).unwrap();
        assert!(answer["error"].is_null(), "{answer}");
    }
    let shown = until("both are there", || Some(screen(&world, "api")).filter(|shown| shown.contains("second2")));
    assert!(shown.find("first2") < shown.find("second2"), "in their order: {shown}");
    assert!(!shown.contains("never2"), "what was refused is not typed: {shown}");
}

#[test]
fn whoever_types_into_a_pane_of_a_tmux_that_stands_still_is_told_that_nothing_is_known() {
    let Some(tmux) = Tmux::new() else { return };
    let world = World::new();
    tmux.adopted(&world, "api", "work:0.0");
    let mut wire = world.home.connect().unwrap();
    let keys = |keys: &str| json!({ "cmd": "agent.keys", "args": { "agent": "api", "keys": [keys, "Enter"] } });
    let stopped = Stopped::new(tmux.run(&["display-message", "-p", "#{pid}"]).parse().unwrap());
    let answer = wire.call(keys("echo late$((1+1))")).unwrap();
    assert_eq!(answer["error"]["code"], "timed_out", "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("not known"), "{answer}");
    drop(stopped);
    // It had them all the same, and what is typed then comes behind them.
    let answer = wire.call(keys("echo then$((1+1))")).unwrap();
    assert!(answer["error"].is_null(), "{answer}");
    let shown = until("both are there", || Some(screen(&world, "api")).filter(|shown| shown.contains("then2")));
    assert!(shown.find("late2") < shown.find("then2"), "{shown}");
}

#[test]
fn an_agent_whose_tmux_stands_still_is_not_called_idle_and_gets_its_message_when_it_goes_on() {
    let Some(tmux) = Tmux::new() else { return };
    let world = World::new();
    tmux.adopted(&world, "api", "work:0.0");
    let got = reads_into(&world, &tmux, "work:0.0", "");
    let before = world.agent("api");
    let stopped = Stopped::new(tmux.run(&["display-message", "-p", "#{pid}"]).parse().unwrap());
    let first = world.json(&["send", "api", "-m", "first"])["id"].as_str().unwrap().to_owned();
    let second = world.json(&["send", "api", "-m", "second"])["id"].as_str().unwrap().to_owned();
    let agent = until("it is said", || {
        let agent = world.agent("api");
        agent["reason"].as_str()?.contains("tmux does not answer").then_some(agent)
    });
    assert_eq!(agent["state"], "unknown", "{agent}");
    let queue = world.json(&["queue", "api"]);
    let why = |id: &str| queue.as_array()?.iter().find(|waiting| waiting["id"] == id)?["reason"].as_str();
    assert!(why(&second).unwrap().contains("tmux does not answer"), "{queue}");
    drop(stopped);
    for id in [&first, &second] {
        let mut wire = world.home.connect().unwrap();
        until("it is proved", || {
            let stage = wire.get("message", json!({ "message": id }))["deliveries"][0]["stage"].clone();
            assert_ne!(stage, "unproven");
            (stage == "shown" || stage == "handed").then_some(())
        });
    }
    let after = world.agent("api");
    let of = |agent: &Value| ["state", "reason", "since"].map(|what| agent[what].clone());
    assert_eq!(of(&before), of(&after), "it is again what it was");
    world.json(&["send", "api", "-m", "third", "--wait", "handed"]);
    until("all arrived, once and in order", || {
        (std::fs::read_to_string(&got).unwrap() == "first\nsecond\nthird\n").then_some(())
    });
}

#[test]
fn the_server_after_a_killed_one_says_as_well_that_tmux_stands_still() {
    let Some(tmux) = Tmux::new() else { return };
    let world = World::new();
    tmux.adopted(&world, "api", "work:0.0");
    let stopped = Stopped::new(tmux.run(&["display-message", "-p", "#{pid}"]).parse().unwrap());
    kill_server(&world);
    let is_silent = || world.agent("api")["reason"].as_str().unwrap().contains("tmux does not answer");
    until("the next one says it", || is_silent().then_some(()));
    drop(stopped);
    until("it is heard", || (!is_silent()).then_some(()));
    world.says("api", "echo again$((1+1))", "again2");
}

#[test]
fn what_was_called_back_while_tmux_stood_still_and_is_wanted_again_arrives_once() {
    let Some(tmux) = Tmux::new() else { return };
    let world = World::new();
    tmux.adopted(&world, "api", "work:0.0");
    let got = reads_into(&world, &tmux, "work:0.0", "");
    let uid = world.agent("api")["uid"].as_str().unwrap().to_owned();
    let journal = world.home.state().join("tapes").join(uid).join("1").join("in");
    let stopped = Stopped::new(tmux.run(&["display-message", "-p", "#{pid}"]).parse().unwrap());
    let id = world.json(&["send", "api", "-m", "only once"])["id"].as_str().unwrap().to_owned();
    until("it is on its way", || std::fs::read_to_string(&journal).ok()?.contains("paste").then_some(()));
    world.json(&["msg", "cancel", &id]);
    world.json(&["msg", "retry", &id]);
    drop(stopped);
    world.json(&["send", "api", "-m", "the next", "--wait", "handed"]);
    until("both arrived", || std::fs::read_to_string(&got).unwrap().contains("the next\n").then_some(()));
    assert_eq!(std::fs::read_to_string(&got).unwrap(), "only once\nthe next\n");
}

/// What the program of the pane reads, line by line, is in this file.
fn reads_into(world: &World, tmux: &Tmux, pane: &str, modes: &str) -> std::path::PathBuf {
    let got = world.home.dir.join("got");
    tmux.run(&["send-keys", "-t", pane, &format!("{modes} exec cat > {}", got.display()), "Enter"]);
    until("it reads", || got.exists().then_some(()));
    got
}

/// A process that stands still until this is dropped.
struct Stopped(u32);

impl Stopped {
    fn new(pid: u32) -> Self {
        signals::send(pid, Signal::Stop).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = signals::send(self.0, Signal::Cont);
    }
}

fn kill_server(world: &World) {
    signals::send(world.pid("pid"), Signal::Kill).unwrap();
}

#[test]
fn a_message_that_a_dead_server_had_pasted_into_a_pane_is_entered_once() {
    let Some(tmux) = Tmux::new() else { return };
    let world = World::new();
    tmux.adopted(&world, "api", "work:0.0");
    // Nothing of it is seen, so Enter waits, and the server dies meanwhile.
    let got = reads_into(&world, &tmux, "work:0.0", "stty -echo;");
    world.json(&["send", "api", "-m", "only once", "--wait", "handed"]);
    kill_server(&world);
    until("it is entered", || (std::fs::read_to_string(&got).unwrap() == "only once\n").then_some(()));
    world.json(&["send", "api", "-m", "the next", "--wait", "handed"]);
    until("so is the next", || (std::fs::read_to_string(&got).unwrap() == "only once\nthe next\n").then_some(()));
}

#[test]
fn keys_that_come_while_a_message_stands_in_the_composer_are_not_entered_with_it() {
    let Some(tmux) = Tmux::new() else { return };
    let world = World::new();
    tmux.adopted(&world, "api", "work:0.0");
    // Nothing of it is seen, so Enter waits.
    let got = reads_into(&world, &tmux, "work:0.0", "stty -echo;");
    world.json(&["send", "api", "-m", "a message", "--wait", "handed"]);
    world.json(&["keys", "api", "typed", "Enter"]);
    let read = || std::fs::read_to_string(&got).unwrap();
    until("both are read", || (read().lines().count() >= 2).then_some(()));
    assert_eq!(read(), "a message\ntyped\n");
}

#[test]
fn a_message_that_may_be_in_a_pane_is_not_pasted_again() {
    let Some(tmux) = Tmux::new() else { return };
    let world = World::new();
    tmux.adopted(&world, "api", "work:0.0");
    let got = reads_into(&world, &tmux, "work:0.0", "");
    let uid = world.agent("api")["uid"].as_str().unwrap().to_owned();
    let journal = world.home.state().join("tapes").join(uid).join("1").join("in");
    let server = tmux.run(&["display-message", "-p", "#{pid}"]).parse().unwrap();
    // tmux takes the paste and says so when the one who asked is gone.
    let stopped = Stopped::new(server);
    let sent = world.json(&["send", "api", "-m", "only once"])["id"].as_str().unwrap().to_owned();
    until("it is on its way", || std::fs::read_to_string(&journal).ok()?.contains("paste").then_some(()));
    kill_server(&world);
    drop(stopped);
    let mut wire = world.home.connect().unwrap();
    let stage = until("it is settled", || {
        let stage = wire.get("message", json!({ "message": sent }))["deliveries"][0]["stage"].clone();
        ["shown", "unproven"].contains(&stage.as_str()?).then_some(stage)
    });
    if stage == "unproven" {
        // It died before tmux was asked; then there is nothing to enter.
        return;
    }
    until("it is entered", || (std::fs::read_to_string(&got).unwrap() == "only once\n").then_some(()));
    world.json(&["send", "api", "-m", "the next", "--wait", "handed"]);
    until("so is the next", || (std::fs::read_to_string(&got).unwrap() == "only once\nthe next\n").then_some(()));
}

/// An agent's CLI, as far as its name goes: it says that it reads, and writes down every line it is given until `quit`.
fn a_cli(world: &World) -> (String, std::path::PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;
    let (program, got) = (world.home.dir.join("claude"), world.home.dir.join("told"));
    let told = got.display();
    let reads = format!("while read -r line && [ \"$line\" != quit ]; do echo \"$line\" >> {told}; done");
    std::fs::write(&program, format!("#!/bin/sh\necho it reads\n{reads}\necho bye\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    (program.display().to_string(), got)
}

#[test]
fn nothing_is_typed_into_the_shell_that_an_agent_has_left_its_pane_to() {
    let Some(tmux) = Tmux::new() else { return };
    let world = World::new();
    let (claude, got) = a_cli(&world);
    tmux.run(&["send-keys", "-t", "work:0.0", &claude, "Enter"]);
    until("it runs", || tmux.run(&["capture-pane", "-p", "-t", "work:0.0"]).contains("it reads").then_some(()));
    tmux.adopted(&world, "api", "work:0.0");
    let told = || std::fs::read_to_string(&got).unwrap_or_default();
    world.json(&["send", "api", "-m", "one", "--wait", "handed"]);
    until("it is told", || (told() == "one\n").then_some(()));
    // It ends, and the shell it was begun in has the pane.
    tmux.run(&["send-keys", "-t", "work:0.0", "quit", "Enter"]);
    until("it ends", || tmux.run(&["capture-pane", "-p", "-t", "work:0.0"]).contains("bye\n%").then_some(()));
    let made = world.home.dir.join("made");
    let id =
        world.json(&["send", "api", "-m", &format!("touch {}", made.display())])["id"].as_str().unwrap().to_owned();
    let agent = until("it is seen to be gone", || {
        let agent = world.agent("api");
        (agent["state"] == "offline").then_some(agent)
    });
    assert!(agent["reason"].as_str().unwrap().contains("sh is at its prompt"), "{agent}");
    let waits = || world.json(&["queue", "api"])[0]["reason"].as_str().unwrap_or_default().to_owned();
    assert!(waits().contains("does not run in its terminal"), "{}", waits());
    // Also for the server that comes after this one, and whatever a person says.
    kill_server(&world);
    world.json(&["msg", "release", &id]);
    until("the next one sees it", || waits().contains("does not run in its terminal").then_some(()));
    tmux.run(&["send-keys", "-t", "work:0.0", "echo the shell is free", "Enter"]);
    until("the shell is", || {
        tmux.run(&["capture-pane", "-p", "-t", "work:0.0"]).contains("\nthe shell is free").then_some(())
    });
    assert!(!made.exists() && told() == "one\n");
    // When it is back, it is given what waited for it.
    tmux.run(&["send-keys", "-t", "work:0.0", &claude, "Enter"]);
    until("it is given what waited", || {
        told().lines().nth(1).is_some_and(|line| line.starts_with("touch ")).then_some(())
    });
    assert!(!made.exists());
    // It reads before tmux has said that it was handed.
    until("it is known to have it", || (world.agent("api")["state"] == "unknown").then_some(()));
}

#[test]
fn what_is_no_command_is_not_typed_into_a_pane_that_turns_out_to_be_a_shell() {
    let Some(tmux) = Tmux::new() else { return };
    let world = World::new();
    world.shell("lead");
    let socket = tmux.socket();
    for round in 0..5 {
        let (name, made) = (format!("api{round}"), world.home.dir.join(format!("made{round}")));
        let touch = format!("touch {}", made.display());
        world.json(&["new", &name, "--agent", "tmux:work:0.0", "--no-start-agent", "--cwd", "/", "--", "-S", &socket]);
        // It does not run, so nothing tells yet that a shell is there.
        world.as_agent("lead", &format!("send {name} -m '{touch}'"));
        // By a person, and not to it alone.
        world.json(&["send", "all", "-m", &touch]);
        until("both are sent", || (world.json(&["queue", &name]).as_array()?.len() == 2).then_some(()));
        world.json(&["start", &name]);
        until("they are kept", || {
            let kept = |waits: &Value| waits["reason"].as_str().unwrap_or("").starts_with("a shell has");
            (world.json(&["queue", &name]).as_array()?.iter().filter(|waits| kept(waits)).count() == 2).then_some(())
        });
        // What was typed before this would have been read before it.
        let mark = format!("round {round} is over");
        tmux.run(&["send-keys", "-t", "work:0.0", &format!("echo {mark}"), "Enter"]);
        until("the shell is free", || {
            tmux.run(&["capture-pane", "-p", "-t", "work:0.0"]).contains(&format!("\n{mark}")).then_some(())
        });
        assert!(!made.exists(), "round {round}");
        world.json(&["stop", &name]);
    }
}

#[test]
fn a_program_of_ours_that_becomes_a_shell_is_typed_nothing() {
    let world = World::new();
    let (claude, got) = a_cli(&world);
    let script = format!("{claude}; PS1='at its prompt: ' exec /bin/sh");
    world.json(&["new", "api", "--agent", "cmd", "--cwd", "/", "--", "/bin/sh", "-c", &script]);
    until("it reads", || screen(&world, "api").contains("it reads").then_some(()));
    world.json(&["send", "api", "-m", "one", "--wait", "handed"]);
    until("it is told", || (std::fs::read_to_string(&got).unwrap_or_default() == "one\n").then_some(()));
    world.json(&["keys", "api", "quit", "Enter"]);
    until("it is a shell", || screen(&world, "api").contains("at its prompt").then_some(()));
    let made = world.home.dir.join("made");
    world.json(&["send", "api", "-m", &format!("touch {}", made.display())]);
    until("it is seen", || (world.agent("api")["state"] == "offline").then_some(()));
    let queue = world.json(&["queue", "api"]);
    assert!(queue[0]["reason"].as_str().unwrap().contains("sh is at its prompt"), "{queue}");
    world.says("api", "echo 4$((1+1))", "42");
    assert!(!made.exists());
}
