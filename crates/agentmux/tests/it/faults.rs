//! What agents do to a server, and what may have happened to its files: fake agents that flood, lie, hang and hide.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use amux_runner::journal;
use amux_runner::tape;
use amux_sys::process;
use amux_sys::signals::{self, Signal};
use amux_testkit::crash_agents;
use amux_testkit::server::Home;
use amux_testkit::wire::Wire;
use serde_json::{Value, json};

use crate::harness::{BINARY, World, fake_agent, until};

const MB: u64 = 1024 * 1024;

/// More than any honest state of a test needs; far less than what the fakes print.
const MEMORY_MAX: u64 = 220 * MB;

struct Stage {
    world: World,
    launcher: Child,
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Everything it supervises ends with it.
        let _ = signals::send(self.launcher.id(), Signal::Term);
        let _ = self.launcher.wait();
    }
}

impl Stage {
    fn new() -> Self {
        let world = World::new();
        let fake = fake_agent();
        fs::create_dir_all(world.home.dir.join("config")).unwrap();
        fs::write(world.home.dir.join("config/agents.toml"), crash_agents::kinds(&fake)).unwrap();
        // Its server dies more often than the real one forgives.
        let mut launcher = Home::new(&world.home.dir, &fake).command();
        launcher.arg("launcher").arg(&world.home.dir).env("AGENTMUX_COMMAND", BINARY);
        let launcher = launcher.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        drop(world.home.connect().unwrap());
        Self { world, launcher }
    }

    fn wire(&self) -> Wire {
        self.world.home.connect().unwrap()
    }

