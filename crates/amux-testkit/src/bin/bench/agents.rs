//! What concerns running agents: output through a terminal, keys, starts, lines, messages.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use std::time::{Duration, Instant};

use amux_agents::{Begin, Machine, Order, Out, Session};
use amux_proto::Time;
use amux_sys::spawn::{self, Session as Sid, SpawnSpec, Stdio as Streams};
use amux_sys::{poll, pty};
use amux_testkit::server::Home;
use amux_testkit::wire::Wire;
use serde_json::json;

use super::{Row, Tmux, median, mib, ms, percentile, row, shells, start, stop, world};

const FLOOD_MB: usize = 100;

/// Coloured logs, cursor movement, wide characters: what builds and agents print.
fn flood_file(dir: &Path) -> PathBuf {
    let mut block = String::new();
    for n in 0..400 {
        let _ =
            writeln!(block, "\x1b[32m{n:6}\x1b[0m \x1b[1;34minfo\x1b[0m compiling crate number {n} of the workspace");
        let _ =
            writeln!(block, "\x1b[38;2;200;{};40mtruecolor\x1b[0m and plain text that goes on for a while", n % 256);
        let _ = write!(block, "\r\x1b[K[{}{}] {}%", "#".repeat(n % 40), " ".repeat(40 - n % 40), n / 4);
        let _ = writeln!(block, " 日本語 and an emoji 🦀 at the end of the line");
    }
    let path = dir.join("flood");
    let mut file = std::fs::File::create(&path).expect("a file");
    let mut written = 0;
    while written < FLOOD_MB * 1_000_000 {
        file.write_all(block.as_bytes()).expect("room on the disk");
        written += block.len();
    }
    path
}

pub(super) fn flood() -> Vec<Row> {
    let world = world();
    let file = flood_file(&world.home.dir);
    let raw = median((0..3).map(|_| raw_flood(&file)).collect());
    let tmux = tmux_flood(&file);
    let beside = match tmux {
        Some(tmux) => format!("raw reader {raw:.2} s, tmux {tmux:.2} s"),
        None => format!("raw reader {raw:.2} s, tmux absent"),
    };
    let (srv, _) = start(&world.home);
    let alone = median((0..3).map(|n| agent_flood(&world.home, &file, &format!("alone{n}"), false)).collect());
    let viewed = median((0..3).map(|n| agent_flood(&world.home, &file, &format!("viewed{n}"), true)).collect());
    let rss = mib(amux_sys::process::rss_bytes(srv.pid()).unwrap_or(0));
    stop(&world.home);
    vec![
        row(
            &format!("{FLOOD_MB} MB of mixed ANSI through a PTY agent, no viewer"),
            format!("{alone:.2} s (server RSS {rss:.0} MB afterwards)"),
            "1.4 s where raw takes 0.92 s",
            beside.clone(),
        ),
        row("the same, one viewer", format!("{viewed:.2} s"), "1.8 s where raw takes 0.92 s", beside),
    ]
}

fn raw_flood(file: &Path) -> f64 {
    let began = Instant::now();
    let mut child = spawn::spawn(&SpawnSpec {
        program: "/bin/cat".into(),
        args: vec![file.into()],
        cwd: "/".into(),
        env: Vec::new(),
        stdio: Streams::Pty { rows: 24, cols: 80 },
        session: Sid::Own,
        pass_fds: Vec::new(),
        nofile: None,
    })
    .expect("cat runs");
    let terminal = child.pty.take().expect("a terminal");
    let mut bytes = vec![0; 64 * 1024];
    loop {
        match pty::read(terminal.as_fd(), &mut bytes) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let _ = poll::wait(&[terminal.as_fd()], None);
            }
            Err(error) => panic!("{error}"),
        }
    }
    child.wait().expect("it ends");
    began.elapsed().as_secs_f64()
}

fn tmux_flood(file: &Path) -> Option<f64> {
    let (tmux, _) = Tmux::start(1)?;
    let began = Instant::now();
    let script = format!("cat {}; tmux -L {} wait-for -S done", file.display(), tmux.name());
    tmux.run(&["new-session", "-d", "-s", "flood", &script]).ok()?;
    tmux.run(&["wait-for", "done"]).ok()?;
    Some(began.elapsed().as_secs_f64())
}

fn agent_flood(home: &Home, file: &Path, name: &str, viewed: bool) -> f64 {
    let mut wire = home.connect().expect("the server answers");
    wire.set_timeout(Duration::from_secs(120));
    let script = format!("read go; cat {}", file.display());
    let argv = ["/bin/sh", "-c", &script];
    wire.must("agent.create", json!({ "name": name, "kind": "cmd", "argv": argv, "cwd": "/" }));
    until(&mut wire, name, |agent| agent["pid"].is_u64());
    let viewer = viewed.then(|| {
        let mut viewer = home.connect().expect("the server answers");
        viewer.set_timeout(Duration::from_secs(120));
        viewer.send(&json!({ "id": 1, "view": { "agent": name } })).expect("it is sent");
        assert!(!viewer.frame().expect("a screen")["screen"].is_null());
        std::thread::spawn(move || while viewer.frame().expect("a frame")["ended"].is_null() {})
    });
    let began = Instant::now();
    wire.must("agent.keys", json!({ "agent": name, "keys": ["Enter"] }));
    until(&mut wire, name, |agent| agent["state"] == "offline");
    if let Some(viewer) = viewer {
        viewer.join().expect("the viewer sees the end");
    }
    began.elapsed().as_secs_f64()
}

