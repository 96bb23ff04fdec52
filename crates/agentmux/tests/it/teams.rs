//! Team files: what `up` makes of them, what it leaves alone, and what `down` and `import` do.

use std::path::PathBuf;

use amux_proto::entity::{Kind, Size};
use serde_json::{Value, json};

use crate::attach::Person;
use crate::harness::{BINARY, World, until};

impl World {
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The code, what was said, and what was complained of.
    fn told(&self, args: &[&str]) -> (i32, String, String) {
        let out = self.run(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
    }

    fn pid_of(&self, agent: &str) -> u64 {
        self.agent(agent)["pid"].as_u64().unwrap_or_else(|| panic!("{agent} does not run"))
    }
}

const FILE: &str = "agentmux.toml";

const SHOP: &str = r#"
[team]
name = "shop"

[[agent]]
name = "lead"
kind = "shell"

[[agent]]
name = "api"
kind = "cmd"
command = ["sleep", "1000"]
start_after = ["lead"]
"#;

#[test]
fn up_makes_the_team_and_a_second_up_does_nothing() {
    let world = World::new();
    world.write(FILE, &format!("{SHOP}role = \"serves\"\ngroups = [\"back\"]\nmail = {{ paused = true }}\n"));
    let dry = world.json(&["up", "--dry-run"]);
    assert_eq!((&dry["changed"], &dry["plan"][0]["what"]), (&json!(false), &json!("create and start")));
    assert_eq!(world.json(&["ls", "--all"]), json!([]), "nothing was done");
    let up = world.json(&["up"]);
    assert_eq!((&up["team"], &up["changed"]), (&json!("shop"), &json!(true)));
    let pids = ["lead", "api"].map(|agent| world.pid_of(agent));
    assert_eq!([&up["agents"][0]["pid"], &up["agents"][1]["pid"]], [&json!(pids[0]), &json!(pids[1])]);
    assert_eq!(world.agent("lead")["cwd"], world.home.dir.canonicalize().unwrap().to_str().unwrap());
    // From below, by another way: the same file.
    std::fs::create_dir(world.home.dir.join("below")).unwrap();
    let below = world.home.command().args(["up"]).current_dir(world.home.dir.join("below")).output().unwrap();
    let words = String::from_utf8_lossy(&below.stdout).into_owned();
    assert!(below.status.success() && words.contains("nothing to do"), "{words}");
    assert_eq!(world.json(&["up", FILE])["changed"], false);
    assert_eq!(["lead", "api"].map(|agent| world.pid_of(agent)), pids);
    world.json(&["stop", "lead"]);
    let again = world.json(&["up"]);
    assert_eq!((again["agents"].as_array().unwrap().len(), &again["agents"][0]["what"]), (1, &json!("start")));
}

#[test]
fn only_what_changed_restarts_and_only_when_that_was_agreed_to() {
    let world = World::new();
    world.write(FILE, SHOP);
    world.json(&["up"]);
    let (lead, api) = (world.pid_of("lead"), world.pid_of("api"));
    world.write(FILE, &SHOP.replace("1000", "2000"));
    let (code, out, err) = world.told(&["up"]);
    assert_eq!(code, 2, "{out} {err}");
    assert!(out.contains("redefine and restart") && out.contains("args"), "the plan is shown first: {out}");
    assert!(err.contains("1 running agent") && err.contains("hint: agentmux up --yes"), "{err}");
    assert_eq!(world.pid_of("api"), api, "nothing was done");
    let up = world.json(&["up", "--yes"]);
    assert_eq!(up["plan"][1]["why"], json!(["args"]));
    assert_eq!(world.pid_of("lead"), lead, "it is the same process");
    assert_ne!(world.pid_of("api"), api);
    assert_eq!(world.json(&["show", "api"])["definition"]["argv"], json!(["sleep", "2000"]));
    assert_eq!(world.json(&["up"])["changed"], false);
}

#[test]
fn a_person_is_asked_before_what_runs_is_ended() {
    let world = World::new();
    world.write(FILE, SHOP);
    world.json(&["up"]);
    let api = world.pid_of("api");
    world.write(FILE, &SHOP.replace("1000", "2000"));
    let says = |args: &[&str], question: &str, answer: &str| {
        let mut person = Person::new(&world, Size { rows: 24, cols: 120 }, BINARY, args);
        person.sees(question);
        person.types(answer);
        person.ends()
    };
    assert_eq!(says(&["up"], "ended to go on: api. Go on? [y/N]", "\r"), 1);
    assert_eq!(world.pid_of("api"), api, "silence is no yes");
    assert_eq!(says(&["up"], "Go on? [y/N]", "y\r"), 0);
    assert_ne!(world.pid_of("api"), api);
    assert_eq!(says(&["down"], "2 running agents of team shop", "n\r"), 1);
    assert_eq!(says(&["down"], "Go on? [y/N]", "yes\r"), 0);
    assert_eq!(world.agent("lead")["state"], "offline");
}

#[test]
fn a_role_a_group_or_a_mail_rule_restarts_nobody() {
    let world = World::new();
    world.write(FILE, SHOP);
    world.json(&["up"]);
    let api = world.pid_of("api");
    world.write(FILE, &format!("{SHOP}role = \"r\"\ngroups = [\"g\"]\n[agent.mail]\nboundary = \"5s\"\n"));
    let up = world.json(&["up"]);
    assert_eq!(up["agents"][0]["what"], "change", "{up}");
    assert_eq!(up["plan"][1]["why"], json!(["role", "groups", "mail.boundary"]));
    assert_eq!(world.pid_of("api"), api);
    assert_eq!(world.json(&["up"])["changed"], false, "it is kept");
}

#[test]
fn what_is_wrong_with_a_file_is_told_at_once_with_line_and_nearest_key() {
    let world = World::new();
    world.write(FILE, &SHOP.replace("start_after", "start_afer").replace("\"shell\"", "\"shel\""));
    let (code, _, err) = world.told(&["up"]);
    assert_eq!(code, 2);
    assert!(
        err.contains("2 things are wrong") && err.contains("agentmux.toml:7: unknown kind: shel (did you"),
        "{err}"
    );
    assert!(err.contains("agentmux.toml:13: unknown key: start_afer (did you mean start_after?)"), "{err}");
    assert!(world.processes().is_empty(), "a mistake starts no server");
    assert_eq!(world.code(&["up", "nowhere.toml"]), 7);
}

#[test]
fn who_starts_after_another_starts_after_it() {
    let world = World::new();
    // Not in the order of the file, and one waits for two.
    let text = r#"
        [team]
        name = "shop"
        [[agent]]
        name = "api"
        kind = "shell"
        start_after = ["lead", "cache"]
        [[agent]]
        name = "cache"
        kind = "shell"
        start_after = ["lead"]
        [[agent]]
        name = "lead"
        kind = "shell"
    "#;
    world.write(FILE, text);
    world.json(&["up"]);
    let events = world.run(&["events", "--json"]);
    let order: Vec<String> = String::from_utf8_lossy(&events.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| ["agent.start_wanted", "run.started"].contains(&event["type"].as_str().unwrap_or_default()))
        .map(|event| format!("{} {}", event["type"].as_str().unwrap(), event["data"]["agent"]))
        .collect();
    let of = |name: &str| world.agent(name)["uid"].clone();
    let (lead, cache, api) = (of("lead"), of("cache"), of("api"));
    let wanted: Vec<_> = [lead, cache, api]
        .iter()
        .flat_map(|uid| [format!("agent.start_wanted {uid}"), format!("run.started {uid}")])
        .collect();
    assert_eq!(order, wanted);
}

#[test]
fn one_that_cannot_start_holds_up_who_waits_for_it_and_nobody_else() {
    let world = World::new();
    let text = format!(
        "{SHOP}\n[[agent]]\nname = \"bad\"\nkind = \"cmd\"\ncommand = [\"/no/such/program\"]\n\
         [[agent]]\nname = \"late\"\nkind = \"shell\"\nstart_after = [\"bad\"]\n"
    );
    world.write(FILE, &text);
    let out = world.run(&["--json", "up"]);
    assert_eq!(out.status.code(), Some(5));
    let up: Value = serde_json::from_slice(&out.stdout).unwrap();
    let of = |name: &str| {
        let agents = up["data"]["agents"].as_array().unwrap();
        agents.iter().find(|agent| agent["agent"] == format!("{name}@shop")).unwrap().clone()
    };
    assert!(of("bad")["error"].as_str().unwrap().contains("/no/such/program"), "{up}");
    assert_eq!(of("late")["error"], "not started, it waits for bad");
    assert!(of("lead")["ok"] == true && of("api")["ok"] == true, "{up}");
    assert_eq!(world.agent("late")["run"], Value::Null);
    let (code, out, err) = world.told(&["up"]);
    assert_eq!(code, 5);
    assert!(err.contains("2 of 2 did not work: bad, late"), "{out} {err}");
}

#[test]
fn who_is_not_in_the_file_is_left_alone_until_it_is_asked_for() {
    let world = World::new();
    world.write(FILE, SHOP);
    world.json(&["up"]);
    world.json(&["new", "guest", "--agent", "shell", "--team", "shop"]);
    let (code, out, _) = world.told(&["up"]);
    assert!(code == 0 && out.contains("not in the file: guest (--prune removes them)"), "{out}");
    assert_eq!(world.code(&["up", "--prune"]), 2, "it runs");
    assert!(world.agent("guest")["pid"].is_u64());
    let up = world.json(&["up", "--prune", "--yes"]);
    assert_eq!((&up["agents"][0]["what"], &up["agents"][0]["ok"]), (&json!("stop and remove"), &json!(true)));
    assert_eq!(world.code(&["show", "guest"]), 7);
    assert!(world.agent("lead")["pid"].is_u64());
}

#[test]
fn down_says_how_many_run_and_stops_them() {
    let world = World::new();
    world.write(FILE, SHOP);
    assert_eq!(world.code(&["down"]), 3, "nothing is started for it");
    assert!(world.processes().is_empty());
    world.json(&["up"]);
    world.json(&["new", "other", "--agent", "shell"]);
    let (code, _, err) = world.told(&["down"]);
    assert_eq!(code, 2);
    assert!(err.contains("2 running agents of team shop") && err.contains("agentmux down shop --yes"), "{err}");
    assert!(world.agent("lead")["pid"].is_u64(), "nothing was done");
    let (code, out, err) = world.told(&["down", "--yes"]);
    assert!(code == 0 && out.contains("2 running agents of team shop") && out.contains("2 stopped"), "{out} {err}");
    assert_eq!(world.agent("lead")["state"], "offline");
    assert!(world.agent("other")["pid"].is_u64(), "it is of another team");
    let (code, out, _) = world.told(&["down", "shop"]);
    assert!(code == 0 && out.contains("nothing runs in team shop"), "{out}");
    assert_eq!(world.code(&["down", "shpo"]), 7);
    assert_eq!(world.json(&["down", "--all", "--yes"])["agents"][0]["agent"], "other@default");
    assert_eq!(world.agent("other")["state"], "offline");
}

#[test]
fn without_a_file_a_team_is_made_of_the_directory() {
    let world = World::new();
    let dir = world.home.dir.join("My Shop");
    std::fs::create_dir(&dir).unwrap();
    let up = |dir: &PathBuf| {
        let mut command = world.home.command();
        // No CLI of this machine is meant.
        command.args(["--json", "up"]).current_dir(dir).env("PATH", "/usr/bin:/bin");
        serde_json::from_slice::<Value>(&command.output().unwrap().stdout).unwrap()
    };
    let first = up(&dir);
    assert_eq!((&first["ok"], &first["data"]["team"]), (&json!(true), &json!("my-shop")), "{first}");
    let lead = world.agent("lead@my-shop");
    assert_eq!((&lead["kind"], lead["pid"].is_u64()), (&json!("shell"), true));
    assert_eq!(up(&dir)["data"]["changed"], false);
    let namesake = world.home.dir.join("elsewhere/my shop");
    std::fs::create_dir_all(&namesake).unwrap();
    assert_eq!(up(&namesake)["error"]["code"], "conflict", "it is not its team");
    let down = world.home.command().args(["down", "--yes"]).current_dir(&dir).output().unwrap();
    assert!(down.status.success());
    until("it has stopped", || (world.agent("lead@my-shop")["state"] == "offline").then_some(()));
}

const CODERS: &str = r#"
format-version = 1
[[coders]]
id = "claude"
[coders.tmux]
initial-command = "claude --model opus --dangerously-skip-permissions"
resume-command = "claude --resume {{coder-session-id}}"
prompt-regex = "^>"
[[coders]]
id = "aider"
environment = [{ name = "DARK", value = "1" }]
[coders.tmux]
initial-command = "aider --no-git"
resume-command = "aider"
[[coders]]
id = "served"
[coders.tmux]
initial-command = "serve {{bundle-session-id}} {{session-directory}}"
resume-command = "serve"
"#;

const BUNDLE: &str = r#"
format-version = 1
autostart = true
environment = [{ name = "WHO", value = "bundle" }]
[[sessions]]
id = "Lead"
directory = "/src/shop"
coder = "claude"
coder-session-id = "abc"
environment = [{ name = "WHO", value = "session" }]
[[sessions]]
id = "helper"
directory = "/src/shop"
coder = "aider"
[[sessions]]
id = "web"
directory = "/src/web"
coder = "served"
[[sessions]]
id = "human"
directory = "/"
[sessions.ui]
"#;

#[test]
fn import_writes_what_maps_says_what_does_not_and_writes_over_nothing() {
    let world = World::new();
    world.write("relay/coders.toml", CODERS);
    world.write("relay/bundles/shop.toml", BUNDLE);
    world.write("relay/policies.toml", "format-version = 1\ndefault = \"a\"\n[[policies]]\nid = \"a\"\n");
    let done = world.json(&["import", "relay", "relay", "--out", "out"]);
    let left = done["left"].to_string();
    for wanted in ["prompt-regex", "coder-session-id", "autostart", "human: ui: it is no agent", "policies.toml"] {
        assert!(left.contains(wanted), "{wanted}: {left}");
    }
    let read = |name: &str| std::fs::read_to_string(world.home.dir.join(name)).unwrap();
    let team: toml::Table = toml::from_str(&read("out/agentmux.toml")).unwrap();
    let agents = json!(team["agent"]);
    assert_eq!(
        agents,
        json!([
            { "name": "lead", "kind": "claude", "model": "opus", "mode": "bypassPermissions", "cwd": "/src/shop",
              "env": { "WHO": "session" } },
            { "name": "helper", "kind": "aider", "cwd": "/src/shop", "env": { "WHO": "bundle" } },
            { "name": "web", "kind": "cmd", "command": ["serve", "web", "/src/web"], "cwd": "/src/web",
              "env": { "WHO": "bundle" } },
        ])
    );
    let kinds: toml::Table = toml::from_str(&read("out/agents.toml")).unwrap();
    let aider: Kind = kinds["kind"]["aider"].clone().try_into().unwrap();
    assert_eq!((aider.program.as_deref(), aider.args.as_slice()), (Some("aider"), &["--no-git".to_owned()][..]));
    assert_eq!(aider.env["DARK"], "1");
    assert!(world.processes().is_empty(), "no server is needed for it");
    let (code, _, err) = world.told(&["import", "relay", "relay", "--out", "out"]);
    assert!(code == 1 && err.contains("out/agentmux.toml"), "{err}");
    // Several bundles are several files, and none is written when one cannot be.
    world.write("relay/bundles/lab.toml", BUNDLE);
    world.write("two/shop.toml", "mine");
    assert_eq!(world.code(&["import", "relay", "relay", "--out", "two"]), 1);
    assert_eq!((read("two/shop.toml").as_str(), world.home.dir.join("two/lab.toml").exists()), ("mine", false));
    world.json(&["import", "relay", "relay", "--out", "three"]);
    assert!(read("three/lab.toml").contains("name = \"lab\"") && read("three/shop.toml").contains("name = \"shop\""));
    // A bundle of the name of the file of kinds is seen before anything is written.
    world.write("relay/bundles/agents.toml", BUNDLE);
    let (code, _, err) = world.told(&["import", "relay", "relay", "--out", "four"]);
    assert!(code == 1 && err.contains("agents.toml"), "{err}");
    assert!(!world.home.dir.join("four").exists());
    // What was written is what `up` reads.
    world.write("config/agents.toml", &read("three/agents.toml"));
    let plan = world.json(&["up", "three/shop.toml", "--dry-run"]);
    assert_eq!(plan["plan"].as_array().unwrap().len(), 3, "{plan}");
}
