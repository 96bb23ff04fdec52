//! What commands say: to people, to scripts, and when they are misused.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use amux_sys::signals::{self, Signal};
use amux_testkit::crash_agents;
use serde_json::{Value, json};

use crate::harness::{World, fake_agent, until};

#[test]
fn every_command_says_what_it_did() {
    let world = World::new();
    assert_eq!(world.code(&["nonsense"]), 2);
    assert_eq!(world.answer(&["nonsense"])["ok"], false);
    assert_eq!(world.code(&[]), 2, "without a terminal and a command there is only the help");
    assert_eq!(world.code(&["show", "nobody"]), 7);
    assert_eq!(world.code(&["new", "x", "--agent", "robot"]), 2);
    let mistyped = world.answer(&["new", "x", "--agent", "claud"]);
    assert_eq!(mistyped["error"]["hint"], "did you mean claude?");
    assert_eq!(world.code(&["diag", "nonsense"]), 7);
    world.json(&["team", "create", "one"]);
    world.json(&["team", "create", "two"]);
    for team in ["one", "two"] {
        world.json(&["new", "twin", "--agent", "cmd", "--team", team, "--no-start-agent", "--", "true"]);
    }
    let ambiguous = world.answer(&["show", "twin"]);
    assert_eq!(ambiguous["error"]["code"], "ambiguous");
    assert!(ambiguous["error"]["details"].to_string().contains("twin@two"), "{ambiguous}");
    assert_eq!(world.agent("TWIN@one")["team"], "one");
    assert_eq!(world.code(&["start", "twin@one", "nobody"]), 5, "partly done");
    world.json(&["wait", "twin@one", "--for", "offline", "--timeout", "20s"]);
    assert_eq!(world.code(&["wait", "twin@two", "--for", "idle", "--timeout", "100ms"]), 6);
    assert_eq!(world.json(&["stop", "twin@two"])["changed"], false);
    assert!(world.json(&["ls"]).as_array().unwrap().is_empty());
    let all = world.json(&["ls", "--all"]);
    for field in [
        "uid",
        "name",
        "team",
        "kind",
        "state",
        "reason",
        "since",
        "run",
        "pid",
        "cwd",
        "session_id",
        "unread",
        "queued",
    ] {
        assert!(all[0].get(field).is_some(), "{field}: {all}");
    }
    for field in [
        "profile",
        "pid",
        "launcher_pid",
        "version",
        "started",
        "epoch",
        "head_seq",
        "agents",
        "web_url",
        "socket",
        "state_dir",
    ] {
        assert!(world.status().get(field).is_some(), "{field}");
    }
    let first = world.run(&["events", "--from", "0"]);
    let first: Value = serde_json::from_str(String::from_utf8_lossy(&first.stdout).lines().next().unwrap()).unwrap();
    for field in ["epoch", "seq", "at", "actor", "cause", "topic", "type", "data"] {
        assert!(first.get(field).is_some(), "{field}: {first}");
    }
    world.json(&["rename", "twin@one", "solo"]);
    world.json(&["rm", "solo"]);
    world.json(&["team", "rm", "two", "--with-agents"]);
    assert_eq!(world.code(&["team", "rm", "two"]), 7);
    for topic in ["boot", "store", "outbox", "flows", "connections", "runs", "logs"] {
        world.json(&["diag", topic]);
    }
    for args in
        [&["version"][..], &["config", "path"], &["config", "check"], &["config", "show"], &["requests"], &["doctor"]]
    {
        world.json(args);
    }
    assert!(world.run(&["completions", "bash"]).status.success());
    let help = String::from_utf8_lossy(&world.run(&["--help"]).stdout).into_owned();
    for later in ["search", "history", "usage"] {
        assert!(!help.lines().any(|line| line.trim_start().starts_with(later)), "{later} does not work yet");
    }
}

