//! What concerns messages: how long until an agent has one, how many there can be, what they leave behind.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use amux_sys::process;
use amux_testkit::server::Home;
use serde_json::{Value, json};

use super::{Row, Tmux, at_rest, median, mib, ms, percentile, raw_rate, row, start, stop, world};

/// Deliveries that are timed; each begins with the start of a program.
const TIMED: usize = 60;

/// From the start of `agentmux send` to its bytes at the agent, which passes them on through a pipe of ours.
pub(super) fn send() -> Vec<Row> {
    let world = world();
    let (_srv, _) = start(&world.home);
    let mut rows = Vec::new();
    let fake = std::env::current_exe().expect("a running program has a path").with_file_name("fake-agent");
    let acp = format!("tee PIPE | {} acp", fake.display());
    for (kind, name, script, what, budget) in [
        ("ndjson", "lines", "exec cat > PIPE", "to bytes at a stream-json agent's stdin", "p50 ≤ 5 ms"),
        ("acp", "acp", &acp, "to bytes at an ACP agent's stdin, through `tee`", "p50 ≤ 5 ms"),
        ("cmd", "terminal", "exec cat > PIPE", "into a PTY agent, paste and Enter", "p50 ≤ 6 ms"),
    ] {
        let pipe = fifo(&world.home.dir, name);
        let script = script.replace("PIPE", &pipe.display().to_string());
        let mut wire = world.home.connect().expect("the server answers");
        let argv = ["/bin/sh", "-c", &script];
        wire.must("agent.create", json!({ "name": name, "kind": kind, "argv": argv, "cwd": "/" }));
        let mut pipe = Pipe::open(&pipe);
        if kind == "acp" {
            until(|| idle(&mut wire, name));
        }
        let times = (0..TIMED).map(|n| sent(&world.home, name, n, &mut pipe)).collect();
        let what = format!("`agentmux send` {what}, durable");
        rows.push(latency(&what, times, budget, "relay → ACP 5.0 ms, not durable (reported)".into()));
    }
    rows.extend(into_a_pane(&world.home));
    stop(&world.home);
    rows
}

fn idle(wire: &mut amux_testkit::wire::Wire, name: &str) -> bool {
    wire.get("agent", json!({ "agent": name }))["agent"]["state"] == "idle"
}

/// An adopted pane, beside a paste into the same pane by tmux's own client.
fn into_a_pane(home: &Home) -> Option<Row> {
    let (tmux, _) = Tmux::start(1)?;
    let path = fifo(&home.dir, "pane");
    let script = format!("exec cat > {}", path.display());
    assert!(tmux.run(&["respawn-pane", "-k", "-t", "s0", &script]).ok()?.success());
    let mut pipe = Pipe::open(&path);
    let raw = (0..TIMED).map(|n| {
        let text = format!("pasted number {n}");
        let began = Instant::now();
        let paste = ["set-buffer", "-b", "b", &text, ";", "paste-buffer", "-p", "-b", "b", "-t", "s0", ";"];
        let enter = ["send-keys", "-t", "s0", "Enter"];
        assert!(tmux.run(&[&paste[..], &enter].concat()).expect("tmux runs").success());
        pipe.until(&text);
        ms(began.elapsed())
    });
    let raw = median(raw.collect());
    let socket =
        Command::new("tmux").args(["-L", tmux.name(), "display-message", "-p", "#{socket_path}"]).output().ok()?;
    let socket = String::from_utf8_lossy(&socket.stdout).trim().to_owned();
    adopt(home, "pane", &socket, "s0:0.0");
    let times = (0..TIMED).map(|n| sent(home, "pane", n, &mut pipe)).collect();
    let beside = format!("tmux set, paste and Enter {raw:.1} ms, not durable; relay 21 ms (reported)");
    Some(latency("the same into an adopted tmux pane", times, "p50 ≤ 8 ms", beside))
}

