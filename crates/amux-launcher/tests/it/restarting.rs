//! What follows when a server ends without being asked to.

use amux_sys::process;
use amux_sys::signals::{self, Signal};

use crate::stage::{Setting, Stage, until};

#[test]
fn a_killed_server_is_replaced_at_once() {
    let stage = Stage::play("notify,ping,serve");
    stage.until_log("is ready");
    signals::send(stage.pid(1), Signal::Kill).unwrap();
    stage.until_log(&format!("srv {} is ready", stage.pid(2)));
    let death = &stage.journal()[0];
    assert_eq!(death["wait_ms"], 0, "{death}");
    assert_eq!((&death["class"], &death["signal"]), (&"crash".into(), &9.into()), "{death}");
    assert_eq!((&death["initiator"], &death["next"]), (&"outside".into(), &"restart".into()), "{death}");
}

#[test]
fn a_crash_loop_ends_with_the_reason() {
    let mut stage = Stage::play("say:the table is missing,exit:3");
    assert_eq!(stage.end(), 1);
    assert_eq!(stage.classes(), ["crash", "crash", "crash", "crash", "crash", "gave_up"]);
    let words = stage.stderr();
    assert_eq!(
        words,
        format!(
            "agentmux: gave up on the server (5 crash); the last time: exit code 3 before it served; it last said: \
             the table is missing; see {}/logs/srv-stderr.log\n",
            stage.path().display()
        )
    );
    assert!(!stage.has("pid.6"));
    assert!(!stage.has("run/launcher.sock"), "nothing of it is left");
    assert!(stage.journal()[5]["reason"].as_str().unwrap().contains("the table is missing"));
}

#[test]
fn a_failed_migration_is_the_reason() {
    let mut stage = Stage::play("migrating,migration_failed:no such column,exit:70");
    assert_eq!(stage.end(), 70);
    assert!(stage.stderr().contains("it last said: no such column"), "{}", stage.stderr());
}

#[test]
fn what_refuses_is_not_started_again() {
    for code in [70, 71, 72] {
        let mut stage = Stage::play(&format!("exit:{code}"));
        assert_eq!(stage.end(), code);
        assert_eq!(stage.classes(), ["refused", "refused"]);
        assert!(!stage.has("pid.2"));
    }
}

#[test]
fn a_hung_server_is_killed_and_started_again() {
    let policy = "watchdog=300 last_words=50";
    let stage = Stage::set(Setting { policy, ..Setting::default() }, "notify,ping,serve");
    assert_eq!(stage.variable(1, "WATCHDOG_USEC").unwrap(), "300000");
    let first = process::identity(stage.pid(1)).unwrap();
    stage.until_log("is ready");
    // A stopped process can not even be asked to abort.
    signals::send(first.pid, Signal::Stop).unwrap();
    stage.until_log(&format!("srv {} is ready", stage.pid(2)));
    assert!(!process::alive(&first));
    let death = &stage.journal()[0];
    assert_eq!((&death["class"], &death["signal"]), (&"hung".into(), &9.into()), "{death}");
    assert_eq!(stage.journal().len(), 1, "one that pings is left alone");
}

#[test]
fn a_server_that_never_spoke_of_a_watchdog_is_not_held_to_it() {
    let policy = "watchdog=30";
    // It goes on saying things, for many periods; none of them is a ping.
    let stage = Stage::set(Setting { policy, ..Setting::default() }, "line,status:20:15,say:still here,serve");
    stage.until_log("still here");
    assert_eq!(stage.journal().len(), 0);
}

#[test]
fn a_server_that_asks_for_a_restart_gets_it_at_once_and_as_often_as_it_asks() {
    let restart = "notify,exit:64/".repeat(8);
    let stage = Stage::play(&format!("{restart}notify,ping,serve"));
    stage.until_log(&format!("srv {} is ready", stage.pid(9)));
    assert_eq!(stage.classes(), vec!["restart_asked"; 8]);
    assert!(stage.journal().iter().all(|death| death["wait_ms"] == 0));
}

