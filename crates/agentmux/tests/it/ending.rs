//! Ends: what a server that is told to stop owes its agents, and what a door that is replaced leaves behind.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use amux_sys::{disk, process};
use amux_testkit::crash_agents;
use amux_testkit::server::Home;
use serde_json::json;

use crate::harness::{BINARY, World, fake_agent, until};

/// Says goodbye for so long when it is asked to end, and writes that it could.
fn lingering(seconds: u32, ready: &Path, last_words: &Path) -> String {
    let (ready, last_words) = (ready.display(), last_words.display());
    format!(
        "trap 'trap \"\" TERM HUP INT; sleep {seconds}; echo done > {last_words}; exit' TERM; trap '' HUP INT; \
         echo > {ready}; while :; do sleep 0.1; done"
    )
}

#[test]
fn an_agent_has_its_whole_grace_when_the_server_is_stopped() {
    let world = World::new();
    let config = world.home.dir.join("config");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("settings.jsonc"), "{ \"agent.stop_grace_ms\": 25000 }").unwrap();
    let (ready, last_words) = (world.home.dir.join("ready"), world.home.dir.join("last-words"));
    // Longer than what the launcher gives a server that does not ask for more.
    let script = lingering(12, &ready, &last_words);
    world.json(&["new", "slow", "--agent", "cmd", "--cwd", "/", "--", "/bin/sh", "-c", &script]);
    until("it is ready", || ready.exists().then_some(()));
    world.json(&["server", "stop"]);
    assert!(last_words.exists(), "it was not cut short");
    assert!(world.processes().is_empty());
}

#[test]
fn agents_have_their_grace_on_a_full_disk_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let run = |args: &[&str]| Command::new(args[0]).args(&args[1..]).status().is_ok_and(|status| status.success());
    if !run(&["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", path]) {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    }
    let roomy = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path(), Path::new(BINARY));
    let mut srv = home.start(&[]).unwrap();
    let mut wire = home.connect().unwrap();
    let (ready, last_words) = (roomy.path().join("ready"), roomy.path().join("last-words"));
    let argv = ["/bin/sh".to_owned(), "-c".into(), lingering(1, &ready, &last_words)];
    wire.must("agent.create", json!({ "name": "slow", "kind": "cmd", "argv": argv, "cwd": "/" }));
    let pid = until("it runs", || wire.get("agents", json!({}))[0]["pid"].as_u64());
    let agent = process::identity(u32::try_from(pid).unwrap()).unwrap();
    until("it is ready", || ready.exists().then_some(()));
    let mut filler = std::fs::File::create(dir.path().join("filler")).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    let mut n = 0;
    until("the disk is full", || {
        n += 1;
        let create = json!({ "cmd": "team.create", "args": { "name": format!("t{n}") } });
        (wire.call(create).unwrap()["error"]["code"] == "read_only").then_some(())
    });
    wire.must("server.stop", json!({}));
    until("the server has ended", || srv.has_ended().then_some(()));
    assert!(last_words.exists(), "it was asked, and waited for");
    assert!(!process::alive(&agent));
    drop(filler);
    drop(srv);
    assert!(run(&["umount", path]));
}