fn adopt(home: &Home, name: &str, socket: &str, target: &str) {
    let mut command = home.command();
    command.args(["new", name, "--agent", &format!("tmux:{target}"), "--cwd", "/", "--", "-S", socket]);
    let done = command.stdout(Stdio::null()).status().expect("it runs");
    assert!(done.success(), "{name} is made");
    let mut wire = home.connect().expect("the server answers");
    // That a client of tmux has begun is no sign that it found the pane.
    until(|| {
        let detail = wire.get("agent", json!({ "agent": name }));
        assert!(detail["agent"]["state"] != "failed", "{name} is adopted: {detail}");
        wire.get("look", json!({ "agent": name }))["lines"].is_array() && detail["agent"]["pid"].is_u64()
    });
}

fn sent(home: &Home, to: &str, n: usize, pipe: &mut Pipe) -> f64 {
    let text = format!("message number {n} to {to}");
    let began = Instant::now();
    let mut child = home.command().args(["send", to, "-m", &text]).stdout(Stdio::null()).spawn().expect("it runs");
    pipe.until(&text);
    let took = ms(began.elapsed());
    assert!(child.wait().expect("it ends").success());
    took
}

fn latency(what: &str, mut times: Vec<f64>, budget: &'static str, beside: String) -> Row {
    let measured = format!("p50 {:.1} ms, p90 {:.1} ms", median(times.clone()), percentile(&mut times, 0.9));
    row(what, measured, budget, beside)
}

fn fifo(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
    path
}

/// Our end of an agent's pipe.
struct Pipe {
    file: std::fs::File,
    got: Vec<u8>,
}

impl Pipe {
    fn open(path: &Path) -> Self {
        Self { file: std::fs::File::open(path).expect("the agent opens its end"), got: Vec::new() }
    }

    fn until(&mut self, text: &str) {
        let mut bytes = vec![0; 64 * 1024];
        while !self.got.windows(text.len()).any(|window| window == text.as_bytes()) {
            let count = self.file.read(&mut bytes).expect("bytes");
            assert!(count > 0, "the agent ended");
            self.got.extend_from_slice(&bytes[..count]);
        }
        self.got.clear();
    }
}

fn until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Senders that come one after the other, each a program of its own.
pub(super) fn many() -> Vec<Row> {
    let world = world();
    let (_srv, _) = start(&world.home);
    let began = Instant::now();
    for n in 0..1_000 {
        let text = format!("number {n}");
        let done = world.home.command().args(["send", "operator", "-m", &text]).stdout(Stdio::null()).status();
        assert!(done.expect("it runs").success());
    }
    let took = began.elapsed().as_secs_f64();
    let floor = Instant::now();
    for _ in 0..1_000 {
        let done = world.home.command().arg("version").stdout(Stdio::null()).status();
        assert!(done.expect("it runs").success());
    }
    let floor = floor.elapsed().as_secs_f64();
    stop(&world.home);
    let beside =
        format!("1,000 starts of the program that do nothing {floor:.2} s; relay 5.7–7.1 s, not durable (reported)");
    vec![row("1,000 CLI sends in a row, durable", format!("{took:.2} s"), "< 4 s", beside)]
}