fn until(wire: &mut Wire, agent: &str, is_so: impl Fn(&serde_json::Value) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so(&wire.get("agent", json!({ "agent": agent }))["agent"]) {
        assert!(Instant::now() < deadline, "{agent} does not get there");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// From a key's frame to the frame with its echo, while others print.
pub(super) fn echo() -> Vec<Row> {
    let quiet = echoes(0, "");
    let busy = echoes(20, "while :; do echo a line of output as a build prints it; sleep 0.01; done");
    let flooded = echoes(1, "exec yes");
    let told = |(p50, p99): (f64, f64)| format!("p50 {p50:.2} ms, p99 {p99:.2} ms");
    let beside = format!("nobody else prints: {}", told(quiet));
    vec![
        row("keystroke to echo while 20 agents stream", told(busy), "p99 ≤ 10 ms added", beside.clone()),
        row("the same beside one that prints without end", told(flooded), "–", beside),
    ]
}

fn echoes(others: usize, print: &str) -> (f64, f64) {
    let world = world();
    let (_srv, _) = start(&world.home);
    shells(&world.home, others, print);
    let mut wire = world.home.connect().expect("the server answers");
    wire.must("agent.create", json!({ "name": "cat", "kind": "cmd", "argv": ["/bin/cat"], "cwd": "/" }));
    until(&mut wire, "cat", |agent| agent["pid"].is_u64());
    let mut viewer = world.home.connect().expect("the server answers");
    viewer.send(&json!({ "id": 1, "view": { "agent": "cat" } })).expect("it is sent");
    viewer.frame().expect("a screen");
    let mut times: Vec<f64> = (0..300)
        .map(|_| {
            let began = Instant::now();
            // "x"
            viewer.send(&json!({ "typed": { "view": 1, "bytes": "eA==" } })).expect("it is sent");
            while viewer.frame().expect("a frame")["output"].is_null() {}
            let took = ms(began.elapsed());
            std::thread::sleep(Duration::from_millis(3));
            took
        })
        .collect();
    stop(&world.home);
    (median(times.clone()), percentile(&mut times, 0.99))
}

pub(super) fn spawn() -> Vec<Row> {
    let world = world();
    let (_srv, _) = start(&world.home);
    let mut wire = world.home.connect().expect("the server answers");
    let times = (0..20)
        .map(|n| {
            let name = format!("a{n}");
            let argv = ["/bin/sh", "-c", "echo first; exec sleep 1000"];
            let began = Instant::now();
            wire.must("agent.create", json!({ "name": name, "kind": "cmd", "argv": argv, "cwd": "/" }));
            loop {
                let answer = wire.call(json!({ "get": "look", "args": { "agent": name } })).expect("an answer");
                if answer["ok"]["lines"][0] == "first" {
                    return ms(began.elapsed());
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        })
        .collect();
    stop(&world.home);
    let tmux = Tmux::start(1).map(|(tmux, _)| {
        let times = (0..20).map(|n| {
            let began = Instant::now();
            let _ = tmux.run(&["new-window", "-d", &format!("tmux -L {} wait-for -S w{n}", tmux.name())]);
            let _ = tmux.run(&["wait-for", &format!("w{n}")]);
            ms(began.elapsed())
        });
        median(times.collect())
    });
    let beside = tmux.map_or("tmux absent".into(), |tmux| format!("tmux new-window and a word back {tmux:.1} ms"));
    vec![row("from `agent.create` to the first byte on its screen", format!("{:.1} ms", median(times)), "–", beside)]
}

/// Lines of Claude Code through its dialect, on one core.
pub(super) fn decode() -> Vec<Row> {
    let delta = json!({ "type": "stream_event", "event": { "type": "content_block_delta", "index": 0,
        "delta": { "type": "text_delta", "text": "some words of an answer " } },
        "parent_tool_use_id": null, "session_id": "s", "uuid": "u" })
    .to_string();
    let whole = json!({ "type": "assistant", "message": { "id": "m", "role": "assistant", "model": "large",
        "content": [{ "type": "text", "text": "a paragraph of an answer ".repeat(40) }],
        "usage": { "input_tokens": 10, "output_tokens": 20 } }, "parent_tool_use_id": null, "session_id": "s" })
    .to_string();
    let result = json!({ "type": "user", "message": { "role": "user", "content": [{ "type": "tool_result",
        "tool_use_id": "t", "content": "a line of a file\n".repeat(200), "is_error": false }] } })
    .to_string();
    let mut lines = Vec::new();
    for _ in 0..200 {
        lines.extend(std::iter::repeat_n(delta.as_str(), 50));
        lines.extend([whole.as_str(), result.as_str()]);
    }
    let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
    let rate = |work: &mut dyn FnMut(&str)| {
        let began = Instant::now();
        let mut done = 0;
        while began.elapsed() < Duration::from_secs(1) {
            lines.iter().for_each(|line| work(line));
            done += bytes;
        }
        done as f64 / 1e6 / began.elapsed().as_secs_f64()
    };
    let mut machine = Machine::Claude(amux_agents::claude::Claude::default());
    let begin = Begin {
        cwd: "/".into(),
        session: Session::New { id: "s".into() },
        lost: None,
        model: None,
        mode: None,
        mcp: None,
    };
    machine.order(&Order::Begin(begin), Time(0), &mut Out::default()).expect("it begins");
    let ours = rate(&mut |line| machine.hear(line, Time(0), &mut Out::default()));
    let parse = rate(&mut |line| {
        serde_json::from_str::<serde_json::Value>(line).expect("it is JSON");
    });
    let measured = format!("{ours:.0} MB/s");
    vec![row(
        "stream-json through the dialect, one core",
        measured,
        "–",
        format!("the JSON parser alone {parse:.0} MB/s"),
    )]
}
