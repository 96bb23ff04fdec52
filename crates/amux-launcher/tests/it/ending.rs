//! Nothing of ours is left, however it ends.

use amux_sys::process;
use amux_sys::signals::{self, Signal};

use crate::stage::{Setting, Stage, until};

#[test]
fn told_to_end_it_lets_the_server_stop_and_leaves_nothing() {
    for (mode, signal) in [("detached", Signal::Term), ("foreground", Signal::Int), ("foreground", Signal::Hup)] {
        let mut stage = Stage::set(Setting { mode, ..Setting::default() }, "notify,ping,serve");
        stage.until_log("is ready");
        stage.signal(signal);
        assert_eq!(stage.end(), 0);
        assert!(stage.has("stopped.1"), "the server had its time");
        assert_eq!(stage.classes(), ["clean", "stopped"]);
        assert_eq!(stage.journal()[0]["initiator"], "operator");
        assert!(!stage.has("run/launcher.sock"));
    }
}

#[test]
fn a_detached_launcher_does_not_end_with_a_terminal() {
    let stage = Stage::play("notify,ping,serve");
    stage.until_log("is ready");
    stage.signal(Signal::Hup);
    signals::send(stage.pid(1), Signal::Kill).unwrap();
    stage.until_log(&format!("srv {} is ready", stage.pid(2)));
}

#[test]
fn a_server_that_was_told_to_stop_ends_the_launcher() {
    let mut stage = Stage::play("notify,stopping,exit:0");
    assert_eq!(stage.end(), 0);
    assert_eq!(stage.classes(), ["clean", "clean"]);
}

#[test]
fn a_server_that_does_not_stop_is_killed() {
    let policy = "stop=150 last_words=50";
    let mut stage = Stage::set(Setting { policy, ..Setting::default() }, "notify,ping,stuck");
    stage.until_log("is ready");
    let server = process::identity(stage.pid(1)).unwrap();
    stage.signal(Signal::Term);
    assert_eq!(stage.end(), 0);
    assert!(!process::alive(&server));
    assert_eq!(stage.classes(), ["killed_by_us", "stopped"]);
}

#[test]
fn agents_the_server_could_not_end_are_ended_even_if_they_ran_away() {
    let policy = "orphan_grace=100";
    let plan = "agent:daemon:0,agent:parent:0,agent:a:0,agent:stranger:0,notify,ping,serve/exit:70";
    let mut stage = Stage::set(Setting { policy, ..Setting::default() }, plan);
    stage.until_log("is ready");
    let (agent, stranger) = (stage.agent("a", 1), stage.agent("stranger", 1));
    let socket = stage.path().join("run/srv.sock");
    let tagged = || process::tagged(&[("AGENTMUX_SOCKET", socket.as_os_str())]);
    // Three agents, and the child that left the session of one of them.
    until("all agents", || (tagged().len() >= 4).then_some(()));
    stage.read("untagged");
    let ours = process::descendants(stage.launcher()).into_iter();
    let escaped: Vec<_> = ours.filter(|child| process::env_var(child.pid, "PATH").is_none()).collect();
    assert!(escaped.iter().any(process::alive));
    signals::send(stage.pid(1), Signal::Kill).unwrap();
    assert_eq!(stage.end(), 70);
    assert_eq!(tagged(), []);
    assert!(!process::alive(&agent));
    assert!(!escaped.iter().any(process::alive), "an agent's child needs no tag to be an agent's child");
    assert!(process::alive(&stranger), "only what carries our word is ours to end");
    assert!(stage.log().contains(&format!("pid {} left alone: not an agent", stranger.pid)));
    stage.make("end.stranger");
}

#[test]
fn agents_of_another_server_are_left_alone_even_with_the_same_names() {
    let mut stage = Stage::play("agent:a:0,notify,ping,serve");
    let agent = stage.agent("a", 1);
    stage.until_log("is ready");
    let socket = stage.path().join("run/srv.sock");
    let mut other = amux_sys::spawn::spawn(&amux_sys::spawn::SpawnSpec {
        program: "sleep".into(),
        args: vec!["1000".into()],
        cwd: "/".into(),
        env: vec![
            ("PATH".into(), "/usr/bin:/bin".into()),
            ("AGENTMUX_SOCKET".into(), socket.into_os_string()),
            ("AGENTMUX_TAG".into(), process::env_var(agent.pid, "AGENTMUX_TAG").unwrap()),
        ],
        stdio: amux_sys::spawn::Stdio::Null,
        session: amux_sys::spawn::Session::Own,
        pass_fds: Vec::new(),
        nofile: None,
    })
    .unwrap();
    stage.signal(Signal::Term);
    assert_eq!(stage.end(), 0);
    assert!(!process::alive(&agent));
    assert!(process::alive(&other.id));
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_killed_launcher_cuts_the_lifeline() {
    let stage = Stage::play("notify,ping,serve");
    stage.until_log("is ready");
    let server = process::identity(stage.pid(1)).unwrap();
    stage.signal(Signal::Kill);
    stage.read("lifeline_cut.1");
    until("the end of the server", || (!process::alive(&server)).then_some(()));
}