/// One host that calls the tool again and again.
pub(super) fn mcp() -> Vec<Row> {
    let world = world();
    let (_srv, _) = start(&world.home);
    let mut child =
        world.home.command().arg("mcp").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut write = child.stdin.take().expect("a pipe");
    let mut read = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut call = |id: u64, method: &str, params: Value| {
        // At once, as a host does: each piece of a line would wake the other side.
        let line = format!("{}\n", json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        write.write_all(line.as_bytes()).expect("it reads");
        loop {
            let line = read.next().expect("it lives").expect("a line");
            let heard: Value = serde_json::from_str(&line).expect("JSON");
            if heard["id"] == id {
                assert!(heard["error"].is_null() && heard["result"]["isError"] != true, "{heard}");
                return;
            }
        }
    };
    let client = json!({ "name": "bench", "version": "0" });
    let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
    call(0, "initialize", hello);
    let mut times = Vec::new();
    let began = Instant::now();
    for n in 1..=1_000 {
        let one = Instant::now();
        let args = json!({ "to": ["operator"], "text": format!("number {n}") });
        call(n, "tools/call", json!({ "name": "send", "arguments": args }));
        times.push(ms(one.elapsed()));
    }
    let took = began.elapsed().as_secs_f64();
    let _ = child.kill();
    let _ = child.wait();
    stop(&world.home);
    let measured =
        format!("{took:.2} s, p50 {:.2} ms, p99 {:.2} ms", median(times.clone()), percentile(&mut times, 0.99));
    let floor = 1_000.0 / raw_rate(world.home.dir.as_path(), 1);
    let beside = format!("1,000 raw SQLite commits of one row {floor:.2} s; relay 1.75 s, not durable (reported)");
    vec![row("1,000 MCP sends on one host, each waited for, durable", measured, "< 0.7 s", beside)]
}

/// Messages that are taken in a second, and the memory that a hundred thousand of them cost.
pub(super) fn rate() -> Vec<Row> {
    const CONNECTIONS: usize = 64;
    const EACH: usize = 1_600;
    const UNDER_WAY: usize = 16;
    let world = world();
    let (srv, _) = start(&world.home);
    let rss = || mib(process::rss_bytes(srv.pid()).unwrap_or(0));
    let before = rss();
    let over_all = |order: fn(&str, usize) -> (&'static str, Value)| {
        let began = Instant::now();
        std::thread::scope(|threads| {
            for client in 0..CONNECTIONS {
                let home = &world.home;
                threads.spawn(move || {
                    let mut wire = home.connect().expect("the server answers");
                    let mut ids = std::collections::VecDeque::new();
                    for n in 0..EACH {
                        let (cmd, args) = order(&format!("{client:04}"), n);
                        ids.push_back(wire.start(json!({ "cmd": cmd, "args": args })).expect("it is sent"));
                        if ids.len() == UNDER_WAY || n + 1 == EACH {
                            for id in ids.drain(..) {
                                let answer = wire.answer(id).expect("an answer");
                                assert!(answer["error"].is_null(), "{answer}");
                            }
                        }
                    }
                });
            }
        });
        (CONNECTIONS * EACH) as f64 / began.elapsed().as_secs_f64()
    };
    let rate = over_all(|client, n| {
        let id = format!("01900000-0000-7000-8000-{client}{n:08}");
        ("message.send", json!({ "id": id, "to": ["operator"], "body": "as long as what agents say to each other" }))
    });
    let waiting = rss();
    let _ =
        over_all(|client, n| ("message.ack", json!({ "message": format!("01900000-0000-7000-8000-{client}{n:08}") })));
    let settled = rss();
    stop(&world.home);
    drop(srv);
    let srv = world.home.start(&[]).expect("the server starts");
    let _wire = world.home.connect().expect("the server answers");
    let again = mib(process::rss_bytes(srv.pid()).unwrap_or(0));
    let count = CONNECTIONS * EACH;
    vec![
        row(
            &format!("durable messages/s, {CONNECTIONS} connections with {UNDER_WAY} under way each"),
            format!("{rate:.0}/s"),
            "≥ 5,000/s",
            String::new(),
        ),
        row(
            &format!("RSS with {count} stored messages"),
            format!(
                "{waiting:.0} MB while all are unread, {settled:.0} MB when all are settled, {again:.0} MB after a restart"
            ),
            "–",
            format!("{before:.0} MB before the first"),
        ),
    ]
}

/// Panes of a tmux that are agents, and nothing happens.
pub(super) fn adopted() -> Vec<Row> {
    const PANES: usize = 30;
    let Some((tmux, _)) = Tmux::start(PANES) else { return Vec::new() };
    let world = world();
    let (_srv, _) = start(&world.home);
    let socket = Command::new("tmux").args(["-L", tmux.name(), "display-message", "-p", "#{socket_path}"]).output();
    let socket = String::from_utf8_lossy(&socket.expect("tmux runs").stdout).trim().to_owned();
    for n in 0..PANES {
        adopt(&world.home, &format!("p{n}"), &socket, &format!("s{n}:0.0"));
    }
    std::thread::sleep(Duration::from_secs(3));
    let measured = at_rest(&world.home);
    stop(&world.home);
    let beside = "relay 26 % and 151 forks/s with 6 (reported)".to_owned();
    vec![row(&format!("idle with {PANES} adopted tmux panes, 20 s"), measured, "< 1 %, 0 forks/s", beside)]
}
