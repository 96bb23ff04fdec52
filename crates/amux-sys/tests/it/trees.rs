//! How process trees end: asked, then ended, then proven gone; and how they are known.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use amux_sys::process::{self, ProcessId};
use amux_sys::signals::{self, Signal};
use amux_sys::spawn::{self, Session, SpawnSpec, Stdio};
use amux_sys::{cgroup, stop};

use super::{all, lines_of, output_of, role, role_program, spec, until, until_within};

#[test]
fn a_stopped_tree_is_gone_also_where_it_left_the_session_and_ignores_us() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "trap '' TERM HUP; setsid sh -c 'trap \"\" TERM HUP; echo $$ > {0}/escaped; while :; do sleep 1; done' & \
         (trap '' TERM HUP; while :; do sleep 1; done) & echo ready > {0}/ready; while :; do sleep 1; done",
        dir.path().display()
    );
    let mut spec = spec("sh", &["-c", &script], Stdio::Null);
    let tag = format!("tree-{}", std::process::id());
    spec.env.push(("TEST_TAG".into(), OsString::from(&tag)));
    let mut child = spawn::spawn(&spec).unwrap();
    let escaped = until("the escapee runs", || {
        std::fs::read_to_string(dir.path().join("escaped")).ok()?.trim().parse::<u32>().ok()
    });
    let leader = child.id;
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    let report = stop::stop_tree(&leader, &[("TEST_TAG", tag.as_ref())], Duration::from_millis(200));
    reaper.join().unwrap();
    assert_eq!(report, stop::StopReport { survivors: Vec::new(), escalated: true });
    assert!(process::tagged(&[("TEST_TAG", tag.as_ref())]).is_empty());
    assert!(process::identity(escaped).is_none_or(|found| !process::alive(&found)));
}

#[test]
fn a_tree_that_ends_when_asked_is_not_killed() {
    let mut child = spawn::spawn(&spec("sh", &["-c", "sleep 1000"], Stdio::Null)).unwrap();
    let leader = child.id;
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    let report = stop::stop_tree(&leader, &[], Duration::from_secs(5));
    reaper.join().unwrap();
    assert_eq!(report, stop::StopReport { survivors: Vec::new(), escalated: false });
}

fn written_pid(path: &Path) -> ProcessId {
    until("a pid is written", || process::identity(std::fs::read_to_string(path).ok()?.trim().parse().ok()?))
}