#[test]
fn layouts_are_made_moved_closed_and_brought_back() {
    let world = World::new();
    world.json(&["new", "a", "--agent", "cmd", "--no-start-agent", "--", "true"]);
    world.json(&["workspace", "create", "main"]);
    let tab = world.json(&["tab", "create", "main", "--name", "work", "--agent", "a"]);
    assert!(tab["tab"].is_string(), "{tab}");
    let first = world.json(&["pane", "ls"])[0]["id"].as_str().unwrap().to_owned();
    let second = world.json(&["pane", "open", "--view", "events", "--beside", &first, "--side", "down"]);
    let second = second["pane"].as_str().unwrap().to_owned();
    world.json(&["pane", "open", "--empty", "--stack", &second]);
    let tree = world.json(&["layout", "show"]);
    assert_eq!(tree["tabs"][0]["root"]["direction"], "column", "{tree}");
    assert_eq!(tree["panes"].as_array().unwrap().len(), 3);
    world.json(&["pane", "tear-off", &first, "--name", "torn"]);
    assert_eq!(world.json(&["workspace", "ls"]).as_array().unwrap().len(), 2);
    world.json(&["workspace", "restore", "torn"]);
    assert_eq!(world.json(&["workspace", "ls"]).as_array().unwrap().len(), 1);
    world.json(&["tab", "close", "work"]);
    assert_eq!(world.json(&["pane", "ls"]), json!([]));
    world.json(&["layout", "reopen"]);
    let again = world.json(&["layout", "show"]);
    assert_eq!(again["panes"].as_array().unwrap().len(), 3, "{again}");
    let stale = world.answer(&["tab", "rename", "work", "other", "--expect", "1"]);
    assert_eq!(stale["error"]["code"], "stale", "{stale}");
    assert!(stale["error"]["details"]["rev"].is_u64());
    world.json(&["server", "restart"]);
    assert_eq!(world.json(&["layout", "show"])["tabs"], again["tabs"], "the server keeps it");
}

#[test]
fn hostile_words_do_not_reach_the_terminal() {
    let world = World::new();
    let script = "printf '\\033]52;c;ZXZpbA==\\007\\033]0;evil\\033[2J\\007safe\\n'; exec sleep 1000";
    world.json(&["new", "evil", "--agent", "cmd", "--cwd", "/", "--", "/bin/sh", "-c", script]);
    until("it has spoken", || world.json(&["look", "evil"])["lines"].to_string().contains("safe").then_some(()));
    for args in [
        &["look", "evil"][..],
        &["look", "evil", "--ansi"],
        &["show", "evil"],
        &["ls", "--all"],
        &["events", "--from", "0"],
    ] {
        let out = world.run(args);
        assert!(!out.stdout.contains(&0x07) && !String::from_utf8_lossy(&out.stdout).contains("\x1b]"), "{args:?}");
    }
}

