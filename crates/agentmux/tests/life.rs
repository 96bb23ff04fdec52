//! The whole program as a person or a script uses it: servers that start themselves, once; that come back; that leave
//! nothing behind; and agents that outlive them.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use amux_sys::process;
use amux_sys::signals::{self, Signal};
use amux_testkit::server::Home;
use amux_testkit::wire::Wire;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_agentmux");

struct World {
    _dir: tempfile::TempDir,
    home: Home,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path(), Path::new(BINARY));
        Self { _dir: dir, home }
    }

    fn run(&self, args: &[&str]) -> Output {
        self.home.command().args(args).stdin(Stdio::null()).output().unwrap()
    }

    fn code(&self, args: &[&str]) -> i32 {
        self.run(args).status.code().unwrap_or(-1)
    }

    /// The data of a command that must work.
    fn json(&self, args: &[&str]) -> Value {
        let answer = self.answer(args);
        assert_eq!(answer["ok"], true, "{args:?}: {answer}");
        answer["data"].clone()
    }

    fn answer(&self, args: &[&str]) -> Value {
        let out = self.run(&[&["--json"], args].concat());
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert_eq!(text.trim().lines().count(), 1, "one object: {text} {}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_str(&text).unwrap()
    }

    fn status(&self) -> Value {
        self.json(&["server", "status"])
    }

    fn pid(&self, name: &str) -> u32 {
        u32::try_from(self.status()[name].as_u64().unwrap()).unwrap()
    }

    /// Everything that runs for this world: the servers, launchers and agents that carry its directory.
    fn processes(&self) -> BTreeSet<u32> {
        let state = self.home.state().canonicalize().unwrap_or(self.home.state());
        let state = state.to_string_lossy().into_owned();
        let mine = |pid: &u32| {
            let line = process::command_line(*pid).unwrap_or_default();
            let socket = process::env_var(*pid, "AGENTMUX_SOCKET").unwrap_or_default();
            (line.contains(&state) && line.contains("server")) || socket.to_string_lossy().starts_with(&state)
        };
        let pids =
            std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let lives = |pid: &u32| process::identity(*pid).is_some_and(|found| process::alive(&found));
        pids.filter(mine).filter(lives).collect()
    }

    fn agent(&self, name: &str) -> Value {
        self.json(&["show", name])["agent"].clone()
    }

    fn shell(&self, name: &str) -> u64 {
        self.json(&["new", name, "--agent", "shell", "--cwd", "/"]);
        until("the shell runs", || self.agent(name)["pid"].as_u64())
    }

    fn says(&self, name: &str, keys: &str, wanted: &str) {
        self.json(&["keys", name, keys, "Enter"]);
        until(wanted, || self.json(&["look", name])["lines"].to_string().contains(wanted).then_some(()));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.home.state().exists() {
            self.run(&["server", "stop", "-q"]);
        }
        for pid in self.processes() {
            let _ = signals::send(pid, Signal::Kill);
        }
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn first_commands(count: usize) {
    let world = World::new();
    let children: Vec<_> = (0..count)
        .map(|_| {
            let mut command = world.home.command();
            command.arg("ls").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for child in children {
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
    let status = world.status();
    let pids: BTreeSet<_> = ["pid", "launcher_pid"].map(|name| status[name].as_u64().unwrap() as u32).into();
    until("those who lost have gone", || (world.processes() == pids).then_some(()));
    let starts = world.json(&["doctor"]);
    assert!(starts.as_array().unwrap().iter().all(|finding| finding["level"] != "failure"), "{starts}");
}

#[test]
fn ten_first_commands_start_one_server() {
    first_commands(10);
}

#[test]
fn fifty_first_commands_start_one_server() {
    first_commands(50);
}

#[test]
fn a_stale_socket_and_lock_are_no_obstacle() {
    let world = World::new();
    let (pid, launcher) = {
        world.json(&["ls"]);
        (world.pid("pid"), world.pid("launcher_pid"))
    };
    // Stopped, or it would see that the launcher is gone and tidy up.
    signals::send(pid, Signal::Stop).unwrap();
    signals::send(launcher, Signal::Kill).unwrap();
    signals::send(pid, Signal::Kill).unwrap();
    until("both are gone", || world.processes().is_empty().then_some(()));
    assert!(world.home.socket().exists(), "the socket is stale");
    world.json(&["ls"]);
    assert_ne!(world.pid("pid"), pid);
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let world = World::new();
    std::os::unix::fs::symlink("/nowhere", world.home.state()).unwrap();
    let out = world.run(&["ls"]);
    assert_eq!(out.status.code(), Some(1), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::remove_file(world.home.state()).unwrap();

    let run = world.home.state().join("run");
    std::fs::create_dir_all(&run).unwrap();
    for dir in [world.home.state(), run.clone()] {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    std::fs::write(run.join("srv.sock"), "a person's file").unwrap();
    let out = world.run(&["ls"]);
    assert!(!out.status.success());
    assert_eq!(std::fs::read_to_string(run.join("srv.sock")).unwrap(), "a person's file");
    std::fs::remove_file(run.join("srv.sock")).unwrap();
    std::os::unix::fs::symlink("dangling", run.join("srv.sock")).unwrap();
    assert!(!world.run(&["ls"]).status.success());
    std::fs::remove_file(run.join("srv.sock")).unwrap();
    if process::uid() == 0 {
        std::os::unix::fs::chown(&run, Some(12345), None).unwrap();
        let words = String::from_utf8_lossy(&world.run(&["ls"]).stderr).into_owned();
        assert!(words.contains("12345") && words.contains("uid 0"), "{words}");
        std::os::unix::fs::chown(&run, Some(0), None).unwrap();
    }
    world.json(&["ls"]);
}

#[test]
fn a_long_path_works_and_profiles_never_touch() {
    let world = World::new();
    let long = world.home.dir.join("x".repeat(150));
    let (a, b) = (long.join("a"), long.join("b"));
    let on = |state: &PathBuf, args: &[&str]| -> Value {
        let out = world.home.command().env("AGENTMUX_STATE_DIR", state).args(args).arg("--json").output().unwrap();
        serde_json::from_slice(&out.stdout).unwrap()
    };
    std::fs::create_dir_all(&long).unwrap();
    assert_eq!(on(&a, &["team", "create", "only-a"])["ok"], true);
    assert_eq!(on(&b, &["team", "ls"])["data"], json!([]));
    let (one, two) = (on(&a, &["server", "status"])["data"].clone(), on(&b, &["server", "status"])["data"].clone());
    assert_ne!(one["socket"], two["socket"]);
    assert_eq!(on(&a, &["server", "stop"])["ok"], true);
    assert_eq!(on(&b, &["server", "status"])["data"]["pid"], two["pid"]);
    assert_eq!(on(&b, &["server", "stop"])["ok"], true);
}

#[test]
fn without_leave_to_start_there_is_no_server() {
    let world = World::new();
    for args in [&["ls", "--no-start"][..], &["server", "status"], &["server", "stop"], &["server", "restart"]] {
        let answer = world.answer(args);
        assert_eq!(answer["error"]["code"], "unreachable", "{answer}");
        assert_eq!(answer["error"]["hint"], "agentmux server start");
        assert_eq!(world.code(args), 3);
    }
    assert!(world.processes().is_empty());
    assert_eq!(world.code(&["doctor"]), 0, "doctor works without a server");
}

#[test]
fn a_stopped_server_is_said_within_a_bounded_wait() {
    let world = World::new();
    world.json(&["ls"]);
    let (pid, launcher) = (world.pid("pid"), world.pid("launcher_pid"));
    // The launcher too, or it would see the silence and start another.
    signals::send(launcher, Signal::Stop).unwrap();
    signals::send(pid, Signal::Stop).unwrap();
    let began = Instant::now();
    let answer = world.answer(&["ls"]);
    assert_eq!(answer["error"]["code"], "unreachable", "{answer}");
    assert!(began.elapsed() < Duration::from_secs(8));
    for pid in [pid, launcher] {
        signals::send(pid, Signal::Cont).unwrap();
    }
    assert_eq!(world.pid("pid"), pid);
}

#[test]
fn a_deleted_socket_comes_back_and_a_deleted_lock_makes_no_second_server() {
    let world = World::new();
    world.json(&["ls"]);
    let pid = world.pid("pid");
    std::fs::remove_file(world.home.socket()).unwrap();
    let began = Instant::now();
    assert_eq!(world.pid("pid"), pid);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    for file in ["srv.lock", "spawn.lock", "launcher.lock", "endpoint.json"] {
        let _ = std::fs::remove_file(world.home.state().join("run").join(file));
    }
    let mut second = world.home.start(&[]).unwrap();
    until("a second server gives up", || second.has_ended().then_some(()));
    assert_eq!(second.child.wait().unwrap().code(), Some(71));
    std::fs::remove_file(world.home.socket()).unwrap();
    assert_eq!(world.pid("pid"), pid);
}

#[test]
fn a_killed_server_is_back_and_its_agents_never_noticed() {
    let world = World::new();
    let shell = world.shell("sh");
    world.says("sh", "X=kept; echo ready-$X", "ready-kept");
    let before = world.status();
    let mut follower = Wire::connect(&world.home.socket()).unwrap();
    let (epoch, head) = (follower.welcome["epoch"].clone(), follower.welcome["head"].as_u64().unwrap());
    for round in 0..3 {
        let pid = world.pid("pid");
        signals::send(pid, Signal::Kill).unwrap();
        let began = Instant::now();
        until("another serves", || {
            let wire = Wire::connect(&world.home.socket()).ok()?.get("status", json!({}));
            (wire["pid"] != pid).then_some(())
        });
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        world.says("sh", &format!("echo {round}-$X-{round}"), &format!("{round}-kept-{round}"));
    }
    assert_eq!(world.agent("sh")["pid"], shell, "the same process");
    assert_eq!(world.agent("sh")["run"], 1);
    let after = world.status();
    assert_eq!((&after["epoch"], &after["launcher_pid"]), (&before["epoch"], &before["launcher_pid"]));
    // Whoever follows continues where it was.
    follower = Wire::connect(&world.home.socket()).unwrap();
    follower.start(json!({ "sub": { "from": { "epoch": epoch, "seq": head } } })).unwrap();
    assert_eq!(follower.frame().unwrap()["resumed"], true);
    // How it ends is known, though no server of today started it.
    world.json(&["keys", "sh", "exit 5", "Enter"]);
    until("its end is known", || {
        let run = world.json(&["show", "sh"])["current_run"].clone();
        (run["state"]["exit"]["code"] == 5).then_some(())
    });
}

#[test]
fn a_restart_takes_the_new_program_and_stop_takes_everything() {
    let world = World::new();
    let shell = world.shell("sh");
    world.says("sh", "setsid sleep 12345 & echo going", "going");
    let before = world.status();
    let gap = world.json(&["server", "restart"]);
    assert!(gap["gap_ms"].as_u64().unwrap() < 10_000, "{gap}");
    let after = world.status();
    assert_ne!(before["pid"], after["pid"]);
    assert_eq!((&before["epoch"], &before["launcher_pid"]), (&after["epoch"], &after["launcher_pid"]));
    assert_eq!(world.agent("sh")["pid"], shell);
    world.says("sh", "echo still-$AGENTMUX_RUN", "still-1");
    let stopped = world.json(&["server", "stop"]);
    assert_eq!(stopped["agents"], 1);
    assert_eq!(world.processes(), BTreeSet::new(), "nothing is left, also of what left the session");
    assert_eq!(world.code(&["server", "status"]), 3);
    world.json(&["ls"]);
    let agent = world.agent("sh");
    assert_eq!((&agent["state"], &agent["pid"]), (&json!("offline"), &Value::Null));
    world.json(&["start", "sh"]);
    until("it runs again", || (world.agent("sh")["run"] == 2 && world.agent("sh")["pid"].is_u64()).then_some(()));
}

#[test]
fn a_killed_launcher_takes_everything_along() {
    let world = World::new();
    world.shell("sh");
    world.says("sh", "sleep 4321 & setsid sleep 4322 & echo going", "going");
    signals::send(world.pid("launcher_pid"), Signal::Kill).unwrap();
    let began = Instant::now();
    until("nothing of ours is left", || world.processes().is_empty().then_some(()));
    // Two seconds is the promise; the rest is the patience of a loaded machine.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    world.json(&["ls"]);
    let reason = world.agent("sh")["reason"].clone();
    assert_ne!(reason, Value::Null, "why it does not run is said");
}

#[test]
fn an_agent_cannot_be_anybody_else() {
    let world = World::new();
    world.shell("worker");
    let say = |line: &str, wanted: &str| world.says("worker", line, wanted);
    let state = world.home.state();
    let am = format!("'{BINARY}' --state-dir '{0}' --config-dir '{0}' --no-start", state.display());
    say(&format!("{am} team create mine; echo code-$?"), "code-4");
    say(&format!("env -u AGENTMUX_TOKEN {am} team create mine; echo naked-$?"), "naked-4");
    say(&format!("env -i {am} team create mine; echo bare-$?"), "bare-4");
    let escaped = world.home.dir.join("escaped");
    // Away from the terminal, the session, the parents and the environment.
    let script = format!(
        "env -i setsid -f sh -c \"sleep 1; {am} team create mine; echo \\$? > {}\"; echo off",
        escaped.display()
    );
    say(&script.replace("'", ""), "off");
    let code =
        until("the escapee was answered", || std::fs::read_to_string(&escaped).ok().filter(|text| !text.is_empty()));
    assert_eq!(code.trim(), "4");
    say(&format!("{am} ls -q; echo reading-$?"), "reading-0");
    let teams = world.json(&["team", "ls"]);
    assert!(!teams.to_string().contains("mine"), "{teams}");
}

#[test]
fn every_command_says_what_it_did() {
    let world = World::new();
    assert_eq!(world.code(&["nonsense"]), 2);
    assert_eq!(world.answer(&["nonsense"])["ok"], false);
    assert_eq!(world.code(&[]), 2, "without a terminal and a command there is only the help");
    assert_eq!(world.code(&["show", "nobody"]), 7);
    assert_eq!(world.code(&["new", "x", "--agent", "claude"]), 2);
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
    for later in ["open", "search", "history", "usage", "mcp", "attach"] {
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
fn ctrl_c_on_a_foreground_server_ends_everything() {
    let world = World::new();
    let mut launcher = Command::new(BINARY);
    launcher.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", &world.home.dir);
    launcher.env("AGENTMUX_STATE_DIR", world.home.state()).env("AGENTMUX_CONFIG_DIR", world.home.dir.join("config"));
    launcher.args(["server", "run"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut launcher = launcher.spawn().unwrap();
    until("it serves", || Wire::connect(&world.home.socket()).ok());
    world.shell("sh");
    let second = world.code(&["server", "run"]);
    assert_eq!(second, 71, "a second launcher is told so");
    signals::send(launcher.id(), Signal::Int).unwrap();
    assert!(launcher.wait().unwrap().success());
    assert_eq!(world.processes(), BTreeSet::new());
}