    fn oracle(&self, name: &str, what: &str) -> PathBuf {
        self.world.home.dir.join(format!("{name}.{what}"))
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.oracle(name, "in")).unwrap_or_default()
    }

    fn turns(&self, name: &str) -> String {
        fs::read_to_string(self.oracle(name, "turns")).unwrap_or_default()
    }

    fn agent(&self, name: &str, kind: &str, flags: &[&str]) -> u32 {
        let oracle = self.world.home.dir.join(name).display().to_string();
        let argv: Vec<&str> = ["--oracle", &oracle].into_iter().chain(flags.iter().copied()).collect();
        let kind = format!("fake-{kind}");
        self.wire().must("agent.create", json!({ "name": name, "kind": kind, "cwd": "/", "argv": argv }));
        until("it runs", || self.pid(name))
    }

    fn show(&self, name: &str) -> Value {
        self.wire().get("agent", json!({ "agent": name }))
    }

    fn pid(&self, name: &str) -> Option<u32> {
        self.show(name)["agent"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
    }

    fn exit(&self, name: &str) -> Value {
        until("it has ended", || {
            let exit = self.show(name)["current_run"]["state"]["exit"].clone();
            (!exit.is_null()).then_some(exit)
        })
    }

    fn dir(&self, name: &str) -> PathBuf {
        let uid = self.show(name)["agent"]["uid"].as_str().unwrap().to_owned();
        self.world.home.state().join("tapes").join(uid).join("1")
    }

    fn send(&self, name: &str, body: &str) -> String {
        let receipt = self.wire().must("message.send", json!({ "to": [name], "body": body }));
        receipt["id"].as_str().unwrap().to_owned()
    }

    fn stage(&self, id: &str) -> String {
        let message = self.wire().get("message", json!({ "message": id }));
        message["deliveries"][0]["stage"].as_str().unwrap().to_owned()
    }

    fn works(&self, name: &str) {
        let id = self.send(name, "say:10");
        until("a message is worked on", || (self.stage(&id) == "acked").then_some(()));
    }

    /// Nobody serves while `meanwhile` is done to the files.
    fn kill(&self, meanwhile: impl FnOnce()) {
        let (pid, launcher) = (self.world.pid("pid"), self.world.pid("launcher_pid"));
        signals::send(launcher, Signal::Stop).unwrap();
        signals::send(pid, Signal::Kill).unwrap();
        let known = process::identity(pid);
        until("the server is dead", || known.as_ref().is_none_or(|known| !process::alive(known)).then_some(()));
        meanwhile();
        signals::send(launcher, Signal::Cont).unwrap();
        drop(self.world.home.connect().unwrap());
    }
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn a_line_that_never_ends_costs_no_memory_and_blocks_nobody() {
    let stage = Stage::new();
    let server = stage.world.pid("pid");
    let size = 256 * MB;
    let bytes = size.to_string();
    stage.agent("liner", "claude", &["--giant-line", &bytes]);
    // What is painted is also drawn, which takes its time.
    let painted = size / 4;
    stage.agent("painter", "pty", &["--bytes", &painted.to_string()]);
    let (liner, painter) = (stage.dir("liner"), stage.dir("painter"));
    let mut most = 0;
    let began = Instant::now();
    let end = |dir: &Path| tape::extent(dir, tape::OUT).unwrap().1;
    while end(&liner) < size || end(&painter) < painted {
        most = most.max(process::rss_bytes(server).unwrap());
        assert!(began.elapsed() < Duration::from_secs(120), "the agents are not kept from printing");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(most < MEMORY_MAX, "{} MB", most / MB);
    stage.works("liner");
    assert!(process::rss_bytes(server).unwrap() < MEMORY_MAX);
}

#[test]
fn what_is_no_text_and_complaints_without_end_harm_nobody() {
    let stage = Stage::new();
    stage.agent("odd", "claude", &["--invalid-utf8", "--stderr-flood", "5000000"]);
    stage.works("odd");
    assert_eq!(fs::read(stage.oracle("odd", "out")).unwrap(), tape::tail(&stage.dir("odd"), tape::OUT, MB).unwrap().1);
}

#[test]
fn a_shell_that_prints_without_end_is_seen_to_work_and_keeps_nobody_waiting() {
    let world = World::new();
    world.shell("api");
    let is = |state: &str| until(state, || (world.agent("api")["state"] == state).then_some(()));
    is("idle");
    // A program, and the shell itself.
    for line in ["yes", "while :; do echo y; done"] {
        world.json(&["keys", "api", line, "Enter"]);
        is("working");
        world.json(&["keys", "api", "C-c"]);
        is("idle");
    }
    // It waits for a command beside one that prints.
    world.json(&["keys", "api", "yes & cat > /dev/null", "Enter"]);
    is("working");
    world.json(&["keys", "api", "C-d"]);
    is("idle");
}

#[test]
fn messages_wait_for_an_agent_that_reads_nothing() {
    let stage = Stage::new();
    stage.agent("deaf", "claude", &["--deaf"]);
    let text = "w".repeat(2000);
    let mut wire = stage.wire();
    let sent: Vec<String> = (0..1000)
        .map(|n| {
            let receipt = wire.must("message.send", json!({ "to": ["deaf"], "body": format!("{n} {text}") }));
            receipt["id"].as_str().unwrap().to_owned()
        })
        .collect();
    let stages = || -> BTreeSet<String> { sent.iter().map(|id| stage.stage(id)).collect() };
    assert!(stages().contains("accepted"), "they wait: {:?}", stages());
    stage.kill(|| ());
    assert!(!stages().contains("unproven"), "what is in nobody's hands is not given up: {:?}", stages());
    let began = Instant::now();
    stage.world.json(&["stop", "deaf"]);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    // What was in its hands it may have read; the rest is for its next run.
    assert_eq!(stages(), BTreeSet::from(["held".to_owned(), "unproven".to_owned()]));
    assert!(stage.read("deaf").is_empty());
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let stage = Stage::new();
    let mut wire = stage.wire();
    let args = json!({ "name": "no", "kind": "cmd", "cwd": "/", "argv": ["/no/such/program"], "start": false });
    wire.must("agent.create", args);
    let (server, launcher) = (stage.world.pid("pid"), stage.world.pid("launcher_pid"));
    let mut fail = || {
        wire.must("agent.start", json!({ "agent": "no" }));
        until("it has failed", || {
            (wire.get("agent", json!({ "agent": "no" }))["agent"]["state"] == "failed").then_some(())
        });
    };
    fail();
    let count = || (descriptors(server), descriptors(launcher), stage.world.processes());
    let before = count();
    for _ in 0..1000 {
        fail();
    }
    until("everything is given back", || (count() == before).then_some(()));
}

#[test]
fn a_stop_takes_everything_along_or_names_it() {
    let stage = Stage::new();
    let cases: [(&str, &[&str]); 5] = [
        ("background", &["--children", "bg"]),
        ("escapee", &["--children", "setsid"]),
        ("storm", &["--children", "storm"]),
        ("stubborn", &["--ignore-term", "--deaf"]),
        ("mute", &["--close-stdout"]),
    ];
    for (name, flags) in cases {
        stage.agent(name, "claude", flags);
        let uid = stage.show(name)["agent"]["uid"].as_str().unwrap().to_owned();
        let tag = format!("{uid}:1");
        if name == "storm" {
            until("it has its children", || {
                (process::tagged(&[("AGENTMUX_TAG", tag.as_ref())]).len() > 80).then_some(())
            });
        }
        let began = Instant::now();
        stage.world.json(&["stop", name, "--grace", "1s"]);
        assert!(began.elapsed() < Duration::from_secs(30), "{name}: {:?}", began.elapsed());
        let survivors = stage.exit(name)["survivors"].clone();
        let left = process::tagged(&[("AGENTMUX_TAG", tag.as_ref())]);
        assert!(left.is_empty() && survivors == json!([]), "{name}: {left:?} {survivors}");
    }
}

#[test]
fn a_stop_in_the_middle_of_a_turn_interrupts_it() {
    let stage = Stage::new();
    stage.agent("busy", "claude", &[]);
    let id = stage.send("busy", "hold");
    until("it works", || (stage.stage(&id) == "begun").then_some(()));
    stage.world.json(&["stop", "busy"]);
    assert!(stage.turns("busy").starts_with("turn "), "it was told, and ended its turn");
    assert_eq!(stage.stage(&id), "failed");
}

#[test]
fn an_end_is_an_end_also_when_a_child_holds_the_output() {
    let stage = Stage::new();
    stage.agent("parent", "claude", &["--children", "hold"]);
    let began = Instant::now();
    stage.send("parent", "die");
    assert_eq!(stage.exit("parent")["code"], 3);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let uid = stage.show("parent")["agent"]["uid"].as_str().unwrap().to_owned();
    assert!(process::tagged(&[("AGENTMUX_TAG", format!("{uid}:1").as_ref())]).is_empty());
}

#[test]
fn sixty_agents_at_rest_go_through_a_restart() {
    let stage = Stage::new();
    let kinds = ["claude", "codex", "acp", "tui"];
    let name = |n: usize| format!("{}-{n}", kinds[n % 4]);
    for n in 0..60 {
        stage.agent(&name(n), kinds[n % 4], &[]);
    }
    let pids: Vec<_> = (0..60).map(|n| stage.pid(&name(n))).collect();
    stage.world.json(&["server", "restart"]);
    assert_eq!(pids, (0..60).map(|n| stage.pid(&name(n))).collect::<Vec<_>>());
    for n in 0..3 {
        stage.works(&name(n));
    }
}

#[test]
fn a_message_larger_than_any_pipe_arrives_whole_and_once_through_kills() {
    let stage = Stage::new();
    stage.agent("slow", "claude", &["--slow-read", "3"]);
    let text = format!("m-large-e {}", "z".repeat(200_000));
    let sent: Vec<String> = (0..4).map(|_| stage.send("slow", &text)).collect();
    let whole = sent.len() * text.len();
    for part in 1..4 {
        let enough = whole * part / 4;
        until("a part of it is read", || (stage.read("slow").len() > enough).then_some(()));
        stage.kill(|| ());
    }
    for id in &sent {
        until("each was worked on", || (stage.stage(id) == "acked").then_some(()));
    }
    let read = String::from_utf8(stage.read("slow")).unwrap();
    assert_eq!(read.matches(&text).count(), sent.len());
    assert!(!stage.turns("slow").contains("garbage"), "{}", stage.turns("slow"));
}

#[test]
fn words_that_were_changed_while_they_were_written_are_shown_as_they_were_read_also_after_a_kill() {
    let stage = Stage::new();
    let pid = stage.agent("slow", "claude", &[]);
    stage.works("slow");
    // It reads nothing until it is told to go on, and more than fits into any pipe is on its way.
    signals::send(pid, Signal::Stop).unwrap();
    let old = format!("m-old-e {}", "z".repeat(240_000));
    let id = stage.send("slow", &old);
    let dir = stage.dir("slow");
    until("it is being given", || journal::given(&dir).unwrap().contains(&id).then_some(()));
    let mut wire = stage.wire();
    wire.must("message.edit", json!({ "message": id, "body": "m-new" }));
    assert_eq!(wire.get("message", json!({ "message": id }))["body"], "m-new");
    stage.kill(|| ());
    signals::send(pid, Signal::Cont).unwrap();
    until("it is worked on", || (stage.stage(&id) == "acked").then_some(()));
    let read = String::from_utf8(stage.read("slow")).unwrap();
    assert!(read.contains(&old) && !read.contains("m-new"), "{} bytes", read.len());
    let receipt = stage.wire().get("message", json!({ "message": id }));
    assert_eq!((&receipt["body"], &receipt["too_late"]), (&json!(old), &json!("m-new")));
    let shown = stage.world.run(&["msg", "show", &id]).stdout;
    assert!(String::from_utf8(shown).unwrap().contains("an edit came too late"));
}

#[test]
fn thousands_of_messages_are_worked_on_once_and_in_their_order_through_kills() {
    const COUNT: usize = 1500;
    let stage = Stage::new();
    stage.agent("acp", "acp", &[]);
    let mut wire = stage.wire();
    let sent: Vec<String> = (0..COUNT)
        .map(|n| {
            let receipt = wire.must("message.send", json!({ "to": ["acp"], "body": format!("number-{n}") }));
            receipt["id"].as_str().unwrap().to_owned()
        })
        .collect();
    let read = || String::from_utf8(stage.read("acp")).unwrap();
    for part in 1..4 {
        until("it works", || (read().matches("number-").count() > part * COUNT / 8).then_some(()));
        stage.kill(|| ());
    }
    until("the last is worked on", || (stage.stage(&sent[COUNT - 1]) == "acked").then_some(()));
    let read = read();
    let numbers: Vec<usize> = read
        .split("number-")
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap())
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "each once and in order: {numbers:?}");
    let stages: Vec<String> = sent.iter().map(|id| stage.stage(id)).collect();
    let missing = (0..COUNT).filter(|n| !numbers.contains(n));
    for n in missing {
        assert_eq!(stages[n], "unproven", "what was not worked on is said to be in doubt: {n}");
    }
    assert!(stages.iter().all(|stage| ["acked", "unproven"].contains(&stage.as_str())), "{stages:?}");
}

