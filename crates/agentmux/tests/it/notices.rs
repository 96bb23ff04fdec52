//! What a person is told on the desktop: each thing once, whatever happens to the server, and that it is settled.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use amux_sys::process;
use amux_sys::signals::{self, Signal};
use amux_testkit::crash_agents;
use serde_json::{Value, json};

use crate::harness::{World, fake_agent, until};

struct Desk {
    world: World,
    told: PathBuf,
}

impl Desk {
    /// A home with fakes in it, and a program that writes down what it is told.
    fn new() -> Self {
        let world = World::new();
        let dir = world.home.dir.clone();
        fs::create_dir_all(dir.join("config")).unwrap();
        fs::write(dir.join("config/agents.toml"), crash_agents::kinds(&fake_agent())).unwrap();
        let (told, program) = (dir.join("told"), dir.join("tell"));
        let line = "printf '%s|%s|%s\\n' \"$1\" \"$AGENTMUX_NOTICE\" \"$AGENTMUX_NOTICE_TITLE\"";
        let all = "printf '%s\\n' \"$AGENTMUX_NOTICE_JSON\"";
        let script = format!("#!/bin/sh\n{line} >> '{0}'\n{all} >> '{0}.json'\n", told.display());
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { world, told }
    }

    fn begin(&self, pause_ms: u64) {
        let mut wire = self.world.home.connect().unwrap();
        wire.must("setting.set", json!({ "key": "notify.pause_ms", "value": pause_ms }));
        let command = json!([self.world.home.dir.join("tell"), "to me"]);
        wire.must("setting.set", json!({ "key": "notify.command", "value": command }));
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.told).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn hears(&self, what: &str) {
        until(what, || self.lines().iter().any(|line| line == what).then_some(()));
    }

    fn send(&self, to: &str, text: &str) -> String {
        self.world.json(&["send", to, "-m", text])["id"].as_str().unwrap().to_owned()
    }
}

#[test]
fn what_waits_is_told_once_also_by_a_new_server_and_taken_back_when_somebody_has_decided() {
    let desk = Desk::new();
    let world = &desk.world;
    let oracle = world.home.dir.join("api").display().to_string();
    let old = desk.send("operator", "was there before anybody wanted to hear");
    world.json(&["new", "api", "--agent", "fake-claude", "--cwd", "/", "--", "--oracle", &oracle]);
    until("it runs", || world.agent("api")["pid"].as_u64());
    desk.begin(0);
    desk.send("api", "ask");
    let request = until("it asks", || world.json(&["requests"])[0].as_object().cloned());
    let title = format!("api@default asks: {}", request["title"].as_str().unwrap());
    desk.hears(&format!("to me|tell|{title}"));
    let pid = world.pid("pid");
    let known = process::identity(pid);
    signals::send(pid, Signal::Kill).unwrap();
    until("the server is dead", || known.as_ref().is_none_or(|known| !process::alive(known)).then_some(()));
    let new = desk.send("operator", "after it");
    desk.hears("to me|tell|message from operator");
    // Another client decides.
    world.json(&["approve", request["id"].as_str().unwrap()]);
    desk.hears(&format!("to me|resolved|{title}"));
    world.json(&["ack", &new]);
    desk.hears("to me|resolved|message from operator");
    world.json(&["ack", &old]);
    world.json(&["new", "bad", "--agent", "cmd", "--cwd", "/", "--", "/bin/sh", "-c", "exit 3"]);
    desk.hears("to me|tell|bad@default failed");
    let lines = desk.lines();
    let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!((count("|tell|api@default"), count("|tell|message")), (1, 1), "{lines:?}");
    let all = fs::read_to_string(desk.told.with_extension("json")).unwrap();
    let first: Value = serde_json::from_str(all.lines().next().unwrap()).unwrap();
    assert_eq!((&first["notice"], &first["count"]), (&json!("tell"), &json!(1)), "{first}");
    assert_eq!(first["things"][0]["kind"], "needs_permission", "{first}");
    let tells_of = |line: &str, id: &str| line.contains("\"notice\":\"tell\"") && line.contains(id);
    assert!(!all.lines().any(|line| tells_of(line, &old)), "nobody had wanted to hear of it: {all}");
}

#[test]
fn what_comes_at_once_is_told_in_one() {
    let desk = Desk::new();
    desk.world.json(&["ls"]);
    desk.begin(4_000);
    desk.send("operator", "one");
    desk.hears("to me|tell|message from operator");
    let mut wire = desk.world.home.connect().unwrap();
    for n in 0..3 {
        wire.must("message.send", json!({ "to": ["operator"], "body": format!("more {n}") }));
    }
    desk.hears("to me|tell|3 things wait");
    assert_eq!(desk.lines().len(), 2);
}