#[test]
fn an_agent_that_speaks_a_protocol_waits_for_room_and_not_a_byte_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let run = |args: &[&str]| Command::new(args[0]).args(&args[1..]).status().is_ok_and(|status| status.success());
    if !run(&["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", path]) {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    }
    let roomy = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path(), Path::new(BINARY));
    std::fs::create_dir_all(dir.path().join("config")).unwrap();
    std::fs::write(dir.path().join("config/agents.toml"), crash_agents::kinds(&fake_agent())).unwrap();
    let srv = home.start(&[]).unwrap();
    let mut wire = home.connect().unwrap();
    let oracle = roomy.path().join("a");
    let argv = ["--oracle", oracle.to_str().unwrap()];
    wire.must("agent.create", json!({ "name": "a", "kind": "fake-claude", "argv": argv, "cwd": "/" }));
    let agent = until("it runs", || {
        let agent = wire.get("agents", json!({}))[0].clone();
        agent["pid"].is_u64().then_some(agent)
    });
    // Less room than it will say.
    let filler = dir.path().join("filler");
    let room = || disk::free_bytes(dir.path()).unwrap();
    let mut file = std::fs::File::create(&filler).unwrap();
    while room() > 3 << 20 {
        file.write_all(&[0; 64 * 1024]).unwrap();
    }
    let words = ["say:400000"; 20].join(" ");
    let sent = wire.must("message.send", json!({ "to": ["a"], "body": words }));
    until("the disk is full", || (room() == 0).then_some(()));
    let printed = || std::fs::metadata(oracle.with_extension("out")).unwrap().len();
    let before = printed();
    assert!(before < 8_000_000, "it waits: {before}");
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    let message = until("its turn has ended", || {
        let message = wire.get("message", json!({ "message": sent["id"] }));
        (message["deliveries"][0]["stage"] == "acked").then_some(message)
    });
    assert!(message.is_object() && printed() > 8_000_000);
    let tape = home.state().join("tapes").join(agent["uid"].as_str().unwrap()).join("1");
    let (_, kept) = amux_runner::tape::tail(&tape, amux_runner::tape::OUT, u64::MAX).unwrap();
    assert!(kept == std::fs::read(oracle.with_extension("out")).unwrap(), "the tape is what it printed");
    let entries = std::fs::read_to_string(amux_runner::journal::transcript(&tape)).unwrap();
    assert!(entries.contains("\"type\":\"turn_ended\""), "and the transcript says how it ended: {entries}");
    drop(srv);
    assert!(run(&["umount", path]));
}

#[test]
fn a_server_starts_on_a_full_disk_reads_and_finds_the_room_again_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let run = |args: &[&str]| Command::new(args[0]).args(&args[1..]).status().is_ok_and(|status| status.success());
    if !run(&["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", path]) {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    }
    let home = Home::new(dir.path(), Path::new(BINARY));
    for ends_well in [true, false] {
        let mut srv = home.start(&[]).unwrap();
        let mut wire = home.connect().unwrap();
        let team = format!("before-{ends_well}");
        wire.must("team.create", json!({ "name": team }));
        if ends_well {
            wire.must("server.stop", json!({}));
            until("it has ended", || srv.has_ended().then_some(()));
        }
        drop(srv);
        let filler = dir.path().join("filler");
        let mut file = std::fs::File::create(&filler).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
        drop(file);
        let srv = home.start(&[]).unwrap();
        let mut wire = home.connect().unwrap_or_else(|error| panic!("{error}: {}", home.stderr()));
        assert_eq!(wire.get("status", json!({}))["mode"], "read_only");
        assert!(wire.get("teams", json!({})).to_string().contains(&team));
        let refused = wire.call(json!({ "cmd": "team.remove", "args": { "team": "nobody" } })).unwrap();
        assert!(refused["error"].is_object());
        assert_eq!(wire.get("status", json!({}))["mode"], "read_only", "what writes nothing proves no room");
        std::fs::remove_file(&filler).unwrap();
        until("the room was found", || (wire.get("status", json!({}))["mode"] == "read_write").then_some(()));
        wire.must("team.create", json!({ "name": format!("after-{ends_well}") }));
        drop(srv);
    }
    assert!(run(&["umount", path]));
}

#[test]
fn a_socket_that_is_removed_again_and_again_leaves_no_listeners() {
    let world = World::new();
    world.json(&["ls"]);
    let open = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let pid = world.pid("pid");
    let before = open(pid);
    for _ in 0..20 {
        std::fs::remove_file(world.home.socket()).unwrap();
        until("it is back", || world.home.socket().exists().then_some(()));
        assert_eq!(world.pid("pid"), pid);
    }
    until("nothing more is open than before", || (open(pid) <= before + 2).then_some(()));
}