#[test]
fn a_mistake_is_one_line_and_a_hint_and_one_object_for_scripts() {
    let world = World::new();
    for (args, message, hint) in [
        (&["lss"][..], "unrecognized subcommand 'lss'", "agentmux ls"),
        (&["ls", "--bogus"], "unexpected argument '--bogus' found", "agentmux ls --help"),
        (
            &["team", "create"],
            "the following required arguments were not provided: <NAME>",
            "agentmux team create --help",
        ),
        (&["stop", "x", "--grace", "5"], "not a duration: 5", "agentmux stop --help"),
        (&["wait", "x", "--for", "happy"], "no such state: happy", "one of offline"),
        (&["new", "x", "--agent", "cmd"], "a command is needed: cmd", "-- COMMAND"),
    ] {
        let out = world.run(args);
        let words = String::from_utf8_lossy(&out.stderr).into_owned();
        let lines: Vec<_> = words.lines().collect();
        assert_eq!((out.status.code(), lines.len(), out.stdout.len()), (Some(2), 2, 0), "{args:?}: {words}");
        assert!(lines[0].starts_with("agentmux: ") && lines[0].contains(message), "{words}");
        assert!(lines[1].starts_with("hint: ") && lines[1].contains(hint), "{words}");
        let answer = world.answer(args);
        assert_eq!((&answer["ok"], &answer["error"]["code"]), (&json!(false), &json!("bad_args")), "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(message), "{answer}");
        assert!(answer["error"].get("details").is_some() && answer["error"]["hint"].is_string(), "{answer}");
    }
    assert!(world.processes().is_empty(), "a mistake starts no server");
}

#[test]
fn the_settings_file_is_checked_with_line_and_nearest_key() {
    let world = World::new();
    let dir = world.home.dir.join("config");
    std::fs::create_dir_all(&dir).unwrap();
    let settings = dir.join("settings.jsonc");
    assert_eq!(world.json(&["config", "path"])["settings"], settings.to_str().unwrap());
    std::fs::write(&settings, "{\n// \"agent.stop_grace\"\n\"agent.stop_grace\": 1,\n\"shelf.keep\": 0,\n}").unwrap();
    let answer = world.answer(&["config", "check"]);
    let problems = answer["error"]["details"]["problems"].to_string();
    assert!(problems.contains("settings.jsonc:3: ") && problems.contains("agent.stop_grace_ms"), "{answer}");
    assert!(problems.contains("settings.jsonc:4: ") && problems.contains("from 1 to 256"), "{answer}");
    std::fs::write(&settings, "{\n  \"shelf.keep\": }").unwrap();
    assert!(world.answer(&["config", "check"])["error"]["message"].to_string().contains("settings.jsonc:2:"));
    assert!(world.processes().is_empty(), "nobody is asked");
    std::fs::write(&settings, "{ \"shelf.keep\": 7 /* enough */ }").unwrap();
    let shown = world.json(&["config", "show"]);
    let keep = shown.as_array().unwrap().iter().find(|row| row["key"] == "shelf.keep").unwrap();
    assert_eq!((&keep["value"], &keep["source"], &keep["default"]), (&json!(7), &json!("file"), &json!(32)));
    assert_eq!(world.answer(&["config", "set", "shelf.keep", "8"])["error"]["code"], "conflict");
}

#[test]
fn an_order_returns_when_it_is_carried_out() {
    let world = World::new();
    let made = world.json(&["new", "sh", "--agent", "shell", "--cwd", "/"]);
    assert!(made["pid"].is_u64(), "{made}");
    world.json(&["keys", "sh", "echo at-once", "Enter"]);
    let before = world.agent("sh")["pid"].clone();
    let again = world.json(&["restart", "sh"]);
    assert_eq!(again["run"], 2);
    assert!(again["pid"].is_u64() && again["pid"] != before, "{again}");
    world.json(&["stop", "sh"]);
    assert_eq!((&world.agent("sh")["state"], &world.agent("sh")["pid"]), (&json!("offline"), &Value::Null));
    world.json(&["start", "sh"]);
    assert_eq!(world.answer(&["rm", "sh"])["error"]["code"], "conflict");
    assert_eq!(world.json(&["rm", "sh", "--stop"])["removed"], true);
    assert_eq!(world.code(&["show", "sh"]), 7);
    let failed = world.answer(&["new", "bad", "--agent", "cmd", "--", "/no/such/program"]);
    assert!(failed["error"]["message"].as_str().unwrap().contains("/no/such/program"), "{failed}");
    assert_eq!(world.code(&["start", "bad"]), 1);
}

#[test]
fn part_of_an_order_is_told_part_by_part() {
    let world = World::new();
    world.json(&["new", "a", "--agent", "cmd", "--no-start-agent", "--", "sleep", "1000"]);
    let out = world.run(&["--json", "start", "a", "nobody"]);
    assert_eq!(out.status.code(), Some(5));
    let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(answer["data"][0]["pid"].is_u64(), "{answer}");
    assert_eq!(answer["data"][1]["error"]["code"], "not_found", "{answer}");
    assert_eq!(world.code(&["start", "nobody", "noone"]), 7, "nothing was done");
}

#[test]
fn who_waits_sees_what_comes_later_and_across_a_restart() {
    let world = World::new();
    world.shell("sh");
    let mut command = world.home.command();
    command.args(["wait", "sh", "--for", "offline,failed", "--json"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut waiter = command.spawn().unwrap();
    until("it follows", || (world.json(&["diag", "connections"])["now"].as_u64()? >= 2).then_some(()));
    world.json(&["server", "restart"]);
    assert!(waiter.try_wait().unwrap().is_none(), "a restart is a pause");
    world.json(&["keys", "sh", "exit", "Enter"]);
    let out = waiter.wait_with_output().unwrap();
    let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((out.status.code(), &answer["data"][0]["state"]), (Some(0), &json!("offline")), "{answer}");
}

#[test]
fn who_follows_misses_nothing_and_hears_nothing_twice_when_the_server_is_killed() {
    let world = World::new();
    world.json(&["team", "create", "first"]);
    let mut command = world.home.command();
    command.args(["events", "-f", "--from", "0", "--topic", "team"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut follower = command.spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut heard = Vec::new();
    for round in 0..4 {
        signals::send(world.pid("pid"), Signal::Kill).unwrap();
        // An order that finds no server waits for the next one.
        assert_eq!(world.code(&["team", "create", &format!("t{round}")]), 0);
        let wanted = format!("\"t{round}\"");
        while !heard.iter().any(|line: &String| line.contains(&wanted)) {
            heard.push(lines.next().unwrap().unwrap());
        }
    }
    signals::send(follower.id(), Signal::Kill).unwrap();
    follower.wait().unwrap();
    let seqs: Vec<_> =
        heard.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
    assert_eq!(seqs.len(), 5, "{heard:?}");
}

#[test]
fn who_follows_a_log_reads_each_entry_once_across_a_kill_and_into_the_next_run() {
    let world = World::new();
    std::fs::create_dir_all(world.home.dir.join("config")).unwrap();
    let kinds = crash_agents::kinds(&fake_agent());
    std::fs::write(world.home.dir.join("config/agents.toml"), kinds).unwrap();
    world.json(&["new", "fay", "--agent", "fake-claude"]);
    world.json(&["send", "fay", "-m", "say:3", "--wait", "acked"]);
    let mut command = world.home.command();
    command.args(["log", "fay", "-f", "--raw"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut follower = command.spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut heard: Vec<String> = Vec::new();
    let mut turns = |heard: &mut Vec<String>, wanted: usize| {
        while heard.iter().filter(|line| line.contains("\"turn_ended\"")).count() < wanted {
            heard.push(lines.next().unwrap().unwrap());
        }
    };
    turns(&mut heard, 1);
    signals::send(world.pid("pid"), Signal::Kill).unwrap();
    world.json(&["send", "fay", "-m", "say:4", "--wait", "acked"]);
    turns(&mut heard, 2);
    let first = heard.len();
    world.json(&["restart", "fay"]);
    world.json(&["send", "fay", "-m", "say:5", "--wait", "acked"]);
    turns(&mut heard, 3);
    world.json(&["rm", "fay", "--stop"]);
    assert!(follower.wait().unwrap().success(), "the log of an agent that is removed has an end");
    assert!(heard.iter().all(|line| !line.contains("_delta\"")), "what streams comes whole: {heard:?}");
    let places = |lines: &[String]| -> Vec<(u64, u64)> {
        let place = |entry: Value| (entry["n"].as_u64().unwrap(), entry["i"].as_u64().unwrap());
        lines.iter().map(|line| place(serde_json::from_str(line).unwrap())).collect()
    };
    assert!(places(&heard[..first]).is_sorted_by(|a, b| a < b), "{heard:?}");
    assert!(places(&heard[first + 1..]).is_sorted_by(|a, b| a < b), "{heard:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let world = World::new();
    world.json(&["team", "create", "one"]);
    for args in [&["events", "--from", "0"][..], &["ls", "--all"], &["--help"], &["team", "ls"]] {
        let mut command = world.home.command();
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
}
