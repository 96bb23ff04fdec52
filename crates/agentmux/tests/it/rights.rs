//! Who may do what by `policy.toml`, tried where it matters: from inside an agent's own shell, and on every way a foreign
//! conversation could come out.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

use amux_testkit::wire::Wire;
use serde_json::{Value, json};

use crate::doors::http;
use crate::harness::{BINARY, World, until};

/// lead@shop, api@shop and db@other: shells, all of them given no mail by themselves.
struct Floor {
    world: World,
    said: Cell<u32>,
}

const AGENTS: [(&str, &str); 3] = [("lead", "shop"), ("api", "shop"), ("db", "other")];

impl Floor {
    fn new() -> Self {
        let world = World::new();
        for team in ["shop", "other"] {
            world.json(&["team", "create", team]);
        }
        for (name, team) in AGENTS {
            world.json(&["new", name, "--agent", "shell", "--team", team, "--cwd", "/"]);
            until("the shell runs", || world.agent(name)["pid"].as_u64());
            world.json(&["mail", name, "--pause"]);
        }
        Self { world, said: Cell::new(0) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.home.dir.join(name)
    }

    fn policy(&self, text: &str) {
        fs::create_dir_all(self.path("config")).unwrap();
        fs::write(self.path("config/policy.toml"), text).unwrap();
        self.world.json(&["config", "check"]);
        self.world.json(&["config", "reload"]);
    }

    /// A script in the shell of an agent; what it wrote.
    fn script(&self, agent: &str, line: &str) -> String {
        let n = self.said.replace(self.said.get() + 1);
        let (script, out) = (self.path(&format!("said-{n}.sh")), self.path(&format!("heard-{n}")));
        let whole = format!("{{ {line}; }} > {0}.new 2> {0}.err; mv {0}.new {0}\n", out.display());
        fs::write(&script, whole).unwrap();
        self.world.json(&["keys", agent, &format!("sh {}", script.display()), "Enter"]);
        until(line, || fs::read_to_string(&out).ok())
    }

    /// What `agentmux` answers to an agent, said in its own shell.
    fn inside(&self, agent: &str, line: &str) -> Value {
        let (state, config) = (self.world.home.state(), self.path("config"));
        let dirs = format!("--state-dir {} --config-dir {}", state.display(), config.display());
        let said = self.script(agent, &format!("{BINARY} {dirs} --no-start --json {line}"));
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("{line}: {said:?}"))
    }

    fn allowed(&self, agent: &str, line: &str) -> Value {
        let answer = self.inside(agent, line);
        assert_eq!(answer["ok"], true, "{agent}: {line}: {answer}");
        answer["data"].clone()
    }