#[test]
fn a_composer_that_needs_a_paste_gets_one_through_a_kill() {
    let stage = Stage::new();
    stage.agent("tui", "tui", &[]);
    until("it is ready", || stage.world.json(&["look", "tui"])["lines"].to_string().contains("ready").then_some(()));
    for n in 0..8 {
        let text = format!("say {n}\nand more of {n}");
        stage.send("tui", &text);
        stage.kill(|| ());
        let line = format!("submitted {text}");
        until("it is submitted", || stage.turns("tui").contains(&line).then_some(()));
        assert_eq!(stage.turns("tui").matches(&line).count(), 1, "{}", stage.turns("tui"));
    }
    assert!(!stage.turns("tui").contains("typed"), "{}", stage.turns("tui"));
}

#[test]
fn a_question_of_a_program_is_answered_once() {
    let stage = Stage::new();
    let oracle = stage.oracle("asker", "in");
    let script = format!("stty raw -echo; printf 'where\\033[6n'; exec cat > '{}'", oracle.display());
    let args = json!({ "name": "asker", "kind": "cmd", "cwd": "/", "argv": ["/bin/sh", "-c", script] });
    stage.wire().must("agent.create", args);
    let answer = until("it is answered", || {
        let read = fs::read(&oracle).unwrap_or_default();
        read.ends_with(b"R").then_some(read)
    });
    for _ in 0..3 {
        stage.kill(|| ());
        stage.world.json(&["look", "asker"]);
    }
    assert_eq!(fs::read(&oracle).unwrap(), answer, "and not again by every server");
}