#[test]
fn a_program_that_is_away_for_a_moment_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("agentmux");
    std::os::unix::fs::symlink(crate::stage::rehearsal(), &program).unwrap();
    let env = [("AGENTMUX_COMMAND", program.to_str().unwrap())];
    let stage = Stage::set(Setting { env: &env, ..Setting::default() }, "notify,ping,serve");
    stage.until_log("is ready");
    std::fs::remove_file(&program).unwrap();
    signals::send(stage.pid(1), Signal::Kill).unwrap();
    stage.until_log("srv did not start (not_started): no program to run as the server");
    std::os::unix::fs::symlink(crate::stage::rehearsal(), &program).unwrap();
    stage.until_log(&format!("srv {} is ready", stage.pid(2)));
}

#[test]
fn a_program_that_is_a_launcher_itself_starts_no_chain_of_launchers() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("agentmux");
    let text = format!(
        "#!/bin/sh\necho >> \"$AGENTMUX_STATE_DIR/starts\"\nexec {} launcher \"$AGENTMUX_STATE_DIR\" detached '' serve\n",
        crate::stage::rehearsal().display()
    );
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let env = [("AGENTMUX_COMMAND", program.to_str().unwrap())];
    let mut stage = Stage::set(Setting { env: &env, ..Setting::default() }, "notify,ping,serve");
    assert_eq!(stage.end(), 71);
    assert_eq!(stage.read("starts"), "\n");
}

#[test]
fn many_restarts_leave_no_descriptor_open() {
    let open = |stage: &Stage| std::fs::read_dir(format!("/proc/{}/fd", stage.launcher())).unwrap().count();
    let restarted = |times: u32| {
        let restarts = "notify,exit:64/".repeat(times as usize);
        let stage = Stage::play(&format!("store:a:3,{restarts}notify,ping,serve"));
        stage.until_log(&format!("srv {} is ready", stage.pid(times + 1)));
        stage
    };
    let (once, often) = (restarted(1), restarted(9));
    until("as few for many as for one", || (open(&once) == open(&often)).then_some(()));
}

#[test]
fn a_new_binary_is_used_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("agentmux");
    let script = |version: &str| {
        let rehearsal = crate::stage::rehearsal();
        let text = format!("#!/bin/sh\nVERSION={version} exec {} \"$@\"\n", rehearsal.display());
        let new = dir.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::rename(&new, &program).unwrap();
    };
    script("old");
    let env = [("AGENTMUX_COMMAND", program.to_str().unwrap())];
    let stage = Stage::set(Setting { env: &env, ..Setting::default() }, "notify,agent:a:0,serve");
    stage.until_log("is ready");
    assert_eq!(stage.variable(1, "VERSION").unwrap(), "old");
    script("new");
    signals::send(stage.pid(1), Signal::Kill).unwrap();
    assert_eq!(stage.variable(2, "VERSION").unwrap(), "new");
}

#[test]
fn a_server_that_hangs_while_it_restarts_is_helped_down_and_started_again() {
    let policy = "stop=100";
    let stage =
        Stage::set(Setting { policy, ..Setting::default() }, "notify,stopping_to_restart,stuck/notify,ping,serve");
    stage.until_log(&format!("srv {} is ready", stage.pid(2)));
    assert_eq!(stage.classes(), ["killed_by_us"]);
}

#[test]
fn a_new_server_can_reach_a_launcher_whose_socket_was_deleted() {
    let stage = Stage::play("notify,ping,serve");
    stage.until_log("is ready");
    std::fs::remove_file(stage.path().join("run/launcher.sock")).unwrap();
    signals::send(stage.pid(1), Signal::Kill).unwrap();
    stage.until_log(&format!("srv {} is ready", stage.pid(2)));
}
