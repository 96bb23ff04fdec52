//! Files that go with messages: whole on the other side, for those they were sent to, and never half.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use amux_proto::PART_BYTES_MAX;
use amux_sys::process;
use amux_sys::signals::{self, Signal};
use amux_testkit::crash_agents;
use amux_testkit::server::Home;
use amux_testkit::wire::Wire;
use serde_json::{Value, json};

use crate::harness::{BINARY, World, fake_agent, until};

fn world() -> World {
    let world = World::new();
    fs::create_dir_all(world.home.dir.join("config")).unwrap();
    fs::write(world.home.dir.join("config/agents.toml"), crash_agents::kinds(&fake_agent())).unwrap();
    world
}

/// Nothing repeats in it that could be put in the wrong place unnoticed.
fn bytes(count: usize) -> Vec<u8> {
    (0..count as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn file(world: &World, name: &str, bytes: &[u8]) -> String {
    let path = world.home.dir.join(name);
    fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

/// What is kept, and what is on its way.
fn kept(home: &Home) -> Vec<String> {
    let entries = fs::read_dir(home.state().join("attachments")).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text: {value}")).to_owned()
}

#[test]
fn a_file_is_the_same_on_the_other_side() {
    let world = world();
    let oracle = world.home.dir.join("api").display().to_string();
    world.json(&["new", "api", "--agent", "fake-claude", "--cwd", "/", "--", "--oracle", &oracle]);
    // Nothing, a whole number of parts, and a byte more.
    let contents = [("empty", 0), ("parts", 2 * PART_BYTES_MAX), ("a byte more.bin", PART_BYTES_MAX + 1)];
    let paths = contents.map(|(name, count)| file(&world, name, &bytes(count)));
    let [first, second, third] = paths.each_ref().map(String::as_str);
    let sent = world.json(&[
        "send", "api", "-m", "say:1", "--attach", first, "--attach", second, "--attach", third, "--wait", "acked",
    ]);
    let id = text(&sent["id"]);
    let told = fs::read_to_string(format!("{oracle}.in")).unwrap();
    for (name, count) in contents {
        let path = world.home.state().join("attachments/mail").join(&id[id.len() - 8..]).join(name);
        assert!(told.contains(&format!("[attached: {}, {count} bytes]", path.display())), "{told}");
        assert_eq!(fs::read(&path).unwrap(), bytes(count), "{name}");
    }
    let shown = world.json(&["msg", "show", &id]);
    assert_eq!(shown["attachments"].as_array().unwrap().len(), 3, "{shown}");
    let words = String::from_utf8(world.run(&["msg", "show", &id]).stdout).unwrap();
    assert!(words.contains("attached: parts, 1048576 bytes") && words.contains("'a byte more.bin'"), "{words}");
    // Sent once more it takes no more room.
    world.json(&["send", "operator", "--attach", second]);
    assert_eq!(kept(&world.home).len(), 3);
    assert_eq!(world.json(&["inbox"])[0]["body"], "attached: parts");
}

#[test]
fn what_is_saved_overwrites_nothing() {
    let world = world();
    let path = file(&world, "note.txt", b"new");
    let id = text(&world.json(&["send", "operator", "-m", "look", "--attach", &path])["id"]);
    let taken = world.answer(&["msg", "save", &id]);
    assert_eq!(taken["error"]["code"], "exists", "{taken}");
    fs::write(&path, "mine").unwrap();
    assert_eq!(world.code(&["msg", "save", &id, "note.txt"]), 1);
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    world.json(&["msg", "save", &id, "--force"]);
    assert_eq!(fs::read(&path).unwrap(), b"new");
    let dir = world.home.dir.join("there");
    fs::create_dir(&dir).unwrap();
    let saved = world.json(&["msg", "save", &id, "-o", dir.to_str().unwrap()]);
    assert_eq!(fs::read(dir.join("note.txt")).unwrap(), b"new");
    assert_eq!(saved["path"], dir.join("note.txt").to_str().unwrap());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing is left beside it");
    assert_eq!(world.code(&["msg", "save", &id, "other.txt", "-o", "x"]), 7);
    assert!(!world.home.dir.join("x").exists());
    let without = text(&world.json(&["send", "operator", "-m", "x"])["id"]);
    assert_eq!(world.code(&["msg", "save", &without]), 7);
}

#[test]
fn a_text_that_is_too_long_for_a_message_goes_along_with_its_beginning() {
    let world = world();
    let lines: String = (0..150_000).map(|n| format!("line {n}\n")).collect();
    let path = file(&world, "build.log", lines.as_bytes());
    let out = world.run(&["send", "operator", "-f", &path]);
    assert!(out.status.success(), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("attached as build.log"), "{out:?}");
    let mail = world.json(&["inbox"])[0].clone();
    let body = text(&mail["body"]);
    assert!(body.starts_with("line 0\n") && body.ends_with("attached: build.log") && body.len() < 4_000, "{body}");
    world.json(&["msg", "save", &text(&mail["id"]), "-o", "whole"]);
    assert_eq!(fs::read_to_string(world.home.dir.join("whole")).unwrap(), lines);
}

#[test]
fn what_cannot_be_carried_is_refused_and_leaves_nothing() {
    let world = world();
    world.home.command().args(["ls"]).output().unwrap();
    let mut wire = world.home.connect().unwrap();
    wire.must("setting.set", json!({ "key": "message.attachment_max_mb", "value": 1 }));
    let path = file(&world, "large", &bytes(1_000_001));
    let large = world.answer(&["send", "operator", "-m", "x", "--attach", &path]);
    assert_eq!(large["error"]["code"], "too_large", "{large}");
    let path = file(&world, "largest", &bytes(1_000_000));
    world.json(&["send", "operator", "-m", "x", "--attach", &path]);
    assert_eq!(kept(&world.home).len(), 1);
    for bad in ["no/such/file", "/dev/zero", "/"] {
        assert_eq!(world.code(&["send", "operator", "-m", "x", "--attach", bad]), 1, "{bad}");
    }
    let digest = kept(&world.home).remove(0);
    let mut send = |attachments: Value| {
        let args = json!({ "to": ["operator"], "body": "x", "attachments": attachments });
        wire.call(json!({ "cmd": "message.send", "args": args })).unwrap()["error"]["code"].clone()
    };
    let one = |name: &str| json!({ "name": name, "bytes": 1_000_000, "digest": digest });
    for name in ["../x", "a/b", "..", "", "/etc/passwd", "a\u{0}b", ".bashrc", "a\u{202e}b", "a\nb"] {
        assert_eq!(send(json!([one(name)])), "bad_args", "{name:?}");
    }
    assert_eq!(send(json!([one("x"), one("X")])), "bad_args");
    assert_eq!(send((0..9).map(|n| one(&n.to_string())).collect()), "limit");
    assert_eq!(send(json!([{ "name": "x", "bytes": 1, "digest": digest }])), "not_found", "of another size");
    assert_eq!(send(json!([{ "name": "x", "bytes": 1, "digest": "0".repeat(64) }])), "not_found");
    assert_eq!(send(json!([{ "name": "x", "bytes": 1, "digest": "../x" }])), "bad_args");
    assert_eq!(world.json(&["inbox", "--all"]).as_array().unwrap().len(), 1, "nothing of it was sent");
    assert_eq!(fs::read_dir(world.home.state().join("attachments")).unwrap().count(), 1);
}

fn put(wire: &mut Wire, offset: usize, data: &str, last: bool) -> Value {
    wire.call(json!({ "cmd": "attachment.put", "args": { "offset": offset, "data": data, "last": last } })).unwrap()
}

#[test]
fn what_was_brought_before_a_kill_can_be_sent_after_it_and_half_a_file_never() {
    let world = world();
    world.json(&["ls"]);
    let mut wire = world.home.connect().unwrap();
    let stored = put(&mut wire, 0, "aGVsbG8=", true)["ok"].clone();
    assert_eq!(stored["bytes"], 5, "{stored}");
    // A part that is not the next one is not put anywhere.
    assert_eq!(put(&mut wire, 0, "aGVs", false)["ok"]["next"], 3);
    assert_eq!(put(&mut wire, 4, "bG8=", true)["error"]["code"], "conflict");
    assert_eq!(put(&mut wire, 3, "bG8=", true)["error"]["code"], "conflict", "a refusal ends it");
    assert_eq!(put(&mut wire, 0, "!", false)["error"]["code"], "bad_args");
    assert_eq!(put(&mut wire, 0, "aGVs", false)["ok"]["next"], 3);
    assert_eq!(kept(&world.home).len(), 2);
    drop(wire);
    until("with the connection it is gone", || (kept(&world.home).len() == 1).then_some(()));
    let pid = world.pid("pid");
    let known = process::identity(pid);
    signals::send(pid, Signal::Kill).unwrap();
    until("the server is dead", || known.as_ref().is_none_or(|known| !process::alive(known)).then_some(()));
    let mut wire = world.home.connect().unwrap();
    let attachment = json!({ "name": "hello", "bytes": stored["bytes"], "digest": stored["digest"] });
    let sent = wire.must("message.send", json!({ "to": ["operator"], "body": "x", "attachments": [attachment] }));
    let part = wire.get("attachment", json!({ "message": sent["id"] }));
    assert_eq!((&part["data"], &part["next"], &part["attachment"]), (&json!("aGVsbG8="), &json!(5), &attachment));
}

#[test]
fn an_agent_has_only_what_came_to_it_or_from_it() {
    let world = world();
    world.shell("api");
    world.shell("spy");
    for agent in ["api", "spy"] {
        world.json(&["mail", agent, "--pause"]);
    }
    let path = file(&world, "secret.txt", b"for api");
    let id = text(&world.json(&["send", "api", "-m", "true", "--attach", &path])["id"]);
    let state = world.home.state().display().to_string();
    let said = |agent: &str, line: &str| -> (String, PathBuf) {
        let out = world.home.dir.join(format!("out-{agent}"));
        let (script, done) = (out.with_extension("sh"), out.with_extension("done"));
        let _ = fs::remove_file(&done);
        let line = format!("{BINARY} --state-dir {state} --config-dir {state} --no-start {line}");
        fs::write(&script, format!("{line} >/dev/null 2>&1; echo $? > {0}.new; mv {0}.new {0}", done.display()))
            .unwrap();
        world.json(&["keys", agent, &format!("sh {}", script.display()), "Enter"]);
        (until("it has ended", || fs::read_to_string(&done).ok()).trim().to_owned(), out)
    };
    let save = |agent: &str, id: &str| {
        let (code, out) =
            said(agent, &format!("msg save {id} -o {}", world.home.dir.join(format!("out-{agent}")).display()));
        (code, fs::read(out).ok())
    };
    assert_eq!(save("spy", &id), ("4".into(), None));
    assert_eq!(save("api", &id), ("0".into(), Some(b"for api".to_vec())));
    // What it writes, it may send on, and so may whoever has it.
    let own = file(&world, "own.txt", b"from spy");
    assert_eq!(said("spy", &format!("send operator -m x --attach {own}")).0, "0");
    let mail = world.json(&["inbox"])[0].clone();
    assert_eq!((&mail["from"], &mail["attachments"][0]["name"]), (&json!("spy@default"), &json!("own.txt")));
    fs::remove_file(world.home.dir.join("out-spy")).ok();
    assert_eq!(save("spy", &text(&mail["id"])), ("0".into(), Some(b"from spy".to_vec())));
}

#[test]
fn on_a_full_disk_a_file_is_refused_and_not_half_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let run = |args: &[&str]| Command::new(args[0]).args(&args[1..]).status().is_ok_and(|status| status.success());
    if !run(&["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", path]) {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    }
    let home = Home::new(dir.path(), Path::new(BINARY));
    let srv = home.start(&[]).unwrap();
    drop(home.connect().unwrap());
    let roomy = tempfile::tempdir().unwrap();
    let large = roomy.path().join("large");
    fs::write(&large, bytes(8 << 20)).unwrap();
    let send = || {
        let args = ["--json", "--no-start", "send", "operator", "-m", "x", "--attach", large.to_str().unwrap()];
        let out = home.command().args(args).output().unwrap();
        serde_json::from_slice::<Value>(&out.stdout).unwrap()
    };
    let refused = send();
    assert_eq!(refused["error"]["code"], "read_only", "{refused}");
    assert!(refused["error"]["hint"].is_string(), "{refused}");
    until("nothing of it is left", || kept(&home).is_empty().then_some(()));
    // What there is room for is carried.
    fs::write(&large, bytes(1 << 20)).unwrap();
    assert_eq!(send()["ok"], true);
    assert_eq!(kept(&home).len(), 1);
    drop(srv);
    assert!(run(&["umount", path]));
}