#[test]
fn a_launcher_and_a_server_that_die_together_leave_nothing() {
    let stage = Stage::new();
    stage.agent("one", "claude", &["--children", "setsid"]);
    stage.agent("two", "tui", &["--ignore-term"]);
    let old: Vec<u32> = stage.world.processes().into_iter().collect();
    let session = stage.show("one")["agent"]["session_id"].clone();
    let (pid, launcher) = (stage.world.pid("pid"), stage.world.pid("launcher_pid"));
    for pid in [launcher, pid] {
        signals::send(pid, Signal::Kill).unwrap();
    }
    // Nobody is left to end them but the next server, which finds them by their tags.
    stage.world.json(&["ls"]);
    until("nothing of the old ones is left", || {
        let now = stage.world.processes();
        old.iter().all(|pid| !now.contains(pid)).then_some(())
    });
    // What has a conversation goes on with it, in a run of its own; of the rest it is said that it is gone.
    let one = until("the conversation goes on", || {
        let one = stage.show("one")["agent"].clone();
        (one["run"] == 2 && one["pid"].is_u64()).then_some(one)
    });
    assert_eq!(one["session_id"], session);
    let two = stage.show("two")["agent"].clone();
    assert_eq!((&two["state"], &two["run"], &two["pid"]), (&"failed".into(), &1.into(), &Value::Null), "{two}");
}

