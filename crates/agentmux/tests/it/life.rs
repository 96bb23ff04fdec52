//! Servers that start themselves, once; that come back; that leave nothing behind; and agents that outlive them.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use amux_sys::process;
use amux_sys::signals::{self, Signal};
use amux_testkit::wire::Wire;
use serde_json::{Value, json};

use crate::harness::{BINARY, World, until};

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
    assert!(began.elapsed() < Duration::from_secs(25));
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
    assert_eq!(world.pid("pid"), pid);
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
        until("another serves", || {
            let wire = Wire::connect(&world.home.socket()).ok()?.get("status", json!({}));
            (wire["pid"] != pid).then_some(())
        });
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
    until("nothing of ours is left", || world.processes().is_empty().then_some(()));
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

#[test]
fn a_loser_starts_the_server_that_the_winner_could_not() {
    let world = World::new();
    let script = world.home.dir.join("fails-once");
    let once = world.home.dir.join("once");
    let text = format!(
        "#!/bin/sh\nif mkdir '{}' 2>/dev/null; then sleep 0.2; echo broken >&2; exit 1; fi\nexec '{BINARY}' \"$@\"\n",
        once.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    let start = || {
        let mut command = world.home.command();
        command.env("AGENTMUX_COMMAND", &script).arg("ls").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..5).map(|_| start()).collect();
    let outs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let (well, ill): (Vec<_>, Vec<_>) = outs.iter().partition(|out| out.status.success());
    assert_eq!((well.len(), ill.len()), (4, 1), "{outs:?}");
    assert_eq!(ill[0].status.code(), Some(3));
    assert!(String::from_utf8_lossy(&ill[0].stderr).contains("broken"), "{:?}", ill[0]);
}

#[test]
fn a_start_that_cannot_succeed_says_why_at_once() {
    let world = World::new();
    let with = |program: &str| {
        let out = world.home.command().env("AGENTMUX_COMMAND", program).arg("ls").output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (code, words) = with("/no/such/program");
    assert_eq!(code, Some(3));
    assert!(words.contains("/no/such/program (AGENTMUX_COMMAND)"), "{words}");
    world.json(&["ls"]);
    assert_eq!(with("/no/such/program").0, Some(0), "nobody needs a program while a server runs");
    world.json(&["server", "stop"]);
    std::fs::write(world.home.state().join("agentmux.db"), "this is no store".repeat(1000)).unwrap();
    let began = Instant::now();
    let answer = world.answer(&["ls"]);
    assert_eq!(answer["error"]["code"], "unreachable", "{answer}");
    assert!(began.elapsed() < Duration::from_secs(25), "it is not waited for in vain");
    assert!(answer["error"]["message"].as_str().unwrap().contains("database"), "{answer}");
    let out = world.run(&["doctor"]);
    assert_eq!(out.status.code(), Some(1), "{}", String::from_utf8_lossy(&out.stdout));
    assert!(String::from_utf8_lossy(&out.stdout).contains("FAILURE  store"));
}

#[test]
fn an_empty_variable_says_nothing() {
    let world = World::new();
    let mut command = world.home.command();
    command.env("AGENTMUX_PROFILE", "").env("AGENTMUX_CONFIG_DIR", "").env("AGENTMUX_COMMAND", "");
    let out = command.args(["ls", "--json"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(world.status()["profile"], "default");
}

#[test]
fn a_state_directory_open_to_others_is_closed() {
    let world = World::new();
    std::fs::create_dir_all(world.home.state()).unwrap();
    std::fs::set_permissions(world.home.state(), std::fs::Permissions::from_mode(0o755)).unwrap();
    world.json(&["ls"]);
    let mode = std::fs::metadata(world.home.state()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let socket = std::fs::metadata(world.home.socket()).unwrap().permissions().mode();
    assert_eq!(socket & 0o777, 0o600);
}

#[test]
fn a_server_without_its_socket_is_waited_for_and_not_replaced() {
    let world = World::new();
    world.json(&["ls"]);
    let (pid, launcher) = (world.pid("pid"), world.pid("launcher_pid"));
    for pid in [launcher, pid] {
        signals::send(pid, Signal::Stop).unwrap();
    }
    std::fs::remove_file(world.home.socket()).unwrap();
    let callers = ["--no-start", "--json"].map(|flag| {
        let mut command = world.home.command();
        command.args(["ls", flag]).stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().unwrap()
    });
    // Long enough for a caller to give up, or to start another one.
    let looked = Instant::now();
    let mut callers = callers;
    while looked.elapsed() < Duration::from_millis(300) {
        assert!(callers.iter_mut().all(|caller| caller.try_wait().unwrap().is_none()), "it waits");
        std::thread::sleep(Duration::from_millis(10));
    }
    let children: BTreeSet<_> = callers.iter().map(std::process::Child::id).collect();
    let others: BTreeSet<_> = world.processes().difference(&children).copied().collect();
    assert_eq!(others, BTreeSet::from([pid, launcher]), "nobody started a second one");
    for pid in [pid, launcher] {
        signals::send(pid, Signal::Cont).unwrap();
    }
    for mut caller in callers {
        assert!(caller.wait().unwrap().success());
    }
    assert_eq!(world.pid("pid"), pid);
}
