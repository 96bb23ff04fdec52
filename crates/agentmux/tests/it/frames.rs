//! The lines between us and a CLI, as they crossed.

use std::fs;

use amux_engine::archive::{Policy, Roots};
use amux_sys::clock;
use amux_sys::signals::{self, Signal};
use amux_testkit::crash_agents;
use serde_json::{Value, json};

use crate::harness::{World, fake_agent, until};

fn world() -> World {
    let world = World::new();
    fs::create_dir_all(world.home.dir.join("config")).unwrap();
    fs::write(world.home.dir.join("config/agents.toml"), crash_agents::kinds(&fake_agent())).unwrap();
    world
}

fn fake(world: &World, name: &str) {
    let oracle = world.home.dir.join(name).display().to_string();
    // Noise between its lines, so that there is something in every gap.
    let args = ["new", name, "--agent", "fake-claude", "--cwd", "/", "--", "--rate", "50", "--oracle", &oracle];
    world.json(&args);
    until("it runs", || world.agent(name)["pid"].as_u64());
}

fn frames(world: &World, args: Value) -> Value {
    world.home.connect().unwrap().get("frames", args)
}

/// From the newest page back to the beginning.
fn all(world: &World, name: &str, limit: u32) -> Vec<Value> {
    let mut page = frames(world, json!({ "agent": name, "limit": limit }));
    let mut found = Vec::new();
    loop {
        let mut earlier = page["frames"].as_array().unwrap().clone();
        assert!(earlier.len() <= limit as usize);
        earlier.append(&mut found);
        found = earlier;
        if page["from"].is_null() {
            return found;
        }
        page = frames(world, json!({ "agent": name, "limit": limit, "before": page["from"] }));
    }
}