fn tag(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

#[test]
fn a_tree_that_forks_all_the_time_is_gone_in_the_end() {
    let tag = tag("forks");
    // Each leaves the session and ignores us. It has an end, should it not be stopped.
    let script = "trap '' TERM HUP; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); setsid sh -c 'trap \"\" TERM HUP; sleep 0.02; sleep 30' & sleep 0.005; done";
    let mut forking = spec("sh", &["-c", script], Stdio::Null);
    forking.env.push(("TEST_TAG".into(), OsString::from(&tag)));
    let mut child = spawn::spawn(&forking).unwrap();
    until("it has forked", || (process::tagged(&[("TEST_TAG", tag.as_ref())]).len() > 20).then_some(()));
    let report = stop::stop_tree(&child.id, &[("TEST_TAG", tag.as_ref())], Duration::from_millis(50));
    assert_eq!(report, stop::StopReport { survivors: Vec::new(), escalated: true });
    assert!(process::tagged(&[("TEST_TAG", tag.as_ref())]).is_empty());
    child.wait().unwrap();
}

#[test]
fn children_that_are_born_while_their_tree_is_ended_do_not_get_away() {
    let mark = tag("born");
    // Each leaves the session; once its parent is gone nothing tells any more whose it was. A process that has much takes
    // longer to be copied than the table takes to be read.
    let script = "trap '' TERM HUP; much=$(head -c 100000000 /dev/zero | tr '\\0' x); \
                  i=0; while [ $i -lt 2000 ]; do setsid sleep 60 & i=$((i+1)); done; wait";
    let mut bearing = spec("sh", &["-c", script], Stdio::Null);
    bearing.env.push(("TEST_TAG".into(), OsString::from(&mark)));
    let mut child = spawn::spawn(&bearing).unwrap();
    until("some are born", || (process::descendants(child.id.pid).len() > 20).then_some(()));
    let report = stop::stop_tree(&child.id, &[], Duration::ZERO);
    child.wait().unwrap();
    let away = process::tagged(&[("TEST_TAG", mark.as_ref())]);
    for escaped in &away {
        signals::send_to(escaped, Signal::Kill).unwrap();
    }
    assert_eq!((report.survivors, away), (Vec::new(), Vec::new()));
}

#[test]
fn what_is_left_of_a_tree_is_found_when_its_leader_is_gone_and_reaped() {
    let dir = tempfile::tempdir().unwrap();
    let tag = tag("leaderless");
    let script = format!(
        "sh -c 'echo $$ > {0}/stayed; exec sleep 60' & setsid sh -c 'echo $$ > {0}/left; exec sleep 60' & exit 0",
        dir.path().display()
    );
    let mut leaving = spec("sh", &["-c", &script], Stdio::Null);
    leaving.env.push(("TEST_TAG".into(), OsString::from(&tag)));
    let mut child = spawn::spawn(&leaving).unwrap();
    assert!(child.wait().unwrap().success());
    let both = [written_pid(&dir.path().join("stayed")), written_pid(&dir.path().join("left"))];
    // Without the tag the session alone tells of one of them.
    assert_eq!(stop::stop_tree(&child.id, &[], Duration::from_secs(5)).survivors, []);
    assert_eq!(both.map(|id| process::alive(&id)), [false, true]);
    assert_eq!(stop::stop_tree(&child.id, &[("TEST_TAG", tag.as_ref())], Duration::from_secs(5)).survivors, []);
    assert_eq!(both.map(|id| process::alive(&id)), [false, false]);
}

#[test]
fn who_carries_one_of_two_tags_is_of_another_tree() {
    let tag = tag("copied");
    let carries = |socket: &str| {
        let mut spec = spec("sleep", &["60"], Stdio::Null);
        spec.env.extend([("TEST_TAG".into(), OsString::from(&tag)), ("TEST_SOCKET".into(), socket.into())]);
        spawn::spawn(&spec).unwrap()
    };
    let (mut ours, mut copied) = (carries("ours"), carries("theirs"));
    let tags: [(_, &OsStr); 2] = [("TEST_TAG", tag.as_ref()), ("TEST_SOCKET", "ours".as_ref())];
    assert_eq!(stop::stop_tree(&ours.id, &tags, Duration::from_secs(5)).survivors, []);
    assert_eq!([ours.id, copied.id].map(|id| process::alive(&id)), [false, true]);
    ours.wait().unwrap();
    copied.kill().unwrap();
    copied.wait().unwrap();
}

#[test]
fn a_tree_that_cannot_be_seen_is_not_called_gone_and_is_asked_as_soon_as_it_can() {
    let mut child = spawn::spawn(&spec("sleep", &["60"], Stdio::Null)).unwrap();
    let told = output_of(&role(&["stop-unseen", &child.id.pid.to_string()]));
    assert_eq!(told, "survivors: true\nStopReport { survivors: [], escalated: false }\n");
    child.wait().unwrap();
}

#[test]
fn a_later_process_of_the_same_number_is_left_alone() {
    let mut other = spawn::spawn(&spec("sleep", &["60"], Stdio::Null)).unwrap();
    let gone = ProcessId { start_ticks: other.id.start_ticks - 1, ..other.id };
    let report = stop::stop_tree(&gone, &[], Duration::ZERO);
    assert_eq!(report, stop::StopReport { survivors: Vec::new(), escalated: false });
    assert!(!signals::send_to(&gone, Signal::Kill).unwrap());
    assert!(other.try_wait().unwrap().is_none());
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_stopped_and_a_stubborn_process_end_as_well() {
    let mut child = spawn::spawn(&spec("sleep", &["60"], Stdio::Null)).unwrap();
    signals::send_to(&child.id, Signal::Stop).unwrap();
    let stat = format!("/proc/{}/stat", child.id.pid);
    until("it is stopped", || std::fs::read_to_string(&stat).ok()?.contains(") T ").then_some(()));
    // One that hears nothing while it is stopped is made to go on, so that it can end by itself.
    assert!(!stop::stop_tree(&child.id, &[], Duration::from_secs(5)).escalated);
    child.wait().unwrap();
}

#[test]
fn what_cannot_be_ended_is_named() {
    if process::uid() != 0 {
        println!("skipped: only root can start a process that another user may not end");
        return;
    }
    let mut foreign = spawn::spawn(&spec("sleep", &["60"], Stdio::Null)).unwrap();
    assert_eq!(output_of(&role(&["stop-foreign", &foreign.id.pid.to_string()])), "survivors: true\n");
    assert!(foreign.try_wait().unwrap().is_none());
    foreign.kill().unwrap();
    foreign.wait().unwrap();
}

#[test]
fn who_stops_the_tree_it_is_in_spares_itself_and_its_own() {
    let script = format!("{} stop-own-tree; :", role_program().display());
    let mut leader = spec("sh", &["-c", &script], Stdio::Pipes);
    leader.env.push(("ROLE_TAG".into(), "own".into()));
    let mut leader = spawn::spawn(&leader).unwrap();
    let said = all(leader.stdout.take().unwrap());
    assert!(leader.wait().unwrap().success());
    let itself = format!("survivors: [ProcessId {{ pid: {}, ", leader.id.pid);
    assert!(said.contains(&itself) && said.contains("ours: true sibling: false"), "{said}");
}

#[test]
fn a_control_group_holds_who_escapes_everything_else() {
    let name = format!("amux-sys-test-{}", std::process::id());
    let Some(leaf) = cgroup::Leaf::create(&name) else {
        println!("skipped: no control group can be made here");
        return;
    };
    assert_eq!(cgroup::Leaf::create(&name).as_ref(), Some(&leaf), "the same name is the same leaf");
    let dir = tempfile::tempdir().unwrap();
    // Twice removed, in a session of its own, and without a tag.
    let script = format!(
        "(env -i setsid sh -c '(trap \"\" TERM HUP; echo $$ > {0}/none; sh -c \"echo \\$\\$ > {0}/escaped; exec sleep 60\") &') & exit 0",
        dir.path().display()
    );
    let mut child = spawn::spawn_in(&spec("sh", &["-c", &script], Stdio::Null), &leaf).unwrap();
    assert!(child.wait().unwrap().success());
    let escaped = written_pid(&dir.path().join("escaped"));
    assert!(leaf.pids().contains(&escaped.pid) && leaf.is_populated());
    assert_eq!(stop::stop_tree(&child.id, &[], Duration::ZERO).survivors, []);
    assert!(process::alive(&escaped), "only the group knows of it");
    assert!(leaf.remove().is_err(), "a group with somebody in it stays");
    let ladder = stop::Ladder { leader: child.id, tags: &[], leaf: Some(&leaf), grace: Duration::from_millis(50) };
    assert_eq!(ladder.run(), stop::StopReport { survivors: Vec::new(), escalated: true });
    assert!(!process::alive(&escaped));
    until("the group is empty", || (!leaf.is_populated()).then_some(()));
    leaf.remove().unwrap();
    assert!(!leaf.path().exists());
}

#[test]
fn in_a_control_group_even_a_process_that_is_always_another_one_is_caught() {
    let Some(leaf) = cgroup::Leaf::create(&format!("amux-sys-hop-{}", std::process::id())) else {
        println!("skipped: no control group can be made here");
        return;
    };
    // Each starts its successor in a session of its own and ends at once: no walk over the table is as fast.
    // It ends with this test also where nothing catches it.
    let hop = r#"kill -0 "$TEST" || exit 0; trap '' TERM HUP; setsid sh -c "$HOP" & exit 0"#;
    let mut hopping = spec("sh", &["-c", hop], Stdio::Null);
    hopping.env.push(("HOP".into(), hop.into()));
    hopping.env.push(("TEST".into(), std::process::id().to_string().into()));
    let mut child = spawn::spawn_in(&hopping, &leaf).unwrap();
    child.wait().unwrap();
    assert!(leaf.is_populated());
    let ladder = stop::Ladder { leader: child.id, tags: &[], leaf: Some(&leaf), grace: Duration::from_millis(20) };
    let report = ladder.run();
    let ended = until_within(Duration::from_secs(5), || leaf.remove().ok());
    // Whatever the outcome, it is not left to hop on this machine.
    leaf.kill().ok();
    assert_eq!((report.survivors, ended), (Vec::new(), Some(())));
}

#[test]
fn a_control_group_is_joined_later_and_has_a_plain_name() {
    for name in ["", ".", "..", "a/b", "../up", "a b"] {
        assert_eq!(cgroup::Leaf::create(name), None, "{name:?}");
    }
    let Some(leaf) = cgroup::Leaf::create(&format!("amux-sys-join-{}", std::process::id())) else {
        println!("skipped: no control group can be made here");
        return;
    };
    let mut child = spawn::spawn(&spec("sleep", &["60"], Stdio::Null)).unwrap();
    leaf.join(child.id.pid).unwrap();
    assert_eq!(leaf.pids(), [child.id.pid]);
    leaf.kill().unwrap();
    child.wait().unwrap();
    until("the group is empty", || leaf.remove().ok());
}

#[test]
fn orphans_are_ours_and_known_when_they_are_reaped() {
    let expected = "child true Some(3)\nparent of the orphan is us: true\norphan true Some(7)\nthen true\n";
    assert_eq!(output_of(&role(&["orphans"])), expected);
}

#[test]
fn a_process_whose_name_is_no_text_is_seen() {
    // A name is cut after fifteen bytes, also in the middle of a character.
    let script = r"printf '\303(x) Z' > /proc/$$/comm; echo named; read -r _; :";
    let mut child = spawn::spawn(&spec("sh", &["-c", script], Stdio::Pipes)).unwrap();
    assert_eq!(lines_of(&mut child).next().as_deref(), Some("named"));
    assert_eq!(process::identity(child.id.pid), Some(child.id));
    assert!(process::alive(&child.id));
    assert_eq!(process::env_var(child.id.pid, "ONLY"), Some("this".into()));
    assert!(process::descendants(std::process::id()).contains(&child.id));
    assert_eq!(process::session_members(child.id.pid), [child.id]);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_zombie_does_not_live() {
    let mut child = spawn::spawn(&SpawnSpec { session: Session::Group, ..spec("true", &[], Stdio::Null) }).unwrap();
    let pidfd = child.pidfd.as_ref().map(std::os::fd::AsFd::as_fd).unwrap();
    amux_sys::poll::wait(&[pidfd], None).unwrap();
    assert_eq!(process::identity(child.id.pid), Some(child.id), "it is still there to be reaped");
    assert!(!process::alive(&child.id));
    assert_eq!(stop::stop_tree(&child.id, &[], Duration::from_secs(5)).survivors, []);
    assert!(child.wait().unwrap().success());
}