    /// The rule that refuses it.
    fn refused(&self, agent: &str, line: &str) -> String {
        let answer = self.inside(agent, line);
        assert_eq!(answer["error"]["code"], "denied", "{agent}: {line}: {answer}");
        assert!(answer["error"]["hint"].as_str().is_some_and(|hint| hint.contains("policy.toml")), "{answer}");
        answer["error"]["details"]["rule"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// A connection that is this agent.
    fn wire(&self, agent: &str) -> (Wire, String) {
        let token = self.script(agent, "printf %s \"$AGENTMUX_TOKEN\"");
        let mut wire = Wire::raw(&self.world.home.socket()).unwrap();
        wire.send(&json!({ "hello": { "protocol": 1, "token": token } })).unwrap();
        let welcome = wire.frame().unwrap()["welcome"].clone();
        assert!(welcome["principal"].as_str().unwrap().starts_with(&format!("agent:{agent}@")), "{welcome}");
        wire.welcome = welcome;
        (wire, token)
    }
}

#[test]
fn an_agent_looks_at_its_team_and_further_when_the_file_says_so() {
    let floor = Floor::new();
    floor.allowed("lead", "look api");
    floor.allowed("lead", "look lead");
    for line in ["look db", "queue db", "log db"] {
        assert_eq!(floor.refused("lead", line), "default look", "{line}");
    }
    let team = floor.allowed("lead", "ls --all");
    let db = team.as_array().unwrap().iter().find(|agent| agent["name"] == "db").expect("who is there is told");
    assert_eq!((&db["team"], &db["cwd"], &db["pid"]), (&json!("other"), &json!(""), &Value::Null), "{db}");
    floor.policy("[[may]]\nwho = \"lead@shop\"\ndo = [\"look\"]\nto = \"all\"\n");
    floor.allowed("lead", "look db");
    assert_eq!(floor.refused("api", "look db"), "default look", "it is about lead");
    floor.policy("[[may]]\nwho = \"team:shop\"\ndo = [\"look\"]\nto = \"nobody\"\n");
    assert_eq!(floor.refused("lead", "look api"), "may 1 of policy.toml");
    floor.allowed("lead", "look lead");
    // A file with a mistake changes nothing.
    fs::write(floor.path("config/policy.toml"), "[[may]]\nwho = \"lead\"\ndo = [\"look\"]\nto = \"all\"\n").unwrap();
    assert_ne!(floor.world.code(&["config", "reload"]), 0);
    let told = floor.world.answer(&["config", "check"])["error"]["message"].to_string();
    assert!(told.contains("policy.toml:2: `who` means nobody: lead"), "{told}");
    assert_eq!(floor.refused("lead", "look api"), "may 1 of policy.toml");
}

#[test]
fn an_agent_follows_transcripts_of_whom_it_may_look_at_and_only_as_long() {
    let floor = Floor::new();
    let (mut wire, _) = floor.wire("lead");
    for (id, agent) in [(1, "lead"), (2, "api")] {
        wire.send(&json!({ "id": id, "follow": { "agent": agent } })).unwrap();
        assert!(wire.frame().unwrap()["entries"].is_object(), "{agent}");
    }
    for frame in [json!({ "id": 3, "follow": { "agent": "db" } }), json!({ "id": 3, "watch": {} })] {
        wire.send(&frame).unwrap();
        assert_eq!(wire.frame().unwrap()["error"]["code"], "denied", "{frame}");
    }
    floor.policy("[[may]]\nwho = \"team:shop\"\ndo = [\"look\"]\nto = \"nobody\"\n");
    // What would be told next is not; what is its own still is.
    floor.world.json(&["restart", "api"]);
    let frame = wire.frame().unwrap();
    assert_eq!((&frame["id"], &frame["error"]["code"]), (&json!(2), &json!("denied")), "{frame}");
    wire.send(&json!({ "id": 4, "unsub": 1 })).unwrap();
    assert_eq!(wire.frame().unwrap()["id"], 4);
    wire.send(&json!({ "id": 5, "unsub": 2 })).unwrap();
    assert_eq!(wire.frame().unwrap()["error"]["code"], "not_found", "it ended");
}

#[test]
fn an_agent_presses_keys_starts_stops_and_makes_others_only_where_it_was_said() {
    let floor = Floor::new();
    for (line, rule) in [
        ("keys api x", "default keys"),
        ("keys lead x", "default keys"),
        ("interrupt api", "default interrupt"),
        ("stop api", "default stop"),
        ("restart api", "default stop"),
        ("start api", "default start"),
        ("rm api", "default remove"),
        ("mail api --resume", "default mail"),
        ("new helper --agent shell --cwd /", "default create"),
        ("rename api other", "operator_only"),
        ("team create mine", "operator_only"),
        ("config set shelf.keep 9", "operator_only"),
        ("server stop", "operator_only"),
    ] {
        assert_eq!(floor.refused("lead", line), rule, "{line}");
    }
    floor.policy(
        "[[may]]\nwho = \"lead@shop\"\ndo = [\"keys\", \"stop\", \"start\", \"create\", \"mail\", \"remove\"]\n\
         to = \"team\"\n[[may]]\nwho = \"lead@shop\"\ndo = [\"keys\"]\nto = \"lead@shop\"\n\
         [[may]]\nwho = \"boss@shop\"\ndo = [\"decide\"]\nto = \"all\"\n",
    );
    let out = floor.path("pressed");
    floor.allowed("lead", &format!("keys api 'touch {}' Enter", out.display()));
    until("the keys were pressed", || out.exists().then_some(()));
    assert_eq!(floor.refused("lead", "keys lead x"), "own_keys", "they would be answers to its own requests");
    assert_eq!(floor.refused("lead", "keys db x"), "may 1 of policy.toml");
    let made = floor.allowed("lead", "new helper --agent shell --cwd /");
    assert_eq!(made["agent"], "helper@shop", "in the team of its maker");
    assert_eq!(floor.refused("lead", "new boss --agent shell --cwd /"), "may 3 of policy.toml");
    assert_eq!(floor.refused("lead", "new far --agent shell --cwd / --team other"), "may 1 of policy.toml");
    floor.allowed("lead", "stop helper");
    until("it has stopped", || (floor.world.agent("helper")["state"] == "offline").then_some(()));
    floor.allowed("lead", "rm helper");
    assert_eq!(floor.refused("lead", "stop lead"), "may 1 of policy.toml", "itself is not one of the others");
}

#[test]
fn what_holds_is_shown_with_its_rule() {
    let floor = Floor::new();
    floor.policy("[[may]]\nwho = \"lead@shop\"\ndo = [\"look\", \"keys\"]\nto = \"db@other\"\n");
    let shown = floor.world.json(&["policy", "show", "--agent", "lead"]);
    let rule = |right: &str| {
        let may = shown[0]["may"].as_array().unwrap().iter().find(|may| may["do"] == right).unwrap().clone();
        (may["to"].as_str().unwrap().to_owned(), may["rule"].as_str().unwrap().to_owned())
    };
    assert_eq!(shown[0]["agent"], "lead@shop");
    assert_eq!(rule("keys"), ("db@other".into(), "may 1 of policy.toml".into()));
    assert_eq!(rule("send"), ("all".into(), "default send".into()));
    assert_eq!(rule("decide"), ("nobody".into(), "default decide".into()));
    assert_eq!(floor.world.json(&["policy", "show"]).as_array().unwrap().len(), 3);
    let words = floor.world.run(&["policy", "show"]);
    assert!(String::from_utf8_lossy(&words.stdout).contains("may 1 of policy.toml"), "{words:?}");
    assert_eq!(floor.world.code(&["policy", "show", "--agent", "nobody"]), 7);
    assert_eq!(floor.allowed("api", "policy show --agent api")[0]["agent"], "api@shop", "who asks for itself too");
}

#[test]
fn a_foreign_conversation_comes_out_nowhere() {
    let floor = Floor::new();
    let world = &floor.world;
    const SECRET: &str = "the-words-of-others";
    let made = ["--agent", "cmd", "--team", "other", "--cwd", "/tmp", "--env", "KEY=the-words-of-others"];
    let command = ["--", "/bin/sh", "-c", "sleep 1000", "the-words-of-others"];
    world.json(&[&["new", "vault"], &made[..], &command].concat());
    world.says("db", "echo the-words-of-others", SECRET);
    let sent = world.json(&["send", "db", "-m", SECRET]);
    let id = sent["id"].as_str().unwrap().to_owned();
    let answer = floor.allowed("db", &format!("send operator -m {SECRET}"));
    let answer = answer["id"].as_str().unwrap().to_owned();
    // Through everything that an agent may ask, over the wire and by its own commands.
    let (mut wire, token) = floor.wire("lead");
    let mut heard = Vec::new();
    for (get, args) in [
        ("snapshot", json!({})),
        ("agents", json!({ "all": true })),
        ("agent", json!({ "agent": "db" })),
        ("agent", json!({ "agent": "vault" })),
        ("requests", json!({})),
        ("message", json!({ "message": id })),
        ("message", json!({ "message": answer })),
        ("thread", json!({ "thread": id })),
        ("queue", json!({ "agent": "db" })),
        ("inbox", json!({ "agent": "db", "all": true })),
        ("inbox", json!({ "agent": "operator", "all": true })),
        ("look", json!({ "agent": "db" })),
        ("transcript", json!({ "agent": "db" })),
        ("frames", json!({ "agent": "db" })),
        ("processes", json!({ "agent": "vault" })),
        ("commands", json!({ "agent": "db" })),
        ("files", json!({ "agent": "db", "word": "key" })),
        ("events", json!({ "from": 0, "limit": 1000 })),
        ("kinds", json!({})),
        ("rights", json!({})),
        ("diag", json!({ "topic": "outbox" })),
        ("diag", json!({ "topic": "runs" })),
        ("status", json!({})),
        ("doctor", json!({})),
    ] {
        heard.push((get.to_owned(), wire.call(json!({ "get": get, "args": args })).unwrap()));
    }
    for refused in [
        "message",
        "thread",
        "queue",
        "inbox",
        "look",
        "transcript",
        "frames",
        "processes",
        "commands",
        "files",
        "doctor",
    ] {
        let each = heard.iter().filter(|(get, _)| get == refused);
        assert!(each.clone().count() > 0 && each.clone().all(|(_, said)| !said["error"].is_null()), "{refused}");
    }
    let snapshot = &heard[0].1["ok"];
    let names: Vec<_> = snapshot["agents"].as_array().unwrap().iter().map(|agent| agent["name"].clone()).collect();
    assert_eq!(names.len(), 4, "names stay: {names:?}");
    for order in [
        json!({ "cmd": "message.ack", "args": { "message": id } }),
        json!({ "cmd": "message.cancel", "args": { "message": id } }),
        json!({ "cmd": "message.send", "args": { "to": ["operator"], "body": "x", "reply_to": id } }),
        json!({ "cmd": "message.send", "args": { "to": ["operator"], "body": "x", "thread": id } }),
        json!({ "view": { "agent": "db" } }),
    ] {
        let said = wire.call(order.clone()).unwrap();
        assert!(!said["error"].is_null(), "{order}: {said}");
        heard.push((order.to_string(), said));
    }
    // The stream from its beginning, and that of somebody who has to begin anew.
    let epoch = wire.welcome["epoch"].clone();
    for from in
        [json!({ "epoch": epoch, "seq": 0 }), json!({ "epoch": "00000000-0000-0000-0000-000000000000", "seq": 0 })]
    {
        let id = wire.start(json!({ "sub": { "from": from } })).unwrap();
        loop {
            let frame = wire.frame().unwrap();
            let is_over = !frame["caught_up"].is_null() && frame["sub"] == id;
            heard.push(("stream".into(), frame));
            if is_over {
                break;
            }
        }
    }
    let events: Vec<_> = heard.iter().filter_map(|(_, frame)| frame["event"]["type"].as_str()).collect();
    assert!(events.contains(&"agent.created") && events.contains(&"run.started"), "what is told is told: {events:?}");
    assert!(heard.iter().any(|(_, frame)| !frame["reset"].is_null()));
    let port = world.status()["web_url"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();
    let bearer = format!("Bearer {token}");
    for path in ["/v1/snapshot", "/v1/agents"] {
        let (status, _, body) = http(port, "GET", path, &[("Authorization", &bearer)], "");
        assert_eq!(status, 200, "{path}");
        heard.push((path.into(), body.into()));
    }
    for line in ["inbox --agent db", "queue db", "show db", "requests", "events --from 0"] {
        let out = floor.script("lead", &format!("{BINARY} --no-start --json {line}"));
        heard.push((line.into(), out.into()));
    }
    for (where_from, said) in &heard {
        assert!(!said.to_string().contains(SECRET), "{where_from}: {said}");
    }
    // And all of it is there for whom it is meant.
    let (mut own, _) = floor.wire("db");
    assert_eq!(own.get("message", json!({ "message": id }))["body"], SECRET);
    assert!(own.get("snapshot", json!({})).to_string().contains(SECRET));
    assert!(own.get("events", json!({ "from": 0, "limit": 1000 })).to_string().contains(SECRET));
    floor.policy("[[may]]\nwho = \"lead@shop\"\ndo = [\"look\"]\nto = \"team:other\"\n");
    assert_eq!(wire.get("message", json!({ "message": id }))["body"], SECRET, "on the connection that was there");
    assert!(wire.get("events", json!({ "from": 0, "limit": 1000 })).to_string().contains(SECRET));
    // A terminal that may be looked at no more is shown no more.
    let view = wire.start(json!({ "view": { "agent": "db" } })).unwrap();
    until("it sees the terminal", || {
        let frame = wire.frame().unwrap();
        (frame["id"] == view && !frame["screen"].is_null()).then_some(())
    });
    floor.policy("");
    world.json(&["keys", "db", "echo more", "Enter"]);
    until("it is refused", || (wire.frame().ok()?["error"]["code"] == "denied").then_some(()));
}