/// What the fake itself wrote down of what it read and printed.
fn crossed(world: &World, name: &str, what: &str) -> Vec<String> {
    let text = fs::read_to_string(world.home.dir.join(format!("{name}.{what}"))).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn one_way(frames: &[Value], way: &str) -> Vec<String> {
    frames.iter().filter(|frame| frame["way"] == way).map(|frame| text(&frame["text"])).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn is_exact(world: &World, name: &str) {
    // It prints on meanwhile: what had crossed before is there, and nothing that had not crossed by then.
    let found = until("every line is a frame", || {
        let before = ["in", "out"].map(|what| crossed(world, name, what));
        let found = all(world, name, 7);
        let frames = ["told", "said"].map(|way| one_way(&found, way));
        let after = ["in", "out"].map(|what| crossed(world, name, what));
        let is_between = |at: usize| frames[at].starts_with(&before[at]) && after[at].starts_with(&frames[at]);
        (is_between(0) && is_between(1) && !before[0].is_empty()).then_some(found)
    });
    for limit in [3, 2000] {
        assert_eq!(all(world, name, limit)[..found.len()], found, "pages end where they like");
    }
    // No turn ended before it was asked for, and no second one was asked for before that.
    let kinds = found.iter().filter_map(|frame| {
        let line: Value = serde_json::from_str(frame["text"].as_str().unwrap()).unwrap_or_default();
        let kind = line["type"].as_str().unwrap_or_default().to_owned();
        matches!((&*text(&frame["way"]), &*kind), ("told", "user") | ("said", "result")).then_some(kind)
    });
    let kinds: Vec<_> = kinds.collect();
    assert!(kinds.chunks(2).all(|turn| turn == ["user", "result"]), "{kinds:?}");
    assert!(found.iter().filter(|frame| frame["way"] == "told").all(|frame| frame["at"].is_string()));
    assert!(found.iter().all(|frame| frame["doubt"].is_null()), "{found:?}");
}

#[test]
fn frames_are_the_lines_that_crossed_the_pipes_in_their_order() {
    let world = world();
    fake(&world, "fay");
    let works = |words: &str| {
        let id = text(&world.json(&["send", "fay", "-m", words])["id"]);
        until("its turn ended", || {
            (world.json(&["msg", "show", &id])["deliveries"][0]["stage"] == "acked").then_some(())
        });
        until("it is idle", || (world.agent("fay")["state"] == "idle").then_some(()));
    };
    works("say:3");
    is_exact(&world, "fay");
    let next = frames(&world, json!({ "agent": "fay" }))["next"].clone();
    works("say:40");
    is_exact(&world, "fay");
    let after = frames(&world, json!({ "agent": "fay", "after": next, "limit": 2000 }));
    let after = after["frames"].as_array().unwrap();
    assert!(one_way(after, "told")[0].contains("say:40"), "{after:?}");
    let before = all(&world, "fay", 2000);
    let place = before.iter().position(|frame| frame == &after[0]).unwrap();
    assert_eq!(before[place..place + after.len()], after[..]);
    // In the middle of a turn the server is killed.
    let id = text(&world.json(&["send", "fay", "-m", "say:20 sleep:500 say:20"])["id"]);
    let stage = || text(&world.json(&["msg", "show", &id])["deliveries"][0]["stage"]);
    until("it works", || ["begun", "acked"].contains(&stage().as_str()).then_some(()));
    signals::send(world.pid("pid"), Signal::Kill).unwrap();
    until("its turn ended", || (stage() == "acked").then_some(()));
    is_exact(&world, "fay");
    works("say:2");
    is_exact(&world, "fay");
    assert_eq!(all(&world, "fay", 2000)[..before.len()], before[..], "what was said stays where it was");
    world.json(&["stop", "fay"]);
    world.json(&["wait", "fay", "--for", "offline", "--timeout", "20s"]);
    is_exact(&world, "fay");
    // Packed away, it is brought back by whoever reads it.
    let kept = all(&world, "fay", 2000);
    let state = world.home.state();
    let roots = Roots { tapes: state.join("tapes"), archive: state.join("archive/tapes") };
    let now = clock::now_ms() + 60_000;
    fs::create_dir_all(&roots.archive).unwrap();
    let policy = Policy { idle_ms: 0, cap_bytes: u64::MAX, ..Policy::default() };
    for step in roots.plan(&|_, _| false, &policy, now).unwrap().steps {
        roots.carry_out(&step, now, &mut |_| Ok(())).unwrap();
    }
    let uid = text(&world.agent("fay")["uid"]);
    assert!(!roots.tapes.join(uid).join("1/in").exists(), "it is archived");
    assert_eq!(all(&world, "fay", 5), kept);
    // For people and for scripts.
    let words = world.run(&["log", "fay", "--frames"]);
    let words = String::from_utf8(words.stdout).unwrap();
    let signs = words.lines().map(|line| line.chars().next().unwrap());
    let told = signs.clone().filter(|sign| *sign == '>').count();
    assert_eq!((told, signs.count()), (crossed(&world, "fay", "in").len(), all(&world, "fay", 2000).len()));
    let two = world.run(&["log", "fay", "--frames", "-n", "2", "--json"]);
    let two: Vec<Value> =
        String::from_utf8(two.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(two[..], all(&world, "fay", 2)[all(&world, "fay", 2).len() - 2..]);
}

#[test]
fn who_asks_for_frames_that_are_not_there_is_told_why() {
    let world = world();
    world.shell("bash");
    let mut wire = world.home.connect().unwrap();
    let mut refused = |args: Value| wire.call(json!({ "get": "frames", "args": args })).unwrap()["error"].clone();
    let terminal = refused(json!({ "agent": "bash" }));
    assert_eq!((&terminal["code"], &terminal["hint"]), (&json!("unsupported"), &json!("agentmux look bash@default")));
    fake(&world, "fay");
    assert_eq!(refused(json!({ "agent": "fay", "after": "yesterday" }))["code"], "bad_args");
    assert_eq!(refused(json!({ "agent": "fay", "after": "0.0.0.0", "before": "0.0.0.0" }))["code"], "bad_args");
    assert_eq!(frames(&world, json!({ "agent": "fay", "run": 9 }))["frames"], json!([]));
    assert_eq!(frames(&world, json!({ "agent": "fay", "before": "9.9.9.9" }))["run"], 1);
}

/// More than one answer holds.
const MANY: usize = 5000;

#[test]
fn as_many_of_the_newest_frames_are_printed_as_are_asked_for() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let (dir, program) = (&world.home.dir, world.home.dir.join("talker"));
    let opens = r#"{"type":"system","subtype":"init","cwd":"/","session_id":"s","tools":[],"mcp_servers":[],"model":"m","permissionMode":"default"}"#;
    let says = r#"{"type":"assistant","message":{"id":"m%s","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"part %s"}],"usage":{"input_tokens":1,"output_tokens":1}},"parent_tool_use_id":null,"session_id":"s"}"#;
    let speaks = format!(
        "printf '%s\\n' '{opens}'; n=0; while [ $n -lt {MANY} ]; do n=$((n+1)); printf '{says}\\n' $n $n; done"
    );
    fs::write(&program, format!("#!/bin/sh\nread hello\n{speaks}\nexec cat >/dev/null\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(dir.join("config")).unwrap();
    let kind = format!("[kind.talker]\nabout = \"says much\"\ndialect = \"claude\"\nprogram = {program:?}\n");
    fs::write(dir.join("config/agents.toml"), kind).unwrap();
    world.json(&["new", "much", "--agent", "talker", "--cwd", "/"]);
    let newest = |count: &str| -> Vec<String> {
        let printed = world.run(&["log", "much", "--frames", "-n", count, "--json"]);
        let lines = String::from_utf8(printed.stdout).unwrap();
        let frames: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        one_way(&frames, "said")
    };
    let last = format!("\"part {MANY}\"");
    until("it has said all", || newest("1").first()?.contains(&last).then_some(()));
    let said = newest("4500");
    let parts: Vec<_> = (MANY - 4499..=MANY).map(|n| format!("\"part {n}\"")).collect();
    assert_eq!(said.len(), parts.len());
    assert!(said.iter().zip(&parts).all(|(said, part)| said.contains(part)), "the newest, in their order");
    assert_eq!(newest("9000").len(), MANY + 1, "all of them where there are fewer");
}
