//! What outlives a server: descriptors, and the statuses of agents that became ours.

use amux_sys::process::{self, ProcessId};
use amux_sys::signals::{self, Signal};
use serde_json::Value;

use crate::stage::{Setting, Stage, until};

#[test]
fn two_thousand_descriptors_are_kept_and_handed_back_in_order_to_every_server() {
    let stage = Stage::play("store:a:1000,store:b:999,store:a:1,notify,die/notify,ping,serve");
    let kept = stage.read("kept.2");
    let kept: Vec<_> = kept.lines().collect();
    let expected: Vec<_> = (0..1000)
        .map(|n| format!("a=a {n}"))
        .chain((0..999).map(|n| format!("b=b {n}")))
        .chain(["a=a 0".into()])
        .collect();
    assert_eq!(kept, expected);
    signals::send(stage.pid(2), Signal::Kill).unwrap();
    assert_eq!(stage.read("kept.3").lines().collect::<Vec<_>>(), expected, "the launcher keeps its own");
    assert_eq!(stage.variable(1, "LISTEN_FDS"), None);
    assert_eq!(stage.variable(3, "LISTEN_FDS").unwrap(), "2000");
    println!("with 2,000 descriptors the launcher has {} MB", rss_mb(&stage));
}

#[test]
fn one_descriptor_too_many_is_refused_and_said() {
    let stage = Stage::play("store:a:2000,store:more:1,notify,die/notify,ping,serve");
    assert_eq!(stage.read("kept.2").lines().count(), 2000);
    stage.until_log("descriptors \"more\" were refused: 2000 descriptors are kept already");
}

#[test]
fn what_is_let_go_does_not_come_back() {
    let stage = Stage::play("store:a:2,store:b:1,store:a:1,let_go:a,let_go:never,notify,die/notify,ping,serve");
    assert_eq!(stage.read("kept.2"), "b=b 0\n");
    let open = std::fs::read_dir(format!("/proc/{}/fd", stage.launcher())).unwrap();
    let deleted = open.filter(|fd| {
        let target = std::fs::read_link(fd.as_ref().unwrap().path()).unwrap_or_default();
        target.to_string_lossy().contains("stored (deleted)")
    });
    assert_eq!(deleted.count(), 1, "the launcher closed the others");
}

#[test]
fn an_agent_outlives_its_server_and_its_exit_is_told_to_the_next_one() {
    let stage = Stage::play("agent:a:7,agent:b:0,notify,ping,serve/notify,acknowledge,serve/notify,ping,serve");
    let (agent, other) = (stage.agent("a", 1), stage.agent("b", 1));
    stage.until_log("is ready");
    signals::send(stage.pid(1), Signal::Kill).unwrap();
    stage.pid(2);
    assert!(process::alive(&agent), "a dead server is no reason to die");
    stage.make("end.a");
    let told = until("it is told", || exit_of(&stage, 2, agent));
    assert_eq!((&told["code"], &told["signal"]), (&7.into(), &Value::Null));
    assert!(told["at_ms"].as_i64().unwrap() > 1_600_000_000_000);
    // It was acknowledged, so the third server is not told. It would be, before it is told of anything newer.
    signals::send(stage.pid(2), Signal::Kill).unwrap();
    stage.pid(3);
    stage.make("end.b");
    until("the other is told", || exit_of(&stage, 3, other));
    assert_eq!(exit_of(&stage, 3, agent), None);
}

#[test]
fn an_exit_nobody_took_note_of_is_told_again() {
    let stage = Stage::play("agent:a:0,agent:b:0,notify,ping,serve/notify,ping,serve/notify,ping,serve");
    let (a, b) = (stage.agent("a", 1), stage.agent("b", 1));
    stage.until_log("is ready");
    signals::send(stage.pid(1), Signal::Kill).unwrap();
    stage.pid(2);
    signals::send(a.pid, Signal::Kill).unwrap();
    until("the first", || exit_of(&stage, 2, a));
    signals::send(stage.pid(2), Signal::Kill).unwrap();
    stage.pid(3);
    stage.make("end.b");
    let (a, b) = until("both", || exit_of(&stage, 3, a).zip(exit_of(&stage, 3, b)));
    assert_eq!((&a["code"], &a["signal"]), (&Value::Null, &9.into()));
    assert_eq!((&b["code"], &b["signal"]), (&0.into(), &Value::Null));
}

#[test]
fn a_server_that_does_not_read_its_lifeline_does_not_hold_the_launcher() {
    // More lines than the socket takes.
    let stage = Stage::play("deaf,orphans:4000,notify,ping,serve/notify,acknowledge,serve");
    stage.until_log("is ready");
    signals::send(stage.pid(1), Signal::Kill).unwrap();
    until("all of them", || (stage.read("heard.2").lines().count() == 4000).then_some(()));
}

#[test]
fn a_storm_of_exits_is_taken_to_the_last_one() {
    let stage = Stage::play("notify,wait:go,orphans:3000,mark:over,serve");
    stage.until_log("is ready");
    // They all have ended before the first is looked at, and nothing else will happen.
    stage.signal(Signal::Stop);
    stage.make("go");
    stage.read("over.1");
    stage.signal(Signal::Cont);
    until("all of them", || (stage.read("heard.1").lines().count() == 3000).then_some(()));
}

#[test]
fn notifications_of_strangers_are_ignored() {
    let policy = "start=300 last_words=50";
    let stage = Stage::set(Setting { policy, ..Setting::default() }, "stuck/line,serve");
    stage.pid(1);
    let stranger =
        amux_sys::notify::Notifier::from_env_value(Some(stage.path().join("run/launcher.sock").as_os_str())).unwrap();
    for _ in 0..100 {
        stranger.send(&[("READY", "1"), ("STATUS", "lies")]).unwrap();
    }
    stage.pid(2);
    assert_eq!(stage.classes(), ["not_ready"]);
    let log = stage.log();
    assert!(log.contains(&format!("a notification of pid {} was ignored", std::process::id())));
    assert!(!log.contains("lies"));
    assert!(log.matches("was ignored").count() < 10, "a stranger must not fill the log");
}

/// What a server was told about the end of a process.
fn exit_of(stage: &Stage, start: u32, process: ProcessId) -> Option<Value> {
    let heard = stage.read(&format!("heard.{start}"));
    let mut exits = heard.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["exited"].clone());
    exits.find(|exit| exit["pid"] == process.pid && exit["start_ticks"] == process.start_ticks)
}

pub(crate) fn rss_mb(stage: &Stage) -> f64 {
    process::rss_bytes(stage.launcher()).unwrap() as f64 / 1e6
}
