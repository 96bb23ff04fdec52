//! From nothing to a server that serves.

use amux_sys::process;

use crate::stage::{Setting, Stage, end, until};

#[test]
fn a_server_is_ready_by_its_line_or_by_its_notification() {
    for ready in ["line", "notify"] {
        let stage = Stage::play(&format!("{ready},serve"));
        stage.until_log(&format!("srv {} is ready after", stage.pid(1)));
    }
}

#[test]
fn progress_moves_the_deadline_of_a_start() {
    let policy = "start=400";
    // Three quarters of a second in stages, each well within the deadline.
    let stage = Stage::set(Setting { policy, ..Setting::default() }, "status:50:15,line,serve");
    stage.until_log("is ready after");
    assert!(stage.log().contains("stage 14"));
    assert_eq!(stage.journal().len(), 0);
}

#[test]
fn a_server_that_does_not_become_ready_is_killed_and_reaped_and_tried_again() {
    let policy = "start=1000 last_words=50";
    let stage = Stage::set(Setting { policy, ..Setting::default() }, "status:1:1,stuck/line,serve");
    let first = process::identity(stage.pid(1));
    stage.until_log(&format!("srv {} is ready", stage.pid(2)));
    assert_ne!(process::identity(stage.pid(1)), first, "not even a zombie is left");
    let death = &stage.journal()[0];
    assert_eq!((&death["class"], &death["initiator"]), (&"not_ready".into(), &"launcher".into()), "{death}");
    assert_eq!(death["reason"], "did not become ready in time; it was at: stage 0");
}

#[test]
fn a_second_launcher_is_refused_and_disturbs_nothing() {
    let stage = Stage::play("notify,ping,serve");
    stage.until_log("is ready");
    let mut second = stage.launch_again("line,serve");
    assert_eq!(end(&mut second), 71);
    assert_eq!(stage.read("launcher.second"), format!("agentmux: a launcher runs already: pid {}\n", stage.launcher()));
    assert!(!stage.has("pid.2"));
    assert!(stage.has("run/launcher.sock"));
    assert!(stage.launcher_runs());
}

#[test]
fn a_launcher_that_was_killed_leaves_no_obstacle() {
    let mut stage = Stage::play("notify,ping,serve");
    stage.until_log("is ready");
    stage.signal(amux_sys::signals::Signal::Kill);
    stage.end();
    stage.read("lifeline_cut.1");
    let mut second = stage.launch_again("notify,exit:0");
    assert_eq!(end(&mut second), 0);
}

#[test]
fn a_program_that_is_not_there_is_said_with_every_place() {
    let env = [("AGENTMUX_COMMAND", " "), ("AGENTMUX_RELAY_COMMAND", "no-such-agentmux")];
    let mut stage = Stage::set(Setting { env: &env, ..Setting::default() }, "serve");
    assert_eq!(stage.end(), 1);
    let words = stage.stderr();
    for place in ["AGENTMUX_COMMAND (not set)", "/usr/bin/no-such-agentmux (AGENTMUX_RELAY_COMMAND)", "/bin/no-such"] {
        assert!(words.contains(place), "{place}: {words}");
    }
    assert_eq!(stage.classes(), ["not_started", "gave_up"]);
}

#[test]
fn the_program_is_looked_up_in_the_order_of_the_contract() {
    let rehearsal = crate::stage::rehearsal();
    let env = [("AGENTMUX_COMMAND", "/bin/false"), ("AGENTMUX_RELAY_COMMAND", rehearsal.to_str().unwrap())];
    let mut stage = Stage::set(Setting { env: &env, ..Setting::default() }, "notify,ping,serve");
    assert_eq!(stage.end(), 1, "false is no server");
    let mut stage = Stage::set(Setting { env: &env[1..], ..Setting::default() }, "notify,exit:0");
    assert_eq!(stage.end(), 0);
}

#[test]
fn the_environment_of_a_server_is_complete_and_nothing_else_of_ours() {
    let env = [
        ("AGENTMUX_AUTH_KEY", "outer"),
        ("AGENTMUX_TOKEN", "outer"),
        ("NOTIFY_SOCKET", "/outer"),
        ("LISTEN_FDS", "7"),
        ("WATCHDOG_USEC", "1"),
        ("HARMLESS", "kept"),
    ];
    let stage = Stage::set(Setting { env: &env, ..Setting::default() }, "notify,ping,serve");
    let path = stage.path().to_str().unwrap();
    for (name, value) in [
        ("HARMLESS", Some("kept".to_owned())),
        ("AGENTMUX_TOKEN", None),
        ("LISTEN_FDS", None),
        ("WATCHDOG_USEC", Some("15000000".into())),
        ("NOTIFY_SOCKET", Some(format!("{path}/run/launcher.sock"))),
        ("AGENTMUX_SRV_PIPE_PATH", Some(format!("{path}/run/srv.sock"))),
        ("AGENTMUX_DATA_DIR", Some(path.to_owned())),
        ("AGENTMUX_CONFIG_DIR", Some(format!("{path}/config"))),
    ] {
        assert_eq!(stage.variable(1, name), value, "{name}");
    }
    assert_eq!(stage.variable(1, "AGENTMUX_AUTH_KEY").unwrap().len(), 64);
}

#[test]
fn the_key_is_new_with_every_start_and_in_no_file() {
    let stage = Stage::play("notify,say_key,die/notify,say_key,serve");
    let keys = [1, 2].map(|start| stage.variable(start, "AGENTMUX_AUTH_KEY").unwrap());
    assert_ne!(keys[0], keys[1]);
    until("both said it", || (stage.log().matches("my key is [key]").count() == 2).then_some(()));
    for entry in std::fs::read_dir(stage.path().join("logs")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(keys.iter().all(|key| !text.contains(key)));
    }
}

#[test]
fn a_window_is_opened_beside_the_server_without_its_key() {
    let stage = Stage::set(Setting { mode: "window", ..Setting::default() }, "line,die/line,serve");
    let window = stage.read("window.1");
    let server = stage.pid(1);
    for line in ["AGENTMUX_BACKEND_WS=ws://127.0.0.1:1/v1/stream", &format!("AGENTMUX_BACKEND_PID={server}")] {
        assert!(window.lines().any(|found| found == line), "{line}: {window}");
    }
    assert!(window.ends_with("AGENTMUX_AUTH_KEY="), "{window}");
    stage.until_log(&format!("srv {} is ready", stage.pid(2)));
    let pid = window.lines().next().unwrap().strip_prefix("pid=").unwrap().parse().unwrap();
    let window = process::identity(pid).unwrap();
    assert!(process::alive(&window), "it outlives the server");
    stage.signal(amux_sys::signals::Signal::Term);
    until("the end of the window", || (!process::alive(&window)).then_some(()));
}
