//! What the server says, and what the launcher costs.

use amux_sys::process;

use crate::keeping::rss_mb;
use crate::stage::{Setting, Stage, until};

#[test]
fn what_the_server_says_is_in_the_log_and_before_the_eyes_of_who_watches() {
    let stage = Stage::set(Setting { mode: "foreground", ..Setting::default() }, "say:good morning,line,serve");
    stage.until_log("good morning");
    until("it is shown", || stage.read("launcher.foreground").contains("good morning").then_some(()));
    let quiet = Stage::play("say:good morning,line,serve");
    quiet.until_log("is ready");
    assert_eq!(quiet.stderr(), "");
}

#[test]
fn a_giant_line_costs_nothing_and_is_cut() {
    let stage = Stage::play("line,shout:100000000,say: end,say:afterwards,serve");
    stage.until_log("afterwards");
    let mb = rss_mb(&stage);
    println!("after a line of 100 MB the launcher has {mb} MB");
    assert!(mb < 30.0, "{mb} MB");
    let log = stage.log();
    assert!(log.len() < 100_000);
    assert!(log.contains("bytes cut]"));
}

#[test]
fn a_flood_of_lines_is_bounded_on_disk() {
    let stage = Stage::play("line,flood:30000000,say:afterwards,serve");
    stage.until_log("afterwards");
    let logs: Vec<_> = std::fs::read_dir(stage.path().join("logs")).unwrap().map(Result::unwrap).collect();
    let bytes: u64 = logs.iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!((4_000_000..9_000_000).contains(&bytes), "{bytes}");
    assert_eq!(logs.len(), 2, "{logs:?}");
}

#[test]
fn the_launcher_is_small_and_idle() {
    let stage = Stage::play("notify,ping,serve");
    stage.until_log("is ready");
    let cpu = process::cpu_ms(stage.launcher()).unwrap();
    println!("an idle launcher has {} MB and has used {cpu} ms of processor time", rss_mb(&stage));
    assert!(rss_mb(&stage) < 20.0);
}