#[test]
fn an_agent_goes_on_whatever_becomes_of_the_file_of_kinds() {
    let stage = Stage::new();
    let pid = stage.agent("claude", "claude", &[]);
    stage.works("claude");
    fs::write(stage.world.home.dir.join("config/agents.toml"), "").unwrap();
    stage.kill(|| ());
    assert_eq!(stage.pid("claude"), Some(pid), "it was started as a kind that is gone, and lives");
    stage.works("claude");
}

#[test]
fn an_agent_is_taken_over_with_what_is_there_of_its_past() {
    let stage = Stage::new();
    let claude = stage.agent("claude", "claude", &["--rate", "50"]);
    let pty = stage.agent("pty", "pty", &["--rate", "50"]);
    let (dir, screen) = (stage.dir("claude"), stage.dir("pty"));
    let notices = || {
        let entries: Vec<Value> = journal::read(&journal::transcript(&dir), 0).unwrap();
        let of = |entry: &Value| entry["item"]["type"] == "notice";
        entries
            .into_iter()
            .filter(of)
            .map(|entry| entry["item"]["text"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    stage.works("claude");
    let remove = |name: &str| fs::remove_file(dir.join(name)).unwrap();
    let torn = || {
        let mut file = fs::OpenOptions::new().append(true).open(journal::journal(&dir)).unwrap();
        file.write_all(b"{\"r\":\"order\",\"n\":9").unwrap();
    };
    let segments = |dir: &Path| {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("out.") {
                fs::remove_file(path).unwrap();
            }
        }
    };
    let cut = || fs::OpenOptions::new().write(true).open(journal::journal(&dir)).unwrap().set_len(40).unwrap();
    let other = || fs::write(dir.join("position.json"), "{\"machine\":{\"dialect\":\"other\"}}").unwrap();
    let no_screen = || {
        let _ = fs::remove_file(screen.join("screen"));
    };
    let no_tape = || segments(&dir);
    let no_painting = || segments(&screen);
    let no_transcript = || remove("transcript");
    let no_position = || remove("position.json");
    let no_spec = || remove("spec.json");
    let losses: [(&str, &dyn Fn(), bool); 9] = [
        ("no word of how it began", &no_spec, false),
        ("a torn journal", &torn, false),
        ("no transcript", &no_transcript, true),
        ("no position", &no_position, false),
        ("a position of another build", &other, false),
        ("no screen", &no_screen, false),
        ("no tape", &no_tape, false),
        ("no tape of a terminal", &no_painting, false),
        ("a journal that was cut", &cut, true),
    ];
    for (what, loss, is_said) in losses {
        until("it is at rest", || dir.join("position.json").exists().then_some(()));
        let before = notices().len();
        stage.kill(loss);
        assert_eq!((stage.pid("claude"), stage.pid("pty")), (Some(claude), Some(pty)), "{what}");
        stage.works("claude");
        let ask = stage.send("claude", "ask");
        let request = until(what, || {
            let open = stage.wire().get("requests", json!({}));
            open[0]["id"].as_str().map(str::to_owned)
        });
        let answer = json!({ "request": request, "answer": { "type": "option", "option": "allow" } });
        stage.wire().must("request.decide", answer);
        until(what, || (stage.stage(&ask) == "acked").then_some(()));
        let look = || stage.world.json(&["look", "pty"])["lines"].to_string();
        let shown = look();
        until(what, || (look() != shown).then_some(()));
        if is_said {
            until(what, || {
                (!notices().is_empty() && (notices().len() > before || what == "no transcript")).then_some(())
            });
        }
        // The one after it has all there is again.
        stage.kill(|| ());
        stage.works("claude");
        assert_eq!(stage.show("claude")["agent"]["run"], 1);
    }
}
